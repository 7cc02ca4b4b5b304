"""Every velocity on equal terms in the plane: what it makes of the same data in the same seconds of one core.

    python benchmarks/flows.py [--seeds 5] [--cell-seconds 20] [--out DIR] [--data ...] [--velocity ...] [--mode ...]
    python benchmarks/flows.py --out DIR --table --figure flows.png

A cell is one velocity on one data set, from one seed: with the sampler that all share, or particles alone. The
adversarial game with R1 on the same two networks stands beside. It trains for --cell-seconds of the processor's time,
on one thread; at times that grow by the root of 2, 10,000 samples are scored, which does not count: modes, share of
high quality, sliced W2 to one half of held-out data, as the other half stands to it.

All data are of one size, a root mean square of 10 about their mean, so that a velocity has one set of options for all:
those of its recipe for VGrow's ring, which is as large. What a recipe does not say was chosen on `mixture`, which the
comparison leaves out. Rates and steps fall by a cosine over a cell's time.

A finished cell is kept in --out, a file of JSON lines, and not trained again. --table and --figure show what is there,
and train nothing. For several cores start it several times, each with --data of its own.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from functools import cache
from itertools import product
from pathlib import Path
from statistics import mean, median

import attrs
import torch
from cells import Line, keep, kept, over_time, spread, trained, work_through
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from torch import Tensor

from gflow_core import Experiment, Source, evaluating
from gflow_core.parts.plugins import plugins
from gflow_core.recipes.recipe import Recipe
from gflow_core.scores.mode_coverage import count_modes
from gflow_core.scores.sliced import sliced_wasserstein

RECIPES = Path(__file__).parents[1] / "recipes" / "base"
SAMPLES, PARTICLES = 10_000, 1_000
TURNS = 10
"""Other halves of the data that the distance of two halves is a mean of."""
TICKS = 1000
"""Steps that schedules count to, over a cell's time."""
REACH = 5
"""How many times the distance of the data's halves a velocity is timed to."""
QUALITY = "samples within 3 standard deviations of a mode, %; modes found, where not all"
SIZE = 10.0
"""Of the data: the root mean square of their distance from the mean."""
DIVERGED = 100 * SIZE

DATA = {
    "ring8": '{ use = "ring", convention = "vgrow" }',
    "grid25": '{ use = "grid", spacing = 5.0, std = 0.125 }',
    "swissroll": '{ use = "swissroll", scale = 1.04 }',
    "checkerboard": '{ use = "checkerboard", side = 6.1, std = 0.61 }',
    "circles": '{ use = "circles", radii = [11.85, 3.95], std = 0.395 }',
}
CHOSEN_ON = {
    "mixture": '{ use = "mixture", means = [[-7.5, -5], [9, -5], [0, 10]], weights = [0.5, 0.3, 0.2], '
    "covariances = [[[9, 4], [4, 4]], [[1, 0], [0, 4]], [[4, -1], [-1, 1]]] }"
}
SETS = DATA | CHOSEN_ON


def falling(start: float, end: float) -> str:
    return f'{{ use = "cosine", start = {start}, end = {end}, steps = {TICKS} }}'


ADAM = f'{{ use = "adam", lr = 1e-3, betas = [0.0, 0.99], schedule = {falling(1.0, 0.05)} }}'
RUN = ["train.device=cpu", "train.precision=float32", "train.batch_size=250", "analyze=[]"]
COMMON = [*RUN, f"objective.step_size={falling(1.0, 0.05)}"]
SAMPLER = ['sampler={ use = "vgrow.mlp" }', f"optimizer.sampler={ADAM}"]
DISCRIMINATOR = ['discriminator={ use = "vgrow.mlp" }', f"optimizer.discriminator={ADAM}"]
LEARNT = [*DISCRIMINATOR, "objective.inner_loops=20"]

# Options in units of the data, whose root mean square is 10. Those of a move hold with and without a sampler. Chosen on
# `mixture`: EPT's step of .06, .2, .6, 2, 6; the bandwidth of svgd of 2, median; the weight of R1 of 1, 10, 100.
VELOCITIES: dict[str, list[str]] = {
    "ratio, kl": [*LEARNT, "objective.velocity=vgrow.ratio"],
    "ratio, js": [*LEARNT, 'objective.velocity={ use = "vgrow.ratio", divergence = "js" }'],
    "monoflow": [*LEARNT, 'objective.velocity={ use = "vgrow.monoflow", loss = { use = "monoflow", h = "arcsinh" } }'],
    "ept": [
        *LEARNT,
        'objective.velocity={ use = "vgrow.ept", penalty = 6.0 }',  # the recipe's, whose ring is 3.6 times as small
        f"objective.step_size={falling(6.0, 0.3)}",
    ],
    "drift": ['objective.velocity={ use = "drift.field", temperatures = [0.5, 2.0, 5.0], scaled = false }'],
    "mmd": [
        f'objective.velocity={{ use = "mmd", noise = 0.3, bandwidth = {falling(10.0, 2.0)} }}',
        f"objective.step_size={falling(1.0, 4.0)}",
    ],
    "sliced": ['objective.velocity={ use = "sliced_wasserstein", projections = 50 }'],
    "sinkhorn": [
        'objective.velocity={ use = "sinkhorn", epsilon = 1.0, iterations = 20 }',
        f"objective.step_size={falling(0.5, 0.025)}",
    ],
    "svgd": ["objective.velocity=svgd"],
    "game, r1": [*DISCRIMINATOR, 'objective={ use = "adversarial", penalty = { use = "r1", weight = 10.0 } }'],
}
# How an outer loop with a sampler is made up: one move and one pass with drifting, as published.
LOOPS = {
    "drift": ["objective.inner_loops=1", "objective.projection_passes=1"],
    "mmd": ["objective.inner_loops=10", "objective.pool_size=500"],
    "sinkhorn": ["objective.inner_loops=2", "objective.pool_size=500"],
    "svgd": ["objective.inner_loops=10"],
}
COLOURS = ["#08519c", "#4292c6", "#17becf", "#7b4ab5", "#fd8d3c", "#8c2d04", "#d62780", "#f0a30a", "#31a354", "black"]
MODES = {"sampler": "with a sampler", "particles": "particles alone"}


@attrs.frozen
class Cell:
    data: str
    velocity: str
    mode: str
    seed: int

    @property
    def possible(self) -> bool:
        """A game has no particles, a spiral no known density, and a plugin may be missing."""
        if self.velocity == "drift":
            return "drift.field" in plugins().registries["flow.velocity"]
        if self.velocity == "svgd":
            return self.data != "swissroll"
        return self.velocity != "game, r1" or self.mode == "sampler"

    def words(self) -> list[str]:
        """What it changes in the recipe that flows share."""
        words = [*COMMON, f"dataset={SETS[self.data]}", f"train.seed={self.seed}"]
        if self.mode == "sampler":
            words += [*SAMPLER, *VELOCITIES[self.velocity], *LOOPS.get(self.velocity, [])]
        else:
            cloud = f'sampler={{ use = "cloud", particles = {PARTICLES}, std = 5.0 }}'
            words += [cloud, *VELOCITIES[self.velocity], f"objective.pool_size={PARTICLES}", "objective.inner_loops=1"]
        return words if self.velocity.startswith("game") else [*words, f"objective.chunk_size={PARTICLES}"]

    def recipe(self) -> Recipe:
        base = "flow_ring8.toml" if self.mode == "sampler" else "cloud_ring8.toml"
        return Recipe.load(RECIPES / base, *self.words())

    def path(self, folder: Path) -> Path:
        name = self.velocity.replace(", ", "_")
        return folder / f"{self.data}-{name}-{self.mode}-s{self.seed}.jsonl"

    def head(self, limit: float) -> Line:
        """All that its scores depend on."""
        return {**attrs.asdict(self), "cell_seconds": limit, "words": self.words()}


# ------------------------------------------------------------------ scores


@cache
def held_out(data: str) -> Source:
    """Points that nothing trains on: samples are compared with the first SAMPLES, as are the others, SAMPLES a turn."""
    part = Cell(data, "sliced", "particles", 0).recipe().spec.dataset
    source: Source = attrs.evolve(part, split="test", n=(1 + TURNS) * SAMPLES).load()
    return source


def scores(data: str, x: Tensor) -> dict[str, float | None]:
    """Of samples x [SAMPLES, 2], on the CPU: sliced W2, None if it is not a number; modes where there are any."""
    source = held_out(data)
    angle = (torch.arange(64, dtype=torch.float64) + 0.5) * (math.pi / 64)
    directions = torch.stack([angle.cos(), angle.sin()], 1)
    distance = sliced_wasserstein(x.double(), source.x[:SAMPLES].double(), directions, 2)
    found: dict[str, float | None] = {"sliced_w2": distance if math.isfinite(distance) else None}
    if source.modes is not None:
        counts, share = count_modes(x, source.modes, 3.0)
        found |= {"modes": int((counts > 0).sum()), "modes_total": source.modes.count, "high_quality": share}
    return found


@cache
def real(data: str, n: int = SAMPLES) -> dict[str, float]:
    """Mean scores of n points of the data, each as often as makes SAMPLES: one draw's distance varies twofold."""
    turns = [scores(data, x[:n].repeat(SAMPLES // n, 1)) for x in held_out(data).x[SAMPLES:].split(SAMPLES)]
    return {key: mean(turn[key] for turn in turns) for key in turns[0]}


# ------------------------------------------------------------------ training


@torch.no_grad()
def drawn(experiment: Experiment, mode: str) -> Tensor:
    """SAMPLES samples, of the same z each time, or every particle as often as makes so many."""
    sampler = experiment.sampler
    assert sampler is not None
    if mode == "particles":
        particles: Tensor = sampler.particles
        return particles.repeat(SAMPLES // PARTICLES, 1)
    z = experiment.spec.sampler.latent.draw(SAMPLES, experiment.streams.fork("looking")["latent"])
    with evaluating(sampler):
        found: Tensor = sampler(z)
    return found


def run(cell: Cell, limit: float, folder: Path) -> str:
    """Trains, scores and keeps the cell, unless that is done; a word on it."""
    path, head = cell.path(folder), cell.head(limit)
    if kept(path, head):
        return ""
    times = [limit / math.sqrt(2) ** i for i in range(16)]
    _, lines = trained(cell.recipe().spec, times, TICKS, lambda made: scores(cell.data, drawn(made, cell.mode)))
    keep(path, head, lines)
    return f"{lines[-1]['steps']} steps, sliced W2 {lines[-1]['sliced_w2'] or math.nan:.3f}"


# ------------------------------------------------------------------ what came of it


Found = dict[tuple[str, str, str], list[list[Line]]]
"""Data, mode and velocity -> the scores of each seed, in time."""


def tables(mode: str, found: Found) -> Iterator[str]:
    """Markdown, a table for each score: a row for each velocity, a column for each data set."""
    sets = [data for data in SETS if any(key[:2] == (data, mode) for key in found)]
    velocities = [velocity for velocity in VELOCITIES if any(key[1:] == (mode, velocity) for key in found)]
    points = SAMPLES if mode == "sampler" else PARTICLES
    of_real: dict[str, Callable[[str], str]] = {
        "sliced W2": lambda data: f"{real(data, points)['sliced_w2']:.3f}",
        QUALITY: lambda data: f"{100 * real(data)['high_quality']:.1f}" if "modes" in real(data) else "",
    }
    cells_of = {"sliced W2": distance, QUALITY: quality, f"seconds to {REACH} times that of two halves": seconds}
    for title, cell in cells_of.items():
        yield f"{MODES[mode].capitalize()}: {title}\n"
        yield f"| velocity | {' | '.join(sets)} |\n|{'---|' * (1 + len(sets))}"
        if title in of_real:
            yield f"| {points:,} points of the data | {' | '.join(map(of_real[title], sets))} |"
        for velocity in velocities:
            seeds = [found.get((data, mode, velocity), []) for data in sets]
            cells = [cell(data, lines) if lines else "" for data, lines in zip(sets, seeds, strict=True)]
            yield f"| {velocity} | {' | '.join(cells)} |"
        yield ""


def distance(data: str, seeds: list[list[Line]]) -> str:
    """At the end."""
    last = [lines[-1]["sliced_w2"] for lines in seeds]
    far = [one for one in last if one is None or one > DIVERGED]
    return "diverges" if len(far) == len(last) else spread([one for one in last if one not in far], 3, len(last))


def quality(data: str, seeds: list[list[Line]]) -> str:
    """At the end, and how many modes were found, where that is not all of them."""
    last = [lines[-1] for lines in seeds]
    if "modes" not in last[0]:
        return ""
    text = spread([100 * line["high_quality"] for line in last], 1, len(last))
    total, modes = last[0]["modes_total"], mean(line["modes"] for line in last)
    return text if modes == total else f"{text}; {modes:.1f} of {total}"


def seconds(data: str, seeds: list[list[Line]]) -> str:
    """Until the sliced distance is no longer above that of REACH halves of the data."""
    level = REACH * real(data)["sliced_w2"]
    reached = [
        next((line["seconds"] for line in lines if (line["sliced_w2"] or math.inf) <= level), None) for lines in seeds
    ]
    return spread([one for one in reached if one is not None], 1, len(seeds))


def picture(found: Found, limit: float) -> Figure:
    """Sliced W2 over seconds, a panel for each data set and mode: medians over seeds, and all of them in a band."""
    sets = [data for data in SETS if any(key[0] == data for key in found)]
    figure = Figure(figsize=(3.1 * len(sets) + 0.6, 6.4), layout="constrained")
    axes = figure.subplots(len(MODES), len(sets), sharex=True, sharey="col", squeeze=False)
    lines = {}
    for (i, mode), (j, data) in product(enumerate(MODES), enumerate(sets)):
        panel = axes[i, j]
        floor = real(data, SAMPLES if mode == "sampler" else PARTICLES)["sliced_w2"]
        lines["real points"] = panel.axhline(floor, color="0.45", linestyle=":", linewidth=1.2)
        for velocity, colour in zip(VELOCITIES, COLOURS, strict=True):
            seconds, values = over_time(found.get((data, mode, velocity), []), "sliced_w2")
            if not seconds:
                continue
            panel.fill_between(seconds, [*map(min, values)], [*map(max, values)], color=colour, alpha=0.15, linewidth=0)
            style = "--" if velocity.startswith("game") else "-"
            (lines[velocity],) = panel.plot(seconds, [*map(median, values)], style, color=colour, linewidth=1.5)
        panel.set(xscale="log", yscale="log", xlim=(limit / 128, limit))
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axis.set_minor_formatter(NullFormatter())
        panel.grid(alpha=0.25, linewidth=0.4)
        panel.spines[["top", "right"]].set_visible(False)
        if i == 0:
            panel.set_title(data)
        if j == 0:
            panel.set_ylabel(f"{MODES[mode]}\nsliced $W_2$")
    for panel in axes[0]:  # shared down the column
        panel.set_ylim(top=min(panel.get_ylim()[1], SIZE))  # what diverges leaves the panel
    figure.supxlabel("seconds of training, one core", fontsize="medium")
    names = [name for name in (*VELOCITIES, "real points") if name in lines]
    figure.legend([lines[name] for name in names], names, loc="outside right center", frameon=False)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cell-seconds", type=float, default=20.0, help="training time of a cell")
    parser.add_argument("--out", type=Path, default=Path("runs/flows"), help="folder of the cells' files")
    parser.add_argument("--data", nargs="+", default=list(DATA), choices=list(SETS))
    parser.add_argument("--velocity", nargs="+", default=list(VELOCITIES), choices=list(VELOCITIES))
    parser.add_argument("--mode", nargs="+", default=list(MODES), choices=list(MODES))
    parser.add_argument("--table", action="store_true", help="print what is there, and train nothing")
    parser.add_argument("--figure", type=Path, help="draw what is there, and train nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    limit, folder = options.cell_seconds, options.out
    order = product(range(options.seeds), options.data, options.mode, options.velocity)  # seed by seed
    cells = [Cell(data, velocity, mode, seed) for seed, data, mode, velocity in order]
    cells = [cell for cell in cells if cell.possible]

    if not (options.table or options.figure):
        folder.mkdir(parents=True, exist_ok=True)
        work_through(cells, lambda cell: cell.path(folder).stem, lambda cell: run(cell, limit, folder))
        return
    found: Found = {}
    for cell in cells:
        if lines := kept(cell.path(folder), cell.head(limit)):
            found.setdefault((cell.data, cell.mode, cell.velocity), []).append(lines)
    for mode in options.mode if options.table else ():
        print("\n".join(tables(mode, found)))
    if options.figure:
        picture(found, limit).savefig(options.figure, dpi=110)


if __name__ == "__main__":
    main()
