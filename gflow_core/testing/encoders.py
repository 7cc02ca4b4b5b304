"""Checks of encoders of items and of texts against `gflow_core.parts.contracts`, as those of `testing.parts`."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Generator, Tensor

from gflow_core.parts.nouns import DataShape
from gflow_core.testing.promises import Promises, batch_of, described, same, shapes_for

__all__ = ["check_encoder", "check_text_encoder"]

_N = 2
"""Items in a batch: networks are at their full input size."""


def check_encoder(part: Any, data: DataShape | None = None) -> None:
    """Build the encoder on `data`, or on each kind of tiny data that it accepts, and read its features.

    They are float32 [B, dim], without gradient, the same at every call, and those of an item do not depend on the batch
    it stands in; the input stays as it is. Those and the maps of one that is `smooth` have the gradient that finite
    differences have. Raises DataError, as the part does, where its weights are not here.
    """
    promises = Promises("encoder", part)
    promises.common()
    promises.require(isinstance(part.classifies, bool), "classifies is True or False")
    promises.require(isinstance(getattr(part, "smooth", False), bool), "smooth is True or False")
    cpu = torch.device("cpu")
    for shape in shapes_for(promises, data):
        assert shape is not None
        with promises.calling(f"build on {shape}"):
            encoder = part.build(shape, cpu)
        for name, kind in (("name", str), ("dim", int), ("weights", str), ("resizer", str)):
            value = getattr(encoder, name, None)
            promises.require(isinstance(value, kind) and value, f"the built encoder has no {name}, {_WORDS[name]}")
        x, _ = batch_of(shape, _N)
        before = x.clone()
        with promises.calling(f"reading items of {shape}"):
            features, again = encoder(x.requires_grad_()), encoder(x)
            alone = encoder(x[:1].detach())
        right = isinstance(features, Tensor) and features.shape == (_N, encoder.dim) and features.dtype == torch.float32
        promises.require(right, f"features are float32 [{_N}, {encoder.dim}] for {_N} items, got {described(features)}")
        promises.require(not features.requires_grad, "features carry a gradient; encoders are frozen")
        promises.require(bool(features.isfinite().all()), "features are NaN or infinite")
        promises.require(same(features, again), "the same items have other features the second time")
        near = torch.allclose(alone, features[:1], rtol=1e-3, atol=1e-4 * float(features.abs().max()))
        promises.require(near, "an item's features depend on the batch it stands in; an encoder is in eval mode")
        promises.require(same(x.detach(), before), "changes the items it reads")
        if part.classifies:
            with promises.calling("classify"):
                logits = encoder.classify(before)
            right = isinstance(logits, Tensor) and logits.dim() == 2 and len(logits) == _N
            promises.require(right, f"classify gives logits [{_N}, classes], got {described(logits)}")
        if getattr(part, "smooth", False):
            _follows(promises, encoder, before[:1], features[:1])


def _follows(promises: Promises, encoder: Any, x: Tensor, expected: Tensor) -> None:
    """`features` and `maps` of x, for what a smooth part built."""
    with promises.calling("features"):
        features = encoder.features(x.requires_grad_())
    right = isinstance(features, Tensor) and features.shape == expected.shape
    near = right and torch.allclose(features, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))
    promises.require(near, "features(x) are not those of a call")
    promises.require(features.requires_grad, "features(x) have no gradient")

    with promises.calling("maps"):
        maps, again = encoder.maps(x), encoder.maps(x)
    wanted = f"maps(x) is a list of float32 [{len(x)}, C, h, w]"
    promises.require(isinstance(maps, list) and maps, f"{wanted}, got {described(maps)}")
    for one in maps:
        right = isinstance(one, Tensor) and one.dim() == 4 and len(one) == len(x) and one.dtype == torch.float32
        promises.require(right, f"{wanted}, got {described(one)} in it")
        promises.require(bool(one.isfinite().all()), "maps are NaN or infinite")
        promises.require(one.requires_grad, "maps have no gradient")
    sizes = [one.shape[2] * one.shape[3] for one in maps]
    promises.require(sizes == sorted(sizes, reverse=True), f"maps go from shallow to deep, got positions {sizes}")
    promises.require(same(maps, again), "the same items have other maps the second time")

    strangers = [leaf for one in (features, *maps) for leaf in _leaves(one) if leaf is not x]
    promises.require(not strangers, "weights have a gradient, and are frozen: requires_grad_(False)")
    generator = Generator().manual_seed(0)
    directions = [torch.randn(one.shape, generator=generator, dtype=torch.float64) for one in maps]

    def along(maps: list[Tensor]) -> Tensor:
        pairs = zip(maps, directions, strict=True)
        return torch.stack([(one.double() * direction).mean() for one, direction in pairs]).sum()

    (slope,) = torch.autograd.grad(along(maps), x, allow_unused=True)
    reaches = slope is not None and bool(slope.isfinite().all() and (slope != 0).any())
    promises.require(reaches, "no gradient of maps reaches the items")
    size = slope.abs().flatten()
    strongest = torch.zeros_like(size).index_fill_(0, size.topk(min(4, len(size))).indices, 1).view_as(slope)
    step = 0.01 * slope.sign() * strongest
    with torch.no_grad():
        differences = float(along(encoder.maps(x + step)) - along(encoder.maps(x - step))) / 2
    stated = float((slope * step).sum())
    promises.require(
        math.isclose(differences, stated, rel_tol=0.1),
        f"the gradient of maps is not theirs: {stated:.3g}, {differences:.3g} by finite differences",
    )


def _leaves(value: Tensor) -> list[Tensor]:
    """The tensors that a backward from the value would give gradients to."""
    found, seen, left = [], set(), [value.grad_fn]
    while left:
        node = left.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.append(node.variable)
        left += [before for before, _ in node.next_functions]
    return found


_WORDS = {
    "name": "what scores on its features are called after",
    "dim": "the number of features",
    "weights": "a sha256",
    "resizer": "how items reach its input, in words",
}


def check_text_encoder(part: Any) -> None:
    """Fit it on a few captions: vectors float32 [n, dim], each text's its own, the same from its state."""
    from gflow_core.files.checkpoint import unsavable

    promises = Promises("text_encoder", part)
    promises.common()
    texts = ["a thick three leaning left", "a thin seven", "an eight"]
    with promises.calling("fit"):
        encoder = part.fit(texts)
    with promises.calling("making vectors"):
        vectors, alone = encoder(texts), encoder(texts[:1])
    right = isinstance(vectors, Tensor) and vectors.shape == (3, part.dim) and vectors.dtype == torch.float32
    promises.require(right, f"3 texts are float32 [3, {part.dim}], got {described(vectors)}")
    promises.require(bool(vectors.isfinite().all()), "vectors are NaN or infinite")
    promises.require(torch.allclose(alone, vectors[:1], atol=1e-5), "a text's vector depends on other texts")
    promises.require(not torch.allclose(vectors[0], vectors[1]), "different texts have the same vector")
    state = dict(encoder.state())
    promises.require(not unsavable(state), f"state holds what no file of a run can: {unsavable(state)}")
    with promises.calling("restored"):
        again = part.restored(state)(texts)
    promises.require(same(again, vectors), "restored from its state it makes other vectors")
