"""Commands that look and do not compute: without torch, quick, and clear about what is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import tomllib

import attrs
import pytest
from click.testing import CliRunner

from gflow_core.cli import COMMANDS, main
from gflow_core.cli.ls import _provider
from gflow_core.cli.show import _prose
from gflow_core.nn.latents import Normal
from gflow_core.parts.contracts import Latent
from gflow_core.parts.options import option
from gflow_core.parts.plugins import PluginRecord, Plugins, plugins
from gflow_core.recipes.recipe import load

RECIPE = """
gflow = 1
title = "two dimensions"
[dataset]
use = "ring"
[sampler]
use = "vgrow.mlp"
[discriminator]
use = "vgrow.mlp"
[objective]
use = "vgrow.flow"
[optimizer.sampler]
use = "adam"
lr = 1e-4
[optimizer.discriminator]
use = "adam"
lr = 1e-4
[train]
steps = 5
"""


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "plane.toml").write_text(RECIPE)
    return "recipes/plane.toml"


def gflow(*arguments: str):
    return CliRunner().invoke(main, arguments)


LOOKING = [
    ["--help"],
    ["--version"],
    ["validate", "recipes/plane.toml"],
    ["resolve", "recipes/plane.toml", "--origins"],
    ["ls"],
    ["ls", "recipes"],
    ["show", "sampler", "vgrow.resnet"],
    ["show", "objective", "vgrow.flow", "--toml"],
    ["plugins"],
]


@pytest.mark.parametrize("arguments", LOOKING, ids=" ".join)
def test_looking_imports_no_torch(recipe, arguments):
    code = (
        "import sys; from gflow_core.cli import main; main(sys.argv[1:], standalone_mode=False); "
        "heavy = {'torch', 'numpy', 'scipy', 'matplotlib', 'accelerate'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    print(f"gflow {' '.join(arguments)}: {time.perf_counter() - start:.2f} s")
    assert done.returncode == 0, done.stderr


def test_help_lists_every_command_without_importing_one():
    code = (
        "import sys; from gflow_core.cli import main; main(['--help'], standalone_mode=False); "
        "print([name for name in sys.modules if name.startswith('gflow_core.cli.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    listed = [
        line.split()[0] for line in done.stdout.partition("Commands:")[2].splitlines()[1:] if line.startswith("  ")
    ]
    assert listed == main.list_commands(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", main.list_commands(None))  # type: ignore[arg-type]
def test_every_command_has_help_and_its_own_name(name):
    command = main.get_command(None, name)  # type: ignore[arg-type]
    assert command.name == name
    assert command.help
    assert COMMANDS[name].endswith(".")
    assert gflow(name, "--help").exit_code == 0


def test_version_names_core_and_plugins():
    lines = gflow("--version").stdout.splitlines()
    assert lines[0].startswith("gflow-core ")
    assert any(line.startswith("gflow-vgrow ") for line in lines)


def test_unknown_commands_and_options_are_usage_errors():
    result = gflow("valdate")
    assert result.exit_code == 2
    assert 'did you mean "validate"?' in result.stderr
    assert gflow("ls", "--colour").exit_code == 2


# ------------------------------------------------------------------ validate, resolve


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("run x.toml --dryrun", '--dryrun; did you mean "--dry-run"?'),
        ("run --seed 3 x.toml", "--seed; did you mean train.seed=3?"),
        ("run x.toml --steps=20", "--steps; did you mean train.steps=20?"),
        ("run x.toml --steps", "--steps; did you mean train.steps=N?"),
        ("sweep x.toml --seeds 0:3", "--seeds; did you mean seeds=0:3?"),
        ("sweep x.toml --job 2", '--job; did you mean "--jobs"?'),
        ("analyze runs/x --schedular a", '--schedular; did you mean "--scheduler"?'),
    ],
)
def test_mistyped_options_are_no_overrides(words, said):
    result = gflow(*words.split())
    assert (result.exit_code, result.stderr) == (2, f"error: no such option: {said}\n")


def test_validate_reports_good_ones_and_every_problem_of_bad_ones(recipe, tmp_path):
    (tmp_path / "bad.toml").write_text(RECIPE.replace("steps = 5", 'steps = "10k"\nstesp = 5'))
    result = gflow("validate", recipe, "bad.toml", "none.toml")
    assert result.exit_code == 2
    assert result.stdout == (
        "ok  recipes/plane.toml  "
        "(dataset ring, sampler vgrow.mlp, discriminator vgrow.mlp, objective vgrow.flow, 5 steps)\n"
    )
    assert result.stderr.splitlines() == [
        'error: bad.toml: train.steps: expected a whole number, got the string "10k"',
        'error: bad.toml: train.stesp: unknown option; did you mean "steps"?',
        "error: none.toml: no such file",
    ]
    assert gflow("validate", recipe).exit_code == 0


def test_validate_takes_no_overrides(recipe):
    for argument in ("train.seed=x", "~train.keep"):
        result = gflow("validate", recipe, argument)
        assert result.exit_code == 2
        assert result.stdout.startswith("ok  ")
        assert result.stderr == (
            f"error: {argument}: no such file; validate takes files only, "
            "`gflow resolve RECIPE OVERRIDES` checks overrides\n"
        )


def test_what_resolve_prints_is_the_same_recipe(recipe, tmp_path):
    overrides = ["train.seed=3", "objective.clamp=[-1, 1]", "~train.keep"]
    assert gflow("resolve", recipe, *overrides).exit_code == 2
    result = gflow("resolve", recipe, *overrides[:2])
    (tmp_path / "resolved.toml").write_text(result.stdout)
    assert load("resolved.toml").spec == load(recipe, overrides[:2]).spec
    assert "# override train.seed=3" in gflow("resolve", recipe, "--origins", *overrides[:2]).stdout


def test_overrides_reach_the_recipe_untouched(recipe):
    result = gflow("resolve", recipe, "sampler.latent.low=-1", "sampler.latent=uniform", "~dataset", "title=-x=y")
    assert result.exit_code == 2
    result = gflow("resolve", recipe, "sampler.latent=uniform", "sampler.latent.low=-2.5", "title=-x=y")
    assert "low = -2.5" in result.stdout
    assert 'title = "-x=y"' in result.stdout


# ------------------------------------------------------------------ ls, show, plugins


def test_ls_lists_every_registered_part():
    rows = json.loads(gflow("ls", "--json").stdout)
    listed = {(row["kind"], row["name"]) for row in rows}
    assert {(kind, name) for kind in plugins().kinds for name in plugins().registries[kind]} <= listed
    assert {("optimizer", "adam"), ("schedule", "linear")} <= listed
    assert all(row["doc"] and row["provider"] for row in rows), "every part has a docstring and a provider"
    assert "vgrow.mlp" in gflow("ls", "samplers").stdout
    assert gflow("ls", "smaplers").exit_code == 2


def test_ls_recipes_shows_titles_and_what_is_broken(recipe, tmp_path):
    (tmp_path / "recipes" / "bad.toml").write_text("gflow = 1\n[train\n")
    lines = gflow("ls", "recipes").stdout.splitlines()
    assert lines[0].startswith("recipes/bad.toml    BROKEN: recipes/bad.toml: line 2")
    assert lines[1] == "recipes/plane.toml  two dimensions"
    rows = json.loads(gflow("ls", "recipes", "--json").stdout)
    assert rows[1] == {"recipe": "recipes/plane.toml", "title": "two dimensions", "dist": ""}


def test_ls_recipes_where_there_are_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gflow_core.cli.ls.shipped", lambda plugins: [])
    result = gflow("ls", "recipes")
    assert (result.exit_code, result.stdout) == (0, "")
    assert gflow("ls", "recipes", "--json").stdout == "[]\n"


def test_show_tells_provider_place_options_and_documentation():
    shown = gflow("show", "objective", "vgrow.flow").stdout
    assert shown.startswith("vgrow.flow: objective of gflow-vgrow ")
    assert "gflow_vgrow/parts.py:" in shown
    assert "Variational gradient flow" in shown
    assert "step_size = 0.5\n      float | { use = schedule, ... }, > 0\n" in shown
    assert 'clamp = "data"\n      "data" | "none" | [float, float]\n' in shown
    assert "ratio_clip  (unset)\n" in shown
    assert (
        "lr  (required)\n      float | { use = schedule, ... }, > 0 and <= 1e+06\n"
        in gflow("show", "optimizer", "adam").stdout
    )
    steps = 'int, >= 0, in steps, or as in "2 epochs", "1e6 items"'
    assert f"steps  (required with an [objective])\n      {steps}\n" in gflow("show", "train").stdout
    assert "\n# steps =   # required with an [objective]" in gflow("show", "train", "--toml").stdout
    assert "no options" in gflow("show", "tracker", "jsonl").stdout


def test_show_of_what_is_not_there():
    result = gflow("show", "sampler", "vgrow.resnt")
    assert result.exit_code == 2
    assert result.stderr.startswith('error: unknown sampler "vgrow.resnt"; did you mean "vgrow.resnet"?')
    assert gflow("show", "sampler").exit_code == gflow("show", "smapler", "x").exit_code == 2
    assert 'did you mean "sampler"' in gflow("show", "smapler", "x").stderr
    assert "takes no name" in gflow("show", "train", "x").stderr
    escaped = gflow("show", "sampler", "\x1b[31mred\u202e").stderr
    assert escaped.startswith(r'error: unknown sampler "\x1b[31mred\u202e"')


def test_kinds_are_singular_or_plural():
    for command, name in (("ls", ()), ("show", ("vgrow.mlp",))):
        one, many = gflow(command, "sampler", *name), gflow(command, "samplers", *name)
        assert one.exit_code == 0
        assert one.stdout == many.stdout


def test_a_part_in_the_place_of_a_kind_is_told_with_its_kinds():
    said = gflow("show", "vgrow.mlp").stderr
    assert "gflow show sampler vgrow.mlp or gflow show discriminator vgrow.mlp" in said


def test_ls_has_a_heading_for_each_kind_and_names_providers_where_names_do_not():
    listed = gflow("ls").stdout
    lines = listed.splitlines()
    assert [line for line in lines if not line.startswith(" ")][:2] == ["samplers", "discriminators"]
    assert lines[1].split()[0] == "cgan.conv"
    assert "gflow-core" not in listed
    row = {"name": "mine.net", "provider": "gflow-other 1.0"}
    assert _provider(row) == " (gflow-other 1.0)"


def test_show_wraps_prose_at_the_terminals_width_and_leaves_lists_alone(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    text = "word " * 20 + "\n\n    x <- x + s v(x), a formula longer than the terminal is wide\n\n- one\n- two"
    filled, formula, items = _prose(text, "  ").split("\n\n")
    assert max(map(len, filled.splitlines())) <= 40
    assert formula == "      x <- x + s v(x), a formula longer than the terminal is wide"
    assert items == "  - one\n  - two"


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind in plugins().kinds for name in plugins().registries[kind]]
    + [("optimizer", "adam"), ("schedule", "multistep"), ("train", "")],
)
def test_every_part_is_shown_and_its_toml_is_toml(kind, name):
    arguments = ["show", kind, name] if name else ["show", kind]
    assert gflow(*arguments).exit_code == 0
    result = gflow(*arguments, "--toml")
    assert result.exit_code == 0
    assert tomllib.loads(result.stdout)


def test_required_options_are_marked_in_what_is_to_be_pasted():
    assert gflow("show", "optimizer", "adam", "--toml").stdout.splitlines()[:3] == [
        "[optimizer.sampler]",
        'use = "adam"',
        "# lr =   # required: float | { use = schedule, ... }, > 0 and <= 1e+06",
    ]


def test_plugins_tells_what_is_broken(monkeypatch):
    broken = PluginRecord("bad", "gflow-bad", "0.1", "gflow_bad", status="broken", error="importing it raised Oops")
    monkeypatch.setattr(plugins(), "records", [*plugins().records, broken])
    text = gflow("plugins").stdout
    assert "bad  gflow-bad 0.1  BROKEN: importing it raised Oops" in text
    assert "samplers: vgrow.resnet, vgrow.mlp" in text
    records = json.loads(gflow("plugins", "--json").stdout)
    assert {"core", "vgrow", "bad"} <= {record["name"] for record in records}
    assert records[-1]["status"] == "broken"


def test_plugins_finds_the_defects_of_parts(monkeypatch):
    @attrs.frozen(kw_only=True)
    class Net:
        """A sampler."""

        latent: Latent = option(factory=lambda: Normal(dim=2), doc="Law.")
        table: dict = option(factory=dict, doc="A type that recipes cannot hold.")
        count: int = option(0, doc="Its default is out of bounds.", ge=1)
        rate: float = option("fast", doc="Its default is of another type.")

        def build(self, data):
            raise NotImplementedError

    found = Plugins()
    record = PluginRecord("bad", "gflow-bad", "0.1", "gflow_bad", parts=[("sampler", "bad.net")])
    found.registries["sampler"].add("bad.net", Net, "gflow-bad 0.1")
    found.records.append(record)
    for name in ("gflow_core.parts.plugins.plugins", "gflow_core.cli.show.plugins"):
        monkeypatch.setattr(name, lambda: found)
    text = gflow("plugins").stdout
    for defect in (
        "BROKEN: sampler bad.net lacks the class attribute conditional (True or False)",
        "sampler bad.net: options of type dict cannot be read from a recipe: table",
        "sampler bad.net: the default of count is wrong: must be >= 1, got 0",
        'sampler bad.net: the default of rate is wrong: expected a number, got the string "fast"',
    ):
        assert defect in text
    assert record.status == "ok", "looking changes nothing"


def test_no_part_here_has_a_defect():
    assert "BROKEN" not in gflow("plugins").stdout


# ------------------------------------------------------------------ leaving


def test_a_traceback_is_shown_when_asked_for(recipe, monkeypatch):
    monkeypatch.setenv("GFLOW_DEBUG", "1")
    result = gflow("resolve", recipe, "train.steps=x")
    assert type(result.exception).__name__ == "RecipeError"


def test_ctrl_c_leaves_with_130(recipe, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("gflow_core.cli.validate.load", interrupt)
    result = gflow("validate", recipe)
    assert (result.exit_code, result.stderr) == (130, "interrupted\n")


def test_a_closed_pipe_is_no_traceback():
    command = f"{sys.executable} -m gflow_core ls --json | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert done.stdout == "[\n"
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="file names are text elsewhere")
def test_a_file_name_that_is_no_text(recipe, tmp_path):
    name = os.fsencode(tmp_path) + b"/\xff.toml"
    done = subprocess.run([sys.executable, "-m", "gflow_core", "validate", name], capture_output=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: ")
    assert b"Traceback" not in done.stderr


def test_the_cores_own_keys_are_shown_beside_a_networks_options():
    shown = gflow("show", "sampler", "far.mlp").stdout
    assert "\n  weights: File of weights that it begins from" in shown
    assert "\n  freeze: Patterns of parameters that are not trained" in shown
    assert "from_run, in place of use: the sampler of a run" in shown
    assert "Of any" not in gflow("show", "loss", "hinge").stdout
