"""Tiny synthetic files in the formats that the data sets read."""

from __future__ import annotations

import gzip
import io
import logging
import os
import pickle
import signal
import struct
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.io
from PIL import Image

FACES = 12


def pytest_unconfigure(config: pytest.Config) -> None:
    """Say last, where it is read, how to run what is skipped for want of a browser."""
    terminal = config.pluginmanager.get_plugin("terminalreporter")  # workers have none
    skipped = terminal.stats.get("skipped", []) if terminal else []
    count = sum("needs a browser" in str(report.longrepr) for report in skipped)
    if count:
        install = "make browser" if os.name != "posix" or os.geteuid() == 0 else "sudo make browser"
        terminal.write_line(
            f"{count} tests of report pages were skipped: there is no browser here. To run them, too: {install} "
            "(Debian, Ubuntu), or install chromium and chromedriver",
            yellow=True,
        )


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What trackers tell wandb and mlflow, which are stood in for: the name of each call, and its arguments."""
    calls: list[tuple[Any, ...]] = []

    class Recorder:
        info = SimpleNamespace(run_id="the run")
        experiment_id = "1"

        def __init__(self, *args: object, **kwargs: object) -> None:
            calls.append(("made", args, kwargs))

        def __getattr__(self, name: str) -> Callable[..., Recorder]:
            def call(*args: object, **kwargs: object) -> Recorder:
                calls.append((name, args, kwargs))
                return self

            return call

    for name in ("wandb", "mlflow"):
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        monkeypatch.setitem(sys.modules, name, module)
    sys.modules["wandb"].__dict__.update(init=Recorder().init, Settings=dict, Image=str)
    sys.modules["mlflow"].__dict__.update(MlflowClient=Recorder)
    calls.clear()
    return calls


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test reads or writes a cache outside its own folder."""
    monkeypatch.delenv("GFLOW_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))


@pytest.fixture(autouse=True)
def _own_signals() -> Iterator[None]:
    """A command that was interrupted takes signals for good: its process would end."""
    numbers = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
    before = {number: signal.getsignal(number) for number in numbers}
    if before[signal.SIGHUP] is signal.SIG_IGN:  # of nohup, which gflow heeds
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def _own_log() -> Iterator[None]:
    """A run's console takes what gflow logs for as long as the process lives."""
    logger = logging.getLogger("gflow")
    before, level = list(logger.handlers), logger.level
    yield
    logger.handlers[:] = before
    logger.setLevel(level)


@pytest.fixture
def float64() -> Iterator[None]:
    """New tensors are of 64 bits."""
    import torch

    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def idx(array: np.ndarray) -> bytes:
    """An IDX file of unsigned bytes."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def png(pixels: np.ndarray, **options: object) -> bytes:
    return encoded(Image.fromarray(pixels), "PNG", **options)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def write(files: dict[str, bytes], target: Path) -> Path:
    """The files as a folder, a zip or a tar, by the target's suffix."""
    if target.suffix == ".zip":
        with zipfile.ZipFile(target, "w") as archive:
            for name, raw in files.items():
                archive.writestr(name, raw)
    elif ".tar" in target.suffixes:
        with tarfile.open(target, "w:" + target.suffix[1:].replace("tar", "")) as archive:
            for name, raw in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(raw)
                archive.addfile(info, io.BytesIO(raw))
    else:
        for name, raw in files.items():
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(raw)
    return target


@pytest.fixture
def mnist_files(tmp_path: Path, rng: np.random.Generator) -> Callable[..., Path]:
    """MNIST's four files with 20 (or so many) and 8 images, in a folder; .gz or plain."""

    def make(folder: str = "data/MNIST/raw", gz: bool = True, images: int = 20) -> Path:
        place = tmp_path / folder
        place.mkdir(parents=True, exist_ok=True)
        for stem, n in (("train", images), ("t10k", 8)):
            for name, array in (
                (f"{stem}-images-idx3-ubyte", rng.integers(0, 256, (n, 28, 28))),
                (f"{stem}-labels-idx1-ubyte", np.arange(n) % 10),
            ):
                raw = idx(array)
                path = place / (name + ".gz" if gz else name)
                path.write_bytes(gzip.compress(raw) if gz else raw)
        return place

    return make


def cifar_files(rng: np.random.Generator, fine: bool = False, count: int = 3) -> dict[str, bytes]:
    """A binary release with `count` images a file."""
    names = ["train.bin", "test.bin"] if fine else [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
    folder = "cifar-100-binary" if fine else "cifar-10-batches-bin"
    files = {}
    for i, name in enumerate(names):
        labels = [bytes([7, 90 + k]) if fine else bytes([(i + k) % 10]) for k in range(count)]
        files[f"{folder}/{name}"] = b"".join(label + rng.bytes(3072) for label in labels)
    return files


def cifar_pickles(binary: dict[str, bytes], protocol: int = 2) -> dict[str, bytes]:
    """The Python release of what is in a binary one."""
    files = {}
    for name, raw in binary.items():
        fine = "100" in name
        table = np.frombuffer(raw, np.uint8).reshape(-1, 3074 if fine else 3073)
        labels = {b"coarse_labels": table[:, 0].tolist(), b"fine_labels": table[:, 1].tolist()}
        labels = labels if fine else {b"labels": table[:, 0].tolist()}
        held = {b"batch_label": b"one", **labels, b"data": table[:, -3072:].copy(), b"filenames": [b"a_s_0001.png"]}
        new = name.replace("cifar-100-binary", "cifar-100-python").replace("-bin/", "-py/").removesuffix(".bin")
        files[new] = pickle.dumps(held, protocol)
    return files


def svhn_files(rng: np.random.Generator, count: int = 12, packed: bool = True) -> dict[str, bytes]:
    """SVHN's three files with `count` images each, of classes 0, 1, ..., 9, 0, ..."""
    files = {}
    for split in ("train", "test", "extra"):
        labels = np.arange(count) % 10
        arrays = {"X": rng.integers(0, 256, (32, 32, 3, count), np.uint8), "y": np.where(labels, labels, 10)[:, None]}
        out = io.BytesIO()
        scipy.io.savemat(out, arrays, do_compression=packed)
        files[f"{split}_32x32.mat"] = out.getvalue()
    return files


def imagenet_files(rng: np.random.Generator, size: int, count: int = 3) -> dict[str, bytes]:
    """The ten files of training images and that of validation with `count` images each; packed, and not."""
    files = {}
    for i, name in enumerate([*(f"train_data_batch_{i}" for i in range(1, 11)), "val_data"]):
        data = rng.integers(0, 256, (count, 3 * size**2), np.uint8)
        labels = [1 + (100 * i + k) % 1000 for k in range(count)]
        out = io.BytesIO()
        (np.savez_compressed if i % 2 else np.savez)(out, data=data, labels=labels, mean=data.mean(0))
        files[f"imagenet{size}/{name}.npz"] = out.getvalue()
    return files


def stl10_files(rng: np.random.Generator, count: int = 6) -> dict[str, bytes]:
    """STL-10's files with `count` images each, of classes 0, 1, ..., which the files call 1, 2, ..."""
    files = {f"stl10_binary/{split}_X.bin": rng.bytes(count * 3 * 96**2) for split in ("train", "test", "unlabeled")}
    return files | {
        f"stl10_binary/{split}_y.bin": bytes(1 + k % 10 for k in range(count)) for split in ("train", "test")
    }


def face_files(rng: np.random.Generator) -> dict[str, bytes]:
    """CelebA's images in small number, lossless in spite of their name."""
    return {
        f"img_align_celeba/{i + 1:06d}.jpg": png(rng.integers(0, 256, (218, 178, 3), np.uint8)) for i in range(FACES)
    }


def partition() -> str:
    """6 train, 2 valid, 4 test."""
    codes = [0] * 6 + [1] * 2 + [2] * 4
    return "".join(f"{i + 1:06d}.jpg {code}\n" for i, code in enumerate(codes))


def attributes() -> str:
    """Three attributes: Eyeglasses of every third face, Male of every other, Smiling of the first four."""
    rows = [(i % 3 == 0, i % 2 == 0, i < 4) for i in range(FACES)]
    lines = [f"{i + 1:06d}.jpg  {'  '.join('1' if has else '-1' for has in row)}\n" for i, row in enumerate(rows)]
    return f"{FACES}\nEyeglasses Male Smiling\n" + "".join(lines)


@pytest.fixture
def celeba(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A root with img_align_celeba.zip, partition and attributes."""
    root = tmp_path / "data" / "celeba"
    root.mkdir(parents=True)
    write(face_files(rng), root / "img_align_celeba.zip")
    (root / "list_eval_partition.txt").write_text(partition())
    (root / "list_attr_celeba.txt").write_text(attributes())
    return tmp_path / "data"


@pytest.fixture
def make() -> SimpleNamespace:
    """The functions above: test modules cannot import them."""
    return SimpleNamespace(
        idx=idx,
        png=png,
        encoded=encoded,
        write=write,
        cifar_files=cifar_files,
        cifar_pickles=cifar_pickles,
        svhn_files=svhn_files,
        imagenet_files=imagenet_files,
        stl10_files=stl10_files,
        face_files=face_files,
        partition=partition,
        attributes=attributes,
    )


class Log:
    """A progress callback that remembers."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int, int]] = []

    def __call__(self, what: str, done: int, total: int) -> None:
        self.calls.append((what, done, total))

    def __contains__(self, what: str) -> bool:
        return any(call[0] == what for call in self.calls)


@pytest.fixture
def sentences(monkeypatch: pytest.MonkeyPatch) -> type:
    """In place of the package sentence-transformers: a model of 8 numbers, from the letters of a text."""
    import torch

    class SentenceTransformer(torch.nn.Linear):
        def __init__(self, model: str, device: str) -> None:
            if model == "missing":
                raise OSError("no such model\nand more")
            super().__init__(26, 8, bias=False)
            with torch.no_grad():
                self.weight.copy_(torch.randn(8, 26, generator=torch.Generator().manual_seed(len(model))))

        def get_sentence_embedding_dimension(self) -> int:
            return 8

        def encode(self, texts: list[str], **_: object) -> np.ndarray:
            letters = [[text.count(chr(97 + i)) for i in range(26)] for text in texts]
            return np.array(letters, np.float32) @ self.weight.detach().numpy().T

    monkeypatch.setitem(sys.modules, "sentence_transformers", SimpleNamespace(SentenceTransformer=SentenceTransformer))
    return SentenceTransformer


@pytest.fixture
def log() -> Log:
    return Log()
