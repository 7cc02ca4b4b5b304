"""gflow plugins: who provides what, what is wrong, and whether parts keep their promises."""

from __future__ import annotations

import json

import attrs
import click

from gflow_core.errors import GflowError, did_you_mean, printable
from gflow_core.parts import plugins as found
from gflow_core.parts.installed import unreadable
from gflow_core.recipes.values import defects

__all__ = ["command"]


@click.group("plugins", invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """List plugins: provider, version, file, parts, and ok or BROKEN with the reason.

    GFLOW_LOAD_PLUGINS=NAME,NAME loads these alone, besides the core; empty, none.
    """
    if ctx.invoked_subcommand is not None:
        return
    loaded = found.plugins()
    for name in loaded.unknown:
        close = did_you_mean(name, loaded.left_out)
        click.echo(printable(f"warning: {found.ONLY} names {name}, which is not installed{close}"), err=True)
    for fault in unreadable():
        click.echo(printable(f"warning: not a distribution that can be read: {fault}"), err=True)
    records = [_examined(record) for record in loaded.records]
    if as_json:
        click.echo(json.dumps([attrs.asdict(record) for record in records], indent=2))
        return
    for record in records:
        status = "ok" if record.status == "ok" else f"BROKEN: {record.error}"
        click.echo(printable(f"{record.name}  {record.dist} {record.version}  {status}"))
        click.echo(f"    {record.file or record.module}")
        for warning in record.warnings:
            click.echo(printable(f"    deprecated: {warning}"))
        for kind in loaded.kinds.values():
            if names := [name for of, name in record.parts if of == kind.name]:
                click.echo(f"    {kind.plural}: {', '.join(names)}")
        if missing := dict.fromkeys(kind for kind, _, _, whose in loaded.waiting if whose.name == record.name):
            click.echo(printable(f"    for plugins that are not loaded: parts of {', '.join(missing)}"))
    if loaded.left_out:
        click.echo(f"left out by {found.ONLY}: {', '.join(loaded.left_out)}")


@command.command("check")
@click.argument("name")
@click.option("--full", is_flag=True, help="Train on every kind of data, run analyzers to their end.")
def check(name: str, full: bool) -> None:
    """Try every part of the plugin NAME on tiny data: does it keep the promises of its kind?

    Prints a line for each part, and leaves with exit code 2 if anything is wrong. Parts are tried with their default
    options; with smaller ones a plugin's own tests are the place (gflow_core.testing).

    Networks, data sets, encoders and laws of z are tried whole. Objectives train three steps on one kind of data, and
    analyzers look at an untrained run, for 10 seconds at most. With --full objectives train on every kind of data, and
    analyzers take as long as they need.
    """
    from gflow_core.testing.report import examine

    wrong = 0
    for line in examine(name, full=full):
        click.echo(printable(f"{line.what}: {line.said}"))
        wrong += not line.ok
    if wrong:
        raise GflowError(f"{name}: {wrong} of the above {'is' if wrong == 1 else 'are'} wrong")


def _examined(record: found.PluginRecord) -> found.PluginRecord:
    """The record with the defects of its parts, which loading does not look for: it would take time."""
    record = attrs.evolve(record)
    for kind, name in record.parts:
        for defect in defects(kind, name, found.plugins()):
            record.fail(f"{kind} {name} {defect}" if defect.startswith("lacks") else f"{kind} {name}: {defect}")
    return record
