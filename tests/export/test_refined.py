"""gflow sample --refine: samples moved along the run's discriminator, in every form and at every call the same."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from gflow_core import load_run
from gflow_core.errors import GflowError
from gflow_core.methods.refinement import Refinement
from gflow_core.nn.sampling import CHUNK, draw_given
from gflow_core.runs.drawing import Drawing

N = CHUNK + 10


@pytest.mark.parametrize("name", ["plane", "classes", "real"])
def test_samples_are_those_of_latents_moved_by_hand(gflow, run, tmp_path, name):
    """Labels reach both networks; the noise is off, and the sum over the batch is each item's own."""
    label = ["--label", "size=1,angle=-0.5"] if name == "real" else []
    eta = 20 if name == "plane" else 30_000  # after two steps its gradient is small
    said = gflow("sample", run(name), "--n", 5, "--refine", 3, "--eta", eta, "--temperature", 0, "--divergence", "logd",
                 *label, "--out", tmp_path / "x.npy")  # fmt: skip
    assert "5 samples" in said
    assert f"refined (3 steps, eta {eta}, temperature 0, logd)" in said
    drawing = Drawing(run(name), label="size=1,angle=-0.5" if label else None, refinement=Refinement())
    experiment, spec = drawing.experiment, drawing.recipe.spec
    sampler, judge = experiment.final_sampler.eval(), experiment.discriminator.eval()
    given = draw_given(
        spec.sampler,
        5,
        experiment.streams.fork("sample"),
        labels=drawing.labels,
        in_turn=True,
        chunk=CHUNK,
        prefix=True,
    )
    ((z, y),) = given
    own = () if y is None else (y,)
    for _ in range(3):
        z.requires_grad_()
        d = judge(sampler(z, *own), *own)
        (slope,) = torch.autograd.grad(d.sum(), z)
        z = (z + eta * torch.sigmoid(-d)[:, None] * slope).detach()
        z = spec.sampler.latent.project(z)
    with torch.no_grad():
        expected = sampler(z, *own)
    torch.testing.assert_close(torch.from_numpy(np.load(tmp_path / "x.npy")), expected, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(
        expected, torch.cat(list(Drawing(run(name), label=drawing.label).chunks(5))), rtol=2e-3, atol=2e-5
    )


def test_a_step_of_zero_is_plain_sampling_and_more_samples_begin_with_fewer(gflow, run, tmp_path):
    def drawn(*words):
        gflow("sample", run("plane"), *words, "--out", tmp_path / "x.npy")
        return np.load(tmp_path / "x.npy")

    assert np.array_equal(drawn("--n", 9, "--refine", 4, "--eta", 0), drawn("--n", 9))
    refined = drawn("--n", N, "--refine", 4)
    assert np.array_equal(refined, drawn("--n", N, "--refine", 4))
    assert np.allclose(refined[: CHUNK + 3], drawn("--n", CHUNK + 3, "--refine", 4), atol=1e-5)
    assert not np.allclose(refined, drawn("--n", N, "--refine", 4, "--seed", 1))
    found = load_run(run("plane")).sample(N, refine=4)
    assert np.allclose(found.numpy(), refined)


def test_a_folder_goes_on_as_it_was_refined_and_no_other_way(gflow, run, tmp_path):
    words = ("sample", run("classes"), "--n", N, "--refine", 1)
    gflow(*words, "--out", tmp_path / "whole")
    gflow(*words, "--out", tmp_path / "x")
    (tmp_path / "x" / f"{CHUNK + 2:06d}.png").unlink()
    gflow(*words, "--out", tmp_path / "x")
    for i in (0, CHUNK + 2):
        name = f"{i:06d}.png"
        assert (tmp_path / "x" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    told = json.loads((tmp_path / "x" / "samples.json").read_text())["options"]["refine"]
    assert told == "1 steps, eta 0.1, temperature 0.01, kl"
    assert f"refine {told} there and None here" in gflow(*words[:4], "--out", tmp_path / "x", code=2)


def test_what_does_not_fit_is_refused_in_one_message(gflow, run, tmp_path):
    out = tmp_path / "x.npy"
    assert "ask for them with --refine" in gflow("sample", run("plane"), "--out", out, "--eta", 1, code=2)
    said = gflow("sample", run("classes"), "--video", tmp_path / "x.gif", "--refine", 2, code=2)
    assert "leave --refine or --video out" in said
    assert "refine: eta must be >= 0" in gflow(
        "sample", run("plane"), "--out", out, "--refine", 2, "--eta", "nan", code=2
    )
    gflow("sample", run("plane"), "--out", out, "--refine", 0, code=2)
    assert not out.exists()
    for words, told in (({"refine": 0}, "steps must be >= 1"), ({"refine": 2, "divergence": "tv"}, "kl, js, logd")):
        with pytest.raises(GflowError, match=told):
            load_run(run("plane")).sample(4, **words)
    recipe = run("plane") / "recipe.toml"
    before = recipe.read_text()
    try:
        recipe.write_text(before.replace("nonsaturating", "hinge"))
        said = gflow("sample", run("plane"), "--out", out, "--refine", 2, code=2)
    finally:
        recipe.write_text(before)
    assert "--refine takes the discriminator's logit for the log ratio" in said
