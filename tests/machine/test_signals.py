"""Being asked to stop, once and again."""

from __future__ import annotations

import os
import signal

import pytest

from gflow_core import __main__ as gflow
from gflow_core import cli
from gflow_core.machine import signals
from gflow_core.machine.signals import INTERRUPTED, end_at_once, held_back, interruptible, listening

NUMBERS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


class EndedError(Exception):
    pass


@pytest.fixture(autouse=True)
def ends(monkeypatch):
    """What ends this process, instead of its end."""

    def end(code: int) -> None:
        raise EndedError(code)

    monkeypatch.setattr(signals.os, "_exit", end)
    monkeypatch.setattr(signals.atexit, "register", lambda *_: None)
    for number in NUMBERS:
        signal.signal(number, signal.default_int_handler)


def send(number: int) -> None:
    os.kill(os.getpid(), number)
    for _ in range(1000):  # Python takes it between two of its own steps
        pass


@pytest.mark.parametrize("first", NUMBERS)
@pytest.mark.parametrize("second", NUMBERS)
def test_the_second_signal_ends_the_process_wherever_it_waits(first, second, capfd):
    with pytest.raises(EndedError, match=str(INTERRUPTED)), interruptible("gone\n"):
        with pytest.raises(KeyboardInterrupt):
            send(first)
        send(second)
    assert capfd.readouterr().err == "gone\n"


def test_who_is_not_asked_leaves_the_handlers_as_they_were():
    with interruptible(), listening(print):
        pass
    assert {signal.getsignal(number) for number in NUMBERS} == {signal.default_int_handler}
    with interruptible():
        end_at_once()  # for good: what follows is the end of the process
    with pytest.raises(EndedError):
        send(signal.SIGTERM)


def test_the_command_line_hears_them_before_it_is_imported(monkeypatch, capfd):
    monkeypatch.setattr(cli, "main", lambda prog_name: send(signal.SIGTERM))
    with pytest.raises(EndedError, match=str(INTERRUPTED)):
        gflow.main()
    assert capfd.readouterr().err == "interrupted\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_what_a_terminal_sends_waits(number):
    reached = False
    with pytest.raises(KeyboardInterrupt), interruptible():
        with held_back():
            signal.raise_signal(number)  # to this thread: others, as those of a test's worker, hold nothing back
            reached = True
        send(0)
    assert reached


def test_what_was_ignored_stays_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with interruptible():
        send(signal.SIGHUP)
        end_at_once()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
