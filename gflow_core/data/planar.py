"""The two-dimensional laws: points, and the modes where coverage is counted.

Points are drawn in float64 from a stream of their own and kept as float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, partial

import attrs
import torch
from torch import Generator, Tensor

from gflow_core.machine.runtime import send
from gflow_core.machine.streams import derive
from gflow_core.parts.nouns import DataShape
from gflow_core.parts.source import Modes, Source, fingerprint

__all__ = [
    "Cells",
    "Centres",
    "Ellipses",
    "Rings",
    "board_centres",
    "draw_cells",
    "draw_mixture",
    "draw_normals",
    "draw_rings",
    "draw_swissroll",
    "grid_centres",
    "log_density_cells",
    "log_density_mixture",
    "log_density_normals",
    "log_density_rings",
    "mixture",
    "ring_centres",
    "source",
    "stream",
]


@attrs.frozen(eq=False)
class Centres:
    """Modes at points: the distance to one is Euclidean, in units of std."""

    centres: Tensor
    """[count, 2]."""
    std: float

    @property
    def count(self) -> int:
        return len(self.centres)

    def nearest(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x [n, 2] -> the nearest centre's index [n] and the distance to it in std [n]."""
        # The faster way by products loses so much precision that it would show at small std.
        distances = torch.cdist(x, self.centres.to(x), compute_mode="donot_use_mm_for_euclid_dist")
        distance, index = distances.min(1)
        return index, distance / self.std


@attrs.frozen(eq=False)
class Rings:
    """Modes on circles round the origin, each cut into equal sectors: mode = ring * sectors + sector.

    The distance is radial: | |x| - radius | in units of std.
    """

    radii: tuple[float, ...]
    std: float
    sectors: int = 16

    @property
    def count(self) -> int:
        return len(self.radii) * self.sectors

    @property
    def centres(self) -> Tensor:
        """[count, 2]: the middle of each sector's arc."""
        angle = (torch.arange(self.sectors) + 0.5) * (2 * math.pi / self.sectors)
        arc = torch.stack([angle.cos(), angle.sin()], 1)
        return torch.cat([radius * arc for radius in self.radii])

    def nearest(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x [n, 2] -> the nearest mode's index [n] and the radial distance to its ring in std [n]."""
        gaps = (x.norm(dim=1, keepdim=True) - torch.tensor(self.radii).to(x)).abs()
        distance, ring = gaps.min(1)
        turn = torch.atan2(x[:, 1], x[:, 0]) / (2 * math.pi) % 1
        sector = (turn * self.sectors).nan_to_num().long().clamp(max=self.sectors - 1)
        return ring * self.sectors + sector, distance / self.std


@attrs.frozen(eq=False)
class Ellipses:
    """Modes of Gaussians of any covariance: the distance to one is Mahalanobis', in its own standard deviations."""

    centres: Tensor
    """[count, 2]."""
    factors: Tensor
    """L of each covariance L L', lower triangular [count, 2, 2]."""

    @property
    def count(self) -> int:
        return len(self.centres)

    def standardised(self, x: Tensor) -> Tensor:
        """x [n, 2] -> L^-1 (x - centre) of each mode [count, n, 2]; N(0, I) of points of that mode."""
        gaps = (x - _beside(self.centres, x)[:, None]).mT
        solved: Tensor = torch.linalg.solve_triangular(_beside(self.factors, x), gaps, upper=False)
        return solved.mT

    def nearest(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x [n, 2] -> the mode of the smallest Mahalanobis distance [n], and that distance [n]."""
        distance, index = self.standardised(x).norm(dim=2).min(0)
        return index, distance


@attrs.frozen(eq=False)
class Cells:
    """Modes on the filled squares of a board round the origin: the distance to one is Euclidean, in units of std."""

    centres: Tensor
    """[count, 2]."""
    side: float
    std: float

    @property
    def count(self) -> int:
        return len(self.centres)

    def nearest(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x [n, 2] -> the nearest square's index [n] and the distance to its edge in std [n], 0 within it."""
        gaps = ((x[:, None] - self.centres.to(x)).abs() - self.side / 2).clamp(min=0)
        distance, index = gaps.norm(dim=2).min(1)
        return index, distance / self.std


def stream(name: str, seed: int, split: str) -> Generator:
    """The generator of one set: train and test draw from streams that have nothing in common."""
    return Generator().manual_seed(derive(seed, f"dataset.{name}.{split}"))


def source(x: Tensor, modes: Modes | None = None, log_density: Callable[[Tensor], Tensor] | None = None) -> Source:
    """Points [n, 2] as a data set; `log_density` where their law is known."""
    x = x.to(torch.float32)
    return Source(x, DataShape("vector", (x.shape[1],)), fingerprint(x), modes=modes, log_density=log_density)


def mixture(centres: Tensor, std: float, *, n: int, generator: Generator) -> Source:
    """n points of the even mixture of N(centre, std^2 I), centres [modes, 2], as a data set whose modes they are."""
    x = draw_mixture(centres, std, n, generator)
    return source(x, Centres(centres, std), partial(log_density_mixture, centres, std))


def ring_centres(modes: int, radius: float) -> Tensor:
    """[modes, 2], evenly on a circle, the first on the positive x axis."""
    angle = torch.arange(modes, dtype=torch.float64) * (2 * math.pi / modes)
    return radius * torch.stack([angle.cos(), angle.sin()], 1)


def grid_centres(side: int, spacing: float) -> Tensor:
    """[side^2, 2], a square grid round the origin."""
    line = (torch.arange(side, dtype=torch.float64) - (side - 1) / 2) * spacing
    return torch.cartesian_prod(line, line)


def draw_mixture(centres: Tensor, std: float, n: int, generator: Generator) -> Tensor:
    """n points of the even mixture of N(centre, std^2 I); [n, 2]."""
    index = torch.randint(len(centres), (n,), generator=generator)
    return centres[index] + std * torch.randn(n, 2, generator=generator, dtype=torch.float64)


def board_centres(cells: int, side: float) -> Tensor:
    """Every other square of a board of cells x cells squares, the lower left one among them; [ceil(cells^2 / 2), 2]."""
    numbers = torch.cartesian_prod(torch.arange(cells), torch.arange(cells))
    return grid_centres(cells, side)[numbers.sum(1) % 2 == 0]


def draw_normals(weights: Tensor, modes: Ellipses, n: int, generator: Generator) -> Tensor:
    """n points: a Gaussian by its weight, and a point of it; [n, 2]."""
    index = torch.multinomial(weights, n, replacement=True, generator=generator)
    noise = torch.randn(n, 2, 1, generator=generator, dtype=torch.float64)
    return modes.centres[index] + (modes.factors[index] @ noise).squeeze(2)


def draw_cells(modes: Cells, n: int, generator: Generator) -> Tensor:
    """n points: uniform on the squares, plus N(0, std^2 I); [n, 2]."""
    index = torch.randint(modes.count, (n,), generator=generator)
    inside = modes.side * (torch.rand(n, 2, generator=generator, dtype=torch.float64) - 0.5)
    return modes.centres[index] + inside + modes.std * torch.randn(n, 2, generator=generator, dtype=torch.float64)


def draw_rings(
    radii: tuple[float, ...], weights: tuple[float, ...], std: float, n: int, generator: Generator
) -> Tensor:
    """n points: a circle by its weight, a uniform angle on it, plus N(0, std^2 I); [n, 2]."""
    ring = torch.multinomial(torch.tensor(weights, dtype=torch.float64), n, replacement=True, generator=generator)
    angle = 2 * math.pi * torch.rand(n, generator=generator, dtype=torch.float64)
    radius = torch.tensor(radii, dtype=torch.float64)[ring]
    points = radius[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
    return points + std * torch.randn(n, 2, generator=generator, dtype=torch.float64)


def draw_swissroll(noise: float, scale: float, start: float, n: int, generator: Generator) -> Tensor:
    """n points of scale * ((t cos t, t sin t) + N(0, noise^2 I)), t uniform on (start pi, 4.5 pi); [n, 2]."""
    t = start * math.pi * (1 + (4.5 / start - 1) * torch.rand(n, generator=generator, dtype=torch.float64))
    roll = torch.stack([t * t.cos(), t * t.sin()], 1)
    return scale * (roll + noise * torch.randn(n, 2, generator=generator, dtype=torch.float64))


def _beside(values: Tensor | tuple[float, ...], x: Tensor) -> Tensor:
    """A law's constants where x is and in its type: sent once, as particles follow densities in every move.

    Tensors are told apart by identity; they are never written to.
    """
    return _sent(values, x.device, x.dtype)


@lru_cache(maxsize=64)
def _sent(values: Tensor | tuple[float, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    with torch.inference_mode(False):  # or autograd could not use them later
        return send(torch.as_tensor(values), device).to(dtype)


def log_density_mixture(centres: Tensor, std: float, x: Tensor) -> Tensor:
    """log p(x) [n], float64, of x [n, 2] under the even mixture of N(centre, std^2 I)."""
    x = x.double()
    square = torch.cdist(x, _beside(centres, x), compute_mode="donot_use_mm_for_euclid_dist").square()
    log_terms = -square / (2 * std**2) - math.log(2 * math.pi * std**2 * len(centres))
    return log_terms.logsumexp(1)


def log_density_rings(radii: tuple[float, ...], std: float, weights: tuple[float, ...], x: Tensor) -> Tensor:
    """log p(x) [n], float64, of x [n, 2] under the law of `draw_rings`.

    The angle integrates to a Bessel function: with s = std, a circle of radius r has the density
    exp(-(|x|^2 + r^2) / 2 s^2) I0(r |x| / s^2) / (2 pi s^2) = exp(-(|x| - r)^2 / 2 s^2) I0e(r |x| / s^2) / (2 pi s^2).
    """
    norm = x.double().norm(dim=1, keepdim=True)
    radius, weight = _beside(radii, norm), _beside(weights, norm)
    bessel = torch.special.i0e(norm * radius / std**2)
    log_terms = (weight / weight.sum() * bessel).log() - (norm - radius).square() / (2 * std**2)
    log_sum: Tensor = log_terms.logsumexp(1)
    return log_sum - math.log(2 * math.pi * std**2)


def log_density_normals(weights: Tensor, modes: Ellipses, x: Tensor) -> Tensor:
    """log p(x) [n], float64, of x [n, 2] under the law of `draw_normals`."""
    square = modes.standardised(x.double()).square().sum(2)
    volume = _beside(modes.factors, square).diagonal(dim1=1, dim2=2).log().sum(1)
    scale = _beside(weights, square).log() - volume - math.log(2 * math.pi)
    log_sum: Tensor = (scale[:, None] - square / 2).logsumexp(0)
    return log_sum


def log_density_cells(modes: Cells, x: Tensor) -> Tensor:
    """log p(x) [n], float64, of x [n, 2] under the law of `draw_cells`.

    Along each axis an interval of width w about c, smoothed by N(0, s^2), has the density
    (Phi((x - c + w/2) / s) - Phi((x - c - w/2) / s)) / w.
    """
    x = x.double()
    gaps = (x[:, None] - _beside(modes.centres, x)).abs()  # [n, count, 2]; the density is even in them
    near, far = (torch.special.log_ndtr((half - gaps) / modes.std) for half in (modes.side / 2, -modes.side / 2))
    log_terms = near + torch.log1p(-(far - near).exp()) - math.log(modes.side)
    log_sum: Tensor = log_terms.sum(2).logsumexp(1)
    return log_sum - math.log(modes.count)
