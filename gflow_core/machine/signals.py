"""Ctrl-C, SIGTERM and SIGHUP as requests, which long work meets when it can."""

from __future__ import annotations

import atexit
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

__all__ = ["INTERRUPTED", "end_at_once", "held_back", "interruptible", "listening", "noted"]

INTERRUPTED = 130
"""Exit code of what was asked to stop."""

_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def _heard() -> list[signal.Signals]:
    """Those that the caller had not ignored (nohup, background jobs); none outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        return []
    return [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]


@contextmanager
def listening(ask: Callable[[int], None]) -> Iterator[None]:
    """Call `ask(number)` at a signal to stop within the block; outside the main thread Python has none to take.

    What the caller had ignored stays ignored: nohup, background jobs.
    """

    def heard(number: int, _frame: object) -> None:
        ask(number)

    before = {number: signal.signal(number, heard) for number in _heard()}
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is heard:  # and not of `end_at_once`, which is for good
                signal.signal(number, handler)


@contextmanager
def interruptible(words: str = "") -> Iterator[None]:
    """A signal to stop raises KeyboardInterrupt within the block; the next one ends the process, saying `words`."""

    def ask(_number: int) -> NoReturn:
        end_at_once(words)
        raise KeyboardInterrupt

    with listening(ask):
        if hasattr(signal, "pthread_sigmask"):  # Windows has none
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _heard())  # `held_back`, by the process that started this one
        yield


@contextmanager
def noted() -> Iterator[list[int]]:
    """Notes each signal to stop whose handler raises within the block.

    The KeyboardInterrupt there is then a person's, and without one it is somebody's own. A signal that only asks, as
    while training, is none to leave for.
    """
    pressed: list[int] = []

    def noting(handler: Callable[[int, FrameType | None], object]) -> Callable[[int, FrameType | None], object]:
        def note(number: int, frame: FrameType | None) -> object:
            try:
                return handler(number, frame)
            except BaseException:
                pressed.append(number)
                raise

        return note

    before = {number: handler for number in _heard() if callable(handler := signal.getsignal(number))}
    notes = {number: noting(handler) for number, handler in before.items()}
    for number, note in notes.items():
        signal.signal(number, note)
    try:
        yield pressed
    finally:
        for number, note in notes.items():
            if signal.getsignal(number) is note:  # unless somebody within has set their own
                signal.signal(number, before[number])


def end_at_once(words: str = "") -> None:
    """From now on a signal to stop ends the process there and then, whatever it waits for, saying `words`."""

    def leave(_number: int, _frame: object) -> NoReturn:
        with suppress(OSError):
            os.write(2, words.encode())
        os._exit(INTERRUPTED)

    for number in _heard():
        signal.signal(number, leave)
        # Python takes its handlers off in the end, and the signal would count as the cause of death.
        atexit.register(signal.signal, number, signal.SIG_IGN)


@contextmanager
def held_back() -> Iterator[None]:
    """Processes that are started in the block hear nothing of what a terminal sends to all (Ctrl-C, or that it closes)
    before they are ready to, and Python's own helper of theirs nothing at all; this thread hears it after the block.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGHUP])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
