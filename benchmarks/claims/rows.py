"""The rows of the ledger: settings of recipes that are run, resumed and recorded.

A row is one setting of one recipe, over seeds, looked at every so many steps. A paper's program, such as far.py, names
its rows and the claims that rest on them (ledger.py), and calls `main`. What --record writes, recorded/PAPER.json, is
all that page.py reads.
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
from collections.abc import Container, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import attrs
from drawing import samples
from ledger import Recorded, Tables, Values, spread, told

from gflow_core.recipes.recipe import load

ROOT = Path(__file__).parents[2]
DIGITS, OF_LOSSES = 5, 8
"""Significant digits of a recorded score; losses come within 1e-6 of 2 log 2."""
PRECISION = "float32"
"""The papers'. What `auto` takes depends on the machine, and some have no bf16."""

Looks = dict[int, list[float | None]]
"""Step -> the score of each seed."""


@attrs.frozen(kw_only=True)
class Row:
    """One setting, and which of its scores are recorded.

    `ANALYZER:SCORE` is what analysis/ANALYZER/result.json has; `ANALYZER/TABLE[KEY].COLUMN` the least that TABLE.csv
    has in a line that begins with KEY, or, as in `[KEY | NEXT]`, with two cells. DATA in `words` is where MNIST,
    Fashion-MNIST and CIFAR-10 lie.
    """

    recipe: str
    words: tuple[str, ...] = ()
    steps: int
    """Of training; 0 where the recipe trains nothing."""
    every: int | None = None
    """Steps between two looks at the run; only the end where it is None."""
    seeds: int = 1
    replicas: bool = False
    """All seeds in one run (`train.replicas`), or a run for each."""
    scores: tuple[str, ...]
    ends: tuple[str, ...] = ()
    """Those of them that are recorded of the end alone."""

    @property
    def analyzers(self) -> list[str]:
        return list(dict.fromkeys(analyzer_of(score) for score in self.scores))

    @property
    def path(self) -> Path:
        return ROOT / "recipes" / f"{self.recipe}.toml"

    @property
    def needs_data(self) -> bool:
        return any("DATA" in word for word in self.words)

    def commands(self, steps: int | None = None) -> list[list[str]]:
        """The words after `gflow run`, for each run; of as many steps as the row has unless they are given."""
        steps = self.steps if steps is None else steps
        spec = load(self.path, self.words).spec
        words = [f"recipes/{self.recipe}.toml", *self.words]
        if spec.train is None:
            return [words]
        save = self.every or max(self.steps // 10, 1)
        words += [f"train.steps={steps}", f"train.precision={PRECISION}"]
        words += [f"train.sample_every={self.every or self.steps}", f"train.checkpoint_every={save}"]
        for i, analysis in enumerate(spec.analyze):
            if analysis.every or (self.every and analysis.name in self.analyzers):
                words.append(f"analyze.{i}.every={self.every or self.steps}")
        if self.replicas:
            return [[*words, f"train.replicas={self.seeds}"]]
        return [[*words, f"train.seed={seed}"] for seed in range(self.seeds)]


# ------------------------------------------------------------------ running


def carry_out(name: str, row: Row, steps: int, runs: Path, data: Path, skip: Container[int] = ()) -> str:
    """Runs what is missing of a row, goes on with what was stopped, leaves alone what is there; what went wrong, if.

    The runs whose numbers are in `skip` are left out.
    """
    wrong = []
    for i, words in enumerate(row.commands(steps)):
        if i in skip:
            continue
        place = runs / name / f"run{i}"
        folder = folder_of(place)
        if folder is not None and (is_done(folder, row, steps) or diverged(folder)):
            continue
        if folder is not None and (folder / "checkpoints").is_dir() and row.steps:
            code = gflow(place, "resume", str(folder), f"train.steps={steps}")
        else:
            words = [word.replace("=DATA", f"={data}") for word in words]
            code = gflow(place, "run", *words, "--runs", str(place))
        if code:
            wrong.append(f"exit code {code}, see {place / 'log.txt'}")
    return "; ".join(wrong)


def gflow(place: Path, *words: str) -> int:
    """One thread, from the folder of the checkout; what it prints goes to a file. The exit code."""
    place.mkdir(parents=True, exist_ok=True)
    with (place / "log.txt").open("a") as log:
        command = [sys.executable, "-m", "gflow_core", *words]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.run(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT).returncode


def folder_of(place: Path) -> Path | None:
    """The run that lies there: the newest, where one that left nothing to go on from was run again."""
    return max(place.glob("*-[0-9][0-9][0-9]"), default=None)


def is_done(folder: Path, row: Row, steps: int) -> bool:
    """Whether each of its analyzers has looked at the end."""
    return all(ending(folder, analyzer) >= steps for analyzer in row.analyzers)


def diverged(folder: Path) -> str:
    """Where its numbers ended, as it would each time; nothing where they did not."""
    return str(json.loads((folder / "manifest.json").read_text()).get("diverged") or "")


def ending(folder: Path, analyzer: str) -> int:
    """The step after which it looked at the end of the run; -1 before."""
    path = folder / "analysis" / analyzer / "result.json"
    return int(json.loads(path.read_text())["step"]) if path.exists() else -1


# ------------------------------------------------------------------ recording


def analyzer_of(score: str) -> str:
    return score.partition("/" if "/" in score else ":")[0]


def looks(folder: Path, score: str, *, end: bool = False) -> Looks:
    """What the run was found to have, each time that it was looked at, or in the `end`."""
    place, found = folder / "analysis" / analyzer_of(score), {}
    digits = OF_LOSSES if analyzer_of(score) == "losses" else DIGITS
    for path in [*(() if end else place.glob("[0-9]*/result.json")), *place.glob("result.json")]:
        result = json.loads(path.read_text())
        if "/" in score:
            found[result["step"]] = [in_table(path.parent, score.partition("/")[2])]
        else:
            key = score.partition(":")[2]
            found[result["step"]] = [
                rounded(seed["scores"].get(key), digits) for seed in result.get("seeds") or [result]
            ]
    return found


def in_table(place: Path, which: str) -> float | None:
    """TABLE[KEY].COLUMN, the least of such lines."""
    name, _, rest = which.partition("[")
    key, _, column = rest.rpartition("].")
    begins = key.split(" | ")
    with (place / f"{name}.csv").open(newline="") as file:
        lines = [line for line in csv.DictReader(file) if list(line.values())[: len(begins)] == begins]
    truth = {"True": 1.0, "False": 0.0}
    found = [truth[text] if text in truth else float(text) for line in lines if (text := line[column])]
    return rounded(min(found, default=None))


def rounded(value: object, digits: int = DIGITS) -> float | None:
    """None for what is no number, or none that is finite: results have those as text."""
    if isinstance(value, bool):
        return float(value)
    if not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value if float(value).is_integer() else float(f"{value:.{digits}g}")


def record(name: str, row: Row, runs: Path) -> dict[str, Any]:
    """What is there of a row: the runs that are over, or, where none is, how far all have come.

    ValueError, which says why, where that is nothing.
    """
    commands = row.commands()
    folders = {i: one for i in range(len(commands)) if (one := folder_of(runs / name / f"run{i}"))}
    over = {i: folder for i, folder in folders.items() if is_done(folder, row, row.steps) or diverged(folder)}
    if not over and len(folders) < len(commands):
        raise ValueError(f"{len(folders)} of {len(commands)} runs are there, and none is over")
    there = over or folders
    manifests = [json.loads((folder / "manifest.json").read_text()) for folder in there.values()]
    for (i, folder), manifest in zip(there.items(), manifests, strict=True):
        if unlike := _other_words(manifest["command"], commands[i]):
            raise ValueError(f"{folder} was run with other words: {' '.join(unlike)}; move it away")
    found = {
        score: {i: looks(folder, score, end=score in row.ends) for i, folder in there.items()} for score in row.scores
    }
    scores = {score: all_of_it for score, each in found.items() if (all_of_it := _of_all(each, len(commands)))}
    if not scores:
        raise ValueError("not looked at yet")
    first = manifests[0]
    return {
        "missing": [i for i in range(len(commands)) if i not in there],
        "command": shlex.join(["gflow", "run", *commands[0]]),
        "seeds": row.seeds,
        "steps": min(max(found) for found in scores.values()),
        "of": row.steps,
        "diverged": "; ".join(filter(None, map(diverged, there.values()))),
        "every": row.every,
        "seconds": round(sum(map(seconds_of, there.values()))),
        "processor": first["device_name"],
        "threads": first["threads"],
        "precision": first["precision"],
        "compiled": first["compiled"],
        "torch": first["versions"]["torch"],
        "gflow": " ".join(dict.fromkeys(map(_commit, manifests))),
        "scores": scores,
    }


def _of_all(each: Mapping[int, Looks], of: int) -> Looks:
    """The looks that all runs had, their seeds in order; None for a run, of `of`, that is not there."""
    steps = sorted(set.intersection(*map(set, each.values())))
    return {step: [value for i in range(of) for value in (each[i][step] if i in each else [None])] for step in steps}


def combined(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> dict[str, Any]:
    """What is recorded of a row: as now, with the seeds that only `before` has; as before, where that came further."""
    alike = ("command", "of", "every", "seeds")
    if before is None or any(before[key] != now[key] for key in alike):
        return dict(now)
    if now["steps"] != before["steps"]:
        return dict(max(before, now, key=lambda row: int(row["steps"])))
    fill = [i for i in now["missing"] if i not in before.get("missing", ())]
    if not fill:
        return dict(now)
    scores = {
        score: {
            step: [then[i] if i in fill else value for i, value in enumerate(values)]
            for step, values in at.items()
            for then in [before["scores"].get(score, {}).get(str(step), [None] * len(values))]
        }
        for score, at in now["scores"].items()
    }
    both = {
        key: " and ".join(dict.fromkeys([before[key], now[key]]))
        for key in ("processor", "torch", "gflow", "precision")
    }
    return {
        **now,
        **both,
        "missing": [i for i in now["missing"] if i not in fill],
        "seconds": before["seconds"] + now["seconds"],
        "scores": scores,
    }


def _other_words(began: Sequence[str], words: Sequence[str]) -> list[str]:
    """Overrides that the run did not begin with, or began with besides, but for its length and where its data lie."""
    free = ("train.steps=", "dataset.root=")
    one, other = ([word for word in all_ if "=" in word or word.startswith("~")] for all_ in (words, began))
    unlike = [*(word for word in one if word not in other), *(word for word in other if word not in one)]
    return [word for word in unlike if not word.startswith(free)]


def _commit(manifest: Mapping[str, Any]) -> str:
    git = manifest["git"] or {}
    return f"{git.get('commit', '')[:12]}{'+' if git.get('dirty') else ''}"


def seconds_of(folder: Path) -> float:
    """Seconds of training, as the last line of metrics.jsonl has them."""
    path = folder / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return float(json.loads(lines[-1])["seconds"]) if lines else 0.0


# ------------------------------------------------------------------ a paper's program


def beside(name: str, row: Row, now: Mapping[str, Any], before: Recorded) -> Iterator[str]:
    """What was found now, where the recorded row was looked at as well."""
    if name not in before:
        yield f"{name}: nothing is recorded"
        return
    lines = [
        f"{name} {score} after {step}: {spread(Values(values), 4)}, recorded {spread(there, 4)}"
        for score, at in now["scores"].items()
        for step, values in at.items()
        if (there := before[name](score, int(step)))
    ]
    yield from lines or [f"{name}: no look in common with what is recorded; looks are {row.every or row.steps:,} apart"]


def main(
    paper: str,
    about: str,
    rows: Mapping[str, Row],
    tables: Tables,
    words: Sequence[str] | None = None,
    sheet: Sequence[Sequence[str]] = (),
) -> None:
    """The program of a paper: runs and resumes rows and prints their tables, records them, or draws their samples.

    `sheet` names the rows of the plane as they stand in that picture.
    """
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--rows", nargs="+", default=["*"], metavar="PATTERN", help="which, e.g. 'plane/ring8/*'")
    parser.add_argument("--missing", action="store_true", help="of these only those that are not recorded whole")
    parser.add_argument("--steps", type=int, help="fewer than recorded: the looks until then are printed side by side")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at once, of one thread each")
    parser.add_argument(
        "--runs", type=Path, default=Path("runs/claims"), help="where runs lie; those there are resumed"
    )
    parser.add_argument("--data", type=Path, default=Path("data"), help="where MNIST, Fashion-MNIST and CIFAR-10 lie")
    parser.add_argument("--list", action="store_true", help="name the rows, and run nothing")
    parser.add_argument("--record", action="store_true", help="record what lies in --runs, and run nothing")
    if sheet:
        parser.add_argument(
            "--samples", type=Path, help="draw samples of the plane's rows to this file, and run nothing"
        )
    options = parser.parse_args(words)

    chosen = {
        name: row
        for name, row in rows.items()
        if any(fnmatch(name, pattern) or fnmatch(name, f"{pattern}/*") for pattern in options.rows)
    }
    if not chosen:
        parser.error(f"--rows {' '.join(options.rows)}: no such row; --list names them")
    before = Recorded.read(paper)
    skip: dict[str, Container[int]] = {}
    if options.missing:
        chosen = {name: row for name, row in chosen.items() if name not in before or not before[name].is_over}
        skip = {name: before[name].runs_over for name in chosen if name in before}
    if options.list:
        for name, row in chosen.items():
            apart = f", looks {row.every:,} apart" if row.every else ""
            print(f"{name}: {row.recipe}, {row.steps:,} steps{apart}, seeds {row.seeds}")
        return
    runs = options.runs.resolve() / paper
    if sheet and options.samples:
        folders = [[folder_of(runs / name / "run0") for name in line] for line in sheet]
        there = [i for i, line in enumerate(folders) if any(line)]
        if not there:
            parser.error(f"--samples: {runs} has none of {', '.join(name for line in sheet for name in line)}")
        samples([sheet[i] for i in there], [folders[i] for i in there]).savefig(options.samples, dpi=100)
        print(f"wrote {options.samples}")
        return
    wrong = False
    if not options.record:
        length = {name: min(row.steps, options.steps or row.steps) for name, row in chosen.items()}
        data = options.data.resolve()
        with ThreadPoolExecutor(options.jobs) as pool:
            work = {
                name: pool.submit(carry_out, name, row, length[name], runs, data, skip.get(name, ()))
                for name, row in chosen.items()
            }
            for name, done in work.items():
                said = done.result()
                wrong = wrong or bool(said)
                print(f"{name}: {said or 'done'}", file=sys.stderr, flush=True)
    found = {}
    for name, row in chosen.items():
        try:
            found[name] = record(name, row, runs)
        except ValueError as error:
            print(f"{name}: {error}", file=sys.stderr)
    if options.record:
        kept = {name: combined(before.rows.get(name), now) for name, now in found.items()}
        print(f"wrote {Recorded.write(paper, kept)}: {len(found)} rows")
    else:
        print("\n".join(told(Recorded(json.loads(json.dumps(found))), tables)))
        print("\n".join(line for name, now in found.items() for line in beside(name, rows[name], now, before)))
    if wrong:
        sys.exit(1)
