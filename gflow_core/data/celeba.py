"""Finding and selecting the images of celeba, their splits and attributes. Decoding them is `cache`'s work."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from gflow_core.data.cache import Decoded, Selection, decoded, labelled
from gflow_core.data.decode import Decoding
from gflow_core.data.places import expand, fetch, first_line, not_found
from gflow_core.data.store import Store, open_store
from gflow_core.errors import DataError, did_you_mean
from gflow_core.parts.nouns import Progress

__all__ = ["read_attributes", "read_celeba", "read_partition"]

SPLITS = {"train": 0, "valid": 1, "test": 2}
PARTITION = ("list_eval_partition.txt", "list_eval_partition.csv")
ATTRIBUTES = ("list_attr_celeba.txt", "list_attr_celeba.csv")


def read_celeba(
    root: str,
    decoding: Decoding,
    *,
    split: Literal["all", "train", "valid", "test"],
    attributes: Sequence[str],
    limit: int | None,
    download: bool,
    skip_unreadable: bool,
    workers: int | None,
    progress: Progress,
) -> Decoded:
    """The first `limit` of the aligned faces, all or those of one split, in the order of their names.

    With `attributes` they are labelled by real vectors [N, attributes] of 1 and -1. Raises DataError.
    """
    base = expand(root)
    places = _celeba_images(base)
    found = next((place for place in places if place.exists()), None)
    if found is None and download:
        _download_celeba(base)
        found = next((place for place in places if place.exists()), None)
    if found is None:
        raise not_found(
            "CelebA",
            places,
            "put one of them there, set dataset.root to its folder, or set dataset.download = true",
        )
    store = open_store(found)
    partition = None if split == "all" else _celeba_partition(split, base, found)
    codes = read_partition(partition) if partition else {}
    values = _celeba_attributes(attributes, base, found)
    images = decoded(
        store,
        decoding,
        lambda: _select_celeba(store, split, limit, partition, codes),
        key={
            "split": split,
            "partition": hashlib.sha256(repr(sorted(codes.items())).encode()).hexdigest(),
            "limit": limit,
        },
        skip_unreadable=skip_unreadable,
        workers=workers,
        progress=progress,
    )
    if not attributes:
        return images
    return labelled(images, _rows_of(images.names, values, found))


def _bases(root: Path) -> list[Path]:
    return [root, root / "celeba", root / "CelebA"]


def _celeba_images(root: Path) -> list[Path]:
    """Where the images may be; the zip first, which is whole or visibly damaged."""
    if root.is_file() or root.name == "img_align_celeba":
        return [root]
    return [
        base / inside / name
        for base in _bases(root)
        for inside in ("", "Img")
        for name in ("img_align_celeba.zip", "img_align_celeba")
    ]


def _celeba_partition(split: str, root: Path, images: Path) -> Path:
    places = _lists(root, images, "Eval", PARTITION)
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise not_found(
            f'CelebA: dataset.split = "{split}" needs the partition file, which was',
            places,
            'put list_eval_partition.txt beside the images, or set dataset.split = "all"',
        )
    return found


def _lists(root: Path, images: Path, folder: str, names: Sequence[str]) -> list[Path]:
    """Where a list that comes with the images may be: near root, or beside them; also below `folder`, as CelebA
    is distributed."""
    beside = [images.parent, images.parent / folder, images.parent.parent / folder]
    bases = [] if root.is_file() else [base / inside for base in _bases(root) for inside in ("", folder)]
    return list(dict.fromkeys(place / name for place in (*bases, *beside) for name in names))


def _celeba_attributes(names: Sequence[str], root: Path, images: Path) -> dict[str, list[float]]:
    """Image name -> its values of the named attributes."""
    if not names:
        return {}
    places = _lists(root, images, "Anno", ATTRIBUTES)
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise not_found(
            "CelebA: dataset.attributes needs the list of attributes, which was",
            places,
            "put list_attr_celeba.txt beside the images, or leave out dataset.attributes",
        )
    return read_attributes(found, names)


def _rows_of(images: Sequence[str], attributes: Mapping[str, list[float]], store: Path) -> Tensor:
    names = [name.rpartition("/")[2] for name in images]
    if missing := [name for name in names if name not in attributes]:
        raise DataError(
            f"{store}: list_attr_celeba lacks {len(missing)} of the {len(names)} images, {missing[0]} first; fetch it "
            "again"
        )
    return torch.tensor([attributes[name] for name in names])


def _select_celeba(
    store: Store, split: str, limit: int | None, partition: Path | None, codes: Mapping[str, int]
) -> Selection:
    if not store.names:
        raise DataError(f"{store.path}: no images found; fetch img_align_celeba.zip again, or set dataset.root")
    by_name = {name.rpartition("/")[2]: name for name in store.names}
    if partition is None:
        wanted = sorted(by_name)[:limit]
    else:
        wanted = [name for name, code in sorted(codes.items()) if code == SPLITS[split]]
        if not wanted:
            raise DataError(f"{partition}: it names no image of the {split} split; fetch it again")
        wanted = wanted[:limit]
        missing = [name for name in wanted if name not in by_name]
        if missing:
            more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
            raise DataError(
                f"{store.path}: lacks {', '.join(missing[:3])}{more} of the {split} split in {partition}; unpack "
                'all of img_align_celeba.zip, or set dataset.split = "all" to take the images that are there'
            )
    return Selection([by_name[name] for name in wanted])


def read_partition(path: Path) -> dict[str, int]:
    """Image name -> 0 (train), 1 (valid) or 2 (test), from the .txt of CelebA or a .csv made of it."""
    codes = {}
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: {first_line(error)}; fetch it again") from error
    for number, line in enumerate(lines, start=1):
        fields = line.replace(",", " ").split()
        if not fields or fields[0] == "image_id":
            continue
        if len(fields) != 2 or fields[1] not in ("0", "1", "2"):
            raise DataError(f'{path}: line {number}: expected "NAME.jpg 0", 1 or 2, found {line!r}; fetch it again')
        codes[fields[0]] = int(fields[1])
    return codes


def read_attributes(path: Path, wanted: Sequence[str]) -> dict[str, list[float]]:
    """Image name -> its values, 1 or -1, of the wanted attributes, from the .txt of CelebA or a .csv made of it.

    Raises DataError: an attribute that the file lacks, or a damaged line.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: {first_line(error)}; fetch it again") from error
    first = 1 if lines and lines[0].strip().isdigit() else 0  # the .txt begins with the number of images
    names = lines[first].replace(",", " ").split() if len(lines) > first else []
    names = names[1:] if names[:1] == ["image_id"] else names
    if unknown := [name for name in wanted if name not in names]:
        raise DataError(
            f"{path}: dataset.attributes: no attribute {unknown[0]!r}{did_you_mean(unknown[0], names)}; there are "
            f"{', '.join(names) or 'none'}"
        )
    columns = [names.index(name) + 1 for name in wanted]
    values = {}
    for number, line in enumerate(lines[first + 1 :], start=first + 2):
        fields = line.replace(",", " ").split()
        if not fields:
            continue
        if len(fields) != len(names) + 1 or any(fields[column] not in ("1", "-1") for column in columns):
            raise DataError(f"{path}: line {number}: expected NAME.jpg and {len(names)} of 1 or -1; fetch it again")
        values[fields[0]] = [float(fields[column]) for column in columns]
    return values


def _download_celeba(root: Path) -> None:
    from torchvision.datasets import CelebA

    fetch(
        "CelebA",
        root,
        lambda: CelebA(str(root), split="all", download=True),
        f"fetch img_align_celeba.zip (and list_eval_partition.txt for splits) yourself into {root / 'celeba'}",
    )
