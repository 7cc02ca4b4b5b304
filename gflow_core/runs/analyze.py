"""Analyzers over a run, live or finished."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from statistics import fmean, stdev

from gflow_core.machine.streams import derive, seeded
from gflow_core.optim.player import evaluating
from gflow_core.parts.analysis import Map, Result, Subject
from gflow_core.parts.nouns import Progress, no_progress
from gflow_core.parts.spec import Analysis
from gflow_core.parts.training import Experiment
from gflow_core.runs.pictures import own_style

__all__ = ["analyze", "pool"]


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
    streams = experiment.streams.fork(f"analyze.{analysis.name}.{step}")
    sampler = experiment.final_sampler
    with ExitStack() as stack:
        for network in (sampler, experiment.discriminator):
            if network is not None:
                stack.enter_context(evaluating(network))
        # Analyzers draw from their own streams; one that draws from torch's global ones disturbs nobody either.
        stack.enter_context(seeded(derive(streams.seed, "global")))
        stack.enter_context(own_style())
        subject = Subject(
            spec=experiment.spec,
            runtime=experiment.runtime,
            streams=streams,
            step=step,
            data=experiment.data,
            sampler=sampler,
            discriminator=experiment.discriminator,
            progress=progress,
            folder=folder,
            earlier=earlier or {},
            work=work,
            map=map,
        )
        result: Result = analysis.part.build()(subject)
    return result


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
