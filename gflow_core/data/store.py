"""Folders, archives and databases of image files, by one interface: which images, in which state, in which order."""

from __future__ import annotations

import hashlib
import os
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from itertools import takewhile
from pathlib import Path, PurePosixPath

import attrs

from gflow_core.data.archives import LARGEST, file_in_tar, file_in_zip, reading, tar_files, tar_members, zip_members
from gflow_core.data.database import PAGES, database_names
from gflow_core.data.decode import SUFFIXES, Kind
from gflow_core.errors import DataError
from gflow_core.files.reading import opened, read_bytes

__all__ = ["Store", "common_folder", "in_numbers", "in_turn", "open_store"]


@attrs.define(eq=False, slots=False)
class Store:
    """A folder, a zip, a tar or a database (the folder of its data.mdb) that holds image files."""

    path: Path
    kind: Kind

    @cached_property
    def names(self) -> list[str]:
        """Every image's path inside the store, with "/", sorted; of a tar or a database in its own order.

        A database's are all its keys, whatever they end in.
        """
        return list(self._contents[0])

    @cached_property
    def folders(self) -> set[str]:
        """Every folder inside the store, hidden ones left out, also those without images."""
        return {folder for folder in self._contents[1] if folder not in ("", ".") and _is_shown(folder)}

    @cached_property
    def _contents(self) -> tuple[Mapping[str, str], Iterable[str]]:
        """Image -> the file or member that holds it, in order; and folders."""
        if self.kind == "tar":
            return tar_members(self.path, _is_image)
        if self.kind == "zip":
            members, folders = zip_members(self.path, _is_image)
            return dict(sorted(members.items())), folders
        if self.kind == "lmdb":
            return {name: name for name in database_names(self.path)}, ()
        with reading(self.path, "make the whole folder readable"):
            found, places = self._walked
            return {name: name for name in sorted(found)}, places

    @cached_property
    def stamp(self) -> str:
        """Changes when the images do: sizes and modification times, and the names where it is a folder."""
        if self.kind == "folder":
            files = self._walked[0]
            state = repr([(name, *files[name]) for name in self.names])
            return hashlib.sha256(state.encode(errors="surrogateescape")).hexdigest()
        stat = (self.path / PAGES if self.kind == "lmdb" else self.path).stat()
        return f"{self.path.name} {stat.st_size} {stat.st_mtime_ns}"

    @cached_property
    def _walked(self) -> tuple[Mapping[str, tuple[int, int]], list[str]]:
        """Image -> (size, modification time), of a folder and all below it; and the folders there."""

        def stop(error: OSError) -> None:
            raise error

        found, places = {}, []
        seen: set[str] = set()
        for place, folders, files in os.walk(self.path, onerror=stop, followlinks=True):
            real = os.path.realpath(place)
            if real in seen:  # a link back
                folders.clear()
                continue
            seen.add(real)
            inside = Path(place).relative_to(self.path)
            places.append(inside.as_posix())
            for file in files:
                name = (inside / file).as_posix()
                if _is_image(name):
                    try:
                        stat = os.stat(os.path.join(place, file))
                    except OSError:  # a link to nothing: named when it is decoded
                        found[name] = (0, 0)
                    else:
                        found[name] = (stat.st_size, stat.st_mtime_ns)
        return found, places

    def read(self, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """The named files of a tar, in the order of the tar."""
        wanted = set(names)
        return tar_files(self.path, {name: member for name, member in self._contents[0].items() if name in wanted})

    def file(self, names: Sequence[str], start: int | None = None) -> tuple[str, bytes] | None:
        """The first of these names that is a file in the store, an image or not, and its content (or its `start`).

        None where none is there. Raises DataError.
        """
        if self.kind == "tar":
            return file_in_tar(self.path, names, start)
        if self.kind == "zip":
            return file_in_zip(self.path, names, start)
        for name in names:
            place = self.path / name
            with reading(place, "put a file there that can be read"):
                if os.path.lexists(place):
                    if start is None:
                        return name, read_bytes(place, LARGEST)
                    with opened(place) as file:
                        return name, file.read(start)
        return None


def open_store(path: Path) -> Store:
    """The store at `path`, which exists; DataError where it is none."""
    with reading(path):
        if path.is_dir():
            return Store(path, "folder")
        with opened(path) as file:
            if file.read(4) in (b"PK\x03\x04", b"PK\x05\x06"):
                return Store(path, "zip")
            file.seek(0)
            with suppress(tarfile.ReadError), tarfile.open(fileobj=file, mode="r:*"):
                return Store(path, "tar")
    raise DataError(f"{path}: no folder, zip or tar of images, or damaged; name one that is")


def _is_image(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in SUFFIXES and _is_shown(name)


def _is_shown(name: str) -> bool:
    return not any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts if part != "..")


def in_numbers(name: str) -> tuple[list[tuple[int, str]], str]:
    """Key that sorts names by the numbers in them: 2 before 10, img9 before img10."""
    pieces = [piece.lstrip("0") if i % 2 else piece for i, piece in enumerate(re.split(r"([0-9]+)", name))]
    return [(len(piece) if i % 2 else 0, piece) for i, piece in enumerate(pieces)], name


def common_folder(names: Sequence[str]) -> str:
    """The folder that all names lie in, with its closing "/", or an empty string."""
    if not names:
        return ""
    first, last = (name.split("/")[:-1] for name in (min(names), max(names)))
    shared = takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    return "".join(f"{folder}/" for folder, _ in shared)


def in_turn(names: Sequence[str]) -> list[str]:
    """The first file of each folder, then the second of each, and so on; folders and files in name order.

    So the first N of many class folders hold every class, and a single folder is simply in name order.
    """
    count: dict[str, int] = {}
    keyed = []
    for name in sorted(names):
        folder = name.rpartition("/")[0]
        count[folder] = count.get(folder, -1) + 1
        keyed.append((count[folder], folder, name))
    return [name for _, _, name in sorted(keyed)]
