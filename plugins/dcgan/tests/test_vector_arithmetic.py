"""dcgan.vector_arithmetic: concepts of a sampler and a classifier in closed form."""

import json
from types import SimpleNamespace
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
    GflowError,
    Normal,
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
from gflow_dcgan.parts.latents import VectorArithmetic
from gflow_dcgan.vector_arithmetic import Seen, check_concepts, choose, combine, surroundings

SHAPE = (1, 4, 4)


@attrs.frozen(kw_only=True)
class _Pictures:
    kind: str = "image"

    def data_shape(self) -> DataShape:
        return DataShape(self.kind, SHAPE if self.kind == "image" else (16,), -1.0, 1.0, classes=3)

    def load(self, progress=no_progress) -> Source:
        x = torch.zeros(4, *SHAPE, dtype=torch.uint8)
        return Source(x, self.data_shape(), fingerprint(x), torch.arange(4) % 3)


class _Sampler:
    def __init__(self, latent, conditional=False) -> None:
        self.latent, self.conditional = latent, conditional


class _Identity(nn.Module):
    """z as the pixels of an image, a tenth of the label added."""

    def forward(self, z, y=None):
        x = z.view(-1, *SHAPE)
        return x if y is None else x + 0.1 * y.to(x).view(-1, 1, 1, 1)


@attrs.frozen(kw_only=True)
class _Corner:
    """A classifier: ten times the first five pixels are the logits."""

    classifies: ClassVar[bool] = True

    def check(self, data):
        if data.kind != "image":
            yield "reads images"

    def build(self, data, device, progress=no_progress):
        return _Network()


@attrs.frozen(kw_only=True)
class _Blind(_Corner):
    classifies: ClassVar[bool] = False


class _Network:
    name, weights, resizer, dim = "corner", "abc", "none", 5

    def __call__(self, x):
        return x.flatten(1)[:, :5]

    def classify(self, x):
        return 10 * self(x)


UNIFORM = Uniform(dim=16)


def spec_of(latent=UNIFORM, *, kind="image", conditional=False):
    return Spec(dataset=_Pictures(kind=kind), sampler=_Sampler(latent, conditional))


def compute(latent=UNIFORM, *, step=7, conditional=False, sampler=None, **options):
    part, spec = VectorArithmetic(**{"candidates": 60, **options}), spec_of(latent, conditional=conditional)
    assert list(part.check(spec)) == []
    runtime, streams = Runtime(torch.device("cpu")), Streams(0).fork(f"{step}")
    sampler = sampler or _Identity().eval()
    return part.build()(Subject(spec, runtime, streams, step=step, data=_Pictures().load(), sampler=sampler))


def latents(n=60):
    """The candidates that the analyzer draws at seed 0."""
    return UNIFORM.draw(n, Streams(0).fork("dcgan.vector_arithmetic")["latent"])


def pictures(figure):
    """Grey values [H, W] of every image in the figure, as bytes."""
    return [np.asarray(axes.images[0].get_array())[..., 0] for axes in figure.axes if axes.images]


def as_bytes(x):
    return ((x + 1) * 127.5).round().clamp(0, 255).reshape(4, 4).byte().numpy()


# ------------------------------------------------------------------ arithmetic


def test_the_sum_equals_a_slow_version():
    z = torch.randn(3, 4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    means, found = combine(z, ["+", "-", "-"])
    for i in range(6):
        a, b, c = (sum(float(z[k, j, i]) for j in range(4)) / 4 for k in range(3))
        assert means[:, i].tolist() == pytest.approx([a, b, c])
        assert float(found[i]) == pytest.approx(a - b - c)


def test_noise_surrounds_the_result_and_leaves_it_in_the_middle():
    z = torch.arange(5.0)
    around = surroundings(z, 2501, 0.25, Streams(0))
    assert torch.equal(around[1250], z)
    delta = (around - z)[torch.arange(2501) != 1250]
    assert delta.abs().max() <= 0.25 + 1e-6
    assert delta.mean() == pytest.approx(0, abs=0.01)
    assert delta.std() == pytest.approx(0.25 / 3**0.5, rel=0.03)
    assert torch.equal(surroundings(z, 9, 0.0, Streams(0)), z.expand(9, 5))


def test_the_most_confident_samples_of_a_class_are_its_exemplars():
    generator = torch.Generator().manual_seed(0)
    confidence, classes = torch.rand(100, generator=generator), torch.randint(4, (100,), generator=generator)
    chosen = choose(Seen(classes, confidence, 6), [2, 0, 2], 5)
    for group, concept in zip(chosen.tolist(), (2, 0, 2), strict=True):
        members = [i for i in range(100) if classes[i] == concept]
        assert group == sorted(members, key=lambda i: -float(confidence[i]))[:5]
    with pytest.raises(GflowError, match=r"0 are of class 5, and exemplars = 5; raise candidates.*found 0: "):
        choose(Seen(classes, confidence, 6), [2, 5, 0], 5)


def test_a_class_that_the_encoder_does_not_know_is_refused():
    six = SimpleNamespace(classify=lambda x: torch.zeros(len(x), 6))
    shape, cpu = DataShape("image", (1, 8, 8), -1.0, 1.0), torch.device("cpu")
    check_concepts([5, 0], six, shape, cpu)
    with pytest.raises(GflowError, match="names class 7, and the encoder's are 0 to 5"):
        check_concepts([7, 2], six, shape, cpu)


# ------------------------------------------------------------------ the analyzer


def test_listed_samples_are_added_up_as_listed():
    indices = ((0, 4, 9), (1, 2, 3), (58, 59, 7))
    result = compute(indices=indices)
    z = latents()
    total = sum(s * z[list(group)].mean(0) for s, group in zip((1, -1, 1), indices, strict=True))
    outside = float((total.abs() > 1).double().mean())
    norm = sum(float(z[i].norm()) for group in indices for i in group) / 9
    assert result.scores == pytest.approx({"norm_ratio": float(total.norm()) / norm, "outside_support": outside})
    assert outside > 0, "or this tests nothing"

    drawn = pictures(result.figures["arithmetic"])
    expected = [[*z[list(group)], z[list(group)].mean(0), z[list(group)].mean(0)] for group in indices]
    for found, x in zip(drawn[:15], (x for column in expected for x in column), strict=True):
        assert np.abs(found.astype(int) - as_bytes(x)).max() <= 1
    grid, pixel = drawn[15:]
    middle = grid[6:10, 6:10]  # of a 3x3 grid of 4 pixels and gaps of one
    assert np.abs(middle.astype(int) - as_bytes(total)).max() <= 1
    assert np.abs(pixel.astype(int) - as_bytes(total)).max() <= 1, "for a linear sampler pixels add up as latents do"
    neighbour = grid[1:5, 1:5].astype(int) - as_bytes(total)
    assert 0 < np.abs(neighbour).max() <= 0.25 * 127.5 + 1
    assert [(row["concept"], row["sign"], row["sample"]) for row in result.tables["exemplars"]] == [
        (c, "+-+"[c], i) for c, group in enumerate(indices) for i in group
    ]


def test_concepts_are_found_by_class_and_the_result_is_classified():
    result = compute(concepts=(2, 0, 1), encoder=_Corner(), noise=0.05)
    classes = latents()[:, :5].argmax(1)
    rows = result.tables["exemplars"]
    assert [row["class"] for row in rows] == [2] * 3 + [0] * 3 + [1] * 3
    assert all(classes[row["sample"]] == row["class"] for row in rows)
    z = latents()[torch.tensor([row["sample"] for row in rows])].unflatten(0, (3, 3)).mean(1)
    total = z[0] - z[1] + z[2]
    p = (10 * total[:5]).softmax(0)
    scores = result.scores
    assert scores["class"] == int(p.argmax())
    assert scores["confidence"] == pytest.approx(float(p.max()), rel=1e-4)
    assert scores["neighbours_same_class"] == 1
    p = (10 * total[:5].clamp(-1, 1)).softmax(0)
    assert (scores["pixel_class"], scores["pixel_confidence"]) == (
        int(p.argmax()),
        pytest.approx(float(p.max()), rel=1e-4),
    )
    assert result.manifest["encoder"] == "corner"
    texts = [axes.get_title() for axes in result.figures["arithmetic"].axes]
    assert f"sum of $z$, in the centre\nclass {scores['class']} ({scores['confidence']:.2f})" in texts
    assert {"class 2", "class 0", "class 1"} < set(texts)


def test_the_share_of_neighbours_counts_those_that_leave_the_class():
    one, other = ((0, 0, 0), (0, 0, 0), (3, 3, 3)), {"encoder": _Corner(), "grid": 15}
    assert compute(indices=one, noise=0.0, **other).scores["neighbours_same_class"] == 1
    assert compute(indices=one, noise=20.0, **other).scores["neighbours_same_class"] == pytest.approx(1 / 5, abs=0.1)
    assert compute(indices=one, encoder=_Corner(), grid=1).scores["neighbours_same_class"] is None


def test_signs_are_an_option():
    """A - A - B is -B."""
    scores = compute(indices=((3,), (3,), (8,)), signs=("+", "-", "-"), exemplars=1, encoder=_Corner()).scores
    assert scores["class"] == int((-latents()[8, :5]).argmax())
    assert scores["outside_support"] == 0
    assert scores["norm_ratio"] == pytest.approx(
        float(3 * latents()[8].norm() / (2 * latents()[3].norm() + latents()[8].norm()))
    )


def test_without_a_choice_samples_are_shown_by_number_and_a_note_says_what_next():
    result = compute(candidates=10)
    assert result.figures.keys() == {"samples"}
    assert "set indices" in result.scores["note"]
    (axes,) = result.figures["samples"].axes
    assert [text.get_text() for text in axes.texts] == [str(i) for i in range(10)]
    grid = np.asarray(axes.images[0].get_array())[..., 0]
    for i, z in enumerate(latents(10)):
        row, column = divmod(i, 4)
        assert (grid[2 + 6 * row :, 2 + 6 * column :][:4, :4] == as_bytes(z)).all()
        words = axes.texts[i].get_position()
        assert words[0] == 2 + 6 * column + 2
        assert 6 * row < words[1] < 2 + 6 * row, "the number stands above its image"


def test_samples_keep_their_numbers_at_every_step_and_the_encoder_names_them():
    one, other = (compute(step=step, encoder=_Corner()).figures["samples"] for step in (1, 2))
    assert (pictures(one)[0] == pictures(other)[0]).all()
    words = [text.get_text() for text in one.axes[0].texts]
    p = (10 * latents()[:, :5]).softmax(1)
    assert words == [f"{i}: {int(row.argmax())} ({float(row.max()):.2f})" for i, row in enumerate(p)]


def test_a_conditional_sampler_makes_every_image_with_one_label():
    plain, labelled = (
        compute(indices=((0, 1, 2), (3, 4, 5), (6, 7, 8)), conditional=label is not None, label=label, noise=0.0)
        for label in (None, "2")
    )
    before, after = (pictures(result.figures["arithmetic"])[3].astype(int) for result in (plain, labelled))
    inside = (before > 0) & (before < 200)
    assert np.abs(after - before - 0.2 * 127.5)[inside].max() <= 1, "the image of the mean z, too"
    assert labelled.manifest["label"] == "2"
    with pytest.raises(GflowError, match=r"label: labels are 0 to 2, got '7'"):
        compute(conditional=True, label="7")
    part = VectorArithmetic(label="7")
    with pytest.raises(GflowError, match="label: labels are 0 to 2"):
        part.prepare(spec_of(conditional=True), torch.device("cpu"), no_progress)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"concepts": (1, 2), "encoder": _Corner()}, "concepts names 2 concepts and signs has 3"),
        ({"indices": ((1, 2, 3),) * 4}, "indices names 4 concepts and signs has 3"),
        ({"indices": ((1, 2, 3), (1, 2), (1, 2, 3))}, "indices.1 names 2 samples and exemplars = 3"),
        ({"indices": ((1, 2, 3), (1, 2, 3), (1, 2, 60)), "candidates": 60}, "indices.2: samples are 0 to 59, got 60"),
        ({"indices": ((1, 2, 3),) * 3, "concepts": (1, 2, 3), "encoder": _Corner()}, "remove one of them"),
        ({"concepts": (1, 2, 3)}, "set encoder"),
        ({"concepts": (1, 2, 3), "encoder": _Blind()}, "does not classify"),
        ({"concepts": (1, 2, 3), "encoder": _Corner(), "candidates": 2}, "cannot be chosen from candidates = 2"),
        ({"grid": 4}, "odd"),
        ({"label": "1"}, "reads no labels"),
    ],
)
def test_wrong_options_are_refused(options, words):
    assert words in " ".join(VectorArithmetic(**options).check(spec_of()))


def test_what_it_cannot_draw_is_refused():
    assert "draws images" in " ".join(VectorArithmetic().check(spec_of(kind="vector")))
    assert "encoder: reads images" in " ".join(VectorArithmetic(encoder=_Corner()).check(spec_of(kind="vector")))
    assert "set label" in " ".join(VectorArithmetic().check(spec_of(conditional=True)))
    assert list(VectorArithmetic().check(spec_of(Normal(dim=16)))) == []
    for wrong in ({"signs": ()}, {"indices": ((-1, 2, 3),)}, {"concepts": (-1,)}):
        with pytest.raises(ValueError, match=r"sign|numbered from 0|>= 0"):
            VectorArithmetic(**wrong)


@pytest.mark.parametrize("options", [{}, {"indices": ((0, 1, 2), (3, 4, 5), (6, 7, 8))}])
def test_a_diverged_sampler_is_refused(options):
    class Broken(_Identity):
        def forward(self, z, y=None):
            return super().forward(z) / 0

    with pytest.raises(Diverged, match=r"step 7: samples are NaN or infinite; .* earlier checkpoint"):
        compute(sampler=Broken(), **options)


RECIPE = """
gflow = 1
dataset = {{ use = "mnist5k", limit = 60, image_size = 32 }}
sampler = {{ use = "dcgan.conv", width = 2, latent = {{ use = "normal", dim = 5 }} }}
[[analyze]]
use = "dcgan.vector_arithmetic"
candidates = 12
{}
"""


def test_a_recipe_adds_up_listed_samples_and_resolves_to_itself(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toy.toml").write_text(RECIPE.format('indices = [[0, 4], [1, 11]]\nexemplars = 2\nsigns = ["+", "-"]'))
    done = CliRunner().invoke(main, ["run", "toy.toml"])
    assert done.exit_code == 0, done.output
    run = tmp_path / "runs/toy-s0-001"
    folder = run / "analysis/dcgan.vector_arithmetic"
    scores = json.loads((folder / "result.json").read_text())["scores"]
    assert scores.keys() == {"norm_ratio"}
    assert {p.name for p in folder.iterdir()} == {"result.json", "samples.png", "arithmetic.png", "exemplars.csv"}
    assert "indices = [[0, 4], [1, 11]]" in (run / "recipe.toml").read_text()
    (tmp_path / "bad.toml").write_text(RECIPE.format('indices = [[0, "4", 1]]'))
    done = CliRunner().invoke(main, ["run", "bad.toml"])
    assert done.exit_code == 2
    assert "indices.0.1: expected a whole number" in done.output
