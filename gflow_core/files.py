"""Files that are whole or not there, and metrics, of which the last line may not be."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

__all__ = ["read_metrics", "written_aside"]


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; renamed to it when the block ends well, deleted when it does not."""
    aside = path.with_name(f".{path.name}.tmp")
    try:
        yield aside
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Every line of a metrics.jsonl that can be read; one that a crash cut short is left out."""
    found = []
    for raw in path.read_bytes().splitlines() if path.exists() else ():
        with suppress(ValueError):
            line = json.loads(raw)
            if isinstance(line, dict) and isinstance(line.get("step"), int):
                found.append(line)
    return found
