"""Analyzers over a run, live or finished."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from torch import nn

from gflow_core.contracts import Experiment, Progress, Result, Subject, no_progress
from gflow_core.nn.player import evaluating
from gflow_core.rng import derive, seeded
from gflow_core.spec import Analysis

__all__ = ["analyze", "final_sampler"]


def final_sampler(experiment: Experiment) -> nn.Module | None:
    """The network that samples come from: the averaged weights where the run keeps them."""
    return experiment.ema.module if experiment.ema is not None else experiment.sampler


def analyze(
    experiment: Experiment,
    analysis: Analysis,
    step: int,
    *,
    progress: Progress = no_progress,
    folder: Path | None = None,
    earlier: Mapping[int, Path] | None = None,
) -> Result:
    """Run one analyzer on the experiment as it stands after `step`. Training goes on as if nothing happened."""
    streams = experiment.streams.fork(f"analyze.{analysis.name}.{step}")
    sampler = final_sampler(experiment)
    with ExitStack() as stack:
        for network in (sampler, experiment.discriminator):
            if network is not None:
                stack.enter_context(evaluating(network))
        # Analyzers draw from their own streams; one that draws from torch's global ones disturbs nobody either.
        stack.enter_context(seeded(derive(streams.seed, "global")))
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
        )
        result: Result = analysis.part.build()(subject)
    return result
