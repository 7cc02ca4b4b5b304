"""While a run trains: whether a step's checkpoint is the best so far, and whether the best is too long ago."""

from __future__ import annotations

import shlex
from pathlib import Path

from gflow_core.errors import did_you_mean, typed
from gflow_core.parts.goal import Goal
from gflow_core.parts.spec import Spec
from gflow_core.runs.best import history, scores_at

__all__ = ["Judge"]


class Judge:
    """By the score that `train.keep_best` names, from the run folder: whoever resumes judges as who never stopped."""

    def __init__(self, run: Path, spec: Spec, goal: Goal | None) -> None:
        self.goal = goal
        self._run = run
        self._patience = spec.train.stop_after if spec.train else None
        self._seen: dict[int, float | None] | None = None

    def wins(self, step: int) -> bool:
        """Whether the score after this step is better than all before."""
        return self.goal is not None and self.goal.best(self._history(step)) == step

    def lacking(self, step: int) -> str | None:
        """What there is to say where the analysis looked after this step, and has found no such score so far."""
        if self.goal is None or (scores := scores_at(self._run, self.goal, step)) is None:
            return None
        if self.goal.score in scores or self._history():
            return None
        analysis, score = self.goal.analysis, self.goal.score
        change = shlex.quote(f"train.keep_best={analysis}.SCORE")
        return (
            f'train.keep_best: {analysis} has found no score "{score}"{did_you_mean(score, scores)} (there are '
            f"{', '.join(scores) or 'none'}); all is saved: gflow resume {typed(self._run)} {change}"
        )

    def ends(self, step: int) -> bool:
        """Whether the score was measured after this step, and is not better than `train.stop_after` steps ago."""
        if self.goal is None or self._patience is None or scores_at(self._run, self.goal, step) is None:
            return False
        return step - (self.goal.best(self._history(step)) or 0) >= self._patience

    def why(self, step: int) -> str:
        """Why training ends after this step, before the recipe's end."""
        assert self.goal is not None
        seen = self._history(step)
        best = self.goal.best(seen)
        if best is None:
            return f"{self.goal} was no finite number in {step} steps"
        return f"{self.goal} has not improved for {step - best} steps, since step {best} ({seen[best]:.4g})"

    def _history(self, step: int | None = None) -> dict[int, float | None]:
        """Step -> score: all are read once, and then that of each step as it comes."""
        assert self.goal is not None
        if self._seen is None:
            self._seen = history(self._run, self.goal)
        elif step is not None:
            self._seen |= history(self._run, self.goal, step)
        return self._seen
