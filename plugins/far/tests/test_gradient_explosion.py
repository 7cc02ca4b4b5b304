"""far.gradient_explosion against discriminators whose gradient is known."""

import copy
import math

import attrs
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gflow_core import (
    DataShape,
    GflowError,
    Hinge,
    LeastSquares,
    Minimax,
    Nonsaturating,
    Normal,
    Runtime,
    Source,
    Spec,
    Streams,
    Subject,
    Wasserstein,
    fingerprint,
)
from gflow_core.data.parts import Gaussian
from gflow_far.gradient_explosion import generator_gradient, measure
from gflow_far.parts import GradientExplosion

CPU = Runtime(torch.device("cpu"))


@attrs.frozen(kw_only=True)
class _Points:
    """300 points of N(0, I), or given ones."""

    dim: int = 2

    def data_shape(self) -> DataShape:
        return DataShape("vector", (self.dim,))

    def load(self, x: Tensor | None = None) -> Source:
        x = torch.randn(300, self.dim, generator=torch.Generator().manual_seed(1)) if x is None else x
        return Source(x, self.data_shape(), fingerprint(x))


class _Part:
    conditional = False
    latent = Normal(dim=2)


class _Fixed(nn.Module):
    """Gives the same points, over and over."""

    def __init__(self, points: Tensor) -> None:
        super().__init__()
        self.points, self.at = points, 0

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        self.at += len(z)
        return self.points[torch.arange(self.at - len(z), self.at) % len(self.points)]


class _Linear(nn.Module):
    """d(x) = w.x + b."""

    def __init__(self, w: tuple[float, float] = (3.0, -4.0), b: float = 0.5) -> None:
        super().__init__()
        self.w, self.b = nn.Parameter(torch.tensor(w)), b

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return x @ self.w.to(x.dtype) + self.b


class _Bumps(nn.Module):
    """d is 2 at each real point and falls to -2 within `width`: a discriminator that knows its data by heart."""

    def __init__(self, real: Tensor, width: float) -> None:
        super().__init__()
        self.real, self.width = real, width

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        square = (x[:, None] - self.real).square().sum(-1).min(1).values
        return 4 * torch.exp(-square / (2 * self.width**2)) - 2


def make(fake: Tensor | nn.Module, discriminator: nn.Module, real: Tensor | None = None) -> Subject:
    data = _Points()
    return Subject(
        spec=Spec(dataset=data, sampler=_Part(), discriminator=_Part()),
        runtime=CPU,
        streams=Streams(0).fork("analyze"),
        step=70,
        data=data.load(real),
        sampler=_Fixed(fake) if isinstance(fake, Tensor) else fake,
        discriminator=discriminator,
    )


def run(subject: Subject, **options):
    part = GradientExplosion(**{"samples": 200, "resolution": 20, **options})
    assert not list(part.check(subject.spec))
    return part.build()(subject)


def points(n: int, seed: int = 2) -> Tensor:
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))


def test_the_gradient_is_that_of_equation_5():
    y, discriminator = points(50).double(), _Linear()
    d, _, gradient = generator_gradient(discriminator, y, CPU)
    w = discriminator.w.detach().double()
    assert torch.allclose(d, y @ w + 0.5)
    assert torch.allclose(gradient, -torch.sigmoid(-d)[:, None] * w)
    # The same, as differences of the generator's loss.
    bumps, h = _Bumps(points(9).double(), 0.7), 1e-6
    _, _, gradient = generator_gradient(bumps, y, CPU)
    for axis in torch.eye(2, dtype=y.dtype) * h:
        difference = nn.functional.softplus(-bumps(y + axis)) - nn.functional.softplus(-bumps(y - axis))
        assert torch.allclose(difference / (2 * h), gradient @ (axis / h), atol=1e-7)


@pytest.mark.parametrize("loss", [Nonsaturating(), Minimax(), Hinge(), LeastSquares(), Wasserstein()])
def test_the_gradient_is_that_of_the_objectives_own_loss(loss):
    y, discriminator, h = points(9).double(), _Bumps(points(9).double(), 0.7), 1e-6
    _, _, gradient = generator_gradient(discriminator, y, CPU, loss)
    each = loss.sampler
    for axis in torch.eye(2, dtype=y.dtype) * h:
        up, down = (each(discriminator(point).unsqueeze(-1)) for point in (y + axis, y - axis))
        assert torch.allclose((up - down) / (2 * h), gradient @ (axis / h), atol=1e-7)


def test_nearest_real_points_are_those_of_all_pairs():
    real, fake = points(500, 3), points(80, 4)
    pull = measure(_Linear(), real, fake, CPU)
    distance = (fake[:, None].double() - real.double()).norm(dim=-1)
    assert np.array_equal(pull.index, distance.argmin(1))
    assert np.allclose(pull.distance, distance.min(1).values)
    assert np.array_equal(pull.x, real[distance.argmin(1)].double())


def test_equation_6_is_the_slope_between_the_pair():
    """Along w it is the whole gradient of a linear d, across w nothing, between them the cosine's share."""
    for angle, share in ((0.0, 1.0), (math.pi / 3, 0.5), (math.pi / 2, 0.0), (math.pi, 1.0)):
        y = torch.tensor([[0.1, 0.2]])
        x = y + 0.05 * torch.tensor([[math.cos(angle), math.sin(angle)]])
        pull = measure(_Linear((7.0, 0.0), -1.0), x, y, CPU)
        assert pull.norm == pytest.approx(7 / (1 + math.exp(0.7 - 1.0)), rel=1e-5)
        assert pull.approximation == pytest.approx(share * pull.norm, abs=2e-4)


def test_a_discriminator_that_knows_its_data_by_heart_explodes_near_it():
    real = points(300, 1)
    far, near = points(150, 5) * 0.5 + 6, real[:50] + 0.02 * torch.tensor([0.6, 0.8])
    result = run(make(torch.cat([far, near]), _Bumps(real, 0.02), real), close=0.25)
    scores = result.scores
    assert scores["close_pairs"] == 50
    assert scores["delta"] == pytest.approx(0.02, rel=1e-3)
    # At one width d = 4 exp(-1/2) - 2 and |grad d| = 4 exp(-1/2) / .02.
    slope = 4 * math.exp(-0.5)
    assert scores["close_gradient_median"] == pytest.approx(slope / 0.02 / (1 + math.exp(slope - 2)), rel=1e-3)
    assert scores["gradient_max"] == pytest.approx(scores["close_gradient_max"])
    assert scores["gradient_median"] < 1e-3
    assert scores["spearman"] < -0.5
    rows = result.tables["pairs"]
    assert len(rows) == 20
    for row in rows:
        assert row["fake"] >= 150
        d = 4 * math.exp(-((row["distance"] / 0.02) ** 2) / 2) - 2
        assert row["d_x0"] == pytest.approx(2)
        assert row["equation_6"] == pytest.approx((2 - d) / row["distance"] / (1 + math.exp(d)), rel=1e-3)


def test_a_discriminator_blind_to_distance_shows_no_difference():
    scores = run(make(points(200), _Linear((0.001, 0.0), 0.0))).scores
    assert scores["close_far_ratio"] == pytest.approx(1, abs=0.01)
    assert scores["gradient_max"] == pytest.approx(0.0005, rel=0.01)


def test_the_table_lists_the_closest_pairs():
    real, fake = points(300, 1), points(200)
    rows = run(make(fake, _Linear(), real), pairs=7).tables["pairs"]
    distance = (fake[:, None] - real).norm(dim=-1)
    assert [row["fake"] for row in rows] == distance.min(1).values.argsort()[:7].tolist()
    for row in rows:
        y, x = fake[row["fake"]], real[row["real"]]
        assert [row["y0_1"], row["y0_2"], row["x0_1"], row["x0_2"]] == pytest.approx([*y.tolist(), *x.tolist()])
        assert row["distance"] == pytest.approx(float((x - y).norm()), rel=1e-4)
        assert [row["d_x0"], row["d_y0"]] == pytest.approx(_Linear()(torch.stack([x, y])).tolist(), rel=1e-4)
        assert row["gradient_norm"] == pytest.approx(5 / (1 + math.exp(row["d_y0"])), rel=1e-4)


def test_delta_is_a_distance_or_the_share_of_the_closest_fakes():
    subject = make(points(200), _Linear())
    assert run(subject, close=0.25).scores["close_pairs"] == 50
    scores = run(subject, delta=0.1).scores
    distance = (points(200)[:, None] - subject.data.x).norm(dim=-1).min(1).values
    assert scores["close_pairs"] == int((distance <= 0.1).sum())
    assert scores["delta"] == 0.1
    nothing = run(subject, delta=1e-9)
    assert nothing.scores["close_pairs"] == 0
    assert nothing.scores["close_gradient_median"] is None
    assert nothing.scores["close_far_ratio"] is None
    assert nothing.scores["far_gradient_median"] == nothing.scores["gradient_median"]


class _Constant(nn.Module):
    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return (x * 0).sum(1)


@pytest.mark.parametrize("discriminator", [_Linear(), _Constant()])
@pytest.mark.parametrize("copies", [0, 200])
def test_figures_are_drawn_whatever_the_gradient(discriminator, copies, tmp_path):
    """Also where it vanishes, and where every fake is a copy of a real point."""
    real, fake = points(300, 1), points(200)
    fake[:copies] = real[:copies]
    result = run(make(fake, discriminator, real))
    assert set(result.figures) == {"gradient", "plane"}
    for name, figure in result.figures.items():
        figure.savefig(tmp_path / f"{name}.png", dpi=40)
        assert (tmp_path / f"{name}.png").stat().st_size > 5000
    assert all(value is None or math.isfinite(value) for value in result.scores.values())
    if copies:
        assert all(row["distance"] == 0 and row["equation_6"] is None for row in result.tables["pairs"])
    if isinstance(discriminator, _Constant):
        assert result.scores["gradient_max"] == 0
        assert result.scores["spearman"] is None


def test_samples_that_are_not_numbers_are_left_out():
    fake = points(200)
    fake[::4, 1] = math.nan
    assert run(make(fake, _Linear())).scores["finite_samples"] == 150
    with pytest.raises(GflowError, match="NaN"):
        run(make(fake * math.nan, _Linear()))


def test_the_run_is_left_as_it_was_and_the_same_streams_give_the_same_scores():
    torch.manual_seed(3)
    sampler = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).eval()
    judge = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1), nn.Flatten(0)).eval()
    before = copy.deepcopy((sampler.state_dict(), judge.state_dict()))
    first, second = (run(make(sampler, judge)).scores for _ in range(2))
    assert first == second
    for network, state in zip((sampler, judge), before, strict=True):
        assert not network.training
        assert all(p.requires_grad and p.grad is None for p in network.parameters())
        assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def test_it_works_under_no_grad():
    subject = make(points(200), _Linear())
    with torch.no_grad():
        assert run(subject).scores["gradient_max"] > 0


def test_what_it_cannot_draw_is_refused():
    class Labelled(_Part):
        conditional = True

    part = GradientExplosion()
    assert "plane" in " ".join(part.check(Spec(dataset=_Points(dim=3), sampler=_Part(), discriminator=_Part())))
    assert "labels" in " ".join(part.check(Spec(dataset=_Points(), sampler=_Part(), discriminator=Labelled())))


def test_crowds_and_the_lowest_are_told():
    """Fakes at four of 300 points, far more of them at one, which the discriminator marks down and pulls hard."""
    real = points(300)
    where = torch.tensor([0, 1, 2, 3]).repeat_interleave(torch.tensor([170, 10, 10, 10]))
    where = where[torch.randperm(200, generator=torch.Generator().manual_seed(5))]
    fake = real[where] + 1e-3 * points(200, 6)
    alone = run(make(fake, _Linear(), real)).scores
    assert alone["effective_points"] == pytest.approx(math.exp(-0.85 * math.log(0.85) - 0.15 * math.log(0.05)))
    assert alone["effective_points_real"] is None  # the data have one split

    class Down(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return -4 * torch.exp(-(x - real[0].to(x.dtype)).square().sum(-1) / (2 * 0.05**2))

    scores = run(make(fake, Down(), real), lowest=4, lowest_of=20).scores
    assert scores["lowest_crowd"] > 1
    assert scores["crowding"] > 0.4
    with pytest.raises(AssertionError):
        run(make(fake, Down(), real), lowest=20, lowest_of=20)


def test_held_out_points_lie_at_more_real_ones():
    subject = make(points(200, 8), _Linear())
    law = Gaussian(n=300, test_n=1000)
    subject.spec, subject.data = attrs.evolve(subject.spec, dataset=law), law.load()
    scores = run(subject).scores
    assert scores["effective_points"] == pytest.approx(scores["effective_points_real"], rel=0.1)
    subject.sampler = _Fixed(law.load().x[:5])
    assert run(subject).scores["effective_points"] == pytest.approx(5)
