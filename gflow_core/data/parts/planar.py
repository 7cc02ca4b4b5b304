"""Options of the two-dimensional sets."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

import attrs

from gflow_core.parts.nouns import DataShape, Progress, no_progress
from gflow_core.parts.options import option

if TYPE_CHECKING:
    from torch import Generator

    from gflow_core.parts.source import Source

__all__ = ["Checkerboard", "Circles", "Gaussian", "Grid", "Mixture", "Ring", "Swissroll"]


@attrs.frozen(kw_only=True)
class _Planar:
    """Options of the two-dimensional sets. They are finite samples: every epoch sees the same n points."""

    has_modes: ClassVar[bool] = True
    """Whether mode coverage can be counted."""
    has_density: ClassVar[bool] = True
    """Whether log p is known."""

    n: int = option(50_000, doc="Points drawn, once.", ge=1)
    data_seed: int = option(0, doc="Seed of the points; the seed of training does not change them.", ge=0)
    split: Literal["train", "test"] = option("train", doc="Test points are drawn from another stream of data_seed.")
    test_n: int | None = option(
        None, doc="Test points drawn, n by default: more where few are trained on and the law is asked.", ge=1
    )

    @property
    def _count(self) -> int:
        """Points of the split."""
        return self.test_n or self.n if self.split == "test" else self.n

    def data_shape(self) -> DataShape:
        return DataShape("vector", (2,))

    def check(self) -> Iterable[str]:
        return ()

    def _stream(self, name: str) -> Generator:
        from gflow_core.data.planar import stream

        return stream(name, self.data_seed, self.split)


@attrs.frozen(kw_only=True)
class Gaussian(_Planar):
    """One Gaussian: N(mean, std^2 I)."""

    mean: tuple[float, float] = option((0.0, 0.0), doc="Its centre.")
    std: float = option(1.0, doc="Its standard deviation along each axis.", gt=0)

    def load(self, progress: Progress = no_progress) -> Source:
        import torch

        from gflow_core.data import planar

        centres = torch.tensor([self.mean], dtype=torch.float64)
        return planar.mixture(centres, self.std, n=self._count, generator=self._stream("gaussian"))


RINGS = {"vgrow": (10.0, 1.0), "gan": (10 / 1.414, 0.02 / 1.414)}
"""Radius and std of `ring`: VGrow's 2-D experiments; the Wasserstein-GAN line of work, which FAR follows."""

GRIDS = {"gan": (20 / 2.828, 0.5 / 2.828)}
"""Spacing and std of `grid`: centres -4, -2, ..., 4 and std .05, all times 10 / 2.828."""

SWISSROLLS = {"gan": (0.25, 10 / 7.5, 1.5), "drifting": (0.03 * 4.5 * math.pi, 1 / (4.5 * math.pi), 0.5)}
"""Noise, scale, and where t begins, in units of pi, of `swissroll`: the noise is added before the scale. `drifting` is
the planar experiment of Deng et al. 2026: the largest coordinate is 1, and the noise .03 beside it."""

CHECKERBOARDS = {"drifting": (0.5, 0.05)}
"""Side of a square and std of `checkerboard`: the planar experiment of Deng et al. 2026, on [-1, 1]^2."""

CIRCLES: dict[str, tuple[tuple[float, ...], float, tuple[float, ...]]] = {"vgrow": ((15.0, 5.0), 0.5, (0.67, 0.33))}
"""Radii, std and weights of `circles`: VGrow's 2-D experiments."""


@attrs.frozen(kw_only=True)
class Ring(_Planar):
    """Gaussians of equal weight, evenly on a circle round the origin."""

    convention: Literal["gan", "vgrow"] = option(
        "gan", doc="Radius 7.07 and std .014 (gan: 10 and .02, divided by 1.414), or 10 and 1 (vgrow)."
    )
    modes: int = option(8, doc="Gaussians.", ge=1, le=10_000)
    radius: float | None = option(None, doc="Radius of the circle; the convention's by default.", gt=0)
    std: float | None = option(None, doc="Standard deviation of each; the convention's by default.", gt=0)

    def load(self, progress: Progress = no_progress) -> Source:
        from gflow_core.data import planar

        radius, std = RINGS[self.convention]
        radius, std = self.radius or radius, self.std or std
        centres = planar.ring_centres(self.modes, radius)
        return planar.mixture(centres, std, n=self._count, generator=self._stream("ring"))


@attrs.frozen(kw_only=True)
class Grid(_Planar):
    """Gaussians of equal weight on a square grid round the origin."""

    convention: Literal["gan"] = option("gan", doc="Spacing 7.07 and std .177 (2 and .05, times 10/2.828).")
    side: int = option(5, doc="Gaussians along each axis; 5 makes 25.", ge=1, le=100)
    spacing: float | None = option(None, doc="Distance between neighbours; the convention's by default.", gt=0)
    std: float | None = option(None, doc="Standard deviation of each; the convention's by default.", gt=0)

    def load(self, progress: Progress = no_progress) -> Source:
        from gflow_core.data import planar

        spacing, std = GRIDS[self.convention]
        spacing, std = self.spacing or spacing, self.std or std
        centres = planar.grid_centres(self.side, spacing)
        return planar.mixture(centres, std, n=self._count, generator=self._stream("grid"))


@attrs.frozen(kw_only=True)
class Swissroll(_Planar):
    """A spiral, scale * ((t cos t, t sin t) + noise), t uniform up to 4.5 pi. It has no modes."""

    has_modes: ClassVar[bool] = False
    has_density: ClassVar[bool] = False

    convention: Literal["gan", "drifting"] = option(
        "gan",
        doc="t from 1.5 pi, noise .25 and scale 10/7.5 (gan); or t from .5 pi, scale 1/(4.5 pi), so that the largest "
        "coordinate is 1, and noise .03 at that scale (drifting).",
    )
    noise: float | None = option(
        None, doc="Standard deviation of the noise, before the scale; the convention's by default.", ge=0
    )
    scale: float | None = option(None, doc="Factor on all of it; the convention's by default.", gt=0)

    def load(self, progress: Progress = no_progress) -> Source:
        from gflow_core.data import planar

        noise, scale, start = SWISSROLLS[self.convention]
        noise = noise if self.noise is None else self.noise
        x = planar.draw_swissroll(noise, self.scale or scale, start, self._count, self._stream("swissroll"))
        return planar.source(x)


@attrs.frozen(kw_only=True)
class Circles(_Planar):
    """Circles round the origin, with Gaussian noise; its modes are 16 sectors of each circle."""

    convention: Literal["vgrow"] = option("vgrow", doc="Radii 15 and 5, std .5, weights .67 and .33.")
    radii: tuple[float, ...] | None = option(None, doc="Radius of each circle; the convention's by default.", gt=0)
    weights: tuple[float, ...] | None = option(
        None, doc="Share of the points on each circle, adding up to 1; the convention's by default.", gt=0
    )
    std: float | None = option(None, doc="Standard deviation of the noise; the convention's by default.", gt=0)

    def check(self) -> Iterable[str]:
        radii, _, weights = self._law()
        if not radii or len(radii) != len(weights):
            yield f"{len(radii)} radii and {len(weights)} weights: set one weight a radius"
        elif not math.isclose(sum(weights), 1, abs_tol=1e-6):
            yield f"weights add up to {sum(weights):g}; make it 1"

    def _law(self) -> tuple[tuple[float, ...], float, tuple[float, ...]]:
        radii, std, weights = CIRCLES[self.convention]
        if self.radii is not None:
            radii = self.radii
        if self.weights is not None:
            weights = self.weights
        return radii, self.std or std, weights

    def load(self, progress: Progress = no_progress) -> Source:
        from gflow_core.data import planar

        radii, std, weights = self._law()
        x = planar.draw_rings(radii, weights, std, self._count, self._stream("circles"))
        log_density = partial(planar.log_density_rings, radii, std, weights)
        return planar.source(x, planar.Rings(radii, std), log_density)


@attrs.frozen(kw_only=True)
class Mixture(_Planar):
    """Gaussians of any means, covariances and weights; one of them is a Gaussian of any covariance."""

    means: tuple[tuple[float, float], ...] = option(doc="The centre of each, such as [[0, 0], [3, 1]].")
    covariances: tuple[tuple[tuple[float, float], tuple[float, float]], ...] = option(
        (), doc="The covariance of each, such as [[[1, 0.8], [0.8, 0.89]], ...]; by default I for all."
    )
    weights: tuple[float, ...] = option((), doc="Share of the points of each, adding up to 1; by default equal.", gt=0)

    def check(self) -> Iterable[str]:
        if not self.means:
            yield "means = []: set one mean at least, such as [[0, 0]]"
        for name, values in (("covariances", self.covariances), ("weights", self.weights)):
            if values and len(values) != len(self.means):
                yield f"{len(self.means)} means and {len(values)} {name}: set one a mean"
        for i, ((xx, xy), (yx, yy)) in enumerate(self.covariances):
            if xy != yx or not (xx > 0 and xx * yy - xy * yx > 1e-12 * xx * yy):
                yield (
                    f"covariances.{i} = [[{xx:g}, {xy:g}], [{yx:g}, {yy:g}]] is none: symmetric and positive definite "
                    "expected"
                )
        if self.weights and not math.isclose(sum(self.weights), 1, abs_tol=1e-6):
            yield f"weights add up to {sum(self.weights):g}; make it 1"

    def load(self, progress: Progress = no_progress) -> Source:
        import torch

        from gflow_core.data import planar

        count = len(self.means)
        covariances = torch.tensor(self.covariances or (((1.0, 0.0), (0.0, 1.0)),) * count, dtype=torch.float64)
        weights = torch.tensor(self.weights or (1 / count,) * count, dtype=torch.float64)
        weights = weights / weights.sum()
        centres = torch.tensor(self.means, dtype=torch.float64)
        modes = planar.Ellipses(centres, torch.linalg.cholesky(covariances))
        x = planar.draw_normals(weights, modes, self._count, self._stream("mixture"))
        return planar.source(x, modes, partial(planar.log_density_normals, weights, modes))


@attrs.frozen(kw_only=True)
class Checkerboard(_Planar):
    """Every other square of a board round the origin, uniformly, with Gaussian noise; its modes are the squares."""

    convention: Literal["drifting"] = option(
        "drifting", doc="Squares of side .5, so that 4 reach from -1 to 1; std .05."
    )
    cells: int = option(4, doc="Squares along each axis; 4 makes 8 that are filled.", ge=1)
    side: float | None = option(None, doc="Side of a square; the convention's by default.", gt=0)
    std: float | None = option(None, doc="Standard deviation of the noise; the convention's by default.", gt=0)

    def load(self, progress: Progress = no_progress) -> Source:
        from gflow_core.data import planar

        side, std = CHECKERBOARDS[self.convention]
        side, std = self.side or side, self.std or std
        modes = planar.Cells(planar.board_centres(self.cells, side), side, std)
        x = planar.draw_cells(modes, self._count, self._stream("checkerboard"))
        return planar.source(x, modes, partial(planar.log_density_cells, modes))
