"""Processes beside this one, which end with it. Imports no torch: they import this module."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import ParamSpec, Protocol, TypeVar

from gflow_core.machine.signals import held_back

__all__ = ["MAIN", "processes"]

MAIN = 'from a script of your own: call it under if __name__ == "__main__"'
"""Why else processes end as soon as they begin."""

P = ParamSpec("P")
T = TypeVar("T")


class _Submit(Protocol):
    """Have a process call a function."""

    def __call__(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]: ...


@contextmanager
def processes(count: int) -> Iterator[_Submit]:
    """`count` processes within the block; an error there ends them. BrokenProcessPool where one of them ended."""
    # Spawned, not forked: this process may hold a device, and threads.
    others = set(multiprocessing.active_children())
    with held_back():  # Python's helper is started here
        pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), _start)

    def submit(call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        with held_back():  # a worker is started here
            return pool.submit(call, *args, **kwargs)

    try:
        yield submit
    except BrokenProcessPool:
        raise
    except BaseException:
        # Whatever is in hand is done again: nobody waits for it, nor leaves workers that Python would wait for.
        for worker in set(multiprocessing.active_children()) - others:
            worker.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _start() -> None:
    """Leave Ctrl-C to the parent, which ends this process; end with the parent if it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # on Windows; elsewhere it does not come through
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow(sentinel: int) -> None:
        wait([sentinel])
        os._exit(1)

    threading.Thread(target=follow, args=(parent.sentinel,), daemon=True).start()
