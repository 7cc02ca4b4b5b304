"""What several seeds at once, and compiled steps, cost in the plane: FAR as published on 8 Gaussians, one thread.

    python benchmarks/far_replicas.py [--replicas 8] [--steps 200] [--rounds 7]

One iteration is a discriminator step on 48 real points and 16 of 256 candidates, its penalty, and a sampler step
(Tables 3 and 4, batch 64). Timed in turns are a plain PyTorch loop of one seed, the same mathematics compiled whole by
hand (`torch.compile` refuses gradients of gradients), gflow with one seed and with `train.replicas`, and both with
`train.compile`. The processor's time is taken, and the least of all turns: others on the machine do not count. The last
lines are what the matrix products of a step take alone, at the rate at which products of the candidates' size
[256, 64] x [64, 64] run in the same turns.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch._inductor
from torch import Tensor
from torch.func import functional_call
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from gflow_core import Experiment
from gflow_core.recipes.recipe import load
from gflow_core.runs.build import build

RECIPE = Path(__file__).parents[1] / "recipes/far_ring8.toml"


def experiment(*words: str) -> Experiment:
    return build(load(RECIPE, ["train.device=cpu", *words]).spec)


def plain(one: Experiment) -> Callable[[], None]:
    """One iteration as one writes it first, on the same networks and data."""
    sampler, critic, device = one.sampler, one.discriminator, one.runtime.device
    x = one.data.x.to(device)
    optimizers = [torch.optim.SGD(net.parameters(), lr=0.003, momentum=0.9) for net in (sampler, critic)]

    def iteration() -> None:
        fake = sampler(torch.randn(64, 2, device=device)).detach()
        candidates = sampler(torch.randn(256, 2, device=device)).detach()
        counted = candidates[critic(candidates).argsort()[:16]]
        real = torch.cat([x[torch.randint(len(x), (48,), device=device)], counted]).requires_grad_()
        d_real = critic(real)
        loss = F.softplus(-d_real).mean() + F.softplus(critic(fake)).mean()
        (gradient,) = torch.autograd.grad(d_real.sum(), real, create_graph=True)
        loss = loss + 10 * gradient.pow(2).sum(1).mean()
        optimizers[1].zero_grad()
        loss.backward()
        optimizers[1].step()
        loss = F.softplus(-critic(sampler(torch.randn(64, 2, device=device)))).mean()
        optimizers[0].zero_grad()
        loss.backward()
        optimizers[0].step()

    return iteration


def whole(one: Experiment) -> Callable[[], None]:
    """The same iteration, optimizers included, as one function that is traced and compiled."""
    sampler, critic, x = one.sampler, one.discriminator, one.data.x
    nets = sampler, critic
    names = [[name for name, _ in net.named_parameters()] for net in nets]
    state = [p.detach() for net in nets for p in net.parameters()]
    state += [torch.zeros_like(p) for p in state]
    each = len(names[0])

    def step(real: Tensor, fake: Tensor, candidates: Tensor, z: Tensor, *state: Tensor) -> tuple[Tensor]:
        (of_sampler, of_critic), momenta = (state[:each], state[each : 2 * each]), state[2 * each :]

        def as_dict(i: int, weights: Sequence[Tensor]) -> dict[str, Tensor]:
            return dict(zip(names[i], weights, strict=True))

        def move(weights: Sequence[Tensor], slopes: Sequence[Tensor], momenta: Sequence[Tensor]) -> None:
            for weight, slope, momentum in zip(weights, slopes, momenta, strict=True):
                weight.sub_(0.003 * momentum.mul_(0.9).add_(slope))

        still, taught = as_dict(0, of_sampler), [w.detach().clone().requires_grad_() for w in of_critic]
        made, fresh = functional_call(sampler, still, fake), functional_call(sampler, still, candidates)
        lowest = functional_call(critic, as_dict(1, of_critic), fresh).argsort()[:16]
        mixed = torch.cat([real, fresh[lowest]]).detach().requires_grad_()
        with torch.enable_grad():
            d_real = functional_call(critic, as_dict(1, taught), mixed)
            loss = F.softplus(-d_real).mean() + F.softplus(functional_call(critic, as_dict(1, taught), made)).mean()
            (gradient,) = torch.autograd.grad(d_real.sum(), mixed, create_graph=True)
            slopes = torch.autograd.grad(loss + 10 * gradient.pow(2).sum(1).mean(), taught)
        move(of_critic, slopes, momenta[each:])
        improved = [w.detach().clone().requires_grad_() for w in of_sampler]
        with torch.enable_grad():
            made = functional_call(sampler, as_dict(0, improved), z)
            loss = F.softplus(-functional_call(critic, as_dict(1, of_critic), made)).mean()
            slopes = torch.autograd.grad(loss, improved)
        move(of_sampler, slopes, momenta[:each])
        return (loss.detach(),)

    def given() -> list[Tensor]:
        return [x[torch.randint(len(x), (48,))], torch.randn(64, 2), torch.randn(256, 2), torch.randn(64, 2)]

    with torch.no_grad():
        graph = make_fx(step)(*given(), *(one.clone() for one in state))
        for node in graph.graph.nodes:
            node.meta.clear()
        run = torch._inductor.compile(graph, [*given(), *state], options={"cpp_wrapper": True})

    @torch.no_grad()
    def iteration() -> None:
        run(*given(), *state)

    return iteration


def stepping(one: Experiment) -> Callable[[], None]:
    """gflow's iterations, one after the other."""
    step = 0

    def iteration() -> None:
        nonlocal step
        step += 1
        for _ in one.objective.step(step):
            pass

    return iteration


class Operations(TorchDispatchMode):
    """Counts the multiplications and additions of matrix products within the block."""

    found = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if count := flop_registry.get(function._overloadpacket):
            self.found += count(*args, **(kwargs or {}), out_val=out)
        return out


def products(operations: int) -> Callable[[], Tensor]:
    """As many operations in products of the candidates' size, rounded up."""
    x, weight, out = torch.randn(256, 64), torch.randn(64, 64).T, torch.empty(256, 64)
    times = range(-(-operations // (2 * 256 * 64 * 64)))

    def run() -> Tensor:
        for _ in times:
            torch.mm(x, weight, out=out)
        return out

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicas", type=int, default=8)
    parser.add_argument("--steps", type=int, default=200, help="iterations in a timing")
    parser.add_argument("--rounds", type=int, default=7, help="timings of each way, taken in turns")
    options = parser.parse_args()
    torch.set_num_threads(1)

    counted = stepping(experiment())
    counted()
    with Operations() as operations:
        counted()
    limit = "the matrix products of"
    ways = {
        "plain PyTorch, one seed": (plain(experiment()), 1),
        "plain PyTorch, compiled whole": (whole(experiment()), 1),
        "gflow, one seed": (stepping(experiment()), 1),
        f"gflow, train.replicas = {options.replicas}": (
            stepping(experiment(f"train.replicas={options.replicas}")),
            options.replicas,
        ),
        "gflow, one seed, compiled": (stepping(experiment("train.compile=true")), 1),
        f"gflow, {options.replicas} replicas, compiled": (
            stepping(experiment("train.compile=true", f"train.replicas={options.replicas}")),
            options.replicas,
        ),
        f"{limit} one seed": (products(operations.found), 1),
        f"{limit} {options.replicas} replicas": (products(options.replicas * operations.found), options.replicas),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(options.rounds + 1):
        for name, (iteration, _) in ways.items():
            start = time.process_time()
            for _ in range(options.steps):
                iteration()
            if turn:  # the first warms up
                seconds[name].append((time.process_time() - start) / options.steps)

    base = min(seconds["gflow, one seed"])
    print(f"torch {torch.__version__}, one thread, the least of {options.rounds} timings of {options.steps} iterations")
    print(f"{'':32}{'ms / iteration':>16}{'seed-iterations / s':>22}{'against gflow, one seed':>26}")
    for name, (_, seeds) in ways.items():
        one = min(seconds[name])
        print(f"{name:32}{one * 1e3:16.2f}{seeds / one:22.0f}{seeds * base / one:26.2f}")


if __name__ == "__main__":
    main()
