"""Where training draws its random numbers: what all machines can tell; the rest is in test_gpu.py."""

from __future__ import annotations

import json

from gflow_core import load_run
from gflow_core.runs.record import RunFolder


def test_on_a_cpu_the_device_draws_what_the_host_does(gflow, plane, tmp_path, weights):
    for draws, tf32 in (("host", "false"), ("device", "true")):
        words = [f"train.draws={draws}", f"train.tf32={tf32}", "train.steps=2"]
        gflow("run", plane, *words, "--runs", tmp_path / draws)
    run = tmp_path / "device" / "plane-s0-001"
    assert weights(run) == weights(tmp_path / "host" / "plane-s0-001")
    plan = json.loads(gflow("run", plane, "train.draws=device", "train.tf32=true", "--dry-run", "--json").stdout)
    for stated in (load_run(run).manifest, plan):
        assert (stated["draws"], stated["tf32"]) == ("cpu", False)


def test_other_numbers_are_drawn_only_on_purpose(gflow, plane, tmp_path):
    """A run that drew on a GPU goes on where there is none."""
    gflow("run", plane, "train.draws=device", "train.steps=1", "--runs", tmp_path)
    run = tmp_path / "plane-s0-001"
    folder = RunFolder(run)
    folder.write_manifest({**folder.read_manifest(), "draws": "cuda"})
    refused = gflow("resume", run, "--steps", 2, code=2).output
    assert "drawn on cuda" in refused
    assert f"gflow resume {run} train.draws=host" in " ".join(refused.split())
    gflow("resume", run, "--steps", 2, "train.draws=host")
    assert load_run(run).manifest["draws"] == "cpu"
    gflow("resume", run, "--steps", 3)
