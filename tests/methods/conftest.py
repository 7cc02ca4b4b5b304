"""What the tests of methods share."""

from __future__ import annotations

import pytest

from gflow_core.recipes.recipe import load
from gflow_core.runs.build import build


@pytest.fixture
def game(tmp_path, request):
    """Builds the module's GAME under overrides."""

    def make(*words: str):
        path = tmp_path / "game.toml"
        path.write_text(request.module.GAME)
        return build(load(path, words).spec)

    return make
