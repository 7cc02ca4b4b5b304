"""A run's best checkpoint (`train.keep_best`), without torch.

Which it is follows from the checkpoints that there are and what was found at their steps; it is written down nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from gflow_core.files.inside import is_plain
from gflow_core.files.reading import number
from gflow_core.files.run_folder import checkpoint_names, checkpoint_order, read_result
from gflow_core.parts.goal import Goal

__all__ = ["Best", "best_of", "goal_of", "history", "kept", "scores_at"]


@attrs.frozen
class Best:
    """The checkpoint with the best score."""

    checkpoint: str
    step: int
    name: str
    """ANALYSIS.SCORE."""
    score: float


def goal_of(table: Mapping[str, Any]) -> Goal | None:
    """The score that a run's recipe.toml names, which need not be a valid one; None where it names none."""
    names = [str(one.get("name", one.get("use"))) for one in table.get("analyze", [])]
    return Goal.of(table.get("train", {}).get("keep_best"), filter(is_plain, names))


def best_of(run: Path, goal: Goal, *, at_the_end: bool = True) -> Best | None:
    """The checkpoint with the best score, of those at whose steps it was measured: while training, or `at_the_end`."""
    names = {checkpoint_order(name)[0]: name for name in checkpoint_names(run / "checkpoints") if "-" not in name}
    scores: dict[int, float | None] = {}
    for step in names:
        found = scores_at(run, goal, step) or (_scores(run / "analysis" / goal.analysis, step) if at_the_end else None)
        scores[step] = number((found or {}).get(goal.score))
    best = goal.best(scores)
    score = None if best is None else scores[best]
    return None if best is None or score is None else Best(names[best], best, str(goal), score)


def kept(run: Path, goal: Goal | None) -> str | None:
    """The checkpoint that stays: the best by what was found while training, which a longer run would find, too."""
    found = best_of(run, goal, at_the_end=False) if goal is not None else None
    return found.checkpoint if found is not None else None


def history(run: Path, goal: Goal, *steps: int) -> dict[int, float | None]:
    """Step -> score, of all that was found while training, or at these steps; None for one that is no finite number.

    Results that lack the score are left out.
    """
    folders = (run / "analysis" / goal.analysis).glob("*")
    steps = steps or tuple(int(folder.name) for folder in folders if folder.name.isdecimal())
    found = {step: scores_at(run, goal, step) for step in steps}
    return {step: number(scores[goal.score]) for step, scores in found.items() if scores and goal.score in scores}


def scores_at(run: Path, goal: Goal, step: int) -> Mapping[str, Any] | None:
    """What the analysis found after this step, while training; None where it did not look. GflowError: damaged."""
    return _scores(run / "analysis" / goal.analysis / f"{step:06d}", step)


def _scores(folder: Path, step: int) -> Mapping[str, Any] | None:
    """What was found after this step, unless somebody has repeated it with other options: then it compares to none."""
    try:
        found = read_result(folder / "result.json")
    except FileNotFoundError:
        return None
    return found["scores"] if found.get("step", step) == step and not found["manifest"].get("overrides") else None
