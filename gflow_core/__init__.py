"""gflow: adversarial and gradient-flow generative models, composed from plugins by TOML recipes.

from gflow_core import Recipe, load_run, run
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gflow_core.recipes.recipe import Recipe
    from gflow_core.runs.api import Run, load_run, run
    from gflow_core.sweeps import sweep

__all__ = ["Recipe", "Run", "load_run", "run", "sweep"]


def __getattr__(name: str) -> Any:
    # Imported when asked for: the command line lists and checks without torch.
    if name == "Recipe":
        from gflow_core.recipes.recipe import Recipe

        return Recipe
    if name == "sweep":
        from gflow_core.sweeps import sweep

        return sweep
    if name in __all__:
        from gflow_core.runs import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
