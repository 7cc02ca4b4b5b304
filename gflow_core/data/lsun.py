"""Finding the images of one category of LSUN. Decoding them is `cache`'s work."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from gflow_core.data.cache import Decoded, Selection, decoded
from gflow_core.data.decode import Decoding
from gflow_core.data.places import expand, not_found
from gflow_core.data.store import Store, open_store
from gflow_core.errors import DataError
from gflow_core.parts.nouns import Progress

__all__ = ["read_lsun"]

TOOLS = "https://github.com/fyu/lsun"
SPLITS = {"train": "train", "test": "val"}
SUFFIXES = ("", ".zip", ".tar", "_lmdb")


def read_lsun(
    root: str,
    decoding: Decoding,
    *,
    category: str,
    split: Literal["train", "test"],
    limit: int | None,
    skip_unreadable: bool,
    workers: int | None,
    progress: Progress,
) -> Decoded:
    """The first `limit` images of a category, in the order of their names, which are hashes. Raises DataError."""
    base, name = expand(root), f"{category}_{SPLITS[split]}"
    places = [place / f"{name}{suffix}" for place in (base / "lsun", base) for suffix in SUFFIXES]
    found = next((place for place in places if place.exists()), None)
    if found is None:
        raise not_found(
            f"LSUN, {category}",
            places,
            f"download {name}_lmdb.zip by {TOOLS} and export its images into one of these, or set dataset.root or "
            "dataset.category to what is there",
        )
    store = open_store(found)
    return decoded(
        store,
        decoding,
        lambda: _select(store, name, limit),
        key={"set": "lsun", "limit": limit},
        skip_unreadable=skip_unreadable,
        workers=workers,
        progress=progress,
    )


def _select(store: Store, name: str, limit: int | None) -> Selection:
    if not store.names:
        packed = _lmdb(store.path)
        what = "is a database (lmdb), which gflow does not read" if packed else "holds no images"
        folder = name.removesuffix("_lmdb")
        raise DataError(
            f"{store.path}: {what}; export its images: python3 data.py export {packed or f'{name}_lmdb'} --out_dir "
            f"{store.path.parent / folder} (data.py of {TOOLS})"
        )
    return Selection(sorted(store.names, key=lambda one: one.rpartition("/")[2])[:limit])


def _lmdb(path: Path) -> Path | None:
    """The folder of a database at `path`, or in it."""
    return next((place for place in (path, *path.glob("*_lmdb")) if (place / "data.mdb").is_file()), None)
