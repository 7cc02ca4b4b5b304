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
from gflow_core.machine.streams import Streams, seeded
from gflow_core.parts.spec import Spec, Train
from gflow_core.recipes.checks import cannot_compile

__all__ = ["Compiled", "Loss", "compiles"]

Loss = Callable[..., tuple[Tensor, dict[str, Tensor]]]
"""loss(*given, uniform): the number that is minimised and what is observed beside it.

`given` are tensors, in tuples, lists and dicts; `uniform` gives draws U(0, 1) [..., B]. Nothing else may differ between
two calls of the same key.
"""

logger = logging.getLogger("gflow")


_REPAID = 50_000
"""Steps that repay compiling: it takes half a minute, and saves about a millisecond a step."""


def compiles(spec: Spec, began: bool | None = None) -> bool:
    """Whether the steps are compiled, as `train.compile` says: with "auto" as the run `began`, where that is known.

    Raises GflowError where they are to be, and this machine cannot.
    """
    train = spec.train
    if train is None or not train.compile:
        return False
    fault = _fault(train)
    if train.compile == "auto" and began is not True:
        able = began is None and fault is None and not any(cannot_compile(spec, train))
        return able and train.steps >= _REPAID
    if fault is not None:
        raise GflowError(f"train.compile: {fault}, or set train.compile=false")
    return True


def _fault(train: Train) -> str | None:
    """Why this machine cannot compile the steps, and the mend."""
    if choose_device(train.device).type != "cpu" or world_size() > 1 or train.precision == "bf16":
        return "steps are compiled for one process on the CPU, in float32; set train.device=cpu"
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        return "this machine has no C++ compiler (g++, or what CXX names); install one"
    return None


@attrs.frozen(eq=False)
class _Region:
    """A compiled function of tensors, and what comes out of it."""

    run: Callable[..., Sequence[Tensor]]
    draws: int = 0
    """U(0, 1) that it takes."""
    names: Sequence[str] = ()
    """What it observes."""
    moved: Sequence[bool] = ()
    """Which parameters have a gradient."""


class _Together(nn.Module):
    """A function of the networks, as a module that has them: `functional_call` puts other weights into all of them."""

    def __init__(self, networks: Mapping[str, nn.Module], function: Callable[..., Any]) -> None:
        super().__init__()
        self.networks = nn.ModuleDict(networks)
        self.function = function

    def forward(self, *given: Any) -> Any:
        return self.function(*given)


class Compiled:
    """Functions of two networks and of tensors, each compiled when it is first called.

    Each is tried first as it stands, so that what raises is said as ever; where it cannot be compiled, or gives
    something else compiled, that is said once, and it runs as it is.
    """

    def __init__(self, networks: Mapping[str, nn.Module], streams: Streams) -> None:
        self._networks = dict(networks)
        self._streams = streams
        self._own = [weight for module in networks.values() for weight in module.parameters()]
        self._regions: dict[Hashable, _Region | None] = {}

    @torch.no_grad()
    def call(
        self, what: str, function: Callable[..., Sequence[Tensor]], given: Sequence[Any]
    ) -> Sequence[Tensor] | None:
        """function(*given), without gradients; None where it runs as it is. `what` tells it from others."""
        leaves = list(_leaves(given))
        place = (what, *(x.shape for x in leaves))
        if place not in self._regions:
            with self._trying():
                expected = function(*given)
            run = self._made(what, lambda given, _: function(*given), expected, [], given, [])
            self._regions[place] = None if run is None else _Region(run)
        region = self._regions[place]
        return None if region is None else region.run(*leaves, *self._own)

    def gradients(
        self, network: str, key: Hashable, loss: Loss, given: Sequence[Any], uniform: Callable[[], Callable[[], Tensor]]
    ) -> tuple[list[Tensor | None], dict[str, Tensor]] | None:
        """The loss's gradient by each of the network's parameters, and what it observes; None where it runs as it is.

        `uniform()` gives what the loss draws with; what is drawn to try the loss is put back.
        """
        leaves = list(_leaves(given))
        place = (network, key, *(x.shape for x in leaves))
        if place not in self._regions:
            self._regions[place] = self._region(network, loss, given, uniform())
        region = self._regions[place]
        if region is None:
            return None
        if region.draws:
            draw = uniform()
            leaves += [draw() for _ in range(region.draws)]
        with torch.no_grad():
            found = iter(region.run(*leaves, *self._own))
        gradients = [next(found) if moved else None for moved in region.moved]
        return gradients, dict(zip(region.names, found, strict=True))

    def _region(self, network: str, loss: Loss, given: Sequence[Any], uniform: Callable[[], Tensor]) -> _Region | None:
        """The loss's gradient and what it observes, compiled."""
        module = self._networks[network]
        own = list(module.parameters())
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
            weights = [w.requires_grad_() for w, has in zip(module.parameters(), moved, strict=True) if has]
            with torch.enable_grad():
                total, metrics = loss(*given, iter(drawn).__next__)
                slopes = torch.autograd.grad(total, weights)
            return [*(slope.contiguous() for slope in slopes), *(value.detach() for value in metrics.values())]

        expected = [*(slope for slope in slopes if slope is not None), *(value.detach() for value in metrics.values())]
        like = [parameter for parameter, has in zip(own, moved, strict=True) if has]
        run = self._made(f"the {network}'s update", differentiated, expected, like, given, drawn)
        return None if run is None else _Region(run, len(drawn), list(metrics), moved)

    @torch.no_grad()
    def _made(
        self,
        what: str,
        function: Callable[[Sequence[Any], Sequence[Tensor]], Sequence[Tensor]],
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
        together = _Together(self._networks, function)
        names = [name for name, _ in together.named_parameters(remove_duplicate=False)]

        def traced(*tensors: Tensor) -> tuple[Tensor, ...]:
            here = [tensor.detach() for tensor in tensors]
            weights = dict(zip(names, here[len(flat) :], strict=True))
            return tuple(functional_call(together, weights, tuple(_pytree.tree_unflatten(here[: len(flat)], shape))))

        inputs = [*flat, *self._own]
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

    @contextmanager
    def _trying(self) -> Iterator[None]:
        """Networks as they are within the block, which leaves no trace in them or in random streams."""
        buffers = [buffer for module in self._networks.values() for buffer in module.buffers()]
        before = [buffer.clone() for buffer in buffers]
        try:
            with seeded(0), self._streams.kept():
                yield
        finally:
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
