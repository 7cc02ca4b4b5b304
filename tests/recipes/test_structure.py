"""Recipes as specs: strict types, every problem at once, each with its path and a mend."""

from __future__ import annotations

import copy
import re
from typing import Any, ClassVar, Literal

import attrs
import pytest

from gflow_core.errors import RecipeError
from gflow_core.nn.latents import Normal, Uniform
from gflow_core.optim.optimizers import SGD, Adam
from gflow_core.optim.schedules import Constant, Exponential, Linear, Multistep
from gflow_core.parts.contracts import EncoderPart, Latent
from gflow_core.parts.nouns import DataShape
from gflow_core.parts.options import option
from gflow_core.parts.plugins import Plugins
from gflow_core.parts.registry import Registry
from gflow_core.parts.spec import Ema, Spec
from gflow_core.recipes.describe import toml_type
from gflow_core.recipes.structure import is_part_place, structure
from gflow_core.recipes.tables import unstructure
from gflow_core.recipes.values import defects
from gflow_core.recipes.words import path_text

# ------------------------------------------------------------------ parts to read


class Built:
    """What every part has besides options and checks; none is called."""

    def build(self, *_):
        raise NotImplementedError

    load = build


@attrs.frozen(kw_only=True)
class Data(Built):
    """Vectors."""

    dim: int = option(2, doc="Length.", ge=1)
    explode: bool = option(False, doc="Raise in data_shape.")

    def check(self):
        if self.dim == 13:
            yield "13 brings bad luck"

    def data_shape(self):
        if self.explode:
            raise RuntimeError("boom")
        return DataShape("vector", (self.dim,))


@attrs.frozen(kw_only=True)
class Inner:
    """Options in a table of their own."""

    depth: int = option(1, doc="Depth.", ge=1)
    word: str = option(doc="A word.")


@attrs.frozen(kw_only=True)
class Net(Built):
    """A sampler with an option of every type."""

    conditional: ClassVar[bool] = False

    latent: Latent = option(factory=lambda: Normal(dim=2), doc="Law.")
    count: int = option(1, doc="A number.", ge=0)
    rate: float = option(0.5, doc="A rate.", gt=0)
    flag: bool = option(False, doc="A flag.")
    word: str = option("a", doc="A word.")
    choice: Literal["relu", "tanh"] = option("relu", doc="A choice.")
    maybe: int | None = option(None, doc="Perhaps.", ge=1)
    passes: int | Literal["few", "many"] = option("few", doc="A number or a word.", ge=1)
    clamp: Literal["data", "none"] | tuple[float, float] = option("data", doc="A word or a pair.")
    pair: tuple[int, float] = option((1, 2.0), doc="A pair.")
    many: tuple[int, ...] = option((1, 2), doc="Numbers.", ge=0)
    inner: Inner | None = option(None, doc="A table.")
    encoder: EncoderPart | None = option(None, doc="A network.")

    def check(self, data):
        if data is None:
            yield "needs a [dataset]"
        elif data.shape[0] > 100:
            yield f"makes at most 100 dimensions, the data is {data}"
        if self.word == "raise":
            raise ZeroDivisionError("division by zero")


@attrs.frozen(kw_only=True)
class Encode(Built):
    """An encoder."""

    classifies: ClassVar[bool] = False

    size: int = option(3, doc="Size.")


@attrs.frozen(kw_only=True)
class Critic(Built):
    """A discriminator without a check."""

    conditional: ClassVar[bool] = False


@attrs.frozen(kw_only=True)
class Train2(Built):
    """An objective for both networks."""

    players: ClassVar[tuple[str, ...]] = ("sampler", "discriminator")

    low: float = option(0.0, doc="Low.")
    high: float = option(1.0, doc="High; above low.")

    def check(self, spec):
        if spec.dataset is None:
            yield "needs a [dataset]"
        if self.low >= self.high:
            yield "low is above high"


@attrs.frozen(kw_only=True)
class Look(Built):
    """An analyzer."""

    needs: ClassVar[frozenset[str]] = frozenset({"dataset", "sampler"})

    bins: int = option(10, doc="Bins.", ge=1)

    def check(self, spec):
        return ["the data has too many dimensions"] if spec.dataset.dim > 50 else None


@attrs.frozen(kw_only=True)
class Odd(Built):
    """A sampler whose options a recipe cannot hold."""

    conditional: ClassVar[bool] = False
    latent: ClassVar[Normal] = Normal(dim=2)

    table: dict[str, int] = option(factory=dict, doc="Not a type for recipes.")


@attrs.frozen(kw_only=True)
class Strict(Built):
    """A sampler with attrs' own validators, one of which looks at another option."""

    conditional: ClassVar[bool] = False
    latent: ClassVar[Normal] = Normal(dim=2)

    low: int = attrs.field(default=0, validator=attrs.validators.instance_of(int))
    high: int = attrs.field(default=1, validator=attrs.validators.lt(10))

    @high.validator
    def _above(self, _field, value):
        if value <= self.low:
            raise ValueError(f"must be above low = {self.low}")


PARTS = {
    "dataset": {"data": Data},
    "sampler": {"net": Net, "odd": Odd, "strict": Strict},
    "discriminator": {"critic": Critic},
    "objective": {"train2": Train2},
    "analyzer": {"look": Look},
    "encoder": {"encode": Encode},
    "latent": {"normal": Normal, "uniform": Uniform},
    "optimizer": {"adam": Adam, "sgd": SGD},
    "schedule": {"constant": Constant, "exponential": Exponential, "linear": Linear, "multistep": Multistep},
}


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    found = Plugins()
    for kind, parts in PARTS.items():
        registry: Registry[Any] = found.registries[kind]
        for name, part in parts.items():
            registry.add(name, part, "test 1.0")
    return found


FULL: dict[str, Any] = {
    "gflow": 1,
    "dataset": {"use": "data"},
    "sampler": {"use": "net"},
    "discriminator": {"use": "critic"},
    "objective": {"use": "train2"},
    "optimizer": {"sampler": {"use": "adam", "lr": 1e-4}, "discriminator": {"use": "sgd", "lr": 1}},
    "train": {"steps": 10},
    "analyze": [{"use": "look", "every": 5}],
}


def changed(**tables: Any) -> dict[str, Any]:
    """FULL with keys put into its tables; None removes a table."""
    table = copy.deepcopy(FULL)
    for name, value in tables.items():
        if value is None:
            del table[name]
        elif isinstance(value, dict) and isinstance(table.get(name, {}), dict):
            table[name] = {**table.get(name, {}), **value}
        else:
            table[name] = value
    return table


def problems(table: dict[str, Any], plugins: Plugins) -> dict[str, str]:
    with pytest.raises(RecipeError) as error:
        structure(table, plugins)
    found = {p.path: re.sub(r"plugin: .*, line \d+\)", "plugin)", p.message) for p in error.value.problems}
    assert len(found) == len(error.value.problems), "one problem a place"
    return found


# ------------------------------------------------------------------ what is right


def test_a_whole_recipe(plugins):
    spec = structure(FULL, plugins)
    assert spec.dataset == Data()
    assert spec.sampler == Net()
    assert spec.optimizer["discriminator"].lr == 1.0
    assert type(spec.optimizer["discriminator"].lr) is float
    assert spec.train.steps == 10
    assert [(a.name, a.every, a.part) for a in spec.analyze] == [("look", 5, Look())]


RIGHT = [
    ({"latent": {"use": "uniform", "dim": 3}}, {"latent": Uniform(dim=3)}),
    ({"latent": {"dim": 3}}, {"latent": Normal(dim=3)}),
    ({"latent": {}}, {"latent": Normal(dim=2)}),
    ({"latent": {"use": "normal"}}, {"latent": Normal(dim=128)}),
    ({"rate": 2}, {"rate": 2.0}),
    ({"maybe": 4}, {"maybe": 4}),
    ({"passes": 4}, {"passes": 4}),
    ({"passes": "many"}, {"passes": "many"}),
    ({"clamp": [0, 1]}, {"clamp": (0.0, 1.0)}),
    ({"clamp": "none"}, {"clamp": "none"}),
    ({"pair": [3, 4]}, {"pair": (3, 4.0)}),
    ({"many": []}, {"many": ()}),
    ({"many": [5, 6, 7]}, {"many": (5, 6, 7)}),
    ({"inner": {"word": "x"}}, {"inner": Inner(word="x")}),
    ({"encoder": {"use": "encode", "size": 4}}, {"encoder": Encode(size=4)}),
]


@pytest.mark.parametrize(("options", "expected"), RIGHT)
def test_options_of_every_type(plugins, options, expected):
    spec = structure(changed(sampler=options), plugins)
    assert spec.sampler == Net(**expected)
    assert structure(unstructure(spec, plugins), plugins) == spec


def test_unstructure_fills_in_defaults_with_use_first_and_leaves_out_none(plugins):
    table = unstructure(structure(changed(title="T", train={"ema": {"start": 5}}), plugins), plugins)
    assert list(table) == [
        "gflow", "title", "dataset", "sampler", "discriminator", "objective", "optimizer", "train", "analyze",
    ]  # fmt: skip
    assert table["sampler"] == {
        "use": "net",
        "latent": {"use": "normal", "dim": 2},
        "count": 1,
        "rate": 0.5,
        "flag": False,
        "word": "a",
        "choice": "relu",
        "passes": "few",
        "clamp": "data",
        "pair": [1, 2.0],
        "many": [1, 2],
    }
    assert next(iter(table["sampler"])) == next(iter(table["sampler"]["latent"])) == "use"
    assert table["optimizer"]["sampler"]["schedule"] == {"use": "constant", "value": 1.0}
    assert table["train"]["ema"] == {"decay": 0.999, "start": 5, "buffers": "copy"}
    assert table["analyze"] == [{"use": "look", "name": "look", "every": 5, "bins": 10}]
    assert list(table["analyze"][0])[:3] == ["use", "name", "every"]


def test_a_recipe_needs_only_the_tables_its_parts_need(plugins):
    assert structure({"gflow": 1}, plugins) == Spec()
    spec = structure({"gflow": 1, "train": {"seed": 3}, "analyze": []}, plugins)
    assert spec.seed == 3


def test_schedules_and_ema(plugins):
    table = changed(train={"ema": {}})
    table["optimizer"]["sampler"]["schedule"] = {"use": "linear", "steps": 5}
    spec = structure(table, plugins)
    assert spec.train.ema == Ema()
    assert spec.optimizer["sampler"].schedule == Linear(steps=5)
    assert spec.optimizer["discriminator"].schedule == Constant()


# ------------------------------------------------------------------ what is wrong, option by option


WRONG = [
    ({"count": 1.7}, "sampler.count", "expected a whole number, got the number 1.7"),
    ({"count": "3"}, "sampler.count", 'expected a whole number, got the string "3"; write count = 3'),
    ({"count": True}, "sampler.count", "expected a whole number, got true"),
    ({"count": -1}, "sampler.count", "must be >= 0, got -1"),
    ({"count": 2**63}, "sampler.count", "expected a whole number of at most 64 bits"),
    ({"rate": "fast"}, "sampler.rate", 'expected a number, got the string "fast"'),
    ({"rate": False}, "sampler.rate", "expected a number, got false"),
    ({"rate": float("nan")}, "sampler.rate", "expected a finite number"),
    ({"rate": float("inf")}, "sampler.rate", "expected a finite number"),
    ({"rate": 10**400}, "sampler.rate", "expected a finite number"),
    ({"flag": "false"}, "sampler.flag", 'expected true or false, got the string "false"; write flag = false'),
    ({"flag": 0}, "sampler.flag", "expected true or false, got the whole number 0"),
    ({"word": 3}, "sampler.word", 'expected a string, got the whole number 3; write word = "3"'),
    ({"word": ["a"]}, "sampler.word", "expected a string, got a list"),
    (
        {"choice": "rellu"},
        "sampler.choice",
        'expected "relu" or "tanh", got the string "rellu"; did you mean "relu"?',
    ),
    ({"choice": 1}, "sampler.choice", 'expected "relu" or "tanh", got the whole number 1'),
    ({"maybe": "no"}, "sampler.maybe", 'expected a whole number, got the string "no"'),
    ({"maybe": 0}, "sampler.maybe", "must be >= 1, got 0"),
    (
        {"passes": "fwe"},
        "sampler.passes",
        'expected a whole number or "few" or "many", got the string "fwe"; did you mean "few"?',
    ),
    ({"passes": 1.5}, "sampler.passes", 'expected a whole number or "few" or "many", got the number 1.5'),
    ({"clamp": [1.0]}, "sampler.clamp", "expected a list of 2 numbers, got a list of 1"),
    ({"clamp": [1.0, "x"]}, "sampler.clamp.1", 'expected a number, got the string "x"'),
    ({"clamp": 1.0}, "sampler.clamp", 'expected "data" or "none" or a list of 2 numbers, got the number 1.0'),
    ({"pair": [1, 2, 3]}, "sampler.pair", "expected a list of 2 values, got a list of 3"),
    ({"pair": [1.5, 2]}, "sampler.pair.0", "expected a whole number, got the number 1.5"),
    ({"many": 3}, "sampler.many", "expected a list of whole numbers, got the whole number 3"),
    ({"many": [1, -1]}, "sampler.many", "must be >= 0, got -1"),
    ({"inner": {}}, "sampler.inner.word", "required: a string"),
    ({"inner": {"word": "x", "dept": 2}}, "sampler.inner.dept", 'unknown option; did you mean "depth"?'),
    ({"inner": {"word": "x", "depth": 0}}, "sampler.inner.depth", "must be >= 1, got 0"),
    ({"inner": 3}, "sampler.inner", "expected a table, got the whole number 3"),
    ({"latent": 3}, "sampler.latent", "expected a table, got the whole number 3"),
    ({"latent": {"use": 3}}, "sampler.latent.use", "expected the name of a part, got the whole number 3"),
    (
        {"latent": {"use": "norml"}},
        "sampler.latent.use",
        'unknown latent "norml"; did you mean "normal"? (known: normal, uniform)',
    ),
    ({"latent": {"dim": 0}}, "sampler.latent.dim", "must be >= 1, got 0"),
    (
        {"latent": {"dmi": 0}},
        "sampler.latent.dmi",
        'unknown option; did you mean "dim"? (gflow show latent normal)',
    ),
    ({"encoder": {"size": 3}}, "sampler.encoder.use", "required: which encoder (known: encode)"),
    ({"coutn": 3}, "sampler.coutn", 'unknown option; did you mean "count"? (gflow show sampler net)'),
    ({"zzz": 3}, "sampler.zzz", "unknown option (gflow show sampler net)"),
    ({"use": "nett"}, "sampler.use", 'unknown sampler "nett"; did you mean "net"? (known: net, odd, strict)'),
    ({"word": "raise"}, "sampler", "its own check raised ZeroDivisionError: division by zero (a defect of the plugin)"),
    (
        {"use": "odd", "table": {}},
        "sampler",
        "options of type dict[str, int] cannot be read from a recipe: table (a defect of the plugin)",
    ),
]


@pytest.mark.parametrize(("options", "path", "message"), WRONG)
def test_wrong_options(plugins, options, path, message):
    assert problems(changed(sampler=options), plugins) == {path: message}


def test_what_a_part_lacks_is_its_own_problem_and_nobody_elses(plugins):
    @attrs.frozen(kw_only=True)
    class Half:
        """No conditional, no latent, no build."""

        def check(self, data):
            raise AssertionError("not asked")

    @attrs.frozen(kw_only=True)
    class Empty:
        """A data set that is none."""

    @attrs.frozen(kw_only=True)
    class Asks(Built):
        """An objective that looks at the sampler."""

        players: ClassVar[tuple[str, ...]] = ("sampler",)

        def check(self, spec):
            return ["reads labels"] if spec.sampler.conditional else []

    own = copy.deepcopy(plugins)
    own.registries["sampler"].add("half", Half, "test 1.0")
    own.registries["dataset"].add("empty", Empty, "test 1.0")
    own.registries["objective"].add("asks", Asks, "test 1.0")
    optimizer = {"sampler": {"use": "adam", "lr": 1}}
    table = {"gflow": 1, "dataset": {"use": "empty"}, "sampler": {"use": "half"}, "objective": {"use": "asks"}}
    with pytest.raises(RecipeError) as error:
        structure({**table, "optimizer": optimizer, "train": {"steps": 1}}, own)
    assert [str(problem) for problem in error.value.problems] == [
        f"{place}: lacks {what}; see docs/plugins.md (a defect of the plugin)"
        for place, what in (
            ("dataset", "the method data_shape"),
            ("dataset", "the method load"),
            ("sampler", "the option latent"),
            ("sampler", "the class attribute conditional (True or False)"),
            ("sampler", "the method build"),
        )
    ]


def test_validators_of_attrs_itself_are_heard_too(plugins):
    def told(**options):
        return problems(changed(sampler={"use": "strict", **options}), plugins)

    assert told(high=10) == {"sampler.high": "'high' must be < 10: 10"}
    assert told(low=3) == {"sampler": "cannot be made: must be above low = 3"}
    assert told(low=3, high=2) == {"sampler.high": "must be above low = 3"}
    assert told(low="x", high=2) == {"sampler.low": 'expected a whole number, got the string "x"'}


def test_options_whose_types_cannot_be_resolved_are_the_plugins_defect(plugins):
    @attrs.frozen
    class Unresolved(Built):
        conditional: ClassVar[bool] = False
        latent: ClassVar[Normal] = Normal(dim=2)
        x: NoSuchType = 3  # noqa: F821

    own = Plugins()
    own.registries["sampler"].add("bad", Unresolved, "test 1.0")
    (message,) = problems({"gflow": 1, "sampler": {"use": "bad"}}, own).values()
    assert "NoSuchType" in message
    assert "defect of the plugin" in message


def test_a_default_that_cannot_be_made_is_the_plugins_defect(plugins):
    @attrs.frozen
    class Unmade(Built):
        conditional: ClassVar[bool] = False
        latent: Latent = option(factory=lambda: 1 / 0, doc="Law.")

    own = Plugins()
    own.registries["sampler"].add("bad", Unmade, "test 1.0")
    for options in ({}, {"latent": {"dim": 3}}):
        (message,) = problems({"gflow": 1, "sampler": {"use": "bad", **options}}, own).values()
        assert "division by zero" in message


@attrs.frozen(kw_only=True)
class Sound(Built):
    """A sampler that is all right."""

    conditional: ClassVar[bool] = False
    latent: ClassVar[Normal] = Normal(dim=2)


@attrs.frozen(kw_only=True)
class BelowItsBound(Sound):
    width: int = option(0, doc="Width.", ge=1)


@attrs.frozen(kw_only=True)
class OfAnotherType(Sound):
    width: int = option("64", doc="Width.")


@attrs.frozen(kw_only=True)
class Unreadable(Sound):
    widths: list[int] = option(factory=list, doc="Widths.")


@attrs.frozen(kw_only=True)
class Uses(Sound):
    use: int = option(3, doc="What names the part.")


@attrs.frozen(kw_only=True)
class FromRun(Sound):
    from_run: str = option("", doc="What names another run.")


@attrs.frozen(kw_only=True)
class Spelt(Train2):
    players: ClassVar[str] = "sampler"


@attrs.frozen(kw_only=True)
class TrainsAnother(Train2):
    players: ClassVar[tuple[str, ...]] = ("generator",)


@attrs.frozen(kw_only=True)
class NeedsAnother(Look):
    needs: ClassVar[frozenset[str]] = frozenset({"data"})


@attrs.frozen(kw_only=True)
class OfHowMany(Look):
    of_samples: ClassVar[bool] = True
    needs: ClassVar[frozenset[str]] = frozenset({"sampler"})


@attrs.frozen(kw_only=True)
class OfSamplesAndMore(Look):
    of_samples: ClassVar[bool] = True
    needs: ClassVar[frozenset[str]] = frozenset({"sampler", "discriminator"})
    samples: int = option(10, doc="Samples.")


@pytest.mark.parametrize(
    ("kind", "part", "message"),
    [
        ("analyzer", OfHowMany, "of_samples goes with an option samples, which says how many; add it"),
        (
            "analyzer",
            OfSamplesAndMore,
            "of_samples goes with needs of sampler and dataset alone; gflow score has no others",
        ),
        ("sampler", BelowItsBound, "the default of width is wrong: must be >= 1, got 0"),
        ("sampler", OfAnotherType, 'the default of width is wrong: expected a whole number, got the string "64"'),
        ("sampler", Unreadable, "options of type list[int] cannot be read from a recipe: widths"),
        ("sampler", Uses, 'no option can be called "use", which means something else there; rename it'),
        ("sampler", FromRun, 'no option can be called "from_run", which means something else there; rename it'),
        ("objective", Spelt, "players is a tuple of sampler, discriminator; got 'sampler'"),
        ("objective", TrainsAnother, "players is a tuple of sampler, discriminator; got ('generator',)"),
        (
            "analyzer",
            NeedsAnother,
            "needs is a frozenset of dataset, sampler, discriminator, objective; got frozenset({'data'})",
        ),
    ],
)
def test_a_recipe_with_a_broken_part_says_what_gflow_plugins_says(plugins, kind, part, message):
    own = copy.deepcopy(plugins)
    own.registries[kind].add("broken", part, "test 1.0")
    assert defects(kind, "broken", own) == [message]
    place = "analyze" if kind == "analyzer" else kind
    table = {**copy.deepcopy(FULL), place: [{"use": "broken"}] if kind == "analyzer" else {"use": "broken"}}
    with pytest.raises(RecipeError) as error:
        structure(table, own)
    where = "analyze.0" if kind == "analyzer" else kind
    assert [str(problem) for problem in error.value.problems] == [f"{where}: {message} (a defect of the plugin)"]


# ------------------------------------------------------------------ what is wrong across tables


CROSS = [
    ({"gflow": None}, "gflow", "required: the format version; write gflow = 1 at the top"),
    ({"gflow": 2}, "gflow", "this gflow-core reads format 1, the recipe says the whole number 2"),
    ({"gflow": True}, "gflow", "this gflow-core reads format 1, the recipe says true"),
    ({"title": 3}, "title", 'expected a string, got the whole number 3; write title = "3"'),
    ({"smapler": {}}, "smapler", 'unknown table or key; did you mean "sampler"?'),
    ({"sampler": 3}, "sampler", "expected a table, got the whole number 3"),
    ({"dataset": {"dim": 13}}, "dataset", "13 brings bad luck"),
    (
        {"dataset": {"explode": True}},
        "dataset",
        "its own data_shape raised RuntimeError: boom (a defect of the plugin)",
    ),
    (
        {"dataset": {"dim": 101}, "analyze": []},
        "sampler",
        "makes at most 100 dimensions, the data is vector 101 unbounded",
    ),
    ({"dataset": {"dim": 60}}, "analyze.0", "the data has too many dimensions"),
    ({"objective": {"low": 2}}, "objective", "low is above high"),
    ({"discriminator": None}, "objective", "needs a [discriminator]"),
    ({"train": None}, "train", "required with an [objective]: add a [train] table with steps = N"),
    (
        {"train": {"batch_size": 10, "devices": 3}},
        "train.batch_size",
        "must be a multiple of train.devices = 3, got 10",
    ),
    (
        {"train": {"stesp": 0}},
        "train.stesp",
        'unknown option; did you mean "steps"?',
    ),
    (
        {"optimizer": {"sampler": {"use": "adam"}}},
        "optimizer.sampler.lr",
        "required: a number or a table that names a schedule with `use` (gflow show optimizer adam)",
    ),
    (
        {"optimizer": {"sampler": {"use": "sgd", "lr": 1, "nesterov": True}}},
        "optimizer.sampler",
        "nesterov needs momentum > 0 and dampening = 0",
    ),
    ({"optimizer": {"sampler": 3}}, "optimizer.sampler", "expected a table, got the whole number 3"),
    (
        {"optimizer": {"use": "adam", "lr": 1, "schedule": {}}},
        "optimizer",
        "use and lr cannot stand here: each network has a table of its own; write [optimizer.sampler] and "
        "[optimizer.discriminator]",
    ),
    (
        {"optimizer": {"sampler": {"use": "sgd", "lr": 1, "schedule": {"milestones": [3]}}}},
        "optimizer.sampler.schedule.milestones",
        'constant, which is the default, has no such option; add use = "multistep"',
    ),
    ({"optimizer": 3}, "optimizer", "expected a table, got the whole number 3"),
    (
        {"optimizer": {"generator": {"use": "adam", "lr": 1}}},
        "optimizer.generator",
        "train2 trains the sampler and the discriminator; remove this table",
    ),
    ({"analyze": {"use": "look"}}, "analyze", "expected a list of tables ([[analyze]]), got a table"),
    ({"analyze": [3]}, "analyze.0", "expected a table, got the whole number 3"),
    ({"analyze": [{}]}, "analyze.0.use", "required: which analyzer (known: look)"),
    (
        {"analyze": [{"use": "look", "evry": 1}]},
        "analyze.0.evry",
        'unknown option; did you mean "every"? (gflow show analyzer look)',
    ),
    ({"analyze": [{"use": "look", "every": -1}]}, "analyze.0.every", "must be >= 0, got -1"),
    (
        {"analyze": [{"use": "look"}, {"use": "look", "bins": 3}]},
        "analyze.1.name",
        'analyze.0 is called "look" too; set `name` to tell them apart',
    ),
]


def test_steps_are_to_be_said_if_only_as_0(plugins):
    message = "required with an [objective]: how many steps to train (0: look at the networks as they begin)"
    table = changed()
    table["train"] = {key: value for key, value in table["train"].items() if key != "steps"}
    assert problems(table, plugins) == {"train.steps": message}


@pytest.mark.parametrize(("tables", "path", "message"), CROSS)
def test_tables_against_each_other(plugins, tables, path, message):
    assert problems(changed(**tables), plugins) == {path: message}


def test_a_missing_optimizer_names_the_table_to_add(plugins):
    assert problems(changed(optimizer=None), plugins) == {
        f"optimizer.{player}": (
            f"required: train2 trains the {player}; add [optimizer.{player}] with use and lr, "
            'as in use = "adam", lr = 1e-4'
        )
        for player in ("sampler", "discriminator")
    }


def test_a_momentum_that_reaches_one_within_the_run_is_refused(plugins):
    growing = {"use": "sgd", "lr": 0.1, "momentum": 0.5, "momentum_schedule": {"use": "exponential", "factor": 1.1}}
    optimizer = changed()["optimizer"] | {"sampler": growing}
    (place, message), *others = problems(changed(optimizer=optimizer, train={"steps": 100}), plugins).items()
    assert (place, others) == ("optimizer.sampler.momentum_schedule", [])
    assert message.startswith("takes momentum to")
    assert message.endswith("within train.steps = 100; it must stay below 1")
    structure(changed(optimizer=optimizer, train={"steps": 5}), plugins)


def test_without_an_objective_nothing_trains(plugins):
    assert problems(changed(objective=None), plugins) == {
        "optimizer.sampler": "nothing trains without an [objective]; remove this table",
        "optimizer.discriminator": "nothing trains without an [objective]; remove this table",
        "train.steps": "nothing trains without an [objective]; remove it, or add an [objective]",
        "analyze.0.every": "nothing trains without an [objective], so there are no steps to count; remove it",
    }


def test_an_analyzer_says_what_the_recipe_lacks(plugins):
    with pytest.raises(RecipeError) as error:
        structure({"gflow": 1, "analyze": [{"use": "look"}]}, plugins)
    assert [str(p) for p in error.value.problems] == [
        "analyze.0: needs a [dataset]",
        "analyze.0: needs a [sampler]",
    ]


@pytest.mark.parametrize("name", ["../x", "a/b", "..", "", ".hidden", "a" * 200, "a b", "a\n", "\u00e9"])
def test_names_that_are_no_folder_are_refused(plugins, name):
    (message,) = problems(changed(analyze=[{"use": "look", "name": name}]), plugins).values()
    assert message.startswith(
        "it names a folder: up to 100 of a-z, A-Z, 0-9, . _ and -, a letter or a digit first, got "
    )


def test_all_problems_at_once(plugins):
    table = changed(
        smapler={},
        dataset={"dim": "two"},
        sampler={"coutn": 1, "rate": -1.0, "many": [1, "2", 3.5]},
        train={"steps": "10k", "batch_size": 0, "keep": 0},
        analyze=[{"use": "look", "every": True, "bins": 0}, {"use": "lok"}],
    )
    assert set(problems(table, plugins)) == {
        "smapler", "dataset.dim", "sampler.coutn", "sampler.rate", "sampler.many.1", "sampler.many.2",
        "train.steps", "train.batch_size", "train.keep", "analyze.0.every", "analyze.0.bins", "analyze.1.use",
    }  # fmt: skip


def test_each_problem_has_the_source_that_it_came_from(plugins):
    with pytest.raises(RecipeError) as error:
        structure(changed(sampler={"count": "x"}), plugins, lambda path: f"<{path}>")
    assert str(error.value) == ("<('sampler', 'count')>: sampler.count: expected a whole number, got the string \"x\"")


# ------------------------------------------------------------------ words


def test_types_are_written_the_toml_way():
    types = {f.name: toml_type(f.type) for f in attrs.fields(attrs.resolve_types(Net))}
    assert types == {
        "latent": "{ use = latent, ... }",
        "count": "int",
        "rate": "float",
        "flag": "bool",
        "word": "string",
        "choice": '"relu" | "tanh"',
        "maybe": "int",
        "passes": 'int | "few" | "many"',
        "clamp": '"data" | "none" | [float, float]',
        "pair": "[int, float]",
        "many": "[int, ...]",
        "inner": "{ depth = int, word = string }",
        "encoder": "{ use = encoder, ... }",
    }


def test_paths_quote_what_toml_would():
    assert path_text(("analyze", 0, "every")) == "analyze.0.every"
    assert path_text(("a b", "", "x.y")) == '"a b".""."x.y"'


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (("sampler",), True),
        (("optimizer", "sampler"), True),
        (("analyze", 0), True),
        (("sampler", "latent"), True),
        (("sampler", "encoder"), True),
        (("optimizer", "sampler", "schedule"), True),
        (("sampler", "word"), False),
        (("sampler", "nothing"), False),
        (("sampler", "latent", "dim"), False),
        (("train",), False),
        (("train", "device"), False),
        (("analyze",), False),
        (("analyze", 0, "name"), False),
        (("title",), False),
        ((), False),
    ],
)
def test_where_a_string_names_a_part(plugins, path, expected):
    assert is_part_place(path, "some_name", FULL, plugins) is expected
