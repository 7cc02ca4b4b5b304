"""gflow run, sample and analyze: what they leave behind, and what they say when something is wrong."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from gflow_core.files.whole import written_aside
from gflow_core.machine.speed import processor
from gflow_core.parts.plugins import plugins
from gflow_core.parts.registry import Entry
from gflow_core.recipes.recipe import load
from gflow_core.runs.record import RunFolder

HUGE = "{ use = 'sgd', lr = 1e6, schedule = { use = 'linear', start = 1e24, end = 1e24, steps = 1 } }"


def test_a_run_leaves_its_folder(gflow, plane, tmp_path, weights):
    out = gflow("run", plane, "--runs", tmp_path / "runs").output
    run = tmp_path / "runs" / "plane-s0-001"
    assert out.rstrip().endswith("000006.png")
    assert {p.name for p in run.iterdir()} == {
        ".lock",
        "recipe.toml",
        "manifest.json",
        "metrics.jsonl",
        "samples",
        "checkpoints",
    }
    assert sorted(p.name for p in (run / "samples").iterdir()) == ["000002.png", "000004.png", "000006.png"]
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == ["000004", "000006"], "the last two are kept"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert all(np.isfinite(line["velocity"]) for line in lines)
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["data"]["items"] == 500
    assert len(manifest["data"]["fingerprint"]) == 64
    assert {"torch", "gflow-core", "gflow-vgrow"} <= set(manifest["versions"])
    assert (manifest["device_name"], manifest["precision"]) == (processor(), "float32")
    assert not any(name.endswith((".pkl", ".pt", ".pth")) for name in weights(run))


def test_its_recipe_repeats_it_bit_for_bit(gflow, images, tmp_path, weights):
    gflow("run", images, "--runs", tmp_path / "a", "train.steps=3")
    first = tmp_path / "a" / "images-s0-001"
    gflow("run", first / "recipe.toml", "--runs", tmp_path / "b")
    second = tmp_path / "b" / "images-s0-001"
    assert weights(first) == weights(second)
    assert load(first / "recipe.toml").spec == load(second / "recipe.toml").spec
    gflow("run", images, "--runs", tmp_path / "c", "train.steps=3", "train.seed=1")
    other = weights(tmp_path / "c" / "images-s1-001")
    assert other["sampler.safetensors"] != weights(first)["sampler.safetensors"]


def test_a_recipe_called_recipe_is_named_after_itself_unless_it_is_a_runs(gflow, plane, tmp_path):
    recipe = tmp_path / "my-samples" / "recipe.toml"
    recipe.parent.mkdir()
    plane.rename(recipe)
    gflow("run", recipe, "--runs", tmp_path / "runs", "train.steps=1")
    assert [run.name for run in (tmp_path / "runs").iterdir()] == ["recipe-s0-001"]


def test_a_run_whose_data_lie_elsewhere_says_where_it_began(gflow, plane, tmp_path, monkeypatch):
    (tmp_path / "began").mkdir()
    monkeypatch.chdir(tmp_path / "began")
    np.save("points.npy", np.random.default_rng(0).normal(size=(100, 2)).astype(np.float32))
    table = 'use = "array"\nroot = "points.npy"\nshape = [2]'
    plane.write_text(plane.read_text().replace('use = "ring"\nn = 500', table))
    gflow("run", plane, "--runs", tmp_path / "runs", "train.steps=2")
    run = tmp_path / "runs" / "plane-s0-001"
    monkeypatch.chdir("/")
    for command in (["resume", run, "--steps", 3], ["analyze", run, "losses"]):
        said = gflow(*command, code=2).output
        assert f'the run began in {tmp_path / "began"}, where its dataset.root = "points.npy" counts from' in said
    monkeypatch.chdir(tmp_path / "began")
    gflow("resume", run, "--steps", 3)


def test_a_run_without_analyses_is_trained_and_analyzed_later(gflow, plane, tmp_path, weights):
    looks = ["analyze.0.use=two_sample", "analyze.0.every=2", "analyze.0.samples=50"]
    gflow("run", plane, "--runs", tmp_path / "a", "train.steps=4", *looks)
    gflow("run", plane, "--runs", tmp_path / "b", "train.steps=2", *looks, "--no-analyze")
    whole, run = tmp_path / "a" / "plane-s0-001", tmp_path / "b" / "plane-s0-001"
    said = gflow("resume", run, "--steps", 4, "--no-analyze").output
    assert f"trained; gflow analyze {run} makes its analyses" in said
    assert not (run / "analysis").exists()
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["analyze"] is manifest["resumed"][0]["analyze"] is False
    assert "analyze" not in json.loads((whole / "manifest.json").read_text())
    assert (run / "recipe.toml").read_text() == (whole / "recipe.toml").read_text(), "its analyses are still its own"
    gflow("analyze", run)
    result = "analysis/two_sample/result.json"
    assert (run / result).read_text() == (whole / result).read_text()
    assert weights(run) == weights(whole)
    nothing = gflow("run", plane, "~objective", "~optimizer", "~train.steps", *looks[::2], "--no-analyze", code=2)
    assert "without its analyses there is nothing to do" in nothing.output


def test_runs_are_numbered(gflow, plane, tmp_path):
    for _ in range(2):
        gflow("run", plane, "--runs", tmp_path / "runs", "train.steps=1")
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == ["plane-s0-001", "plane-s0-002"]


def test_a_run_has_the_name_and_the_note_that_it_is_given(gflow, plane, tmp_path):
    where = ("--runs", tmp_path / "runs", "train.steps=1")
    gflow("run", plane, *where, "--name", "wide", "--note", "twice the width")
    run = tmp_path / "runs" / "wide"
    assert json.loads((run / "manifest.json").read_text())["note"] == "twice the width"
    again = gflow("run", plane, *where, "--name", "wide", code=2).output
    assert again == f"error: {run}: is there already; choose another --name, or gflow resume {run}\n"
    assert "--name 'a/b': it names a folder" in gflow("run", plane, *where, "--name", "a/b", code=2).output
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["wide"]
    gflow("run", run / "recipe.toml", *where)
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"wide", "wide-s0-001"}
    gflow("report", run)
    assert '<p class="note">twice the width</p>' in (run / "report.html").read_text()


def test_epochs_and_items_are_whole_steps_in_the_run(gflow, plane, tmp_path, weights):
    """500 items; an outer loop reads 3 batches of 32."""
    clock = {"steps": '"1 epoch"', "sample_every": '"0.5 epochs"', "checkpoint_every": '"200 items"'}
    spans = [f"train.{name}={text}" for name, text in clock.items()]
    look = ["analyze.0.use=losses", "analyze.0.every=1 epoch"]
    plan = gflow("run", plane, "--dry-run", *spans, *look).output
    for place, text in {"train.steps": "1 epoch = 5 steps", "analyze.0.every": "1 epoch = 5 steps"}.items():
        assert re.search(f"{re.escape(place)} +. {text}", plan), plan
    plan = json.loads(gflow("run", plane, "--dry-run", "--json", *spans).output)
    assert plan["objective"]["steps"] == 5
    said = gflow("run", plane, "--runs", tmp_path / "a", *spans).output
    assert "train.checkpoint_every: 200 items = 2 steps\n" in said
    run = tmp_path / "a" / "plane-s0-001"
    train = load(run / "recipe.toml").spec.train
    assert (train.steps, train.sample_every, train.checkpoint_every) == (5, 3, 2)
    gflow("run", plane, "--runs", tmp_path / "b", "train.steps=1 epoch")
    other = tmp_path / "b" / "plane-s0-001"
    gflow("resume", other, "train.steps=1.5 epochs")
    assert load(other / "recipe.toml").spec.train.steps == 8
    gflow("resume", run, "--steps", 8)
    assert weights(run) == weights(other)


def test_dry_run_prints_the_plan_and_writes_nothing(gflow, images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.rglob("*"))
    out = gflow("run", images, "--dry-run").output
    assert set(tmp_path.rglob("*")) == before
    for word in ("mnist5k", "200 items", "vgrow.resnet", "parameters", "vgrow.flow", "rmsprop", "cpu", "bf16"):
        assert word in out


def test_observers_do_not_disturb(gflow, images, tmp_path, weights):
    """Sampling, logging, saving and analyzing more often changes no weight."""
    gflow("run", images, "--runs", tmp_path / "a", "train.steps=3")
    gflow(
        "run", images, "--runs", tmp_path / "b", "train.steps=3", "train.sample_every=1", "train.checkpoint_every=1",
        "train.log_every=2", "train.keep=1",
    )  # fmt: skip
    a, b = weights(tmp_path / "a" / "images-s0-001"), weights(tmp_path / "b" / "images-s0-001")
    assert {name for name in a if a[name] != b[name]} == set()


def test_sample_draws_grids_and_arrays(gflow, images, tmp_path):
    gflow("run", images, "--runs", tmp_path / "runs", "train.steps=2")
    run = tmp_path / "runs" / "images-s0-001"
    gflow("sample", run, "--n", 10, "--out", tmp_path / "x.npy")
    x = np.load(tmp_path / "x.npy")
    assert x.shape == (10, 1, 16, 16)
    assert x.dtype == np.float32
    assert np.abs(x).max() <= 1
    gflow("sample", run, "--n", 10, "--out", tmp_path / "x.png")
    assert Image.open(tmp_path / "x.png").size == (4 * 18 + 2, 3 * 18 + 2)
    gflow("sample", run, "--n", 4, "--out", tmp_path / "fewer.npy")
    assert np.load(tmp_path / "fewer.npy") == pytest.approx(x[:4], abs=0.05), "in bf16"
    gflow("sample", run, "--n", 10, "--out", tmp_path / "y.npy", "--seed", 5)
    assert not np.array_equal(np.load(tmp_path / "y.npy"), x)


def test_samples_come_from_the_average(gflow, images, tmp_path):
    """With decay 0 the average is the weights themselves; with a long memory it is not."""
    x = {}
    for decay in (0.0, 0.99):
        words = ["train.steps=3", f"train.ema={{ decay = {decay}, start = 1 }}"]
        gflow("run", images, "--runs", tmp_path / str(decay), *words)
        gflow("sample", tmp_path / str(decay) / "images-s0-001", "--out", tmp_path / "x.npy")
        x[decay] = np.load(tmp_path / "x.npy")
    gflow("run", images, "--runs", tmp_path / "none", "train.steps=3", "~train.ema")
    gflow("sample", tmp_path / "none" / "images-s0-001", "--out", tmp_path / "x.npy")
    plain = np.load(tmp_path / "x.npy")
    assert np.array_equal(x[0.0], plain)
    assert np.abs(x[0.99] - plain).max() > 1e-3


def test_analyzers_run_live_and_at_the_end(gflow, plane, tmp_path):
    plane.write_text(plane.read_text() + '[[analyze]]\nuse = "mode_coverage"\nevery = 3\nsamples = 200\n')
    out = gflow("run", plane, "--runs", tmp_path / "runs").output
    folder = tmp_path / "runs" / "plane-s0-001" / "analysis" / "mode_coverage"
    assert {p.name for p in folder.iterdir()} == {"000003", "result.json", "modes.csv", "samples.png"}
    scores = json.loads((folder / "result.json").read_text())["scores"]
    assert scores["modes_total"] == 8
    assert "modes_covered" in out
    gflow("analyze", folder.parents[1], "mode_coverage", "analyze.0.samples=300")
    gflow("analyze", folder.parents[1], "nonsense", code=2)
    assert "the run is trained" in gflow("analyze", folder.parents[1], "sampler.width=3", code=2).output


def test_recipes_without_training(gflow, tmp_path):
    path = tmp_path / "theory.toml"
    path.write_text('gflow = 1\n[[analyze]]\nuse = "vgrow.theory"\nsamples = 1000\nflow_steps = 20\nhorizon = 0.5\n')
    gflow("run", path, "--runs", tmp_path / "runs")
    run = tmp_path / "runs" / "theory-s0-001"
    assert (run / "analysis" / "vgrow.theory" / "result.json").is_file()
    assert "trains nothing" in gflow("resume", run, code=2).output


@pytest.mark.parametrize(
    ("override", "quantity"),
    [
        (f"optimizer.discriminator={HUGE}", r"step 1: discriminator_loss is (nan|inf)"),
        (f"optimizer.sampler={HUGE}", r"step \d: (projection_loss is|sampler \S+ is not)"),
    ],
)
def test_divergence_stops_the_run_and_keeps_the_last_good_checkpoint(gflow, plane, tmp_path, override, quantity):
    gflow("run", plane, "--runs", tmp_path / "runs", "train.steps=2")
    out = gflow("run", plane, "--runs", tmp_path / "runs", override, code=2).output
    assert re.search(quantity, out), out
    assert "Traceback" not in out


def test_a_late_divergence_keeps_earlier_checkpoints(gflow, plane, tmp_path):
    schedule = "{ use = 'linear', start = 1.0, end = 1e33, steps = 3 }"
    sampler = f"{{ use = 'sgd', lr = 1e-5, schedule = {schedule} }}"
    out = gflow(
        "run", plane, "--runs", tmp_path / "runs", f"optimizer.sampler={sampler}",
        "train.checkpoint_every=1", code=2,
    ).output  # fmt: skip
    assert "step 2: " in out
    run = tmp_path / "runs" / "plane-s0-001"
    assert [p.name for p in (run / "checkpoints").iterdir()] == ["000001"]
    gflow("sample", run, "--out", tmp_path / "x.npy")
    assert np.isfinite(np.load(tmp_path / "x.npy")).all()


def test_clear_messages(gflow, plane, tmp_path):
    assert "not a run folder" in gflow("resume", tmp_path, code=2).output
    assert "not a run folder" in gflow("sample", tmp_path / "nowhere", "--out", tmp_path / "x.png", code=2).output
    gflow("run", plane, "--runs", tmp_path / "runs", "train.steps=1")
    run = tmp_path / "runs" / "plane-s0-001"
    assert ".png" in gflow("sample", run, "--out", tmp_path / "x.jpg", code=2).output
    assert "does not exist" in gflow("sample", run, "--out", tmp_path / "no" / "x.png", code=2).output
    assert "no checkpoint 000009; there are 000001" in gflow("resume", run, "--checkpoint", "000009", code=2).output
    assert "no cuda device" in gflow("run", plane, "train.device=cuda", "--runs", tmp_path / "runs", code=2).output
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert "--runs" in gflow("run", plane, "--runs", blocked / "runs", code=2).output


BROKEN_ANALYZER = """
import attrs
from gflow_core.parts.analysis import Result
from gflow_core.parts.hookspecs import hookimpl

@attrs.frozen(kw_only=True)
class Broken:
    \"\"\"An analyzer with a defect.\"\"\"
    needs = frozenset()
    def check(self, spec):
        return ()
    def build(self):
        def look(subject):
            if subject.step == 4:
                raise ZeroDivisionError("of its own")
            import numpy as np
            rows = [{"a": 1}, {"b": 2}]
            return Result(scores={"x": np.float32(1.5), "y": float("nan")}, tables={"rows": rows})
        return look

@hookimpl
def register_analyzers(add):
    add("sick.analyzer", Broken)
"""


@pytest.fixture
def sick(monkeypatch):
    """An analyzer whose own code fails at step 4."""
    namespace: dict[str, object] = {}
    exec(BROKEN_ANALYZER, namespace)
    monkeypatch.setitem(
        plugins().registries["analyzer"]._entries,
        "sick.analyzer",
        Entry("sick.analyzer", namespace["Broken"], "sick 1"),
    )


def test_an_analyzer_that_fails_while_training_costs_nothing(gflow, plane, tmp_path, sick):
    plane.write_text(plane.read_text() + '[[analyze]]\nuse = "sick.analyzer"\nevery = 2\n')
    out = gflow("run", plane, "--runs", tmp_path / "runs", code=2).output
    said = "analyzer sick.analyzer raised ZeroDivisionError: of its own (GFLOW_DEBUG=1 shows the traceback)"
    assert f"sick.analyzer failed at step 4: {said}; training goes on" in out
    assert out.endswith(
        "plane-s0-001: while training sick.analyzer failed 1 time; all else is written\n"
        f"  sick.analyzer, step 4: {said}\n"
    )
    run = tmp_path / "runs" / "plane-s0-001"
    assert not (run / "analysis" / "sick.analyzer" / "000004").exists()
    assert (run / "checkpoints" / "000006").is_dir()
    result = json.loads((run / "analysis" / "sick.analyzer" / "000002" / "result.json").read_text())
    assert result["scores"] == {"x": 1.5, "y": "nan"}
    assert (run / "analysis" / "sick.analyzer" / "000002" / "rows.csv").read_text().startswith("a,b")


def test_an_analyzer_that_fails_at_the_end_leaves_the_others(gflow, plane, tmp_path, sick):
    look = '[[analyze]]\nuse = "{}"\nname = "{}"\n'
    first, then = look.format("sick.analyzer", "one"), look.format("sick.analyzer", "two")
    plane.write_text(plane.read_text() + first + then + look.format("sample_grid", "grid"))
    out = gflow("run", plane, "train.steps=4", "--runs", tmp_path / "runs", code=2).output
    assert "2 of 3 analyses failed; all else is written" in out
    assert out.count("one: analyzer one raised ZeroDivisionError: of its own") == 1
    run = tmp_path / "runs" / "plane-s0-001"
    assert (run / "analysis" / "grid" / "samples.png").is_file()
    assert "analyzer one raised ZeroDivisionError" in gflow("analyze", run, "one", code=2).output


def test_an_analyzer_that_the_recipe_lacks(gflow, plane, tmp_path):
    gflow("run", plane, "train.steps=2", "--runs", tmp_path / "runs")
    run = tmp_path / "runs" / "plane-s0-001"
    gflow("analyze", run, "losses", "interpolation", "analyze.0.columns=2", "analyze.2.rows=3", code=2)
    n = len(load(run / "recipe.toml").spec.analyze)
    gflow("analyze", run, "losses", "interpolation", f"analyze.{n + 1}.rows=3", f"analyze.{n + 1}.frames=2")
    found = json.loads((run / "analysis" / "interpolation" / "result.json").read_text())
    assert (found["manifest"]["rows"], found["files"]) == (3, ["interpolation.gif", "interpolation.png"])
    # The next one replaces it; what people put there stays.
    (run / "analysis" / "interpolation" / "mine.png").write_bytes(b"")
    gflow("analyze", run, "interpolation", f"analyze.{n}.frames=0")
    names = sorted(path.name for path in (run / "analysis" / "interpolation").iterdir())
    assert names == ["interpolation.png", "mine.png", "result.json"]
    out = gflow("analyze", run, "interpolate", code=2).output
    assert "no analysis interpolate in its recipe" in out
    assert 'did you mean "interpolation"?' in out
    gflow("analyze", run, "losses", "losses")


def test_a_recipe_that_is_refused_now_is_mended_by_an_override(gflow, plane, tmp_path):
    plane.write_text(plane.read_text() + '[[analyze]]\nuse = "sample_grid"\n')
    gflow("run", plane, "train.steps=2", "--runs", tmp_path / "runs")
    run = tmp_path / "runs" / "plane-s0-001"
    recipe = run / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("samples = 64", "samples = -1"))
    (number,) = (i for i, analysis in enumerate(RunFolder(run).analyses()) if analysis == "sample_grid")
    assert "samples" in gflow("analyze", run, "sample_grid", code=2).output
    gflow("analyze", run, "sample_grid", f"analyze.{number}.samples=4")
    gflow("analyze", run, "losses", f"analyze.{number}.samples=4")


def test_an_analysis_that_cannot_be_written_costs_no_training(gflow, plane, tmp_path, monkeypatch):
    plane.write_text(plane.read_text() + '[[analyze]]\nuse = "sample_grid"\nevery = 2\n')
    write_result = RunFolder.write_result

    def full(self, name, result, step, *, final):
        if not final:
            raise OSError(28, "No space left on device")
        return write_result(self, name, result, step, final=final)

    monkeypatch.setattr(RunFolder, "write_result", full)
    out = gflow("run", plane, "train.steps=4", "--runs", tmp_path / "runs", code=2).output
    assert "sample_grid cannot be written: No space left on device; make room; training goes on" in out
    assert (tmp_path / "runs" / "plane-s0-001" / "checkpoints" / "000004").is_dir()


def test_nothing_to_do(gflow, tmp_path):
    path = tmp_path / "empty.toml"
    path.write_text("gflow = 1\n")
    assert "nothing to do" in gflow("run", path, "--runs", tmp_path / "runs", code=2).output
    assert not (tmp_path / "runs").exists()


def test_other_folders_beside_the_runs(gflow, plane, tmp_path):
    (tmp_path / "runs" / "plane-s0-007-copy").mkdir(parents=True)
    (tmp_path / "runs" / "plane-s0-abc").mkdir()
    gflow("run", plane, "--runs", tmp_path / "runs", "train.steps=1")
    assert (tmp_path / "runs" / "plane-s0-001").is_dir()


def test_more_samples_than_there_is_room_for(gflow, plane, tmp_path):
    gflow("run", plane, "--runs", tmp_path / "runs", "train.steps=1")
    run = tmp_path / "runs" / "plane-s0-001"
    assert "GB free" in gflow("sample", run, "--n", 10**15, "--out", tmp_path / "x.npy", code=2).output
    assert "10000 samples at most" in gflow("sample", run, "--n", 10**6, "--out", tmp_path / "x.png", code=2).output


def test_a_full_disk_is_one_clear_message(plane, start, tmp_path):
    """A limit on the size of files stands for the disk: safetensors and Pillow meet it in their own ways."""
    command = ["sh", "-c", 'ulimit -f 8; exec "$@"', "sh", sys.executable, "-m", "gflow_core", "run", str(plane)]
    done = subprocess.run(
        [*command, "train.steps=1", "--runs", str(tmp_path / "runs")], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "error: " in done.stderr


def test_a_disk_that_fills_while_training_says_how_to_go_on(gflow, plane, tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gflow_core.runs.trackers._Lines.log", full)
    out = gflow("run", plane, "--runs", tmp_path, code=2).output
    assert f"No space left on device; make room, then gflow resume {tmp_path / 'plane-s0-001'}" in out


def test_what_cannot_be_written_goes_by_its_own_name(gflow, plane, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError) as error, written_aside(tmp_path / "none" / "a.npy") as aside:
        aside.write_text("")
    assert error.value.filename == str(tmp_path / "none" / "a.npy")
    monkeypatch.setattr("os.access", lambda path, mode: mode != os.W_OK)
    out = gflow("sample", tmp_path, "--out", tmp_path / "a.npy", code=2).output
    assert f"--out {tmp_path / 'a.npy'}: the folder {tmp_path} cannot be written to" in out


def test_a_damaged_recipe_of_a_run_is_no_lost_run(gflow, tmp_path):
    (tmp_path / "recipe.toml").write_text("gflow =")
    (tmp_path / "manifest.json").write_text("{}")
    out = gflow("resume", tmp_path, code=2).output
    assert "end of document: Invalid value; the run's recipe is damaged: put it back from a backup" in out


def test_a_reader_that_leaves_does_not_end_the_run(plane, start, tmp_path):
    process = start("run", plane, "--runs", tmp_path / "runs", "train.steps=40")
    process.stdout.readline()
    process.stdout.close()
    process.wait(timeout=120)
    assert (tmp_path / "runs" / "plane-s0-001" / "checkpoints" / "000040").is_dir()


def test_data_and_networks_that_break_their_word(gflow, plane, tmp_path, monkeypatch):
    points = np.zeros((50, 2), np.float32)
    points[3, 1] = np.nan
    np.save(tmp_path / "points.npy", points)
    words = ["dataset=array", f"dataset.root={tmp_path / 'points.npy'}", "dataset.shape=[2]"]
    assert "NaN" in gflow("run", plane, "--runs", tmp_path / "runs", *words, code=2).output
    monkeypatch.setattr("gflow_core.nn.mlp.MlpLogit.forward", lambda self, x, y=None: x)
    out = gflow("run", plane, "--runs", tmp_path / "runs", code=2).output
    assert "discriminator vgrow.mlp: its forward returns [2, 2] for two items, [2] is expected" in out


def test_weights_that_an_analysis_lacks_are_missed_before_training(tmp_path, gflow, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "nothing"))
    recipe = tmp_path / "late.toml"
    recipe.write_text(
        """
gflow = 1
dataset = { use = "mnist5k", image_size = 16, fit = "resize", limit = 40 }
sampler = { use = "vgrow.resnet", channels = 4 }
discriminator = { use = "vgrow.resnet", channels = 4 }
objective = { use = "adversarial" }
optimizer = { sampler = { use = "adam", lr = 1e-4 }, discriminator = { use = "adam", lr = 1e-4 } }
train = { steps = 1, batch_size = 8 }
[[analyze]]
use = "frechet"
encoder = { use = "resnet50" }
"""
    )
    out = gflow("run", recipe, "--runs", tmp_path / "runs", code=2).output
    assert "resnet50" in out
    assert "weights" in out
    assert not (tmp_path / "runs").exists(), "nothing was started"
