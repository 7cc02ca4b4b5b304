"""What gflow promises of everything that ships: recipes, parts, and every combination of them."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import product
from pathlib import Path

import attrs
import numpy as np
import pytest
from click.testing import CliRunner

from gflow_core.cli import main
from gflow_core.errors import RecipeError
from gflow_core.parts.plugins import plugins
from gflow_core.parts.training import Phase
from gflow_core.recipes.describe import options_of
from gflow_core.recipes.recipe import load
from gflow_core.runs.build import build

ROOT = Path(__file__).parents[1]
RECIPES = sorted((ROOT / "recipes").glob("*.toml"))
LOADED = plugins()
WHOLE = ("sampler", "discriminator", "objective", "dataset", "analyzer", "encoder", "latent")
PARTS = [(kind, name) for kind, registry in LOADED.registries.items() for name in registry]
DOCS = "\n".join(path.read_text() for path in (ROOT / "docs").rglob("*.md"))

# Two steps of everything in seconds: smaller networks, pools and analyses, the same parts.
SMALL = {
    "channels": 8,
    "width": 16,
    "pool_size": 32,
    "inner_loops": 2,
    "data_size": 16,
    "encoder_steps": 2,
    "projection_passes": 1,
    "particles": 16,
    "resolution": 20,
    "samples": 1000,
    "flow_steps": 20,
    "horizon": 0.5,
    "n": 500,
    "workers": 1,
    "fake_as_real": 4,
    "candidates": 16,
    "grid": 3,
    "maximised": 1,
    "projections": 10,
    "frames": 2,
    "samples_per_class": 4,
    "density_samples": 100,
    "train_samples": 40,
    "test_samples": 10,
    "max_iter": 20,
    "kmeans_centroids": 8,
    "kmeans_patches": 100,
    "fine": 10,
    "concepts": "[]",  # an untrained classifier sees one class in all
    "N": 5,
    "m": 3,
    "points": 2,
    "pairs": 8,
    "S": 8,
    "reference": 2,
    "laws_z": '[{ use = "normal" }, { use = "bernoulli" }]',
    "laws_t": '[{ use = "normal" }]',
}

# Analyses of features: few items, through networks that nobody trained.
SMALL_FEATURES = {
    "samples": 2,
    "real_samples": 4,
    "held_out": 4,
    "subsets": 1,
    "subset_size": 2,
    "splits": 1,
    "k": 1,
}

# Where one number does not suit all. (Half of an untrained sampler's pixels are above 0, wherever one looks.)
SMALL_PARTS = {
    "Flow": {"classes": 2},
    "Cloud": {"particles": SMALL["pool_size"]},
    "DropFeature": {"samples": 30, "rule": "{ region = [0.0, 0.0, 1.0, 1.0] }"},
    "NoiseLaws": {"repeats": 2},
    "SvmFeatures": {"labels": 10, "validation": 10},
    "Inversion": {"steps": 3, "count": 2},
    "ClassificationAccuracy": {"epochs": 1, "width": 4},
    "ResampleWeights": {"repeats": 2},
    "Theory": {"points": 500, "pools": 20},
}


@pytest.fixture
def tiny_data(tmp_path, mnist_files, celeba, make, rng) -> Path:
    """A root with a little of every data set that reads files."""
    mnist_files("data/MNIST/raw", images=50)
    mnist_files("data/FashionMNIST/raw", images=50)
    make.write(make.cifar_files(rng, count=12), tmp_path / "data")
    make.write(make.cifar_files(rng, fine=True, count=8), tmp_path / "data")
    make.write(make.svhn_files(rng, count=60), tmp_path / "data")
    make.write(make.imagenet_files(rng, 32), tmp_path / "data")
    pictures = {f"{i}.webp": make.png(rng.integers(0, 256, (70, 64, 3), np.uint8)) for i in range(9)}
    make.write(pictures, tmp_path / "data/lsun/bedroom_train")
    make.write(make.stl10_files(rng, count=16), tmp_path / "data")
    make.write(make.imagenet_files(rng, 64), tmp_path / "data")
    make.write(
        {f"{i}.png": make.png(rng.integers(0, 256, (70, 64, 3), np.uint8)) for i in range(9)}, tmp_path / "data/images"
    )
    np.save(tmp_path / "data/points.npy", rng.normal(size=(300, 2)).astype(np.float32))
    return tmp_path


def shrink(path: Path) -> list[str]:
    """Overrides that make a recipe small."""
    spec = load(path).spec
    words = []
    if spec.train:
        words += ["train.steps=2", "train.batch_size=16", "train.sample_every=2", "train.checkpoint_every=2"]
    places = [(name, getattr(spec, name)) for name in ("dataset", "sampler", "discriminator", "objective")]
    if spec.objective and "velocity" in {field.name for field in options_of(type(spec.objective))}:
        places.append(("objective.velocity", spec.objective.velocity))
    places += [(f"analyze.{i}", analysis.part) for i, analysis in enumerate(spec.analyze)]
    for place, part in places:
        names = {field.name for field in options_of(type(part))} if part is not None else set()
        small = SMALL | SMALL_FEATURES if getattr(part, "encoder", None) else SMALL
        small = small | SMALL_PARTS.get(type(part).__name__, {})
        if getattr(getattr(part, "velocity", None), "encoder", None):  # each move goes through it, and back
            small = small | {"pool_size": 16, "inner_loops": 1}
        encoder = getattr(part, "encoder", None)
        if attrs.has(type(encoder)) and "weights" in {field.name for field in options_of(type(encoder))}:
            words.append(f"{place}.encoder.weights=random")
        for option in names & small.keys():
            if (place == "dataset" and option == "channels") or getattr(part, option) is None:
                continue
            words.append(f"{place}.{option}={small[option]}")
        if place == "dataset" and "limit" in names:
            words.append("dataset.limit=200")
    return words


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_runs_two_steps(path, tiny_data, monkeypatch):
    monkeypatch.chdir(tiny_data)
    result = CliRunner().invoke(main, ["run", str(path), *shrink(path), "--runs", "runs"])
    assert result.exit_code == 0, result.output
    (run,) = (tiny_data / "runs").iterdir()
    spec = load(run / "recipe.toml").spec
    if spec.train:
        assert (run / "samples" / "000002.png").stat().st_size > 0
    for analysis in spec.analyze:
        assert (run / "analysis" / analysis.name / "result.json").is_file()


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_opens_with_its_own_launch_line(path):
    assert path.read_text().startswith(f"# gflow run recipes/{path.name}")
    assert load(path).spec.title


@pytest.mark.parametrize(("kind", "name"), PARTS)
def test_every_part_is_documented_and_used(kind, name):
    assert f"`{name}`" in DOCS, f"no page of docs/ mentions `{name}`"
    entry = LOADED.registries[kind].entry(name)
    assert entry.part.__doc__, f"{kind} {name} has no docstring"
    for field in options_of(entry.part):
        assert field.metadata.get("doc"), f"{kind} {name}.{field.name} has no doc"
    texts = [path.read_text() for path in (ROOT / "recipes").rglob("*.toml")]
    # Of what an option holds a recipe's own launch lines may show others: objective.loss=minimax.
    used = rf'use = "{name}"' if kind in WHOLE else rf"\b{name}\b"
    assert any(re.search(used, text) for text in texts), f"no recipe uses {kind} {name}"


TWIN = """
gflow = 1
dataset = {{ use = "{dataset}" }}
sampler = {{ use = "{sampler}" }}
discriminator = {{ use = "{discriminator}" }}
objective = {{ use = "{objective}" }}
optimizer = {{ {optimizers} }}
train = {{ steps = 2, batch_size = 16 }}
"""


def twin(path: Path, **chosen: str) -> None:
    """Write a recipe of these parts, with an optimizer for each network that the objective trains."""
    players = LOADED.registries["objective"].get(chosen["objective"])().players
    optimizers = ", ".join(f'{player} = {{ use = "adam", lr = 1e-4 }}' for player in players)
    path.write_text(TWIN.format(optimizers=optimizers, **chosen))


def networks(kind: str) -> list[str]:
    """Every network of a kind; those that read labels by an option also the other way, as "NAME, conditional=true"."""
    registry = LOADED.registries[kind]
    fields = {name: {field.name: field for field in options_of(registry.get(name))} for name in registry}
    both = {name: own["conditional"].default for name, own in fields.items() if "conditional" in own}
    return [*registry, *(f"{name}, conditional={str(not default).lower()}" for name, default in both.items())]


COMBINATIONS = list(
    product(("mnist5k", "ring"), networks("sampler"), networks("discriminator"), LOADED.registries["objective"])
)


@pytest.mark.parametrize(("dataset", "sampler", "discriminator", "objective"), COMBINATIONS)
def test_every_combination_trains_or_is_refused_with_a_reason(tmp_path, dataset, sampler, discriminator, objective):
    path = tmp_path / "twin.toml"
    words = ["dataset.image_size=16", "dataset.fit=resize", "dataset.limit=64"] if dataset == "mnist5k" else []
    chosen = {"sampler": sampler, "discriminator": discriminator, "objective": objective}
    for kind, name in chosen.items():
        chosen[kind], _, conditional = name.partition(", ")
        words += [f"{kind}.{conditional}"] if conditional else []
    twin(path, dataset=dataset, **chosen)
    for kind, name in chosen.items():
        names = {field.name for field in options_of(LOADED.registries[kind].get(name))}
        words += [f"{kind}.{option}={SMALL[option]}" for option in names & SMALL.keys()]
    try:
        spec = load(path, words).spec
    except RecipeError as error:
        assert all(problem.path and problem.message for problem in error.problems)
        return
    experiment = build(spec)
    before = [p.detach().clone() for p in experiment.sampler.parameters()]
    for step in (1, 2):
        for event in experiment.objective.step(step):
            last = event
        assert not isinstance(last, Phase)
        assert all(value.isfinite() for value in last.values())
    assert any((a != b).any() for a, b in zip(before, experiment.sampler.parameters(), strict=True))


def test_some_combinations_train_and_some_are_refused(tmp_path):
    """The test above would pass if everything were refused."""
    path = tmp_path / "twin.toml"
    good = {"sampler": "vgrow.mlp", "discriminator": "vgrow.mlp", "objective": "vgrow.flow"}
    twin(path, dataset="ring", **good)
    load(path)
    twin(path, dataset="ring", **{**good, "objective": "flow"})
    load(path)
    twin(path, dataset="ring", **{**good, "sampler": "vgrow.resnet"})
    with pytest.raises(RecipeError, match=r"sampler: works on images, the data is vector 2"):
        load(path)


def test_looking_never_imports_torch():
    """All of it in one process, which names the first command that does."""
    looks = [
        ["--help"],
        ["--version"],
        ["validate", *map(str, RECIPES)],
        ["ls"],
        ["ls", "samplers"],
        ["show", "objective", "vgrow.flow"],
        ["show", "dataset", "celeba", "--toml"],
        ["resolve", str(RECIPES[0])],
        ["cite", str(RECIPES[0])],
        ["plugins"],
        ["plugins", "--json"],
    ]
    code = (
        "import sys; from gflow_core.cli import main\n"
        f"for words in {looks!r}:\n"
        "    main(words, standalone_mode=False)\n"
        "    if 'torch' in sys.modules: sys.exit(f'gflow {words[0]} imports torch')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_committed_names_this_machine():
    """Paths and hosts of whoever builds gflow have no place in it."""
    for path in [*ROOT.glob("*.md"), *ROOT.glob("*.txt"), *ROOT.glob("docs/*.md"), *RECIPES]:
        assert str(ROOT) not in path.read_text(), path
