"""Ctrl-C, SIGTERM and SIGHUP as requests, which long work meets when it can."""

from __future__ import annotations

import atexit
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

__all__ = ["INTERRUPTED", "end_at_once", "held_back", "interruptible", "listening"]

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
    """Ctrl-C waits until the block is left; processes that are started in it hear none before they are ready to."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
