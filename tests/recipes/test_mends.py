"""A value of the wrong type: the message says how it is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from gflow_core.cli import main
from gflow_core.recipes.mends import mended

RECIPE = str(Path(__file__).parents[2] / "recipes" / "vgrow_ring8.toml")


def said(*words: str) -> str:
    result = CliRunner().invoke(main, ["resolve", RECIPE, *words])
    assert result.exit_code == 2, result.output
    return result.stderr


@pytest.mark.parametrize(
    ("override", "mend"),
    [
        ("optimizer.sampler.lr=.001", "optimizer.sampler.lr=0.001"),
        ("objective.step_size=-1.", "objective.step_size=-1.0"),
        ("train.steps=1e3", "train.steps=1000"),
        ('train.steps="5"', "train.steps=5"),
        ("train.deterministic=True", "train.deterministic=true"),
        ("optimizer.sampler.betas=(.5,.9)", "'optimizer.sampler.betas=[0.5,0.9]'"),
        ("title=2026", "'title=\"2026\"'"),
    ],
)
def test_what_to_write_on_the_command_line(override, mend):
    assert said(override).endswith(f"; write {mend}\n")


@pytest.mark.parametrize("none", ["None", "null"])
@pytest.mark.parametrize("place", ["train.ema", "train.clip"])
def test_none_is_what_is_left_out(place, none):
    assert said(f"{place}={none}").endswith(f"; to have none, ~{place} removes what the recipe has\n")


def test_what_to_write_in_a_file():
    expected = "expected a number, got the string"
    assert mended(expected, ("train", "clip"), {"train": {"clip": ".5"}}, "a.toml") == f"{expected}; write clip = 0.5"
    assert mended(expected, ("train", "clip"), {"train": {"clip": "none"}}, "a.toml").endswith("remove this line")


@pytest.mark.parametrize("value", ["1.2.3", "x", [1], 0.5, True, "2026-11-29", "1\ny = 2"])
def test_nothing_is_guessed(value):
    expected = "expected a whole number, got another"
    assert mended(expected, ("a",), {"a": value}, "override a=") == expected


def test_a_date_is_text():
    result = CliRunner().invoke(main, ["resolve", RECIPE, "title=2026-11-29"])
    assert 'title = "2026-11-29"' in result.stdout


@pytest.mark.parametrize("command", ["run", "resolve"])
def test_an_override_has_no_dashes(command):
    result = CliRunner().invoke(main, [command, RECIPE, "--train.steps=3"])
    assert result.exit_code == 2
    assert "no dashes: train.steps=" in result.stderr


@pytest.mark.parametrize("words", [["y" * 200_000 + "=1"], [f"train.{'y' * 50}{i}=1" for i in range(500)]])
def test_no_error_is_longer_than_what_is_read(words):
    assert len(said(*words)) < 20_000
    assert len(said(*words).splitlines()) < 50
