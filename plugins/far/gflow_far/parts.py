"""The plugin's parts: their options and checks. The work is in the modules that `build` imports."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import attrs

from gflow_core import (
    Adversarial,
    DataShape,
    Experiment,
    Latent,
    Mixed,
    Normal,
    Penalty,
    Result,
    Subject,
    attention_faults,
    image_size_faults,
    option,
)

if TYPE_CHECKING:
    from torch import nn

    from gflow_core import Spec
    from gflow_far.fake_as_real import FakeAsRealObjective

__all__ = [
    "Equilibrium",
    "Evolution",
    "FakeAsReal",
    "GradientExplosion",
    "MlpDiscriminator",
    "MlpSampler",
    "ResnetDiscriminator",
    "ResnetSampler",
]


# ------------------------------------------------------------------ multilayer perceptrons


@attrs.frozen(kw_only=True)
class _Mlp:
    """Options that the sampler and the discriminator share."""

    cite: ClassVar[tuple[str, ...]] = ("tao2020far",)
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
        from gflow_core import Mlp

        assert data is not None
        return Mlp(self.latent.dim, data.shape[0], width=self.width, depth=self.depth)


@attrs.frozen(kw_only=True)
class MlpDiscriminator(_Mlp):
    """FAR's discriminator of vectors (Table 4): ReLU layers from x to a logit."""

    def build(self, data: DataShape | None) -> nn.Module:
        from gflow_core import MlpLogit

        assert data is not None
        return MlpLogit(data.shape[0], width=self.width, depth=self.depth)


# ------------------------------------------------------------------ residual networks


@attrs.frozen(kw_only=True)
class _Resnet:
    """Options that the sampler and the discriminator share."""

    cite: ClassVar[tuple[str, ...]] = ("tao2020far", "mescheder2018converge")

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
    spectral_norm: int = option(
        0,
        doc="Power iterations a training forward of spectral normalisation, on every convolution and linear layer "
        "(Miyato et al. 2018: 1, of the discriminator); 0 leaves it out.",
        ge=0,
    )
    attention: tuple[int, ...] = option(
        (),
        doc="Sides of the maps that a self-attention block follows (SAGAN, Zhang et al. 2019): 4, 8, ..., the image's.",
        unit="pixels",
    )
    conditional: bool = option(
        False,
        doc="Read labels as the code of Mescheder et al. 2018: embedded beside z in the sampler; in the discriminator "
        "as <embed(y), phi> added to the logit, phi the last maps, so that each class has a last layer of its own.",
    )

    def check(self, data: DataShape | None) -> Iterable[str]:
        if data is None:
            yield "needs a [dataset] that says which images to make"
        elif data.kind != "image":
            yield f"works on images, the data is {data}; far.mlp works on vectors"
        else:
            yield from (unfit := list(image_size_faults(data)))
            if not unfit:
                yield from attention_faults(self.attention, 4, min(data.shape[1:]))

    def _network(self, data: DataShape) -> dict[str, Any]:
        """What the built networks take."""
        return {
            "per_level": {"cifar": 1, "imagenet": 2}[self.table],
            "channels": self.channels,
            "max_channels": self.max_channels,
            "residual_scale": self.residual_scale,
            "slope": self.slope,
            "spectral_norm": self.spectral_norm,
            "attention": self.attention,
            "labels": data.label_size if self.conditional else 0,
        }


@attrs.frozen(kw_only=True)
class ResnetSampler(_Resnet):
    """FAR's residual sampler: z -> linear -> 4x4 -> blocks with nearest-neighbour doubling between -> tanh."""

    latent: Latent = option(
        factory=lambda: Normal(dim=128), doc="Law of z (the paper: dimension 128 on CIFAR, 256 on ImageNet)."
    )
    label_width: int = option(
        256,
        doc="Numbers that stand beside z for a label that is read (the code of Mescheder et al. 2018: 256).",
        ge=1,
    )

    def check(self, data: DataShape | None) -> Iterable[str]:
        yield from super().check(data)
        if data is not None and data.kind == "image" and (data.low, data.high) != (-1.0, 1.0):
            yield f"ends in tanh, the data is {data}"

    def build(self, data: DataShape | None) -> nn.Module:
        from gflow_far.resnet import Sampler

        assert data is not None
        channels, height, width = data.shape
        network = self._network(data) | {"classes": data.classes is not None, "label_width": self.label_width}
        return Sampler(self.latent.dim, channels, (height, width), **network)


@attrs.frozen(kw_only=True)
class ResnetDiscriminator(_Resnet):
    """FAR's residual discriminator: conv, blocks with mean pooling between down to 4x4, linear; no batch norm."""

    pool: Literal[2, 3] = option(
        2,
        doc="Side of the windows whose means halve maps: 2, or 3 with zeros beyond the edge as in Mescheder et al.'s "
        "code, which the paper uses (its tables print no side).",
        unit="pixels",
    )

    def build(self, data: DataShape | None) -> nn.Module:
        from gflow_far.resnet import Discriminator

        assert data is not None
        image_channels, height, width = data.shape
        return Discriminator(image_channels, (height, width), pool=self.pool, **self._network(data))


# ------------------------------------------------------------------ the objective


@attrs.frozen(kw_only=True)
class FakeAsReal(Adversarial):
    """FAR (eq. 12): of each "real" batch, `fake_as_real` items are generated ones.

    They are those with the lowest logits of `candidates` fresh samples, where fakes crowd round a real point. The
    default penalty is zero-centred on that mixed batch. `fake_as_real = 0` is plain GAN training.
    """

    cite: ClassVar[tuple[str, ...]] = ("tao2020far", "goodfellow2014gan")

    fake_as_real: int = option(
        16, doc="M0: generated items counted as real (the paper: 16 of 64 in the plane, 32 of 64 on images).", ge=0
    )
    candidates: int = option(256, doc="M1: fresh samples that they are chosen from, lowest logits first.", ge=1)
    penalty: tuple[Penalty, ...] = option(
        factory=lambda: (Mixed(weight=10.0),),
        doc="Penalties on the discriminator (the paper: mixed, weight 10); one needs no list.",
    )

    def check(self, spec: Spec) -> Iterable[str]:
        yield from super().check(spec)
        if self.fake_as_real and self.pack > 1:
            yield "fake_as_real chooses items one by one, and pack joins them; set one of them to 0 or 1"
        if spec.train is not None and self.fake_as_real % spec.train.accumulate:
            yield f"fake_as_real = {self.fake_as_real} does not divide among train.accumulate = {spec.train.accumulate}"
        if self.fake_as_real > self.candidates:
            yield f"fake_as_real = {self.fake_as_real} cannot be chosen from candidates = {self.candidates}"
        if spec.train is not None and self.fake_as_real >= spec.train.batch_size:
            yield (
                f"fake_as_real = {self.fake_as_real} leaves no real item in train.batch_size = {spec.train.batch_size}"
            )

    @property
    def log_ratio(self) -> bool:
        """As the game has it; not where samples count as real."""
        return super().log_ratio and not self.fake_as_real

    def items_a_step(self, batch_size: int) -> int:
        """Real items that one step reads: those of N that are no fakes."""
        return (batch_size - self.fake_as_real) * self.discriminator_steps

    def build(self, experiment: Experiment) -> FakeAsRealObjective:
        from gflow_far.fake_as_real import FakeAsRealObjective

        return FakeAsRealObjective(experiment, self, fake_as_real=self.fake_as_real, candidates=self.candidates)


# ------------------------------------------------------------------ analyzers


def _plane(spec: Spec) -> Iterable[str]:
    if spec.dataset is not None and spec.dataset.data_shape().shape != (2,):
        yield f"draws the plane, the data is {spec.dataset.data_shape()}"


@attrs.frozen(kw_only=True)
class GradientExplosion:
    """How hard the generator is pulled at each fake point, against its distance to the nearest real one.

    The pull at y is |grad_y L_G| = sigmoid(-d(y)) |grad d(y)|, L_G = softplus(-d) (the paper's eq. 5). Where fakes
    are trapped by single real points it explodes as they approach. A fake y0 and its nearest real point x0 of the
    whole data set are a close pair within distance `delta`; there the paper approximates the pull by
    sigmoid(-d(y0)) |d(x0) - d(y0)| / |x0 - y0| (eq. 6).

    `effective_points` says whether fakes crowd at single real points: exp of the entropy of which real point is
    nearest, k where they lie evenly at k of them, beside that of as many held-out points. `crowding` is the rank
    correlation of the pull with the number of fakes that share the nearest real point, at equal distance
    (Proposition 2: above 0). And of the fakes that FAR would count as real, the lowest-scored of its candidates: their
    distance, the fakes that they share their real point with, and their pull, each a mean over that of the others.
    """

    cite: ClassVar[tuple[str, ...]] = ("tao2020far",)
    needs: ClassVar[frozenset[str]] = frozenset({"dataset", "sampler", "discriminator"})

    samples: int = option(2000, doc="Fake points drawn.", ge=2)
    delta: float | None = option(
        None,
        doc="Distance up to which a fake and its nearest real point are a close pair, in the data's units; by "
        "default that of the closest `close` of the fakes.",
        gt=0,
    )
    close: float = option(
        0.1,
        doc="Share of the fakes that make close pairs, those closest to a real point; `delta` overrides it.",
        gt=0,
        lt=1,
    )
    pairs: int = option(20, doc="Closest pairs listed in pairs.csv and marked in the picture.", ge=1)
    lowest: int = option(16, doc="Fakes with the lowest scores that are looked at by themselves.", ge=1)
    lowest_of: int = option(256, doc="Fakes of which these are the lowest.", ge=2)
    arrows: int = option(300, doc="Fakes drawn with an arrow, at most.", ge=0)
    resolution: int = option(240, doc="Points along each axis of the heat maps.", unit="points", ge=10)

    def check(self, spec: Spec) -> Iterable[str]:
        yield from _plane(spec)
        if spec.discriminator is not None and spec.discriminator.conditional:
            yield "draws d(x) without labels; the discriminator reads labels"
        if getattr(getattr(spec.objective, "loss", None), "reads_real", False):
            yield "looks at one fake point at a time; the sampler's loss reads real points, too"
        if self.lowest >= self.lowest_of:
            yield f"lowest = {self.lowest} of lowest_of = {self.lowest_of} leaves none to compare with; take fewer"

    def build(self) -> Callable[[Subject], Result]:
        from gflow_far.gradient_explosion import gradient_explosion

        return lambda subject: gradient_explosion(
            subject,
            samples=self.samples,
            delta=self.delta,
            close=self.close,
            pairs=self.pairs,
            lowest=(self.lowest, self.lowest_of),
            arrows=self.arrows,
            resolution=self.resolution,
        )


@attrs.frozen(kw_only=True)
class Evolution:
    """Real and generated points over training, a panel a moment, as in the paper's Figures 1 and 2.

    With `every` in its [[analyze]] table each moment's points are kept (points.csv), and the picture shows all
    moments so far; without it, only the last.
    """

    cite: ClassVar[tuple[str, ...]] = ("tao2020far",)
    needs: ClassVar[frozenset[str]] = frozenset({"dataset", "sampler"})

    samples: int = option(2000, doc="Points drawn at each moment; as many real ones are shown.", ge=1)
    panels: int = option(
        8, doc="Moments shown, at most: the first, the last, and others evenly between (1: the last).", ge=1
    )

    def check(self, spec: Spec) -> Iterable[str]:
        return _plane(spec)

    def build(self) -> Callable[[Subject], Result]:
        from gflow_far.evolution import evolution

        return lambda subject: evolution(subject, samples=self.samples, panels=self.panels)


@attrs.frozen(kw_only=True)
class Equilibrium:
    """The optimal discriminator near a real point: Table 2 counted, Propositions 1, 2 and 3 checked numerically.

    Solves the stationarity equations over a grid of k0, m0, p0, n and m, compares neighbours with Table 2's arrows,
    maximises the objective by itself, and builds Proposition 1's network. Needs no data and no training.
    """

    cite: ClassVar[tuple[str, ...]] = ("tao2020far",)
    needs: ClassVar[frozenset[str]] = frozenset()

    grid: int = option(12, doc="Values of each of k0 (1e-4 to 10), m0 (1 to 16) and p0 (0 to 1), at most.", ge=2)
    counts: tuple[int, ...] = option(
        (16, 64, 256, 1024),
        doc="Values of n and of m, the numbers of real and of fake points; m0 is at most the smallest.",
        ge=1,
        check=lambda counts: None if len(counts) else "needs at least one number",
    )
    maximised: int = option(12, doc="Settings at which the objective is maximised by itself.", ge=1)

    def check(self, spec: Spec) -> Iterable[str]:
        return ()

    def build(self) -> Callable[[Subject], Result]:
        from gflow_far.equilibrium import equilibrium

        return lambda subject: equilibrium(subject, grid=self.grid, counts=self.counts, maximised=self.maximised)
