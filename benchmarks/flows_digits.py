"""Methods on the same digits in the same minutes of one core: what each makes of them by its shipped recipe.

    python benchmarks/flows_digits.py [--seeds 3] [--seconds 300] [--out DIR] [--method ...] [OVERRIDES...]
    python benchmarks/flows_digits.py --out DIR --table --figure digits.png
    python benchmarks/flows_digits.py --method vgrow --seeds 1 objective.step_size=0.5

A cell is one method from one seed. It trains for --seconds of the processor's time, on one thread, in the precision
that `auto` takes. At times that grow by 2 as many samples as there are digits in its data are compared with these,
which does not count: FD(mnist_cnn.hidden), precision, recall, density and coverage. They are the digits that it trains
on, as for the recipes' own analyzers: 5,000 for VGrow, 4,500 for the others. Two halves of them stand beside.

What a recipe does over its steps it does over the time. That is drifting's rate; the others are constant.

`r1` is the adversarial game with R1 on DCGAN's networks: on FAR's samples turned black early, and stayed so, in all
five settings of weight and rates that were tried.

Drifting and its encoder see labels, the others none. The encoder is learned once, in some 20 seconds that do not count.

A finished cell is kept in --out, a file of JSON lines and a picture of samples, and not trained again. --table and
--figure show what is there, with the same overrides, and train nothing.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import mean, median

import attrs
import torch
from cells import Line, keep, kept, over_time, spread, trained, work_through
from matplotlib.figure import Figure
from matplotlib.image import imread, imsave
from matplotlib.ticker import LogLocator, StrMethodFormatter
from torch import Tensor
from torch.nn import functional

from gflow_core import Diverged, Experiment
from gflow_core.encoders.parts import MnistCnn
from gflow_core.nn.sampling import draw_from
from gflow_core.recipes.recipe import Recipe
from gflow_core.runs.analyze import looking
from gflow_core.runs.pictures import image_grid
from gflow_core.scores.features import Features
from gflow_core.scores.frechet import FeatureMoments, frechet_distance
from gflow_core.scores.prdc import prdc_scores

RECIPES = Path(__file__).parents[1] / "recipes"
ENCODER = MnistCnn(layer="hidden")
SIDE = 28
"""Pixels of a digit, which most recipes pad to 32."""

METHODS: dict[str, tuple[str, list[str]]] = {
    "vgrow": ("vgrow_mnist5k.toml", []),
    "drift": ("drift_mnist5k.toml", []),
    "far": ("far_mnist5k.toml", []),
    "r1": ("dcgan_mnist5k.toml", ['objective.penalty={ use = "r1", weight = 1.0 }']),
    "dcgan": ("dcgan_mnist5k.toml", []),
}
TITLES = {"vgrow": "VGrow", "drift": "drifting", "far": "FAR", "r1": "DCGAN, R1", "dcgan": "DCGAN"}
COLOURS = {"vgrow": "#08519c", "drift": "#d62780", "far": "#e6850e", "r1": "black", "dcgan": "#31a354"}
COLUMNS = {"FD": ("fd", 1), "precision": ("precision", 3), "recall": ("recall", 3), "coverage": ("coverage", 3)}


@attrs.frozen
class Cell:
    method: str
    seed: int
    seconds: float
    overrides: tuple[str, ...]

    def recipe(self) -> Recipe:
        name, words = METHODS[self.method]
        return Recipe.load(RECIPES / name, "train.device=cpu", *words, *self.overrides, f"train.seed={self.seed}")

    def path(self, folder: Path) -> Path:
        return folder / f"{self.method}-s{self.seed}.jsonl"

    def head(self) -> Line:
        """All that its scores depend on."""
        return {**attrs.asdict(self), "overrides": list(self.overrides), "words": METHODS[self.method][1]}


def scores(experiment: Experiment) -> Line:
    """Of as many samples as there are digits, of the same z each time; none where they are not finite."""
    assert experiment.data is not None
    n = len(experiment.data)
    with looking(experiment, "scores", 0) as subject:
        features = Features.of(subject, ENCODER, 250)
        real = features.real(n)
        found: Line = {"digits": n, "halves": compared(*real.tensor_split(2)), "training": subject.runtime.precision}
        try:
            return found | compared(real, features.fake(n))
        except Diverged:
            return found


def compared(real: Tensor, fake: Tensor) -> dict[str, float]:
    """Scores of features fake [m, d] against real [n, d]."""
    return {"fd": frechet_distance(FeatureMoments.of(real), FeatureMoments.of(fake)), **prdc_scores(real, fake, 5)}


def draw(experiment: Experiment, path: Path) -> None:
    """Ten samples in a row, as a PNG."""
    assert experiment.data is not None
    with looking(experiment, "picture", 0) as subject:
        x = next(draw_from(subject, 10)).float()
    x = functional.pad(x, [(SIDE - x.shape[-1]) // 2] * 4)  # a negative one cuts
    imsave(path, image_grid(x.nan_to_num(), experiment.data.shape, 10))


def run(folder: Path, cell: Cell) -> str:
    """Trains, scores and keeps the cell, unless that is done; a word on it."""
    path, head = cell.path(folder), cell.head()
    if kept(path, head):
        return ""
    spec = cell.recipe().spec
    assert spec.train is not None
    experiment, lines = trained(spec, [cell.seconds / 2**i for i in range(5)], spec.train.steps, scores)
    draw(experiment, path.with_suffix(".png"))
    keep(path, head, lines)
    distances = ", ".join(f"{line.get('fd', math.nan):.1f} at {line['seconds']:.0f} s" for line in lines)
    return f"{lines[-1]['steps']} steps in {lines[-1]['training']}, FD {distances}"


# ------------------------------------------------------------------ what came of it


Found = dict[str, list[list[Line]]]
"""Method -> the scores of each seed, in time."""


def halves(found: Found) -> dict[int, dict[str, float]]:
    """How many digits there are -> what two halves of them score against each other."""
    return {line["digits"]: line["halves"] for seeds in found.values() for line in seeds[0]}


def table(found: Found) -> Iterator[str]:
    """Markdown, a row for each method."""
    yield f"| | steps | {' | '.join(COLUMNS)} |\n|{'---|' * (2 + len(COLUMNS))}"
    for n, real in sorted(halves(found).items()):
        cells = [f"{real[key]:.{digits}f}" for key, digits in COLUMNS.values()]
        yield f"| two halves of {n:,} digits | | {' | '.join(cells)} |"
    for method, seeds in found.items():
        last = [lines[-1] for lines in seeds]
        cells = [
            spread([line[key] for line in last if key in line], digits, len(last)) for key, digits in COLUMNS.values()
        ]
        yield f"| {TITLES[method]} | {mean(line['steps'] for line in last):,.0f} | {' | '.join(cells)} |"


def picture(found: Found, pictures: dict[str, Path]) -> Figure:
    """FD over seconds: medians over seeds, and all of them in a band. Below it a row of samples a method."""
    heights = [4.0, *[0.74] * len(pictures)]
    figure = Figure(figsize=(7.0, sum(heights)), layout="constrained")
    panel, *rows = figure.subplots(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    floor = mean(real["fd"] for real in halves(found).values())
    panel.axhline(floor, color="0.45", linestyle=":", linewidth=1.2, label="two halves of the data")
    for method, seeds in found.items():
        seconds, values = over_time(seeds, "fd")
        colour = COLOURS[method]
        panel.fill_between(seconds, [*map(min, values)], [*map(max, values)], color=colour, alpha=0.15, linewidth=0)
        panel.plot(
            seconds, [*map(median, values)], "o-", color=colour, linewidth=1.6, markersize=3.5, label=TITLES[method]
        )
    times = sorted({line["time"] for seeds in found.values() for lines in seeds for line in lines})
    panel.set(xscale="log", yscale="log", xlabel="seconds of training, one core", ylabel="FD(mnist_cnn.hidden)")
    panel.set_xticks(times, [f"{time:.3g}" for time in times])
    panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    panel.minorticks_off()
    panel.grid(alpha=0.25, linewidth=0.5)
    panel.spines[["top", "right"]].set_visible(False)
    figure.get_layout_engine().set(h_pad=0.02, hspace=0.0)
    figure.legend(loc="outside upper center", ncols=6, frameon=False, columnspacing=1.2, handlelength=1.4)
    for row, (method, path) in zip(rows, pictures.items(), strict=True):
        row.imshow(imread(path), interpolation="nearest")
        row.set_ylabel(TITLES[method], rotation=0, ha="right", va="center", color=COLOURS[method], fontsize="small")
        row.set(xticks=[], yticks=[])
        row.spines[:].set_visible(False)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("overrides", nargs="*", help="changes of every method's recipe")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=300.0, help="training time of a cell")
    parser.add_argument("--out", type=Path, default=Path("runs/flows_digits"), help="folder of the cells' files")
    parser.add_argument("--method", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--table", action="store_true", help="print what is there, and train nothing")
    parser.add_argument("--figure", type=Path, help="draw what is there, and train nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder = options.out
    cells = [
        Cell(method, seed, options.seconds, tuple(options.overrides))
        for seed in range(options.seeds)
        for method in options.method
    ]

    if not (options.table or options.figure):
        folder.mkdir(parents=True, exist_ok=True)
        work_through(cells, lambda cell: cell.path(folder).stem, partial(run, folder))
        return
    found: Found = {}
    pictures: dict[str, Path] = {}
    for cell in cells:
        if lines := kept(cell.path(folder), cell.head()):
            found.setdefault(cell.method, []).append(lines)
            pictures.setdefault(cell.method, cell.path(folder).with_suffix(".png"))
    if not found:
        raise SystemExit(f"{folder}: no finished cell of these settings")
    if options.table:
        print("\n".join(table(found)))
    if options.figure:
        picture(found, pictures).savefig(options.figure, dpi=130)


if __name__ == "__main__":
    main()
