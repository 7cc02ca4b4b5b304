"""Code that is not the core's: what it raises is told as its own, and what it prints goes to stderr."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, redirect_stdout, suppress
from typing import Any

from gflow_core.errors import PluginError, raised
from gflow_core.machine.signals import noted
from gflow_core.machine.untouched import untouched

__all__ = ["foreign", "own", "package", "place"]


@contextmanager
def foreign(
    what: str, module: str = "", passing: tuple[type[BaseException], ...] = (), fault: str = ""
) -> Iterator[None]:
    """Code of a plugin within the block: PluginError "`what` raised ..., file and line" for whatever it raises.

    sys.exit and a KeyboardInterrupt of its own among it; Ctrl-C at the keyboard interrupts. PluginErrors pass as they
    are, and what is `passing`. The place is the last line of the package that `module` is in. GFLOW_DEBUG=1 prints the
    traceback. stdout is the commands' own: what the block prints goes to stderr; what it changes of the working folder
    and of torch's defaults is put back.
    """
    with _apart() as pressed:
        try:
            yield
        except BaseException as error:
            if pressed:
                raise KeyboardInterrupt from error
            if isinstance(error, (PluginError, *passing)):
                raise
            if os.environ.get("GFLOW_DEBUG") == "1":
                traceback.print_exception(error)
            about = ": ".join(filter(None, (fault, place(error, {package(module)}))))
            raise PluginError(f"{what} raised {raised(error)}{about and f' ({about})'}") from error


def own(method: str, of: Any, passing: tuple[type[BaseException], ...] = ()) -> AbstractContextManager[None]:
    """A part's own method within the block, or a function of its class: `foreign`, said as a recipe's problems are."""
    module = str(getattr(of, "__module__", ""))
    return foreign(f"its own {method}", module, passing, "a defect of the plugin")


def package(module: str) -> str:
    """The package that a module's name begins with; of a file or a notebook the module itself."""
    return module.partition(".")[0]


def place(error: BaseException, packages: Collection[str]) -> str:
    """File and line of the last frame in these packages that the error went through; empty where there is none."""
    if isinstance(error, SyntaxError) and error.filename:
        return ""  # its message says
    where = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        if package(str(frame.f_globals.get("__name__", ""))) in packages:
            where = f"{frame.f_code.co_filename}, line {line}"
    return where


_pressed: list[int] | None = None


@contextmanager
def _apart() -> Iterator[list[int]]:
    """Ctrl-C is noted, printing redirected, the process left as it was; once for blocks in one another, of many."""
    global _pressed
    if _pressed is not None:
        yield _pressed
        return
    with noted() as _pressed, _printing_to_stderr(), untouched():
        try:
            yield _pressed
        finally:
            _pressed = None


@contextmanager
def _printing_to_stderr() -> Iterator[None]:
    """Python's stdout and the process's are stderr within the block."""
    _flush()
    with redirect_stdout(sys.stderr):
        try:
            kept = os.dup(1)
        except OSError:  # closed
            yield
            return
        try:
            with suppress(OSError):
                os.dup2(2, 1)
            yield
        finally:
            _flush()
            os.dup2(kept, 1)
            os.close(kept)


def _flush() -> None:
    for stream in filter(None, (sys.stdout, sys.__stdout__)):
        with suppress(OSError, ValueError):  # a closed pipe is told by who writes next
            stream.flush()
