"""A training step as a run takes it, and what it costs."""

from __future__ import annotations

import time

from gflow_core import Experiment

__all__ = ["take_step"]


def take_step(experiment: Experiment, done: int) -> float:
    """Takes the step that follows `done` finished ones, as schedules count them: seconds of the processor's time."""
    assert experiment.feed is not None
    start = time.process_time()
    experiment.feed.done = done
    for player in experiment.players.values():
        player.train()
        player.set_rates(done)
    for _ in experiment.objective.step(done + 1):
        pass
    return time.process_time() - start
