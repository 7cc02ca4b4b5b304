"""`train.keep_best` and `train.stop_after`: whether their score is measured while training, and which way is better."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from gflow_core.errors import PluginError, did_you_mean, shown
from gflow_core.parts.foreign import own
from gflow_core.parts.goal import Better, stem, told_apart
from gflow_core.parts.spec import Analysis, Spec
from gflow_core.recipes.asking import DEFECT
from gflow_core.recipes.words import Place

__all__ = ["check_goal", "directed"]

_PLACE: Place = ("train", "keep_best")
_WORDS = {"min": "less", "max": "more"}


def check_goal(spec: Spec, table: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
    """What is wrong with the score that says which checkpoint is the best."""
    train = spec.train
    if train is None:
        return
    if train.stop_after is not None and train.keep_best is None:
        yield ("train", "stop_after"), "needs train.keep_best, which names the score that is to improve"
    if train.keep_best is None:
        return
    if "objective" not in table:
        yield _PLACE, "nothing trains without an [objective]; remove it"
        return
    if train.replicas > 1:
        yield (
            _PLACE,
            "replicas share checkpoints, and each has a best of its own; set train.replicas = 1, or remove it",
        )
    names = [analysis.name for analysis in spec.analyze]
    better, name, score = told_apart(train.keep_best, names)
    if name is None:
        yield _PLACE, _no_analysis(score, names)
        return
    i = names.index(name)
    if not spec.analyze[i].every:
        yield _PLACE, f"{name} runs only at the end; set analyze.{i}.every, the steps between its runs"
    if not score:
        yield _PLACE, f'names no score of {name}: write "{name}.SCORE"'
        return
    try:
        stated = _stated(spec.analyze[i])
    except PluginError as error:
        yield ("analyze", i), str(error)
        return
    known = stated.get(stem(score))
    if known is None and better is None:
        those = f" (it does of {', '.join(stated)}){did_you_mean(stem(score), stated)}" if stated else ""
        yield (
            _PLACE,
            f'{name} does not say whether less or more of "{score}" is better{those}; say so: '
            f'"min:{name}.{score}" or "max:{name}.{score}"',
        )
    elif known is not None and better not in (known, None):
        yield _PLACE, f"{_WORDS[known]} of {score} is better; leave {better}: out"


def directed(spec: Spec) -> Spec:
    """The recipe with the direction of its score spelled out, so that who reads a run needs no analyzer for it."""
    text = spec.train.keep_best if spec.train is not None else None
    better, name, score = told_apart(text or "", [analysis.name for analysis in spec.analyze])
    if better is not None or name is None:
        return spec
    stated = _stated(next(analysis for analysis in spec.analyze if analysis.name == name))
    assert spec.train is not None
    return attrs.evolve(spec, train=attrs.evolve(spec.train, keep_best=f"{stated[stem(score)]}:{text}"))


def _no_analysis(text: str, names: list[str]) -> str:
    if not names:
        return "the recipe has no [[analyze]] table; add the one that measures the score, with use and every"
    first = text.partition(".")[0]
    close = did_you_mean(first, names)
    return f"names no analysis of this recipe{close} (there are {', '.join(names)}): write ANALYSIS.SCORE"


def _stated(analysis: Analysis) -> Mapping[str, Better]:
    """What the analyzer says of its scores. PluginError where that is nothing of the kind."""
    with own("better", analysis.part):
        stated = getattr(analysis.part, "better", {})
        if isinstance(stated, Mapping) and all(value in _WORDS for value in stated.values()):
            return stated
    raise PluginError(f'its own better is {shown(stated)}, not "min" or "max" by score {DEFECT}')
