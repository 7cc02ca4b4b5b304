"""The paper's networks: their options and checks. The work is in the modules that `build` imports."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import attrs

from gflow_core.builtin.latents import Normal
from gflow_core.contracts import DataShape, Latent
from gflow_core.options import option

if TYPE_CHECKING:
    from torch import nn

__all__ = ["MlpDiscriminator", "MlpSampler", "ResnetDiscriminator", "ResnetSampler"]


# ------------------------------------------------------------------ multilayer perceptrons


@attrs.frozen(kw_only=True)
class _Mlp:
    """Options that the sampler and the discriminator share."""

    conditional: ClassVar[bool] = False

    width: int = option(64, doc="Units of each hidden layer (Tables 3 and 4: 64).", ge=1)
    depth: int = option(3, doc="Hidden layers (Tables 3 and 4: 3).", ge=1)

    def check(self, data: DataShape | None) -> Iterable[str]:
        if data is None:
            yield "needs a [dataset] that says which vectors to make"
        elif data.kind != "vector":
            yield f"works on vectors, the data is {data}; far.resnet works on images"


@attrs.frozen(kw_only=True)
class MlpSampler(_Mlp):
    """FAR's sampler of vectors (Table 3): ReLU layers from z to x, the last one linear."""

    latent: Latent = option(factory=lambda: Normal(dim=2), doc="Law of z (Table 3: two dimensions).")

    def build(self, data: DataShape | None) -> nn.Module:
        from gflow_far.mlp import Mlp

        assert data is not None
        return Mlp(self.latent.dim, data.shape[0], width=self.width, depth=self.depth)


@attrs.frozen(kw_only=True)
class MlpDiscriminator(_Mlp):
    """FAR's discriminator of vectors (Table 4): ReLU layers from x to a logit."""

    def build(self, data: DataShape | None) -> nn.Module:
        from gflow_far.mlp import MlpLogit

        assert data is not None
        return MlpLogit(data.shape[0], width=self.width, depth=self.depth)


# ------------------------------------------------------------------ residual networks


@attrs.frozen(kw_only=True)
class _Resnet:
    """Options that the sampler and the discriminator share."""

    conditional: ClassVar[bool] = False

    table: Literal["cifar", "imagenet"] = option(
        "cifar",
        doc="One residual block at each size (cifar: Tables 5 and 6 at 32 px) or two (imagenet: Tables 7 and 8 at 64 "
        "px); other sizes follow the same rule.",
    )
    channels: int = option(64, doc="Feature maps at full size, doubled where the side is halved (the paper: 64).", ge=1)
    max_channels: int = option(1024, doc="Feature maps at most; the paper's tables end at 1024.", ge=1)
    residual_scale: float = option(
        0.1, doc="Factor of a block's residual (0.1 in the code of Mescheder et al. 2018, which the paper uses).", ge=0
    )
    slope: float = option(0.2, doc="Slope of leaky ReLU for negative values.", ge=0)

    def check(self, data: DataShape | None) -> Iterable[str]:
        if data is None:
            yield "needs a [dataset] that says which images to make"
        elif data.kind != "image":
            yield f"works on images, the data is {data}; far.mlp works on vectors"
        else:
            _, height, width = data.shape
            if height != width or height < 8 or height & (height - 1):
                yield (f"works on square images of 8, 16, 32, ... pixels, the data is {data}; set dataset.image_size")

    def _network(self) -> dict[str, Any]:
        """What the built networks take."""
        return {
            "per_level": {"cifar": 1, "imagenet": 2}[self.table],
            "channels": self.channels,
            "max_channels": self.max_channels,
            "residual_scale": self.residual_scale,
            "slope": self.slope,
        }


@attrs.frozen(kw_only=True)
class ResnetSampler(_Resnet):
    """FAR's residual sampler: z -> linear -> 4x4 -> blocks with nearest-neighbour doubling between -> tanh."""

    latent: Latent = option(
        factory=lambda: Normal(dim=128), doc="Law of z (the paper: dimension 128 on CIFAR, 256 on ImageNet)."
    )

    def check(self, data: DataShape | None) -> Iterable[str]:
        yield from super().check(data)
        if data is not None and data.kind == "image" and (data.low, data.high) != (-1.0, 1.0):
            yield f"ends in tanh, the data is {data}"

    def build(self, data: DataShape | None) -> nn.Module:
        from gflow_far.resnet import Sampler

        assert data is not None
        channels, size, _ = data.shape
        return Sampler(self.latent.dim, channels, size, **self._network())


@attrs.frozen(kw_only=True)
class ResnetDiscriminator(_Resnet):
    """FAR's residual discriminator: conv, blocks with mean pooling between down to 4x4, linear; no batch norm."""

    def build(self, data: DataShape | None) -> nn.Module:
        from gflow_far.resnet import Discriminator

        assert data is not None
        image_channels, size, _ = data.shape
        return Discriminator(image_channels, size, **self._network())
