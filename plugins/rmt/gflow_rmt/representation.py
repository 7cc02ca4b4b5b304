"""The pipeline z -> sampler -> image of 8 bits -> encoder -> feature vector, class by class."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import attrs
import torch
from torch import Tensor, nn

from gflow_core.builtin.analyzers.features import Vectors, as_stored, real_index
from gflow_core.contracts import DataShape, Encoder, Latent, Subject
from gflow_core.data import Source
from gflow_core.errors import DataError, Diverged, GflowError
from gflow_core.nn.sampling import push
from gflow_core.rng import Streams

if TYPE_CHECKING:
    from gflow_rmt.parts import Represented

__all__ = ["Representation"]

_PATIENCE = 50
"""Images drawn for one wanted, before a class that the classifier never sees is given up."""


@attrs.frozen(eq=False)
class Representation:
    """A subject's sampler and an encoder, joined: features of generated and of real images.

    Features are float32 on the CPU, [K, n, p]: n images of each of the K classes of `part.labels`.
    """

    part: Represented
    subject: Subject
    shape: DataShape
    encoder: Encoder
    classifier: Encoder | None

    @classmethod
    def of(cls, part: Represented, subject: Subject) -> Representation:
        """The encoders built for what the subject's sampler makes."""
        shape = subject.spec.data_shape()
        assert shape is not None
        device, progress = subject.runtime.device, subject.progress
        encoder = part.encoder.build(shape, device, progress) if part.encoder else Vectors(shape.shape[0])
        classifier = part.classifier.build(shape, device, progress) if part.classifier else None
        return cls(part, subject, shape, encoder, classifier)

    # -------------------------------------------------------------- generated

    def draw(
        self,
        n: int,
        streams: Streams,
        *,
        z: Latent | None = None,
        sampler: nn.Module | None = None,
        what: str | None = "features",
    ) -> Tensor:
        """Features of n fresh images of each class, [K, n, p]; latents come from `streams`.

        `z` is a law in place of the part's own, `sampler` a network in place of the subject's, in eval mode on its
        device. `what` names the work in the progress, None keeps silent. Raises Diverged where features are not finite.
        """
        if self.classifier is not None:
            return self._sorted(n, streams, z, sampler, what)
        total, done = len(self.part.labels) * n, 0
        found = []
        for x in self.images(n, streams, z=z, sampler=sampler):
            found.append(self.encode(x).cpu())
            done += len(x)
            if what:
                self.subject.progress(what, done, total)
        return torch.cat(found).view(len(self.part.labels), n, -1)

    def images(
        self, n: int, streams: Streams, *, z: Latent | None = None, sampler: nn.Module | None = None
    ) -> Iterator[Tensor]:
        """n images of each class, class after class, in pieces [B, *shape] on the device, as 8 bits would hold them."""
        law, labels = self.law(z), self.part.labels
        conditional = self.subject.spec.sampler.conditional
        latents = law.draw(len(labels) * n, streams["latent"])
        y = torch.tensor(labels).repeat_interleave(n) if conditional else None
        yield from self._pieces(latents, y, sampler)

    def _pieces(self, z: Tensor, y: Tensor | None, sampler: nn.Module | None) -> Iterator[Tensor]:
        module = sampler if sampler is not None else self.subject.sampler
        assert module is not None
        for x in push(module, z, y, self.subject.runtime, chunk=self.part.batch_size):
            yield as_stored(x, self.shape, self.part.conversion)

    def law(self, z: Latent | None = None) -> Latent:
        """The law of z, in as many dimensions as the sampler reads."""
        own = self.subject.spec.sampler.latent
        law = z or self.part.z
        return own if law is None else attrs.evolve(law, dim=own.dim)  # type: ignore[misc]

    def encode(self, x: Tensor) -> Tensor:
        """Images [B, *shape] on the device -> features [B, p] there, float32. Raises Diverged if not finite."""
        found = self.encoder(x)
        if not bool(found.isfinite().all()):
            raise Diverged(
                f"step {self.subject.step}: features of samples are NaN or infinite ({self.encoder.name}); the sampler "
                "has diverged: train with a lower rate, or analyze an earlier checkpoint"
            )
        return found

    def _sorted(
        self, n: int, streams: Streams, z: Latent | None, sampler: nn.Module | None, what: str | None
    ) -> Tensor:
        """Images of a sampler without labels, drawn until the classifier has seen n of each class."""
        assert self.classifier is not None
        labels, size = self.part.labels, self.part.batch_size
        found: dict[int, list[Tensor]] = {label: [] for label in labels}
        law, wanted = self.law(z), len(labels) * n
        for _ in range(0, _PATIENCE * wanted, size):
            (x,) = self._pieces(law.draw(size, streams["latent"]), None, sampler)
            seen = self.classifier.classify(x).argmax(1).cpu()
            features = self.encode(x).cpu()
            for label, rows in found.items():
                rows.extend(features[seen == label][: n - len(rows)])
            have = sum(map(len, found.values()))
            if what:
                self.subject.progress(what, have, wanted)
            if have == wanted:
                return torch.stack([torch.stack(rows) for rows in found.values()])
        few = ", ".join(f"{len(rows)} of class {label}" for label, rows in found.items() if len(rows) < n)
        raise GflowError(
            f"classifier {self.classifier.name}: of {_PATIENCE * wanted} images it saw only {few}, {n} were wanted; "
            "choose other `classes`, fewer K, or a sampler that makes them"
        )

    # -------------------------------------------------------------- real

    def real(self, n: int, data: Source, what: str | None = "real features") -> Tensor:
        """Features of n real images of each class, [K, n, p]: the same ones for every seed. DataError if too few."""
        device = self.subject.runtime.device
        order = real_index(data, len(data))
        chosen = []
        for label in self.part.labels:
            index = order if self.part.K == 1 and not self._labelled else order[data.y[order] == label]  # type: ignore[index]
            if len(index) < n:
                raise DataError(f"dataset: {len(index)} images of class {label}, {n} are wanted; set N to fewer")
            chosen.append(index[:n])
        index, found = torch.cat(chosen), []
        for done in range(0, len(index), self.part.batch_size):
            piece = index[done : done + self.part.batch_size]
            found.append(self.encoder(data.batch(piece, device).x).cpu())
            if what:
                self.subject.progress(what, done + len(piece), len(index))
        return torch.cat(found).view(len(self.part.labels), n, -1)

    @property
    def _labelled(self) -> bool:
        """Whether the classes mean anything: asked of the sampler, or told by a classifier."""
        return bool(self.subject.spec.sampler.conditional) or self.classifier is not None

    # -------------------------------------------------------------- moments and sample

    def split(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features [K, N, p] -> those for the moments [K, m, p] and the sample [K, n, p], as the part's options say."""
        part = self.part
        start = 0 if part.moments == "split" else part.N - part.m
        return features[:, start : start + part.m], features[:, part.m :]

    # -------------------------------------------------------------- protocol

    def manifest(self, **own: Any) -> dict[str, Any]:
        """What every number here depends on."""
        part, sampler = self.part, self.subject.spec.sampler
        return {
            **self.subject.protocol(),
            "sampler_weights": getattr(sampler, "weights", "trained"),
            "encoder": self.encoder.name,
            "weights": self.encoder.weights,
            "resizer": self.encoder.resizer,
            "conversion": part.conversion,
            "z": str(self.law()),
            "classes": list(part.labels) if self._labelled else None,
            "classifier": self.classifier.name if self.classifier else None,
            "p": self.encoder.dim,
            "N": part.N,
            "m": part.m,
            "n": part.n,
            "moments": part.moments,
            **own,
        }
