"""The structure of a recipe: its table becomes a `Spec`, or every problem it has at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import attrs

from gflow_core.errors import GflowError, PluginError, Problem, RecipeError, did_you_mean
from gflow_core.files.run_folder import GIVEN, NAMING
from gflow_core.parts.foreign import own
from gflow_core.parts.options import option
from gflow_core.parts.plugins import Plugins
from gflow_core.parts.spec import NETWORKS, OWN_KEYS, Analysis, Network, Spec, Storage, Train
from gflow_core.recipes.asking import ask
from gflow_core.recipes.beside import beside, has_own, read_joins
from gflow_core.recipes.checks import check_analyses, check_parts, check_starts, check_training
from gflow_core.recipes.describe import kinds_of, options_by_name, origin_of
from gflow_core.recipes.from_run import TAKEN, FromRun, no_such_place, other_data, table_of_run
from gflow_core.recipes.goals import check_goal, directed
from gflow_core.recipes.joined import Joined
from gflow_core.recipes.mends import mended
from gflow_core.recipes.tables import FORMAT, PARTS
from gflow_core.recipes.values import Reader, a_list, a_table, on_part
from gflow_core.recipes.words import Place, WrongError, in_words, known_names, path_text

__all__ = ["format_fault", "is_part_place", "structure"]

KEYS = ("gflow", "extends", "title", *PARTS, "optimizer", "train", "analyze")


def structure(
    table: Mapping[str, Any], plugins: Plugins, source: Callable[[Place], str] = lambda _: "", *, begun: bool = False
) -> Spec:
    """The checked recipe. Raises RecipeError with all that is wrong.

    `source(path)` names where the value at `path` came from: a file, or an override. `begun`: of a run that has
    weights of its own by now, so that what training started from need not be there any more.
    """
    faults: list[tuple[Place, str]] = []
    spec = _read_recipe(table, plugins, faults, begun=begun)
    if faults:
        unique = dict.fromkeys(faults)
        told = ((path, mended(message, path, table, source(path))) for path, message in unique)
        raise RecipeError([Problem(path_text(path), message, source(path)) for path, message in told])
    return spec


def _read_recipe(
    table: Mapping[str, Any],
    plugins: Plugins,
    faults: list[tuple[Place, str]],
    inside: tuple[str, ...] = (),
    *,
    begun: bool,
) -> Spec:
    """The recipe, as far as it can be read; what is wrong with it is added to `faults`.

    `inside`: the run folders whose recipes are being read, each for the sake of the one before.
    """
    reader = Reader(plugins)

    def read(function: Callable[..., Any], value: Any, *path: str | int) -> Any:
        try:
            return function(value)
        except WrongError as error:
            faults.extend((path + rest, message) for rest, message in error.faults)
            return None

    if message := format_fault(table.get("gflow")):
        faults.append((("gflow",), message))
        if "gflow" in table:  # another format: nothing else can be judged
            return Spec()
    for key in table:
        if key not in KEYS:
            faults.append(((key,), f"unknown table or key{did_you_mean(key, KEYS) or known_names(KEYS)}"))

    found: dict[str, Any] = {}
    own = {kind: cls() for kind, cls in OWN_KEYS.items()}
    for kind in PARTS:
        if kind in OWN_KEYS and kind in table:
            reads = _data if kind == "dataset" else _with_own
            both = read(lambda value, kind=kind, reads=reads: reads(value, kind, reader, inside), table[kind], kind)
            own[kind], found[kind] = both or (own[kind], None)
        elif kind in table:
            found[kind] = read(lambda value, kind=kind: reader.part(value, kind), table[kind], kind)
    if "train" in table:
        found["train"] = read(lambda value: reader.table(value, Train), table["train"], "train")
    optimizers = read(a_table, table.get("optimizer", {}), "optimizer") or {}
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
    tables = read(a_list, table.get("analyze", []), "analyze") or []
    analyses = [read(lambda value: _analysis(value, reader), value, "analyze", i) for i, value in enumerate(tables)]

    analyze = tuple(analysis for analysis in analyses if analysis is not None)
    storage = own.pop("dataset")
    spec = Spec(title=title or "", storage=storage, networks=own, analyze=analyze, **found)
    # Parts look at one another only where all of them are there.
    whole = not (misplaced or None in (*found.values(), *found["optimizer"].values()))
    faults.extend(check_parts(spec, known_data="dataset" not in table or spec.dataset is not None))
    faults.extend(check_training(spec, {**table, "optimizer": None} if misplaced else table, plugins, reader.spans))
    faults.extend(check_starts(spec, table))
    if "objective" not in table or not begun:
        faults.extend(_not_there(spec, plugins, inside, whole))
    faults.extend(check_analyses(analyses, spec, table, whole))
    wrong = list(check_goal(spec, table)) if None not in analyses else []
    faults.extend(wrong)
    if whole and spec.objective is not None:
        faults.extend((("objective",), message) for message in ask(spec.objective, spec))
    return spec if wrong or None in analyses else directed(spec)


def _data(value: Any, kind: str, reader: Reader, inside: tuple[str, ...]) -> tuple[Storage | Network, Any]:
    """[dataset], and the data sets of its [[dataset.join]] tables, where there are any."""
    if not isinstance(value, Mapping) or "join" not in value or has_own(value, kind, "join", reader):
        return _with_own(value, kind, reader, inside)
    faults: list[tuple[Place, str]] = []
    both, join = None, None
    try:
        both = _with_own({key: given for key, given in value.items() if key != "join"}, kind, reader, inside)
    except WrongError as error:
        faults += error.faults
    try:
        join = read_joins(value["join"], reader)
    except WrongError as error:
        faults += [(("join", *path), message) for path, message in error.faults]
    if faults or both is None:
        raise WrongError(faults)
    return both[0], Joined(both[1], join) if join else both[1]


def _with_own(value: Any, kind: str, reader: Reader, inside: tuple[str, ...]) -> tuple[Storage | Network, Any]:
    """A table with keys of the core's own, as `weights` and `freeze`: these, and a part or another run's network.

    Where the part has an option of such a name, it is the part's.
    """
    if kind in NETWORKS and isinstance(value, Mapping) and "from_run" in value:
        return beside(value, Network, ("freeze",), reader, lambda rest, _: _from_run(rest, kind, reader, inside))
    table = {"use": value} if isinstance(value, str) else a_table(value)
    cls = OWN_KEYS[kind]
    keys = tuple(key for key in attrs.fields_dict(cls) if not has_own(table, kind, key, reader))
    return beside(table, cls, keys, reader, lambda rest, extra: reader.part(rest, kind, extra))


def _from_run(value: Mapping[str, Any], kind: str, reader: Reader, inside: tuple[str, ...]) -> FromRun:
    """The network of another run; of its options only a sampler's `latent` may be given, of that run's length of z."""
    cls = TAKEN[kind]
    own = tuple(key for key in options_by_name(cls) if key != "from_run")
    others = [key for key in value if key not in ("from_run", *own)]
    if others:
        message = f"the run has settled it; beside from_run only {' and '.join((*own, 'freeze'))} may stand"
        raise WrongError([((key,), message) for key in others])
    path = value["from_run"]
    if not isinstance(path, str) or not path:
        raise WrongError.one(f"expected the path of a run folder, as a string, got {in_words(path)}", "from_run")
    try:
        run = _recipe_of(path, (kind,), reader.plugins, inside)
        options = {"from_run": path}
        if "latent" in own:
            latent = value.get("latent", {})
            if isinstance(latent, Mapping) and "use" in latent:
                latent = {"dim": run.sampler.latent.dim, **latent}
            options["latent"] = on_part(latent, run.sampler.latent, {"latent"}, reader.plugins, "latent")
        part: FromRun = reader.table(options, cls)
    except GflowError as error:
        raise WrongError.one(str(error), "from_run") from None
    return part.of(run)


def _recipe_of(path: str, kinds: tuple[str, ...], plugins: Plugins, inside: tuple[str, ...]) -> Spec:
    """The recipe of a run that trained networks of these kinds. GflowError says why it is none."""
    folder, table = table_of_run(path)
    if folder in inside:
        raise GflowError(f"{path}: goes round in a circle: that run's networks would be its own")
    faults: list[tuple[Place, str]] = []
    # What measured the run, perhaps by another plugin, need not be here.
    trained = {key: value for key, value in table.items() if key != "analyze"}
    if isinstance(train := table.get("train"), Mapping):
        trained["train"] = {key: value for key, value in train.items() if key not in ("keep_best", "stop_after")}
    run = _read_recipe(trained, plugins, faults, (*inside, folder), begun=True)
    if faults:
        place, message = faults[0]
        raise GflowError(f"{path}: its recipe.toml is wrong: {Problem(path_text(place), message)}")
    for kind in kinds:
        if run.objective is None or getattr(run, kind) is None or run.data_shape() is None:
            mend = f"copy its [{kind}] table instead" if kind in table else f"name one that has a [{kind}]"
            raise GflowError(f"{path}: that run trained no {kind}; {mend}")
    if run.train is not None and run.train.replicas > 1:
        raise GflowError(f"{path}: that run has {run.train.replicas} replicas; train one of them by itself")
    return run


def _not_there(spec: Spec, plugins: Plugins, inside: tuple[str, ...], whole: bool) -> Iterator[tuple[Place, str]]:
    """What networks and training are to begin from, and is not there, or of other data."""
    for kind in NETWORKS:
        path = spec.networks[kind].weights
        try:
            if path is not None and not Path(path).expanduser().is_file():
                raise no_such_place(path, "no such file of weights")
        except (GflowError, RuntimeError) as error:  # RuntimeError: nobody's home
            yield (kind, "weights"), str(error)
    path = None if spec.train is None else spec.train.from_run
    if path is None or spec.objective is None:
        return
    parts = {kind: getattr(spec, kind) for kind in NETWORKS if getattr(spec, kind) is not None}
    try:
        run = _recipe_of(path, tuple(parts), plugins, inside)
    except GflowError as error:
        yield ("train", "from_run"), str(error)
        return
    try:
        with own("data_shape", spec):
            shape, theirs = spec.data_shape() if whole else None, run.data_shape()
    except PluginError:  # `check_parts` tells
        return
    if shape is not None and theirs is not None:
        labels = any(part.conditional for part in parts.values())
        if fault := other_data(path, theirs, shape, labels=labels):
            yield ("train", "from_run"), fault


def _analysis(value: Any, reader: Reader) -> Analysis:
    """One [[analyze]] table: the core's `name`, `every` and `sampler_batch_norm`, and the analyzer's own options."""
    keys = tuple(attrs.fields_dict(_When))
    when, part = beside(value, _When, keys, reader, lambda rest, extra: reader.part(rest, "analyzer", extra))
    return Analysis(
        name=when.name or value["use"], every=when.every, part=part, sampler_batch_norm=when.sampler_batch_norm
    )


def format_fault(version: Any) -> str | None:
    """What is wrong with the format version that a recipe states."""
    if version is None:
        return f"required: the format version; write gflow = {FORMAT} at the top"
    if type(version) is not int or version != FORMAT:
        return f"this gflow-core reads format {FORMAT}, the recipe says {in_words(version)}"
    return None


def _safe_name(name: str | None) -> str | None:
    if name is None or GIVEN.fullmatch(name):
        return None
    return f"{NAMING}, got {in_words(name)}"


@attrs.frozen(kw_only=True)
class _When:
    """The core's own keys of an [[analyze]] table."""

    name: str | None = option(None, doc="Folder under analysis/; the analyzer's own name by default.", check=_safe_name)
    every: int = option(0, doc="Steps between runs; 0 runs it once, at the end.", unit="steps", ge=0)
    sampler_batch_norm: Literal["eval", "standing"] = option(
        "eval",
        doc="Statistics of batch norm in the sampler that is looked at: the running ones (eval), or standing ones "
        "(Brock et al. 2019, BigGAN), the mean over 4,096 of its samples in batches of train.batch_size.",
    )


def is_part_place(path: Place, word: str, table: Mapping[str, Any], plugins: Plugins) -> bool:
    """Whether `word` at `path` names a part, as in `sampler=NAME` for `sampler.use=NAME`, and is no value by itself."""
    kind: str | None = None
    cls: type[Any] = Train
    words: list[Any] = []
    node: Any
    match path:
        case (str() as one,) if one in PARTS:
            return True
        case ("optimizer", str()) | ("analyze", int()):
            return True
        case (str() as one, *rest) if one in PARTS:
            kind, node = one, table.get(one)
        case ("optimizer" as kind, str() as name, *rest):
            node = table.get("optimizer", {}).get(name)
        case ("analyze", int() as i, *rest):
            kind, node = "analyzer", table["analyze"][i]
        case ("train", *rest) if rest:
            node = table.get("train", {})
        case _:
            return False
    try:
        for key in rest:
            if kind is not None:
                taken = kind in NETWORKS and "from_run" in node
                cls = TAKEN[kind] if taken else plugins.registries[kind].get(node["use"])
            held = options_by_name(cls)[str(key)].type
            kind = next(iter(kinds_of(held)), None)
            words = [one for arm in get_args(held) if origin_of(arm) is Literal for one in get_args(arm)]
            if kind is None:  # a table of its own, such as train.ema
                (cls,) = (arm for arm in (held, *get_args(held)) if attrs.has(arm))
            node = {} if node is None else node.get(key)
    except (GflowError, KeyError, TypeError, ValueError, AttributeError):
        return False  # no such option, or none that holds a part
    return kind is not None and word not in words
