"""Where gflow keeps what it can make again: trained encoders, the features of real data, how fast a processor is."""

from __future__ import annotations

import os
from pathlib import Path

from gflow_core.errors import GflowError

__all__ = ["NO_HOME", "cache_folder"]

NO_HOME = "there is no home folder here; set HOME"


def cache_folder() -> Path:
    """$GFLOW_CACHE, else $XDG_CACHE_HOME/gflow, else ~/.cache/gflow. It need not exist yet.

    Raises GflowError where nobody is at home.
    """
    if own := os.environ.get("GFLOW_CACHE"):
        return Path(own).expanduser()
    if caches := os.environ.get("XDG_CACHE_HOME"):
        return Path(caches).expanduser() / "gflow"
    try:
        return Path("~/.cache/gflow").expanduser()
    except RuntimeError as error:
        raise GflowError(f"{NO_HOME}, or GFLOW_CACHE to a folder for what can be made again") from error
