"""What holds for every test, of the core and of plugins."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _own_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test measures, or reads or writes what was: on every processor `train.precision = "auto"` is float32."""
    from gflow_core.machine import speed

    kept = speed.Speed("any", 2.0, 1.0, "2026-01-01T00:00:00+00:00")
    monkeypatch.setattr(speed, "_read", lambda *_, **__: kept)
    monkeypatch.setattr(speed, "_unkept", {})
