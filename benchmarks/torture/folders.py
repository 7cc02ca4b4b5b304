"""Forged run folders: links, pipes, devices and absurd JSON where files and folders of a run are expected."""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import kit

TEMPORARY = (".report.html.tmp", ".manifest.json.tmp", ".recipe.toml.tmp", ".metrics.jsonl.tmp", "report.html")


def _socket(place: Path, _: kit.Scene) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        os.chdir(place.parent)  # a socket's path is short
        one.bind(place.name)


def _numbers(value: str) -> Callable[[Path, kit.Scene], None]:
    """Where the file's JSON has a number, `value` instead."""

    def write(place: Path, _: kit.Scene) -> None:
        name = "torture-number"
        if place.suffix == ".jsonl":
            place.write_text(json.dumps({"step": name, "loss": 1.0}).replace(f'"{name}"', value) + "\n")
        else:
            document = {"scores": {"a": name}, "manifest": {"step": name}, "seed": name, "step": name, "seconds": name}
            place.write_text(json.dumps(document).replace(f'"{name}"', value))

    return write


DEEDS: dict[str, Callable[[Path, kit.Scene], None]] = {
    "a link to a file outside": lambda place, scene: place.symlink_to(scene.outside / f"secret{place.suffix}"
        if (scene.outside / f"secret{place.suffix}").exists() else scene.outside / "samples/precious.txt"),
    "a link to a folder outside": lambda place, scene: place.symlink_to(scene.outside),
    "a link to such a folder outside": lambda place, scene: place.symlink_to(scene.outside / place.name),
    "a link to nothing outside": lambda place, scene: place.symlink_to(scene.outside / "made-by-gflow"),
    "a hard link to a file outside": lambda place, scene: place.hardlink_to(scene.outside / "secret.json"),
    "a hard link to an empty file outside": lambda place, scene: place.hardlink_to(scene.outside / "empty"),
    "a link in a circle": lambda place, scene: place.symlink_to(place.name),
    "a pipe": lambda place, scene: os.mkfifo(place),
    "a link to /dev/zero": lambda place, scene: place.symlink_to("/dev/zero"),
    "a link to /dev/random": lambda place, scene: place.symlink_to("/dev/random"),
    "a socket": _socket,
    "a folder": lambda place, scene: place.mkdir(),
    "nothing": lambda place, scene: None,
    "JSON 100,000 deep": lambda place, scene: place.write_text("[" * 100_000 + "]" * 100_000),
    "JSON of null": lambda place, scene: place.write_text("null"),
    "JSON of a list": lambda place, scene: place.write_text("[1, 2]"),
    "JSON with null for numbers": _numbers("null"),
    "JSON with NaN for numbers": _numbers("NaN"),
    "JSON with text for numbers": _numbers('"twelve"'),
    "JSON with a number of 5,000 digits": _numbers("9" * 5000),
    "JSON with folders for numbers": _numbers('{"a": [{}]}'),
    "bytes that are no text": lambda place, scene: place.write_bytes(bytes(range(256)) * 8),
}  # fmt: skip


def case(rng: random.Random, root: Path, pristine: Path) -> Iterator[str]:
    """One place forged, one command."""
    scene = kit.Scene.of(pristine, root)
    inside = sorted(scene.run.rglob("*"))
    folders = [scene.run, *(path for path in inside if path.is_dir())]
    top = [path for path in inside if path.parent == scene.run]
    unmade = [rng.choice(folders) / name for name in TEMPORARY]
    place = rng.choice(rng.choice([top, folders[1:], inside, unmade]))
    deed = rng.choice(sorted(DEEDS))
    if place.is_dir():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    DEEDS[deed](place, scene)
    words = kit.chosen(rng, scene.run)
    outcome = kit.gflow(*words, cwd=root)
    yield f"{words[0]} where {place.relative_to(scene.run)} is {deed}"
    yield from outcome.faults()
    yield from scene.faults(outcome)
