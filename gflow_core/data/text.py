"""Text encoders: how captions become the real labels that networks read. Options; the work is in `tfidf`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from gflow_core.parts.options import option

if TYPE_CHECKING:
    from gflow_core.parts.nouns import TextEncoder

__all__ = ["SentenceTransformers", "TfIdf"]


@attrs.frozen(kw_only=True)
class TfIdf:
    """TF-IDF of words and pairs of words, reduced to `dim` numbers by a truncated SVD (latent semantic analysis).

    It is fitted on the captions of the data, so that it knows their words and no others. Vectors have length 1, as
    that of a class has.
    """

    dim: int = option(32, doc="Numbers in a text's vector; those beyond the rank of the captions are 0.", ge=1)
    words: int = option(20_000, doc="Words and pairs of words that count: the commonest.", ge=1)

    def fit(self, texts: Sequence[str]) -> TextEncoder:
        from gflow_core.data.tfidf import fit

        return fit(texts, self.dim, self.words)

    def restored(self, state: Mapping[str, Any]) -> TextEncoder:
        from gflow_core.data.tfidf import Encoder

        return Encoder(**state)


@attrs.frozen(kw_only=True)
class SentenceTransformers:
    """A sentence-transformers model of yours; the extra `text` brings the package.

    Nothing is downloaded unless the name is one of the Hugging Face hub's, which the package then fetches.
    """

    model: str = option(doc="A folder with the model, or its name on the Hugging Face hub.")
    dim: int = option(384, doc="Numbers in a text's vector, as the model has them.", ge=1)

    def fit(self, texts: Sequence[str]) -> TextEncoder:
        from gflow_core.data.sentences import Encoder

        return Encoder(self.model, self.dim)

    def restored(self, state: Mapping[str, Any]) -> TextEncoder:
        from gflow_core.data.sentences import Encoder

        return Encoder(self.model, self.dim, state.get("weights"))
