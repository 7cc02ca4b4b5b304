"""What needs no data, and long analyses that are killed: made-up parts, through the command line."""

from __future__ import annotations

import json
from typing import ClassVar

import attrs
import numpy as np
import pytest
from PIL import Image
from torch import nn

from gflow_core.errors import Interrupted, RecipeError
from gflow_core.nn.latents import Normal
from gflow_core.parts.analysis import Result
from gflow_core.parts.contracts import Latent
from gflow_core.parts.nouns import DataShape
from gflow_core.parts.options import option
from gflow_core.parts.plugins import plugins
from gflow_core.parts.registry import Entry
from gflow_core.recipes.recipe import load


class Colour(nn.Module):
    """z [B, 3], and a class y -> images of one colour, tanh of z; the class is in the corner."""

    def __init__(self, size):
        super().__init__()
        self.size = size

    def forward(self, z, y=None):
        x = z.tanh()[..., None, None].repeat(1, 1, self.size, self.size)
        x[:, :, 0, 0] = (y / 2 - 1)[:, None] if y is not None else -1
        return x


@attrs.frozen(kw_only=True)
class Colours:
    """A sampler that knows what it makes."""

    conditional: bool = option(False, doc="Read labels.")
    size: int = option(6, doc="Height and width.")
    makes: int = option(6, doc="Height and width by its own account.")
    real: bool = option(False, doc="Labels are real numbers.")
    latent: Latent = option(factory=lambda: Normal(dim=3), doc="Law of z.")

    def data_shape(self):
        if not self.makes:
            raise ZeroDivisionError("of its own")
        labels = {"conditions": ("hue",)} if self.real else {"classes": 4}
        return DataShape("image", (3, self.makes, self.makes), -1.0, 1.0, **labels)

    def check(self, data):
        return ()

    def build(self, data):
        assert data is None
        return Colour(self.size)


@attrs.frozen(kw_only=True)
class Long:
    """An analyzer whose work takes five turns and is stopped after the second, until it is asked to go on."""

    needs: ClassVar[frozenset[str]] = frozenset()
    stopped: ClassVar[list[bool]] = [True]

    def check(self, spec):
        return ()

    def build(self):
        return self.look

    def look(self, subject):
        subject.work.mkdir(parents=True, exist_ok=True)
        done = subject.work / "done.json"
        turns = json.loads(done.read_text()) if done.is_file() else []
        while len(turns) < 5:
            if self.stopped[0] and len(turns) == 2:
                raise Interrupted("killed")
            turns.append(len(turns))
            done.write_text(json.dumps(turns))
            subject.progress("turns", len(turns), 5)
        done.unlink()
        return Result(scores={"turns": len(turns), "first": self.stopped[0]})


@pytest.fixture
def colours(monkeypatch, tmp_path):
    """The parts registered, and a recipe that uses the sampler."""
    for kind, name, part in (("sampler", "made.colours", Colours), ("analyzer", "made.long", Long)):
        monkeypatch.setitem(plugins().registries[kind]._entries, name, Entry(name, part, "made 1"))
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "colours.toml"
    path.write_text('gflow = 1\nsampler = { use = "made.colours" }\n[[analyze]]\nuse = "sample_grid"\nsamples = 6\n')
    return path


def test_a_sampler_that_knows_what_it_makes_needs_no_data(gflow, colours):
    spec = load(colours).spec
    assert spec.data_shape() == DataShape("image", (3, 6, 6), -1.0, 1.0, 4)
    assert load(colours, ["dataset=ring"]).spec.data_shape() == DataShape("vector", (2,)), "data go first"
    assert load(colours, ["~sampler", "~analyze"]).spec.data_shape() is None
    gflow("run", colours)
    folder = colours.parent / "runs/colours-s0-001/analysis/sample_grid"
    assert {path.name for path in folder.iterdir()} == {"result.json", "samples.png"}, "no real images"
    assert json.loads((folder / "result.json").read_text())["manifest"] == {"n_fake": 6, "n_real": 0}
    gflow("sample", "runs/colours-s0-001", "--n", 4, "--out", "x.npy")
    x = np.load("x.npy")
    assert x.shape == (4, 3, 6, 6)
    gflow("sample", "runs/colours-s0-001", "--n", 4, "--out", "x.png")
    assert np.asarray(Image.open("x.png").convert("RGB"))[3, 4] == pytest.approx((x[0, :, 3, 3] + 1) * 127.5, abs=1)


def test_its_labels_are_its_own_account_too(gflow, colours):
    gflow("run", colours, "sampler.conditional=true")
    found = json.loads((colours.parent / "runs/colours-s0-001/analysis/sample_grid/result.json").read_text())
    assert found["manifest"] == {"n_fake": 8, "n_real": 0, "labels": ["0", "1", "2", "3"]}
    gflow("run", colours, "sampler.conditional=true", "analyze.0.classes=[3, 1]")
    found = json.loads((colours.parent / "runs/colours-s0-002/analysis/sample_grid/result.json").read_text())
    assert found["manifest"] == {"n_fake": 6, "n_real": 0, "labels": ["3", "1"]}
    for words, message in (("[4]", "4 is not among the classes 0 to 3"), ("[]", "names none")):
        with pytest.raises(RecipeError, match=message):
            load(colours, ["sampler.conditional=true", f"analyze.0.classes={words}"])
    with pytest.raises(RecipeError, match="reads no classes"):
        load(colours, ["analyze.0.classes=[1]"])
    gflow("sample", "runs/colours-s0-001", "--n", 3, "--label", 2, "--out", "x.npy")
    assert (np.load("x.npy")[:, :, 0, 0] == 0).all()
    with pytest.raises(RecipeError, match=r"analyze.0: needs a \[dataset\]: the sampler reads real labels"):
        load(colours, ["sampler.conditional=true", "sampler.real=true"])


def test_an_account_that_is_wrong_is_refused(gflow, colours):
    said = gflow("run", colours, "sampler.makes=7", code=2).output
    assert "its forward returns [2, 3, 6, 6] for two items, [2, 3, 7, 7] is expected" in said
    with pytest.raises(RecipeError, match=r"sampler: its own data_shape raised ZeroDivisionError: of its own"):
        load(colours, ["sampler.makes=0", "~analyze"])
    colours.write_text('gflow = 1\n[sampler]\nuse = "vgrow.mlp"\n[[analyze]]\nuse = "sample_grid"\n')
    with pytest.raises(RecipeError, match=r"analyze.0: needs a \[dataset\] that says what samples look like"):
        load(colours)


def test_long_work_goes_on_where_it_was_killed(gflow, colours, monkeypatch):
    gflow("run", colours, "analyze.0=made.long", code=130)
    work = colours.parent / "runs/colours-s0-001/analysis/made.long/work"
    assert json.loads((work / "done.json").read_text()) == [0, 1]
    monkeypatch.setattr(Long, "stopped", [False])
    gflow("analyze", "runs/colours-s0-001")
    result = json.loads((work.parent / "result.json").read_text())
    assert result["scores"] == {"turns": 5, "first": False}
    assert list(work.iterdir()) == []
