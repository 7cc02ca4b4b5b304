"""dcgan.latent_walk: paths of samplers in closed form, and of one that memorises."""

import csv
import json
import math
from itertools import pairwise
from typing import ClassVar

import attrs
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from gflow_core import (
    DataShape,
    Diverged,
    Normal,
    Runtime,
    Source,
    Spec,
    Streams,
    Subject,
    Uniform,
    fingerprint,
    nearest,
    no_progress,
)
from gflow_core.cli import main
from gflow_dcgan.latent_walk import NUMBERS, Walks, measure
from gflow_dcgan.parts.latents import LatentWalk

SHAPE = (1, 4, 4)


@attrs.frozen(kw_only=True)
class _Pictures:
    """Images [n, 1, 4, 4]: random pixels, or the given grey levels."""

    n: int = 40
    levels: tuple[int, ...] = ()
    kind: str = "image"

    def data_shape(self) -> DataShape:
        return DataShape(self.kind, SHAPE if self.kind == "image" else (16,), -1.0, 1.0, classes=3)

    def load(self, progress=no_progress) -> Source:
        x = torch.randint(0, 256, (self.n, *SHAPE), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
        if self.levels:
            x = torch.tensor(self.levels, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, *SHAPE).contiguous()
        y = torch.arange(len(x)) % 3
        return Source(x, self.data_shape(), fingerprint(x), y)


class _Sampler:
    def __init__(self, latent, conditional=False) -> None:
        self.latent, self.conditional = latent, conditional


class _Module(nn.Module):
    """The function as a sampler."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, *given):
        return self.function(*given)


@attrs.frozen(kw_only=True)
class _Scaling:
    """An encoder: pixels times a factor."""

    classifies: ClassVar[bool] = False
    factor: float = 3.0

    def check(self, data):
        if data.shape != SHAPE:
            yield "reads 4x4"

    def build(self, data, device, progress=no_progress):
        encoder = _Module(lambda x: self.factor * x.flatten(1))
        encoder.name, encoder.dim, encoder.weights, encoder.resizer = "scaling", 16, f"w{self.factor}", "none"
        return encoder


def walk(function, latent, data=None, *, step=7, conditional=False, **options):
    part, data = LatentWalk(**{"rows": 3, "steps": 4, **options}), data or _Pictures()
    spec = Spec(dataset=data, sampler=_Sampler(latent, conditional))
    assert list(part.check(spec)) == []
    runtime, streams = Runtime(torch.device("cpu")), Streams(0).fork(f"{step}")
    return part.build()(Subject(spec, runtime, streams, step=step, data=data.load(), sampler=_Module(function).eval()))


def rows_of(result, path):
    return [row for row in result.tables["walks"] if row["path"] == path]


def as_image(z):
    return z.view(-1, *SHAPE)


# ------------------------------------------------------------------ closed forms


def test_a_linear_sampler_walks_straight_at_one_speed():
    result = walk(as_image, Normal(dim=16))
    for row in rows_of(result, "linear"):
        assert row["length_ratio"] == pytest.approx(1)
        assert row["jump_ratio"] == pytest.approx(1, rel=1e-4)
        assert row["squared_speed"] == pytest.approx(row["length"] ** 2, rel=1e-4)
    for row, straight in zip(rows_of(result, "spherical"), rows_of(result, "linear"), strict=True):
        assert row["length_ratio"] == pytest.approx(row["length"] / straight["length"], rel=1e-4), "the same ends"
        assert row["length_ratio"] > 1.02
    assert result.scores["linear_length_ratio"] == pytest.approx(1)


def test_latents_of_normal_length_keep_it_on_the_sphere_only():
    scores = walk(lambda z: as_image(z[:, :16]), Normal(dim=500), fine=5).scores
    assert scores["spherical_middle_norm"] == pytest.approx(1, abs=0.02)
    assert scores["linear_middle_norm"] == pytest.approx(math.sqrt(0.5), abs=0.02)
    assert "linear_outside_support" not in scores


def test_uniform_latents_stay_inside_on_the_linear_path_only():
    scores = walk(as_image, Uniform(dim=16, low=0.0, high=1.0), rows=10).scores
    assert scores["linear_outside_support"] == 0
    assert 0 < scores["spherical_outside_support"] < 1


def test_a_sampler_that_memorises_shows_in_every_number():
    """Grey levels a step h apart: on a walk over n of them, n - 1 jumps of length h and nothing between."""
    levels, h = (0, 51, 102, 153, 204, 255), 0.4 * math.sqrt(16)
    data = _Pictures(levels=levels)

    def copy(z):
        place = ((z + 1) / 2 * len(levels)).long().clamp(0, len(levels) - 1)
        return (torch.tensor(levels)[place] / 127.5 - 1).view(-1, 1, 1, 1).expand(-1, *SHAPE)

    result = walk(copy, Uniform(dim=1), data, rows=10, path="linear", fine=301)
    rows = rows_of(result, "linear")
    assert {row["neighbours"] for row in rows} > {1, 2}
    for row in rows:
        jumps = row["neighbours"] - 1
        assert row["distance"] == row["distance_at_ends"] == 0
        assert row["length"] == pytest.approx(jumps * h)
        expected = pytest.approx(300 / jumps) if jumps else None
        assert row["jump_ratio"] == expected
        assert row["neighbour_jump_ratio"] == expected
        assert row["length_ratio"] == (pytest.approx(1) if jumps else None)
        assert row["squared_speed"] == pytest.approx(jumps * h**2 * 300)
    for axes in result.figures["linear"].axes:  # above, below: the same images
        upper, lower = np.split(np.asarray(axes.images[0].get_array())[1:], 2)
        assert (upper == lower).all()


def test_a_copy_that_is_nearly_exact_is_at_distance_zero():
    """Within half an 8-bit step, as a file would store it; the steps along the way stay as fine as they are."""
    data = _Pictures()
    x = data.load().batch(torch.arange(40)).x

    def copy(z):
        place = ((z[:, 0] + 1) * 20).long().clamp(0, 39)
        return x[place] + 0.45 / 127.5 * z[:, :, None, None]

    result = walk(copy, Uniform(dim=1), data, rows=5, path="linear")
    assert all(row["distance"] == row["distance_at_ends"] == 0 for row in rows_of(result, "linear"))
    still = walk(lambda z: copy(z * 0.01), Uniform(dim=1), data, rows=5, path="linear")
    assert all(row["length"] > 0 == row["distance"] for row in rows_of(still, "linear"))


def test_cross_fades_between_training_images_calibrate():
    result = walk(as_image, Normal(dim=16), rows=6)
    for row in rows_of(result, "cross_fade"):
        assert row["length_ratio"] == pytest.approx(1)
        assert row["distance_at_ends"] == 0
        assert row["neighbours"] >= 2
        assert 0 < row["distance"] <= row["length"] / 2


# ------------------------------------------------------------------ slow versions


def test_numbers_equal_a_slow_version():
    generator = torch.Generator().manual_seed(1)
    f, real = torch.randn(3, 9, 5, generator=generator), torch.randn(30, 5, generator=generator)
    distance, neighbour, g = (t.unflatten(0, (3, 9)) for t in nearest(f.flatten(0, 1), real.split(7)))
    found = measure(Walks(f, f, distance, neighbour, g))
    for i, numbers in enumerate(found):
        x, y = f[i].double().numpy(), real.double().numpy()
        steps = np.array([np.linalg.norm(b - a) for a, b in pairwise(x)])
        near = [min(range(30), key=lambda j, p=p: np.linalg.norm(y[j] - p)) for p in x]
        hops = np.array([np.linalg.norm(y[b] - y[a]) for a, b in pairwise(near)])
        apart = np.array([np.linalg.norm(y[j] - p) for j, p in zip(near, x, strict=True)])
        expected = {
            "length": steps.sum(),
            "length_ratio": steps.sum() / np.linalg.norm(x[-1] - x[0]),
            "jump_ratio": steps.max() / steps.mean(),
            "neighbour_jump_ratio": hops.max() / hops.mean(),
            "squared_speed": (steps**2).mean() * 8**2,
            "distance": np.median(apart),
            "distance_at_ends": (apart[0] + apart[-1]) / 2,
            "neighbours": len(set(near)),
        }
        assert numbers == pytest.approx(expected, rel=1e-6)
        assert tuple(expected) == NUMBERS


def test_scores_are_means_over_rows_and_only_the_seed_chooses_the_pairs():
    result = walk(lambda z: as_image(z).tanh(), Normal(dim=16))
    for path in ("linear", "spherical", "cross_fade"):
        for name in NUMBERS:
            known = [row[name] for row in rows_of(result, path) if row[name] is not None]
            assert result.scores[f"{path}_{name}"] == pytest.approx(np.mean(known))
    assert walk(lambda z: as_image(z).tanh(), Normal(dim=16), step=8).tables == result.tables
    assert result.manifest.items() >= {"n_real": 40, "rows": 3, "fine": 64, "encoder": "pixels"}.items()


# ------------------------------------------------------------------ options


def test_an_encoder_gives_the_distances(tmp_path, monkeypatch):
    monkeypatch.setenv("GFLOW_CACHE", str(tmp_path))
    plain = walk(lambda z: as_image(z).tanh(), Normal(dim=16))
    scaled = walk(lambda z: as_image(z).tanh(), Normal(dim=16), encoder=_Scaling())
    for one, other in zip(plain.tables["walks"], scaled.tables["walks"], strict=True):
        for name, power in zip(NUMBERS, (1, 0, 0, 0, 2, 1, 1, 0), strict=True):
            expected = one[name] * 3**power if one[name] is not None else None
            assert other[name] == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert scaled.manifest["encoder"] == "scaling"


def test_only_some_training_images_may_be_searched():
    result = walk(as_image, Normal(dim=16), real_samples=2)
    assert result.manifest["n_real"] == 2
    assert max(row["neighbours"] for row in result.tables["walks"]) == 2
    everything = walk(as_image, Normal(dim=16))
    assert result.scores["linear_distance"] > everything.scores["linear_distance"]


def test_a_row_has_one_label_and_a_walk_that_stands_still_no_ratios():
    def shade(z, y):
        return (y.to(z) - 1).view(-1, 1, 1, 1).expand(-1, *SHAPE)

    result = walk(shade, Normal(dim=3), conditional=True, rows=8, path="spherical")
    rows = rows_of(result, "spherical")
    assert {row["label"] for row in rows} == {"0", "1", "2"}
    assert all(row["length"] == 0 and row["length_ratio"] is row["jump_ratio"] is None for row in rows)
    assert result.scores["spherical_length_ratio"] is None
    assert {row["label"] for row in rows_of(result, "cross_fade")} == {None}
    shown = [axes.texts[0].get_text().splitlines()[0] for axes in result.figures["spherical"].axes]
    assert shown == [f"class {row['label']}" for row in rows]


def test_pictures_are_drawn_for_each_path(tmp_path):
    result = walk(as_image, Normal(dim=16), rows=2, path="linear")
    assert result.figures.keys() == {"profile", "linear", "cross_fade"}
    for name, figure in result.figures.items():
        figure.savefig(tmp_path / f"{name}.png", dpi=50)
        assert (tmp_path / f"{name}.png").stat().st_size > 2000


def test_what_it_cannot_look_at_is_refused():
    def said(dataset, **options):
        return " ".join(LatentWalk(**options).check(Spec(dataset=dataset, sampler=_Sampler(Normal(dim=2)))))

    assert "draws images" in said(_Pictures(kind="vector"))
    assert "encoder: reads 4x4" in said(_Pictures(kind="vector"), encoder=_Scaling())
    assert "set fine to 20" in said(_Pictures(), steps=20, fine=10)
    with pytest.raises(Diverged, match="earlier checkpoint"):
        walk(lambda z: as_image(z) / 0, Normal(dim=16))


def test_a_recipe_without_training_walks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toy.toml").write_text("""
gflow = 1
dataset = { use = "mnist5k", limit = 60, image_size = 32 }
sampler = { use = "dcgan.conv", width = 2, latent = { use = "uniform", dim = 5 } }
[[analyze]]
use = "dcgan.latent_walk"
rows = 2
fine = 12
""")
    done = CliRunner().invoke(main, ["run", "toy.toml"])
    assert done.exit_code == 0, done.output
    folder = tmp_path / "runs/toy-s0-001/analysis/dcgan.latent_walk"
    assert {path.name for path in folder.iterdir()} == {
        *("result.json", "walks.csv", "linear.png", "spherical.png", "cross_fade.png", "profile.png")
    }
    assert json.loads((folder / "result.json").read_text())["scores"]["linear_length_ratio"] >= 1
    with open(folder / "walks.csv") as file:
        assert len(list(csv.DictReader(file))) == 6
