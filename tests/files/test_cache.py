from __future__ import annotations

from pathlib import Path

from gflow_core.files.cache import cache_folder


def test_the_first_that_is_set_decides(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert cache_folder() == tmp_path / ".cache" / "gflow"
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/gflow")
    monkeypatch.setenv("GFLOW_CACHE", "~/own")
    assert cache_folder() == tmp_path / "own"
    assert not cache_folder().exists()
