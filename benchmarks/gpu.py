"""Training steps on a GPU: steps a second, share of the device's peak, launches and memory, in one run.

    python benchmarks/gpu.py [--small] [--seconds 4] [--device auto|cuda|cpu]

Five kinds of step: VGrow's outer loop (Tables 2 and 3 of Gao et al. 2019, 5 passes), FAR at CIFAR size, DCGAN at 64 px,
CGAN's perceptrons, and FAR in the plane; each by a plain PyTorch loop of the same mathematics and by gflow, in float32
and with bf16 autocast. The peak is that of a large matrix product of the same precision in the same run (float32 with
TF32, as torch lets convolutions compute); FLOPs are those of convolutions and matrix products, as executed. Launches
are kernels that torch's profiler saw, copies not among them. `--small`, which a machine without a GPU gets, is a look
at whether it works.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import attrs
import dcgan_step
import far_cifar_step
import far_replicas
import torch
import vgrow_outer_loop
from torch import Tensor
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from gflow_core import Experiment
from gflow_core.machine.runtime import choose_device
from gflow_core.recipes.recipe import load
from gflow_core.runs.build import build

CGAN = Path(__file__).parents[1] / "recipes/cgan_mnist.toml"
PASSES = 5
Step = Callable[[], object]


@attrs.frozen
class Case:
    """A kind of step: what makes a plain one, and the experiment whose objective does gflow's, of a precision."""

    name: str
    plain: Callable[[torch.device], Step]
    gflow: Callable[[torch.device, str], Experiment]


def cases(small: bool) -> list[Case]:
    vgrow, far, dcgan = (
        (vgrow_outer_loop.SIZES["small"], far_cifar_step.SIZES["small"], dcgan_step.SIZES["small"])
        if small
        else (vgrow_outer_loop.SIZES["table"], far_cifar_step.SIZES["table"], dcgan_step.SIZES["paper"])
    )
    return [
        Case(
            f"VGrow, {PASSES} passes",
            lambda device: partial(vgrow_outer_loop.Plain(vgrow, device, "float32").loop, PASSES),
            lambda device, precision: build(vgrow_outer_loop.spec(vgrow, PASSES, device, precision)),
        ),
        Case(
            "FAR, CIFAR",
            lambda device: partial(far_cifar_step.Plain(far, device).step, "far"),
            lambda device, precision: far_cifar_step.gflow_experiment(far, "far", device, precision),
        ),
        Case(
            "DCGAN, 64 px",
            lambda device: partial(dcgan_step.Plain(dcgan, device).step, "5x5"),
            lambda device, precision: dcgan_step.gflow_experiment(dcgan, 5, device, precision),
        ),
        Case("CGAN", lambda device: conditional_game(cgan(device, "float32")), cgan),
        Case("FAR, plane", lambda device: far_replicas.plain(plane(device, "float32")), plane),
    ]


def plane(device: torch.device, precision: str) -> Experiment:
    return far_replicas.experiment(f"train.device={device.type}", f"train.precision={precision}")


def cgan(device: torch.device, precision: str) -> Experiment:
    words = ["dataset.use=mnist5k", "dataset.limit=1000", "analyze=[]"]
    return build(load(CGAN, [*words, f"train.device={device.type}", f"train.precision={precision}"]).spec)


def conditional_game(one: Experiment) -> Step:
    """CGAN's step as one writes it first, on the same networks and data."""
    sampler, critic, device, n = one.sampler, one.discriminator, one.runtime.device, one.spec.train.batch_size
    data, latent = one.data.batch(torch.arange(len(one.data))), one.spec.sampler.latent
    d_optimizer, g_optimizer = (torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.5) for net in (critic, sampler))

    def drawn() -> tuple[Tensor, Tensor]:
        z = latent.draw(n, torch.default_generator)
        return z.to(device), data.y[torch.randint(len(data.y), (n,))].to(device)

    def step() -> None:
        index = torch.randint(len(data.x), (n,))
        z, y = drawn()
        with torch.no_grad():
            fake = sampler(z, y)
        d_real, d_fake = critic(data.x[index].to(device), data.y[index].to(device)), critic(fake, y)
        d_optimizer.zero_grad()
        (F.softplus(-d_real).mean() + F.softplus(d_fake).mean()).backward()
        d_optimizer.step()
        z, y = drawn()
        g_optimizer.zero_grad()
        F.softplus(-critic(sampler(z, y), y)).mean().backward()
        g_optimizer.step()

    return step


# ------------------------------------------------------------------ measuring


def ways(case: Case, device: torch.device) -> dict[str, tuple[str, Callable[[], Step]]]:
    """Name -> its precision, and what makes its step."""

    def autocast() -> Step:
        step = case.plain(device)

        def within() -> None:
            with torch.autocast(device.type, torch.bfloat16):
                step()

        return within

    def ours(precision: str) -> Step:
        return far_replicas.stepping(case.gflow(device, precision))

    return {
        "plain, float32": ("float32", lambda: case.plain(device)),
        "gflow, float32": ("float32", lambda: ours("float32")),
        "plain, bf16": ("bf16", autocast),
        "gflow, bf16": ("bf16", lambda: ours("bf16")),
    }


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def seconds_of(step: Step, device: torch.device, times: int) -> float:
    wait(device)
    start = time.perf_counter()
    for _ in range(times):
        step()
    wait(device)
    return (time.perf_counter() - start) / times


def peak(device: torch.device, dtype: torch.dtype, side: int) -> float:
    """TFLOP/s of a product of two [side, side]."""
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        seconds = min(seconds_of(lambda: a @ b, device, 10) for _ in range(5))
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    return 2 * side**3 / 1e12 / seconds


def kernels(step: Step, device: torch.device) -> int:
    """Kernels that one step launches."""
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        step()
        wait(device)
    names = [
        event.name() for event in seen.profiler.kineto_results.events() if "cuda" in str(event.device_type()).lower()
    ]
    return sum(not name.startswith(("Memcpy", "Memset")) for name in names)


def main() -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="small networks, data and times")
    parser.add_argument("--seconds", type=float, help="how long each way is timed; 4, or 0.2 if small")
    parser.add_argument("--device", default="auto", help="auto, cuda or cpu")
    options = parser.parse_args()
    device = choose_device(options.device)
    cuda, small = device.type == "cuda", options.small or device.type != "cuda"
    budget = options.seconds or (0.2 if small else 4.0)

    side = 512 if small else 8192
    peaks = {name: peak(device, dtype, side) for name, dtype in (("float32", torch.float32), ("bf16", torch.bfloat16))}
    name = torch.cuda.get_device_name() if cuda else f"CPU, {torch.get_num_threads()} threads"
    print(f"torch {torch.__version__}, {name}{', small sizes' if small else ''}")
    print(f"peak: {peaks['float32']:.3g} TFLOP/s in float32 (TF32), {peaks['bf16']:.3g} in bf16\n")
    heads = ("steps / s", "against plain", "GFLOP / step", "% of peak", "launches", "MiB at most")
    print(f"{'':32}" + "".join(f"{head:>15}" for head in heads))
    for case in cases(small):
        first = 0.0
        for way, (precision, make) in ways(case, device).items():
            gc.collect()
            if cuda:
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
            step = make()
            step()  # optimizers make their state, libraries choose their algorithms
            once = seconds_of(step, device, 1)
            seconds = seconds_of(step, device, max(1, int(budget / once)))
            memory = f"{torch.cuda.max_memory_allocated() / 2**20:,.0f}" if cuda else ""
            with vgrow_outer_loop.Flops() as flops:
                step()
            launches = f"{kernels(step, device):,}" if cuda else ""
            first = first or seconds
            print(
                f"{f'{case.name}: {way}':32}{1 / seconds:15.2f}{first / seconds:15.2f}{flops.total / 1e9:15.2f}"
                f"{flops.total / 1e12 / seconds / peaks[precision]:15.1%}{launches:>15}{memory:>15}",
                flush=True,
            )


if __name__ == "__main__":
    main()
