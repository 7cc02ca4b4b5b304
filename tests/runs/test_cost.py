"""What a plan says that analyses will cost."""

from __future__ import annotations

import json

import torch

from gflow_core.recipes.recipe import load
from gflow_core.runs.build import build
from gflow_core.runs.cost import costs, samples_a_second


def test_looks_and_samples_of_each_analysis(plane):
    looks = [
        *("analyze.0=mode_coverage", "analyze.0.every=2", "analyze.0.samples=300"),  # at 2 and 4, and at the end
        *("analyze.1=losses", "analyze.1.every=4"),
        *("analyze.2=vgrow.theory", "analyze.2.samples=1000"),  # its samples are none of the sampler's
        *("analyze.3=two_sample", "analyze.3.samples=50"),
    ]
    spec = load(plane, looks).spec
    assert [(cost.looks, cost.samples) for cost in costs(spec)] == [(3, 300), (2, None), (1, None), (1, 50)]
    gone = ("~objective", "~optimizer", "~train.steps", "~discriminator")
    assert [(cost.looks, cost.samples) for cost in costs(load(plane, [*gone, looks[0]]).spec)] == [(1, 2500)]


def test_drawing_is_measured_without_a_trace(plane):
    experiment = build(load(plane).spec)
    before = {name: value.clone() for name, value in experiment.sampler.state_dict().items()}
    training, drawn = experiment.sampler.training, torch.get_rng_state()
    assert samples_a_second(experiment) > 0
    assert experiment.sampler.training == training
    assert torch.get_rng_state().equal(drawn)
    assert all(value.equal(before[name]) for name, value in experiment.sampler.state_dict().items())


def test_the_plan_says_it(gflow, plane):
    looks = ("analyze.0=mode_coverage", "analyze.0.every=2", "analyze.0.samples=300", "analyze.1=losses")
    plan = json.loads(gflow("run", plane, "--dry-run", "--json", *looks).output)
    assert [(one["name"], one["looks"], one["samples"]) for one in plan["analyze"]] == [
        ("mode_coverage", 3, 300),
        ("losses", 1, None),
    ]
    drawing = plan["drawing"]
    assert drawing["samples"] == 900
    assert drawing["seconds"] == 900 / drawing["samples_a_second"]
    text = " ".join(gflow("run", plane, "--dry-run", *looks).output.replace("│", " ").split())
    assert "every 2 steps: 3 times 300 samples" in text
    assert "900 samples in all" in text
    nothing = json.loads(gflow("run", plane, "--dry-run", "--json").output)
    assert nothing["drawing"] == {"samples": 0, "samples_a_second": None, "seconds": None}
