"""Files that may come from anybody: regular files only, and of them nothing but what is expected there.

What is wrong is told by OSError (unreadable, or no file at all) or ValueError (its content), in one line.
"""

from __future__ import annotations

import errno
import json
import math
import os
import stat
import tomllib
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from types import NoneType
from typing import Any

__all__ = [
    "MAX_BYTES",
    "MAX_DEPTH",
    "fault",
    "number",
    "opened",
    "parse_json",
    "parse_toml",
    "read_bytes",
    "read_json",
    "read_toml",
    "text_of",
]

MAX_BYTES = 256 * 1024
"""Of a recipe."""

MAX_DEPTH = 16
"""Tables and lists in each other, in a recipe. None needs more; what does is a mistake or an attack."""

_JSON_DEPTH = 200  # a level of a checkpoint's state takes three
_JSON_BYTES = 1 << 28
_INT64 = range(-(1 << 63), 1 << 63)


# ------------------------------------------------------------------ bytes


def opened(path: Path) -> BufferedReader:
    """The file to read. OSError also where it is no regular file: a pipe or a device may never come to an end."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    kind = os.fstat(handle).st_mode
    if stat.S_ISREG(kind):
        return open(handle, "rb")
    os.close(handle)
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(errno.EISDIR, "is a folder, not a file", str(path))
    raise OSError(errno.EINVAL, "is no file (a pipe, a socket or a device)", str(path))


def read_bytes(path: Path, most: int | None = None) -> bytes:
    """The content of a regular file; ValueError where it is longer than `most` bytes."""
    with opened(path) as file:
        content = file.read() if most is None else file.read(most + 1)
    if most is not None and len(content) > most:
        raise ValueError(f"larger than {_size(most)}, too large for what it should be")
    return content


def text_of(content: bytes) -> str:
    """The UTF-8 text that a file holds, without a mark at its beginning; ValueError names the line that is none."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _plainly(error) from None


def _size(count: int) -> str:
    return f"{count >> 20} MB" if count >> 20 else f"{count >> 10} KB"


# ------------------------------------------------------------------ JSON and TOML


def read_json(path: Path, shape: Any = dict) -> dict[str, Any]:
    """The object in a JSON file; ValueError also where it has not the shape (`fault`)."""
    return _shaped(parse_json(read_bytes(path, _JSON_BYTES)), shape)


def parse_json(text: bytes) -> dict[str, Any]:
    """The object that a JSON text is; ValueError, nesting too deep and numbers too long included."""
    try:
        found = json.loads(text.decode("utf-8"))
    except RecursionError:
        raise ValueError("nested too deep") from None
    except ValueError as error:
        raise _plainly(error) from None
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")
    _check_depth(found, _JSON_DEPTH)
    return found


def read_toml(path: Path, shape: Any = dict) -> dict[str, Any]:
    """The table in a TOML file; ValueError also where it has not the shape (`fault`)."""
    return _shaped(parse_toml(read_bytes(path, MAX_BYTES)), shape)


def parse_toml(text: bytes | str) -> dict[str, Any]:
    """The table that a TOML text is; ValueError, nesting too deep and numbers too long included."""
    try:
        table = tomllib.loads(text if isinstance(text, str) else text.decode("utf-8-sig"))
    except RecursionError:
        raise ValueError("nested too deep") from None
    except tomllib.TOMLDecodeError:
        raise
    except ValueError as error:
        raise _plainly(error) from None
    _check_depth(table, MAX_DEPTH)
    return table


def _shaped(found: dict[str, Any], shape: Any) -> dict[str, Any]:
    if wrong := fault(found, shape):
        raise ValueError(wrong)
    return found


def _plainly(error: ValueError) -> ValueError:
    if isinstance(error, UnicodeDecodeError):
        line = error.object[: error.start].count(b"\n") + 1
        return ValueError(f"line {line}: not UTF-8 text")
    if "set_int_max_str_digits" in str(error):
        return ValueError("a number of more digits than anything takes")
    return error


def _check_depth(table: dict[str, Any], most: int) -> None:
    level: list[Any] = [table]
    for _ in range(most):
        level = [child for node in level for child in (node.values() if isinstance(node, dict) else node)]
        level = [child for child in level if isinstance(child, dict | list)]
        if not level:
            return
    raise ValueError(f"nested deeper than {most} tables and lists")


# ------------------------------------------------------------------ shapes

_WORDS = {
    str: "text",
    int: "a whole number of 64 bits",
    float: "a number",
    bool: "true",
    dict: "a table",
    list: "a list",
    NoneType: "null",
}


def fault(value: Any, shape: Any) -> str:
    """Why a value of JSON or TOML has not the shape; empty where it has.

    A shape is a type or a tuple of types, `[shape]` for a list, and for a table `{"key": shape}`, with "key?" where it
    need not be there and "*" for every key; keys that it does not name are free. Whole numbers have 64 bits.
    """
    return next(_faults(value, shape, ""), "").removeprefix(".")


def _faults(value: Any, shape: Any, place: str) -> Iterator[str]:
    if isinstance(shape, list):
        if not isinstance(value, list):
            yield f"{place}: expected a list"
            return
        for i, one in enumerate(value):
            yield from _faults(one, shape[0], f"{place}.{i}")
    elif isinstance(shape, dict):
        if not isinstance(value, dict):
            yield f"{place}: expected a table"
            return
        for stated, wanted in shape.items():
            key = stated.removesuffix("?")
            if key == stated and key != "*" and key not in value:
                yield f"{place}.{key}: missing"
            for name in value if key == "*" else value.keys() & {key}:
                yield from _faults(value[name], wanted, f"{place}.{name}")
    else:
        types = shape if isinstance(shape, tuple) else (shape,)
        fits = type(value) in types and (type(value) is not int or value in _INT64)
        if not fits:
            yield f"{place}: expected {' or '.join(_WORDS[one] for one in types)}"


def number(value: Any) -> float | None:
    """A value as a finite number; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None
