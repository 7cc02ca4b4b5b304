"""Parts without a package: one file named on the command line, or classes registered in a notebook."""

from __future__ import annotations

import importlib
import json
import textwrap
from pathlib import Path

import attrs
import pytest
from click.testing import CliRunner

import gflow_core
from gflow_core import PluginError, RecipeError, UnknownPart
from gflow_core.cli import main
from gflow_core.parts.loading import loaded_files
from gflow_core.parts.plugins import plugins

FILE = """
    import attrs
    from gflow_core import Nonsaturating, hookimpl


    @attrs.frozen
    class Shifted(Nonsaturating):
        \"\"\"The non-saturating loss of logits less a half.\"\"\"

        def discriminator(self, d_real, d_fake):
            return super().discriminator(d_real - SHIFT, d_fake - SHIFT)


    @hookimpl
    def register_losses(add):
        add("mine.shifted", Shifted)
"""

RECIPE = """
    gflow = 1
    [dataset]
    use = "ring"
    n = 200
    [sampler]
    use = "vgrow.mlp"
    width = 8
    [discriminator]
    use = "vgrow.mlp"
    width = 8
    [objective]
    use = "adversarial"
    loss = "mine.shifted"
    [optimizer.sampler]
    use = "sgd"
    lr = 0.1
    [optimizer.discriminator]
    use = "sgd"
    lr = 0.1
    [train]
    steps = 2
    batch_size = 8
    [[analyze]]
    use = "mode_coverage"
    samples = 20
"""


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    """Each command as in a process of its own."""
    monkeypatch.setenv("GFLOW_LOAD", "")
    monkeypatch.setattr("gflow_core.parts.plugins._loaded", None)


@pytest.fixture
def gflow(monkeypatch):
    def call(*words: object, code: int = 0):
        monkeypatch.setenv("GFLOW_LOAD", "")
        monkeypatch.setattr("gflow_core.parts.plugins._loaded", None)
        result = CliRunner().invoke(main, [str(word) for word in words])
        assert result.exit_code == code, result.output
        return result

    return call


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("my_parts.py").write_text(textwrap.dedent(FILE).replace("SHIFT", "0.5"))
    Path("mine.toml").write_text(textwrap.dedent(RECIPE))
    return tmp_path


def test_a_recipe_alone_never_loads_code(here, gflow):
    out = gflow("run", "mine.toml", code=2).output
    assert 'unknown loss "mine.shifted"' in out
    assert not Path("runs").exists()


def test_a_named_file_serves_a_run_and_the_run_keeps_it(here, gflow):
    assert "mine.shifted" in gflow("ls", "losses", "--load", "my_parts.py").output
    shown = gflow("plugins", "--load", "my_parts.py").output
    assert f"    {here / 'my_parts.py'}\n    losses: mine.shifted\n" in shown
    gflow("run", "mine.toml", "--load", "my_parts.py")
    run = Path("runs/mine-s0-001")
    (loaded,) = json.loads((run / "manifest.json").read_text())["loaded"]
    assert loaded["parts"] == "loss mine.shifted"
    copy = run / "parts" / "my_parts.py"
    assert copy.read_bytes() == Path("my_parts.py").read_bytes()

    # Without the file the run says which one it lacks.
    for words in (["resume", run, "--steps", "3"], ["analyze", run], ["sample", run, "--out", "x.npy"]):
        assert "the run began with parts of its own: say --load my_parts.py" in gflow(*words, code=2).output

    # Its own copy counts, whatever has become of the file, and that is said.
    first = gflow("analyze", run, "--load", "my_parts.py")
    assert "has changed" not in first.output
    Path("my_parts.py").write_text("raise SystemExit")
    assert (
        "my_parts.py has changed since the run began; the run's copy is used"
        in gflow("resume", run, "--steps", "3", "--load", "my_parts.py").output
    )
    gflow("sample", run, "--out", "x.npy", "--n", "4", "--load", "my_parts.py")

    # A copy that is not what the run began with is not run.
    copy.write_text("raise SystemExit")
    assert "not the file that the run began with" in gflow("analyze", run, "--load", "my_parts.py", code=2).output


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("raise SystemExit", "importing it raised SystemExit"),
        ("x = 1", "it registers no part"),
        ("from gflow_core import hookimpl\n@hookimpl\ndef register_loses(add): ...", 'did you mean "register_losses"'),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_does_not_load_is_one_message(here, gflow, text, said):
    if text is not None:
        Path("bad.py").write_text(text)
    assert said in gflow("validate", "mine.toml", "--load", "bad.py", code=2).output


def test_loading_from_python(here):
    with pytest.raises(RecipeError):
        gflow_core.Recipe.load("mine.toml")
    assert gflow_core.load("my_parts.py").parts == [("loss", "mine.shifted")]
    before = gflow_core.Recipe.load("mine.toml").spec.objective.loss
    gflow_core.load("my_parts.py")  # again: nothing happens
    assert gflow_core.Recipe.load("mine.toml").spec.objective.loss == before
    Path("my_parts.py").write_text(textwrap.dedent(FILE).replace("SHIFT", "0.25"))
    gflow_core.load("my_parts.py")  # as it is now
    assert type(gflow_core.Recipe.load("mine.toml").spec.objective.loss) is not type(before)


def test_registering_in_a_notebook(here):
    @attrs.frozen
    class First(gflow_core.Hinge):
        """One cell."""

    @attrs.frozen
    class Second(gflow_core.Hinge):
        """The same cell, changed."""

    gflow_core.register(loss={"mine.shifted": First})
    gflow_core.register(loss={"mine.shifted": Second})
    assert isinstance(gflow_core.Recipe.load("mine.toml").spec.objective.loss, Second)
    with pytest.raises(PluginError, match="is one of gflow-core"):
        gflow_core.register(loss={"hinge": First})
    with pytest.raises(PluginError, match="bare names are the core's own"):
        gflow_core.register(loss={"shifted": First})
    with pytest.raises(UnknownPart, match='no kind "los"; did you mean "loss"'):
        gflow_core.register(los={"mine.shifted": First})


def test_another_file_with_the_same_part_is_not_the_runs(here, gflow):
    gflow("run", "mine.toml", "--load", "my_parts.py")
    run = Path("runs/mine-s0-001")
    Path("renamed.py").write_text(Path("my_parts.py").read_text().replace("0.5", "50"))
    for words in (["resume", run, "--steps", "3"], ["analyze", run], ["sample", run, "--out", "x.npy"]):
        out = gflow(*words, "--load", "renamed.py", code=2).output
        assert "its loss mine.shifted came from another file" in out
        assert "say --load my_parts.py" in out


def test_a_notebooks_parts_are_remembered_and_a_change_is_said(here, capsys, monkeypatch):
    def shifted(by: float) -> type:
        """The class as a cell of its own defines it."""
        path = here / f"cell_{by:g}".replace(".", "_")
        path.with_suffix(".py").write_text(textwrap.dedent(FILE).replace("SHIFT", str(by)))
        monkeypatch.syspath_prepend(here)
        return importlib.import_module(path.name).Shifted

    gflow_core.register(loss={"mine.shifted": shifted(0.5)})
    done = gflow_core.run("mine.toml", quiet=True)
    assert list(done.manifest["registered"]) == ["loss mine.shifted"]
    done.resume(steps=3)
    assert "has changed" not in capsys.readouterr().out
    gflow_core.register(loss={"mine.shifted": shifted(5.0)})
    done.resume(steps=4)
    assert "loss mine.shifted has changed since the run began, and no copy of it is kept" in capsys.readouterr().out


def test_from_the_shell_it_says_what_was_registered(here, gflow):
    @attrs.frozen
    class Mine(gflow_core.Hinge):
        """One cell."""

    gflow_core.register(loss={"mine.shifted": Mine})
    done = gflow_core.run("mine.toml", quiet=True)
    out = gflow("resume", done.path, "--steps", "3", code=2).output
    assert "the run began with parts registered in Python (loss mine.shifted)" in out


def test_a_file_that_fails_leaves_nothing_behind(here):
    Path("bad.py").write_text(
        "import attrs\nfrom gflow_core import hookimpl\n\n@attrs.frozen\nclass Half:\n"
        "    'A loss.'\n    reads_real = False\n"
        "    def discriminator(self, a, b): ...\n\n@hookimpl\ndef register_losses(add): add('mine.half', Half)\n"
    )
    with pytest.raises(PluginError, match=r"bad\.py: loss mine\.half lacks the method sampler"):
        gflow_core.load("bad.py")
    assert "mine.half" not in plugins().registries["loss"]
    assert loaded_files() == []
    Path("raises.py").write_text("x = 1\nx / 0\n")
    with pytest.raises(PluginError, match=r"raises\.py: importing it raised ZeroDivisionError: .*raises\.py, line 2\)"):
        gflow_core.load("raises.py")

    @attrs.frozen
    class Nothing:
        """Nothing."""

    with pytest.raises(PluginError, match=r"loss mine\.no lacks .* and the method discriminator"):
        gflow_core.register(loss={"mine.no": Nothing})
    with pytest.raises(PluginError, match=r'as in register\(loss=\{"mine.name": Class\}\)'):
        gflow_core.register(loss=Nothing)


def test_the_parts_of_a_file_can_be_checked(here, gflow):
    Path("my_parts.py").write_text(textwrap.dedent(FILE).replace("SHIFT", "0.0"))
    out = gflow("plugins", "check", "my_parts", "--load", "my_parts.py").output
    assert "loss mine.shifted: ok" in out
    Path("my_parts.py").write_text(textwrap.dedent(FILE).replace("SHIFT", "0.5"))
    out = gflow("plugins", "check", "my_parts", "--load", "my_parts.py", code=2).output
    assert "loss mine.shifted: equilibrium says" in out


def test_what_is_not_there_may_be_in_a_file(here, gflow):
    out = gflow("run", "mine.toml", code=2).output
    assert "no plugin mine is installed, and no file that --load names has it" in out
