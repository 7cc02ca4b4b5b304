"""Where batches are taken from."""

from __future__ import annotations

import attrs
import pytest
import torch

from gflow_core.data.feed import Feed, Shelf
from gflow_core.errors import GflowError
from gflow_core.machine.runtime import Runtime
from gflow_core.machine.streams import HOST, Streams
from gflow_core.parts.nouns import DataShape
from gflow_core.parts.source import Source, fingerprint
from gflow_core.recipes.recipe import load

GPU = torch.device("cuda")


@pytest.fixture
def source() -> Source:
    x = torch.arange(1200, dtype=torch.uint8).view(100, 3, 2, 2)
    return Source(x, DataShape("image", (3, 2, 2), -1.0, 1.0, classes=5), fingerprint(x), y=torch.arange(100) % 5)


@pytest.mark.parametrize(
    ("device", "asked", "free", "expected"),
    [
        (GPU, "auto", 4 * (1200 + 800), True),
        (GPU, "auto", 4 * (1200 + 800) - 1, False),
        (GPU, True, 0, True),
        (GPU, False, 10**9, False),
        (HOST, "auto", 10**9, False),
        (HOST, True, 10**9, False),
    ],
)
def test_data_lie_on_the_device_where_they_fit(source, monkeypatch, device, asked, free, expected):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda place: (free, 2 * free))
    shelf = Shelf(source, Runtime(device), asked)
    assert shelf.on_device is expected
    assert expected or shelf.here is source


def test_a_device_without_room_is_named(source, monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.Tensor, "to", full)
    with pytest.raises(GflowError, match=r"dataset\.on_device: the data take .* set it to false"):
        _ = Shelf(source, Runtime(GPU), True).here


def test_a_copy_gives_the_same_batches(source):
    """The copy is read in place of the data; what is read is in the order that it would be otherwise."""
    shelf = Shelf(source, Runtime(HOST))
    copy = Source(source.x.clone(), source.shape, source.fingerprint, y=source.y.clone())
    shelf.__dict__["here"] = copy
    plain, other = Feed(source, Runtime(HOST), Streams(0)), Feed(source, Runtime(HOST), Streams(0), shelf=shelf)
    for n in (70, 70, 3):
        one, two = plain.next(n), other.next(n)
        assert one.x.equal(two.x)
        assert one.y.equal(two.y)
    copy.x.zero_()
    assert other.next(5).x.eq(-1).all()


def test_a_recipe_says_where(tmp_path):
    path = tmp_path / "ring.toml"
    for words, asked in (([], "auto"), (["dataset.on_device=true"], True), (["dataset.on_device=false"], False)):
        path.write_text('gflow = 1\n[dataset]\nuse = "ring"\n')
        recipe = load(path, words)
        assert recipe.spec.storage.on_device == asked
        path.write_text(recipe.dumps())
        assert load(path).spec == recipe.spec
    with pytest.raises(GflowError, match=r'dataset\.on_device: expected true or false or "auto"'):
        load(path, ["dataset.on_device=3"])
    with pytest.raises(GflowError, match="did you mean"):
        load(path, ["dataset.on_devise=true"])


def test_items_of_classes_are_drawn_from_their_own(source):
    feed = Feed(source, Runtime(HOST), Streams(3))
    y = torch.tensor([4, 4, 0, 2] * 200)
    index = feed.index_of(y)
    assert torch.equal(source.y[index], y)
    assert len(index[y == 4].unique()) == 20, "every item of a class comes"
    assert feed.position == 800
    assert torch.equal(feed.at(index).y, y)
    assert not torch.equal(feed.index_of(y), index)
    lacking = attrs.evolve(source, y=source.y.clamp(max=3))
    with pytest.raises(GflowError, match="no item is of class 4"):
        Feed(lacking, Runtime(HOST), Streams(3)).index_of(y)
