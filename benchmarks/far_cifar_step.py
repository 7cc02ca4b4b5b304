"""One training step of FAR at CIFAR size: gflow's way against a plain float32 loop of the same mathematics, in one run.

    python benchmarks/far_cifar_step.py [--size table|small] [--repeats N] [--threads N]

A batch of 64, 32 of it fakes chosen from 256 candidates, penalty 10 on that mixed batch, RMSprop at 1e-4, the networks
of Tables 5 and 6; beside it R1 alone (0GP-sample: no candidates, all 64 real), and the drawing of the mixed batch.

The plain way is what one writes first: contiguous NCHW tensors in float32, every operation in the order of the tables,
a discriminator that collects gradients nobody reads while the sampler learns. gflow's way is the objective itself, in
bf16 where that is the faster. Both start from the same weights; their agreement in float64 is printed. Each way runs in
a process of its own, because the allocator is part of it; they work in turns, A B A B, and medians are printed, so that
ratios hold on a machine whose load changes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import attrs
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from vgrow_outer_loop import Flops, Noise, timed

from gflow_core import R1, Adversarial, Experiment, RMSprop, Spec, Train
from gflow_core.machine.runtime import choose_device, computes_bf16
from gflow_core.runs.build import build
from gflow_far.parts import FakeAsReal, ResnetDiscriminator, ResnetSampler
from gflow_far.resnet import blocks_down, blocks_up

LATENT, WEIGHT, RATE = 128, 10.0, 1e-4  # dimension of z, lambda, learning rate (Section 6.2)


@attrs.frozen
class Size:
    """What is timed; the defaults are the paper's."""

    channels: int = 64
    image_size: int = 32
    batch: int = 64
    fake_as_real: int = 32
    candidates: int = 256


SIZES = {"table": Size(), "small": Size(channels=16, image_size=16, batch=16, fake_as_real=8, candidates=64)}
METHODS = ("far", "r1")


# ------------------------------------------------------------------ the plain way


class PlainBlock(nn.Module):
    """A residual block of the tables, line by line. Layers are named as gflow's, so that weights can be shared."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        hidden = min(inputs, outputs)
        self.conv1 = nn.Conv2d(inputs, hidden, 3, padding=1)
        self.conv2 = nn.Conv2d(hidden, outputs, 3, padding=1)
        self.skip = nn.Conv2d(inputs, outputs, 1, bias=False) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv2(F.leaky_relu(self.conv1(F.leaky_relu(x, 0.2)), 0.2))
        return self.skip(x) + 0.1 * h


class PlainSampler(nn.Module):
    """Table 5."""

    def __init__(self, c: int, image_size: int) -> None:
        super().__init__()
        plan = list(blocks_up((image_size // 4).bit_length() - 1, 1, c, 1024))
        self.linear = nn.Linear(LATENT, 16 * plan[0][0])
        self.blocks = nn.ModuleList(PlainBlock(i, o) for i, o, _ in plan)
        self.conv = nn.Conv2d(c, 3, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        x = self.linear(z).view(len(z), 4, 4, -1).permute(0, 3, 1, 2).contiguous()
        for block in self.blocks:
            if block is not self.blocks[0]:
                x = F.interpolate(x, scale_factor=2, mode="nearest")
            x = block(x)
        return torch.tanh(self.conv(F.leaky_relu(x, 0.2)))


class PlainDiscriminator(nn.Module):
    """Table 6."""

    def __init__(self, c: int, image_size: int) -> None:
        super().__init__()
        plan = list(blocks_down((image_size // 4).bit_length() - 1, 1, c, 1024))
        self.conv = nn.Conv2d(3, c, 3, padding=1)
        self.blocks = nn.ModuleList(PlainBlock(i, o) for i, o, _ in plan)
        self.linear = nn.Linear(16 * plan[-1][1], 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        for block in self.blocks:
            x = F.avg_pool2d(block(x), 2)
        return self.linear(F.leaky_relu(x, 0.2).permute(0, 2, 3, 1).flatten(1)).squeeze(1)


class Plain:
    """The plain loop."""

    def __init__(self, size: Size, device: torch.device) -> None:
        self.size, self.device = size, device
        source = gflow_experiment(size, "r1", device)  # for its weights
        assert source.sampler is not None
        assert source.discriminator is not None
        self.g, self.d = (
            PlainSampler(size.channels, size.image_size),
            PlainDiscriminator(size.channels, size.image_size),
        )
        self.g.load_state_dict(source.sampler.state_dict())
        self.d.load_state_dict(source.discriminator.state_dict())
        self.g.to(device)
        self.d.to(device)
        self.g_optimizer = torch.optim.RMSprop(self.g.parameters(), lr=RATE)
        self.d_optimizer = torch.optim.RMSprop(self.d.parameters(), lr=RATE)
        self.data = torch.rand(1024, 3, size.image_size, size.image_size) * 2 - 1

    def latent(self, n: int, stream: str = "adversarial") -> Tensor:
        return torch.randn(n, LATENT).to(self.device)

    def real(self, n: int) -> Tensor:
        return self.data[torch.randint(len(self.data), (n,))].to(self.device)

    def mix(self, method: str) -> Tensor:
        """What counts as real: for FAR, real items and the candidates with the lowest logits (eq. 11)."""
        if method == "r1":
            return self.real(self.size.batch)
        real = self.real(self.size.batch - self.size.fake_as_real)
        with torch.no_grad():
            fresh = self.g(self.latent(self.size.candidates, "far"))
            index = self.d(fresh).topk(self.size.fake_as_real, largest=False).indices
        return torch.cat([real, fresh[index]])

    def step(self, method: str) -> tuple[Tensor, Tensor, Tensor]:
        """Discriminator loss without penalty, penalty, sampler loss (eqs. 12 and 3)."""
        with torch.no_grad():
            fake = self.g(self.latent(self.size.batch))
        real = self.mix(method).requires_grad_()
        d_real, d_fake = self.d(real), self.d(fake)
        loss = F.softplus(-d_real).mean() + F.softplus(d_fake).mean()
        (slope,) = torch.autograd.grad(d_real.sum(), real, create_graph=True)
        penalty = slope.square().sum((1, 2, 3)).mean()
        self.d_optimizer.zero_grad()
        (loss + WEIGHT * penalty).backward()
        self.d_optimizer.step()

        sampler_loss = F.softplus(-self.d(self.g(self.latent(self.size.batch)))).mean()
        self.g_optimizer.zero_grad()
        sampler_loss.backward()
        self.g_optimizer.step()
        return loss.detach(), penalty.detach(), sampler_loss.detach()


# ------------------------------------------------------------------ gflow's way


def gflow_experiment(size: Size, method: str, device: torch.device, precision: str = "auto") -> Experiment:
    objectives = {
        "far": FakeAsReal(fake_as_real=size.fake_as_real, candidates=size.candidates),  # its penalty is mixed, 10
        "r1": Adversarial(penalty=(R1(weight=WEIGHT),)),
    }
    return build(
        Spec(
            dataset=Noise(image_size=size.image_size),
            sampler=ResnetSampler(channels=size.channels),
            discriminator=ResnetDiscriminator(channels=size.channels),
            objective=objectives[method],
            optimizer={"sampler": RMSprop(lr=RATE), "discriminator": RMSprop(lr=RATE)},
            train=Train(steps=1, batch_size=size.batch, device=device.type, precision=precision),
        )
    )


class Gflow:
    """The objectives `far.fake_as_real` and `adversarial`."""

    def __init__(self, size: Size, device: torch.device) -> None:
        self.objectives: dict[str, Any] = {
            method: gflow_experiment(size, method, device).objective for method in METHODS
        }

    def mix(self, method: str) -> None:
        self.objectives[method].real_batch()

    def step(self, method: str) -> None:
        for _ in self.objectives[method].step(1):
            pass


# ------------------------------------------------------------------ measuring


class Following(Plain):
    """The plain loop on the latents and the real items that gflow's streams give."""

    def __init__(self, size: Size, experiment: Experiment) -> None:
        super().__init__(size, torch.device("cpu"))
        self.experiment = experiment

    def latent(self, n: int, stream: str = "adversarial") -> Tensor:
        return self.experiment.spec.sampler.latent.draw(n, self.experiment.streams[f"{stream}.latent"])

    def real(self, n: int) -> Tensor:
        assert self.experiment.feed is not None
        return self.experiment.feed.next(n).x


def agreement(size: Size, steps: int = 2) -> float:
    """The largest relative difference of losses and penalty over the first steps, in float64."""
    cpu, errors = torch.device("cpu"), []
    torch.set_default_dtype(torch.float64)
    try:
        for method in METHODS:
            experiment = gflow_experiment(size, method, cpu, "float32")
            assert experiment.objective is not None
            plain = Following(size, gflow_experiment(size, method, cpu, "float32"))
            for step in range(1, steps + 1):
                *_, seen = experiment.objective.step(step)
                ours = (seen["discriminator_loss"], seen["penalty"], seen["sampler_loss"])
                for a, b in zip(ours, plain.step(method), strict=True):
                    errors.append((a - b).abs() / b.abs())
    finally:
        torch.set_default_dtype(torch.float32)
    return float(torch.stack(errors).max())


def peak(size: Size, device: torch.device, dtype: torch.dtype) -> float:
    """The best GFLOP/s of the networks' own 3x3 convolutions, channels-last, forward, batch 64."""
    best = 0.0
    layout = {"device": device, "dtype": dtype}
    for level in range((size.image_size // 4).bit_length()):
        c, side = size.channels << level, size.image_size >> level
        x = torch.randn(64, c, side, side, **layout).contiguous(memory_format=torch.channels_last)
        w = torch.randn(c, c, 3, 3, **layout).contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            seconds = min(timed(device, torch.conv2d, x, w, None, 1, 1)[0] for _ in range(8))
        best = max(best, 2 * 64 * side * side * 9 * c * c / 1e9 / seconds)
    return best


def worker(pipe: Connection, way: Callable[..., Any], size: Size, device: torch.device, threads: int) -> None:
    """Do one way's pieces on request; answer with seconds or, if asked, GFLOP."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    built = way(size, device)
    while (request := pipe.recv()) is not None:
        piece, method, count = request
        if count:
            with Flops() as counter:
                getattr(built, piece)(method)
            pipe.send(counter.total / 1e9)
        else:
            pipe.send(timed(device, getattr(built, piece), method)[0])


class Worker:
    """The parent's end of one way."""

    def __init__(self, *args: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, there = context.Pipe()
        self.process = context.Process(target=worker, args=(there, *args), daemon=True)
        self.process.start()
        there.close()

    def ask(self, piece: str, method: str, *, count: bool = False) -> float:
        self.pipe.send((piece, method, count))
        return float(self.pipe.recv())

    def stop(self) -> None:
        self.pipe.send(None)
        self.process.join()


PIECES = {("mix", "far"): "mixed batch alone", ("step", "far"): "FAR step", ("step", "r1"): "R1 step"}


def main() -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="table", help="the paper's, or a quick look")
    parser.add_argument("--repeats", type=int, default=5, help="timings of each piece and way (medians are printed)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="1 is steadier on a busy machine")
    options = parser.parse_args()
    size, device = SIZES[options.size], choose_device(options.device)
    torch.set_num_threads(options.threads)

    bf16 = computes_bf16(device)
    peaks = {"plain": peak(size, device, torch.float32)}
    peaks["gflow"] = peak(size, device, torch.bfloat16) if bf16 else peaks["plain"]
    print(f"torch {torch.__version__}, {device.type}, {torch.get_num_threads()} threads; {size}")
    print(
        f"convolution peak, measured on the networks' own 3x3 layers: {peaks['plain']:.0f} GFLOP/s in float32"
        + (f", {peaks['gflow']:.0f} in bf16, in which gflow runs" if bf16 else ", in which gflow runs too")
    )
    print(f"losses and penalties of two steps differ by {agreement(SIZES['small']):.0e} at most (relative, float64)\n")

    ways = {
        "plain": Worker(Plain, size, device, options.threads),
        "gflow": Worker(Gflow, size, device, options.threads),
    }
    # Counting warms up as well.
    gflop = {(way, piece): ways[way].ask(*piece, count=True) for way in ways for piece in PIECES}
    seconds: dict[tuple[str, tuple[str, str]], list[float]] = {key: [] for key in gflop}
    for _ in range(options.repeats):
        for piece in PIECES:
            for way in ways:
                seconds[way, piece].append(ways[way].ask(*piece))
    median = {key: statistics.median(values) for key, values in seconds.items()}

    print("GFLOP: convolutions and linear layers as computed. % of peak: of the convolution peak above.\n")
    heads = ("plain s", "gflow s", "ratio", "plain GFLOP", "% of peak", "gflow GFLOP", "% of peak")
    print(f"{'':20}" + "".join(f"{head:>13}" for head in heads))
    for piece, label in PIECES.items():
        a, b = median["plain", piece], median["gflow", piece]
        m, n = gflop["plain", piece], gflop["gflow", piece]
        print(
            f"{label:20}{a:13.3f}{b:13.3f}{a / b:13.2f}"
            f"{m:13.0f}{m / a / peaks['plain']:13.0%}{n:13.0f}{n / b / peaks['gflow']:13.0%}"
        )
    print()
    for way in ways:
        far, r1, mix = (median[way, piece] for piece in (("step", "far"), ("step", "r1"), ("mix", "far")))
        print(
            f"{way}: a FAR step takes {far / r1:.2f} times an R1 step; drawing its mixed batch is {mix / far:.0%} of it"
        )
    for each in ways.values():
        each.stop()


if __name__ == "__main__":
    main()
