"""Analyzers over checkpoints of a finished run: `gflow analyze --checkpoint` and `--every-checkpoint`."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from gflow_core import load_run, run
from gflow_core.errors import GflowError, Interrupted
from gflow_core.report.curves import score_charts
from gflow_core.report.read import read
from gflow_core.scores import two_sample

RECIPE = """
gflow = 1
dataset = { use = "ring", n = 200 }
sampler = { use = "vgrow.mlp", width = 8 }
discriminator = { use = "vgrow.mlp", width = 8 }
objective = { use = "adversarial" }
optimizer = { sampler = { use = "adam", lr = 1e-2 }, discriminator = { use = "adam", lr = 1e-2 } }
[train]
steps = 6
batch_size = 16
checkpoint_every = 2
keep = 9
device = "cpu"
ema = { decay = 0.5 }
[[analyze]]
use = "two_sample"
every = 2
samples = 100
projections = 8
[[analyze]]
use = "losses"
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    (folder / "plane.toml").write_text(RECIPE)
    return run(folder / "plane.toml", runs=folder / "runs", quiet=True).path


@pytest.fixture
def there(trained, tmp_path) -> Path:
    """A copy of the run that a test may change."""
    return shutil.copytree(trained, tmp_path / "there")


def found(path: Path) -> dict[str, bytes]:
    return {str(one.relative_to(path)): one.read_bytes() for one in sorted(path.glob("analysis/**/result.json"))}


def test_every_checkpoint_says_what_training_would_have(there, gflow):
    """Averaged weights, random numbers, manifest: the same file as an analysis with `every` has written."""
    live = found(there)
    assert {"analysis/two_sample/000002/result.json", "analysis/two_sample/000004/result.json"} < set(live)
    for step in ("000002", "000004"):
        shutil.rmtree(there / "analysis" / "two_sample" / step)
    gflow("analyze", there, "--every-checkpoint")
    again = found(there)
    assert {name: again[name] for name in live} == live
    assert set(again) - set(live) == {
        "analysis/two_sample/000006/result.json",
        *(f"analysis/losses/00000{step}/result.json" for step in (2, 4, 6)),
    }
    (chart,) = [one for one in score_charts(read(there).analyses[0])[0] if one.title == "sliced_w2"]
    assert chart.curves[0].steps == [2, 4, 6]


def test_losses_of_a_checkpoint_are_those_logged_before_it(there):
    load_run(there).analyze("losses", every_checkpoint=True, quiet=True)
    logged = {line["step"]: line["sampler_loss"] for line in load_run(there).metrics()}
    during = {one.step: one.scores["sampler_loss"] for one in read(there).analyses[1].during}
    assert during == {step: pytest.approx(logged[step]) for step in (2, 4, 6)}


def test_one_checkpoint_with_another_analyzer_leaves_the_rest_alone(there, gflow):
    before = found(there)
    words = ["analyze", there, "mode_coverage", "analyze.2.samples=50", "--checkpoint", "4"]
    assert "analysis/mode_coverage/000004" in gflow(*words).output
    after = found(there)
    assert after.keys() - before.keys() == {"analysis/mode_coverage/000004/result.json"}
    assert before.items() <= after.items()
    gflow(*words)
    assert found(there) == after, "done again it says the same"


def test_what_cannot_be_looked_at_is_one_clear_message(there, gflow):
    before = found(there)
    said = gflow("analyze", there, "--checkpoint", "9", code=2).output
    assert "no checkpoint 9; there are 000002, 000004, 000006" in said
    said = gflow("analyze", there, "--checkpoint", "4", "--every-checkpoint", code=2).output
    assert "leave one of them out" in said
    (there / "checkpoints" / "000004").rename(there / "checkpoints" / "000004-002")
    said = gflow("analyze", there, "--checkpoint", "000004-002", code=2).output
    assert "000004-002 was saved in the middle of a step; others are 000002, 000006" in said
    assert found(there) == before


def test_a_checkpoint_that_is_damaged_costs_the_others_nothing(there):
    for file in (there / "checkpoints" / "000002").glob("*.safetensors"):
        file.write_bytes(b"")
    with pytest.raises(GflowError, match=r"^checkpoint 000002: "):
        load_run(there).analyze("mode_coverage", every_checkpoint=True, quiet=True)
    assert {path.parent.name for path in there.glob("analysis/mode_coverage/*/result.json")} == {"000004", "000006"}


def test_ctrl_c_names_what_is_left(there, monkeypatch):
    def pressed(*args, **options):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(two_sample, "two_sample", pressed)
    with pytest.raises(Interrupted) as stop:
        load_run(there).analyze("two_sample", every_checkpoint=True, quiet=True)
    said = str(stop.value)
    assert said.endswith(f"gflow analyze {there} two_sample --checkpoint 000002, then for 000004, 000006")
