"""A run whose labels are captions: it keeps what made their vectors, and is asked in words."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

import gflow_core
from gflow_core.data.strokes import every_caption

RECIPE = """
gflow = 1
[dataset]
use = "captioned_digits"
image_size = 32
limit = 60
[sampler]
use = "cgan.conv"
width = 4
[discriminator]
use = "cgan.conv"
width = 4
[objective]
use = "adversarial"
[optimizer.sampler]
use = "adam"
lr = 1e-3
[optimizer.discriminator]
use = "adam"
lr = 1e-3
[train]
steps = 2
batch_size = 16
checkpoint_every = 1
sample_every = 1
precision = "float32"
[[analyze]]
use = "sample_grid"
samples = 40
"""


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    folder = tmp_path_factory.mktemp("captions")
    (folder / "words.toml").write_text(RECIPE)
    run = gflow_core.run(folder / "words.toml", runs=folder / "runs", quiet=True)
    return run.path


def copy(run, tmp_path):
    return shutil.copytree(run, tmp_path / run.name)


def test_it_is_asked_in_words(words, gflow, tmp_path):
    out = tmp_path / "sevens.npy"
    said = gflow("sample", words, "--text", "a thin seven leaning left", "--n", 4, "--out", out).output
    assert '4 samples of "a thin seven leaning left"' in said
    run = gflow_core.load_run(words)
    x = run.sample(4, text="a thin seven leaning left")
    torch.testing.assert_close(x, torch.from_numpy(np.load(out)))
    assert not torch.equal(x, run.sample(4, text="a thick zero"))


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (("--text", "xyzzy"), "--text: none of its words stands in the captions of the data: 'xyzzy'"),
        (("--label", "3"), '--label 3: the labels are captions; ask in words, --text "..."'),
        (("--label", "3", "--text", "a three"), "--text and --label ask for the same thing; leave one of them out"),
        ((), "give one (gflow sample --text)"),
    ],
)
def test_what_cannot_be_asked(words, gflow, tmp_path, asked, says):
    assert says in gflow("sample", words, *asked, "--n", 4, "--out", tmp_path / "x.npy", code=2).output


def test_rows_of_pictures_are_captions(words):
    result = gflow_core.load_run(words).results()["sample_grid"]
    assert set(result["manifest"]["labels"]) <= set(every_caption())


def test_resumed_it_is_the_same_run(words, gflow, tmp_path, weights):
    run = copy(words, tmp_path)
    gflow("resume", run, "--checkpoint", "000001")
    assert weights(run) == weights(words)


def test_the_encoder_that_a_run_began_with_goes_on(words, gflow, tmp_path, monkeypatch):
    """Another machine's SVD may be another one: vectors come from what was kept."""
    from gflow_core.data import tfidf

    fit = tfidf.fit

    def other(*given):
        found = fit(*given)
        return tfidf.Encoder(words=found.words, idf=found.idf, components=-found.components)

    monkeypatch.setattr(tfidf, "fit", other)
    run = copy(words, tmp_path)
    gflow("resume", run, "--checkpoint", "000001")
    before, after = (gflow_core.load_run(one).sample(2, text="a three") for one in (words, run))
    torch.testing.assert_close(before, after)


def test_a_damaged_or_lost_encoder_is_named(words, gflow, tmp_path):
    run = copy(words, tmp_path)
    for file in (run / "text").glob("*.safetensors"):
        file.write_bytes(file.read_bytes()[:-1])
    said = gflow("sample", run, "--text", "a three", "--n", 4, "--out", tmp_path / "x.npy", code=2).output
    assert str(run / "text") in said
    shutil.rmtree(run / "text")
    said = gflow("resume", run, "--checkpoint", "000001", code=2).output
    assert str(run / "text") in said


def test_classes_are_not_asked_in_words(gflow, tmp_path):
    (tmp_path / "plain.toml").write_text(RECIPE.replace("captioned_digits", "mnist5k"))
    gflow("run", tmp_path / "plain.toml", "--runs", tmp_path / "runs", "train.steps=1")
    run = tmp_path / "runs" / "plain-s0-001"
    said = gflow("sample", run, "--text", "a three", "--n", 4, "--out", tmp_path / "x.npy", code=2).output
    assert "reads no captions; leave it out" in said
