"""Several small networks, or clouds of particles, as one: linear layers stacked, their products batched."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from gflow_core.errors import GflowError
from gflow_core.nn.picked import Picked
from gflow_core.optim.player import evaluating

__all__ = ["replica", "stack"]


class StackedLinear(nn.Module):
    """R linear layers: x [R, B, inputs] -> [R, B, outputs], each replica by its own weight [R, outputs, inputs]."""

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.stack([layer.weight.detach() for layer in layers]))
        self.bias: nn.Parameter | None = None
        if layers[0].bias is not None:
            self.bias = nn.Parameter(torch.stack([layer.bias.detach() for layer in layers]))

    def forward(self, x: Tensor) -> Tensor:
        if self.bias is None:
            return torch.bmm(x, self.weight.mT)
        return torch.baddbmm(self.bias.unsqueeze(1), x, self.weight.mT)


def _stacked(layers: Sequence[nn.Module]) -> nn.Module | None:
    """What treats replica r as layers[r] does; None where no such thing is known."""
    first, *_ = layers
    if type(first) is nn.Linear:
        return StackedLinear([layer for layer in layers if isinstance(layer, nn.Linear)])
    if type(first) is Picked:
        return Picked(torch.stack([layer.particles for layer in layers if isinstance(layer, Picked)]))
    return None


def stack(name: str, modules: Sequence[nn.Module], example: Tensor) -> nn.Module:
    """One module over [R, B, ...] that treats replica r as modules[r] does; its parameters are stacked in front.

    `example` [B, ...] is what one of them takes. Raises GflowError where a network has parameters or buffers outside
    linear layers and clouds, or gives something else on stacked items.
    """
    stacked = deepcopy(modules[0])
    for path, layer in list(stacked.named_modules()):
        layers = _stacked([module.get_submodule(path) for module in modules])
        if layers is not None and not path:
            stacked = layers
        elif layers is not None:
            parent, _, child = path.rpartition(".")
            setattr(stacked.get_submodule(parent), child, layers)
        elif any(True for _ in (*layer.parameters(recurse=False), *layer.buffers(recurse=False))):
            raise GflowError(f"train.replicas stacks linear layers; the {name} has a {type(layer).__name__}")
    with torch.no_grad():
        expected = torch.stack([_calmly(module, example) for module in modules])
        found = _shaped(stacked, example.expand(len(modules), *example.shape))
    if found is None or found.shape != expected.shape or not torch.allclose(found, expected, rtol=1e-4, atol=1e-5):
        raise GflowError(
            f"train.replicas: the {name}'s forward does not treat replicas [R, B, ...] as it treats items [B, ...] "
            "(it may index or squeeze an axis by number); train its seeds one by one"
        )
    return stacked


def _calmly(module: nn.Module, x: Tensor) -> Tensor:
    """Without dropout: two networks are compared."""
    with evaluating(module):
        out: Tensor = module(x)
    return out


def _shaped(module: nn.Module, x: Tensor) -> Tensor | None:
    try:
        return _calmly(module, x)
    except (RuntimeError, IndexError, ValueError):
        return None


@torch.no_grad()
def replica(stacked: nn.Module, single: nn.Module, index: int) -> nn.Module:
    """`single`, a network of the same recipe, with the weights of replica `index`."""
    single.load_state_dict({name: value[index] for name, value in stacked.state_dict().items()})
    return single
