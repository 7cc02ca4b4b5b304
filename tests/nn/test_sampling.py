"""Drawing: how many, in what pieces, under which labels."""

from __future__ import annotations

from typing import ClassVar

import attrs
import pytest
import torch
from torch import nn

from gflow_core.errors import GflowError
from gflow_core.machine.runtime import Runtime
from gflow_core.machine.streams import Streams
from gflow_core.nn.latents import Normal, StudentT
from gflow_core.nn.sampling import by_label, draw_chunks, label_pool, push
from gflow_core.parts.nouns import DataShape

RUNTIME = Runtime(torch.device("cpu"))


@attrs.frozen
class Part:
    latent: Normal | StudentT = attrs.field(factory=lambda: Normal(dim=3))
    conditional: ClassVar[bool] = False


@attrs.frozen
class Conditional(Part):
    conditional: ClassVar[bool] = True


class Echo(nn.Module):
    """Samples show their label."""

    def forward(self, z, y=None):
        return z if y is None else y[:, None].to(z.dtype)


def test_pieces_add_up_and_the_piece_size_changes_nothing():
    whole, pieces = (list(draw_chunks(Echo(), Part(), 10, Streams(0), RUNTIME, chunk=chunk)) for chunk in (10, 4))
    assert [len(x) for x in pieces] == [4, 4, 2]
    assert torch.equal(torch.cat(pieces), torch.cat(whole))
    many = [torch.cat(list(draw_chunks(Echo(), Part(), 9000, Streams(0), RUNTIME, chunk=c))) for c in (100, 10_000)]
    assert torch.equal(*many)


@pytest.mark.parametrize("law", [Normal(dim=3), StudentT(dim=3)], ids=["normal", "student_t"])
def test_sample_i_has_the_same_latent_however_many_are_drawn(law):
    def latents(n):
        return torch.cat(list(draw_chunks(Echo(), Part(law), n, Streams(0), RUNTIME, prefix=True)))

    most = latents(10_000)
    for n in (1, 7, 300, 8200):
        assert torch.equal(latents(n), most[:n])


def test_labels_follow_the_data():
    pool = torch.tensor([0, 0, 0, 2])
    drawn = torch.cat(list(draw_chunks(Echo(), Conditional(), 4000, Streams(1), RUNTIME, labels=pool)))
    share = [float((drawn == label).double().mean()) for label in range(3)]
    assert abs(share[0] - 0.75) < 0.03  # four standard deviations
    assert share[1] == 0


def test_without_data_every_class_is_alike():
    pool = label_pool(None, DataShape("image", (1, 8, 8), -1, 1, classes=3))
    assert pool.tolist() == [0, 1, 2]
    with pytest.raises(GflowError, match="gflow sample --label"):
        label_pool(None, DataShape("vector", (2,), conditions=("angle",)))


def test_a_row_of_each_label_shares_its_latents():
    class Both(nn.Module):
        def forward(self, z, y):
            return torch.cat([z, y], 1)

    rows = torch.tensor([[0.5, 1.0], [2.0, 3.0]])
    x = by_label(Both(), Conditional(), rows, 3, Streams(0), RUNTIME).view(2, 3, 5)
    assert torch.equal(x[0, :, :3], x[1, :, :3])
    assert torch.equal(x[..., 3:], rows[:, None].expand(2, 3, 2))
    pushed = torch.cat(list(push(Both(), x[0, :, :3], x[0, :, 3:], RUNTIME, chunk=2)))
    assert torch.equal(pushed, x[0])
