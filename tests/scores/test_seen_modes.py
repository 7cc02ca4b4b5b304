"""mode_coverage of images: a law whose modes a classifier cannot mistake."""

from __future__ import annotations

import math
from typing import ClassVar

import attrs
import pytest
import torch
from torch import nn

from gflow_core.data.parts import Ring, StackedMnist
from gflow_core.errors import GflowError
from gflow_core.parts.nouns import DataShape, no_progress
from gflow_core.parts.source import ImageModes, Source, fingerprint
from gflow_core.scores.mode_coverage import ModeCoverage
from gflow_core.scores.seen_modes import kl_uniform

LEVEL = 25  # grey levels from one class to the next


def greys(numbers):
    """Images [n, 3, 4, 4] whose channels are grey by the digits of the numbers [n]."""
    digits = torch.stack([numbers // 100, numbers // 10 % 10, numbers % 10], 1)
    return (LEVEL * digits).to(torch.uint8)[:, :, None, None].expand(-1, -1, 4, 4).contiguous()


@attrs.frozen(kw_only=True)
class Greys:
    """Every number as often as every other."""

    has_modes: ClassVar[bool] = True
    each: int = 10

    def data_shape(self):
        return DataShape("image", (3, 4, 4), -1.0, 1.0)

    def load(self, progress=no_progress):
        x = greys(torch.arange(1000).repeat(self.each))
        return Source(x, self.data_shape(), fingerprint(x), modes=ImageModes(channels=3, classes=10))


class Level(nn.Module):
    """What level an image of one channel has. Meets contracts.Encoder."""

    name, weights, resizer = "level", "abc", "none"

    def __init__(self, classes):
        super().__init__()
        self.dim = self.classes = classes

    def classify(self, x):
        assert x.shape[1:] == (1, 4, 4)
        level = (x.mean((1, 2, 3)) + 1) * 127.5 / LEVEL
        return -(level[:, None] - torch.arange(float(self.classes))).square()


@attrs.frozen(kw_only=True)
class Levels:
    classifies: ClassVar[bool] = True
    classes: int = 10

    def check(self, data):
        if data.shape[0] != 1:
            yield "reads one channel"

    def build(self, data, device, progress=no_progress):
        return Level(self.classes)


class Numbers(nn.Module):
    """Draws the first `count` numbers in turn."""

    def __init__(self, count):
        super().__init__()
        self.count, self.done = count, 0

    def forward(self, z, y=None):
        numbers = (torch.arange(len(z)) + self.done) % self.count
        self.done += len(z)
        return greys(numbers) / 127.5 - 1


def test_samples_on_a_few_modes(scene, tmp_path):
    result = scene.score(ModeCoverage(encoder=Levels(), samples=7000), Greys(), Numbers(7))
    assert (result.scores["modes_covered"], result.scores["modes_total"]) == (7, 1000)
    assert math.isclose(result.scores["kl_uniform"], math.log(1000 / 7), rel_tol=1e-9)
    rows = result.tables["modes"]
    assert [row["samples"] for row in rows[:8]] == [1000] * 7 + [0]
    assert sum(row["share"] for row in rows) == pytest.approx(1)
    assert (result.manifest["encoder"], result.manifest["n_real"], result.manifest["n_fake"]) == ("level", 7000, 7000)
    result.figures["modes"].savefig(tmp_path / "modes.png")
    assert (tmp_path / "modes.png").stat().st_size > 5000


def test_the_modes_number_is_spelled_by_the_channels(scene):
    """Mode 7 is red 0, green 0, blue 7, and 70 is another."""
    sampler = Numbers(1)
    sampler.forward = lambda z, y=None: greys(torch.full((len(z),), 70)) / 127.5 - 1
    rows = scene.score(ModeCoverage(encoder=Levels(), samples=3), Greys(), sampler).tables["modes"]
    assert [row["mode"] for row in rows if row["samples"]] == [70]


def test_real_images_reach_all_modes_at_the_floor_of_their_number(scene):
    n = 26_000
    data = Greys(each=60)
    result = scene.score(ModeCoverage(encoder=Levels(), samples=n, batch_size=2000), data, scene.Copies)
    assert result.scores["modes_covered"] == result.scores["modes_covered_real"] == 1000
    # 2 n KL is about chi-square of 999 degrees: deviation 45; real ones are drawn without replacement, 1 - 26/60 of it
    assert abs(result.scores["kl_uniform"] - 999 / (2 * n)) < 5 * 45 / (2 * n)
    assert abs(result.scores["kl_uniform_real"] - (34 / 60) * 999 / (2 * n)) < 5 * 45 / (2 * n)


def test_the_divergence_written_out():
    counts = torch.tensor([3, 1, 0, 4])
    wanted = 3 / 8 * math.log(4 * 3 / 8) + 1 / 8 * math.log(4 / 8) + 1 / 2 * math.log(2)
    assert math.isclose(kl_uniform(counts), wanted, rel_tol=1e-12)
    assert kl_uniform(torch.tensor([5, 5])) == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize(
    ("part", "dataset", "words"),
    [
        (ModeCoverage(), StackedMnist(), "classifies images; set encoder"),
        (ModeCoverage(encoder=Levels()), Ring(), "encoder: is for images"),
        (ModeCoverage(encoder=attrs.evolve(Levels())), Greys(), ""),
    ],
)
def test_an_encoder_goes_with_images(scene, part, dataset, words):
    said = " ".join(part.check(scene.spec(dataset)))
    assert words in said
    assert bool(said) == bool(words)


def test_a_classifier_of_other_classes_is_refused(scene):
    with pytest.raises(GflowError, match="level knows 1000 classes, and a channel of the data shows one of 10"):
        scene.score(ModeCoverage(encoder=Levels(classes=1000), samples=5), Greys(), Numbers(7))
