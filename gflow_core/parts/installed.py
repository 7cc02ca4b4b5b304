"""Which plugins are installed: the entry points of this environment, each distribution read by itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import Distribution, EntryPoint, distributions

from gflow_core.errors import GflowError, raised
from gflow_core.parts.hookspecs import ENTRY_POINT_GROUP

__all__ = ["CORE", "core_point", "is_core", "points", "unreadable"]

CORE = "gflow-core"


def points() -> list[EntryPoint]:
    """The entry points of plugins, the core's left out; of a distribution that lies on the path twice the first's.

    Distributions that cannot be read are passed over (`unreadable` names them): importlib.metadata's own function
    would raise, whoever they belong to.
    """
    found: dict[str, list[EntryPoint]] = {}
    for dist in distributions():
        try:
            own = _points_of(dist)
            name = re.sub(r"[-_.]+", "-", dist.name).lower() if own else ""
        except Exception:
            continue
        if own:
            found.setdefault(name, own)
    return [point for own in found.values() for point in own if not is_core(point)]


def unreadable() -> Iterator[str]:
    """Every distribution on the path whose metadata is damaged: where it lies, and what is wrong."""
    for dist in distributions():
        where = getattr(dist, "_path", None) or dist.locate_file("")
        try:
            text = dist.read_text("METADATA") or dist.read_text("PKG-INFO") or dist.read_text("")
            if not re.search(r"^Name:[ \t]*\S", text or "", re.MULTILINE | re.IGNORECASE):
                yield f"{where}: it states no name"
                continue
            _points_of(dist)
        except Exception as error:
            yield f"{where}: {raised(error)}"


def _points_of(dist: Distribution) -> list[EntryPoint]:
    """The distribution's plugins. Raises all kinds where its list of entry points is damaged."""
    if not dist.read_text("entry_points.txt"):
        return []
    try:
        own = [point for point in dist.entry_points if point.group == ENTRY_POINT_GROUP]
    except TypeError:
        raise ValueError("a line of entry_points.txt is no NAME = MODULE") from None
    for point in own:
        if not point.pattern.match(point.value):
            raise ValueError(f"entry_points.txt: {point.name} = {point.value} names no module")
    return own


def core_point() -> tuple[EntryPoint, str]:
    """The core's own entry point, and its version. GflowError where it is not installed as it stands here."""
    for found in distributions(name=CORE):  # a checkout's own folder may hold what an earlier install left there
        for point in found.entry_points.select(group=ENTRY_POINT_GROUP, name="core"):
            return point, found.version
    raise GflowError(f"{CORE} is not installed as it is here; run pip install -r requirements.txt")


def is_core(point: EntryPoint) -> bool:
    """Whether it is the core's own."""
    return point.name == "core" and point.dist is not None and point.dist.name == CORE
