"""A paper's statements checked by numbers: what each predicts beside what is measured."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

__all__ = ["Check", "by_statement"]


@attrs.frozen(kw_only=True)
class Check:
    """One prediction of a statement, beside what is measured."""

    statement: str
    setting: str
    """Where it is checked, such as a law and its dimensions."""
    quantity: str
    predicted: float
    measured: float
    error: float
    """How far they are apart, as the analyzer says: absolute, relative, or in standard errors."""
    tolerance: float
    """The largest error that the check allows."""

    @property
    def ok(self) -> bool:
        return self.error <= self.tolerance

    def row(self) -> dict[str, Any]:
        """A line of a result's table."""
        return {field.name: getattr(self, field.name) for field in attrs.fields(Check)} | {"ok": self.ok}


def by_statement(
    claims: Mapping[str, str], checks: Iterable[Check]
) -> tuple[dict[str, float | int | str | None], dict[str, list[dict[str, Any]]]]:
    """Scores and tables of a result, for `claims`: a statement's name -> what it says, in the order to be told.

    Scores: the worst error of each statement (None where one is no finite number, or nothing checks it), by its name in
    small letters; `checks`, how many there are; `all_ok`. Tables: `statements`, a line each; `theory`, a line a check.
    KeyError for a check of another statement.
    """
    of: dict[str, list[Check]] = {statement: [] for statement in claims}
    for check in checks:
        of[check.statement].append(check)
    scores: dict[str, float | int | str | None] = {}
    lines = []
    for statement, here in of.items():
        errors = [check.error for check in here]
        worst = max(errors) if errors and all(map(math.isfinite, errors)) else None
        scores[re.sub(r"\W", "_", statement.lower())] = worst
        ok = bool(here) and all(check.ok for check in here)  # what nothing checks does not hold
        lines.append(
            {"statement": statement, "claim": claims[statement], "checks": len(here), "worst error": worst, "ok": ok}
        )
    every = [check for here in of.values() for check in here]
    scores |= {"checks": len(every), "all_ok": all(line["ok"] for line in lines)}
    return scores, {"statements": lines, "theory": [check.row() for check in every]}
