"""Reading SVHN from its files of cropped digits."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from gflow_core.data.mat import read_mat
from gflow_core.data.pixels import Pixels
from gflow_core.data.places import DAMAGED, expand, fetch, not_found
from gflow_core.errors import DataError

__all__ = ["read_svhn"]

PAGE = "http://ufldl.stanford.edu/housenumbers/"


def read_svhn(
    split: Literal["train", "test", "extra"], *, root: str, download: bool
) -> tuple[Pixels, npt.NDArray[np.int64]]:
    """Images [N, 3, 32, 32] and classes [N] of a split; the label 10, a zero, is class 0. Raises DataError."""
    base, name = expand(root), f"{split}_32x32.mat"
    places = [base / "svhn" / name, base / "SVHN" / name, base / name]
    found = next((place for place in places if place.is_file()), None)
    if found is None and download:
        _download(split, base, name)
        found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise not_found(
            "SVHN, format 2 (cropped digits),",
            places,
            f"download {name} from {PAGE} into {base}, set dataset.root to its folder, or set dataset.download = true",
        )
    return _arrays(found)


def _download(split: str, root: Path, name: str) -> None:
    from torchvision.datasets import SVHN

    fetch("SVHN", root, lambda: SVHN(str(root), split, download=True), f"fetch {PAGE}{name} yourself into {root}")


def _arrays(path: Path) -> tuple[Pixels, npt.NDArray[np.int64]]:
    arrays = read_mat(path, ("X", "y"))
    if missing := {"X", "y"} - arrays.keys():
        raise DataError(f"{path}: holds no array {min(missing)}; is it one of SVHN's cropped digits (format 2)?")
    x, y = arrays["X"], arrays["y"].reshape(-1)
    if x.dtype != np.uint8 or x.ndim != 4 or x.shape[:3] != (32, 32, 3) or not x.shape[3]:
        raise DataError(f"{path}: X: bytes [32, 32, 3, N] expected, found {x.dtype} {list(x.shape)}; {DAMAGED}")
    if len(y) != x.shape[3]:
        raise DataError(f"{path}: {x.shape[3]} images and {len(y)} labels; {DAMAGED}")
    if not np.isin(y, range(1, 11)).all():
        raise DataError(f"{path}: y: labels 1 to 10 expected, 10 for the digit 0; {DAMAGED}")
    return x.transpose(3, 2, 0, 1), y.astype(np.int64) % 10
