"""One training step of DCGAN at 64 px: gflow's way against a plain float32 loop of the same mathematics, in one run.

    python benchmarks/dcgan_step.py [--size paper|small] [--repeats N] [--threads N]

A batch of 128, the published widths 1024, 512, 256, 128, Adam at 2e-4 with beta1 0.5: one update of the discriminator
and one of the sampler, with the published kernels of 5x5 and with the usual 4x4.

The plain way is what one writes first: torch's modules in the order of the paper, contiguous NCHW tensors in float32, a
discriminator that collects gradients nobody reads while the sampler learns. gflow's way is the objective itself, in
bf16 where that is the faster. Both start from the same weights; their agreement in float64 is printed. Each way runs in
a process of its own, because the allocator is part of it; they work in turns, A B A B, and medians are printed, so that
ratios hold on a machine whose load changes.
"""

from __future__ import annotations

import argparse
import statistics
from itertools import pairwise
from typing import Any

import attrs
import torch
from far_cifar_step import Worker
from torch import Tensor, nn
from torch.nn import functional as F
from vgrow_outer_loop import Noise, timed

from gflow_core import Adam, Adversarial, Experiment, Spec, Train
from gflow_core.machine.runtime import choose_device, computes_bf16
from gflow_core.nn.fits import base_maps
from gflow_core.nn.strided import widths
from gflow_core.runs.build import build
from gflow_dcgan.parts.networks import ConvDiscriminator, ConvSampler

LATENT, RATE, BETAS = 100, 2e-4, (0.5, 0.999)  # Section 4 of the paper
KERNELS = {"5x5": 5, "4x4": 4}


@attrs.frozen
class Size:
    """What is timed; the defaults are the paper's."""

    width: int = 128
    image_size: int = 64
    batch: int = 128


SIZES = {"paper": Size(), "small": Size(width=8, image_size=32, batch=16)}


# ------------------------------------------------------------------ the plain way


class From4x4(nn.Module):
    """The linear layer's output as maps of 4x4, in the order of gflow's, so that weights can be shared."""

    def forward(self, h: Tensor) -> Tensor:
        return h.view(len(h), 4, 4, -1).permute(0, 3, 1, 2).contiguous()


class To4x4(nn.Module):
    """The other way round."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1).flatten(1)


def plain_sampler(size: Size, kernel: int) -> nn.Module:
    """Figure 1."""
    wide = widths(base_maps(size.image_size)[0], size.width, 1024)
    options = {"stride": 2, "padding": (kernel - 1) // 2, "output_padding": kernel % 2}
    rows: list[nn.Module] = [nn.Linear(LATENT, 16 * wide[0], bias=False), From4x4(), nn.BatchNorm2d(wide[0]), nn.ReLU()]
    for i, o in pairwise(wide):
        rows += [nn.ConvTranspose2d(i, o, kernel, **options, bias=False), nn.BatchNorm2d(o), nn.ReLU()]
    return nn.Sequential(*rows, nn.ConvTranspose2d(wide[-1], 3, kernel, **options), nn.Tanh())


def plain_discriminator(size: Size, kernel: int) -> nn.Module:
    """Its mirror image, with leaky ReLU."""
    wide = widths(base_maps(size.image_size)[0], size.width, 1024)[::-1]
    options = {"stride": 2, "padding": (kernel - 1) // 2}
    rows: list[nn.Module] = [nn.Conv2d(3, wide[0], kernel, **options), nn.LeakyReLU(0.2)]
    for i, o in pairwise(wide):
        rows += [nn.Conv2d(i, o, kernel, **options, bias=False), nn.BatchNorm2d(o), nn.LeakyReLU(0.2)]
    return nn.Sequential(*rows, To4x4(), nn.Linear(16 * wide[-1], 1), nn.Flatten(0))


class Game:
    """The plain networks of one kernel, and their optimizers."""

    def __init__(self, size: Size, kernel: int, device: torch.device) -> None:
        source = gflow_experiment(size, kernel, device)  # for its weights, which stand in the same order
        self.g, self.d = plain_sampler(size, kernel), plain_discriminator(size, kernel)
        for plain, ours in ((self.g, source.sampler), (self.d, source.discriminator)):
            with torch.no_grad():
                for parameter, value in zip(plain.parameters(), ours.parameters(), strict=True):
                    parameter.copy_(value)
            plain.to(device)
        self.g_optimizer = torch.optim.Adam(self.g.parameters(), lr=RATE, betas=BETAS)
        self.d_optimizer = torch.optim.Adam(self.d.parameters(), lr=RATE, betas=BETAS)


class Plain:
    """The plain loop."""

    def __init__(self, size: Size, device: torch.device) -> None:
        self.size, self.device = size, device
        self.games = {name: Game(size, kernel, device) for name, kernel in KERNELS.items()}
        self.data = torch.rand(1024, 3, size.image_size, size.image_size) * 2 - 1

    def latent(self) -> Tensor:
        return (torch.rand(self.size.batch, LATENT) * 2 - 1).to(self.device)

    def real(self) -> Tensor:
        return self.data[torch.randint(len(self.data), (self.size.batch,))].to(self.device)

    def step(self, name: str) -> tuple[Tensor, Tensor]:
        """Losses of the discriminator and the sampler."""
        game = self.games[name]
        with torch.no_grad():
            fake = game.g(self.latent())
        loss = F.softplus(-game.d(self.real())).mean() + F.softplus(game.d(fake)).mean()
        game.d_optimizer.zero_grad()
        loss.backward()
        game.d_optimizer.step()

        sampler_loss = F.softplus(-game.d(game.g(self.latent()))).mean()
        game.g_optimizer.zero_grad()
        sampler_loss.backward()
        game.g_optimizer.step()
        return loss.detach(), sampler_loss.detach()


# ------------------------------------------------------------------ gflow's way


def gflow_experiment(size: Size, kernel: int, device: torch.device, precision: str = "auto") -> Experiment:
    network: dict[str, Any] = {"width": size.width, "kernel_size": kernel}
    return build(
        Spec(
            dataset=Noise(image_size=size.image_size),
            sampler=ConvSampler(**network),
            discriminator=ConvDiscriminator(**network),
            objective=Adversarial(),
            optimizer={"sampler": Adam(lr=RATE, betas=BETAS), "discriminator": Adam(lr=RATE, betas=BETAS)},
            train=Train(steps=1, batch_size=size.batch, device=device.type, precision=precision),
        )
    )


class Gflow:
    """The objective `adversarial`."""

    def __init__(self, size: Size, device: torch.device) -> None:
        self.objectives: dict[str, Any] = {
            name: gflow_experiment(size, kernel, device).objective for name, kernel in KERNELS.items()
        }

    def step(self, name: str) -> None:
        for _ in self.objectives[name].step(1):
            pass


# ------------------------------------------------------------------ measuring


class Following(Plain):
    """The plain loop on the latents and the real items that gflow's streams give."""

    def __init__(self, size: Size, experiment: Experiment) -> None:
        super().__init__(size, torch.device("cpu"))
        self.experiment = experiment

    def latent(self) -> Tensor:
        return self.experiment.spec.sampler.latent.draw(self.size.batch, self.experiment.streams["adversarial.latent"])

    def real(self) -> Tensor:
        assert self.experiment.feed is not None
        return self.experiment.feed.next(self.size.batch).x


def agreement(size: Size, steps: int = 3) -> float:
    """The largest relative difference of the losses over the first steps, in float64."""
    cpu, errors = torch.device("cpu"), []
    torch.set_default_dtype(torch.float64)
    try:
        for name, kernel in KERNELS.items():
            experiment = gflow_experiment(size, kernel, cpu, "float32")
            assert experiment.objective is not None
            plain = Following(size, gflow_experiment(size, kernel, cpu, "float32"))
            for step in range(1, steps + 1):
                *_, seen = experiment.objective.step(step)
                ours = (seen["discriminator_loss"], seen["sampler_loss"])
                errors += [(a - b).abs() / b.abs() for a, b in zip(ours, plain.step(name), strict=True)]
    finally:
        torch.set_default_dtype(torch.float32)
    return float(torch.stack(errors).max())


def peak(size: Size, device: torch.device, dtype: torch.dtype) -> float:
    """The best GFLOP/s of the discriminator's own convolutions, 5x5 and 4x4, channels-last, forward."""
    best, layout = 0.0, {"device": device, "dtype": dtype}
    side = size.image_size // 2
    for narrow, wide in pairwise(widths(base_maps(size.image_size)[0], size.width, 1024)[::-1]):
        for kernel in KERNELS.values():
            x = torch.randn(size.batch, narrow, side, side, **layout).contiguous(memory_format=torch.channels_last)
            w = torch.randn(wide, narrow, kernel, kernel, **layout).contiguous(memory_format=torch.channels_last)
            with torch.no_grad():
                seconds = min(timed(device, torch.conv2d, x, w, None, 2, (kernel - 1) // 2)[0] for _ in range(4))
            best = max(best, 2 * size.batch * (side // 2) ** 2 * kernel**2 * narrow * wide / 1e9 / seconds)
        side //= 2
    return best


def main() -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="paper", help="the paper's, or a quick look")
    parser.add_argument("--repeats", type=int, default=5, help="timings of each step and way (medians are printed)")
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
        f"convolution peak, measured on the discriminator's own layers: {peaks['plain']:.0f} GFLOP/s in float32"
        + (f", {peaks['gflow']:.0f} in bf16, in which gflow runs" if bf16 else ", in which gflow runs too")
    )
    print(f"losses of three steps differ by {agreement(SIZES['small']):.0e} at most (relative, float64)\n", flush=True)

    ways = {name: Worker(way, size, device, options.threads) for name, way in (("plain", Plain), ("gflow", Gflow))}
    # Counting warms up as well.
    gflop = {(way, kernel): ways[way].ask("step", kernel, count=True) for way in ways for kernel in KERNELS}
    seconds: dict[tuple[str, str], list[float]] = {key: [] for key in gflop}
    for _ in range(options.repeats):
        for kernel in KERNELS:
            for way in ways:
                seconds[way, kernel].append(ways[way].ask("step", kernel))
    median = {key: statistics.median(values) for key, values in seconds.items()}

    print("GFLOP: convolutions and linear layers as computed. % of peak: of the convolution peak above.\n")
    heads = ("plain s", "gflow s", "ratio", "plain GFLOP", "% of peak", "gflow GFLOP", "% of peak")
    print(f"{'':20}" + "".join(f"{head:>13}" for head in heads))
    for kernel in KERNELS:
        a, b = median["plain", kernel], median["gflow", kernel]
        m, n = gflop["plain", kernel], gflop["gflow", kernel]
        print(
            f"{f'step, kernels {kernel}':20}{a:13.3f}{b:13.3f}{a / b:13.2f}"
            f"{m:13.1f}{m / a / peaks['plain']:13.0%}{n:13.1f}{n / b / peaks['gflow']:13.0%}"
        )
    for each in ways.values():
        each.stop()


if __name__ == "__main__":
    main()
