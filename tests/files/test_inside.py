"""Folders from anybody: nothing in them leads out, and what is written replaces, never goes through."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from gflow_core.errors import CheckpointError, GflowError
from gflow_core.files import checkpoint
from gflow_core.files.checkpoint import Checkpoint
from gflow_core.files.inside import check_inside, is_plain, not_through_a_link, unshare
from gflow_core.files.locks import held, in_use
from gflow_core.files.whole import written_aside


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file two folders down."""
    (tmp_path / "run" / "a" / "b").mkdir(parents=True)
    (tmp_path / "run" / "a" / "b" / "file").write_text("own")
    return tmp_path / "run"


@pytest.mark.parametrize("target", ["../../../secret", "/etc", "/proc/self/cwd", "../../../nothing there"])
@pytest.mark.parametrize("place", ["link", "a/b/link"])
def test_a_link_that_leads_out_is_named(folder, place, target):
    (folder.parent / "secret").write_text("secret")
    (folder / place).symlink_to(target)
    with pytest.raises(GflowError, match=f"run: contains a link that leads out of it, {place} -> {target}; remove it"):
        check_inside(folder)


def test_links_that_stay_inside_and_the_users_own_way_there_are_well(folder, tmp_path):
    check_inside(folder)
    check_inside(folder / "nothing")
    (folder / "latest").symlink_to("a/b")  # as trackers make them
    (folder / "a" / "up").symlink_to("..")
    (folder / "a" / "round").symlink_to("round")
    (tmp_path / "way").symlink_to("run")
    check_inside(folder)
    check_inside(tmp_path / "way")


def test_only_one_folder_of_many(folder):
    (folder / "other").symlink_to("/etc")
    check_inside(folder, "a")
    check_inside(folder, "nothing")
    with pytest.raises(GflowError, match="leads out of it, other -> /etc"):
        check_inside(folder, "other")


def test_pipes_are_named(folder):
    os.mkfifo(folder / "a" / "pipe")
    with pytest.raises(GflowError, match=r"run: a/pipe is no file .*; remove it"):
        check_inside(folder)


def test_a_folder_that_can_be_entered_and_not_listed(folder):
    if os.geteuid() == 0:
        pytest.skip("root lists everything")
    (folder / "a").chmod(0o311)
    try:
        with pytest.raises(PermissionError):
            check_inside(folder)
    finally:
        (folder / "a").chmod(0o755)


def test_plain_names():
    assert all(map(is_plain, ("modes", "a b", ".hidden", "..x")))
    assert not any(map(is_plain, ("", ".", "..", "a/b", "../a", "/a", "a\\b", "a\0")))


def test_files_beside_cannot_be_foreseen_and_replace_links(tmp_path):
    victim, path = tmp_path / "victim", tmp_path / "report.html"
    victim.write_text("precious")
    path.symlink_to(victim)
    with written_aside(path) as one, written_aside(path) as other:
        assert one != other
        assert one.stat().st_size == 0
        one.write_text("page")
        other.write_text("page")
    assert victim.read_text() == "precious"
    assert not path.is_symlink()
    assert path.read_text() == "page"
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~_umask()
    assert sorted(tmp_path.iterdir()) == [path, victim]


def test_a_name_that_is_taken_is_not_written_to(tmp_path, monkeypatch):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    monkeypatch.setattr("secrets.token_hex", lambda _: "0")
    (tmp_path / ".gflow-0.tmp").symlink_to(victim)
    with pytest.raises(FileExistsError), written_aside(tmp_path / "file"):
        pass
    with pytest.raises(FileExistsError):
        checkpoint.write(tmp_path / "000001", Checkpoint(step=1, parts={}))
    assert victim.read_text() == "precious"


def test_a_folder_that_cannot_be_written_is_named_by_what_was_asked_for(tmp_path):
    with pytest.raises(FileNotFoundError) as error, written_aside(tmp_path / "none" / "file"):
        pass
    assert error.value.filename == str(tmp_path / "none" / "file")


def test_a_checkpoint_that_fails_leaves_nothing_behind(tmp_path):
    with pytest.raises(CheckpointError):
        checkpoint.write(tmp_path / "000001", Checkpoint(step=1, parts={"a": object()}))
    assert list(tmp_path.iterdir()) == []


def test_other_names_of_a_file_keep_what_they_had(folder, tmp_path):
    file, elsewhere = folder / "a" / "b" / "file", tmp_path / "elsewhere"
    elsewhere.hardlink_to(file)
    unshare(folder)
    with open(file, "a") as out:
        out.write(" and more")
    assert (file.read_text(), elsewhere.read_text()) == ("own and more", "own")


def test_a_lock_that_is_somebody_elses_file_is_not_written_to(tmp_path):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / ".lock").hardlink_to(tmp_path / "precious")
    with held(tmp_path / ".lock", "gflow resume"):
        assert in_use(tmp_path / ".lock")
    assert (tmp_path / "precious").read_text() == "precious"


def test_an_opener_that_follows_no_link(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with pytest.raises(OSError, match="symbolic"), open(tmp_path / "link", "a", opener=not_through_a_link):
        pass
    assert not (tmp_path / "file").exists()


def _umask() -> int:
    os.umask(now := os.umask(0))
    return now
