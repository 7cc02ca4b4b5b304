"""The discriminator as it was before training, to compare what it learned with."""

from __future__ import annotations

from collections.abc import Iterable

import attrs
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gflow_core.build import build_network
from gflow_core.contracts import Batch, Subject
from gflow_core.rng import derive

__all__ = ["calibrate", "untrained"]

CALIBRATION = 20
"""Batches that batch norm takes its statistics from, at most."""


def untrained(subject: Subject, index: Tensor, batch_size: int) -> nn.Module:
    """A discriminator of fresh weights, in eval mode, its batch norm set by the data's items at `index`."""
    data, spec = subject.data, subject.spec
    assert data is not None
    # Only this process analyzes: batch norm that waits for the others would wait forever.
    alone = attrs.evolve(subject.runtime, rank=0, world=1)
    seed = derive(spec.seed, "dcgan.untrained")
    network = build_network("discriminator", spec.discriminator, data.shape, seed, alone)
    few = index[: CALIBRATION * batch_size]
    # Even pieces: a last one of a single image would have no variance.
    pieces = few.tensor_split(-(-len(few) // batch_size))
    labelled = spec.discriminator.conditional
    batches = (data.batch(piece, alone.device) for piece in pieces)
    with alone.autocast():
        calibrate(network, (batch if labelled else Batch(batch.x) for batch in batches))
    return network


@torch.no_grad()
def calibrate(network: nn.Module, batches: Iterable[Batch]) -> None:
    """Set the running statistics of batch norm to their means over the batches; leave the network in eval mode.

    In a fresh network they are 0 and 1, and its layers would shrink what they are given from one to the next.
    """
    norms = [layer for layer in network.modules() if isinstance(layer, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all batches
    if norms:
        network.train()
        for batch in batches:
            network(batch.x) if batch.y is None else network(batch.x, batch.y)
    network.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
