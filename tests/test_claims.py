"""The ledger, benchmarks/claims: rows are sound and go on, verdicts follow the numbers, the page what was recorded."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from gflow_core.cli import main as command_line
from gflow_core.recipes.recipe import load

CLAIMS = Path(__file__).parents[1] / "benchmarks" / "claims"


@pytest.fixture(scope="module")
def claims():
    """The modules of the ledger, which are scripts in one folder; no paper is left out where all plugins are there."""
    for plugin in ("gflow_far", "gflow_rmt", "gflow_dcgan", "gflow_vgrow", "gflow_drift"):
        pytest.importorskip(plugin)
    sys.path.insert(0, str(CLAIMS))
    try:
        import kit
        import page
    finally:
        sys.path.remove(str(CLAIMS))
    return page, kit


def test_the_page_is_what_was_recorded(claims):
    page, _ = claims
    assert page.PAGE.read_text() == page.text(), "python benchmarks/claims/page.py"


def test_rows_are_sound_recipes_and_have_what_is_recorded_of_them(claims):
    page, _ = claims
    for paper in page.PAPERS:
        for name, row in paper.ROWS.items():
            for words in row.commands(max(row.steps, 1)):
                spec = load(row.path, words[1:]).spec
                assert set(row.analyzers) <= {analysis.name for analysis in spec.analyze}, name
                assert not row.steps or spec.train.steps == row.steps
        for claim in paper.CLAIMS:
            assert all(claim.names(paper.ROWS) for _ in claim.rows), claim.says


@pytest.fixture
def row(claims, monkeypatch):
    """Two seeds of FAR on the Gaussian, looked at twice in four steps, without processes of their own."""
    _, kit = claims

    def gflow(place, *words):
        place.mkdir(parents=True, exist_ok=True)
        done = CliRunner().invoke(command_line, [str(word) for word in words])
        assert done.exit_code == 0, done.output
        (place / "log.txt").open("a").write(f"{words[0]}\n")

    monkeypatch.setattr(kit, "gflow", gflow)
    monkeypatch.chdir(kit.ROOT)
    few = ('analyze=[{ use = "two_sample", samples = 20, projections = 3, mmd_samples = 20 }]', "dataset.n=100")
    return kit.Row(
        recipe="far_gaussian", words=few, steps=4, every=2, seeds=2, replicas=True, scores=("two_sample:sliced_w2",)
    )


def test_a_row_is_run_once_goes_on_and_is_recorded(claims, row, tmp_path, monkeypatch, capsys):
    _, kit = claims
    monkeypatch.setattr(kit, "RECORDED", tmp_path / "recorded")
    kit.RECORDED.mkdir()
    given = ["--runs", str(tmp_path / "runs"), "--jobs", "1"]
    tables = [("Distances.", "*", {"sliced W2": ("two_sample:sliced_w2", 3, 1.0)})]

    def main(*words):
        kit.main("far", "about", {"plane/far": row, "plane/other": row}, tables, [*given, *words])
        return capsys.readouterr().out

    assert "| `plane/far` | 2, 2 of 4 |" in main("--rows", "plane/far", "--steps", "2")
    main("--rows", "plane/far", "--record")
    assert kit.Recorded.read("far")["plane/far"].looked("two_sample:sliced_w2") == [2]
    assert "two_sample:sliced_w2 after 2:" in main("--rows", "plane/far")  # beside what is recorded
    main("--rows", "plane/far")
    assert (tmp_path / "runs/far/plane/far/run0/log.txt").read_text().split() == ["run", "resume"]

    before = kit.Recorded.read("far")["plane/far"]("two_sample:sliced_w2")
    main("--rows", "plane/far", "--record")
    found = kit.Recorded.read("far")["plane/far"]
    assert found.looked("two_sample:sliced_w2") == [2, 4]
    assert found("two_sample:sliced_w2", 2) == before
    assert len(found("two_sample:sliced_w2")) == 2
    assert (found.row["precision"], found.row["compiled"], found.row["of"]) == ("float32", False, 4)
    assert found.row["command"].startswith("gflow run recipes/far_gaussian.toml ")


def test_a_row_that_fails_says_where_its_log_is(claims, tmp_path):
    _, kit = claims
    with pytest.raises(RuntimeError, match=r"exit code 2; see .*log\.txt"):
        kit.gflow(tmp_path, "run", "recipes/none.toml")
    assert "none.toml" in (tmp_path / "log.txt").read_text()


def test_a_score_in_a_table_is_found_by_the_beginning_of_its_line(claims, tmp_path):
    _, kit = claims
    place = tmp_path / "analysis" / "rmt.noise_laws"
    place.mkdir(parents=True)
    (place / "invariance_z.csv").write_text('z,ks,ks_ratio\nnormal,0.1,\n"uniform(low=0, high=1)",0.2,1.5\n')
    (place / "result.json").write_text(json.dumps({"step": 7, "scores": {}}))
    for key, value in (("uniform(low=0, high=1)", 1.5), ("normal", None), ("none", None)):
        score = f"rmt.noise_laws/invariance_z[{key}].ks_ratio"
        assert [*kit.looks(tmp_path, score)] == [(7, [value])]
        assert kit.analyzer_of(score) == "rmt.noise_laws"


# ------------------------------------------------------------------ verdicts


def test_a_difference_has_its_interval_and_its_size(claims):
    _, kit = claims
    found = kit.difference([3.0, 4.0, 5.0], [1.0, 2.0, 3.0])
    # Welch, four degrees of freedom: 2 +- 2.776 * sqrt(2 / 3)
    assert (found.by, found.low, found.high) == pytest.approx((2, 2 - 2.2668, 2 + 2.2668), abs=1e-3)
    assert found.effect == pytest.approx(2)
    assert found.sign == 0
    assert kit.difference([8.0] * 3, [3.0, 4.0, 5.0]).sign == 1
    assert kit.difference([1.0] * 3, [2.0] * 3).sign == -1  # no spread at all
    assert kit.difference([1.0] * 3, [1.0] * 3).sign == 0
    with pytest.raises(ValueError, match="two seeds"):
        kit.difference([1.0], [1.0, 2.0])


def made_up(kit, names, steps=100, of=100, **scores):
    """Rows that were never run: a score's name -> its value at the end, and, with a step, before."""
    rows = {}
    for name in names:
        at = {
            key: {str(steps // 2): values[0], str(steps): values[1]}
            for key, values in scores[name.split("/")[-1]].items()
        }
        rows[name] = {"seeds": 3, "steps": steps, "of": of, "scores": at}
    return kit.Recorded(rows)


def around(value):
    return [value - 0.01, value, value + 0.01]


@pytest.mark.parametrize(("far", "verdict"), [(0.5, "confirmed"), (1.5, "refuted"), (1.0, "open")])
def test_a_verdict_follows_the_numbers(claims, far, verdict):
    page, kit = claims
    paper = next(paper for paper in page.PAPERS if paper.PAPER == "far")
    names = [f"plane/gaussian/{method}" for method in paper.METHODS]
    scores = {method: {paper.W2: (around(1.0), around(far if method == "far" else 1.0))} for method in paper.METHODS}
    recorded = made_up(kit, names, **scores)
    claim = next(claim for claim in paper.CLAIMS if claim.judge is paper.better_on_the_gaussian)
    assert claim.finding(recorded, paper.ROWS).verdict == verdict
    cut = claim.finding(made_up(kit, names, of=200, **scores), paper.ROWS)
    assert cut.verdict == "open"
    assert cut.measured.startswith("so far: ")
    del recorded.rows["plane/gaussian/none"]
    assert claim.finding(recorded, paper.ROWS) == kit.Finding("not run yet", "open")


@pytest.mark.parametrize(
    ("early", "late", "verdict"), [(1.0, 0.4, "confirmed"), (1.0, 1.02, "refuted"), (0.5, 0.5, "open")]
)
def test_over_fitting_is_more_than_not_getting_better(claims, early, late, verdict):
    page, kit = claims
    paper = next(paper for paper in page.PAPERS if paper.PAPER == "far")
    scores = {"r1": {paper.MEMORY: (around(early), around(late)), paper.W2: (around(1.0), around(1.0 + early - late))}}
    assert paper.over_fits_later("r1")(made_up(kit, ["plane/gaussian/r1"], **scores)).verdict == verdict
