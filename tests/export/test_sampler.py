"""A sampler in a folder of its own: every part's, with torch alone, and nothing there before all of it is right."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from torch import nn

from gflow_core import load_run
from gflow_core.errors import GflowError, RecipeError
from gflow_core.export import sampler as exporting
from gflow_core.files import weights
from gflow_core.nn.resample import DownConv, UpConv
from gflow_core.parts.nouns import DataShape
from gflow_core.parts.plugins import plugins
from gflow_core.recipes.describe import options_of
from gflow_core.recipes.recipe import load
from gflow_core.runs.build import build
from gflow_core.runs.drawing import Drawing

FILES = {"sampler.pt2", "sampler.safetensors", "architecture.json", "README.md", "MODEL_CARD.md"}
DATA = ("use = 'mnist5k'\nimage_size = 16\nfit = 'resize'", "use = 'ring'")
SMALL = {"width": 8, "channels": 8}


def code_of(folder: Path) -> str:
    return re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)[1]


def options(name: str) -> set[str]:
    return {field.name for field in options_of(plugins().get("sampler", name))}


def untrained(folder: Path, name: str, words: str) -> Path:
    """A run that trains nothing, as far as drawing from it goes."""
    folder.mkdir()
    words += "".join(f"\n{key} = {value}" for key, value in SMALL.items() if key in options(name))
    tables = [f"[dataset]\n{data}\n" for data in DATA]
    if hasattr(plugins().get("sampler", name), "data_shape"):
        tables, words = [""], f"{words}\nimage_size = 128"
    for table in tables:
        (folder / "recipe.toml").write_text(f'gflow = 1\n{table}[sampler]\nuse = "{name}"\n{words}\n')
        try:
            load(folder / "recipe.toml")
            return folder
        except RecipeError:
            continue
    raise AssertionError(f"no data suits {name}")


def samplers() -> list[tuple[str, str]]:
    """Every registered sampler; those that read labels by an option also so."""
    registry = plugins().registries["sampler"]
    by_option = [(name, "conditional = true") for name in registry if "conditional" in options(name)]
    return [*((name, "") for name in registry), *by_option]


@pytest.mark.parametrize(
    ("name", "words"),
    [*samplers(), ("cgan.conv", "join = 'norm'\nspectral_norm = 1"), ("vgrow.resnet", "variant = 'authors'")],
)
def test_every_sampler_is_exported_and_its_page_draws_its_samples(gflow, tmp_path, monkeypatch, name, words):
    """The page's code is run here, but for gflow: the program alone draws what the run draws."""
    # torch.export takes seconds a block: one that keeps the size and one that doubles it, to 8 pixels, in place of ten.
    monkeypatch.setattr("gflow_rmt.biggan_deep._BLOCKS", {128: ((False, 16, 8), (True, 8, 1))})
    monkeypatch.setattr("gflow_rmt.biggan_deep._ATTENTION", 1)
    shape = DataShape("image", (3, 8, 8), -1.0, 1.0, classes=1000)
    monkeypatch.setattr("gflow_rmt.parts.networks.BigGanDeep.data_shape", lambda _: shape)
    run = untrained(tmp_path / "run", name, words)
    gflow("export", run, "--to", tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    code = code_of(tmp_path / "out")
    assert "gflow" not in code
    drawn: dict = {}
    torch.manual_seed(0)
    exec(code.replace("sampler.pt2", f"{tmp_path}/out/sampler.pt2"), drawn)
    sampler = load_run(run).sampler
    given = [drawn["z"], *([drawn["y"]] if "y" in drawn else [])]
    assert ("y" in drawn) == Drawing(run).recipe.spec.sampler.conditional
    with torch.no_grad():
        torch.testing.assert_close(drawn["x"], sampler(*given), rtol=0, atol=1e-4)
    if "pixels" in drawn:
        from gflow_core.runs.pictures import bytes_of

        expected = bytes_of(drawn["x"], Drawing(run).recipe.spec.data_shape()).permute(0, 2, 3, 1).numpy()
        assert np.abs(drawn["pixels"].astype(int) - expected).max() <= 1
        assert drawn["pixels"].dtype == np.uint8


@pytest.mark.parametrize("name", ["classes", "real"])
def test_a_trained_run_is_drawn_from_where_gflow_is_not(gflow, run, tmp_path, name):
    """Statistics of batch norm, spectral norms: as training left them."""
    gflow("export", run(name), "--to", tmp_path / "out", "--license", "CC0 | mine")
    code = "import sys\nsys.modules['gflow_core'] = None\n" + code_of(tmp_path / "out")
    code += "import numpy\nnumpy.savez('x.npz', z=z, x=x, **({'y': y} if 'y' in dir() else {}))\n"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path / "out", check=True, timeout=600)
    found = {key: torch.from_numpy(value) for key, value in np.load(tmp_path / "out" / "x.npz").items()}
    with torch.no_grad():
        expected = load_run(run(name)).sampler(*(found[key] for key in ("z", "y") if key in found))
    torch.testing.assert_close(found["x"], expected, rtol=0, atol=1e-5)
    card = (tmp_path / "out" / "MODEL_CARD.md").read_text()
    manifest = load_run(run(name)).manifest
    for word in (
        manifest["data"]["fingerprint"],
        "CC0 \\| mine",
        "seed | 0",
        f"torch {torch.__version__}",
        "steps = 2",
    ):
        assert word in card
    about = json.loads((tmp_path / "out" / "architecture.json").read_text())
    assert about["step"] == 2
    assert about["sampler"]["use"] == "cgan.conv"
    assert about["data"]["shape"] == list(found["x"].shape[1:])


def test_scores_are_on_the_card_with_what_they_depend_on(gflow, run, tmp_path):
    gflow("analyze", run("plane"), "mode_coverage", "analyze.0.samples=200")
    gflow("export", run("plane"), "--to", tmp_path / "out")
    card = (tmp_path / "out" / "MODEL_CARD.md").read_text()
    result = load_run(run("plane")).results()["mode_coverage"]
    assert f"| modes_covered | {result['scores']['modes_covered']} |" in card
    assert '"n_fake": 200' in card
    assert "| licence | not stated |" in card


def test_the_weights_begin_another_run(gflow, run, made, tmp_path):
    gflow("export", run("real"), "--to", tmp_path / "out")
    spec = load(made / "real2.toml", [f"sampler.weights={tmp_path}/out/sampler.safetensors"]).spec
    state, trained = build(spec).sampler.state_dict(), load_run(run("real")).sampler.state_dict()
    assert state.keys() == trained.keys()
    assert all(torch.equal(state[name], trained[name]) for name in state)


def test_an_earlier_checkpoint_is_another_sampler(gflow, run, tmp_path):
    path = run("plane")
    gflow("export", path, "--to", tmp_path / "out", "--checkpoint", "2")
    assert "no checkpoint 7" in gflow("export", path, "--to", tmp_path / "x", "--checkpoint", "7", code=2)


def test_nothing_is_overwritten_and_nothing_half_is_left(gflow, run, tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("x")
    assert "is there already" in gflow("export", run("plane"), "--to", tmp_path / "mine", code=2)
    monkeypatch.setattr(exporting, "model_card", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        exporting.export_sampler(run("plane"), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_full_disk_is_one_message(gflow, run, tmp_path, monkeypatch):
    def full(*_):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    trained = run("plane")
    monkeypatch.setattr(weights, "save_file", full)
    said = gflow("export", trained, "--to", tmp_path / "out", code=2)
    assert "cannot be written" in said
    assert "No space left on device" in said
    assert not list(tmp_path.iterdir())


class Odd(nn.Module):
    """A sampler of points, and what is odd about it."""

    def __init__(self, odd: str, dim: int) -> None:
        super().__init__()
        self.linear, self.odd = nn.Linear(dim, 2), odd

    def forward(self, z):
        x = self.linear(z)
        if self.odd == "noise":
            return x + torch.randn_like(x)
        return -x if float(x.detach().sum()) > 0 else x * 2


@pytest.mark.parametrize(("odd", "told"), [("noise", "random numbers of its own"), ("branch", "torch.export says")])
def test_what_cannot_be_exported_is_refused_with_the_reason(run, tmp_path, monkeypatch, odd, told):
    drawing = Drawing(run("plane"))
    dim = drawing.experiment.spec.sampler.latent.dim
    drawing.experiment.sampler = Odd(odd, dim)
    monkeypatch.setattr(exporting, "_rebuilt", lambda *_: drawing.experiment.sampler)
    monkeypatch.setattr(exporting, "Drawing", lambda *_, **__: drawing)
    with pytest.raises(GflowError, match=told) as error:
        exporting.export_sampler(drawing.path, tmp_path / "out")
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("layer", [UpConv(3, 5, 3, padding=1), DownConv(3, 5, 3, padding=1, bias=False)])
def test_a_plain_layer_makes_the_same(layer):
    x = torch.randn(2, 3, 6, 6)
    with torch.no_grad():
        torch.testing.assert_close(layer.plain()(x), layer(x))


@pytest.mark.parametrize("name", ["classes", "real"])
def test_onnx(gflow, run, tmp_path, name):
    """The exporter itself compares the samples; so it does here where a stranger is written in its place."""
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    gflow("export", run(name), "--to", tmp_path / "out", "--onnx")
    session = runtime.InferenceSession(str(tmp_path / "out" / "sampler.onnx"), providers=["CPUExecutionProvider"])
    given = exporting._given(Drawing(run(name)), 7)
    inputs = {one.name: t.numpy() for one, t in zip(session.get_inputs(), given, strict=True)}
    with torch.no_grad():
        expected = load_run(run(name)).sampler(*given)
    torch.testing.assert_close(torch.from_numpy(session.run(None, inputs)[0]), expected, rtol=0, atol=1e-4)


def test_a_disk_that_is_full_for_onnx_is_no_fault_of_the_sampler(gflow, run, tmp_path, monkeypatch):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    trained = run("plane")
    monkeypatch.setattr(torch.onnx.ONNXProgram, "save", full)
    said = gflow("export", trained, "--to", tmp_path / "out", "--onnx", code=2)
    assert f"{tmp_path / 'out'}: cannot be written: No space left on device" in said
    assert not list(tmp_path.iterdir())


def test_onnx_without_its_packages(gflow, run, tmp_path, monkeypatch):
    trained = run("plane")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert 'pip install "gflow-core[onnx]"' in gflow("export", trained, "--to", tmp_path / "x", "--onnx", code=2)
    assert not (tmp_path / "x").exists()
