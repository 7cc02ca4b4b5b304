"""A network in training."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import attrs
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gflow_core.errors import Diverged
from gflow_core.machine.runtime import Runtime
from gflow_core.nn.casting import Casting
from gflow_core.parts.contracts import Number, OptimizerPart, at
from gflow_core.parts.returned import kind_fault, refuse, what

__all__ = ["Player", "evaluating", "frozen", "make_player"]


@attrs.define(eq=False)
class Player:
    """A network with its optimizer and its schedules."""

    module: nn.Module
    part: OptimizerPart
    runtime: Runtime
    clip: Number | None = None
    """Longest gradient, over all parameters; None leaves it as it is."""
    replicas: int = 0
    """How many networks are stacked in it, each with a gradient of its own; 0 where it is one."""
    still: Sequence[nn.Module] = ()
    """Modules in it that are frozen whole, and stay in eval mode."""
    optimizer: Optimizer = attrs.field(init=False)
    _parameters: list[nn.Parameter] = attrs.field(init=False)
    _casting: Casting | None = attrs.field(init=False)
    _modes: list[tuple[nn.Module, bool]] = attrs.field(factory=list, init=False)
    """Its modules as `train` left them, and whether each is in training mode."""
    _longest: float | None = attrs.field(default=None, init=False)
    _update: Callable[[Optimizer], object] | None = attrs.field(default=None, init=False)
    """The step of torch's own optimizer, without what torch wraps around it."""

    def __attrs_post_init__(self) -> None:
        self.optimizer = self.part.build(self.module)
        refuse("optimizer", self.part, "build", kind_fault(self.optimizer, Optimizer, "a torch.optim.Optimizer"))
        self._parameters = list(self.module.parameters())
        # A processor's launches cost nothing: there autocast's own casts are as fast.
        launches = self.runtime.device.type == "cuda"
        self._casting = Casting(self.module) if self.runtime.bf16 and launches else None
        if type(self.optimizer).__module__.startswith("torch.optim."):
            self._update = inspect.unwrap(type(self.optimizer).step)

    def train(self) -> None:
        """Put the network in training mode, save what stands still."""
        if self._modes and all(part.training is mode for part, mode in self._modes):
            return
        self.module.train()
        for part in self.still:
            part.eval()
        self._modes = [(part, part.training) for part in self.module.modules()]

    def set_rates(self, done: int) -> None:
        """Set what schedules change for the step that follows `done` finished ones."""
        values = self.part.at(done)
        named = values.items() if isinstance(values, dict) else ()
        numbers = [(name, one) for name, value in named for one in (value if isinstance(value, tuple) else (value,))]
        if not numbers or not all(isinstance(number, int | float) for _, number in numbers):
            found = f"{what(values)} at step {done + 1}, numbers by name are expected"
            refuse("optimizer", self.part, "at", found)
        for name, number in numbers:
            if not math.isfinite(number) or number > torch.finfo(torch.float32).max:
                raise Diverged(f"step {done + 1}: the schedule of {name} has reached {number:g}")
        self._longest = None if self.clip is None else at(self.clip, done)
        for group in self.optimizer.param_groups:
            group.update(values)

    def cast(self) -> AbstractContextManager[None]:
        """Under autocast, the network's weights cast all at once; they are not to change within the block.

        Without gradients for the weights, blocks within one share its casts: a block around many forwards casts once.
        """
        return nullcontext() if self._casting is None else self._casting.cast()

    def minimize(self, loss: Tensor | Iterable[Tensor]) -> None:
        """One optimizer step on `loss`, this process's mean over its slice; gradients are averaged, then clipped.

        Of several losses gradients add up, and each one's graph is gone before the next is made (`train.accumulate`).
        """
        for parameter in self._parameters:
            parameter.grad = None
        for piece in (loss,) if isinstance(loss, Tensor) else loss:
            piece.backward()
        self._step()

    def follow(self, gradients: Iterable[Tensor | None]) -> None:
        """One optimizer step by this process's gradients, one a parameter of the module; averaged, then clipped."""
        for parameter, gradient in zip(self._parameters, gradients, strict=True):
            parameter.grad = gradient
        self._step()

    def _step(self) -> None:
        self.runtime.average_gradients(self._parameters)
        if self._longest is not None:
            self._shorten(self._longest)
        one = self.optimizer
        hooks = getattr(one, "_optimizer_step_pre_hooks", True) or getattr(one, "_optimizer_step_post_hooks", True)
        if self._update is None or hooks:
            one.step()
            return
        with torch.no_grad():  # looking for hooks and profilers takes as long as a small network's update
            self._update(one)

    def _shorten(self, longest: float) -> None:
        """Scale the gradient down to the length `longest` where it is longer; each replica's by itself."""
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        if not self.replicas:
            nn.utils.clip_grad_norm_(self._parameters, longest)
            return
        lengths = torch.stack([g.flatten(1).square().sum(1) for g in gradients]).sum(0).sqrt()
        factor = (longest / (lengths + 1e-6)).clamp(max=1.0)  # torch's own rule
        for g in gradients:
            g.mul_(factor.view(-1, *[1] * (g.dim() - 1)))


def make_player(
    module: nn.Module,
    part: OptimizerPart,
    runtime: Runtime,
    *,
    clip: Number | None = None,
    still: Sequence[nn.Module] = (),
) -> Player:
    """A player beside those of the recipe: for a network that a method or an analyzer trains for itself.

    `clip` is the longest gradient, as `train.clip`; `still` are modules in it that stay in eval mode.
    """
    return Player(module, part, runtime, clip=clip, still=still)


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """No gradients for the module's parameters within the block: none is computed that nobody reads."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Eval mode within the block: batch norm uses running statistics, spectral-norm vectors stand still."""
    training = [part for part in module.modules() if part.training]
    for part in training:
        _set_mode(part, False)
    try:
        yield
    finally:
        for part in training:
            _set_mode(part, True)


def _set_mode(module: nn.Module, training: bool) -> None:
    if isinstance(module, torch.jit.ScriptModule):  # its mode is not Python's
        module.training = training
    else:
        object.__setattr__(module, "training", training)  # the own way looks for parameters first: ten times slower
