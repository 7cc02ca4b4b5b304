"""gflow under torture: the table of docs/reliability.md.

    python benchmarks/torture [--seed 0] [--faults 2000] [--kills 100] [--jobs 2] [--only KIND ...] [--case N]

Kinds: kills (SIGKILL at random moments), flips (damage to any file of a run), folders (forged run folders), archives
(hostile data), plugins (broken foreign code), machines (odd environments). A fault is held if there is one message and
the documented exit code, no traceback, no hang, nothing changed outside the run folder, and no wrong result without a
word; a kill, if the run that was resumed ends as one that nobody killed. What fails is printed with its number: `--only
KIND --case N` repeats it, and `--keep DIR` keeps its folder.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import attrs

os.environ.update(OMP_NUM_THREADS="1", CI="1")

import kit
import torch

KINDS = {"kills": 0.0, "flips": 0.3, "folders": 0.3, "archives": 0.2, "plugins": 0.15, "machines": 0.05}
"""Kind -> its share of the faults; kills have a number of their own."""


@attrs.frozen
class Job:
    kind: str
    number: int
    seed: int
    pristine: Path
    keep: Path | None


def run(job: Job) -> tuple[Job, str, list[str]]:
    """One case: what was done, and what was wrong with what came of it."""
    rng = random.Random(f"{job.seed}.{job.kind}.{job.number}")
    root = Path(tempfile.mkdtemp(prefix=f"gflow-{job.kind}-{job.number}-"))
    os.environ["GFLOW_CACHE"] = str(root / "cache")
    try:
        what, *wrong = importlib.import_module(job.kind).case(rng, root, job.pristine)
        if wrong and job.keep is not None:
            shutil.copytree(root, job.keep / f"{job.kind}-{job.number}", symlinks=True, dirs_exist_ok=True)
        return job, what, wrong
    finally:
        shutil.rmtree(root, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", nargs="*", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--case", type=int)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)

    work = Path(tempfile.mkdtemp(prefix="gflow-torture-"))
    os.environ["GFLOW_CACHE"] = str(work / "cache")
    pristine = kit.make_run(work)
    share = sum(KINDS[kind] for kind in options.only) or 1
    jobs = []
    for kind in options.only:
        many = options.kills if kind == "kills" else round(options.faults * KINDS[kind] / share)
        numbers = range(many) if options.case is None else [options.case]
        jobs += [Job(kind, number, options.seed, pristine, options.keep) for number in numbers]

    tried, held = Counter[str](), Counter[str]()
    with multiprocessing.get_context("fork").Pool(options.jobs, maxtasksperchild=200) as pool:
        for done, (job, what, wrong) in enumerate(pool.imap_unordered(run, jobs), 1):
            tried[job.kind] += 1
            held[job.kind] += not wrong
            for line in wrong:
                print(f"{job.kind} {job.number}: {what}: {line}", flush=True)
            if done % 100 == 0:
                print(f"{done} of {len(jobs)}", file=sys.stderr, flush=True)
    print(f"\n| kind | tried | held |\n|---|---|---|   (seed {options.seed})")
    for kind in tried:
        print(f"| {kind} | {tried[kind]:,} | {held[kind]:,} |")
    shutil.rmtree(work, ignore_errors=True)
    sys.exit(sum(tried.values()) != sum(held.values()))


if __name__ == "__main__":
    main()
