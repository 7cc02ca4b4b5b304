"""How good VGrow's digits are after so many seconds of one processor, for any settings of the demonstration's recipe.

    python benchmarks/vgrow_digits.py [--seconds 300] [OVERRIDES...]
    python benchmarks/vgrow_digits.py objective.step_size=0.5 train.seed=1

One thread trains recipes/vgrow_mnist5k.toml; at each quarter of the time 5,000 samples are compared with the data by
FD(mnist_cnn.hidden). The processor's time is taken, of training alone: others on the machine do not count.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch
from stepping import take_step
from torch import Tensor

from gflow_core.encoders.parts import MnistCnn
from gflow_core.optim.player import evaluating
from gflow_core.parts.training import Experiment
from gflow_core.recipes.recipe import load
from gflow_core.runs.build import build
from gflow_core.scores.frechet import FeatureMoments, frechet_distance

RECIPE = Path(__file__).parents[1] / "recipes" / "vgrow_mnist5k.toml"


def train(experiment: Experiment, steps: int) -> Iterator[float]:
    """Trains a step at a time; seconds so far."""
    seconds = 0.0
    for done in range(steps):
        seconds += take_step(experiment, done)
        yield seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--seconds", type=float, default=300.0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    experiment = build(load(RECIPE, options.overrides).spec)
    data, sampler, spec = experiment.data, experiment.sampler, experiment.spec
    assert data is not None
    assert sampler is not None
    assert spec.train is not None
    encoder = MnistCnn(layer="hidden").build(data.shape, torch.device("cpu"), lambda *_: None)
    z = spec.sampler.latent.draw(len(data), experiment.streams.fork("looking")["latent"])

    @torch.no_grad()
    def drawn() -> Iterator[Tensor]:
        with evaluating(sampler), experiment.runtime.autocast():
            yield from (encoder(sampler(piece).float()) for piece in z.split(250))

    real = FeatureMoments.stream(encoder(data.batch(index).x) for index in torch.arange(len(data)).split(250))
    print(f"torch {torch.__version__}, one thread, {experiment.runtime.precision}: {' '.join(options.overrides)}")
    quarters = [options.seconds * i / 4 for i in range(1, 5)]
    for step, seconds in enumerate(train(experiment, 10**9), 1):
        if seconds >= quarters[0]:
            quarters.pop(0)
            distance = frechet_distance(real, FeatureMoments.stream(drawn()))
            print(f"{seconds:5.0f} s {step:6} outer loops   FD(mnist_cnn.hidden) {distance:6.1f}", flush=True)
            if not quarters:
                break


if __name__ == "__main__":
    main()
