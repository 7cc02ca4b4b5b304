"""gflow from Python: what notebooks and scripts do."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

import gflow_core
from gflow_core import Page, Recipe, load_run, run
from gflow_core.cli import main
from gflow_core.errors import GflowError, RecipeError
from gflow_core.runs.api import Run

PLANE = """
gflow = 1
dataset = { use = "ring", n = 200 }
sampler = { use = "vgrow.mlp", width = 8 }
discriminator = { use = "vgrow.mlp", width = 8 }
objective = { use = "adversarial" }
optimizer = { sampler = { use = "adam", lr = 1e-3 }, discriminator = { use = "adam", lr = 1e-3 } }
[train]
steps = 4
batch_size = 16
checkpoint_every = 2
device = "cpu"
[[analyze]]
use = "mode_coverage"
samples = 100
"""


@pytest.fixture
def plane(tmp_path, monkeypatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("plane.toml").write_text(PLANE)
    return "plane.toml"


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A run that the tests below look at and do not change."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "plane.toml").write_text(PLANE)
    return run(folder / "plane.toml", runs=folder / "runs", quiet=True).path


def test_the_names_are_there_and_cost_no_torch_before_they_are_used():
    assert set(gflow_core.__all__) <= set(dir(gflow_core))
    assert all(getattr(gflow_core, name).__doc__ for name in gflow_core.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        _ = gflow_core.nothing
    code = "import sys; from gflow_core import Recipe; sys.exit(3 * ('torch' in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_run_in_three_lines(plane, capsys):
    done = run(Recipe.load(plane, "train.steps=2", "train.seed=7"))
    assert done.path == Path("runs/plane-s7-001").absolute()
    assert done.recipe.spec.train.steps == 2
    assert [line["step"] for line in done.metrics()] == [1, 2]
    assert set(done.scores()) == {"mode_coverage"}
    assert done.results()["mode_coverage"]["step"] == 2
    assert done.manifest["versions"]["torch"] == torch.__version__
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "done: runs/plane-s7-001",
        "samples: runs/plane-s7-001/samples/000002.png",
    ]


def test_a_recipe_of_a_dictionary(plane, tmp_path):
    """It is the file's, with numbers of numpy and tuples; what is wrong says where, and nobody's file."""
    table = tomllib.loads(PLANE)
    table["sampler"] = {"use": "vgrow.mlp", "widths": (np.int64(8), 8)}
    table["optimizer"]["sampler"]["lr"] = np.float32(0.5)
    recipe = Recipe.of(table, "train.steps=2")
    file = Recipe.load(plane, "sampler.widths=[8, 8]", "optimizer.sampler.lr=0.5", "train.steps=2", "~sampler.width")
    assert (recipe.path, recipe.spec) == (None, file.spec)
    assert Recipe.of({"extends": plane}).spec == Recipe.load(plane).spec
    done = run(recipe, quiet=True)
    assert done.path.name == "recipe-s0-001"
    assert done.manifest["recipe"] is None
    assert (done.recipe.spec, [one.recipe for one in gflow_core.summaries()]) == (file.spec, ["recipe"])
    for change, message in (
        ({"train": {"stesp": 3}}, r'^recipe: train.stesp: unknown option; did you mean "steps"'),
        ({"train": {"steps": None}}, r"^recipe: train.steps: None cannot stand in a recipe; leave it out$"),
        ({"dataset": {"use": "ring", 3: 4}}, "^recipe: dataset: 3 names nothing: names are text$"),
        (
            {"analyze": [{"use": object}]},
            r"^recipe: analyze\.0\.use: <class 'object'> cannot stand in a recipe; it holds",
        ),
        ({"extends": "nowhere.toml"}, "^recipe: extends: no such file: nowhere.toml"),
    ):
        with pytest.raises(RecipeError, match=message):
            Recipe.of(table | change)
    table["title"] = [table]  # goes round in a circle
    with pytest.raises(RecipeError, match="tables and lists in one another"):
        Recipe.of(table)
    with pytest.raises(GflowError, match=r"recipe: nothing to do"):
        run(Recipe.of({"gflow": 1}))


def test_what_analyses_found_over_training(plane):
    """While training, at a checkpoint looked at later, and at the end, which counts of two at one step."""
    done = run(plane, "analyze.0.every=3", "train.steps=6", quiet=True).analyze(checkpoint=4, quiet=True)
    found = done.history()["mode_coverage"]
    assert [one["step"] for one in found] == [3, 4, 6]
    assert found[-1] == done.results()["mode_coverage"]
    assert all(one["scores"].keys() == found[-1]["scores"].keys() for one in found)
    assert run(plane, quiet=True, analyze=False).history() == {}


def test_pages_and_exports(finished, plane, tmp_path):
    """What `gflow report` and `gflow export` write, from a run."""
    done = load_run(finished)
    page = gflow_core.write_report(done, tmp_path / "page")
    assert page == Page(tmp_path / "page/report.html", missing=())
    assert "mode_coverage" in Path(page).read_text()
    both = gflow_core.write_report([done, run(plane, quiet=True)], only="mode_coverage")
    assert both.path == Path("report/report.html")
    to = gflow_core.export_sampler(done, tmp_path / "sampler", checkpoint=2, licence="CC0")
    program = torch.export.load(to / "sampler.pt2").module()
    z = done.recipe.spec.sampler.latent.draw(3, torch.Generator().manual_seed(0))
    assert torch.allclose(program(z), load_run(finished, checkpoint=2).sampler(z), atol=1e-5)
    with pytest.raises(GflowError, match="is there already; name another folder"):
        gflow_core.export_sampler(done, to)
    with pytest.raises(GflowError, match=r"the folder .*nowhere does not exist"):
        gflow_core.export_sampler(done, tmp_path / "nowhere/sampler")


def test_quiet_says_nothing(plane, capfd):
    done = run(plane, "train.steps=2", runs="elsewhere", quiet=True)
    done = done.resume(steps=3, quiet=True).analyze("mode_coverage", overrides=["analyze.0.samples=50"], quiet=True)
    assert capfd.readouterr() == ("", "")
    assert done.path == Path("elsewhere/plane-s0-001").absolute()
    assert done.metrics()[-1]["step"] == 3
    assert done.results()["mode_coverage"]["manifest"]["overrides"] == ["analyze.0.samples=50"]


def test_samples_are_those_of_the_command_line(finished, tmp_path):
    x = load_run(finished).sample(5, seed=1)
    out = tmp_path / "x.npy"
    assert (
        CliRunner().invoke(main, ["sample", str(finished), "--n", "5", "--seed", "1", "--out", str(out)]).exit_code == 0
    )
    np.testing.assert_array_equal(x, np.load(out))
    done = load_run(str(finished))
    assert x.shape == (5, 2)
    assert torch.equal(done.sample(5), done.sample(5))
    assert not torch.equal(done.sample(5), x)
    assert not torch.equal(done.sample(5), done.sample(5, checkpoint="2"))
    assert not done.sampler.training
    assert done.sampler(torch.zeros(3, done.recipe.spec.sampler.latent.dim)).shape == (3, 2)


def test_the_discriminator_and_the_data_of_a_run(finished, plane):
    done = load_run(finished)
    with torch.no_grad():
        logits = done.discriminator(done.data.batch(torch.arange(5)).x)
    assert logits.shape == (5,)
    last = load_file(finished / "checkpoints" / "000004" / "discriminator.safetensors")
    assert all(torch.equal(tensor, last[name]) for name, tensor in done.discriminator.state_dict().items())
    assert not done.discriminator.training
    assert done.data.fingerprint == done.manifest["data"]["fingerprint"]
    Path("alone.toml").write_text(PLANE.partition("discriminator")[0] + 'analyze = [{ use = "sample_grid" }]')
    alone = run("alone.toml", quiet=True)
    with pytest.raises(GflowError, match=r"its recipe has no \[discriminator\]"):
        _ = alone.discriminator


def test_the_command_line_trains_what_python_trains(finished, plane):
    assert CliRunner().invoke(main, ["run", plane]).exit_code == 0
    assert torch.equal(load_run("runs/plane-s0-001").sample(9), load_run(finished).sample(9))


def test_no_steps_look_at_the_networks_as_they_begin(plane):
    begun = run(plane, "train.steps=0", "train.trackers=[]", quiet=True)
    assert begun.scores()["mode_coverage"]["modes_total"] == 8
    assert begun.results()["mode_coverage"]["step"] == 0
    assert begun.metrics() == []
    assert (begun.path / "samples" / "000000.png").is_file()
    before = begun.sample(5)
    assert torch.equal(begun.sample(5, checkpoint="0"), before)
    with pytest.raises(GflowError, match="no checkpoint ; there are 000000"):
        begun.sample(5, checkpoint="")
    begun = begun.resume(quiet=True)
    assert torch.equal(begun.sample(5), before)
    assert torch.equal(begun.resume(steps=4, quiet=True).sample(5), run(plane, quiet=True).sample(5))


def test_what_is_taken_from_python(finished, monkeypatch):
    """Numbers of numpy and torch, one name for several, a run for its path, the home folder."""
    done = load_run(finished)
    for two in (np.int64(2), torch.tensor(2)):
        assert torch.equal(done.sample(two, checkpoint=2), done.sample(2, checkpoint="000002"))
    assert load_run(done).path == done.path
    assert gflow_core.compare(done).rows == gflow_core.compare([finished], only="mode_coverage").rows
    assert "modes_covered" in str(gflow_core.compare(finished.parent.glob(finished.name)))
    assert Recipe.load(finished / "recipe.toml", ["train.steps=9", "train.seed=1"]).spec.train.steps == 9
    monkeypatch.setenv("HOME", str(finished.parent))
    assert load_run(f"~/{finished.name}").path == done.path


def test_networks_of_an_earlier_checkpoint(finished):
    done = load_run(finished)
    assert done.checkpoints == ["000002", "000004"]
    z = torch.randn(3, done.recipe.spec.sampler.latent.dim, generator=torch.Generator().manual_seed(0))
    early = load_run(finished, checkpoint=2)
    assert not torch.equal(early.sampler(z), done.sampler(z))
    assert torch.equal(early.sample(3), done.sample(3, checkpoint=2))
    assert torch.equal(early.sample(3, checkpoint=4), done.sample(3))
    with pytest.raises(GflowError, match="no checkpoint 3; there are 000002, 000004"):
        load_run(finished, checkpoint=3)


def test_a_run_that_goes_on_has_its_new_networks(plane):
    done = run(plane, "train.steps=2", quiet=True)
    z = torch.randn(3, done.recipe.spec.sampler.latent.dim, generator=torch.Generator().manual_seed(0))
    before, judged = done.sampler(z), done.discriminator(torch.ones(1, 2))
    done.resume(steps=4, quiet=True, analyze=False)
    assert torch.equal(done.sampler(z), load_run(done).sampler(z))
    assert not torch.equal(done.sampler(z), before)
    assert not torch.equal(done.discriminator(torch.ones(1, 2)), judged)


def test_a_run_is_found_from_any_folder_and_missed_once_it_is_gone(plane, tmp_path, monkeypatch):
    done = run(plane, "train.steps=2", quiet=True)
    monkeypatch.chdir(tmp_path / "..")
    assert done.scores()["mode_coverage"]
    done.path.rename(tmp_path / "moved")
    for use in (Run.metrics, Run.scores, Run.results, lambda run: run.manifest, lambda run: run.recipe):
        with pytest.raises(GflowError, match=r"plane-s0-001: no run folder any more; load_run takes it where it is"):
            use(done)


def test_the_callers_own_draws_go_on(plane, finished, tmp_path):
    """Whatever a run draws, a loop of somebody's own around it gets the numbers that it would have had."""
    done = run(plane, "train.steps=2", quiet=True)
    for use in (
        lambda: load_run(finished).sampler,
        lambda: load_run(finished).discriminator,
        lambda: load_run(finished).data,
        lambda: load_run(finished).sample(2),
        lambda: done.resume(steps=3, quiet=True),
        lambda: done.analyze("mode_coverage", quiet=True),
        lambda: run(plane, "train.steps=1", quiet=True),
        lambda: gflow_core.look(plane, out=tmp_path / "data.png"),
        lambda: gflow_core.score(finished, plane, metrics="mode_coverage"),
        lambda: gflow_core.score(torch.eye(9), torch.eye(9) + 1, metrics="two_sample"),
        lambda: gflow_core.compare(finished),
    ):
        torch.manual_seed(5)
        wanted = torch.get_rng_state()
        use()
        assert torch.equal(torch.get_rng_state(), wanted)


def test_training_needs_gradients_and_takes_them(plane):
    with torch.no_grad():
        done = run(plane, "train.steps=2", quiet=True)
        assert not torch.is_grad_enabled()
    assert torch.equal(done.sample(3), run(plane, "train.steps=2", quiet=True).sample(3))


def test_another_default_of_torch_is_refused(plane, finished):
    torch.set_default_dtype(torch.float64)
    try:
        for use in (lambda: run(plane, quiet=True), lambda: load_run(finished).resume(steps=9, quiet=True)):
            with pytest.raises(GflowError, match=r"set_default_dtype\(torch.float64\) is in force, .* set it back"):
                use()
    finally:
        torch.set_default_dtype(torch.float32)
    assert not Path("runs").exists()


def test_analyses_are_overridden_by_name_and_who_is_not_run_is_told(plane, capsys):
    done = run(plane, "train.steps=2", quiet=True)
    found = done.analyze("two_sample", overrides="two_sample.samples=30", quiet=True).results()["two_sample"]
    assert found["manifest"]["n_fake"] == 30
    done.analyze("two_sample", overrides="analyze.0.samples=30")
    assert "override analyze.0.samples=30: mode_coverage is not among those that are run" in capsys.readouterr().out
    with pytest.raises(GflowError, match=r"NAME\.OPTION=VALUE of an analysis \(mode_coverage, two_sample\)"):
        done.analyze("two_sample", overrides="two_sampel.samples=30", quiet=True)


WRONG = {
    "a table": lambda path: Recipe.load({"gflow": 1}),  # type: ignore[arg-type]
    "bytes": lambda path: Recipe.load(b"plane.toml"),  # type: ignore[arg-type]
    "no character of a name": lambda path: load_run("a\0b"),
    "an override that is a table": lambda path: Recipe.load("vgrow_ring8", {"train": 1}),  # type: ignore[arg-type]
    "an option by keyword": lambda path: run("vgrow_ring8", steps=3),  # type: ignore[call-arg]
    "a folder": lambda path: run("vgrow_ring8", runs=None),  # type: ignore[arg-type]
    "a number": lambda path: load_run(path).sample("64"),  # type: ignore[arg-type]
    "yes": lambda path: load_run(path).sample(True),
    "numbers": lambda path: load_run(path).sample(torch.ones(2, dtype=torch.int64)),  # type: ignore[arg-type]
    "a whole number": lambda path: load_run(path).sample(2.5),  # type: ignore[arg-type]
    "a replica": lambda path: load_run(path).sample(2, replica=-1),
    "steps": lambda path: load_run(path).resume(steps="9"),  # type: ignore[arg-type]
    "fewer steps": lambda path: load_run(path).resume(steps=0),
    "a path among the paths": lambda path: gflow_core.compare([path, 3]),  # type: ignore[list-item]
    "no folder": lambda path: gflow_core.summaries(None),  # type: ignore[arg-type]
    "jobs": lambda path: gflow_core.sweep("vgrow_ring8", "seeds=0:2", jobs=0),
    "no file": lambda path: gflow_core.load(3),  # type: ignore[arg-type]
    "no parts": lambda path: gflow_core.register(3),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_passed_wrong_is_a_gflow_error(what, finished, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GflowError):
        WRONG[what](finished)
    assert not list(tmp_path.iterdir())


def test_paths_may_be_strings_and_numbers_numpys(finished):
    assert gflow_core.compare([str(finished)]).rows == gflow_core.compare([finished]).rows
    assert [one.path for one in gflow_core.summaries(str(finished.parent))] == [finished]
    assert load_run(finished).sample(np.int64(3)).shape == (3, 2)


def test_what_is_wrong_is_said_by_name(finished):
    with pytest.raises(GflowError, match=r"^Recipe\.load: path is to be Path \| str, got \{'gflow': 1\}$"):
        Recipe.load({"gflow": 1})  # type: ignore[arg-type]
    with pytest.raises(GflowError, match=r"argument 'steps'; it is called as run\(recipe, \*overrides, runs='runs'"):
        run("vgrow_ring8", steps=3)  # type: ignore[call-arg]


def test_a_thread_may_train(plane):
    """Signals are the main thread's; notebooks' servers and schedulers call from others."""
    done = []
    thread = threading.Thread(target=lambda: done.append(run(plane, quiet=True)))
    thread.start()
    thread.join()
    assert done[0].metrics()[-1]["step"] == 4


def test_what_goes_wrong_is_one_clear_message(plane, finished, tmp_path):
    with pytest.raises(RecipeError, match=r'train.stesp: unknown option; did you mean "steps"'):
        run(plane, "train.stesp=3")
    with pytest.raises(GflowError, match=r"give them to Recipe\.load"):
        run(Recipe.load(plane), "train.steps=3")
    with pytest.raises(GflowError, match=r"train.devices = 2: .* set it to 1"):
        run(plane, "train.devices=2")
    assert not Path("runs").exists()
    with pytest.raises(GflowError, match="not a run folder"):
        load_run(tmp_path)
    for options, message in (
        ({"n": 0}, "n = 0"),
        ({"n": 1, "label": 3}, "reads no labels"),
        ({"n": 1, "checkpoint": "9"}, "no checkpoint 9; there are 000002, 000004"),
        ({"n": 1, "replica": 2}, "no replica 2"),
    ):
        with pytest.raises(GflowError, match=message):
            load_run(finished).sample(**options)
    copy = tmp_path / "copy" / "analysis" / "x"
    copy.mkdir(parents=True)
    (tmp_path / "copy" / "recipe.toml").write_text("")
    (copy / "result.json").write_text("{")
    with pytest.raises(GflowError, match=r"result.json: damaged .* gflow analyze .*copy x makes it anew"):
        load_run(tmp_path / "copy").results()


# ------------------------------------------------------------------ TensorBoard


def curves(path: Path) -> dict[str, list[int]]:
    """Tag -> its steps, of scalars and images."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(path / "tensorboard"), size_guidance={"scalars": 0, "images": 0}).Reload()
    tags = events.Tags()
    found = {tag: [event.step for event in events.Scalars(tag)] for tag in tags["scalars"]}
    return found | {tag: [event.step for event in events.Images(tag)] for tag in tags["images"]}


def test_tensorboard_goes_on_with_the_same_curves(plane):
    done = run(plane, "train.trackers=tensorboard", "train.sample_every=2", "analyze.0.every=2", quiet=True)
    names = [name for name in done.metrics()[0] if name not in ("step", "seconds")]
    first = curves(done.path)
    assert names
    assert all(first[f"train/{name}"] == [1, 2, 3, 4] for name in names)
    assert first["samples"] == first["mode_coverage/modes_covered"] == [2, 4]
    # Back to the checkpoint after step 2: steps 3 and 4 are done again, and stand there once.
    done.resume(checkpoint="2", steps=6, quiet=True)
    assert len(list((done.path / "tensorboard").iterdir())) == 2
    second = curves(done.path)
    assert all(second[f"train/{name}"] == [1, 2, 3, 4, 5, 6] for name in names)
    assert second["samples"] == second["mode_coverage/modes_covered"] == [2, 4, 6]
    # Nothing is left to train: nothing is written twice.
    done.resume(quiet=True)
    assert curves(done.path) == second


def test_the_end_is_told_to_trackers_also_by_a_resumed_run_and_once(plane):
    words = ("train.trackers=csv", "train.log_every=1")
    whole = (run(plane, *words, quiet=True).path / "curves.csv").read_text()
    assert "mode_coverage,modes_covered" in whole
    trained = run(plane, *words, analyze=False, quiet=True)
    assert "mode_coverage" not in (trained.path / "curves.csv").read_text()
    for _ in range(2):
        trained.resume(quiet=True)
        assert (trained.path / "curves.csv").read_text() == whole


def test_a_run_that_ended_early_tells_trackers_its_end_once(plane):
    best = ("train.keep_best=max:mode_coverage.modes_covered", "train.stop_after=1", "analyze.0.every=1")
    done = run(plane, "train.trackers=csv", "train.steps=8", *best, quiet=True)
    whole = (done.path / "curves.csv").read_text()
    assert done.manifest["ended"]["step"] < 8
    done.resume(quiet=True)
    assert (done.path / "curves.csv").read_text() == whole


def test_tensorboard_has_a_curve_for_each_replica(plane):
    done = run(plane, "train.trackers=tensorboard", "train.replicas=2", "~analyze", quiet=True)
    name = next(name for name in done.metrics()[0] if name not in ("step", "seconds", "seeds"))
    found = curves(done.path)
    assert found[f"train/{name}"] == found[f"train, seed 1/{name}"] == [1, 2, 3, 4]


def test_without_tensorboard_nothing_begins(plane, monkeypatch):
    monkeypatch.setattr("gflow_core.runs.trackers.find_spec", lambda _: None)
    with pytest.raises(
        GflowError, match=r'pip install "gflow-core\[tensorboard\]", or leave the tracker tensorboard out'
    ):
        run(plane, "train.trackers=tensorboard", quiet=True)
    assert not Path("runs").exists()
    assert json.loads(CliRunner().invoke(main, ["validate", plane, "--json"]).stdout)[0]["ok"]
