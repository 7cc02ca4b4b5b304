"""`train.keep_best` and `train.stop_after`: the best checkpoint stays, and training ends where nothing gets better."""

from __future__ import annotations

import json
import shutil
from contextlib import nullcontext
from itertools import count
from pathlib import Path
from typing import ClassVar

import attrs
import pytest

from gflow_core.errors import CheckpointError, GflowError, RecipeError
from gflow_core.files.checkpoint import read
from gflow_core.parts.analysis import Result
from gflow_core.parts.plugins import plugins
from gflow_core.parts.registry import Entry
from gflow_core.recipes.recipe import load
from gflow_core.runs import api
from gflow_core.runs.best import best_of, history
from gflow_core.runs.events import Session
from gflow_core.runs.summary import summary
from gflow_core.scores.compare import compare

nan, inf = float("nan"), float("inf")


@attrs.frozen(kw_only=True)
class Told:
    """An analyzer that finds what it was told to."""

    needs: ClassVar[frozenset[str]] = frozenset({"sampler"})
    better: ClassVar[dict[str, str]] = {"score": "min"}
    scores: ClassVar[dict[int, float | None]] = {}

    def check(self, spec):
        return ()

    def build(self):
        return lambda subject: Result(scores={"score(x)": self.scores.get(subject.step, 9.0), "gain": subject.step})


@pytest.fixture
def recipe(plane, monkeypatch):
    """Twelve steps: checkpoints at every fifth, scores at every second."""
    monkeypatch.setitem(plugins().registries["analyzer"]._entries, "test.told", Entry("test.told", Told, "test 1"))
    monkeypatch.setattr(Session, "_blaming", lambda *_: nullcontext())  # a kill is nobody's fault
    monkeypatch.setattr(Told, "scores", {2: 5.0, 4: 3.0, 6: 7.0, 8: 4.0, 10: 3.5})
    text = plane.read_text().replace("steps = 6", "steps = 12").replace("sample_every = 2", "sample_every = 0")
    text = text.replace("inner_loops = 3", "inner_loops = 1").replace("projection_passes = 2", "projection_passes = 1")
    text = text.replace("checkpoint_every = 2", 'checkpoint_every = 5\nlog_every = 3\nkeep_best = "look.score(x)"')
    plane.write_text(text + '[[analyze]]\nuse = "test.told"\nname = "look"\nevery = 2\n')
    return plane


@pytest.fixture
def run(recipe, tmp_path):
    def call(*overrides: str, runs: str = "runs") -> api.Run:
        return api.run(recipe, *overrides, runs=tmp_path / runs, quiet=True)

    return call


def saved(run: api.Run) -> list[str]:
    return run._folder.checkpoints()


def bits(run: api.Run, name: str) -> bytes:
    return (run.path / "checkpoints" / name / "sampler.safetensors").read_bytes()


# ------------------------------------------------------------------ what is kept


def test_the_best_stays_beside_the_newest(run, gflow, tmp_path):
    kept, every = run("train.keep=1"), run("train.checkpoint_every=1", "train.keep=99", runs="every")
    assert saved(kept) == ["000004", "000012"]
    assert bits(kept, "000004") == bits(every, "000004")
    assert [line["step"] for line in kept.metrics()] == [1, 2, 3, 4, 5, 6, 8, 9, 10, 12][1:]
    assert "min:look.score(x)" in (kept.path / "recipe.toml").read_text()
    words = ("sample", kept.path, "--n", "3", "--out")
    for name, which in (("best", ["--best"]), ("named", ["--checkpoint", "4"]), ("newest", [])):
        gflow(*words, tmp_path / f"{name}.npy", *which)
    best, named, newest = ((tmp_path / f"{name}.npy").read_bytes() for name in ("best", "named", "newest"))
    assert best == named != newest
    assert (kept.sample(3, checkpoint="best") == kept.sample(3, checkpoint="4")).all()


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ({2: nan, 4: 3.0, 6: 3.0, 8: None, 10: -inf}, 4),
        ({2: 1.0, 4: 1.0, 6: 1.0, 8: 1.0, 10: 1.0}, 2),
        ({2: 5.0, 4: 4.0, 6: 3.0, 8: 2.0, 10: 1.0}, 10),
        ({2: nan, 4: nan, 6: inf, 8: None, 10: nan, 12: nan}, None),
        ({2: 5.0, 4: 4.0, 6: 5.0, 8: 5.0, 10: 5.0, 12: 1.0}, 12),
    ],
    ids=["not finite", "ties", "ever better", "none", "the end"],
)
def test_which_is_the_best(run, scores, best, monkeypatch):
    monkeypatch.setattr(Told, "scores", scores)
    done = run("train.keep=1")
    found = summary(done.path).best
    assert (found and found.step) == best
    assert set(saved(done)) == {"000012", *([] if best is None else [f"{best:06d}"])} | (
        {"000004"} if best == 12 else set()
    )
    if best is None:
        with pytest.raises(CheckpointError, match=r"look\.score\(x\) was measured at none of its checkpoints"):
            done.sample(1, checkpoint="best")


def test_more_may_be_better(run):
    assert summary(run("train.keep_best=max:look.gain").path).best.step == 12
    assert saved(run("train.keep_best=min:look.gain", "train.keep=1")) == ["000002", "000012"]


def test_without_analyses_a_best_that_is_there_stays(run):
    done = run("train.keep=1").resume(steps=14, analyze=False, quiet=True)
    assert saved(done) == ["000004", "000014"]


def test_what_was_measured_with_other_options_does_not_count(run, gflow):
    done = run("train.keep=1")
    before = summary(done.path).best
    other = Result(scores={"score(x)": 0.1}, manifest={"overrides": ["analyze.0.n=1"]})
    done._folder.write_result("look", other, 12, final=True)
    assert summary(done.path).best == before
    gflow("analyze", done.path, "look", "--checkpoint", "best")
    assert summary(done.path).best == before


# ------------------------------------------------------------------ killed, and going back


def holds_the_best(run: Path) -> None:
    """Of all that was measured until the newest checkpoint the best is there, whole, and called so."""
    folder, goal = api.load_run(run)._folder, load(run / "recipe.toml", begun=True).spec.goal
    names = folder.checkpoints()
    if not names:
        return
    seen = {step: score for step, score in history(run, goal).items() if step <= int(names[-1])}
    found = best_of(run, goal)
    assert (found and found.step) == goal.best(seen)
    for name in names:
        read(run / "checkpoints" / name)


def test_a_kill_leaves_the_old_best_or_the_new(recipe, run, kill_at, tree, tmp_path):
    whole = tree(run("train.keep=1", runs="whole").path)
    name, n = recipe.stem + "-s0-001", 0
    for n in range(20, 10**9, 12):
        runs = f"killed{n}"
        if not kill_at(n, lambda runs=runs: run("train.keep=1", runs=runs)):
            break
        holds_the_best(tmp_path / runs / name)
        kill_at(n // 2, lambda runs=runs: api.load_run(tmp_path / runs / name).resume(quiet=True))
        holds_the_best(tmp_path / runs / name)
        assert tree(api.load_run(tmp_path / runs / name).resume(quiet=True).path) == whole
    assert n > 60


def test_going_back_beyond_the_best(run, kill_at, tree, tmp_path):
    done = run("train.checkpoint_every=4", "train.keep=9", "train.steps=8")
    whole = tree(done.path)
    assert saved(done) == ["000002", "000004", "000008"]
    for n in count(1):
        one = api.load_run(shutil.copytree(done.path, tmp_path / str(n) / done.path.name))
        folder, goal = one._folder, one.recipe.spec.goal
        killed = kill_at(n, lambda folder=folder, goal=goal: folder.rewind("000002", goal))
        assert saved(one)[-1] in ("000008", "000004", "000002"), "where it was, at its best, or where it was to go"
        holds_the_best(one.path)
        if n == 3 or not killed:
            assert tree(one.resume(checkpoint="000002", quiet=True).path) == whole
        if not killed:
            break
    assert n > 10


def test_what_is_left_after_going_back_is_not_called_better_than_it_is(run, monkeypatch):
    monkeypatch.setattr(Told, "scores", {2: 3.0, 4: 8.0, 5: 1.0, 6: 7.0, 8: 2.0, 10: 1.0})
    done = run("train.checkpoint_every=4", "train.keep=2", "train.steps=9")
    assert saved(done) == ["000008", "000009"], "step 8 was better than 2, whose checkpoint went"
    done.resume(checkpoint="best", steps=10, quiet=True)
    assert summary(done.path).best.step == 10
    monkeypatch.setattr(Told, "scores", {2: 3.0, 4: 8.0, 6: 2.5})
    done = run("train.checkpoint_every=4", "train.keep=3", "train.steps=8", "train.seed=1")
    assert saved(done) == ["000004", "000006", "000008"]
    monkeypatch.setattr(Told, "scores", {2: 3.0, 4: 8.0, 6: 9.0})
    done.resume(checkpoint="000004", overrides=["train.stop_after=4"], quiet=True)
    best = summary(done.path).best
    assert (best.step, best.score) == (4, 8.0), "of the checkpoints that there are"
    assert "since step 2 (3)" in summary(done.path).ended, "of all that was measured"


# ------------------------------------------------------------------ ending early


def test_training_ends_where_nothing_gets_better(run, gflow, kill_at, tree):
    full, done = run(runs="full"), run("train.stop_after=4")
    assert saved(done) == ["000004", "000005", "000008"]
    assert done.results()["look"]["step"] == 8
    about = summary(done.path)
    assert (about.state, about.step, about.steps) == ("analyzed", 8, 12)
    assert about.ended == "look.score(x) has not improved for 4 steps, since step 4 (3)"
    assert done.manifest["ended"] == {"step": 8, "why": about.ended}
    row = json.loads(gflow("ls", "runs", done.path, "--json").stdout)[0]
    assert row["best"] == {"checkpoint": "000004", "step": 4, "name": "look.score(x)", "score": 3.0}
    assert row["ended"] == about.ended
    line = gflow("ls", "runs", done.path).stdout.splitlines()[1]
    assert "8/12" in line
    assert "3 at 4" in line

    whole = tree(done.path)
    out = gflow("resume", done.path).output
    assert "training ends after step 8: look.score(x) has not improved" in out
    assert "(ended early, after step 8: " in out
    assert tree(done.path) == whole
    gflow("resume", done.path, "~train.stop_after")
    assert "ended" not in done.manifest
    assert summary(done.path).step == 12
    for name in ("000004", "000012"):
        assert bits(done, name) == bits(full, name)


def test_a_run_that_is_killed_ends_early_all_the_same(recipe, run, kill_at, tree, tmp_path):
    words = ("train.stop_after=4", "train.checkpoint_every=4", "train.keep=1")
    whole = tree(run(*words, runs="whole").path)
    assert {"checkpoints/000004/checkpoint.json", "checkpoints/000008/checkpoint.json"} <= set(whole)
    for n in range(40, 10**9, 5):
        runs = f"killed{n}"
        if not kill_at(n, lambda runs=runs: run(*words, runs=runs)):
            break
        holds_the_best(tmp_path / runs / "plane-s0-001")
        done = api.load_run(tmp_path / runs / "plane-s0-001").resume(quiet=True)
        assert tree(done.path) == whole
        assert summary(done.path).state == "analyzed"
    assert n > 50


def test_what_takes_an_early_end_for_an_end(recipe, run, tmp_path, monkeypatch):
    first = run("train.stop_after=4")
    monkeypatch.setattr(Told, "scores", {2: 1.0})
    second = run("train.stop_after=4", "train.seed=1")
    assert [summary(one.path).step for one in (first, second)] == [8, 6]
    (group,) = compare([first.path, second.path]).groups
    assert group.seeds == (0, 1)
    child = api.run(recipe, f"train.from_run={first.path}", "train.steps=1", runs=tmp_path, quiet=True)
    assert child.manifest["origins"]["sampler"]["checkpoint"] == "000008"
    shutil.rmtree(first.path / "checkpoints" / "000008")
    with pytest.raises(CheckpointError, match="has done 5 of 12 steps; finish it"):
        api.run(recipe, f"train.from_run={first.path}", "train.steps=1", runs=tmp_path, quiet=True)


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["train.keep_best=lock.score"], r'no analysis of this recipe; did you mean "look"\? \(there are look\)'),
        (["~analyze.0.every"], r"look runs only at the end; set analyze\.0\.every"),
        (["train.keep_best=look."], r'names no score of look: write "look\.SCORE"'),
        (
            ["train.keep_best=look.scores"],
            r'does not say whether less or more .*did you mean "score".*"min:look\.scores"',
        ),
        (["train.keep_best=max:look.score"], r"less of score is better; leave max: out"),
        (["~train.keep_best", "train.stop_after=3"], r"train\.stop_after: needs train\.keep_best"),
        (["~analyze"], r"the recipe has no \[\[analyze\]\] table"),
        (["objective=adversarial", "train.replicas=2"], r"train\.keep_best: replicas share checkpoints"),
    ],
)
def test_what_is_refused_before_anything_runs(recipe, overrides, said):
    with pytest.raises(RecipeError, match=said):
        load(recipe, overrides)


def test_a_part_that_states_no_direction_is_a_defect(recipe, monkeypatch):
    monkeypatch.setattr(Told, "better", {"score": "down"})
    with pytest.raises(RecipeError, match=r'analyze\.0: its own better is .*, not "min" or "max" by score \(a defect'):
        load(recipe)


def test_a_score_that_the_analysis_has_not_is_told_and_mended(run, tmp_path):
    with pytest.raises(
        GflowError, match=r'look has found no score "score"; did you mean "score\(x\)".*\(there are score'
    ):
        run("train.keep_best=look.score")
    begun = api.load_run(tmp_path / "runs" / "plane-s0-001")
    assert saved(begun) == ["000002"], "nothing is lost"
    with pytest.raises(GflowError, match="no score"):
        begun.resume(quiet=True)
    begun.resume(overrides=["train.keep_best=look.score(x)"], quiet=True)
    assert saved(begun) == ["000004", "000010", "000012"]


def test_a_failing_analysis_decides_nothing(run, monkeypatch):
    def build(self):
        def look(subject):
            if subject.step in (4, 8):
                raise GflowError("no")
            return Result(scores={"score(x)": float(subject.step)})

        return look

    monkeypatch.setattr(Told, "build", build)
    with pytest.raises(GflowError, match="look failed 1 time"):
        run("train.stop_after=4")
    found = api.load_run(next(Path(run.__closure__[1].cell_contents, "runs").iterdir()))
    assert summary(found.path).step == 6
