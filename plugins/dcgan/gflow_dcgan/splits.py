"""Items that a run has not trained on."""

from __future__ import annotations

from typing import Any

from gflow_core import held_out

__all__ = ["not_trained_on"]


def not_trained_on(dataset: Any) -> Any:
    """The data set part of the other split, none of whose items are trained on; None where there is none."""
    return None if getattr(dataset, "split", "all") == "all" else held_out(dataset)
