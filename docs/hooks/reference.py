"""What the site says of every command, part, option and hook: pages written from the code at each build.

Contributing and changelog, which stand beside the package, join them. Nothing here imports torch.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import attrs
import click
import examples  # beside this file, which mkdocs loads with its folder on the path
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from gflow_core.cli import COMMANDS, main
from gflow_core.parts import hookspecs
from gflow_core.parts.options import option_doc, option_range, option_unit
from gflow_core.parts.plugins import plugins
from gflow_core.parts.spec import Train
from gflow_core.recipes.describe import options_of, toml_type
from gflow_core.recipes.tables import default_of

ROOT = Path(__file__).parents[2]


def title_of(kind: str) -> str:
    """The title of the page of a kind's parts."""
    return "Data sets" if kind == "dataset" else plugins().kinds[kind].plural.replace("_", " ").capitalize()


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages (an event of mkdocs)."""
    for name, text in pages().items():
        files.append(File.generated(config, name, content=text))
    return files


def pages() -> dict[str, str]:
    """Every generated page: its path within docs -> its Markdown."""
    own = {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}
    return {
        "reference/commands.md": "\n".join(commands()),
        "reference/recipe.md": "\n".join(recipe()),
        **{f"reference/{kind.plural}.md": "\n".join(parts(kind.name, own)) for kind in plugins().kinds.values()},
        "reference/hooks.md": "\n".join(hooks()),
        "reference/python.md": "\n".join(python()),
        "contributing.md": beside("CONTRIBUTING.md"),
        "changelog.md": beside("CHANGELOG.md"),
    }


def beside(name: str) -> str:
    """A file of the repository's root, its links counted from docs."""
    return (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](").replace("](README.md", "](index.md")


# ------------------------------------------------------------------ commands


def commands() -> Iterator[str]:
    """Usage, help and options of every command."""
    yield "# Commands\n"
    yield "What `gflow COMMAND --help` prints. [The command line](../command-line.md) has an example of each.\n"
    yield f"`{main.get_usage(click.Context(main, info_name='gflow')).removeprefix('Usage: ')}`\n"
    yield from flags(main)
    for name in COMMANDS:
        if command := main.get_command(click.Context(main), name):
            yield from one_command(f"gflow {name}", command)


def one_command(name: str, command: click.Command) -> Iterator[str]:
    """A command and the commands below it."""
    yield f"## `{name}` {{#{name.replace(' ', '-')}}}\n"
    usage = " ".join(command.get_usage(click.Context(command, info_name=name)).split())
    yield f"```text\n{usage.removeprefix('Usage: ')}\n```\n"
    for block in inspect.cleandoc(command.help or "").split("\n\n"):
        if block.startswith("\b\n"):  # click's mark for lines that stay as they are
            yield f"```bash\n{block[2:]}\n```\n"
        else:
            yield plain(block) + "\n"
    yield from flags(command)
    for below, found in getattr(command, "commands", {}).items():
        yield from one_command(f"{name} {below}", found)


def flags(command: click.Command) -> Iterator[str]:
    """The table of a command's options."""
    context = click.Context(command)
    rows = [param.get_help_record(context) for param in command.params if isinstance(param, click.Option)]
    if rows := [row for row in rows if row]:
        yield from table(("option", "meaning"), [(f"`{usage}`", plain(text)) for usage, text in rows])


# ------------------------------------------------------------------ recipes and parts


def recipe() -> Iterator[str]:
    """The tables of a recipe that are not parts, and where those that are stand."""
    yield "# Tables of a recipe\n"
    yield "[Recipes and overrides](../recipes.md) explains them; here is what each may hold.\n"
    yield "| table | holds |\n|---|---|"
    for kind in ("dataset", "sampler", "discriminator", "objective"):
        yield f"| `[{kind}]` | `use`, the name of a [{kind}]({kind}s.md), and its options |"
    kept = "[where training reads the data](../datasets.md#on-the-device)"
    yield f"| `[dataset]`: `on_device` | {kept} |"
    several = "tables of other data sets, each with a `weight`: [several sources](../datasets.md#several-sources)"
    yield f"| `[[dataset.join]]` | {several} |"
    another = "[the sampler of another run](../recipes.md#the-sampler-of-another-run)"
    yield f"| `[sampler]`, `[discriminator]`: `from_run` | in place of `use`: {another}, or its discriminator |"
    begin = "[what they begin from, and what is not trained](../recipes.md#what-networks-begin-from)"
    yield f"| `[sampler]`, `[discriminator]`: `weights`, `freeze` | {begin} |"
    for player in ("sampler", "discriminator"):
        yield f"| `[optimizer.{player}]` | `use`, the name of an [optimizer](optimizers.md), and its options |"
    yield "| `[train]` | [the clock](#train), the device, the records |"
    when = "[when it runs](../recipes.md#analyze)"
    yield f"| `[[analyze]]` | `use`, the name of an [analyzer](analyzers.md), its options, and {when} |"
    yield "\nAt the top stand `gflow = 1` (required), `extends` and `title`.\n"
    yield "An option of the type `{ use = latent, ... }` holds a part of its own: a [latent](latents.md), an "
    yield "[encoder](encoders.md), a [schedule](schedules.md).\n"
    yield "## `[train]` {#train}\n"
    yield from options(Train)


def parts(kind: str, own: dict[str, str]) -> Iterator[str]:
    """Every part of a kind: what it is, who provides it, its options."""
    registry = plugins().registries[kind]
    yield f"# {title_of(kind)}\n"
    yield f"Every {kind} of the core and the plugins that come with it, as `gflow show {kind} NAME` shows it.\n"
    for name in registry:
        entry = registry.entry(name)
        yield f"## `{name}` {{#{name}}}\n"
        yield plain(inspect.getdoc(entry.part) or "") + "\n"
        yield f"Provided by {entry.provider}.{explained(name, own)}\n"
        yield from options(entry.part)


def explained(name: str, own: dict[str, str]) -> str:
    """The page that says most about a part: its plugin's, or the one that names it most often."""
    counts = {page: text.count(f"`{name}`") for page, text in own.items() if page not in ("gallery.md", "results.md")}
    page = f"{name.partition('.')[0]}.md"
    if not counts.get(page):
        page = max(counts, key=lambda page: counts[page])
    return f" Explained in [{heading(own[page])}](../{page})." if counts[page] else ""


def options(cls: type[Any]) -> Iterator[str]:
    """The table of an attrs class's options."""
    if rows := list(option_rows(cls)):
        yield from table(("option", "default", "meaning"), rows)
    else:
        yield "No options.\n"


def option_rows(cls: type[Any], prefix: str = "") -> Iterator[tuple[str, ...]]:
    """A row for each option, and below one that is a table, for each of that table's."""
    for field in options_of(cls):
        default = default_of(field, plugins())
        without = "required" if field.default is attrs.NOTHING else "unset"
        text = without if default is None else f"`{toml(default)}`"
        tables = [kind for kind in (field.type, *get_args(field.type)) if attrs.has(kind)]
        # Outside of brackets a bar stands between alternatives.
        kind = "a table" if tables else " or ".join(map(arm, re.split(r" \| (?![^{\[]*[}\]])", toml_type(field.type))))
        unit = option_unit(field)
        about = ", ".join(filter(None, (kind, plain(option_range(field)), unit and f"in {unit}")))
        yield f"`{prefix}{field.name}`", text, f"{plain(option_doc(field))}<br>{about}"
        for nested in tables:
            yield from option_rows(nested, f"{prefix}{field.name}.")


def arm(text: str) -> str:
    """One of the types that an option may have: code, or a link to the parts that it holds."""
    nested = re.fullmatch(r"(\[?)\{ use = ([\w.]+), \.\.\. \}(, \.\.\.\])?", text)
    if not nested:
        return f"`{text}`"
    return f"{'tables' if nested[1] else 'a table'}: [{nested[2]}]({plugins().kinds[nested[2]].plural}.md)"


def toml(value: Any) -> str:
    """A default as a recipe would write it, on one line."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


# ------------------------------------------------------------------ hooks and Python


def hooks() -> Iterator[str]:
    """Every hook: signature and docstring."""
    yield "# Hooks\n"
    yield "The whole plugin surface. [Writing a plugin](../plugins.md) shows them at work.\n"
    yield f"The entry-point group is `{hookspecs.ENTRY_POINT_GROUP}`, the version of the interface (`API_VERSION`) "
    yield f"{hookspecs.API_VERSION}. `add(name, part)` takes a name such as `mine.unet` and a frozen attrs class.\n"
    owned = {"": "register_kinds", " ": "register_parts"}  # of no kind of the core's
    for kind, hook in (hookspecs.HOOKS | owned).items():
        yield f"## `{hook}` {{#{hook}}}\n"
        signature = str(inspect.signature(getattr(hookspecs, hook))).replace("'", "")  # annotations are strings
        yield f"```python\n@hookimpl\ndef {hook}{signature}: ...\n```\n"
        yield plain(inspect.getdoc(getattr(hookspecs, hook)) or "") + "\n"
        if kind.strip():
            yield f"[All {title_of(kind).lower()}]({plugins().kinds[kind].plural}.md).\n"


def python() -> Iterator[str]:
    """The door, in the order of its list, each name with a piece of code that uses it."""
    yield "# gflow_core\n"
    yield "What `from gflow_core import ...` gives: the programming interface, whose version is `API_VERSION`. "
    yield "[gflow from Python](../python.md) is a notebook that uses it, [Writing a plugin](../plugins.md) shows it at "
    yield "work.\n"
    for line in (ROOT / "gflow_core" / "__init__.pyi").read_text(encoding="utf-8").splitlines():
        if heading := re.fullmatch(r"# -+ (.+)", line):
            yield f"## {heading[1][0].upper()}{heading[1][1:]}\n"
        elif home := re.match(r"from \.([\w.]+) import", line):
            module = home[1]
        for name in re.findall(r"(\w+) as \1\b", line):
            yield f"::: gflow_core.{module}.{name}\n    options:\n      heading_level: 3\n"
            place, code = examples.example_of(name)
            yield f"Example, from `{place}`:\n\n```python\n{code}\n```\n"


# ------------------------------------------------------------------ Markdown


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    """A table; its cells stand on one line each."""
    yield f"| {' | '.join(head)} |\n|{'---|' * len(head)}"
    for row in rows:
        yield "| " + " | ".join(" ".join(cell.split()) for cell in row) + " |"
    yield ""


def plain(text: str) -> str:
    """Prose of a docstring as Markdown that shows it as it is: only code, lists and indented blocks mean something."""
    lines = []
    for line in text.splitlines():
        # Code between backticks stays: splitting at it leaves it at the odd places.
        pieces = [line] if line.startswith("    ") else re.split(r"(`[^`]*`)", line)
        for i in range(0, len(pieces), 2) if len(pieces) > 1 or not line.startswith("    ") else ():
            pieces[i] = re.sub(r"([*_>\[\]|$#\\])", r"\\\1", pieces[i]).replace("<", "&lt;")
        lines.append("".join(pieces))
    return "\n".join(lines)


def heading(text: str) -> str:
    """The title of a page."""
    found = re.search(r"^# (.+)$", text, re.MULTILINE)
    return found[1] if found else "?"
