"""gflow machine: what it computes on, and in which precision."""

from __future__ import annotations

import json
from typing import Any

import attrs
import click

from gflow_core.errors import printable

__all__ = ["command"]


@click.command("machine")
@click.option("--renew", is_flag=True, help="Measure the precisions anew.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(renew: bool, as_json: bool) -> None:
    """Show what gflow computes on: processor, memory, devices, and the precision that "auto" takes for images.

    On a processor it is the one that was measured to be the faster, the first time that it was asked for.
    """
    found = _machine(renew)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    from gflow_core.machine.speed import Speed
    from gflow_core.runs.memory import gigabytes

    speed, have = Speed(**found["speed"]), found["memory"]
    rows = [
        ("processor", speed.processor),
        ("cores", str(found["cores"])),
        ("threads", str(found["threads"])),
        ("memory", "unknown" if have is None else gigabytes(have)),
        ("torch", found["torch"]),
        *(("device", f"{one['device']} ({one['name']}): {one['precision']} for images") for one in found["devices"]),
        ("speed", f"{speed} (a thread of the processor, training)"),
        ("measured", speed.measured),
        ("kept in", found["kept"] or "no file: measured at every start"),
    ]
    for name, value in rows:
        click.echo(printable(f"{name:11}{value}"))


def _machine(renew: bool) -> dict[str, Any]:
    """In words and numbers that JSON has."""
    import torch

    from gflow_core.data.preparing import cores
    from gflow_core.machine.runtime import computes_bf16
    from gflow_core.machine.speed import kept_in, speed_here
    from gflow_core.runs.estimates import memory_of

    speed, cpu = speed_here(renew=renew), torch.device("cpu")
    devices = [(torch.device("cuda", i), torch.cuda.get_device_name(i)) for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        devices.append((torch.device("mps"), "Apple"))
    devices.append((cpu, speed.processor))
    file = kept_in()
    return {
        "processor": speed.processor,
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "memory": memory_of(cpu),
        "torch": torch.__version__,
        "devices": [
            {"device": str(device), "name": name, "precision": "bf16" if computes_bf16(device) else "float32"}
            for device, name in devices
        ],
        "speed": attrs.asdict(speed),
        "kept": None if file is None else str(file),
    }
