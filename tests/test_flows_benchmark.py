"""The comparison of velocities, benchmarks/flows.py: its cells are sound recipes, kept once they are finished."""

from __future__ import annotations

from itertools import product
from pathlib import Path

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
    assert "| particles | sliced | 8.0 ± 0.0 |" in table
    assert figure.stat().st_size > 10_000
    assert "| sliced |" not in main("--cell-seconds", "0.03", "--table")  # other settings
