"""Named random streams from one seed.

Every use of randomness has a stream of its own ("latent", "augment", "vgrow.batch"), so that adding a draw in
one place does not shift the draws anywhere else. Streams live on the CPU, where the same recipe and seed draw the
same numbers whatever computes, or on the device that computes (`train.draws`), which has numbers of its own. Every
process of a parallel run draws the global batch and takes its slice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Generator, Tensor

__all__ = ["HOST", "Streams", "derive", "draws_kept", "seeded"]


def derive(seed: int, name: str) -> int:
    """A 63-bit seed for the stream `name` under `seed`."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


HOST = torch.device("cpu")


class Streams:
    """Generators by name, made on first use; on the CPU, unless they are another's `on` a device.

    `streams["latent"]` is one torch.Generator; its state is saved and restored with the run.
    """

    def __init__(self, seed: int, device: torch.device = HOST) -> None:
        self.seed = seed
        self.device = device
        self._generators: dict[str, Generator] = {}
        self._others: dict[str, Streams] = {}
        self._absent: dict[str, Tensor] = {}
        """States of streams of a kind of device that this machine lacks."""

    def __getitem__(self, name: str) -> Generator:
        if name not in self._generators:
            self._generators[name] = Generator(self.device).manual_seed(derive(self.seed, name))
        return self._generators[name]

    def on(self, device: torch.device) -> Streams:
        """The streams of the same names and seeds on `device`, whose state is saved with these; these, on the CPU."""
        if device.type == self.device.type:
            return self
        if device.type not in self._others:
            self._others[device.type] = Streams(self.seed, device)
        return self._others[device.type]

    def draw(self, function: Callable[[Streams], Tensor]) -> Tensor:
        """What `function` draws from these streams, made on their device."""
        if self.device.type == "cpu":
            return function(self)
        with self.device:  # what names no device is made here
            return function(self)

    def fork(self, name: str) -> Streams:
        """Independent streams under a name of their own; drawing from them leaves these as they are."""
        return Streams(derive(self.seed, name))

    @contextmanager
    def kept(self) -> Iterator[None]:
        """What is drawn within the block leaves no trace: afterwards every stream stands where it stood."""
        every = [(self, name) for name in self._generators]
        every += [(other, name) for other in self._others.values() for name in other._generators]
        before = {(streams.device, name): streams[name].get_state() for streams, name in every}
        try:
            yield
        finally:
            for streams in (self, *self._others.values()):
                for name, generator in streams._generators.items():
                    if (streams.device, name) in before:
                        generator.set_state(before[streams.device, name])
                    else:
                        generator.manual_seed(derive(streams.seed, name))

    def state_dict(self) -> dict[str, Tensor]:
        """The state of every stream used so far, and of torch's global generators (dropout draws there)."""
        state = {f"stream.{name}": g.get_state() for name, g in self._generators.items()} | self._absent
        for kind, other in self._others.items():
            state |= {f"{kind}.{name}": g.get_state() for name, g in other._generators.items()}
        state["global.cpu"] = torch.get_rng_state()
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            state["global.cuda"] = torch.cuda.get_rng_state()
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` returned; streams it does not name start afresh."""
        for streams in (self, *self._others.values()):
            streams._generators.clear()
        self._absent.clear()
        for key, value in state.items():
            kind, _, name = key.partition(".")
            if kind == "stream":
                self[name].set_state(value)
            elif kind == "cuda" and torch.cuda.is_available():
                self.on(torch.device(kind))[name].set_state(value)
            elif kind == "cuda":
                self._absent[key] = value
        torch.set_rng_state(state["global.cpu"])
        if "global.cuda" in state and torch.cuda.is_available():
            torch.cuda.set_rng_state(state["global.cuda"])


@contextmanager
def draws_kept() -> Iterator[None]:
    """Torch's global generators are after the block as they were before it: whoever calls goes on with own draws."""
    gpu = torch.cuda.is_available() and torch.cuda.is_initialized()
    before, there = torch.get_rng_state(), torch.cuda.get_rng_state() if gpu else None
    try:
        yield
    finally:
        torch.set_rng_state(before)
        if there is not None:
            torch.cuda.set_rng_state(there)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's global generators seeded within the block, and as they were after it."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
