"""The one door: what is public, and that plugins need nothing else."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import gflow_core

ROOT = Path(__file__).parents[1]

AUTHORS = sorted(
    {
        *ROOT.glob("plugins/*/gflow_*/**/*.py"),
        *ROOT.glob("tests/third_party/**/*.py"),
        *ROOT.glob("gflow_core/skeleton/template/**/*.py.template"),
    }
)
"""Code that stands for anyone's: the plugins, the example of a third party, what `new-plugin` writes."""


def imported(path: Path) -> set[str]:
    """The modules of the core that a file imports from."""
    tree = ast.parse(path.read_text(encoding="utf-8").replace("$", ""))
    names = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    names |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return {name for name in names if name.split(".")[0] == "gflow_core"}


@pytest.mark.parametrize("path", AUTHORS, ids=lambda path: str(path.relative_to(ROOT)))
def test_authors_import_from_the_door_alone(path):
    assert imported(path) <= {"gflow_core"}


def test_the_test_sees_what_it_is_to_find(tmp_path):
    file = tmp_path / "part.py"
    file.write_text("def build():\n    from gflow_core.optim.player import Player\n")
    assert imported(file) == {"gflow_core.optim.player"}


def test_everything_public_is_there_and_says_what_it_is():
    assert len(gflow_core.__all__) == len(set(gflow_core.__all__)) > 100
    for name in gflow_core.__all__:
        value = getattr(gflow_core, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert (inspect.getdoc(value) or "").strip(), f"{name} has no docstring"


def test_what_is_not_public_is_not_there():
    with pytest.raises(ImportError, match="nobody"):
        from gflow_core import nobody  # noqa: F401


def test_declaring_parts_imports_no_torch():
    """Contracts, options and laws of z are what a plugin's parts.py needs: listing stays quick."""
    code = (
        "import sys; from gflow_core import Adversarial, DataShape, GflowError, Latent, Normal, Result, kind; "
        "from gflow_core import hookimpl, option; print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_the_page_about_python_is_true_name_by_name():
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8").partition("## The names")[2]
    cells = re.findall(r"^\| (`.+?) \| (.+) \|$", page, re.MULTILINE)
    names = {name for cell, _ in cells for name in re.findall(r"`(\w+)[`(.]", cell)}
    assert {"run", "load_run", "Recipe", "Run", "sweep", "compare", "summaries", "load", "register"} <= names
    assert names <= set(gflow_core.__all__)
    for cell, meaning in cells:
        for call in re.findall(r"`([\w.]+\(.*?\))`", cell):  # each argument is one that the function takes
            name, _, arguments = call.rstrip(")").partition("(")
            function = gflow_core
            for part in name.split("."):
                function = getattr(function, part)
            takes = inspect.signature(function).parameters
            variadic = any(p.kind is p.VAR_KEYWORD for p in takes.values())
            for argument in re.findall(r"(?:^|, )\*?(\w+)", arguments):
                assert argument in takes or variadic, f"{name} takes no {argument}"
        if cell == "`Run`":
            for member in re.findall(r"`(\w+)", meaning):
                assert hasattr(gflow_core.Run, member) or member == "path", member


def test_every_public_name_is_in_the_reference():
    """The generated page names each by its home; the site's build finds what stands there."""
    stub = ast.parse((ROOT / "gflow_core" / "__init__.pyi").read_text(encoding="utf-8"))
    homes = {a.name: node.module for node in stub.body if isinstance(node, ast.ImportFrom) for a in node.names}
    assert set(homes) == set(gflow_core.__all__)
    for name, home in homes.items():
        module = importlib.import_module(f"gflow_core.{home}")
        assert getattr(module, name) is getattr(gflow_core, name)
