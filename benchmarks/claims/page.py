"""Writes docs/claims.md and its figures from what the papers' programs recorded.

python benchmarks/claims/page.py
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

import cgan
import dcgan
import far
import rmt
import vgrow
from drawing import plain
from ledger import Claim, Recorded, length_of, told
from matplotlib.figure import Figure
from rows import Row

PAPERS = (vgrow, far, dcgan, cgan, rmt)
PAGE = Path(__file__).parents[2] / "docs" / "claims.md"
GLANCES = PAGE.parent / "images" / "claims.png"
VERDICTS = {"confirmed": "#31a354", "refuted": "#d62728", "open": "0.8"}
HEAD = """\
<!-- Written by benchmarks/claims/page.py from benchmarks/claims/recorded/: change those. -->

# Claims

What the papers claim, where, what tests it here, what was measured, and whether that confirms it, refutes it, or leaves
it open, and for lack of what. {counts}

![A panel a paper, and how many of their claims were confirmed, refuted or left open](images/{glances})

What was measured comes from a recorded run; nobody typed it. Under a claim stands the rule by which it, and those
after it without one, are judged. Each section names its programs, whose rows run in one thread each, go on where they
were stopped, and are not run again; `--list` names all, `--missing` leaves out those that are recorded whole,
`--record` records what there is, and

    python benchmarks/claims/page.py

writes this page. A row that is repeated at a shorter length, say

    python benchmarks/claims/far.py --rows plane/gaussian/far --steps 20000 --runs /tmp/again

prints what it finds beside what is recorded after as many steps: the same numbers on the same processor; on others
training takes another path, and spreads are what compares.

FD is the Fréchet distance in an encoder's features (FID, where that is Inception), sliced W2 the sliced Wasserstein-2
distance of points ([both](evaluation.md)), KS the Kolmogorov-Smirnov distance of two spectra. A claim is told in our
words; rows are named by what was run, and `gflow show` knows their parts.

DATA is where the files of MNIST, Fashion-MNIST and CIFAR-10 lie. ± is the standard deviation over seeds. Where two
settings are compared, the difference of their means stands with its 95 % interval and its size in standard deviations,
d. Seeds that share data and draws are compared one by one (paired), others by Welch's interval; where a claim speaks of
several cases, that one of them goes against it is judged at a level that is divided among them (Bonferroni). *Surely*
in a rule says that the whole interval is on that side. *With hindsight*: the rule was made, or changed, when the
numbers were known.
"""


def text(papers: tuple[ModuleType, ...] = PAPERS) -> str:
    """The page."""
    recorded = {paper: Recorded.read(paper.PAPER) for paper in papers}
    counts = {
        ours: sum((verdicts(paper, recorded[paper], ours) for paper in papers), Counter()) for ours in (False, True)
    }
    said = (
        f"Of {sum(counts[False].values())} claims {summed(counts[False])}; of {sum(counts[True].values())} questions "
        f"of ours about the same methods, smaller or shorter, {summed(counts[True])}."
    )
    return "\n".join(
        [
            HEAD.format(counts=said, glances=GLANCES.name),
            *(line for paper in papers for line in section(paper, recorded[paper])),
        ]
    )


def verdicts(paper: ModuleType, recorded: Recorded, ours: bool | None = None) -> Counter[str]:
    """Of its claims, of our questions, or of both."""
    claims = [claim for claim in paper.CLAIMS if ours is None or claim.ours == ours]
    return Counter(claim.finding(recorded, paper.ROWS).verdict for claim in claims)


def summed(counts: Counter[str]) -> str:
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS)


def section(paper: ModuleType, recorded: Recorded) -> Iterator[str]:
    yield f"## {paper.TITLE}\n"
    yield f"[The method and its paper]({paper.PAPER}.md).\n"
    yield from commands(paper, recorded)
    if paper.NOTES:
        yield paper.NOTES
    if picture_of(paper).exists():
        yield f"![{paper.PICTURE}](images/{picture_of(paper).name})\n"
    for ours, title in ((False, "claim"), (True, "question of ours")):
        claims = [claim for claim in paper.CLAIMS if claim.ours == ours]
        if claims:
            yield f"| {title} | where | rows | measured | verdict |"
            yield "|---|---|---|---|---|"
            before = ""
            for claim in claims:
                yield line_of(claim, recorded, paper.ROWS, "" if claim.rule == before else claim.rule)
                before = claim.rule
            yield ""
    if len(recorded):
        yield "### What was recorded\n"
        yield from made_by(recorded)
        yield from told(recorded, paper.TABLES)


def line_of(claim: Claim, recorded: Recorded, rows: Mapping[str, Row], rule: str) -> str:
    found = claim.finding(recorded, rows)
    lengths: dict[str, list[str]] = {}
    for name in claim.names(recorded):
        lengths.setdefault(length_of(recorded[name]), []).append(f"`{name}`")
    if len(lengths) > 1:
        shown = [f"{', '.join(names)}: {length}" for length, names in lengths.items()]
    else:
        shown = [*(f"`{pattern}`" for pattern in claim.rows), *lengths]
    small = (
        f"{rule} (With hindsight.)" if rule and claim.hindsight else "(With hindsight.)" if claim.hindsight else rule
    )
    says = f"{claim.says}<br><small>{small}</small>" if small else claim.says
    cells = [says, claim.where, "<br>".join(shown), found.measured, found.told]
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


def commands(paper: ModuleType, recorded: Recorded) -> Iterator[str]:
    """How the rows are run, a group a line: what they need, how long they are, how much of it is recorded."""
    groups: dict[str, list[str]] = {}
    for name in paper.ROWS:
        groups.setdefault(name.partition("/")[0], []).append(name)
    for group, names in groups.items():
        rows = [paper.ROWS[name] for name in names]
        data = " --data DATA" if any(row.needs_data for row in rows) else ""
        whole = sum(name in recorded and recorded[name].is_over for name in names)
        hours = sum(recorded[name].row["seconds"] for name in names if name in recorded) / 3600
        took = f", {hours:.1f} hours" if hours >= 0.05 else ""
        command = f"python benchmarks/claims/{paper.PAPER}.py --rows {group}{data}"
        yield f"    {command:72} # {whole} of {len(names)} rows recorded{took}"
    yield ""


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


def glances() -> Figure:
    """A panel a paper, and how many of their claims came out how."""
    drawn = [paper for paper in PAPERS if paper.glance(Figure().subplots(), Recorded.read(paper.PAPER))]
    figure = Figure(figsize=(11, 5.8), layout="constrained")
    panels = list(figure.subplots(2, 3 if len(drawn) > 3 else 2).flat)
    for panel, paper in zip(panels, drawn, strict=False):
        paper.glance(panel, Recorded.read(paper.PAPER))
        plain(panel)
    last, *rest = panels[len(drawn) :]
    for panel in rest:
        panel.remove()
    counts = [verdicts(paper, Recorded.read(paper.PAPER)) for paper in PAPERS]
    left = [0] * len(PAPERS)
    for verdict, colour in VERDICTS.items():
        widths = [count[verdict] for count in counts]
        names = [paper.TITLE.partition(":")[0] for paper in PAPERS]
        bars = last.barh(names, widths, left=left, color=colour, label=verdict)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    last.bar_label(bars, [" / ".join(str(of[verdict]) for verdict in VERDICTS) for of in counts], padding=3, fontsize=8)
    last.set_xlim(0, 1.25 * max(left))
    last.invert_yaxis()
    last.set(title="Claims", xlabel="of the papers, and questions of ours")
    last.legend(frameon=False, fontsize="small")
    plain(last)
    return figure


def main() -> None:
    glances().savefig(GLANCES, dpi=110)
    print(f"wrote {GLANCES}")
    for paper in PAPERS:
        if figure := paper.picture(Recorded.read(paper.PAPER)):
            figure.savefig(picture_of(paper), dpi=100)
            print(f"wrote {picture_of(paper)}")
    PAGE.write_text(text())
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
