"""The pipeline z -> sampler -> image of 8 bits -> encoder -> feature vector, class by class."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

import attrs
import torch
from torch import Tensor, nn

from gflow_core import (
    DataError,
    DataShape,
    Diverged,
    Encoder,
    GflowError,
    Given,
    Latent,
    Map,
    Portable,
    Runtime,
    Source,
    Spec,
    Streams,
    Subject,
    Vectors,
    as_stored,
    pieces,
    portable,
    real_index,
    sample,
)
from gflow_rmt.options import Represented
from gflow_rmt.surrogate import split

__all__ = ["Representation", "law_name"]

X = TypeVar("X")
Y = TypeVar("Y")

_PATIENCE = 50
"""Images drawn for one wanted, before a class that the classifier never sees is given up."""


@attrs.frozen(eq=False)
class Representation:
    """A subject's sampler and an encoder, joined: features of generated and of real images.

    Features are float32 on the CPU, [K, n, p]: n images of each of the K classes of `options.labels`.
    """

    subject: Subject
    options: Represented
    shape: DataShape
    encoder: Encoder
    classifier: Encoder | None

    @classmethod
    def of(cls, subject: Subject, options: Represented) -> Representation:
        """The encoders built for what the subject's sampler makes."""
        shape = subject.spec.data_shape()
        assert shape is not None
        device, progress = subject.runtime.device, subject.progress
        encoder = options.encoder.build(shape, device, progress) if options.encoder else Vectors(shape.shape[0])
        classifier = options.classifier.build(shape, device, progress) if options.classifier else None
        return cls(subject, options, shape, encoder, classifier)

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

        `z` is a law in place of the options' own, `sampler` a network in place of the subject's, in eval mode on its
        device. `what` names the work in the progress, None keeps silent. Raises Diverged where features are not finite.
        """
        found = list(self.pieces(n, streams, z=z, sampler=sampler, what=what))
        return torch.cat(found).view(len(self.options.labels), n, -1)

    def pieces(
        self,
        n: int,
        streams: Streams,
        *,
        z: Latent | None = None,
        sampler: nn.Module | None = None,
        what: str | None = "features",
    ) -> Iterator[Tensor]:
        """The features that `draw` returns, a batch [B, p] at a time: for `spectra.spectrum_of`, if memory is short.

        With a classifier they come at once, because they must be sorted first.
        """
        if self.classifier is not None:
            yield self._sorted(n, streams, z, sampler, what).flatten(0, 1)
            return
        total, done = len(self.options.labels) * n, 0
        for features in self._spread(_encoded, self._given(n, streams, z), total, sampler):
            yield features.cpu()
            done += len(features)
            if what:
                self.subject.progress(what, done, total)

    def images(
        self, n: int, streams: Streams, *, z: Latent | None = None, sampler: nn.Module | None = None
    ) -> Iterator[Tensor]:
        """n images of each class, class after class, in pieces [B, *shape] on the device, as 8 bits would hold them."""
        here = self if sampler is None else attrs.evolve(self, subject=attrs.evolve(self.subject, sampler=sampler))
        return (here.at(given) for given in self._given(n, streams, z))

    def at(self, given: Given) -> Tensor:
        """The images [B, *shape] of latents and labels, on the device, as 8 bits would hold them."""
        assert self.subject.sampler is not None
        return as_stored(sample(self.subject.sampler, self.subject.runtime, given), self.shape, self.options.conversion)

    def _given(self, n: int, streams: Streams, z: Latent | None) -> Iterator[Given]:
        """What n images of each class are made of, class after class, a batch at a time."""
        labels = self.options.labels
        latents = self.law(z).draw(len(labels) * n, streams["latent"])
        y = torch.tensor(labels).repeat_interleave(n) if self.subject.spec.sampler.conditional else None
        return pieces(latents, y, self.options.batch_size)

    # -------------------------------------------------------------- over the workers of a cluster

    def _spread(
        self,
        function: Callable[[Representation, X], Y],
        items: Iterable[X],
        images: int,
        sampler: nn.Module | None = None,
    ) -> Iterator[Y]:
        """function(representation, item) of each item, over `subject.map`; what is one batch is not worth a journey."""
        spread: Map = self.subject.map if images > self.options.batch_size else map
        return spread(self.portable(function, sampler), items)

    def portable(self, function: Callable[[Representation, X], Y], sampler: nn.Module | None = None) -> Portable[X, Y]:
        """function(representation, item) as a function of the item alone, that a worker can call as well.

        The representation has the networks and what they need, but neither data nor folders, and reports no progress.
        """
        subject = self.subject
        alone = Subject(
            Spec(sampler=subject.spec.sampler, train=subject.spec.train),
            subject.runtime,
            Streams(subject.streams.seed),
            subject.step,
            sampler=sampler if sampler is not None else subject.sampler,
        )
        return portable(_Bound(function, attrs.evolve(self, subject=alone)), subject)

    def law(self, z: Latent | None = None) -> Latent:
        """The law of z, in as many dimensions as the sampler reads."""
        own = self.subject.spec.sampler.latent
        law = z or self.options.z
        return own if law is None else attrs.evolve(law, dim=own.dim)  # type: ignore[misc]

    def encode(self, x: Tensor) -> Tensor:
        """Images [B, *shape] on the device -> features [B, p] there, float32. Raises Diverged if not finite."""
        found = self.encoder(x)
        # One pass where all is well: a sum is finite only if what it adds is.
        if not bool(found.sum().isfinite()) and not bool(found.isfinite().all()):
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
        labels, law = self.options.labels, self.law(z)
        found: dict[int, list[Tensor]] = {label: [] for label in labels}
        wanted, have = len(labels) * n, 0
        for _ in range(_PATIENCE):
            # As many latents as are wanted at once: what comes does not depend on the batches.
            given = pieces(law.draw(wanted, streams["latent"]), None, self.options.batch_size)
            for logits, features in self._spread(_judged, given, wanted, sampler):
                if max(labels) >= logits.shape[1]:
                    raise GflowError(
                        f"classifier {self.classifier.name} knows the classes 0 to {logits.shape[1] - 1}, not "
                        f"{max(labels)}; set K and classes to some of those"
                    )
                seen, features = logits.cpu().argmax(1), features.cpu()
                for label, rows in found.items():
                    rows.extend(features[seen == label][: n - len(rows)])
                have = sum(map(len, found.values()))
                if what:
                    self.subject.progress(what, have, wanted)
                if have == wanted:
                    return torch.stack([torch.stack(rows) for rows in found.values()])
        few = ", ".join(f"{len(rows)} of class {label}" for label, rows in found.items() if len(rows) < n)
        raise GflowError(
            f"classifier {self.classifier.name}: among {_PATIENCE * wanted} images it saw only {few}, {n} were wanted; "
            "choose other classes, a smaller K or N, or a sampler that makes them"
        )

    # -------------------------------------------------------------- real

    def real(self, n: int, data: Source, what: str | None = "real features") -> Tensor:
        """Features of n real images of each class, [K, n, p]: the same ones for every seed. DataError if too few."""
        device, done, found = self.subject.runtime.device, 0, []
        index = self.real_index(n, data)
        for piece in index.split(self.options.batch_size):
            features = self.encoder(data.batch(piece, device).x).cpu()
            if not bool(features.isfinite().all()):
                raise DataError(f"encoder {self.encoder.name}: features of the data are NaN or infinite; its weights?")
            found.append(features)
            done += len(piece)
            if what:
                self.subject.progress(what, done, len(index))
        return torch.cat(found).view(len(self.options.labels), n, -1)

    def real_index(self, n: int, data: Source) -> Tensor:
        """Where the n real images of each class stand in the data, class after class, [K n]. DataError if too few."""
        order, chosen = real_index(data, len(data)), []
        if self._labelled and (data.y is None or data.y.is_floating_point()):
            raise DataError("dataset: its images have no classes, by which real ones are chosen; use one that has")
        for label in self.options.labels:
            index = order[data.y[order] == label] if self._labelled and data.y is not None else order
            if len(index) < n:
                which = f" of class {label}" if self._labelled else ""
                raise DataError(f"dataset: {len(index)} images{which}, {n} are wanted; set N to no more than there are")
            chosen.append(index[:n])
        return torch.cat(chosen)

    @property
    def _labelled(self) -> bool:
        """Whether the classes mean anything: asked of the sampler, or told by a classifier."""
        return bool(self.subject.spec.sampler.conditional) or self.classifier is not None

    # -------------------------------------------------------------- moments and sample

    def split(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features [K, N, p] -> those for the moments [K, m, p] and the sample [K, n, p], as the options say."""
        return split(features, self.options.m, self.options.moments)

    # -------------------------------------------------------------- protocol

    def manifest(self, **own: Any) -> dict[str, Any]:
        """What every number here depends on."""
        options, sampler = self.options, self.subject.spec.sampler
        return {
            **self.subject.protocol(),
            "sampler_weights": getattr(sampler, "weights", "trained"),
            "encoder": self.encoder.name,
            "weights": self.encoder.weights,
            "resizer": self.encoder.resizer,
            "conversion": options.conversion,
            "z": law_name(self.law()),
            "z_dim": self.law().dim,
            "classes": list(options.labels) if self._labelled else None,
            "classifier": self.classifier.name if self.classifier else None,
            "p": self.encoder.dim,
            "N": options.N,
            "m": options.m,
            "n": options.n,
            "moments": options.moments,
            **own,
        }


@attrs.frozen(eq=False)
class _Bound(Generic[X, Y]):
    """A function of a representation with it, wherever it is called."""

    function: Callable[[Representation, X], Y]
    representation: Representation

    def __call__(self, runtime: Runtime, item: X) -> Y:
        one = self.representation
        return self.function(attrs.evolve(one, subject=attrs.evolve(one.subject, runtime=runtime)), item)


def _encoded(one: Representation, given: Given) -> Tensor:
    return one.encode(one.at(given))


def _judged(one: Representation, given: Given) -> tuple[Tensor, Tensor]:
    """The classifier's logits, and features."""
    assert one.classifier is not None
    x = one.at(given)
    return one.classifier.classify(x), one.encode(x)


def law_name(law: Latent) -> str:
    """The law in words that tables and figures can hold, without its dim: "bernoulli(p=0.5)", "normal"."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(law).__name__).lower()
    options = attrs.asdict(law, filter=lambda field, _: field.name != "dim")  # type: ignore[arg-type]
    stated = ", ".join(
        f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}" for key, value in options.items()
    )
    return f"{name}({stated})" if stated else name
