from __future__ import annotations

import csv
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from gflow_core.data.parts import CelebA
from gflow_core.errors import DataError


def pixels(root, name):
    import io
    import zipfile

    with zipfile.ZipFile(root / "celeba" / "img_align_celeba.zip") as archive:
        return Image.open(io.BytesIO(archive.read(f"img_align_celeba/{name}"))).convert("RGB")


def test_crop_then_resize(celeba):
    source = CelebA(root=str(celeba)).load()
    assert source.x.shape == (12, 3, 64, 64)
    face = pixels(celeba, "000003.jpg").crop((15, 35, 163, 183)).resize((64, 64), Image.Resampling.BICUBIC)
    assert np.array_equal(source.x[2].numpy(), np.asarray(face).transpose(2, 0, 1))
    plain = CelebA(root=str(celeba), image_size=148).load()
    assert np.array_equal(
        plain.x[0].numpy(), np.asarray(pixels(celeba, "000001.jpg"))[35:183, 15:163].transpose(2, 0, 1)
    )


def test_splits_are_those_of_the_partition_file(celeba):
    whole, train, valid, test = (
        CelebA(root=str(celeba), image_size=8, split=split).load() for split in ("all", "train", "valid", "test")
    )
    assert (len(train), len(valid), len(test)) == (6, 2, 4)
    assert torch.equal(whole.x, torch.cat([train.x, valid.x, test.x]))
    assert torch.equal(CelebA(root=str(celeba), image_size=8, split="test", limit=2).load().x, test.x[:2])


@pytest.mark.parametrize("layout", ["folder", "zip", "official", "twice", "itself", "zip itself"])
def test_layouts_that_people_have(tmp_path, rng, make, celeba, layout):
    wanted = CelebA(root=str(celeba), image_size=8, split="test").load().fingerprint
    packed, text = celeba / "celeba" / "img_align_celeba.zip", make.partition()
    root = tmp_path / "other"
    root.mkdir()
    match layout:
        case "folder":
            shutil.unpack_archive(packed, root)
            with open(root / "list_eval_partition.csv", "w", newline="") as file:
                csv.writer(file).writerows([("image_id", "partition"), *(line.split() for line in text.splitlines())])
        case "zip":
            shutil.copy(packed, root)
            (root / "list_eval_partition.txt").write_text(text)
        case "official":
            (root / "CelebA" / "Img").mkdir(parents=True)
            (root / "CelebA" / "Eval").mkdir()
            shutil.copy(packed, root / "CelebA" / "Img")
            (root / "CelebA" / "Eval" / "list_eval_partition.txt").write_text(text)
        case "twice":
            shutil.unpack_archive(packed, root / "img_align_celeba")
            (root / "list_eval_partition.txt").write_text(text)
        case "itself":
            shutil.unpack_archive(packed, root)
            (root / "list_eval_partition.txt").write_text(text)
            root = root / "img_align_celeba"
        case "zip itself":
            root = packed
    assert CelebA(root=str(root), image_size=8, split="test").load().fingerprint == wanted


def test_celeba_needs_no_partition_for_all(celeba):
    (celeba / "celeba" / "list_eval_partition.txt").unlink()
    assert len(CelebA(root=str(celeba), image_size=8).load()) == 12
    with pytest.raises(DataError, match=r'split = "train" needs the partition file.*Eval.*dataset\.split = "all"'):
        CelebA(root=str(celeba), image_size=8, split="train").load()


def test_celebas_attributes_are_real_labels(celeba, make):
    plain = CelebA(root=str(celeba), image_size=8, split="test").load()
    labelled = CelebA(root=str(celeba), image_size=8, split="test", attributes=("Smiling", "Eyeglasses"))
    assert (labelled.data_shape().conditions, labelled.data_shape().label_size) == (("Smiling", "Eyeglasses"), 2)
    source = labelled.load()
    assert source.y.tolist() == [[-1, -1], [-1, 1], [-1, -1], [-1, -1]]  # faces 9 to 12
    assert source.batch(torch.tensor([1])).y.tolist() == [[-1, 1]]
    assert (plain.y, source.cache) == (None, plain.cache)
    assert source.fingerprint != plain.fingerprint
    # The same as a .csv
    (celeba / "celeba" / "list_attr_celeba.txt").unlink()
    rows = [line.split() for line in make.attributes().splitlines()[1:]]
    text = "\n".join(",".join(row if i else ["image_id", *row]) for i, row in enumerate(rows))
    (celeba / "celeba" / "list_attr_celeba.csv").write_text(text)
    assert labelled.load().fingerprint == source.fingerprint


def test_celebas_attributes_that_are_not_there(celeba, make):
    part = CelebA(root=str(celeba), image_size=8, attributes=("Smilling",))
    with pytest.raises(DataError, match=r"no attribute 'Smilling'; did you mean \"Smiling\"\?.*there are Eyeglasses"):
        part.load()
    part, file = (
        CelebA(root=str(celeba), image_size=8, attributes=("Male",)),
        celeba / "celeba" / "list_attr_celeba.txt",
    )
    lines = make.attributes().splitlines()
    for text, words in (
        ("\n".join(lines[:-1]), r"lacks 1 of the 12 images, 000012\.jpg first"),
        ("\n".join([*lines[:-1], "000012.jpg 1 0 1"]), r"line 14: expected NAME\.jpg and 3 of 1 or -1"),
        ("", r"there are none"),
    ):
        file.write_text(text)
        with pytest.raises(DataError, match=words):
            part.load()
    file.unlink()
    with pytest.raises(DataError, match=r"attributes needs the list of attributes.*Anno"):
        part.load()
    assert list(CelebA(attributes=("Male", "Male")).check()) == ["attributes = ['Male', 'Male'] names one twice"]


def test_celeba_errors(tmp_path, celeba, make):
    with pytest.raises(DataError) as caught:
        CelebA(root=str(tmp_path / "none")).load()
    for words in ("img_align_celeba.zip or img_align_celeba in", "CelebA/Img", "dataset.download = true"):
        assert words in str(caught.value)
    partition = celeba / "celeba" / "list_eval_partition.txt"
    for text, words in (
        ("000001.jpg 7\n", 'line 1: expected "NAME.jpg 0", 1 or 2'),
        ("000001.jpg 1\n", "no image of the train split"),
        (make.partition() + "000013.jpg 0\n", "lacks 000013.jpg of the train split"),
    ):
        partition.write_text(text)
        with pytest.raises(DataError) as caught:
            CelebA(root=str(celeba), image_size=8, split="train").load()
        assert words in str(caught.value)
    (celeba / "celeba" / "img_align_celeba.zip").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(DataError, match=r"img_align_celeba\.zip: .*damaged"):
        CelebA(root=str(celeba), image_size=8).load()


def test_a_failed_celeba_download_says_how_to_do_it_by_hand(tmp_path, monkeypatch):
    from torchvision.datasets import celeba

    def offline(*_):
        raise RuntimeError("To download files from GDrive, 'gdown' is required.")

    monkeypatch.setattr(celeba, "download_file_from_google_drive", offline)
    with pytest.raises(DataError, match=r"'gdown' is required.*img_align_celeba\.zip.*yourself"):
        CelebA(root=str(tmp_path), download=True).load()
