"""Data and networks for tests, as parts: small, quick, and of every kind. Torch is imported when they are built."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

import attrs

from gflow_core.nn.latents import Normal
from gflow_core.parts.contracts import Latent
from gflow_core.parts.nouns import DataShape, Progress, no_progress
from gflow_core.parts.options import option

if TYPE_CHECKING:
    from torch import nn

    from gflow_core.parts.source import Source

__all__ = ["TINY", "TinyData", "TinyDiscriminator", "TinySampler"]


@attrs.frozen(kw_only=True)
class TinyData:
    """A few items of noise whose mean depends on their label, where they have one."""

    CLASSES: ClassVar[int] = 3
    CONDITIONS: ClassVar[tuple[str, ...]] = ("warm", "bright")

    kind: Literal["grey", "rgb", "vector"] = option("grey", doc="Images of one or three channels, or vectors.")
    labels: Literal["none", "classes", "conditions"] = option(
        "none", doc="No labels, three classes, or two real numbers an item."
    )
    split: Literal["train", "test", "all"] = option("train", doc="Different items; all is both.")
    n: int = option(60, doc="Items of a split.", ge=1)
    image_size: int = option(16, doc="Height and width of images.", unit="pixels", ge=1)
    dim: int = option(2, doc="Numbers in a vector.", ge=1)

    def data_shape(self) -> DataShape:
        """Images in [-1, 1], vectors without bounds."""
        classes = self.CLASSES if self.labels == "classes" else None
        conditions = self.CONDITIONS if self.labels == "conditions" else ()
        if self.kind == "vector":
            return DataShape("vector", (self.dim,), classes=classes, conditions=conditions)
        size = (3 if self.kind == "rgb" else 1, self.image_size, self.image_size)
        return DataShape("image", size, -1.0, 1.0, classes, conditions)

    def check(self) -> Iterable[str]:
        """Nothing can be wrong."""
        return ()

    def load(self, progress: Progress = no_progress) -> Source:
        """The same items at every call."""
        from gflow_core.testing.networks import tiny_source

        return tiny_source(self.data_shape(), n=self.n, split=self.split)


TINY: Mapping[str, TinyData] = {
    kind if labels == "none" else f"{kind}-{labels}": TinyData(kind=kind, labels=labels)
    for kind in ("grey", "rgb", "vector")
    for labels in ("none", "classes", "conditions")
}
"""Each kind of data by its name: "grey", "rgb-classes", "vector-conditions", ..."""


@attrs.frozen(kw_only=True)
class TinySampler:
    """One hidden layer from z (and the label) to the item; images go through a convolution and tanh besides."""

    conditional: bool = option(False, doc="Read labels.")
    latent: Latent = option(factory=lambda: Normal(dim=4), doc="Law of z.")

    def check(self, data: DataShape | None) -> Iterable[str]:
        """It makes whatever the data is."""
        if data is None:
            yield "needs a [dataset]"

    def build(self, data: DataShape | None) -> nn.Module:
        """z [B, latent.dim] -> [B, *shape]."""
        from gflow_core.testing.networks import Sampler

        assert data is not None
        return Sampler(self.latent.dim, data, labels=data.label_size if self.conditional else 0)


@attrs.frozen(kw_only=True)
class TinyDiscriminator:
    """One hidden layer from the item (and the label) to the logit; images go through a convolution before."""

    conditional: bool = option(False, doc="Read labels.")

    def check(self, data: DataShape | None) -> Iterable[str]:
        """It judges whatever the data is."""
        if data is None:
            yield "needs a [dataset]"

    def build(self, data: DataShape | None) -> nn.Module:
        """x [B, *shape] -> logit [B]."""
        from gflow_core.testing.networks import Discriminator

        assert data is not None
        return Discriminator(data, labels=data.label_size if self.conditional else 0)
