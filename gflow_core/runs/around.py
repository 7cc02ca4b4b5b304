"""What runs have around them, new, resumed or looked at again: who holds the folder, the data, workers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from gflow_core.errors import DataError
from gflow_core.machine import cluster
from gflow_core.parts.analysis import Map
from gflow_core.parts.nouns import TextEncoder
from gflow_core.parts.source import Source
from gflow_core.parts.spec import Spec
from gflow_core.parts.training import Experiment
from gflow_core.recipes.joined import joins
from gflow_core.recipes.words import path_text
from gflow_core.runs.build import build
from gflow_core.runs.events import Console
from gflow_core.runs.record import RunFolder

__all__ = ["built", "held", "is_first", "reading_again", "workers"]


@contextmanager
def held(folder: RunFolder, doing: str, waits: Console | None = None) -> Iterator[None]:
    """The run folder is this command's alone within the block; of several processes the first one holds it.

    Where another process is at work on it: GflowError, or with `waits` told there and waited for.
    """
    with folder.held(doing, waits.say if waits else None) if is_first() else nullcontext():
        yield


def is_first() -> bool:
    """Whether this is the first of the processes that a launcher started."""
    return os.environ.get("RANK", "0") == "0"


def built(
    spec: Spec,
    console: Console,
    *,
    begin: bool = True,
    precision: str = "auto",
    compiled: bool | None = None,
    data: Source | None = None,
    text: TextEncoder | None = None,
) -> Experiment:
    experiment = build(
        spec, progress=console.progress, begin=begin, precision=precision, compiled=compiled, data=data, text=text
    )
    console.close()
    return experiment


@contextmanager
def reading_again(manifest: Mapping[str, Any], spec: Spec) -> Iterator[None]:
    """Reading a run's data again within the block; DataError says where a relative path to them counts from."""
    try:
        yield
    except DataError as error:
        roots = ((path_text((*place, "root")), getattr(part, "root", None)) for place, part in joins(spec.dataset))
        relative = [f'{place} = "{root}"' for place, root in roots if root is not None and not Path(root).is_absolute()]
        if not relative or not manifest.get("folder"):
            raise
        counts = f"its {' and '.join(relative)} count{'s' if len(relative) == 1 else ''} from"
        raise DataError(f"{error}\nthe run began in {manifest['folder']}, where {counts}; go there") from error


@contextmanager
def workers(scheduler: str | None) -> Iterator[Map]:
    """A map over the workers of the dask scheduler at this address or of this file, within the block.

    Python's own without one, and in all processes but the first, which alone runs analyzers. GflowError where no
    scheduler answers, or it has no workers.
    """
    if scheduler is None or not is_first():
        yield map
        return
    with cluster.connected(scheduler) as client:
        yield partial(cluster.spread, client)
