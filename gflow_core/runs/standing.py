"""Statistics of batch norm taken over a sampler's own samples: standing statistics (Brock et al. 2019, BigGAN)."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy

import torch
from torch import Tensor, nn

from gflow_core.machine.streams import Streams
from gflow_core.nn.batch_norm import estimate_batch_norm
from gflow_core.nn.sampling import draw_labels, label_pool
from gflow_core.parts.spec import Train
from gflow_core.parts.training import Experiment

__all__ = ["latent_batches", "standing"]

_ESTIMATED = 4096  # samples that the statistics are taken over


def standing(experiment: Experiment, sampler: nn.Module, step: int) -> nn.Module:
    """A copy of the sampler, which is in eval mode, with statistics over its own samples at this step."""
    with torch.no_grad():
        copy = deepcopy(sampler)
    size = (experiment.spec.train or Train()).batch_size
    with experiment.runtime.products(), experiment.runtime.autocast():
        estimate_batch_norm(copy, latent_batches(experiment, experiment.streams.fork(f"standing.{step}"), size))
    return copy


def latent_batches(experiment: Experiment, streams: Streams, size: int) -> Iterator[tuple[Tensor, ...]]:
    """What 4,096 samples are made of, at least, on the device: z [size, d], and labels where the sampler reads them."""
    part = experiment.spec.sampler
    labels = label_pool(experiment.data, experiment.spec.data_shape()) if part.conditional else None
    for _ in range(-(-_ESTIMATED // size)):
        z = experiment.runtime.to_device(part.latent.draw(size, streams["latent"]))
        if labels is None:
            yield (z,)
        else:
            yield z, experiment.runtime.to_device(draw_labels(labels, size, streams["label"]))
