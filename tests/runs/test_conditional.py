"""Labels through every objective: against the same step written out plainly, and from recipe to picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch.nn import functional as F

from gflow_core import load_run
from gflow_core.cli import main
from gflow_core.errors import DataError, RecipeError
from gflow_core.recipes.recipe import load
from gflow_core.runs.build import build
from gflow_core.runs.drawing import draw

# Conditional networks without batch norm and dropout: what one item gets depends on no other.
GAME = """
gflow = 1
[dataset]
use = "mnist5k"
image_size = 16
fit = "resize"
limit = 60
[sampler]
use = "cgan.conv"
width = 4
use_batch_norm = false
latent = { use = "normal", dim = 5 }
[discriminator]
use = "cgan.conv"
width = 4
use_batch_norm = false
[objective]
use = "adversarial"
[optimizer.sampler]
use = "sgd"
lr = 0.05
[optimizer.discriminator]
use = "sgd"
lr = 0.05
[train]
steps = 2
batch_size = 12
sample_every = 1
precision = "float32"
device = "cpu"
"""

# Instead of digits: images with two real numbers each.
REAL = [
    "dataset={ use = 'array', root = 'x.npz', key = 'x', image_size = 16, channels = 1, labels = 'y', "
    "conditions = ['angle', 'size'] }"
]
FLOW = ["objective={ use = 'vgrow.flow', pool_size = 24, inner_loops = 2, projection_passes = 2, chunk_size = 7 }"]
FAR = ["objective={ use = 'far.fake_as_real', fake_as_real = 4, candidates = 20 }"]


@pytest.fixture
def game(tmp_path, monkeypatch, rng):
    monkeypatch.chdir(tmp_path)
    x = rng.integers(0, 256, (60, 16, 16), np.uint8)
    np.savez("x.npz", x=x, y=rng.choice([-1.0, 1.0], (60, 2)))
    (tmp_path / "game.toml").write_text(GAME)
    return lambda *words: load(tmp_path / "game.toml", words).spec


def step(experiment, number: int = 1):
    *_, metrics = experiment.objective.step(number)
    return metrics


def same(one, other) -> None:
    for name in ("sampler", "discriminator"):
        for p, q in zip(getattr(one, name).parameters(), getattr(other, name).parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=1e-9, atol=1e-11)


def descend(module, loss) -> None:
    gradients = torch.autograd.grad(loss, list(module.parameters()))
    with torch.no_grad():
        for p, g in zip(module.parameters(), gradients, strict=True):
            p -= 0.05 * g


def plain_game(experiment, *, counted: int = 0, candidates: int = 0) -> None:
    """A step of the non-saturating game on labelled items; with `counted`, of FAR's (eq. 12)."""
    g, d, streams = experiment.sampler, experiment.discriminator, experiment.streams
    pool = experiment.data.y

    def fresh(n, stream="adversarial"):
        z = experiment.spec.sampler.latent.draw(n, streams[f"{stream}.latent"])
        y = torch.stack([pool[i] for i in torch.randint(60, (n,), generator=streams[f"{stream}.label"])])
        y = y if y.dim() == 1 else y.double()
        return g(z, y), y

    fake, y_fake = fresh(12)
    real = experiment.feed.next(12 - counted)
    x, y = real.x, real.y
    if counted:
        f, y_f = fresh(candidates, "far")
        order = sorted(range(candidates), key=lambda i: d(f[i : i + 1], y_f[i : i + 1]).item())[:counted]
        x, y = torch.cat([x, f[order].detach()]), torch.cat([y, y_f[order]])
    loss = F.softplus(-d(x, y)).mean() + F.softplus(d(fake.detach(), y_fake)).mean()
    if counted:
        leaf = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(d(leaf, y).sum(), leaf, create_graph=True)
        loss = loss + 10 * slope.square().sum((1, 2, 3)).mean()
    descend(d, loss)
    fake, y_fake = fresh(12)
    descend(g, F.softplus(-d(fake, y_fake)).mean())


@pytest.mark.parametrize("data", [[], REAL], ids=["classes", "real"])
def test_the_game(game, float64, data):
    ours, theirs = build(game(*data)), build(game(*data))
    for number in (1, 2):
        step(ours, number)
        plain_game(theirs)
    same(ours, theirs)


@pytest.mark.parametrize("data", [[], REAL], ids=["classes", "real"])
def test_fake_as_real(game, float64, data):
    ours, theirs = build(game(*data, *FAR)), build(game(*data, *FAR))
    for number in (1, 2):
        step(ours, number)
        plain_game(theirs, counted=4, candidates=20)
    same(ours, theirs)


def plain_flow(experiment) -> None:
    """An outer loop of VGrow (KL) in which every particle keeps its label, one particle at a time."""
    g, d, streams = experiment.sampler, experiment.discriminator, experiment.streams
    pool = experiment.data.y
    z = experiment.spec.sampler.latent.draw(24, streams["vgrow.latent"])
    y = torch.stack([pool[i] for i in torch.randint(60, (24,), generator=streams["vgrow.label"])])
    y = y if y.dim() == 1 else y.double()
    x = [g(z[i : i + 1], y[i : i + 1])[0].detach() for i in range(24)]
    for _ in range(2):
        real = experiment.feed.next(12)
        chosen = torch.randperm(24, generator=streams["vgrow.particles"])[:12]
        fake = torch.stack([x[i] for i in chosen])
        descend(d, F.softplus(-d(real.x, real.y)).mean() + F.softplus(d(fake, y[chosen])).mean())
        for i in range(24):
            leaf = x[i][None].requires_grad_()
            (slope,) = torch.autograd.grad(d(leaf, y[i : i + 1]).sum(), leaf)  # s(x) = 1 for KL
            x[i] = (leaf[0].detach() + 0.5 * slope[0]).clamp(-1, 1)
    target = torch.stack(x)
    for _ in range(2):
        for index in torch.randperm(24, generator=streams["vgrow.projection"]).split(12):
            descend(g, (g(z[index], y[index]) - target[index]).square().mean())


@pytest.mark.parametrize("data", [[], REAL], ids=["classes", "real"])
def test_the_flow(game, float64, data):
    ours, theirs = build(game(*data, *FLOW)), build(game(*data, *FLOW))
    metrics = step(ours)
    assert metrics["displacement"] > 1e-4
    plain_flow(theirs)
    same(ours, theirs)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sampler=dcgan.conv", "sampler.width=4"], "an unconditional sampler's items do not have"),
        (["sampler=dcgan.conv", "sampler.width=4", *FLOW], "an unconditional sampler's items do not have"),
        (["dataset={ use = 'array', root = 'x.npz', key = 'x', image_size = 16, channels = 1 }"], "label"),
    ],
)
def test_networks_that_cannot_read_labels_are_refused(game, words, message):
    with pytest.raises(RecipeError, match=message):
        game(*words)


def test_a_conditional_sampler_goes_with_an_unconditional_discriminator(game):
    experiment = build(game("discriminator=dcgan.conv", "discriminator.width=4", *FLOW))
    step(experiment)
    assert experiment.objective.state.y is None, "the loop is over"


@pytest.mark.parametrize("objective", [[], FLOW, FAR], ids=["game", "flow", "far"])
def test_a_resumed_run_is_the_uninterrupted_one(game, tmp_path, objective):
    """Labels and their streams are saved as all else is."""

    def start(*words):
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 0, result.output

    for runs, steps in (("whole", 3), ("part", 1)):
        start("run", str(tmp_path / "game.toml"), *objective, f"train.steps={steps}", "--runs", runs)
    (whole,), (part,) = (list((tmp_path / runs).iterdir()) for runs in ("whole", "part"))
    start("resume", str(part), "--steps", "3")
    for name in ("sampler", "discriminator"):
        one, other = (run / "checkpoints" / "000003" / f"{name}.safetensors" for run in (whole, part))
        assert one.read_bytes() == other.read_bytes()


def test_a_run_draws_a_row_of_each_class_and_samples_of_one(game, tmp_path):
    result = CliRunner().invoke(main, ["run", str(tmp_path / "game.toml"), "--runs", "runs"])
    assert result.exit_code == 0, result.output
    (run,) = (tmp_path / "runs").iterdir()
    assert Image.open(run / "samples" / "000002.png").size == (2 + 10 * 18, 2 + 10 * 18)

    asked = CliRunner().invoke(main, ["sample", str(run), "--label", "3", "--n", "5", "--out", "three.npy"])
    assert asked.exit_code == 0, asked.output
    experiment = build(load(run / "recipe.toml").spec)
    three, _ = draw(run, 5, label="3")
    assert np.array_equal(np.load("three.npy"), three.numpy())
    # The latents are those of any other draw; the label is what was asked for.
    from gflow_core.files.checkpoint import read

    experiment.sampler.load_state_dict(read(run / "checkpoints" / "000002", ("sampler",)).parts["sampler"])
    z = experiment.spec.sampler.latent.draw(8192, experiment.streams.fork("sample")["latent"])[:5]
    with torch.no_grad():
        expected = experiment.sampler.eval()(z, torch.full((5,), 3))
    torch.testing.assert_close(three, expected)
    for label, words in (("10", "labels are 0 to 9"), ("-1", "labels are 0 to 9"), ("x", "labels are 0 to 9")):
        failed = CliRunner().invoke(main, ["sample", str(run), f"--label={label}", "--out", "no.png"])
        assert (failed.exit_code, words in failed.output) == (2, True), failed.output


def test_real_labels_are_asked_for_by_name(game, tmp_path):
    result = CliRunner().invoke(main, ["run", str(tmp_path / "game.toml"), *REAL, "--runs", "runs"])
    assert result.exit_code == 0, result.output
    (run,) = (tmp_path / "runs").iterdir()
    assert Image.open(run / "samples" / "000002.png").size == (2 + 10 * 18, 2 + 4 * 18)  # four kinds of labels
    one, _ = draw(run, 3, label="size=1,angle=-1")
    other, _ = draw(run, 3, label="-1,1")
    assert torch.equal(one, other)
    for words, message in (([], "gflow sample --label"), (["--label", "1"], "one number for each of angle, size")):
        failed = CliRunner().invoke(main, ["sample", str(run), *words, "--out", "no.png"])
        assert (failed.exit_code, message in failed.output) == (2, True), failed.output


def test_a_sampler_without_labels_is_asked_for_none(game, tmp_path):
    words = ["sampler=dcgan.conv", "sampler.width=4", "discriminator=dcgan.conv", "discriminator.width=4"]
    result = CliRunner().invoke(main, ["run", str(tmp_path / "game.toml"), *words, "--runs", "runs"])
    assert result.exit_code == 0, result.output
    (run,) = (tmp_path / "runs").iterdir()
    failed = CliRunner().invoke(main, ["sample", str(run), "--label", "3", "--out", "no.png"])
    assert failed.exit_code == 2
    assert "reads no labels" in failed.output


def test_labels_that_the_data_does_not_keep_to(game, tmp_path, rng):
    x = rng.integers(0, 256, (60, 16, 16), np.uint8)
    np.savez("x.npz", x=x, y=rng.integers(0, 5, 60))
    data = REAL[0].replace("conditions = ['angle', 'size']", "classes = 4")
    result = CliRunner().invoke(main, ["run", str(tmp_path / "game.toml"), data, "--runs", "runs"])
    assert result.exit_code == 2
    assert "labels 0 to 3 expected (dataset.classes = 4), found 0 to 4" in result.output


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (torch.full((60,), 10), "promised labels 0 to 9, loaded 10 to 10"),
        (torch.zeros(60, dtype=torch.int32), "promised 60 class indices of torch.int64"),
        (None, "promised labels, loaded none"),
    ],
)
def test_a_data_set_whose_labels_are_not_what_it_promised(game, monkeypatch, y, words):
    """Whoever's data set it is: the core looks at what was loaded."""
    spec = game()
    load_digits = type(spec.dataset).load

    def lying(self, progress):
        source = load_digits(self, progress)
        source.y = y
        return source

    monkeypatch.setattr(type(spec.dataset), "load", lying)
    with pytest.raises(DataError, match=words):
        build(spec)


def test_classes_go_by_their_names(game, tmp_path, make, caplog):
    """From folders to the manifest, the plan, the sample grid, the report, and gflow sample."""
    files = {
        f"{c}/{i}.png": make.png(np.full((16, 16), 9 * i + 60 * k, np.uint8))
        for k, c in enumerate(("ant", "cat"))
        for i in range(12)
    }
    make.write(files, tmp_path / "pets")
    game("train.seed=0")  # the recipe is written
    pets = "dataset={ use = 'image_folder', root = 'pets', image_size = 16, channels = 1, classes = 2 }"
    words = ["game.toml", pets, "train.steps=1", "analyze.0={ use = 'sample_grid', samples = 4 }"]

    def gflow(*words, code=0):
        result = CliRunner().invoke(main, [str(word) for word in words])
        assert result.exit_code == code, result.output
        return result.output

    assert "classes 0 ant, 1 cat\n" in gflow("data", "prepare", *words)
    assert "0 ant, 1 cat" in gflow("run", *words, "--dry-run")
    gflow("run", *words)
    run = load_run("runs/game-s0-001")
    assert run.manifest["data"]["classes"] == ["ant", "cat"]
    assert run.results()["sample_grid"]["manifest"]["labels"] == ["ant", "cat"]
    assert "4 samples of cat: x.npy" in gflow("sample", run.path, "--n", 4, "--label", "cat", "--out", "x.npy")
    assert np.array_equal(np.load("x.npy"), run.sample(4, label=1).numpy())
    assert not np.array_equal(np.load("x.npy"), run.sample(4, label="ant").numpy())
    gflow("sample", run.path, "--n", 4, "--label", "1", "--out", "y.npy")
    assert np.array_equal(np.load("x.npy"), np.load("y.npy"))
    assert "labels are 0 ant, 1 cat, got 'dog'" in gflow("sample", run.path, "--label", "dog", "--out", "x.npy", code=2)
    gflow("report", run.path)
    assert "ant" in (run.path / "report.html").read_text()
