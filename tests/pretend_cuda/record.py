"""What the device was asked to do, and by which line."""

from __future__ import annotations

import sys
import sysconfig
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Literal

__all__ = ["Kind", "Record", "note", "place", "record"]

Kind = Literal["launch", "cast", "pinned copy", "pageable copy", "copy back", "wait"]
"""A cast is a launch, too; what comes back, and what goes from pageable memory, waits for the device, too."""


class Record(Counter[tuple[Kind, str, str]]):
    """Kind, operation and line -> how often."""

    def count(self, kind: Kind) -> int:
        return sum(n for (one, _, _), n in self.items() if one == kind)

    def lines(self, kind: Kind) -> list[str]:
        """ "3 x aten.mm.default at gflow_core/nn/x.py:7", the most frequent first."""
        return [f"{n} x {what} at {line}" for (one, what, line), n in self.most_common() if one == kind]


_recording: list[Record] = []


@contextmanager
def record() -> Iterator[Record]:
    """What is done within the block."""
    found = Record()
    _recording.append(found)
    try:
        yield found
    finally:
        _recording[:] = [one for one in _recording if one is not found]  # equal ones may be others'


def note(kind: Kind, what: object) -> None:
    if _recording:
        entry = (kind, str(what), place())
        for found in _recording:
            found[entry] += 1


def place() -> str:
    """The innermost line that is neither Python's, nor an installed package's, nor of this device."""
    line = _line(sys._getframe(1))
    if not line:  # autograd's own thread: the line that waits for it
        main = sys._current_frames().get(threading.main_thread().ident or 0)
        line = f"the backward of {_line(main) or 'nothing'}"
    return line


def _line(frame: FrameType | None) -> str:
    while frame is not None:
        if name := _own(frame.f_code.co_filename):
            return f"{name}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


_ROOT = Path(__file__).parents[2]
_OTHERS = (
    *(str(Path(__file__).with_name(name)) for name in ("device.py", "record.py")),
    *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")),
)


@cache
def _own(filename: str) -> str:
    path = Path(filename)
    if not path.is_absolute() or filename.startswith(_OTHERS):
        return ""
    return str(path.relative_to(_ROOT) if path.is_relative_to(_ROOT) else path)
