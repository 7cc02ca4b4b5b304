"""What the analyses of Gram spectra cost: gflow's way against the plain one, section by section, in one run.

    python benchmarks/rmt.py [surrogate] [spectrum] [stream] [lanczos] [bf16] [simulations] [biggan] ...

surrogate    a draw from the mixture, fit included, against scipy.linalg.sqrtm of the p x p covariance
spectrum     eigenvalues of X X' / p from the smaller side of X, against those of the larger side
stream       the spectrum of 100,000 rows that never stand in memory together: rows a second, and memory
lanczos      the law of the eigenvalues by stochastic Lanczos quadrature, against all eigenvalues
bf16         what bf16 does to the spectrum of the MLP GAN's features, against what another z does
simulations  repeats of the MNIST experiment a minute, against a plain implementation, class by class
biggan       BigGAN-deep at 256 px: images a minute, and the share of the measured convolution peak

Without a name all run. Each section has a process of its own, because the allocator is part of it; two ways work in
turns, A B A B, and medians are printed, so that ratios hold on a machine whose load changes.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import time
from collections.abc import Callable
from multiprocessing import get_context
from typing import Any

import attrs
import numpy as np
import scipy.linalg
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from vgrow_outer_loop import timed

from gflow_core import Bernoulli, Normal, Runtime, Spec, Streams, Subject, no_progress
from gflow_core.data.parts import Mnist5k
from gflow_core.encoders.parts import MnistCnn
from gflow_core.machine.runtime import choose_device, computes_bf16, keep_freed_memory
from gflow_rmt.options import Represented
from gflow_rmt.parts.comparisons import Simulations
from gflow_rmt.parts.networks import BigGanDeep, MlpSampler
from gflow_rmt.representation import Representation
from gflow_rmt.spectra import GramStream, distance, gram_density, gram_eigenvalues
from gflow_rmt.surrogate import Mixture

NORMAL, SIGNS = Normal(dim=1), Bernoulli(dim=1)  # 0 and 1 become -1 and +1 once standardised


@attrs.frozen
class Options:
    """What the command line asks for."""

    repeats: int
    threads: int
    device: torch.device


def features(*shape: int) -> Tensor:
    """Made-up features, float32: classes of rows about a mean, positive as after a ReLU, of 300 directions."""
    classes, n, p = shape
    mix = torch.randn(300, p) / 300**0.5
    means = torch.randn(classes, 1, p)
    return torch.relu(torch.randn(classes, n, 300) @ mix + 0.3 * torch.randn(shape) + 0.3 * means + 0.3)


def race(ways: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median seconds of each way, in turns; the first turn warms up and does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repeats + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def peak_memory() -> float:
    """MB that the process has held at once."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


# ------------------------------------------------------------------ sections


def surrogate(options: Options) -> None:
    x, n, generator = features(1, 330, 2048), 170, torch.Generator().manual_seed(0)
    ways = {
        "normal t": lambda: Mixture.of(x).draw(n, NORMAL, generator),
        "t of +-1": lambda: Mixture.of(x).draw(n, SIGNS, generator),
    }
    ours = race(ways, options.repeats)
    rows = x[0].double().numpy()
    mean = rows.mean(0)
    t = np.random.default_rng(0).choice([-1.0, 1.0], (n, 2048))

    start = time.perf_counter()
    root = scipy.linalg.sqrtm((rows - mean).T @ (rows - mean) / 330).real
    drawn = mean + t @ root
    plain = time.perf_counter() - start
    component = Mixture.of(x.double()).components[0]
    exact = component.mean + component.root(torch.from_numpy(t))
    error = float((exact - torch.from_numpy(drawn)).norm() / exact.norm())
    print(f"p = 2048, m = 330, n = {n}: scipy.linalg.sqrtm {plain:.2f} s; the same t differs by {error:.0e} (relative)")
    for name, seconds in ours.items():
        print(f"  {name}: {seconds * 1e3:.1f} ms, {plain / seconds:.0f} times as fast")
    x = features(1, 150, 9216)
    for name, law in (("normal t", NORMAL), ("t of +-1", SIGNS)):
        (seconds,) = race({"": lambda law=law: Mixture.of(x).draw(50, law, generator)}, options.repeats).values()
        print(f"p = 9216, m = 150, n = 50, {name}: {seconds:.3f} s")


def spectrum(options: Options) -> None:
    for n, p in ((510, 2048), (510, 4096)):
        x = features(3, n // 3, p)

        def larger(x: Tensor = x) -> np.ndarray:
            rows = x.flatten(0, 1).double()
            return torch.linalg.eigvalsh(rows.mT @ rows / rows.shape[1]).flip(0)[: len(rows)].numpy()

        seconds = race({"gflow": lambda x=x: gram_eigenvalues(x), "larger": larger}, min(options.repeats, 2))
        error = np.abs(gram_eigenvalues(x) - larger()).max() / gram_eigenvalues(x)[0]
        a, b = seconds["gflow"], seconds["larger"]
        print(
            f"n = {n}, p = {p}: {a * 1e3:.1f} ms; of the larger side {b:.2f} s: {b / a:.0f} times as fast, {error:.0e}"
        )


def stream(options: Options) -> None:
    n, p, size, seconds = 100_000, 2048, 4096, 0.0
    mix = torch.randn(300, p) / 300**0.5
    before, found = peak_memory(), GramStream.of(p)
    for start in range(0, n, size):
        piece = torch.relu(torch.randn(min(size, n - start), 300) @ mix + 0.3)  # not timed
        seconds += timed(torch.device("cpu"), found.add, piece)[0]
    whole, values = timed(torch.device("cpu"), found.eigenvalues)
    print(
        f"n = {n:,}, p = {p}: {n / seconds:,.0f} rows/s, then {whole:.2f} s for {len(values):,} eigenvalues; "
        f"{peak_memory() - before:.0f} MB more than at the start (the rows alone would be {4 * n * p / 1e6:.0f} MB)"
    )


def lanczos(options: Options) -> None:
    probes, steps = 4, 60
    for n in (2000, 4000):
        x = features(1, n, n)
        ways = {
            "gflow": lambda x=x: gram_density(x, probes, steps, torch.Generator().manual_seed(0)),
            "dense": lambda x=x: gram_eigenvalues(x),
        }
        seconds = race(ways, 1)
        values = np.sort(ways["dense"]())
        error = np.abs(ways["gflow"]().distribution(values) - (np.arange(n) + 0.5) / n).max()
        a, b = seconds["gflow"], seconds["dense"]
        print(
            f"n = p = {n}, {probes} probes of {steps} steps: {a:.2f} s, all eigenvalues {b:.2f} s: {b / a:.1f} times "
            f"as fast; distribution functions differ by {error:.3f} at most"
        )


# ------------------------------------------------------------------ the MNIST experiment

OPTIONS: dict[str, Any] = {"encoder": MnistCnn(weights="random"), "K": 10, "N": 200, "m": 150}


def digits(device: torch.device, bf16: bool) -> Subject:
    """The MLP GAN at 28 px with random weights, after passes that settle its batch norm."""
    spec = Spec(dataset=Mnist5k(), sampler=MlpSampler())
    torch.manual_seed(0)
    module = spec.sampler.build(spec.dataset.data_shape()).train()
    with torch.no_grad():
        for _ in range(50):
            module(torch.randn(256, 100), torch.randint(10, (256,)))
    runtime = Runtime(device, bf16)
    return Subject(spec, runtime, Streams(0), sampler=module.eval().to(device), progress=no_progress)


def precision(options: Options) -> None:
    found = {}
    for name, seed, bf16 in (("float32", 0, False), ("bf16", 0, True), ("another z", 1, False)):
        subject = digits(options.device, bf16)
        drawn = Representation.of(subject, Represented(**OPTIONS)).draw(50, Streams(seed))
        found[name] = gram_eigenvalues(drawn)
    for name in ("bf16", "another z"):
        apart = distance(found[name], found["float32"])
        moved = np.abs(found[name][:10] / found["float32"][:10] - 1).max()
        print(
            f"MLP GAN, K n = 500, {name} against float32: KS {apart.ks:.4f}, Wasserstein {apart.wasserstein:.5f}, the "
            f"ten largest eigenvalues by {moved:.2%} at most"
        )


def simulating(options: Options) -> None:
    subject, stamps = digits(options.device, computes_bf16(options.device)), []
    part, plain_sampler = Simulations(**OPTIONS, S=8), digits(options.device, False).sampler
    representation = Representation.of(subject, part)
    assert plain_sampler is not None

    def plain() -> None:
        """Class by class, as one writes it first: float32 throughout, without a p x p matrix."""
        samples, drawn = [], []
        for k in range(10):
            with torch.no_grad():
                z = torch.randn(200, 100, device=options.device)
                x = plain_sampler(z, torch.full((200,), k, device=options.device))
                h = representation.encoder(((x + 1) / 2 * 255).round().clamp(0, 255) / 127.5 - 1).cpu()
            fitted, sample = h[:150], h[150:]
            centred = fitted - fitted.mean(0)
            samples.append(sample)
            drawn.append(fitted.mean(0) + torch.randn(50, 150) @ centred / 150**0.5)
        for rows in (torch.cat(samples), torch.cat(drawn)):
            torch.linalg.eigvalsh(rows @ rows.T / rows.shape[1])

    def gflow() -> None:
        moments, sample = representation.split(representation.draw(200, subject.streams))
        drawn = Mixture.of(moments).draw(50, NORMAL, subject.streams["t"])
        for x in (sample, drawn):
            gram_eigenvalues(x)

    rate = {name: 60 / seconds for name, seconds in race({"plain": plain, "gflow": gflow}, options.repeats).items()}
    print(
        f"MNIST experiment, K = 10, N = 200, p = 9216: {rate['gflow']:.0f} repeats a minute in "
        f"{subject.runtime.precision} and float64, {rate['plain']:.0f} the plain way, all in float32: "
        f"{rate['gflow'] / rate['plain']:.2f} times as fast"
    )
    subject.progress = lambda what, done, total: stamps.append(time.perf_counter())
    part.build()(subject)
    print(
        f"rmt.simulations, its rotated control included: {60 / statistics.median(np.diff(stamps)):.0f} repeats a minute"
    )


# ------------------------------------------------------------------ BigGAN-deep


def peak(device: torch.device, dtype: torch.dtype) -> float:
    """GFLOP/s of a large 3x3 convolution, channels-last: the best of several shapes and tries."""
    best = 0.0
    for channels, side, batch in ((256, 64, 4), (512, 32, 4), (128, 128, 4)):
        x = torch.randn(batch, channels, side, side, device=device, dtype=dtype)
        x, w = x.contiguous(memory_format=torch.channels_last), torch.randn(channels, channels, 3, 3).to(x)
        w = w.contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            seconds = min(timed(device, torch.conv2d, x, w, None, 1, 1)[0] for _ in range(5))
        best = max(best, 2 * batch * side**2 * 9 * channels**2 / 1e9 / seconds)
    return best


def biggan(options: Options) -> None:
    device, bf16 = options.device, computes_bf16(options.device)
    torch.manual_seed(0)
    module = BigGanDeep().build(None).eval().to(device)
    runtime, batch = Runtime(device, bf16), 8 if device.type == "cpu" else 64
    z, y = 0.4 * torch.randn(batch, 128, device=device), torch.randint(1000, (batch,), device=device)
    with torch.no_grad(), runtime.autocast():
        with FlopCounterMode(display=False) as counter:
            module(z[:1], y[:1])
        gflop = counter.get_total_flops() / 1e9
        module(z, y)
        seconds = min(timed(device, module, z, y)[0] for _ in range(options.repeats))
    best = peak(device, torch.bfloat16 if bf16 else torch.float32)
    rate = gflop * batch / seconds
    print(
        f"BigGAN-deep 256, batches of {batch}, {runtime.precision}: {gflop:.1f} GFLOP an image, "
        f"{60 * batch / seconds:.1f} images a minute, {rate:.0f} GFLOP/s: {rate / best:.0%} of the convolution peak, "
        f"{best:.0f}"
    )


SECTIONS: dict[str, Callable[[Options], None]] = {
    "surrogate": surrogate,
    "spectrum": spectrum,
    "stream": stream,
    "lanczos": lanczos,
    "bf16": precision,
    "simulations": simulating,
    "biggan": biggan,
}


def section(name: str, options: Options) -> None:
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    if options.device.type == "cpu":
        keep_freed_memory()
    SECTIONS[name](options)


def main() -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; all by default")
    parser.add_argument("--repeats", type=int, default=5, help="timings of each way (medians are printed)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps: where networks run")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="1 is steadier on a busy machine")
    given = parser.parse_args()
    for name in given.sections:
        if name not in SECTIONS:
            parser.error(f"no section {name}; there are {', '.join(SECTIONS)}")
    options = Options(given.repeats, given.threads, choose_device(given.device))
    print(f"torch {torch.__version__}, {options.device.type}, {options.threads} threads", flush=True)
    for name in given.sections or SECTIONS:
        print(f"\n{name}", flush=True)
        process = get_context("spawn").Process(target=section, args=(name, options))
        process.start()
        process.join()
        if process.exitcode:
            sys.exit(f"section {name} failed")


if __name__ == "__main__":
    main()
