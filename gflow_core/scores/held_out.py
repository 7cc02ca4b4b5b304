"""Items that a run did not train on."""

from __future__ import annotations

from typing import Any, get_args

import attrs

__all__ = ["held_out"]


def held_out(dataset: Any) -> Any:
    """The data set part of the other split: test, or train where test is trained on; None where there is none."""
    field = attrs.fields_dict(attrs.resolve_types(type(dataset))).get("split")
    other = "train" if field is not None and dataset.split == "test" else "test"
    return attrs.evolve(dataset, split=other) if field is not None and other in get_args(field.type) else None
