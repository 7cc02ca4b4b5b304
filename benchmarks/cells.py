"""Cells of a comparison: each is trained once, scored on the way, and kept as a file of JSON lines."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from statistics import mean, stdev
from typing import Any, TypeVar

from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from gflow_core import Experiment, Spec, written_aside
from gflow_core.runs.build import build

__all__ = ["Line", "keep", "kept", "over_time", "spread", "take_step", "trained", "work_through"]

Line = dict[str, Any]
Cell = TypeVar("Cell")


def trained(
    spec: Spec, times: list[float], ticks: int, score: Callable[[Experiment], Line]
) -> tuple[Experiment, list[Line]]:
    """The recipe trained until the first and largest of the falling `times`, and its scores once each has passed.

    Schedules count to `ticks` over the time. Scoring does not count.
    """
    limit = times[0]
    next(_train(build(spec), limit, ticks))  # what the first step ever costs is nobody's
    experiment = build(spec)
    lines: list[Line] = []
    for steps, seconds in enumerate(_train(experiment, limit, ticks), 1):
        if passed := [at for at in times if at <= seconds]:
            times = times[: -len(passed)]
            lines.append({"time": passed[0], "seconds": seconds, "steps": steps} | score(experiment))
    return experiment, lines


def _train(experiment: Experiment, limit: float, ticks: int) -> Iterator[float]:
    """Trains a step at a time until `limit` seconds of the processor; seconds so far."""
    seconds = 0.0
    while seconds < limit:
        seconds += take_step(experiment, int(ticks * seconds / limit))
        yield seconds


def take_step(experiment: Experiment, done: int) -> float:
    """The step after `done`, as a run takes it, without what a run writes; the processor's seconds."""
    assert experiment.feed is not None
    start = time.process_time()
    experiment.feed.done = done
    for player in experiment.players.values():
        player.train()
        player.set_rates(done)
    for _ in experiment.objective.step(done + 1):
        pass
    if experiment.ema is not None and experiment.sampler is not None:
        experiment.ema.update(experiment.sampler, done + 1)
    return time.process_time() - start


def keep(path: Path, head: Line, lines: list[Line]) -> None:
    """Keeps a finished cell: first what it was made by, then its scores."""
    with written_aside(path) as aside:
        aside.write_text("".join(json.dumps(line) + "\n" for line in [head, *lines]))


def kept(path: Path, head: Line) -> list[Line]:
    """The scores of a finished cell, in time; none of one that was made by other settings."""
    if not path.exists():
        return []
    first, *lines = map(json.loads, path.read_text().splitlines())
    return lines if first == head else []


def work_through(cells: Sequence[Cell], name: Callable[[Cell], str], work: Callable[[Cell], str]) -> None:
    """Does the work on each cell and prints what there is to say of it, if anything, above a bar."""
    columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        task = progress.add_task("cells", total=len(cells))
        for cell in cells:
            progress.update(task, description=name(cell))
            if said := work(cell):
                progress.print(f"{name(cell)}: {said}", soft_wrap=True)
            progress.advance(task)


def spread(values: list[float], digits: int, of: int) -> str:
    """Mean and spread; how many there are, unless all."""
    if not values:
        return "none"
    text = f"{mean(values):.{digits}f} ± {stdev(values) if len(values) > 1 else 0:.{digits}f}"
    return text if len(values) == of else f"{text} ({len(values)} of {of})"


def over_time(seeds: list[list[Line]], key: str) -> tuple[list[float], list[list[float]]]:
    """Mean seconds, and the score of every seed, at the times at which all have one."""
    at: dict[float, list[Line]] = {}
    for line in chain(*seeds):
        at.setdefault(line["time"], []).append(line)
    points = [at[time] for time in sorted(at) if len(at[time]) == len(seeds)]  # steps may be longer than times
    points = [column for column in points if all(line.get(key) for line in column)]
    seconds = [mean(line["seconds"] for line in column) for column in points]
    return seconds, [[line[key] for line in column] for column in points]
