"""The tensor work of a step as compiled functions (`train.compile`): losses with their gradients, and forwards.

What is compiled is traced first, with all that it differentiates: the operations on tensors that the loss, its
penalties and the gradients of both come to. Whoever writes them writes plain PyTorch.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import attrs
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils import _pytree

from gflow_core.errors import GflowError
from gflow_core.machine.runtime import choose_device, world_size
from gflow_core.machine.streams import seeded
from gflow_core.parts.spec import Train

__all__ = ["Compiled", "Loss", "check_compiler"]

Loss = Callable[..., tuple[Tensor, dict[str, Tensor]]]
"""loss(*given, uniform): the number that is minimised and what is observed beside it.

`given` are tensors, in tuples, lists and dicts; `uniform` gives draws U(0, 1) [..., B]. Nothing else may differ between
two calls of the same key.
"""

logger = logging.getLogger("gflow")


def check_compiler(train: Train) -> None:
    """This machine can compile the steps that `train.compile` asks for. Raises GflowError if not."""
    if choose_device(train.device).type != "cpu" or world_size() > 1 or train.precision == "bf16":
        raise GflowError(
            "train.compile: steps are compiled for one process on the CPU, in float32; set train.device=cpu, or "
            "train.compile=false"
        )
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as error:
        raise GflowError(
            "train.compile: this machine has no C++ compiler (g++, or what CXX names); install one, or set "
            "train.compile=false"
        ) from error


@attrs.frozen(eq=False)
class _Region:
    """A compiled function of tensors, and what comes out of it."""

    run: Callable[..., Sequence[Tensor]]
    draws: int
    """U(0, 1) that it takes."""
    names: Sequence[str] = ()
    """What it observes."""
    moved: Sequence[bool] = ()
    """Which parameters have a gradient."""


class Compiled:
    """Functions of two networks' weights, each compiled when it is first called.

    Each is tried first as it stands, so that what raises is said as ever; where it cannot be compiled, or gives
    something else compiled, that is said once, and it runs as it is.
    """

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        self._modules = modules
        self._own = [weight for module in modules.values() for weight in module.parameters()]
        self._regions: dict[Hashable, _Region | None] = {}
        self._weights: dict[str, dict[str, Tensor]] = {}  # in place of the networks' own, while one is traced
        self._busy = False

    def forward(self, network: str, given: Sequence[Tensor]) -> Tensor:
        """What the network makes of `given`: compiled where no gradient is asked for."""
        module = self._modules[network]
        if network in self._weights:
            out: Tensor = functional_call(module, self._weights[network], tuple(given))
            return out
        if self._busy or torch.is_grad_enabled():
            return module(*given)  # type: ignore[no-any-return]
        key = ("forward", network, module.training, *(x.shape for x in given))
        if key not in self._regions:
            with self._trying():
                expected = [module(*given)]
            run = self._made(f"the {network}'s forward", self._forwards(network), expected, [], list(given), [])
            self._regions[key] = None if run is None else _Region(run, 0)
        region = self._regions[key]
        if region is None:
            return module(*given)  # type: ignore[no-any-return]
        return region.run(*self._flat(given))[0]

    def gradients(
        self, network: str, key: Hashable, loss: Loss, given: Sequence[Any], uniform: Callable[[], Callable[[], Tensor]]
    ) -> tuple[list[Tensor | None], dict[str, Tensor]] | None:
        """The loss's gradient by each of the network's parameters, and what it observes; None where it runs as it is.

        `uniform()` gives what the loss draws with, from its first draw on.
        """
        place = (network, key, *(x.shape for x in _leaves(given)))
        if place not in self._regions:
            self._regions[place] = self._region(network, loss, given, uniform())
        region = self._regions[place]
        if region is None:
            return None
        draw = uniform()
        drawn = [draw() for _ in range(region.draws)]
        with torch.no_grad():
            found = iter(region.run(*self._flat((given, drawn))))
        gradients = [next(found) if moved else None for moved in region.moved]
        return gradients, dict(zip(region.names, found, strict=True))

    def _region(self, network: str, loss: Loss, given: Sequence[Any], uniform: Callable[[], Tensor]) -> _Region | None:
        """The loss's gradient and what it observes, compiled."""
        own = list(self._modules[network].parameters())
        trained = [parameter for parameter in own if parameter.requires_grad]
        drawn: list[Tensor] = []

        def draw() -> Tensor:
            drawn.append(uniform())
            return drawn[-1]

        with self._trying(), torch.enable_grad():
            total, metrics = loss(*given, draw)
            slopes = torch.autograd.grad(total, trained, allow_unused=True)
        left = iter(slopes)
        moved = [parameter.requires_grad and next(left) is not None for parameter in own]

        def differentiated(given: Sequence[Any], drawn: Sequence[Tensor]) -> list[Tensor]:
            weights = [w.requires_grad_() for w, has in zip(self._weights[network].values(), moved, strict=True) if has]
            with torch.enable_grad():
                total, metrics = loss(*given, iter(drawn).__next__)
                slopes = torch.autograd.grad(total, weights)
            return [*(slope.contiguous() for slope in slopes), *(value.detach() for value in metrics.values())]

        expected = [*(slope for slope in slopes if slope is not None), *(value.detach() for value in metrics.values())]
        like = [parameter for parameter, has in zip(own, moved, strict=True) if has]
        run = self._made(f"the {network}'s update", differentiated, expected, like, given, drawn)
        return None if run is None else _Region(run, len(drawn), list(metrics), moved)

    def _forwards(self, network: str) -> Callable[[Sequence[Any], Sequence[Tensor]], list[Tensor]]:
        return lambda given, _: [self.forward(network, given)]

    @torch.no_grad()
    def _made(
        self,
        what: str,
        function: Callable[[Sequence[Any], Sequence[Tensor]], list[Tensor]],
        expected: Sequence[Tensor],
        like: Sequence[Tensor],
        given: Sequence[Any],
        drawn: Sequence[Tensor],
    ) -> Callable[..., Sequence[Tensor]] | None:
        """The function of (given, drawn) as one of all their tensors and the weights, compiled; None if it cannot.

        What comes out is to be as `expected`, and the first of it laid out in memory as `like`, for optimizers.
        """
        from torch.fx.experimental.proxy_tensor import make_fx

        flat, shape = _pytree.tree_flatten((list(given), list(drawn)))
        names = {name: [n for n, _ in module.named_parameters()] for name, module in self._modules.items()}

        def traced(*tensors: Tensor) -> tuple[Tensor, ...]:
            here = iter([tensor.detach() for tensor in tensors])
            given, drawn = _pytree.tree_unflatten([next(here) for _ in flat], shape)
            self._weights = {name: {n: next(here) for n in own} for name, own in names.items()}
            try:
                return tuple(function(given, drawn))
            finally:
                self._weights = {}

        inputs = self._flat((list(given), list(drawn)))
        try:
            with self._trying():
                run = _compile(make_fx(traced)(*inputs), inputs)
                found = run(*inputs)
            for tensor, known in zip(found, like, strict=False):
                if tensor.stride() != known.stride():
                    raise ValueError("its gradients are laid out otherwise than the weights")
            for tensor, known in zip(found, expected, strict=True):
                if not torch.allclose(tensor, known, rtol=1e-3, atol=1e-3 * float(known.abs().max()), equal_nan=True):
                    raise ValueError("it gives other numbers compiled")
        except Exception as error:  # a compiler raises anything
            reason = f"{type(error).__name__}: {error}".partition("\n")[0]
            logger.warning("train.compile: %s cannot be compiled and runs as it is (%s)", what, reason)
            return None
        return run

    def _flat(self, tree: Any) -> list[Tensor]:
        """All tensors of the tree, then all weights."""
        return [*_leaves(tree), *self._own]

    @contextmanager
    def _trying(self) -> Iterator[None]:
        """Networks as they are within the block, which leaves no trace in them or in torch's global generator."""
        buffers = [buffer for module in self._modules.values() for buffer in module.buffers()]
        before = [buffer.clone() for buffer in buffers]
        self._busy = True
        try:
            with seeded(0):
                yield
        finally:
            self._busy = False
            with torch.no_grad():
                for buffer, kept in zip(buffers, before, strict=True):
                    buffer.copy_(kept)


def _leaves(tree: Any) -> Iterator[Tensor]:
    """The tensors of nested sequences and dicts, in pytree's order and several times as fast."""
    for one in tree.values() if isinstance(tree, dict) else tree:
        if isinstance(one, Tensor):
            yield one
        else:
            yield from _leaves(one)


def _compile(graph: torch.fx.GraphModule, inputs: Sequence[Tensor]) -> Callable[..., Sequence[Tensor]]:
    """The traced function, compiled. Raises ValueError where a second call would not be as the first."""
    for node in graph.graph.nodes:
        if node.op == "get_attr":
            raise ValueError("it reads a tensor that is no weight of the two networks, as batch norm's statistics")
        if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
            raise ValueError(f"it draws random numbers in its forward ({node.target})")
        node.meta.clear()  # tensors of the tracing, which the compiler would take for its own
    from torch._inductor import compile as compiled

    run: Callable[..., Sequence[Tensor]] = compiled(graph, list(inputs), options={"cpp_wrapper": True})
    return run
