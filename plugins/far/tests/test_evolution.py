"""far.evolution: moments of a run, kept and drawn together."""

import json

import attrs
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn

from gflow_core import DataShape, GflowError, Normal, Runtime, Source, Spec, Streams, Subject, fingerprint
from gflow_core.cli import main
from gflow_core.runs.record import RunFolder
from gflow_far.evolution import thinned
from gflow_far.parts import Evolution


@attrs.frozen(kw_only=True)
class _Points:
    dim: int = 2

    def data_shape(self) -> DataShape:
        return DataShape("vector", (self.dim,))


class _Part:
    conditional = False
    latent = Normal(dim=2)


class _Shift(nn.Module):
    """z + a constant: where the samples of a step are."""

    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = by

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return z + self.by


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    return RunFolder.create(tmp_path, "toy", 0, "")


def look(folder: RunFolder, step: int, *, final: bool = False, shift: float | None = None, **options):
    """Analyze a sampler that is `step` (or `shift`) away from the origin, and keep all but the picture."""
    x = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
    part = Evolution(**{"samples": 50, **options})
    spec = Spec(dataset=_Points(), sampler=_Part())
    assert not list(part.check(spec))
    subject = Subject(
        spec=spec,
        runtime=Runtime(torch.device("cpu")),
        streams=Streams(0).fork(f"analyze.{step}"),
        step=step,
        data=Source(x, _Points().data_shape(), fingerprint(x)),
        sampler=_Shift(step if shift is None else shift),
        earlier=folder.earlier_results("far.evolution", step),
    )
    result = part.build()(subject)
    folder.write_result("far.evolution", attrs.evolve(result, figures={}), step, final=final)
    return result


def panels(result) -> dict[str, np.ndarray]:
    """Title -> generated points, of the panels that are shown."""
    shown = [axes for axes in result.figures["evolution"].axes if axes.get_visible()]
    return {axes.get_title(): np.asarray(axes.collections[1].get_offsets()) for axes in shown}


def test_each_call_shows_all_moments_so_far(folder):
    found = [look(folder, step) for step in (10, 20, 30)]
    final = look(folder, 30, final=True)
    assert list(panels(found[0])) == ["step 10"]
    assert list(panels(final)) == ["step 10", "step 20", "step 30"]  # the last is not doubled
    assert final.scores["moments"] == 3
    for step, result in zip((10, 20, 30), found, strict=True):
        drawn = panels(final)[f"step {step}"]
        assert drawn == pytest.approx(np.array([[row["x"], row["y"]] for row in result.tables["points"]]))
        assert abs(drawn.mean() - step) < 0.5


def test_moments_after_this_one_are_not_shown(folder):
    for step in (10, 20, 30):
        look(folder, step)
    assert list(panels(look(folder, 20, final=True))) == ["step 10", "step 20"]


def test_the_final_call_alone_draws_one_panel(folder, tmp_path):
    result = look(folder, 1000, final=True)
    assert list(panels(result)) == ["step 1,000"]
    assert len(result.tables["points"]) == 50
    result.figures["evolution"].savefig(tmp_path / "evolution.png", dpi=50)
    assert (tmp_path / "evolution.png").stat().st_size > 3000


def test_panels_are_thinned(folder):
    for step in range(1, 12):
        result = look(folder, step, panels=5)
    assert list(panels(result)) == [f"step {i}" for i in (1, 3, 6, 9, 11)]
    assert result.scores["moments"] == 11
    assert list(panels(look(folder, 12, panels=1))) == ["step 12"]


@pytest.mark.parametrize("n", [1, 2, 3, 8, 9, 100])
@pytest.mark.parametrize("most", [2, 3, 8, 13])
def test_thinning_is_even_and_keeps_both_ends(n, most):
    kept = thinned(range(n), most)
    assert len(kept) == min(n, most)
    assert kept[0] == 0
    assert kept[-1] == n - 1
    steps = np.diff(kept)
    assert all(steps > 0)
    assert not len(steps) or max(steps) - min(steps) <= 1


def test_a_damaged_moment_is_named(folder):
    look(folder, 10)
    path = folder.path / "analysis/far.evolution/000010/points.csv"
    for damage in ("x,y\n1.0,abc\n", "x\n1.0\n"):
        path.write_text(damage)
        with pytest.raises(GflowError, match=r"points\.csv") as caught:
            look(folder, 20)
        assert f"delete {path.parent}" in str(caught.value)


def test_samples_that_are_not_numbers_do_not_stop_it(folder, tmp_path):
    look(folder, 10, shift=float("nan"))
    result = look(folder, 20)
    result.figures["evolution"].savefig(tmp_path / "evolution.png", dpi=50)
    assert np.isnan(panels(result)["step 10"]).all()
    assert np.isfinite(panels(result)["step 20"]).all()


RECIPE = """
gflow = 1
dataset = { use = "ring", n = 200 }
sampler = { use = "far.mlp", width = 8 }
discriminator = { use = "far.mlp", width = 8 }
objective = { use = "far.fake_as_real", fake_as_real = 4, candidates = 16 }
optimizer = { sampler = { use = "sgd", lr = 1e-3 }, discriminator = { use = "sgd", lr = 1e-3 } }
train = { steps = 4, batch_size = 16, sample_every = 0 }
[[analyze]]
use = "far.evolution"
every = 2
samples = 100
"""


def test_a_run_draws_its_evolution_and_can_be_looked_at_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toy.toml").write_text(RECIPE)
    folder = tmp_path / "runs/toy-s0-001"
    for words in (["run", "toy.toml"], ["analyze", str(folder), "far.evolution"]):
        done = CliRunner().invoke(main, words)
        assert done.exit_code == 0, done.output
        found = json.loads((folder / "analysis/far.evolution/result.json").read_text())
        assert found["scores"]["moments"] == 2
        (folder / "analysis/far.evolution/result.json").unlink()


def test_what_it_cannot_draw_is_refused():
    assert "plane" in " ".join(Evolution().check(Spec(dataset=_Points(dim=3), sampler=_Part())))
