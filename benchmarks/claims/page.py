"""Writes docs/claims.md and its figures from what the papers' programs recorded.

python benchmarks/claims/page.py
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import cgan
import dcgan
import far
import rmt
import vgrow
from kit import Claim, Found, Recorded, told

PAPERS = (vgrow, far, dcgan, cgan, rmt)
PAGE = Path(__file__).parents[2] / "docs" / "claims.md"
HEAD = """\
<!-- Written by benchmarks/claims/page.py from benchmarks/claims/recorded/: change those. -->

# Claims

What the papers claim about training, and what came of it here: where a claim is made, what tests it, what was measured,
and whether that confirms it, refutes it, or leaves it open and for lack of what. {counts}

Every number comes from a run that was recorded; nobody typed it. `--rows` names rows; what was stopped goes on; what is
there is not run again:

{commands}
    python benchmarks/claims/page.py      # this page, from what they recorded (--record)

A shorter run prints what it finds beside what is recorded after as many steps: `--steps 20000 --runs /tmp/again`. With
the same processor and one thread the numbers are the same; with others training takes another path, and spreads are
what compares.

± is the standard deviation over seeds. Where two settings are compared, the difference of their means stands with its
95 % interval (Welch) and its size in pooled standard deviations, d. That one is larger is confirmed where the whole
interval is above 0, in each of the cases that a claim speaks of, refuted where one is below, and open otherwise. Claims
that need another rule state it.
"""


def text(papers: tuple[ModuleType, ...] = PAPERS) -> str:
    """The page."""
    recorded = {paper: Recorded.read(paper.PAPER) for paper in papers}
    counts = Counter(claim.finding(recorded[paper], paper.ROWS).verdict for paper in papers for claim in paper.CLAIMS)
    summary = ", ".join(f"{counts[verdict]} {verdict}" for verdict in ("confirmed", "refuted", "open"))
    commands = "\n".join(f"    python benchmarks/claims/{paper.PAPER}.py --rows '*'" for paper in papers)
    head = HEAD.format(counts=f"Of {sum(counts.values())} claims: {summary}.", commands=commands)
    return "\n".join([head, *(line for paper in papers for line in section(paper, recorded[paper]))])


def section(paper: ModuleType, recorded: Recorded) -> Iterator[str]:
    yield f"## {paper.TITLE}\n"
    if picture_of(paper).exists():
        yield f"![{paper.PICTURE}](images/{picture_of(paper).name})\n"
    yield "| claim | where | rows | seeds, length | measured | verdict |"
    yield "|---|---|---|---|---|---|"
    for claim in paper.CLAIMS:
        found = claim.finding(recorded, paper.ROWS)
        rows = " ".join(f"`{name}`" for name in claim.rows)
        cells = [claim.says, claim.where, rows, length(claim, recorded), found.measured, f"**{found.verdict}**"]
        yield f"| {' | '.join(cells)} |"
    yield ""
    if paper.NOTES:
        yield paper.NOTES
    if len(recorded):
        yield "### What was recorded\n"
        yield from made_by(recorded)
        yield from told(recorded, paper.TABLES)


def length(claim: Claim, recorded: Recorded) -> str:
    """Of the rows that a claim rests on."""
    return "; ".join(dict.fromkeys(length_of(recorded[name]) for name in claim.names(recorded)))


def length_of(found: Found) -> str:
    seeds = f"{found.row['seeds']} seed{'s' if found.row['seeds'] > 1 else ''}"
    if not found.row["of"]:
        return seeds
    cut = f" of {found.row['of']:,}" if found.steps < found.row["of"] else ""
    return f"{seeds}, {found.steps:,}{cut} steps"


def made_by(recorded: Recorded) -> Iterator[str]:
    """On what, by which versions, in what time; a line for each that differs."""
    spent: Counter[str] = Counter()
    for found in recorded.values():
        row = found.row
        how = f"{row['threads']} thread, {row['precision']}{', compiled' if row['compiled'] else ''}"
        spent[f"{row['processor']}, {how}, torch {row['torch']}, gflow {row['gflow']}"] += row["seconds"]
    for key, seconds in spent.items():
        time = f"{seconds / 3600:.1f} hours of training" if seconds else "nothing trained"
        yield f"- {key}: {time}."
    yield ""


def picture_of(paper: ModuleType) -> Path:
    return PAGE.parent / "images" / f"claims_{paper.PAPER}.png"


def main() -> None:
    for paper in PAPERS:
        if figure := paper.picture(Recorded.read(paper.PAPER)):
            figure.savefig(picture_of(paper), dpi=100)
            print(f"wrote {picture_of(paper)}")
    PAGE.write_text(text())
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
