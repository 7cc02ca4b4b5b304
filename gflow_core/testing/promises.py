"""What the checks of all kinds share: how a broken promise is said, and the promises that every part makes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Literal, TypeVar

import attrs
import torch
from torch import Tensor, nn

from gflow_core.errors import GflowError, PluginError, UnknownPart
from gflow_core.parts.nouns import DataShape
from gflow_core.parts.options import option_doc
from gflow_core.parts.plugins import Plugins, plugins
from gflow_core.parts.registry import Registry
from gflow_core.recipes.describe import options_of
from gflow_core.recipes.values import defects
from gflow_core.testing.tiny import TinyData

__all__ = [
    "Broken",
    "Promises",
    "Untried",
    "batch_of",
    "described",
    "imports_torch",
    "same",
    "shapes_for",
    "untouched",
    "weights",
]

T = TypeVar("T")

SIZES = (16, 28, 32, 64, 128)
"""Images are tried at the smallest of these that a part accepts."""


class Broken(AssertionError):
    """A part does not keep a promise; the message names part and promise."""


class Untried(Broken):
    """A part refuses all that a check can try it on; the message says what to pass."""


class Promises:
    """The promises of one part."""

    def __init__(self, kind: str, part: Any) -> None:
        self.kind, self.part = kind, part
        self.who = f"{kind} {type(part).__name__ if attrs.has(type(part)) else repr(part)}"

    def require(self, kept: object, sentence: str) -> None:
        """Raise Broken with the sentence unless `kept`."""
        if not kept:
            raise Broken(f"{self.who}: {sentence}")

    @contextmanager
    def calling(self, what: str) -> Iterator[None]:
        """What the part raises within the block is a broken promise; GflowErrors, meant for people, pass.

        Not PluginErrors, which say that it breaks its contract.
        """
        try:
            yield
        except PluginError as error:
            raise Broken(str(error)) from error
        except (Broken, GflowError):
            raise
        except Exception as error:
            raise Broken(f"{self.who}: {what} raised {type(error).__name__}: {error}") from error

    def common(self) -> None:
        """A frozen, documented attrs class whose module does without torch."""
        cls = type(self.part)
        is_part = attrs.has(cls) and not isinstance(self.part, type)
        self.require(is_part, "a part is an instance of an attrs class; pass the part, not its class")
        self.require(_frozen(self.part), "its class is not @attrs.frozen")
        found, name = _registered(self.kind, cls)
        faults = defects(self.kind, name, found)
        self.require(not faults, "; ".join(faults))
        self.require((cls.__doc__ or "").strip(), "its class has no docstring, which gflow show prints")
        bare = [field.name for field in options_of(cls) if not option_doc(field)]
        self.require(not bare, f"options without a doc: {', '.join(bare)}; declare them with option(..., doc=...)")
        if not cls.__module__.rpartition(".")[2].startswith(("test_", "conftest", "__main__")):  # a test's own part
            line = imports_torch(cls.__module__)
            self.require(not line, f"importing {cls.__module__} imports torch ({line}); import it in build")

    def asked(self, *args: Any, about: str = "") -> list[str]:
        """What `check` says: strings, and no crash. A part without one accepts everything."""
        check = getattr(self.part, "check", None)
        if check is None:
            return []
        about = f" of {about}" if about else ""
        with self.calling(f"check{about}"):
            said = check(*args)
            listed = isinstance(said, Iterable) and not isinstance(said, str)
            messages = list(said) if listed else []
        self.require(listed, f"check{about} returned {said!r:.60}; yield messages, or return a list of them")
        wrong = [message for message in messages if not isinstance(message, str) or not message.strip()]
        self.require(not wrong, f"check{about} yields messages, got {wrong[0]!r:.60}" if wrong else "")
        return messages


def _frozen(part: Any) -> bool:
    name = next((field.name for field in attrs.fields(type(part))), "anything")
    try:
        setattr(part, name, getattr(part, name, None))
    except attrs.exceptions.FrozenInstanceError:
        return True
    except Exception:
        return False
    return False


def _registered(kind: str, cls: type[Any]) -> tuple[Plugins, str]:
    """Plugins that have the part, and its name there; those of the environment, with it where it is not registered."""
    found = plugins()
    try:
        return found, found.registries[kind].name_of(cls)
    except UnknownPart:
        more = Plugins()
    more.kinds |= found.kinds
    more.registries |= {kind: Registry(kind) for kind in found.kinds}
    for other, registry in found.registries.items():
        for name in registry:
            more.registries[other].add(name, registry.get(name), registry.entry(name).provider)
    more.registries[kind].add("testing.part", cls, "gflow_core.testing")
    return more, "testing.part"


_IMPORTS = """
import importlib, runpy, sys, traceback

class Torch:
    def find_spec(self, name, path=None, target=None):
        if name != "torch":
            return None
        machinery = ("<", importlib.__file__, runpy.__file__)
        frames = [frame for frame in traceback.extract_stack() if not frame.filename.startswith(machinery)]
        print("\\ntorch:", *(f"{frame.filename}, line {frame.lineno}: {frame.line}" for frame in frames[:1]))
        sys.exit()

sys.meta_path.insert(0, Torch())
IMPORT(sys.argv[1])
"""
"""Imports a module, and ends at the first import of torch with the outermost line that led there."""


@cache
def imports_torch(module: str) -> str:
    """The line by which a fresh Python that imports the module imports torch; empty where it does not."""
    file = getattr(sys.modules.get(module), "__file__", None) if module.startswith("gflow_loaded_") else None
    code = _IMPORTS.replace("IMPORT(", "importlib.import_module(" if file is None else "runpy.run_path(")
    module = module if file is None else file  # of --load: no module that can be found by its name
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", code, module]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise Broken(f"importing {module} by itself fails: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout.rpartition("\ntorch:")[2].strip() if "\ntorch:" in done.stdout else ""


# ------------------------------------------------------------------ data to try parts on


def shapes_for(promises: Promises, given: DataShape | None = None) -> list[DataShape | None]:
    """What a network or an encoder is tried on: the shape given, or the smallest it accepts of each kind.

    None is among them where the part says by itself what items look like. Raises Untried where it refuses everything.
    """
    part = promises.part
    if given is not None:
        faults = promises.asked(given, about=str(given))
        promises.require(not faults, f"refuses the data it was given, {given}: {'; '.join(faults)}")
        return [given]
    found: list[DataShape | None] = []
    faults = promises.asked(None, about="a recipe without data")
    if hasattr(part, "data_shape"):
        with promises.calling("data_shape"):
            promises.require(isinstance(part.data_shape(), DataShape), "data_shape returns a DataShape")
        found += [] if faults else [None]
    labels: tuple[Literal["none", "classes", "conditions"], ...] = ("none", "classes", "conditions")
    for kind in ("grey", "rgb", "vector"):
        for label in labels:
            for size in SIZES:
                shape = TinyData(kind=kind, labels=label, image_size=size).data_shape()
                faults = promises.asked(shape, about=str(shape))
                # Labels are given to those that read them, and only to them.
                if not faults and getattr(part, "conditional", False) == (label != "none"):
                    found.append(shape)
                if not faults:
                    break
    if not found:
        raise Untried(
            f"{promises.who}: refuses every kind of data it is tried on ({'; '.join(faults) or 'it reads labels'}); "
            "pass one that it accepts: data=DataShape(...)"
        )
    return found


def batch_of(shape: DataShape, n: int = 4) -> tuple[Tensor, Tensor | None]:
    """n items of this shape, in its range, and labels where it has them, the same at every call."""
    generator = torch.Generator().manual_seed(0)
    if shape.low is not None and shape.high is not None:
        x = shape.low + (shape.high - shape.low) * torch.rand(n, *shape.shape, generator=generator)
    else:
        x = torch.randn(n, *shape.shape, generator=generator)
    if x.dim() == 4:
        x = x.contiguous(memory_format=torch.channels_last)  # as the core hands images over
    if shape.classes:
        return x, torch.arange(n) % shape.classes
    return x, torch.randn(n, shape.label_size, generator=generator) if shape.label_size else None


def same(a: Any, b: Any) -> bool:
    """Whether two trees are equal bit for bit, tensors and all; NaN equals itself."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and _bits(a) == _bits(b)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and (a == b or a != a)


def described(x: object) -> str:
    """Type and shape of a tensor, in words, or the type of something else."""
    return f"{x.dtype} {list(x.shape)}" if isinstance(x, Tensor) else type(x).__name__


def _bits(x: Tensor) -> bytes:
    return x.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def weights(module: nn.Module) -> dict[str, Tensor]:
    """A copy of its parameters and buffers."""
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def untouched(
    promises: Promises, what: str, work: Callable[[], T], mend: str = "draw from the generator it is given"
) -> T:
    """What `work` returns; it must neither read nor move torch's global random state."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        before = torch.get_rng_state()
        first = work()
        promises.require(
            torch.equal(before, torch.get_rng_state()),
            f"{what} draws from torch's global random state; {mend}",
        )
    return first
