from __future__ import annotations

import attrs
import pytest
import torch
from torch import nn

from gflow_core.data.parts import ImageFolder, Mnist5k
from gflow_core.errors import DataError
from gflow_core.machine.runtime import Runtime
from gflow_core.machine.streams import Streams
from gflow_core.nn.latents import Normal
from gflow_core.parts.analysis import Subject
from gflow_core.parts.nouns import DataShape
from gflow_core.parts.spec import Spec
from gflow_core.scores.classification import small_cnn
from gflow_core.scores.image_scores import ClassificationAccuracy

DIGITS = Mnist5k(split="train", limit=1000)


@attrs.frozen
class Part:
    conditional: bool = True
    latent: Normal = attrs.field(factory=lambda: Normal(dim=1))


class Labelled(nn.Module):
    """z, y -> an item of the data of class y, or of another that `mistake` makes of it."""

    def __init__(self, data, mistake=lambda y: y):
        super().__init__()
        x = data.batch(torch.arange(len(data))).x
        self.by_class, self.mistake = [x[data.y == k] for k in range(10)], mistake

    def forward(self, z, y):
        share = 0.5 * (1 + torch.erf(z[:, 0] / 2**0.5))
        pools = [self.by_class[int(k)] for k in self.mistake(y)]
        return torch.stack([pool[int(u * 0.999 * len(pool))] for u, pool in zip(share, pools, strict=True)])


def look(mistake=lambda y: y, dataset=DIGITS, **options):
    part, spec = ClassificationAccuracy(**options), Spec(dataset=dataset, sampler=Part())
    assert list(part.check(spec)) == []
    data = dataset.load()
    sampler = Labelled(data, mistake)
    return part.build()(Subject(spec, Runtime(torch.device("cpu")), Streams(1), data=data, sampler=sampler))


QUICK = {"width": 8, "epochs": 4}


def test_a_sampler_of_the_data_teaches_as_the_data_do(tmp_path):
    result = look(**QUICK)
    fake, real = result.scores["CAS(small_cnn)"], result.scores["CAS(small_cnn)_real"]
    assert real > 0.8
    assert fake == pytest.approx(real, abs=0.06)
    wanted = {"n_real": 1000, "n_fake": 1000, "n_held_out": 500, "held_out_split": "test", "epochs": 4, "width": 8}
    assert result.manifest.items() >= wanted.items()
    rows = result.tables["classes"]
    assert [row["class"] for row in rows] == [str(k) for k in range(10)]
    assert sum(row["count"] * row["accuracy"] for row in rows) / 500 == pytest.approx(fake)
    result.figures["accuracy"].savefig(tmp_path / "accuracy.png")


def test_labels_that_samples_do_not_follow_are_told(scene):
    """Sevens and ones exchanged: a fifth of the held-out digits is got wrong, and the rest is not."""
    swapped = look(lambda y: torch.where(y == 1, 7, torch.where(y == 7, 1, y)), **QUICK)
    accuracy = {row["class"]: row["accuracy"] for row in swapped.tables["classes"]}
    assert max(accuracy.pop("1"), accuracy.pop("7")) < 0.1
    assert min(accuracy.values()) > 0.7
    assert swapped.scores["CAS(small_cnn)_real"] > 0.8


def test_an_encoders_features_are_read_by_a_linear_classifier(scene):
    spec = Spec(dataset=DIGITS, sampler=Part())
    part = ClassificationAccuracy(encoder=scene.Encoding(dim=60), epochs=6)
    data = DIGITS.load()
    subject = Subject(spec, Runtime(torch.device("cpu")), Streams(1), data=data, sampler=Labelled(data))
    result = part.build()(subject)
    assert 0.6 < result.scores["CAS(projection)_real"] < 0.95, "a linear classifier on 60 random projections"
    assert result.scores["CAS(projection)"] == pytest.approx(result.scores["CAS(projection)_real"], abs=0.06)
    assert result.manifest["encoder"] == "projection"
    assert part.build()(attrs.evolve(subject, streams=Streams(1))).scores == result.scores


def test_the_cnn_halves_images_of_any_size():
    for size, pixels in (((1, 32, 32), 16), ((3, 28, 20), 35), ((1, 8, 9), 16)):
        network = small_cnn(DataShape("image", size, -1.0, 1.0, 10), 4)
        assert network(torch.zeros(2, *size)).shape == (2, 10)
        *_, last = (layer.out_channels for layer in network if isinstance(layer, nn.Conv2d))
        assert network[-1].in_features == last * pixels


def test_what_has_no_labels_or_nothing_held_out_is_refused():
    def said(dataset, sampler):
        return " ".join(ClassificationAccuracy().check(Spec(dataset=dataset, sampler=sampler)))

    assert "the sampler reads no labels" in said(DIGITS, Part(conditional=False))
    assert 'set it to "train"' in said(Mnist5k(), Part())
    assert "the data has none" in said(ImageFolder(root="somewhere"), Part())
    with pytest.raises(DataError, match="one item"):
        look(dataset=Mnist5k(split="train", limit=1))
