"""How small classifiers learn the 5,000 digits that come with gflow's dependencies: once, then cached.

Training always runs on the CPU, in float32, on one thread and from a fixed seed, so a machine makes the same weights
whatever it is otherwise doing.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import attrs
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gflow_core.data.parts import Mnist5k
from gflow_core.encoders.kept import learned_once
from gflow_core.encoders.learning import learn
from gflow_core.encoders.network import EncoderNetwork, float32_only, fresh, resized
from gflow_core.files.cache import cache_folder
from gflow_core.machine.streams import derive, seeded
from gflow_core.parts.nouns import Progress

if TYPE_CHECKING:
    from gflow_core.parts.nouns import DataShape

__all__ = ["Trained", "Training", "build_digits", "train", "trained"]

SIZE = 28
MEAN, STD = 0.1307, 0.3081
"""Of MNIST's pixels in [0, 1]."""

logger = logging.getLogger("gflow")


@attrs.frozen(kw_only=True)
class Training:
    """Which network learns the digits, and how; the cached file is named after it."""

    name: str = attrs.field(repr=False)
    """The encoder's; its weights are drawn from a seed of that name."""
    make: Callable[[], nn.Module] = attrs.field(repr=False)
    """The network, freshly initialised: x [B, 1, 28, 28], standardised -> logits [B, 10]."""
    version: int = 1
    """Raised when the same numbers give another network."""
    digits: int | None = None
    """Training digits; all 4,500 by default. The last 50 of each class are held out."""
    epochs: int = 5
    batch_size: int = 16
    rate: float = 2.5e-3
    """AdamW's learning rate at its height: it rises over the first fifth and falls to 0 over the rest."""

    @property
    def file(self) -> Path:
        """Where its result is kept."""
        digest = hashlib.sha256(repr(self).encode()).hexdigest()[:8]
        return cache_folder() / "encoders" / f"{self.name}-{digest}.safetensors"

    def fresh(self) -> nn.Module:
        """The network before it has learned anything, always the same."""
        return fresh(self.name, self.make)


@attrs.frozen(eq=False)
class Trained:
    """A network that learned the digits."""

    network: nn.Module
    accuracy: float
    """Share of the held-out digits that it gets right."""


def build_digits(
    data: DataShape,
    device: torch.device,
    training: Training,
    *,
    weights: Literal["embedded", "random"],
    head: str,
    depths: Sequence[str],
    name: str,
    progress: Progress,
) -> EncoderNetwork:
    """The encoder of `data` on its device, in eval mode; trained first where the cache has none. Raises DataError.

    `head` and `depths` as EncoderNetwork's, `name` what scores are called after, without " (random)".
    """
    if weights == "random":
        network, name = training.fresh(), f"{name} (random)"
    else:
        network = trained(training, progress).network
    fit, words = _fit(data)
    resizer = f"{words}; [-1, 1] to [0, 1]; less MNIST's mean {MEAN}, by its standard deviation {STD}"

    def prepare(x: Tensor) -> Tensor:
        return _standardised((fit(x) + 1) / 2)

    return EncoderNetwork(name, network, head, prepare, resizer, device, depths=depths)


def _fit(data: DataShape) -> tuple[Callable[[Tensor], Tensor], str]:
    """How images become 28x28, and the words for it."""
    if data.shape[1:] == (SIZE, SIZE):
        return lambda x: x, "28x28 as they are"
    if data.shape[1:] == (32, 32):  # digits that were padded
        return lambda x: x[:, :, 2:30, 2:30], "the 28x28 in the middle of 32x32"
    return lambda x: resized(x, SIZE), "bilinear to 28x28, antialiased"


def _standardised(x: Tensor) -> Tensor:
    return (x - MEAN) / STD


# ------------------------------------------------------------------ once


def trained(training: Training, progress: Progress) -> Trained:
    """The network from the cache, trained and put there first if need be. DataError where it cannot be kept."""

    def learned() -> Trained:
        found = train(training, progress)
        right = 100 * found.accuracy
        logger.info("%s: %.1f %% of the held-out digits right; kept in %s", training.name, right, training.file)
        return found

    def restored(state: Mapping[str, Tensor], notes: Mapping[str, str]) -> Trained:
        network = training.fresh()
        network.load_state_dict(state)
        return Trained(network, float(notes["accuracy"]))

    return learned_once(
        training.file, learned, restored, lambda found: found.network, lambda found: {"accuracy": repr(found.accuracy)}
    )


# ------------------------------------------------------------------ training


def train(training: Training, progress: Progress) -> Trained:
    """Learn the digits: cross-entropy, AdamW, every digit a little turned, stretched, sheared and shifted."""
    with _alone(training.name):
        x, y = _digits("train", training.digits)
        network = training.fresh().to(memory_format=torch.channels_last)  # type: ignore[call-overload]

        def batch(index: Tensor) -> tuple[Tensor, Tensor]:
            return _standardised(_warped(x[index])), y[index]

        learn(
            network,
            batch,
            len(x),
            epochs=training.epochs,
            batch_size=training.batch_size,
            rate=training.rate,
            progress=partial(progress, f"training {training.name}"),
        )
        return Trained(network.eval(), _accuracy(network))


def _warped(x: Tensor) -> Tensor:
    """Each of x [B, 1, 28, 28] under its own map, the identity plus uniform noise; at most 1.75 pixels of shift."""
    noise = torch.tensor([0.2, 0.2, 0.125]) * (2 * torch.rand(len(x), 2, 3) - 1)
    grid = F.affine_grid(torch.eye(2, 3) + noise, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


@torch.no_grad()
def _accuracy(network: nn.Module) -> float:
    x, y = _digits("test")
    return float((network(_standardised(x)).argmax(1) == y).float().mean())


def _digits(split: Literal["train", "test"], limit: int | None = None) -> tuple[Tensor, Tensor]:
    """Images [n, 1, 28, 28] in [0, 1] and their classes [n]."""
    data = Mnist5k(split=split, limit=limit).load()
    assert data.y is not None
    return data.x.float() / 255, data.y


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """What the bits depend on, fixed within the block and as it was after it: seed, precision, threads, gradients."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        cpu = torch.device("cpu")
        with float32_only(cpu), seeded(derive(0, name)), torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        torch.set_num_threads(threads)
