"""Where gflow keeps what it can make again: trained encoders, the features of real data."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_folder"]


def cache_folder() -> Path:
    """$GFLOW_CACHE, else $XDG_CACHE_HOME/gflow, else ~/.cache/gflow. It need not exist yet."""
    if own := os.environ.get("GFLOW_CACHE"):
        return Path(own).expanduser()
    if caches := os.environ.get("XDG_CACHE_HOME"):
        return Path(caches).expanduser() / "gflow"
    return Path("~/.cache/gflow").expanduser()
