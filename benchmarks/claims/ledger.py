"""What was recorded, and how claims are judged by it."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from statistics import mean, stdev, variance
from typing import Any, Literal, Self

import attrs
from scipy import stats

RECORDED = Path(__file__).parent / "recorded"
LEVEL = 0.05

Verdict = Literal["confirmed", "refuted", "open"]
Columns = Mapping[str, tuple[str, int, float]]
"""Heading -> score, digits, factor."""
Tables = Sequence[tuple[str, str, Columns]]
"""What a table shows, a pattern of the rows in it, its columns."""


class Recorded(Mapping[str, "Found"]):
    """The recorded rows of a paper, by name."""

    def __init__(self, rows: Mapping[str, Mapping[str, Any]]) -> None:
        self.rows = rows

    @classmethod
    def read(cls, paper: str) -> Recorded:
        path = RECORDED / f"{paper}.json"
        return cls(json.loads(path.read_text()) if path.exists() else {})

    @staticmethod
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

    def __getitem__(self, name: str) -> Found:
        return Found(name, self.rows[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


class Values(tuple[float, ...]):
    """The numbers of the seeds that have one, and which seeds these are."""

    seeds: tuple[int, ...]
    of: int
    """How many seeds there are."""

    def __new__(cls, every: Sequence[float | None], of: int | None = None) -> Self:
        """`every`: in the seeds' order, None for one without; `of`, where some were not run at all."""
        self = super().__new__(cls, (value for value in every if value is not None))
        self.seeds = tuple(seed for seed, value in enumerate(every) if value is not None)
        self.of = len(every) if of is None else of
        return self

    @classmethod
    def of_seeds(cls, there: Mapping[int, float], of: int) -> Self:
        """Seed -> its number, of so many seeds."""
        return cls([there.get(seed) for seed in range(max(there, default=-1) + 1)], of)

    @property
    def by_seed(self) -> dict[int, float]:
        return dict(zip(self.seeds, self, strict=True))

    def where(self, seeds: Container[int]) -> Values:
        """Those of some seeds only."""
        return self.of_seeds({seed: value for seed, value in self.by_seed.items() if seed in seeds}, self.of)

    def through(self, function: Callable[[float], float]) -> Values:
        """What a function makes of each."""
        return self.of_seeds({seed: function(value) for seed, value in self.by_seed.items()}, self.of)


@attrs.frozen
class Found:
    """One recorded row."""

    name: str
    row: Mapping[str, Any]

    @property
    def steps(self) -> int:
        """How far it came: the last look that all scores had."""
        return int(self.row["steps"])

    @property
    def is_cut(self) -> bool:
        """Whether steps are missing, or runs."""
        return self.steps < int(self.row["of"]) or bool(self.missing)

    @property
    def missing(self) -> list[int]:
        """The runs that are not recorded, where each seed has its own."""
        return list(self.row.get("missing", ()))

    @property
    def runs_over(self) -> list[int]:
        """The runs of which there is no more to be had."""
        whole = self.steps == int(self.row["of"])
        return [i for i in range(int(self.row["seeds"])) if whole and i not in self.missing]

    @property
    def is_over(self) -> bool:
        """Whether there is no more to run: it is whole, or its numbers ended."""
        return bool(self.diverged) or not self.is_cut

    @property
    def diverged(self) -> str:
        """Where its numbers ended, and which; nothing where they did not."""
        return str(self.row.get("diverged", ""))

    def looked(self, score: str) -> list[int]:
        """The steps after which it was looked at, `steps` the last."""
        return [int(step) for step in self.row["scores"].get(score, {}) if int(step) <= self.steps]

    def __call__(self, score: str, step: int | None = None) -> Values:
        """The score's value for each seed that has one, after `step` or as far as it came."""
        at = self.row["scores"].get(score, {})
        values = at.get(str(self.steps if step is None else step)) or ()
        return Values(values, max(0, len(values) - len(self.missing)))

    def averaged(self, score: str, steps: Sequence[int]) -> Values:
        """The mean over some looks, of each seed that has the score at all of them."""
        looks = [self(score, step) for step in steps]
        shared = set(looks[0].seeds).intersection(*(look.seeds for look in looks[1:]))
        return Values.of_seeds({seed: mean(look.by_seed[seed] for look in looks) for seed in shared}, looks[0].of)


# ------------------------------------------------------------------ numbers


def spread(values: Sequence[float], digits: int = 2, factor: float = 1.0) -> str:
    """Mean and standard deviation over the seeds that have a number; how many, unless all."""
    if not values:
        return "none"
    numbers = [factor * value for value in values]
    text = f"{mean(numbers):.{digits}f}" + (f" ± {stdev(numbers):.{digits}f}" if len(numbers) > 1 else "")
    of = values.of if isinstance(values, Values) else len(values)
    return text if len(values) == of else f"{text} ({len(values)} of {of} seeds)"


class TooFew(ValueError):
    """Too few seeds for what is asked; the words say of what."""


@attrs.frozen
class Difference:
    """Of two means over seeds: the difference, its interval, and how many standard deviations it is."""

    by: float
    low: float
    high: float
    effect: float
    """Cohen's d: in pooled standard deviations, or those of the differences where seeds are paired."""
    alone: int
    """1 or -1 where its own interval, as if there were no other comparison, lies on one side of 0, else 0."""

    @classmethod
    def of(cls, by: float, error: float, freedom: float, effect: float, comparisons: int) -> Difference:
        """One with this standard error, its interval by Student's t at Bonferroni's level."""
        if error == 0:
            return cls(by, by, by, math.copysign(math.inf, by) if by else 0.0, (by > 0) - (by < 0))
        half, own = (float(stats.t.ppf(1 - LEVEL / (2 * n), freedom)) * error for n in (comparisons, 1))
        return cls(by, by - half, by + half, effect, (by > own) - (by < -own))

    @property
    def sign(self) -> int:
        """1 or -1 where the interval lies on one side of 0, else 0."""
        return (self.low > 0) - (self.high < 0)

    def told(self, digits: int = 2) -> str:
        return f"{self.by:+.{digits}f} ({self.low:+.{digits}f} to {self.high:+.{digits}f}; d = {self.effect:+.1f})"


def difference(a: Sequence[float], b: Sequence[float], of: int = 1) -> Difference:
    """How much larger a's mean is than b's (Welch), one of `of` comparisons that a claim rests on (Bonferroni).

    TooFew where one of them has fewer than two values.
    """
    n, m = len(a), len(b)
    if min(n, m) < 2:
        raise TooFew("fewer than two seeds")
    by, u, v = mean(a) - mean(b), variance(a) / n, variance(b) / m
    freedom = (u + v) ** 2 / (u**2 / (n - 1) + v**2 / (m - 1)) if u + v else math.inf
    pooled = math.sqrt(((n - 1) * variance(a) + (m - 1) * variance(b)) / (n + m - 2))
    return Difference.of(by, math.sqrt(u + v), freedom, by / pooled if pooled else 0.0, of)


def differences(pairs: Iterable[tuple[Sequence[float], Sequence[float]]]) -> list[Difference]:
    """Of all comparisons that one claim rests on."""
    pairs = list(pairs)
    return [difference(a, b, len(pairs)) for a, b in pairs]


def change(a: Values, b: Values, of: int = 1) -> Difference:
    """How much larger a is than b for the same seeds (paired), one of `of` comparisons that a claim rests on.

    Of a row later and earlier, or of two rows whose seeds share data and draws. TooFew for fewer than two seeds.
    """
    n = len(common := [seed for seed in a.seeds if seed in b.seeds])
    if n < 2:
        raise TooFew("fewer than two seeds")
    apart = [a.by_seed[seed] - b.by_seed[seed] for seed in common]
    by, spread = mean(apart), stdev(apart)
    return Difference.of(by, spread / math.sqrt(n), n - 1, by / spread if spread else 0.0, of)


def changes(pairs: Iterable[tuple[Values, Values]]) -> list[Difference]:
    """Of all comparisons that one claim rests on."""
    pairs = list(pairs)
    return [change(a, b, len(pairs)) for a, b in pairs]


@attrs.frozen
class Trend:
    """Whether values rise or fall with what they belong to: Spearman's rank correlation."""

    rho: float
    p: float

    @property
    def sign(self) -> int:
        """1 or -1 where values surely rise or fall, else 0."""
        return int(math.copysign(1, self.rho)) if self.p <= LEVEL else 0

    alone = sign

    def told(self) -> str:
        return f"rank correlation {self.rho:+.2f}, p {self.p:.2g}"


def trend(values: Mapping[int, Sequence[float]]) -> Trend:
    """Of all seeds' values with what they belong to. TooFew for fewer than two of these."""
    if len(values) < 2:
        raise TooFew("fewer than two settings")
    found = stats.spearmanr(*zip(*((at, value) for at, seeds in values.items() for value in seeds), strict=True))
    return Trend(float(found.statistic), float(found.pvalue))


def judged(found: Difference | Trend | Sequence[Difference | Trend], wanted: int) -> Verdict:
    """Confirmed where every interval lies on the wanted side of 0, refuted where one lies on the other, else open.

    That all of several are so needs each to be so by itself; that one is not, has as many chances as there are, and
    its interval is the wider for it.
    """
    every = found if isinstance(found, Sequence) else [found]
    if all(one.alone == wanted for one in every):
        return "confirmed"
    return "refuted" if any(one.sign == -wanted for one in every) else "open"


def beyond(values: Sequence[float], level: float, of: int = 1) -> Difference:
    """How far the mean, one of `of` that a claim rests on, lies above `level`. TooFew for one seed."""
    return change(Values(values), Values([level] * len(values)), of)


def against(values: Sequence[float], level: float) -> int:
    """1 or -1 where the interval of the mean lies above or below `level`, else 0. TooFew for one seed."""
    return beyond(values, level).sign


# ------------------------------------------------------------------ claims


@attrs.frozen
class Finding:
    """What was measured, in a few words with numbers, what that says about a claim, and what it lacks where open."""

    measured: str
    verdict: Verdict
    lack: str = "undecided"
    of: str = ""
    """Of how many rows the verdict is, where not of all."""

    @property
    def told(self) -> str:
        return f"**{self.verdict}**" + (f": {self.lack}" if self.verdict == "open" else "") + self.of


Judge = Callable[[Recorded], Finding]


@attrs.frozen(kw_only=True)
class Claim:
    """A claim in our words, and how the recorded rows judge it.

    It is open until all rows that match the patterns `rows` are recorded (or one of them, where `each` is False); for
    good, for what `lack` says, where nothing judges it. One without rows is judged by what its judge computes.
    """

    says: str
    where: str
    rows: tuple[str, ...] = ()
    each: bool = True
    """Whether all of its rows are asked for; otherwise those that were run whole are enough."""
    judge: Judge | None = None
    lack: str = ""
    to_the_end: bool = True
    """Whether it is open as long as one of its rows was cut."""
    hindsight: bool = False
    """Whether its rule was made, or changed, when the numbers that it judges were known."""
    ours: bool = False
    """A question of ours about the method, or a shorter or smaller run than the claim was made for."""

    @property
    def rule(self) -> str:
        """How it is judged: what its judge's docstring says."""
        if self.judge is None:
            return ""
        made_by = vars(sys.modules[self.judge.__module__])[self.judge.__qualname__.partition(".")[0]]
        return " ".join((made_by.__doc__ or "").split())

    def names(self, rows: Iterable[str]) -> list[str]:
        return [name for name in rows if any(fnmatch(name, pattern) for pattern in self.rows)]

    def finding(self, recorded: Recorded, rows: Iterable[str]) -> Finding:
        if self.judge is None:
            return Finding("", "open", self.lack)
        if not self.rows:
            return self.judge(recorded)
        wanted = self.names(rows)
        there = [name for name in wanted if name in recorded]
        if not there or (self.each and len(there) < len(wanted)):
            return Finding("", "open", f"{len(there)} of {len(wanted)} rows were run")
        cut = [recorded[name] for name in there if recorded[name].is_cut and self.to_the_end]
        if not self.each and len(cut) < len(there):
            left_out = {one.name for one in cut}
            recorded = Recorded({name: row for name, row in recorded.rows.items() if name not in left_out})
            cut = []
        try:
            found = self.judge(recorded)
        except TooFew as error:
            found = Finding("", "open", str(error))
        except (ValueError, LookupError):
            if not cut:
                raise
            found = Finding("", "open")
        if cut:
            least = min(cut, key=lambda one: (one.steps / one.row["of"], -len(one.missing)))
            ended = [f"{one.name} diverged, {one.diverged}" for one in cut if one.diverged]
            lack = ended[0] if ended else f"{so_far(least)} so far"
            return attrs.evolve(found, verdict="open", lack=lack)
        whole = sum(not (self.to_the_end and recorded[name].is_cut) for name in there if name in recorded)
        return attrs.evolve(found, of=f" (of {whole} of {len(wanted)} rows)" if whole < len(wanted) else "")


# ------------------------------------------------------------------ tables


def told(recorded: Mapping[str, Found], tables: Tables) -> Iterator[str]:
    """The tables of a paper in Markdown."""
    for title, pattern, columns in tables:
        shown = {name: found for name, found in recorded.items() if fnmatch(name, pattern)}
        if rows := {name: row for name, row in shown.items() if any(row(score) for score, *_ in columns.values())}:
            yield f"{title}\n"
            yield from table(rows, columns)
            yield ""


def table(rows: Mapping[str, Found], columns: Columns) -> Iterator[str]:
    """Markdown, a row of the ledger a line; no column that is empty in all."""
    full = {heading: of for heading, of in columns.items() if any(found(of[0]) for found in rows.values())}
    yield f"| row | seeds, length | {' | '.join(full)} |"
    yield "|---|---|" + "---|" * len(full)
    for name, found in rows.items():
        cells = [spread(found(score), digits, factor) for score, digits, factor in full.values()]
        yield f"| `{name}` | {length_of(found)} | {' | '.join(cells)} |"


def so_far(found: Found) -> str:
    """What there is of a row that was cut."""
    if found.missing:
        return f"{found.row['seeds'] - len(found.missing)} of {found.row['seeds']} seeds"
    return f"{found.steps:,} of {found.row['of']:,} steps"


def length_of(found: Found) -> str:
    of = int(found.row["seeds"])
    seeds = f"{f'{of - len(found.missing)} of ' if found.missing else ''}{of} seed{'s' if of > 1 else ''}"
    if not found.row["of"]:
        return seeds
    cut = f" of {found.row['of']:,}" if found.steps < found.row["of"] else ""
    return f"{seeds}, {found.steps:,}{cut} steps{', diverged' if found.diverged else ''}"
