"""kernel: the kernel distance of Binkowski et al. 2018 (KID), by torchmetrics on our features."""

from __future__ import annotations

import logging
import warnings

import torch
from torch import Tensor, nn

from gflow_core.errors import GflowError
from gflow_core.machine.streams import derive, seeded
from gflow_core.parts.analysis import Result, Subject
from gflow_core.parts.contracts import EncoderPart
from gflow_core.scores.distances import double
from gflow_core.scores.features import Features, score_name

__all__ = ["kernel", "kernel_distance"]

logger = logging.getLogger("gflow")


def kernel(
    subject: Subject,
    *,
    encoder: EncoderPart | None,
    samples: int,
    real_samples: int,
    subsets: int,
    subset_size: int,
    batch_size: int,
    against: str | None = None,
) -> Result:
    """The distance of samples from the data, and of two halves of the data from each other.

    Without an encoder vectors are compared as they are; `against` as in `frechet`. GflowError: too few data items for
    two subsets.
    """
    features = Features.of(subject, encoder, batch_size, against)
    n_real = features.count(real_samples)
    if n_real < 2 * subset_size:
        raise GflowError(
            f"kernel: the data set has {n_real} items, too few for two halves of subset_size = {subset_size}; set "
            f"subset_size = {n_real // 2} or less"
        )
    device = subject.runtime.device
    real = double(features.real(n_real).to(device))
    fake = double(features.fake(samples).to(device))
    mean, std = kernel_distance(real, fake, subsets, subset_size, derive(subject.streams.seed, "subsets"))
    half, other = real.tensor_split(2)
    # Its subsets are the same in every run, so it is the same in every run.
    calibration, _ = kernel_distance(half, other, subsets, subset_size, derive(0, "evaluation"))
    name = score_name("KID", "KD", features.encoder)
    return Result(
        scores={name: mean, f"{name}_std": std, f"{name}_real_halves": calibration},
        manifest=features.manifest(
            n_real=n_real,
            n_fake=samples,
            n_halves=[len(half), len(other)],
            subsets=subsets,
            subset_size=subset_size,
        ),
    )


def kernel_distance(
    x: Tensor, y: Tensor, subsets: int, subset_size: int, seed: int
) -> tuple[float, float] | tuple[None, None]:
    """Mean and standard deviation over random subsets of the unbiased MMD^2 between x [n, d] and y [m, d].

    The kernel is (x'y / d + 1)^3. float64 is worth its time: the score is a small difference of large means. None where
    even that does not hold it: an item's kernel with itself, which the estimate leaves out, is in the sums till then.
    """
    from torchmetrics.image.kid import KernelInceptionDistance

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "will save all extracted features in buffer": they are there already
        metric = KernelInceptionDistance(nn.Identity(), subsets=subsets, subset_size=subset_size)
    metric.update(x, real=True)
    metric.update(y, real=False)
    with seeded(seed):  # torchmetrics draws subsets from torch's global generator
        mean, std = metric.compute()
    own = max(float((each.square().mean(1) + 1).pow(3).max()) for each in (x, y))
    rounding = torch.finfo(torch.float64).eps * own / subset_size
    if rounding > 0.01 * max(abs(float(mean)), float(std), 1e-9):
        logger.warning("kernel: an item lies so far off that the score is rounding error, and is left out")
        return None, None
    return float(mean), float(std)
