"""gflow compare: runs side by side, from what their folders say."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest
from click.testing import CliRunner

from gflow_core.cli import main
from gflow_core.errors import GflowError
from gflow_core.files.sealed import sealed
from gflow_core.scores.compare import comparable

NUMBER = count()


@pytest.fixture
def make(tmp_path, monkeypatch):
    """A run folder with results, and its path."""
    monkeypatch.chdir(tmp_path)

    def one(results, seed=0, options="", penalty='{ use = "r1", weight = 10.0 }', objective="adversarial"):
        name = f"runs/r{next(NUMBER)}"
        (tmp_path / name).mkdir(parents=True)
        recipe = f"""gflow = 1\ntitle = "ring, {penalty.count("r1")}"\n{options}
            [dataset]\nuse = "ring"\nroot = "data{seed}"\n[sampler]\nuse = "vgrow.mlp"\n
            [objective]\nuse = "{objective}"\npenalty = {penalty}\n[train]\nseed = {seed}\nsteps = 5\n
            [[analyze]]\nuse = "mode_coverage"\nname = "modes"\nevery = 0\n[[analyze]]\nuse = "two_sample"\n"""
        (tmp_path / name / "recipe.toml").write_text(recipe)
        for analyzer, body in results.items():
            folder = tmp_path / name / "analysis" / analyzer
            folder.mkdir(parents=True)
            (folder / "result.json").write_text(json.dumps({"step": 5, "scores": {}, "manifest": {}, **body}))
        return name

    return one


def scores(manifest=None, **values):
    return {"scores": values, "manifest": manifest or {"n": 10}}


def gflow(*arguments: str):
    return CliRunner().invoke(main, ["compare", *arguments])


def columns(*arguments: str):
    result = gflow(*arguments, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    rows = {f"{row['analyzer']}.{row['score']}": row["values"] for row in found["rows"]}
    return found["groups"], rows


def test_a_folder_of_runs_stands_for_them(make, tmp_path):
    runs = [make({"modes": scores(covered=v)}, seed=s) for s, v in enumerate([8, 6])]
    (tmp_path / "runs" / ".sweep").mkdir()
    assert columns("runs") == columns(*runs)
    (tmp_path / "empty").mkdir()
    assert "empty: not a run folder" in gflow("empty").stderr


def test_of_a_folder_what_is_finished_is_compared_and_the_rest_named(make, tmp_path):
    """While a sweep goes on, or after a trial diverged."""
    run = make({"modes": scores(covered=8)}, seed=0)
    make({}, seed=1)
    assert columns("runs") == columns(run)
    said = gflow("runs").stdout
    assert "left out: runs/" in said
    assert "holds no results yet: it is stopped, 0 of" in said
    assert json.loads(gflow("runs", "--json").stdout)["left_out"]


def test_long_names_break_where_their_parts_end(make):
    kinds = [f"[optimizer.discriminator]\nuse = 'adam'\nlr = {k / 10}" for k in range(1, 8)]
    said = gflow(*[make({"modes": scores(covered=1)}, options=kind) for kind in kinds]).stdout
    words = set(said.partition("──")[0].split())
    assert words == {"optimizer.", "discriminator.", *(f"lr={k / 10}" for k in range(1, 8)), "n=1", "analyzer", "score"}


NONE = '{ use = "none" }'


def test_runs_that_differ_in_seed_alone_are_one_column(make):
    runs = [make({"modes": scores(covered=v, share=0.5)}, seed=s) for s, v in enumerate([8, 6, 7])]
    runs.append(make({"modes": scores(covered=1, share=0.25)}, seed=0, penalty=NONE))
    groups, rows = columns(*runs)
    assert [group["seeds"] for group in groups] == [[0, 1, 2], [0]]
    assert groups[0]["runs"] == runs[:3]
    covered = rows["modes.covered"]
    assert covered[0] == {"n": 3, "mean": 7.0, "std": 1.0, "values": [8, 6, 7]}
    assert covered[1] == {"n": 1, "mean": 1.0, "std": None, "values": [1]}
    text = gflow(*runs).stdout
    assert "7 ± 1" in text
    assert "0.5 ± 0" in text
    assert "0.25 ±" not in text
    assert "n=3" in text
    assert "standard deviation" in text


def test_columns_are_named_by_the_options_in_which_recipes_differ(make):
    """Below another `use` only what differs among those that use it counts."""
    results = {"modes": scores(covered=1)}
    kinds = [NONE, '{ use = "r1", weight = 10.0 }', '{ use = "r1", weight = 1.0 }']
    groups, _ = columns(*[make(results, penalty=kind) for kind in kinds])
    assert [group["name"] for group in groups] == [
        "objective.penalty.use=none",
        "objective.penalty.use=r1\nobjective.penalty.weight=10.0",
        "objective.penalty.use=r1\nobjective.penalty.weight=1.0",
    ]
    assert groups[1]["options"] == {"objective.penalty.use": "r1", "objective.penalty.weight": 10.0}
    groups, _ = columns(make(results, penalty=NONE), make(results, objective="vgrow.flow"))
    assert [group["name"] for group in groups] == ["objective.use=adversarial", "objective.use=vgrow.flow"]
    groups, _ = columns(make(results), make(results, options="[optimizer.sampler]\nuse = 'adam'\nlr = 0.1"))
    assert [group["name"] for group in groups] == ["optimizer.sampler.use=unset", "optimizer.sampler.use=adam"]
    groups, _ = columns(make(results))
    assert groups[0]["name"] == "ring, 1", "an only group goes by its title"


def test_several_seeds_in_one_folder(make):
    def pooled(*values):
        seeds = [{"seed": 5 + i, "scores": {"covered": v}} for i, v in enumerate(values)]
        return {"modes": {**scores(covered=99, **{"covered (std)": 99}), "seeds": seeds}}

    run = make(pooled(1, 2, 3), seed=5)
    groups, rows = columns(run, make({"modes": scores(covered=6)}, seed=9))
    assert groups[0]["seeds"] == [5, 6, 7, 9]
    assert set(rows) == {"modes.covered"}
    assert rows["modes.covered"][0]["values"] == [1, 2, 3, 6]


def test_pictures_without_scores_stop_no_comparison(make):
    one = make({"grid": {**scores({"n": 1})}, "modes": scores(covered=8)}, seed=0)
    two = make({"grid": {**scores({"n": 2})}, "modes": scores(covered=7)}, seed=1)
    _, rows = columns(one, two)
    assert list(rows) == ["modes.covered"]


def test_rows_follow_the_recipe_and_scores_may_be_missing_or_words(make):
    one = make({"two_sample": scores(mmd=0.1, net="a"), "modes": scores(covered=8)}, seed=0)
    two = make({"two_sample": scores(mmd="nan", net="b", more=None)}, seed=1)
    _, rows = columns(one, two)
    assert list(rows) == ["modes.covered", "two_sample.mmd", "two_sample.net", "two_sample.more"]
    assert rows["modes.covered"][0]["n"] == 1
    assert rows["two_sample.mmd"][0] == {"n": 2, "mean": "nan", "std": None, "values": [0.1, "nan"]}
    assert rows["two_sample.net"][0]["mean"] is None
    assert rows["two_sample.more"][0]["n"] == 0
    shown = [line.split() for line in gflow(one, two).stdout.splitlines() if line.strip()]
    assert ["modes", "covered", "8", "(n=1)"] in shown
    assert ["two_sample", "mmd", "nan"] in shown
    assert ["net", "a", "|", "b"] in shown
    assert ["more", "-"] in shown


def test_huge_scores_have_no_spread(make):
    _, rows = columns(*(make({"modes": scores(a=value)}, seed=seed) for seed, value in enumerate((1.7e308, -1.7e308))))
    assert (rows["modes.a"][0]["mean"], rows["modes.a"][0]["std"]) == (0, None)


def test_csv_has_a_line_a_score_and_group(make, tmp_path):
    runs = [make({"modes": scores(covered=v)}, seed=v) for v in (1, 2)] + [make({"modes": scores(x=3)}, penalty=NONE)]
    assert gflow(*runs, "--csv", "out.csv").exit_code == 0
    lines = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert lines[0] == {
        "analyzer": "modes",
        "score": "covered",
        "group": "objective.penalty.use=r1",
        "n": "2",
        "mean": "1.5",
        "std": str(0.5**0.5),
        "values": "1 2",
    }
    assert [(line["score"], line["n"]) for line in lines] == [
        ("covered", "2"),
        ("covered", "0"),
        ("x", "0"),
        ("x", "1"),
    ]
    assert "does not exist" in gflow(*runs, "--csv", "nowhere/out.csv").stderr


# ------------------------------------------------------------------ refusals


def test_scores_that_depend_on_other_things_are_refused(make):
    one = make({"modes": scores({"n": 10, "split": "test"}, covered=1), "two_sample": scores(mmd=1)})
    two = make({"modes": scores({"n": 20, "split": "test"}, covered=1), "two_sample": scores(mmd=2)}, seed=1)
    result = gflow(one, two)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: modes: n is 10 in {one} and 20 in {two}\n")
    assert "leave modes out: --only two_sample" in result.stderr
    _, rows = columns(one, two, "--only", "two_sample")
    assert list(rows) == ["two_sample.mmd"]


def test_an_edited_score_is_warned_of_once(make, caplog):
    one, other = make({"modes": scores(share=0.5)}), make({"modes": scores(share=0.6)}, seed=1)
    result = Path(other) / "analysis" / "modes" / "result.json"
    result.write_text(json.dumps(sealed(json.loads(result.read_text())), indent=2))
    assert gflow(one, other).exit_code == 0
    assert caplog.messages == []
    result.write_text(result.read_text().replace("0.6", "0.9"))
    assert gflow(one, other).exit_code == gflow(one, other).exit_code == 0
    assert [message.partition(": ")[0] for message in caplog.messages] == [str(result)]


def test_what_does_not_compare_is_left_out_by_name(make):
    """As sweeps and reports do, whose runs may differ in what one analyzer depends on."""
    one = make({"modes": scores({"n": 10}, covered=1), "two_sample": scores(mmd=1)})
    two = make({"modes": scores({"n": 20}, covered=1), "two_sample": scores(mmd=2)}, seed=1)
    found, left_out = comparable([Path(one), Path(two)])
    assert [(row.analyzer, row.cells[0].values) for row in found.rows] == [("two_sample", (1, 2))]
    assert left_out == [f"modes: n is 10 in {one} and 20 in {two}"]
    with pytest.raises(GflowError, match="modes: n is 10"):
        comparable([Path(one), Path(two)], ["modes"])


def test_a_key_that_one_manifest_lacks_and_another_part_of_the_same_name_differ_too(make, tmp_path):
    one, two = make({"modes": scores({"n": 1, "ema": True}, x=1)}), make({"modes": scores({"n": 1}, x=1)}, seed=1)
    assert f"modes: ema is true in {one} and unset in {two}" in gflow(one, two).stderr
    one, two = make({"modes": scores(x=1)}), make({"modes": scores(x=1)}, seed=1)
    recipe = tmp_path / two / "recipe.toml"
    recipe.write_text(recipe.read_text().replace('"mode_coverage"', '"far.modes"'))
    assert f"modes: analyzer is mode_coverage in {one} and far.modes in {two}" in gflow(one, two).stderr


def test_one_recipe_and_seed_twice_is_refused(make):
    one, two = make({"modes": scores(x=1)}), make({"modes": scores(x=1)})
    for words in ([one, two], [one, one]):
        result = gflow(*words)
        assert result.exit_code == 2
        assert f"{words[0]} and {words[1]} have one recipe and one seed, 0" in result.stderr


def test_what_is_no_run_or_has_no_results(make, tmp_path):
    empty, good = make({}), make({"modes": scores(x=1)})
    (tmp_path / "folder").mkdir()
    for words, message in (
        (["runs/none"], "runs/none: no such run folder"),
        (["folder"], "folder: not a run folder (it has no recipe.toml)"),
        ([empty], f"{empty}: holds no results yet: it is stopped, 0 of 5 steps"),
        ([good, "--only", "mods"], 'no run has results of mods; did you mean "modes"?'),
    ):
        result = gflow(*words)
        assert (result.exit_code, result.stderr.startswith(f"error: {message}")) == (2, True), result.stderr
        assert len(result.stderr.splitlines()) == 1
    assert gflow().exit_code == 2


@pytest.mark.parametrize("text", ["{", "[]", '{"scores": {}}', '{"scores": 1, "manifest": {}}'])
def test_damaged_results_are_named(make, tmp_path, text):
    run = make({"modes": scores(x=1)})
    (tmp_path / run / "analysis/modes/result.json").write_text(text)
    result = gflow(run)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {run}/analysis/modes/result.json: damaged (")
    (tmp_path / run / "recipe.toml").write_text("[")
    assert gflow(run).stderr.startswith(f"error: {run}/recipe.toml: damaged (")


def test_it_imports_no_torch(make):
    run = make({"modes": scores(x=1)})
    code = (
        f"import sys; from gflow_core.cli import main; main(['compare', {run!r}, '--csv', 'x.csv'], "
        "standalone_mode=False); heavy = {'torch', 'numpy', 'matplotlib'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_an_unfinished_run_does_not_count_among_finished_ones(make):
    runs = [make({"modes": scores(covered=8)}, seed=0), make({"modes": {**scores(covered=1), "step": 3}}, seed=1)]
    out = gflow(*runs)
    assert out.exit_code == 2
    assert "after step 5" in out.output
    assert "after step 3" in out.output


def test_overrides_are_no_difference_of_their_own(make):
    same = {"n": 10}
    runs = [
        make({"modes": scores(same, covered=8)}, seed=0),
        make({"modes": scores({**same, "overrides": ["train.device=cpu"]}, covered=7)}, seed=1),
    ]
    assert columns(*runs)[1]["modes.covered"][0]["mean"] == 7.5


def test_only_what_is_asked_for_is_read(make, tmp_path):
    run = make({"modes": scores(covered=8), "two_sample": scores(w2=1.0)})
    (tmp_path / run / "analysis/two_sample/result.json").write_text("{")
    assert gflow(run).exit_code == 2
    assert columns(run, "--only", "modes")[1]["modes.covered"][0]["mean"] == 8
