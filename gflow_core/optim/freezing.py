"""Parts of a network that are not trained."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase

from torch import nn

from gflow_core.errors import GflowError

__all__ = ["freeze"]


def freeze(module: nn.Module, patterns: Sequence[str], place: str) -> list[nn.Module]:
    """Take gradients from the parameters whose names fit a pattern, such as "blocks.0.*".

    Returns the modules that are frozen whole, for a player to keep in eval mode: running statistics stand still, and
    batch norm uses them. Raises GflowError, naming `place` in the recipe, for a pattern that fits no parameter, and
    where none is left to train.
    """
    if not patterns:
        return []
    parameters = dict(module.named_parameters())
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in parameters):
            close = get_close_matches(pattern, parameters, n=3, cutoff=0.0)
            raise GflowError(
                f'{place}: "{pattern}" fits no parameter; those called most like it are {", ".join(close)} (* stands '
                "for any letters, as in blocks.0.*)"
            )
    for name, parameter in parameters.items():
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in parameters.values()):
        raise GflowError(f"{place}: freezes every parameter, and none is left to train; take a pattern out")
    return [part for part in module.modules() if _still(part)]


def _still(module: nn.Module) -> bool:
    parameters = list(module.parameters())
    return bool(parameters) and not any(parameter.requires_grad for parameter in parameters)
