"""Networks whose features are analyzed: BigGAN-deep and the MLP GAN."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Literal

import attrs

from gflow_core import DataShape, Latent, Normal, TruncatedNormal, option

if TYPE_CHECKING:
    from torch import nn

__all__ = ["BigGanDeep", "MlpDiscriminator", "MlpSampler"]


@attrs.frozen(kw_only=True)
class BigGanDeep:
    """BigGAN-deep's generator (Brock et al. 2019), class-conditional on ImageNet's 1000; loads its public weights.

    50,388,609, 55,880,833 and 56,163,905 parameters at 128, 256 and 512 px. The paper's network is the one of 256 px
    with the weights of the public PyTorch port, whose names of tensors and peculiarities it has. z is read as it is.
    """

    cite: ClassVar[tuple[str, ...]] = ("brock2019large",)
    conditional: ClassVar[bool] = True

    image_size: Literal[128, 256, 512] = option(256, doc="Height and width of the images.", unit="pixels")
    channels: int = option(
        128, doc="Feature maps of the last block, which others are multiples of (published: 128).", ge=8
    )
    weights: str = option(
        "random",
        doc="A fresh initialisation from the run's seed (random), which makes patterns of colour and no objects, or "
        "the path of a file: a state dict with the public port's names, such as its biggan-deep-256.",
        check=lambda value: None if value.strip() else 'expected "random" or the path of a file, got an empty string',
    )
    truncation: float = option(
        0.4,
        doc="Chooses the batch-norm statistics among those of truncations 0, 0.02, ..., 1; the law of z has it as its "
        "scale.",
        gt=0,
        le=1,
    )
    interpolation: Literal["published", "corrected"] = option(
        "published",
        doc="How statistics between two rows are weighed: as the public code does, the wrong way round (so that "
        "rounding shifts the row at truncations .14, .28, .56, .58 and .94), or the right way round.",
    )
    latent: Latent = option(
        factory=lambda: TruncatedNormal(dim=128, bound=2.0, scale=0.4),
        doc="Law of z, of length 128 (published: normal, |z| <= 2, times the truncation).",
    )

    def data_shape(self) -> DataShape:
        """RGB images in [-1, 1] of ImageNet's classes."""
        return DataShape("image", (3, self.image_size, self.image_size), -1.0, 1.0, classes=1000)

    def check(self, data: DataShape | None) -> Iterable[str]:
        if data is not None and data != self.data_shape():
            yield f"makes {self.data_shape()}, the data is {data}; remove [dataset], or give all of ImageNet's classes"
        if self.latent.dim != 128:
            yield f"latent.dim = {self.latent.dim}; the network reads 128 numbers, set latent.dim = 128"
        if isinstance(self.latent, TruncatedNormal) and self.latent.scale != self.truncation:
            yield (
                f"truncation = {self.truncation:g} chooses the statistics, but z has latent.scale = "
                f"{self.latent.scale:g}; set both to the same number"
            )

    def build(self, data: DataShape | None) -> nn.Module:
        from gflow_rmt.biggan_deep import build_biggan_deep

        return build_biggan_deep(
            image_size=self.image_size,
            channels=self.channels,
            weights=self.weights,
            truncation=self.truncation,
            interpolation=self.interpolation,
        )


@attrs.frozen(kw_only=True)
class _Mlp:
    """What both networks of the MLP GAN share."""

    cite: ClassVar[tuple[str, ...]] = ("seddik2020rmt",)

    conditional: bool = option(
        True,
        doc="Read the label, one-hot (real labels as they are), beside z or x; without it, one law for all classes.",
    )
    label_width: int | None = option(
        None, doc="Units of a layer that y goes through first; without it y joins as it is.", ge=1
    )
    slope: float = option(0.2, doc="Slope of leaky ReLU for negative values (the paper does not print its own).", ge=0)

    def check(self, data: DataShape | None) -> Iterable[str]:
        if data is None:
            yield "needs a [dataset] that says what to make"
        elif data.kind == "image" and data.low is None:
            yield f"works on images of a known range, the data is {data}"


def _some(widths: tuple[int, ...]) -> str | None:
    return None if widths else "needs at least one hidden layer"


@attrs.frozen(kw_only=True)
class MlpSampler(_Mlp):
    """The paper's MNIST generator: five hidden layers of leaky ReLU, then batch norm, and a linear one with tanh.

    tanh spans the pixels' range; vectors go without. On 28x28 digits in ten classes: 2,563,216 parameters.
    """

    least_batch: ClassVar[int] = 2

    widths: tuple[int, ...] = option(
        (128, 256, 512, 1024, 1024), doc="Units of the hidden layers (not printed in the paper).", ge=1, check=_some
    )
    latent: Latent = option(factory=lambda: Normal(dim=100), doc="Law of z (published: N(0, I) in 100 dimensions).")

    def build(self, data: DataShape | None) -> nn.Module:
        from gflow_rmt.mlp_gan import build_sampler

        assert data is not None
        return build_sampler(
            data,
            latent_dim=self.latent.dim,
            conditional=self.conditional,
            widths=self.widths,
            label_width=self.label_width,
            slope=self.slope,
        )


@attrs.frozen(kw_only=True)
class MlpDiscriminator(_Mlp):
    """The paper's MNIST discriminator: five hidden layers of leaky ReLU, then a logit.

    On 28x28 digits in ten classes: 1,511,425 parameters.
    """

    widths: tuple[int, ...] = option(
        (1024, 512, 256, 128, 64), doc="Units of the hidden layers (not printed in the paper).", ge=1, check=_some
    )

    def build(self, data: DataShape | None) -> nn.Module:
        from gflow_rmt.mlp_gan import build_discriminator

        assert data is not None
        return build_discriminator(
            data, conditional=self.conditional, widths=self.widths, label_width=self.label_width, slope=self.slope
        )
