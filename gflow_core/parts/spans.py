"""Numbers of steps that a recipe gives in epochs or items: `steps = "200 epochs"`."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Self

from gflow_core.errors import did_you_mean

__all__ = ["Span", "read_span"]

_UNITS = {"epoch": "epochs", "epochs": "epochs", "item": "items", "items": "items", "image": "items", "images": "items"}
_TEXT = re.compile(r"(\S*)\s+([A-Za-z]+)|(\S*[\d.])([A-Za-z]{4,})")
_NUMBER = re.compile(r"\d[\d_]{0,17}(\.\d{1,9})?([eE]\d)?")


class Span(int):
    """So many epochs or items, in steps once the size of the data is known.

    An epoch is as many items as the data have. Until then it stands in a `Spec` as a number of steps, since a recipe is
    checked without its data; that number means nothing.
    """

    text: str
    """As the recipe has it."""
    amount: Fraction
    epochs: bool
    """Whether the amount counts epochs; else items."""

    @classmethod
    def of(cls, text: str, amount: Fraction, epochs: bool) -> Self:
        """So much, from its text."""
        made = cls(max(1, round(amount)))
        made.text, made.amount, made.epochs = text, amount, epochs
        return made

    def steps(self, items: int, a_step: int) -> int:
        """The nearest number of steps, one at least, where the data have so many items and a step reads so many."""
        whole = self.amount * (items if self.epochs else 1) / a_step
        return max(1, int(whole + Fraction(1, 2)))


def read_span(text: str) -> Span | None:
    """The span that the text gives; None where it is no number with a unit. ValueError says what is wrong with one."""
    match = _TEXT.fullmatch(text.strip())
    if match is None:
        return None
    number, unit = match[1] or match[3] or "", match[2] or match[4]
    if unit.lower() in ("step", "steps"):
        raise ValueError(f"steps are written without a unit: {number}")
    if unit not in _UNITS:
        close = did_you_mean(unit, _UNITS) or '; write a number of steps, or as in "200 epochs" or "1e6 images"'
        raise ValueError(f'unknown unit "{unit}"{close}')
    amount = Fraction(number) if _NUMBER.fullmatch(number) else Fraction(0)
    if not amount:
        raise ValueError(f'expected a number above 0 before "{unit}", as in "200 epochs" or "1e6 images", got "{text}"')
    return Span.of(text.strip(), amount, _UNITS[unit] == "epochs")
