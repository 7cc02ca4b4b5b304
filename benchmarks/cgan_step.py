"""One training step of CGAN's published networks: gflow's way against a plain loop of the same mathematics, one thread.

    python benchmarks/cgan_step.py [--steps 30] [--rounds 5]

Batches of 100 digits, dropout of 0.5, `max_norm` and SGD with momentum, as in recipes/cgan_mnist.toml. The plain way is
what one writes first: one-hot labels, nn.Dropout, weights that are shortened before each product, a forward each for
real and generated items. Both run in float32 and in bf16, in turns; the processor's time is taken, and the least of all
turns. The roofline is the time that a step's matrix products alone take, measured in the same turns.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gflow_core import Experiment
from gflow_core.recipes.recipe import load
from gflow_core.runs.build import build

RECIPE = Path(__file__).parents[1] / "recipes/cgan_mnist.toml"
BATCH, LONGEST = 100, 0.3
SAMPLER = ((100, 200), (10, 1000), (1200, 1200), (1200, 784))
DISCRIMINATOR = ((784, 1200), (10, 250), (290, 960), (240, 1))  # inputs and outputs of its layers
FIRST = 2  # layers that read what comes from outside


def experiment(precision: str, dropout: float = 0.5) -> Experiment:
    words = ["dataset.use=mnist5k", "dataset.split=train", "train.device=cpu", f"train.precision={precision}"]
    words += [f"{network}.dropout={dropout}" for network in ("sampler", "discriminator")]
    return build(load(RECIPE, words).spec)


class Plain:
    """The plain loop, on weights that it shares with nobody."""

    def __init__(self, precision: str, dropout: float = 0.5) -> None:
        source = experiment(precision, dropout)
        self.source, self.bf16, self.dropout = source, precision == "bf16", dropout
        self.g, self.d = (
            [nn.Parameter(p.detach().clone()) for p in network.parameters()]
            for network in (source.sampler, source.discriminator)
        )
        self.optimizers = [torch.optim.SGD(weights, lr=0.1, momentum=0.5) for weights in (self.g, self.d)]

    def sampler(self, z: Tensor, y: Tensor) -> Tensor:
        wz, bz, wy, by, wj, bj, wo, bo = self.g
        with self._autocast():
            h = [self._dropped(F.linear(z, wz, bz).relu()), self._dropped(F.linear(one_hot(y), wy, by).relu())]
            h = F.linear(self._dropped(F.linear(torch.cat(h, 1), wj, bj).relu()), wo, bo)
        return torch.sigmoid(h.float()).view(-1, 1, 28, 28) * 2 - 1

    def discriminator(self, x: Tensor, y: Tensor) -> Tensor:
        wx, bx, wy, by, wj, bj, wo, bo = self.d
        with self._autocast():
            h = [self._maxout((x.flatten(1) + 1) / 2, wx, bx, 5), self._maxout(one_hot(y), wy, by, 5)]
            h = self._maxout(torch.cat(h, 1), wj, bj, 4)
        return F.linear(h.float(), shortened(wo), bo).squeeze(1)

    def step(self) -> tuple[Tensor, Tensor]:
        """Losses of the discriminator and the sampler."""
        z, y = self._latents()
        with torch.no_grad():
            fake = self.sampler(z, y)
        real = self.source.feed.next(BATCH)
        loss = F.softplus(-self.discriminator(real.x, real.y)).mean() + F.softplus(self.discriminator(fake, y)).mean()
        self._minimize(1, loss)
        z, y = self._latents()
        sampler_loss = F.softplus(-self.discriminator(self.sampler(z, y), y)).mean()
        self._minimize(0, sampler_loss)
        return loss.detach(), sampler_loss.detach()

    def _maxout(self, x: Tensor, w: Tensor, b: Tensor, pieces: int) -> Tensor:
        return self._dropped(F.linear(x, shortened(w), b).unflatten(1, (-1, pieces)).amax(2))

    def _dropped(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout)

    def _autocast(self):
        return torch.autocast("cpu", torch.bfloat16) if self.bf16 else nullcontext()

    def _latents(self) -> tuple[Tensor, Tensor]:
        streams, pool = self.source.streams, self.source.data.y
        z = torch.rand(BATCH, 100, generator=streams["adversarial.latent"])
        return z, pool[torch.randint(len(pool), (BATCH,), generator=streams["adversarial.label"])]

    def _minimize(self, which: int, loss: Tensor) -> None:
        self.optimizers[which].zero_grad()
        loss.backward()
        self.optimizers[which].step()


def one_hot(y: Tensor) -> Tensor:
    return F.one_hot(y, 10).float()


def shortened(w: Tensor) -> Tensor:
    return w * (LONGEST / w.norm(dim=1, keepdim=True).clamp(min=LONGEST))


def gflow(one: Experiment) -> Callable[[], tuple[Tensor, Tensor]]:
    step = 0

    def iteration() -> tuple[Tensor, Tensor]:
        nonlocal step
        step += 1
        *_, seen = one.objective.step(step)
        return seen["discriminator_loss"], seen["sampler_loss"]

    return iteration


def agreement(steps: int = 60) -> float:
    """The largest relative difference of the losses over the first steps, in float32 and without dropout."""
    ours, plain = gflow(experiment("float32", 0.0)), Plain("float32", 0.0)
    pairs = [pair for _ in range(steps) for pair in zip(ours(), plain.step(), strict=True)]
    return max(float((a - b).abs() / b.abs()) for a, b in pairs)


def products() -> list[tuple[int, int, int, int]]:
    """How often a step multiplies [m, k] by [k, n], and m, k, n."""
    found = []
    for layer, (i, o) in enumerate(SAMPLER):
        found += [(2, BATCH, i, o), (1, o, BATCH, i), (int(layer >= FIRST), BATCH, o, i)]
    for layer, (i, o) in enumerate(DISCRIMINATOR):
        inner = int(layer >= FIRST)
        found += [(1, o, i, 2 * BATCH), (1, o, 2 * BATCH, i), (inner, i, o, 2 * BATCH)]
        found += [(1, o, i, BATCH), (int(layer != 1), i, o, BATCH)]
    return [one for one in found if one[0]]


def multiplying(dtype: torch.dtype) -> Callable[[], None]:
    """All products of a step."""
    given = [(times, torch.randn(m, k).to(dtype), torch.randn(k, n).to(dtype)) for times, m, k, n in products()]

    @torch.no_grad()
    def iteration() -> None:
        for times, a, b in given:
            for _ in range(times):
                a @ b

    return iteration


def main() -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=30, help="steps in a timing")
    parser.add_argument("--rounds", type=int, default=5, help="timings of each way, taken in turns")
    options = parser.parse_args()
    torch.set_num_threads(1)

    gflop = sum(2 * times * m * k * n for times, m, k, n in products()) / 1e9
    print(f"torch {torch.__version__}, one thread, the least of {options.rounds} timings of {options.steps} steps")
    print(f"losses of 60 steps without dropout differ by {agreement():.0e} at most (relative, float32)")
    print(f"a step's products: {gflop:.2f} GFLOP\n", flush=True)
    ways: dict[tuple[str, str], Callable[[], object]] = {}
    for precision, dtype in (("float32", torch.float32), ("bf16", torch.bfloat16)):
        ways[precision, "plain"] = Plain(precision).step
        ways[precision, "gflow"] = gflow(experiment(precision))
        ways[precision, "products"] = multiplying(dtype)
    seconds: dict[tuple[str, str], list[float]] = {name: [] for name in ways}
    for turn in range(options.rounds + 1):
        for name, way in ways.items():
            start = time.process_time()
            for _ in range(options.steps):
                way()
            if turn:  # the first warms up
                seconds[name].append((time.process_time() - start) / options.steps)

    print(
        f"{'':10}{'plain ms':>10}{'gflow ms':>10}{'ratio':>8}{'steps / s':>11}{'products ms':>13}{'% of roofline':>15}"
    )
    for precision in ("float32", "bf16"):
        plain, ours, least = (min(seconds[precision, way]) for way in ("plain", "gflow", "products"))
        print(
            f"{precision:10}{plain * 1e3:10.1f}{ours * 1e3:10.1f}{plain / ours:8.2f}{1 / ours:11.1f}{least * 1e3:13.1f}"
            f"{least / ours:15.0%}"
        )


if __name__ == "__main__":
    main()
