"""Many samples in files: the same images in every form, and a folder that goes on where it was stopped."""

from __future__ import annotations

import json
import zipfile
from itertools import count

import attrs
import numpy as np
import pytest
import torch
from PIL import Image

from gflow_core import load_run
from gflow_core.export import samples
from gflow_core.files.whole import sha256_of
from gflow_core.runs import drawing
from gflow_core.runs.analyze import looking
from gflow_core.runs.build import read_data
from gflow_core.runs.drawing import Drawing

N = 300  # more than one chunk


@pytest.fixture
def at_most(monkeypatch):
    """The folder's writer is stopped after so many images."""

    def stop(most: int) -> None:
        write, written = samples._write, count()

        def counted(path, content):
            if path.suffix == ".png" and next(written) >= most:
                raise KeyboardInterrupt
            write(path, content)

        monkeypatch.setattr(samples, "_write", counted)

    return stop


def test_every_form_holds_the_same_images(gflow, run, tmp_path):
    folder = run("classes")
    for name in ("x.npy", "x.npz", "x.zip", "x"):
        gflow("sample", folder, "--n", N, "--out", tmp_path / name)
    values = np.load(tmp_path / "x.npy")
    expected = ((values + 1) * 127.5).round().clip(0, 255).astype(np.uint8).transpose(0, 2, 3, 1)
    labels = np.arange(N) % 3
    with np.load(tmp_path / "x.npz") as found:
        assert np.array_equal(found["arr_0"], expected)
        assert np.array_equal(found["arr_1"], labels)
    names = [f"{i:06d}.png" for i in range(N)]
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        assert sorted(archive.namelist()) == [*names, "dataset.json", "samples.json"]
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        for i in (0, 255, 256, N - 1):
            with archive.open(names[i]) as file:
                assert np.array_equal(np.asarray(Image.open(file)), expected[i])
        zipped = json.loads(archive.read("dataset.json"))
    assert zipped == json.loads((tmp_path / "x" / "dataset.json").read_text())
    assert zipped["labels"] == [[name, y] for name, y in zip(names, labels.tolist(), strict=True)]
    assert sorted(path.name for path in (tmp_path / "x").iterdir()) == [*names, "dataset.json", "samples.json"]
    for i, name in enumerate(names):
        assert np.array_equal(np.asarray(Image.open(tmp_path / "x" / name)), expected[i])


def test_a_folder_that_was_stopped_goes_on_and_is_the_same(gflow, run, tmp_path, at_most, monkeypatch):
    """Only the chunks that lack images are drawn again, and only those images are written."""
    words = ("sample", run("classes"), "--n", 600, "--seed", 3)
    gflow(*words, "--out", tmp_path / "whole")
    (tmp_path / "half").mkdir()
    at_most(400)
    gflow(*words, "--out", tmp_path / "half", code=130)
    monkeypatch.undo()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "half").glob("*.png")}
    assert 256 < len(before) < 600
    (tmp_path / "half" / ".gflow-0123.tmp").write_bytes(b"of a process that was killed")
    drawn = []
    monkeypatch.setattr(samples, "_rows", lambda x, shape, rows=samples._rows: drawn.append(len(x)) or rows(x, shape))
    gflow(*words, "--out", tmp_path / "half")
    assert sum(drawn) == 600 - 256
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert {path.name: sha256_of(path) for path in (tmp_path / "half").iterdir()} == {
        path.name: sha256_of(path) for path in (tmp_path / "whole").iterdir()
    }
    gflow(*words, "--out", tmp_path / "half")
    assert sum(drawn) == 600 - 256, "all is there"
    (tmp_path / "half" / "000007.png").write_bytes(b"")  # as a crash of the machine may leave it
    gflow(*words, "--out", tmp_path / "half")
    assert sha256_of(tmp_path / "half" / "000007.png") == sha256_of(tmp_path / "whole" / "000007.png")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--n", 5], "n 4 there and 5 here"),
        (["--n", 4, "--seed", 1], "seed 0 there and 1 here"),
        (["--n", 4, "--label", 2], "label None there and 2 here"),
    ],
)
def test_other_options_are_refused(gflow, run, tmp_path, words, told):
    gflow("sample", run("classes"), "--n", 4, "--out", tmp_path / "x")
    before = {path: sha256_of(path) for path in (tmp_path / "x").iterdir()}
    said = gflow("sample", run("classes"), "--out", tmp_path / "x", *words, code=2)
    assert told in said
    assert "name another folder" in said
    assert {path: sha256_of(path) for path in (tmp_path / "x").iterdir()} == before


def test_two_checkpoints_are_refused(gflow, run, tmp_path):
    said = gflow("sample", run("classes"), "--best", "--checkpoint", 1, "--out", tmp_path / "x.npy", code=2)
    assert "--best and --checkpoint 1 are two checkpoints; leave one of them out" in said


def test_a_sampler_that_was_trained_on_is_another(gflow, run, tmp_path):
    gflow("sample", run("classes"), "--n", 4, "--out", tmp_path / "x")
    assert "step 2 there and 1 here" in gflow("sample", run("classes", 1), "--n", 4, "--out", tmp_path / "x", code=2)


def test_a_folder_of_other_things_is_left_alone(gflow, run, tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "000000.png").write_bytes(b"mine")
    assert "did not write" in gflow("sample", run("classes"), "--out", tmp_path / "x", code=2)
    assert (tmp_path / "x" / "000000.png").read_bytes() == b"mine"
    (tmp_path / "x" / "samples.json").write_text("[]")
    assert "samples.json: damaged" in gflow("sample", run("classes"), "--out", tmp_path / "x", code=2)


def test_real_labels_and_grey_images(gflow, run, tmp_path):
    words = ("sample", run("real"), "--n", 3, "--label", "size=1,angle=-0.5", "--out")
    gflow(*words, tmp_path / "x.npz")
    gflow(*words, tmp_path / "x")
    with np.load(tmp_path / "x.npz") as found:
        assert found["arr_0"].shape == (3, 16, 16, 1)
        assert found["arr_1"].tolist() == [[-0.5, 1.0]] * 3
        image = Image.open(tmp_path / "x" / "000002.png")
        assert image.mode == "L"
        assert np.array_equal(np.asarray(image), found["arr_0"][2, :, :, 0])
    labels = json.loads((tmp_path / "x" / "dataset.json").read_text())["labels"]
    assert labels == [[f"{i:06d}.png", [-0.5, 1.0]] for i in range(3)]


def test_vectors_are_arrays_and_no_pictures(gflow, run, tmp_path):
    for name in ("x.npy", "x.npz"):
        gflow("sample", run("plane"), "--n", N, "--out", tmp_path / name)
    with np.load(tmp_path / "x.npz") as found:
        assert found.files == ["arr_0"]
        assert found["arr_0"].dtype == np.float32
        assert np.array_equal(found["arr_0"], np.load(tmp_path / "x.npy"))
    for name in ("x", "x.zip"):
        said = gflow("sample", run("plane"), "--out", tmp_path / name, code=2)
        assert "vector 2" in said
        assert "FILE.npz" in said
        assert not (tmp_path / name).exists()


def test_what_gflow_wrote_it_reads(gflow, run, made, tmp_path):
    """Samples as the data of another recipe: the .npz with labels, the folder and the zip without."""
    from gflow_core import Recipe
    from gflow_core.runs.build import read_data

    for name in ("x.npz", "x.zip", "x"):
        gflow("sample", run("classes"), "--n", 6, "--out", tmp_path / name)
    array = f"dataset={{ use='array', root='{tmp_path}/x.npz', key='arr_0', labels='arr_1', classes=3, image_size=16 }}"
    data = read_data(Recipe.load(made / "classes2.toml", array).spec.dataset)
    assert data.y.tolist() == [0, 1, 2, 0, 1, 2]
    for name in ("x.zip", "x"):
        folder = f"dataset={{ use='image_folder', root='{tmp_path / name}', image_size=16 }}"
        words = (folder, "sampler.use=dcgan.conv", "discriminator.use=dcgan.conv")
        assert (read_data(Recipe.load(made / "classes2.toml", *words).spec.dataset).x == data.x).all()


def test_names_that_say_nothing_are_refused(gflow, run, tmp_path):
    assert ".png, .npy, .npz, .zip" in gflow("sample", run("plane"), "--out", tmp_path / "x.pgn", code=2)


def test_samples_with_standing_batch_norm_are_those_that_analyzers_look_at(gflow, run, tmp_path):
    words = ("sample", run("classes"), "--n", 6, "--out")
    gflow(*words, tmp_path / "eval.npy")
    said = gflow(*words, tmp_path / "x.npy", "--batch-norm", "standing")
    assert said.startswith("6 samples, with standing statistics of batch norm: ")
    plain, standing = np.load(tmp_path / "eval.npy"), np.load(tmp_path / "x.npy")
    assert not np.allclose(plain, standing, atol=0.01)
    assert np.array_equal(load_run(run("classes")).sample(6, batch_norm="standing").numpy(), standing)

    plainly = Drawing(run("classes"))
    experiment = plainly.experiment
    experiment.data = read_data(experiment.spec.dataset)
    with looking(experiment, "sample_grid", plainly.step, "standing") as subject:
        assert subject.batch_norm == "standing"
        statistics = {name: value.clone() for name, value in subject.sampler.state_dict().items()}
    for seed in (None, 3):
        module = Drawing(run("classes"), seed=seed, batch_norm="standing").experiment.final_sampler
        assert all(torch.equal(value, statistics[name]) for name, value in module.state_dict().items())
    experiment.final_sampler.load_state_dict(statistics)
    assert np.allclose(torch.cat(list(plainly.chunks(6))).numpy(), standing, atol=1e-6)


def test_a_folder_goes_on_with_the_statistics_it_began_with(gflow, run, tmp_path):
    words = ("sample", run("classes"), "--n", 3, "--out", tmp_path / "x")
    gflow(*words, "--batch-norm", "standing")
    assert json.loads((tmp_path / "x" / "samples.json").read_text())["options"]["batch_norm"] == "standing"
    assert "batch_norm standing there and eval here" in gflow(*words, code=2)
    gflow(*words, "--batch-norm", "standing")


def test_standing_statistics_want_batch_norm(gflow, run, tmp_path):
    said = gflow("sample", run("plane"), "--batch-norm", "standing", "--out", tmp_path / "x.npy", code=2)
    assert "has no batch norm; leave it out" in said
    assert not (tmp_path / "x.npy").exists()


def test_standing_statistics_follow_the_labels_of_the_runs_own_data(gflow, run, tmp_path, monkeypatch):
    monkeypatch.setattr(drawing, "read_data", lambda part: attrs.evolve(read_data(part), fingerprint="0123"))
    said = gflow("sample", run("classes"), "--batch-norm", "standing", "--out", tmp_path / "x.npy", code=2)
    assert "the data has changed since the run began" in said
