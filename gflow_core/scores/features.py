"""Samples and data as an encoder sees them, and the cache of what it saw of the data."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import attrs
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from gflow_core.errors import DataError, Diverged, PluginError
from gflow_core.files.cache import cache_folder
from gflow_core.files.weights import save_tensors
from gflow_core.files.whole import written_aside
from gflow_core.machine.runtime import Runtime
from gflow_core.machine.streams import derive
from gflow_core.nn.sampling import Given, draw_from, draw_through, sample
from gflow_core.parts.analysis import Subject
from gflow_core.parts.contracts import Encoder, EncoderPart
from gflow_core.parts.nouns import DataShape
from gflow_core.parts.returned import tensor_fault
from gflow_core.parts.source import Source, fingerprint
from gflow_core.scores.held_out import of_split

__all__ = ["Features", "Vectors", "as_stored", "real_index", "score_name"]

FORMAT = 1
"""Part of a cache file's key: raise it when the same key would hold other numbers."""

logger = logging.getLogger("gflow")


class Vectors:
    """Vectors as their own features: what compares them without a network. Meets `Encoder`."""

    name = "data"
    weights = ""
    resizer = "none"

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def __call__(self, x: Tensor) -> Tensor:
        return x.detach().float().flatten(1)

    def classify(self, x: Tensor) -> Tensor:
        raise NotImplementedError("vectors are in no class")


@attrs.frozen(eq=False)
class _Look:
    """What samples are made of -> samples of 8 bits -> features [B, dim]: what a worker of a cluster computes."""

    sampler: nn.Module
    shape: DataShape
    encode: Callable[[Tensor], Tensor]
    name: str
    dim: int | None
    step: int
    images: bool
    """Whether the samples are wanted as well, which take longer to travel than their features."""

    def __call__(self, runtime: Runtime, given: Given) -> tuple[Tensor, Tensor]:
        x = as_stored(sample(self.sampler, runtime, given), self.shape)
        found = _rows(self.encode(x), x, self.name, self.dim)
        return _finite(found, self.name, self.step), x if self.images else x.new_empty(0)


def _rows(found: Tensor, x: Tensor, name: str, dim: int | None) -> Tensor:
    """What an encoder makes of items x as it is; PluginError where that is not a row for each, of `dim` if known."""
    rows = isinstance(found, Tensor) and found.dim() == 2
    size = dim if dim is not None or not rows else found.shape[1]
    if fault := tensor_fault(found, (len(x), size or 0), f" for {len(x)} items", finite=False):
        raise PluginError(f"encoder {name}: returns {fault}")
    return found


def _finite(found: Tensor, name: str, step: int) -> Tensor:
    """Features of samples as they are; Diverged where they are not finite."""
    if not bool(found.isfinite().all()):
        raise Diverged(
            f"step {step}: features of samples are NaN or infinite ({name}); the sampler has diverged: train with a "
            "lower rate, or analyze an earlier checkpoint"
        )
    return found


@attrs.frozen(eq=False)
class Features:
    """An encoder at work on a subject's samples and data."""

    subject: Subject
    encoder: Encoder
    batch_size: int
    other: tuple[str, Source] | None = None
    """The split that samples are compared with and its data, where that is not the subject's own."""

    @classmethod
    def of(cls, subject: Subject, encoder: EncoderPart | None, batch_size: int, against: str | None = None) -> Features:
        """The part built for the subject's data; without one, vectors stand for themselves.

        `against`: the split that samples are compared with, which the data set has.
        """
        data, part = subject.data, subject.spec.dataset
        assert data is not None
        device, progress = subject.runtime.device, subject.progress
        other = None
        if against is not None and against != part.split:
            other = against, of_split(part, against).load(progress)
        built = Vectors(data.shape.shape[0]) if encoder is None else encoder.build(data.shape, device, progress)
        return cls(subject, built, batch_size, other)

    @property
    def data(self) -> Source:
        """What samples are compared with."""
        assert self.subject.data is not None
        return self.subject.data if self.other is None else self.other[1]

    # -------------------------------------------------------------- samples

    def samples(self, n: int) -> Iterator[Tensor]:
        """n samples in pieces [B, *shape] on the device, images rounded to 8 bits."""
        for x in draw_from(self.subject, n, self.batch_size):
            yield as_stored(x, self.data.shape)

    def encode(self, x: Tensor, apply: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """x [B, *shape] -> features [B, dim], or what another method of the encoder makes; Diverged if not finite."""
        found = _rows((apply or self.encoder)(x), x, self.encoder.name, None if apply else self.encoder.dim)
        return _finite(found, self.encoder.name, self.subject.step)

    def encoded(
        self, n: int, what: str = "samples", apply: Callable[[Tensor], Tensor] | None = None
    ) -> Iterator[Tensor]:
        """Features of n samples in pieces [B, dim] on the device, or what another method of the encoder makes."""
        return (found for found, _ in self._through(n, what, apply or self.encoder, images=False))

    def with_images(self, n: int, what: str = "samples") -> Iterator[tuple[Tensor, Tensor]]:
        """Features [B, dim] of n samples and the samples [B, *shape], in pieces on the device."""
        return self._through(n, what, self.encoder, images=True)

    def fake(self, n: int, what: str = "samples", apply: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Features of n samples, [n, dim], on the CPU."""
        return torch.cat([found.cpu() for found in self.encoded(n, what, apply)])

    def _through(
        self, n: int, what: str, apply: Callable[[Tensor], Tensor], images: bool
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Features and, if wanted, samples (else [0]): sampler and encoder in one go, over `subject.map`."""
        subject, device = self.subject, self.subject.runtime.device
        assert subject.sampler is not None
        dim = self.encoder.dim if apply is self.encoder else None
        look = _Look(subject.sampler, self.data.shape, apply, self.encoder.name, dim, subject.step, images)
        for found, x in draw_through(subject, look, n, self.batch_size, what):
            yield found.to(device), x.to(device)

    # -------------------------------------------------------------- data

    def real(self, n: int, data: Source | None = None, apply: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Features of the first n items in the fixed order of `real_index`, [n, dim], on the CPU, cached."""
        kind = "features" if apply is None else "logits"
        data = self.data if data is None else data
        return self.cached(
            kind, data, n, lambda: {kind: torch.cat([f.cpu() for f in self.over(data, real_index(data, n), apply)])}
        )[kind]

    def over(self, data: Source, index: Tensor, apply: Callable[[Tensor], Tensor] | None = None) -> Iterator[Tensor]:
        """Features of the items at `index`, in pieces on the device."""
        done = 0
        self.subject.progress("real features", done, len(index))
        for piece in index.split(self.batch_size):
            x = data.batch(piece, self.subject.runtime.device).x
            found = _rows((apply or self.encoder)(x), x, self.encoder.name, None if apply else self.encoder.dim)
            if not bool(found.isfinite().all()):
                raise DataError(f"encoder {self.encoder.name}: features of the data are NaN or infinite; its weights?")
            yield found
            done += len(piece)
            self.subject.progress("real features", done, len(index))

    def cached(self, kind: str, data: Source, n: int, make: Callable[[], dict[str, Tensor]]) -> Mapping[str, Tensor]:
        """What `make` finds about the first n items of the data, from the cache where it is there and whole."""
        if isinstance(self.encoder, Vectors):  # no network: quicker made than read
            return make()
        key = {
            "format": FORMAT,
            "kind": kind,
            "data": data.fingerprint,
            "n": n,
            "encoder": self.encoder.name,
            "weights": self.encoder.weights,
            "resizer": self.encoder.resizer,
            # What the last digits depend on, which must not depend on what was computed here before.
            "batch_size": self.batch_size,
            "threads": torch.get_num_threads(),
        }
        name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:24]
        path = cache_folder() / "features" / f"{kind}-{name}.safetensors"
        try:
            with safe_open(path, "pt") as file:
                found = {name: file.get_tensor(name) for name in sorted(file.keys())}
                if (file.metadata() or {}).get("fingerprint") == fingerprint(*found.values()):
                    return found
            logger.debug("%s: damaged, made anew", path)
        except (OSError, SafetensorError) as error:
            logger.debug("%s: %s", path, error)
        made = {name: tensor.contiguous() for name, tensor in sorted(make().items())}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with written_aside(path) as aside:
                save_tensors(made, aside, {"fingerprint": fingerprint(*made.values())})
        except OSError as error:
            logger.warning("%s: cannot be kept (%s); set GFLOW_CACHE to a folder with room for it", path, error)
        return made

    def count(self, wanted: int | None) -> int:
        """How many data items there are of those wanted; None: all."""
        return len(self.data) if wanted is None else min(wanted, len(self.data))

    # -------------------------------------------------------------- protocol

    def manifest(self, *, n_real: int, n_fake: int, **own: Any) -> dict[str, Any]:
        """The protocol of a score: what must agree between two scores that are compared."""
        images = self.data.shape.kind == "image"
        split = {} if self.other is None else {"split": self.other[0], "data": self.other[1].fingerprint}
        return {
            **self.subject.protocol(),
            **split,
            "n_real": n_real,
            "n_fake": n_fake,
            **({"conversion": "x255"} if images else {}),
            "encoder": self.encoder.name,
            "weights": self.encoder.weights,
            "resizer": self.encoder.resizer,
            **own,
        }


def score_name(published: str, other: str, encoder: Encoder) -> str:
    """The published name on the FID Inception's features, `other(encoder)` on any other's."""
    return published if encoder.name == "inception" else f"{other}({encoder.name})"


def real_index(data: Source, n: int) -> Tensor:
    """The n items of the data that scores are computed on, [n]: the same ones in every run, whatever its seed."""
    generator = torch.Generator().manual_seed(derive(0, "evaluation"))
    return torch.randperm(len(data), generator=generator)[:n]


def as_stored(x: Tensor, shape: DataShape, rule: Literal["x255", "x256"] = "x255") -> Tensor:
    """Images [B, C, H, W] in [-1, 1] as they would be read back from a file of 8 bits; vectors as they are.

    (x + 1) / 2 becomes a byte by rounding its 255-fold, as the data's were ("x255"), or by cutting its 256-fold
    down to a whole number of at most 255 ("x256").
    """
    if shape.kind == "vector":
        return x
    half = x.add(1).mul_(0.5)
    x = half.mul_(255).round_() if rule == "x255" else half.mul_(256).floor_()
    x = x.clamp_(0, 255).div_(127.5).sub_(1)
    return x.contiguous(memory_format=torch.channels_last)
