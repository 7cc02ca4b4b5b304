"""The comparisons at equal seconds, benchmarks/flows.py and flows_digits.py: sound recipes, kept once finished."""

from __future__ import annotations

import re
from itertools import count, product
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("gflow_vgrow", reason="its networks and velocities are VGrow's")


@pytest.fixture
def flows(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    import flows

    for cached in (flows.held_out, flows.real):
        cached.cache_clear()
    monkeypatch.setattr(flows, "TURNS", 1)
    return flows


def test_every_cell_is_a_sound_recipe(flows):
    cells = [flows.Cell(*given, 3) for given in product(flows.SETS, flows.VELOCITIES, flows.MODES)]
    assert all(cell.recipe().spec.train.seed == 3 for cell in cells if cell.possible)


def test_all_data_are_of_one_size(flows):
    for data in flows.SETS:
        x = flows.held_out(data).x
        assert float((x - x.mean(0)).square().sum(1).mean().sqrt()) == pytest.approx(10, rel=0.03), data


def test_cells_are_kept_scored_and_trained_once(flows, tmp_path, monkeypatch, capsys):
    def main(*words):
        words = ["flows.py", "--seeds", "1", "--data", "ring8", "--velocity", "sliced", "--out", str(tmp_path), *words]
        monkeypatch.setattr("sys.argv", words)
        flows.main()
        return capsys.readouterr().out

    assert "1/1" in main("--cell-seconds", "0.02", "--mode", "particles")
    (path,) = tmp_path.glob("*.jsonl")
    kept = path.read_text()
    main("--cell-seconds", "0.02", "--mode", "particles")
    assert path.read_text() == kept
    figure = tmp_path / "flows.png"
    table = main("--cell-seconds", "0.02", "--table", "--figure", str(figure))
    assert "Particles alone: sliced W2\n\n| velocity | ring8 |\n" in table
    assert re.search(r"\| sliced \| \d+\.\d{3} ± 0\.000 \|", table)
    assert "of 8 |" not in table  # all modes are found
    assert figure.stat().st_size > 10_000
    assert "| sliced |" not in main("--cell-seconds", "0.03", "--table")  # other settings


# ------------------------------------------------------------------ digits


@pytest.fixture
def digits(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    import flows_digits

    from gflow_core.encoders.parts import MnistCnn

    monkeypatch.setattr(flows_digits, "ENCODER", MnistCnn(layer="hidden", weights="random"))
    return flows_digits


def test_methods_on_digits_are_sound_recipes(digits):
    for plugin in ("gflow_drift", "gflow_far", "gflow_dcgan"):
        pytest.importorskip(plugin)
    recipes = {method: digits.Cell(method, 3, 1.0, ("train.steps=7",)).recipe() for method in digits.METHODS}
    assert all(recipe.spec.train.seed == 3 and recipe.spec.train.steps == 7 for recipe in recipes.values())
    assert type(recipes["r1"].spec.objective.penalty[0]).__name__ == "R1"


def test_methods_on_digits_are_kept_scored_and_trained_once(digits, tmp_path, monkeypatch, capsys):
    out = tmp_path / "cells"
    small = ["dataset.limit=60", "sampler.channels=4", "discriminator.channels=4", "train.precision=float32"]
    small += ["objective.pool_size=64", "objective.inner_loops=1", "objective.projection_passes=1"]

    def main(*words):
        given = ["flows_digits.py", *small, "--seeds", "2", "--method", "vgrow", "--out", str(out), *words]
        monkeypatch.setattr("sys.argv", given)
        digits.main()
        return capsys.readouterr().out

    assert "2/2" in main("--seconds", "0.001")
    kept = {path: path.read_bytes() for path in out.iterdir()}
    assert [path.name for path in sorted(kept)] == [
        f"vgrow-s{seed}.{kind}" for seed in (0, 1) for kind in ("jsonl", "png")
    ]
    main("--seconds", "0.001")
    assert {path: path.read_bytes() for path in out.iterdir()} == kept
    table = main("--seconds", "0.001", "--table", "--figure", str(tmp_path / "digits.png"))
    assert "| two halves of 60 digits | |" in table
    assert "| VGrow | 1 |" in table
    assert (tmp_path / "digits.png").stat().st_size > 10_000
    with pytest.raises(SystemExit, match="no finished cell"):
        main("--seconds", "0.002", "--table")


def test_schedules_and_averages_follow_the_time(digits, monkeypatch):
    """A step of a quarter of the time: schedules are a quarter further along, and averaged weights move."""
    import cells

    seen = []
    player = SimpleNamespace(train=lambda: None, set_rates=lambda done: seen.append(("rate", done)))
    ema = SimpleNamespace(update=lambda sampler, step: seen.append((sampler, step)))
    experiment = SimpleNamespace(
        feed=SimpleNamespace(done=0),
        players={"sampler": player},
        objective=SimpleNamespace(step=lambda step: iter(())),
        ema=ema,
        sampler="sampler",
    )
    monkeypatch.setattr(cells, "build", lambda spec: experiment)
    monkeypatch.setattr(cells, "time", SimpleNamespace(process_time=count().__next__))
    _, lines = cells.trained(None, [4.0, 2.0, 1.0], 100, lambda made: {"steps seen": len(seen)})
    assert [line["time"] for line in lines] == [1.0, 2.0, 4.0]
    assert seen[2:] == [one for done in (0, 25, 50, 75) for one in (("rate", done), ("sampler", done + 1))]
