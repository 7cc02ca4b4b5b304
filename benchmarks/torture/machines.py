"""Odd machines: no home, no standard output, an ASCII locale, a folder that is gone, a disk that is full."""

from __future__ import annotations

import os
import random
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import kit


def _environment(**changes: str | None) -> dict[str, str]:
    env = {**os.environ}
    for name, value in changes.items():
        env.pop(name, None)
        if value is not None:
            env[name] = value
    return env


ENVIRONMENTS: dict[str, dict[str, str | None]] = {
    "an ordinary one": {},
    "no HOME": {"HOME": None, "XDG_CACHE_HOME": None, "GFLOW_CACHE": None},
    "a HOME that is no folder": {"HOME": "/dev/null", "XDG_CACHE_HOME": None, "GFLOW_CACHE": None},
    "an ASCII locale": {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "ASCII streams": {"PYTHONIOENCODING": "ascii"},
    "a cache that cannot be": {"GFLOW_CACHE": "/dev/null/cache"},
    "a notebook's backend": {"MPLBACKEND": "module://matplotlib_inline.backend_inline"},
    "a backend that is not there": {"MPLBACKEND": "no_such_backend"},
    "a dumb terminal": {"TERM": "dumb", "CI": None},
    "no temporary folder": {"TMPDIR": "/no/such/folder"},
}

STREAMS = {"pipes": "", "closed output": ">&-", "closed input": "<&-", "a full disk's output": "> /dev/full",
           "closed errors": "2>&-", "a reader that leaves": "| head -c 1 > /dev/null"}  # fmt: skip


def case(rng: random.Random, root: Path, pristine: Path) -> Iterator[str]:
    """One machine, one command."""
    scene = kit.Scene.of(pristine, root)
    (root / "torture.toml").write_text(kit.RECIPE)
    odd = rng.choice(sorted(ENVIRONMENTS))
    streams = rng.choice(sorted(STREAMS)) if rng.random() < 0.4 else "pipes"
    where = rng.choice(["here", "here", "a folder that is gone", "a full disk"])
    words = rng.choice(
        [
            *kit.commands(scene.run),
            ["run", root / "torture.toml", "--runs", root / "runs"],
            ["ls"],
            ["ls", "recipes"],
            ["plugins"],
            ["show", "sampler", "far.mlp"],
            ["validate", root / "torture.toml"],
        ]
    )
    gone = root / "gone"
    gone.mkdir()
    line = " ".join(f"'{word}'" for word in [sys.executable, "-m", "gflow_core", *words])
    script = f"cd '{gone}'; rmdir '{gone}'; " if where == "a folder that is gone" else ""
    script += f"{line} {STREAMS[streams]}"

    def full() -> None:
        if where == "a full disk":  # writes end here as on one: EFBIG in place of ENOSPC
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    try:
        done = subprocess.run(
            ["bash", "-c", script], cwd=root, env=_environment(**ENVIRONMENTS[odd]), stdin=subprocess.DEVNULL,
            capture_output=True, timeout=kit.PATIENCE, check=False, preexec_fn=full,
        )  # fmt: skip
        outcome = kit.Outcome(done.returncode, done.stdout, done.stderr)
    except subprocess.TimeoutExpired as error:
        outcome = kit.Outcome(None, error.stdout or b"", error.stderr or b"")
    yield f"{words[0]} on {odd}, {streams}, {where}"
    silent = "output" in streams or "errors" in streams or "reader" in streams
    faults = outcome.faults((0, 1, 2) if silent else (0, 2))
    yield from (fault for fault in faults if not silent or "without a message" not in fault)
    yield from scene.faults(outcome)
    if where == "a full disk" and words[0] in ("resume", "analyze", "report"):  # what was whole still is
        after = kit.gflow("report", scene.run, "--out", root / "page", cwd=root)
        yield from (f"the report afterwards: {fault}" for fault in after.faults((0,)))
    shutil.rmtree(root / "page", ignore_errors=True)
