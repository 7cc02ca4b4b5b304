"""Databases of images (LMDB, by the package lmdb), as LSUN publishes them: a folder with data.mdb; name -> image file.

LMDB aborts, or reads past the end of the file, where pages are damaged: only processes beside this one open a database.
Imports no torch.
"""

from __future__ import annotations

from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from gflow_core.data.archives import LARGEST, reading
from gflow_core.data.places import DAMAGED
from gflow_core.data.processes import MAIN, processes
from gflow_core.errors import DataError

__all__ = ["PAGES", "database_bytes", "database_names"]

PAGES = "data.mdb"


def database_names(path: Path) -> list[str]:
    """The names of all images, in the order of the database. Raises DataError."""
    try:
        with processes(1) as submit:
            return submit(_names, path).result()
    except BrokenProcessPool as error:
        raise DataError(f"{path / PAGES}: the process that listed it died; {DAMAGED} ({MAIN})") from error


def _names(path: Path) -> list[str]:
    with reading(path / PAGES):
        database = _opened(path)
        size, stated = (path / PAGES).stat().st_size, (database.info()["last_pgno"] + 1) * database.stat()["psize"]
        if size < stated:
            raise EOFError(f"has {size:,} bytes of {stated:,}")
        count = database.stat()["entries"]
        with database.begin() as view:
            names = [_name(key) for key in islice(view.cursor().iternext(values=False), count + 1)]
        if len(set(names)) != count:
            raise ValueError(f"states {count:,} images, and lists {len(set(names)):,}")
        return names


def _name(key: bytes) -> str:
    return key.decode(errors="surrogateescape")


def database_bytes(path: Path, name: str) -> bytes:
    """The image file of this name, of at most LARGEST bytes; in a process that may end. Raises all kinds."""
    with _opened(path).begin(buffers=True) as view:
        content = view.get(name.encode(errors="surrogateescape"))
        if content is None:
            raise KeyError(f"{name} is gone")
        if len(content) > LARGEST:
            raise ValueError(f"{name} states {len(content):,} bytes, more than the {LARGEST >> 20} MB that are read")
        return bytes(content)


@lru_cache(maxsize=1)
def _opened(path: Path) -> Any:
    """The opened database, once a process; nothing is written, no lock either."""
    import lmdb

    return lmdb.open(str(path), readonly=True, create=False, lock=False, readahead=False)
