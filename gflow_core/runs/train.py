"""The clock of training: one loop, read from top to bottom. The mathematics is the objective's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Protocol

import attrs
import torch
from torch import Tensor

from gflow_core.errors import Diverged, Interrupted
from gflow_core.machine.streams import derive
from gflow_core.optim.ema import Ema
from gflow_core.parts.training import Experiment, Metrics, Phase
from gflow_core.runs.promised import checked_step
from gflow_core.runs.standing import latent_batches
from gflow_core.runs.state import networks

__all__ = ["Events", "look", "train"]


class Events(Protocol):
    """What happens around the mathematics; every process calls each of them at the same moment."""

    def stopping(self) -> bool:
        """Whether this process was asked to stop."""

    def phase(self, step: int, phase: Phase) -> None:
        """A safe point inside a step was reached."""

    def log(self, step: int, metrics: Mapping[str, Sequence[float]]) -> None:
        """Metrics, averaged over the steps since the last call: one value, or one a replica."""

    def save(self, step: int, phase: Phase | None = None) -> None:
        """Save everything: after `step`, and inside the next one where `phase` is given."""

    def sample(self, step: int) -> None:
        """Time for a sample picture, where there is none of this step."""

    def analyze(self, step: int) -> None:
        """A step is done: analyzers whose turn it is may look, those that have not yet; the best is kept."""

    def ends(self, step: int) -> bool:
        """Whether, in this process' view, the score that counts has not improved for too long (`train.stop_after`)."""


@torch.enable_grad()  # whoever calls may have none, as notebooks do that look at samples
def train(experiment: Experiment, events: Events, *, done: int = 0) -> int:
    """Train from the state after `done` steps to the recipe's end, or until a score no longer improves; the last step.

    Raises Interrupted after saving, when asked to stop; Diverged, naming the step and the quantity, when a
    metric or a weight is no longer finite (nothing is saved then: the last checkpoint is the last good one).
    """
    clock = experiment.spec.train
    objective = experiment.objective
    assert clock is not None
    assert objective is not None
    runtime = experiment.runtime
    recent: list[tuple[int, Metrics]] = []

    if not clock.steps:  # nothing is trained: the networks as they begin
        _estimate(experiment, 0)
        events.save(0)
        look(experiment, events, 0)

    for step in range(done + 1, clock.steps + 1):
        # The step itself. Between its safe points nothing looks at it.
        if runtime.world > 1:  # dropout's masks, each process its own: by the step, since one process saves
            torch.manual_seed(derive(experiment.streams.seed, f"global.{runtime.rank}.{step}"))
        if experiment.feed is not None:
            experiment.feed.done = step - 1
        for player in experiment.players.values():
            player.train()
            player.set_rates(step - 1)
        with runtime.products():
            for event in checked_step(experiment, objective.step(step), first=step == done + 1):
                if isinstance(event, Phase):
                    events.phase(step, event)
                    if runtime.any(events.stopping()):
                        if recent:
                            _log(experiment, events, step - 1, recent)
                        _check_state(experiment, step)
                        _estimate(experiment, step - 1)
                        events.save(step - 1, event)
                        where = f"step {step} ({event.name} {event.done} of {event.total})"
                        raise Interrupted(f"stopped in {where}, and saved")
                else:
                    # As they are now, and without the graph: an objective may go on with its tensors.
                    recent.append((step, {name: value.detach().clone() for name, value in event.items()}))
        for player in experiment.players.values():
            runtime.average_buffers(player.module)
        if experiment.ema is not None and experiment.sampler is not None:
            experiment.ema.update(experiment.sampler, step)

        # The records. Metrics stay on the device until a line is due; one transfer brings them all.
        last = step == clock.steps
        stop = runtime.any(events.stopping())
        save = last or stop or _due(step, clock.checkpoint_every)
        sample = last or _due(step, clock.sample_every)
        if sample or save or any(analysis.due(step) for analysis in experiment.spec.analyze):
            _estimate(experiment, step)
        if last or stop or save or sample or _due(step, clock.log_every) or experiment.spec.judged_after(step):
            _log(experiment, events, step, recent)  # before what may save
        if save:
            events.save(step)
        if look(experiment, events, step):
            return step
        if stop:
            raise Interrupted(f"stopped after step {step}, and saved")
    return done


def look(experiment: Experiment, events: Events, step: int) -> bool:
    """What looks at the state after `step`, once that is saved: a run that was killed here looks when it is resumed.

    Returns whether training ends here.
    """
    clock = experiment.spec.train
    assert clock is not None
    last = step == clock.steps
    if last or _due(step, clock.sample_every):
        events.sample(step)
    if last:  # at the end every analyzer runs
        return True
    events.analyze(step)
    judged = clock.stop_after is not None and experiment.spec.judged_after(step)
    if ends := judged and experiment.runtime.any(events.ends(step)):
        events.save(step)
        events.sample(step)
    return ends


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _log(experiment: Experiment, events: Events, step: int, recent: list[tuple[int, Metrics]]) -> None:
    """Log the mean of each metric over the `recent` steps, up to `step`, and forget them.

    Raises Diverged at the first step with one that is not finite, once those before it are logged; and where what is
    there after `step` is not finite: do not save it.
    """
    seeds = experiment.spec.seeds
    observed = [(at, name, value) for at, metrics in recent for name, value in metrics.items()]
    recent.clear()
    rows: list[list[float]] = []
    if observed:
        rows = torch.stack([value.detach().float().expand(len(seeds)) for _, _, value in observed]).tolist()
    seen: dict[str, list[list[float]]] = {}
    wrong: list[tuple[int, str]] = []
    for (at, name, _), row in zip(observed, rows, strict=True):
        for seed, value in zip(seeds, row, strict=True):
            if not math.isfinite(value):
                whose = f" of seed {seed}" if len(seeds) > 1 else ""
                wrong.append((at, f"{name}{whose} is {value}"))
        if not wrong or at < wrong[0][0]:
            seen.setdefault(name, []).append(row)
    if seen or not wrong:
        means = {name: [sum(one) / len(one) for one in zip(*history, strict=True)] for name, history in seen.items()}
        events.log(wrong[0][0] - 1 if wrong else step, means)
    if wrong:
        raise Diverged(f"step {wrong[0][0]}: {wrong[0][1]}")
    _check_state(experiment, step)


def _check_state(experiment: Experiment, step: int) -> None:
    """Raise Diverged if a weight, a running statistic or the objective's state is NaN or infinite: do not save it."""
    state = experiment.objective.state if experiment.objective else None
    found: dict[str, Tensor] = {}
    for network, module in networks(experiment).items():
        found |= {f"{network} {name}": tensor for name, tensor in module.state_dict().items()}
    if state is not None:
        found |= {f"the objective's {field.name}": getattr(state, field.name) for field in attrs.fields(type(state))}
    found = {name: x for name, x in found.items() if isinstance(x, Tensor) and x.is_floating_point() and x.numel()}
    if not found:
        return
    # The largest size of each, which is NaN or infinite where one number is: one pass, and one launch for all.
    largest = torch._foreach_norm([x.detach() for x in found.values()], torch.inf)
    wide = reduce(torch.promote_types, [x.dtype for x in largest])
    finite = torch.isfinite(torch.stack([x.to(wide) for x in largest]))
    if not bool(finite.all()):
        worst = list(found)[int((~finite).nonzero()[0])]
        raise Diverged(f"step {step}: {worst} is not finite")


def _estimate(experiment: Experiment, step: int) -> None:
    """Where the average takes its own statistics of batch norm: over samples of its own, the same in all processes."""
    average = experiment.ema
    if not isinstance(average, Ema) or not average.estimates:
        return
    with experiment.runtime.products(), experiment.runtime.autocast():
        average.estimate(latent_batches(experiment, experiment.streams.fork(f"ema.{step}"), average.batch_size))
