"""The harness of docs/reliability.md: it sees faults, and a few of its cases hold."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TORTURE = Path(__file__).parents[1] / "benchmarks" / "torture"


@pytest.mark.parametrize(
    ("code", "err", "told"),
    [
        (0, b"", []),
        (2, b"error: x: wrong; mend it", []),
        (2, b"", ["exit code 2 without a message"]),
        (3, b"error: x", ["exit code 3"]),
        (None, b"", ["hung for 90 s"]),
        (1, b"Traceback (most recent call last)\n  x\nKeyError: 1", ["exit code 1", "traceback: KeyError: 1"]),
    ],
)
def test_faults_are_seen(monkeypatch, code, err, told):
    monkeypatch.syspath_prepend(str(TORTURE))
    import kit

    assert list(kit.Outcome(code, b"", err).faults()) == told


def test_a_few_cases_hold():
    words = [TORTURE, "--only", "flips", "folders", "archives", "--faults", "6", "--jobs", "1"]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| archives | 2 | 2 |" in done.stdout
