"""Analyzers over a run, live or finished, and what they may find."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from copy import copy, deepcopy
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import attrs
from torch import nn

from gflow_core.errors import GflowError, Interrupted
from gflow_core.machine.streams import derive, seeded
from gflow_core.machine.untouched import untouched
from gflow_core.nn.batch_norm import batch_norms
from gflow_core.optim.player import evaluating
from gflow_core.parts.analysis import Map, Result, Subject
from gflow_core.parts.nouns import Progress, no_progress
from gflow_core.parts.returned import refuse, what
from gflow_core.parts.spec import Analysis
from gflow_core.parts.training import Experiment
from gflow_core.runs.pictures import own_style
from gflow_core.runs.record import plain
from gflow_core.runs.standing import standing

__all__ = ["analyze", "at_each", "copied", "faults", "looking", "pool"]


def copied(experiment: Experiment) -> Experiment:
    """The experiment with copies of what samples come from and of what judges them: whatever is done to those.

    A network that cannot be copied, since it keeps tensors of a graph, is there itself.
    """
    return attrs.evolve(
        experiment,
        sampler=_copy(experiment.final_sampler),
        discriminator=_copy(experiment.discriminator),
        ema=None,
        data=copy(experiment.data),
    )


def _copy(network: nn.Module | None) -> nn.Module | None:
    try:
        return deepcopy(network)
    except Exception:  # all kinds
        return network


def analyze(
    experiment: Experiment,
    analysis: Analysis,
    step: int,
    *,
    progress: Progress = no_progress,
    folder: Path | None = None,
    earlier: Mapping[int, Path] | None = None,
    work: Path | None = None,
    map: Map = map,
) -> Result:
    """Run one analyzer on the experiment as it stands after `step`. Training goes on as if nothing happened."""
    with looking(experiment, analysis.name, step, analysis.sampler_batch_norm) as subject:
        seen = attrs.evolve(subject, progress=progress, folder=folder, earlier=earlier or {}, work=work, map=map)
        part = analysis.part
        function = part.build()
        if not callable(function):
            refuse("analyzer", part, "build", f"{what(function)}, a function of a Subject is expected")
        result: Result = function(seen)
    return result


@contextmanager
def looking(experiment: Experiment, name: str, step: int, batch_norm: str = "eval") -> Iterator[Subject]:
    """What the analysis of this name looks at after `step`, within the block; the experiment stays as it is.

    The sampler has the statistics of training, or, where it has batch norm, "standing" ones.
    """
    streams = experiment.streams.fork(f"analyze.{name}.{step}")
    sampler = experiment.final_sampler
    with ExitStack() as stack:
        for network in (sampler, experiment.discriminator):
            if network is not None:
                stack.enter_context(evaluating(network))
        if sampler is None or not batch_norms(sampler):
            batch_norm = "eval"
        elif batch_norm == "standing":
            sampler = standing(experiment, sampler, step)
        # Analyzers draw from their own streams; one that draws from torch's global ones disturbs nobody either.
        stack.enter_context(seeded(derive(streams.seed, "global")))
        stack.enter_context(untouched())
        stack.enter_context(own_style())
        stack.enter_context(experiment.runtime.products(tf32=False))
        yield Subject(
            spec=experiment.spec,
            runtime=experiment.runtime,
            streams=streams,
            step=step,
            data=experiment.data,
            sampler=sampler,
            discriminator=experiment.discriminator,
            batch_norm=batch_norm,
        )


def faults(found: object) -> Iterator[str]:
    """What keeps what an analyzer found from being written, a sentence each."""
    if not isinstance(found, Result):
        yield f"finds a Result, not {type(found).__name__}"
        return
    for field in ("scores", "manifest", "tables", "figures", "animations"):
        if not isinstance(getattr(found, field), dict):
            yield f"its {field} are no dict"
            return
    for name, score in found.scores.items():
        if not isinstance(name, str) or not _is_score(score):
            yield f"scores are numbers, words or None by name; {name!r} is {type(score).__name__}"
    try:
        json.dumps(plain(found.manifest))
    except (
        TypeError,
        ValueError,
        RuntimeError,
    ) as error:  # RuntimeError: torch's, or no end of nesting
        yield f"its manifest cannot be written ({type(error).__name__}: {error})"
    for name in (*found.tables, *found.figures, *found.animations):
        if not isinstance(name, str) or not name or Path(name).name != name:
            yield f"{name!r} names a file; leave out folders"
    for name, rows in found.tables.items():
        if not isinstance(rows, list) or not all(isinstance(row, Mapping) and _by_name(row) for row in rows):
            yield f"a table is a list of mappings from column to value; {name} is not"
    for name, figure in found.figures.items():
        if not hasattr(figure, "savefig"):
            yield f"figures are matplotlib's; {name} is {type(figure).__name__}"
    for name, frames in found.animations.items():
        sizes = {(getattr(frame, "shape", ()), str(getattr(frame, "dtype", ""))) for frame in frames}
        if len(sizes) != 1 or any(len(shape) != 3 or kind != "uint8" for shape, kind in sizes):
            yield f"frames of an animation are bytes [H, W, 3] of one size; those of {name} are not"


def _is_score(value: Any) -> bool:
    """A number, words or None; numpy's and torch's numbers, too."""
    try:
        return isinstance(plain(value), int | float | str | None)
    except (TypeError, ValueError, RuntimeError):
        return False


def _by_name(row: Mapping[Any, Any]) -> bool:
    return all(isinstance(column, str) for column in row)


def at_each(checkpoints: Sequence[str], look: Callable[[str], None]) -> None:
    """Look at one after the other. One that fails costs the others nothing; GflowError names it at the end."""
    failed: dict[str, GflowError] = {}
    for i, name in enumerate(checkpoints):
        try:
            look(name)
        except Interrupted as stop:
            rest = checkpoints[i + 1 :]
            raise Interrupted(f"{stop}, then for {', '.join(rest)}" if rest else str(stop)) from None
        except GflowError as error:
            failed[name] = error
    if failed and len(checkpoints) == 1:
        raise failed[checkpoints[0]]
    if failed:
        raise GflowError("\n".join(f"checkpoint {name}: {error}" for name, error in failed.items()))


def pool(results: Mapping[int, Result]) -> Result:
    """One result of several seeds' own: means of the scores, each seed's beside them.

    A score that is no number, or the same in every seed, stands as it is; others that are no numbers are left out.
    """
    first = next(iter(results.values()))
    seeds = {seed: result.scores for seed, result in results.items()}
    scores: dict[str, float | int | str | None] = {}
    for name, value in first.scores.items():
        values = [scores.get(name) for scores in seeds.values()]
        numbers = [v for v in values if isinstance(v, int | float)]
        if len(set(values)) == 1:
            scores[name] = value
        elif len(numbers) == len(values):
            scores[name] = fmean(numbers)
            if all(map(math.isfinite, numbers)):
                scores[f"{name} (std)"] = stdev(numbers)
    return Result(scores=scores, manifest=first.manifest, seeds=seeds)
