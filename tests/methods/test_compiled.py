"""`train.compile`: the same step, compiled."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from gflow_core.cli import main
from gflow_core.errors import GflowError
from gflow_core.machine.streams import Streams
from gflow_core.methods import compiled as compiled_module
from gflow_core.methods import game
from gflow_core.recipes.recipe import load
from gflow_core.runs.build import build
from gflow_core.runs.record import RunFolder

GAME = """
gflow = 1
[dataset]
use = "ring"
n = 200
convention = "vgrow"
[sampler]
use = "far.mlp"
width = 8
[discriminator]
use = "far.mlp"
width = 8
[objective]
use = "far.fake_as_real"
fake_as_real = 4
candidates = 16
penalty = { use = "mixed", weight = { use = "linear", start = 3.0, end = 1.0, steps = 4 } }
[optimizer.sampler]
use = "adam"
lr = 1e-2
[optimizer.discriminator]
use = "adam"
lr = 1e-2
[train]
device = "cpu"
steps = 6
batch_size = 12
checkpoint_every = 3
keep = 9
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "game.toml"
    path.write_text(GAME)
    return path


@pytest.fixture
def traced(monkeypatch):
    """Steps are traced, and run as they were traced."""
    check = compiled_module._compile

    def untouched(graph, inputs):
        monkeypatch.setattr("torch._inductor.compile", lambda graph, inputs, options: graph)
        return check(graph, inputs)

    monkeypatch.setattr(compiled_module, "_compile", untouched)


def weights(recipe: Path, *overrides: str, steps: int = 3) -> list[torch.Tensor]:
    experiment = build(load(recipe, list(overrides)).spec)
    for step in range(1, steps + 1):
        for player in experiment.players.values():
            player.set_rates(step - 1)
        *_, metrics = experiment.objective.step(step)
    return [*experiment.sampler.parameters(), *experiment.discriminator.parameters(), *metrics.values()]


def close(one: list[torch.Tensor], other: list[torch.Tensor]) -> None:
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


LOSSES = ("nonsaturating", "minimax", "hinge", "least_squares", "wasserstein", "relativistic")
PENALTIES = ("[{use='r2',interval=2},'r1']", "interpolation", "wgan_gp")


@pytest.mark.parametrize(
    ("loss", "penalty"), [*((loss, "r1") for loss in LOSSES), *((LOSSES[0], penalty) for penalty in PENALTIES)]
)
def test_each_loss_and_penalty_is_traced_as_it_is_computed(recipe, traced, caplog, loss, penalty):
    words = ["objective.use=adversarial", f"objective.loss={loss}", f"objective.penalty={penalty}"]
    close(weights(recipe, *words), weights(recipe, *words, "train.compile=true"))
    assert not caplog.records


@pytest.mark.parametrize("words", [(), ("train.replicas=3",), ("train.clip=0.1", "objective.discriminator_steps=2")])
def test_candidates_replicas_and_a_weight_that_follows_the_steps(recipe, traced, caplog, words):
    close(weights(recipe, *words), weights(recipe, *words, "train.compile=true"))
    assert not caplog.records


def test_what_cannot_be_compiled_is_named_and_runs_as_it_is(recipe, monkeypatch, caplog):
    def refuse(graph, inputs):
        raise RuntimeError("no such kernel\nand a long story")

    monkeypatch.setattr(compiled_module, "_compile", refuse)
    with caplog.at_level(logging.WARNING, "gflow"):
        found = weights(recipe, "train.compile=true")
    assert all(
        torch.equal(a, b) for a, b in zip(found, weights(recipe), strict=True)
    )  # its streams stand where they did
    said = [record.getMessage() for record in caplog.records]
    assert any("the discriminator's update cannot be compiled" in text for text in said)
    assert len(said) == len(set(said)) == 3  # the choice of fakes and two updates; none again later
    assert all("no such kernel" in text and "story" not in text for text in said)


@pytest.mark.parametrize(
    ("layer", "reason"), [(nn.Dropout(0.5), "draws random numbers"), (nn.BatchNorm1d(2), "no weight")]
)
def test_networks_with_draws_or_statistics_are_not_compiled(layer, reason, caplog):
    module, x = nn.Sequential(nn.Linear(2, 2), layer), torch.randn(4, 2)
    own = compiled_module.Compiled({"sampler": module}, Streams(0))

    torch.manual_seed(1)
    before = [*(buffer.clone() for buffer in module.buffers()), torch.get_rng_state()]

    def loss(x, uniform):
        return module(x).square().mean(), {}

    with caplog.at_level(logging.WARNING, "gflow"):
        assert own.gradients("sampler", None, loss, [x], lambda: lambda: torch.rand(4)) is None
    assert reason in caplog.text
    after = [*module.buffers(), torch.get_rng_state()]  # it runs as it is, as if it had not been tried
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_what_a_loss_draws_from_streams_while_it_is_tried_is_put_back(caplog):
    module, x, streams = nn.Linear(2, 2), torch.randn(4, 2), Streams(0)
    torch.rand(3, generator=streams["known"])
    before = streams["known"].get_state()

    def loss(x, uniform):
        noise = torch.randn(4, 2, generator=streams["known"]) + torch.randn(4, 2, generator=streams["new"])
        return (module(x + noise).squeeze(-1) * uniform()).mean(), {}

    own = compiled_module.Compiled({"sampler": module}, streams)
    draw = lambda: torch.rand(4, 1, generator=streams["known"])  # noqa: E731
    assert own.gradients("sampler", None, loss, [x], lambda: draw) is None
    assert "runs as it is" in caplog.text
    assert torch.equal(streams["known"].get_state(), before)
    assert torch.equal(streams["new"].get_state(), Streams(0)["new"].get_state())


def test_without_a_compiler_it_says_so_and_makes_no_folder(recipe, tmp_path, monkeypatch):
    from torch._inductor import cpp_builder
    from torch._inductor.exc import InvalidCxxCompiler

    def none():
        raise InvalidCxxCompiler

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", none)
    result = CliRunner().invoke(main, ["run", str(recipe), "--runs", str(tmp_path / "runs"), "train.compile=true"])
    assert result.exit_code == 2
    assert "this machine has no C++ compiler" in result.output
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "said"), [(("train.accumulate=2",), "computes a batch whole"), (("train.precision=bf16",), "in float32")]
)
def test_what_it_does_not_do_is_refused(recipe, tmp_path, words, said):
    arguments = ["run", str(recipe), "--runs", str(tmp_path / "runs"), "train.compile=true", *words]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert said in " ".join(result.output.split())


def test_auto_compiles_where_it_can_and_the_run_repays_it(recipe, monkeypatch):
    def compiled(*words: str, began: bool | None = None) -> bool:
        return compiled_module.compiles(load(recipe, ["train.compile=auto", *words]).spec, began)

    long = "train.steps=100000"
    assert compiled(long)
    assert not compiled()
    assert not compiled(long, "train.precision=bf16")
    assert not compiled(long, "train.accumulate=2")
    assert compiled(began=True), "a run keeps to what it began with"
    assert not compiled(long, began=False)
    monkeypatch.setattr(compiled_module, "_fault", lambda train: "no compiler")
    assert not compiled(long)
    with pytest.raises(GflowError, match="no compiler"):
        compiled(began=True)


def test_auto_says_what_it_came_to_and_a_run_keeps_to_it(recipe, tmp_path, traced, monkeypatch):
    monkeypatch.setattr(compiled_module, "_REPAID", 6)
    invoke("run", str(recipe), "--runs", str(tmp_path / "runs"), "train.compile=auto")
    (folder,) = (tmp_path / "runs").iterdir()
    assert RunFolder(folder).read_manifest()["compiled"] is True
    plan = json.loads(invoke("run", str(recipe), "--dry-run", "--json", "train.compile=auto", "train.steps=5"))
    assert plan["compiled"] is False
    monkeypatch.setattr(compiled_module, "_REPAID", 1000)
    seen = []
    monkeypatch.setattr(game, "Compiled", lambda *given: seen.append(given) or compiled_module.Compiled(*given))
    invoke("resume", str(folder), "--checkpoint", "000003")
    assert seen


def test_hooks_of_an_optimizer_are_called(recipe):
    experiment = build(load(recipe).spec)
    called = []
    experiment.players["sampler"].optimizer.register_step_post_hook(lambda *_: called.append(1))
    list(experiment.objective.step(1))
    assert called == [1]


def invoke(*words: str) -> str:
    result = CliRunner().invoke(main, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


DIES = """
import os, signal, sys
from gflow_core.cli import main
from gflow_core.methods.game import AdversarialObjective

step = AdversarialObjective.step
def dies(self, number):
    yield from step(self, number)
    if number == 5:
        os.kill(os.getpid(), signal.SIGKILL)
AdversarialObjective.step = dies
main(sys.argv[1:])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGKILL")
def test_compiled_for_true_and_killed_it_goes_on_bit_for_bit(recipe, tmp_path, caplog):
    runs = tmp_path / "runs"
    arguments = ["run", str(recipe), "--runs", str(runs), "train.compile=true"]
    died = subprocess.run([sys.executable, "-c", DIES, *arguments], capture_output=True, timeout=300)
    assert died.returncode == -signal.SIGKILL, died.stderr
    (killed,) = runs.iterdir()
    assert RunFolder(killed).checkpoints() == ["000003"]
    invoke(*arguments)
    (whole,) = set(runs.iterdir()) - {killed}
    invoke("resume", str(killed))
    ends = [run / "checkpoints" / "000006" for run in (whole, killed)]
    for file in ("sampler.safetensors", "discriminator.safetensors"):
        assert ends[0].joinpath(file).read_bytes() == ends[1].joinpath(file).read_bytes()
    assert "cannot be compiled" not in caplog.text
    found = RunFolder(whole).load("000006").parts
    plain = weights(recipe, steps=6)
    close([*found["sampler"].values(), *found["discriminator"].values()], plain[: len(plain) - 5][:16])
