"""gflow cite: each part's papers, every key with an entry, every entry whole."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from gflow_core.cli import main
from gflow_core.parts.loading import copies, forget_files, load
from gflow_core.parts.plugins import plugins, unload
from gflow_core.recipes.citing import BIBLIOGRAPHY, bibliography, entry_of

LOADED = plugins()
PARTS = [(kind, name) for kind, registry in LOADED.registries.items() for name in registry]
FILES = [Path(record.file).parent / BIBLIOGRAPHY for record in LOADED.records]


def cite(*words: object, code: int = 0) -> str:
    result = CliRunner().invoke(main, ["cite", *map(str, words)])
    assert result.exit_code == code, result.output
    return result.output


def test_every_key_has_an_entry_and_every_entry_a_part():
    cited = set()
    for kind, name in PARTS:
        part = LOADED.get(kind, name)
        for key in getattr(part, "cite", ()):
            assert entry_of(key, part, name, LOADED).splitlines()[0].endswith(f"{{{key},")
            cited.add(key)
    assert cited == {key for file in FILES for key in bibliography(file)}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_every_bibliography_is_whole(file):
    entries = bibliography(file)
    text = file.read_text()
    assert len(entries) == len(re.findall("^@", text, re.MULTILINE)) > 0
    for entry in entries.values():
        assert entry.count("{") == entry.count("}")
        fields = re.findall(r"^  (\w+) = \{.+\},$", entry, re.MULTILINE)
        assert len(fields) == len(set(fields)) == len(entry.splitlines()) - 2, entry
        assert {"author", "title", "year"} <= set(fields)
        assert {"booktitle", "journal", "institution", "howpublished"} & set(fields)


@pytest.mark.parametrize(("kind", "name"), PARTS, ids=[" ".join(part) for part in PARTS])
def test_a_part_whose_docstring_names_a_paper_cites_it(kind, name):
    """Author by author: `(Mao et al. 2017)` asks for an entry of that name and year."""
    part = LOADED.get(kind, name)
    doc = inspect.getdoc(part).partition("\n\n")[0].replace("\n", " ")
    entries = [entry_of(key, part, name, LOADED) for key in getattr(part, "cite", ())]
    for author, year in re.findall(r"([A-Z][\w-]+)(?: et al\.| (?:and|&) [A-Z][\w-]+)? \(?((?:19|20)\d\d)", doc):
        plain = [re.sub(r"[{}\\'\"^`]", "", entry) for entry in entries]
        assert any(author in entry for entry in plain), f"{kind} {name}: {author} {year}"


def test_every_part_of_the_methods_cites_but_what_is_of_no_paper():
    ours = [(kind, name) for kind, name in PARTS if "." in name]
    without = {f"{kind} {name}" for kind, name in ours if not getattr(LOADED.get(kind, name), "cite", ())}
    assert without == {
        "sampler vgrow.mlp",
        "discriminator vgrow.mlp",
        "sampler vgrow.affine",
        "sampler drift.conv",
        "analyzer dcgan.transposed_conv",
        "analyzer cgan.label_accuracy",
    }


@pytest.mark.parametrize(
    ("recipe", "keys"),
    [
        ("vgrow_mnist5k", {"gao2019vgrow", "lecun1998gradient", "kingma2015adam"}),
        ("far_cifar10", {"tao2020far", "krizhevsky2009learning", "heusel2017gans", "szegedy2016rethinking"}),
        ("dcgan_mnist5k", {"radford2016dcgan", "goodfellow2014gan"}),
        ("cgan_mnist", {"mirza2014cgan", "goodfellow2013maxout"}),
        ("rmt_biggan256", {"brock2019large", "seddik2020rmt"}),
        ("wgan_gp_ring8", {"gulrajani2017improved", "arjovsky2017wasserstein"}),
    ],
)
def test_a_recipe_cites_its_method_its_data_and_gflow(recipe, keys):
    found = {entry["key"]: entry for entry in json.loads(cite(recipe, "--json"))}
    assert keys | {"gflow"} <= found.keys()
    assert all(entry["parts"] and entry["key"] in entry["bibtex"] for entry in found.values())
    text = cite(recipe)
    assert [key for key in found if f"{{{key}," in text] == list(found)


def test_an_override_changes_what_is_cited():
    keys = [entry["key"] for entry in json.loads(cite("mmd_ring8", "objective.velocity=svgd", "--json"))]
    assert "liu2016stein" in keys
    assert "arbel2019maximum" not in keys
    assert 'unknown flow.velocity "svdg"' in cite("mmd_ring8", "objective.velocity=svdg", code=2)


def test_a_run_cites_what_its_recipe_does(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "recipe.toml").write_text(
        "gflow = 1\n[dataset]\nuse = 'fashion_mnist'\nimage_size = 32\n[sampler]\nuse = 'dcgan.conv'\n"
    )
    assert [entry["key"] for entry in json.loads(cite(run, "--json"))] == [
        "gflow",
        "xiao2017fashion",
        "radford2016dcgan",
    ]


def test_parts_of_one_file_cite_beside_it_or_from_the_core(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from typing import ClassVar\nimport attrs\nfrom gflow_core import Normal, hookimpl\n"
        "@attrs.frozen(kw_only=True)\nclass Law(Normal):\n    '''Mine.'''\n    cite: ClassVar = ('me2020', "
        "'brock2019large')\n"
        "@hookimpl\ndef register_latents(add):\n    add('mine.law', Law)\n"
    )
    recipe = tmp_path / "mine.toml"
    recipe.write_text(
        "gflow = 1\nsampler = { use = 'rmt.mlp_gan', latent = { use = 'mine.law' } }\ndataset = { use = 'mnist5k' }\n"
    )
    said = cite(recipe, "--load", tmp_path / "mine.py", code=2)
    assert 'latent mine.law cites "me2020", which is not in ' in said
    (tmp_path / BIBLIOGRAPHY).write_text("@misc{me2020,\n  author = {Me},\n  title = {Mine},\n  year = {2020},\n}\n")
    bibliography.cache_clear()
    text = cite(recipe, "--load", tmp_path / "mine.py")
    assert "title = {Mine}" in text
    assert "Brock" in text


def test_a_run_keeps_what_the_files_of_its_parts_cite(isolated_plugins, tmp_path):
    run = tmp_path / "run"
    for who in ("me", "you"):
        (tmp_path / who).mkdir()
        (tmp_path / who / f"{who}.py").write_text(
            "import attrs\nfrom gflow_core import Normal, hookimpl\n"
            "@attrs.frozen(kw_only=True)\nclass Law(Normal):\n    '''Mine.'''\n"
            f"@hookimpl\ndef register_latents(add):\n    add('mine.{who}', Law)\n"
        )
        (tmp_path / who / BIBLIOGRAPHY).write_text(f"@misc{{{who}2020,\n  title = {{Mine}},\n}}\n")
        load(tmp_path / who / f"{who}.py")
    run.mkdir()
    copies(run)
    kept = (run / "parts" / BIBLIOGRAPHY).read_text()
    assert list(bibliography(run / "parts" / BIBLIOGRAPHY)) == ["me2020", "you2020"]

    unload()
    forget_files(None)
    load(run / "parts" / "me.py")  # as a resumed run does
    copies(run)
    assert (run / "parts" / BIBLIOGRAPHY).read_text() == kept
