"""The discriminator as it was before training, to compare what it learned with."""

from __future__ import annotations

import attrs
from torch import Tensor, nn

from gflow_core import Subject, build_network, derive, estimate_batch_norm

__all__ = ["calibrate_on_data", "untrained"]

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
    calibrate_on_data(network, subject, index, batch_size)
    return network


def calibrate_on_data(network: nn.Module, subject: Subject, index: Tensor, batch_size: int) -> None:
    """Set the batch norm of a discriminator (never the subject's own) by the first of the data's items at `index`."""
    data, runtime = subject.data, subject.runtime
    assert data is not None
    few = index[: CALIBRATION * batch_size]
    # Even pieces: a last one of a single image would have no variance.
    pieces = few.tensor_split(-(-len(few) // batch_size))
    batches = (data.batch(piece, runtime.device) for piece in pieces)
    labelled = subject.spec.discriminator.conditional
    with runtime.autocast():
        estimate_batch_norm(
            network, ((batch.x, batch.y) if labelled and batch.y is not None else (batch.x,) for batch in batches)
        )
