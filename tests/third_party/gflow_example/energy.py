"""The energy distance (Szekely and Rizzo 2013), and a sampler that follows its gradient."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor, nn


def energy_distance(x: Tensor, y: Tensor, power: float = 1.0) -> Tensor:
    """2 E|x - y|^p - E|x - x'|^p - E|y - y'|^p, unbiased, from samples x [n, d] and y [m, d]."""

    def mean(a: Tensor, b: Tensor, pairs: int) -> Tensor:
        return torch.cdist(a, b).pow(power).sum() / pairs

    n, m = len(x), len(y)
    return 2 * mean(x, y, n * m) - mean(x, x, n * (n - 1)) - mean(y, y, m * (m - 1))


class AffineSampler(nn.Module):
    """z [B, inputs] -> A z + b [B, outputs]."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool, identity: bool) -> None:
        super().__init__()
        self.map = nn.Linear(inputs, outputs, bias=bias)
        if identity:
            nn.init.eye_(self.map.weight)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.map(z)


@attrs.define(eq=False)
class State:
    """Nothing: a step starts from the networks, the optimizers and the streams alone."""


class EnergyObjective:
    """`example.energy`, built."""

    def __init__(self, experiment, *, power: float) -> None:
        self.experiment = experiment
        self.power = power
        self.state = State()

    def step(self, step: int):
        """One gradient step on a fresh batch; it has no safe point before its end."""
        experiment = self.experiment
        n = experiment.spec.train.batch_size
        real = experiment.feed.next(n).x
        # The global batch is drawn everywhere, and each process takes its slice.
        latent = experiment.spec.sampler.latent
        z = experiment.draw(lambda streams: latent.draw(n, streams["example.latent"]))
        z = experiment.runtime.here(z)
        with experiment.runtime.autocast():
            x = experiment.players["sampler"].module(z)
        distance = energy_distance(x.to(real.dtype), real, self.power)
        experiment.players["sampler"].minimize(distance)
        yield {"energy_distance": experiment.runtime.mean(distance.detach())}
