"""How much z -> features can stretch: Lipschitz constants of a sampler and an encoder, from above and from below.

Concentration passes through Lipschitz maps: where z is concentrated and |f(z) - f(z')| <= L |z - z'|, features are, at
the scale L (Seddik et al. 2020, arXiv 2001.08370, Section 3). Three numbers enclose the least such L:

    empirical    |f(z) - f(z')| / |z - z'| over pairs of independent z
    local        the largest singular value of the Jacobian at points z, which f stretches by near z
    bound        the product of the layers' operator norms along f, which nothing exceeds

The local maximum is below L, and the bound above it, often by orders of magnitude: a layer does not stretch most where
the layer before it does. The map is taken without the rounding to 8 bits, which is not Lipschitz.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Generator, Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from gflow_core import EncoderNetwork, Streams, StridedConv, StridedTransposedConv, Vectors, fingerprint, float32_only
from gflow_rmt.representation import Representation

__all__ = ["Bound", "Lipschitz", "Map", "bound", "jacobian_norms", "measure", "operator_norm", "ratios"]

Function = Callable[[Tensor], Tensor]
"""z [B, d] -> features [B, p], or images, row by row."""


# ------------------------------------------------------------------ the map


@attrs.frozen(eq=False)
class Map:
    """z and labels -> features, differentiable, on the sampler's device and in float32."""

    sampler: nn.Module
    encode: Function | None
    """What follows the sampler; None where the encoder does not say how it is computed."""
    words: str

    @classmethod
    def of(cls, representation: Representation) -> Map:
        """Copies of the networks of a representation."""
        module, encoder = representation.subject.sampler, representation.encoder
        assert module is not None
        sampler = _plain(module)
        if isinstance(encoder, Vectors):
            return cls(sampler, lambda x: x.flatten(1), "z to vector")
        if not isinstance(encoder, EncoderNetwork):
            return cls(sampler, None, f"z to image (how {encoder.name} computes its features is not known)")
        trunk, prepare = _plain(encoder.trunk), encoder.prepare

        def encode(x: Tensor) -> Tensor:
            found: Tensor = trunk(prepare(x.float()).contiguous(memory_format=torch.channels_last))
            return found

        return cls(sampler, encode, f"z to features of {encoder.name}, without rounding to 8 bits")

    def at(self, y: Tensor | None) -> Function:
        """The function of z alone, for labels y [B] of its rows, or None without labels."""

        def function(z: Tensor) -> Tensor:
            with float32_only(z.device):
                x = self.sampler(z) if y is None else self.sampler(z, y)
                features: Tensor = x if self.encode is None else self.encode(x)
            return features.flatten(1)

        return function


def _plain(module: nn.Module) -> nn.Module:
    """A frozen copy, in which strided convolutions are computed by torch's own layers, as one operation each."""
    plain = copy.deepcopy(module).requires_grad_(False).eval()
    for layer in plain.modules():
        if isinstance(layer, StridedConv):
            layer.__class__ = nn.Conv2d  # type: ignore[assignment]
        elif isinstance(layer, StridedTransposedConv):
            layer.__class__ = nn.ConvTranspose2d  # type: ignore[assignment]
    return plain


# ------------------------------------------------------------------ from below


def ratios(f: Function, z: Tensor, other: Tensor) -> Tensor:
    """|f(z) - f(z')| / |z - z'| of pairs z, z' [B, d]: [B], float64; pairs that coincide are left out."""
    with torch.no_grad():
        way, apart = ((a - b).double().norm(dim=1) for a, b in ((f(z), f(other)), (z, other)))
    found: Tensor = (way / apart)[apart > 0]
    return found


def jacobian_norms(
    f: Function, z: Tensor, generator: Generator, *, tolerance: float = 1e-3, most: int = 1000
) -> Tensor:
    """The largest singular value of the Jacobian J of f at each row of z [B, d]: [B], float64.

    Power iteration on J'J, all rows together, until no value changes by more than its `tolerance`-fold, `most` times
    at most: estimates from below. Rows of f must not depend on each other (batch norm in eval mode). Raises
    NotImplementedError where f, or its gradient, has no derivative.
    """
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        out = f(z)
        u = torch.zeros_like(out).requires_grad_()
        # J'u, linear in u: its own gradient is J v.
        (pulled,) = torch.autograd.grad(out, z, u, create_graph=True) if out.requires_grad else (out,)
        if not pulled.requires_grad:
            raise NotImplementedError("features carry no gradient")
    v = torch.randn(z.shape, generator=generator).to(z)
    v = v / v.norm(dim=1, keepdim=True)
    found = torch.zeros(len(z), dtype=torch.float64)
    for _ in range(most):
        (pushed,) = torch.autograd.grad(pulled, u, v, retain_graph=True, allow_unused=True)
        if pushed is None:
            raise NotImplementedError("an operation can be differentiated only once")
        last, found = found, pushed.double().norm(dim=1).cpu()
        if bool(((found - last).abs() <= tolerance * found).all()):
            break
        (back,) = torch.autograd.grad(out, z, pushed, retain_graph=True)
        size = back.norm(dim=1, keepdim=True)
        v = torch.where(size > 0, back / size, v)
    return found


# ------------------------------------------------------------------ from above


@attrs.frozen
class Bound:
    """An upper bound on the Lipschitz constant of a network."""

    value: float | None
    """None where an operation has none that is known."""
    why: str
    """That operation, in words; empty where there is a bound."""
    layers: tuple[tuple[str, float, float], ...]
    """In the order of computation: the operation, by how much it can stretch, and the bound up to there. Operations of
    constant 1, such as ReLU, are left out."""


def bound(f: Function, z: Tensor, norms: dict[str, float] | None = None) -> Bound:
    """The bound along all that f computes from z [1, d]; what does not depend on z, such as labels, is held fixed.

    Constants multiply along a chain, add up where branches are added, and are joined as sqrt(a^2 + b^2) where they are
    concatenated. Affine layers count with their exact operator norm, for the size of their input, stride and padding
    included. `norms` remembers those from call to call.
    """
    with torch.no_grad(), _Tape() as tape:
        out = f(z)
    found = _walk(tape.steps, z, out, lambda step, x: 1.0)  # without the work of norms: is there a bound at all?
    if found.value is None:
        return found
    norms = {} if norms is None else norms

    def norm(step: _Step, x: Tensor) -> float:
        key = step.key(x)
        if key not in norms:
            norms[key] = operator_norm(lambda value: step.again(x, value), x)
        return norms[key]

    return _walk(tape.steps, z, out, norm)


@attrs.frozen(eq=False)
class _Step:
    """One of torch's operations, done."""

    op: Any
    given: Mapping[str, Any]
    """Argument -> value, defaults included."""
    outputs: tuple[Tensor, ...]

    @property
    def name(self) -> str:
        """In words: "convolution"; operations in place go by the name of those that are not."""
        return str(self.op.overloadpacket.__name__).removesuffix("_").lstrip("_")

    @property
    def in_place(self) -> bool:
        return bool(self.op._schema.is_mutable)

    @property
    def out(self) -> Tensor:
        return self.outputs[0]

    def tensors(self) -> Iterator[Tensor]:
        for value in self.given.values():
            for each in value if isinstance(value, list | tuple) else (value,):
                if isinstance(each, Tensor):
                    yield each

    def spread(self, x: Tensor) -> float:
        """By how much broadcasting x to the output stretches it."""
        return math.sqrt(self.out.numel() / x.numel())

    def key(self, x: Tensor) -> str:
        """The operation, the shape of its argument x, and the contents of all else."""
        fixed = [each.cpu() for each in self.tensors() if each is not x]
        rest = [value for value in self.given.values() if not isinstance(value, Tensor)]
        return f"{self.op} {tuple(x.shape)} {rest} {fingerprint(*fixed)}"

    def again(self, x: Tensor, value: Tensor) -> Tensor:
        """The result for another value of the argument x."""
        value = value.clone() if self.in_place else value
        given = {k: value if v is x else v for k, v in self.given.items()}
        positional = [given[a.name] for a in self.op._schema.arguments if not a.kwarg_only]
        named = {a.name: given[a.name] for a in self.op._schema.arguments if a.kwarg_only}
        result: Tensor = self.op(*positional, **named)
        return result


def operator_norm(affine: Function, like: Tensor, tolerance: float = 1e-5) -> float:
    """The norm of A in x -> A x + b, for x of the shape of `like`: the largest singular value.

    By Lanczos' method (ARPACK) on A'A, whose start does not depend on any seed; right to `tolerance`, relative, as far
    as float32 goes. A network's layers are small in number and large, so A is only ever applied.
    """
    zero = torch.zeros_like(like)
    with torch.enable_grad():
        shift, adjoint = torch.func.vjp(affine, zero)  # type: ignore[misc]

    def square(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        there = affine(torch.from_numpy(x).to(like).view_as(like)) - shift
        (back,) = adjoint(there)
        result: np.ndarray[Any, Any] = back.detach().flatten().double().cpu().numpy()
        return result

    n = like.numel()
    start = np.random.default_rng(0).standard_normal(n)
    first = square(start)
    if not first.any():
        return 0.0
    if n <= 2:  # too few for Lanczos
        return math.sqrt(np.linalg.eigvalsh(np.stack([square(row) for row in np.eye(n)]))[-1])
    operator = LinearOperator((n, n), matvec=square, dtype=np.float64)
    (value,) = eigsh(operator, k=1, which="LA", v0=start, tol=tolerance, return_eigenvectors=False)
    return math.sqrt(max(float(value), 0.0))


class _Tape(TorchDispatchMode):
    """Writes down every operation that torch does."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.steps: list[_Step] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        given = {a.name: a.default_value for a in func._schema.arguments}
        given |= dict(zip(given, args, strict=False)) | (kwargs or {})
        outputs = out if isinstance(out, list | tuple) else (out,)
        self.steps.append(_Step(func, given, tuple(o for o in outputs if isinstance(o, Tensor))))
        return out


def _walk(steps: Sequence[_Step], z: Tensor, out: Tensor, norm: Callable[[_Step, Tensor], float]) -> Bound:
    """Constants of all tensors in turn, 0 of those that do not depend on z and infinite where none is known."""
    constants, seen = {id(z): 1.0}, [z]
    unknown, layers = [], []
    for step in steps:
        depends = [x for x in step.tensors() if constants.get(id(x), 0.0) > 0]
        largest = max((constants[id(x)] for x in depends), default=0.0)
        constant = largest
        if depends:
            try:
                constant = _constant(step, depends, constants, norm)
            except _NoBoundError as error:
                constant = math.inf
                unknown.append(str(error))
            if not step.outputs:
                return Bound(None, unknown[0], ())  # a number of Python's: what is done with it is not on the tape
            if not math.isclose(constant, largest, rel_tol=1e-9):
                layers.append((step.name, constant / largest, constant))
        if step.in_place and step.outputs:
            # Other tensors on the memory that was overwritten hold old entries beside new ones.
            place = step.out.untyped_storage().data_ptr()
            for other in seen:
                if other is not step.out and other.untyped_storage().data_ptr() == place:
                    constants[id(other)] = math.hypot(constants[id(other)], constant)
        for each in step.outputs:
            constants[id(each)] = constant if each.is_floating_point() or not depends else math.inf
            seen.append(each)
    value = constants.get(id(out), 0.0)
    return Bound(None, unknown[0], ()) if math.isinf(value) else Bound(value, "", tuple(layers))


# ------------------------------------------------------------------ the constant of each operation


class _NoBoundError(Exception):
    """An operation without a known constant; the message names it."""


_SHAPES = frozenset(
    {"alias", "clone", "contiguous", "constant_pad_nd", "detach", "flip", "lift_fresh", "permute", "pixel_shuffle"}
    | {"pixel_unshuffle", "reshape", "roll", "select", "slice", "split", "split_with_sizes", "squeeze", "t", "to_copy"}
    | {"transpose", "unbind", "unsafe_view", "unsqueeze", "view"}
)
"""They move entries, or leave some out."""

_AFFINE = frozenset(
    {"adaptive_avg_pool2d", "addcmul", "addmm", "avg_pool2d", "bmm", "convolution", "div", "expand", "index_select"}
    | {"mean", "mm", "mul", "mv", "reflection_pad2d", "repeat", "replication_pad2d", "sum", "upsample_bicubic2d"}
    | {"upsample_bicubic2d_aa", "upsample_bilinear2d", "upsample_bilinear2d_aa", "upsample_nearest2d"}
)
"""Affine in one argument: exact norms, whatever the size of the input, stride and padding."""

_CONTRACTIONS = ("relu", "tanh", "abs", "neg", "hardtanh", "clamp", "clamp_min", "clamp_max", "softplus", "sin", "cos")

_ELEMENTWISE: Mapping[str, Callable[[Mapping[str, Any]], float]] = {
    **dict.fromkeys(_CONTRACTIONS, lambda _: 1.0),
    "leaky_relu": lambda a: max(1.0, abs(a["negative_slope"])),
    "elu": lambda a: max(a["scale"], abs(a["alpha"] * a["scale"] * a["input_scale"])),
    "sigmoid": lambda _: 0.25,
    "hardsigmoid": lambda _: 1 / 6,
    "hardswish": lambda _: 1.5,
    "gelu": lambda _: 1.13,  # the largest slope is 1.1289, of the approximation by tanh 1.1290
    "silu": lambda _: 1.1,  # 1.0998
    "erf": lambda _: 2 / math.sqrt(math.pi),
    "prelu_kernel": lambda a: max(1.0, float(a["weight"].abs().max())),
}


def _constant(
    step: _Step, depends: Sequence[Tensor], constants: Mapping[int, float], norm: Callable[[_Step, Tensor], float]
) -> float:
    """Of the operation's output, by the constants of its arguments that depend on z. Raises _NoBoundError."""
    name, given = step.name, step.given
    largest = max(constants[id(x)] for x in depends)
    if math.isinf(largest):
        raise _NoBoundError(f"contains {name} by indices that depend on z")  # or an earlier operation is the reason
    if not step.outputs:
        raise _NoBoundError(f"reads a number off what depends on z ({name})")
    if not step.out.is_floating_point():
        raise _NoBoundError(f"contains {name}, whose results are whole numbers")
    if name in _SHAPES or name in ("amax", "amin") or (name in ("max", "min") and "other" not in given):
        return largest
    if name == "as_strided" and _whole(step.out) and depends[0].numel() == step.out.numel():
        return largest
    if name in ("add", "sub", "rsub"):
        scale = {"self" if name == "rsub" else "other": abs(given.get("alpha", 1))}
        terms = [(k, given[k]) for k in ("self", "other") if isinstance(given[k], Tensor)]
        return float(sum(scale.get(k, 1) * constants.get(id(x), 0.0) * step.spread(x) for k, x in terms))
    if name in ("cat", "stack"):
        return math.hypot(*(constants.get(id(x), 0.0) for x in given["tensors"]))
    if name == "copy":
        return constants.get(id(given["src"]), 0.0) * step.spread(given["src"])
    if name == "max_pool2d_with_indices":
        return largest * _max_pool(given)

    # All that follow are bounded in one argument, the others fixed.
    if len(depends) > 1 or (name == "div" and depends[0] is given["other"]):
        raise _NoBoundError(f"contains {name} of two things that depend on z")
    if name in _ELEMENTWISE and depends[0] is given["self"] and depends[0].numel() == step.out.numel():
        return largest * _ELEMENTWISE[name](given)
    if "running_var" in given and depends[0] is given["input"]:  # the batch norms
        return largest * _batch_norm(given)
    if name in _AFFINE and not given.get("rounding_mode"):
        return largest * norm(step, depends[0])
    raise _NoBoundError(f"contains {name}, for which no constant is known")


def _whole(x: Tensor) -> bool:
    """Whether x holds all that its memory does, each entry once, so that it is a rearrangement of any other such."""
    dense = x.is_contiguous() or (x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last))
    return dense and x.untyped_storage().nbytes() == x.numel() * x.element_size()


def _batch_norm(given: Mapping[str, Any]) -> float:
    """The largest of the channels' factors."""
    if given.get("training") or given["running_var"] is None:
        raise _NoBoundError("contains batch norm by the batch's own statistics")
    variance = given["running_var"]
    weight = torch.ones_like(variance) if given["weight"] is None else given["weight"]
    return float((weight.abs() / (variance + given.get("eps", given.get("epsilon"))).sqrt()).max())


def _max_pool(given: Mapping[str, Any]) -> float:
    """sqrt of the number of windows that can hold one entry: |max a - max b|^2 <= sum |a - b|^2 in each window."""
    kernel, dilation = given["kernel_size"], given["dilation"]
    stride = given["stride"] or kernel
    windows = 1
    for i in range(2):
        k, s, d = (values[i % len(values)] for values in (kernel, stride, dilation))
        windows *= math.ceil(k / s) if d == 1 else k
    return math.sqrt(windows)


# ------------------------------------------------------------------ all three


@attrs.frozen(eq=False)
class Lipschitz:
    """What was found."""

    empirical: Tensor
    """Of pairs, [at most pairs], float64."""
    local: Tensor
    """Of points, [points], float64; empty where the map cannot be differentiated."""
    bound: Bound
    """The largest over the classes."""
    words: str
    """Which map."""
    note: str
    """Why there is no local estimate; empty where there is one."""


def measure(representation: Representation, points: int, pairs: int, batch_size: int, streams: Streams) -> Lipschitz:
    """Of z -> features, at z by its law and the classes in turn."""
    subject, options, law = representation.subject, representation.options, representation.law()
    device, conditional = subject.runtime.device, subject.spec.sampler.conditional
    classes = torch.tensor(options.labels, device=device)

    def draw(n: int, name: str) -> Tensor:
        return law.draw(n, streams[name]).to(device)

    def pieces(n: int) -> Iterator[tuple[Tensor, Function]]:
        """Indices below n, a batch at a time, and the map for their classes."""
        for i in torch.arange(n, device=device).split(batch_size):
            yield i, mapping.at(classes[i % options.K] if conditional else None)

    with torch.inference_mode(False):
        mapping = Map.of(representation)
        a, b = draw(pairs, "pairs"), draw(pairs, "pairs")
        empirical = torch.cat([ratios(f, a[i], b[i]).cpu() for i, f in pieces(pairs)])

        z, local, note = draw(points, "points"), [], ""
        try:
            for i, f in pieces(points):
                local.append(jacobian_norms(f, z[i], streams["directions"]))
                subject.progress("Jacobians", int(i[-1]) + 1, points)
        except NotImplementedError as error:
            local, note = [], f"the map cannot be differentiated: {str(error).splitlines()[0]}"

        z, norms, found = draw(1, "bound"), dict[str, float](), []
        for label in classes.split(1) if conditional else [None]:
            found.append(bound(mapping.at(label), z, norms))
            if found[-1].value is None:
                break
            subject.progress("Lipschitz bound", len(found), options.K)
        largest = max(found, key=lambda each: math.inf if each.value is None else each.value)
    return Lipschitz(empirical, torch.cat(local) if local else torch.zeros(0), largest, mapping.words, note)
