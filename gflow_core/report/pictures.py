"""Pictures as data URIs, and the sequences that a slider goes through."""

from __future__ import annotations

import base64
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

__all__ = ["BUDGET", "Frame", "Picture", "Sequel", "sequel"]

BUDGET = 8_000_000
"""Bytes of the pictures of one sequence; where there are more, they are shown at even distances, ends included."""

FRAMES = 60
"""Pictures of one sequence at most: more steps than a slider can be set to."""

_TYPES = {"PNG": "image/png", "GIF": "image/gif"}


@attrs.frozen
class Picture:
    """One picture, read."""

    uri: str
    alt: str
    caption: str
    width: int
    height: int
    """In pixels."""
    color: int | None = None
    """The colour of its group, as the curves have it; None for a single run."""


@attrs.frozen
class Frame:
    """What a slider shows at one step: a picture, or one a seed, or one a run."""

    step: int
    pictures: tuple[Picture, ...]
    key: bool = False
    """First, middle or last: these are printed."""


@attrs.frozen
class Sequel:
    """Pictures of one thing over the steps of training, oldest first."""

    title: str
    frames: tuple[Frame, ...]
    left_out: str = ""
    """A sentence about pictures that are not shown; empty where all are."""


def sequel(
    title: str, alt: str, steps: Mapping[int, Mapping[str, Path]], colors: Mapping[str, int] | None = None
) -> Sequel | None:
    """The pictures of each step, by their captions; so are colours. None where not one of them can be read."""
    shown = _chosen(sorted(steps), {step: sum(map(_size, steps[step].values())) for step in steps})
    frames: list[Frame] = []
    spoilt: list[str] = []
    for step in shown:
        found = []
        for caption, path in steps[step].items():
            picture = _read(path, ", ".join(filter(None, (alt, caption, f"step {step}"))), caption)
            if isinstance(picture, Picture):
                found.append(attrs.evolve(picture, color=(colors or {}).get(caption)))
            else:
                spoilt.append(f"{path.name} {picture}.")
        if found:
            frames.append(Frame(step, tuple(found)))
    told = [f"{len(shown)} of {len(steps)} pictures are shown, at even distances."] if len(shown) < len(steps) else []
    if not frames:
        return Sequel(title, (), " ".join(spoilt)) if spoilt else None
    keys = {0, len(frames) // 2, len(frames) - 1}
    return Sequel(
        title,
        tuple(attrs.evolve(frame, key=i in keys) for i, frame in enumerate(frames)),
        " ".join([*told, *spoilt]),
    )


def _chosen(steps: Sequence[int], sizes: Mapping[int, int]) -> list[int]:
    """As many steps as fit the budget, three at least, at even distances; the first and the last are among them."""
    total = sum(sizes.values())
    count = min(len(steps), FRAMES, max(3, len(steps) * BUDGET // max(total, 1)))
    if count >= len(steps):
        return list(steps)
    return [steps[round(i * (len(steps) - 1) / (count - 1))] for i in range(count)]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _read(path: Path, alt: str, caption: str) -> Picture | str:
    """The picture, or why there is none."""
    from PIL import Image

    if _size(path) > BUDGET:
        return f"is too large for this page ({_size(path) / 1e6:.0f} MB); it is in the run folder"
    try:
        content = path.read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # at large pictures
            with Image.open(path, formats=tuple(_TYPES)) as image:
                kind, (width, height) = _TYPES[str(image.format)], image.size
                image.verify()
    except Exception as error:  # PIL raises many things at damaged files, SyntaxError among them
        return f"is missing or damaged ({type(error).__name__})"
    uri = f"data:{kind};base64,{base64.b64encode(content).decode()}"
    return Picture(uri, alt, caption, width, height)
