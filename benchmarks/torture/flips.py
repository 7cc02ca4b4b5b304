"""Damage: a bit, a stretch or the end of a file of a run folder is not what was written."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import kit


def damaged(rng: random.Random, content: bytes) -> bytes:
    """The content with one thing wrong."""
    at = rng.randrange(max(len(content), 1))
    bit = bytes([content[at] ^ 1 << rng.randrange(8)]) if content else b"?"
    deeds = {
        "a bit flipped": content[:at] + bit + content[at + 1 :],
        "cut short": content[:at],
        "emptied": b"",
        "16 bytes overwritten": content[:at] + rng.randbytes(16) + content[at + 16 :],
        "zeros written over": content[:at] + bytes(min(512, len(content) - at)) + content[at + 512 :],
        "lengthened": content + rng.randbytes(rng.randrange(1, 100)),
        "a stretch twice": content[:at] + content[max(at - 64, 0) :],
    }  # fmt: skip
    return deeds[rng.choice(sorted(deeds))]


def case(rng: random.Random, root: Path, pristine: Path) -> Iterator[str]:
    """One file damaged, one command."""
    scene = kit.Scene.of(pristine, root)
    file = rng.choice(sorted(path for path in scene.run.rglob("*") if path.is_file()))
    whole = file.read_bytes()
    file.write_bytes(damaged(rng, whole))
    words = kit.chosen(rng, scene.run)
    outcome = kit.gflow(*words, cwd=root)
    yield f"{words[0]} after damage to {file.relative_to(scene.run)}"
    yield from outcome.faults()
    yield from scene.faults(outcome)
    resumed = words == ["resume", scene.run, "--steps", "30"] and outcome.code == 0
    if resumed and not outcome.err.strip() and _weights(scene.run) != _weights(_resumed(pristine)):
        yield "other weights than those of the whole run, without a word"


def _weights(run: Path) -> bytes:
    return (run / "checkpoints/000030/sampler.safetensors").read_bytes()


def _resumed(pristine: Path) -> Path:
    """The whole run, resumed as the damaged one was; made once a process."""
    run = pristine.parent.parent / f"resumed-{os.getpid()}" / pristine.name
    if not run.exists():
        shutil.copytree(pristine, run)
        kit.gflow("resume", run, "--steps", "30", cwd=run.parent)
    return run
