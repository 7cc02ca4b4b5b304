"""dcgan.drop_feature on a sampler whose feature maps draw one bar each."""

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import attrs
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gflow_core import (
    Analysis,
    DataError,
    DataShape,
    Diverged,
    GflowError,
    RecipeError,
    Runtime,
    Source,
    Spec,
    Streams,
    Subject,
    Uniform,
    fingerprint,
    no_progress,
)
from gflow_core.cli import main
from gflow_core.parts.plugins import plugins
from gflow_core.recipes.structure import structure
from gflow_dcgan.annotations import cells, read_boxes
from gflow_dcgan.drop_feature import Linear, _patchwise, dropping, patches, pick
from gflow_dcgan.options import Rule
from gflow_dcgan.parts.maps import DropFeature

CPU = Runtime(torch.device("cpu"))
SHAPE = DataShape("image", (1, 16, 16), -1.0, 1.0, classes=2)

UPPER = Rule(region=(0.25, 0.125, 0.75, 0.375))
"""Rows 1 and 2 of 8, columns 2 to 5, where map 0 draws."""


@attrs.frozen(kw_only=True)
class Pictures:
    def data_shape(self):
        return SHAPE

    def load(self):
        x = torch.zeros(4, 1, 16, 16, dtype=torch.uint8)
        return Source(x, SHAPE, fingerprint(x), y=torch.tensor([0, 1, 1, 1]))


class Part:
    latent = Uniform(dim=2)

    def __init__(self, conditional=False, sampler=None):
        self.conditional, self.sampler = conditional, sampler

    def build(self, data):
        return self.sampler or Bars()


class Bars(nn.Module):
    """Maps of 8x8, doubled: map 0 draws a bar above if z0 > 0, map 1 one below if z1 > 0, map 2 a faint pattern."""

    def __init__(self):
        super().__init__()
        self.early = nn.Conv2d(3, 3, 1)  # defined first, used first: not the last convolution
        self.up = nn.ConvTranspose2d(3, 1, 2, stride=2)
        with torch.no_grad():
            self.up.weight.copy_(torch.tensor([1.8, 1.8, 0.1]).view(3, 1, 1, 1).expand(-1, -1, 2, 2))
            self.up.bias.fill_(-0.9)
            self.early.weight.copy_(torch.eye(3)[:, :, None, None])
            self.early.bias.zero_()

    def forward(self, z, y=None):
        h = torch.zeros(len(z), 3, 8, 8)
        on = (z > 0).float() * (1 if y is None else (y == 1).float()[:, None])
        h[:, 0, 1:3, 2:6] = on[:, :1, None]
        h[:, 1, 5:7, 2:6] = on[:, 1:, None]
        h[:, 2] = torch.arange(64).view(8, 8) % 5 / 5.0
        return self.up(self.early(h)).to(z.dtype)


class Flat(nn.Module):
    def forward(self, z, y=None):
        return torch.zeros(len(z), 1, 16, 16)


class Ink(nn.Module):
    """White images of 16x16, black where the only map is 1: on the left half if z0 > 0."""

    def __init__(self):
        super().__init__()
        self.up = nn.ConvTranspose2d(1, 1, 2, stride=2)
        with torch.no_grad():
            self.up.weight.fill_(-2.0)
            self.up.bias.fill_(1.0)

    def forward(self, z, y=None):
        h = torch.zeros(len(z), 1, 8, 8)
        h[:, :, :, :4] = (z[:, :1] > 0).float()[..., None, None]
        return self.up(h)


def subject(conditional=False, sampler=None, seed=0):
    spec = Spec(dataset=Pictures(), sampler=Part(conditional))
    return Subject(spec, CPU, Streams(seed), step=3, data=Pictures().load(), sampler=sampler or Bars().eval())


def run(given=None, **options):
    given = given or subject()
    part = DropFeature(**{"samples": 40, **options})
    assert not list(part.check(given.spec))
    part.prepare(given.spec, CPU.device, no_progress)
    return part.build()(given)


def boxes_file(tmp_path, text=None):
    """Boxes around the upper bar in every sample that has it, as a person would draw them; every third is left out."""
    path = tmp_path / "boxes.csv"
    if text is None:
        z = Uniform(dim=2).draw(40, Streams(0).fork("dcgan.drop_feature")["latent"])
        listed = [i for i in range(40) if z[i, 0] > 0 and i % 3]
        text = "image,x0,y0,x1,y1\n" + "".join(f"{i}, 4, 2, 12, 6\n" for i in listed)
    path.write_text(text)
    return str(path)


# ------------------------------------------------------------------ the experiment


@pytest.mark.parametrize("by", ["weight", "activation"])
@pytest.mark.parametrize(("given", "conditional"), [("rule", False), ("rule", True), ("boxes", False)])
def test_the_map_that_draws_the_feature_is_dropped_and_no_other(by, given, conditional, tmp_path):
    how = {"rule": UPPER} if given == "rule" else {"annotations": boxes_file(tmp_path)}
    result = run(subject(conditional), by=by, **how)
    scores, rows = result.scores, result.tables["maps"]
    assert scores["accuracy"] == 1.0
    assert rows[0]["weight"] > 0 > rows[1]["weight"]
    assert scores["found_after"] == 0.0
    if given == "rule":
        # The bar is there in half the samples (and half the labels of 3/4): the share of the region's places.
        assert 0.2 < scores["found_before"] < 0.8
    else:
        assert scores["found_before"] == 1.0
        # Pixel by pixel the other bar looks alike.
        assert 0.8 < scores["detector_accuracy"] < 1.0
        words = f"{result.manifest['n_evaluated']} annotated samples that no fit has seen"
        assert words in result.figures["drop"].get_suptitle()
    # A bar is 1.8 above the ground, and map 2 at most 0.08 of it: the other bar stands.
    assert scores["change_inside_after"] > 1.8 * scores["found_before"] - 0.1
    assert scores["change_outside_after"] < 0.1
    if by == "weight":
        assert rows[0]["dropped"] == 1.0
        assert rows[1]["dropped"] == 0.0
        assert scores["maps_dropped"] == sum(row["weight"] > 0 for row in rows)
    else:
        assert rows[1]["dropped"] == 0.0
        assert rows[0]["dropped"] == pytest.approx(scores["found_before"] * 8 / 64)
        assert scores["found_random"] > scores["found_after"]


def test_without_annotations_there_is_the_contact_sheet(tmp_path):
    result = run()
    assert list(result.figures) == ["samples"]
    assert "annotate" in result.scores["note"]
    result.figures["samples"].savefig(tmp_path / "samples.png")
    assert [text.get_text() for text in result.figures["samples"].axes[0].texts] == [str(i) for i in range(40)]


def test_the_annotated_samples_are_those_of_the_seed():
    """Whatever streams the analysis gets, that is, whatever it is called."""
    one, other = (run(subject(seed=seed)) for seed in (0, 1))
    assert np.array_equal(*(r.figures["samples"].axes[0].images[0].get_array() for r in (one, other)))
    assert one.manifest["sheet"] == other.manifest["sheet"]


def test_the_manifest_tells_one_sheet_from_another():
    """By its 8-bit images, whose shape and type are hashed before them."""
    brighter = Bars().eval()
    brighter.up.bias.data.add_(1 / 127.5)
    z = Uniform(dim=2).draw(40, Streams(0).fork("dcgan.drop_feature")["latent"])
    for sampler in (Bars().eval(), brighter):
        x = ((sampler(z).detach().double() + 1) * 127.5).round().clamp(0, 255).byte()
        expected = hashlib.sha256(f"{tuple(x.shape)}{x.dtype}".encode() + x.numpy().tobytes()).hexdigest()
        assert run(subject(sampler=sampler)).manifest["sheet"] == expected


def test_dropping_sets_maps_to_zero_and_counts_them():
    sampler, z = Bars(), torch.ones(2, 2)
    plain = sampler(z)
    with dropping(sampler.up, lambda h: torch.tensor([True, False, False])[None, :, None, None]) as counts:
        without = sampler(z)
    assert torch.equal(counts[0], torch.tensor([[64, 0, 0]] * 2))
    bar = torch.zeros(16, 16)
    bar[2:6, 4:12] = 1.8
    assert torch.allclose(plain - without, bar.expand(2, 1, -1, -1))
    assert torch.equal(sampler(z), plain)


def test_a_sampler_without_convolutions_is_refused_before_training():
    with pytest.raises(GflowError, match=r"\(Flat\) uses neither nn\.Conv2d"):
        DropFeature(rule=UPPER).build()(subject(sampler=Flat()))
    for conditional in (False, True):
        spec = Spec(dataset=Pictures(), sampler=Part(conditional, Flat()))
        with pytest.raises(GflowError, match=r"\(Flat\) uses neither nn\.Conv2d"):
            DropFeature(rule=UPPER).prepare(spec, CPU.device, no_progress)
    DropFeature().prepare(spec, CPU.device, no_progress)  # a sheet can be drawn by any


@pytest.mark.parametrize("options", [{}, {"rule": UPPER}])
def test_samples_that_are_not_numbers_are_refused(options):
    sampler = Bars().eval()
    sampler.up.bias.data.fill_(float("nan"))
    with pytest.raises(Diverged, match=r"step 3: samples are NaN or infinite; .* earlier checkpoint"):
        run(subject(sampler=sampler), **options)


@pytest.mark.parametrize("brighter", [0.999, -1.0])
def test_a_feature_that_is_nowhere_or_everywhere_is_refused(brighter):
    with pytest.raises(GflowError, match=r"0 of 40 samples have places both with and without .* the rule's region"):
        run(rule=Rule(region=(0, 0, 1, 1), brighter=brighter))


def test_boxes_that_leave_nothing_outside_are_refused(tmp_path):
    text = "image,x0,y0,x1,y1\n0,4,2,12,6\n3,0,0,16,16\n5,0,0,16,16\n"
    with pytest.raises(GflowError, match=r"1 of the 3 annotated samples have places both .* box more samples"):
        run(annotations=boxes_file(tmp_path, text))


@pytest.mark.parametrize("by", ["weight", "activation"])
def test_where_there_is_nothing_to_drop_a_note_says_so(by):
    """What is bright is what the only map leaves bare."""
    result = run(subject(sampler=Ink().eval()), by=by, rule=Rule(region=(0, 0, 1, 1)))
    assert result.scores["note"].startswith("nothing is dropped: no ")
    assert result.scores["activations_dropped"] == 0
    assert result.tables["maps"][0]["weight"] < 0
    assert not any(name.startswith(("found", "change")) for name in result.scores)
    assert list(result.figures) == ["samples"]


# ------------------------------------------------------------------ its pieces


def test_the_fit_is_scikit_learns():
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(200, 3, generator=generator) * torch.tensor([1.0, 5.0, 0.1]) + 2
    label = (v[:, 0] + v[:, 1] / 5 + torch.randn(200, generator=generator) > 2.4).long()
    fit = Linear.fit(v, label)
    standard = ((v - v.mean(0)) / v.std(0, correction=0)).double().numpy()
    model = LogisticRegression(max_iter=1000).fit(standard, label.numpy())
    assert np.allclose(fit(v).numpy(), model.decision_function(standard), atol=1e-3)
    assert np.allclose((fit.weight * fit.scale).numpy(), model.coef_[0], atol=1e-3)
    assert fit.accuracy(v, label) == pytest.approx(model.score(standard, label.numpy()), abs=0.011)
    maps = v[:192].view(2, 8, 12, 3).permute(0, 3, 1, 2)
    assert torch.equal(fit.fires(maps), (fit(v[:192]) > 0).view(2, 8, 12))


def test_where_the_fit_fires_does_not_depend_on_autocast():
    """Logits of one part in a thousand above and below 0 of numbers near 100, which bf16 does not tell apart."""
    fit = Linear(torch.tensor([1.0, -1.0]).double(), 0.0, torch.ones(2).double())
    v = torch.tensor([[100.1, 100.0], [100.0, 100.1]])
    with torch.autocast("cpu", torch.bfloat16):
        assert fit.fires(v.view(1, 1, 2, 2).permute(0, 3, 1, 2)).flatten().tolist() == [True, False]


def test_places_are_balanced_in_each_image():
    positive = torch.rand(4, 5, 6, generator=torch.Generator().manual_seed(0)) < 0.3
    positive[1] = False
    positive[2].fill_(True)[0, 0] = False
    image, place, label = pick(positive, torch.tensor([0, 1, 2, 3]), 4, torch.Generator().manual_seed(1))
    assert torch.equal(positive.flatten(1)[image, place], label.bool())
    assert [[int((label[image == i] == k).sum()) for k in (0, 1)] for i in range(4)] == [[4, 4], [0, 0], [1, 1], [4, 4]]
    assert len(set(zip(image.tolist(), place.tolist(), strict=True))) == len(image)


def test_boxes_cover_the_places_they_touch():
    covered = cells([(0.3 * 16, 0, 8, 4), (15, 15, 16, 16)], SHAPE, (4, 4))
    assert covered.int().tolist() == [[0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]]
    tenths = DataShape("image", (1, 10, 10), -1.0, 1.0)
    # 0.3 * 10 and 0.7 * 10 are not quite 3 and 7.
    assert cells([(0.3 * 10, 0.7 * 10, 0.7 * 10, 10)], tenths, (10, 10)).sum() == 4 * 3


def test_patches_surround_the_middle_of_their_place():
    x = torch.arange(2 * 3 * 16 * 16).view(2, 3, 16, 16).float()
    found = patches(x, (4, 8), torch.tensor([0, 1]), torch.tensor([3, 2 * 8 + 5]))
    assert found.shape == (2, 27)
    # Place (2, 5): rows 8 to 11, columns 10 and 11; its middle pixel is (10, 11).
    assert torch.equal(found[1], x[1, :, 9:12, 10:13].flatten())


def every_patch(x, grid):
    """All places of all images, [n, h w, C k k]: simple, and too much at 256 px."""
    height, width = x.shape[2:]
    reach = max(1, min(height, width) // 16)
    padded = F.pad(x, (reach,) * 4, mode="replicate")
    tops = [int((i + 0.5) * height / grid[0]) for i in range(grid[0])]
    lefts = [int((j + 0.5) * width / grid[1]) for j in range(grid[1])]
    k = 2 * reach + 1
    return torch.stack([padded[:, :, i : i + k, j : j + k].flatten(1) for i in tops for j in lefts], 1)


class Largest(TorchDispatchMode):
    """The largest storage, in bytes, of all that is computed within the block."""

    bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        sizes = [t.untyped_storage().nbytes() for t in tree_leaves(out) if isinstance(t, torch.Tensor)]
        self.bytes = max([self.bytes, *sizes])
        return out


def test_only_the_patches_asked_for_are_formed():
    generator = torch.Generator().manual_seed(0)
    x, grid = torch.rand(12, 3, 64, 64, generator=generator), (32, 32)
    image, place = (torch.randint(high, (100,), generator=generator) for high in (12, 1024))
    whole = every_patch(x, grid)
    with Largest() as largest:
        assert torch.equal(patches(x, grid, image, place), whole[image, place])
    assert largest.bytes < 2 * x.nbytes < whole.nbytes / 10

    detector = Linear(torch.randn(243, generator=generator).double(), 0.1, torch.ones(243).double())
    area = torch.rand(12, *grid, generator=generator) < 0.3
    area[3], area[4] = False, True
    with Largest() as largest:
        found = _patchwise(detector, area, x)
    assert torch.equal(found, (detector(whole) > 0).unflatten(1, grid) & area)
    assert largest.bytes <= whole[0].double().nbytes


# ------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: its first line must be image,x0,y0,x1,y1"),
        ("image,left,top,right,bottom\n", "line 1: its first line must be"),
        ("image,x0,y0,x1,y1\n\n", "holds no box"),
        ("image,x0,y0,x1,y1\n0,1,1,5,5\n\n3,1,1,5\n", "line 4: expected 5 numbers"),
        ("image,x0,y0,x1,y1\n0,1,one,5,5\n", "line 2: expected numbers"),
        ("image,x0,y0,x1,y1\n0.5,1,1,5,5\n", "line 2: expected numbers"),
        ("image,x0,y0,x1,y1\n40,1,1,5,5\n", "line 2: there is no image 40; the 40 samples are numbered 0 to 39"),
        ("image,x0,y0,x1,y1\n-1,1,1,5,5\n", "line 2: there is no image -1"),
        ("image,x0,y0,x1,y1\n0,1,1,17,5\n", "line 2: the box 1,1,17,5 is empty or leaves the image"),
        ("image,x0,y0,x1,y1\n0,5,1,5,5\n", "line 2: the box 5,1,5,5 is empty"),
        ("image,x0,y0,x1,y1\n0,nan,1,5,5\n", "line 2: the box nan,1,5,5"),
        ('image,x0,y0,x1,y1\n0,"1,1,5,5\n', "cannot be read"),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(text, message, tmp_path):
    with pytest.raises(DataError) as caught:
        run(annotations=boxes_file(tmp_path, text))
    assert "boxes.csv" in str(caught.value)
    assert message in str(caught.value)


def test_a_missing_file_is_missed_before_training(tmp_path):
    part = DropFeature(annotations=str(tmp_path / "none.csv"))
    with pytest.raises(DataError, match=r"none\.csv: cannot be read"):
        part.prepare(subject().spec, CPU.device, no_progress)


def test_what_is_no_file_is_refused_at_once():
    with pytest.raises(DataError, match="/dev/zero: is no file"):
        read_boxes(Path("/dev/zero"), 40, SHAPE)


def test_spreadsheets_files_are_read(tmp_path):
    path = tmp_path / "boxes.csv"
    path.write_bytes(b"\xef\xbb\xbfimage,x0,y0,x1,y1\r\n7,1,2,3,4\r\n2,0,0,1.5,16\r\n7,0,0,1,1\r\n")
    assert read_boxes(path, 40, SHAPE) == {2: [(0, 0, 1.5, 16)], 7: [(1, 2, 3, 4), (0, 0, 1, 1)]}


def test_boxes_in_toml(tmp_path):
    path = tmp_path / "boxes.toml"
    box = "[[box]]\nimage = {}\nx0 = 1\ny0 = 2\nx1 = 3.5\ny1 = 4\n"
    path.write_text(box.format(7) + box.format(2))
    assert read_boxes(path, 40, SHAPE) == {2: [(1, 2, 3.5, 4)], 7: [(1, 2, 3.5, 4)]}
    for text, message in (
        ("", "holds no box"),
        ("[[box]", "cannot be read"),
        ("box = " + "[" * 100_000, "cannot be read"),
        ("[[boxes]]", r"expected tables \[\[box\]\]"),
        ("box = 3", r"expected tables \[\[box\]\]"),
        ("[[box]]\nimage = 1", "box 1: expected image, x0, y0, x1, y1, got image"),
        (box.format(3) + box.format(40), "box 2: there is no image 40"),
        (box.format("true"), "box 1: expected numbers"),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=message):
            read_boxes(path, 40, SHAPE)


def test_what_it_cannot_do_is_said():
    spec = subject().spec
    assert "given twice" in " ".join(DropFeature(annotations="a.csv", rule=UPPER).check(spec))
    assert "a .csv or a .toml file" in " ".join(DropFeature(annotations="boxes.txt").check(spec))
    assert "rule.brighter = 1: images are from -1 to 1" in " ".join(
        DropFeature(rule=attrs.evolve(UPPER, brighter=1.0)).check(spec)
    )
    boxes, ruled = DropFeature(annotations="a.csv"), DropFeature(rule=UPPER)
    for part, every, said in (
        (boxes, 100, "every = 100 looks at many; remove every"),
        (boxes, 0, ""),
        (ruled, 100, ""),
    ):
        watched = attrs.evolve(spec, analyze=(Analysis(name="drop", every=every, part=part),))
        assert said == "" if not list(part.check(watched)) else said in " ".join(part.check(watched))
    with pytest.raises(ValueError, match="<= 1000"):
        DropFeature(samples=1001)
    vectors = SimpleNamespace(data_shape=lambda: DataShape("vector", (2,)))
    assert "works on images" in " ".join(DropFeature().check(Spec(dataset=vectors, sampler=Part())))
    for region, message in (
        ([0.5, 0.0, 0.5, 1.0], "is empty"),
        ([0.0, 0.0, 1.5, 1.0], "<= 1"),
        ([0.0, 1.0], "4"),
    ):
        table = {"gflow": 1, "analyze": [{"use": "dcgan.drop_feature", "rule": {"region": region}}]}
        with pytest.raises(RecipeError, match=r"analyze\.0\.rule\.region") as caught:
            structure(table, plugins())
        assert message in str(caught.value)


RECIPE = """
gflow = 1
dataset = { use = "mnist5k", image_size = 16, fit = "resize" }
sampler = { use = "dcgan.conv", width = 4, conditional = true }
[[analyze]]
use = "dcgan.drop_feature"
samples = 30
rule = { region = [0.0, 0.0, 1.0, 0.5] }
"""


def test_a_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toy.toml").write_text(RECIPE)
    done = CliRunner().invoke(main, ["run", "toy.toml"])
    assert done.exit_code == 0, done.output
    folder = tmp_path / "runs/toy-s0-001/analysis/dcgan.drop_feature"
    scores = json.loads((folder / "result.json").read_text())["scores"]
    assert scores["maps"] == 4
    assert 0.5 < scores["accuracy"] <= 1
    for name in ("samples.png", "drop.png"):
        assert (folder / name).stat().st_size > 3000
    assert len((folder / "maps.csv").read_text().splitlines()) == 5
