"""Where data is looked for, what is said when it is missing, and how it is fetched."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gflow_core.errors import DataError, first_line
from gflow_core.files.inside import not_through_a_link

__all__ = ["DAMAGED", "expand", "fetch", "first_line", "locked", "not_found"]

DAMAGED = "the file is damaged or incomplete: delete it and fetch it again"


def expand(root: str) -> Path:
    """The path that an option names; ~ is the home folder."""
    try:
        return Path(root).expanduser()
    except RuntimeError as error:
        raise DataError(f"{root}: {error}; write the path out") from error


def not_found(what: str, looked: Iterable[Path], mend: str) -> DataError:
    """The error for missing data: what, every place looked in, and how to mend it.

    Places that share their file names are told as names, once, and folders, once.
    """
    places = list(looked)
    names = list(dict.fromkeys(place.name for place in places))
    folders = list(dict.fromkeys(place.parent for place in places))
    if 1 < len(names) < len(places) == len(names) * len(folders):
        where = f"{' or '.join(names)} in {', '.join(map(str, folders))}"
    else:
        where = ", ".join(map(str, places))
    here = "" if all(place.is_absolute() for place in places) else f" (from {Path.cwd()})"
    return DataError(f"{what} not found; looked for {where}{here}; {mend}")


def fetch(what: str, root: Path, download: Callable[[], object], by_hand: str) -> None:
    """Run `download` into root, one process at a time; DataError says why it failed and how to do it by hand."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        with locked(root / ".gflow-download.lock"):
            download()
    except Exception as error:  # torchvision, its downloaders and the network raise all kinds
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{what}: the download into {root} failed ({reason}); {by_hand}") from error


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold `file` as a lock within the block, so that of several processes one works and the others wait.

    The lock ends with the process that holds it, however it ends.
    """
    try:
        import fcntl
    except ImportError:  # Windows: nothing to wait with; work is then done twice, never wrongly
        yield
        return
    with open(file, "ab", opener=not_through_a_link) as handle:
        with suppress(OSError):  # file systems without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
