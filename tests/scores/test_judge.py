"""gflow score: files, a run's samples and recipes' data against one another, as the analyzers score them."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from gflow_core import load_run, run, score
from gflow_core.cli import main
from gflow_core.errors import GflowError
from gflow_core.machine.streams import Streams
from gflow_core.nn.sampling import push
from gflow_core.runs.drawing import Drawing

ENCODER = {"use": "mnist_cnn", "weights": "random", "layer": "hidden"}
METRICS = ("frechet", "kernel", "prdc", "inception")
FEW = ("kernel.subset_size=20", "kernel.subsets=5")

# Labels, averaged weights, bf16: all that makes the samples of a run its own.
RECIPE = """
gflow = 1
dataset = { use = "mnist5k", image_size = 16, fit = "resize", split = "train", limit = 90 }
sampler = { use = "cgan.conv", width = 2, latent = { use = "normal", dim = 4 } }
discriminator = { use = "cgan.conv", width = 2 }
objective = { use = "adversarial" }
optimizer = { sampler = { use = "adam", lr = 5e-2 }, discriminator = { use = "adam", lr = 5e-2 } }
[train]
steps = 6
batch_size = 8
device = "cpu"
precision = "bf16"
ema = { decay = 0.5 }
"""


def analyzed() -> str:
    encoder = 'encoder = { use = "mnist_cnn", weights = "random", layer = "hidden" }'
    own = {"kernel": "subset_size = 20\nsubsets = 5"}
    tables = (f'[[analyze]]\nuse = "{name}"\n{encoder}\nsamples = 60\n{own.get(name, "")}\n' for name in METRICS)
    return RECIPE + "".join(tables).replace("samples = 60\n", "samples = 60\nreal_samples = 60\n")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a recipe, its run, and what its analysis frechet drew as PNG, zip and array."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "mine.toml").write_text(analyzed())
    done = run(folder / "mine.toml", runs=folder / "runs", quiet=True)
    done.path.rename(folder / "run")
    x = drawn(folder / "run", "frechet", 60)
    pixels = ((x.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).numpy()
    files(folder / "png", pixels)
    with zipfile.ZipFile(folder / "png.zip", "w") as archive:
        for file in sorted((folder / "png").iterdir()):
            archive.write(file, file.name)
    np.savez(folder / "png.npz", arr_0=pixels.transpose(0, 2, 3, 1), arr_1=np.arange(60))
    return folder


def drawn(path: Path, name: str, n: int) -> torch.Tensor:
    """What an analysis of the run draws, by hand: its own stream, latents at once, labels as in the data."""
    one = Drawing(path).experiment
    data = one.spec.dataset.load()
    streams = Streams(one.spec.seed).fork(f"analyze.{name}.6")
    z = one.spec.sampler.latent.draw(n, streams["latent"])
    y = data.y[torch.randint(len(data), (n,), generator=streams["label"])]
    return torch.cat(list(push(one.final_sampler.eval(), z, y, one.runtime, chunk=128)))


def files(folder: Path, pixels: np.ndarray) -> Path:
    folder.mkdir()
    for i, image in enumerate(pixels):
        Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)).save(folder / f"{i:04d}.png")
    return folder


def noise(folder: Path, n: int = 30, channels: int = 1, size: int = 16, seed: int = 0) -> Path:
    return files(folder, np.random.default_rng(seed).integers(0, 256, (n, channels, size, size), dtype=np.uint8))


def test_a_run_scores_what_its_own_analyzers_found(place):
    """The same samples, labels and subsets, up to rounding; and what the scores depend on is the same."""
    found = score(place / "run", place / "mine.toml", *FEW, metrics=METRICS, encoder=ENCODER, n=60).results
    own = load_run(place / "run").results()
    for name in METRICS:
        assert found[name].scores == pytest.approx(own[name]["scores"], rel=1e-5, abs=1e-6), name
        assert found[name].manifest == own[name]["manifest"], name


@pytest.mark.parametrize("judged", ["png", "png.zip", "png.npz[arr_0]"])
def test_files_of_the_runs_samples_score_what_the_run_does(place, judged):
    found = score(f"{place}/{judged}", place / "mine.toml", encoder=ENCODER, n=60).results["frechet"]
    own = load_run(place / "run").results()["frechet"]
    assert found.scores == pytest.approx(own["scores"], rel=1e-5, abs=1e-6)
    assert {key for key in own["manifest"] if own["manifest"][key] != found.manifest[key]} == {"ema"}
    assert found.manifest["ema"] is None, "nobody knows"


@pytest.mark.parametrize("given", ["numpy", "torch"])
def test_arrays_in_memory_score_what_their_files_do(place, tmp_path, given):
    with np.load(place / "png.npz") as archive:
        pixels = archive["arr_0"]
    points = np.random.default_rng(0).normal(size=(2, 40, 3))
    np.save(tmp_path / "a.npy", points[0])
    np.save(tmp_path / "b.npy", points[1])
    taken = torch.from_numpy if given == "torch" else np.asarray
    images = score(taken(pixels), place / "mine.toml", encoder=ENCODER, n=60)
    as_samples = taken(pixels.astype(np.float32) / 127.5 - 1)
    assert score(as_samples, place / "mine.toml", encoder=ENCODER, n=60).results["frechet"].scores == (
        images.results["frechet"].scores
    )
    vectors = score(taken(points[0]), taken(points[1]), metrics=("frechet", "prdc"))
    files = score(f"{place}/png.npz[arr_0]", place / "mine.toml", encoder=ENCODER, n=60)
    assert images.judged == "judged: grey images of 16x16"
    assert images.results["frechet"].scores == files.results["frechet"].scores
    assert images.results["frechet"].manifest == files.results["frechet"].manifest
    files = score(tmp_path / "a.npy", tmp_path / "b.npy", metrics=("frechet", "prdc"))
    for name in ("frechet", "prdc"):
        assert vectors.results[name].scores == files.results[name].scores


@pytest.mark.parametrize(
    ("judged", "said"),
    [
        (
            np.eye(16, dtype=np.float32).reshape(1, 16, 16),
            r"judged: images of uint8 .* found float32 from 0 to 1; if they are x in \[0, 1\], they are \(255 \* x\)",
        ),
        (200 * np.eye(16).reshape(1, 16, 16), r"found float64 from 0 to 200; if .* \[0, 255\], they are x.round\(\)"),
        (np.full((4, 16, 16), np.nan), "found float64$"),
        (torch.zeros(4, 16, dtype=torch.uint8), "judged: images .* vectors .* are floats"),
        (torch.zeros(40, 2), "judged: vectors of 2; the reference is image"),
        (np.zeros((4, 1, 8, 8), np.uint8), "judged: grey images of 8x8; the reference is .* say --image-size 16"),
        (np.array([None, 1]), "judged: images of uint8"),
    ],
)
def test_arrays_that_are_no_items_are_refused(place, judged, said):
    with pytest.raises(GflowError, match=said):
        score(judged, place / "mine.toml", encoder=ENCODER)


def test_data_against_themselves(place):
    found = score(place / "mine.toml", place / "mine.toml", metrics=("frechet", "prdc"), encoder=ENCODER)
    assert found.results["frechet"].scores["FD(mnist_cnn.hidden (random))"] == pytest.approx(0, abs=1e-6)
    scores = found.results["prdc"].scores
    assert [scores[name] for name in ("precision", "recall", "coverage")] == [1, 1, 1]
    assert "both sides are the same items" in found.doubts
    assert found.results["frechet"].manifest["n_fake"] == 90, "as many as are there"


def test_a_run_against_itself_is_two_draws_of_one_law(place):
    found = score(place / "run", place / "run", *FEW, metrics=("frechet", "kernel"), encoder=ENCODER, n=60)
    assert found.doubts[0].startswith("frechet: no more items than features (n_real 60, n_fake 60)")
    assert len(found.doubts) == 1, "other samples than those that are judged"
    one = found.results["frechet"]
    own = load_run(place / "run").results()["frechet"]["scores"]
    name = "FD(mnist_cnn.hidden (random))"
    assert 0 < one.scores[name] < own[name] / 2
    again = score(place / "run", place / "run", encoder=ENCODER, n=60, seed=5).results["frechet"]
    assert again.manifest["data"] != one.manifest["data"]


def test_some_of_many_are_the_same_ones_in_every_run(place, tmp_path):
    noise(tmp_path / "a")
    first, second = (score(tmp_path / "a", place / "mine.toml", encoder=ENCODER, n=20, seed=s) for s in (0, 1))
    assert first.results["frechet"].scores == second.results["frechet"].scores
    assert first.results["frechet"].manifest["n_fake"] == 20


def test_the_reference_split(place):
    found = score(place / "png", place / "mine.toml", encoder=ENCODER, against="test").results["frechet"].manifest
    assert (found["split"], found["n_real"]) == ("test", 90)
    with pytest.raises(GflowError, match="has no option split"):
        score(place / "png", place / "png", encoder=ENCODER, against="test")


def test_nothing_is_resized_unasked(place, tmp_path):
    noise(tmp_path / "large", size=20)
    with pytest.raises(
        GflowError, match=r"large: grey images of 20x20; the reference is .*1x16x16.* say --image-size 16"
    ):
        score(tmp_path / "large", place / "mine.toml", encoder=ENCODER)
    found = score(tmp_path / "large", place / "mine.toml", encoder=ENCODER, image_size=16)
    done = "grey images of 20x20, cropped to the centre square, resized to 16x16 by bicubic"
    assert found.results["frechet"].manifest["processing"] == {"judged": done}
    assert any("not processed alike" in doubt and "as the recipe reads them" in doubt for doubt in found.doubts)
    both = score(tmp_path / "large", noise(tmp_path / "other", size=20), encoder=ENCODER, image_size=16)
    assert both.results["frechet"].manifest["processing"].keys() == {"judged", "reference"}
    assert not any("not processed alike" in doubt for doubt in both.doubts)


def test_files_of_one_size_need_not_be_squares(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 1, 16, 24), dtype=np.uint8)
    one, other = files(tmp_path / "one", pixels[:20]), files(tmp_path / "other", pixels[20:])
    np.save(tmp_path / "one.npy", pixels[:20])
    found = score(one, other, encoder=ENCODER).results["frechet"]
    assert "processing" not in found.manifest
    assert score(tmp_path / "one.npy", other, encoder=ENCODER).results["frechet"].scores == found.scores
    (tmp_path / "wide.toml").write_text(
        f'gflow = 1\ndataset = {{ use = "array", root = "{tmp_path}/one.npy", image_size = [16, 24], channels = 1 }}\n'
    )
    with pytest.raises(GflowError, match=r"images of 16x16; the reference is .*1x16x24.* make files of 24x16 yourself"):
        score(noise(tmp_path / "square"), tmp_path / "wide.toml", encoder=ENCODER)
    with pytest.raises(GflowError, match=r"one.npy: grey images of 24x16; arrays are resized, not cropped"):
        score(tmp_path / "one.npy", other, encoder=ENCODER, image_size=16)
    with pytest.raises(GflowError, match="--image-size 16: only files are resized"):
        score(one, tmp_path / "wide.toml", encoder=ENCODER, image_size=16)


def test_an_array_is_resized_as_files_are(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 1, 20, 20), dtype=np.uint8)
    np.save(tmp_path / "a.npy", pixels)
    other = noise(tmp_path / "other", seed=1)
    scores = [
        score(side, other, encoder=ENCODER, image_size=16).results["frechet"].scores
        for side in (files(tmp_path / "a", pixels), tmp_path / "a.npy")
    ]
    assert scores[0] == scores[1]


def test_colours_are_those_of_the_reference(tmp_path):
    grey, colour = noise(tmp_path / "grey"), noise(tmp_path / "colour", channels=3)
    with pytest.raises(GflowError, match="colour: colour images of 16x16; the reference is grey: say --channels 1"):
        score(colour, grey, encoder=ENCODER)
    found = score(colour, grey, encoder=ENCODER, channels=1)
    assert "made grey" in found.results["frechet"].manifest["processing"]["judged"]
    with pytest.raises(GflowError, match=r"frechet: encoder: reads images of 1 channel.*; say --channels 1"):
        score(grey, colour, encoder=ENCODER)


def test_vectors_need_no_network(tmp_path):
    (tmp_path / "plane.toml").write_text('gflow = 1\ndataset = { use = "gaussian", n = 400 }\n')
    np.save(tmp_path / "far.npy", np.random.default_rng(0).normal(3, 1, (400, 2)))
    found = score(tmp_path / "far.npy", tmp_path / "plane.toml").results["frechet"].scores
    assert found["FD(data)"] == pytest.approx(18, abs=2)
    assert found["FD(data)_real_halves"] < 0.1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["some/nowhere", "mine.toml"], "some/nowhere: no such file or folder"),
        (["png", "nowhere"], "nowhere: no such file or shipped recipe"),
        (["png.npz", "mine.toml"], r"2 arrays (arr_0, arr_1); name one as in png.npz[NAME]"),
        (["png", "mine.toml", "--metric", "fid"], "no such metric; there are frechet, inception, kernel, memorization"),
        (["png", "mine.toml"], "frechet: compares images by the features of a network"),
        (["png", "mine.toml", "--encoder", "mnist_cn"], 'did you mean "mnist_cnn"?'),
        (["png", "mine.toml", "--encoder", "{ use = 3"], "--encoder { use = 3: "),
        (["png", "mine.toml", "--n", "61", "--encoder", "ENCODER"], "60 items are there, and frechet is to look at 61"),
        (["png", "mine.toml", "--encoder", "ENCODER", "prdc.k=3"], "override prdc...: not one of the metrics"),
        (["png", "mine.toml", "--encoder", "ENCODER", "frechet.k=3"], "frechet.k: unknown option"),
        (["png", "mine.toml", "--image-size", "8", "--encoder", "ENCODER"], "only files are resized"),
        (["png", "empty"], "empty: no images found, or none that can be read"),
        (["png", "mixed", "--encoder", "ENCODER"], "grey images of 16x16, 20x12, not of one size"),
        (["png", "bad", "--encoder", "ENCODER"], "replace or remove them\n"),
        (["png", "plane.toml"], "png: grey images of 16x16; the reference is vector 2 unbounded"),
        (["png", "nothing.toml"], "nothing.toml: the recipe has no [dataset]"),
        (["png", "mine.toml", "--samples", "3"], "no such option: --samples"),
    ],
)
def test_what_does_not_fit_is_one_clear_message(place, tmp_path, monkeypatch, words, said):
    for name in ("png", "png.npz", "mine.toml"):
        (tmp_path / name).symlink_to(place / name)
    (tmp_path / "empty").mkdir()
    noise(tmp_path / "mixed", 2)
    (noise(tmp_path / "bad", 4) / "0002.png").write_bytes(b"no picture")
    Image.new("L", (20, 12)).save(tmp_path / "mixed" / "wide.png")
    (tmp_path / "plane.toml").write_text('gflow = 1\ndataset = "gaussian"\n')
    (tmp_path / "nothing.toml").write_text("gflow = 1\n")
    monkeypatch.chdir(tmp_path)
    encoder = '{ use = "mnist_cnn", weights = "random", layer = "hidden" }'
    done = CliRunner().invoke(main, ["score", *(encoder if word == "ENCODER" else word for word in words)])
    assert isinstance(done.exception, SystemExit), done.exc_info
    assert done.exit_code == 2
    assert said in done.output


RING = """
gflow = 1
dataset = { use = "ring", n = 400 }
sampler = { use = "vgrow.mlp", width = 8 }
analyze = [{ use = "two_sample", samples = 100 }, { use = "mode_coverage", samples = 100 }]
"""

MINE = """
import attrs
from gflow_core import Result, draw_from, hookimpl, option

@attrs.frozen(kw_only=True)
class First:
    "The mean of the first number of samples and of data."
    needs = frozenset({"sampler", "dataset"})
    of_samples = True
    samples: int = option(50, doc="Samples.", ge=1)

    def check(self, spec):
        return ()

    def build(self):
        def first(subject):
            x = next(draw_from(subject, self.samples))
            return Result(scores={"fake": float(x[:, 0].mean()), "real": float(subject.data.x[:, 0].mean())})

        return first

@hookimpl
def register_analyzers(add):
    add("mine.first", First)
"""


def test_any_analyzer_of_samples_alone_is_a_metric(tmp_path):
    """Also a plugin's. A run's own analyses find the same."""
    (tmp_path / "ring.toml").write_text(RING)
    own = run(tmp_path / "ring.toml", runs=tmp_path / "runs", quiet=True)
    x = own.sample(100)
    found = score(own.path, tmp_path / "ring.toml", metrics=("two_sample", "mode_coverage"), n=100).results
    for name in ("two_sample", "mode_coverage"):
        wanted = own.results()[name]["scores"]
        assert found[name].scores.keys() == wanted.keys()
        for what, value in wanted.items():
            assert found[name].scores[what] == (None if value is None else pytest.approx(value, rel=1e-5)), what
    (tmp_path / "mine.py").write_text(MINE)
    np.save(tmp_path / "x.npy", x.numpy())
    words = ["score", tmp_path / "x.npy", tmp_path / "ring.toml", "--load", tmp_path / "mine.py"]
    done = CliRunner().invoke(main, [*map(str, words), "--metric", "mine.first,two_sample", "--n", "100", "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)["results"]
    assert told["mine.first"]["scores"]["fake"] == pytest.approx(float(x[:, 0].mean()), abs=1e-6)
    assert told["two_sample"]["scores"]["sliced_w2"] > 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"metrics": ("sample_grid",)}, "sample_grid: it asks more of a run than samples and data; gflow analyze RUN"),
        ({"metrics": ("two_sampel",)}, 'no such metric; did you mean "two_sample"'),
        ({"metrics": ("two_sample",), "encoder": "mnist_cnn"}, "--encoder: none of two_sample has an option encoder"),
    ],
)
def test_what_is_no_metric_is_told(words, said):
    with pytest.raises(GflowError, match=said):
        score(torch.zeros(9, 2), torch.zeros(9, 2), **words)


def test_what_is_neither_is_refused_before_anything_is_done():
    with pytest.raises(GflowError, match=r"^score: judged is to be Path \| str \| np.ndarray \| Tensor, got \[\["):
        score([[0.0, 1.0]], "somewhere")


def test_the_command_prints_what_python_returns(place):
    encoder = '{ use = "mnist_cnn", weights = "random", layer = "hidden" }'
    words = ["score", place / "png", place / "mine.toml", *FEW, "--encoder", encoder, "--metric", "frechet,kernel"]
    found = score(place / "png", place / "mine.toml", *FEW, metrics=("frechet", "kernel"), encoder=ENCODER)
    told = json.loads(CliRunner().invoke(main, [*map(str, words), "--json"]).stdout)
    assert told["results"]["kernel"]["scores"] == found.results["kernel"].scores
    assert told["doubts"] == list(found.doubts)
    assert told["judged"] == f"{place / 'png'}: grey images of 16x16"
    printed = CliRunner().invoke(main, list(map(str, words))).stdout
    for text in (
        "FD(mnist_cnn.hidden (random))",
        "real halves",
        "n_real",
        "kernel: 20",
        "doubt: frechet: no more items",
    ):
        assert text in printed, text


def test_a_file_in_the_order_of_its_classes_is_judged_as_any_other():
    """What reads some of the items reads any of them: perfect samples that were saved class by class are perfect."""
    centres = torch.tensor([[0.0, 0], [8, 0], [0, 8], [8, 8]])
    generator = torch.Generator().manual_seed(0)
    sets = [centres[torch.randint(4, (n,), generator=generator)] for n in (1500, 2000)]
    mine, reference = (x + torch.randn(x.shape, generator=generator) for x in sets)
    in_order = mine[mine.sum(1).argsort()]
    words = ("two_sample.samples=500", "two_sample.mmd_samples=500")
    for x in (mine, in_order):
        found = score(x, reference, *words, metrics="two_sample").results["two_sample"].scores
        assert found["sliced_w2"] < 2.5 * found["sliced_w2_real"]
        assert found["mmd2"] < 0.02


def test_too_few_items_are_told():
    with pytest.raises(GflowError, match=r"^judged: too few items for two_sample, 1; samples: must be >= 2, got 1"):
        score(torch.randn(1, 2), torch.randn(9, 2), metrics="two_sample")
