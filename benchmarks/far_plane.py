"""FAR against its baselines in the plane, over seeds: the table and the figure of docs/results.md.

    python benchmarks/far_plane.py [--seeds 5] [--steps 30000] [--jobs 2] [--out DIR] [--runs DIR] [OVERRIDES...]

Runs `gflow run recipes/far_DATA.toml` with each of the paper's four methods, all seeds of one at once
(`train.replicas`), each in a process of one thread; then prints, as mean and standard deviation over seeds, what the
recipes' analyzers found. Finished runs are kept in --runs and not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from statistics import mean, stdev

import numpy as np
from matplotlib.figure import Figure

from gflow_core.recipes.recipe import load
from gflow_core.runs.drawing import draw

ROOT = Path(__file__).parents[1]
DATA = ("gaussian", "ring8", "grid25", "swissroll")
METHODS = {
    "none": ["objective.fake_as_real=0", "objective.penalty=[]"],
    "r1": ["objective.fake_as_real=0", "objective.penalty=r1"],
    "interpolation": ["objective.fake_as_real=0", "objective.penalty=interpolation"],
    "far": [],
}
# Heading -> analyzer, score, digits, and the score of real data beside it.
COLUMNS = {
    "modes": ("mode_coverage", "modes_covered", 1, "modes_total"),
    "high quality, %": ("mode_coverage", "high_quality_share", 1, "high_quality_share_real"),
    "sliced W2": ("two_sample", "sliced_w2", 3, "sliced_w2_real"),
    "memorization ratio": ("memorization", "distance_ratio", 2, None),
    "gradient at close pairs": ("far.gradient_explosion", "close_gradient_median", 4, None),
    "close / far": ("far.gradient_explosion", "close_far_ratio", 2, None),
}


def train(data: str, method: str, options: argparse.Namespace, overrides: list[str]) -> Path:
    """All seeds of one method on one data set; the run's folder."""
    place = options.runs / f"{data}-{method}"
    folder = place / f"far_{data}-s0-001"
    if not (folder / "analysis/losses/result.json").exists():
        recipe, tenth = ROOT / f"recipes/far_{data}.toml", options.steps // 10
        evolution = [analysis.name for analysis in load(recipe).spec.analyze].index("far.evolution")
        words = [
            *METHODS[method],
            f"train.replicas={options.seeds}",
            f"train.steps={options.steps}",
            *(f"train.{name}_every={tenth}" for name in ("sample", "checkpoint")),
            "train.log_every=500",
            f"analyze.{evolution}.every={tenth}",
            *overrides,
        ]
        command = [sys.executable, "-m", "gflow_core", "run", str(recipe), *words]
        done = subprocess.run(
            [*command, "--runs", str(place)], env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
        )
        if done.returncode:
            sys.exit(done.stdout + done.stderr)
    print(f"{data} {method}: done", file=sys.stderr)
    return folder


def seeds_of(folder: Path, analyzer: str) -> list[dict[str, float]]:
    """The scores of each seed; none where the recipe has no such analyzer."""
    path = folder / "analysis" / analyzer / "result.json"
    return [entry["scores"] for entry in json.loads(path.read_text())["seeds"]] if path.exists() else []


def cell(folder: Path, heading: str) -> str:
    analyzer, score, digits, of_real = COLUMNS[heading]
    found = seeds_of(folder, analyzer)
    if not found:
        return ""
    factor = 100 if "%" in heading else 1
    values = [factor * scores[score] for scores in found if scores[score] is not None]
    if not values:  # no gradient at all, say
        return "none"
    text = f"{mean(values):.{digits}f} ± {stdev(values) if len(values) > 1 else 0:.{digits}f}"
    if of_real is None:
        return text
    real = factor * mean(scores[of_real] for scores in found)
    return f"{text} (of {real:.0f})" if heading == "modes" else f"{text} ({real:.{digits}f})"


def picture(folders: dict[tuple[str, str], Path]) -> Figure:
    """Samples of the first seed of everything, over real points."""
    figure = Figure(figsize=(12, 12.4), layout="constrained")
    axes = figure.subplots(len(DATA), len(METHODS))
    for (i, data), (j, method) in product(enumerate(DATA), enumerate(METHODS)):
        x, loaded = draw(folders[data, method], 2500)
        real = loaded.spec.dataset.load().x[:2500].numpy()
        for points, colour, label in ((real, "tab:blue", "real"), (x.numpy(), "tab:red", "generated")):
            axes[i, j].scatter(*np.asarray(points).T, s=2, c=colour, label=label, linewidths=0, alpha=0.5)
        low, high = real.min(0), real.max(0)
        margin = 0.15 * (high - low).max()
        axes[i, j].set(
            aspect="equal",
            xticks=[],
            yticks=[],
            xlim=(low[0] - margin, high[0] + margin),
            ylim=(low[1] - margin, high[1] + margin),
        )
        if i == 0:
            axes[i, j].set_title(method)
        if j == 0:
            axes[i, j].set_ylabel(data)
    axes[0, 0].legend(loc="upper left", markerscale=5, frameon=False)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=30_000)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--runs", type=Path, default=Path("runs/far_plane"))
    parser.add_argument("--out", type=Path, help="folder for far_plane.png")
    options, overrides = parser.parse_known_args()

    work = list(product(DATA, METHODS))
    with ThreadPoolExecutor(options.jobs) as pool:
        folders = dict(zip(work, pool.map(lambda w: train(*w, options, overrides), work), strict=True))

    print(f"| data | method | {' | '.join(COLUMNS)} |")
    print("|---|---" + "|---" * len(COLUMNS) + "|")
    for data, method in work:
        cells = [cell(folders[data, method], heading) for heading in COLUMNS]
        print(f"| {data} | {method} | {' | '.join(cells)} |")
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        picture(folders).savefig(options.out / "far_plane.png", dpi=100)
        print(f"wrote {options.out / 'far_plane.png'}", file=sys.stderr)


if __name__ == "__main__":
    main()
