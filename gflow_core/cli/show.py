"""gflow show: one part, its options and where it comes from."""

from __future__ import annotations

import json
import re
import shutil
import textwrap
from typing import Any

import attrs
import click

from gflow_core.cli.kinds import Kind
from gflow_core.parts.options import option_doc, option_range, option_unit
from gflow_core.parts.plugins import plugins
from gflow_core.parts.spec import NETWORKS, OWN_KEYS, Train
from gflow_core.recipes.describe import has_option, options_of, toml_type
from gflow_core.recipes.tables import default_of
from gflow_core.recipes.values import defects

__all__ = ["command"]

TABLES = {
    "optimizer": "[optimizer.sampler]",
    "schedule": "[optimizer.sampler.schedule]",
    "latent": "[sampler.latent]",
    "analyzer": "[[analyze]]",
    "encoder": "[analyze.encoder]",
}
"""Where a part of a kind stands in a recipe, if not in the table of its own name."""

STEPS = "required with an [objective]"
"""Said of train.steps, in place of the default that it has without one."""


def _names(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """For the shell: the parts of the kind that is there already."""
    kind = ctx.params.get("kind")
    names = plugins().registries[kind] if kind and kind != "train" else ()
    return [name for name in names if name.startswith(incomplete)]


@click.command("show")
@click.argument("kind", type=Kind("train"), metavar="KIND")
@click.argument("name", required=False, shell_complete=_names)
@click.option("--toml", "as_toml", is_flag=True, help="Print a table to paste into a recipe.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(kind: str, name: str | None, as_toml: bool, as_json: bool) -> None:
    """Show the part NAME of KIND: provider, place, options with types, defaults and ranges.

    `gflow ls` lists kinds and names. `gflow show train` shows the options of [train].
    """
    if as_toml and as_json:
        raise click.UsageError("--toml and --json: choose one")
    about: dict[str, Any] = {"kind": kind, "name": name, "provider": None, "file": None, "line": None}
    found: list[str] = []
    if kind == "train":
        if name is not None:
            raise click.UsageError(f"`gflow show train` takes no name, got {name}")
        part: type[Any] = Train
        doc = "options of the table [train]"
        head = f"train: {doc}"
    else:
        if name is None:
            raise click.UsageError(f"which {kind}? `gflow ls {plugins().kinds[kind].plural}` lists them")
        registry, part = plugins().registries[kind], plugins().get(kind, name)
        place, provider = registry.find(name), registry.entry(name).provider
        doc, found = place.doc, list(defects(kind, name, plugins()))
        about |= {"provider": provider, "file": str(place.file), "line": place.line}
        head = f"{name}: {kind} of {provider}\n{place.file}:{place.line}\n\n{_prose(doc)}"
        for defect in found:
            head += f"\n\nBROKEN: {defect}"
    if as_json:
        options = [_described(field) for field in options_of(part)]
        click.echo(json.dumps({**about, "doc": doc, "defects": found, "options": options}, indent=2))
        return
    if as_toml:
        click.echo(TABLES.get(kind, f"[{kind}]"))
        if name is not None:
            click.echo(f'use = "{name}"')
        for field in options_of(part):
            click.echo(_line(field))
        return
    click.echo(head + "\n")
    for field in options_of(part):
        click.echo(f"  {field.name}{_default(field)}\n      {_about(field)}")
        if doc := option_doc(field):
            click.echo(_prose(doc, "      "))
    if not options_of(part):
        click.echo("  no options")
    if kind in OWN_KEYS:
        own = [field for field in options_of(OWN_KEYS[kind]) if not has_option(part, field.name)]
        told = "".join(f"\n  {field.name}: {option_doc(field)}" for field in own)
        other = f"\n  from_run, in place of use: the {kind} of a run." if kind in NETWORKS else ""
        if kind == "dataset":
            other = "\n  join: tables [[dataset.join]] of data sets whose items are added, each with a weight."
        click.echo(f"\nOf any [{kind}], beside these options:{told}{other}")


def _prose(text: str, indent: str = "") -> str:
    """Paragraphs filled to the terminal's width, 100 at most; lists and formulas, which are indented, as they are."""
    width = min(shutil.get_terminal_size().columns, 100)
    return "\n\n".join(
        textwrap.indent(block, indent)
        if re.search(r"^( |[-*] |\d+\. )", block, re.MULTILINE)
        else textwrap.fill(block, width, initial_indent=indent, subsequent_indent=indent, break_long_words=False)
        for block in text.split("\n\n")
    )


def _described(field: attrs.Attribute[Any]) -> dict[str, Any]:
    """The option as JSON; the default of a required one is null."""
    required = field.default is attrs.NOTHING
    return {
        "name": field.name,
        "type": toml_type(field.type),
        "range": option_range(field) or None,
        "unit": option_unit(field) or None,
        "required": required,
        "default": None if required else default_of(field, plugins()),
        "doc": option_doc(field),
    }


def _about(field: attrs.Attribute[Any]) -> str:
    """Type, range and unit: `int, >= 0, in steps`."""
    unit = option_unit(field)
    spans = 'or as in "2 epochs", "1e6 items"' if unit == "steps" else ""
    return ", ".join(filter(None, (toml_type(field.type), option_range(field), unit and f"in {unit}", spans)))


def _default(field: attrs.Attribute[Any]) -> str:
    if field.default is attrs.NOTHING:
        return "  (required)"
    if _steps(field):
        return f"  ({STEPS})"
    text = _toml(field)
    return f" = {text}".replace("\n", "\n  ") if text else "  (unset)"


def _steps(field: attrs.Attribute[Any]) -> bool:
    return field is attrs.fields(Train).steps


def _line(field: attrs.Attribute[Any]) -> str:
    """The option as a line of TOML; a comment where there is no default to write."""
    if field.default is attrs.NOTHING:
        return f"# {field.name} =   # required: {_about(field)}"
    if _steps(field):
        return f"# {field.name} =   # {STEPS}: {_about(field)}"
    text = _toml(field)
    return f"{field.name} = {text}" if text else f"# {field.name} =   # unset: {_about(field)}"


def _toml(field: attrs.Attribute[Any]) -> str:
    """The default as TOML; empty where it is None."""
    value = default_of(field, plugins())
    if value is None:
        return ""
    import tomlkit

    return str(tomlkit.item(_inline(value)).as_string())


def _inline(value: Any) -> Any:
    """Tables in braces, so that they stand in one option's line; a list of tables has a line for each."""
    import tomlkit

    if isinstance(value, dict):
        table = tomlkit.inline_table()
        table.update({key: _inline(child) for key, child in value.items()})
        return table
    if isinstance(value, list):
        array = tomlkit.array()
        array.extend(map(_inline, value))
        return array.multiline(any(isinstance(child, dict) for child in value))
    return value
