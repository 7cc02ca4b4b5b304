"""cgan.intra_frechet with Gaussian classes, whose distances have a closed form."""

from typing import ClassVar

import attrs
import pytest
import torch
from torch import nn

from gflow_cgan.parts import IntraFrechet
from gflow_core import DataError, DataShape, Normal, Runtime, Source, Spec, Streams, Subject, fingerprint, no_progress

CENTRES = torch.tensor([[0.0, 0.0], [5.0, 0.0], [0.0, 9.0]])


@attrs.frozen(kw_only=True)
class _Mixture:
    """N(centre of the class, I) in the plane; classes take turns, or have the sizes given."""

    sizes: tuple[int, ...] = (4000, 4000, 4000)
    labels: bool = True

    def data_shape(self):
        return DataShape("vector", (2,), classes=3 if self.labels else None)

    def load(self, progress=no_progress):
        y = torch.cat([torch.full((n,), k) for k, n in enumerate(self.sizes)])
        y = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(5))]
        x = CENTRES[y] + torch.randn(len(y), 2, generator=torch.Generator().manual_seed(6))
        return Source(x, self.data_shape(), fingerprint(x, y), y)


@attrs.frozen
class _Pictures:
    """Two classes of 2x2 images of independent pixels: dark and bright."""

    def data_shape(self):
        return DataShape("image", (1, 2, 2), -1.0, 1.0, 2)

    def load(self, progress=no_progress):
        y = torch.arange(60) % 2
        x = torch.randint(0, 100, (60, 1, 2, 2), generator=torch.Generator().manual_seed(7)) + 100 * y.view(-1, 1, 1, 1)
        return Source(x.byte(), self.data_shape(), fingerprint(x, y), y)


@attrs.frozen
class _Part:
    conditional: bool = True
    latent: Normal = attrs.field(factory=lambda: Normal(dim=2))


class _Gaussians(nn.Module):
    """(z, y) -> scale[y] z + centre[order[y]] + shift."""

    def __init__(self, scale=(1.0, 1.0, 1.0), shift=0.0, order=(0, 1, 2)):
        super().__init__()
        self.scale, self.shift, self.order = torch.tensor(scale), shift, torch.tensor(order)

    def forward(self, z, y):
        return self.scale[y, None] * z + CENTRES[self.order[y]] + self.shift


@attrs.frozen(kw_only=True, eq=False)
class _Pixels:
    """Pixels for features, under the name given; counts what it sees."""

    classifies: ClassVar[bool] = False
    name: str = "pixels"
    seen: list[int] = attrs.field(factory=list)
    weights, resizer, dim = "abc", "none", 4

    def check(self, data):
        if data.kind != "image":
            yield f"reads images, the data is {data}"

    def build(self, data, device, progress=no_progress):
        return self

    def __call__(self, x):
        self.seen.append(len(x))
        return x.flatten(1)


def run(sampler, dataset=None, **options):
    dataset = dataset or _Mixture()
    part, spec = IntraFrechet(**options), Spec(dataset=dataset, sampler=_Part())
    assert list(part.check(spec)) == []
    part.prepare(spec, torch.device("cpu"), no_progress)
    runtime = Runtime(torch.device("cpu"))
    return part.build()(Subject(spec, runtime, Streams(1), step=7, data=dataset.load(), sampler=sampler))


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GFLOW_CACHE", str(tmp_path))


def test_gaussian_classes_have_their_closed_form(tmp_path):
    """|shift|^2 + d (s - 1)^2: 0, 2 (2 - 1)^2 and 2 (.5 - 1)^2 by scale, plus 2 x 3^2 by the shift."""
    result = run(_Gaussians(scale=(1.0, 2.0, 0.5), shift=3.0), samples_per_class=20_000)
    rows = result.tables["classes"]
    assert [row["distance"] for row in rows] == pytest.approx([18, 20, 18.5], rel=0.02)
    assert all(0 < row["distance_real_halves"] < 0.02 for row in rows)
    name = "intra FD(data)"
    assert result.scores[name] == pytest.approx(sum(row["distance"] for row in rows) / 3)
    assert result.scores[f"{name}_worst"] == rows[1]["distance"]
    assert (result.scores["worst_class"], result.scores["rank_deficient"]) == ("1", 0)
    assert result.scores[f"{name}_real_halves"] == pytest.approx(sum(r["distance_real_halves"] for r in rows) / 3)
    assert result.manifest["n_real_per_class"] == [4000] * 3
    assert (result.manifest["n_real"], result.manifest["n_fake"]) == (12_000, 60_000)
    result.figures["classes"].savefig(tmp_path / "a.png", dpi=40)


def test_it_tells_classes_that_were_swapped_from_classes_that_were_learned():
    """All samples together have the data's law either way."""
    learned, swapped = (run(_Gaussians(order=order)).tables["classes"] for order in ((0, 1, 2), (1, 0, 2)))
    assert all(row["distance"] < 0.05 for row in learned)
    assert [row["distance"] for row in swapped] == pytest.approx([25, 25, 0], rel=0.05, abs=0.05)


def test_encoders_are_read_once_for_real_items_and_give_the_score_its_name():
    def grey(z, y):
        return (y.view(-1, 1, 1, 1) * 0.8 - 0.8 + 0.1 * torch.cat([z, z.flip(1)], 1).view(-1, 1, 2, 2)).clamp(-1, 1)

    class Grey(nn.Module):
        forward = staticmethod(grey)

    encoder = _Pixels()
    options = {"encoder": encoder, "samples_per_class": 3, "real_samples_per_class": 20}
    result = run(Grey(), _Pictures(), **options)
    assert sum(encoder.seen) == 2 * (20 + 3)
    assert run(Grey(), _Pictures(), **options).scores == result.scores
    assert sum(encoder.seen) == 2 * (20 + 3) + 2 * 3  # features of real items come from the cache
    assert "intra FD(pixels)" in result.scores
    assert result.scores["rank_deficient"] == 1
    found = run(Grey(), _Pictures(), encoder=_Pixels(name="inception"), samples_per_class=5)
    assert "intra FID" in found.scores
    assert found.scores["rank_deficient"] == 0


def test_bad_input():
    def said(dataset, part):
        return " ".join(IntraFrechet().check(Spec(dataset=dataset, sampler=part)))

    assert "reads no labels" in said(_Mixture(), _Part(conditional=False))
    assert "not classes" in said(_Mixture(labels=False), _Part())
    assert "set encoder" in said(_Pictures(), _Part())
    encoded = IntraFrechet(encoder=_Pixels())
    assert "encoder: reads images" in " ".join(encoded.check(Spec(dataset=_Mixture(), sampler=_Part())))
    assert min(run(_Gaussians(), _Mixture(sizes=(4, 5, 6))).manifest["n_real_per_class"]) == 4
    for sizes, words in (((9, 3, 9), "class 1 has 3 items"), ((9, 9), "class 2 has 0 items")):
        with pytest.raises(DataError, match=words):
            run(_Gaussians(), _Mixture(sizes=sizes))
