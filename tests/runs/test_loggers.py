"""The trackers csv, wandb and mlflow: what they are told, once, and that a resumed run goes on with the same curves."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from gflow_core.errors import GflowError
from gflow_core.runs.loggers import Csv, Mlflow, Wandb

SCORES = {"FD(x)": 2.5, "note": "a word", "none": None}
LINE = {"loss": 1.0, "seconds": 0.5, "seeds": {"7": {"loss": 3.0}}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "ring-s0-001"
    (folder / "samples").mkdir(parents=True)
    (folder / "recipe.toml").write_text("gflow = 1\n")
    Image.new("RGB", (4, 4)).save(folder / "samples" / "000002.png")
    return folder


def follow(part: Any, folder: Path, done: int, steps: int) -> None:
    """A run from after step `done`, which an earlier stretch may have told more of."""
    tracker = part.open(folder, done)
    for step in range(done + 1, steps + 1):
        tracker.log(step, LINE)
        if step == 2:
            tracker.scores(step, "frechet", SCORES)
            tracker.picture(step, folder / "samples" / "000002.png")
    tracker.flush()
    tracker.close()


def table(folder: Path) -> list[list[str]]:
    with (folder / "curves.csv").open(newline="") as file:
        return list(csv.reader(file))


def test_csv_has_a_line_for_each_number(folder):
    follow(Csv(), folder, 0, 2)
    assert table(folder) == [
        ["step", "group", "name", "value"],
        ["1", "train", "loss", "1.0"],
        ["1", "train, seed 7", "loss", "3.0"],
        ["2", "train", "loss", "1.0"],
        ["2", "train, seed 7", "loss", "3.0"],
        ["2", "frechet", "FD(x)", "2.5"],
        ["2", "frechet", "note", "a word"],
        ["2", "frechet", "none", ""],
        ["2", "samples", "picture", "samples/000002.png"],
    ]


def test_csv_goes_on_after_the_checkpoint(folder):
    follow(Csv(), folder, 0, 3)
    with (folder / "curves.csv").open("a") as file:
        file.write("4,tra")  # a kill cut it off
    whole = table(folder)[:-1]
    follow(Csv(), folder, 1, 3)
    assert table(folder) == whole
    follow(Csv(), folder, 3, 3)
    assert table(folder) == whole


def test_csv_has_what_an_analysis_at_the_end_finds_again_once(folder):
    follow(Csv(), folder, 0, 2)
    whole = table(folder)
    follow_end = Csv().open(folder, 2)
    follow_end.scores(2, "frechet", SCORES)
    assert table(folder) == whole
    follow_end.scores(2, "frechet", {**SCORES, "FD(x)": 3.0, "FD(y)": 1.0})
    follow_end.scores(2, "losses", {"loss": 1.0})
    changed = [[*row[:3], "3.0"] if row[2] == "FD(x)" else row for row in whole]
    assert table(folder) == [*changed, ["2", "frechet", "FD(y)", "1.0"], ["2", "losses", "loss", "1.0"]]


def test_csv_is_written_through_no_link(folder, tmp_path):
    tracker = Csv().open(folder, 0)
    (folder / "curves.csv").unlink()
    (tmp_path / "mine").write_text("mine")
    (folder / "curves.csv").symlink_to(tmp_path / "mine")
    with pytest.raises(OSError, match="curves"):
        tracker.log(1, LINE)
    assert (tmp_path / "mine").read_text() == "mine"


def steps_of(told: list[tuple[Any, ...]]) -> list[Any]:
    return [args[0] for name, args, _ in told if name == "log"]


def test_wandb_is_offline_and_told_of_a_step_once(folder, told):
    follow(Wandb(project="digits"), folder, 0, 2)
    name, _, given = told[0]
    assert name == "init"
    assert given["mode"] == "offline"
    assert (given["project"], given["name"], given["config"]) == ("digits", "ring-s0-001", {"gflow": 1})
    assert given["dir"] == str(folder.parent)
    line = {"train/loss": 1.0, "train, seed 7/loss": 3.0}
    assert steps_of(told) == [
        {"step": 1, **line},
        {"step": 2, **line},
        {"step": 2, "frechet/FD(x)": 2.5},
        {"step": 2, "samples": str(folder / "samples" / "000002.png")},
    ]
    assert told[-1][0] == "finish"
    before = given["id"]
    told.clear()
    follow(Wandb(project="digits"), folder, 1, 3)  # it was killed after its checkpoint of step 1
    assert (told[0][2]["id"], told[0][2]["resume"]) == (before, "allow")
    assert steps_of(told) == [{"step": 3, **line}]


def test_mlflow_is_told_of_a_step_once_and_by_names_that_it_has(folder, told):
    follow(Mlflow(), folder, 0, 2)
    assert told[0] == ("made", (), {"tracking_uri": (folder.parent / "mlruns").resolve().as_uri()})
    assert [args[1:] for name, args, _ in told if name == "log_metric"] == [
        ("train/loss", 1.0),
        ("train_ seed 7/loss", 3.0),
        ("train/loss", 1.0),
        ("train_ seed 7/loss", 3.0),
        ("frechet/FD_x_", 2.5),
    ]
    kept = [(Path(args[1]).name, *args[2:]) for name, args, _ in told if name == "log_artifact"]
    assert kept == [("recipe.toml",), ("000002.png", "samples")]
    assert told[-1][:2] == ("set_terminated", ("the run",))
    told.clear()
    follow(Mlflow(), folder, 0, 3)
    assert [given["step"] for name, _, given in told if name == "log_metric"] == [3, 3]
    assert not [name for name, _, _ in told if name in ("create_run", "log_artifact")]


def test_a_server_is_where_the_recipe_says(folder, told):
    Mlflow(tracking_uri="http://host:5000").open(folder, 0)
    assert told[0] == ("made", (), {"tracking_uri": "http://host:5000"})


@pytest.mark.parametrize("part", [Wandb(), Mlflow()], ids=["wandb", "mlflow"])
def test_a_package_that_is_missing_is_named_before_anything_begins(part, monkeypatch):
    monkeypatch.setattr("gflow_core.runs.trackers.find_spec", lambda _: None)
    name = type(part).__name__.lower()
    match = rf'the package {name} is not installed; pip install "gflow-core\[{name}\]", or leave'
    with pytest.raises(GflowError, match=match):
        part.prepare()


def test_the_real_mlflow(folder):
    mlflow = pytest.importorskip("mlflow")
    for done in (0, 1):
        follow(Mlflow(), folder, done, 3)
    client = mlflow.MlflowClient(tracking_uri=(folder.parent / "mlruns").as_uri())
    (run,) = client.search_runs([client.get_experiment_by_name("gflow").experiment_id])
    assert [one.step for one in client.get_metric_history(run.info.run_id, "train/loss")] == [1, 2, 3]
    assert run.info.status == "FINISHED"


def test_the_real_wandb(folder):
    pytest.importorskip("wandb")
    from gflow_core.files.inside import check_inside

    for done in (0, 1):
        follow(Wandb(), folder, done, 3)
    check_inside(folder)  # it leaves no link in the run folder that leads out
    assert len(list((folder.parent / "wandb").glob("offline-run-*"))) == 2
