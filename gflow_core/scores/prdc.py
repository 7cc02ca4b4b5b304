"""prdc: precision and recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from gflow_core.errors import GflowError
from gflow_core.parts.analysis import Result, Subject
from gflow_core.parts.contracts import EncoderPart
from gflow_core.scores.bars import paired_bars
from gflow_core.scores.distances import radii, settled
from gflow_core.scores.features import Features

__all__ = ["prdc", "prdc_scores"]


def prdc(
    subject: Subject,
    *,
    encoder: EncoderPart | None,
    samples: int,
    real_samples: int,
    k: int,
    batch_size: int,
    against: str | None = None,
) -> Result:
    """The four scores of samples, and of one half of the data against the other, by the k-th nearest neighbour.

    Without an encoder vectors are compared as they are; `against` as in `frechet`. GflowError: half of the data has no
    k neighbours.
    """
    features = Features.of(subject, encoder, batch_size, against)
    n_real = features.count(real_samples)
    if n_real // 2 <= k:
        raise GflowError(
            f"prdc: the data set has {n_real} items, and half of them leave no k = {k} neighbours; lower k"
        )
    device = subject.runtime.device
    real = features.real(n_real).to(device)
    fake = features.fake(samples).to(device)
    scores = prdc_scores(real, fake, k)
    half, other = real.tensor_split(2)
    calibration = prdc_scores(half, other, k)
    return Result(
        scores={**scores, **{f"{name}_real_halves": value for name, value in calibration.items()}},
        figures={
            "prdc": paired_bars(
                scores, calibration, "two halves of the data", f"step {subject.step}, {features.encoder.name}"
            )
        },
        manifest=features.manifest(n_real=n_real, n_fake=samples, n_halves=[len(half), len(other)], k=k),
    )


def prdc_scores(real: Tensor, fake: Tensor, k: int) -> dict[str, float]:
    """Precision, recall, density and coverage of fake [m, d] against real [n, d]; n and m are more than k.

    With B(x) the closed ball round x that reaches to its k-th nearest neighbour of the same set:
    precision  the share of fakes in the ball of some real item
    recall     the share of real items in the ball of some fake
    density    the mean number of real balls that a fake lies in, over k
    coverage   the share of real items whose ball holds some fake
    """
    reach_real, reach_fake = radii(real, k), radii(fake, k)

    def rims(rows: slice, low: Tensor, high: Tensor) -> Iterable[tuple[Tensor, Tensor]]:
        own = reach_real[rows, None]
        return [(own, own), (reach_fake, reach_fake)]

    inside = torch.zeros(len(fake), dtype=torch.int64, device=reach_real.device)
    recalled, covered = [], []
    done = 0
    for piece in settled(real, fake, rims):  # [rows, m]
        within = piece <= reach_real[done : done + len(piece), None]
        inside += within.sum(0)
        covered.append(within.any(1))
        recalled.append((piece <= reach_fake).any(1))
        done += len(piece)
    return {
        "precision": _share(inside > 0),
        "recall": _share(torch.cat(recalled)),
        "density": float(inside.double().mean()) / k,
        "coverage": _share(torch.cat(covered)),
    }


def _share(flags: Tensor) -> float:
    return int(flags.sum()) / len(flags)
