"""What `train.keep_best` names: a score of an analysis, and which way it is better."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Self

import attrs

__all__ = ["Better", "Goal", "stem", "told_apart"]

Better = Literal["min", "max"]

_PREFIX = re.compile(r"(?:(min|max):)?(.*)", re.DOTALL)


@attrs.frozen
class Goal:
    """A score whose best value says which checkpoint is kept."""

    analysis: str
    score: str
    better: Better
    """Whether less (min) or more (max) of it is better."""

    def __str__(self) -> str:
        return f"{self.analysis}.{self.score}"

    @classmethod
    def of(cls, text: str | None, names: Iterable[str]) -> Self | None:
        """Of `keep_best` as resolved recipes have it, and the names of their analyses; None where it is of none."""
        if not text:
            return None
        better, analysis, score = told_apart(text, names)
        return cls(analysis, score, better) if better and analysis and score else None

    def best(self, scores: Mapping[int, float | None]) -> int | None:
        """The step with the best of these scores, the first of equals; None where none is a finite number."""
        sign = 1 if self.better == "min" else -1
        found = [(sign * score, step) for step, score in scores.items() if score is not None]
        return min(found)[1] if found else None


def told_apart(text: str, names: Iterable[str]) -> tuple[Better | None, str | None, str]:
    """ "min:ANALYSIS.SCORE" -> its parts, without a prefix None first; None for an analysis that is none of `names`.

    Names have dots, too: the longest that fits counts.
    """
    found = _PREFIX.fullmatch(text)
    assert found is not None
    better: Any = found[1]
    analysis = max((name for name in names if found[2].startswith(f"{name}.")), key=len, default=None)
    return better, analysis, found[2] if analysis is None else found[2][len(analysis) + 1 :]


def stem(score: str) -> str:
    """The name of a score without what stands in brackets: FD of FD(mnist_cnn.hidden)."""
    return re.sub(r"\(.*\)", "", score)
