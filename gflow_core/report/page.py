"""From runs that were read to HTML: what stands where. The templates only lay it out."""

from __future__ import annotations

import csv
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import attrs
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from gflow_core.errors import GflowError
from gflow_core.files.reading import number
from gflow_core.report.curves import BESIDE, Chart, metric_charts, score_charts, spread, stems
from gflow_core.report.options import parts
from gflow_core.report.pictures import Sequel, sequel
from gflow_core.report.read import Analysis, Finding, Run, Score
from gflow_core.scores.compare import Cell, Comparison, comparable

__all__ = ["comparison_page", "run_page"]

ROWS = 200
"""Rows of a table that are shown; the rest is read from its CSV."""


# ------------------------------------------------------------------ scores


@attrs.frozen
class Value:
    """A score as the page shows it."""

    text: str
    exact: str
    """With every digit."""
    error: str = ""
    """Its standard error (NAME_se), or the standard deviation over replicas; an empty string where neither is there."""


@attrs.frozen
class ScoreRow:
    """A score and what stands beside it: its values on real items, by chance, its bounds."""

    name: str
    value: Value | None
    beside: list[tuple[str, Value]]
    seeds: list[tuple[int, Value]]


def score_rows(found: Finding) -> list[ScoreRow]:
    """A row a score; NAME_real, NAME_chance and their like stand in the row of NAME, errors behind their values."""
    errors = {name: spread(name, found.scores) for name in found.scores}
    scores = {name: value for name, value in found.scores.items() if name != "note" and name not in errors.values()}
    belongs = stems(scores)
    rows: dict[str, ScoreRow] = {}
    for name in sorted(scores, key=lambda name: name != belongs[name]):  # what others stand beside comes first
        error = errors[name]
        value = _value(scores[name], found.scores[error] if error else None)
        if name == belongs[name]:
            seeds = [(seed, _value(own[name])) for seed, own in found.seeds.items() if name in own]
            rows[name] = ScoreRow(name, value, [], seeds)
        else:
            rows[belongs[name]].beside.append((name[len(belongs[name]) + 1 :].replace("_", " "), value))
    return list(rows.values())


def headline(rows: Sequence[ScoreRow], found: Finding) -> ScoreRow | None:
    """The first score that stands beside its value on real items or by chance, else the first that is measured.

    Counts and settings are neither.
    """
    measured = (row for row in rows if isinstance(found.scores.get(row.name), float) and row.name not in found.manifest)
    compared = (row for row in rows if any(name.replace(" ", "_").startswith(BESIDE) for name, _ in row.beside))
    return next(compared, None) or next(measured, None)


def _value(value: Score, error: Score = None) -> Value:
    wide = number(error)
    return Value(short(value), str(value), "" if wide is None else f"{wide:.2g}")


def short(value: Any) -> str:
    """A value in four digits."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


# ------------------------------------------------------------------ tables


@attrs.frozen
class Table:
    """A CSV file."""

    name: str
    columns: list[str]
    rows: list[list[str]]
    more: int
    """Rows that are not shown."""

    @property
    def narrow(self) -> bool:
        """Whether it has its place beside pictures."""
        return len(self.columns) <= 5


def read_table(path: Path, caption: str, missing: list[str]) -> Table | None:
    """The first rows of a CSV file; None where it cannot be read or is empty, which goes into `missing`."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = list(csv.reader(file))
    except (OSError, ValueError, csv.Error):
        lines = []
    if not lines:
        missing.append(f"{path}: not a table that can be read.")
        return None
    rows = [[_number_text(cell) for cell in line] for line in lines[1 : ROWS + 1]]
    return Table(" ".join(filter(None, (path.name, caption))), lines[0], rows, max(0, len(lines) - 1 - ROWS))


def _number_text(cell: str) -> str:
    try:
        return cell if cell.lstrip("-").isdigit() else f"{float(cell):.4g}"
    except ValueError:
        return cell


# ------------------------------------------------------------------ one run


@attrs.frozen
class Section:
    """An analysis as the page shows it."""

    anchor: str
    name: str
    step: int
    note: str
    rows: list[ScoreRow]
    headline: ScoreRow | None
    """The row that the head of the page shows."""
    sequels: list[Sequel]
    tables: list[Table]
    manifest: list[tuple[str, str]]
    charts: list[int]
    """Numbers of its charts in the page's list."""
    still: list[str]
    """Scores that were measured at several steps and never changed."""


def run_page(run: Run, only: Sequence[str] = ()) -> tuple[str, list[str]]:
    """The page of one run, and what is missing in it."""
    missing = list(run.missing)
    metrics = metric_charts({"": [run]})
    charts = [*metrics]
    sections = []
    for i, analysis in enumerate(a for a in run.analyses if (not only or a.name in only) and a.findings):
        own, still = score_charts(analysis, run.summary.best)
        numbers = list(range(len(charts), len(charts) + len(own)))
        charts += own
        sections.append(_section(f"analysis-{i}", analysis, numbers, still, missing, {one.title for one in metrics}))
    samples = sequel("Samples over training", "samples", {step: {"": path} for step, path in run.samples.items()})
    now = datetime.now(UTC)
    html = _render(
        "run.html",
        charts,
        title=run.title,
        run=run,
        now=now,
        age=_age(now, run.created),
        duration=_duration(run.seconds),
        missing=missing,
        samples=samples,
        sections=sections,
        metrics=list(range(len(metrics))),
        last=[(chart, _last(chart)) for chart in metrics],
        seeds=len(run.seeds),
        averaged=max((curve.seeds for chart in metrics for curve in chart.curves), default=1),
        parts=parts(run.table, run.recipe),
        recipe_text=_text(run.path / "recipe.toml"),
        environment=_flat({key: value for key, value in run.manifest.items() if key != "command"}),
        commands=_commands(run),
    )
    return html, missing


def _section(
    anchor: str, analysis: Analysis, charts: list[int], still: list[str], missing: list[str], drawn: set[str]
) -> Section:
    """`drawn`: metrics whose curves the page has already. Pictures of an analysis of nothing else would repeat them."""
    found = analysis.findings[-1]
    rows = score_rows(found)
    repeats = bool(rows) and {row.name for row in rows} <= drawn
    seeds = [(f"seed {seed}", one) for seed, one in analysis.replicas.items()] or [("", analysis)]
    pictures: dict[str, dict[int, dict[str, Path]]] = {}
    tables = []
    for caption, one in [("", analysis), *seeds] if analysis.replicas else seeds:
        for finding in one.findings:
            for path in finding.files:
                if path.suffix != ".csv":
                    if repeats:
                        continue
                    pictures.setdefault(path.name, {}).setdefault(finding.step, {})[caption] = path
                elif finding is one.findings[-1] and (table := read_table(path, caption, missing)):
                    tables.append(table)
    sequels = (
        sequel(name.rpartition(".")[0].replace("_", " "), f"{analysis.name}: {name}", steps)
        for name, steps in pictures.items()
    )
    return Section(
        anchor,
        analysis.name,
        found.step,
        str(found.scores.get("note") or ("The curves stand under Training." if repeats else "")),
        rows,
        headline(rows, found),
        [one for one in sequels if one is not None],
        tables,
        _flat(found.manifest),
        charts,
        still,
    )


def _last(chart: Chart) -> tuple[str, str, str]:
    """First value, last value and the value to compare to."""
    values = chart.curves[0].values
    return short(values[0]), short(values[-1]), ", ".join(short(value) for _, value in chart.references)


def _commands(run: Run) -> list[tuple[str, str]]:
    """What to do with the run -> the command that does it."""
    path = str(run.path)
    found = [("Run it again", shlex.join(["gflow", "run", f"{path}/recipe.toml"]))]
    if run.summary.state == "stopped" and run.checkpoints:
        found.append(("Go on where it stopped", shlex.join(["gflow", "resume", path])))
    if run.checkpoints:
        draw = ["gflow", "sample", path, "--n", "64", "--out"]
        found.append(("Draw from it", shlex.join([*draw, "grid.png"])))
        if run.summary.best:
            found.append(("Draw from its best checkpoint", shlex.join([*draw, "best.png", "--best"])))
    started = run.manifest.get("command")
    if isinstance(started, list) and started:
        words = [Path(str(started[0])).name, *map(str, started[1:])]
        found.append(("Started as", shlex.join(words)))
    return found


# ------------------------------------------------------------------ several runs


@attrs.frozen
class Row:
    """One score over the groups."""

    name: str
    beside: bool
    """Whether it stands beside another score: NAME_real, NAME_chance."""
    cells: list[tuple[str, str]]
    """Text, and the value of each seed."""


def comparison_page(runs: Sequence[Run], only: Sequence[str] = ()) -> tuple[str, list[str]]:
    """The comparison of several runs, and what is missing in it."""
    missing = [f"{run.name}: {fault}" for run in runs for fault in run.missing]
    paths = {str(run.path): run for run in runs}
    found: Comparison | None = None
    left_out: list[str] = []
    try:
        found, left_out = comparable([run.path for run in runs], only)
        groups = {_unique(group.name, i): [paths[path] for path in group.runs] for i, group in enumerate(found.groups)}
        compared = {path for group in found.groups for path in group.runs}
        groups |= {_unique(run.name, i): [run] for i, run in enumerate(runs) if str(run.path) not in compared}
    except (GflowError, TypeError, AttributeError) as error:
        if not isinstance(error, GflowError) and all(run.recipe is not None for run in runs):
            raise  # only what is TOML but no recipe may fail so
        missing.append(f"The scores do not stand side by side: {error}")
        groups = {run.name if len({r.name for r in runs}) == len(runs) else str(run.path): [run] for run in runs}
    charts = metric_charts(groups)
    missing, left_out = list(map(_shorter, missing)), list(map(_shorter, left_out))
    count = f"{len(runs)} runs side by side"
    titles = {run.title for run in runs}
    html = _render(
        "comparison.html",
        charts,
        title=titles.pop() if len(titles) == 1 else count,
        count=count,
        now=datetime.now(UTC),
        runs=runs,
        groups=(grouped := [(i, name, members) for i, (name, members) in enumerate(groups.items())]),
        scored=grouped[: len(found.groups)] if found is not None else [],
        duration=_duration,
        rows=_rows(found) if found is not None else {},
        left_out=left_out,
        bands=any(curve.seeds > 1 for chart in charts for curve in chart.curves),
        missing=missing,
        samples=_samples(groups, found is not None),
        metrics=list(range(len(charts))),
    )
    return html, missing + [f"Not compared: {reason}" for reason in left_out]


def _unique(name: str, i: int) -> str:
    return name or f"group {i + 1}"


def _shorter(sentence: str) -> str:
    """Checksums cut to eight digits."""
    return re.sub(r"\b([0-9a-f]{8})[0-9a-f]{56}\b", r"\1...", sentence)


def _samples(groups: Mapping[str, Sequence[Run]], named: bool) -> Sequel | None:
    """The pictures of all runs by group and seed, at every step at which all were drawn; else each one's last.

    They are called after group and seed where groups are `named`, else after their folders.
    """
    runs = [(run, i) for i, members in enumerate(groups.values()) for run in sorted(members, key=lambda r: r.seeds[0])]
    names = list(groups)
    captions = [_caption(run, names[i] if len(names) > 1 else "") if named else run.name for run, i in runs]
    if len(set(captions)) < len(captions):
        captions = [str(run.path) for run, _ in runs]
    common = set.intersection(*(set(run.samples) for run, _ in runs))
    steps = {
        step: {caption: run.samples[step] for caption, (run, _) in zip(captions, runs, strict=True)} for step in common
    }
    if not steps:
        last = [max(run.samples, default=None) for run, _ in runs]
        captions = [f"{caption}, step {step}" for caption, step in zip(captions, last, strict=True)]
        drawn = {
            caption: run.samples[step]
            for caption, (run, _), step in zip(captions, runs, last, strict=True)
            if step is not None
        }
        steps = {max(step for step in last if step is not None): drawn} if drawn else {}
    colors = {caption: i for caption, (_, i) in zip(captions, runs, strict=True)}
    return sequel("Samples", "samples", steps, colors)


def _caption(run: Run, group: str) -> str:
    """ "objective.divergence=kl, seed 0"."""
    first, *rest = run.seeds
    seeds = f"seeds {first} to {rest[-1]}" if rest else f"seed {first}"
    return ", ".join([*group.splitlines(), seeds])


def _rows(found: Comparison) -> dict[str, list[Row]]:
    """Analyzer -> its rows."""
    rows: dict[str, list[Row]] = {}
    for analyzer in dict.fromkeys(row.analyzer for row in found.rows):
        own = [row for row in found.rows if row.analyzer == analyzer]
        belongs = stems(row.score for row in own)
        for row in own:
            cells = [
                (_cell(cell, len(group.seeds)), ", ".join(map(str, cell.values)))
                for cell, group in zip(row.cells, found.groups, strict=True)
            ]
            rows.setdefault(analyzer, []).append(Row(row.score, belongs[row.score] != row.score, cells))
    return rows


def _cell(cell: Cell, n: int) -> str:
    """`1.234 ± 0.056`; the number of seeds stands beside it where some lack the score."""
    if not cell.values:
        return "-"
    few = f" (n={len(cell.values)})" if len(cell.values) != n else ""
    if cell.mean is None:
        return " | ".join(dict.fromkeys(map(str, cell.values))) + few
    return f"{cell.mean:.4g}" + ("" if cell.std is None else f" ± {cell.std:.2g}") + few


# ------------------------------------------------------------------ text


def _age(now: datetime, then: datetime | None) -> str:
    """ "3 days"; empty where it is not known."""
    if then is None:
        return ""
    seconds = max(0.0, (now - then).total_seconds())
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return "less than a minute"


def _duration(seconds: float | None) -> str:
    """ "2 min 7 s"; empty where it is not known."""
    if seconds is None:
        return ""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest:.0f} s" if minutes else f"{rest:.2g} s"


def _flat(table: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Dotted name and value of everything in a table."""
    found = []
    for key, value in table.items():
        if isinstance(value, Mapping) and value:
            found += _flat(value, f"{prefix}{key}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            found.append((f"{prefix}{key}", text))
    return found


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


# ------------------------------------------------------------------ rendering


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("gflow_core.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # JSON has no NaN: one that got this far is a defect, not something to hand to a browser.
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False}
    environment.filters["size"] = lambda n: f"{n / 1e6:.1f} MB" if n >= 1e5 else f"{n / 1e3:.1f} kB"
    return environment


def _render(template: str, charts: Sequence[Chart], **values: Any) -> str:
    static = files("gflow_core.report") / "static"
    return (
        _environment()
        .get_template(template)
        .render(
            charts=charts,
            chart_data=[chart.as_json() for chart in charts],
            style=Markup((static / "report.css").read_text(encoding="utf-8")),
            script=Markup((static / "report.js").read_text(encoding="utf-8")),
            plotly=_plotly() if charts else "",
            **values,
        )
    )


def _plotly() -> Markup:
    """plotly.js itself."""
    from plotly.offline import get_plotlyjs

    return Markup(get_plotlyjs())
