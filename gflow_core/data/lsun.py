"""Finding the images of one category of LSUN. Decoding them is `cache`'s work."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal

from gflow_core.data.cache import Decoded, Selection, decoded
from gflow_core.data.database import PAGES
from gflow_core.data.decode import Decoding
from gflow_core.data.places import expand, not_found
from gflow_core.data.store import Store, open_store
from gflow_core.errors import DataError
from gflow_core.parts.nouns import Progress

__all__ = ["read_lsun"]

TOOLS = "https://github.com/fyu/lsun"
SPLITS = {"train": "train", "test": "val"}
SUFFIXES = ("", ".zip", ".tar", "_lmdb", "_lmdb.zip")


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
            f"download {name}_lmdb.zip by {TOOLS} and unpack it into one of these folders, or set dataset.root or "
            "dataset.category to what is there",
        )
    packed = next((place for place in (found, found / f"{name}_lmdb") if (place / PAGES).is_file()), None)
    store = Store(packed, "lmdb") if packed else open_store(found)
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
    if store.kind == "lmdb" and not find_spec("lmdb"):
        raise DataError(
            f'{store.path}: is a database (lmdb): pip install "gflow-core[lmdb]" to read it; or export its images: '
            f"python3 data.py export {store.path} --out_dir {store.path.parent / name} (data.py of {TOOLS})"
        )
    if not store.names:
        packed = store.kind != "lmdb" and store.file([f"{name}_lmdb/{PAGES}", PAGES], start=0)
        what = "is a packed database (lmdb), which is read from its folder: unpack it" if packed else "holds no images"
        raise DataError(f"{store.path}: {what}; {name}_lmdb.zip is downloaded by download.py of {TOOLS}")
    return Selection(sorted(store.names, key=lambda one: one.rpartition("/")[2])[:limit])
