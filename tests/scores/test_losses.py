from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from gflow_core.errors import GflowError
from gflow_core.files.run_folder import read_metrics
from gflow_core.machine.runtime import Runtime
from gflow_core.machine.streams import Streams
from gflow_core.parts.analysis import Subject
from gflow_core.parts.spec import Spec
from gflow_core.scores.losses import DRAWN, Losses, final_mean, running_mean


class Objective:
    def equilibrium(self):
        return {"discriminator_loss": 2 * math.log(2), "g_loss": None, "velocity": 0.0}  # None: it is not known


def look(folder, objective=None, **options):
    part = Losses(**options)
    spec = Spec(objective=objective or Objective())
    assert list(part.check(spec)) == []
    return part.build()(Subject(spec, Runtime(torch.device("cpu")), Streams(0), step=10**6, folder=folder))


def write(folder, lines, tail=""):
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + tail)
    return folder


@pytest.fixture
def run(tmp_path):
    lines = [
        {"step": i, "discriminator_loss": 1.0 + i / 100, "g_loss": 5.0 - i / 100, "velocity": 2.0, "seconds": i / 10}
        for i in range(1, 101)
    ]
    return write(tmp_path, lines, tail='{"step": 101, "discriminator_loss": 9')


def test_final_values_and_how_far_they_are_from_equilibrium(run):
    scores = look(run).scores
    late = sum(1.0 + i / 100 for i in range(91, 101)) / 10
    assert scores["discriminator_loss"] == pytest.approx(late)
    assert scores["discriminator_loss_minus_equilibrium"] == pytest.approx(late - 2 * math.log(2))
    assert scores["g_loss"] == pytest.approx(6.0 - late)
    assert set(scores) == {"discriminator_loss", "discriminator_loss_minus_equilibrium", "g_loss"}


def test_the_figure_has_a_panel_a_loss_and_its_equilibrium(run, tmp_path):
    figure = look(run).figures["losses"]
    assert [axes.get_title("left") for axes in figure.axes] == ["discriminator_loss", "g_loss"]
    first, second = figure.axes
    raw, mean, line = first.lines
    assert len(raw.get_xdata()) == len(mean.get_xdata()) == 100
    assert line.get_ydata()[0] == pytest.approx(2 * math.log(2))
    assert line.get_label() == "1.386 where samples follow the data's law"
    assert len(second.lines) == 2, "no equilibrium is known"
    figure.savefig(tmp_path / "losses.png")


def test_an_objective_may_leave_its_equilibrium_out(run):
    assert set(look(run, objective=object()).scores) == {"discriminator_loss", "g_loss"}


def test_other_metrics_by_name(run):
    assert look(run, metrics=("velocity",)).scores == {"velocity": 2.0, "velocity_minus_equilibrium": 2.0}
    with pytest.raises(GflowError, match=r'no metric "g_los"; did you mean "g_loss"'):
        look(run, metrics=("g_los",))


def test_no_line_yet_is_nothing_and_no_loss_is_said(tmp_path):
    assert look(tmp_path).scores == {}
    write(tmp_path, [{"step": 1, "velocity": 1.0, "seconds": 1.0}])
    with pytest.raises(GflowError, match=r"\(it has velocity\); set metrics"):
        look(tmp_path)
    with pytest.raises(GflowError, match="no run folder"):
        look(None)


def test_lines_that_are_cut_or_strange_are_left_out(tmp_path):
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 1, "loss": 2}\n\xff\n[1]\n{"loss": 3}\n{"step": 2, "lo')
    assert read_metrics(tmp_path / "metrics.jsonl") == [{"step": 1, "loss": 2}]
    assert look(tmp_path).scores == {"loss": 2.0}, "one line is enough"


def test_a_line_counts_for_the_steps_it_is_the_mean_of():
    """Lines at 95, 99 and 100 stand for 5, 4 and 1 steps; that at 90 is no part of the last tenth."""
    steps, values = np.array([50.0, 90, 95, 99, 100]), np.array([7.0, 7, 1, 2, 3])
    assert final_mean(steps, values) == pytest.approx((5 * 1 + 4 * 2 + 1 * 3) / 10)
    assert final_mean(np.array([3.0]), np.array([4.0])) == 4


def test_the_running_mean_is_the_slow_one():
    rng = np.random.default_rng(0)
    steps, values = np.cumsum(rng.integers(1, 9, 200)).astype(float), rng.normal(size=200)
    slow = [values[np.abs(steps - s) <= 15].mean() for s in steps]
    assert np.allclose(running_mean(steps, values, 30), slow)


def test_long_runs_are_drawn_as_bands_that_hold_every_extreme(tmp_path):
    n = 3 * DRAWN + 17
    values = np.random.default_rng(0).normal(size=n)
    values[[5, n - 3]] = 50, -50
    write(tmp_path, [{"step": i + 1, "loss": v} for i, v in enumerate(values)])
    (axes,) = look(tmp_path).figures["losses"].axes
    (band,) = axes.collections
    vertices = band.get_paths()[0].vertices
    assert vertices[:, 1].max() == 50
    assert vertices[:, 1].min() == -50
    (mean,) = axes.lines
    assert len(mean.get_xdata()) <= DRAWN
