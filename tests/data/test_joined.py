"""Several data sets joined into one."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from gflow_core.cli import main
from gflow_core.data.feed import Feed, ReplicaFeed
from gflow_core.errors import DataError, GflowError
from gflow_core.machine.runtime import Runtime
from gflow_core.machine.streams import HOST, Streams
from gflow_core.nn.sampling import label_pool
from gflow_core.parts.joining import joined
from gflow_core.parts.nouns import DataShape
from gflow_core.parts.source import Source, fingerprint
from gflow_core.parts.stacked import Stacked
from gflow_core.recipes.recipe import load
from gflow_core.runs.build import read_data
from gflow_core.runs.clock import in_steps
from gflow_core.scores.held_out import held_out, held_out_faults

SIZES = (40, 7, 3)


def of(start: int, n: int, **options) -> Source:
    """n images whose pixels are all their own number, from `start` on, in class `start`."""
    x = torch.arange(start, start + n, dtype=torch.uint8)[:, None, None, None].expand(n, 1, 2, 2).contiguous()
    shape = DataShape("image", (1, 2, 2), -1.0, 1.0, classes=60)
    return Source(x, shape, fingerprint(x), y=torch.full((n,), start), **options)


def join(*weights: float, **options) -> Source:
    sources = [of(start, n, **options) for start, n in zip((0, 40, 47), SIZES, strict=True)]
    return joined(sources, weights, ["a", "b", "c"])


def epochs(feed: Feed, count: int) -> list[Counter[int]]:
    """How often each item is seen in each epoch."""
    found = []
    for _ in range(count):
        batch = feed.next(feed.source.epoch)
        assert batch.y.tolist() == [0 if i < 40 else 40 if i < 47 else 47 for i in numbers(batch.x)]
        found.append(Counter(numbers(batch.x)))
    return found


def numbers(x: torch.Tensor) -> list[int]:
    return x[:, 0, 0, 0].add(1).mul(127.5).round().int().tolist()


def test_weight_1_is_plain_concatenation():
    """Each item once an epoch, in the very order that one data set of all items has."""
    data = join(1, 1, 1)
    plain = Source(data.x, data.shape, "", y=data.y)
    assert epochs(Feed(data, Runtime(HOST), Streams(0)), 2) == [Counter(range(50))] * 2
    one, other = (Feed(source, Runtime(HOST), Streams(3)) for source in (data, plain))
    for _ in range(4):
        assert one.next(33).x.equal(other.next(33).x)


def test_weights_are_shares_of_an_epoch():
    """An epoch holds weight x n items: of 2.5 each twice and half of them thrice, of 1/3 a third."""
    data = join(1, 2.5, 1 / 3)
    assert data.epoch == 40 + 18 + 1  # 17.5, rounded
    seen = epochs(Feed(data, Runtime(HOST), Streams(0)), 12)
    for epoch in seen:
        assert all(epoch[i] == 1 for i in range(40))
        assert sorted(epoch[i] for i in range(40, 47)) == [2, 2, 2, 3, 3, 3, 3]
        assert sum(epoch[i] for i in range(47, 50)) == 1
    assert all(any(epoch[i] for epoch in seen) for i in range(50))  # the choice is another in each
    assert len({tuple(sorted(epoch.items())) for epoch in seen}) > 1


def test_labels_are_as_frequent_as_training_sees_them():
    counts = Counter(label_pool(join(1, 2, 1 / 3), None).tolist())
    assert counts == {0: 40, 40: 14, 47: 1}
    assert label_pool(plain := join(1, 1, 1), None) is plain.y


def test_several_processes_share_one_order():
    data = join(1, 2.5, 1)
    whole, *halves = (
        Feed(data, Runtime(HOST, rank=rank, world=world), Streams(0)) for rank, world in ((0, 1), (0, 2), (1, 2))
    )
    for _ in range(4):
        parts = [feed.next(20).x for feed in halves]
        assert whole.next(20).x.equal(torch.cat(parts))


def test_replicas_read_in_orders_of_their_own():
    data = join(1, 2.5, 1)
    feeds = [Feed(data, Runtime(HOST), Streams(seed)) for seed in (0, 1)]
    x = ReplicaFeed(feeds).next(20).x
    for seed in (0, 1):
        assert x[seed].equal(Feed(data, Runtime(HOST), Streams(seed)).next(20).x)
    assert not x[0].equal(x[1])


def test_an_order_is_found_again_from_the_position():
    data = join(1, 2.5, 1)
    feed = Feed(data, Runtime(HOST), Streams(0))
    for _ in range(5):
        feed.next(17)
    again = Feed(data, Runtime(HOST), Streams(0), position=feed.position)
    for _ in range(5):
        assert again.next(17).x.equal(feed.next(17).x)


# ------------------------------------------------------------------ without a copy


def test_memory_mapped_images_stay_where_they_are(tmp_path):
    parts = []
    for start, n in ((0, 40), (40, 7)):
        file = tmp_path / f"{start}.npy"
        np.save(file, of(start, n).x.numpy())
        source = of(start, n, cache=file)
        source.x = torch.from_numpy(np.load(file, mmap_mode="c"))
        parts.append(source)
    data = joined(parts, (1, 2), ["a", "b"])
    assert isinstance(data.x, Stacked)
    assert [part.data_ptr() for part in data.x.parts] == [source.x.data_ptr() for source in parts]
    assert [joint.cache for joint in data.joints] == [source.cache for source in parts]
    copy = Source(torch.cat([source.x for source in parts]), data.shape, "", y=data.y, joints=data.joints)
    one, other = (Feed(source, Runtime(HOST), Streams(0)) for source in (data, copy))
    for _ in range(5):
        assert one.next(13).x.equal(other.next(13).x)


def test_stacked_tensors_are_as_one():
    parts = [torch.arange(10).view(5, 2), torch.arange(10, 24).view(7, 2)]
    stacked, whole = Stacked(parts), torch.cat(parts)
    assert stacked.shape == whole.shape
    assert stacked.nbytes == whole.nbytes
    for index in (torch.tensor([11, 0, 5, 5, -1]), torch.tensor([], dtype=torch.int64), whole[:, 0] > 7):
        assert stacked[index].equal(whole[index])
    for piece in (
        slice(3, 8),
        slice(4),
        slice(6, None),
        slice(None, None, 3),
        slice(9, 99),
        slice(0, 0),
        slice(-3, -1),
    ):
        assert stacked[piece].equal(whole[piece])
    assert stacked[6].equal(whole[6])
    assert stacked[-1].equal(whole[-1])
    assert stacked[[1, 8], 1].equal(whole[[1, 8], 1])
    assert stacked[:, 1].equal(whole[:, 1])
    assert stacked.double().std().equal(whole.double().std())
    assert (stacked + stacked).equal(2 * whole)
    assert stacked.to("meta").shape == whole.shape
    for wrong in (12, -13):
        with pytest.raises(IndexError):
            stacked[torch.tensor([0, wrong])]


# ------------------------------------------------------------------ what does not go together


def test_what_was_loaded_must_agree():
    with pytest.raises(DataError, match=r"join\.0: its classes are others: cat where those before have dog"):
        joined([of(0, 3, class_names=("dog", "car")), of(1, 3, class_names=("cat", "car"))], (1, 1), "ab")
    assert joined([of(0, 3), of(1, 3, class_names=("cat", "car"))], (1, 1), "ab").class_names == ("cat", "car")
    with pytest.raises(DataError, match=r"join\.0: flip and dither are of all items"):
        joined([of(0, 3), of(1, 3, flip=True)], (1, 1), "ab")
    with pytest.raises(DataError, match=r"join\.1\.weight: 0\.1 of 3 items is less than one an epoch; raise it"):
        join(1, 1, 0.1)


def test_the_fingerprint_is_of_all_parts_and_weights():
    found = {join(1, 1, 1).fingerprint, join(1, 2, 1).fingerprint, join(1, 1, 2).fingerprint}
    found |= {joined([of(0, 40), of(41, 7)], (1, 1), "ab").fingerprint, of(0, 40).fingerprint}
    found |= {joined([of(0, 40), of(40, 7)], (1, 1), "ab").fingerprint}
    assert len(found) == 6


RECIPE = """
gflow = 1
title = "two"
[dataset]
use = "mnist5k"
image_size = 32
limit = 30
split = "train"
{more}
[[dataset.join]]
use = "array"
root = "more.npz"
labels = "y"
key = "x"
image_size = 32
channels = 1
{options}
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    def write(options: str = "classes = 10\nweight = 2.0", more: str = "") -> Path:
        path = tmp_path / "two.toml"
        path.write_text(RECIPE.format(options=options, more=more))
        return path

    monkeypatch.chdir(tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (10, 32, 32), np.uint8)
    np.savez(tmp_path / "more.npz", x=images, y=np.arange(10))
    return write


def test_a_recipe_joins(write):
    path = write(more="on_device = false")
    recipe = load(path, ["dataset.join.0.weight=2.5"])
    data = read_data(recipe.spec.dataset)
    assert [(one.use, one.items, one.weight) for one in data.joints] == [("mnist5k", 30, 1.0), ("array", 10, 2.5)]
    assert data.class_names == tuple("0123456789")
    assert recipe.spec.storage.on_device is False
    path.write_text(recipe.dumps())
    assert load(path).spec == recipe.spec


def test_a_source_that_is_missing_is_named(write):
    path = write()
    Path("more.npz").unlink()
    with pytest.raises(DataError, match=r"dataset\.join\.0: array: dataset\.root not found; looked for more\.npz"):
        read_data(load(path).spec.dataset)


def test_an_epoch_counts_weights(write):
    path = write()
    path.write_text(
        path.read_text() + '[sampler]\nuse="dcgan.conv"\n[train]\nbatch_size = 10\nsample_every = "1 epoch"\n'
    )
    assert in_steps(load(path))[0].spec.train.sample_every == 5


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("", r"dataset\.join\.0: .*labels go together with classes"),
        (
            "classes = 9",
            r"dataset\.join\.0: differs from \[dataset\] in classes: .*9 classes, there .*10 classes",
        ),
        ("classes = 10\nflip = true", r"dataset\.join\.0\.flip: training changes all items alike; .* to false"),
        ("classes = 10\nweight = 0.0", r"dataset\.join\.0\.weight: must be > 0"),
        ("classes = 10\nwait = 1.0", r'dataset\.join\.0\.wait: unknown option "wait"|did you mean "weight"'),
        ("classes = 10\non_device = true", r"dataset\.join\.0\.on_device: unknown option"),
    ],
)
def test_what_differs_is_named(write, options, said):
    with pytest.raises(GflowError, match=said):
        load(write(options))


def test_shapes_and_captions_do_not_mix(tmp_path):
    path = tmp_path / "r.toml"
    path.write_text('gflow = 1\n[dataset]\nuse = "ring"\n[[dataset.join]]\nuse = "mnist5k"\n')
    with pytest.raises(GflowError, match=r"join\.0: differs from \[dataset\] in kind, shape, range, classes: image"):
        load(path)
    path.write_text('gflow = 1\n[dataset]\nuse = "captioned_digits"\n[[dataset.join]]\nuse = "captioned_digits"\n')
    with pytest.raises(GflowError, match=r"join\.0: captions of several"):
        load(path)
    path.write_text('gflow = 1\n[dataset]\nuse = "ring"\njoin = "grid"\n')
    with pytest.raises(GflowError, match=r"dataset\.join: expected a list of tables \(\[\[dataset\.join\]\]\)"):
        load(path)


def test_held_out_items_are_those_of_all(write, tmp_path):
    path = write()
    assert held_out(load(path).spec.dataset) is None  # an array has no splits
    path.write_text(
        'gflow = 1\n[dataset]\nuse = "mnist5k"\nsplit = "train"\n'
        '[[dataset.join]]\nuse = "mnist5k"\nsplit = "train"\nonly = 3\nweight = 3.0\n'
    )
    part = load(path).spec.dataset
    assert part.split == "train"
    other = held_out(part)
    assert other.split == "test"
    assert [(one.items, one.weight) for one in other.load().joints] == [(500, 1.0), (50, 3.0)]
    assert not list(held_out_faults(part))
    assert list(held_out_faults(load(path, ["dataset.join.0.split=all"]).spec.dataset))


NETWORKS = """
[sampler]
use = "cgan.mlp"
[discriminator]
use = "cgan.mlp"
[objective]
use = "adversarial"
[optimizer.sampler]
use = "adam"
lr = 1e-3
[optimizer.discriminator]
use = "adam"
lr = 1e-3
[train]
steps = 6
batch_size = 16
sample_every = 0
checkpoint_every = 3
device = "cpu"
"""


def test_a_run_resumes_bit_for_bit(write, tmp_path):
    """Stopped within an epoch and gone on with, it ends as one that was not; plan and manifest state the parts."""
    path = write()
    path.write_text(path.read_text() + NETWORKS)
    runner = CliRunner()

    def call(*words: str) -> str:
        result = runner.invoke(main, list(map(str, words)))
        assert result.exit_code == 0, result.output
        return result.output

    plan = json.loads(call("run", path, "--dry-run", "--json"))["dataset"]
    assert plan["use"] == "mnist5k + array"
    assert [(one["items"], one["weight"], one["an_epoch"]) for one in plan["joined"]] == [(30, 1.0, 30), (10, 2.0, 20)]
    call("run", path, "--runs", tmp_path / "whole")
    call("run", path, "train.steps=3", "--runs", tmp_path / "parts")
    (whole,), (run,) = (list((tmp_path / name).iterdir()) for name in ("whole", "parts"))
    data = json.loads((run / "manifest.json").read_text())["data"]
    assert [(one["use"], one["items"], one["weight"]) for one in data["joined"]] == [
        ("mnist5k", 30, 1),
        ("array", 10, 2),
    ]
    call("resume", run, "--steps", "6")
    for name in ("sampler", "discriminator"):
        files = [next((at / "checkpoints").glob(f"*000006*/{name}.safetensors")).read_bytes() for at in (whole, run)]
        assert files[0] == files[1]
    changed = runner.invoke(main, ["resume", str(run), "--steps", "8", "dataset.join.0.weight=3.0"])
    assert changed.exit_code != 0
    assert "data" in changed.output
