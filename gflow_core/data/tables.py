"""Files that say something of each image: CSV, TSV, JSON lines, and the dataset.json of StyleGAN.

What is wrong with one is a ValueError that begins with the line.
"""

from __future__ import annotations

import csv
import math
import posixpath
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO, StringIO
from types import NoneType
from typing import Any, TypeAlias

import attrs
import numpy as np

from gflow_core.errors import did_you_mean, first_line, shown
from gflow_core.files.reading import parse_json, text_of

__all__ = ["Table", "Value", "as_number", "as_text", "column_names", "plain", "read_table"]

Value: TypeAlias = str | float | bool | None
"""What a cell holds; None where it is empty."""

_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_MARK = b"\xef\xbb\xbf"  # that some programs begin UTF-8 with
_FLOAT32 = float(np.finfo(np.float32).max)

_Row: TypeAlias = tuple[str, Sequence[Any]]
"""The line that a row is on, and its values."""


@attrs.frozen(eq=False)
class Table:
    """Whole columns, a value a row."""

    names: Sequence[str]
    """The image of each row, as `plain` writes names; each once."""
    columns: Mapping[str, Sequence[Value]]
    lines: Sequence[str]
    """Where each row is: "line 7"."""


def read_table(content: bytes, suffix: str, columns: Mapping[str, str], file_name: str) -> Table:
    """The named columns of a file, by the kind that its suffix says: .csv, .tsv, .jsonl or .json (StyleGAN's).

    `columns` says of each which option asks for it; `file_name` is the column of names. StyleGAN's file names no
    columns: its class, or its numbers in order, are those asked for. Raises ValueError.
    """
    wanted = {file_name: "dataset.file_name", **columns}
    if suffix == ".json":
        rows = _stylegan(content, columns)
    elif suffix == ".jsonl":
        rows = _json_lines(content, wanted)
    else:
        rows = _separated(content, _SEPARATORS[suffix], wanted)
    at: dict[str, int] = {}
    found: dict[str, list[Value]] = {name: [] for name in wanted}
    lines: list[str] = []
    for line, values in rows:
        for column, value in zip(found.values(), values, strict=True):
            if type(value) not in (str, int, float, bool, NoneType):
                raise ValueError(f"{line}: expected text or a number, found {shown(value)}")
            column.append(None if isinstance(value, str) and not value.strip() else value)
        name = _image(found[file_name][-1], line)
        if name in at:
            raise ValueError(f"{line}: {name} again, as on {lines[at[name]]}; remove one of them")
        at[name] = len(lines)
        lines.append(line)
    if not lines:
        raise ValueError("names no image")
    return Table(list(at), {name: found[name] for name in columns}, lines)


def column_names(start: bytes, suffix: str, file_name: str) -> list[str]:
    """The columns beside that of names, of a file that begins so; none where it has no names, or is no table."""
    try:
        if suffix == ".jsonl":
            names = list(parse_json(start.removeprefix(_MARK).split(b"\n")[0]))
        else:
            first = start.decode("utf-8-sig", "replace").splitlines()[:1]
            names = [name.strip() for name in next(csv.reader(first, delimiter=_SEPARATORS[suffix]), [])]
    except (ValueError, csv.Error):
        return []
    return [name for name in names if name != file_name] if file_name in names else []


# ------------------------------------------------------------------ values


def plain(name: str) -> str:
    """A file's name as names are compared: "/" between folders, no "./", composed letters."""
    return posixpath.normpath(unicodedata.normalize("NFC", name.replace("\\", "/")))


def as_text(value: Value) -> str:
    """A value as the name of a class."""
    return str(value).lower() if isinstance(value, bool) else str(value).strip()


def as_number(value: Value) -> float:
    """A value as a number, true and false as 1 and 0; ValueError where it is none of float32."""
    words, text = {"true": 1.0, "false": 0.0}, str(value).strip().lower()
    try:
        number = words[text] if text in words else float(text)
    except ValueError:
        raise ValueError(f"expected a number, found {shown(value)}") from None
    if not math.isfinite(number) or abs(number) > _FLOAT32:
        raise ValueError(f"{shown(value)} is no finite number of float32; leave it empty where it is not known")
    return number


def _image(value: Value, line: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{line}: expected the name of a file, found {'none' if value is None else shown(value)}")
    name = plain(value)
    if name.startswith(("/", "../")) or name == ".." or re.match("[A-Za-z]:", name):
        raise ValueError(f"{line}: {value} leads out of the images; names count from their folder")
    return name


# ------------------------------------------------------------------ kinds


def _separated(content: bytes, separator: str, wanted: Mapping[str, str]) -> Iterator[_Row]:
    reader = csv.reader(StringIO(text_of(content), newline=""), delimiter=separator, strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_columns(wanted, header)
        for name in wanted:
            if header.count(name) > 1:
                raise ValueError(f"line 1: {header.count(name)} columns are called {name!r}; rename one")
        places = [header.index(name) for name in wanted]
        for row in reader:
            if row and len(row) != len(header):
                raise ValueError(
                    f"line {reader.line_num}: {len(row)} fields, and line 1 names {len(header)} columns; text with a "
                    "separator or a line break in it stands in double quotes"
                )
            if row:
                yield f"line {reader.line_num}", [row[place].strip() for place in places]
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: {error}") from None


def _json_lines(content: bytes, wanted: Mapping[str, str]) -> Iterator[_Row]:
    first, seen = None, set()
    for number, line in enumerate(BytesIO(content.removeprefix(_MARK)), start=1):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
        except ValueError as error:
            raise ValueError(f"line {number}: {first_line(error).removeprefix('line 1: ')}") from None
        first = first or list(row)
        seen |= row.keys() & wanted.keys()
        yield f"line {number}", [row.get(name) for name in wanted]
    _check_columns({name: option for name, option in wanted.items() if name not in seen}, first or [])


def _stylegan(content: bytes, columns: Mapping[str, str]) -> Iterator[_Row]:
    labels = parse_json(content.removeprefix(_MARK)).get("labels")
    entries = list(labels.items()) if isinstance(labels, dict) else labels
    if not isinstance(entries, list):
        raise ValueError(f"labels: expected a list of [name, class] or [name, [numbers]], found {shown(labels)}")
    numbers = "dataset.conditions" in columns.values()
    for i, entry in enumerate(entries):
        line = f"labels.{i}"
        if not isinstance(entry, list | tuple) or len(entry) != 2:
            raise ValueError(f"{line}: expected [name, class] or [name, [numbers]], found {shown(entry)}")
        name, label = entry
        if isinstance(label, list) and not numbers:
            raise ValueError(f"{line}: numbers, no class; set dataset.conditions, a name for each, and no classes")
        values = label if isinstance(label, list) else [label]
        if len(values) != len(columns):
            raise ValueError(f"{line}: {len(values)} numbers, and dataset.conditions names {len(columns)}")
        yield line, [name, *values]


def _check_columns(wanted: Mapping[str, str], header: Sequence[str]) -> None:
    """Raise ValueError for the first wanted column that the header lacks."""
    for name, option in wanted.items():
        if name not in header:
            there = ", ".join(header[:20]) + (f" and {len(header) - 20} more" if len(header) > 20 else "")
            hint = did_you_mean(name, header)
            if len(header) == 1 and re.search("[;,\t]", header[0]):
                hint = "; separate columns by a comma, in a .tsv by a tab"
            raise ValueError(f"no column {name!r} ({option}){hint}; there are {there}")
