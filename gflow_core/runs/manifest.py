"""What a run stands on, written down when it begins, and compared when it goes on."""

from __future__ import annotations

import platform
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import torch

from gflow_core.errors import GflowError, typed
from gflow_core.machine.runtime import Runtime, choose_device
from gflow_core.machine.speed import processor
from gflow_core.parts.loading import loaded_files, registered
from gflow_core.parts.plugins import plugins
from gflow_core.parts.source import Source
from gflow_core.parts.spec import Spec
from gflow_core.parts.training import Experiment
from gflow_core.recipes.changes import BEGAN, stated
from gflow_core.recipes.files import FILES, files_of
from gflow_core.recipes.recipe import Recipe
from gflow_core.runs.state import networks

__all__ = [
    "asked_of",
    "check_data",
    "check_draws",
    "check_origins",
    "class_names",
    "computed_on",
    "manifest_of",
    "now",
    "precision_of",
    "surroundings",
]


def manifest_of(recipe: Recipe, experiment: Experiment) -> dict[str, Any]:
    runtime: Runtime = experiment.runtime
    data = experiment.data
    return {
        "created": now(),
        "command": sys.argv,
        "folder": str(Path.cwd()),
        "recipe": str(recipe.path) if recipe.path else None,
        BEGAN: tomllib.loads(recipe.dumps()),
        "versions": {"python": platform.python_version(), **versions()},
        "platform": platform.platform(),
        **({"loaded": loaded} if (loaded := loaded_files()) else {}),
        **({"registered": parts} if (parts := registered()) else {}),
        **computed_on(runtime),
        "processes": runtime.world,
        **asked_of(experiment),
        "threads": torch.get_num_threads(),
        "git": _git(),
        "data": {**_data(data), "on_device": experiment.feed is not None and experiment.feed.on_device} if data else {},
        **({FILES: files} if (files := files_of(experiment.spec)) else {}),
        **({"origins": experiment.origins} if experiment.origins else {}),
        **({"encoders": encoders} if (encoders := _encoders(experiment)) else {}),
        "parameters": {
            name: sum(p.numel() for p in module.parameters()) for name, module in networks(experiment).items()
        },
    }


def _encoders(experiment: Experiment) -> dict[str, dict[str, str]]:
    """The networks in whose features it trains, as scores state theirs."""
    return {place: {"encoder": one.name, "weights": one.weights} for place, one in experiment.encoders.items()}


def computed_on(runtime: Runtime) -> dict[str, Any]:
    """Device and precision, and what decided it."""
    device = runtime.device
    return {
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else processor(),
        "precision": runtime.precision,
        "speed": attrs.asdict(runtime.speed) if runtime.speed else None,
    }


def asked_of(experiment: Experiment) -> dict[str, Any]:
    """How steps are computed where a recipe asks for other than the usual, as it came out on this machine."""
    runtime = experiment.runtime
    return {"compiled": experiment.compiled, "draws": runtime.draws_on.type, "tf32": runtime.tf32}


def precision_of(manifest: Mapping[str, Any], spec: Spec, overrides: Sequence[str] = ()) -> str:
    """The precision that the run began in, to go on in it; "auto" where it was another kind of device, or overridden.

    It is the answer to `train.precision = "auto"`; another one in the recipe says what it is.
    """
    began, there = manifest.get("precision"), str(manifest.get("device")).partition(":")[0]
    here = choose_device(spec.train.device if spec.train else "auto").type
    keeps = began in ("float32", "bf16") and there == here and not stated("train.precision", overrides)
    return str(began) if keeps else "auto"


def _data(data: Source) -> dict[str, Any]:
    named = {"classes": list(data.class_names)} if data.class_names else {}
    keys = ("use", "items", "weight", "fingerprint")
    parts = [{key: getattr(joint, key) for key in keys} for joint in data.joints]
    joined = {"joined": parts} if parts else {}
    return {"items": len(data), "shape": str(data.shape), "fingerprint": data.fingerprint, **named, **joined}


def versions() -> dict[str, str]:
    return {
        "torch": torch.__version__,
        **{record.dist: record.version for record in plugins().records if record.version},
    }


def _git() -> dict[str, Any] | None:
    """Commit of the working folder, and whether files differ from it; None outside a repository."""

    def ask(*words: str) -> str:
        return subprocess.run(["git", *words], capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        return {"commit": ask("rev-parse", "HEAD"), "dirty": bool(ask("status", "--porcelain", "-uno"))}
    except (OSError, subprocess.SubprocessError):
        return None


def class_names(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """What the classes of a run's data are called; empty where its manifest does not say."""
    return tuple(manifest.get("data", {}).get("classes", ()))


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def check_data(manifest: Mapping[str, Any], data: Source | None, path: Path) -> None:
    before = manifest.get("data", {}).get("fingerprint")
    if before and data and data.fingerprint != before:
        raise GflowError(
            f"{path}: the data has changed since the run began (fingerprint {data.fingerprint[:12]}, was "
            f"{before[:12]}); put the old data back or start a new run"
        )


def check_draws(manifest: Mapping[str, Any], experiment: Experiment, path: Path, overrides: Sequence[str]) -> None:
    """A run goes on with the random numbers of the kind of device that it began on, unless overrides say otherwise."""
    began, here = manifest.get("draws", "cpu"), experiment.runtime.draws_on.type
    if began != here and not stated("train.draws", overrides):
        raise GflowError(
            f"{path}: its random numbers are drawn on {began}, and here train.draws = device draws others, on {here}; "
            f"go on where there is {began}, or with those of the host: gflow resume {typed(path)} train.draws=host"
        )


def check_origins(manifest: Mapping[str, Any], experiment: Experiment, path: Path) -> None:
    """A run that trains nothing has its networks' weights elsewhere: they must be those it began with."""
    began = (
        {"sampler": manifest["from_run"]} if "from_run" in manifest else manifest.get("origins", {})
    )  # once so called
    for name, found in experiment.origins.items():
        before = began.get(name, found)
        if before["sha256"] != found["sha256"]:
            theirs, now = (Path(one.get("run") or one.get("file", "")) for one in (before, found))
            if now != theirs and theirs.is_absolute():
                raise GflowError(
                    f"{path}: its {name} came from {theirs}, and {now} is another; start gflow in "
                    f"{manifest.get('folder')}, where relative paths of this run count from"
                )
            raise GflowError(
                f"{path}: the {name} of {theirs} has changed since this run took it; "
                f"start a new run with gflow run {typed(path / 'recipe.toml')}"
            )


def surroundings(experiment: Experiment) -> dict[str, str]:
    """What all machines of a run need the same of, by name."""
    own = experiment.runtime.draws_on
    return {
        "the versions of gflow, its plugins and torch": str(versions()),
        "the GPU that draws random numbers": torch.cuda.get_device_name(own) if own.type == "cuda" else "",
        "the data": experiment.data.fingerprint if experiment.data else "",
        "the weights that networks begin from": str(_digests(experiment.origins)),
        "the files that options name": str(_digests(files_of(experiment.spec))),
    }


def _digests(files: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Without their paths, which differ between machines."""
    return {name: file["sha256"] for name, file in files.items()}
