"""Labels from files: each kind in each store, what does not match, and whatever somebody may have written there."""

from __future__ import annotations

import csv
import io
import json
import logging
import os

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gflow_core.cli import main
from gflow_core.data.parts import ImageFolder
from gflow_core.data.tables import plain, read_table
from gflow_core.data.text import TfIdf
from gflow_core.errors import DataError

NAMES = ["a/0.png", "a/1.png", "b/0.png", "b/1.png", "b/10.png", "c/é.png"]
SPECIES = ["10", "9", "9", "2", "10", "2"]
AGE = [0.5, -1, 2e3, 4, 5.25, 6]
TRUE = [True, False, True, True, False, False]


@pytest.fixture
def photos(make):
    """Image i is all of the value i."""
    return {name: make.png(np.full((8, 8, 3), i, np.uint8)) for i, name in enumerate(NAMES)}


def rows(names=NAMES):
    return [
        {"file_name": name, "species": SPECIES[i], "age": AGE[i], "smiling": TRUE[i], "said": 'a "fine", long\nline'}
        for i, name in enumerate(names)
    ]


def separated(records, separator=",", mark="") -> bytes:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(records[0]), delimiter=separator)
    writer.writeheader()
    writer.writerows(records)
    return (mark + out.getvalue()).encode()


KINDS = {
    "metadata.csv": separated(rows()),
    "marked.csv": separated(rows(), mark="\ufeff"),
    "metadata.tsv": separated(rows(["./" + name.replace("/", "\\") for name in NAMES]), "\t"),
    "metadata.jsonl": "\n\n".join(map(json.dumps, rows(["e\u0301".join(n.split("é")) for n in NAMES]))).encode(),
    "deep/metadata.csv": separated(rows()),
}
STORES = ["photos", "photos.zip", "photos.tar", "photos.tar.gz"]


def loaded(root, **options):
    return ImageFolder(**{"root": str(root), "image_size": 8, "workers": 1, **options}).load()


def by_value(source) -> list:
    """The labels in the order of NAMES."""
    return [source.y[i].tolist() for i in source.x[:, 0, 0, 0].argsort()]


@pytest.mark.parametrize("target", STORES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_in_every_store_and_beside(tmp_path, make, photos, target, kind):
    inside = make.write(
        {f"top/{kind}": KINDS[kind], **{f"top/{n}": raw for n, raw in photos.items()}}, tmp_path / target
    )
    alone = make.write(photos, tmp_path / "alone" / target) if target == "photos" else inside
    make.write({kind: KINDS[kind]}, tmp_path / "alone")
    for root in {inside, alone}:
        classes = loaded(root, labels=kind, label="species", classes=3)
        assert classes.class_names == ("2", "9", "10")
        assert by_value(classes) == [2, 1, 1, 0, 2, 0]
        real = loaded(root, labels=kind, conditions=("smiling", "age"))
        assert by_value(real) == [[float(one), age] for one, age in zip(TRUE, AGE, strict=True)]
        assert real.cache == classes.cache == loaded(root).cache
        assert len({real.fingerprint, classes.fingerprint, loaded(root).fingerprint}) == 3


@pytest.mark.parametrize("target", STORES)
@pytest.mark.parametrize("form", [list, dict])
def test_the_labels_of_stylegan(tmp_path, make, photos, target, form):
    classes = {"labels": form([[name, int(one)] for name, one in zip(NAMES, SPECIES, strict=True)])}
    real = {"labels": form([[name, [age, i]] for i, (name, age) in enumerate(zip(NAMES, AGE, strict=True))])}
    files = {"dataset.json": json.dumps(classes).encode(), "real.json": json.dumps(real).encode()}
    root = make.write({**files, **photos}, tmp_path / target)
    assert by_value(loaded(root, labels="dataset.json", classes=3)) == [2, 1, 1, 0, 2, 0]
    found = loaded(root, labels="real.json", conditions=("age", "place"))
    assert by_value(found) == [[age, i] for i, age in enumerate(AGE)]
    for options, said in (
        ({"labels": "real.json", "classes": 3}, "labels.0: numbers, no class; set dataset.conditions"),
        ({"labels": "real.json", "conditions": ("age",)}, "labels.0: 2 numbers, and dataset.conditions names 1"),
    ):
        with pytest.raises(DataError, match=said):
            loaded(root, **options)


def test_names_count_from_where_most_are_found(tmp_path, make, photos):
    for place, start in (
        ("x/set.csv", "x/"),
        ("x/set.csv", ""),
        ("set.csv", ""),
        ("set.csv", "x/"),
        ("x/y/set.csv", ""),
    ):
        root = tmp_path / f"{len(list(tmp_path.iterdir()))}.zip"
        make.write(
            {place: separated(rows([start + n for n in NAMES])), **{f"x/{n}": r for n, r in photos.items()}}, root
        )
        assert by_value(loaded(root, labels=place, label="species", classes=3)) == [2, 1, 1, 0, 2, 0]
    root = make.write(photos, tmp_path / "photos")
    make.write({"set.csv": separated(rows([f"photos/{name}" for name in NAMES]))}, tmp_path)
    assert by_value(loaded(root, labels="set.csv", label="species", classes=3)) == [2, 1, 1, 0, 2, 0]
    assert len(loaded(root, labels=str(tmp_path / "set.csv"), label="species", classes=3)) == 6


def test_each_split_has_its_file_as_on_hugging_face(tmp_path, make, photos):
    both = {f"train/{name}": raw for name, raw in photos.items()} | {f"test/{name}": photos[name] for name in NAMES[:2]}
    files = {"train/metadata.csv": separated(rows()), "test/metadata.csv": separated(rows(NAMES[:2]))}
    root = make.write({**files, **both}, tmp_path / "set.zip")
    options = {"labels": "metadata.csv", "label": "species"}
    assert len(loaded(root, folder="train", classes=3, **options)) == 6
    assert loaded(root, folder="test", classes=2, **options).class_names == ("9", "10")
    root = make.write({"all.csv": separated(rows([f"train/{n}" for n in NAMES])), **both}, tmp_path / "one.zip")
    assert len(loaded(root, folder="train", labels="all.csv", label="species", classes=3)) == 6


def test_classes_are_in_the_order_of_numbers_or_names(tmp_path, make, photos):
    for values, names in (
        (["1.5", "-2", "1.25"], ("-2", "1.25", "1.5")),
        (["img10", "img9", "b"], ("b", "img9", "img10")),
        (["nan", "1", "10"], ("1", "10", "nan")),
    ):
        records = [{"file_name": name, "label": values[i % 3]} for i, name in enumerate(NAMES)]
        root = make.write({"l.csv": separated(records), **photos}, tmp_path / values[0])
        assert loaded(root, labels="l.csv", classes=3).class_names == names
    with pytest.raises(
        DataError, match=r"l\.csv: the column 'label' holds 3 classes \(1, 10, nan\); set dataset\.classes = 3"
    ):
        loaded(root, labels="l.csv", classes=4)


# ------------------------------------------------------------------ what does not match


@pytest.mark.parametrize("kind", ["metadata.csv", "metadata.jsonl"])
def test_texts_are_labels_too(tmp_path, make, photos, kind):
    told = [{**row, "said": f"a {i}\n  dog" if i else ""} for i, row in enumerate(rows())]
    content = separated(told) if kind.endswith("csv") else "\n".join(map(json.dumps, told)).encode()
    root = make.write(photos | {kind: content}, tmp_path / "photos")
    with pytest.raises(DataError, match=r"1 of 6 images have no label there: a/0\.png"):
        loaded(root, labels=kind, caption="said", text=TfIdf(dim=4))
    source = loaded(root, labels=kind, caption="said", text=TfIdf(dim=4), unmatched="skip")
    assert source.captions == tuple(f"a {int(x[0, 0, 0])} dog" for x in source.x)
    assert source.shape.text == 4
    assert torch.equal(source.y, source.text(source.captions))
    other = loaded(root, labels=kind, caption="species", text=TfIdf(dim=4))
    assert other.fingerprint != source.fingerprint
    with pytest.raises(DataError, match=r"no column 'sad' \(dataset\.caption\)"):
        loaded(root, labels=kind, caption="sad")


def test_images_without_a_label_and_labels_without_an_image(tmp_path, make, photos, caplog):
    records = rows()[:3] + [{**row, "file_name": f"gone{i}.png"} for i, row in enumerate(rows()[:5])]
    records[2] = {**records[2], "age": "", "species": ""}
    root = make.write({"l.csv": separated(records), **photos}, tmp_path / "photos")
    options = {"labels": "l.csv", "conditions": ("age",)}
    with pytest.raises(DataError) as error:
        loaded(root, **options)
    assert str(error.value) == (
        f"{root}/l.csv: 4 of 6 images have no label there: b/0.png, b/1.png, b/10.png and 1 more; 5 names there are no "
        "images: gone0.png (line 9), gone1.png (line 11), gone2.png (line 13) and 2 more; mend the file, or set "
        'dataset.unmatched = "skip"'
    )
    assert not (tmp_path / "gflow-cache").exists()  # nothing was decoded to find out
    found = loaded(root, unmatched="skip", **options)
    assert by_value(found) == [[0.5], [-1]]
    assert caplog.messages[-1].endswith("and 2 more; left out")
    # Labels of what is left out and of what is no image are none.
    assert loaded(root, unmatched="skip", labels="l.csv", label="species", classes=2).cache == found.cache
    assert len(loaded(root, unmatched="skip", limit=1, **options)) == 1
    make.write({"other.csv": separated(rows(["x" + n for n in NAMES]))}, root)
    with pytest.raises(
        DataError, match=r"a/0\.png, .* no images: xa/0\.png .*; names count from the folder of the file"
    ):
        loaded(root, unmatched="skip", labels="other.csv", conditions=("age",))


def test_labels_that_nobody_asked_for_are_mentioned(tmp_path, make, photos, caplog):
    caplog.set_level(logging.INFO, "gflow")
    for target in STORES:
        root = make.write(
            {f"top/{n}": r for n, r in photos.items()} | {"top/metadata.csv": KINDS["marked.csv"]}, tmp_path / target
        )
        for _ in range(2):  # decoded, and from the cache
            caplog.clear()
            loaded(root)
            assert caplog.messages == [
                'top/metadata.csv is there: set dataset.labels = "metadata.csv" to use its columns species, age, '
                "smiling, said"
            ]
        caplog.clear()
        loaded(root, labels="metadata.csv", conditions=("age",))
        assert not caplog.messages
    for name, content in (
        ("metadata.csv", b"\xff,;"),
        ("metadata.jsonl", b"[[[["),
        ("metadata.tsv", b""),
        ("dataset.json", b"{}"),
    ):
        root = make.write({name: content, **photos}, tmp_path / f"{name}.zip")
        loaded(root)
    root = make.write(photos, tmp_path / "pipe")
    os.mkfifo(root / "metadata.csv")
    loaded(root)
    assert not caplog.messages


# ------------------------------------------------------------------ anything


def refused(tmp_path, make, photos, content: bytes, name: str = "l.csv", **options) -> str:
    root = make.write({name: content, **photos}, tmp_path / "photos.zip")
    with pytest.raises(DataError) as error:
        loaded(root, **{"labels": name, "conditions": ("age",), **options})
    text = str(error.value)
    assert text.startswith(f"{root}/{name}: ")
    assert "\n" not in text
    return text.removeprefix(f"{root}/{name}: ")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            b"file_name,ages\na/0.png,1\n",
            "no column 'age' (dataset.conditions); did you mean \"ages\"?; there are file_name, ages",
        ),
        (
            b"file_name;age\na/0.png;1\n",
            "no column 'file_name' (dataset.file_name); separate columns by a comma, in a .tsv by a tab; there",
        ),
        (b"", "no column 'file_name'"),
        (b"file_name,age\n", "names no image"),
        (b"file_name,age,age\na/0.png,1,2\n", "line 1: 2 columns are called 'age'"),
        (b"file_name,age\na/0.png,1\na/1.png\n", "line 3: 1 fields, and line 1 names 2 columns"),
        (b"file_name,age\na/0.png,1,2\n", "line 2: 3 fields"),
        (b'file_name,age\na/0.png,"1\n', "line 2: unexpected end of data"),
        (b'file_name,age\n"a"/0.png,1\n', "line 2: ',' expected after '\"'"),
        (b"file_name,age\na/0.png," + b"x" * 200_000, "line 2: field larger than field limit"),
        (b"file_name,age\na/0.png,1\nb/\xe9.png,2\n", "line 3: not UTF-8 text"),
        ("file_name,age\na/0.png,1\n".encode("utf-16"), "line 1: not UTF-8 text"),
        (b"file_name,age\na/0.png,1\n,2\n", "line 3: expected the name of a file, found none"),
        (b"file_name,age\na/0.png,1\n./a//0.png,2\n", "line 3: a/0.png again, as on line 2; remove one of them"),
        (b"file_name,age\na/0.png,1\na\\0.png,1\n", "line 3: a/0.png again"),
        (b"file_name,age\n/etc/passwd,1\n", "line 2: /etc/passwd leads out of the images"),
        (b"file_name,age\n../a/0.png,1\n", "line 2: ../a/0.png leads out"),
        (b"file_name,age\na/../../b,1\n", "line 2: a/../../b leads out"),
        (b"file_name,age\nC:\\a.png,1\n", "line 2: C:\\a.png leads out"),
    ],
)
def test_tables_that_are_none(tmp_path, make, photos, content, said):
    assert refused(tmp_path, make, photos, content).startswith(said)


@pytest.mark.parametrize("value", ["nan", "inf", "-Infinity", "1e39", "1e400", "old", "0x10", "1,5"])
def test_what_is_no_number_is_named(tmp_path, make, photos, value):
    records = rows()
    records[1]["age"] = value
    said = refused(tmp_path, make, photos, separated(records))
    assert said.startswith("line 5: age: ")  # each row has two lines
    assert repr(value) in said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"file_name": "a/0.png", "age": 1}\nnull\n', "line 2: not a JSON object"),
        (b'{"file_name": "a/0.png", "age": 1}\n{"file_name"\n', "line 2: Expecting ':' delimiter"),
        (b'{"file_name": "a/0.png", "age": [1]}', "line 1: expected text or a number, found [1]"),
        (b'{"file_name": "a/0.png", "age": {}}', "line 1: expected text or a number, found {}"),
        (b'{"file_name": " ", "age": 1}', "line 1: expected the name of a file, found none"),
        (b'{"file_name": 3, "age": 1}', "line 1: expected the name of a file, found 3"),
        (
            b'{"file_name": "a/0.png", "aged": 1}',
            "no column 'age' (dataset.conditions); did you mean \"aged\"?; there are file_name, aged",
        ),
        (b"\n\n", "no column 'file_name'"),
        (b'{"file_name": "\xff"}', "line 1: not UTF-8 text"),
        (b'{"file_name": "a/0.png", "age": ' + b"[" * 100_000, "line 1: nested too deep"),
        (b'{"file_name": "a/0.png", "age": ' + b"9" * 5_000 + b"}", "line 1: a number of more digits"),
    ],
)
def test_lines_of_json_that_are_none(tmp_path, make, photos, content, said):
    assert refused(tmp_path, make, photos, content, "l.jsonl").startswith(said)


@pytest.mark.parametrize("value", [b"NaN", b"-Infinity", b"1e999", b"9" * 400, b'"old"'])
def test_numbers_of_json_that_are_none(tmp_path, make, photos, value):
    content = b"".join(b'{"file_name": "%s", "age": %s}\n' % (name.encode(), value) for name in NAMES)
    assert refused(tmp_path, make, photos, content, "l.jsonl").startswith("line 1: age: ")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[]", "not a JSON object"),
        (b'{"labels": null}', "labels: expected a list of [name, class] or [name, [numbers]], found None"),
        (b'{"labels": [3]}', "labels.0: expected [name, class] or [name, [numbers]], found 3"),
        (b'{"labels": [["a/0.png", 1], ["a/1.png"]]}', "labels.1: expected [name, class]"),
        (b'{"labels": [["a/0.png", [[1]]]]}', "labels.0: expected text or a number"),
        (b'{"labels": [["a/0.png", {}]]}', "labels.0: expected text or a number"),
        (b'{"labels": [[["a"], 1]]}', "labels.0: expected text or a number"),
        (b'{"labels": [[null, 1]]}', "labels.0: expected the name of a file"),
        (b'{"labels": []}', "names no image"),
        (b'{"labels": {"a/0.png": []}}', "labels.0: 0 numbers, and dataset.conditions names 1"),
    ],
)
def test_files_of_stylegan_that_are_none(tmp_path, make, photos, content, said):
    assert refused(tmp_path, make, photos, content, "dataset.json").startswith(said)


def test_a_file_of_labels_is_a_file(tmp_path, make, photos, monkeypatch):
    root = make.write(photos, tmp_path / "photos")
    os.mkfifo(root / "pipe.csv")
    (root / "folder.csv").mkdir()
    (root / "zero.csv").symlink_to("/dev/zero")
    (root / "gone.csv").symlink_to("nowhere")
    (root / "large.csv").write_bytes(bytes(1001))
    monkeypatch.setattr("gflow_core.data.store.LARGEST", 1000)
    for name, said in (
        ("pipe", "is no file"),
        ("folder", "is a folder, not a file"),
        ("zero", "is no file"),
        ("gone", "No such file"),
        ("large", "larger than"),
    ):
        with pytest.raises(DataError, match=rf"photos/{name}\.csv: .*{said}"):
            loaded(root, labels=f"{name}.csv", classes=1)
    with pytest.raises(
        DataError, match=r"dataset\.labels not found; looked for .*photos/no\.csv, .*/no\.csv; set it to a file"
    ):
        loaded(root, labels="no.csv", classes=1)
    for archive in ("photos.zip", "photos.tar"):
        monkeypatch.setattr("gflow_core.data.archives.LARGEST", 1000)
        root = make.write({**photos, "l.csv": bytes(1001)}, tmp_path / archive)
        with pytest.raises(DataError, match=r"l\.csv states 1,001 bytes, more than"):
            loaded(root, labels="l.csv", classes=1)


def test_options_that_do_not_go_together():
    def said(**options) -> list[str]:
        return list(ImageFolder(root="x", **options).check())

    assert not said(labels="x.CSV", classes=3, label="a", file_name="b")
    assert not said(classes=3)
    for options, words in (
        ({"conditions": ("a",)}, "set labels to it"),
        ({"label": "a", "classes": 3}, "set labels to it"),
        ({"labels": "x.csv"}, "labels go together with one of"),
        ({"labels": "x.csv", "classes": 3, "conditions": ("a",)}, "labels go together with one of"),
        ({"labels": "x.parquet", "classes": 3}, "ends in .csv, .tsv, .jsonl, .json"),
        ({"labels": "x.csv", "conditions": ("a", "a")}, "names one twice"),
        ({"labels": "x.csv", "conditions": ("a",), "label": "b"}, "set classes"),
    ):
        (message,) = said(**options)
        assert words in message


quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

# A letter that is half of another one is no text, and what is stripped or has two forms is another name.
words = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\:"), min_size=1, max_size=6)
cells = st.one_of(words.map(str.strip), st.floats(allow_nan=False, allow_infinity=False).map(str))


@quick
@given(st.dictionaries(words.map(lambda word: f"x{word}y.png"), cells, min_size=1, max_size=4))
@example({'x"y.png': 'a "b", c'})
def test_what_is_written_is_read(table):
    table = {plain(name): value for name, value in table.items()}
    records = [{"file_name": name, "other": "", "what": value} for name, value in table.items()]
    for suffix, content in (
        (".csv", separated(records)),
        (".tsv", separated(records, "\t")),
        (".jsonl", "\n".join(map(json.dumps, records)).encode()),
    ):
        found = read_table(content, suffix, {"what": "dataset.label"}, "file_name")
        assert dict(zip(found.names, found.columns["what"], strict=True)) == {n: v or None for n, v in table.items()}


@quick
@given(st.binary(max_size=60), st.sampled_from([".csv", ".tsv", ".jsonl", ".json"]))
@example(b"file_name,what\n\x00,\x00", ".csv")
@example(b'{"labels": [["", 1]]}', ".json")
@example(b'{"file_name": "\\ud800", "what": 1}', ".jsonl")
def test_whatever_is_written_costs_one_message(content, suffix):
    try:
        found = read_table(content, suffix, {"what": "dataset.label"}, "file_name")
    except ValueError:
        return
    assert len(found.names) == len(found.lines) == len(found.columns["what"]) > 0


# ------------------------------------------------------------------ a run


def test_a_run_on_labels_of_a_file_is_asked_by_name(tmp_path, make, rng, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = {f"{i}.png": make.png(rng.integers(0, 256, (16, 16, 3), np.uint8)) for i in range(12)}
    records = [{"file_name": name, "animal": ("cat", "dog, large")[i % 2]} for i, name in enumerate(files)]
    make.write({"metadata.csv": separated(records), **files}, tmp_path / "animals")
    (tmp_path / "game.toml").write_text(
        'gflow = 1\n[dataset]\nuse = "image_folder"\nroot = "animals"\nimage_size = 16\nlabels = "metadata.csv"\n'
        'label = "animal"\nclasses = 2\n[sampler]\nuse = "cgan.conv"\nwidth = 4\n'
        'latent = { use = "normal", dim = 5 }\n[discriminator]\nuse = "cgan.conv"\nwidth = 4\n'
        '[objective]\nuse = "adversarial"\n[optimizer.sampler]\nuse = "sgd"\nlr = 0.05\n'
        '[optimizer.discriminator]\nuse = "sgd"\nlr = 0.05\n[train]\nsteps = 2\nbatch_size = 6\n'
    )
    run = CliRunner().invoke(main, ["run", "game.toml"])
    assert run.exit_code == 0, run.output
    (folder,) = (tmp_path / "runs").iterdir()
    drawn = CliRunner().invoke(main, ["sample", str(folder), "--n", "3", "--out", "x.npy", "--label", "dog, large"])
    assert drawn.output.endswith("3 samples of dog, large: x.npy\n"), drawn.output
    again = CliRunner().invoke(main, ["sample", str(folder), "--n", "3", "--out", "y.npy", "--label", "1"])
    assert again.exit_code == 0
    assert np.array_equal(np.load("x.npy"), np.load("y.npy"))
    # Another labelling is other data.
    records[0]["animal"] = "dog, large"
    (tmp_path / "animals" / "metadata.csv").write_bytes(separated(records))
    went_on = CliRunner().invoke(main, ["resume", str(folder), "--steps", "3"])
    assert went_on.exit_code == 2
    assert "the data has changed since the run began" in went_on.output
