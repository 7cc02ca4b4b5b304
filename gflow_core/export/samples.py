"""Many samples in files that other programs read: numbered PNGs in a folder or a zip, and arrays."""

from __future__ import annotations

import io
import json
import math
import os
import shutil
import zipfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from gflow_core.data.preparing import cores
from gflow_core.errors import GflowError
from gflow_core.files.locks import held
from gflow_core.files.reading import read_json
from gflow_core.files.whole import LEFTOVERS, written_aside
from gflow_core.nn.sampling import CHUNK, dealt
from gflow_core.parts.analysis import Map
from gflow_core.parts.nouns import DataShape, Progress, no_progress
from gflow_core.parts.source import weights_hash
from gflow_core.runs.drawing import Drawing
from gflow_core.runs.manifest import versions
from gflow_core.runs.pictures import bytes_of

__all__ = ["ABOUT", "LABELS", "write_samples"]

ABOUT = "samples.json"
"""What samples beside it were drawn with."""

LABELS = "dataset.json"
"""Labels of the images beside it, as StyleGAN's programs have them: {"labels": [["000000.png", 3], ...]}."""

_AHEAD = 256  # images that wait to be written, at most

Y = TypeVar("Y")
Pixels = npt.NDArray[np.uint8]
"""An image [H, W, C], or several."""


def write_samples(drawing: Drawing, n: int, out: Path, spread: Map = map, progress: Progress = no_progress) -> None:
    """n samples of a run, by the name of `out`: .npy, .npz, .zip, or else a folder of numbered PNGs.

        .npy      float32 [N, *shape] in the data's range
        .npz      arr_0 uint8 [N, H, W, C] of images, float32 [N, d] of vectors; arr_1 labels [N] or [N, k], if any
        .zip      000000.png and so on, uncompressed; dataset.json with the labels, if any
        a folder  the same, which a second call with the same options completes

    Raises GflowError: pictures of what is no picture, no room, a folder that holds anything else.
    """
    write = {".npy": _npy, ".npz": _npz, ".zip": _zip}.get(out.suffix.lower()) if not out.is_dir() else None
    (write or _folder)(drawing, n, out, spread, progress)


# ------------------------------------------------------------------ arrays


def _npy(drawing: Drawing, n: int, out: Path, spread: Map, progress: Progress) -> None:
    first = next(drawing.chunks(1))[0]
    _check_room(n, first.numel() * 4, out.parent)
    with written_aside(out) as aside:
        array = np.lib.format.open_memmap(aside, "w+", np.float32, (n, *first.shape))
        for start, x in _chunks(drawing, n, spread, progress):
            array[start : start + len(x)] = x.float().numpy()
        array.flush()


def _npz(drawing: Drawing, n: int, out: Path, spread: Map, progress: Progress) -> None:
    shape = drawing.recipe.spec.data_shape()
    images = shape if shape is not None and shape.kind == "image" else None
    first = _rows(next(drawing.chunks(1)), images)[0]
    _check_room(n, first.nbytes, out.parent)
    header = {"descr": first.dtype.str, "fortran_order": False, "shape": (n, *first.shape)}
    with written_aside(out) as aside, zipfile.ZipFile(aside, "w") as archive:
        with archive.open("arr_0.npy", "w", force_zip64=True) as file:
            np.lib.format.write_array_header_2_0(file, header)
            for _, x in _chunks(drawing, n, spread, progress):
                file.write(_rows(x, images).tobytes())
        if drawing.labels is not None:
            with archive.open("arr_1.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, dealt(drawing.labels, n).numpy())


def _rows(x: Tensor, images: DataShape | None) -> npt.NDArray[Any]:
    """Images [B, C, H, W] as bytes [B, H, W, C]; all else as float32."""
    return x.float().numpy() if images is None else bytes_of(x, images).permute(0, 2, 3, 1).contiguous().numpy()


def _chunks(drawing: Drawing, n: int, spread: Map, progress: Progress, done: int = 0) -> Iterator[tuple[int, Tensor]]:
    """The samples, a chunk at a time, and the number of its first one."""
    start = done // CHUNK * CHUNK
    for x in drawing.chunks(n, spread, done) if done < n else ():
        yield start, x
        start += len(x)
        progress("drawing", start, n)


def _check_room(n: int, size: int, folder: Path) -> None:
    """There is room for n samples of so many bytes. Raises GflowError where there is not."""
    need, free = n * size, shutil.disk_usage(folder).free
    if need > free:
        raise GflowError(f"--n {n}: needs {need / 1e9:.3g} GB at {folder}, which has {free / 1e9:.3g} GB free")


# ------------------------------------------------------------------ pictures


def _zip(drawing: Drawing, n: int, out: Path, spread: Map, progress: Progress) -> None:
    shape, names = _pictured(drawing, out), _names(n)
    _check_room(n, math.prod(shape.shape), out.parent)
    with written_aside(out) as aside, zipfile.ZipFile(aside, "w") as archive:
        for name, png in _on_all_cores(_png, _images(drawing, names, shape, spread, progress)):
            archive.writestr(name, png)
        for name, text in _notes(drawing, names).items():
            archive.writestr(name, text)


def _folder(drawing: Drawing, n: int, out: Path, spread: Map, progress: Progress) -> None:
    """PNGs one by one, each whole or not there: what was stopped goes on at the first that is lacking."""
    shape, names = _pictured(drawing, out), _names(n)
    notes = _notes(drawing, names)
    out.mkdir(exist_ok=True)
    _begin(out, notes.pop(ABOUT))
    try:
        with held(out / ABOUT):
            with os.scandir(out) as entries:  # an empty one is what a crash of the machine left
                there = {entry.name for entry in entries if entry.stat().st_size}
            done = next((i for i, name in enumerate(names) if name not in there), n)
            _check_room(n - done, math.prod(shape.shape), out)

            def write(name: str, pixels: Pixels) -> None:
                if name not in there:
                    _write(out / name, _png(name, pixels)[1])

            for _ in _on_all_cores(write, _images(drawing, names, shape, spread, progress, done)):
                pass
            for name, text in notes.items():
                _write(out / name, text.encode())
            for leftover in out.glob(LEFTOVERS):  # of a process that was killed
                leftover.unlink(missing_ok=True)
    except BlockingIOError:
        raise GflowError(f"{out}: another process writes samples there; wait for it, or name another folder") from None


def _begin(out: Path, about: str) -> None:
    """Claim a folder that is empty. Raises GflowError where it is not, and not of a call with the same options."""
    file, asked = out / ABOUT, json.loads(about)["options"]
    try:
        before = read_json(file, {"options": dict})["options"]
    except FileNotFoundError:
        if any(not path.match(LEFTOVERS) for path in out.iterdir()):
            raise GflowError(
                f"{out}: holds files that gflow sample did not write; name an empty folder, or a new one"
            ) from None
        _write(file, about.encode())
        return
    except ValueError as error:
        raise GflowError(f"{file}: damaged ({error}); name another folder") from error
    if other := [key for key, value in asked.items() if before.get(key) != value]:
        told = ", ".join(f"{key} {before.get(key)} there and {asked[key]} here" for key in other)
        raise GflowError(
            f"{out}: holds samples that were drawn with other options ({told}); repeat those to go on, or name another "
            "folder"
        )


def _pictured(drawing: Drawing, out: Path) -> DataShape:
    """The shape of images that a PNG can hold. Raises GflowError where they are none."""
    shape = drawing.recipe.spec.data_shape()
    if shape is None or shape.kind != "image" or shape.shape[0] not in (1, 3):
        raise GflowError(
            f"--out {out}: PNGs hold images of 1 or 3 channels, and the samples are "
            f"{shape or 'of a shape that the recipe does not tell, as it has no [dataset]'}; write --out FILE.npz or "
            "FILE.npy"
        )
    return shape


def _names(n: int) -> list[str]:
    digits = max(6, len(str(n - 1)))
    return [f"{i:0{digits}d}.png" for i in range(n)]


def _notes(drawing: Drawing, names: list[str]) -> dict[str, str]:
    """The JSON files beside the pictures, by name."""
    module = drawing.experiment.final_sampler
    assert module is not None
    options = {
        "n": len(names),
        "seed": drawing.experiment.streams.seed,
        "label": drawing.label,
        **({} if drawing.text is None else {"text": drawing.text}),
        "batch_norm": drawing.batch_norm,
        "refine": None if drawing.refinement is None else str(drawing.refinement),
        "step": drawing.step,
        "weights": weights_hash(module),
    }
    about = {"run": str(drawing.path.resolve()), "options": options, "versions": versions()}
    notes = {ABOUT: json.dumps(about, indent=2) + "\n"}
    if drawing.labels is not None:
        rows = dealt(drawing.labels, len(names)).tolist()
        notes[LABELS] = json.dumps({"labels": [[name, row] for name, row in zip(names, rows, strict=True)]}) + "\n"
    return notes


def _images(
    drawing: Drawing, names: list[str], shape: DataShape, spread: Map, progress: Progress, done: int = 0
) -> Iterator[tuple[str, Pixels]]:
    """Names and images [H, W, C], from the chunk on that the first `done` do not fill."""
    for start, x in _chunks(drawing, len(names), spread, progress, done):
        yield from zip(names[start : start + len(x)], _rows(x, shape), strict=True)


def _on_all_cores(work: Callable[[str, Pixels], Y], images: Iterable[tuple[str, Pixels]]) -> Iterator[Y]:
    """work(name, pixels) of each image, in order, by threads while the next ones are drawn: zlib holds nobody up."""
    waiting: deque[Future[Y]] = deque()
    with ThreadPoolExecutor(cores()) as pool:
        for name, pixels in images:
            waiting.append(pool.submit(work, name, pixels))
            if len(waiting) > _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _png(name: str, pixels: Pixels) -> tuple[str, bytes]:
    """An image [H, W, 1 or 3] as a PNG, by its name."""
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(file, "png")
    return name, file.getvalue()


def _write(path: Path, content: bytes) -> None:
    with written_aside(path) as aside:
        aside.write_bytes(content)
