"""What the system is asked to read ahead of memory-mapped data."""

from __future__ import annotations

import mmap

import numpy as np
import pytest
import torch

from gflow_core.data.feed import Feed
from gflow_core.machine import paging
from gflow_core.machine.runtime import Runtime
from gflow_core.machine.streams import HOST, Streams
from gflow_core.parts import source as sources
from gflow_core.parts.joining import joined
from gflow_core.parts.nouns import DataShape
from gflow_core.parts.source import Source

SHAPE = DataShape("image", (3, 40, 40), -1.0, 1.0)  # 4,800 bytes, which no page divides


@pytest.fixture
def mapped(tmp_path):
    file = tmp_path / "x.npy"
    np.save(file, np.random.default_rng(0).integers(0, 256, (50, *SHAPE.shape), np.uint8))
    return Source(torch.from_numpy(np.load(file, mmap_mode="c")), SHAPE, "", cache=file)


@pytest.fixture
def asked(monkeypatch):
    """The items that are asked for, one list a time."""
    calls: list[list[int]] = []
    monkeypatch.setattr(sources, "read_ahead", lambda x, index: calls.append(index.tolist()))
    return calls


@pytest.mark.skipif(paging._madvise is None, reason="a system without madvise")
def test_whole_pages_of_every_item_are_asked_for(mapped, monkeypatch):
    calls, real = [], paging._madvise

    def madvise(start, length, advice):
        calls.append((start.value, start.value + length.value))
        assert real(start, length, advice) == 0  # of pages that are mapped
        return 0

    monkeypatch.setattr(paging, "_madvise", madvise)
    paging.read_ahead(mapped.x, torch.tensor([0, 49, 7]))
    for (start, end), item in zip(calls, (0, 49, 7), strict=True):
        first = mapped.x[item].data_ptr()
        assert start % mmap.PAGESIZE == 0
        assert first - mmap.PAGESIZE < start <= first
        assert end == first + 4800


def test_a_batch_is_asked_for_before_it_is_read(mapped, asked):
    """The batches are the same; each process asks for its own."""
    plain = Source(mapped.x, SHAPE, "")
    whole, *halves = (Feed(mapped, Runtime(HOST, rank=r, world=w), Streams(0)) for r, w in ((0, 1), (0, 2), (1, 2)))
    unasked = Feed(plain, Runtime(HOST), Streams(0))
    for _ in range(5):
        asked.clear()
        x = whole.next(16).x
        assert x.equal(unasked.next(16).x)
        assert x.equal(torch.cat([feed.next(16).x for feed in halves]))
        assert asked[0] == asked[1] + asked[2]
        assert x.equal(plain.batch(torch.tensor(asked[0])).x)


def test_joined_items_are_asked_for_where_they_lie(mapped, asked):
    data = joined([mapped, Source(mapped.x, SHAPE, "", cache=mapped.cache)], (1, 1), "ab")
    data.batch(torch.tensor([3, 99, 50]))
    assert asked == [[3], [49, 0]]


def test_what_is_in_memory_or_on_the_device_is_not_asked_for(mapped, asked):
    Source(mapped.x, SHAPE, "").batch(torch.tensor([1]))
    Source(mapped.x.to("meta"), SHAPE, "", cache=mapped.cache).batch(torch.tensor([1]), "meta")
    assert not asked
