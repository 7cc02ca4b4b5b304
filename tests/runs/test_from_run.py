"""Another run's sampler or discriminator, to look at and to train on; and training that starts from another run."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from gflow_core.errors import RecipeError
from gflow_core.recipes.recipe import load
from gflow_core.recipes.writing import dumps

LOOK = """
gflow = 1
[sampler]
from_run = "runs/plane-s0-001"
[[analyze]]
use = "sample_grid"
samples = 20
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The folder that all commands start in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def look(here, gflow, plane):
    """A recipe that looks at a trained run's sampler."""
    gflow("run", plane, "--runs", "runs")
    (here / "look.toml").write_text(LOOK)
    return here / "look.toml"


MISSING = "not a run folder (it has no recipe.toml); relative paths count from where gflow is started, here "


def problems(path, *overrides) -> str:
    with pytest.raises(RecipeError) as caught:
        load(path, overrides)
    return str(caught.value)


def samples(gflow, run, *words) -> np.ndarray:
    gflow("sample", run, "--n", 8, "--out", "x.npy", *words)
    return np.load("x.npy")


def origins(run) -> dict[str, dict[str, str]]:
    """What the manifest says that networks began from."""
    return json.loads((run / "manifest.json").read_text())["origins"]


# ------------------------------------------------------------------ looking


def test_it_makes_what_the_run_makes(gflow, look, here):
    gflow("run", look)
    theirs, own = samples(gflow, "runs/plane-s0-001"), samples(gflow, "runs/look-s0-001")
    assert np.array_equal(own, theirs)
    assert (here / "runs/look-s0-001/analysis/sample_grid/samples.png").is_file()
    manifest = json.loads((here / "runs/look-s0-001/manifest.json").read_text())
    weights = here / "runs/plane-s0-001/checkpoints/000006/sampler.safetensors"
    origin = {
        "run": str(here / "runs/plane-s0-001"),
        "checkpoint": "000006",
        "file": "sampler.safetensors",
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
    }
    assert manifest["origins"] == {"sampler": origin}
    gflow("run", "runs/look-s0-001/recipe.toml")
    assert np.array_equal(samples(gflow, "runs/look-s0-002"), theirs)
    gflow(
        "analyze",
        "runs/look-s0-001",
        "two_sample",
        "dataset.use=ring",
        "analyze.1.samples=20",
        "analyze.1.mmd_samples=20",
    )
    assert "--checkpoint" not in gflow("run", look, "--dry-run").output
    assert "from runs/plane-s0-001" in gflow("run", look, "--dry-run").output
    assert "sampler from runs/plane-s0-001" in gflow("validate", look).output


def test_averaged_weights_are_taken_where_the_run_keeps_them(gflow, images, here):
    gflow("run", images, "--runs", "runs", "train.steps=3", "train.precision=float32")
    look = here / "look.toml"
    look.write_text(LOOK.replace("plane", "images"))
    gflow("run", look)
    assert np.array_equal(samples(gflow, "runs/look-s0-001"), samples(gflow, "runs/images-s0-001"))
    run = here / "runs/look-s0-001"
    assert origins(run)["sampler"]["file"] == "ema.safetensors"

    spec = load(look).spec
    from gflow_core.parts.analysis import Subject  # what its scores will say, and those of a run that trains it on

    assert Subject(spec, None, None).protocol()["ema"] is True
    tuned = load(images, ["sampler.from_run=runs/images-s0-001", "~train.ema"]).spec
    assert Subject(tuned, None, None).protocol()["ema"] is False


def test_a_run_that_reads_labels(gflow, here):
    game = here / "game.toml"
    game.write_text("""
gflow = 1
dataset = { use = "mnist5k", image_size = 16, fit = "resize", limit = 60 }
sampler = { use = "cgan.conv", width = 4, latent = { use = "normal", dim = 5 } }
discriminator = { use = "cgan.conv", width = 4 }
objective = { use = "adversarial" }
optimizer = { sampler = { use = "sgd", lr = 0.05 }, discriminator = { use = "sgd", lr = 0.05 } }
train = { steps = 1, batch_size = 12, sample_every = 0 }
""")
    gflow("run", game)
    (here / "look.toml").write_text(LOOK.replace("plane", "game"))
    gflow("run", "look.toml")
    result = json.loads((here / "runs/look-s0-001/analysis/sample_grid/result.json").read_text())
    assert result["manifest"]["labels"] == [str(label) for label in range(10)], "the run's classes, without its data"
    label = ("--label", 3)
    assert np.array_equal(samples(gflow, "runs/look-s0-001", *label), samples(gflow, "runs/game-s0-001", *label))
    np.save("x.npy", np.zeros((9, 16, 16), np.uint8))
    unlabelled = "dataset={ use = 'array', root = 'x.npy', image_size = 16, channels = 1 }"
    assert "was trained on image 1x16x16 in [-1, 1], 10 classes, the data is" in problems("look.toml", unlabelled)


# ------------------------------------------------------------------ the recipe


def test_only_the_law_of_z_may_be_another(look):
    def latent(*overrides):
        return load(look, overrides).spec.sampler.latent

    assert (type(latent()).__name__, latent().dim) == ("Normal", 2)
    bernoulli = latent("sampler.latent=bernoulli")
    assert (type(bernoulli).__name__, bernoulli.dim) == ("Bernoulli", 2), "of the length that the network reads"
    assert latent("sampler.latent={ use = 'student_t', nu = 4 }", "sampler.latent.nu=3").nu == 3
    assert problems(look, "sampler.latent.nu=4") == (
        "override sampler.latent.nu=4: sampler.latent.nu: normal, which is the default, has no such option; add "
        'use = "student_t"'
    )
    assert "latent.dim = 3; the network of runs/plane-s0-001 reads 2" in problems(look, "sampler.latent.dim=3")
    assert problems(look, "sampler.width=3", "sampler.depth=2").count("the run has settled it") == 2
    resolved = look.with_name("resolved.toml")
    for overrides in ([], ["sampler.latent=bernoulli"]):
        spec = load(look, overrides).spec
        resolved.write_text(dumps(spec))
        assert load(resolved).spec == spec


def test_it_replaces_another_sampler_and_the_other_way_round(look, plane):
    taken = load(plane, ["sampler.latent.dim=7", "sampler.from_run=runs/plane-s0-001"])
    assert taken.table["sampler"] == {"from_run": "runs/plane-s0-001"}, "what belonged to the other is dropped"
    back = load(look, ["dataset=ring", "sampler.latent=bernoulli", "sampler=far.mlp"])
    assert back.table["sampler"] == {"use": "far.mlp"}
    child = look.with_name("child.toml")
    child.write_text('gflow = 1\nextends = "plane.toml"\n[sampler]\nfrom_run = "runs/plane-s0-001"\n')
    assert load(child).table["sampler"] == {"from_run": "runs/plane-s0-001"}
    same = load(look, ["sampler.latent=bernoulli", "sampler.from_run=runs/plane-s0-001"])
    assert same.table["sampler"]["latent"] == {"use": "bernoulli"}, "the same name drops nothing"


def test_an_option_that_is_called_from_run_elsewhere_is_an_option(look):
    said = problems(look, "optimizer.sampler={ use = 'adam', lr = 1, from_run = 'x' }", "optimizer.sampler.from_run=y")
    assert "optimizer.sampler.from_run: unknown option" in said
    assert "required" not in said, "use and lr are still there"


def test_what_is_no_trained_run_is_refused(look, gflow, here, monkeypatch):
    gflow("run", look)
    recipe = (here / "runs/plane-s0-001/recipe.toml").read_text()
    (here / "runs/many").mkdir()
    many = re.sub(r"(?s)\[objective\].*?\n\n", '[objective]\nuse = "adversarial"\n\n', recipe)
    (here / "runs/many/recipe.toml").write_text(many.replace("replicas = 1", "replicas = 2"))
    (here / "runs/odd").mkdir()
    (here / "runs/odd/recipe.toml").write_text(recipe.replace("width = 16", 'width = "wide"', 1))
    for run, said in {
        "runs/nothing": f"{MISSING}{here}",
        str(here / "x"): "not a run folder (it has no recipe.toml)",
        "look.toml": "not a run folder",
        "~nobody-of-this-name/run": "its recipe.toml cannot be read",
        "runs/look-s0-001": "that run trained no sampler; copy its [sampler] table instead",
        "runs/many": "that run has 2 replicas",
        "runs/odd": "its recipe.toml is wrong: sampler.width: expected a whole number",
        "3": "expected the path of a run folder, as a string, got the whole number 3",
    }.items():
        message = problems(look, f"sampler.from_run={run}")
        assert f"sampler.from_run: {'' if run == '3' else run + ': '}{said}" in message, message
    monkeypatch.setenv("HOME", str(here))
    assert load(look, ["sampler.from_run=~/runs/plane-s0-001"]).spec.sampler.latent.dim == 2
    assert "the data is image" in problems(look, "dataset=mnist5k")


def test_a_circle_is_refused(look, gflow, here):
    gflow("run", look)
    path = here / "runs/look-s0-001/recipe.toml"
    path.write_text(path.read_text().replace("plane-s0-001", "look-s0-001"))
    assert "runs/look-s0-001: goes round in a circle" in problems(look, "sampler.from_run=runs/look-s0-001")
    assert "circle" in gflow("analyze", "runs/look-s0-001", code=2).output


def test_what_measured_the_run_need_not_be_here(look, here):
    with (here / "runs/plane-s0-001/recipe.toml").open("a") as file:
        file.write('\n[[analyze]]\nuse = "of.another"\n')
    assert load(look).spec.sampler.latent.dim == 2


def test_checking_imports_no_torch(look):
    code = (
        "import sys; from gflow_core.cli import main; main(['validate', 'look.toml'], standalone_mode=False); "
        "sys.exit(3 * ('torch' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


# ------------------------------------------------------------------ the checkpoint


def test_a_run_that_is_not_done_or_damaged_is_named_with_the_mend(look, gflow, here):
    checkpoints = here / "runs/plane-s0-001/checkpoints"
    file = checkpoints / "000006/sampler.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    said = gflow("run", look, code=2).output
    assert f"sampler.from_run: {file.relative_to(here)} is damaged" in said
    assert "gflow resume runs/plane-s0-001 --checkpoint 000004 trains its end again" in said
    gflow("resume", "runs/plane-s0-001", "--checkpoint", "000004")
    assert file.read_bytes() == whole
    gflow("run", look)

    shutil.rmtree(checkpoints / "000006")
    assert "has done 4 of 6 steps; finish it with gflow resume runs/plane-s0-001" in gflow("run", look, code=2).output
    shutil.rmtree(checkpoints)
    assert "runs/plane-s0-001 has no checkpoint" in gflow("run", look, code=2).output
    recipe = here / "runs/plane-s0-001/recipe.toml"
    gflow("run", recipe)
    recipe.write_text(recipe.read_text().replace("width = 16", "width = 8", 1))
    shutil.copytree(here / "runs/plane-s0-002/checkpoints", checkpoints)
    said = gflow("run", look, code=2).output
    assert "sampler.safetensors: the weights of another network: tensors " in said
    assert "of another shape (layers.0.weight [16, 2] instead of [8, 2]" in said
    assert "put that run's recipe.toml back as it was" in said


def test_a_sampler_that_changed_since_is_not_taken_for_the_old(look, gflow, here, monkeypatch):
    gflow("run", look)
    gflow("resume", "runs/plane-s0-001", "--steps", 7)
    for command in (("analyze", "runs/look-s0-001"), ("sample", "runs/look-s0-001", "--out", "x.npy")):
        assert f"the sampler of {here}/runs/plane-s0-001 has changed since" in gflow(*command, code=2).output
    gflow("run", "runs/look-s0-001/recipe.toml")
    (here / "elsewhere").mkdir()
    monkeypatch.chdir(here / "elsewhere")
    said = gflow("analyze", "../runs/look-s0-002", code=2).output
    assert f"sampler.from_run: runs/plane-s0-001: {MISSING}{here / 'elsewhere'}" in said


# ------------------------------------------------------------------ training on


def test_training_goes_on_from_its_weights_and_resumes_bit_for_bit(look, gflow, plane, here, weights):
    tune = here / "tune.toml"
    tune.write_text('gflow = 1\nextends = "plane.toml"\n[sampler]\nfrom_run = "runs/plane-s0-001"\n')
    still = ["optimizer.sampler={ use = 'sgd', lr = 1e-30 }", "train.steps=1"]
    gflow("run", tune, *still, "--runs", "still")
    assert (
        weights(here / "still/tune-s0-001")["sampler.safetensors"]
        == weights(here / "runs/plane-s0-001")["sampler.safetensors"]
    )

    gflow("run", tune, "train.steps=4")
    gflow("run", tune, "train.steps=2")
    gflow("resume", "runs/tune-s0-002", "--steps", 4)
    whole, resumed = weights(here / "runs/tune-s0-001"), weights(here / "runs/tune-s0-002")
    assert whole == resumed
    assert whole["sampler.safetensors"] != weights(here / "runs/plane-s0-001")["sampler.safetensors"]

    # A run of the run that trained it on: only the recipe of the first is still needed.
    look.write_text(LOOK.replace("plane", "tune"))
    shutil.rmtree(here / "runs/plane-s0-001/checkpoints")
    gflow("run", look)
    assert origins(here / "runs/look-s0-001")["sampler"]["run"] == str(here / "runs/tune-s0-001")
    x = samples(gflow, "runs/look-s0-001")
    assert x.shape == (8, 2)
    assert np.isfinite(x).all()


def test_scores_of_two_runs_samplers_stand_side_by_side(look, gflow, plane):
    gflow("run", plane, "train.seed=1", "--runs", "runs")
    measured = ["dataset={ use = 'ring', n = 500 }", "analyze.0={ use = 'mode_coverage', samples = 100 }"]
    for run in ("plane-s0-001", "plane-s1-001"):
        gflow("run", look, *measured, f"sampler.from_run=runs/{run}")
    out = gflow("compare", "runs/look-s0-001", "runs/look-s0-002").output
    assert "from_run" in out
    assert "plane-s1-001" in out


# ------------------------------------------------------------------ discriminators


def test_a_discriminator_is_taken_and_trained_on(gflow, plane, here, weights):
    gflow("run", plane, "train.ema.decay=0.9", "--runs", "runs")
    taken = ("discriminator.from_run=runs/plane-s0-001", "train.seed=3")
    still = ("optimizer.discriminator={ use = 'sgd', lr = 1e-30 }", "train.steps=1")
    gflow("run", plane, *taken, *still, "--runs", "still")
    theirs = weights(here / "runs/plane-s0-001")
    own = weights(here / "still/plane-s3-001")
    assert own["discriminator.safetensors"] == theirs["discriminator.safetensors"]
    assert own["sampler.safetensors"] != theirs["sampler.safetensors"]
    assert origins(here / "still/plane-s3-001") == {
        "discriminator": {
            "run": str(here / "runs/plane-s0-001"),
            "checkpoint": "000006",
            "file": "discriminator.safetensors",
            "sha256": hashlib.sha256(theirs["discriminator.safetensors"]).hexdigest(),
        }
    }
    assert "discriminator" in gflow("run", plane, *taken, "--dry-run").output

    for steps in (4, 2):
        gflow("run", plane, *taken, f"train.steps={steps}", "--runs", "runs")
    shutil.rmtree(here / "runs/plane-s0-001/checkpoints")  # only the recipe is still read
    gflow("resume", "runs/plane-s3-002", "--steps", 4)
    whole, resumed = (weights(here / f"runs/plane-s3-00{i}") for i in (1, 2))
    assert whole == resumed
    assert whole["discriminator.safetensors"] != theirs["discriminator.safetensors"]


def test_a_discriminator_that_changed_since_is_not_taken_for_the_old(gflow, plane, here):
    gflow("run", plane, "--runs", "runs")
    look = ("sampler.from_run=runs/plane-s0-001", "discriminator.from_run=runs/plane-s0-001")
    nothing = ("~objective", "~optimizer", "~train", "analyze.0={ use = 'sample_grid', samples = 20 }")
    gflow("run", plane, *look, *nothing, "--runs", "looks")
    assert list(origins(here / "looks/plane-s0-001")) == ["sampler", "discriminator"]
    manifest = here / "looks/plane-s0-001/manifest.json"
    manifest.write_text(re.sub(r'("discriminator": \{[^}]*"sha256": ")..', r"\1zz", manifest.read_text()))
    said = gflow("analyze", "looks/plane-s0-001", code=2).output
    assert f"the discriminator of {here}/runs/plane-s0-001 has changed since this run took it" in said


def test_what_a_recipe_may_say_of_a_discriminator_that_it_takes(look, plane, here):
    taken = load(plane, ["discriminator.from_run=runs/plane-s0-001"])
    assert taken.table["discriminator"] == {"from_run": "runs/plane-s0-001"}, "what belonged to the other is dropped"
    resolved = here / "resolved.toml"
    frozen = load(plane, ["discriminator={ from_run = 'runs/plane-s0-001', freeze = ['layers.0.*'] }"]).spec
    resolved.write_text(dumps(frozen))
    assert load(resolved).spec == frozen
    back = load(resolved, ["discriminator=vgrow.mlp"])
    assert back.table["discriminator"] == {"use": "vgrow.mlp"}
    said = problems(resolved, "discriminator.width=3")
    assert "discriminator.width: the run has settled it; beside from_run only freeze may stand" in said
    assert "discriminator.from_run: runs/plane-s0-001 was trained on vector 2" not in said
    said = problems(resolved, "dataset={ use = 'mnist5k' }", "sampler=vgrow.resnet")
    assert "discriminator: runs/plane-s0-001 was trained on vector 2 unbounded, the data is image" in said
    assert f"discriminator.from_run: runs/x: {MISSING}" in problems(resolved, "discriminator.from_run=runs/x")


def test_a_run_without_a_discriminator_has_none_to_give(look, plane, gflow, here):
    recipe = (here / "runs/plane-s0-001/recipe.toml").read_text()
    (here / "runs/lone").mkdir()
    lone = re.sub(r"(?s)\[(discriminator|optimizer\.discriminator)\].*?\n\n", "", recipe)
    (here / "runs/lone/recipe.toml").write_text(lone)
    said = problems(plane, "discriminator.from_run=runs/lone")
    assert "discriminator.from_run: runs/lone: its recipe.toml is wrong: objective: needs a [discriminator]" in said
    gflow("run", look)
    said = problems(plane, "discriminator.from_run=runs/look-s0-001")
    assert "runs/look-s0-001: that run trained no discriminator; name one that has a [discriminator]" in said


def test_a_circle_through_a_discriminator_is_refused(look, plane, gflow, here):
    gflow("run", plane, "discriminator.from_run=runs/plane-s0-001", "train.steps=1", "--runs", "runs")
    path = here / "runs/plane-s0-002/recipe.toml"
    path.write_text(path.read_text().replace("plane-s0-001", "plane-s0-002"))
    said = problems(plane, "discriminator.from_run=runs/plane-s0-002")
    assert "runs/plane-s0-002: goes round in a circle" in said
