"""dcgan.value_function between laws whose best discriminator is known in closed form."""

from __future__ import annotations

import math
from typing import Any, Literal

import attrs
import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import binom, norm
from torch import Tensor, nn

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
    batch_statistics,
    fingerprint,
    no_progress,
)
from gflow_core.data.parts import Gaussian, Mnist5k, Ring, Swissroll
from gflow_dcgan.parts.judgement import ValueFunction
from gflow_dcgan.value_function import Judged, estimate_density, jensen_shannon, value

LOG2 = math.log(2)


class Part:
    def __init__(self, dim: int = 2, conditional: bool = False) -> None:
        self.latent, self.conditional = Normal(dim=dim), conditional


class Identity(nn.Module):
    """Samples of N(0, I); with labels, of N(y, I)."""

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return z if y is None else z + y.view(len(z), -1)


class Linear(nn.Module):
    """d(x) = w.x + b, with labels w.x + b + v y."""

    def __init__(self, w: tuple[float, ...], b: float, v: float = 0.0) -> None:
        super().__init__()
        self.w, self.b, self.v = torch.tensor(w), b, v

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        d = x.flatten(1) @ self.w + self.b
        return d if y is None else d + self.v * y.view(len(x), -1)[:, 0]


@attrs.frozen(kw_only=True)
class Line:
    """N(2, 0.5^2) on the line, or without a split and a law; with labels, x = y + N(0, 1)."""

    n: int = 6000
    split: Literal["train", "test"] = "train"
    labels: Literal["none", "classes", "real"] = "none"

    def data_shape(self) -> DataShape:
        classes, conditions = (3 if self.labels == "classes" else None), (("y",) if self.labels == "real" else ())
        return DataShape("vector", (1,), classes=classes, conditions=conditions)

    def load(self, progress: Any = no_progress) -> Source:
        generator = torch.Generator().manual_seed(len(self.split))
        x, shape = torch.randn(self.n, 1, generator=generator), self.data_shape()
        if self.labels == "none":
            x = 2 + x / 2
            log_density = lambda at: torch.from_numpy(norm(2, 0.5).logpdf(at[:, 0].numpy()))  # noqa: E731
            return Source(x, shape, fingerprint(x), log_density=log_density)
        y = torch.arange(self.n) % 3
        x = x + y[:, None]
        return Source(x, shape, fingerprint(x), y=y if self.labels == "classes" else y[:, None].float())


def run(
    dataset: Any, discriminator: nn.Module, *, sampler: nn.Module | None = None, conditional: bool = False, **options
):
    part = ValueFunction(**{"samples": 4000, "density_samples": 2000, "resolution": 20, **options})
    data = dataset.load()
    parts = {"sampler": Part(data.x[0].numel(), conditional), "discriminator": Part(conditional=conditional)}
    spec = Spec(dataset=dataset, **parts)
    assert list(part.check(spec)) == []
    part.prepare(spec, torch.device("cpu"), no_progress)
    return part.build()(
        Subject(spec, Runtime(torch.device("cpu")), Streams(1), 7, data, sampler or Identity(), discriminator)
    )


def js_of_gaussians(m: float, s: float = 1.0) -> float:
    """JS in nats between N(m, s^2) and N(0, 1), by numerical integration."""
    p, q = norm(m, s), norm(0, 1)

    def integrand(x: float) -> float:
        middle = np.logaddexp(p.logpdf(x), q.logpdf(x)) - LOG2
        return (p.pdf(x) * (p.logpdf(x) - middle) + q.pdf(x) * (q.logpdf(x) - middle)) / 2

    return quad(integrand, -12, 12 + m, limit=200)[0]


def test_the_best_discriminator_has_the_value_of_equation_8():
    # p = N(m, I), q = N(0, I): log p/q = m.x - |m|^2/2, and JS is that of N(|m|, 1) and N(0, 1).
    result = run(Gaussian(n=8000, mean=(1.2, -0.9)), Linear((1.2, -0.9), -1.125), samples=8000)
    scores, js = result.scores, js_of_gaussians(1.5)
    assert scores["value"] == pytest.approx(-2 * LOG2 + 2 * js, abs=4 * scores["value_error"])
    assert scores["value_error"] < 0.015
    assert scores["js"] == pytest.approx(js, abs=4 * scores["js_error"])
    assert scores["value_train"] == pytest.approx(scores["value"], abs=0.03)
    assert scores["accuracy"] == pytest.approx(norm.cdf(0.75), abs=0.02)
    assert scores["logit_real"] == pytest.approx(1.125, abs=0.05)
    assert scores["logit_fake"] == pytest.approx(-1.125, abs=0.05)
    # D is D*: what is left is the error of the kernel estimate of q.
    assert 0 < scores["distance_to_optimal"] < 0.03
    assert scores["value_optimal"] == pytest.approx(scores["value"], abs=0.02)
    assert result.manifest["held_out_split"] == "test"
    assert [row["items"] for row in result.tables["items"]] == ["held out", "training", "generated"]


def test_any_other_discriminator_has_a_lower_value():
    data = Gaussian(n=1500, mean=(1.2, -0.9))
    few = {"samples": 1500, "bandwidth": 0.25}
    best = run(data, Linear((1.2, -0.9), -1.125), **few).scores
    for other in (Linear((0.0, 0.0), 0.0), Linear((1.2, -0.9), 1.0), Linear((6.0, -4.5), -5.6)):
        scores = run(data, other, **few).scores
        assert scores["value"] < best["value"]
        assert scores["distance_to_optimal"] > best["distance_to_optimal"] + 0.05
    assert scores["js"] < 0, "a lower bound, negative where D is worse than none"


def test_equal_laws_leave_nothing_to_tell():
    scores = run(Gaussian(n=2000), Linear((0.0, 0.0), 0.0), samples=2000).scores
    assert scores["value"] == pytest.approx(-2 * LOG2)
    assert scores["js"] == pytest.approx(0, abs=1e-12)
    assert scores["accuracy"] == 0.5
    assert scores["distance_to_optimal"] < 0.05


def test_the_line(tmp_path):
    class Best(nn.Module):
        def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
            return x[:, 0].square() / 2 - (x[:, 0] - 2).square() * 2 + LOG2

    result = run(Line(), Best(), samples=6000)
    assert result.scores["js"] == pytest.approx(js_of_gaussians(2, 0.5), abs=4 * result.scores["js_error"])
    assert result.scores["distance_to_optimal"] < 0.03
    result.figures["optimal"].savefig(tmp_path / "optimal.png")


def test_a_discriminator_that_knows_its_data_shows_on_held_out_items():
    data = Gaussian(n=300)
    items = data.load().x

    class ByHeart(nn.Module):
        def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
            return 6.0 * ((x[:, None] == items).all(2).any(1)) - 3.0

    scores = run(data, ByHeart(), samples=300).scores
    assert scores["accuracy_train"] == 1
    assert scores["accuracy_real"] == 0
    assert scores["value_train"] > -0.1 > -2 > scores["value"]


@pytest.mark.parametrize("labels", ["classes", "real"])
def test_labels_go_with_their_items(labels):
    # Given y, real and generated are N(y, 1): d = x - y + 1 has the same law, N(1, 1), on both only with x's own label.
    scores = run(Line(labels=labels), Linear((1.0,), 1.0, -1.0), conditional=True, samples=6000).scores
    expected = quad(lambda d: -norm(1, 1).pdf(d) * (np.logaddexp(0, -d) + np.logaddexp(0, d)), -9, 11)[0]
    assert scores["value"] == pytest.approx(expected, abs=4 * scores["value_error"])
    assert scores["logit_real"] == pytest.approx(1, abs=0.05)
    assert scores["logit_fake"] == pytest.approx(1, abs=0.05)
    assert "distance_to_optimal" not in scores


def test_without_held_out_items_the_training_items_count_and_the_manifest_says_so():
    class Flat(nn.Module):
        def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
            return torch.tanh(z).view(-1, 1, 28, 28)

    result = run(Mnist5k(limit=50), Linear((0.0,) * 784, 1.0), sampler=Flat(), samples=40)
    assert result.manifest["real_items"] == "training"
    assert result.manifest["held_out_split"] is None
    assert result.scores["value"] == result.scores["value_train"]
    assert [row["n"] for row in result.tables["items"]] == [50, 40]
    assert result.figures.keys() == {"histogram"}
    held = run(Mnist5k(split="train", limit=50), Linear((0.0,) * 784, 1.0), sampler=Flat(), samples=40)
    assert held.manifest["real_items"] == "held out"


def test_unknown_laws_leave_the_best_discriminator_out():
    result = run(Swissroll(n=100), Linear((1.0, 0.0), 0.0), samples=100)
    assert "distance_to_optimal" not in result.scores
    assert result.figures.keys() == {"histogram"}


def test_value_against_the_slow_formula_and_without_overflow():
    real = Judged("real", True, torch.tensor([0.3, -1.2, 2.0], dtype=torch.float64), torch.empty(3, 0))
    fake = Judged("fake", False, torch.tensor([-0.5, 0.1], dtype=torch.float64), torch.empty(2, 0))
    v, error = value(real, fake)
    a = [math.log(1 / (1 + math.exp(-d))) for d in (0.3, -1.2, 2.0)]
    b = [math.log(1 - 1 / (1 + math.exp(-d))) for d in (-0.5, 0.1)]
    assert v == pytest.approx(np.mean(a) + np.mean(b))
    assert error == pytest.approx(math.sqrt(np.var(a, ddof=1) / 3 + np.var(b, ddof=1) / 2))
    assert (real.accuracy, fake.accuracy) == (pytest.approx(2 / 3), 0.5)
    pairs = [attrs.evolve(judged, logit=judged.logit.repeat_interleave(2), together=2) for judged in (real, fake)]
    assert value(*pairs) == pytest.approx((v, error)), "a batch is one observation"
    hard = attrs.evolve(real, logit=torch.tensor([-2000.0, 2000.0], dtype=torch.float64))
    assert hard.log_likelihood.tolist() == [-2000, 0]
    assert jensen_shannon(0.0) == LOG2, "the bound, where D tells all"


def test_the_density_estimate_finds_narrow_modes_and_bears_a_collapsed_sampler():
    ring = Ring(n=4000)  # std .014 at radius 7
    log_q, bandwidth = estimate_density(ring.load().x, None, 1.0)
    assert 0.003 < bandwidth < 0.014
    test = attrs.evolve(ring, split="test").load()
    gap = test.log_density(test.x).mean() - log_q(test.x).mean()
    assert abs(gap) < 0.15, "nats between the law and its estimate"
    log_q, _ = estimate_density(torch.ones(50, 2), None, 0.1)
    assert log_q(torch.tensor([[1.0, 1.0]])) > log_q(torch.tensor([[1.1, 1.0]]))
    assert estimate_density(ring.load().x, 0.5, 1.0)[1] == 0.5


def test_networks_that_diverged_are_named():
    with pytest.raises(Diverged, match="step 7: logits are NaN"):
        run(Gaussian(n=50), Linear((math.nan, 0.0), 0.0), samples=50)


def test_pictures(tmp_path):
    result = run(Ring(n=500, convention="vgrow"), Linear((0.3, 0.1), 0.0), samples=500, density_samples=500)
    titles = [axes.get_title() for axes in result.figures["optimal"].axes[:3]]
    assert titles == ["D", "D* = p / (p + q); grey: hardly an item", "D - D*"]
    own = torch.tensor(result.figures["optimal"].axes[0].images[0].get_array())
    assert own[0, -1] > own[0, 0], "x_1 runs to the right"
    assert own[-1, 0] > own[0, 0], "x_2 runs upwards"
    for name, figure in result.figures.items():
        figure.savefig(tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").stat().st_size > 3000


class Normed(nn.Module):
    """d(x) = x after batch norm, and what `of` makes of it."""

    def __init__(self, of: Any = lambda h: h) -> None:
        super().__init__()
        self.norm, self.of = nn.BatchNorm1d(1), of

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return self.of(self.norm(x)[:, 0])


def test_batch_norm_goes_by_batches_as_in_training():
    """Real items about 2 and samples about 0: their own batches make both standard, running statistics do not."""
    d = Normed().eval()
    state = {name: value.clone() for name, value in d.state_dict().items()}
    by_batch = run(Line(split="train"), d, samples=3001)
    assert abs(by_batch.scores["logit_real"]) < 1e-6
    assert abs(by_batch.scores["logit_fake"]) < 1e-6
    running = run(Line(split="train"), d, samples=3001, batch_norm="eval")
    assert running.scores["logit_real"] == pytest.approx(2, abs=0.05)
    assert by_batch.manifest["discriminator_batch_norm"] == "batch"
    assert all(torch.equal(state[name], value) for name, value in d.state_dict().items())
    x = torch.randn(8, 1)
    with batch_statistics(d):
        inside = d(x)
    assert torch.allclose(inside, nn.functional.batch_norm(x, None, None, training=True)[:, 0])
    assert not d.norm.training
    # D* is a function of points: D is compared with it by running statistics, whatever the rest goes by.
    assert by_batch.scores["distance_to_optimal"] == pytest.approx(running.scores["distance_to_optimal"], abs=0.01)
    assert by_batch.scores["distance_to_optimal"] > 0.1
    (shown,) = [line for line in by_batch.figures["optimal"].axes[0].lines if line.get_label() == "D"]
    at = torch.as_tensor(np.asarray(shown.get_xdata()))
    assert np.allclose(shown.get_ydata(), at.sigmoid(), atol=1e-4), "d(x) = x: running statistics are 0 and 1"
    assert "by running statistics" in by_batch.figures["optimal"].axes[0].get_title(loc="left")
    assert "by running statistics" not in running.figures["optimal"].axes[0].get_title(loc="left")


@attrs.frozen(kw_only=True)
class Coin(Line):
    """Tosses, 1 with probability 0.6."""

    def load(self, progress: Any = no_progress) -> Source:
        x = (torch.rand(self.n, 1, generator=torch.Generator().manual_seed(len(self.split))) < 0.6).float()
        return Source(x, self.data_shape(), fingerprint(x))


class Toss(nn.Module):
    """Fair tosses."""

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return (z > 0).float()


def test_batch_norm_tells_batches_apart_that_hold_nearly_equal_items():
    m = 128

    def ratio(h: Tensor) -> Tensor:
        """The log of p / q of a batch's tosses; any of them shows the share of ones that it was normalised by."""
        share = torch.where(h > 0, 1 / (1 + h.square()), 1 - 1 / (1 + h.square()))
        return m * (share * math.log(0.6 / 0.5) + (1 - share) * math.log(0.4 / 0.5))

    result = run(Coin(n=m * 300), Normed(ratio).eval(), sampler=Toss(), samples=m * 300, real_samples=m * 300)
    scores = result.scores
    k = np.arange(m + 1)
    p, q = binom(m, 0.6).pmf(k), binom(m, 0.5).pmf(k)
    between_batches = sum((a * np.log(2 * a / (p + q))).sum() / 2 for a in (p, q))
    assert between_batches > 0.39, "while JS of the items is 0.005"
    assert scores["js_batches"] == pytest.approx(between_batches, abs=4 * scores["js_batches_error"])
    assert not {"js", "js_error", "js_train"} & scores.keys()
    # 300 observations, not 38,400: the items of a batch have one logit.
    (row,) = [row for row in result.tables["items"] if row["items"] == "held out"]
    assert row["n"] == m * 300
    assert 0.01 < scores["js_batches_error"] < 0.04
    assert "JS between batches of 128" in result.figures["histogram"].axes[0].get_title(loc="left")
    by_items = run(Coin(n=m * 10), Normed(ratio).eval(), sampler=Toss(), batch_norm="eval").scores
    assert by_items["js"] < 0.01
    assert "js_batches" not in by_items


def test_batches_of_one_size_say_nothing_where_the_laws_agree():
    d = Normed()
    d.of = lambda h: h.new_full((len(h),), float(len(h) - 64))  # the number of items is all that it goes by
    result = run(Line(n=150), d.eval(), sampler=Toss(), samples=500, batch_size=64)
    assert result.scores["value"] == pytest.approx(-2 * LOG2)
    assert result.scores["js_batches"] == pytest.approx(0, abs=1e-12)
    counts = {name: result.manifest[name] for name in ("batch_size", "n_real", "n_train", "n_fake")}
    assert counts == {"batch_size": 64, "n_real": 128, "n_train": 128, "n_fake": 448}
    assert result.manifest["sampler_batch_norm"] == "eval"
    assert "batch_norm" not in result.manifest
    # Of fewer items than two batches, two batches.
    few = run(Line(n=51), Normed().eval(), samples=500)
    assert (few.manifest["batch_size"], few.manifest["n_real"], few.manifest["n_fake"]) == (25, 50, 500)
    assert math.isfinite(few.scores["js_batches_error"])
    with pytest.raises(GflowError, match="need 4 items, and there are 3"):
        run(Line(n=3), Normed().eval(), samples=500)


def test_labels_that_samples_do_not_have_are_refused():
    spec = Spec(dataset=Line(labels="classes"), sampler=Part(1), discriminator=Part(conditional=True))
    assert "an unconditional sampler's items do not have" in " ".join(ValueFunction().check(spec))
