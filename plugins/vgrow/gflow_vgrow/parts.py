"""The plugin's parts: their options and checks. The work is in the modules that `build` imports."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import attrs

from gflow_core import (
    DataShape,
    Experiment,
    Latent,
    Normal,
    ParticleFlow,
    Result,
    Subject,
    image_size_faults,
    option,
)
from gflow_vgrow.style import STYLES, Style
from gflow_vgrow.velocities import Ratio, RatioOptions

if TYPE_CHECKING:
    from torch import nn

    from gflow_core import ParticleFlowObjective, Spec

__all__ = [
    "AffineSampler",
    "Flow",
    "MlpDiscriminator",
    "MlpSampler",
    "ResnetDiscriminator",
    "ResnetSampler",
    "Theory",
]


# ------------------------------------------------------------------ residual networks


@attrs.frozen(kw_only=True)
class _Resnet:
    """Options that the sampler and the discriminator share."""

    cite: ClassVar[tuple[str, ...]] = ("gao2019vgrow",)

    channels: int = option(128, doc="Feature maps of every block (the paper: 128).", ge=1)
    variant: Literal["seed", "authors"] = option(
        "seed", doc="The paper's Tables 2-5, or the authors' public code; each difference is an option below."
    )
    skip: Literal["seed", "authors"] | None = option(
        None,
        doc="Where skips have their 1x1 convolution: on blocks that do not resample (seed), or on blocks that do "
        "(authors); the variant's by default.",
    )
    spectral_norm: int | None = option(
        None,
        doc="Power iterations of spectral normalisation on every layer; 0 leaves it out (seed 0, authors 5).",
        ge=0,
    )
    conv_bias: bool | None = option(None, doc="Biases on convolutions (seed yes, authors no).")
    init: Literal["default", "normal"] | None = option(
        None, doc="torch's own initialisation (seed), or N(0, 0.02) (authors)."
    )
    relu_skip: bool | None = option(
        None, doc="The skip carries relu(x), as the authors' in-place ReLU makes it (seed no, authors yes)."
    )

    def style(self) -> Style:
        """The variant, with the options that were set on top."""
        own = {f.name: getattr(self, f.name) for f in attrs.fields(Style) if getattr(self, f.name) is not None}
        return attrs.evolve(STYLES[self.variant], **own)


def _image(data: DataShape | None) -> Iterable[str]:
    if data is None:
        yield "needs a [dataset] that says which images to make"
    elif data.kind != "image":
        yield f"works on images, the data is {data}; vgrow.mlp works on vectors"
    else:
        yield from image_size_faults(data)


@attrs.frozen(kw_only=True)
class ResnetSampler(_Resnet):
    """VGrow's residual sampler: z -> linear -> 4x4 -> one up-block per doubling -> tanh.

    32 px is Table 2 of the paper's supplement and 64 px Table 4; other sizes follow the same rule.
    """

    conditional: ClassVar[bool] = False

    latent: Latent = option(factory=lambda: Normal(dim=128), doc="Law of z (the paper: normal, 128).")

    def check(self, data: DataShape | None) -> Iterable[str]:
        yield from _image(data)
        if data is not None and data.kind == "image" and (data.low, data.high) != (-1.0, 1.0):
            yield f"ends in tanh, the data is {data}"

    def build(self, data: DataShape | None) -> nn.Module:
        from gflow_vgrow.resnet import Sampler

        assert data is not None
        channels, height, width = data.shape
        return Sampler(
            latent_dim=self.latent.dim,
            image_channels=channels,
            image_size=(height, width),
            channels=self.channels,
            style=self.style(),
        )


@attrs.frozen(kw_only=True)
class ResnetDiscriminator(_Resnet):
    """VGrow's residual classifier: down-blocks to 8x8, plain blocks to four in all (at least one), sum pooling.

    32 px is Table 3 of the paper's supplement and 64 px Table 5; other sizes follow the same rule.
    """

    conditional: ClassVar[bool] = False

    def check(self, data: DataShape | None) -> Iterable[str]:
        yield from _image(data)

    def build(self, data: DataShape | None) -> nn.Module:
        from gflow_vgrow.resnet import Discriminator

        assert data is not None
        image_channels, height, width = data.shape
        return Discriminator(image_channels, (height, width), channels=self.channels, style=self.style())


# ------------------------------------------------------------------ multilayer perceptrons


def _vector(data: DataShape | None) -> Iterable[str]:
    if data is None:
        yield "needs a [dataset] that says which vectors to make"
    elif data.kind != "vector":
        yield f"works on vectors, the data is {data}; vgrow.resnet works on images"


@attrs.frozen(kw_only=True)
class _Mlp:
    """Options that the sampler and the discriminator share."""

    conditional: ClassVar[bool] = False

    width: int = option(128, doc="Units of each hidden layer.", ge=1)
    depth: int = option(3, doc="Hidden layers.", ge=1)
    widths: tuple[int, ...] = option(
        (), doc="Units of each hidden layer by itself, such as [512, 256], in place of width and depth.", ge=1
    )
    activation: Literal["relu", "leaky_relu", "tanh"] = option("relu", doc="Nonlinearity; leaky_relu has slope 0.2.")

    def check(self, data: DataShape | None) -> Iterable[str]:
        yield from _vector(data)

    def _layers(self) -> dict[str, Any]:
        return {"width": self.width, "depth": self.depth, "widths": self.widths, "activation": self.activation}


@attrs.frozen(kw_only=True)
class MlpSampler(_Mlp):
    """A multilayer perceptron z -> x for vector data; its last layer is linear."""

    latent: Latent = option(factory=lambda: Normal(dim=2), doc="Law of z.")

    def build(self, data: DataShape | None) -> nn.Module:
        from gflow_core import Mlp

        assert data is not None
        return Mlp(self.latent.dim, data.shape[0], **self._layers())


@attrs.frozen(kw_only=True)
class MlpDiscriminator(_Mlp):
    """A multilayer perceptron x -> logit for vector data."""

    def build(self, data: DataShape | None) -> nn.Module:
        from gflow_core import MlpLogit

        assert data is not None
        return MlpLogit(data.shape[0], **self._layers())


@attrs.frozen(kw_only=True)
class AffineSampler:
    """x = A z + b for vector data, beginning at A = I and b = `start`: Gaussian samples where z is normal."""

    conditional: ClassVar[bool] = False

    latent: Latent = option(factory=lambda: Normal(dim=2), doc="Law of z.")
    start: tuple[float, ...] = option((), doc="b at the start, such as [1, 1]; 0 by default.")

    def check(self, data: DataShape | None) -> Iterable[str]:
        yield from _vector(data)
        if data is not None and data.kind == "vector" and self.start and len(self.start) != data.shape[0]:
            yield f"start has {len(self.start)} numbers, the data {data.shape[0]}"

    def build(self, data: DataShape | None) -> nn.Module:
        from gflow_vgrow.affine import Affine

        assert data is not None
        return Affine(self.latent.dim, start=self.start or (0.0,) * data.shape[0])


# ------------------------------------------------------------------ the flow


@attrs.frozen(kw_only=True)
class Flow(RatioOptions, ParticleFlow):
    """Variational gradient flow (Gao et al. 2019): one step is one outer loop.

    1. A pool of z is drawn and pushed through the sampler: the particles.
    2. `inner_loops` times: the discriminator takes `discriminator_steps` logistic-regression steps on real
       data against random particles, then every particle moves, x <- clamp(x + step_size s(x) grad d(x)),
       where s(x) = r f''(r) at r = exp(-d(x)) belongs to the divergence.
    3. The sampler is fitted to the pairs (z, moved x) by mean squared error.

    Batches of training data, of particles and of pairs all have `train.batch_size` items. Where a network reads
    labels, each particle keeps one drawn with its z, and the flow is that of every class by itself. Table 1 has the
    defaults: 1280 particles, 20 moves of 0.5.
    """

    projection_passes: int | Literal["authors", "authors_cifar10"] = option(
        "authors",
        doc="Passes over the pool when the sampler is fitted: a number, or 5 below outer loop 200, 10 below 1000, "
        "15 below 1500, then 20 (authors, the schedule their code runs), or the same at 600, 2000, 3000 "
        "(authors_cifar10, the one it means for CIFAR-10 but never reaches).",
        ge=1,
    )

    @property
    def velocity(self) -> Ratio:
        """`vgrow.ratio`, with these options."""
        return Ratio(
            divergence=self.divergence, discriminator_steps=self.discriminator_steps, ratio_clip=self.ratio_clip
        )

    def equilibrium(self) -> Mapping[str, float]:
        return {"discriminator_loss": 2 * math.log(2), "divergence": 0.0, "velocity": 0.0}

    def build(self, experiment: Experiment) -> ParticleFlowObjective:
        from gflow_core import ParticleFlowObjective
        from gflow_vgrow.flow import projection_passes

        velocity = self.velocity.build(experiment, self)
        passes = partial(projection_passes, self.projection_passes)
        return ParticleFlowObjective(experiment, self, velocity, passes=passes, stream="vgrow")


# ------------------------------------------------------------------ analyzers


@attrs.frozen(kw_only=True)
class Theory:
    """The paper's lemmas and theorems checked numerically on Gaussians in one and two dimensions.

    Needs no training: a table of quantity, predicted, measured and error, and the decay of the divergence.
    """

    cite: ClassVar[tuple[str, ...]] = ("gao2019vgrow",)
    needs: ClassVar[frozenset[str]] = frozenset()

    samples: int = option(20_000, doc="Samples where an expectation is estimated by Monte Carlo.", ge=1000)
    flow_steps: int = option(200, doc="Euler steps in which particles flow to time 1.", unit="Euler steps", ge=10)
    horizon: float = option(
        6.0, doc="Time to which each divergence's decay is followed; beyond 6 the JS flow outruns the grid.", gt=0, le=6
    )

    def check(self, spec: Spec) -> Iterable[str]:
        return ()

    def build(self) -> Callable[[Subject], Result]:
        from gflow_vgrow.theory import theory

        return lambda subject: theory(subject, samples=self.samples, flow_steps=self.flow_steps, horizon=self.horizon)
