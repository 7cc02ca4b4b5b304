"""Recipes as earlier versions of the format wrote them: run folders keep theirs, and go on."""

from __future__ import annotations

from typing import Any

__all__ = ["as_written_now"]


def as_written_now(table: dict[str, Any]) -> dict[str, Any]:
    """A resolved recipe's table, with what has another name now under that name; any other table as it is."""
    objective, train = table.get("objective"), table.get("train")
    if isinstance(objective, dict) and isinstance(penalty := objective.get("penalty"), dict) and "kind" in penalty:
        kind = penalty.pop("kind")
        objective["penalty"] = [] if kind == "none" else {"use": kind, **penalty}
    if isinstance(train, dict) and "tensorboard" in train:
        train["trackers"] = ["tensorboard"] if train.pop("tensorboard") else []
    return table
