"""Recipes that come with distributions: found by name, listed, copied into files that stand alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest
from click.testing import CliRunner

from gflow_core.cli import main
from gflow_core.errors import RecipeError
from gflow_core.parts.plugins import load as load_plugins
from gflow_core.parts.plugins import plugins
from gflow_core.recipes.recipe import load
from gflow_core.recipes.shipped import find, shipped
from gflow_core.recipes.standalone import standalone

ROOT = Path(__file__).parents[2]
SHIPPED = shipped(plugins())

RINGS = """# gflow run recipes/rings.toml train.seed=1
# Rings, by somebody else.
#   another seed: gflow run recipes/rings.toml train.seed=2
gflow = 1
title = "rings"
[dataset]
use = "ring"
[[analyze]]
use = "theirs"
"""


@pytest.fixture
def gflow(tmp_path, monkeypatch):
    """A command in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str, code: int = 0):
        result = CliRunner().invoke(main, words)
        assert result.exit_code == code, result.output
        return result

    return call


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Write a distribution `gflow-NAME` with recipes, whose entry point is the given module; load all so written."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)

    def write(name: str, module: str, recipes: dict[str, str], code: str = ""):
        module = module.format(f"{name}_{tmp_path.name}")
        path = site.joinpath(*module.split("."))
        if "." in module:
            path.parent.mkdir(parents=True)
            (path.parent / "__init__.py").touch()
            path.with_suffix(".py").write_text(code)
            folder = path.parent / "recipes"
        elif module.startswith("package"):
            path.mkdir()
            (path / "__init__.py").write_text(code)
            folder = path / "recipes"
        else:
            path.with_suffix(".py").write_text(code)
            folder = site / "recipes"
        folder.mkdir()
        for file, text in recipes.items():
            (folder / file).parent.mkdir(exist_ok=True)
            (folder / file).write_text(text)
        info = site / f"gflow_{name}-1.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: gflow-{name}\nVersion: 1.5\n")
        (info / "entry_points.txt").write_text(f"[gflow.plugins]\n{name} = {module}\n")
        return load_plugins([point for dist in distributions(path=[str(site)]) for point in dist.entry_points])

    return write


def test_every_recipe_of_the_checkout_is_shipped_by_one_distribution():
    """Links in plugins/*/gflow_*/recipes say which; a new recipe needs one: ln -s ../../../../recipes/NAME.toml"""
    owners = {recipe.path: recipe.dist for recipe in SHIPPED}
    assert len(owners) == len(SHIPPED)
    for path in (ROOT / "recipes").glob("*.toml"):
        link = f"plugins/NAME/gflow_NAME/recipes/{path.name} -> ../../../../recipes/{path.name}"
        assert path.resolve() in owners, f"no distribution ships {path.name}; add the link {link}"
        plugin, table = owners[path.resolve()].removeprefix("gflow-"), str(load(path).table)
        used = {name for dist in owners.values() if f"'{(name := dist.removeprefix('gflow-'))}." in table}
        # One of the core's parts alone is shipped by any.
        assert plugin in used or not used, f"{path.name} uses no part of {plugin}, which ships it"


def test_what_shipped_recipes_extend_is_shipped_beside_them():
    for folder in ROOT.glob("plugins/*/gflow_*/recipes"):
        for link in folder.rglob("*.toml"):
            assert link.is_symlink(), f"{link}: the recipe itself stands in recipes/"
            assert link.is_file(), f"{link} leads nowhere"
            for line in link.read_text().splitlines():
                if line.startswith("extends"):
                    assert (link.parent / line.split('"')[1]).is_file(), f"{link} extends what its wheel would lack"


def test_a_recipe_goes_by_its_name_anywhere(gflow):
    assert gflow("validate", "vgrow_mnist5k").stdout.startswith("ok  vgrow_mnist5k  (dataset mnist5k, ")
    recipe = load("vgrow_celeba", ["train.seed=3"])
    assert recipe.spec.seed == 3
    assert recipe.path == ROOT / "recipes" / "vgrow_celeba.toml", "an editable install reads the checkout's"
    assert "seed = 3" in gflow("resolve", "vgrow_celeba", "train.seed=3").stdout


def test_a_file_comes_before_a_name(gflow, tmp_path):
    (tmp_path / "vgrow_mnist5k").write_text('gflow = 1\ntitle = "mine"\n')
    assert load("vgrow_mnist5k").spec.title == "mine"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("vgrow_minst5k", 'vgrow_minst5k: no such file or shipped recipe; did you mean "vgrow_mnist5k"? (looked in'),
        ("zzz", "gflow-drift, gflow-far, gflow-rmt, gflow-vgrow; gflow ls recipes lists them)"),
        ("recipes/vgrow_mnist5k.toml", "no such file; for the one that comes with gflow-vgrow write vgrow_mnist5k"),
        ("recipes/vgrow_mnist5k", "recipes/vgrow_mnist5k: no such file"),
        ("zzz.toml", "zzz.toml: no such file"),
    ],
)
def test_unknown_names_are_mended(gflow, word, message):
    assert message in gflow("validate", word, code=2).stderr


def test_anyones_plugin_ships_recipes_by_having_the_folder(install):
    install("alone", "{}", {"stray.toml": RINGS})
    install("whole", "package_{}", {"whole.toml": RINGS})
    found = install("rings", "{}.plugin", {"rings.toml": RINGS, "base/parent.toml": RINGS})
    assert [(r.name, r.dist, r.version) for r in shipped(found)] == [
        ("rings", "gflow-rings", "1.5"),
        ("whole", "gflow-whole", "1.5"),
    ], "neither parents, nor what lies beside a module that is in no package"
    assert find("rings", found).name == "rings.toml"


def test_two_that_ship_one_name_are_both_named(install):
    install("one", "{}.plugin", {"rings.toml": RINGS})
    found = install("two", "{}.plugin", {"rings.toml": RINGS})
    with pytest.raises(
        RecipeError, match=r"rings: shipped by gflow-one and gflow-two; give the file, .*rings.toml or "
    ):
        load("rings", plugins=found)


def test_a_broken_plugin_is_named_where_a_recipe_is_missing(install, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "here.toml").write_text(RINGS)
    found = install("rings", "{}.plugin", {"rings.toml": RINGS}, code="raise OSError('no')")
    with pytest.raises(RecipeError, match=r"no installed one ships any\); gflow-rings is BROKEN, which gflow plugins"):
        load("rings", plugins=found)
    with pytest.raises(RecipeError, match="no such file or shipped recipe"):
        load("here", plugins=found)


def test_ls_lists_what_is_here_and_what_is_shipped(gflow, tmp_path, monkeypatch):
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "own.toml").write_text('gflow = 1\ntitle = "mine"\n')
    lines = gflow("ls", "recipes").stdout.splitlines()
    assert lines[:2] == ["recipes/own.toml  mine", "gflow-cgan"]
    assert any(line.split()[:2] == ["vgrow_ring8", "VGrow"] for line in lines)
    rows = json.loads(gflow("ls", "recipes", "--json").stdout)
    assert rows[0] == {"recipe": "recipes/own.toml", "title": "mine", "dist": ""}
    assert {"recipe": "vgrow_theory", "title": "VGrow's theory, checked", "dist": "gflow-vgrow"} in rows
    monkeypatch.chdir(ROOT)
    rows = json.loads(gflow("ls", "recipes", "--json").stdout)
    assert len(rows) == len(list((ROOT / "recipes").glob("*.toml"))), "files of the checkout are listed once"


# ------------------------------------------------------------------ cp


@pytest.mark.parametrize("recipe", SHIPPED, ids=lambda recipe: recipe.name)
def test_every_copy_stands_alone_and_means_the_same(recipe, tmp_path):
    copy = tmp_path / "mine.toml"
    copy.write_text(standalone(recipe.name, "mine.toml"))
    assert load(copy).table == load(recipe.path).table
    assert load(copy).spec == load(recipe.path).spec
    lines = copy.read_text().splitlines()
    assert lines[0].startswith("# gflow run mine.toml")
    assert not any(line.startswith("extends") or f"gflow run recipes/{recipe.name}.toml" in line for line in lines)


def test_a_copy_keeps_comments_and_numbers_as_they_were_written(gflow, tmp_path):
    gflow("cp", "far_mnist5k", "mine.toml")
    text = (tmp_path / "mine.toml").read_text()
    assert text.startswith("# gflow run mine.toml\n# FAR on the real digits")
    assert "# Written out with what it extends: far_cifar10.toml.\ngflow = 1\n" in text
    assert "image_size = 32          # 28 px, zero-padded\n" in text
    assert "lr = 3e-4\n" in text
    assert "extends" not in text.replace("it extends", "")
    gflow("cp", "vgrow_mnist5k", "other.toml")
    own = (ROOT / "recipes" / "vgrow_mnist5k.toml").read_text()
    assert (tmp_path / "other.toml").read_text() == own.replace("recipes/vgrow_mnist5k.toml", "other.toml")
    assert gflow("validate", "mine.toml", "other.toml").stdout.count("ok  ") == 2


def test_tables_that_several_files_make_are_put_together(tmp_path):
    (tmp_path / "a.toml").write_text(
        "# A\ngflow = 1\n[sampler]\nuse = 'vgrow.mlp' # theirs\nlatent = { use = 'uniform', low = -2.0 }\n"
        "[dataset]\nuse = 'ring' # old\n[train]\n[optimizer.sampler]\nuse = 'adam'\nlr = 1e-3 # slow\n"
        "[objective]\nuse = 'vgrow.flow'\n[optimizer.discriminator]\nuse = 'adam'\nlr = 1e-3\n"
    )
    (tmp_path / "b.toml").write_text("extends = 'a.toml'\ngflow = 1\ntrain.steps = 7 # few\n")
    (tmp_path / "c.toml").write_text(
        "# gflow run sub/c.toml x=1\n# gflow run other.toml\n\nextends = 'b.toml'\ngflow = 1\ntitle = 'C'\n"
        "dataset.use = 'grid' # new\n[sampler.latent]\ndim = 3 # z\n[discriminator]\nuse = 'vgrow.mlp'\n"
    )
    text = standalone(tmp_path / "c.toml", "d.toml")
    (tmp_path / "d.toml").write_text(text)
    assert load(tmp_path / "d.toml").table == load(tmp_path / "c.toml").table
    assert text.startswith(
        "# gflow run d.toml x=1\n# gflow run other.toml\n# Written out with what it extends: a.toml, b.toml.\n"
    )
    for line in ("use = 'vgrow.mlp' # theirs", "use = 'grid' # new", "lr = 1e-3 # slow", "steps = 7 # few"):
        assert line in text


def test_copying_imports_no_torch(tmp_path):
    code = (
        "import sys; from gflow_core.cli import main; main(sys.argv[1:], standalone_mode=False); "
        "sys.exit(sorted({'torch', 'numpy', 'matplotlib'} & set(sys.modules)) or 0)"
    )
    command = [sys.executable, "-c", code, "cp", "vgrow_celeba", "mine.toml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_cp_refuses_what_would_be_lost_or_not_found(gflow, tmp_path):
    mine = tmp_path / "mine.toml"
    mine.write_text("precious")
    assert gflow("cp", "vgrow_ring8", "mine.toml", code=2).stderr == (
        "error: mine.toml is there already; --force overwrites it\n"
    )
    gflow("cp", "vgrow_rign8", "mine.toml", "--force", code=2)
    assert mine.read_text() == "precious"
    assert gflow("cp", "vgrow_ring8", "mine", code=2).stderr.endswith("ends in .toml; write mine.toml\n")
    assert gflow("cp", "vgrow_ring8", ".", code=2).stderr.endswith("ends in .toml; write mine.toml\n")
    assert "there is no folder none; make it first" in gflow("cp", "vgrow_ring8", "none/x.toml", code=2).stderr
    gflow("cp", "vgrow_ring8", "mine.toml", "--force")
    assert os.listdir(tmp_path) == ["mine.toml"]
    assert load(mine).spec == load("vgrow_ring8").spec
    gflow("cp", "mine.toml", "a copy.toml")
    assert (tmp_path / "a copy.toml").read_text().startswith("# gflow run 'a copy.toml'\n")
