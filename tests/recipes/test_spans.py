"""Numbers of steps in epochs and items: what is read, what is refused, and what they come to."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from gflow_core.cli import main
from gflow_core.errors import RecipeError
from gflow_core.parts.spans import Span, read_span
from gflow_core.recipes.recipe import load
from gflow_core.recipes.settling import settled, spans

FAR = str(Path(__file__).parents[2] / "recipes" / "far_ring8.toml")


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("200 epochs", 15_625),  # of 5,000 items, 64 a step
        ("1 epoch", 78),
        ("0.5 epochs", 39),
        ("3000000 images", 46_875),
        ("3_000_000 items", 46_875),
        ("3e6 images", 46_875),
        ("1item", 1),
        ("  10000   epochs ", 781_250),
    ],
)
def test_the_nearest_number_of_steps_one_at_least(text, steps):
    span = read_span(text)
    assert span is not None
    assert span.steps(5000, 64) == steps
    assert span >= 1, "it stands in for a number of steps"


@pytest.mark.parametrize("text", ["10k", "epochs", "", "x", "1 2 epochs", "200"])
def test_what_is_no_span_is_left_to_others(text):
    assert read_span(text) is None


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.steps=200 epocs", 'unknown unit "epocs"; did you mean "epochs"?'),
        ("train.steps=3 hours", 'unknown unit "hours"; write a number of steps, or as in "200 epochs" or "1e6 images"'),
        ("train.log_every=30 steps", "steps are written without a unit: 30"),
        ("train.sample_every=0 epochs", 'expected a number above 0 before "epochs", as in'),
        ("train.checkpoint_every=-1 epochs", 'got "-1 epochs"'),
        ("analyze.0.every=1,000 images", 'got "1,000 images"'),
        ("train.batch_size=1 epoch", 'expected a whole number, got the string "1 epoch"'),
    ],
)
def test_nonsense_is_refused_where_it_stands(override, message):
    result = CliRunner().invoke(main, ["resolve", FAR, override])
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: override {override}: {override.partition('=')[0]}: ")
    assert message in result.stderr


def test_epochs_want_data():
    with pytest.raises(RecipeError, match=r"dataset: epochs count the items of a \[dataset\], and there is none"):
        load(FAR, ["~dataset", "train.steps=2 epochs"])


@pytest.mark.parametrize(
    ("objective", "a_step"),
    [
        (("objective.use=adversarial",), 100),
        (("objective.use=adversarial", "objective.discriminator_steps=5"), 500),
        (("objective.discriminator_steps=2", "objective.fake_as_real=20", "objective.candidates=30"), 160),
        (("objective.use=vgrow.flow", "objective.inner_loops=4", "objective.discriminator_steps=3"), 1200),
    ],
)
def test_what_a_step_reads_is_the_objectives(objective, a_step):
    recipe = load(FAR, [*objective, "train.batch_size=100", "train.steps=6 epochs", "train.log_every=1 epoch"])
    assert recipe.spec.items_a_step() == a_step
    whole = settled(recipe, 4000, a_step).spec
    assert (whole.train.steps, whole.train.log_every) == (round(24_000 / a_step), max(1, round(4000 / a_step)))
    assert type(whole.train.steps) is int


def test_a_recipe_keeps_what_was_written_until_the_data_are_there(tmp_path):
    lr = "optimizer.sampler.schedule={ use = 'multistep', milestones = ['1 epoch', '2 epochs', 900] }"
    recipe = load(FAR, ["train.steps=3 epochs", "analyze.0.every=5000 items", lr])
    assert {place: span.text for place, span in spans(recipe.spec).items()} == {
        "train.steps": "3 epochs",
        "analyze.0.every": "5000 items",
        "optimizer.sampler.schedule.milestones.0": "1 epoch",
        "optimizer.sampler.schedule.milestones.1": "2 epochs",
    }
    (tmp_path / "far.toml").write_text(recipe.dumps())
    assert 'steps = "3 epochs"' in recipe.dumps()
    again = load(tmp_path / "far.toml")
    assert again.spec == recipe.spec
    assert spans(again.spec) == spans(recipe.spec)
    whole = settled(again, 20_000, 50)
    assert whole.spec.optimizer["sampler"].schedule.milestones == (400, 800, 900)
    assert whole.spec.analyze[0].every == 100
    assert not any(isinstance(span, Span) for span in spans(whole.spec).values())


def test_what_follows_the_steps_is_checked_once_they_are_known():
    warmer = "{ use = 'exponential', start = 0.5, factor = 1.01 }"
    recipe = load(FAR, ["train.steps=1 epoch", "train.ema={ decay = " + warmer + " }"])
    settled(recipe, 1000, 100)
    with pytest.raises(RecipeError, match=r"train\.ema\.decay: at step 71: must be >= 0 and < 1"):
        settled(recipe, 10_000, 100)
