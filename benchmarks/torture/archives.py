"""Hostile data: damaged, forged and absurd archives, arrays and files of labels, where a data set is expected."""

from __future__ import annotations

import io
import json
import os
import random
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import flips
import kit
import numpy as np
from PIL import Image


def picture(number: int, kind: str = "PNG") -> bytes:
    """A picture of 12 x 12 pixels, each another."""
    x = np.random.default_rng(number).integers(0, 256, (12, 12, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(x).save(buffer, kind)
    return buffer.getvalue()


def members() -> dict[str, bytes]:
    """Eight pictures of two classes."""
    return {f"{'cat' if i % 2 else 'dog'}/{i}.png": picture(i) for i in range(8)}


def zipped(method: int = zipfile.ZIP_DEFLATED, **more: bytes) -> bytes:
    """As a zip, with more files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in (members() | more).items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(mode: str = "w", extra: tuple[tarfile.TarInfo, ...] = ()) -> bytes:
    """As a tar, with members that hold nothing."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in members().items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in extra:
            archive.addfile(info)
    return buffer.getvalue()


def array() -> bytes:
    """As a .npy."""
    buffer = io.BytesIO()
    np.save(buffer, np.random.default_rng(0).integers(0, 256, (8, 12, 12, 3), np.uint8))
    return buffer.getvalue()


def arrays() -> bytes:
    """As a .npz."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, x=np.load(io.BytesIO(array())), y=np.arange(8) % 2)
    return buffer.getvalue()


WHOLE: dict[str, Callable[[], bytes]] = {
    "zip": zipped, "stored.zip": lambda: zipped(zipfile.ZIP_STORED), "tar": tarred,
    "tar.gz": lambda: tarred("w:gz"), "npy": array, "npz": arrays,
}  # fmt: skip

LABELS: dict[str, bytes] = {
    "csv": b"file_name,label\n" + b"".join(f"{name},{i % 2}\n".encode() for i, name in enumerate(members())),
    "jsonl": "\n".join(json.dumps({"file_name": n, "label": i % 2}) for i, n in enumerate(members())).encode(),
    "json": json.dumps({"labels": [[name, i % 2] for i, name in enumerate(members())]}).encode(),
}

# ------------------------------------------------------------------ forged


def _header(offset: int, value: int, length: int = 2) -> Callable[[], bytes]:
    """A zip whose every member states `value` at `offset` of its central entry (from its local one 2 less)."""

    def make() -> bytes:
        content = bytearray(zipped())
        for mark, shift in ((b"PK\x01\x02", 0), (b"PK\x03\x04", -2)):
            at = content.find(mark)
            while at >= 0:
                struct.pack_into("<I" if length == 4 else "<H", content, at + offset + shift, value)
                at = content.find(mark, at + 4)
        return bytes(content)

    return make


def _member(name: str, kind: bytes, target: str = "") -> Callable[[], bytes]:
    def make() -> bytes:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        return tarred(extra=(info,))

    return make


def _shape(shape: str) -> Callable[[], bytes]:
    """A .npy that states this shape."""

    def make() -> bytes:
        header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".encode()
        header += b" " * (-(len(header) + 11) % 64) + b"\n"
        return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(1000)

    return make


def _bomb() -> bytes:
    buffer = io.BytesIO()
    packed = zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED)
    with packed as archive, archive.open("dog/0.png", "w", force_zip64=True) as member:
        for _ in range(300):
            member.write(bytes(1 << 20))
    return buffer.getvalue()


FORGED: dict[str, tuple[str, Callable[[], bytes]]] = {
    "encrypted members": ("zip", _header(8, 1)),
    "an unknown compression": ("zip", _header(10, 77)),
    "version 20.0": ("zip", _header(6, 200)),
    "sizes of 4 GiB": ("zip", _header(24, 0xFFFFFFF0, 4)),
    "a member of 300 MiB": ("zip", _bomb),
    "a tar cut between members": ("tar", lambda: tarred()[: 512 * 6]),
    "a link to a file outside": ("tar", _member("cat/9.png", tarfile.SYMTYPE, "/etc/hostname")),
    "a link above": ("tar", _member("cat/9.png", tarfile.SYMTYPE, "../../../etc/hostname")),
    "a link to a member": ("tar", _member("cat/9.png", tarfile.SYMTYPE, "1.png")),
    "a hard link to a member": ("tar", _member("cat/9.png", tarfile.LNKTYPE, "cat/1.png")),
    "a hard link to nothing": ("tar", _member("cat/9.png", tarfile.LNKTYPE, "cat/77.png")),
    "a device": ("tar", _member("cat/9.png", tarfile.CHRTYPE)),
    "a pipe": ("tar", _member("cat/9.png", tarfile.FIFOTYPE)),
    "a name above": ("tar", _member("../../9.png", tarfile.REGTYPE)),
    "an absolute name": ("tar", _member("/tmp/9.png", tarfile.REGTYPE)),
    "a shape of 10^12": ("npy", _shape("(1000000000000, 12, 12, 3)")),
    "a shape below 0": ("npy", _shape("(-1, 12, 12, 3)")),
    "a shape that is text": ("npy", _shape("'twelve'")),
    "a shape of code": ("npy", _shape("(__import__('os').getpid(), 12, 12, 3)")),
    "an open bracket": ("npy", _shape("((((((((((((")),
    "brackets 5,000 deep": ("npy", _shape("(" * 5000 + ")" * 5000)),
}

PLACES: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a link to /dev/zero": lambda place: place.symlink_to("/dev/zero"),
    "a link to /dev/random": lambda place: place.symlink_to("/dev/random"),
    "an empty folder": Path.mkdir,
    "an empty file": Path.touch,
    "a link in a circle": lambda place: place.symlink_to(place.name),
}

RECIPE = """
gflow = 1
[dataset]
use = "{use}"
root = "{root}"
image_size = 8
{more}
[sampler]
use = "cgan.conv"
width = 2
[discriminator]
use = "cgan.conv"
width = 2
[objective]
use = "adversarial"
[optimizer.sampler]
use = "adam"
[optimizer.discriminator]
use = "adam"
[train]
steps = 1
batch_size = 2
"""


def case(rng: random.Random, root: Path, pristine: Path) -> Iterator[str]:
    """One archive, loaded."""
    draw, labels = rng.random(), ""
    if draw < 0.15:
        kind, labels = "zip", f"labels.{rng.choice(sorted(LABELS))}"
        what = f"a damaged {labels}"
        content = zipped(**{labels: flips.damaged(rng, LABELS[labels.partition(".")[2]])})
    elif draw < 0.6:
        kind = rng.choice(sorted(WHOLE))
        what, content = f"a damaged {kind}", flips.damaged(rng, WHOLE[kind]())
    elif draw < 0.9:
        what = rng.choice(sorted(FORGED))
        kind, make = FORGED[what]
        content = make()
    else:
        what, kind, content = rng.choice(sorted(PLACES)), rng.choice(["zip", "tar", "npy"]), None
    place = root / f"data.{kind}"
    if content is None:
        PLACES[what](place)
    else:
        place.write_bytes(content)
    part = {"use": "array", "more": 'fit = "resize"'} if kind.startswith("np") else {"use": "image_folder", "more": ""}
    if kind == "npz":
        part["more"] += '\nkey = "x"\nlabels = "y"\nclasses = 2'
    elif labels:
        part["more"] = f'labels = "{labels}"\nclasses = 2'
    elif part["use"] == "image_folder" and rng.random() < 0.5:
        part["more"] = "classes = 2"
    recipe = root / "archive.toml"
    recipe.write_text(RECIPE.format(root=place, **part))
    before = kit.tree(root)
    outcome = kit.forked(lambda: _load(recipe), root)
    yield f"{what} ({kind})"
    yield from outcome.faults()
    if outcome.code == 0 and int(outcome.out.split()[-1]) < 8:
        yield f"{outcome.out.decode().strip()} of 8 images, without a word"
    for name in sorted(before):
        if kit.tree(root).get(name) != before[name]:
            yield f"{name} was changed"


def _load(recipe: Path) -> None:
    """Read the data as a run does, and every picture of it."""
    from gflow_core.cli import reporting
    from gflow_core.recipes.recipe import load

    with reporting():
        source = load(recipe).spec.dataset.load()
        source.batch(slice(None)).x.sum()
        print(len(source))
