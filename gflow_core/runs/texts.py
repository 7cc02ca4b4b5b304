"""The text encoder of a run whose labels are captions: kept in its folder, so that it can be asked in other words."""

from __future__ import annotations

from pathlib import Path

from gflow_core.errors import CheckpointError, first_line
from gflow_core.files import checkpoint
from gflow_core.parts.contracts import TextEncoderPart
from gflow_core.parts.nouns import TextEncoder
from gflow_core.parts.source import Source
from gflow_core.parts.spec import Spec

__all__ = ["keep_text", "kept_text"]

_FOLDER = "text"


def keep_text(run: Path, data: Source | None) -> None:
    """Write what was fitted on the captions into the run folder."""
    if data is not None and data.text is not None:
        checkpoint.write(run / _FOLDER, checkpoint.Checkpoint(0, {"text": dict(data.text.state())}))


def kept_text(run: Path, spec: Spec) -> TextEncoder | None:
    """The text encoder that the run began with; None where its labels are no captions. Raises CheckpointError."""
    if spec.dataset is None or not spec.dataset.data_shape().text:
        return None
    part: TextEncoderPart = spec.dataset.text
    state = checkpoint.read(run / _FOLDER).parts["text"]
    try:
        return part.restored(state)
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise CheckpointError(
            f"{run / _FOLDER}: it does not fit dataset.text: {first_line(error)}; put the recipe back as it was when "
            "the run began"
        ) from error
