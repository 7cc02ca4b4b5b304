"""Named streams and the order of data."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gflow_core.data.feed import Feed
from gflow_core.machine.runtime import Runtime
from gflow_core.machine.streams import Streams, derive, seeded
from gflow_core.parts.nouns import DataShape
from gflow_core.parts.source import Source, fingerprint

CPU = Runtime(torch.device("cpu"))


def draw(streams: Streams, name: str, n: int = 4) -> list[float]:
    return torch.rand(n, generator=streams[name]).tolist()


def test_streams_are_independent_of_each_other():
    one, other = Streams(0), Streams(0)
    draw(one, "latent", 100)
    assert draw(one, "augment") == draw(other, "augment")
    assert draw(Streams(0), "a") != draw(Streams(0), "b")
    assert draw(Streams(0), "a") != draw(Streams(1), "a")


def test_the_seeds_are_fixed_for_good():
    """Another derivation would change every published number."""
    assert derive(0, "latent") == 638393014145578779
    assert draw(Streams(0), "latent", 1) == pytest.approx([0.09000223875045776])


def test_a_fork_leaves_its_parent_alone():
    streams = Streams(0)
    draw(streams.fork("analyze"), "latent", 10)
    assert draw(streams, "latent") == draw(Streams(0), "latent")
    assert draw(streams.fork("analyze"), "latent") == draw(Streams(0).fork("analyze"), "latent")


def test_state_comes_back():
    streams = Streams(0)
    draw(streams, "a", 7)
    torch.rand(3)
    state = streams.state_dict()
    expected = draw(streams, "a"), draw(streams, "b"), torch.rand(2).tolist()
    again = Streams(0)
    draw(again, "b", 5)
    again.load_state_dict(state)
    assert (draw(again, "a"), draw(again, "b"), torch.rand(2).tolist()) == expected


def test_states_of_streams_on_a_device_that_is_not_here_are_kept(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    streams = Streams(0)
    draw(streams, "a", 3)
    elsewhere = torch.arange(16, dtype=torch.uint8)
    again = Streams(0)
    again.load_state_dict({**streams.state_dict(), "cuda.a": elsewhere})
    draw(again, "a")
    assert again.state_dict()["cuda.a"].equal(elsewhere)
    again.load_state_dict(streams.state_dict())
    assert "cuda.a" not in again.state_dict()
    assert streams.on(torch.device("cpu")) is streams


def test_seeded_leaves_the_global_generator_alone():
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    with seeded(5):
        first = torch.rand(2)
    with seeded(5):
        assert torch.equal(torch.rand(2), first)
    assert torch.equal(torch.rand(2), expected)


def source(n: int, **options) -> Source:
    x = torch.arange(n, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous()
    x[..., 1] = 255 - x[..., 1]
    return Source(x, DataShape("image", (1, 2, 2), -1.0, 1.0), fingerprint(x), **options)


def numbers(batch) -> list[int]:
    return ((batch.x[:, 0, 0, 0] + 1) * 127.5).round().int().tolist()


@given(n=st.integers(1, 20), sizes=st.lists(st.integers(1, 30), min_size=1, max_size=6), seed=st.integers(0, 99))
def test_every_epoch_has_every_item_once(n, sizes, seed):
    feed = Feed(source(n), CPU, Streams(seed))
    seen = [i for size in sizes for i in numbers(feed.next(size))]
    assert len(seen) == sum(sizes)
    for epoch in range(len(seen) // n):
        assert sorted(seen[epoch * n : (epoch + 1) * n]) == list(range(n))


@given(n=st.integers(2, 20), before=st.integers(0, 50), size=st.integers(1, 30))
def test_position_is_all_there_is_to_save(n, before, size):
    whole = Feed(source(n), CPU, Streams(0))
    if before:
        whole.next(before)
    resumed = Feed(source(n), CPU, Streams(0), position=before)
    assert numbers(whole.next(size)) == numbers(resumed.next(size))


@given(world=st.sampled_from([1, 2, 4]), flip=st.booleans(), dither=st.booleans())
def test_processes_share_the_global_batch(world, flip, dither):
    alone = Feed(source(30, flip=flip, dither=dither), CPU, Streams(0)).next(8).x
    feeds = [
        Feed(source(30, flip=flip, dither=dither), Runtime(CPU.device, rank=rank, world=world), Streams(0))
        for rank in range(world)
    ]
    assert torch.equal(torch.cat([feed.next(8).x for feed in feeds]), alone)


def test_scaling_flip_and_dither():
    plain = source(256)
    x = plain.batch(torch.tensor([0, 255])).x
    assert x[:, 0, 0, 0].tolist() == [-1.0, 1.0]
    assert x.is_contiguous(memory_format=torch.channels_last)
    flipped = Feed(source(256, flip=True), CPU, Streams(0)).next(256).x
    share = (flipped[:, 0, 0, 0] > flipped[:, 0, 0, 1]).float().mean()
    order = Feed(plain, CPU, Streams(0)).next(256).x
    same = (flipped == order).flatten(1).all(1)
    mirrored = (flipped == order.flip(-1)).flatten(1).all(1)
    assert (same | mirrored).all()
    assert 0.35 < same.float().mean() < 0.65, share
    dithered = Feed(source(256, dither=True), CPU, Streams(0)).next(256).x - order
    assert dithered.min() >= 0
    assert 0.9 / 128 < dithered.max() < 1 / 128


def test_fingerprints_see_content_shape_and_type():
    x = torch.arange(4, dtype=torch.uint8)
    prints = {
        fingerprint(x),
        fingerprint(x.view(2, 2)),
        fingerprint(x.int()),
        fingerprint(x.flip(0)),
        fingerprint(x, x),
    }
    assert len(prints) == 5
    assert fingerprint(x, None) == fingerprint(x.clone())
