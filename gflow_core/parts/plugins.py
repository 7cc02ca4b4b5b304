"""Finding and loading plugins, each on its own: a broken one is reported, never fatal."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import attrs
import pluggy

from gflow_core.errors import PluginError, UnknownPart, did_you_mean, raised, shown
from gflow_core.files.reading import read_bytes
from gflow_core.parts import hookspecs
from gflow_core.parts.analysis import AnalyzerPart
from gflow_core.parts.contracts import (
    Augmentation,
    DatasetPart,
    DiscriminatorPart,
    EncoderPart,
    Latent,
    Loss,
    OptimizerPart,
    Penalty,
    SamplerPart,
    Schedule,
    TextEncoderPart,
    TrackerPart,
)
from gflow_core.parts.foreign import foreign, package, place
from gflow_core.parts.installed import CORE, core_point, is_core
from gflow_core.parts.installed import points as installed_points
from gflow_core.parts.kinds import Kind, kind_of
from gflow_core.parts.registry import Registry
from gflow_core.parts.training import ObjectivePart

__all__ = [
    "KINDS",
    "LOAD",
    "NOTEBOOK",
    "ONLY",
    "PluginRecord",
    "Plugins",
    "blamed",
    "load",
    "name_of",
    "named_files",
    "plugins",
    "unload",
]

KINDS: tuple[Kind, ...] = tuple(
    found
    for contract in (
        SamplerPart,
        DiscriminatorPart,
        ObjectivePart,
        DatasetPart,
        AnalyzerPart,
        EncoderPart,
        TextEncoderPart,
        Latent,
        Loss,
        Penalty,
        Schedule,
        OptimizerPart,
        Augmentation,
        TrackerPart,
    )
    if (found := kind_of(contract))
)
"""The core's own kinds."""

NOTEBOOK = "notebook"
"""What parts registered in Python go by."""

_OURS = frozenset({"vgrow", "far", "dcgan", "cgan", "rmt", "drift"})
"""Plugins that are known to exist, as gflow-NAME; what else there is nobody can say."""

LOAD = "GFLOW_LOAD"
"""Environment variable: files that parts are loaded from, as in PATH; `--load FILE` adds to it."""

ONLY = "GFLOW_LOAD_PLUGINS"
"""Environment variable: the plugins that are loaded besides the core, separated by commas; all where it is not set."""


@attrs.define
class PluginRecord:
    """What became of one plugin."""

    name: str
    dist: str
    version: str
    module: str
    file: str = ""
    sha256: str = ""
    """Of the file, where the parts came from one that was named (`--load`); empty for installed plugins."""
    status: Literal["ok", "broken"] = "ok"
    error: str = ""
    parts: list[tuple[str, str]] = attrs.field(factory=list)
    """(kind, name) of every part it registered."""
    warnings: list[str] = attrs.field(factory=list)
    """What it uses that a later version of the plugin API will not have."""

    def fail(self, error: str) -> None:
        """Note one thing that is wrong with it."""
        self.status = "broken"
        self.error = f"{self.error}; {error}" if self.error else error


@attrs.define(eq=False)
class Plugins:
    """The registries, filled, and the records of who filled them."""

    kinds: dict[str, Kind] = attrs.field(factory=lambda: {kind.name: kind for kind in KINDS})
    """The core's kinds, and those that plugins own."""
    registries: dict[str, Registry[Any]] = attrs.field(
        factory=lambda: {kind.name: Registry(kind.name) for kind in KINDS}
    )
    records: list[PluginRecord] = attrs.field(factory=list)
    waiting: list[tuple[str, str, type[Any], PluginRecord]] = attrs.field(factory=list)
    """(kind, name, part, whose) of kinds that no loaded plugin owns: parts for a plugin that is not there."""
    left_out: tuple[str, ...] = ()
    """Plugins that are installed, and that GFLOW_LOAD_PLUGINS does not name."""
    unknown: tuple[str, ...] = ()
    """Names in GFLOW_LOAD_PLUGINS that no installed plugin has."""

    def get(self, kind: str, name: str) -> type[Any]:
        """The part `name` of `kind`; UnknownPart tells of the plugin that it belongs to, broken or not installed."""
        if kind not in self.registries:
            raise UnknownPart(f'no loaded plugin owns the kind "{kind}" (gflow plugins)')
        try:
            return self.registries[kind].get(name)
        except UnknownPart as error:
            prefix, dot, _ = name.partition(".")
            for record in self.records:
                if record.status == "broken" and prefix == record.name:
                    raise UnknownPart(
                        f'{kind} "{name}" belongs to the plugin {record.name} ({record.dist}), which is broken: '
                        f"{record.error}"
                    ) from error
            if prefix in self.left_out:
                raise UnknownPart(
                    f'{kind} "{name}" belongs to the plugin {prefix}, which {ONLY} leaves out; add it there'
                ) from error
            if dot and prefix not in self._prefixes():
                close = did_you_mean(prefix, self._prefixes())
                mend = f"; pip install gflow-{prefix}" if prefix in _OURS else f"{close} (gflow plugins)"
                file = "" if prefix in _OURS or close else ", and no file that --load names has it"
                raise UnknownPart(f'unknown {kind} "{name}": no plugin {prefix} is installed{file}{mend}') from error
            raise

    def _prefixes(self) -> set[str]:
        """What the names of parts begin with here: plugins, and whatever else they claim."""
        return {record.name for record in self.records}.union(*(r.prefixes() for r in self.registries.values()))

    def register(self, plugin: object, record: PluginRecord | None = None) -> PluginRecord:
        """Run the hooks of one plugin, and note in its record what became of it: BROKEN, and why, on any failure.

        Without a record, as in tests, the plugin goes by its module's name.
        """
        if record is None:
            name = getattr(plugin, "__name__", type(plugin).__name__)
            record = PluginRecord(name, "?", "?", name, getattr(plugin, "__file__", None) or "")
        self.records.append(record)
        try:
            with foreign("registering its parts", record.module):
                kinds, parts = _collect(plugin, record)
                for contract in kinds:
                    self._add_kind(contract, record)
                for kind, name, part in parts:
                    self._add_part(kind, name, part, record)
        except PluginError as error:
            record.fail(str(error))
        return record

    def load_file(self, path: Path) -> PluginRecord:
        """Load the parts of a file, in place of what it registered before. Raises PluginError where that fails."""
        try:
            content = read_bytes(path)
        except OSError as error:
            raise PluginError(
                f"{path}: cannot be read: {error.strerror or error}; --load takes a Python file"
            ) from error
        digest = hashlib.sha256(content).hexdigest()
        before = next((record for record in self.records if record.sha256 and record.file == str(path)), None)
        if before is not None and before.sha256 == digest:
            return before
        if before is not None:
            self._forget(before)
        same = next((record for record in self.records if record.sha256 and record.name == path.stem), None)
        if same is not None:
            raise PluginError(f"{path}: another file of that name is loaded already ({same.file}); rename one of them")
        record = PluginRecord(path.stem, path.name, digest[:12], f"gflow_loaded_{path.stem}", str(path), digest)
        spec = importlib.util.spec_from_file_location(record.module, path)
        if spec is None or spec.loader is None:
            raise PluginError(f"{path}: no Python file; its name ends in .py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[record.module] = module  # classes of the file find it there
        with foreign(f"{path}: importing it", record.module):
            spec.loader.exec_module(module)
        self.register(module, record)
        fault = record.error if record.status == "broken" else ""
        for kind, name in record.parts:
            lacking = self.lacks(kind, self.get(kind, name))
            fault = fault or "; ".join(f"{kind} {name} lacks {words}" for words in lacking)
        if not fault and not record.parts and not any(whose is record for *_, whose in self.waiting):
            fault = "it registers no part; mark a function with @hookimpl (docs/how-to/one-file.md)"
        if fault:
            self._forget(record)
            raise PluginError(f"{path}: {fault}")
        return record

    def lacks(self, kind: str, cls: type[Any]) -> list[str]:
        """What the contract of its kind asks for and the part lacks, in words."""
        own = attrs.fields_dict(cls)
        members = self.kinds[kind].members.items()
        return [words for name, words in members if name not in own and not hasattr(cls, name)]

    def register_one(self, kind: str, name: str, part: type[Any]) -> None:
        """Register one part of a notebook, in place of one that it registered under that name before."""
        record = next((record for record in self.records if record.name == NOTEBOOK), None)
        if record is None:
            record = PluginRecord(NOTEBOOK, NOTEBOOK, "", "__main__")
            self.records.append(record)
        if kind not in self.kinds:
            raise UnknownPart(
                f'there is no kind "{kind}"{did_you_mean(kind, self.kinds)} (known: {", ".join(self.kinds)})'
            )
        if (kind, name) in record.parts:
            self.registries[kind].remove(name)
            record.parts.remove((kind, name))
        elif name in self.registries[kind]:
            provider = self.registries[kind].entry(name).provider
            raise PluginError(f'{kind} "{name}" is one of {provider}; give yours another name')
        self._add_part(kind, name, part, record)
        if (kind, name) not in record.parts:
            fault, record.error, record.status = record.error, "", "ok"
            raise PluginError(fault)
        if lacking := self.lacks(kind, part):
            self.registries[kind].remove(name)
            record.parts.remove((kind, name))
            raise PluginError(f"{kind} {name} lacks {' and '.join(lacking)}")

    def _forget(self, record: PluginRecord) -> None:
        """Take back what it registered."""
        for kind, name in record.parts:
            self.registries[kind].remove(name)
        self.records.remove(record)

    def _add_kind(self, contract: type[Any], record: PluginRecord) -> None:
        """A kind that the plugin owns, and the parts of it that were there before it."""
        found = kind_of(contract)
        if found is None or found.owner != record.name:
            stated = f'declares the kind "{found.name}"' if found else "is declared no kind"
            record.fail(f'{shown(contract)} {stated}; write @kind("{record.name}.NAME", members=...) above it')
            return
        self.kinds[found.name] = found
        self.registries[found.name] = Registry(found.name)
        waiting = [one for one in self.waiting if one[0] == found.name]
        self.waiting = [one for one in self.waiting if one[0] != found.name]
        for kind, name, part, whose in waiting:
            self._add_part(kind, name, part, whose)

    def _add_part(self, kind: str, name: str, part: type[Any], record: PluginRecord) -> None:
        if kind not in self.kinds:
            self.waiting.append((kind, name, part, record))
            return
        try:
            owner = self.kinds[kind].owner
            if record.name != owner and isinstance(name, str) and re.fullmatch(r"[a-z][a-z0-9_]*", name):
                whose = "the core's own" if owner == "core" else f"{owner}'s own"
                own = re.sub(r"[^a-z0-9_]", "_", record.name.lower())
                raise PluginError(f'{kind} "{name}": bare names are {whose}; call it {own}.{name}')
            self.registries[kind].add(name, part, _provider(record))
            record.parts.append((kind, name))
        except PluginError as error:
            # Only this name is refused, to everyone who claims it; all other parts work.
            others = [other for other in self.records if (kind, name) in other.parts]
            conflict = f"conflict of one name: {error}; all other parts work"
            record.fail(conflict if others else str(error))
            for other in others:
                other.parts.remove((kind, name))
                other.fail(conflict)


def _provider(record: PluginRecord) -> str:
    return f"{record.dist} {record.version}"


_Found = tuple[list[type[Any]], list[tuple[str, str, type[Any]]]]


def _collect(plugin: object, record: PluginRecord) -> _Found:
    """The kinds and every (kind, name, part) that the plugin registers; PluginError says what is wrong with it."""
    stated = getattr(plugin, "API_VERSION", hookspecs.API_VERSION)
    if stated != hookspecs.API_VERSION:
        raise PluginError(
            f"it was written for plugin API {stated}, this gflow-core speaks {hookspecs.API_VERSION}: "
            "install matching versions"
        )
    # A manager of its own for each plugin: what one does wrong cannot touch another.
    manager = pluggy.PluginManager("gflow")
    manager.add_hookspecs(hookspecs)
    try:
        # Of a hook or an argument that is deprecated pluggy warns here; the warning belongs to the plugin's record.
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            manager.register(plugin)
        record.warnings += dict.fromkeys(str(warning.message) for warning in said)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise PluginError(_misfit(plugin) or str(error).replace(f" {plugin!r}", "")) from error
    kinds: list[type[Any]] = []
    parts: list[tuple[str, str, type[Any]]] = []
    adds: dict[str, Callable[..., None]] = {}
    for kind, hook in hookspecs.HOOKS.items():
        adds[hook] = lambda name, part, kind=kind: parts.append((kind, name, part))
    adds["register_kinds"] = kinds.append
    adds["register_parts"] = lambda kind, name, part: parts.append((kind, name, part))
    for hook, add in adds.items():
        with foreign(hook, record.module):
            getattr(manager.hook, hook)(add=add)
    return kinds, parts


def _misfit(plugin: object) -> str:
    """Which functions marked as hooks are none: pluggy's own words show the plugin as Python would."""
    known = (*hookspecs.HOOKS.values(), "register_kinds", "register_parts")
    wrong = []
    for name in dir(plugin):
        function = inspect.unwrap(getattr(plugin, name)) if hasattr(getattr(plugin, name), "gflow_impl") else None
        if function is not None and name not in known:
            wrong.append(f"{name} is no hook{did_you_mean(name, known)} (hooks are {', '.join(known)})")
        elif function is not None and (extra := [a for a in inspect.signature(function).parameters if a != "add"]):
            wrong.append(f"{name} takes one argument, add; it has {', '.join(extra)}")
    return "; ".join(wrong)


def load(points: Iterable[EntryPoint] | None = None) -> Plugins:
    """The core's own parts, then every entry point of the group `gflow.plugins`, in name order.

    Without `points` they are those of the environment, or the ones of them that GFLOW_LOAD_PLUGINS names.
    """
    loaded = Plugins()
    point, version = core_point()
    core = point.load()
    loaded.register(core, PluginRecord("core", CORE, version, point.module, core.__file__ or ""))
    if points is None:
        points = installed_points()
        if (listed := os.environ.get(ONLY)) is not None:
            wanted = dict.fromkeys(word.strip() for word in listed.split(",") if word.strip())
            installed = dict.fromkeys(point.name for point in points)
            loaded.left_out = tuple(sorted(name for name in installed if name not in wanted))
            loaded.unknown = tuple(name for name in wanted if name not in installed and name != "core")
            points = [point for point in points if point.name in wanted]
    found = _unique(sorted((p for p in points if not is_core(p)), key=lambda p: (p.name, p.value)))
    names = ["core", *(point.name for point in found)]
    for point in found:
        dist = point.dist
        record = PluginRecord(
            name=point.name,
            dist=dist.name if dist else "?",
            version=(dist.version if dist else "") or "?",
            module=point.module,
        )
        try:
            if names.count(point.name) > 1:
                raise PluginError(f"another plugin is called {point.name}, too; uninstall or rename one")
            with foreign(f"importing {point.value}", point.module):
                plugin = point.load()
                module = plugin if isinstance(plugin, ModuleType) else importlib.import_module(point.module)
                record.file = str(module.__file__ or "")
        except PluginError as error:
            record.fail(str(error))
            loaded.records.append(record)
            continue
        loaded.register(plugin, record)
    return loaded


def _unique(points: Sequence[EntryPoint]) -> list[EntryPoint]:
    """Drop repeats: an editable install seen from its own checkout is listed twice."""
    seen: dict[tuple[str, str, str], EntryPoint] = {}
    for point in points:
        seen.setdefault((point.dist.name if point.dist else "", point.name, point.value), point)
    return list(seen.values())


_loaded: Plugins | None = None


def plugins() -> Plugins:
    """The plugins of this environment, and the files that were named, loaded once."""
    global _loaded
    if _loaded is None:
        _loaded = load()
        try:
            for file in named_files():
                _loaded.load_file(Path(file).resolve())
        except PluginError:
            _loaded = None
            raise
    return _loaded


def named_files() -> list[str]:
    """The files that GFLOW_LOAD names for this process and those that it starts."""
    return [file for file in os.environ.get(LOAD, "").split(os.pathsep) if file]


def unload() -> None:
    """Forget what is loaded: the next one to ask loads it again."""
    global _loaded
    _loaded = None


def blamed(error: BaseException) -> str | None:
    """The plugin whose code raised the error, and where; None where it was none that is loaded."""
    for record in [] if _loaded is None else _loaded.records[1:]:  # the first is the core
        if where := place(error, {package(record.module)}):
            return f"the plugin {record.name} raised {raised(error)} ({where}; GFLOW_DEBUG=1 shows the traceback)"
    return None


def name_of(kind: str, part: Any) -> str:
    """What a recipe calls the part, as the plugins of this environment have it; its class's name where none does."""
    try:
        return plugins().registries[kind].name_of(type(part))
    except UnknownPart:
        return type(part).__name__
