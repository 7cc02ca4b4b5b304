"""What a step of several seeds at once costs a particle flow in the plane, over as many steps of one: one thread.

    python benchmarks/flow_replicas.py [RECIPE ...] [--replicas 8] [--steps 3] [--rounds 7] [--set WORD]

Steps of the run with `train.replicas` and of the run of its first seed are timed in turns. The processor's time is
taken, and the least of all turns: others on the machine do not count.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from cells import take_step

from gflow_core.recipes.recipe import load
from gflow_core.runs.build import build

RECIPES = Path(__file__).parents[1] / "recipes"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", nargs="*", default=["vgrow_ring8", "drift_ring8"], metavar="RECIPE")
    parser.add_argument("--replicas", type=int, default=8)
    parser.add_argument("--steps", type=int, default=3, help="steps in a timing")
    parser.add_argument("--rounds", type=int, default=7, help="timings of each, taken in turns")
    parser.add_argument("--set", action="append", default=[], metavar="WORD", help="an override, as for gflow run")
    options = parser.parse_args()
    torch.set_num_threads(1)

    print(f"torch {torch.__version__}, one thread, the least of {options.rounds} timings of {options.steps} steps")
    print(f"{'':24}{'one seed, ms':>16}{f'{options.replicas} replicas, ms':>18}{f'over {options.replicas} steps':>16}")
    for name in options.recipes:
        ways = {}
        for count in (1, options.replicas):
            words = ["train.device=cpu", f"train.replicas={count}", *options.set]
            ways[count] = build(load(RECIPES / f"{name}.toml", words).spec)
        least = dict.fromkeys(ways, float("inf"))
        for turn in range(options.rounds + 1):
            for count, experiment in ways.items():
                taken = sum(take_step(experiment, turn * options.steps + i) for i in range(options.steps))
                if turn:  # the first warms up
                    least[count] = min(least[count], taken / options.steps)
        one, many = least[1], least[options.replicas]
        print(f"{name:24}{one * 1e3:16.1f}{many * 1e3:18.1f}{many / one / options.replicas:16.2f}", flush=True)


if __name__ == "__main__":
    main()
