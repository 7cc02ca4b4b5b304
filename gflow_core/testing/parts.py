"""Checks of networks, data sets and laws of z against `gflow_core.parts.contracts`.

Each takes a part, returns nothing, and raises AssertionError with a sentence that names the part and the promise it
does not keep. GflowErrors pass: data or weights that are missing on this machine are no fault of the part.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch import Generator, Tensor, nn

from gflow_core.machine.streams import seeded
from gflow_core.nn.labels import label_fault
from gflow_core.optim.player import evaluating
from gflow_core.parts.nouns import DataShape, Moments
from gflow_core.parts.returned import promise_fault, source_fault
from gflow_core.parts.source import ImageModes, Source
from gflow_core.testing.promises import (
    Promises,
    Untried,
    batch_of,
    described,
    same,
    shapes_for,
    untouched,
    weights,
)

__all__ = [
    "Untried",
    "check_dataset",
    "check_discriminator",
    "check_latent",
    "check_sampler",
]

_N = 4
"""Items in a batch."""

_DRAWS = 20_000
"""Draws that moments are compared with."""


# ------------------------------------------------------------------ networks


def check_sampler(part: Any, data: DataShape | None = None) -> None:
    """Build the sampler on `data`, or on each kind of tiny data that it accepts, and draw from it.

    It makes x [B, *shape], floats in the range of the data; in eval mode the same z gives the same x; its weights
    follow from torch's seed; gradients reach them; labels of both kinds are read, where it is conditional; training
    takes a batch of `least_batch` items, one where the part does not say. What it refuses is refused by messages.
    """
    promises = Promises("sampler", part)
    promises.common()
    promises.require(isinstance(part.conditional, bool), "conditional is True or False")
    check_latent(part.latent)
    for given in shapes_for(promises, data):
        shape = given if given is not None else part.data_shape()
        z = part.latent.draw(_N, Generator().manual_seed(0))
        y = batch_of(shape, _N)[1] if part.conditional else None
        module, x = _forward(promises, given, shape, z, y)
        _is_items(promises, x, (_N, *shape.shape), f"for {_N} z on {shape}")
        if shape.low is not None and shape.high is not None:
            inside = bool((x >= shape.low - 1e-5).all() and (x <= shape.high + 1e-5).all())
            promises.require(inside, f"makes values outside the range of the data, {shape}")
        _learns(promises, module, lambda module=module, z=z, y=y: _call(module, z, y))  # type: ignore[misc]


def check_discriminator(part: Any, data: DataShape | None = None) -> None:
    """Build the discriminator on `data`, or on each kind of tiny data that it accepts, and let it judge.

    It gives one logit an item [B]; in eval mode the same x gives the same logit; its weights follow from torch's seed;
    gradients reach them, and the items, twice (particles move along them, penalties are trained by them); labels of
    both kinds are read, where it is conditional. What it refuses is refused by messages.
    """
    promises = Promises("discriminator", part)
    promises.common()
    promises.require(isinstance(part.conditional, bool), "conditional is True or False")
    for given in shapes_for(promises, data):
        assert given is not None
        x, y = batch_of(given, _N)
        y = y if part.conditional else None
        module, logit = _forward(promises, given, given, x, y)
        _is_items(promises, logit, (_N,), f"for {_N} items of {given}")
        _learns(promises, module, lambda module=module, x=x, y=y: _call(module, x, y))  # type: ignore[misc]
        x = x.clone().requires_grad_()
        with promises.calling("the gradient with respect to x"), seeded(0):
            (slope,) = torch.autograd.grad(_call(module, x, y).sum(), x, create_graph=True, allow_unused=True)
            reaches = slope is not None and bool(slope.isfinite().all() and (slope != 0).any())
            promises.require(reaches, "no gradient reaches its input; particles move along it")
            if slope.grad_fn is not None:
                slope.square().sum().backward()


def _forward(
    promises: Promises, given: DataShape | None, shape: DataShape, inputs: Tensor, y: Tensor | None
) -> tuple[nn.Module, Tensor]:
    """The built network, and what it makes of the inputs in eval mode."""

    def build() -> nn.Module:
        with promises.calling(f"build on {shape}"), seeded(0):
            module: nn.Module = promises.part.build(given)
        promises.require(isinstance(module, nn.Module), f"build returns a torch module, not {type(module).__name__}")
        return module.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    module = build()
    alike = same(weights(module), weights(build()))
    promises.require(alike, "weights do not follow from torch's seed; initialise them by torch's global random state")
    with evaluating(module), torch.no_grad(), promises.calling(f"forward on {shape}"), seeded(0):
        first, again = _call(module, inputs, y), _call(module, inputs, y)
        if isinstance(first, Tensor):
            promises.require(same(first, again), "in eval mode the same input gives something else the second time")
            _call(module, inputs[:1], None if y is None else y[:1])  # a batch may be of one
    least = getattr(promises.part, "least_batch", 1)
    said = f"training on a batch of {least} (with batch norm: least_batch: ClassVar[int] = 2)"
    with torch.no_grad(), promises.calling(said), seeded(0):
        _call(deepcopy(module).train(), inputs[:least], None if y is None else y[:least])
    return module, first


def _call(module: nn.Module, inputs: Tensor, y: Tensor | None) -> Tensor:
    out: Tensor = module(inputs) if y is None else module(inputs, y)
    return out


def _is_items(promises: Promises, out: Any, expected: tuple[int, ...], where: str) -> None:
    is_tensor = isinstance(out, Tensor)
    promises.require(is_tensor, f"forward returns a tensor, not {type(out).__name__}")
    right = tuple(out.shape) == expected
    promises.require(right, f"forward returns {list(out.shape)} {where}, {list(expected)} is expected")
    promises.require(out.is_floating_point(), f"forward returns {out.dtype}, floats are expected")
    promises.require(bool(out.isfinite().all()), "forward returns NaN or infinite values")


def _learns(promises: Promises, module: nn.Module, forward: Callable[[], Tensor]) -> None:
    """Gradients reach the weights in training mode."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if not trained:
        return
    with promises.calling("a training step"), seeded(0):
        out = forward()
        promises.require(out.requires_grad, "its output has no gradient; no optimizer can train it")
        out.float().square().mean().backward()
    reached = [p.grad is not None and bool(p.grad.isfinite().all()) for p in trained]
    promises.require(any(reached), "no gradient reaches its parameters")


# ------------------------------------------------------------------ data sets


def check_dataset(part: Any) -> None:
    """Load the data set, twice: items and labels are what `data_shape` promises, and the same ones both times.

    Raises DataError, as the part does, where its files are not here.
    """
    promises = Promises("dataset", part)
    promises.common()
    faults = promises.asked()
    promises.require(not faults, f"refuses its own options: {'; '.join(faults)}")
    with promises.calling("data_shape"):
        shape = part.data_shape()
        again = part.data_shape()
    promises.require(isinstance(shape, DataShape), f"data_shape returns a DataShape, not {type(shape).__name__}")
    promises.require(
        shape == again, "data_shape says something else the second time; it follows from the options alone"
    )
    bounded = shape.kind != "image" or (shape.low, shape.high) == (-1.0, 1.0)
    promises.require(bounded, f"images reach networks in [-1, 1]; data_shape says {shape}")

    def progress(what: str, done: int, total: int) -> None:
        right = isinstance(what, str) and isinstance(done, int) and isinstance(total, int) and 0 <= done <= total
        promises.require(right, f"progress takes words, done and total; got {what!r}, {done!r}, {total!r}")

    with promises.calling("load"):
        mend = "draw from a generator of your own, seeded by an option"
        source = untouched(promises, "load", lambda: part.load(progress), mend)
    promises.require(isinstance(source, Source), f"load returns a Source, not {type(source).__name__}")
    agrees = source.shape == shape
    promises.require(agrees, f"data_shape promises {shape}, the loaded Source says {source.shape}")
    fault = source_fault(source) or label_fault(source.y, len(source), shape)
    promises.require(fault is None, fault or "")
    promises.require(
        source.y is None or shape.label_size,
        "loaded labels that data_shape does not promise: state classes or conditions",
    )
    batch = source.batch(torch.arange(min(_N, len(source))))
    if shape.low is not None and shape.high is not None:
        inside = bool((batch.x >= shape.low).all() and (batch.x <= shape.high).all())
        promises.require(inside, f"items lie outside the range that data_shape promises, {shape}")
    promises.require(source.fingerprint and isinstance(source.fingerprint, str), "its Source has no fingerprint")
    broken = promise_fault(part, source)
    promises.require(broken is None, broken or "")
    if isinstance(source.modes, ImageModes):
        fits = shape.kind == "image" and shape.shape[0] == source.modes.channels
        promises.require(fits, f"its modes are of images of {source.modes.channels} channels, data_shape says {shape}")
    elif source.modes is not None:
        with promises.calling("modes.nearest"):
            index, distance = source.modes.nearest(batch.x)
        right = index.shape == distance.shape == (len(batch.x),) and bool((index < source.modes.count).all())
        promises.require(right, "modes.nearest gives an index below modes.count and a distance [n] for each item")
    if source.log_density is not None:
        with promises.calling("log_density"):
            density = source.log_density(batch.x)
        promises.require(density.shape == (len(batch.x),), "log_density gives one number for each item")
        with promises.calling("the gradient of log_density"):
            score = source.score(batch.x)
        promises.require(bool(score.isfinite().all()), "the gradient of log_density is not finite at its own items")
    second = part.load()
    promises.require(
        second.fingerprint == source.fingerprint and same(second.batch(torch.arange(1)).x, batch.x[:1]),
        "loads other items the second time",
    )


# ------------------------------------------------------------------ laws of z


def check_latent(part: Any) -> None:
    """Draw z: [n, dim] on the CPU in torch's default type, from the generator alone; its moments are the draws' own."""
    promises = Promises("latent", part)
    promises.common()
    faults = promises.asked()
    promises.require(not faults, f"refuses its own options: {'; '.join(faults)}")
    promises.require(type(part.dim) is int and part.dim > 0, "dim is a positive whole number")

    def draw(n: int, seed: int = 0) -> Tensor:
        with promises.calling("draw"):
            z: Tensor = part.draw(n, Generator().manual_seed(seed))
        right = isinstance(z, Tensor) and tuple(z.shape) == (n, part.dim)
        promises.require(right, f"draw({n}) gives [{n}, {part.dim}], got {described(z)}")
        right = z.device.type == "cpu" and z.dtype == torch.get_default_dtype()
        promises.require(right, f"draws are on the CPU in torch's default type, got {z.dtype} on {z.device}")
        return z

    first = untouched(promises, "draw", lambda: draw(_N))
    promises.require(same(first, draw(_N)), "the same generator draws other numbers the second time")
    promises.require(not same(draw(64), draw(64, seed=1)), "another generator draws the same numbers")
    generator = Generator().manual_seed(0)
    some, more = part.draw(64, generator), part.draw(64, generator)
    promises.require(not same(some, more), "one generator draws the same numbers twice; it is not moved on")
    draw(1)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        draw(1)
    finally:
        torch.set_default_dtype(before)
    if hasattr(part, "moments"):
        with promises.calling("moments"):
            moments = part.moments()
        promises.require(isinstance(moments, Moments), f"moments gives Moments, not {type(moments).__name__}")
        _moments(promises, moments, draw(_DRAWS).double())
    if hasattr(part, "project"):
        with promises.calling("project"):
            z = part.project(first)
        right = isinstance(z, Tensor) and z.shape == first.shape and torch.allclose(z, first)
        promises.require(right, "project leaves draws where they are")
    if hasattr(part, "code"):
        made: dict[str, Any] = {"torch": torch, "math": math, "n": 3}
        with promises.calling("code"), seeded(0):
            exec(part.code(), made)
        shape = list(getattr(made.get("z"), "shape", ()))
        promises.require(shape == [3, part.dim], f"the lines of code() make z [n, dim], not {shape or 'no tensor z'}")


def _moments(promises: Promises, stated: Moments, z: Tensor) -> None:
    """Compare with draws z [n, dim]: each moment within six standard errors, which draws of the law tell too."""
    d = z - stated.mean
    total = d.sum(1)
    dim = z.shape[1]
    observed = {
        "mean": (stated.mean, z.mean(1)),
        "variance": (stated.variance, d.square().mean(1)),
        "covariance": (stated.covariance, (total.square() - d.square().sum(1)) / max(dim * (dim - 1), 1)),
    }
    if dim == 1:
        del observed["covariance"]
    for name, (value, each) in observed.items():
        error = 6 * float(each.std()) / len(z) ** 0.5 + 1e-9
        seen = float(each.mean())
        near = abs(seen - value) <= error
        promises.require(near, f"moments() states {name} {value:g}, {len(z)} draws have {seen:.4g} +- {error / 6:.1g}")
    means, spread = z.mean(0), z.std(0) / len(z) ** 0.5
    alike = bool(((means - stated.mean).abs() <= 6 * spread + 1e-9).all())
    promises.require(alike, "moments() is of laws whose components are alike; the draws' components have other means")
