"""What a run's recipe.toml says now, against the recipe that the run began with."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gflow_core.errors import GflowError, typed
from gflow_core.files.run_folder import read_recipe

__all__ = [
    "BEGAN",
    "changed_on_the_way",
    "changes",
    "check_recipe",
    "flat",
    "stated",
    "told_apart",
    "trained_by",
    "training",
    "value_text",
]

BEGAN = "began_with"
"""Where a manifest keeps the table of the resolved recipe that training began with, or was last changed to."""

_FREE = frozenset({"gflow", "title"})
"""What may change beside [[analyze]]: it trains nothing."""


def flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted name -> value; lists are values, and [[analyze]] is left out."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        elif prefix or key != "analyze":
            found[f"{prefix}{key}"] = value
    return found


_APART = frozenset(
    {
        "gflow",
        "title",
        "dataset.root",
        "dataset.download",
        "dataset.workers",
        "train.seed",
        "train.replicas",
        "train.device",
        "train.devices",
        "train.log_every",
        "train.sample_every",
        "train.checkpoint_every",
        "train.keep",
        "train.keep_best",
        "train.trackers",
    }
)
"""What two runs of one recipe may differ in and still be its runs: seeds, where things are, how often one looks. So
may [[analyze]] tables: each score's own manifest says what it depends on."""


def training(table: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted name -> value, of all in a resolved recipe that makes its run another than those of other recipes."""
    return {name: value for name, value in flat(table).items() if name not in _APART}


def changed_on_the_way(manifest: Mapping[str, Any]) -> list[str]:
    """`objective.divergence=js from step 8`, for each override by which a run went on another way than it began.

    One that changes what trains, and that came after steps; more steps are no other way.
    """
    found = []
    for again in manifest.get("resumed", []):
        checkpoint, overrides = again.get("checkpoint"), again.get("overrides")
        if not isinstance(checkpoint, str) or not isinstance(overrides, list) or not checkpoint.strip("0"):
            continue  # nothing was changed, or nothing trained before
        step = checkpoint.partition("-")[0].lstrip("0") or "0"
        for override in map(str, overrides):
            name = override.removeprefix("~").partition("=")[0].strip()
            if name not in {*_APART, "train.steps"} and name.partition(".")[0] != "analyze":
                found.append(f"{override} from step {step}")
    return found


def trained_by(table: Mapping[str, Any], manifest: Mapping[str, Any]) -> dict[str, Any]:
    """`training` of what a run was trained by: its manifest tells, also where recipe.toml was edited since.

    A run that did not train so from the beginning has `changed` besides: it is none of that recipe's.
    """
    began, changed = manifest.get(BEGAN), changed_on_the_way(manifest)
    found = training(began if isinstance(began, Mapping) else table)
    return {**found, "changed": "; ".join(changed)} if changed else found


def told_apart(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each of several runs, by dotted name, the options in which it differs from others; None where unset.

    Where tables name different parts, their other options say nothing: below `objective.use=b`, only what
    differs among the runs that use b counts.
    """
    found: list[dict[str, Any]] = [{} for _ in runs]
    for key in dict.fromkeys(key for one in runs for key in one):
        above = key.split(".")[:-1]
        uses = [use for i in range(1, len(above) + 1) if (use := ".".join([*above[:i], "use"])) != key]
        peers: dict[tuple[str, ...], list[int]] = {}
        for i, one in enumerate(runs):
            peers.setdefault(tuple(repr(one.get(use)) for use in uses), []).append(i)
        for group in peers.values():
            if any(runs[i].get(key) != runs[group[0]].get(key) for i in group):
                for i in group:
                    found[i][key] = runs[i].get(key)
    return found


def value_text(value: Any) -> str:
    """A value as a recipe writes it."""
    if value is None:
        return "unset"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Dotted name -> its value in each of two resolved recipes, of all that trains and differs; None where unset."""
    one, other = flat(before), flat(now)
    both = {name: (one.get(name), other.get(name)) for name in {**one, **other} if name not in _FREE}
    return {name: (a, b) for name, (a, b) in both.items() if a != b and json.dumps(a) != json.dumps(b)}  # NaN is NaN


def check_recipe(manifest: Mapping[str, Any], run: Path, overrides: Sequence[str] = ()) -> None:
    """The run's recipe.toml must be the one that it began with, save what overrides state on purpose.

    Raises GflowError, which lists what differs. A run of an earlier version does not say what it began with.
    """
    before = manifest.get(BEGAN)
    if not isinstance(before, Mapping):
        return
    found = changes(before, read_recipe(run))
    silent = {name: pair for name, pair in found.items() if not stated(name, overrides)}
    if silent:
        lines = [
            f"{name}: {value_text(a)} when the run began, {value_text(b)} in recipe.toml"
            for name, (a, b) in silent.items()
        ]
        on_purpose = " ".join(
            f"~{name}" if b is None else shlex.quote(f"{name}={value_text(b)}") for name, (_, b) in silent.items()
        )
        raise GflowError(
            f"{run}: its recipe.toml was edited:\n"
            + "\n".join(lines)
            + "\nput it back; what is to change from here on is said, and recorded: "
            + f"gflow resume {typed(run)} {on_purpose}"
        )


def stated(name: str, overrides: Sequence[str]) -> bool:
    """Whether one of the overrides says what stands at a dotted name, below it or around it."""
    said = [override.removeprefix("~").partition("=")[0].strip() for override in overrides]
    return any(f"{name}.".startswith(f"{one}.") or f"{one}.".startswith(f"{name}.") for one in said)
