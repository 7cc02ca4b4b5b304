"""What every fault goes through: a gflow command in a process of its own, and what must be true of it afterwards."""

from __future__ import annotations

import hashlib
import os
import random
import resource
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import attrs

SECRET = b"gflow-torture-secret-5f0e"
"""Stands in files outside the run folder; wherever else it is found, it leaked."""

PATIENCE = 90.0
"""Seconds after which a command hangs."""

MEMORY = 6 << 30
"""Bytes of address space beyond those of the warm process that a command may take."""

SECONDS = 0.0
"""What a run takes, Python's start included; measured once."""

RECIPE = """
gflow = 1
title = "torture"

[dataset]
use = "ring"
n = 400

[sampler]
use = "far.mlp"
width = 8
depth = 1

[discriminator]
use = "far.mlp"
width = 8
depth = 1

[objective]
use = "far.fake_as_real"
fake_as_real = 2
candidates = 16

[optimizer.sampler]
use = "adam"
lr = 1e-3

[optimizer.discriminator]
use = "adam"
lr = 1e-3

[train]
seed = 3
steps = 24
batch_size = 16
device = "cpu"
log_every = 2
sample_every = 6
checkpoint_every = 6
keep = 9
keep_best = "two_sample.sliced_w2"
ema = { decay = 0.9 }

[[analyze]]
use = "mode_coverage"
samples = 100
every = 6

[[analyze]]
use = "far.evolution"
samples = 50
every = 8

[[analyze]]
use = "two_sample"
samples = 100
mmd_samples = 50
every = 4
"""
"""A run of a second that has all that a run folder can have: checkpoints, averages, samples, analyses along the way."""


@attrs.frozen
class Outcome:
    """What became of a command."""

    code: int | None
    """Exit code, below 0 the signal that ended it; None where it had to be ended."""
    out: bytes
    err: bytes

    def faults(self, allowed: Sequence[int] = (0, 2)) -> Iterator[str]:
        """What no command may do, whatever it is given."""
        if self.code is None:
            yield f"hung for {PATIENCE:g} s"
        elif self.code not in allowed:
            yield f"exit code {self.code}"
        if b"Traceback (most recent call last)" in self.err + self.out:
            lines = (self.err + self.out).decode(errors="replace").strip().splitlines()
            yield f"traceback: {lines[-1][:200]}"
        if self.code == 2 and not self.err.strip():
            yield "exit code 2 without a message"
        if len(self.err) > 20_000:
            yield f"a message of {len(self.err):,} bytes"


def gflow(*words: str | Path, cwd: Path, env: dict[str, str] | None = None) -> Outcome:
    """`gflow WORDS` in a fork of this process, which has imported torch already: a tenth of a second instead of two."""
    return forked(lambda: _main([str(word) for word in words]), cwd, env)


def _main(words: list[str]) -> None:
    from gflow_core.cli import main

    main(words, prog_name="gflow")


def forked(work: Callable[[], None], cwd: Path, env: dict[str, str] | None = None) -> Outcome:
    """`work` in a fork, with its standard streams in files, memory limited and a time limit."""
    streams = [cwd / f".torture.{name}" for name in ("out", "err")]
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if not child:
        _become(streams, cwd, env, work)
    code = _waited(child)
    out, err = (stream.read_bytes() for stream in streams)
    for stream in streams:
        stream.unlink()
    return Outcome(code, out, err)


def _become(streams: list[Path], cwd: Path, env: dict[str, str] | None, work: Callable[[], None]) -> None:
    """The rest of the child's life."""
    code = 1
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, stream in enumerate(streams, 1):
            os.dup2(os.open(stream, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.chdir(cwd)
        os.environ.update(env or {})
        work()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _waited(child: int) -> int | None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def spawned(*words: str | Path, cwd: Path, env: dict[str, str] | None = None, stdout: int | None = None) -> Outcome:
    """`gflow WORDS` as a process from its beginning, for what happens while Python starts."""
    command = [sys.executable, "-m", "gflow_core", *map(str, words)]
    try:
        done = subprocess.run(
            command, cwd=cwd, env=env, stdout=subprocess.PIPE if stdout is None else stdout, stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL, timeout=PATIENCE, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        return Outcome(None, error.stdout or b"", error.stderr or b"")
    return Outcome(done.returncode, done.stdout or b"", done.stderr)


# ------------------------------------------------------------------ a run, and what lies beside it


@attrs.frozen
class Scene:
    """A folder of one case: a copy of a finished run, and files outside it that nobody may touch or read."""

    root: Path
    run: Path
    outside: Path
    before: dict[str, tuple[str, ...]]

    @classmethod
    def of(cls, pristine: Path, root: Path) -> Scene:
        """A copy of the pristine run beside secrets."""
        run = root / "runs" / pristine.name
        shutil.copytree(pristine, run, symlinks=True)
        outside = root / "outside"
        for name in ("000024", "analysis/mode_coverage", "samples"):
            (outside / name).mkdir(parents=True)
            (outside / name / "precious.txt").write_bytes(SECRET)
        (outside / "secret.toml").write_bytes(b'title = "' + SECRET + b'"\n')
        (outside / "secret.json").write_bytes(b'{"scores": {"a": 1}, "manifest": {"note": "' + SECRET + b'"}}')
        (outside / "secret.png").write_bytes(next(run.glob("samples/*.png")).read_bytes() + SECRET)
        (outside / "empty").touch()
        return cls(root, run, outside, tree(outside))

    def faults(self, outcome: Outcome) -> Iterator[str]:
        """What is not as it was outside the run, and what of it is to be seen elsewhere."""
        after = tree(self.outside)
        for name in sorted(self.before.keys() | after.keys()):
            if self.before.get(name) != after.get(name):
                yield f"outside/{name} was changed, made or deleted"
        if SECRET in outcome.out + outcome.err:
            yield "a secret was printed"
        for path in self.run.rglob("*"):
            own = path.is_file() and not path.is_symlink() and path.stat().st_ino not in _inodes(self.outside)
            if own and SECRET in path.read_bytes():
                yield f"a secret was copied to {path.relative_to(self.root)}"


def _inodes(folder: Path) -> set[int]:
    return {path.stat().st_ino for path in folder.rglob("*") if path.is_file()}


def tree(folder: Path) -> dict[str, tuple[str, ...]]:
    """What lies in a folder: path -> kind and content."""
    found = {}
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            content = os.readlink(path) if stat.S_ISLNK(mode) else ""
        found[str(path.relative_to(folder))] = (stat.filemode(mode), content)
    return found


def make_run(root: Path) -> Path:
    """The run of RECIPE, trained; its folder. Measures SECONDS."""
    global SECONDS
    recipe = root / "torture.toml"
    recipe.write_text(RECIPE)
    started = time.monotonic()
    done = spawned("run", recipe, "--runs", root / "pristine", cwd=root)
    SECONDS = time.monotonic() - started
    if done.code != 0:
        raise SystemExit(f"the run to be tortured does not train: {done.err.decode(errors='replace')}")
    return next((root / "pristine").iterdir())


def commands(run: Path) -> list[list[str | Path]]:
    """What people do with a run folder."""
    return [
        ["resume", run, "--steps", "30"],
        ["resume", run],
        ["resume", run, "--checkpoint", "000012"],
        ["report", run],
        ["analyze", run],
        ["analyze", run, "mode_coverage"],
        ["sample", run, "--n", "4", "--out", run.parent / "out.png"],
        ["sample", run, "--n", "4", "--out", run.parent / "out.png", "--best"],
        ["ls", "runs", run.parent],
        ["compare", run, run],
        ["validate", run / "recipe.toml"],
        ["resolve", run / "recipe.toml"],
        ["cp", run, run.parent / "copied.toml"],
        ["run", run / "recipe.toml", "--dry-run"],
    ]


def chosen(rng: random.Random, run: Path) -> list[str | Path]:
    """One of `commands`."""
    return rng.choice(commands(run))
