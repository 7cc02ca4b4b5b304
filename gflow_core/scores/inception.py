"""inception: the score of class probabilities of Salimans et al. 2016 (IS), by torchmetrics on our logits."""

from __future__ import annotations

import warnings

from torch import Tensor, nn

from gflow_core.errors import GflowError
from gflow_core.machine.streams import derive, seeded
from gflow_core.parts.analysis import Result, Subject
from gflow_core.parts.contracts import EncoderPart
from gflow_core.scores.distances import double
from gflow_core.scores.features import Features, score_name

__all__ = ["classifier_score", "inception"]


def inception(
    subject: Subject,
    *,
    encoder: EncoderPart,
    samples: int,
    real_samples: int,
    splits: int,
    batch_size: int,
    against: str | None = None,
) -> Result:
    """The score of samples, and of the data; `samples` is a multiple of `splits`, `against` as in `frechet`.

    GflowError: too few data items.
    """
    features = Features.of(subject, encoder, batch_size, against)
    classify = features.encoder.classify
    available = features.count(real_samples)
    n_real = available - available % splits  # splits of one size
    if not n_real:
        raise GflowError(
            f"inception: the data set has {available} items, too few for splits = {splits}; set splits = 1"
        )
    real = features.real(n_real, apply=classify)
    fake = features.fake(samples, apply=classify)
    mean, std = classifier_score(fake, splits, derive(subject.streams.seed, "splits"))
    calibration, _ = classifier_score(real, splits, derive(0, "evaluation"))
    name = score_name("IS", "classifier_score", features.encoder)
    return Result(
        scores={name: mean, f"{name}_std": std, f"{name}_real": calibration},
        manifest=features.manifest(n_real=n_real, n_fake=samples, splits=splits),
    )


def classifier_score(logits: Tensor, splits: int, seed: int) -> tuple[float, float | None]:
    """Mean and standard deviation over random splits of exp mean KL(p(y|x) || p(y)), from logits [n, classes].

    n is a multiple of `splits`; of one split there is no deviation.
    """
    from torchmetrics.image.inception import InceptionScore

    logits = double(logits)
    # Probabilities below e^-700 would be 0, and 0 log 0 not a number.
    logits = (logits - logits.amax(1, keepdim=True)).clamp(min=-700)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "will save all extracted features in buffer", and std of one split
        metric = InceptionScore(nn.Identity(), splits=splits)
        metric.update(logits)
        with seeded(seed):  # torchmetrics shuffles by torch's global generator
            mean, std = metric.compute()
    # torchmetrics divides by splits - 1, the authors' code by splits.
    return float(mean), float(std) * ((splits - 1) / splits) ** 0.5 if splits > 1 else None
