"""SIGKILL at random moments; the run that is resumed is held against one that was left alone."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import kit


def record(run: Path) -> dict[str, object]:
    """All that a run folder holds, but for times: path -> content, or its sha256."""
    found: dict[str, object] = {}
    for path in sorted(run.rglob("*")):
        name = str(path.relative_to(run))
        if path.is_dir() or name in ("manifest.json", ".lock"):  # which say when and who
            continue
        if path.suffix == ".jsonl":
            found[name] = [_timeless(json.loads(line)) for line in path.read_text().splitlines()]
        elif path.suffix == ".json":
            found[name] = _timeless(json.loads(path.read_text()))
        else:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _timeless(value: object) -> object:
    """JSON without what the clock decides, and without the checksums of such."""
    if isinstance(value, dict):
        times = ("seconds", "time", "started", "finished", "created", "sha256", "checksum")
        return {key: _timeless(one) for key, one in value.items() if key not in times}
    return [_timeless(one) for one in value] if isinstance(value, list) else value


def case(rng: random.Random, root: Path, pristine: Path) -> Iterator[str]:
    """One to four kills, while it runs, resumes or goes back; then it is let run to its end."""
    recipe, runs = root / "torture.toml", root / "runs"
    recipe.write_text(kit.RECIPE)
    words: list[str | Path] = ["run", recipe, "--runs", runs]
    kills, back, done = rng.randint(1, 4), rng.randint(0, 2), []
    while True:
        limit = rng.uniform(0.3, 1.1) * kit.SECONDS if kills else kit.PATIENCE
        outcome = _killed_after(limit, words, root)
        made = (
            [run for run in runs.iterdir() if any(run.glob("checkpoints/[0-9]*/checkpoint.json"))]
            if runs.exists()
            else []
        )
        if outcome is None:
            done.append(f"killed {words[0]} after {limit:.2f} s")
            kills -= 1
            words = ["resume", made[0]] if made else ["run", recipe, "--runs", runs]
            if not made:  # nothing was saved: begin again
                shutil.rmtree(runs, ignore_errors=True)
        elif outcome.code != 0:
            yield ", ".join(done)
            yield f"{words[0]} ends with {outcome.code}: {outcome.err.decode(errors='replace').strip()[-300:]}"
            return
        elif back:
            back -= 1
            words = ["resume", made[0], "--checkpoint", rng.choice(["000006", "000012", "000018"])]
            done.append(f"back to {words[-1]}")
        else:
            break
    yield ", ".join(done)
    ours, whole = record(made[0]), record(pristine)
    for name in sorted(ours.keys() | whole.keys()):
        if ours.get(name) != whole.get(name):
            yield f"{name} {'is left over' if name not in whole else 'is missing' if name not in ours else 'differs'}"


def _killed_after(seconds: float, words: list[str | Path], cwd: Path) -> kit.Outcome | None:
    """What became of the command; None where it had to be killed."""
    command = [sys.executable, "-m", "gflow_core", *map(str, words)]
    process = subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        _, err = process.communicate(timeout=seconds)
        return kit.Outcome(process.returncode, b"", err)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return None
