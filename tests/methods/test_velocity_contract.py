"""A velocity that breaks its contract is named, with its method and what was expected, at its first move."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import attrs
import pytest
import torch

import gflow_core
from gflow_core import BatchVelocity, Everywhere, PluginError, check_velocity
from gflow_core.data.parts import Ring
from gflow_core.methods.velocities import Flow
from gflow_core.parts.plugins import plugins
from gflow_core.recipes.recipe import load
from gflow_core.runs.blame import blaming
from gflow_core.runs.build import build
from gflow_core.runs.train import train

RING = Ring(n=50)


def of_batch(of):
    """A velocity with this `of`."""

    @attrs.frozen(kw_only=True)
    class Bad(BatchVelocity):
        """Bad."""

        def of(self, x, y, normal, done):
            return of(x, y)

    return Bad()


def built(make=None, **members):
    """A velocity whose `build` gives what `make` does, or something with these members."""

    @attrs.frozen(kw_only=True)
    class Bad:
        """Bad."""

        players: ClassVar[tuple[str, ...]] = ()

        def check(self, spec):
            return ()

        def items_a_move(self, batch_size, rules):
            return 0

        def build(self, experiment, rules):
            return make() if make else type("Built", (), {"observes": (), "updates": 1, **members})()

    return Bad()


def fields(field):
    """A velocity whose field is `field(x)`, a function of rows."""

    @contextmanager
    def at(self, state, done):
        yield field(state.x)

    return built(at=at)


def in_place(x, y):
    x += 1
    return x


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (of_batch(lambda x, y: None), r"its of returns nothing \(None\) for particles \[32, 2\], a tensor is expected"),
        (of_batch(lambda x, y: (y.mean(0) - x).T), r"its of returns \[2, 32\] for .*, \[32, 2\] is expected"),
        (of_batch(lambda x, y: (y.mean(0) - x)[None]), r"its of returns \[1, 32, 2\]"),
        (of_batch(lambda x, y: x.long()), "its of returns torch.int64 .* real floats are expected"),
        (of_batch(lambda x, y: x * 1j), "its of returns torch.complex64"),
        (of_batch(lambda x, y: x.double()), "its of returns torch.float64 .*, torch.float32 as theirs is expected"),
        (of_batch(in_place), "changes the particles that it is given in place"),
        (fields(lambda x: lambda rows: x[rows][:, :1]), r"its field returns \[32, 1\]"),
        (fields(lambda x: lambda rows: x[rows].clone().requires_grad_()), "its field returns a tensor that asks for a"),
        (fields(lambda x: None), r"its at returns a context of nothing \(None\); a field is expected"),
        (built(at=lambda self, state, done: lambda rows: state.x[rows]), "its at returns .* a context that gives"),
        (built(lambda: None), r"its build returns nothing \(None\), an object with a method at is expected"),
        (built(at=fields, updates=None), r"whose observes is \(\) and updates None; the names of its"),
        (built(at=fields, observes="loss"), "whose observes is 'loss' and updates 1; the names of its"),
        (built(at=fields, observes=("velocity",)), "a velocity that observes 'velocity', as its loop does"),
    ],
)
def test_what_it_returns_is_looked_at(part, said):
    with pytest.raises((PluginError, AssertionError), match=f"flow.velocity Bad.*{said}"):
        check_velocity(part, dataset=RING, brief=True)


def test_draws_of_no_stream_are_found():
    with pytest.raises(AssertionError, match="random"):
        check_velocity(of_batch(lambda x, y: torch.randn_like(x)), dataset=RING, brief=True)


@pytest.mark.parametrize("where", ["at", "field"])
def test_who_raised_is_the_velocity(where):
    def raises(*_):
        raise ValueError("mine")

    part = built(at=raises) if where == "at" else fields(lambda x: raises)
    spec = load("recipes/sw_ring8.toml", ["train.steps=1", "analyze=[]"]).spec
    spec = attrs.evolve(spec, objective=Flow(velocity=part, pool_size=1000))
    experiment = build(spec)

    class Quiet:
        def __getattr__(self, name):
            return lambda *_: False

    with pytest.raises(PluginError, match=r"^flow\.velocity Bad raised ValueError: mine"), blaming(spec, experiment):
        train(experiment, Quiet())


@pytest.mark.parametrize(
    ("name", "gives", "said"),
    [
        ("potential", lambda x, y, done: x.sum(1), r"its potential returns .*; a function of points \[k, d\] is"),
        ("potential", lambda x, y, done: lambda points: points, r"its potential returns \[5, 2\] at points"),
        ("between", lambda x, y, done: x, r"its between returns .*; a function of points"),
        (
            "between",
            lambda x, y, done: lambda points: points.sum(1),
            r"its between returns \[5\] for .* \[5, 2\]",
        ),
    ],
)
def test_what_it_says_of_points_between_particles_is_looked_at(name, gives, said):
    @attrs.frozen(kw_only=True)
    class Bad(BatchVelocity):
        """Bad."""

        def of(self, x, y, normal, done):
            return y.mean(0) - x

    setattr(Bad, name, lambda self, x, y, done: gives(x, y, done))
    spec = load("recipes/sw_ring8.toml", ["train.steps=1", "analyze=[]"]).spec
    experiment = build(attrs.evolve(spec, objective=Flow(velocity=Bad(), pool_size=32)))
    objective = experiment.objective
    objective._begin()
    with objective.velocity.at(objective.state, 0) as field:
        assert isinstance(field, Everywhere)
        with pytest.raises(PluginError, match=f"flow.velocity Bad: {said}"):
            field.at(torch.randn(5, 2))


def test_the_examples_of_the_page_keep_the_promises(isolated_plugins, tmp_path):
    blocks, block = [], []
    for line in [*Path("docs/flows.md").read_text().splitlines(), "end"]:
        if line.startswith("    ") or not line:
            block.append(line.removeprefix("    "))
        else:
            blocks.append("\n".join(block))
            block = []
    found = [block for block in blocks if "def register_parts" in block]
    assert len(found) == 2
    for i, text in enumerate(found):
        (tmp_path / f"velocity_{i}.py").write_text(text)
        gflow_core.load(tmp_path / f"velocity_{i}.py")
    for name in ("mine.home", "mine.uphill"):
        check_velocity(plugins().get("flow.velocity", name)(), dataset=RING, brief=True)
