from __future__ import annotations

import math

import attrs
import pytest
import torch
from torch import nn

from gflow_core.data.parts import Mnist5k
from gflow_core.errors import DataError
from gflow_core.machine.runtime import Runtime
from gflow_core.machine.streams import Streams
from gflow_core.nn.latents import Normal
from gflow_core.parts.analysis import Subject
from gflow_core.parts.nouns import DataShape
from gflow_core.parts.spec import Spec
from gflow_core.scores.image_scores import MsSsim
from gflow_core.scores.ms_ssim import exponents, ms_ssim


def picture(*size):
    return DataShape("image", size, -1.0, 1.0)


def by_torchmetrics(x, y, powers):
    """MS-SSIM of images [1, C, H, W] in [0, 1] from torchmetrics' maps of SSIM, without the border that it mirrors.

    Its own MS-SSIM leaves the border out of contrasts, but not out of the coarsest scale's luminance.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure as ssim

    product = 1.0
    for scale, power in enumerate(powers):
        if scale:
            x, y = nn.functional.avg_pool2d(x, 2), nn.functional.avg_pool2d(y, 2)
        value = ssim(x, y, data_range=1.0, return_contrast_sensitivity=True)[1]
        if scale == len(powers) - 1:
            value = ssim(x, y, data_range=1.0, return_full_image=True)[1][..., 5:-5, 5:-5].mean()
        product *= float(value.clamp(min=0)) ** power
    return product


@pytest.mark.parametrize(("size", "scales"), [((3, 176, 180), 5), ((1, 64, 64), 3), ((3, 30, 11), 1)])
def test_it_is_what_torchmetrics_makes_of_the_same_pairs(size, scales):
    generator = torch.Generator().manual_seed(0)
    x = nn.functional.avg_pool2d(torch.rand(3, size[0], size[1] + 4, size[2] + 4, generator=generator), 5, 1)
    noise = torch.rand(x.shape, generator=generator) * torch.tensor([0.02, 0.3, 1.0]).view(3, 1, 1, 1)
    y = (x + noise).clamp(0, 1)
    powers = exponents(picture(*size))
    assert len(powers) == scales
    assert sum(powers) == pytest.approx(1.0001, abs=1e-9)
    found = ms_ssim(2 * x - 1, 2 * y - 1, picture(*size))
    assert found.tolist() == sorted(found.tolist(), reverse=True), "the more noise, the less alike"
    for a, b, value in zip(x, y, found, strict=True):
        assert float(value) == pytest.approx(by_torchmetrics(a[None], b[None], powers), rel=1e-3)


def test_equal_images_give_one_and_opposite_ones_nothing():
    x = torch.rand(4, 1, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert ms_ssim(x, x, picture(1, 32, 32)).tolist() == pytest.approx([1.0] * 4, abs=1e-5)
    assert ms_ssim(x, -x, picture(1, 32, 32)).tolist() == [0.0] * 4


# ------------------------------------------------------------------ the analyzer

DIGITS = Mnist5k(limit=400, image_size=32)


@attrs.frozen
class Part:
    conditional: bool = False
    latent: Normal = attrs.field(factory=lambda: Normal(dim=1))


class Copies(nn.Module):
    """z -> an item of the data, of the label where one is given; only the first `kinds` of them."""

    def __init__(self, data, kinds=None):
        super().__init__()
        self.x, self.y = data.batch(torch.arange(len(data))).x, data.y
        self.kinds = kinds

    def forward(self, z, y=None):
        u = 0.5 * (1 + torch.erf(z[:, 0] / math.sqrt(2)))
        pools = [self.y == k for k in range(10)] if y is not None else [torch.ones_like(self.y, dtype=torch.bool)]
        items = [pool.nonzero()[: self.kinds, 0] for pool in pools]
        rows = zip(u, y.tolist() if y is not None else [0] * len(u), strict=True)
        return torch.stack([self.x[items[k][min(int(v * len(items[k])), len(items[k]) - 1)]] for v, k in rows])


def look(sampler, dataset=DIGITS, *, conditional=False, **options):
    part, spec = MsSsim(**options), Spec(dataset=dataset, sampler=Part(conditional))
    assert list(part.check(spec)) == []
    data = dataset.load()
    subject = Subject(spec, Runtime(torch.device("cpu")), Streams(1), data=data, sampler=sampler(data))
    return part.build()(subject)


def test_draws_of_the_data_are_as_varied_as_the_data():
    result = look(Copies, pairs=200)
    scores = result.scores
    error = math.hypot(scores["ms_ssim_se"], scores["ms_ssim_real_se"])
    assert scores["ms_ssim"] == pytest.approx(scores["ms_ssim_real"], abs=4 * error)
    assert 0 < error < 0.02
    wanted = {"n_real": 400, "n_fake": 400, "pairs_within": "all", "scales": 2, "batch_norm": "eval"}
    assert result.manifest.items() >= wanted.items()


def test_a_sampler_of_one_image_is_told_though_the_image_is_real():
    scores = look(lambda data: Copies(data, kinds=1), pairs=10).scores
    assert scores["ms_ssim"] == pytest.approx(1, abs=1e-6)
    assert scores["ms_ssim_real"] < 0.5


def test_pairs_are_of_one_class_where_the_sampler_reads_classes(tmp_path):
    """Digits of one class are more alike than any two; collapsed classes are counted."""
    varied = look(Copies, conditional=True, pairs=30)
    assert varied.scores["ms_ssim"] > look(Copies, pairs=300).scores["ms_ssim"] + 0.05
    assert varied.scores["share_below_real_max"] >= 0.8
    assert [row["class"] for row in varied.tables["classes"]] == list(range(10))
    ones = varied.tables["classes"][1]
    assert ones["ms_ssim_real"] == max(row["ms_ssim_real"] for row in varied.tables["classes"])
    varied.figures["ms_ssim"].savefig(tmp_path / "ms_ssim.png")

    collapsed = look(lambda data: Copies(data, kinds=1), conditional=True, pairs=3)
    assert collapsed.scores["ms_ssim"] == pytest.approx(1, abs=1e-6)
    assert collapsed.scores["share_below_real_max"] == 0
    assert collapsed.scores["ms_ssim_real"] < 0.9


def test_what_is_too_small_or_too_few_is_refused(scene):
    assert "11 pixels at least" in " ".join(MsSsim().check(scene.spec(scene.Pictures())))
    assert "compares images" in " ".join(MsSsim().check(scene.spec(scene.Points())))
    with pytest.raises(DataError, match="no two items"):
        look(Copies, Mnist5k(limit=1, image_size=32))
