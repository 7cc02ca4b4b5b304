"""The plugin's parts: their options and checks. The work is in the modules that they import where it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, ClassVar, Literal

import attrs

from gflow_core import (
    BatchVelocity,
    DataShape,
    EncoderPart,
    Latent,
    Normal,
    Result,
    Spec,
    Subject,
    autoencoder_faults,
    option,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

    from gflow_core import Experiment

__all__ = ["ConvSampler", "Field", "MlpSampler", "Theory"]


@attrs.frozen(kw_only=True)
class Field(BatchVelocity):
    """Particles drift towards data and away from one another (Deng et al. 2026), by a kernel normalised twice.

    With k(x, t) = exp(-|x - t| / tau), the targets t all data and all other particles, and A_ij = k(x_i, t_j) /
    sqrt(sum_j k(x_i, t_j) sum_i k(x_i, t_j)): v(x_i) = N_i sum_data A_ij y_j - P_i sum_particles A_ij x_j, where P_i
    and N_i sum A_ij over data and over particles. The paper makes one move of 1 a step, and one pass over the pool.
    """

    cite: ClassVar[tuple[str, ...]] = ("deng2026drifting",)
    compares: ClassVar[bool] = True

    temperatures: tuple[float, ...] = option((0.02, 0.05, 0.2), doc="Every tau; their velocities are added.", gt=0)
    kernel: Literal["laplace", "gaussian"] = option(
        "laplace", doc="exp(-|x - t| / tau), or exp(-|x - t|^2 / (2 tau^2))."
    )
    scaled: bool = option(
        True,
        doc="Each tau is in units of the mean distance s over the batch, each velocity divided by its root mean "
        "square, and their sum in units of s / sqrt(d): the paper's rule for features. Without it all is in units of "
        "the data, as in the paper's plane.",
    )

    encoder: EncoderPart | Literal["self"] | None = option(  # type: ignore[assignment]
        None,
        doc="Network whose feature maps are compared, in place of the items: each map's means, and the map itself. "
        "The velocity is pulled back through it. self: an autoencoder that learns the data first, without labels.",
    )
    encoder_steps: int = option(1000, doc="Steps in which the autoencoder of encoder = self learns.", ge=1)

    guidance: float = option(
        1.0,
        doc="Classifier-free guidance: beyond 1 data of all classes of the pool push, too, with guidance - 1 times the "
        "weight of all particles.",
        ge=1,
    )

    @property
    def contrasts(self) -> bool:
        """Whether the data of other classes matter."""
        return self.guidance > 1

    def check(self, spec: Spec) -> Iterable[str]:
        if self.contrasts and getattr(spec.objective, "classes", None) in (None, 1):
            yield f"velocity: guidance = {self.guidance:g} is of several classes a pool; set objective.classes"
        if self.encoder == "self":
            data = spec.data_shape()
            yield from attrs.evolve(self, encoder=None, guidance=1.0).check(spec)
            yield from (f"velocity: {fault}" for fault in (autoencoder_faults(data) if data is not None else ()))
            return
        yield from super().check(spec)
        if not self.temperatures:
            yield "velocity: temperatures is empty; it takes at least one"

    def maps(self, experiment: Experiment) -> Callable[[Tensor], list[Tensor]] | None:
        if self.encoder != "self":
            return super().maps(experiment)
        from gflow_core import own_encoder

        assert experiment.data is not None
        encoder = own_encoder(experiment.data, experiment.runtime.device, steps=self.encoder_steps)
        experiment.encoders["objective.velocity"] = encoder
        return encoder.maps

    def of(
        self,
        x: Tensor,
        y: Tensor,
        normal: Callable[[int, int], Tensor],
        done: int,
        others: Tensor | None = None,
    ) -> Tensor:
        from gflow_drift.field import field

        return field(
            x,
            y,
            self.temperatures,
            kernel=self.kernel,
            scaled=self.scaled,
            others=others,
            guidance=self.guidance,
        )

    def between(self, x: Tensor, y: Tensor, done: int) -> Callable[[Tensor], Tensor]:
        from gflow_drift.field import between

        return between(x, y, self.temperatures, kernel=self.kernel, scaled=self.scaled)


@attrs.frozen(kw_only=True)
class MlpSampler:
    """The paper's perceptron for the plane: z -> hidden layers with SiLU -> x, for vector data; its last is linear."""

    cite: ClassVar[tuple[str, ...]] = ("deng2026drifting",)
    conditional: ClassVar[bool] = False

    latent: Latent = option(factory=lambda: Normal(dim=32), doc="Law of z (the paper: normal, 32).")
    width: int = option(256, doc="Units of each hidden layer.", ge=1)
    depth: int = option(3, doc="Hidden layers.", ge=1)

    def check(self, data: DataShape | None) -> Iterable[str]:
        if data is None:
            yield "needs a [dataset] that says which vectors to make"
        elif data.kind != "vector":
            yield f"works on vectors, the data is {data}; vgrow.resnet works on images"

    def build(self, data: DataShape | None) -> nn.Module:
        from gflow_core import Mlp

        assert data is not None
        return Mlp(self.latent.dim, data.shape[0], width=self.width, depth=self.depth, activation="silu")


@attrs.frozen(kw_only=True)
class ConvSampler:
    """A small convolutional sampler of images: z, and labels if asked -> small maps -> residual blocks -> tanh.

    It has group norm in place of batch norm, so that particles lie where training finds them.
    """

    latent: Latent = option(factory=lambda: Normal(dim=64), doc="Law of z.")
    channels: int = option(
        64, doc="Feature maps at half the image's size; twice as many at a quarter, and so on.", ge=8
    )
    conditional: bool = option(False, doc="Reads the label, beside z.")

    def check(self, data: DataShape | None) -> Iterable[str]:
        if data is None:
            yield "needs a [dataset] that says which images to make"
        elif data.kind != "image":
            yield f"works on images, the data is {data}; drift.mlp works on vectors"
        else:
            if (data.low, data.high) != (-1.0, 1.0):
                yield f"ends in tanh, the data is {data}"
            if data.shape[1] % 2 or data.shape[2] % 2 or max(data.shape[1:]) <= 8:
                yield f"works on images of an even number of pixels along each side, more than 8, the data is {data}"
            if self.channels % 8:
                yield f"channels = {self.channels} is no multiple of 8, the groups of its group norm"
            if self.conditional and not data.label_size:
                yield f"reads labels, and there are none: {data}; set conditional = false"

    def build(self, data: DataShape | None) -> nn.Module:
        from gflow_drift.conv import ConvSampler

        assert data is not None
        colours, height, width = data.shape
        labels = data.label_size if self.conditional else 0
        return ConvSampler(self.latent.dim, (colours, height, width), channels=self.channels, labels=labels)


@attrs.frozen(kw_only=True)
class Theory:
    """What is known of the drifting field (Deng et al. 2026), checked numerically on Gaussians, mixtures and waves.

    Needs no training: a table of quantity, predicted, measured and error, and the decay rates by frequency.
    """

    cite: ClassVar[tuple[str, ...]] = ("deng2026drifting",)
    needs: ClassVar[frozenset[str]] = frozenset()

    points: int = option(3000, doc="Points that stand for a law on the line.", unit="points", ge=500)
    pools: int = option(300, doc="Independent pools that means are taken over.", ge=20)

    def check(self, spec: Spec) -> Iterable[str]:
        return ()

    def build(self) -> Callable[[Subject], Result]:
        from gflow_drift.theory import theory

        return lambda subject: theory(subject, points=self.points, pools=self.pools)
