"""The kit for authors of plugins: its fixtures, and that each check can fail, by a part that breaks one promise."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any, ClassVar

import attrs
import numpy as np
import pytest
import torch
from torch import nn

import gflow_core
from gflow_core import testing
from gflow_core.errors import DataError
from gflow_core.methods import gradients
from gflow_core.methods.penalties import GradientPenalty
from gflow_core.nn.labels import label_fault
from gflow_core.nn.latents import Normal
from gflow_core.parts.analysis import Result
from gflow_core.parts.contracts import Latent
from gflow_core.parts.hookspecs import hookimpl
from gflow_core.parts.nouns import DataShape, Moments
from gflow_core.parts.options import option
from gflow_core.parts.plugins import plugins
from gflow_core.parts.source import Source
from gflow_core.parts.training import Phase
from gflow_core.recipes.recipe import load
from gflow_core.runs.session import run
from gflow_core.testing import (
    TINY,
    TinyData,
    TinyDiscriminator,
    TinySampler,
    Untried,
    check_analyzer,
    check_dataset,
    check_discriminator,
    check_encoder,
    check_latent,
    check_objective,
    check_penalty,
    check_sampler,
)

part = attrs.frozen(kw_only=True)


def broken(check: Callable[..., None], part: Any, sentence: str, **options: Any) -> None:
    """The check fails by this sentence, and names the part."""
    with pytest.raises(AssertionError) as error:
        check(part, **options)
    assert sentence in str(error.value)
    assert type(part).__name__ in str(error.value)


# ------------------------------------------------------------------ the pytest plugin


def test_pytest_loads_nothing_of_gflow_with_it():
    code = (
        "import sys, time, pytest; before = set(sys.modules); start = time.perf_counter(); import gflow_core.testing; "
        "print(time.perf_counter() - start, *sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, *modules = done.stdout.split()
    own = ["gflow_core", "gflow_core.nn", "gflow_core.nn.torchvision_fix", "gflow_core.testing", "lazy_loader"]
    assert modules == own
    assert float(seconds) < 0.1


def test_plugins_are_checked_without_pytest():
    code = "import sys; sys.modules['pytest'] = None; from gflow_core.testing import check_latent, report"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_it_exports_what_it_says():
    assert all(getattr(testing, name) is not None for name in testing.__all__)
    with pytest.raises(AttributeError, match="no attribute 'check_smapler'"):
        testing.check_smapler  # noqa: B018


def test_isolated_plugins_are_the_core_and_what_a_test_registers(isolated_plugins):
    class Mine:
        @hookimpl
        def register_latents(self, add):
            add("mine.wide", Wide)

    assert [record.name for record in isolated_plugins.records] == ["core"]
    assert list(isolated_plugins.registries["sampler"]) == ["cloud", "tiny"]
    assert isolated_plugins.register(Mine()).error == ""
    assert plugins() is isolated_plugins
    assert plugins().get("latent", "mine.wide") is Wide


def test_afterwards_they_are_those_of_the_environment():
    assert "vgrow.mlp" in plugins().registries["sampler"]
    assert "tiny" not in plugins().registries["dataset"]


RECIPE = """
gflow = 1
dataset = { use = "tiny", kind = "rgb", labels = "classes" }
sampler = { use = "tiny", conditional = true }
discriminator = { use = "tiny", conditional = true }
objective = { use = "adversarial" }
optimizer = { sampler = { use = "adam", lr = 1e-3 }, discriminator = { use = "adam", lr = 1e-3 } }
train = { steps = 2, batch_size = 8 }
"""


class Silent:
    """A console that nobody reads."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None


def test_tiny_parts_make_a_recipe(isolated_plugins, tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE)
    folder = run(load(path), tmp_path / "runs", Silent())
    assert len(folder.metrics()) == 2
    assert (folder.path / "samples" / "000002.png").is_file()


def test_tiny_data_is_of_every_kind(tiny_data):
    check_dataset(tiny_data)
    assert tiny_data in TINY.values()
    source = tiny_data.load()
    assert label_fault(source.y, len(source), tiny_data.data_shape()) is None
    other = attrs.evolve(tiny_data, split="test").load()
    assert other.fingerprint != source.fingerprint
    assert len(attrs.evolve(tiny_data, split="all").load()) == 2 * len(source)


def test_tiny_networks_keep_their_promises():
    for conditional in (False, True):
        check_sampler(TinySampler(conditional=conditional))
        check_discriminator(TinyDiscriminator(conditional=conditional))


# ------------------------------------------------------------------ what every part promises


@part
class Wide:
    """A law of z: normal, of standard deviation `scale`."""

    dim: int = option(2, doc="Length of z.", ge=1)
    scale: float = option(2.0, doc="Standard deviation.", gt=0)

    def moments(self):
        return Moments(0.0, self.scale**2)

    def draw(self, n, generator):
        return self.scale * torch.randn(n, self.dim, generator=generator)


def test_a_good_law_passes():
    check_latent(Wide())


@attrs.define(kw_only=True)
class Thawed:
    """Its options can be changed."""

    dim: int = option(2, doc="Length of z.")

    def draw(self, n, generator):
        return torch.randn(n, self.dim, generator=generator)


@part
class Silence(Wide):
    pass


@part
class Bare(Wide):
    """An option nobody explains."""

    power: float = 1.0


@part
class Unreadable(Wide):
    """An option no recipe can hold."""

    table: dict = option(factory=dict, doc="A table.")


@part
class Lacking:
    """A law that cannot be drawn from."""

    dim: int = option(2, doc="Length of z.")


COMMON = {
    "is not frozen": (Thawed(), "its class is not @attrs.frozen"),
    "has no docstring": (Silence(), "no docstring"),
    "has an option without a doc": (Bare(), "options without a doc: power"),
    "has an option of a strange type": (Unreadable(), "options of type dict cannot be read from a recipe: table"),
    "lacks a member": (Lacking(), "lacks the method draw"),
}


@pytest.mark.parametrize("what", COMMON)
def test_a_part_that(what):
    broken(check_latent, *COMMON[what])


def test_a_class_is_no_part():
    with pytest.raises(AssertionError, match="pass the part, not its class"):
        check_latent(Wide)


def test_a_module_that_imports_torch(tmp_path, monkeypatch):
    code = (
        "import attrs\nfrom gflow_core import Source\nfrom gflow_core.nn.latents import Normal\n\n"
        "@attrs.frozen(kw_only=True)\nclass Heavy(Normal):\n    '''A law.'''\n"
    )
    (tmp_path / "heavy_parts.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    import heavy_parts

    line = f"({tmp_path / 'heavy_parts.py'}, line 2: from gflow_core import Source)"
    broken(check_latent, heavy_parts.Heavy(), f"importing heavy_parts imports torch {line}; import it in build")


@part
class Checked:
    """A discriminator whose check is at fault."""

    conditional: ClassVar[bool] = False

    how: str = option("str", doc="What is wrong with it.")

    def check(self, data):
        if self.how == "crash":
            return [f"is of {data.classes + 1} classes"]
        return {"str": "refused", "none": None, "numbers": [3], "all": ["likes nothing"]}[self.how]

    def build(self, data):
        raise NotImplementedError


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("str", "returned 'refused'; yield messages"),
        ("none", "returned None; yield messages"),
        ("numbers", "yields messages, got 3"),
        ("crash", "check of a recipe without data raised AttributeError"),
    ],
)
def test_a_check_that_does_not_yield_messages(how, sentence):
    broken(check_discriminator, Checked(how=how), sentence)


def test_what_refuses_everything_is_untried():
    with pytest.raises(Untried, match=r"likes nothing.*pass one that it accepts: data=DataShape"):
        check_discriminator(Checked(how="all"))
    broken(check_discriminator, Checked(how="all"), "refuses the data it was given", data=DataShape("vector", (3,)))


# ------------------------------------------------------------------ laws of z


def law(draw=None, **stated: Any) -> Any:
    """A law that draws so, and states these moments."""

    @part
    class Law(Wide):
        """A law of z."""

        def draw(self, n, generator):
            return draw(n, generator) if draw else Wide.draw(self, n, generator)

        def moments(self):
            return Moments(**{"mean": 0.0, "variance": 4.0, **stated})

    return Law()


LAWS = {
    "of another shape": (law(lambda n, g: torch.randn(n, 3, generator=g)), "draw(4) gives [4, 2]"),
    "in another type": (law(lambda n, g: 2 * torch.randn(n, 2, generator=g).double()), "in torch's default type"),
    "in one type only": (law(lambda n, g: 2 * torch.randn(n, 2, generator=g, dtype=torch.float32)), "default type"),
    "from the global state": (law(lambda n, g: 2 * torch.randn(n, 2)), "draws from torch's global random state"),
    "from nothing": (law(lambda n, g: torch.zeros(n, 2)), "another generator draws the same numbers"),
    "once from a seed": (
        law(lambda n, g: 2 * torch.randn(n, 2, generator=torch.Generator().manual_seed(g.initial_seed()))),
        "it is not moved on",
    ),
    "with another mean": (law(mean=0.2), "states mean 0.2"),
    "with another variance": (law(variance=4.4), "states variance 4.4"),
    "with covariance": (law(covariance=0.3), "states covariance 0.3"),
    "of components that differ": (
        law(lambda n, g: 2 * torch.randn(n, 2, generator=g) + torch.tensor([1.0, -1.0]), variance=5.0, covariance=-1.0),
        "the draws' components have other means",
    ),
}


@pytest.mark.parametrize("what", LAWS)
def test_draws(what):
    broken(check_latent, *LAWS[what])


# ------------------------------------------------------------------ networks


class Net(nn.Module):
    """A linear layer, and whatever `work(net, x)` does with its output [B, d]."""

    def __init__(self, inputs: int, outputs: int, work: Callable[[Net, Any], Any]) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.work = work

    def forward(self, x: Any, y: Any = None) -> Any:
        return self.work(self, x)


def networks(work: Callable[[Net, Any], Any], *, seeded: bool = True, wide: bool = False) -> Any:
    """A sampler and a discriminator of vectors or, where `wide`, of images, that work so."""

    class Shared:
        def check(self, data):
            if data is None or data.kind != ("image" if wide else "vector"):
                yield "no"

        def make(self, inputs, outputs):
            net = Net(inputs, outputs, work)
            if not seeded:
                nn.init.normal_(net.linear.weight, generator=torch.Generator().manual_seed(Shared.made))
                Shared.made += 1
            return net

        made = 0

    @part
    class Sampler(Shared):
        """A sampler."""

        conditional: ClassVar[bool] = False
        latent: Latent = option(factory=lambda: Normal(dim=4), doc="Law of z.")

        def build(self, data):
            return self.make(4, math.prod(data.shape))

    @part
    class Discriminator(Shared):
        """A discriminator."""

        conditional: ClassVar[bool] = False

        def build(self, data):
            return self.make(math.prod(data.shape), 1)

    return Sampler(), Discriminator()


SAMPLERS = {
    "another shape": (networks(lambda net, z: net.linear(z)[:, :1]), "forward returns [4, 1] for 4 z"),
    "no tensor": (networks(lambda net, z: [net.linear(z)]), "forward returns a tensor, not list"),
    "whole numbers": (networks(lambda net, z: net.linear(z).long()), "floats are expected"),
    "NaN": (networks(lambda net, z: net.linear(z) * math.nan), "NaN or infinite values"),
    "a crash": (networks(lambda net, z: 1 / 0), "forward on vector 2 unbounded raised ZeroDivisionError"),
    "noise in eval mode": (
        networks(lambda net, z: nn.functional.dropout(net.linear(z), 0.5)),
        "in eval mode the same input gives something else the second time",
    ),
    "no gradient": (networks(lambda net, z: net.linear(z).detach()), "its output has no gradient"),
    "a way past its weights": (networks(lambda net, z: z[:, :2].requires_grad_() * 1), "reaches its parameters"),
    "weights of its own seed": (
        networks(lambda net, z: net.linear(z), seeded=False),
        "do not follow from torch's seed",
    ),
    "another range": (
        networks(lambda net, z: 5 + net.linear(z).view(-1, net.linear.out_features // 256, 16, 16), wide=True),
        "outside the range of the data",
    ),
}


@pytest.mark.parametrize("what", SAMPLERS)
def test_a_sampler_with(what):
    (sampler, _), sentence = SAMPLERS[what]
    broken(check_sampler, sampler, sentence)


def test_a_good_network_passes():
    check_sampler(networks(lambda net, x: net.linear(x))[0])
    check_discriminator(networks(lambda net, x: net.linear(x).squeeze(1))[1])


DISCRIMINATORS = {
    "a logit too many": (networks(lambda net, x: net.linear(x)), "forward returns [4, 1] for 4 items"),
    "no gradient for items": (networks(lambda net, x: net.linear(x.detach())[:, 0]), "no gradient reaches its input"),
    "no module": (networks(lambda net, x: net.linear(x)[:, 0]), "build returns a torch module, not str"),
}


@pytest.mark.parametrize("what", DISCRIMINATORS)
def test_a_discriminator_with(what):
    (_, discriminator), sentence = DISCRIMINATORS[what]
    if what == "no module":
        type(discriminator).build = lambda self, data: "module"
    broken(check_discriminator, discriminator, sentence)


def test_labels_of_both_kinds_are_tried():
    @part
    class Classes(TinySampler):
        """A sampler that reads classes only, and accepts everything."""

        conditional: bool = option(True, doc="Read labels.")

        def build(self, data):
            if not data.classes:
                raise TypeError("only classes")
            return super().build(data)

    broken(check_sampler, Classes(), "build on image 1x16x16 in [-1, 1], conditions warm, bright raised TypeError")


# ------------------------------------------------------------------ data sets


def data(source: Callable[[DataShape], Source], shape: Any = None, **shapes: Any) -> Any:
    @part
    class Data:
        """A data set."""

        def data_shape(self):
            return shape() if callable(shape) else shape or DataShape("vector", (2,), **shapes)

        def check(self):
            return ()

        def load(self, progress=None):
            return source(self.data_shape())

    return Data()


def points(shape, x=None, y=None, mark="a"):
    return Source(torch.zeros(6, 2) if x is None else x, shape, mark, y)


COUNT = iter(range(1000))
DATASETS = {
    "no shape": (data(points, shape="2"), "data_shape returns a DataShape, not str"),
    "a shape that changes": (
        data(points, shape=lambda: DataShape("vector", (next(COUNT) + 1,))),
        "data_shape says something else the second time",
    ),
    "images of another range": (data(points, shape=DataShape("image", (1, 2, 2), 0.0, 1.0)), "networks in [-1, 1]"),
    "items of another shape": (data(lambda s: points(s, torch.zeros(6, 3))), "promised items of shape [2]"),
    "no items": (data(lambda s: points(s, torch.zeros(0, 2))), "loaded no items"),
    "NaN": (data(lambda s: points(s, torch.full((6, 2), math.nan))), "NaN or infinite values"),
    "images of floats": (
        data(lambda s: points(s, torch.zeros(6, 1, 2, 2)), shape=DataShape("image", (1, 2, 2), -1.0, 1.0)),
        "images are torch.uint8",
    ),
    "vectors of bytes": (data(lambda s: points(s, torch.zeros(6, 2, dtype=torch.uint8))), "vectors are floats"),
    "values out of range": (data(lambda s: points(s, torch.ones(6, 2)), low=-0.5, high=0.5), "outside the range"),
    "no labels": (data(points, classes=3), "promised labels, loaded none"),
    "a label too high": (
        data(lambda s: points(s, y=torch.full((6,), 3)), classes=3),
        "promised labels 0 to 2, loaded 3 to 3",
    ),
    "labels nobody promised": (data(lambda s: points(s, y=torch.zeros(6))), "labels that data_shape does not promise"),
    "another shape when loaded": (data(lambda s: points(DataShape("vector", (3,)))), "the loaded Source says"),
    "no fingerprint": (data(lambda s: points(s, mark="")), "no fingerprint"),
    "modes that it does not announce": (
        data(lambda s: attrs.evolve(points(s), modes=object())),
        "has_modes is False, and its Source has modes=",
    ),
    "modes that it lacks": (
        part(type("Data", (type(data(points)),), {"__doc__": "A data set.", "has_modes": True}))(),
        "has_modes is True, and its Source has no modes=",
    ),
    "a density that it does not announce": (
        data(lambda s: attrs.evolve(points(s), log_density=lambda x: x.sum(1))),
        "has_density is False, and its Source has log_density=",
    ),
    "no source": (data(lambda s: torch.zeros(6, 2)), "load returns a Source, not Tensor"),
    "other items each time": (data(lambda s: points(s, torch.full((6, 2), float(next(COUNT))))), "loads other items"),
    "global randomness": (data(lambda s: points(s, torch.randn(6, 2))), "load draws from torch's global random state"),
}


@pytest.mark.parametrize("what", DATASETS)
def test_a_data_set_with(what):
    broken(check_dataset, *DATASETS[what])


def test_missing_files_are_no_fault_of_the_part():
    def load(shape):
        raise DataError("points.csv: not there")

    with pytest.raises(DataError, match="not there"):
        check_dataset(data(load))


# ------------------------------------------------------------------ encoders


def encoder(features=None, *, classify=None, **attributes: Any) -> Any:
    class Built:
        name, dim, weights, resizer = "two", 2, "abc", "none"

        def __call__(self, x):
            return features(x) if features else x.detach().flatten(1)[:, :2].float()

        def classify(self, x):
            return classify(x)

    @part
    class Encoder:
        """An encoder."""

        classifies: ClassVar[bool] = classify is not None

        def check(self, data):
            if data is None or data.kind != "vector":
                yield "no"

        def build(self, data, device, progress=None):
            built = Built()
            for name, value in attributes.items():
                setattr(built, name, value)
            return built

    return Encoder()


def inplace(x):
    x.data.mul_(2)
    return x.detach()


ENCODERS = {
    "no name": (encoder(name=""), "the built encoder has no name"),
    "another dim": (encoder(dim=3), "features are float32 [2, 3] for 2 items"),
    "another type": (encoder(lambda x: x.detach().double()), "features are float32"),
    "a gradient": (encoder(lambda x: x * 1), "features carry a gradient"),
    "NaN": (encoder(lambda x: x.detach() * math.nan), "NaN"),
    "noise": (encoder(lambda x: x.detach() + torch.rand(1)), "other features the second time"),
    "a batch's own mean": (encoder(lambda x: x.detach() - x.detach().mean(0)), "depend on the batch"),
    "changed items": (encoder(inplace), "changes the items it reads"),
    "logits of one item": (encoder(classify=lambda x: x[:1]), "classify gives logits [2, classes]"),
}


@pytest.mark.parametrize("what", ENCODERS)
def test_an_encoder_with(what):
    broken(check_encoder, *ENCODERS[what])


def smooth(maps=None, features=None) -> Any:
    """Two maps of the first two numbers, 2 x 1 x 1 and 3 x 1 x 1, unless `maps` says otherwise."""
    deeper = torch.tensor([[1.0, 2.0], [0.5, -1.0], [0.0, 1.0]])

    def both(x):
        first = torch.tanh(x[:, :2].float())
        return [one[:, :, None, None] for one in (first, first @ deeper.T)]

    part = encoder(features=lambda x: x.detach()[:, :2].float(), maps=maps or both)
    type(part).smooth = True
    build = type(part).build

    def built(self, *given):
        made = build(self, *given)
        made.features = features or (lambda x: x[:, :2].float())
        return made

    type(part).build = built
    return part


WEIGHT = nn.Parameter(torch.ones(()))


class Detour(torch.autograd.Function):
    """x**3 with the gradient of x**2."""

    @staticmethod
    def forward(context, x):
        context.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(context, slope):
        (x,) = context.saved_tensors
        return 2 * x * slope


def one(x):
    return x[:, :2, None, None].float()


SMOOTH = {
    "no gradient": (smooth(lambda x: [one(x).detach()]), "maps have no gradient"),
    "features of something else": (smooth(features=lambda x: 2 * x[:, :2]), "features(x) are not those of a call"),
    "features without gradient": (smooth(features=lambda x: x[:, :2].detach()), "features(x) have no gradient"),
    "trained weights": (smooth(lambda x: [one(x) * WEIGHT]), "weights have a gradient"),
    "steps": (smooth(lambda x: [one(x).round()]), "no gradient of maps reaches the items"),
    "another gradient": (smooth(lambda x: [Detour.apply(one(x))]), "the gradient of maps is not theirs"),
    "vectors": (smooth(lambda x: [x[:, :2]]), "maps(x) is a list of float32 [1, C, h, w], got torch.float32 [1, 2]"),
    "no maps": (smooth(lambda x: []), "maps(x) is a list of float32 [1, C, h, w], got list"),
    "deep ones first": (smooth(lambda x: [one(x), one(x).expand(-1, -1, 2, 2)]), "from shallow to deep"),
    "noise": (smooth(lambda x: [one(x) + torch.rand(1)]), "other maps the second time"),
}


@pytest.mark.parametrize("what", SMOOTH)
def test_a_smooth_encoder_with(what):
    broken(check_encoder, *SMOOTH[what])


def test_a_good_encoder_passes():
    check_encoder(encoder(classify=lambda x: x))
    check_encoder(smooth())


# ------------------------------------------------------------------ objectives


@attrs.define(eq=False)
class State:
    mean: Any = None
    """Of all batches so far: what the next step needs."""


class Training:
    """Brings the sampler's mean to that of the data, in two halves of a step."""

    def __init__(self, part, experiment):
        self.part, self.experiment = part, experiment
        self.state = {} if part.fault == "no state" else State(torch.zeros(()))
        self.hidden = torch.zeros(())

    def step(self, step):
        experiment, fault = self.experiment, self.part.fault
        feed, player = experiment.feed, experiment.players["sampler"]
        batch = feed.next(8)
        if fault == "state not whole":
            yield Phase("half", 1, 2)
        self.state.mean = self.state.mean * 0.5 + batch.x.mean()
        self.hidden = self.hidden * 0.5 + batch.x.mean()
        aim = self.hidden if fault == "hidden state" else self.state.mean
        if fault == "odd state":
            self.state.mean = {1, 2}
        generator = None if fault == "global draws" else experiment.streams["mine.z"]
        z = torch.randn(8, experiment.spec.sampler.latent.dim, generator=generator)
        x = player.module(z) if batch.y is None else player.module(z, batch.y)
        loss = (x.mean() - aim) ** 2
        if fault != "no step":
            player.minimize(loss)
        if fault == "another's weights":
            with torch.no_grad():
                next(experiment.discriminator.parameters()).add_(1)
        if fault == "frozen weights":
            next(player.module.parameters()).requires_grad_(False)
        found = {
            "gradient": {"loss": loss},
            "numbers": {"loss": 1.0},
            "vector": {"loss": x.detach().flatten()},
            "infinite": {"loss": loss.detach() / 0},
            "words": "loss",
        }
        if fault == "no metrics":
            return
        yield found.get(fault, {"loss": loss.detach()})
        if fault == "more":
            yield Phase("half", 2, 2)


@part
class Mean:
    """An objective with one fault, or none."""

    players: ClassVar[tuple[str, ...]] = ("sampler",)

    fault: str = option("", doc="What is wrong with it.")

    def check(self, spec):
        if self.fault == "crash":
            return [] if spec.discriminator.conditional else ["no"]
        return [] if None not in (spec.dataset, spec.sampler) else ["needs data and a sampler"]

    def items_a_step(self, batch_size):
        return batch_size if self.fault == "other items" else 8

    def equilibrium(self):
        return {"distance" if self.fault == "equilibrium" else "loss": 0.0}

    def build(self, experiment):
        return Training(self, experiment)


def test_a_good_objective_passes():
    check_objective(Mean())


def test_an_objective_is_tried_with_networks_that_take_few_data():
    @attrs.frozen(kw_only=True)
    class Rgb(TinySampler):
        """A sampler of colour images of 28 pixels, and of nothing else."""

        def check(self, data):
            return () if data is not None and data.shape == (3, 28, 28) else ["makes colour images of 28 pixels"]

    seen = []

    @part
    class Seeing(Mean):
        """An objective that remembers what data it is tried on."""

        def build(self, experiment):
            seen.append(experiment.spec.data_shape())
            return super().build(experiment)

    check_objective(Seeing(), sampler=Rgb(conditional=True))
    assert {shape.shape for shape in seen} == {(3, 28, 28)}
    assert all(shape.label_size for shape in seen)
    with pytest.raises(Untried, match="networks given refuse all data"):
        check_objective(Seeing(), sampler=Rgb(conditional=True), dataset=TINY["grey-classes"])


OBJECTIVES = {
    "no state": "its build returns an objective whose state is no attrs object",
    "frozen weights": "leaves parameters of the sampler frozen after a step",
    "no step": "players names the sampler, and three steps leave its weights as they are",
    "another's weights": "trains the discriminator, which players does not name",
    "hidden state": "resuming from the end of a step ends elsewhere",
    "state not whole": "resuming from the first safe point inside a step ends elsewhere",
    "odd state": "state cannot be saved: a checkpoint cannot hold objective/mean of type set",
    "global draws": "draws from torch's global random state",
    "other items": "3 steps read 24 items of the data, and items_a_step(32) is 32",
    "gradient": "the metric loss carries a gradient",
    "numbers": "metrics are tensors by name, 'loss' is float",
    "vector": "the metric loss is 0-dimensional",
    "infinite": "the metric loss is not finite",
    "words": "step yields a Phase or metrics, not str",
    "no metrics": "step ends without its metrics",
    "more": "something follows them",
    "equilibrium": "equilibrium names distance, which no step's metrics have",
    "crash": "check of a recipe without [discriminator] raised AttributeError",
}


@pytest.mark.parametrize("fault", OBJECTIVES)
def test_an_objective_with(fault):
    options = {"dataset": TINY["vector-classes"]} if fault == "crash" else {"dataset": TINY["vector"]}
    broken(check_objective, Mean(fault=fault), OBJECTIVES[fault], **options)


def test_players_are_networks():
    @part
    class Odd(Mean):
        """An objective of a player that there is not."""

        players: ClassVar[tuple[str, ...]] = ("generator",)

    broken(check_objective, Odd(), "players is a tuple of")


def test_replicas_are_tried_where_they_are_promised():
    @part
    class Stacked(Mean):
        """An objective that says it trains replicas, and does not."""

        replicable: ClassVar[bool] = True

    broken(check_objective, Stacked(), "step 1 on vector 2 unbounded raised")


# ------------------------------------------------------------------ analyzers


@part
class Look:
    """An analyzer that finds what `finds` says."""

    needs: ClassVar[frozenset[str]] = frozenset({"dataset", "sampler"})

    finds: str = option("", doc="Which of FOUND.")

    def check(self, spec):
        return ["no"] if self.finds == "refused" else []

    def build(self):
        return FOUND[self.finds]


def drawn(subject):
    return Result(scores={"draw": float(torch.rand(1, generator=subject.streams["x"]))}, tables={"t": [{"a": 1}]})


def spoil(subject):
    next(subject.sampler.parameters()).data.add_(1)
    return Result()


FOUND: dict[str, Callable[[Any], Any]] = {
    "": drawn,
    "no result": lambda subject: {"score": 1.0},
    "tensors": lambda subject: Result(scores={"a": torch.ones(2)}),
    "columns": lambda subject: Result(tables={"t": [{"a": 1}, {"b": 1}]}),
    "manifest": lambda subject: Result(manifest={"a": object()}),
    "frames": lambda subject: Result(animations={"a": [np.zeros((4, 4, 3))]}),
    "folders": lambda subject: Result(tables={"a/b": [{"a": 1}]}),
    "no figure": lambda subject: Result(figures={"a": "figure"}),
    "spoils": spoil,
    "drifts": lambda subject: Result(scores={"a": next(COUNT)}),
    "crashes": lambda subject: 1 / 0,
}
ANALYZERS = {
    "no result": "finds a Result, not dict",
    "tensors": "'a' is Tensor",
    "columns": "the same columns; those of t differ",
    "manifest": "cannot be written (TypeError",
    "frames": "frames of an animation are bytes",
    "folders": "leave out folders",
    "no figure": "figures are matplotlib's; a is str",
    "spoils": "changes the run it looks at",
    "drifts": "scores differ the second time",
    "crashes": "raised ZeroDivisionError",
    "refused": "refuses every recipe it is tried on (no)",
}


@pytest.mark.parametrize("finds", ANALYZERS)
def test_an_analyzer_that(finds):
    broken(check_analyzer, Look(finds=finds), ANALYZERS[finds], dataset=TinyData(kind="vector"))


def test_a_good_analyzer_passes():
    check_analyzer(Look())


def test_needs_are_tables():
    @part
    class Odd(Look):
        """An analyzer that needs a generator."""

        needs: ClassVar[frozenset[str]] = frozenset({"generator"})

    broken(check_analyzer, Odd(), "needs is a frozenset of")


@pytest.mark.parametrize(
    ("states", "said"),
    [
        ({"draw": "down"}, 'better is a mapping of scores to "min" or "max"'),
        ({"drawn": "min"}, "finds none of the scores"),
    ],
)
def test_better_names_scores(states, said):
    @part
    class Odd(Look):
        """An analyzer that says which way its scores are better."""

        better: ClassVar[dict[str, str]] = states

    broken(check_analyzer, Odd(), said)


# ------------------------------------------------------------------ rounding


def test_own_rounding_moves_equal_rows_apart_by_their_last_digits():
    torch.manual_seed(0)
    rows, images = torch.randn(1, 50).repeat(8, 1), torch.randn(1, 3, 6, 6).repeat(8, 1, 1, 1)
    for module, x in (
        (nn.Linear(50, 4), rows),
        (nn.Conv2d(3, 4, 3), images),
        (nn.Linear(50, 4).double(), rows.double()),
    ):
        plain = module(x)
        with testing.OwnRounding():
            found, again, alone = module(x), module(x), module(x[:1])
        assert torch.equal(found, again)
        assert len(found.flatten(1).unique(dim=0)) > 1
        assert not torch.equal(found[:1], alone)
        assert (found - plain).abs().max() < 50 * torch.finfo(x.dtype).eps
    with testing.OwnRounding():
        assert (torch.ones(9, 50) @ torch.full((50, 2), 3.0) == 150).all(), "whole numbers are exact"


def test_a_suite_runs_with_own_rounding(tmp_path):
    (tmp_path / "test_mode.py").write_text("""
from torch.utils._python_dispatch import _get_current_dispatch_mode

def test_the_mode():
    assert type(_get_current_dispatch_mode()).__name__ == "OwnRounding"
""")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path), "--own-rounding"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_files_that_an_isolated_test_loads_are_forgotten(isolated_plugins, monkeypatch, tmp_path):
    before = os.environ.get("GFLOW_LOAD")
    (tmp_path / "mine.py").write_text(
        "import attrs\nfrom gflow_core import Normal, hookimpl\n"
        "@attrs.frozen(kw_only=True)\nclass Law(Normal):\n    '''Mine.'''\n"
        "@hookimpl\ndef register_latents(add):\n    add('mine.law', Law)\n"
    )
    gflow_core.load(tmp_path / "mine.py")
    assert os.environ["GFLOW_LOAD"] == str(tmp_path / "mine.py")
    monkeypatch.undo()
    assert os.environ.get("GFLOW_LOAD") == before


@attrs.frozen(kw_only=True)
class OneSided(GradientPenalty):
    """E max(0, |grad d| - slope)^2 at real items: 0 of a discriminator that is flatter."""

    differentiates: ClassVar[frozenset[str]] = frozenset({"real"})

    slope: float = option(1.0, doc="The slope that costs nothing.")

    def value(self, judged):
        norm = gradients.squared_gradient_norm(judged.d_real, judged.real.x).sqrt()
        return (norm - self.slope).relu().square().mean()


def test_a_penalty_may_be_nothing_of_a_flat_discriminator_but_not_of_every_one():
    check_penalty(OneSided())
    broken(check_penalty, OneSided(slope=1e9), "no gradient of it reaches the discriminator")
