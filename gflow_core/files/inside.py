"""Folders that may come from anybody are read and written only inside themselves."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from gflow_core.errors import GflowError
from gflow_core.files.whole import written_aside

__all__ = ["check_inside", "is_plain", "not_through_a_link", "unshare"]


def check_inside(folder: Path, only: str = "") -> None:
    """Refuse a folder that holds what leads out of it, before anything in it is opened; or `only` one folder in it.

    The path to `folder` may itself lead over links: it is the user's. Raises GflowError that names the first link
    that does not end inside the folder, or the first entry that is neither a file nor a folder (a pipe, a device, a
    socket). A folder that is not there has nothing in it.
    """
    root = os.path.realpath(folder)
    waiting = [os.path.join(root, only)]
    if only and os.path.islink(waiting[0]):
        _check_link(folder, root, waiting[0])
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_symlink():
                        _check_link(folder, root, entry.path)
                    elif entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    elif not entry.is_file(follow_symlinks=False) and os.path.lexists(entry.path):
                        name = os.path.relpath(entry.path, root)
                        raise GflowError(f"{folder}: {name} is no file (a pipe, a socket or a device); remove it")
        except (FileNotFoundError, NotADirectoryError):  # a run at work here has just renamed or deleted it
            continue


def _check_link(folder: Path, root: str, path: str) -> None:
    if not Path(os.path.realpath(path)).is_relative_to(root):
        name, target = os.path.relpath(path, root), os.readlink(path)
        raise GflowError(
            f"{folder}: contains a link that leads out of it, {name} -> {target}; remove it, or put in its place what "
            "it leads to"
        )


def is_plain(name: str) -> bool:
    """Whether `name`, which some file states, names something in a folder, and nothing above or below it."""
    return name not in ("", ".", "..") and not set(name) & set("/\\\0")


def not_through_a_link(path: str, flags: int) -> int:
    """An opener for `open`, which raises OSError where the last part of the path is a link."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def unshare(folder: Path) -> None:
    """Give a folder that is written in place files of its own, where they have other names elsewhere (hard links)."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.stat().st_nlink > 1:
            with written_aside(path) as aside:
                shutil.copyfile(path, aside)
