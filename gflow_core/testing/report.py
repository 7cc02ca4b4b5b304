"""A whole plugin under the checks of all its parts: `gflow plugins check`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

from gflow_core.errors import GflowError, UnknownPart, did_you_mean
from gflow_core.hookspecs import API_VERSION
from gflow_core.plugins import ONLY, PluginRecord, plugins
from gflow_core.schema import defects, options_of
from gflow_core.testing.analyzers import check_analyzer
from gflow_core.testing.objectives import check_objective
from gflow_core.testing.parts import (
    check_dataset,
    check_discriminator,
    check_encoder,
    check_latent,
    check_sampler,
)
from gflow_core.testing.promises import Untried, imports_torch

__all__ = ["Line", "examine"]

_CHECKS: Mapping[str, Callable[..., None]] = {
    "sampler": check_sampler,
    "discriminator": check_discriminator,
    "objective": check_objective,
    "dataset": check_dataset,
    "analyzer": check_analyzer,
    "encoder": check_encoder,
    "latent": check_latent,
}


@attrs.frozen
class Line:
    """What is said about the plugin, or one part of it."""

    what: str
    said: str = "ok"
    ok: bool = True


def examine(name: str, *, full: bool = False) -> Iterator[Line]:
    """The plugin as a whole, then each of its parts with its default options, as soon as it is known.

    Raises UnknownPart where no plugin is called `name`. `full` runs analyzers, and trains on every kind of data.
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
        if imports_torch(record.module):
            return Line(what, f"importing {record.module} imports torch; import it in build", ok=False)
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
    options: dict[str, Any] = {}
    said = "ok"
    if not full and kind == "objective":
        options = {"brief": True}
    if not full and kind == "analyzer":
        options, said = {"run": False}, "ok; not run without --full"
    try:
        try:
            _CHECKS[kind](cls(), **options)
        except Untried:
            own = _own_objective(name.partition(".")[0]) if kind == "analyzer" else None
            if own is None:
                raise
            check_analyzer(cls(), objective=own, **options)  # some look at their own plugin's objective only
    except Untried as error:
        return Line(what, f"not tried: {_without(kind, cls, error)}")
    except AssertionError as error:
        return Line(what, _without(kind, cls, error), ok=False)
    except GflowError as error:
        return Line(what, f"not tried: {error}")
    except Exception as error:
        return Line(what, f"{type(error).__name__}: {error}", ok=False)
    return Line(what, said)


def _own_objective(plugin: str) -> Any:
    """The plugin's first objective that needs no options, if it has one."""
    for name, cls in ((name, plugins().get("objective", name)) for name in plugins().registries["objective"]):
        if name.startswith(f"{plugin}.") and all(field.default is not attrs.NOTHING for field in options_of(cls)):
            return cls()
    return None


def _without(kind: str, cls: type[Any], error: Exception) -> str:
    """The sentence; the line has said already which part it is about."""
    return str(error).removeprefix(f"{kind} {cls.__name__}: ")
