"""What a parent tells of the processes that it started."""

from __future__ import annotations

import signal
from types import SimpleNamespace

import pytest

from gflow_core.cli.launch import _LOST, _told
from gflow_core.errors import GflowError


def told(*codes: int, said: str | None = None) -> int:
    return _told([SimpleNamespace(exitcode=code) for code in codes], next(filter(None, codes)), said)


def test_what_another_process_than_the_first_says_is_told():
    for first in (_LOST, 130, -signal.SIGTERM):
        with pytest.raises(GflowError, match=r"^no room on its GPU$"):
            told(first, 2, said="no room on its GPU")
    with pytest.raises(GflowError, match=r"^process 1 of 2 left with exit code 3 and did not say why; gflow resume"):
        told(_LOST, 3)


def test_nothing_is_told_twice():
    assert told(2, 2, said="the same") == 2  # by the first process
    assert told(130, 130) == 130
    assert told(_LOST, 130) == 130


def test_who_was_killed_is_told():
    with pytest.raises(GflowError, match=r"^process 1 of 2 was killed by SIGKILL, perhaps for want of memory; gflow"):
        told(_LOST, -signal.SIGKILL)
