"""Named random streams from one seed.

Every use of randomness has a stream of its own ("latent", "augment", "vgrow.batch"), so that adding a draw in
one place does not shift the draws anywhere else. All streams live on the CPU: the same recipe and seed draw
the same numbers on every device, and every process of a parallel run draws the global batch and takes its slice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Generator, Tensor

__all__ = ["Streams", "derive", "seeded"]


def derive(seed: int, name: str) -> int:
    """A 63-bit seed for the stream `name` under `seed`."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


class Streams:
    """CPU generators by name, made on first use.

    `streams["latent"]` is one torch.Generator; its state is saved and restored with the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._generators: dict[str, Generator] = {}

    def __getitem__(self, name: str) -> Generator:
        if name not in self._generators:
            self._generators[name] = Generator().manual_seed(derive(self.seed, name))
        return self._generators[name]

    def fork(self, name: str) -> Streams:
        """Independent streams under a name of their own; drawing from them leaves these as they are."""
        return Streams(derive(self.seed, name))

    def state_dict(self) -> dict[str, Tensor]:
        """The state of every stream used so far, and of torch's global generators (dropout draws there)."""
        state = {f"stream.{name}": g.get_state() for name, g in self._generators.items()}
        state["global.cpu"] = torch.get_rng_state()
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            state["global.cuda"] = torch.cuda.get_rng_state()
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` returned; streams it does not name start afresh."""
        self._generators.clear()
        for name, value in state.items():
            if name.startswith("stream."):
                self[name.removeprefix("stream.")].set_state(value)
        torch.set_rng_state(state["global.cpu"])
        if "global.cuda" in state and torch.cuda.is_available():
            torch.cuda.set_rng_state(state["global.cuda"])


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's global generators seeded within the block, and as they were after it."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
