from __future__ import annotations

import json

import pytest

from gflow_core.files.sealed import changed, sealed

BODY = {"scores": {"fid": 12.5, "tiny": 1e-300}, "labels": [0, 1], "name": "Zoë", "none": None}


def test_what_was_written_is_not_changed():
    read = json.loads(json.dumps(sealed(BODY), indent=2))
    assert {key: read[key] for key in BODY} == BODY
    assert not changed(read)
    assert sealed(read) == read  # sealing again is the same
    assert not changed(BODY)  # as earlier versions wrote


@pytest.mark.parametrize(
    "edit",
    [{"scores": {"fid": 12.4, "tiny": 1e-300}}, {"labels": [1, 0]}, {"more": 1}, {"sha256": "0"}, {"sha256": None}],
)
def test_an_edit_is_seen(edit):
    assert changed({**sealed(BODY), **edit})
    assert changed({key: value for key, value in sealed(BODY).items() if key != "labels"})
