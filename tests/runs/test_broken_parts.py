"""Parts that build or return what their contract does not say: one message that names the part, never a traceback."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import attrs
import pytest
import torch
from click.testing import CliRunner
from torch import nn

import gflow_core
from gflow_core import Result, hookimpl
from gflow_core.cli import main
from gflow_core.errors import GflowError
from gflow_core.files import checkpoint
from gflow_core.methods.losses import Hinge
from gflow_core.nn.latents import Normal
from gflow_core.optim.optimizers import Adam
from gflow_core.parts import plugins as loading
from gflow_core.parts.options import option
from gflow_core.report.read import read
from gflow_core.testing.tiny import TinyData, TinyDiscriminator, TinySampler

RECIPE = """
gflow = 1
[dataset]
use = "tiny.data"
kind = "vector"
labels = "classes"
[sampler]
use = "tiny.sampler"
[discriminator]
use = "tiny.discriminator"
[objective]
use = "adversarial"
[optimizer.sampler]
use = "adam"
lr = 1e-3
[optimizer.discriminator]
use = "adam"
lr = 1e-3
[train]
steps = 1
batch_size = 4
device = "cpu"
"""


ALSO = {
    "dataset": ("dataset.kind=vector", "dataset.labels=classes"),
    "latent": ("sampler.latent.dim=4",),
    "optimizer": ("optimizer.sampler.lr=1e-3",),
}
"""Options that go with another part."""


class Tiny:
    """The tiny parts as a plugin."""

    @hookimpl
    def register_datasets(self, add):
        add("tiny.data", TinyData)

    @hookimpl
    def register_samplers(self, add):
        add("tiny.sampler", TinySampler)

    @hookimpl
    def register_discriminators(self, add):
        add("tiny.discriminator", TinyDiscriminator)


@pytest.fixture
def fails(tmp_path, monkeypatch) -> Callable[..., str]:
    """What is said of a run with the part in the recipe at `place`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loading, "_loaded", loading.load([]))
    loading.plugins().register(Tiny())
    Path("tiny.toml").write_text(RECIPE)

    def say(kind: str, part: type, place: str, *overrides: str) -> str:
        gflow_core.register({kind: {"bad.part": part}})
        with pytest.raises(GflowError) as error:
            gflow_core.run("tiny.toml", f"{place}=bad.part", *ALSO.get(kind, ()), *overrides, quiet=True)
        return str(error.value)

    return say


def changed(base: type, **members: Any) -> type:
    """The part with other members."""
    return attrs.frozen(kw_only=True)(type("Bad", (base,), {"__module__": __name__, "__doc__": "Bad.", **members}))


class Gives(nn.Module):
    """The tiny network's output, changed."""

    def __init__(self, network: nn.Module, change: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.network, self.change = network, change

    def forward(self, x, y=None):
        return self.change(self.network(x))


def giving(base: type, change: Callable[[torch.Tensor], Any]) -> type:
    return changed(base, build=lambda self, data: Gives(base.build(self, data), change))


def spoilt(network: nn.Module, value: float) -> nn.Module:
    with torch.no_grad():
        next(network.parameters()).view(-1)[0] = value
    return network


def in_training(network: nn.Module) -> nn.Module:
    return Gives(network, lambda x: (x, x) if network.training else x)


NETWORK = {
    "nothing": (lambda self, data: None, "build returns nothing (None), a torch.nn.Module is expected"),
    "a function": (lambda self, data: lambda z: z, "build returns a function, <function"),
    "a class": (lambda self, data: nn.Linear, "build returns the class Linear, a torch.nn.Module is expected"),
    "a list": (lambda self, data: [nn.Linear(2, 2)], "build returns a list, a torch.nn.Module is expected"),
    "scripted": (
        lambda self, data: torch.jit.script(nn.Linear(4, 2)),
        "build returns a scripted module, which takes no hooks; return the module itself",
    ),
    "lazily initialised": (
        lambda self, data: nn.LazyLinear(2),
        "build returns a network whose weight has no size before it is used; build layers with the size of",
    ),
    "on the meta device": (
        lambda self, data: nn.Linear(4, 2, device="meta"),
        "build returns a network on the meta device: weight holds no numbers",
    ),
}

OUTPUT = {
    "complex": (lambda x: x.to(torch.complex64), "forward returns torch.complex64 for two items, real floats are"),
    "whole": (lambda x: x.long(), "forward returns torch.int64 for two items"),
    "bool": (lambda x: x > 0, "forward returns torch.bool for two items"),
    "meta": (lambda x: x.to("meta"), "forward returns a tensor on the meta device for two items"),
    "more": (lambda x: x.repeat(2, *[1] * (x.dim() - 1)), "for two items, ["),
    "another shape": (lambda x: x.unsqueeze(-1), "for two items, ["),
    "a tuple": (lambda x: (x, x), "forward returns a tuple for two items, a tensor is expected"),
    "None": (lambda x: None, "forward returns nothing (None) for two items, a tensor is expected"),
    "NaN": (lambda x: x * torch.nan, "forward returns NaN or infinite values"),
    "infinite": (lambda x: x / 0, "forward returns NaN or infinite values"),
}


@pytest.mark.parametrize("what", NETWORK)
@pytest.mark.parametrize("base", [TinySampler, TinyDiscriminator])
def test_what_a_network_part_builds(fails, base, what):
    build, said = NETWORK[what]
    kind = "sampler" if base is TinySampler else "discriminator"
    assert f"{kind} bad.part: its {said}" in fails(kind, changed(base, build=build), kind)


@pytest.mark.parametrize("what", OUTPUT)
@pytest.mark.parametrize("base", [TinySampler, TinyDiscriminator])
def test_what_a_network_returns(fails, base, what):
    change, said = OUTPUT[what]
    kind = "sampler" if base is TinySampler else "discriminator"
    text = fails(kind, giving(base, change), kind)
    assert text.startswith(f"{kind} bad.part: its forward returns ")
    assert said in text


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite(fails, value):
    part = changed(TinySampler, build=lambda self, data: spoilt(TinySampler.build(self, data), value))
    said = "sampler bad.part: its build returns a network whose layers.layers.0.weight is not finite"
    assert fails("sampler", part, "sampler") == said


@pytest.mark.parametrize("base", [TinySampler, TinyDiscriminator])
def test_what_a_network_returns_in_training_alone(fails, base):
    kind = "sampler" if base is TinySampler else "discriminator"
    part = changed(base, build=lambda self, data: in_training(base.build(self, data)))
    said = f"{kind} bad.part: its forward returns a tuple in training, a tensor is expected"
    assert fails(kind, part, kind) == said


# ------------------------------------------------------------------ data


def source(**members: Any) -> type:
    return changed(TinyData, load=lambda self, progress=None: attrs.evolve(TinyData.load(self), **members))


LOADED = {
    "nothing": (
        changed(TinyData, load=lambda self, progress=None: None),
        "its load returns nothing (None), a Source is",
    ),
    "a tensor": (
        changed(TinyData, load=lambda self, progress=None: torch.zeros(3, 2)),
        "its load returns a tensor [3, 2], a Source is",
    ),
    "another shape": (source(x=torch.zeros(60, 3)), "promised items of shape [2], loaded [60, 3]"),
    "whole numbers": (source(x=torch.zeros(60, 2, dtype=torch.int64)), "vectors are floats; loaded torch.int64"),
    "complex": (source(x=torch.zeros(60, 2, dtype=torch.complex64)), "vectors are floats; loaded torch.complex64"),
    "an array": (source(x=[[0.0, 0.0]]), "its items are no tensor but a list"),
    "NaN": (source(x=torch.full((60, 2), torch.nan)), "it holds NaN or infinite values"),
    "none": (source(x=torch.zeros(0, 2)), "loaded no items"),
    "labels beyond": (source(y=torch.full((60,), 3)), "promised labels 0 to 2, loaded 3 to 3"),
    "labels below": (source(y=torch.full((60,), -1)), "promised labels 0 to 2, loaded -1 to -1"),
    "labels of floats": (source(y=torch.zeros(60)), "promised 60 class indices of torch.int64"),
    "no labels": (source(y=None), "promised labels, loaded none"),
    "a density that it does not announce": (
        source(log_density=lambda x: x.sum(1)),
        "has_density is False, and its Source has log_density= (a defect of the plugin)",
    ),
    "no density, which it announces": (
        changed(TinyData, has_density=True),
        "has_density is True, and its Source has no log_density= (a defect of the plugin)",
    ),
    "no modes, which it announces": (
        changed(TinyData, has_modes=True),
        "has_modes is True, and its Source has no modes= (a defect of the plugin)",
    ),
    "another promise": (
        source(shape=TinyData(kind="vector").data_shape()),
        "promised vector 2 unbounded, 3 classes, loaded vector 2 unbounded",
    ),
}


@pytest.mark.parametrize("what", LOADED)
def test_what_a_data_set_loads(fails, what):
    part, said = LOADED[what]
    assert f"dataset bad.part: {said}" in fails("dataset", part, "dataset.use")


def test_augmented_images_are_finite(fails):
    part = of(Shift, "apply", lambda x: x / 0)
    said = "augmentation bad.part: its apply returns NaN or infinite values for two items"
    assert fails("augmentation", part, "train.augment", "dataset.kind=grey") == said


def test_images_are_bytes(fails):
    part = changed(TinyData, load=lambda self, progress=None: attrs.evolve(s := TinyData.load(self), x=s.x.float()))
    said = fails("dataset", part, "dataset.use", "dataset.kind=grey")
    assert said == "dataset bad.part: images are torch.uint8, 0 to 255; loaded torch.float32"


# ------------------------------------------------------------------ latents, losses, optimizers, objectives, analyzers


@attrs.frozen(kw_only=True)
class Penalty:
    """Nothing."""

    differentiates: ClassVar[frozenset[str]] = frozenset()
    weight: float = option(1.0, doc="w")
    interval: int = option(1, doc="i")

    def value(self, judged):
        return judged.d_real.new_zeros(())


@attrs.frozen(kw_only=True)
class Shift:
    """Nothing."""

    def draw(self, n, data, generator, done):
        return torch.zeros(n, 1)

    def apply(self, x, drawn):
        return x


@attrs.frozen(kw_only=True)
class Look:
    """Nothing."""

    needs: ClassVar[frozenset[str]] = frozenset()

    def build(self):
        return lambda subject: Result()


@attrs.define
class State:
    """Nothing."""


@attrs.frozen(kw_only=True)
class Trains:
    """An objective that does nothing."""

    players: ClassVar[tuple[str, ...]] = ("sampler", "discriminator")

    def build(self, experiment):
        return Objective([{"loss": torch.zeros(())}])


class Objective:
    """Yields what it is given."""

    def __init__(self, yields: Any, state: Any = None) -> None:
        self.yields, self.state = yields, State() if state is None else state

    def step(self, step):
        return None if self.yields is None else iter(self.yields)


def yielding(yields: Any, **members: Any) -> type:
    return changed(Trains, build=lambda self, experiment: Objective(yields, **members))


def loss(**members: Any) -> type:
    return changed(Hinge, **members)


def of(base: type, method: str, change: Callable[[Any], Any]) -> type:
    """The part with another outcome of one method."""
    own = getattr(base, method)
    return changed(base, **{method: lambda self, *args: change(own(self, *args))})


AT = {
    "latent": "sampler.latent.use",
    "loss": "objective.loss",
    "penalty": "objective.penalty",
    "optimizer": "optimizer.sampler.use",
    "augmentation": "train.augment",
    "objective": "objective.use",
    "analyzer": "analyze.0.use",
}

RETURNED = {
    "a latent of another length": (
        "latent",
        of(Normal, "draw", lambda z: z[:, 1:]),
        "draw returns [2, 3] for two items",
    ),
    "a latent of whole numbers": ("latent", of(Normal, "draw", lambda z: z.long()), "draw returns torch.int64"),
    "a latent of nothing": ("latent", of(Normal, "draw", lambda z: None), "draw returns nothing (None) for two items"),
    "a latent of NaN": ("latent", of(Normal, "draw", lambda z: z / 0), "draw returns NaN or infinite values"),
    "a loss an item": ("loss", loss(discriminator=lambda self, a, b: b - a), "discriminator returns [4] for a batch"),
    "a complex loss": ("loss", of(Hinge, "discriminator", lambda d: d + 0j), "discriminator returns torch.complex64"),
    "a loss of NaN": ("loss", of(Hinge, "discriminator", lambda d: d * torch.nan), "discriminator returns NaN or inf"),
    "a loss of a float": ("loss", of(Hinge, "discriminator", lambda d: d.item()), "discriminator returns a float, "),
    "a loss of nothing": ("loss", of(Hinge, "sampler", lambda d: None), "sampler returns nothing (None) for a batch"),
    "a loss without gradient": ("loss", of(Hinge, "sampler", torch.Tensor.detach), "sampler returns a tensor that no"),
    "a sampler's loss of NaN": ("loss", of(Hinge, "sampler", lambda d: d / 0), "sampler returns NaN or infinite"),
    "a penalty an item": ("penalty", of(Penalty, "value", lambda p: p.expand(4)), "value returns [4] for a batch"),
    "a complex penalty": ("penalty", of(Penalty, "value", lambda p: p + 0j), "value returns torch.complex64"),
    "a penalty of NaN": ("penalty", of(Penalty, "value", lambda p: p / 0), "value returns NaN or infinite values"),
    "a penalty of nothing": ("penalty", of(Penalty, "value", lambda p: None), "value returns nothing (None)"),
    "a penalty of a float": ("penalty", of(Penalty, "value", float), "value returns a float, 0.0 for a batch"),
    "no optimizer": (
        "optimizer",
        changed(Adam, build=lambda self, module: None),
        "build returns nothing (None), a torch",
    ),
    "a list of parameters": (
        "optimizer",
        changed(Adam, build=lambda self, module: list(module.parameters())),
        "build returns a list, a torch.optim.Optimizer is expected",
    ),
    "nothing drawn": ("augmentation", of(Shift, "draw", lambda d: None), "draw returns no tensor of two rows"),
    "one draw for all": ("augmentation", of(Shift, "draw", lambda d: d[:1]), "draw returns no tensor of two rows"),
    "items of another shape": ("augmentation", of(Shift, "apply", lambda x: x[:, :1]), "apply returns [2, 1] for two"),
    "complex items": ("augmentation", of(Shift, "apply", lambda x: x + 0j), "apply returns torch.complex64 for two"),
    "no items": ("augmentation", of(Shift, "apply", lambda x: None), "apply returns nothing (None) for two items"),
    "no objective": (
        "objective",
        changed(Trains, build=lambda self, e: None),
        "build returns nothing (None), an object",
    ),
    "an objective without state": ("objective", yielding([], state={}), "build returns an objective whose state is no"),
    "a step that is none": ("objective", yielding(None), "step returns nothing (None), an iterator that yields"),
    "a step without metrics": ("objective", yielding([]), "step returns without yielding its metrics last"),
    "a step that yields numbers": ("objective", yielding([3.0]), "step returns an iterator that yields a float, 3.0;"),
    "a metric that is a float": ("objective", yielding([{"a": 1.0}]), "step returns the metric 'a' as a float, 1.0;"),
    "a complex metric": (
        "objective",
        yielding([{"a": torch.zeros((), dtype=torch.complex64)}]),
        "step returns the metric 'a' as torch.complex64 []; a tensor of one real number is expected",
    ),
    "a metric called step": ("objective", yielding([{"step": torch.zeros(())}]), "a metric called 'step'; its name is"),
    "a metric called 1": ("objective", yielding([{1: torch.zeros(())}]), "a metric called 1; its name is a word"),
    "a metric without a number": (
        "objective",
        yielding([{"a": torch.zeros((), device="meta")}]),
        "the metric 'a' as torch.float32 []; a tensor of one real number is expected",
    ),
    "a metric an item": ("objective", yielding([{"a": torch.zeros(4)}]), "the metric 'a' as torch.float32 [4]"),
    "no analyzer": ("analyzer", changed(Look, build=lambda self: None), "build returns nothing (None), a function of"),
    "no result": ("analyzer", changed(Look, build=lambda self: lambda s: {"a": 1}), "finds a Result, not dict"),
    "a score that is none": (
        "analyzer",
        changed(Look, build=lambda self: lambda s: Result(scores={"a": [1]})),
        "scores are numbers, words or None by name; 'a' is list",
    ),
}


@attrs.define
class Holding:
    """One thing."""

    n: Any


CANNOT_HOLD = {
    "a set": (yielding([{"a": torch.zeros(())}], state=Holding({1})), "n of type set (tensors, "),
    "a set below": (yielding([{"a": torch.zeros(())}], state=Holding([0, {"b": {1}}])), "n/1/b of type set (tensors, "),
    "a key of two": (yielding([{"a": torch.zeros(())}], state=Holding({(1, 2): 3})), "the key (1, 2) of n (words and"),
}


@pytest.mark.parametrize("what", CANNOT_HOLD)
def test_what_no_checkpoint_holds_is_told_at_the_first_step(fails, what):
    part, said = CANNOT_HOLD[what]
    text = fails("objective", part, "objective.use", "train.steps=9", "train.checkpoint_every=0")
    assert text.startswith(f"objective bad.part: its state has what a checkpoint cannot hold: {said}")


class Later(Objective):
    """Yields as it should in the first step, and another thing in the second."""

    def step(self, step):
        return iter([{"a": torch.zeros(())}] if step == 1 else self.yields)


@pytest.mark.parametrize("yields", [["text"], [{"a": 1.0}], [{"a": torch.zeros(3)}], []])
def test_what_a_later_step_yields(fails, yields):
    part = changed(Trains, build=lambda self, experiment: Later(yields))
    assert fails("objective", part, "objective.use", "train.steps=3").startswith("objective bad.part: its step returns")


@pytest.mark.usefixtures("fails")
def test_a_metric_is_what_it_was_when_it_was_yielded():
    class Counts(Objective):
        def step(self, step):
            self.yields += 1
            yield {"a": self.yields}

    part = changed(Trains, build=lambda self, experiment: Counts(torch.zeros(())))
    gflow_core.register(objective={"bad.part": part})
    run = gflow_core.run("tiny.toml", "objective.use=bad.part", "train.steps=2", "train.log_every=2", quiet=True)
    assert [line["a"] for line in run.metrics()] == [1.5]


@pytest.mark.parametrize("what", RETURNED)
def test_what_other_parts_return(fails, what):
    kind, part, said = RETURNED[what]
    text = fails(kind, part, AT[kind])
    assert text.startswith(f"{kind} bad.part: ")
    assert said in text


SCHEDULED = {
    "NaN": (lambda self, done: float("nan"), "at step 1: its own at returned nan, not a number"),
    "words": (lambda self, done: "fast", "at step 1: its own at returned 'fast', not a number"),
    "nothing": (lambda self, done: None, "at step 1: its own at returned None, not a number"),
    "a tensor": (lambda self, done: torch.ones(()), "at step 1: its own at returned tensor(1.), not a number"),
    "complex": (lambda self, done: 1j, "at step 1: its own at returned 1j, not a number"),
}


@pytest.mark.parametrize("what", SCHEDULED)
def test_what_a_schedule_returns(fails, what):
    at, said = SCHEDULED[what]
    part = attrs.frozen(kw_only=True)(type("Bad", (), {"at": at, "__doc__": "Bad."}))
    text = fails("schedule", part, "optimizer.sampler.schedule.use")
    assert f"=bad.part: optimizer.sampler.schedule: {said}" in text
    assert "\n" not in text


# ------------------------------------------------------------------ what raises


def boom(self: Any = None, *_: Any, **__: Any) -> Any:
    raise LookupError("boom")


def leaves(*_: Any, **__: Any) -> Any:
    raise SystemExit(3)


class Raises(nn.Module):
    """Works as it is tried, and raises in training."""

    def __init__(self, network: nn.Module, raises: Callable[..., Any]) -> None:
        super().__init__()
        self.network, self.raises = network, raises

    def forward(self, x, y=None):
        return self.raises() if self.training else self.network(x)


def failing(base: type, raises: Callable[..., Any]) -> type:
    return changed(base, build=lambda self, data: Raises(base.build(self, data), raises))


RAISES = {
    "build": ("sampler", changed(TinySampler, build=boom), "sampler"),
    "build of a discriminator": ("discriminator", changed(TinyDiscriminator, build=boom), "discriminator"),
    "load": ("dataset", changed(TinyData, load=boom), "dataset.use"),
    "the first forward": ("sampler", giving(TinySampler, boom), "sampler"),
    "a forward in training": ("sampler", failing(TinySampler, boom), "sampler"),
    "a discriminator's": ("discriminator", failing(TinyDiscriminator, boom), "discriminator"),
    "a loss": ("loss", loss(discriminator=boom), "objective.loss"),
    "a penalty": ("penalty", changed(Penalty, value=boom), "objective.penalty"),
    "an augmentation": ("augmentation", changed(Shift, apply=boom), "train.augment"),
    "an optimizer": ("optimizer", changed(Adam, build=boom), "optimizer.sampler.use"),
    "an objective": ("objective", changed(Trains, build=boom), "objective.use"),
    "a step": ("objective", yielding(map(boom, [1])), "objective.use"),
    "an analyzer's build": ("analyzer", changed(Look, build=boom), "analyze.0.use"),
    "an analyzer's work": ("analyzer", changed(Look, build=lambda self: boom), "analyze.0.use"),
}


@pytest.mark.parametrize("what", RAISES)
def test_a_part_that_raises_is_named_with_its_place(fails, what):
    kind, part, place = RAISES[what]
    line = boom.__code__.co_firstlineno + 1
    assert re.match(
        rf"(analyzer|{kind}) bad\.part raised LookupError: boom \({re.escape(__file__)}, line {line}; "
        r"GFLOW_DEBUG=1 shows the traceback\)",
        fails(kind, part, place),
    )


def test_a_file_that_a_part_cannot_open_is_named_with_the_part(fails, tmp_path):
    def load(self, progress=None):
        return open(tmp_path / "none" / "data.csv")

    said = fails("dataset", changed(TinyData, load=load), "dataset.use")
    line = load.__code__.co_firstlineno + 1
    assert said.startswith(f"dataset bad.part: {tmp_path / 'none' / 'data.csv'}: No such file or directory ({__file__}")
    assert f"line {line}; GFLOW_DEBUG=1 shows the traceback)" in said


def ends(*_: Any, **__: Any) -> Any:
    raise GeneratorExit("out")


def test_what_ends_a_program_is_the_parts_in_training(fails):
    said = fails("sampler", failing(TinySampler, leaves), "sampler")
    assert said.startswith("sampler bad.part raised SystemExit: 3 (")
    said = fails("objective", yielding(map(ends, [1])), "objective.use")
    assert said.startswith("objective bad.part raised GeneratorExit: out (")


# ------------------------------------------------------------------ networks that become others


class Grows(nn.Linear):
    """After so many forwards in training it has another buffer, or one of another size."""

    def __init__(self, name: str, calls: int, persistent: bool = True) -> None:
        super().__init__(4, 2)
        self.name, self.calls, self.persistent = name, calls, persistent
        self.register_buffer("seen", torch.zeros(1), persistent=persistent)

    def forward(self, z, y=None):
        self.calls -= self.training
        if self.training and self.calls == 0:
            self.register_buffer(self.name, torch.zeros(3), persistent=self.persistent)
        return super().forward(z)


AVERAGED = "train.ema={decay=0.5}"


@pytest.mark.parametrize("words", [(), (AVERAGED,)], ids=["", "averaged"])
@pytest.mark.parametrize(("name", "was"), [("seen", "[1]"), ("late", "not there")])
def test_a_network_that_no_checkpoint_would_fit(fails, name, was, words):
    said = fails("sampler", changed(TinySampler, build=lambda self, data: Grows(name, 1)), "sampler", *words)
    assert said.startswith("sampler bad.part: training changes what the network is made of")
    assert f"{name} was {was}, and is [3]; make it in __init__" in said


def test_a_network_that_changes_later_than_its_average(fails):
    part = changed(TinySampler, build=lambda self, data: Grows("late", 4))
    said = fails("sampler", part, "sampler", AVERAGED, "train.steps=4")
    assert said.startswith("sampler bad.part raised ValueError: ")


def test_what_no_checkpoint_holds_may_change(fails):
    part = changed(TinySampler, build=lambda self, data: Grows("seen", 1, persistent=False))
    assert "seen was [1], and is [3]" in fails("sampler", part, "sampler", AVERAGED)
    gflow_core.run("tiny.toml", "sampler=bad.part", quiet=True)


def test_a_name_that_no_file_holds(fails):
    def build(self, data):
        network = nn.Linear(4, 2)
        network.register_buffer("\ud800", torch.ones(1))
        return network

    said = fails("sampler", changed(TinySampler, build=build), "sampler")
    assert said.startswith("sampler bad.part: its state has what a checkpoint cannot hold: the key '\\ud800' (words")


# ------------------------------------------------------------------ while a recipe is checked


def leaving(kind: str) -> Callable[..., Any]:
    """A method that raises what ends a program."""

    def method(self: Any, *_: Any) -> Any:
        raise {"exit": SystemExit, "interrupt": KeyboardInterrupt, "stop": GeneratorExit}[kind]("out")

    return method


@attrs.frozen(kw_only=True)
class Defaulting(TinyData):
    """Its default cannot be made."""

    text: str = option(factory=leaving("exit").__get__(0), doc="t")


@attrs.frozen(kw_only=True)
class Validating(TinyData):
    """Its option's check raises."""

    text: str = option("a", doc="t", check=leaving("stop").__get__(0))


CHECKED = {
    "check": ("dataset", changed(TinyData, check=leaving("interrupt")), "dataset: its own check raised Keyboard"),
    "data_shape": ("dataset", changed(TinyData, data_shape=leaving("exit")), "dataset: its own data_shape raised Sys"),
    "a shape that is none": (
        "dataset",
        changed(TinyData, data_shape=lambda self: (2,)),
        "dataset: its own data_shape returned (2,), not a DataShape (a defect of the plugin)",
    ),
    "a default": ("dataset", Defaulting, "its own default of text raised SystemExit: out (a defect of the plugin"),
    "an option's check": ("dataset", Validating, "its own check raised GeneratorExit: out (a defect of the plugin"),
    "judged_shape": (
        "objective",
        changed(Trains, judged_shape=leaving("exit")),
        "objective: its own judged_shape raised",
    ),
    "a judged shape that is none": (
        "objective",
        changed(Trains, judged_shape=lambda self, data: None),
        "objective: its own judged_shape returned None, not a DataShape",
    ),
    "an optimizer's at": (
        "optimizer",
        changed(Adam, at=leaving("exit")),
        "optimizer.sampler: its own at raised System",
    ),
    "rates that are none": (
        "optimizer",
        changed(Adam, at=lambda self, done: {"lr": "fast"}),
        "optimizer.sampler: its own at returned {'lr': 'fast'}, not numbers by name",
    ),
}


@pytest.mark.parametrize("what", CHECKED)
def test_whatever_a_part_raises_while_a_recipe_is_checked_is_a_problem_of_the_recipe(fails, what):
    kind, part, said = CHECKED[what]
    place = {"dataset": "dataset.use", **AT}[kind]
    text = fails(kind, part, place, *(["dataset.text=b"] if part is Validating else []))
    assert said in text
    assert "\n" not in text, "one message"


# ------------------------------------------------------------------ what is not finite


def test_a_picture_of_what_is_not_finite_fails_and_training_goes_on(fails, capsys):
    class Late(nn.Module):
        """Finite where it is tried and trained, not where it is drawn from."""

        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, z, y=None):
            return self.network(z) / (self.training or len(z) < 5)

    part = changed(TinySampler, build=lambda self, data: Late(TinySampler.build(self, data)))
    gflow_core.register(sampler={"bad.part": part})
    with pytest.raises(GflowError, match="while training the sample picture failed 1 time; all else is written"):
        gflow_core.run("tiny.toml", "sampler=bad.part")
    said = "the sample picture failed at step 1: 256 of 256 samples are NaN or infinite, and cannot be drawn"
    assert said in capsys.readouterr().out
    run = gflow_core.load_run("runs/tiny-s0-001")
    assert list((run.path / "samples").glob("*.png")) == []
    with pytest.raises(GflowError, match=r"^64 of 64 samples are NaN or infinite"):
        run.sample(64)
    out = CliRunner().invoke(main, ["sample", str(run.path), "--n", "9", "--out", "x.npy"])
    assert (out.exit_code, list(Path().glob("x.*")), list(Path().glob(".x*"))) == (2, [], [])
    assert "9 of 9 samples are NaN or infinite" in out.output


def test_a_checkpoint_that_is_not_finite_is_refused_by_the_tensors_name(fails):
    run = gflow_core.run("tiny.toml", quiet=True)
    (folder,) = run.path.glob("checkpoints/*")
    state = checkpoint.read(folder)
    next(iter(state.parts["sampler"].values())).view(-1)[0] = torch.nan
    checkpoint.write(folder, state)
    for look in (lambda: run.sample(2), lambda: run.resume(steps=2, quiet=True)):
        with pytest.raises(
            GflowError, match=r"sampler layers\.layers\.0\.weight holds NaN or infinite values; go back"
        ):
            look()


# ------------------------------------------------------------------ commands that look


def test_a_report_is_written_without_what_an_objective_fails_to_say(fails):
    gflow_core.register(objective={"bad.part": changed(Trains, equilibrium=leaving("exit"))})
    run = gflow_core.run("tiny.toml", "objective.use=bad.part", quiet=True)
    found = read(run.path)
    assert found.equilibrium == {}
    assert any("of the objective its own equilibrium raised SystemExit: out" in said for said in found.missing)


def test_what_a_part_prints_while_it_is_asked_is_no_output(fails):
    gflow_core.register(sampler={"bad.part": changed(TinySampler, check=lambda self, data: print("checking") or ())})
    result = CliRunner().invoke(main, ["resolve", "tiny.toml", "sampler=bad.part"])
    assert (result.exit_code, "checking" in result.stdout, "checking" in result.stderr) == (0, False, True)
    tomllib.loads(result.stdout)


def test_preparing_data_says_the_same(fails):
    gflow_core.register(dataset={"bad.part": LOADED["NaN"][0], "bad.raises": RAISES["load"][1]})
    for name, said in (
        ("part", "dataset bad.part: it holds NaN"),
        ("raises", "dataset bad.raises raised Lookup"),
    ):
        words = [f"dataset.use=bad.{name}", *ALSO["dataset"]]
        result = CliRunner().invoke(main, ["data", "prepare", "tiny.toml", *words])
        assert result.exit_code == 2
        assert result.stderr.startswith(f"error: {said}")
