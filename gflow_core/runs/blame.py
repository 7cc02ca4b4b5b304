"""Whose mistake it was: the part of a recipe that raised while a run was at work."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gflow_core.errors import GflowError, PluginError, raised
from gflow_core.machine.refusals import of_the_machine
from gflow_core.parts.foreign import package, place
from gflow_core.parts.plugins import blamed
from gflow_core.parts.returned import named
from gflow_core.parts.spec import Spec
from gflow_core.parts.training import Experiment
from gflow_core.recipes.checks import parts_in
from gflow_core.runs.state import networks

__all__ = ["blaming", "culprit"]


_CANNOT_OPEN = FileNotFoundError | NotADirectoryError | IsADirectoryError | PermissionError


@contextmanager
def blaming(spec: Spec, experiment: Experiment | None = None) -> Iterator[None]:
    """PluginError that names the part of the recipe which raised within the block, and where.

    GflowErrors pass, Ctrl-C, an error that no part had a hand in, and what the machine refused. Of a file that a part
    cannot open a GflowError names both.
    """
    try:
        yield
    except BaseException as error:
        refused = of_the_machine(error)
        if isinstance(error, GflowError | KeyboardInterrupt) or (refused and not isinstance(error, _CANNOT_OPEN)):
            raise
        found = culprit(error, spec, experiment)
        if refused:
            if found is None:
                raise
            raise GflowError(f"{named(*found[:2])}: {refused} {found[2]}") from error
        said = f"{named(*found[:2])} raised {raised(error)} {found[2]}" if found else blamed(error)
        if said is None:
            raise
        raise PluginError(said) from error


def culprit(error: BaseException, spec: Spec, experiment: Experiment | None = None) -> tuple[str, Any, str] | None:
    """Kind and part of the innermost part, or network or the like that one built, which the error went through.

    And "(file, line; GFLOW_DEBUG=1 shows the traceback)". None where it went through none.
    """
    owners = {id(part): (kind, part) for _, kind, part in parts_in(spec)}
    if experiment is not None:
        for name, network in networks(experiment).items():
            kind = "sampler" if name == "ema" else name
            owners |= {id(module): (kind, getattr(spec, kind)) for module in network.modules()}
        for name, player in experiment.players.items():
            owners[id(player.optimizer)] = ("optimizer", spec.optimizer[name])
        if experiment.objective is not None:
            owners[id(experiment.objective)] = ("objective", spec.objective)
            velocity = getattr(spec.objective, "velocity", None)
            if id(velocity) in owners:  # an option's: of another flow it is the objective's own
                owners[id(getattr(experiment.objective, "velocity", None))] = owners[id(velocity)]
        if experiment.ema is not None:
            owners[id(experiment.ema)] = ("sampler", spec.sampler)  # whose weights do not go into its average
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    for held in (frame.f_locals.get(name) for frame in reversed(frames) for name in ("self", "part")):
        if id(held) in owners:
            kind, part = owners[id(held)]
            where = place(error, {package(type(one).__module__) for one in (part, held)} - {"torch"})
            return kind, part, f"({f'{where}; ' if where else ''}GFLOW_DEBUG=1 shows the traceback)"
    return None
