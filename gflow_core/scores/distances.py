"""Euclidean distances between many rows, and what is decided by them: who is nearest, who lies in a ball.

By matrix products, |x - y|^2 = |x|^2 + |y|^2 - 2 x'y. Products round a row by its place and by how many rows stand
beside it, each processor in its own way, so they decide only what lies outside their error. A pair inside it is
measured by itself, as a difference: the same number wherever the pair stands, and 0 between equals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from scipy.spatial import KDTree
from torch import Tensor

__all__ = ["distances", "double", "measured", "nearest", "radii", "settled"]

Limits = Callable[[slice, Tensor, Tensor], Iterable[tuple[Tensor, Tensor]]]

TREE = 8
"""Numbers a row up to which a tree finds who is nearest the faster."""
_DIFFERENCES = "donot_use_mm_for_euclid_dist"


def double(x: Tensor) -> Tensor:
    """x in float64; on the CPU where the device has none (MPS)."""
    return x.cpu().double() if x.device.type == "mps" else x.double()


def distances(x: Tensor, y: Tensor, entries: int = 1 << 24) -> Iterator[Tensor]:
    """Distances from the rows of x [n, d] to those of y [m, d], float64, in pieces [rows, m]; for sums, no comparisons.

    A piece has about `entries` numbers, so memory grows with n + m, not with n m.
    """
    blocks = y.split(max(1, entries // y.shape[1]))  # never all of y in float64
    for piece in x.split(max(1, entries // len(y))):
        piece = double(piece)
        yield torch.cat([torch.cdist(piece, double(block)) for block in blocks], 1)


def measured(x: Tensor, y: Tensor) -> Tensor:
    """The distance between each row of x [n, d] and the same row of y [n, d], [n], float64, of that pair alone."""
    return torch.cdist(double(x)[:, None], double(y)[:, None], compute_mode=_DIFFERENCES).flatten()


def settled(x: Tensor, y: Tensor, limits: Limits, entries: int = 1 << 23) -> Iterator[Tensor]:
    """As `distances`, to be compared: what lies near a limit is `measured`, all else stays on its side of it.

    `limits(rows, low, high)` is told between what `low` and `high` [rows, m] the distances of these rows of x lie, and
    gives ranges (first, last), broadcast to [rows, m]. A distance that may lie in a range is measured; of any other
    its `low` is given, which is below `first` or above `last` as the distance itself is.
    """
    d = y.shape[1]
    # A sum of d products is right to d eps / 2 of the sum of their magnitudes: here in |x|^2, |y|^2, x'y and, for what
    # is measured, |x - y|^2 (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1).
    error = 2 * (d + 8) * torch.finfo(torch.float64).eps
    done = 0
    for piece in x.split(max(1, entries // len(y))):
        piece = double(piece)
        rows = slice(done, done + len(piece))
        done += len(piece)
        square = piece.square().sum(1, keepdim=True)
        low = piece.new_empty(len(piece), len(y))
        high = torch.empty_like(low)
        column = 0
        for block in y.split(max(1, entries // d)):  # never all of y in float64
            block = double(block)
            columns = slice(column, column + len(block))
            column += len(block)
            sizes = square + block.square().sum(1)
            squares = torch.addmm(sizes, piece, block.T, alpha=-2)
            slack = sizes.mul_(error)
            torch.sub(squares, slack, out=low[:, columns]).clamp_(min=0).sqrt_()
            torch.add(squares, slack, out=high[:, columns]).clamp_(min=0).sqrt_()
        near = torch.zeros_like(low, dtype=torch.bool)
        for first, last in limits(rows, low, high):
            near |= (low <= last) & (high >= first)
        i, j = near.nonzero().unbind(1)
        low[i, j] = _of_pairs(piece, y, i, j, max(1, min(entries, 1 << 16) // d))
        yield low


def _of_pairs(x: Tensor, y: Tensor, i: Tensor, j: Tensor, at_once: int) -> Tensor:
    """`measured` of rows i [k] of x and j [k] of y, so many at once; of equal pairs, which collapse makes many, one."""
    back = None
    if len(i) > len(x) + len(y):
        (x, of_x), (y, of_y) = (torch.unique(rows, dim=0, return_inverse=True) for rows in (x, y))
        pairs, back = torch.unique(of_x[i] * len(y) + of_y.to(i.device)[j], return_inverse=True)
        i, j = pairs // len(y), pairs % len(y)
    both = zip(i.split(at_once), j.to(y.device).split(at_once), strict=True)
    found = torch.cat([measured(x.index_select(0, one), y.index_select(0, other)) for one, other in both])
    return found if back is None else found[back]


def nearest(x: Tensor, pieces: Iterable[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """For each row of x [n, d] the nearest row among all pieces [m, d], of equally near ones the first.

    Distance [n] (float64), index over all pieces [n] and the row itself [n, d], on the CPU. In up to `TREE` dimensions
    n log m steps on the CPU, else n m.
    """
    exact = double(x)
    best = exact.new_full((len(x),), torch.inf)
    index = torch.zeros(len(x), dtype=torch.int64)
    row = torch.empty(x.shape, dtype=x.dtype)
    start = 0
    for piece in pieces:
        piece = piece.to(x)
        distance, at = (_by_tree if x.shape[1] <= TREE and not x.is_cuda else _by_products)(exact, piece, best)
        closer = (distance < best).nonzero().squeeze(1)
        best[closer] = distance[closer]
        index[closer.cpu()] = start + at[closer].cpu()
        row[closer.cpu()] = piece[at[closer].to(piece.device)].cpu()
        start += len(piece)
    return best.cpu(), index, row


def _by_products(x: Tensor, y: Tensor, best: Tensor) -> tuple[Tensor, Tensor]:
    """How far each row of x is from the first nearest of y's, and which that is; any, where all are beyond `best`."""

    def limits(rows: slice, low: Tensor, high: Tensor) -> Iterable[tuple[Tensor, Tensor]]:
        return [(high.new_zeros(()), high.amin(1).minimum(best[rows])[:, None])]

    found = [piece.min(1) for piece in settled(x, y, limits)]  # of equal ones the first
    return torch.cat([one.values for one in found]), torch.cat([one.indices for one in found])


def _by_tree(x: Tensor, y: Tensor, best: Tensor) -> tuple[Tensor, Tensor]:
    """As `_by_products`, which is asked where two rows are equally near, or numbers not finite."""
    finite = x.isfinite().all(1)
    if len(y) < 2 or not y.isfinite().all():
        return _by_products(x, y, best)
    distance, at = torch.full_like(best, torch.inf), torch.zeros(len(x), dtype=torch.int64)
    found, indices = (torch.from_numpy(array) for array in KDTree(double(y).numpy()).query(x[finite].numpy(), k=2))
    at[finite] = indices[:, 0]
    distance[finite] = measured(x[finite], y[indices[:, 0]])
    unsure = ~finite
    unsure[finite] = found[:, 1] <= found[:, 0] * (1 + 1e-12)
    if unsure.any():
        distance[unsure], at[unsure] = _by_products(x[unsure], y, best[unsure])
    return distance, at


def radii(x: Tensor, k: int) -> Tensor:
    """The distance from each row of x [n, d] to its k-th nearest other row, [n], float64."""

    def limits(rows: slice, low: Tensor, high: Tensor) -> Iterable[tuple[Tensor, Tensor]]:
        own = torch.arange(len(low), device=low.device)
        low[own, rows.start + own] = high[own, rows.start + own] = torch.inf  # not its own neighbour
        smallest = low.topk(k, 1, largest=False)
        # k rows are no farther than the largest `high` of these.
        return [(smallest.values[:, -1:], high.gather(1, smallest.indices).amax(1, keepdim=True))]

    return torch.cat([piece.topk(k, 1, largest=False).values[:, -1] for piece in settled(x, x, limits)])
