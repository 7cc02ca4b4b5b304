"""Statements beside numbers: the worst error of each, and what is left unchecked."""

from __future__ import annotations

import math

import pytest

from gflow_core import Check, by_statement


def check(statement, error, tolerance=0.1):
    return Check(
        statement=statement,
        setting="1-D",
        quantity="f",
        predicted=1.0,
        measured=1.0 + error,
        error=error,
        tolerance=tolerance,
    )


CLAIMS = {"Lemma 1.1": "f' is the first variation", "Theorem 2": "it decays"}


def test_statements_have_their_worst_error_in_their_own_order():
    scores, tables = by_statement(CLAIMS, [check("Theorem 2", 0.2), check("Lemma 1.1", 0.01), check("Theorem 2", 0.05)])
    assert scores == {"lemma_1_1": 0.01, "theorem_2": 0.2, "checks": 3, "all_ok": False}
    assert [(line["statement"], line["checks"], line["ok"]) for line in tables["statements"]] == [
        ("Lemma 1.1", 1, True),
        ("Theorem 2", 2, False),
    ]
    assert [line["error"] for line in tables["theory"]] == [0.01, 0.2, 0.05]
    assert set(tables["theory"][0]) == {
        *("statement", "setting", "quantity", "predicted", "measured", "error", "tolerance", "ok")
    }


def test_a_statement_that_nothing_checks_does_not_hold():
    scores, tables = by_statement(CLAIMS, [check("Lemma 1.1", 0.01)])
    assert [(line["checks"], line["ok"]) for line in tables["statements"]] == [(1, True), (0, False)]
    assert (scores["theorem_2"], scores["all_ok"]) == (None, False)


def test_what_is_no_number_is_none_and_not_ok():
    scores, _ = by_statement(CLAIMS, [check("Theorem 2", math.nan), check("Theorem 2", 0.0)])
    assert (scores["theorem_2"], scores["lemma_1_1"], scores["all_ok"]) == (None, None, False)
    with pytest.raises(KeyError, match="Lemma 7"):
        by_statement(CLAIMS, [check("Lemma 7", 0.0)])
