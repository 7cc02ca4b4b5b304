"""The check of analyzers: what they find can be written, repeats with the seed, and leaves the run as it was."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs
import torch

from gflow_core.data.parts import Ring
from gflow_core.machine.streams import seeded
from gflow_core.methods.adversarial import Adversarial
from gflow_core.parts.analysis import Result
from gflow_core.parts.goal import stem
from gflow_core.parts.nouns import no_progress
from gflow_core.parts.spec import Analysis, Spec
from gflow_core.parts.training import Experiment
from gflow_core.recipes.defects import undeclared
from gflow_core.runs.analyze import analyze, faults
from gflow_core.runs.build import build
from gflow_core.runs.record import RunFolder
from gflow_core.runs.state import capture
from gflow_core.runs.trackers import Jsonl
from gflow_core.testing.objectives import recipes
from gflow_core.testing.promises import Broken, Promises, Untried, same

__all__ = ["check_analyzer"]


def check_analyzer(
    part: Any,
    *,
    dataset: Any = None,
    sampler: Any = None,
    discriminator: Any = None,
    objective: Any = None,
    run: bool = True,
) -> None:
    """Look at an untrained run twice: on the first images and the first vectors that the analyzer accepts, or, where it
    needs nothing, in an empty recipe.

    It finds a Result that the record can write (JSON, tables of equal columns, figures), the same both times, and
    leaves networks and random streams as they were; its `better` names scores that it finds. What it refuses is refused
    by messages. Parts that are not given are tiny ones. `run = False` asks `check` only.
    """
    promises = Promises("analyzer", part)
    promises.common()
    wrong = undeclared("analyzer", part)
    promises.require(not wrong, "; ".join(wrong))
    better = getattr(part, "better", {})
    right = isinstance(better, Mapping) and all(value in ("min", "max") for value in better.values())
    promises.require(right, f'better is a mapping of scores to "min" or "max"; got {better!r}')
    given = {"dataset": dataset, "sampler": sampler, "discriminator": discriminator, "objective": objective}
    accepted: dict[str, Spec] = {}
    said = ""
    for spec in _recipes(part, given):
        faults = promises.asked(spec, about=f"a recipe on {spec.data_shape() or 'nothing'}")
        said = "; ".join(faults) or said
        shape = spec.data_shape()
        if not faults:
            accepted.setdefault(shape.kind if shape else "nothing", spec)
    if not accepted:
        raise Untried(
            f"{promises.who}: refuses every recipe it is tried on ({said}); pass what it looks at: dataset=, sampler=, "
            "discriminator=, objective="
        )
    if "nothing" in accepted:  # it has all it needs; tables would not change what it finds
        accepted = {"nothing": accepted["nothing"]}
    for index, spec in enumerate(accepted.values() if run else ()):
        with seeded(0), TemporaryDirectory() as folder:
            # Drawing takes longest by far: figures are written once.
            _looks(promises, spec, Path(folder), drawn=index == 0)


def _recipes(part: Any, given: dict[str, Any]) -> Iterator[Spec]:
    """Recipes that have what the analyzer needs, and an empty one where it needs nothing."""
    analysis = Analysis(name="tiny", every=0, part=part)
    if not part.needs and not any(given.values()):
        yield Spec(analyze=(analysis,))
    objective = given["objective"] or Adversarial()
    networks = (given["dataset"], given["sampler"], given["discriminator"])
    for spec in recipes(objective, *networks):
        yield attrs.evolve(spec, analyze=(analysis,))
    if given["dataset"] is None:  # points with modes and a known density
        for spec in recipes(objective, Ring(n=200, std=1.0), *networks[1:]):
            yield attrs.evolve(spec, analyze=(analysis,))


def _looks(promises: Promises, spec: Spec, folder: Path, *, drawn: bool) -> None:
    (analysis,) = spec.analyze
    where = f"a run on {spec.data_shape() or 'nothing'}"
    if hasattr(promises.part, "prepare"):
        with promises.calling(f"prepare for {where}"):
            promises.part.prepare(spec, torch.device("cpu"), no_progress)
    experiment = build(spec)
    place = RunFolder.create(folder, "tiny", 0, "")
    lines = Jsonl().open(place.path, 0)
    losses = {"sampler_loss": 1.0, "discriminator_loss": 1.0}
    for step in (1, 2):
        lines.log(step, {**getattr(spec.objective, "equilibrium", dict)(), **losses, "seconds": 0.1})
    found = []
    before = _state(experiment)
    for turn in ("first", "second"):
        with promises.calling(f"looking at {where}"):
            found.append(analyze(experiment, analysis, 2, folder=place.path, work=folder / turn))
        promises.require(same(_state(experiment), before), "changes the run it looks at: its networks, or its streams")
    first, second = found
    _written(promises, first, place, drawn=drawn)
    promises.require(isinstance(second, Result), "finds a Result the first time only")
    stated = set(getattr(promises.part, "better", {}))
    known = not stated or stated & {stem(name) for name in first.scores}
    promises.require(known, f"finds none of the scores that its `better` names: {', '.join(sorted(stated))}")
    repeats = json.dumps(first.scores, default=str) == json.dumps(second.scores, default=str)
    promises.require(repeats, "scores differ the second time; draw from subject.streams")


def _state(experiment: Experiment) -> dict[str, Any]:
    """Weights, modes and streams of the run."""
    modules = [module for module in (experiment.sampler, experiment.discriminator) if module is not None]
    return {
        "weights": [{name: tensor.detach().clone() for name, tensor in m.state_dict().items()} for m in modules],
        "trained": [[p.requires_grad for p in m.parameters()] + [one.training for one in m.modules()] for m in modules],
        "streams": experiment.streams.state_dict(),
        "state": capture(experiment)["objective"] if experiment.objective else None,
    }


def _written(promises: Promises, result: Any, place: RunFolder, *, drawn: bool) -> None:
    """The result, as the record takes it."""
    for fault in faults(result):
        promises.require(False, fault)
    for name, rows in result.tables.items():
        columns = {tuple(row) for row in rows}
        promises.require(len(columns) <= 1, f"all rows of a table have the same columns; those of {name} differ")
    try:
        place.write_result("tiny", result if drawn else attrs.evolve(result, figures={}), 2, final=True)
    except Exception as error:
        raise Broken(f"{promises.who}: its result cannot be written ({type(error).__name__}: {error})") from error
    finally:
        import matplotlib.pyplot as plt

        plt.close("all")
