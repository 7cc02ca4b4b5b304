"""What holds for every test, of the core and of plugins."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from matplotlib.figure import Figure

# Libraries hold millions of objects: to look through them took a fourteenth of all the time.
gc.set_threshold(20_000)


@pytest.fixture(autouse=True)
def _own_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test measures, or reads or writes what was: on every processor `train.precision = "auto"` is float32."""
    from gflow_core.machine import speed

    kept = speed.Speed("any", 2.0, 1.0, "2026-01-01T00:00:00+00:00")
    monkeypatch.setattr(speed, "_read", lambda *_, **__: kept)
    monkeypatch.setattr(speed, "_unkept", {})


@pytest.fixture(autouse=True)
def _small_figures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures of analyses are drawn small, and without being laid out, which takes most of the time.

    They are as a user sees them in tests that are marked `as_seen`.
    """
    if request.node.get_closest_marker("as_seen"):
        return

    def drawn(figure: Figure, file: Any, **options: Any) -> None:
        if options.get("bbox_inches") == "tight":
            figure.set_layout_engine("none")
            options = {"format": options.get("format"), "dpi": 30}
        savefig(figure, file, **options)

    savefig = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", drawn)
