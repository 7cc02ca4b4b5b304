"""Options: documented, bounded fields."""

from __future__ import annotations

import math

import attrs
import pytest

from gflow_core.parts.options import option, option_doc, option_range, option_unit


@attrs.frozen(kw_only=True)
class Part:
    needed: int = option(doc="It has no default.", ge=1)
    rate: float = option(0.5, doc="A share.", unit="per step", ge=0, lt=1)
    betas: tuple[float, float] = option((0.9, 0.99), doc="Two shares.", ge=0, lt=1)
    even: int = option(2, doc="Even.", check=lambda n: None if n % 2 == 0 else f"{n} is odd")
    either: int | str = option("all", doc="A number or a word.", gt=0)
    names: tuple[str, ...] = option(factory=lambda: ("a",), doc="Made afresh.")


def test_defaults_and_factories():
    part = Part(needed=1)
    assert (part.rate, part.betas, part.even, part.either, part.names) == (0.5, (0.9, 0.99), 2, "all", ("a",))
    with pytest.raises(TypeError, match="needed"):
        Part()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"needed": 0}, "must be >= 1, got 0"),
        ({"rate": 1.0}, "must be >= 0 and < 1, got 1.0"),
        ({"rate": -0.1}, "must be >= 0 and < 1, got -0.1"),
        ({"rate": math.nan}, "must be >= 0 and < 1, got nan"),
        ({"betas": (0.9, 1.0)}, "must be >= 0 and < 1, got 1.0"),
        ({"even": 3}, "3 is odd"),
        ({"either": 0}, "must be > 0, got 0"),
    ],
)
def test_bounds_and_checks_are_enforced(wrong, message):
    with pytest.raises(ValueError, match=message) as told:
        Part(**{"needed": 1, **wrong})
    assert str(told.value).startswith(f"{next(iter(wrong))}: "), "in Python nobody else says of which option"


def test_bounds_speak_of_numbers_only():
    assert Part(needed=1, either="none").either == "none"


def test_what_an_option_says_of_itself():
    fields = attrs.fields_dict(Part)
    assert option_doc(fields["rate"]) == "A share."
    assert option_unit(fields["rate"]) == "per step"
    assert option_range(fields["rate"]) == ">= 0 and < 1"
    assert option_range(fields["either"]) == "> 0"
    assert option_unit(fields["even"]) == option_range(fields["even"]) == ""


def test_a_plain_attrs_field_says_nothing():
    @attrs.frozen
    class Plain:
        x: int = 3

    (field,) = attrs.fields(Plain)
    assert option_doc(field) == option_unit(field) == option_range(field) == ""
