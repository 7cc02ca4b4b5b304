"""Checking: a recipe's table becomes a `Spec`, or every problem it has at once.

cattrs chooses a hook by the type of each option; the hooks here are strict (1.7 is no whole number, "3" no
number, "false" no truth value) and raise `_WrongError`, which gather on the way up with the path they belong to.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import attrs
from cattrs import Converter

from gflow_core.contracts import DataShape, EncoderPart, Latent
from gflow_core.errors import GflowError, PluginError, Problem, RecipeError, UnknownPart, did_you_mean
from gflow_core.from_run import FromRun, table_of_run
from gflow_core.optimizers import OPTIMIZERS, SCHEDULES, OptimizerPart, Schedule
from gflow_core.options import option
from gflow_core.plugins import Plugins
from gflow_core.registry import Registry
from gflow_core.spec import Analysis, Spec, Train

__all__ = [
    "FORMAT",
    "Path",
    "default_of",
    "defects",
    "format_fault",
    "is_part_place",
    "options_of",
    "path_text",
    "registry_of",
    "structure",
    "table_of",
    "toml_type",
    "unstructure",
]

FORMAT = 1
"""The version of the recipe format that this core reads."""

Path = tuple[str | int, ...]
"""Where something stands in a recipe: ("analyze", 0, "every")."""

PARTS = ("dataset", "sampler", "discriminator", "objective")
"""The tables that name one part each."""

KEYS = ("gflow", "extends", "title", *PARTS, "optimizer", "train", "analyze")

NETWORKS = ("sampler", "discriminator")

_NESTED: Mapping[Any, str] = {
    Latent: "latent",
    EncoderPart: "encoder",
    OptimizerPart: "optimizer",
    Schedule: "schedule",
}
"""Types of options that hold a part of their own -> the kind of that part."""

_Options = dict[str, "attrs.Attribute[Any]"]

_FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class _WrongError(Exception):
    """Problems found below some place of the recipe, by their paths from there."""

    def __init__(self, faults: Iterable[tuple[Path, str]]) -> None:
        super().__init__()
        self.faults = list(faults)

    @classmethod
    def one(cls, message: str, *path: str | int) -> _WrongError:
        return cls([(path, message)])


def structure(table: Mapping[str, Any], plugins: Plugins, source: Callable[[Path], str] = lambda _: "") -> Spec:
    """The checked recipe. Raises RecipeError with all that is wrong.

    `source(path)` names where the value at `path` came from: a file, or an override.
    """
    faults: list[tuple[Path, str]] = []
    spec = _read_recipe(table, _Reader(plugins), plugins, faults)
    if faults:
        unique = dict.fromkeys(faults)
        raise RecipeError([Problem(path_text(path), message, source(path)) for path, message in unique])
    return spec


def _read_recipe(table: Mapping[str, Any], reader: _Reader, plugins: Plugins, faults: list[tuple[Path, str]]) -> Spec:
    def read(function: Callable[..., Any], value: Any, *path: str | int) -> Any:
        try:
            return function(value)
        except _WrongError as error:
            faults.extend((path + rest, message) for rest, message in error.faults)
            return None

    if message := format_fault(table.get("gflow")):
        faults.append((("gflow",), message))
        if "gflow" in table:  # another format: nothing else can be judged
            return Spec()
    for key in table:
        if key not in KEYS:
            faults.append(((key,), f"unknown table or key{did_you_mean(key, KEYS) or _known(KEYS)}"))

    found: dict[str, Any] = {}
    for kind in PARTS:
        if kind in table:
            taken = kind == "sampler" and isinstance(table[kind], Mapping) and "from_run" in table[kind]
            found[kind] = read(
                lambda value, kind=kind, taken=taken: reader.from_run(value) if taken else reader.part(value, kind),
                table[kind],
                kind,
            )
    if "train" in table:
        found["train"] = read(lambda value: reader.table(value, Train), table["train"], "train")
    optimizers = read(_a_table, table.get("optimizer", {}), "optimizer") or {}
    if misplaced := [key for key in optimizers if key not in NETWORKS and not isinstance(optimizers[key], Mapping)]:
        faults.append(
            (
                ("optimizer",),
                f"{' and '.join(misplaced)} cannot stand here: each network has a table of its own; write "
                "[optimizer.sampler] and [optimizer.discriminator]",
            )
        )
        optimizers = {key: value for key, value in optimizers.items() if key in NETWORKS}
    found["optimizer"] = {
        name: read(lambda value: reader.part(value, "optimizer"), value, "optimizer", name)
        for name, value in optimizers.items()
    }
    title = read(lambda value: reader.value(value, str), table.get("title", ""), "title")
    tables = read(_a_list, table.get("analyze", []), "analyze") or []
    analyses = [read(reader.analysis, value, "analyze", i) for i, value in enumerate(tables)]

    spec = Spec(title=title or "", **{**found, "analyze": tuple(a for a in analyses if a is not None)})
    lacking = list(_lacking(spec))
    faults.extend(lacking)
    # Parts look at one another only where all of them are there and what they say they are.
    whole = not (misplaced or lacking or None in (*found.values(), *found["optimizer"].values()))
    faults.extend(_check_parts(spec, known_data="dataset" not in table or spec.dataset is not None))
    faults.extend(_check_training(spec, {**table, "optimizer": None} if misplaced else table, plugins))
    faults.extend(_check_analyses(analyses, spec, table, whole))
    if whole and spec.objective is not None:
        faults.extend((("objective",), message) for message in _ask(spec.objective, spec))
    return spec


def format_fault(version: Any) -> str | None:
    """What is wrong with the format version that a recipe states."""
    if version is None:
        return f"required: the format version; write gflow = {FORMAT} at the top"
    if type(version) is not int or version != FORMAT:
        return f"this gflow-core reads format {FORMAT}, the recipe says {_got(version)}"
    return None


# ------------------------------------------------------------------ checks that span tables

_LABELS = (
    "choose a data set with labels, or set its option for them (image_folder: dataset.classes, array: dataset.labels, "
    "celeba: dataset.attributes)"
)

_FLAG = "the class attribute conditional (True or False)"
_BUILD = "the method build"

_MEMBERS: Mapping[str, Mapping[str, str]] = {
    "sampler": {"latent": "the option latent", "conditional": _FLAG, "build": _BUILD},
    "discriminator": {"conditional": _FLAG, "build": _BUILD},
    "objective": {"players": 'the class attribute players, such as ("sampler",)', "build": _BUILD},
    "dataset": {"data_shape": "the method data_shape", "load": "the method load"},
    "analyzer": {"needs": 'the class attribute needs, such as frozenset({"sampler"})', "build": _BUILD},
    "encoder": {"classifies": "the class attribute classifies (True or False)", "build": _BUILD},
    "latent": {"dim": "the option dim", "draw": "the method draw"},
}
"""Kind -> what a part must have (`contracts`), in words. `check`, `equilibrium` and `prepare` may be left out."""


def _missing(kind: str, cls: type[Any]) -> list[str]:
    """What the contract of its kind asks for and the part lacks."""
    own = attrs.fields_dict(cls)
    return [
        f"lacks {words}; see docs/plugins.md (a defect of the plugin)"
        for name, words in _MEMBERS.get(kind, {}).items()
        if name not in own and not hasattr(cls, name)
    ]


def _lacking(spec: Spec) -> Iterator[tuple[Path, str]]:
    for kind in PARTS:
        if getattr(spec, kind) is not None:
            yield from (((kind,), message) for message in _missing(kind, type(getattr(spec, kind))))
    for i, analysis in enumerate(spec.analyze):
        yield from ((("analyze", i), message) for message in _missing("analyzer", type(analysis.part)))


def _check_parts(spec: Spec, known_data: bool) -> Iterator[tuple[Path, str]]:
    """Each part by itself, and networks against the shape of the data."""
    shape: DataShape | None = None
    if spec.dataset is not None and _missing("dataset", type(spec.dataset)):
        known_data = False
    elif spec.dataset is not None:
        wrong = _ask(spec.dataset)
        yield from ((("dataset",), message) for message in wrong)
        try:
            shape = spec.dataset.data_shape()
        except Exception as error:
            known_data = False
            if not wrong:
                yield ("dataset",), _defect("data_shape", error)
    elif hasattr(spec.sampler, "data_shape"):
        try:
            spec.sampler.data_shape()
        except Exception as error:
            yield ("sampler",), _defect("data_shape", error)
    for kind in NETWORKS:
        part = getattr(spec, kind)
        if part is not None and known_data and not _missing(kind, type(part)):
            yield from (((kind,), message) for message in _ask(part, shape))
            if part.conditional and shape is not None and not shape.label_size:
                without = f", or set {kind}.conditional = false" if _has_option(type(part), "conditional") else ""
                yield (kind,), f"reads labels, and the data has none ({shape}); {_LABELS}{without}"
    places: list[tuple[Path, Any]] = [((kind,), getattr(spec, kind)) for kind in PARTS]
    places += [(("analyze", i), analysis.part) for i, analysis in enumerate(spec.analyze)]
    for name, optimizer in spec.optimizer.items():
        places.append((("optimizer", name), optimizer))
        if optimizer is not None:
            yield from ((("optimizer", name), message) for message in _ask(optimizer))
    for path, part in places:
        for name, nested in _nested(part):
            yield from (((*path, name), message) for message in _ask(nested))


def _nested(part: Any) -> Iterator[tuple[str, Any]]:
    """The laws and schedules inside a part. (An encoder's check needs a shape: its analyzer calls it.)"""
    for field in attrs.fields(type(part)) if part is not None else ():
        if _kinds(field.type) & {"latent", "schedule"} and attrs.has(type(getattr(part, field.name))):
            yield field.name, getattr(part, field.name)


def _check_training(spec: Spec, table: Mapping[str, Any], plugins: Plugins) -> Iterator[tuple[Path, str]]:
    """[objective], [train] and [optimizer] against each other."""
    train = spec.train
    if train is not None and train.batch_size % train.devices:
        yield (
            ("train", "batch_size"),
            f"must be a multiple of train.devices = {train.devices}, got {train.batch_size}",
        )
    if "objective" not in table:
        for name in spec.optimizer:
            yield ("optimizer", name), "nothing trains without an [objective]; remove this table"
        if train is not None and train.steps:
            yield ("train", "steps"), "nothing trains without an [objective]; remove it, or add an [objective]"
        if train is not None and train.replicas > 1:
            yield ("train", "replicas"), "nothing trains without an [objective]; remove it, or add an [objective]"
        return
    if "train" not in table:
        yield ("train",), "required with an [objective]: add a [train] table with steps = N"
    elif train is not None and not train.steps:
        yield ("train", "steps"), "required with an [objective]: how many steps to train"
    if spec.objective is None:
        return
    name = plugins.registries["objective"].name_of(type(spec.objective))
    if train is not None and train.replicas > 1:
        yield from ((("train", "replicas"), message) for message in _cannot_replicate(spec, train, name))
    players = tuple(getattr(spec.objective, "players", ()))
    for player in players:
        if player not in table:
            yield ("objective",), f"needs a [{player}]"
        if player not in spec.optimizer and isinstance(table.get("optimizer", {}), Mapping):
            yield (
                ("optimizer", player),
                f"required: {name} trains the {player}; add [optimizer.{player}] with use and lr, "
                'as in use = "adam", lr = 1e-4',
            )
    for player, optimizer in spec.optimizer.items():
        if optimizer is not None and train is not None:
            # A schedule that is registered here is highest at one of its ends.
            highest = max(optimizer.at(done).get("momentum", 0.0) for done in (0, max(train.steps - 1, 0)))
            if highest >= 1:
                yield (
                    ("optimizer", player, "momentum_schedule"),
                    f"takes momentum to {highest:g} within train.steps = {train.steps}; it must stay below 1",
                )
        if player not in players:
            trained = " and ".join(f"the {p}" for p in players) or "nothing"
            yield ("optimizer", player), f"{name} trains {trained}{did_you_mean(player, players)}; remove this table"


def _cannot_replicate(spec: Spec, train: Train, objective: str) -> Iterator[str]:
    if not getattr(spec.objective, "replicable", False):
        yield f"{objective} trains one run at a time; remove it"
    elif train.devices > 1:
        yield "replicas share one process; set train.devices = 1, or remove it"
    elif spec.dataset is not None and spec.dataset.data_shape().kind != "vector":
        yield f"works on vectors, the data is {spec.dataset.data_shape()}; remove it"
    elif any(getattr(part, "conditional", False) for part in (spec.sampler, spec.discriminator)):
        yield "works on networks that read no labels; remove it"


def _check_analyses(
    analyses: list[Analysis | None], spec: Spec, table: Mapping[str, Any], whole: bool
) -> Iterator[tuple[Path, str]]:
    """[[analyze]] against the rest of the recipe."""
    first: dict[str, int] = {}
    for i, analysis in enumerate(analyses):
        if analysis is None:
            continue
        path: Path = ("analyze", i)
        if analysis.name in first:
            yield (
                (*path, "name"),
                f'analyze.{first[analysis.name]} is called "{analysis.name}" too; set `name` to tell them apart',
            )
        first.setdefault(analysis.name, i)
        if analysis.every and "objective" not in table:
            yield (*path, "every"), "nothing trains without an [objective], so there are no steps to count; remove it"
        missing = [need for need in sorted(getattr(analysis.part, "needs", ())) if need not in table]
        yield from ((path, f"needs {'an' if need == 'objective' else 'a'} [{need}]") for need in missing)
        if whole and not missing:
            yield from ((path, message) for message in _ask(analysis.part, spec))


def _ask(part: Any, *args: Any) -> list[str]:
    """What the part's `check` says; a part without one has nothing to say."""
    check = getattr(part, "check", None)
    if check is None:
        return []
    try:
        said = check(*args)
        return [said] if isinstance(said, str) else [str(message) for message in said or ()]
    except (Exception, SystemExit) as error:
        return [_defect("check", error)]


def _defect(method: str, error: BaseException) -> str:
    return f"its own {method} raised {type(error).__name__}: {error} (a defect of the plugin)"


# ------------------------------------------------------------------ reading by type


class _Reader:
    """A strict cattrs converter over some plugins."""

    def __init__(self, plugins: Plugins, inside: tuple[str, ...] = ()) -> None:
        """`inside`: the run folders whose recipes are being read, each for the sake of the one before."""
        self.plugins = plugins
        self.inside = inside
        self.converter = converter = Converter()
        factories: tuple[tuple[Callable[[Any], bool], Callable[[Any], Callable[[Any, Any], Any]]], ...] = (
            (lambda kind: True, self._unsupported),  # cattrs tries the last one first
            (lambda kind: _origin(kind) is tuple, self._tuple),
            (lambda kind: _origin(kind) is Union, self._union),
            (lambda kind: _origin(kind) is Literal, self._literal),
            (attrs.has, lambda kind: self.table),
            (lambda kind: kind in _NESTED, lambda kind: lambda value, _: self.part(value, _NESTED[kind])),
        )
        for fits, factory in factories:
            converter.register_structure_hook_factory(fits, factory)
        for kind, hook in ((int, _int), (float, _float), (bool, _bool), (str, _str)):
            converter.register_structure_hook(kind, hook)

    def value(self, value: Any, kind: Any) -> Any:
        return self.converter.structure(value, kind)

    def faults(self, value: Any, kind: Any) -> list[tuple[Path, str]]:
        """What keeps `value` from being read as `kind`."""
        try:
            self.value(value, kind)
        except _WrongError as error:
            return error.faults
        return []

    def part(self, value: Any, kind: str, extra: Iterable[str] = ()) -> Any:
        """A part from its table: `use` names it, the other keys are its options."""
        options = dict(_a_table(value))
        registry = registry_of(self.plugins, kind)
        if "use" not in options:
            raise _WrongError.one(f"required: which {kind}{_known(registry)}", "use")
        name = options.pop("use")
        if not isinstance(name, str):
            raise _WrongError.one(f"expected the name of a part, got {_got(name)}", "use")
        try:
            part = self.plugins.get(kind, name) if kind in self.plugins.registries else registry.get(name)
        except GflowError as error:
            raise _WrongError.one(str(error), "use") from None
        return self.table(options, part, f" (gflow show {kind} {name})", ("use", *extra))

    def table(self, value: Any, cls: Any, hint: str = "", extra: Iterable[str] = ()) -> Any:
        """An instance of the attrs class `cls` from a table of its options."""
        try:
            options = _options(cls)
        except PluginError as error:
            raise _WrongError.one(str(error)) from None
        values: dict[str, Any] = {}
        faults: list[tuple[Path, str]] = []
        for key, given in _a_table(value).items():
            if key not in options:
                close = did_you_mean(key, (*options, *extra))
                faults.append(((key,), f"unknown option{close}{hint or ('' if close else _known(options))}"))
                continue
            try:
                values[key] = self.value(_on_default(given, options[key], self.plugins), options[key].type)
            except _WrongError as error:
                faults.extend(((key, *path), message) for path, message in error.faults)
            except PluginError as error:
                faults.append(((key,), str(error)))
        for key, field in options.items():
            if key not in value and field.default is attrs.NOTHING:
                faults.append(((key,), f"required: {_text(field.type)}{hint}"))
        faults.extend(_invalid(cls, options, values))
        if faults:
            raise _WrongError(faults)
        try:
            return cls(**{options[key].alias or key: given for key, given in values.items()})
        except Exception as error:
            raise _WrongError.one(f"cannot be made: {_first(error)}") from None

    def from_run(self, value: Any) -> FromRun:
        """The sampler of another run; of its options only `latent` may be given, and takes that run's length of z."""
        others = [key for key in value if key not in ("from_run", "latent")]
        if others:
            message = "the run has settled it; beside from_run only latent may stand"
            raise _WrongError([((key,), message) for key in others])
        path = value["from_run"]
        if not isinstance(path, str) or not path:
            raise _WrongError.one(f"expected the path of a run folder, as a string, got {_got(path)}", "from_run")
        try:
            run = self._recipe_of(path)
            latent = value.get("latent", {})
            if isinstance(latent, Mapping) and "use" in latent:
                latent = {"dim": run.sampler.latent.dim, **latent}
            latent = _on_part(latent, run.sampler.latent, {"latent"}, self.plugins, "latent")
            part: FromRun = self.table({"from_run": path, "latent": latent}, FromRun)
        except GflowError as error:
            raise _WrongError.one(str(error), "from_run") from None
        return part.of(run)

    def _recipe_of(self, path: str) -> Spec:
        """The recipe of a run that trained a sampler. GflowError says why it is none."""
        folder, table = table_of_run(path)
        if folder in self.inside:
            raise GflowError(f"{path}: goes round in a circle: that run's sampler would be its own")
        faults: list[tuple[Path, str]] = []
        # What measured the run, perhaps by another plugin, need not be here.
        trained = {key: value for key, value in table.items() if key != "analyze"}
        run = _read_recipe(trained, _Reader(self.plugins, (*self.inside, folder)), self.plugins, faults)
        if faults:
            place, message = faults[0]
            raise GflowError(f"{path}: its recipe.toml is wrong: {Problem(path_text(place), message)}")
        if run.objective is None or run.sampler is None or run.data_shape() is None:
            raise GflowError(f"{path}: that run trained no sampler; copy its [sampler] table instead")
        if run.train is not None and run.train.replicas > 1:
            raise GflowError(f"{path}: that run has {run.train.replicas} replicas; train one of them by itself")
        return run

    def analysis(self, value: Any) -> Analysis:
        """One [[analyze]] table: the core's `name` and `every`, and the analyzer's own options."""
        table = _a_table(value)
        faults: list[tuple[Path, str]] = []
        when = part = None
        try:
            when = self.table({key: table[key] for key in ("name", "every") if key in table}, _When)
        except _WrongError as error:
            faults += error.faults
        try:
            rest = {key: given for key, given in table.items() if key not in ("name", "every")}
            part = self.part(rest, "analyzer", ("name", "every"))
        except _WrongError as error:
            faults += error.faults
        if faults or when is None:
            raise _WrongError(faults)
        return Analysis(name=when.name or table["use"], every=when.every, part=part)

    def _tuple(self, kind: Any) -> Callable[[Any, Any], Any]:
        arms = get_args(kind)
        variadic = len(arms) == 2 and arms[1] is Ellipsis

        def hook(value: Any, _: Any) -> tuple[Any, ...]:
            if not isinstance(value, list) or not (variadic or len(value) == len(arms)):
                got = f"a list of {len(value)}" if isinstance(value, list) else _got(value)
                raise _WrongError.one(f"expected {_text(kind)}, got {got}")
            found: list[Any] = []
            faults: list[tuple[Path, str]] = []
            for i, item in enumerate(value):
                try:
                    found.append(self.value(item, arms[0 if variadic else i]))
                except _WrongError as error:
                    faults.extend(((i, *path), message) for path, message in error.faults)
            if faults:
                raise _WrongError(faults)
            return tuple(found)

        return hook

    def _union(self, kind: Any) -> Callable[[Any, Any], Any]:
        arms = [arm for arm in get_args(kind) if arm is not NoneType]
        words = [option for arm in arms if _origin(arm) is Literal for option in get_args(arm)]

        def hook(value: Any, _: Any) -> Any:
            fitting = [arm for arm in arms if _fits(value, arm)]
            for arm in fitting[:-1]:
                try:
                    return self.value(value, arm)
                except _WrongError:
                    continue
            if fitting:
                return self.value(value, fitting[-1])
            raise _WrongError.one(f"expected {_text(kind)}, got {_got(value)}{_close(value, words)}")

        return hook

    def _literal(self, kind: Any) -> Callable[[Any, Any], Any]:
        def hook(value: Any, _: Any) -> Any:
            if not _fits(value, kind):
                raise _WrongError.one(f"expected {_text(kind)}, got {_got(value)}{_close(value, get_args(kind))}")
            return value

        return hook

    def _unsupported(self, kind: Any) -> Callable[[Any, Any], Any]:
        def hook(value: Any, _: Any) -> Any:
            raise _WrongError.one(
                f"options of type {_type_name(kind)} cannot be read from a recipe (a defect of the plugin)"
            )

        return hook


def _safe_name(name: str | None) -> str | None:
    if name is None or _FOLDER.fullmatch(name):
        return None
    return f"it names a folder: use letters, digits, . _ and -, got {_got(name)}"


@attrs.frozen(kw_only=True)
class _When:
    """The core's own keys of an [[analyze]] table."""

    name: str | None = option(None, doc="Folder under analysis/; the analyzer's own name by default.", check=_safe_name)
    every: int = option(0, doc="Steps between runs; 0 runs it once, at the end.", unit="steps", ge=0)


def _int(value: Any, _: Any) -> int:
    if type(value) is not int:
        raise _WrongError.one(f"expected a whole number, got {_got(value)}")
    if not -(2**63) <= value < 2**63:
        raise _WrongError.one("expected a whole number of at most 64 bits")
    return value


def _float(value: Any, _: Any) -> float:
    if type(value) not in (int, float):
        raise _WrongError.one(f"expected a number, got {_got(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise _WrongError.one("expected a finite number")
    return number


def _bool(value: Any, _: Any) -> bool:
    if type(value) is not bool:
        raise _WrongError.one(f"expected true or false, got {_got(value)}")
    return value


def _str(value: Any, _: Any) -> str:
    if type(value) is not str:
        raise _WrongError.one(f"expected a string, got {_got(value)}")
    return value


def _a_table(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _WrongError.one(f"expected a table, got {_got(value)}")
    return value


def _a_list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise _WrongError.one(f"expected a list of tables ([[analyze]]), got {_got(value)}")
    return value


def _fits(value: Any, kind: Any) -> bool:
    """Whether a TOML value is of the sort that `kind` is written as."""
    origin = _origin(kind)
    if origin is Literal:
        return any(type(value) is type(word) and value == word for word in get_args(kind))
    if origin is tuple:
        return isinstance(value, list)
    if kind in _NESTED or attrs.has(kind):
        return isinstance(value, dict)
    return type(value) is kind or (kind is float and type(value) is int)


def _on_default(value: Any, field: attrs.Attribute[Any], plugins: Plugins) -> Any:
    """A nested part's table without `use` changes the part that is there by default."""
    kinds = _kinds(field.type)
    if not kinds or not isinstance(value, dict) or "use" in value:
        return value
    default = _default(field)
    return _on_part(value, default, kinds, plugins) if attrs.has(type(default)) else value


def _on_part(value: Any, part: Any, kinds: Iterable[str], plugins: Plugins, *path: str) -> Any:
    """The table `value` without `use` on top of the options of `part`; any other value as it is."""
    if not isinstance(value, dict) or "use" in value:
        return value
    own = _part_table(part, kinds, plugins)
    for key in value:
        if "use" in own and key not in attrs.fields_dict(type(part)):
            registries = (registry_of(plugins, kind) for kind in kinds)
            known = [name for registry in registries for name in registry if _has_option(registry.get(name), key)]
            if known:
                uses = _or([f"use = {_quote(name)}" for name in known])
                message = f"{own['use']}, which is the default, has no such option; add {uses}"
                raise _WrongError.one(message, *path, key)
    return {**own, **value}


def _has_option(cls: type[Any], name: str) -> bool:
    field = attrs.fields_dict(cls).get(name)
    return field is not None and field.init


def default_of(field: attrs.Attribute[Any], plugins: Plugins) -> Any:
    """An option's default as a recipe would write it; None where there is none."""
    default = _default(field)
    return None if default is attrs.NOTHING else _plain(default, _kinds(field.type), plugins)


def _default(field: attrs.Attribute[Any]) -> Any:
    """The option's default, made if it is made by a factory; NOTHING where there is none or it needs the rest."""
    default: Any = field.default
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        try:
            return attrs.NOTHING if default.takes_self else default.factory()
        except Exception as error:
            raise PluginError(_defect(f"default of {field.name}", error)) from error
    return default


def _invalid(cls: Any, options: _Options, values: Mapping[str, Any]) -> list[tuple[Path, str]]:
    """What each option's validator says of the values that could be read, each for itself."""
    shell = object.__new__(cls)  # validators may look at other options: those that could be read are there
    for key, value in values.items():
        object.__setattr__(shell, key, value)
    faults: list[tuple[Path, str]] = []
    for key, value in values.items():
        validator = options[key].validator
        if validator is None:
            continue
        try:
            validator(shell, options[key], value)
        except AttributeError:
            pass  # it looked at an option that is missing or wrong itself; making the part tells
        except Exception as error:
            faults.append(((key,), _first(error)))
    return faults


def _first(error: Exception) -> str:
    """The error's message; attrs' own validators put more into `args`."""
    return str(error.args[0]) if error.args else type(error).__name__


# ------------------------------------------------------------------ defects of parts


def defects(kind: str, name: str, plugins: Plugins) -> list[str]:
    """What is wrong with a part whatever a recipe says: members that its kind needs, types, defaults."""
    cls = registry_of(plugins, kind).get(name)
    found = _missing(kind, cls)
    try:
        options = _options(cls)
        reader = _reader(plugins)
        for key, field in options.items():
            if not _readable(field.type):
                found.append(f"options of type {_type_name(field.type)} cannot be read from a recipe: {key}")
                continue
            default = _default(field)
            if default is attrs.NOTHING:
                continue
            fits = default is None and NoneType in get_args(field.type)
            faults = [] if fits else reader.faults(_plain(default, _kinds(field.type), plugins), field.type)
            faults = faults or _invalid(cls, options, {key: default})
            found.extend(f"the default of {key} is wrong: {message}" for _, message in faults)
    except PluginError as error:
        found.append(str(error))
    return found


@lru_cache(maxsize=1)
def _reader(plugins: Plugins) -> _Reader:
    """One for all parts: making a converter takes longer than looking at a part."""
    return _Reader(plugins)


def _readable(kind: Any) -> bool:
    """Whether a recipe can hold an option of this type."""
    origin = _origin(kind)
    if origin is Literal:
        return all(isinstance(word, str | int) for word in get_args(kind))
    if origin in (Union, tuple):
        return all(arm in (NoneType, Ellipsis) or _readable(arm) for arm in get_args(kind))
    return kind in _NESTED or kind in _WORDS or (attrs.has(kind) and all(_readable(f.type) for f in options_of(kind)))


def _type_name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) and get_origin(kind) is None else str(kind)


# ------------------------------------------------------------------ back to a table


def unstructure(spec: Spec, plugins: Plugins) -> dict[str, Any]:
    """The recipe's table with every default filled in: `structure` of it is `spec` again. None is left out."""
    table: dict[str, Any] = {"gflow": FORMAT}
    if spec.title:
        table["title"] = spec.title
    for kind in PARTS:
        if getattr(spec, kind) is not None:
            table[kind] = _part_table(getattr(spec, kind), {kind}, plugins)
    if spec.optimizer:
        table["optimizer"] = {name: _part_table(part, {"optimizer"}, plugins) for name, part in spec.optimizer.items()}
    if spec.train is not None:
        table["train"] = table_of(spec.train, plugins)
    if spec.analyze:
        table["analyze"] = []
        for analysis in spec.analyze:
            part = _part_table(analysis.part, {"analyzer"}, plugins)
            own = {"use": part.pop("use"), "name": analysis.name, "every": analysis.every}
            table["analyze"].append({**own, **part})
    return table


def table_of(part: Any, plugins: Plugins) -> dict[str, Any]:
    """A part's options as a recipe writes them, without `use`."""
    pairs = ((f.name, _plain(getattr(part, f.name), _kinds(f.type), plugins)) for f in options_of(type(part)))
    return {name: value for name, value in pairs if value is not None}


def _part_table(part: Any, kinds: Iterable[str], plugins: Plugins) -> dict[str, Any]:
    for kind in kinds:
        try:
            name = registry_of(plugins, kind).name_of(type(part))
        except UnknownPart:
            continue
        return {"use": name, **table_of(part, plugins)}
    return table_of(part, plugins)


def _plain(value: Any, kinds: Iterable[str], plugins: Plugins) -> Any:
    if isinstance(value, tuple):
        return [_plain(item, kinds, plugins) for item in value]
    return _part_table(value, kinds, plugins) if attrs.has(type(value)) else value


# ------------------------------------------------------------------ what options are


def registry_of(plugins: Plugins, kind: str) -> Registry[Any]:
    """The registry of a kind, the core's optimizers and schedules included."""
    own: dict[str, Registry[Any]] = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES}
    return own[kind] if kind in own else plugins.registries[kind]


def options_of(cls: type[Any]) -> tuple[attrs.Attribute[Any], ...]:
    """The options of a part, their types resolved."""
    return tuple(_options(cls).values())


def _options(cls: type[Any]) -> _Options:
    try:
        attrs.resolve_types(cls)
    except Exception as error:
        raise PluginError(
            f"the types of its options cannot be resolved ({type(error).__name__}: {error}): import them outside "
            "TYPE_CHECKING (a defect of the plugin)"
        ) from error
    return {field.name: field for field in attrs.fields(cls) if field.init}


def is_part_place(path: Path, table: Mapping[str, Any], plugins: Plugins) -> bool:
    """Whether a string at `path` names a part: `sampler=NAME` means `sampler.use=NAME`."""
    match path:
        case (str() as kind,) if kind in PARTS:
            return True
        case ("optimizer", str()) | ("analyze", int()):
            return True
        case (str() as kind, *rest) if kind in PARTS:
            node = table.get(kind)
        case ("optimizer" as kind, str() as name, *rest):
            node = table.get("optimizer", {}).get(name)
        case ("analyze", int() as i, *rest):
            kind, node = "analyzer", table["analyze"][i]
        case _:
            return False
    try:
        for key in rest:
            taken = kind == "sampler" and "from_run" in node  # type: ignore[operator]
            cls = FromRun if taken else registry_of(plugins, kind).get(node["use"])  # type: ignore[index]
            field = _options(cls)[str(key)]
            (kind,) = _kinds(field.type)
            node = node.get(key)  # type: ignore[union-attr]
    except (GflowError, KeyError, TypeError, ValueError, AttributeError):
        return False  # no such option, or none that holds a part
    return True


def _origin(kind: Any) -> Any:
    """Union, tuple or Literal where the type is one of these, however it is written."""
    origin: Any = get_origin(kind)
    return Union if origin is UnionType else origin


def _kinds(kind: Any) -> set[str]:
    """The kinds of parts that an option of this type may hold."""
    if kind in _NESTED:
        return {_NESTED[kind]}
    if _origin(kind) in (Union, tuple):
        return set().union(*(_kinds(arm) for arm in get_args(kind)))
    return set()


def toml_type(kind: Any) -> str:
    """The type of an option as a recipe writes it: `"relu" | "tanh"`, `[float, float]`, `{ use = latent, ... }`."""
    origin, arms = _origin(kind), get_args(kind)
    if origin is Union:
        return " | ".join(toml_type(arm) for arm in arms if arm is not NoneType)
    if origin is Literal:
        return " | ".join(_quote(word) for word in arms)
    if origin is tuple:
        return "[" + ", ".join("..." if arm is Ellipsis else toml_type(arm) for arm in arms) + "]"
    if kind in _NESTED:
        return f"{{ use = {_NESTED[kind]}, ... }}"
    if attrs.has(kind):
        return "{ " + ", ".join(f"{f.name} = {toml_type(f.type)}" for f in options_of(kind)) + " }"
    return "string" if kind is str else getattr(kind, "__name__", str(kind))


_WORDS: Mapping[Any, tuple[str, str]] = {
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    bool: ("true or false", "truth values"),
    str: ("a string", "strings"),
}


def _text(kind: Any) -> str:
    """The type in words, for messages."""
    origin, arms = _origin(kind), get_args(kind)
    if origin is Union:
        return _or([_text(arm) for arm in arms if arm is not NoneType])
    if origin is Literal:
        return _or([_quote(word) for word in arms])
    if origin is tuple:
        names = [_WORDS.get(arm, ("", "values"))[1] for arm in arms if arm is not Ellipsis]
        count = "" if Ellipsis in arms else f"{len(arms)} "
        return f"a list of {count}{names[0] if len(set(names)) == 1 else 'values'}"
    if kind in _NESTED:
        return f"a table that names {'an' if _NESTED[kind][0] in 'aeiou' else 'a'} {_NESTED[kind]} with `use`"
    return _WORDS[kind][0] if kind in _WORDS else "a table"


def _or(words: list[str]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _got(value: Any) -> str:
    """A TOML value in words."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"the string {_quote(value if len(value) <= 60 else value[:57] + '...')}"
    if isinstance(value, int):
        return f"the whole number {value}" if abs(value) < 2**63 else "a whole number of more than 64 bits"
    if isinstance(value, float):
        return f"the number {value!r}"
    if isinstance(value, list):
        return "a list"
    return "a table" if isinstance(value, Mapping) else f"a {type(value).__name__}"


def _quote(word: Any) -> str:
    return json.dumps(word, ensure_ascii=False)


def _close(value: Any, words: Iterable[Any]) -> str:
    return did_you_mean(value, [w for w in words if isinstance(w, str)]) if isinstance(value, str) else ""


def _known(names: Iterable[str]) -> str:
    return f" (known: {', '.join(names) or 'none'})"


def path_text(path: Path) -> str:
    """`analyze.0.every`; keys that TOML would quote are quoted."""
    return ".".join(str(key) if re.fullmatch(r"[A-Za-z0-9_-]+", str(key)) else _quote(key) for key in path)
