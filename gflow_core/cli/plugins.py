"""gflow plugins: who provides what, and what is wrong."""

from __future__ import annotations

import json

import attrs
import click

from gflow_core import plugins as found
from gflow_core.errors import printable
from gflow_core.schema import defects

__all__ = ["command"]


@click.command("plugins")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """List plugins: provider, version, file, parts, and ok or BROKEN with the reason."""
    records = [_examined(record) for record in found.plugins().records]
    if as_json:
        click.echo(json.dumps([attrs.asdict(record) for record in records], indent=2))
        return
    for record in records:
        status = "ok" if record.status == "ok" else f"BROKEN: {record.error}"
        click.echo(printable(f"{record.name}  {record.dist} {record.version}  {status}"))
        click.echo(f"    {record.file or record.module}")
        for kind in found.KINDS:
            if names := [name for of, name in record.parts if of == kind]:
                click.echo(f"    {kind}s: {', '.join(names)}")


def _examined(record: found.PluginRecord) -> found.PluginRecord:
    """The record with the defects of its parts, which loading does not look for: it would take time."""
    record = attrs.evolve(record)
    for kind, name in record.parts:
        for defect in defects(kind, name, found.plugins()):
            record.fail(f"{kind} {name} {defect}" if defect.startswith("lacks") else f"{kind} {name}: {defect}")
    return record
