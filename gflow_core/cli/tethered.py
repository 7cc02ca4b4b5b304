"""`python -m gflow_core.cli.tethered run ...`: gflow for as long as somebody holds its standard input.

The runs of a sweep are started so: when the worker that started one is gone, also by SIGKILL, its end of the pipe
closes, and the run stops as by SIGTERM: it saves and leaves.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

from gflow_core.cli import main

__all__: list[str] = []

_GRACE = 30.0  # seconds to save in; shorter than the next worker waits for the run folder


def _watch() -> None:
    try:
        while os.read(0, 1):  # nothing is ever written: this returns when the pipe closes
            pass
    except OSError:
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE)
    os._exit(130)


if __name__ == "__main__":
    sys.argv[0] = "gflow"  # as the run's manifest quotes it
    threading.Thread(target=_watch, daemon=True).start()
    main(prog_name="gflow")
