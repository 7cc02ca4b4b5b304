"""What the core itself registers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gflow_core.builtin import latents
from gflow_core.hookspecs import hookimpl

Add = Callable[[str, type[Any]], None]


@hookimpl
def register_latents(add: Add) -> None:
    add("normal", latents.Normal)
    add("uniform", latents.Uniform)
