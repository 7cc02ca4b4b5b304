"""What a step asks of a GPU, counted without one: launches, casts, copies and waits.

    python benchmarks/launches.py [NAME...] [--lines]

Each row is a step of a recipe on the pretend device of tests/pretend_cuda (it needs g++), the second, when nothing is
looked at for the first time; below it what surrounds a step with a log line: averages of weights, and the line itself.
Networks are narrow and the data are 5,000 digits, which no count depends on; batches, pools, loops, passes and chunks
are the recipe's. An operation of torch's is a launch, though some are several; casts are launches, too. What comes back
from the device waits for it, and so does what goes there from pageable memory. `--lines` names the lines.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from pretend_cuda import Record, record  # noqa: E402  (before torch)

from gflow_core import Metrics, Objective, Phase  # noqa: E402
from gflow_core.recipes.recipe import load  # noqa: E402
from gflow_core.runs.build import build  # noqa: E402
from gflow_core.runs.train import train  # noqa: E402

STEPS = 2
DIGITS = ["dataset.use=mnist5k", "dataset.limit=256"]
NARROW = ["sampler.channels=8", "discriminator.channels=8"]
VGROW = [*DIGITS, "dataset.image_size=32", *NARROW]
FAR = [*VGROW, "dataset.flip=true", "dataset.dither=true"]
FACES = [*DIGITS, "dataset.image_size=64", "dataset.fit=resize", "dataset.flip=true"]
DCGAN = [*FACES, "sampler.width=8", "discriminator.width=8", "train.batch_size=16"]
BF16, FLOAT32 = "train.precision=bf16", "train.precision=float32"
CASES = {
    "vgrow_cifar10, float32": ("vgrow_cifar10", [*VGROW, FLOAT32]),
    "vgrow_cifar10, bf16": ("vgrow_cifar10", [*VGROW, BF16]),
    "far_cifar10, float32": ("far_cifar10", [*FAR, FLOAT32]),
    "far_cifar10, bf16": ("far_cifar10", [*FAR, BF16]),
    "dcgan_celeba, float32": ("dcgan_celeba", [*DCGAN, FLOAT32]),
    "dcgan_celeba, bf16": ("dcgan_celeba", [*DCGAN, BF16]),
    "cgan_mnist, float32": ("cgan_mnist", [*DIGITS, FLOAT32]),
    "cgan_mnist, bf16": ("cgan_mnist", [*DIGITS, BF16]),
    "far_ring8, float32": ("far_ring8", []),
}
HEADS = ("launch", "cast", "pinned copy", "pageable copy", "copy back", "wait")


class Counted:
    """An objective whose last step is counted, and all from there on until the stack closes."""

    def __init__(self, objective: Objective, stack: ExitStack) -> None:
        self.objective, self.stack, self.inside, self.whole = objective, stack, Record(), Record()

    @property
    def state(self) -> Any:
        return self.objective.state

    def step(self, step: int) -> Iterator[Phase | Metrics]:
        if step < STEPS:
            yield from self.objective.step(step)
            return
        self.whole = self.stack.enter_context(record())
        with record() as self.inside:
            yield from self.objective.step(step)


class Quiet:
    """Events that nobody hears of."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: False


def count(recipe: str, words: list[str]) -> tuple[Record, Record]:
    """What the last step does, and what is done around it."""
    fixed = [f"train.steps={STEPS}", "train.device=cuda", "train.log_every=100", "train.sample_every=0"]
    fixed += ["train.checkpoint_every=0", "analyze=[]"]
    experiment = build(load(ROOT / f"recipes/{recipe}.toml", [*words, *fixed]).spec)
    assert experiment.objective is not None
    with ExitStack() as stack:
        experiment.objective = counted = Counted(experiment.objective, stack)
        train(experiment, Quiet())
    return counted.inside, Record(counted.whole - counted.inside)


def main() -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="recipes, or beginnings of rows; all by default")
    parser.add_argument("--lines", action="store_true", help="the lines that cause most of each kind")
    options = parser.parse_args()

    print(f"{'':32}" + "".join(f"{head:>15}" for head in HEADS))
    for name, (recipe, words) in CASES.items():
        if options.names and not name.startswith(tuple(options.names)):
            continue
        for row, found in zip((name, "  around it, with a log line"), count(recipe, words), strict=True):
            print(f"{row:32}" + "".join(f"{found.count(kind):15,}" for kind in HEADS), flush=True)
            for kind in HEADS if options.lines else ():
                for line in found.lines(kind)[:8]:
                    print(f"    {kind}: {line}")


if __name__ == "__main__":
    main()
