"""A whole plugin under the checks of all its parts: `gflow plugins check`."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

import attrs

from gflow_core.errors import GflowError, PluginError, UnknownPart, did_you_mean
from gflow_core.parts.hookspecs import API_VERSION
from gflow_core.parts.plugins import ONLY, PluginRecord, plugins
from gflow_core.recipes.describe import options_of
from gflow_core.recipes.values import defects
from gflow_core.testing.analyzers import check_analyzer
from gflow_core.testing.encoders import check_encoder, check_text_encoder
from gflow_core.testing.objectives import check_objective
from gflow_core.testing.parts import (
    check_dataset,
    check_discriminator,
    check_latent,
    check_sampler,
)
from gflow_core.testing.promises import Untried, imports_torch
from gflow_core.testing.steps import (
    check_augmentation,
    check_loss,
    check_optimizer,
    check_part,
    check_penalty,
    check_schedule,
    check_tracker,
)
from gflow_core.testing.velocities import check_velocity

__all__ = ["Line", "examine"]

_CHECKS: Mapping[str, Callable[..., None]] = {
    "sampler": check_sampler,
    "discriminator": check_discriminator,
    "objective": check_objective,
    "dataset": check_dataset,
    "analyzer": check_analyzer,
    "encoder": check_encoder,
    "text_encoder": check_text_encoder,
    "latent": check_latent,
    "augmentation": check_augmentation,
    "loss": check_loss,
    "optimizer": check_optimizer,
    "penalty": check_penalty,
    "schedule": check_schedule,
    "tracker": check_tracker,
    "flow.velocity": check_velocity,
}

PATIENCE = 10.0
"""Seconds that an analyzer may take without --full: with default options some work for hours."""


class _OutOfTime(BaseException):
    """Not an Exception: no part's own handlers are to catch it."""


@attrs.frozen
class Line:
    """What is said about the plugin, or one part of it."""

    what: str
    said: str = "ok"
    ok: bool = True


def examine(name: str, *, full: bool = False) -> Iterator[Line]:
    """The plugin as a whole, then each of its parts with its default options, as soon as it is known.

    Raises UnknownPart where no plugin is called `name`. `full` lets analyzers take longer than PATIENCE, and trains on
    every kind of data.
    """
    record = _record(name)
    yield _whole(record)
    for kind, part in record.parts:
        yield _line(kind, part, full)


def _record(name: str) -> PluginRecord:
    loaded = plugins()
    for record in loaded.records:
        if record.name == name:
            return record
    if name in loaded.left_out:
        raise UnknownPart(f"plugin {name} is left out by {ONLY}; add it there")
    names = [record.name for record in loaded.records]
    raise UnknownPart(f'no plugin "{name}" is installed{did_you_mean(name, names)} (installed: {", ".join(names)})')


def _whole(record: PluginRecord) -> Line:
    """It was imported, its hooks are known, it speaks this API and needs no torch to say what it has."""
    what = f"{record.name} ({record.dist} {record.version})"
    if record.status == "broken":
        return Line(what, record.error, ok=False)
    if not record.parts:
        return Line(what, "registers no part", ok=False)
    try:
        if line := imports_torch(record.module):
            return Line(what, f"importing {record.module} imports torch ({line}); import it in build", ok=False)
    except AssertionError as error:
        return Line(what, str(error), ok=False)
    deprecated = "".join(f"; deprecated: {warning}" for warning in record.warnings)
    return Line(what, f"ok, plugin API {API_VERSION}{deprecated}")


def _line(kind: str, name: str, full: bool) -> Line:
    what = f"{kind} {name}"
    cls = plugins().get(kind, name)
    if faults := defects(kind, name, plugins()):
        return Line(what, "; ".join(faults), ok=False)
    if required := [field.name for field in options_of(cls) if field.default is attrs.NOTHING]:
        return Line(what, f"declared well; not tried, it has no default for {', '.join(required)}")
    options: dict[str, Any] = {"brief": True} if kind in ("objective", "flow.velocity") and not full else {}
    try:
        with _limited(PATIENCE if kind == "analyzer" and not full else 0):
            try:
                _CHECKS.get(kind, partial(check_part, kind))(cls(), **options)
            except Untried:
                own = _own_objective(name.partition(".")[0]) if kind == "analyzer" else None
                if own is None:
                    raise
                check_analyzer(cls(), objective=own)  # some look at their own plugin's objective only
    except _OutOfTime:
        return Line(what, f"ok as far as it was tried; still at work after {PATIENCE:g} s, --full waits")
    except Untried as error:
        return Line(what, f"not tried: {_without(what, kind, cls, error)}")
    except (AssertionError, PluginError) as error:
        return Line(what, _without(what, kind, cls, error), ok=False)
    except GflowError as error:
        return Line(what, f"not tried: {error}")
    except Exception as error:
        return Line(what, f"{type(error).__name__}: {error}", ok=False)
    return Line(what)


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Raise _OutOfTime within the block after so many seconds; 0 sets no limit, and Windows knows none."""
    if not seconds or not hasattr(signal, "SIGALRM"):
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise _OutOfTime

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _own_objective(plugin: str) -> Any:
    """The plugin's first objective that needs no options, if it has one."""
    for name, cls in ((name, plugins().get("objective", name)) for name in plugins().registries["objective"]):
        if name.startswith(f"{plugin}.") and all(field.default is not attrs.NOTHING for field in options_of(cls)):
            return cls()
    return None


def _without(what: str, kind: str, cls: type[Any], error: Exception) -> str:
    """The sentence; the line has said already which part it is about."""
    return str(error).removeprefix(f"{kind} {cls.__name__}: ").removeprefix(f"{what}: ")
