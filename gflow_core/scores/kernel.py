"""kernel: the kernel distance of Binkowski et al. 2018 (KID), by torchmetrics on our features."""

from __future__ import annotations

import warnings

from torch import Tensor, nn

from gflow_core.errors import GflowError
from gflow_core.machine.streams import derive, seeded
from gflow_core.nn.torchvision_fix import import_torchvision
from gflow_core.parts.analysis import Result, Subject
from gflow_core.scores.distances import double
from gflow_core.scores.feature_scores import Kernel
from gflow_core.scores.features import Features, score_name

__all__ = ["kernel", "kernel_distance"]


def kernel(part: Kernel, subject: Subject) -> Result:
    """The distance of samples from the data, and of two halves of the data from each other."""
    features = Features.of(subject, part.encoder, part.batch_size)
    n_real = features.count(part.real_samples)
    if n_real < 2 * part.subset_size:
        raise GflowError(
            f"kernel: the data set has {n_real} items, too few for two halves of subset_size = {part.subset_size}; set "
            f"subset_size = {n_real // 2} or less"
        )
    device = subject.runtime.device
    real = double(features.real(n_real).to(device))
    fake = double(features.fake(part.samples, "kernel").to(device))
    mean, std = kernel_distance(real, fake, part.subsets, part.subset_size, derive(subject.streams.seed, "subsets"))
    half, other = real.tensor_split(2)
    # Its subsets are the same in every run, so it is the same in every run.
    calibration, _ = kernel_distance(half, other, part.subsets, part.subset_size, derive(0, "evaluation"))
    name = score_name("KID", "KD", features.encoder)
    return Result(
        scores={name: mean, f"{name}_std": std, f"{name}_real_halves": calibration},
        manifest=features.manifest(
            n_real=n_real,
            n_fake=part.samples,
            n_halves=[len(half), len(other)],
            subsets=part.subsets,
            subset_size=part.subset_size,
        ),
    )


def kernel_distance(x: Tensor, y: Tensor, subsets: int, subset_size: int, seed: int) -> tuple[float, float]:
    """Mean and standard deviation over random subsets of the unbiased MMD^2 between x [n, d] and y [m, d].

    The kernel is (x'y / d + 1)^3. float64 is worth its time: the score is a small difference of large means.
    """
    import_torchvision()
    from torchmetrics.image.kid import KernelInceptionDistance

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "will save all extracted features in buffer": they are there already
        metric = KernelInceptionDistance(nn.Identity(), subsets=subsets, subset_size=subset_size)
    metric.update(x, real=True)
    metric.update(y, real=False)
    with seeded(seed):  # torchmetrics draws subsets from torch's global generator
        mean, std = metric.compute()
    return float(mean), float(std)
