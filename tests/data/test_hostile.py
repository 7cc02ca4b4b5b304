"""Data sets that somebody sent: whatever they hold, they load or cost one message, at once and in little memory."""

from __future__ import annotations

import gzip
import io
import os
import random
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

from gflow_core.data.array import read_array
from gflow_core.data.digits import IMAGES, read_idx
from gflow_core.data.parts import Array, Cifar10, ImageFolder
from gflow_core.data.places import locked
from gflow_core.data.store import open_store
from gflow_core.errors import DataError, GflowError
from gflow_core.files.weights import read_state
from gflow_core.parts.nouns import DataShape


def images(path: Path, **options: object):
    return ImageFolder(root=str(path), image_size=8, workers=1, **options).load()


def refused(path: Path) -> str:
    """The one message that a store of images costs; it names the file."""
    with pytest.raises(DataError) as error:
        images(path)
    text = str(error.value)
    assert str(path) in text
    assert "\n" not in text
    return text


@pytest.fixture
def pictures(make, rng) -> dict[str, bytes]:
    return {f"d/{i}.png": make.png(rng.integers(0, 256, (8, 8, 3), np.uint8)) for i in range(4)}


# ------------------------------------------------------------------ zip


def zipped(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, raw in files.items():
            archive.writestr(name, raw)
    return path


def patched(path: Path, name: str, local: tuple[int, bytes], listed: tuple[int, bytes]) -> Path:
    """The zip with bytes of a member changed: at a place of its header, and of its line in the list at the end."""
    raw = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        at = archive.getinfo(name).header_offset
    line = raw.rindex(b"PK\x01\x02", 0, raw.rindex(name.encode()))
    for place, (offset, new) in ((at, local), (line, listed)):
        raw[place + offset : place + offset + len(new)] = new
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize(
    ("local", "listed", "said"),
    [
        ((6, b"\x01"), (8, b"\x01"), "d/2.png (d/2.png is encrypted; pack it without a password)"),
        ((8, b"\x63"), (10, b"\x63"), "d/2.png (d/2.png is compressed by method 99; pack it stored or deflated)"),
        ((4, b"\xc8"), (6, b"\xc8"), "zip file version 20.0"),
        ((22, struct.pack("<I", 1 << 30)), (24, struct.pack("<I", 1 << 30)), "d/2.png states 1,073,741,824 bytes"),
        ((30, b"d/9"), (46, b"d/2"), "d/2.png (File name in directory 'd/2.png' and header b'd/9.png' differ.)"),
        ((30, b"d/2"), (46, b"d/2.pnx"), "differ"),
    ],
)
def test_members_of_a_zip_that_cannot_be_read(tmp_path, pictures, local, listed, said):
    assert said in refused(patched(zipped(tmp_path / "a.zip", pictures), "d/2.png", local, listed))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_packers_that_unpack_without_bounds_are_not_read(tmp_path, pictures, method):
    assert "pack it stored or deflated" in refused(zipped(tmp_path / "a.zip", pictures, method))


def test_a_zip_that_lists_fewer_than_it_states(tmp_path, pictures):
    path = zipped(tmp_path / "a.zip", pictures)
    raw = bytearray(path.read_bytes())
    first = raw.index(b"PK\x01\x02")
    raw[first + 32] = 53  # its comment is the next line
    path.write_bytes(raw)
    assert "states 4 members, and lists 3" in refused(path)


@pytest.mark.parametrize("name", ["/d/x.png", "../x.png", "d/../../x.png"])
@pytest.mark.parametrize("suffix", ["zip", "tar"])
def test_names_that_lead_out(tmp_path, make, pictures, name, suffix):
    path = make.write({**pictures, name: pictures["d/0.png"]}, tmp_path / f"a.{suffix}")
    assert f"the name of its member {name} leads out of it" in refused(path)


@pytest.mark.parametrize("again", ["d/0.png", "./d/0.png", "d//0.png"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_twice(tmp_path, pictures, again):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive, tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name in ("d/0.png", "d/1.png", again):
            archive.writestr(name, pictures["d/0.png"])
            tar.addfile(entry(name, 0))
    for path in (tmp_path / "a.zip", tmp_path / "a.tar"):
        assert f"holds the member {again} twice" in refused(path)


def test_a_zip_that_states_little_and_yields_much_takes_little_memory(tmp_path, pictures):
    path = zipped(tmp_path / "a.zip", {**pictures, "d/bomb.png": bytes(1 << 26)})
    patched(path, "d/bomb.png", (22, struct.pack("<I", 10_000)), (24, struct.pack("<I", 10_000)))
    tracemalloc.start()
    try:
        assert "d/bomb.png (Bad CRC-32" in refused(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 24
    finally:
        tracemalloc.stop()


# ------------------------------------------------------------------ tar


def entry(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.size, found.type, found.linkname = size, kind, link
    return found


def tarred(path: Path, files: dict[str, bytes], *more: tarfile.TarInfo, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, raw in files.items():
            archive.addfile(entry(name, len(raw)), io.BytesIO(raw))
        for one in more:
            archive.addfile(one)
    return path


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_tar_that_is_cut_between_members(tmp_path, pictures, mode):
    whole = tarred(tmp_path / "whole.tar", pictures).read_bytes()
    assert len(images(tmp_path / "whole.tar")) == 4
    for cut in range(1024, 4 * 1024, 512):  # a header, and a block of content
        path = tmp_path / "cut.tar"
        path.write_bytes(gzip.compress(whole[:cut]) if mode == "w:gz" else whole[:cut])
        assert "has no end, or is damaged" in refused(path) or "unexpected end" in refused(path)


def test_a_header_that_is_damaged_is_no_end(tmp_path, pictures):
    path = tarred(tmp_path / "a.tar", pictures)
    raw = bytearray(path.read_bytes())
    raw[2048] ^= 1
    path.write_bytes(raw)
    assert "has no end, or is damaged, after 2,048 bytes" in refused(path)


def test_two_tars_one_after_the_other(tmp_path, pictures):
    path = tarred(tmp_path / "a.tar", pictures)
    path.write_bytes(path.read_bytes() * 2)
    assert "goes on after its end" in refused(path)


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_links_to_files_of_the_tar_are_followed(tmp_path, make, pictures, mode):
    """As in a folder. A link may come before its file."""
    links = {"c/early.png": ("../d/3.png", tarfile.SYMTYPE), "d/hard.png": ("d/1.png", tarfile.LNKTYPE)}
    links["e/twice.png"] = ("../c/early.png", tarfile.SYMTYPE)
    with tarfile.open(tmp_path / "a.tar", mode) as archive:
        archive.addfile(entry("c/early.png", kind=tarfile.SYMTYPE, link="../d/3.png"))
        for name, raw in pictures.items():
            archive.addfile(entry(name, len(raw)), io.BytesIO(raw))
        archive.addfile(entry("d/hard.png", kind=tarfile.LNKTYPE, link="d/1.png"))
        archive.addfile(entry("e/twice.png", kind=tarfile.SYMTYPE, link="../c/early.png"))
    folder = make.write(pictures, tmp_path / "folder")
    for name, (target, _) in links.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).symlink_to(target if target[0] == "." else "1.png")
    found, same = images(tmp_path / "a.tar"), images(folder)
    assert len(found) == 7
    assert torch.equal(found.x, same.x)


@pytest.mark.parametrize(
    ("member", "said"),
    [
        (
            entry("d/x.png", kind=tarfile.SYMTYPE, link="/etc/passwd"),
            "d/x.png is a link to /etc/passwd, which is no",
        ),
        (entry("d/x.png", kind=tarfile.SYMTYPE, link="../../x.png"), "d/x.png is a link to ../../x.png, which is no"),
        (entry("d/x.png", kind=tarfile.LNKTYPE, link="d/gone.png"), "d/x.png is a link to d/gone.png, which is no"),
        (entry("d/x.png", kind=tarfile.SYMTYPE, link="x.png"), "d/x.png is a link to x.png, which is no file in it"),
        (entry("e", kind=tarfile.SYMTYPE, link="d"), "its member e is a link to the folder d; pack the folder itself"),
        (entry("d/x.png", kind=tarfile.FIFOTYPE), "its member d/x.png is no plain file"),
        (entry("d/x.png", kind=tarfile.CHRTYPE), "its member d/x.png is no plain file"),
    ],
)
def test_members_of_a_tar_that_are_no_files(tmp_path, pictures, member, said):
    assert said in refused(tarred(tmp_path / "a.tar", pictures, member))


def test_members_that_are_no_images_may_be_anything(tmp_path, pictures):
    links = (entry("README", kind=tarfile.SYMTYPE, link="/etc/passwd"), entry("dev", kind=tarfile.CHRTYPE))
    assert len(images(tarred(tmp_path / "a.tar", pictures, *links))) == 4


def test_headers_that_go_back_or_ask_for_all_memory(tmp_path, pictures):
    """Python 3.11's own reader goes round for ever."""
    first = tarred(tmp_path / "first.tar", pictures).read_bytes()[:4096]
    back = entry("d/x.png", -4096).tobuf(tarfile.GNU_FORMAT)
    pax = entry("d/x.png")
    pax.pax_headers = {"size": "-4608"}
    huge = entry("././@LongLink", 1 << 40, tarfile.GNUTYPE_LONGNAME).tobuf(tarfile.GNU_FORMAT)
    for header in (back, pax.tobuf(tarfile.PAX_FORMAT), huge):
        (tmp_path / "a.tar").write_bytes(first + header + bytes(10_240))
        assert "a header " in refused(tmp_path / "a.tar")


@pytest.mark.parametrize("mode", ["w:gz", "w:xz"])
def test_a_tar_that_unpacks_without_end(tmp_path, pictures, mode, monkeypatch):
    monkeypatch.setattr("gflow_core.data.archives._FREE", 1 << 20)
    path = tarred(tmp_path / "a.tar", {**pictures, "blob": bytes(1 << 24)}, mode=mode)
    assert "unpacks to more than 200 times its size, at its member blob" in refused(path)


def test_a_member_that_is_too_large_for_an_image(tmp_path, pictures, monkeypatch):
    monkeypatch.setattr("gflow_core.data.archives.LARGEST", 1000)
    path = tarred(tmp_path / "a.tar", {**pictures, "d/x.png": bytes(1001)})
    assert "d/x.png states 1,001 bytes, more than" in refused(path)


# ------------------------------------------------------------------ folders and files


def test_what_is_no_file_is_refused_at_once(tmp_path, make, pictures):
    folder = make.write(pictures, tmp_path / "folder")
    os.mkfifo(folder / "d" / "x.png")
    (folder / "d" / "y.png").symlink_to("/dev/zero")
    said = refused(folder)
    assert "d/x.png ([Errno 22] is no file" in said
    assert "d/y.png ([Errno 22] is no file" in said
    os.mkfifo(tmp_path / "pipe")
    assert "is no file" in refused(tmp_path / "pipe")
    with pytest.raises(DataError, match="is no file"):
        open_store(Path("/dev/zero"))
    for name, raw in make.cifar_files(np.random.default_rng(0)).items():
        (tmp_path / Path(name).name).write_bytes(raw)
    (tmp_path / "data_batch_3.bin").unlink()
    os.mkfifo(tmp_path / "data_batch_3.bin")
    with pytest.raises(DataError, match=r"data_batch_3\.bin: is no file"):
        Cifar10(root=str(tmp_path)).load()


def test_pictures_for_other_programs_are_no_images(tmp_path):
    """Pillow would hand PostScript to Ghostscript."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n")
    assert "a.png (not an image)" in refused(tmp_path / "folder")


@pytest.mark.parametrize("place", ["", "/images.npy.part"])
def test_a_cache_that_came_with_the_data_leads_nowhere(tmp_path, make, pictures, place):
    (tmp_path / "elsewhere").mkdir()
    root = make.write(pictures, tmp_path / "sent" / "images")
    link = Path(f"{tmp_path}/sent/gflow-cache{place}")
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(GflowError, match=f"sent: contains a link that leads out of it, gflow-cache{place} -> "):
        images(root)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_lock_makes_no_file_elsewhere(tmp_path):
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"), locked(tmp_path / "lock"):
        pass
    assert not (tmp_path / "elsewhere").exists()


# ------------------------------------------------------------------ arrays


def npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def stated(text: str, data: bytes = bytes(32)) -> bytes:
    """A .npy whose header is `text`."""
    header = text.encode("latin-1").ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


HEADERS = {
    "huge": "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 2), }",
    "beyond 64 bits": "{'descr': '<f4', 'fortran_order': False, 'shape': (10000000000000000000000, 2), }",
    "negative": "{'descr': '<f4', 'fortran_order': False, 'shape': (-4, 2), }",
    "twice negative": "{'descr': '<f4', 'fortran_order': False, 'shape': (-4, -2), }",
    "no token": "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 2), ",
    "no string": "{'descr': '<f4, 'fortran_order': False, 'shape': (4, 2), }",
    "an indent": "  \n {'descr'\n      : 1",
    "brackets": "[" * 110,
    "no number": "{'descr': '<f4', 'fortran_order': False, 'shape': (4L\x80, 2), }",
    "no type": "{'descr': '<q9', 'fortran_order': False, 'shape': (4, 2), }",
    "a type of types": "{'descr': [('a', '<f4'), 3], 'fortran_order': False, 'shape': (4, 2), }",
    "objects": "{'descr': '|O', 'fortran_order': False, 'shape': (4,), }",
    "null": "\0" * 100,
}


@pytest.mark.parametrize("what", HEADERS)
@pytest.mark.parametrize("packed", [False, True])
def test_headers_of_arrays(tmp_path, what, packed):
    path = tmp_path / ("a.npz" if packed else "a.npy")
    raw = stated(HEADERS[what])
    if packed:
        zipped(path, {"x.npy": raw})
    else:
        path.write_bytes(raw)
    tracemalloc.start()
    try:
        with pytest.raises(DataError) as error:
            Array(root=str(path), shape=(2,)).load()
        assert tracemalloc.get_traced_memory()[1] < 1 << 24
    finally:
        tracemalloc.stop()
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_an_npz_says_which_member(tmp_path):
    path = zipped(tmp_path / "a.npz", {"x.npy": stated(HEADERS["huge"]), "y.npy": npy(np.zeros(3))})
    shape = DataShape("vector", (2,))
    with pytest.raises(DataError, match=r"x\.npy states the shape \[1000000000000, 2\] of float32, and 32 bytes"):
        read_array(str(path), shape, key="x", labels=None, fit="pad", limit=None)
    for method, said in ((zipfile.ZIP_BZIP2, "x.npy is compressed by method 12"), (zipfile.ZIP_DEFLATED, "encrypted")):
        zipped(path, {"x.npy": npy(np.zeros((3, 2), np.float32))}, method)
        if said == "encrypted":
            patched(path, "x.npy", (6, b"\x01"), (8, b"\x01"))
        with pytest.raises(DataError, match=said):
            read_array(str(path), shape, key="x", labels=None, fit="pad", limit=None)


def test_an_idx_file_that_unpacks_without_end(tmp_path, monkeypatch, make):
    monkeypatch.setattr("gflow_core.data.digits.LARGEST_IDX", 1 << 20)
    (tmp_path / "x.gz").write_bytes(gzip.compress(make.idx(np.zeros((1, 28, 28))) + bytes(1 << 25)))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="800 bytes expected"):
            read_idx(tmp_path / "x.gz", IMAGES)
        assert tracemalloc.get_traced_memory()[1] < 1 << 23
    finally:
        tracemalloc.stop()


# ------------------------------------------------------------------ anything


def damaged(raw: bytes, chance: random.Random) -> bytes:
    """`raw` with some bytes flipped, overwritten, cut off, put in or taken out."""
    new, at = bytearray(raw), chance.randrange(len(raw))
    if chance.random() < 0.5:  # headers, which lie at the beginning and at the end
        at = chance.choice([at % 600, max(len(raw) - 1 - at % 300, 0)]) % len(raw)
    match chance.randrange(6):
        case 0 | 1:
            new[at] ^= 1 << chance.randrange(8)
        case 2:
            new[at : at + 8] = chance.choice([b"\xff" * 8, bytes(8), chance.randbytes(8), struct.pack("<Q", 1 << 40)])
        case 3:
            del new[chance.choice([at, at // 512 * 512]) :]
        case 4:
            new[at:at] = chance.randbytes(chance.choice([1, 512]))
        case 5:
            del new[at : at + chance.choice([1, 512])]
    return bytes(new)


def test_damaged_files_of_every_kind_load_or_cost_one_message(tmp_path, make, pictures, rng):
    """Where sums are kept, what loads is what was written."""
    tar, packed = tarred(tmp_path / "a.tar", pictures).read_bytes(), io.BytesIO()
    x, y = rng.integers(0, 256, (6, 8, 8)).astype(np.uint8), np.arange(6) % 3
    np.savez_compressed(packed, x=x, y=y)
    cifar = tarred(tmp_path / "cifar.tar.gz", make.cifar_files(rng, count=1), mode="w:gz").read_bytes()
    torch.save(state := {"a": torch.zeros(3)}, tmp_path / "x.pt")

    def image_of(path: Path) -> str:
        return images(path.parent).fingerprint

    def npz(path: Path) -> str:
        return Array(root=str(path), key="x", labels="y", classes=3, image_size=8, channels=1).load().fingerprint

    kinds: dict[str, tuple[bytes, Callable[[Path], object], bool]] = {
        "a.zip": (zipped(tmp_path / "b.zip", pictures).read_bytes(), lambda path: images(path).fingerprint, True),
        "a.tar": (tar, lambda path: images(path).fingerprint, False),
        "a.tar.gz": (gzip.compress(tar), lambda path: images(path).fingerprint, True),
        "a.npz": (packed.getvalue(), npz, True),
        "a.npy": (npy(x), lambda path: Array(root=str(path), image_size=8, channels=1).load().fingerprint, False),
        "x.gz": (gzip.compress(make.idx(x)), lambda path: read_idx(path, IMAGES).tobytes(), True),
        "cifar.tar.gz": (cifar, lambda path: Cifar10(root=str(path)).load().fingerprint, True),
        "x.safetensors": (save(state), lambda path: list(read_state(path)), False),
        "x.pt": ((tmp_path / "x.pt").read_bytes(), lambda path: list(read_state(path)), False),
        "x.png": (pictures["d/0.png"], image_of, False),
    }
    for name, (raw, load, summed) in kinds.items():
        path, chance = tmp_path / name.replace(".", "-") / name, random.Random(name)
        path.parent.mkdir()
        path.write_bytes(raw)
        good = load(path)
        for _ in range(25):
            path.write_bytes(damaged(raw, chance))
            try:
                found = load(path)
            except DataError as error:
                assert "\n" not in str(error)
            else:
                assert found == good or not summed, name
