"""What trains and measures, on a pretend CUDA device; tests/test_pretend_cuda.py runs this in a process of its own.

PYTHONPATH=tests python -m pytest -p pretend_cuda tests/pretend_cuda/on_the_device.py -k NAME
"""

from __future__ import annotations

import importlib
import json
import re
import runpy
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch
from torch import nn

from gflow_core import (
    TINY,
    Adversarial,
    AdversarialObjective,
    Analysis,
    Batch,
    Phase,
    Result,
    Spec,
    TinySampler,
    check_analyzer,
    check_encoder,
    check_objective,
)
from gflow_core.files.checkpoint import Checkpoint, pack, unpack
from gflow_core.parts.plugins import plugins
from gflow_core.runs.analyze import analyze
from gflow_core.runs.build import build
from gflow_core.runs.state import capture, restore
from gflow_core.testing import objectives
from gflow_core.testing.promises import Promises, batch_of, same, shapes_for
from pretend_cuda import record

ROOT = Path(__file__).parents[2]
CUDA = torch.device("cuda")
CONTRACTS = [ROOT / "tests/parts/test_contracts.py", *ROOT.glob("plugins/*/tests/test_contracts.py")]
TRIED = [case for path in CONTRACTS for case in runpy.run_path(str(path))["PARTS"]]
NOT_HERE = dict.fromkeys(("vgrow.theory", "drift.theory"), "integrates densities, on the host alone")


def cases(*kinds: str) -> list[Any]:
    """Every registered part of the kinds, and with what options its own contract test tries it."""
    found = []
    for kind in kinds:
        for name in plugins().registries[kind]:
            own = [case for case in TRIED if type(case[1]) is plugins().get(kind, name)]
            assert own or name in NOT_HERE, f"{kind} {name} is in no test_contracts.py"
            found += [pytest.param(*case, id=name) for case in own if name not in NOT_HERE]
    return found


def specs(part: Any, given: dict[str, Any]) -> list[Spec]:
    """A recipe on vectors in float32, and one on images in bf16 whose networks read labels, if they may."""
    networks = (given.get(name) for name in ("dataset", "sampler", "discriminator"))
    tried = [spec for spec in objectives.recipes(part, *networks) if not list(part.check(spec))]
    vectors = [spec for spec in tried if spec.data_shape().kind == "vector" and not spec.sampler.conditional]
    images = [spec for spec in tried if spec.data_shape().kind == "image"]
    images.sort(key=lambda spec: not spec.sampler.conditional)
    assert vectors or images
    return vectors[-1:] + [attrs.evolve(spec, train=attrs.evolve(spec.train, precision="bf16")) for spec in images[:1]]


# ------------------------------------------------------------------ what ships


@pytest.mark.parametrize(("check", "part", "given"), cases("objective", "analyzer"))
def test_it_keeps_the_promises_of_its_kind(
    monkeypatch: pytest.MonkeyPatch, check: Any, part: Any, given: dict[str, Any]
) -> None:
    """Objectives train on every kind of data; that they go on from a checkpoint is the next test but one's."""
    assert check in (check_objective, check_analyzer)
    trains = objectives._trains
    monkeypatch.setattr(objectives, "_trains", lambda *args, **words: trains(*args, **{**words, "resumed": False}))
    check(part, **given)


@pytest.mark.parametrize(("check", "part", "given"), cases("encoder"))
def test_features_are_read_on_the_device(check: Any, part: Any, given: dict[str, Any]) -> None:
    assert check is check_encoder
    for shape in shapes_for(Promises("encoder", part), given.get("data")):
        assert shape is not None
        encoder = part.build(shape, CUDA)
        x = batch_of(shape, 2)[0].to(CUDA)
        assert encoder(x).device.type == "cuda"
        assert not part.classifies or encoder.classify(x).device.type == "cuda"


def after(experiment: Any, step: int) -> Any:
    """Metrics of a step, and what the next one needs."""
    *_, metrics = experiment.objective.step(step)
    assert not isinstance(metrics, Phase)
    return metrics, capture(experiment)


@pytest.mark.parametrize(("_", "part", "given"), cases("objective"))
def test_a_step_waits_for_nothing_and_goes_on_from_its_checkpoint(_: Any, part: Any, given: Any) -> None:
    for spec in specs(part, given):
        experiment = build(spec)
        after(experiment, 1)
        with record() as found:
            for _ in experiment.objective.step(2):
                pass
        assert found.lines("wait") == []
        assert found.count("launch") > 0
        assert (found.count("cast") >= 10) == (experiment.runtime.bf16 and spec.particles is None)

        tensors: dict[str, torch.Tensor] = {}
        saved = json.loads(json.dumps(pack(capture(experiment), tensors)))
        assert all(tensor.device.type == "cpu" for tensor in tensors.values())
        again = build(spec)
        restore(again, Checkpoint(step=2, parts=unpack(saved, tensors)), Path("there"))
        assert same(after(again, 3), after(experiment, 3))


def copies(*words: str) -> int:
    """What the host sends in a step of VGrow, 3 moves and 2 passes over the pool; it waits for nothing."""
    tiny = ["sampler.channels=4", "discriminator.channels=4", "objective.pool_size=32", "train.batch_size=16"]
    tiny += ["objective.inner_loops=3", "objective.projection_passes=2"]
    count = runpy.run_path(str(ROOT / "benchmarks/launches.py"))["count"]
    inside, _ = count("vgrow_mnist5k", [*tiny, *words])
    assert inside.lines("wait") == []
    return inside.count("pinned copy")


def test_data_and_draws_on_the_device_leave_nothing_to_send() -> None:
    assert copies("train.draws=device") == 0


def test_what_the_host_draws_is_sent_in_a_few_pieces() -> None:
    drawn = 1 + 1 + 2  # latents, the particles of all updates, an order a pass
    assert copies() == drawn
    assert copies("dataset.on_device=false") == drawn + 3 * 2  # images and labels of an update


def test_only_a_log_line_waits() -> None:
    inside, around = runpy.run_path(str(ROOT / "benchmarks/launches.py"))["count"]("far_ring8", [])
    assert inside.lines("wait") == []
    assert around.count("wait") > 0
    assert all(" at gflow_core/runs/train.py:" in line for line in around.lines("wait"))


def test_plain_loops_that_are_timed_on_a_gpu_run_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    gpu = importlib.import_module("gpu")
    for case in gpu.cases(small=True):
        step = case.plain(CUDA)
        with record() as found:
            step()
        assert found.count("launch") > 100


# ------------------------------------------------------------------ what is planted


class MixedGame(AdversarialObjective):
    def real_batch(self) -> tuple[Batch, int]:
        batch, true = super().real_batch()
        return Batch(batch.x + torch.zeros(batch.x.shape), batch.y), true  # planted: objective


@attrs.frozen(kw_only=True)
class Mixed(Adversarial):
    def build(self, experiment: Any) -> MixedGame:
        return MixedGame(experiment, self)


class Shifted(nn.Module):
    def __init__(self, inner: nn.Module, outputs: int) -> None:
        super().__init__()
        self.inner, self.shift = inner, torch.ones(outputs)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.inner(z) + self.shift  # planted: sampler


@attrs.frozen(kw_only=True)
class Shifting(TinySampler):
    def build(self, data: Any) -> nn.Module:
        return Shifted(super().build(data), *data.shape)


def array(subject: Any) -> Result:
    z = torch.zeros(4, 4).to(subject.runtime.device)
    return Result(scores={"mean": subject.sampler(z).detach().numpy().mean()})  # planted: array


def generator(subject: Any) -> Result:
    own, device = subject.streams["own"], subject.runtime.device
    return Result(scores={"mean": torch.randn(4, generator=own, device=device).mean().item()})  # planted: generator


def elsewhere(subject: Any) -> Result:
    x = subject.sampler(torch.zeros(4, 4).to(subject.runtime.device))
    return Result(scores={"near": torch.cdist(x, subject.data.batch(torch.arange(4)).x).min().item()})  # planted: data


@attrs.frozen(kw_only=True)
class Looking:
    function: Any

    def build(self) -> Any:
        return self.function


def planted(name: str) -> str:
    """The line that is marked."""
    lines = Path(__file__).read_text().splitlines()
    (number,) = (i for i, line in enumerate(lines, 1) if line.endswith(f"# planted: {name}"))
    return f"{Path(__file__).relative_to(ROOT)}:{number}"


def train_a_step(spec: Spec) -> None:
    after(build(spec), 1)


def look(spec: Spec, function: Any) -> None:
    analyze(build(spec), Analysis(name="looking", every=0, part=Looking(function=function)), 1)


PLANTED = {
    "objective": lambda: train_a_step(next(objectives.recipes(Mixed()))),
    "sampler": lambda: train_a_step(next(objectives.recipes(Adversarial(), TINY["vector"], Shifting()))),
    "array": lambda: look(next(objectives.recipes(Adversarial())), array),
    "generator": lambda: look(next(objectives.recipes(Adversarial())), generator),
    "data": lambda: look(next(objectives.recipes(Adversarial())), elsewhere),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_mistake_is_found_and_its_line_named(name: str) -> None:
    with pytest.raises(Exception, match=re.escape(planted(name))):
        PLANTED[name]()
