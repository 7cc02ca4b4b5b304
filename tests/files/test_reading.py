"""What is no file is refused at once, and JSON and TOML are what they should be or one ValueError."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflow_core.errors import DataError
from gflow_core.files.reading import fault, opened, parse_json, parse_toml, read_bytes, read_json, read_toml
from gflow_core.files.weights import read_state
from gflow_core.files.whole import sha256_of


@pytest.fixture(params=["pipe", "socket", "folder", "/dev/zero", "/dev/random", "link"])
def no_file(request, tmp_path):
    path = tmp_path / request.param if request.param[0] != "/" else Path(request.param)
    with socket.socket(socket.AF_UNIX) as one:
        if request.param in ("pipe", "link"):
            os.mkfifo(tmp_path / "pipe")
        if request.param == "link":
            path.symlink_to("pipe")
        elif request.param == "socket":
            one.bind(os.path.relpath(path))
        elif request.param == "folder":
            path.mkdir()
        yield path


@pytest.mark.parametrize("read", [opened, read_bytes, read_json, read_toml, sha256_of])
def test_what_is_no_file_is_refused_at_once(no_file, read):
    with pytest.raises(OSError, match=r"is no file|is a folder|No such device"):
        read(no_file)


def test_weights_that_are_no_file(no_file):
    with pytest.raises(DataError, match="not readable as weights"):
        read_state(no_file)


def test_a_link_to_a_file_is_a_file(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("file")
    assert read_bytes(tmp_path / "link") == b"x"


def test_files_that_are_too_large_are_not_read(tmp_path):
    with (tmp_path / "sparse.toml").open("wb") as file:
        file.truncate(1 << 40)
    for read in (read_json, read_toml):
        with pytest.raises(ValueError, match=r"larger than .*, too large"):
            read(tmp_path / "sparse.toml")


DEEP = 100_000
BAD_JSON = {
    "nested": b'{"a": ' + b"[" * DEEP,
    "nested and closed": b'{"a": ' + b"[" * DEEP + b"]" * DEEP + b"}",
    "nested less deep": b'{"a": ' + b"[" * 500 + b"]" * 500 + b"}",
    "tables": b'{"a": ' * DEEP,
    "digits": b'{"a": ' + b"9" * DEEP + b"}",
    "not UTF-8": b'{"a": "\xff"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "no object": b"[1]",
    "null": b"null",
    "empty": b"",
    "cut": b'{"a": 1',
    "two": b"{} {}",
}


@pytest.mark.parametrize("what", BAD_JSON)
def test_json_that_is_none_is_told_in_a_line(what):
    with pytest.raises(ValueError, match=r"^[^\n]{1,200}$") as error:
        parse_json(BAD_JSON[what])
    assert "sys." not in str(error.value)


@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_any_bytes_are_an_object_or_a_value_error(raw):
    for parse in (parse_json, parse_toml):
        try:
            assert isinstance(parse(raw), dict)
        except ValueError as error:
            assert len(str(error)) < 300


@given(st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()))
def test_json_comes_back(table):
    assert parse_json(json.dumps(table).encode()) == table


@pytest.mark.parametrize(
    ("value", "shape", "said"),
    [
        ({"a": 1}, {"a": int, "b?": str}, ""),
        ({"a": 1, "c": []}, {"a": int, "b?": str}, ""),
        ({}, {"a": int}, "a: missing"),
        ({"a": 1.0}, {"a": int}, "a: expected a whole number of 64 bits"),
        ({"a": True}, {"a": int}, "a: expected a whole number of 64 bits"),
        ({"a": None}, {"a?": str}, "a: expected text"),
        ({"a": 1 << 63}, {"a": (int, float)}, "a: expected a whole number of 64 bits or a number"),
        ({"a": float("nan")}, {"a": (int, float)}, ""),
        ({"a": [{"b": 1}, {"b": "x"}]}, {"a": [{"b": int}]}, "a.1.b: expected a whole number of 64 bits"),
        ({"a": {"b": 1}}, {"a": [int]}, "a: expected a list"),
        ({"a": []}, {"a": {"b?": int}}, "a: expected a table"),
        ({"a": {"x": 1, "y": None}}, {"a": {"*": int}}, "a.y: expected a whole number of 64 bits"),
    ],
)
def test_shapes(value, shape, said):
    assert fault(value, shape) == said
