"""Zip and tar archives from anybody: no member is left out in silence, or becomes larger than it may.

Imports no torch: decoding processes import this module.
"""

from __future__ import annotations

import os
import posixpath
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from gflow_core.data.places import DAMAGED, first_line
from gflow_core.errors import DataError
from gflow_core.files.reading import opened

__all__ = [
    "LARGEST",
    "checked",
    "file_in_tar",
    "file_in_zip",
    "reading",
    "tar_files",
    "tar_members",
    "zip_bytes",
    "zip_members",
]

LARGEST = 1 << 28
"""Bytes of a file with one image, with labels, or of a CIFAR batch."""

_GROWTH = 200  # times its size that an archive may unpack to, beyond what is free
_FREE = 1 << 30
_NAME = 1 << 20  # bytes of a member's name and attributes
_CHAIN = 16  # links to links
_EXTENSIONS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)


@contextmanager
def reading(path: Path, mend: str = DAMAGED) -> Iterator[None]:
    """Reading a file within the block; DataError names it, whatever is raised there."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # the libraries raise all kinds at damaged and made-up files
        raise DataError(f"{path}: {first_line(error)}; {mend}") from error


def _check_names(names: Iterable[str]) -> None:
    """Raise ValueError for a name that leads out of the archive, or is there twice."""
    seen = set()
    for name in names:
        plain = posixpath.normpath(name)
        if plain.startswith(("/", "../")):
            raise ValueError(f"the name of its member {name} leads out of it")
        if plain in seen:
            raise ValueError(f"holds the member {name} twice")
        seen.add(plain)


# ------------------------------------------------------------------ zip


def zip_members(path: Path, wanted: Callable[[str], bool]) -> tuple[dict[str, str], set[str]]:
    """As `tar_members`, of a zip, in its own order. Raises DataError."""
    with reading(path), opened(path) as file, zipfile.ZipFile(file) as archive:
        names = [name for name in archive.namelist() if wanted(name)]
        _check_names(names)
        # The list at its end may be damaged. Are there as many as it says, and what is left out, is it called so?
        if _stated(file) not in (len(archive.filelist) & 0xFFFF, 0xFFFF):
            raise zipfile.BadZipFile(f"states {_stated(file)} members, and lists {len(archive.filelist)}")
        for info in archive.filelist:
            if not wanted(info.filename):
                with suppress(RuntimeError), archive.open(info):
                    pass
        return dict(zip(names, names, strict=True)), {name.rpartition("/")[0] for name in archive.namelist()}


def _stated(file: BinaryIO) -> int:
    """How many members a zip states at its end, where there are fewer than 65,535."""
    file.seek(-min(file.seek(0, os.SEEK_END), (1 << 16) + 22), os.SEEK_END)
    end = file.read()
    at = end.rfind(b"PK\x05\x06")
    return int.from_bytes(end[at + 10 : at + 12], "little")


def checked(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    """What is stated of a member; ValueError where it is packed as gflow does not read it.

    (Python's readers of bzip2 and LZMA in a zip take all memory for a member that states to be small.)
    """
    info = archive.getinfo(name)
    if info.flag_bits & 1:
        raise ValueError(f"{name} is encrypted; pack it without a password")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name} is compressed by method {info.compress_type}; pack it stored or deflated")
    return info


def zip_bytes(archive: zipfile.ZipFile, name: str) -> bytes:
    """The content of a member of at most LARGEST bytes. Raises all kinds where it is not what it states."""
    info = checked(archive, name)
    _check_size(name, info.file_size)
    with archive.open(info) as member:
        content = member.read(info.file_size + 1)  # in one go without a size: all that its stream yields
    if len(content) != info.file_size:
        raise EOFError(f"{name} is shorter than it states")
    return content


def file_in_zip(path: Path, names: Sequence[str], start: int | None = None) -> tuple[str, bytes] | None:
    """The first of these names that is a member, and its content (or its `start`); None where none is. DataError."""
    with reading(path), opened(path) as file, zipfile.ZipFile(file) as archive:
        members = {posixpath.normpath(name): name for name in archive.namelist() if not name.endswith("/")}
        for name in names:
            if member := members.get(posixpath.normpath(name)):
                if start is None:
                    return name, zip_bytes(archive, member)
                with archive.open(checked(archive, member)) as content:
                    return name, content.read(start)
    return None


def _check_size(name: str, size: int) -> None:
    if size > LARGEST:
        raise ValueError(f"{name} states {size:,} bytes, more than the {LARGEST >> 20} MB that are read of one file")


# ------------------------------------------------------------------ tar


class _Header(tarfile.TarInfo):
    """A header that is damaged, or goes back in the archive, is told; tarfile takes it for the end, or goes round."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Header:
        found = super().frombuf(buf, encoding, errors)
        if found.size < 0 or (found.type in _EXTENSIONS and found.size > _NAME):
            raise tarfile.ReadError(f"a header states {found.size:,} bytes")
        return found

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> _Header:
        before = tarfile_.offset
        try:
            found = super().fromtarfile(tarfile_)
        except tarfile.HeaderError as error:
            if isinstance(error, tarfile.EOFHeaderError):  # type: ignore[attr-defined]  # the zeros at its end
                raise
            raise tarfile.ReadError(f"has no end, or is damaged, after {before:,} bytes ({error})") from None
        if tarfile_.offset <= before:
            raise tarfile.ReadError(f"a header goes back to {tarfile_.offset:,}")
        return found


@contextmanager
def _opened_tar(path: Path) -> Iterator[Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]]:
    """The members of a tar, one by one, to its very end, where the checksum of a compressed one is."""
    with reading(path), opened(path) as file, tarfile.open(fileobj=file, mode="r:*", tarinfo=_Header) as tar:
        most = _GROWTH * path.stat().st_size + _FREE

        def members() -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
            for member in tar:
                if tar.offset > most:  # before it is gone past
                    raise ValueError(f"unpacks to more than {_GROWTH} times its size, at its member {member.name}")
                yield tar, member
            end = tar.offset
            while tar.fileobj is not None and (rest := tar.fileobj.read(1 << 20)):
                end += len(rest)
                if rest.strip(b"\0") or end > most:
                    raise ValueError("goes on after its end; put together anew what was put together")

        yield members()


def tar_members(path: Path, wanted: Callable[[str], bool]) -> tuple[dict[str, str], set[str]]:
    """Wanted name -> the member that holds its content (itself, or what it links to), in the order of the contents.

    And the folders: those that are members, and those of files.
    Raises DataError, also for what is no file and for links to what is no file of the archive.
    """
    files: dict[str, tuple[int, str]] = {}
    links: dict[str, tuple[str, str]] = {}
    names: list[str] = []
    folders: set[str] = set()
    with _opened_tar(path) as members:
        for at, (_, member) in enumerate(members):
            plain = posixpath.normpath(member.name)
            if wanted(member.name) and not member.isdir():
                names.append(member.name)
                if member.issparse() or not (member.isfile() or member.issym() or member.islnk()):
                    raise ValueError(f"its member {member.name} is no plain file")
            folders.add(member.name if member.isdir() else member.name.rpartition("/")[0])
            if member.isfile():
                files.setdefault(plain, (at, member.name))
            elif member.issym() or member.islnk():
                base = posixpath.dirname(plain) if member.issym() else ""
                links[plain] = posixpath.normpath(posixpath.join(base, member.linkname)), member.linkname
        _check_names(names)
        _check_folders(files, links)
        held = {name: _end_of(posixpath.normpath(name), name, files, links) for name in names}
    order = sorted(held.items(), key=lambda one: (one[1], one[0]))
    return {name: member for name, (_, member) in order}, folders


def _end_of(
    plain: str, name: str, files: Mapping[str, tuple[int, str]], links: Mapping[str, tuple[str, str]]
) -> tuple[int, str]:
    """Position and name of the member that a member is, or links to."""
    at = plain
    for _ in range(_CHAIN):
        if at in files:
            return files[at]
        if at not in links:
            break
        at = links[at][0]
    raise ValueError(f"its member {name} is a link to {links[plain][1]}, which is no file in it; pack the file itself")


def _check_folders(files: Mapping[str, object], links: Mapping[str, tuple[str, str]]) -> None:
    """Raise ValueError for a link to a folder of the archive, whose images would be left out."""
    if not links:
        return
    folders = {folder for name in files for folder in _above(name)}
    for name, (target, stated) in links.items():
        if target in folders:
            raise ValueError(f"its member {name} is a link to the folder {stated}; pack the folder itself")


def _above(name: str) -> Iterator[str]:
    while name := posixpath.dirname(name).rstrip("/"):
        yield name


def tar_files(path: Path, held: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
    """Name and content of what `tar_members` found, or of part of it, in its order. Raises DataError."""
    names: dict[str, list[str]] = {}
    for name, holder in held.items():
        names.setdefault(holder, []).append(name)
    with _opened_tar(path) as members:
        for tar, member in members:
            if not (member.isfile() and member.name in names):
                continue
            _check_size(member.name, member.size)
            file = tar.extractfile(member)
            assert file is not None
            content = file.read()
            for own in names.pop(member.name):
                yield own, content


def file_in_tar(path: Path, names: Sequence[str], start: int | None = None) -> tuple[str, bytes] | None:
    """As `file_in_zip`, of a tar, which is gone through to the first of the names at most."""
    wanted = {posixpath.normpath(name): name for name in reversed(names)}
    found: dict[str, bytes] = {}
    with _opened_tar(path) as members:
        for tar, member in members:
            name = wanted.get(posixpath.normpath(member.name))
            if name is not None and member.isfile():
                _check_size(member.name, member.size)
                file = tar.extractfile(member)
                assert file is not None
                found[name] = file.read() if start is None else file.read(start)
                if name == names[0]:
                    break
    return next(((name, found[name]) for name in names if name in found), None)
