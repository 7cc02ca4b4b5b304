"""Networks on DCGAN's guidelines: their options and checks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import attrs

from gflow_core import DataShape, Latent, Uniform, attention_faults, batch_norm_faults, image_size_faults, option

if TYPE_CHECKING:
    from torch import nn

__all__ = ["ConvDiscriminator", "ConvSampler", "SixConvDiscriminator"]


def _no_image(data: DataShape | None) -> Iterable[str]:
    """Why the data are not images."""
    if data is None:
        yield "needs a [dataset] that says which images to make"
    elif data.kind != "image":
        yield f"works on images, the data is {data}; set dataset.use to images"


@attrs.frozen(kw_only=True)
class _Conv:
    """Options that the sampler and the discriminator share."""

    cite: ClassVar[tuple[str, ...]] = ("radford2016dcgan",)

    width: int = option(
        128, doc="Feature maps at half the image's side, doubled where the side is halved (the paper: 128).", ge=1
    )
    max_width: int = option(1024, doc="Feature maps at most (the paper: 1024, at 4x4).", ge=1)
    kernel_size: Literal[4, 5] = option(
        5, doc="Side of the kernels: 5 as published, or 4 as in most later code.", unit="pixels"
    )
    use_batch_norm: bool = option(
        True, doc="Batch norm everywhere but on the sampler's output and the discriminator's input."
    )
    norm_ends: bool = option(False, doc="Batch norm there as well, which the paper found unstable.")
    norm_init: Literal["ones", "normal"] = option(
        "ones", doc="Scales that batch norm starts with: 1, or N(1, 0.02) (normal) as in DCGAN's own code."
    )
    spectral_norm: int = option(
        0,
        doc="Power iterations a training forward of spectral normalisation, on every convolution and linear layer "
        "(Miyato et al. 2018: 1, of the discriminator; SAGAN: 1, of both); 0 leaves it out.",
        ge=0,
    )
    attention: tuple[int, ...] = option(
        (),
        doc="Sides of the maps that a self-attention block follows (SAGAN, Zhang et al. 2019): 4, 8, ..., half the "
        "image's.",
        unit="pixels",
    )
    conditional: bool = option(
        False, doc="Read labels, classes one-hot or real numbers as they are, where `join` says."
    )

    join: Literal["layer", "planes", "norm", "projection"]  # each has its own as an option

    def check(self, data: DataShape | None) -> Iterable[str]:
        yield from _no_image(data)
        if data is not None and data.kind == "image":
            yield from (unfit := list(image_size_faults(data, 16, 256)))
            if not unfit:
                yield from attention_faults(self.attention, 4, min(data.shape[1:]) // 2)
        yield from batch_norm_faults(
            use_batch_norm=self.use_batch_norm, norm_init=self.norm_init, join=self.join, norm_ends=self.norm_ends
        )
        if self.join in ("norm", "projection") and not self.conditional:
            yield f'join = "{self.join}" says how labels are read, and they are not; set conditional = true'

    def _network(self, data: DataShape) -> dict[str, Any]:
        """What the built networks take."""
        from gflow_core import StridedLabels

        labels = StridedLabels(size=data.label_size, join=self.join, classes=data.classes is not None)
        return {
            "width": self.width,
            "max_width": self.max_width,
            "kernel_size": self.kernel_size,
            "use_batch_norm": self.use_batch_norm,
            "norm_ends": self.norm_ends,
            "norm_init": self.norm_init,
            "spectral_norm": self.spectral_norm,
            "attention": self.attention,
            "labels": labels if self.conditional else None,
        }


@attrs.frozen(kw_only=True)
class ConvSampler(_Conv):
    """DCGAN's sampler: z -> linear -> 4x4 -> transposed convolutions of stride 2 with batch norm and ReLU -> tanh."""

    upsample: Literal["transposed", "nearest"] = option(
        "transposed",
        doc="How maps are doubled: by transposed convolutions, or every pixel twice a side (nearest) and a convolution "
        "of stride 1, whose kernel reaches all pixels evenly (Odena et al. 2016), at up to four times the work.",
    )
    join: Literal["layer", "norm"] = option(
        "layer",
        doc="Where labels come in: beside z, or in the scales and shifts of batch norm (norm: conditional batch norm, "
        "as in Miyato and Koyama 2018).",
    )
    latent: Latent = option(factory=lambda: Uniform(dim=100), doc="Law of z (the paper: 100 numbers, uniform).")

    def check(self, data: DataShape | None) -> Iterable[str]:
        yield from super().check(data)
        if data is not None and data.kind == "image" and (data.low, data.high) != (-1.0, 1.0):
            yield f"ends in tanh, the data is {data}"

    def build(self, data: DataShape | None) -> nn.Module:
        from gflow_core import StridedSampler

        assert data is not None
        channels, height, width = data.shape
        network = self._network(data)
        return StridedSampler(self.latent.dim, channels, (height, width), upsample=self.upsample, **network)


@attrs.frozen(kw_only=True)
class ConvDiscriminator(_Conv):
    """DCGAN's discriminator: convolutions of stride 2 with batch norm and leaky ReLU down to 4x4 -> linear."""

    downsample: Literal["strided", "max", "average"] = option(
        "strided",
        doc="How maps are halved: by convolutions of stride 2, or of stride 1 and pooling, max or average, which the "
        "guidelines replace, at up to four times the work.",
    )
    head: Literal["flatten", "mean"] = option(
        "flatten", doc="The logit is linear in the last 4x4 maps (flatten, as published), or in their means (mean)."
    )
    slope: float = option(0.2, doc="Slope of leaky ReLU for negative values.", ge=0)
    join: Literal["planes", "projection"] = option(
        "planes",
        doc="Where labels come in: as constant planes beside the image, or as <embed(y), phi> added to the logit, phi "
        "what that is linear in (projection: Miyato and Koyama 2018).",
    )

    def build(self, data: DataShape | None) -> nn.Module:
        from gflow_core import StridedDiscriminator

        assert data is not None
        channels, height, width = data.shape
        own: dict[str, Any] = {"downsample": self.downsample, "head": self.head, "slope": self.slope}
        return StridedDiscriminator(channels, (height, width), **own, **self._network(data))


@attrs.frozen(kw_only=True)
class SixConvDiscriminator:
    """The discriminator of the paper's feature experiment: six 3x3 convolutions, two a size, and a linear head.

    At 32 px and width 128 its layers, max-pooled to 4x4, make the paper's 28,672 features. Kernels and strides are
    ours: its text does not print them.
    """

    cite: ClassVar[tuple[str, ...]] = ("radford2016dcgan",)
    conditional: ClassVar[bool] = False

    width: int = option(
        128, doc="Feature maps of the first two layers; the next two have twice, the last two four times as many.", ge=1
    )

    def check(self, data: DataShape | None) -> Iterable[str]:
        yield from _no_image(data)
        if data is not None and data.kind == "image" and min(data.shape[1:]) < 16:
            yield f"works on images of 16 pixels or more, the data is {data}; set dataset.image_size"

    def build(self, data: DataShape | None) -> nn.Module:
        from gflow_dcgan.six_conv import SixConv

        assert data is not None
        channels, height, width = data.shape
        return SixConv(channels, (height, width), width=self.width)
