"""The documentation: nothing lacks, every command line would run, every link leads somewhere, the site builds."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import click
import pytest

import gflow_core
from gflow_core.cli import main
from gflow_core.errors import GflowError
from gflow_core.parts import hookspecs
from gflow_core.parts.plugins import plugins
from gflow_core.parts.spec import Ema, Train
from gflow_core.recipes.describe import options_of
from gflow_core.recipes.recipe import load
from gflow_core.sweeps.grid import cells

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [*sorted(ROOT.glob("*.md")), *DOCS, *sorted(ROOT.glob("plugins/*/README.md"))]
TEXTS = {path: path.read_text(encoding="utf-8") for path in PAGES}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.fixture(scope="module")
def generated() -> dict[str, str]:
    """The pages that the site's build writes from the code, by their paths within docs."""
    pytest.importorskip("mkdocs", reason="pip install -e .[docs] to look at the site")
    sys.path.insert(0, str(ROOT / "docs" / "hooks"))
    try:
        pages: dict[str, str] = importlib.import_module("reference").pages()
    finally:
        sys.path.pop(0)
    return pages


# ------------------------------------------------------------------ nothing lacks


def commands(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """A command and all below it, by the words that call them."""
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            assert found is not None
            yield from commands(f"{name} {below}", found)


TREE = dict(commands("gflow", main))


@pytest.mark.parametrize("name", TREE)
def test_every_command_and_option_is_documented(name, generated):
    page = generated["reference/commands.md"]
    assert f"`{name}" in page
    assert TREE[name].help
    section = page[page.index(f"## `{name}`") :] if " " in name else page
    for param in TREE[name].params:
        if isinstance(param, click.Option):
            assert param.help, f"{name} {param.opts[0]} has no help"
            assert f"`{param.opts[0]}" in section, f"{name} {param.opts[0]}"


def test_every_hook_is_documented(generated):
    hooks = [name for name, value in vars(hookspecs).items() if hasattr(value, "gflow_spec")]
    assert sorted(hooks) == sorted([*hookspecs.HOOKS.values(), "register_kinds", "register_parts"])
    for name in hooks:
        assert getattr(hookspecs, name).__doc__
        assert f"| `{name}` |" in TEXTS[ROOT / "docs" / "plugins.md"]
        assert f"def {name}(" in generated["reference/hooks.md"]


def test_every_public_name_has_an_example(generated):
    pieces = generated["reference/python.md"].split("::: ")[1:]
    assert len(pieces) == len(gflow_core.__all__)
    for piece in pieces:
        place, code = re.findall(r"^Example, from `(.+)`:\n\n```python\n(.*?)^```", piece, re.MULTILINE | re.DOTALL)[0]
        text = (ROOT / place).read_text(encoding="utf-8")
        assert code.splitlines()[0].removesuffix(",  # ...").strip() in text


@pytest.mark.parametrize("kind", plugins().kinds)
def test_every_part_and_option_is_in_the_reference(kind, generated):
    page = generated[f"reference/{plugins().kinds[kind].plural}.md"]
    registry = plugins().registries[kind]
    for name, after in zip(registry, [*list(registry)[1:], None], strict=True):
        end = page.index(f"## `{after}`") if after else None
        section = page[page.index(f"## `{name}`") : end]
        for field in options_of(registry.get(name)):
            row = re.search(rf"^\| `{field.name}` \| [^|]+ \| [^|]*\w.*<br>", section, re.MULTILINE)
            assert row, f"{kind} {name}.{field.name} has no doc"


def test_every_table_of_a_recipe_is_in_the_reference(generated):
    names = [field.name for field in options_of(Train)] + [f"ema.{field.name}" for field in options_of(Ema)]
    assert [name for name in names if f"| `{name}` |" not in generated["reference/recipe.md"]] == []


# ------------------------------------------------------------------ every command line would run

OWN = {
    "NAME": "a placeholder",
    "mine.toml": "the reader writes it",
    "recipe.toml": "the plugin author's, in docs/plugins.md",
    "ring.toml": "written by docs/python.md",
    "swirl_spiral": "comes with the plugin that gflow new-plugin writes",
    "swirl_lissajous": "written by docs/how-to/own-part.md",
}
"""Recipes that pages name and that are not here, and why; of them only the words around are looked at."""

OWN_PARTS = {
    "NAME": "a placeholder",
    "example.energy": "the third-party plugin of docs/plugins.md",
    "swirl": "the plugin that gflow new-plugin writes",
    "mine.tilted": "written by docs/how-to/one-file.md, whose own tests run it",
    "mine.reverse_kl": "written by docs/vgrow.md",
    "my_velocity": "written by docs/flows.md, whose examples tests/methods/test_velocity_contract.py tries",
}

WORDS = {"RECIPE": "vgrow_ring8", "KIND": "objective", "COMMAND": "run", "RUN": "runs/x-s0-001", "N": "1"}
"""What stands here for a placeholder whose kind the command asks for."""

RUN = re.compile(r"[\w./-]+/[\w.*-]+|\$\w+")

BEFORE = ("$", "do", "then", "nohup", "srun", "exec", "time")
"""What may stand before a command."""


class Line(NamedTuple):
    """A line that may hold commands."""

    text: str
    whole: bool
    """Whether it stands in a block: there it is to be run, while in prose `gflow run` may be just a name."""
    refused: bool = False
    """Whether the next line shows the error that it ends in: only the command and its options are then looked at."""


def lines_of(text: str) -> Iterator[Line]:
    """Every line of a page that may hold a command: of blocks, indented or fenced, and code within a line."""
    block: list[str] = []
    fenced = False
    for line in [*text.splitlines(), ""]:
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif fenced or re.match(r" {4,}\S", line):
            block.append(line.strip())
            continue
        else:
            yield from (Line(code, False) for code in re.findall(r"`(gflow [^`]+)`", line.replace(r"\|", "|")))
        # "\" at the end of a line goes on in the next.
        lines = "\n".join(block).replace("\\\n", " ").splitlines()
        for one, after in pairwise([*lines, ""]):
            if "gflow" in one:
                yield Line(one, True, after.startswith("error: "))
        block = []


def commands_of(line: str) -> Iterator[list[str]]:
    """The words of each gflow command in a line, as a shell would hand them over; those of its launcher before them."""
    line = re.sub(r"\[[A-Z][^\]]*\]|\d?>+\s*(&\d|[^\s&|;]+)", "", line)  # [OVERRIDES...] may be left out; > FILE
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        tokens = list(lexer)
    except ValueError:  # prose or Python, with an apostrophe
        tokens = []
    simple: list[str] = []
    for token in [*tokens, ";"]:
        if not set(token) <= set("|&;()<>"):
            simple.append(token.removesuffix("...").removesuffix("…"))
            continue
        while simple and (re.match(r"\w+=", simple[0]) or simple[0] in BEFORE):
            simple.pop(0)
        ours = simple and simple[0].rpartition("/")[2] == "gflow" and simple[1:2] != ["="]
        if ours or ("-m", "gflow_core") in pairwise(simple):
            yield [WORDS.get(word, word) for word in simple if word]
        simple = []


def launched(words: list[str]) -> list[str]:
    """What follows `gflow`, or `torchrun OPTIONS -m gflow_core`, whose own options are checked, too."""
    if words[0].rpartition("/")[2] == "gflow":
        return words[1:]
    words = [re.sub(r"\$\{?\w+\}?", "1", word) for word in words]
    if words[0] == "torchrun":
        from torch.distributed.run import get_args_parser as parser
    elif words[:2] == ["accelerate", "launch"]:
        from accelerate.commands.launch import launch_command_parser as parser

        words.pop(0)
    else:
        assert words[1] == "-m", words
        return words[3:]
    known = parser().parse_args(words[1:])
    assert known.module
    assert known.training_script == "gflow_core"
    return list(known.training_script_args)


def parsed(words: list[str], whole: bool) -> tuple[str, dict[str, Any]]:
    """The command that the words call, and the values of its arguments. Raises click's errors."""
    helped = "--help" in words
    words = [word for word in words if word not in ("--help", "--version")]
    if not words:
        return "gflow", {}
    while "--load" in words:  # a file that the reader writes
        at = words.index("--load")
        assert words[at + 1].endswith(".py")
        del words[at : at + 2]
    context = click.Context(main, info_name="gflow")
    name, found, rest = main.resolve_command(context, words)
    while isinstance(found, click.Group) and rest and not rest[0].startswith("-"):
        name, found, rest = found.resolve_command(click.Context(found), rest)
    assert found is not None
    try:
        with patch.dict(os.environ):  # --load names files for what follows
            return str(name), found.make_context(name, rest, parent=context).params
    except (click.MissingParameter, click.BadOptionUsage):
        if whole and not helped:
            raise
        return str(name), {}


def check(line: Line) -> int:
    """How many commands a line holds. Raises, with a message, unless each would run."""
    found = list(commands_of(line.text)) if "<TAB>" not in line.text else []  # there a word need not be whole
    for words in found:
        name, values = parsed(launched(words), line.whole)
        if not line.refused:
            check_command(name, values)
    return len(found)


def check_command(name: str, values: dict[str, Any]) -> None:
    """Raise unless recipes, overrides, parts and plugins that a command names are here."""
    words = tuple(word for word in values.get("overrides") or values.get("words") or () if "$" not in word)
    elsewhere = any("from_run=" in word for word in words)  # a run that is not here settles what fits it
    for recipe in map(str, filter(None, [*(values.get("recipes") or ()), values.get("recipe")])):
        if recipe in OWN:
            continue
        paths = sorted(map(str, Path().glob(recipe))) if "*" in recipe else [recipe]
        assert paths, f"no recipe is {recipe}"
        for path in paths:
            known = () if elsewhere else [word for word in words if word.rpartition("=")[2] not in OWN_PARTS]
            cells(Path(path), words) if name == "sweep" else load(path, known)
    folders = () if "recipe" in values else [*(values.get("runs") or ()), values.get("run")]
    for run in map(str, filter(None, folders)):
        assert RUN.fullmatch(run), f"{run} does not look like a run folder"
    if name == "show" and values.get("kind", "train") != "train" and values["name"] not in OWN_PARTS:
        plugins().registries[values["kind"]].get(values["name"])
    if name == "check" and values and values["name"] not in OWN_PARTS:
        assert values["name"] in [record.name for record in plugins().records], f"no plugin is {values['name']}"
    if name == "resume":
        for word in words:
            assert word.startswith("~") or "=" in word.lstrip("-"), f"{word} is no override"
        if words and (recipe := re.fullmatch(r"runs/(\w+)-s\d+-\d+", str(values.get("run")))):
            load(recipe[1] if recipe[1] != "x" else "vgrow_ring8", words)
    if name == "analyze" and values:
        names = [word for word in words if "=" not in word and not word.startswith("~")]
        for one in names:
            assert one in OWN_PARTS or plugins().get("analyzer", one)
        if recipe := re.fullmatch(r"runs/(\w+)-s\d+-\d+", str(values["run"])):
            own = load(recipe[1] if recipe[1] != "x" else "vgrow_ring8").spec.analyze
            lacking = [one for one in names if one not in [analysis.name for analysis in own] and one not in OWN_PARTS]
            added = [f"analyze.{len(own) + i}.use={one}" for i, one in enumerate(lacking)]
            if recipe[1] != "x":
                load(recipe[1], [*added, *(word for word in words if word not in names)])


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_every_command_line_would_run(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    wrong = []
    for line in lines_of(TEXTS[path]):
        try:
            check(line)
        except (Exception, SystemExit) as error:
            message = error.format_message() if isinstance(error, click.ClickException) else error
            wrong.append(f"{line.text}\n    {message}")
    assert not wrong, "\n".join([name_of(path), *wrong])


def test_command_lines_are_found():
    """The test above would pass if none were."""
    text = (
        "Text `gflow ls` more\n\n    gflow run x \\\n        a=1   # why\n    gflow, one seed 3\n"
        "    plain s   gflow s\n    from gflow_core import run\n\n"
        "| `gflow ls \\| head` |\n\n```bash\nfor s in 0 1; do A=1 env/bin/gflow run y --runs $s >log 2>&1 & done\n```\n"
    )
    found = [words[1:] for line in lines_of(text) for words in commands_of(line.text)]
    assert found == [["ls"], ["run", "x", "a=1"], ["ls"], ["run", "y", "--runs", "$s"]]
    assert sum(check(line) for line in lines_of(TEXTS[ROOT / "README.md"])) > 3
    assert [line.refused for line in lines_of("    $ gflow run x a=1\n    error: a\n    $ gflow ls\n")] == [True, False]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("gflow walk", "No such command"),
        ("gflow run vgrow_ring9", "vgrow_ring9"),
        ("gflow run recipes/none*.toml", "no recipe"),
        ("gflow run vgrow_ring8 sampler.wdth=3 > log", "wdth"),
        ("gflow resume RUN --step 3", "--step"),
        ("gflow sample", "Missing"),
        ("torchrun --nproc-per-node 2 -m gflow_core run vgrow_ring8 train.batch=3", "batch"),
        ("gflow sweep vgrow_ring8 objective.divergence=kl,jss seeds=0:2", "jss"),
        ("gflow show sampler vgrow.flow # text", "vgrow.flow"),
        ("gflow plugins check nobody", "nobody"),
        ("gflow analyze runs/vgrow_ring8-s0-001 mode_coverage analyze.0.sample=3", "sample"),
        ("gflow compare 3", "run folder"),
    ],
)
def test_a_command_line_that_would_not_run_is_found(line, message):
    with pytest.raises((click.ClickException, GflowError, AssertionError)) as caught:
        check(Line(line, True))
    error = caught.value
    assert message in (error.format_message() if isinstance(error, click.ClickException) else str(error))


# ------------------------------------------------------------------ every link leads somewhere


def anchors(text: str) -> set[str]:
    """The names that GitHub gives to the headings of a page."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    named = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title) for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)]
    return {re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in named}


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_every_link_leads_somewhere(path, generated):
    text = re.sub(r"^```.*?^```$", "", TEXTS[path], flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"^ {4,}.*$", "", text, flags=re.MULTILINE)
    wrong = []
    for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", text)):
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        if "://" in link or str(target.relative_to(ROOT)).removeprefix("docs/") in generated:
            continue
        if not target.exists() or (anchor and anchor not in anchors(TEXTS.get(target, ""))):
            wrong.append(link)
    assert wrong == []


# ------------------------------------------------------------------ the site


def test_the_site_builds_strictly_and_asks_nobody(tmp_path):
    pytest.importorskip("mkdocs", reason="pip install -e .[docs] to build the site")
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}  # Material's notice about a version of mkdocs to come
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, env=quiet)
    assert done.returncode == 0, done.stdout + done.stderr
    for page in tmp_path.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.search(r'<(script|img|iframe)[^>]* src="?(https?:)?//', text), page
        assert not re.search(r'<link[^>]* href="?(https?:)?//', text), page
        assert "arithmatex" not in text, f"{page}: a formula is not MathML"
