"""What a move by all pairs costs in the plane: `drift.field` and `mmd`, against their arithmetic alone and plain code.

    python benchmarks/kernels.py [--n 2048] [--repeats 40]

n particles and as many data, as drifting's plane was published: one thread, float32. "the arithmetic" is what both
fields ask for, on whole arrays: the product that squared distances come from, exp, the product with the targets.
"plain" is the same field as one writes it first, with differences [n, 2 n, 2]. The processor's time is taken in turns,
and the least of all: others on the machine do not count. Memory is the most that tensors hold at once, beyond what is
given.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from gflow_core.machine.runtime import keep_freed_memory
from gflow_core.methods.velocities import Mmd
from gflow_drift.field import field

TAU = 0.05
BANDWIDTH = 0.5

Way = Callable[[], Tensor]


def drift(x: Tensor, y: Tensor) -> dict[str, Way]:
    n, targets = len(x), torch.cat([y, x])

    def plain() -> Tensor:
        """V as the paper's formula has it."""
        gaps = targets - x[:, None]
        k = (gaps.square().sum(2).sqrt() / -TAU).exp()
        k[:, n:].fill_diagonal_(0.0)
        a = k / (k.sum(1, keepdim=True) * k.sum(0)).sqrt()
        pull, push = (weight[:, :, None] * gap for weight, gap in zip(a.split(n, 1), gaps.split(n, 1), strict=True))
        return pull.sum(1) * a[:, n:].sum(1, keepdim=True) - push.sum(1) * a[:, :n].sum(1, keepdim=True)

    return {
        "gflow": lambda: field(x, y, (TAU,), kernel="laplace", scaled=False),
        "the arithmetic": arithmetic(x, targets),
        "plain": plain,
    }


def mmd(x: Tensor, y: Tensor) -> dict[str, Way]:
    n, targets, velocity = len(x), torch.cat([y, x]), Mmd(bandwidth=BANDWIDTH)

    def plain() -> Tensor:
        gaps = targets - x[:, None]
        k = (gaps.square().sum(2) / (-2 * BANDWIDTH**2)).exp()
        pull, push = (weight[:, :, None] * gap for weight, gap in zip(k.split(n, 1), gaps.split(n, 1), strict=True))
        return pull.mean(1) - push.sum(1) / (n - 1)

    def no_noise(*shape: int) -> Tensor:
        raise AssertionError

    return {
        "gflow": lambda: velocity.of(x, y, no_noise, 0),
        "the arithmetic": arithmetic(x, targets),
        "plain": plain,
    }


def arithmetic(x: Tensor, targets: Tensor) -> Way:
    """Of as many kernels as either field has, in one array that is kept; sums come with a column of ones."""
    left = torch.cat([x, x.square().sum(1, keepdim=True), x.new_ones(len(x), 1)], 1)
    right = torch.cat([2 * targets, -targets.new_ones(len(targets), 1), -targets.square().sum(1, keepdim=True)], 1).T
    seen = torch.cat([targets, targets.new_ones(len(targets), 1)], 1)
    k = cache(lambda: x.new_empty(len(x), len(targets)))
    return lambda: torch.mm(left, right, out=k()).exp_() @ seen


def memory(way: Way) -> int:
    """Bytes: the most that is allocated at once."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        way()
    held = peak = 0
    assert profiler.profiler is not None
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--n", type=int, default=2048, help="particles, and data")
    parser.add_argument("--repeats", type=int, default=40, help="timings of each way, taken in turns")
    options = parser.parse_args()
    keep_freed_memory()  # as runs do
    torch.set_num_threads(1)
    torch.manual_seed(0)
    x, y = torch.randn(2, options.n, 2)

    fields = {"drift.field": drift(x, y), "mmd": mmd(x, y)}
    for ways in fields.values():
        torch.testing.assert_close(ways["gflow"](), ways["plain"](), rtol=1e-3, atol=1e-5)
    ways = {(name, way): call for name, ways in fields.items() for way, call in ways.items()}
    held = {key: memory(call) for key, call in ways.items()}  # of the first call, which makes what is kept
    seconds: dict[tuple[str, str], list[float]] = {key: [] for key in ways}
    for turn in range(options.repeats + 1):
        for key, call in ways.items():
            start = time.process_time()
            call()
            if turn:  # the first warms up
                seconds[key].append(time.process_time() - start)

    print(f"torch {torch.__version__}, one thread, n = m = {options.n}, the least of {options.repeats} timings")
    print(f"{'':32}{'ms':>10}{'of the arithmetic':>20}{'memory, MB':>14}")
    for name, way in ways:
        least = min(seconds[name, way])
        ratio = least / min(seconds[name, "the arithmetic"])
        print(f"{name + ', ' + way:32}{least * 1e3:10.1f}{ratio:20.2f}{held[name, way] / 1e6:14.1f}")


if __name__ == "__main__":
    main()
