"""Captions as labels: their vectors beside the items, and what made them kept with a run."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import attrs

from gflow_core.errors import DataError
from gflow_core.parts.contracts import TextEncoderPart
from gflow_core.parts.source import Source

__all__ = ["captioned"]


def captioned(data: Source, captions: Sequence[str], part: TextEncoderPart, corpus: Sequence[str]) -> Source:
    """The items under captions, one each, in the vectors of an encoder that is fitted on the corpus.

    Its fingerprint is of the words: other processors make vectors that differ in rounding. Raises DataError.
    """
    text = part.fit(corpus)
    try:
        y = text(captions)
    except ValueError as error:
        raise DataError(f"dataset.text: {error}") from error
    words = hashlib.sha256("\n".join(captions).encode()).hexdigest()
    fingerprint = hashlib.sha256(f"{data.fingerprint}{words}".encode()).hexdigest()
    return attrs.evolve(data, y=y, captions=tuple(captions), text=text, fingerprint=fingerprint)
