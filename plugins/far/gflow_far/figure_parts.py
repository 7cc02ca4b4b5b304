"""Pictures of FAR in the plane: the analyzers' options and checks. The work is in the modules that `build` imports."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, ClassVar

import attrs

from gflow_core.contracts import Result, Subject
from gflow_core.options import option

if TYPE_CHECKING:
    from gflow_core.spec import Spec

__all__ = ["Evolution", "GradientExplosion"]


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
    """

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
    arrows: int = option(300, doc="Fakes drawn with an arrow, at most.", ge=0)
    resolution: int = option(240, doc="Points along each axis of the heat maps.", unit="points", ge=10)

    def check(self, spec: Spec) -> Iterable[str]:
        yield from _plane(spec)
        if spec.discriminator is not None and spec.discriminator.conditional:
            yield "draws d(x) without labels; the discriminator reads labels"

    def build(self) -> Callable[[Subject], Result]:
        from gflow_far.gradient_explosion import gradient_explosion

        return lambda subject: gradient_explosion(self, subject)


@attrs.frozen(kw_only=True)
class Evolution:
    """Real and generated points over training, a panel a moment, as in the paper's Figures 1 and 2.

    With `every` in its [[analyze]] table each moment's points are kept (points.csv), and the picture shows all
    moments so far; without it, only the last.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"dataset", "sampler"})

    samples: int = option(2000, doc="Points drawn at each moment; as many real ones are shown.", ge=1)
    panels: int = option(
        8, doc="Moments shown, at most: the first, the last, and others evenly between (1: the last).", ge=1
    )

    def check(self, spec: Spec) -> Iterable[str]:
        return _plane(spec)

    def build(self) -> Callable[[Subject], Result]:
        from gflow_far.evolution import evolution

        return lambda subject: evolution(self, subject)
