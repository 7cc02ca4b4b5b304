"""The four divergences on the 2-D toys, over seeds: a table of docs/results.md, and a figure.

    python benchmarks/vgrow_toys.py [--seeds 3] [--jobs 2] [--out DIR] [--runs DIR] [OVERRIDES...]

Runs `gflow run recipes/vgrow_ring8.toml` and `recipes/vgrow_circles.toml` for every divergence and seed, each in a
process of one thread, then prints mode coverage as mean and standard deviation over seeds. Finished runs are kept
in --runs and not run again.
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

from gflow_core.runs.drawing import draw

ROOT = Path(__file__).parents[1]
RECIPES = ("vgrow_ring8", "vgrow_circles")
# Jeffreys' factor 1 + p/q explodes where p >> q: clipped as the authors clip it in their own 2-D runs.
DIVERGENCES = {"kl": [], "js": [], "logd": [], "jeffreys": ["objective.ratio_clip=[1.0, 100.0]"]}
# That factor is never below 1, so on the circles, where large steps lose the inner one, its step is half the others'.
SMALLER = {("vgrow_circles", "jeffreys"): ["objective.step_size=0.15"]}


def train(recipe: str, divergence: str, seed: int, runs: Path, overrides: list[str]) -> Path:
    """One run; its folder."""
    place = runs / f"{recipe}-{divergence}"
    folder = place / f"{recipe}-s{seed}-001"
    if not (folder / "analysis" / "mode_coverage" / "result.json").exists():
        own = [*DIVERGENCES[divergence], *SMALLER.get((recipe, divergence), [])]
        words = [f"objective.divergence={divergence}", f"train.seed={seed}", *own, *overrides]
        command = [sys.executable, "-m", "gflow_core", "run", str(ROOT / f"recipes/{recipe}.toml"), *words]
        done = subprocess.run(
            [*command, "--runs", str(place)], env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
        )
        if done.returncode:
            sys.exit(done.stdout + done.stderr)
    print(f"{recipe} {divergence} seed {seed}: done", file=sys.stderr)
    return folder


def scores(folder: Path) -> dict[str, float]:
    return json.loads((folder / "analysis" / "mode_coverage" / "result.json").read_text())["scores"]


def spread(values: list[float], digits: int) -> str:
    return f"{mean(values):.{digits}f} ± {stdev(values) if len(values) > 1 else 0:.{digits}f}"


def picture(folders: dict[tuple[str, str], list[Path]]) -> Figure:
    """Samples of the first seed of everything, over real points."""
    figure = Figure(figsize=(12, 6.2), layout="constrained")
    axes = figure.subplots(len(RECIPES), len(DIVERGENCES))
    for (i, recipe), (j, divergence) in product(enumerate(RECIPES), enumerate(DIVERGENCES)):
        x, loaded = draw(folders[recipe, divergence][0], 2500)
        real = loaded.spec.dataset.load().x[:2500].numpy()
        for points, colour, label in ((real, "0.75", "real"), (x.numpy(), "tab:green", "generated")):
            axes[i, j].scatter(*np.asarray(points).T, s=2, c=colour, label=label, linewidths=0)
        axes[i, j].set(aspect="equal", xticks=[], yticks=[])
        if i == 0:
            axes[i, j].set_title(divergence)
    axes[0, 0].legend(loc="center", markerscale=5, frameon=False)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--runs", type=Path, default=Path("runs/vgrow_toys"))
    parser.add_argument("--out", type=Path, help="folder for vgrow_toys.png")
    options, overrides = parser.parse_known_args()

    jobs = list(product(RECIPES, DIVERGENCES, range(options.seeds)))
    with ThreadPoolExecutor(options.jobs) as pool:
        done = list(pool.map(lambda job: train(*job, options.runs, overrides), jobs))
    folders: dict[tuple[str, str], list[Path]] = {}
    for (recipe, divergence, _), folder in zip(jobs, done, strict=True):
        folders.setdefault((recipe, divergence), []).append(folder)

    print("| data | divergence | modes covered | high quality, % | real data, % |")
    print("|---|---|---|---|---|")
    for (recipe, divergence), runs in folders.items():
        found = [scores(folder) for folder in runs]
        covered = spread([s["modes_covered"] for s in found], 1)
        quality = spread([100 * s["high_quality_share"] for s in found], 1)
        real = 100 * found[0]["high_quality_share_real"]
        name = recipe.removeprefix("vgrow_")
        print(f"| {name} | {divergence} | {covered} of {found[0]['modes_total']} | {quality} | {real:.1f} |")
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        picture(folders).savefig(options.out / "vgrow_toys.png", dpi=110)


if __name__ == "__main__":
    main()
