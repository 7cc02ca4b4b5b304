"""What a run's analyses will cost, before it is run: how often they look, at how many samples, how long those take."""

from __future__ import annotations

import time

import attrs
import torch

from gflow_core.nn.sampling import draw_chunks, label_pool
from gflow_core.optim.player import evaluating
from gflow_core.parts.spec import Analysis, Spec
from gflow_core.parts.training import Experiment
from gflow_core.runs.blame import blaming
from gflow_core.runs.build import single

__all__ = ["Cost", "costs", "samples_a_second"]

_ENOUGH = 0.4  # seconds that samples are drawn for, to see how long they take; the last piece may take as long again
_MOST = 256  # samples in a piece, as analyzers draw them


@attrs.frozen
class Cost:
    """Of one analysis."""

    analysis: Analysis
    looks: int
    """How often it looks: during training and at the end, for each replica."""
    samples: int | None
    """What it draws at each of them, by its option `samples`; None where it has none, or reads no sampler."""


def costs(spec: Spec) -> list[Cost]:
    """Of each analysis of the recipe, which is in whole steps."""
    found = []
    last = spec.train.steps if spec.train is not None and spec.objective is not None else 0
    for analysis in spec.analyze:
        during = max(last - 1, 0) // analysis.every if analysis.every else 0
        samples = getattr(analysis.part, "samples", None)
        drawn = samples if isinstance(samples, int) and "sampler" in analysis.part.needs else None
        found.append(Cost(analysis, (during + 1) * len(spec.seeds), drawn))
    return found


@torch.no_grad()
def samples_a_second(experiment: Experiment) -> float:
    """How many samples a second the sampler makes here, as it begins: measured for less than a second, or one piece."""
    one = single(experiment, 0)
    spec, module = one.spec, one.final_sampler
    assert module is not None
    labels = label_pool(one.data, spec.data_shape()) if spec.sampler.conditional else None
    rate, size, begun = 0.0, 1, time.perf_counter()
    with evaluating(module), blaming(spec, experiment):
        while time.perf_counter() - begun < _ENOUGH:  # pieces grow: of a large network one sample may take as long
            start = time.perf_counter()
            streams = one.streams.fork("cost")
            for x in draw_chunks(module, spec.sampler, size, streams, one.runtime, labels=labels, chunk=size):
                x.cpu()
            rate, size = size / (time.perf_counter() - start), min(2 * size, _MOST)
    return rate
