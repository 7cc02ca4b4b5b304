"""Whatever a recipe or an override holds, the answer is a checked recipe or a message, never a traceback."""

from __future__ import annotations

import copy
import datetime
from collections.abc import Callable
from typing import Any

import pytest
import tomlkit
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gflow_core.cli import main
from gflow_core.errors import GflowError, RecipeError
from gflow_core.parts.plugins import plugins
from gflow_core.recipes.recipe import Recipe, load
from gflow_core.recipes.structure import structure
from gflow_core.recipes.writing import dumps

GOOD: dict[str, Any] = {
    "gflow": 1,
    "title": "good",
    "dataset": {"use": "ring", "modes": 8},
    "sampler": {"use": "vgrow.mlp", "width": 16, "latent": {"use": "normal", "dim": 2}},
    "discriminator": {"use": "vgrow.mlp", "activation": "tanh"},
    "objective": {"use": "vgrow.flow", "clamp": [-1, 1], "projection_passes": "authors"},
    "optimizer": {
        "sampler": {"use": "adam", "lr": 1e-4, "betas": [0.5, 0.9], "schedule": {"use": "linear", "steps": 5}},
        "discriminator": {"use": "rmsprop", "lr": 1e-4},
    },
    "train": {"steps": 10, "batch_size": 8, "ema": {"decay": 0.9}},
    "analyze": [{"use": "vgrow.theory", "every": 5}, {"use": "flow_field", "name": "field"}],
}

KEYS = "use gflow dataset sampler latent dim optimizer lr schedule train steps ema analyze every name 0 1 7 -1 widht"
WORDS = "vgrow.mlp vgrow.resnet uniform mnist5k sgd constant authors ../x ~ ="

keys = st.sampled_from([*KEYS.split(), "extends", ""]) | st.text(max_size=6)
words = st.sampled_from(WORDS.split())
scalars = st.one_of(
    st.just(datetime.date(2020, 1, 1)),
    st.booleans(),
    st.integers(),
    st.integers(-3, 3),
    st.floats(),
    words,
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)

quick = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    """GOOD with one to three changes anywhere: another value, another key, a key more, a key less."""
    table = copy.deepcopy(GOOD)
    for _ in range(draw(st.integers(1, 3))):
        at: Any = table
        while True:
            places = list(at) if isinstance(at, dict) else list(range(len(at)))
            if not places:
                break
            key = draw(st.sampled_from(places))
            if not isinstance(at[key], dict | list) or draw(st.integers(0, 2)) == 0:
                change = draw(st.sampled_from(["value", "rename", "add", "remove"]))
                if change == "value" or isinstance(at, list):
                    at[key] = draw(values)
                elif change == "rename":
                    at[draw(keys)] = at.pop(key)
                elif change == "add":
                    at[draw(keys)] = draw(values)
                else:
                    del at[key]
                break
            at = at[key]
    return table


@st.composite
def override(draw: st.DrawFn) -> str:
    """An override that is nearly right."""
    place = ".".join(draw(st.lists(keys, min_size=1, max_size=4)))
    if draw(st.integers(0, 3)) == 0:
        return f"~{place}"
    return f"{place}={draw(scalars | words | st.sampled_from(['[1, 2]', '{ use = 3 }', '[', '[[1]]', '{']))}"


def answer(function: Callable[..., Any], *arguments: Any) -> Any:
    """What the function returns, or the GflowError that it raises; anything else it raises fails the test."""
    try:
        return function(*arguments)
    except GflowError as error:
        return error


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp("fuzz") / "good.toml"
    path.write_text(tomlkit.dumps(GOOD), encoding="utf-8")
    load(path)
    return path


@settings(max_examples=500, deadline=None)
@given(mutated())
def test_mutated_tables(table):
    found = answer(structure, table, plugins())
    if isinstance(found, RecipeError):
        assert found.problems
        assert all(problem.message for problem in found.problems)
    else:
        assert dumps(found)


@quick
@given(st.lists(override() | st.text(max_size=20), min_size=1, max_size=3))
def test_overrides(good, overrides):
    found = answer(load, good, overrides)
    assert str(found) if isinstance(found, RecipeError) else dumps(found.spec, found.origins)


@quick
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes(tmp_path, content):
    path = tmp_path / "bytes.toml"
    path.write_bytes(content)
    found = answer(load, path)
    assert isinstance(found, Recipe) or str(path) in str(found)


@quick
@given(st.data())
def test_a_good_file_cut_or_with_a_byte_changed(good, tmp_path, data):
    content = bytearray(good.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content = content[:at]
    else:
        content[at] = data.draw(st.integers(0, 255))
    path = tmp_path / "changed.toml"
    path.write_bytes(content)
    found = answer(load, path)
    assert isinstance(found, Recipe) or str(path) in str(found)


@settings(quick, max_examples=60)
@given(mutated(), st.lists(override() | st.text(max_size=12), max_size=2), st.booleans())
def test_the_command_line_leaves_with_0_or_2_and_no_traceback(tmp_path, table, overrides, origins):
    path = tmp_path / "mutated.toml"
    path.write_text(tomlkit.dumps(table), encoding="utf-8")
    commands = (["validate", str(path)], ["resolve", str(path), *["--origins"] * origins, "--", *overrides])
    for command in commands:
        result = CliRunner().invoke(main, command)
        assert result.exit_code in (0, 2), result.output
        assert result.exception is None or isinstance(result.exception, SystemExit)
        assert "Traceback" not in result.output
        if result.exit_code == 2:
            assert result.stderr.startswith(("error: ", "Usage: "))
