"""What a batch of memory-mapped images waits for a disk: page by page, asked for at once, and from memory.

    python benchmarks/read_ahead.py [--images 100000] [--batches 60] [--rounds 5] [--folder .]

The file, random images of 64 px, is put out of the page cache before each turn (not before the last of the three),
and batches of 64 are taken in random order. Printed are milliseconds a batch, wall time: the least and the median of
the rounds, which are taken in turns. The file must lie on a disk, not on tmpfs.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from gflow_core.machine.paging import read_ahead
from gflow_core.parts import source as module
from gflow_core.parts.nouns import DataShape
from gflow_core.parts.source import Source

SHAPE = DataShape("image", (3, 64, 64), -1.0, 1.0)


def written(file: Path, images: int) -> None:
    x = np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=(images, *SHAPE.shape))
    rng = np.random.default_rng(0)
    for start in range(0, images, 10_000):
        x[start : start + 10_000] = rng.integers(0, 256, x[start : start + 10_000].shape, np.uint8)
    x.flush()


def drop(file: Path) -> None:
    """Put the file out of the page cache."""
    with file.open("rb") as opened:
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def turn(file: Path, how: str, batches: int, seed: int) -> float:
    """Milliseconds a batch."""
    if how == "from memory":
        np.load(file, mmap_mode="r").reshape(-1)[::2048].sum()
    else:
        drop(file)
    module.read_ahead = read_ahead if how != "page by page" else lambda *_: None
    data = Source(torch.from_numpy(np.load(file, mmap_mode="c")), SHAPE, "", cache=file)
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
    start = time.perf_counter()
    for index in order[: 64 * batches].split(64):
        data.batch(index)
    return 1e3 * (time.perf_counter() - start) / batches


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--batches", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", default=".")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        file = Path(folder) / "images.npy"
        written(file, args.images)
        found: dict[str, list[float]] = {"page by page": [], "at once": [], "from memory": []}
        for seed in range(args.rounds):
            for how, times in found.items():
                times.append(turn(file, how, args.batches, seed))
    for how, times in found.items():
        print(f"{how:<13} least {min(times):6.2f} ms a batch, median {statistics.median(times):6.2f}")


if __name__ == "__main__":
    main()
