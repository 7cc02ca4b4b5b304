"""What holds for every test, of the core and of plugins."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _own_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test measures: on every processor `train.precision = "auto"` is float32."""
    monkeypatch.setattr("gflow_core.machine.speed.measure", lambda: (2.0, 1.0))
