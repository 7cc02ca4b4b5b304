"""What a run would do, for `gflow run --dry-run`."""

from __future__ import annotations

import json
from typing import Any

import attrs
import click
from rich.console import Console as Rich
from rich.markup import escape
from rich.table import Table

from gflow_core.cli.kinds import name_of
from gflow_core.errors import harmless
from gflow_core.machine.speed import Speed
from gflow_core.nn.labels import class_list
from gflow_core.parts.source import Joint
from gflow_core.recipes.recipe import Recipe
from gflow_core.runs.build import build
from gflow_core.runs.clock import in_steps
from gflow_core.runs.cost import costs, samples_a_second
from gflow_core.runs.estimates import check_memory, memory_of
from gflow_core.runs.manifest import asked_of
from gflow_core.runs.memory import gigabytes
from gflow_core.runs.summary import duration

__all__ = ["print_plan"]


def print_plan(recipe: Recipe, *, as_json: bool = False) -> None:
    """Build everything, print parts, parameter counts, data size, device and memory; train nothing."""
    plan = _plan(recipe)
    if as_json:
        click.echo(json.dumps(plan, indent=2))
        return
    table = Table(title=_safe(f"plan of {recipe.path}"), title_justify="left")
    for column in ("what", "which", "size"):
        table.add_column(column, overflow="fold")
    for row in _rows(plan):
        table.add_row(*map(_safe, row))
    Rich(highlight=False).print(table)


def _safe(text: str) -> str:
    """Names of classes and files may be markup, or act upon a terminal."""
    return escape(harmless(text))


def _plan(recipe: Recipe) -> dict[str, Any]:
    """The recipe built, in words and numbers that JSON has; a table that it lacks is None."""
    check_memory(recipe.spec)  # before it is built, and after
    recipe, data, clock = in_steps(recipe)
    spec = recipe.spec
    experiment = build(spec, data=data)
    needs = check_memory(spec, {"sampler": experiment.sampler, "discriminator": experiment.discriminator})
    runtime = experiment.runtime
    plan: dict[str, Any] = dict.fromkeys(("dataset", "sampler", "discriminator", "objective"))
    if spec.dataset:
        data = experiment.data
        assert data is not None
        plan["dataset"] = {
            "use": name_of("dataset", spec.dataset),
            "items": len(data),
            "shape": str(data.shape),
            "classes": list(data.class_names),
            "cache": None if data.cache is None else str(data.cache),
            "on_device": experiment.feed is not None and experiment.feed.on_device,
            **({"joined": [_joint(joint) for joint in data.joints]} if data.joints else {}),
        }
    for kind, module in (("sampler", experiment.sampler), ("discriminator", experiment.discriminator)):
        if module is not None:
            count = sum(p.numel() for p in module.parameters())
            plan[kind] = {"use": name_of(kind, getattr(spec, kind)), "parameters": count}
    if spec.objective and spec.train:
        plan["objective"] = {
            "use": name_of("objective", spec.objective),
            "steps": spec.train.steps,
            "batch_size": spec.train.batch_size,
            "seeds": list(spec.seeds),
        }
    plan["clock"] = clock
    plan["optimizer"] = {
        name: {"use": name_of("optimizer", optimizer), "lr": optimizer.lr} for name, optimizer in spec.optimizer.items()
    }
    plan["analyze"] = [
        {
            "use": name_of("analyzer", cost.analysis.part),
            "name": cost.analysis.name,
            "every": cost.analysis.every,
            "looks": cost.looks,
            "samples": cost.samples,
        }
        for cost in costs(spec)
    ]
    samples = sum(one["looks"] * (one["samples"] or 0) for one in plan["analyze"])
    rate = samples_a_second(experiment) if samples else None
    plan["drawing"] = {"samples": samples, "samples_a_second": rate, "seconds": samples / rate if rate else None}
    device = {
        "device": str(runtime.device),
        "precision": runtime.precision,
        "speed": attrs.asdict(runtime.speed) if runtime.speed else None,
        "processes": spec.train.devices if spec.train else 1,
        **asked_of(experiment),
    }
    memory = {"at_least": {need.what: need.bytes for need in needs}, "have": memory_of(runtime.device)}
    return {"recipe": str(recipe.path), "title": spec.title, **plan, **device, "memory": memory}


def _joint(joint: Joint) -> dict[str, Any]:
    """One of several joined data sets, as JSON has it."""
    cache = None if joint.cache is None else str(joint.cache)
    return {"use": joint.use, "items": joint.items, "weight": joint.weight, "an_epoch": joint.seen, "cache": cache}


def _rows(plan: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The plan as lines of what, which and size."""
    rows: list[tuple[str, str, str]] = []
    if data := plan["dataset"]:
        joined = data.get("joined", ())
        rows += [("decoded data", "kept in", one["cache"]) for one in (data, *joined) if one["cache"]]
        rows.append(
            (
                "dataset",
                data["use"],
                f"{data['items']:,} items, {data['shape']}{', kept on the device' * data['on_device']}",
            )
        )
        for one in joined:
            weight = f", weight {one['weight']:g}: {one['an_epoch']:,} an epoch" if one["weight"] != 1 else ""
            rows.append(("joined", one["use"], f"{one['items']:,} items{weight}"))
        names = data["classes"]
        if names != [str(label) for label in range(len(names))]:
            rows.append(("classes", "", class_list(len(names), names, 20)))
    for kind in ("sampler", "discriminator"):
        if network := plan[kind]:
            rows.append((kind, network["use"], f"{network['parameters']:,} parameters"))
    if clock := plan["objective"]:
        first, *more = clock["seeds"]
        seeds = f"{len(more) + 1} replicas of seeds {first} to {more[-1]}" if more else f"seed {first}"
        rows.append(("objective", clock["use"], f"{clock['steps']:,} steps, batch {clock['batch_size']}, {seeds}"))
    rows += [("clock", place, text) for place, text in plan["clock"].items()]
    for name, optimizer in plan["optimizer"].items():
        rows.append((f"optimizer.{name}", optimizer["use"], f"lr {optimizer['lr']:g}"))
    for one in plan["analyze"]:
        when = f"every {one['every']:,} steps" if one["every"] else "at the end"
        times = f"{one['looks']:,} times " if one["looks"] > 1 else ""
        drawn = f": {times}{one['samples']:,} samples" if one["samples"] else f", {times}" * (one["looks"] > 1)
        rows.append(("analyze", one["use"], (when + drawn).rstrip()))
    if (drawing := plan["drawing"])["seconds"]:
        rate = drawing["samples_a_second"]
        pace = f"{duration(drawing['seconds'])} to draw, at {rate:,.{1 if rate < 10 else 0}f} a second (measured)"
        rows.append(("analyze", f"{drawing['samples']:,} samples in all", pace))
    processes = plan["processes"]
    tf32 = " with TF32" * plan["tf32"]
    size = f"{plan['precision']}{tf32}, {processes} process{'es' if processes > 1 else ''}"
    size += ", compiled steps" if plan["compiled"] else ""
    size += ", draws there" if plan["draws"] != "cpu" else ""
    rows.append(("device", plan["device"], size))
    if plan["speed"]:
        rows.append(("precision", f"{plan['precision']}, as measured", str(Speed(**plan["speed"]))))
    needs, have = plan["memory"]["at_least"], plan["memory"]["have"]
    rows += [("memory", what, gigabytes(needed)) for what, needed in needs.items()]
    of = "" if have is None else f" of {gigabytes(have)}"
    return [*rows, ("memory", "all of these, without activations", f"{gigabytes(sum(needs.values()))}{of}")]
