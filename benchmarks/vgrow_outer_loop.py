"""VGrow's outer loop: gflow's way against a plain float32 loop of the same mathematics, in one run.

    python benchmarks/vgrow_outer_loop.py [--size table|small] [--repeats N] [--threads N] [--full]

The plain way is what one writes first: contiguous NCHW tensors in float32, every operation in the order of Tables
2 and 3 of Gao et al. 2019 (supplement), parameters that keep asking for gradients while particles move. gflow's
way has the networks of gflow_vgrow.resnet in channels-last, bf16 where it is the faster, frozen parameters, and
freed memory kept for the next tensor. Both start from the same weights, and their agreement in float64 is printed.

Each way runs in a process of its own, because the allocator is part of it; the parent lets them work in turns,
A B A B, and takes medians, so that ratios hold on a machine whose load changes. The outer loop is composed of the
pieces; --full runs whole ones.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from gflow_core import DataShape, Objective, RMSprop, Source, Spec, Train, evaluating, fingerprint, frozen
from gflow_core.machine.runtime import choose_device, computes_bf16, keep_freed_memory
from gflow_core.runs.build import build
from gflow_core.runs.events import Session
from gflow_core.runs.record import RunFolder
from gflow_core.runs.train import train
from gflow_vgrow.parts import Flow, ResnetDiscriminator, ResnetSampler
from gflow_vgrow.resnet import Discriminator, Sampler
from gflow_vgrow.style import STYLES

LATENT, STEP, RATE = 128, 0.5, 1e-4  # dimension of z, s in x + s v(x), learning rate (Table 1 and Section 2)


@attrs.frozen
class Size:
    """What is timed; the defaults are the paper's."""

    channels: int = 128
    image_size: int = 32
    batch: int = 64
    pool: int = 1280
    inner_loops: int = 20

    @property
    def batches(self) -> int:
        """Batches in the pool."""
        return self.pool // self.batch


SIZES = {"table": Size(), "small": Size(channels=32, image_size=16, batch=16, pool=64, inner_loops=2)}
PIECES = {"draw": "pool chunk", "teach": "discriminator step", "move": "particle chunk", "project": "projection step"}
PASSES = (5, 20)


# ------------------------------------------------------------------ the plain way


class PlainUpBlock(nn.Module):
    """A block of Table 2, line by line. Layers are named as gflow's, so that weights can be shared."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c, c, 3, padding=1)
        self.norm = nn.BatchNorm2d(c)
        self.conv2 = nn.Conv2d(c, c, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = F.interpolate(F.relu(x), scale_factor=2, mode="nearest")
        h = self.conv2(F.relu(self.norm(self.conv1(h))))
        return h + F.interpolate(x, scale_factor=2, mode="nearest")


class PlainDownBlock(nn.Module):
    """A block of Table 3, line by line."""

    def __init__(self, inputs: int, c: int, down: bool, first: bool) -> None:
        super().__init__()
        self.down, self.first = down, first
        self.conv1 = nn.Conv2d(inputs, c, 3, padding=1)
        self.conv2 = nn.Conv2d(c, c, 3, padding=1)
        self.skip = nn.Conv2d(inputs, c, 1) if inputs != c or not down else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv2(F.relu(self.conv1(x if self.first else F.relu(x))))
        skip = self.skip(x)
        return F.avg_pool2d(h, 2) + F.avg_pool2d(skip, 2) if self.down else h + skip


class PlainSampler(nn.Module):
    def __init__(self, c: int, image_size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(LATENT, 16 * c)
        self.blocks = nn.Sequential(*(PlainUpBlock(c) for _ in range((image_size // 4).bit_length() - 1)))
        self.conv = nn.Conv2d(c, 3, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        x = self.linear(z).view(len(z), 4, 4, -1).permute(0, 3, 1, 2).contiguous()
        return torch.tanh(self.conv(F.relu(self.blocks(x))))


class PlainDiscriminator(nn.Module):
    def __init__(self, c: int, image_size: int) -> None:
        super().__init__()
        halvings = (image_size // 8).bit_length() - 1
        self.blocks = nn.Sequential(*(PlainDownBlock(c if i else 3, c, i < halvings, i == 0) for i in range(4)))
        self.linear = nn.Linear(c, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(F.relu(self.blocks(x)).sum((2, 3))).squeeze(1)


def plain_networks(size: Size) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    return PlainSampler(size.channels, size.image_size), PlainDiscriminator(size.channels, size.image_size)


def gflow_networks(size: Size) -> tuple[nn.Module, nn.Module]:
    """gflow's networks with the plain ones' weights."""
    g = Sampler(LATENT, 3, size.image_size, size.channels, STYLES["seed"])
    d = Discriminator(3, size.image_size, size.channels, STYLES["seed"])
    for ours, plain in zip((g, d), plain_networks(size), strict=True):
        ours.load_state_dict(plain.state_dict())
    return g, d


def loss(d_real: Tensor, d_fake: Tensor) -> Tensor:
    return F.softplus(-d_real).mean() + F.softplus(d_fake).mean()


class Plain:
    """The plain loop. KL flow: s(x) = 1."""

    def __init__(self, size: Size, device: torch.device, precision: str) -> None:
        self.size, self.device = size, device
        self.networks()
        self.g.to(device)
        self.d.to(device)
        self.g_optimizer = torch.optim.RMSprop(self.g.parameters(), lr=RATE)
        self.d_optimizer = torch.optim.RMSprop(self.d.parameters(), lr=RATE)
        torch.manual_seed(1)
        image = (3, size.image_size, size.image_size)
        self.real = self.layout(torch.rand(size.batch, *image, device=device) * 2 - 1)
        self.z = torch.randn(size.pool, LATENT, device=device)
        self.x = self.layout(torch.rand(size.pool, *image, device=device) * 2 - 1)

    def networks(self) -> None:
        self.g, self.d = plain_networks(self.size)

    def layout(self, x: Tensor) -> Tensor:
        return x

    # The pieces, each on one batch.

    def draw(self, start: int = 0) -> Tensor:
        self.g.eval()
        with torch.no_grad():
            x = self.g(self.z[start : start + self.size.batch])
        self.g.train()
        return x

    def teach(self) -> None:
        fake = self.x[torch.randperm(len(self.x))[: self.size.batch]]
        self.d_optimizer.zero_grad()
        loss(self.d(self.real), self.d(fake)).backward()
        self.d_optimizer.step()

    def move(self, start: int = 0) -> Tensor:
        x = self.x[start : start + self.size.batch].detach().requires_grad_()
        (v,) = torch.autograd.grad(self.d(x).sum(), x)
        return (x.detach() + STEP * v).clamp(-1, 1)

    def project(self, index: Tensor | None = None) -> None:
        index = torch.arange(self.size.batch) if index is None else index
        error = F.mse_loss(self.g(self.z[index]), self.x[index])
        self.g_optimizer.zero_grad()
        error.backward()
        self.g_optimizer.step()

    # The whole.

    def move_all(self) -> None:
        self.x = torch.cat([self.move(i * self.size.batch) for i in range(self.size.batches)])

    def loop(self, passes: int) -> None:
        """One outer loop."""
        self.z = torch.randn_like(self.z)
        self.x = torch.cat([self.draw(i * self.size.batch) for i in range(self.size.batches)])
        for _ in range(self.size.inner_loops):
            self.teach()
            self.move_all()
        for _ in range(passes):
            for index in torch.randperm(self.size.pool).split(self.size.batch):
                self.project(index)


# ------------------------------------------------------------------ gflow's way


class Gflow(Plain):
    """The same pieces as gflow_vgrow.flow does them."""

    def __init__(self, size: Size, device: torch.device, precision: str) -> None:
        keep_freed_memory()
        self.bf16 = precision == "bf16"
        super().__init__(size, device, precision)

    def networks(self) -> None:
        self.g, self.d = (module.to(memory_format=torch.channels_last) for module in gflow_networks(self.size))

    def layout(self, x: Tensor) -> Tensor:
        return x.contiguous(memory_format=torch.channels_last)

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    def draw(self, start: int = 0) -> Tensor:
        with torch.no_grad(), evaluating(self.g), self.autocast():
            return self.g(self.z[start : start + self.size.batch])

    def teach(self) -> None:
        fake = self.x[torch.randperm(len(self.x))[: self.size.batch]]
        with self.autocast():
            d_real, d_fake = self.d(self.real), self.d(fake)
        self.d_optimizer.zero_grad(set_to_none=True)
        loss(d_real, d_fake).backward()
        self.d_optimizer.step()

    def move(self, start: int = 0) -> Tensor:
        with frozen(self.d), evaluating(self.d), parametrize.cached(), self.autocast():
            return super().move(start)

    def project(self, index: Tensor | None = None) -> None:
        index = torch.arange(self.size.batch) if index is None else index
        with self.autocast():
            x = self.g(self.z[index])
        error = F.mse_loss(x, self.x[index])
        self.g_optimizer.zero_grad(set_to_none=True)
        error.backward()
        self.g_optimizer.step()

    def loop(self, passes: int) -> None:
        """One outer loop, by the objective itself."""
        experiment = build(spec(self.size, passes, self.device, "bf16" if self.bf16 else "float32"))
        for _ in experiment.objective.step(1):
            pass


# ------------------------------------------------------------------ gflow itself, for whole loops and its overhead


@attrs.frozen(kw_only=True)
class Noise:
    """Random images in memory: the arithmetic does not care."""

    image_size: int

    def data_shape(self) -> DataShape:
        return DataShape("image", (3, self.image_size, self.image_size), -1.0, 1.0)

    def load(self, progress: Any = None) -> Source:
        x = torch.randint(0, 256, (1024, *self.data_shape().shape), dtype=torch.uint8)
        return Source(x, self.data_shape(), fingerprint(x))


def spec(size: Size, passes: int, device: torch.device, precision: str, **flow: int) -> Spec:
    rate = {"sampler": RMSprop(lr=RATE), "discriminator": RMSprop(lr=RATE)}
    options = {"pool_size": size.pool, "inner_loops": size.inner_loops, "chunk_size": size.batch, **flow}
    return Spec(
        dataset=Noise(image_size=size.image_size),
        sampler=ResnetSampler(channels=size.channels),
        discriminator=ResnetDiscriminator(channels=size.channels),
        objective=Flow(step_size=STEP, projection_passes=passes, **options),
        optimizer=rate,
        train=Train(steps=3, batch_size=size.batch, device=device.type, precision=precision, checkpoint_every=0),
    )


class Stopwatch:
    """An objective that notes the time spent in it: the mathematics."""

    def __init__(self, objective: Objective) -> None:
        self.objective, self.seconds = objective, 0.0

    @property
    def state(self) -> Any:
        return self.objective.state

    def step(self, step: int) -> Iterator[Any]:
        events = self.objective.step(step)
        while True:
            start = time.perf_counter()
            event = next(events, None)
            self.seconds += time.perf_counter() - start
            if event is None:
                return
            yield event


def overhead(size: Size, device: torch.device, precision: str) -> tuple[float, float]:
    """Seconds a step that the core spends around the mathematics, and seconds to draw and to save at the last one.

    All the safe points of a full step, metrics checked and written, weights checked; on a pool of one batch,
    because the core's work does not depend on the pool.
    """
    experiment = build(spec(size, PASSES[0], device, precision, pool_size=size.batch))
    experiment.objective = watch = Stopwatch(experiment.objective)
    with tempfile.TemporaryDirectory() as folder:
        session = Session(experiment, RunFolder.create(Path(folder), "overhead", 0, ""), Silent())
        records = 0.0

        def timed_record(record: Any, *args: Any) -> None:
            nonlocal records
            records += timed(device, record, *args)[0]

        events = Events(session, timed_record)
        total = timed(device, train, experiment, events)[0]
    return (total - watch.seconds - records) / 3, records


class Events:
    """A session's events, with pictures and checkpoints timed by themselves."""

    def __init__(self, session: Session, record: Any) -> None:
        self.stopping, self.phase, self.log, self.analyze = (
            session.stopping,
            session.phase,
            session.log,
            session.analyze,
        )
        self.sample = lambda step: record(session.sample, step)
        self.save = lambda step, phase=None: record(session.save, step, phase)


class Silent:
    """A console for nobody."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args: None


# ------------------------------------------------------------------ measuring


def agreement(size: Size) -> float:
    """The largest relative difference in float64: samples, logits, velocities, and parameters' gradients."""
    results = []
    z = torch.randn(4, LATENT, dtype=torch.double, generator=torch.Generator().manual_seed(2))
    x = torch.rand(4, 3, size.image_size, size.image_size, dtype=torch.double).requires_grad_()
    for g, d in (plain_networks(size), gflow_networks(size)):
        g, d = g.double(), d.double()
        sample, logit = g(z), d(x)
        parts = [*torch.autograd.grad(sample.square().sum(), list(g.parameters()))]
        parts += torch.autograd.grad(logit.square().sum(), [x, *d.parameters()])
        results.append([sample, logit, *parts])
    scale = max(t.abs().max() for t in results[0])
    pairs = zip(*results, strict=True)
    # Biases before batch norm have zero gradients: compare those with the largest of all.
    return max(((a - b).abs().max() / max(a.abs().max(), scale * 1e-3)).item() for a, b in pairs)


def convolution(device: torch.device, dtype: torch.dtype) -> tuple[float, float]:
    """GFLOP and best seconds of the tables' commonest layer: 3x3, 128 -> 128, 32x32, batch 64, channels-last."""
    layout = {"device": device, "dtype": dtype}
    x = torch.randn(64, 128, 32, 32, **layout).contiguous(memory_format=torch.channels_last)
    w = torch.randn(128, 128, 3, 3, **layout).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        seconds = [timed(device, torch.conv2d, x, w, None, 1, 1)[0] for _ in range(8)]
    return 2 * 64 * 32 * 32 * 9 * 128 * 128 / 1e9, min(seconds)


class Flops(TorchDispatchMode):
    """Floating-point operations of convolutions and matrix products, as executed, by torch's own formulas.

    (torch's FlopCounterMode also tracks modules, which refuses gradients of a leaf by autograd.grad.)
    """

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.total += count(*args, **(kwargs or {}), out_val=out)
        return out


def timed(device: torch.device, f: Any, *args: Any) -> tuple[float, Any]:
    start = time.perf_counter()
    result = f(*args)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start, result


def worker(pipe: Connection, kind: str, size: Size, device: torch.device, precision: str, threads: int) -> None:
    """Do one way's pieces on request; answer with seconds or, if asked, GFLOP."""
    torch.set_num_threads(threads)
    way = {"plain": Plain, "gflow": Gflow}[kind](size, device, precision)
    while True:
        name, args, count = pipe.recv()
        if name == "stop":
            return
        if count:
            with Flops() as counter:
                getattr(way, name)(*args)
            pipe.send(counter.total / 1e9)
        else:
            pipe.send(timed(device, getattr(way, name), *args)[0])


@attrs.frozen
class Worker:
    """The parent's end of one way."""

    process: Any
    pipe: Connection

    @classmethod
    def start(cls, *args: Any) -> Worker:
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        process = context.Process(target=worker, args=(there, *args), daemon=True)
        process.start()
        there.close()
        return cls(process, here)

    def ask(self, name: str, *args: Any, count: bool = False) -> float:
        self.pipe.send((name, args, count))
        return self.pipe.recv()


def compose(piece: dict[str, float], size: Size, passes: int) -> float:
    """Seconds of an outer loop, of its pieces' seconds."""
    n = size.batches
    return n * piece["draw"] + size.inner_loops * (piece["teach"] + n * piece["move"]) + passes * n * piece["project"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="table", help="the paper's Tables 2 and 3, or a quick look")
    parser.add_argument("--repeats", type=int, default=7, help="timings of each piece and way (medians are printed)")
    parser.add_argument("--precision", choices=["auto", "bf16", "float32"], default="auto", help="of gflow's way")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="1 is steadier on a busy machine")
    parser.add_argument("--full", action="store_true", help="run whole outer loops as well (minutes)")
    options = parser.parse_args()
    size, device = SIZES[options.size], choose_device(options.device)
    torch.set_num_threads(options.threads)

    peaks = {}
    for name, dtype in (("float32", torch.float32), ("bf16", torch.bfloat16)):
        gflop, seconds = convolution(device, dtype)
        peaks[name] = gflop / seconds
    auto = "bf16" if computes_bf16(device) else "float32"
    precision = auto if options.precision == "auto" else options.precision
    print(f"torch {torch.__version__}, {device.type}, {torch.get_num_threads()} threads; {size}")
    print(
        f"convolution peak, measured (3x3, 128 -> 128, 32x32, batch 64, channels-last, forward): "
        f"{peaks['float32']:.0f} GFLOP/s in float32, {peaks['bf16']:.0f} in bf16; gflow's way runs in {precision}"
    )
    print(f"the two ways differ by {agreement(size):.0e} at most (relative, in float64)\n")

    ways = {kind: Worker.start(kind, size, device, precision, options.threads) for kind in ("plain", "gflow")}
    gflops = {kind: {p: way.ask(p, count=True) for p in PIECES} for kind, way in ways.items()}
    seconds: dict[str, dict[str, list[float]]] = {kind: {p: [] for p in PIECES} for kind in ways}
    for repeat in range(-1, options.repeats):  # the first round warms up
        for piece in PIECES:
            for kind, way in ways.items():
                took = way.ask(piece)
                if repeat >= 0:
                    seconds[kind][piece].append(took)
    median = {kind: {p: statistics.median(t) for p, t in pieces.items()} for kind, pieces in seconds.items()}

    print("GFLOP: convolutions and linear layers as computed; backward of a particle chunk is input gradients only.")
    print("% of peak: of the convolution peak above, in the way's own precision.\n")
    heads = ("plain s", "gflow s", "ratio", "plain GFLOP", "% of peak", "gflow GFLOP", "% of peak")
    print(f"{'':24}" + "".join(f"{head:>13}" for head in heads))
    for piece, label in PIECES.items():
        a, b = median["plain"][piece], median["gflow"][piece]
        m, n = gflops["plain"][piece], gflops["gflow"][piece]
        shares = m / a / peaks["float32"], n / b / peaks[precision]
        print(
            f"{label + f' ({size.batch})':24}{a:13.4f}{b:13.4f}{a / b:13.2f}"
            f"{m:13.1f}{shares[0]:13.0%}{n:13.1f}{shares[1]:13.0%}"
        )
    for passes in PASSES:
        a, b = (compose(median[kind], size, passes) for kind in ways)
        m, n = (compose(gflops[kind], size, passes) for kind in ways)
        shares = m / a / peaks["float32"], n / b / peaks[precision]
        print(
            f"{f'outer loop, {passes} passes':24}{a:13.2f}{b:13.2f}{a / b:13.2f}"
            f"{m:13.0f}{shares[0]:13.0%}{n:13.0f}{shares[1]:13.0%}"
        )
    core, records = overhead(size, device, precision)
    whole = compose(median["gflow"], size, PASSES[0])
    print(
        f"\nthe core around the mathematics: {core * 1e3:.1f} ms a step, {core / whole:.3%} of an outer loop of "
        f"{PASSES[0]} passes; a sample picture and a checkpoint, when due: {records:.2f} s"
    )
    if options.full:
        for passes in PASSES:
            a, b = (way.ask("loop", passes) for way in ways.values())
            print(f"{f'  run whole, {passes} passes':24}{a:13.2f}{b:13.2f}{a / b:13.2f}")
    for way in ways.values():
        way.pipe.send(("stop", (), False))
        way.process.join()


if __name__ == "__main__":
    main()
