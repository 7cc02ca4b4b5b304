"""The ledger's machinery: rows that are run, resumed and recorded, and claims that are judged by what was recorded.

A row is one setting of one recipe, over seeds, looked at every so many steps. A paper's program, such as far.py, names
its rows and the claims that rest on them, and calls `main`. What --record writes, recorded/PAPER.json, is all that
page.py reads: no figure of docs/claims.md is typed by hand.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from pathlib import Path
from statistics import mean, stdev, variance
from typing import Any, Literal

import attrs
from scipy import stats

from gflow_core.machine.speed import speed_here
from gflow_core.recipes.recipe import load

ROOT = Path(__file__).parents[2]
RECORDED = Path(__file__).parent / "recorded"
DIGITS = 5
"""Significant digits of a recorded score."""

Verdict = Literal["confirmed", "refuted", "open"]


@attrs.frozen(kw_only=True)
class Row:
    """One setting, and which of its scores are recorded.

    `ANALYZER:SCORE` is what analysis/ANALYZER/result.json has; `ANALYZER/TABLE[KEY].COLUMN` what TABLE.csv has in the
    line that begins with KEY. DATA in `words` is where MNIST and CIFAR-10 lie.
    """

    recipe: str
    words: tuple[str, ...] = ()
    steps: int
    every: int | None = None
    """Steps between two looks at the run; only the end where it is None."""
    seeds: int = 1
    replicas: bool = False
    """All seeds in one run (`train.replicas`), or a run for each."""
    scores: tuple[str, ...]

    @property
    def analyzers(self) -> list[str]:
        return list(dict.fromkeys(analyzer_of(score) for score in self.scores))

    def commands(self, steps: int) -> list[list[str]]:
        """The words after `gflow run`, for each run."""
        spec = load(self.path, self.words).spec
        words = [f"recipes/{self.recipe}.toml", *self.words]
        if spec.train is None:
            return [words]
        looks = self.every or steps
        save = self.every or max(steps // 10, 1)
        words += [f"train.steps={steps}", f"train.sample_every={looks}", f"train.checkpoint_every={save}"]
        for i, analysis in enumerate(spec.analyze):
            if analysis.every or (self.every and analysis.name in self.analyzers):
                words.append(f"analyze.{i}.every={looks}")
        if self.replicas:
            return [[*words, f"train.replicas={self.seeds}"]]
        return [[*words, f"train.seed={seed}"] for seed in range(self.seeds)]

    @property
    def path(self) -> Path:
        return ROOT / "recipes" / f"{self.recipe}.toml"


# ------------------------------------------------------------------ running


def carry_out(name: str, row: Row, steps: int, runs: Path, data: Path) -> list[Path]:
    """Runs what is missing of a row, goes on with what was stopped, and leaves alone what is there; the run folders."""
    folders = []
    for i, words in enumerate(row.commands(steps)):
        words = [word.replace("=DATA", f"={data}") for word in words]
        place = runs / name / f"run{i}"
        folder = next(iter(sorted(place.glob("*-001"))), None)
        if folder is None:
            gflow(place, "run", *words, "--runs", str(place))
        elif step_of(folder, row) < steps:
            gflow(place, "resume", str(folder), f"train.steps={steps}")
        folders += sorted(place.glob("*-001"))
    return folders


def gflow(place: Path, *words: str) -> None:
    """One thread, from the folder of the checkout; what it prints goes to a file. RuntimeError where it fails."""
    place.mkdir(parents=True, exist_ok=True)
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    with (place / "log.txt").open("a") as log:
        command = [sys.executable, "-m", "gflow_core", *words]
        code = subprocess.run(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT).returncode
    if code:
        raise RuntimeError(f"gflow {' '.join(words)}: exit code {code}; see {place / 'log.txt'}")


def step_of(folder: Path, row: Row) -> int:
    """The step after which the last of the row's analyzers looked at the end of the run; -1 before."""
    path = folder / "analysis" / row.analyzers[-1] / "result.json"
    return int(json.loads(path.read_text())["step"]) if path.exists() else -1


# ------------------------------------------------------------------ recording


def analyzer_of(score: str) -> str:
    return score.partition("/" if "/" in score else ":")[0]


def looks(folder: Path, score: str) -> Iterator[tuple[int, list[float | None]]]:
    """(step, the score of each seed of the run) for each time that the run was looked at."""
    place = folder / "analysis" / analyzer_of(score)
    for path in [*place.glob("[0-9]*/result.json"), *place.glob("result.json")]:
        found = json.loads(path.read_text())
        if "/" in score:
            yield found["step"], [in_table(path.parent, score.partition("/")[2])]
        else:
            key = score.partition(":")[2]
            yield found["step"], [seed["scores"].get(key) for seed in found.get("seeds") or [found]]


def in_table(place: Path, which: str) -> float | None:
    """TABLE[KEY].COLUMN."""
    name, _, rest = which.partition("[")
    key, _, column = rest.rpartition("].")
    with (place / f"{name}.csv").open(newline="") as file:
        lines = [line for line in csv.DictReader(file) if next(iter(line.values())) == key]
    return float(lines[0][column]) if lines and lines[0][column] else None


def record(row: Row, folders: Sequence[Path], steps: int) -> dict[str, Any] | None:
    """What is there of a row, finished or not; None where nothing was looked at yet."""
    scores: dict[str, dict[int, list[float | None]]] = {}
    for score in row.scores:
        at: dict[int, list[float | None]] = {}
        for folder in folders:
            for step, values in looks(folder, score):
                at.setdefault(step, []).extend(rounded(value) for value in values)
        whole = {step: values for step, values in sorted(at.items()) if len(values) == row.seeds}
        if whole:
            scores[score] = whole
    if not scores:
        return None
    manifest = json.loads((folders[0] / "manifest.json").read_text())
    git = manifest["git"] or {}
    return {
        "command": shlex.join(["gflow", "run", *row.commands(row.steps)[0]]),
        "runs": len(folders),
        "seeds": row.seeds,
        "steps": max(max(at) for at in scores.values()),
        "of": row.steps,
        "seconds": round(sum(map(seconds_of, folders))),
        "processor": speed_here().processor,
        "threads": manifest["threads"],
        "precision": manifest["precision"],
        "compiled": manifest["compiled"],
        "torch": manifest["versions"]["torch"],
        "gflow": git.get("commit", "")[:12] + ("+" if git.get("dirty") else ""),
        "scores": scores,
    }


def rounded(value: float | None) -> float | None:
    if value is None or float(value).is_integer():
        return value
    return float(f"{value:.{DIGITS}g}")


def seconds_of(folder: Path) -> float:
    """Seconds of training, as the last line of metrics.jsonl has them."""
    path = folder / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return float(json.loads(lines[-1])["seconds"]) if lines else 0.0


def write(paper: str, found: dict[str, dict[str, Any]]) -> Path:
    """Rows found now replace those recorded; a line for each score, so that changes can be read."""
    path = RECORDED / f"{paper}.json"
    rows = (json.loads(path.read_text()) if path.exists() else {}) | found
    text = ",\n".join(
        f" {json.dumps(name)}: {{\n"
        + ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in row.items() if key != "scores")
        + ',\n  "scores": {\n'
        + ",\n".join(f"   {json.dumps(score)}: {json.dumps(at)}" for score, at in row["scores"].items())
        + "\n  }\n }"
        for name, row in sorted(rows.items())
    )
    path.write_text("{\n" + text + "\n}\n")
    return path


# ------------------------------------------------------------------ reading


class Recorded(Mapping[str, "Found"]):
    """The recorded rows of a paper, by name."""

    def __init__(self, rows: Mapping[str, Mapping[str, Any]]) -> None:
        self.rows = rows

    @classmethod
    def read(cls, paper: str) -> Recorded:
        path = RECORDED / f"{paper}.json"
        return cls(json.loads(path.read_text()) if path.exists() else {})

    def __getitem__(self, name: str) -> Found:
        return Found(name, self.rows[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


@attrs.frozen
class Found:
    """One recorded row."""

    name: str
    row: Mapping[str, Any]

    @property
    def steps(self) -> int:
        return int(self.row["steps"])

    def looked(self, score: str) -> list[int]:
        """The steps after which it was looked at."""
        return [int(step) for step in self.row["scores"].get(score, {})]

    def __call__(self, score: str, step: int | None = None) -> list[float]:
        """The score's value for each seed that has one, at the last look or after `step`."""
        at = self.row["scores"].get(score, {})
        values = at.get(str(step)) if step is not None else next(reversed(at.values()), None)
        return [value for value in values or () if value is not None]


def spread(values: Sequence[float], digits: int = 2, factor: float = 1.0) -> str:
    """Mean and standard deviation over seeds."""
    if not values:
        return "none"
    values = [factor * value for value in values]
    return f"{mean(values):.{digits}f}" + (f" ± {stdev(values):.{digits}f}" if len(values) > 1 else "")


@attrs.frozen
class Difference:
    """Of two means over seeds: the difference, its 95 % interval (Welch), and how many standard deviations it is."""

    by: float
    low: float
    high: float
    effect: float
    """Cohen's d: in pooled standard deviations."""

    @property
    def sign(self) -> int:
        """1 or -1 where the interval lies on one side of 0, else 0."""
        return (self.low > 0) - (self.high < 0)

    def told(self, digits: int = 2) -> str:
        return (
            f"{self.by:+.{digits}f} (95 %: {self.low:+.{digits}f} to {self.high:+.{digits}f}; d = {self.effect:+.1f})"
        )


def difference(a: Sequence[float], b: Sequence[float]) -> Difference:
    """How much larger a's mean is than b's. ValueError where one of them has fewer than two values."""
    if min(len(a), len(b)) < 2:
        raise ValueError("a difference needs two seeds on either side")
    by = mean(a) - mean(b)
    n, m = len(a), len(b)
    u, v = variance(a) / n, variance(b) / m
    if u + v == 0:
        return Difference(by, by, by, math.copysign(math.inf, by) if by else 0.0)
    freedom = (u + v) ** 2 / (u**2 / (n - 1) + v**2 / (m - 1))
    half = float(stats.t.ppf(0.975, freedom)) * math.sqrt(u + v)
    pooled = math.sqrt(((n - 1) * variance(a) + (m - 1) * variance(b)) / (n + m - 2))
    return Difference(by, by - half, by + half, by / pooled)


@attrs.frozen
class Finding:
    """What was measured, in a few words with numbers, and what that says about a claim."""

    measured: str
    verdict: Verdict


@attrs.frozen(kw_only=True)
class Claim:
    """A claim of a paper, in our words, and how the recorded rows judge it.

    It is open, for what `lack` says, until all rows that match the patterns `rows` are recorded (or one of them, where
    `each` is False), and as long as one of them was cut.
    """

    says: str
    where: str
    rows: tuple[str, ...] = ()
    each: bool = True
    judge: Callable[[Recorded], Finding] | None = None
    lack: str = "not run yet"

    def names(self, rows: Iterable[str]) -> list[str]:
        return [name for name in rows if any(fnmatch(name, pattern) for pattern in self.rows)]

    def finding(self, recorded: Recorded, rows: Iterable[str]) -> Finding:
        wanted, there = self.names(rows), self.names(recorded)
        if self.judge is None or not there or (self.each and len(there) < len(wanted)):
            return Finding(self.lack, "open")
        found = self.judge(recorded)
        cut = any(recorded[name].steps < recorded[name].row["of"] for name in there)
        return attrs.evolve(found, measured=f"so far: {found.measured}", verdict="open") if cut else found


# ------------------------------------------------------------------ a paper's program


Columns = Mapping[str, tuple[str, int, float]]
"""Heading -> score, digits, factor."""


def told(recorded: Mapping[str, Found], tables: Iterable[tuple[str, str, Columns]]) -> Iterator[str]:
    """The tables of a paper in Markdown: what each shows, a pattern of the rows in it, its columns."""
    for title, pattern, columns in tables:
        if rows := {name: found for name, found in recorded.items() if fnmatch(name, pattern)}:
            yield f"{title}\n"
            yield from table(rows, columns)
            yield ""


def table(rows: Mapping[str, Found], columns: Columns) -> Iterator[str]:
    yield f"| row | seeds, steps | {' | '.join(columns)} |"
    yield "|---|---|" + "---|" * len(columns)
    for name, found in rows.items():
        cells = [spread(found(score), digits, factor) for score, digits, factor in columns.values()]
        length = f"{found.row['seeds']}, {found.steps:,}"
        length += "" if found.steps >= found.row["of"] else f" of {found.row['of']:,}"
        yield f"| `{name}` | {length} | {' | '.join(cells)} |"


def beside(name: str, now: Mapping[str, Any], before: Recorded) -> Iterator[str]:
    """What was found now, where the recorded row was looked at as well."""
    if name not in before:
        return
    for score, at in now["scores"].items():
        for step, values in at.items():
            if there := before[name](score, int(step)):
                found = [value for value in values if value is not None]
                yield f"{name} {score} after {step}: {spread(found, 4)}, recorded {spread(there, 4)}"


def main(
    paper: str,
    about: str,
    rows: Mapping[str, Row],
    tables: Sequence[tuple[str, str, Columns]],
    words: Sequence[str] | None = None,
) -> None:
    """The program of a paper: runs and resumes rows, prints their table, and records them when asked to."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--rows", nargs="+", default=["*"], metavar="PATTERN", help="which, e.g. 'plane/ring8/*'")
    parser.add_argument(
        "--steps", type=int, help="shorter than recorded: the looks until then are printed side by side"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at once, of one thread each")
    parser.add_argument(
        "--runs", type=Path, default=Path("runs/claims"), help="where runs lie; those there are resumed"
    )
    parser.add_argument("--data", type=Path, default=Path("data"), help="where MNIST and CIFAR-10 lie")
    parser.add_argument("--list", action="store_true", help="name the rows, and run nothing")
    parser.add_argument("--record", action="store_true", help="record what lies in --runs, and run nothing")
    options = parser.parse_args(words)

    chosen = {
        name: row
        for name, row in rows.items()
        if any(fnmatch(name, rows) or fnmatch(name, f"{rows}/*") for rows in options.rows)
    }
    if not chosen:
        parser.error(f"--rows {' '.join(options.rows)}: no such row; --list names them")
    if options.list:
        print(
            "\n".join(f"{name}: {row.recipe}, {row.steps:,} steps, {row.seeds} seeds" for name, row in chosen.items())
        )
        return
    runs = options.runs.resolve() / paper
    length = {name: min(row.steps, options.steps or row.steps) for name, row in chosen.items()}
    if not options.record:
        with ThreadPoolExecutor(options.jobs) as pool:
            work = {
                name: pool.submit(carry_out, name, row, length[name], runs, options.data)
                for name, row in chosen.items()
            }
            for name, done in work.items():
                done.result()
                print(f"{name}: done", file=sys.stderr, flush=True)
    found = {
        name: now
        for name, row in chosen.items()
        if (now := record(row, sorted((runs / name).glob("run*/*-001")), length[name]))
    }
    if options.record:
        print(f"wrote {write(paper, found)}: {len(found)} rows")
        return
    before = Recorded.read(paper)
    print("\n".join(told(Recorded(json.loads(json.dumps(found))), tables)))
    print("\n".join(line for name, now in found.items() for line in beside(name, now, before)))
