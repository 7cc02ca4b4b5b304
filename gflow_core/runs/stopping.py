"""Being asked to stop while training."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gflow_core.machine.signals import listening

__all__ = ["Stop"]


class Stop:
    """Ctrl-C, SIGTERM and SIGHUP as a request: finish what is in hand, save, leave.

    A second Ctrl-C leaves without saving, as soon as Python is back from the operation it is in.
    """

    def __init__(self) -> None:
        self.requested = False

    @contextmanager
    def listening(self, told: Callable[[], None]) -> Iterator[None]:
        """Take the signals within the block; `told` is called, from a signal handler, at the first."""

        def ask(number: int) -> None:
            if self.requested and number == signal.SIGINT:
                raise KeyboardInterrupt
            self.requested = True
            told()

        with listening(ask):
            yield
