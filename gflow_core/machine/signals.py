"""Ctrl-C, SIGTERM and SIGHUP as requests, which long work meets when it can."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["listening"]

_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@contextmanager
def listening(ask: Callable[[int], None]) -> Iterator[None]:
    """Call `ask(number)` at a signal to stop within the block; outside the main thread Python has none to take.

    What the caller had ignored stays ignored: nohup, background jobs.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, lambda number, _frame: ask(number)) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
