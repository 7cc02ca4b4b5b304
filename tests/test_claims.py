"""The ledger, benchmarks/claims: rows are sound and go on, verdicts follow the numbers, the page what was recorded."""

from __future__ import annotations

import json
import shlex
import sys
from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace

import attrs
import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib.figure import Figure

from gflow_core.cli import main as command_line
from gflow_core.recipes.recipe import load

CLAIMS = Path(__file__).parents[1] / "benchmarks" / "claims"


@pytest.fixture(scope="module")
def claims():
    """The ledger's modules, which are scripts in one folder: page, ledger and rows."""
    for plugin in ("gflow_far", "gflow_rmt", "gflow_dcgan", "gflow_cgan", "gflow_vgrow", "gflow_drift"):
        pytest.importorskip(plugin)
    sys.path.insert(0, str(CLAIMS))
    try:
        import far_in_plane
        import ledger
        import page
        import rows
    finally:
        sys.path.remove(str(CLAIMS))
    papers = {paper.PAPER: paper for paper in page.PAPERS}
    return SimpleNamespace(page=page, ledger=ledger, rows=rows, far_in_plane=far_in_plane, **papers)


def test_the_page_is_what_was_recorded(claims):
    assert claims.page.PAGE.read_text() == claims.page.text(), "python benchmarks/claims/page.py"


def test_rows_are_sound_recipes_and_what_is_recorded_are_theirs(claims):
    for paper in claims.page.PAPERS:
        for name, row in paper.ROWS.items():
            for words in row.commands():
                spec = load(row.path, words[1:]).spec
                assert set(row.analyzers) <= {analysis.name for analysis in spec.analyze}, name
                assert not row.steps or spec.train.steps == row.steps
        for claim in paper.CLAIMS:
            assert all(any(fnmatch(name, pattern) for name in paper.ROWS) for pattern in claim.rows), claim.says
        for name, found in claims.ledger.Recorded.read(paper.PAPER).items():
            row = paper.ROWS[name]
            assert found.row["command"] == shlex.join(["gflow", "run", *row.commands()[0]]), name
            assert set(found.row["scores"]) <= set(row.scores), name


@pytest.fixture
def row(claims, monkeypatch):
    """Two seeds of FAR on the Gaussian, looked at twice in four steps, without processes of their own."""

    def gflow(place, *words):
        place.mkdir(parents=True, exist_ok=True)
        (place / "log.txt").open("a").write(f"{words[0]}\n")
        monkeypatch.setattr(sys, "argv", ["gflow", *words])  # which manifests keep
        return CliRunner().invoke(command_line, words).exit_code

    monkeypatch.setattr(claims.rows, "gflow", gflow)
    monkeypatch.chdir(claims.rows.ROOT)
    few = ('analyze=[{ use = "two_sample", samples = 20, projections = 3, mmd_samples = 20 }]', "dataset.n=100")
    scores = (W2, "two_sample:no_such_score")
    return claims.rows.Row(recipe="far_gaussian", words=few, steps=4, every=2, seeds=2, replicas=True, scores=scores)


W2 = "two_sample:sliced_w2"


def test_a_row_is_run_once_goes_on_and_is_recorded(claims, row, tmp_path, monkeypatch, capsys):
    recorded = claims.ledger.Recorded
    monkeypatch.setattr(claims.ledger, "RECORDED", tmp_path)
    given = ["--runs", str(tmp_path / "runs"), "--jobs", "1"]
    tables = [("Distances.", "*", {"sliced W2": (W2, 3, 1.0)})]

    def main(*words, row=row):
        claims.rows.main("far", "about", {"plane/far": row, "plane/other": row}, tables, [*given, *words])
        return capsys.readouterr()

    assert "| `plane/far` | 2 seeds, 2 of 4 steps |" in main("--rows", "plane/far", "--steps", "2").out
    said = main("--record")
    assert "1 rows" in said.out
    assert "plane/other: 0 of 1 runs are there, and none is over" in said.err
    early = recorded.read("far")["plane/far"]
    assert (early.looked(W2), early.is_cut) == ([2], True)
    assert [line.split(":")[0] for line in main("--missing", "--list").out.splitlines()] == ["plane/far", "plane/other"]
    assert f"{W2} after 2:" in main("--rows", "plane/far").out  # beside what is recorded
    main("--rows", "plane/far")
    place = tmp_path / "runs/far/plane/far/run0"
    assert (place / "log.txt").read_text().split() == ["run", "resume"]

    main("--rows", "plane/far", "--record")
    found = recorded.read("far")["plane/far"]
    assert found.looked(W2) == [2, 4]  # the second is both the end of the shorter run and a look of the longer one
    assert found(W2, 2) == early(W2)
    assert len(found(W2)) == 2
    assert (found.row["precision"], found.row["compiled"], found.row["every"]) == ("float32", False, 2)
    assert found.row["command"].startswith("gflow run recipes/far_gaussian.toml ")
    assert [line.split(":")[0] for line in main("--missing", "--list").out.splitlines()] == ["plane/other"]

    manifest = next(place.glob("*-001/manifest.json"))
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "diverged": "step 5: it is nan"}))
    main("--rows", "plane/far", row=attrs.evolve(row, steps=6))
    assert (place / "log.txt").read_text().split() == ["run", "resume"]  # it would end there again

    other = attrs.evolve(row, words=(*row.words, "objective.candidates=128"))
    assert (
        "was run with other words: objective.candidates=128" in main("--rows", "plane/far", "--record", row=other).err
    )
    less = attrs.evolve(row, words=row.words[:-1])
    assert f"was run with other words: {row.words[-1]}" in main("--rows", "plane/far", "--record", row=less).err


def test_samples_of_the_plane_are_drawn_where_a_run_is(claims, row, tmp_path, capsys):
    given = ["--runs", str(tmp_path / "runs"), "--jobs", "1", "--rows", "plane/far"]
    sheet = [["plane/far", "plane/other"]]
    for more in ([], ["--samples", str(tmp_path / "samples.png")]):
        claims.rows.main("far", "about", {"plane/far": row, "plane/other": row}, [], [*given, *more], sheet)
    assert capsys.readouterr().out.endswith(f"wrote {tmp_path / 'samples.png'}\n")
    assert (tmp_path / "samples.png").stat().st_size > 1_000

    folder = claims.rows.folder_of(tmp_path / "runs/far/plane/far/run0")
    full, empty = claims.rows.samples(sheet, [[folder, None]], 20).axes
    assert [len(points.get_offsets()) for points in full.collections] == [20, 20]  # real ones, and samples
    assert (full.get_title(), empty.get_title(), list(empty.collections)) == ("far", "other", [])


def test_a_run_that_fails_is_told_and_leaves_the_others(claims, row, tmp_path, capsys):
    bad = claims.rows.Row(recipe="cgan_mnist", words=("dataset.root=DATA",), steps=1, scores=("losses:sampler_loss",))
    rows = {"bad": bad, "good": row}
    with pytest.raises(SystemExit, match="1"):
        claims.rows.main(
            "far",
            "about",
            rows,
            [("Distances.", "*", {"W2": (W2, 3, 1.0)})],
            ["--runs", str(tmp_path), "--jobs", "1", "--data", str(tmp_path / "none")],
        )
    said = capsys.readouterr()
    assert f"bad: exit code 2, see {tmp_path / 'far/bad/run0/log.txt'}" in said.err
    assert "| `good` | 2 seeds, 4 steps |" in said.out


def test_gflow_runs_in_one_thread_and_leaves_a_log(claims, tmp_path):
    assert claims.rows.gflow(tmp_path, "run", "recipes/none.toml") == 2
    assert "none.toml" in (tmp_path / "log.txt").read_text()


def test_seeds_of_several_runs_are_those_at_looks_that_all_had(claims, tmp_path):
    folders = [tmp_path / str(seed) for seed in range(3)]
    for seed, folder in enumerate(folders):
        place = folder / "analysis" / "frechet"
        for step, at in ((2, place / "000002"), (2 if seed == 2 else 4, place)):  # the third was stopped at 2
            at.mkdir(parents=True, exist_ok=True)
            value = "nan" if seed == 1 and step == 2 else 10 * step + seed
            (at / "result.json").write_text(json.dumps({"step": step, "scores": {"FD(mnist_cnn.hidden)": value}}))
    each = [claims.rows.looks(folder, "frechet:FD(mnist_cnn.hidden)") for folder in folders]
    assert claims.rows._of_all(dict(enumerate(each)), 3) == {2: [20, None, 22]}
    assert claims.rows._of_all({0: each[0], 1: each[1]}, 3) == {2: [20, None, None], 4: [40, 41, None]}


def test_seeds_of_one_row_may_be_recorded_one_after_the_other(claims):
    made = {"command": "gflow run x", "of": 4, "every": 2, "seeds": 3, "steps": 4, "seconds": 5}
    made |= {"processor": "A", "torch": "2", "gflow": "abc", "precision": "float32"}
    first = {**made, "missing": [1, 2], "scores": {"x": {"2": [1.0, None, None], "4": [2.0, None, None]}}}
    second = {
        **made,
        "processor": "B",
        "missing": [0, 2],
        "scores": {"x": {2: [None, 3.0, None], 4: [None, 4.0, None]}},
    }
    both = claims.rows.combined(first, second)
    assert both["scores"] == {"x": {2: [1.0, 3.0, None], 4: [2.0, 4.0, None]}}
    assert (both["missing"], both["processor"], both["seconds"], both["gflow"]) == ([2], "A and B", 10, "abc")
    found = claims.ledger.Found("row", json.loads(json.dumps(both)))
    assert (found.is_cut, found.runs_over, list(found("x"))) == (True, [0, 1], [2.0, 4.0])
    assert claims.ledger.length_of(found) == "2 of 3 seeds, 4 steps"
    claim = claims.ledger.Claim(
        says="", where="", rows=("row",), judge=lambda _: claims.ledger.Finding("", "confirmed")
    )
    assert claim.finding(claims.ledger.Recorded({"row": both}), ["row"]).lack == "2 of 3 seeds so far"

    whole = {**made, "missing": [], "scores": {"x": {2: [1.0] * 3, 4: [2.0] * 3}}}
    recorded = claims.ledger.Recorded({"row": both, "another": whole})
    seen = []
    judge = lambda rows: seen.append([*rows]) or claims.ledger.Finding("", "confirmed")  # noqa: E731
    one = claims.ledger.Claim(says="", where="", rows=("row", "another"), each=False, judge=judge)
    assert one.finding(recorded, ["row", "another"]).verdict == "confirmed"
    assert seen == [["another"]], "what was begun does not undo what others decide"

    assert claims.rows.combined(None, second) == second
    shorter = {**made, "steps": 2, "missing": [], "scores": {"x": {2: [9.0] * 3}}}
    assert claims.rows.combined(first, shorter) == first  # what came further stays
    other = {**shorter, "command": "gflow run y"}
    assert claims.rows.combined(first, other) == other


def test_a_score_in_a_table_is_found_by_the_beginning_of_its_line(claims, tmp_path):
    place = tmp_path / "analysis" / "rmt.noise_laws"
    place.mkdir(parents=True)
    (place / "invariance_z.csv").write_text('z,ks,ks_ratio\nnormal,0.1,\n"uniform(low=0, high=1)",0.2,1.5\n')
    (place / "result.json").write_text(json.dumps({"step": 7, "scores": {}}))
    for key, value in (("uniform(low=0, high=1)", 1.5), ("normal", None), ("none", None)):
        score = f"rmt.noise_laws/invariance_z[{key}].ks_ratio"
        assert claims.rows.looks(tmp_path, score) == {7: [value]}
        assert claims.rows.analyzer_of(score) == "rmt.noise_laws"


# ------------------------------------------------------------------ verdicts


def test_a_difference_has_its_interval_and_its_size(claims):
    ledger = claims.ledger
    found = ledger.difference([3.0, 4.0, 5.0], [1.0, 2.0, 3.0])
    # Welch, four degrees of freedom: 2 +- 2.776 * sqrt(2 / 3)
    assert (found.by, found.low, found.high) == pytest.approx((2, 2 - 2.2668, 2 + 2.2668), abs=1e-3)
    assert found.effect == pytest.approx(2)
    assert found.sign == 0
    assert ledger.difference([8.0] * 3, [3.0, 4.0, 5.0]).sign == 1
    assert ledger.difference([1.0] * 3, [2.0] * 3).sign == -1  # no spread at all
    assert ledger.difference([1.0] * 3, [1.0] * 3).sign == 0
    two = ledger.differences([([3.0, 4.0, 5.0], [1.0, 2.0, 3.0])] * 2)  # 4 degrees of freedom at 2.5 %: 3.495
    assert two[0].high == pytest.approx(2 + 3.4954 * (2 / 3) ** 0.5, abs=1e-3)
    with pytest.raises(ValueError, match="two seeds"):
        ledger.difference([1.0], [1.0, 2.0])


def test_a_change_of_the_same_seeds_is_paired(claims):
    values = claims.ledger.Values
    found = claims.ledger.change(values([2.0, 12.0, 22.1]), values([1.0, 11.0, 21.0]))  # 31/30 +- 4.303 / 30
    assert (found.low, found.high) == pytest.approx((31 / 30 - 0.14343, 31 / 30 + 0.14343), abs=1e-4)
    # A seed without a number is left out, and takes no other's place.
    missing = claims.ledger.change(values([2.0, None, 12.0, 22.1]), values([1.0, 3.0, 11.0, 21.0]))
    assert missing == found
    with pytest.raises(claims.ledger.TooFew):
        claims.ledger.change(values([1.0, None, 3.0]), values([None, 2.0, 3.5]))
    both = claims.ledger.changes([(values([2.0, 12.0, 22.1]), values([1.0, 11.0, 21.0]))] * 2)  # at 2.5 %: 6.205
    assert both[0].high == pytest.approx(31 / 30 + 6.2053 / 30, abs=1e-4)
    assert claims.ledger.difference([2.0, 12.0, 22.1], [1.0, 11.0, 21.0]).sign == 0
    assert [claims.ledger.against([0.9, 1.0, 1.1], level) for level in (0.5, 1.1, 1.5)] == [1, 0, -1]


def test_values_know_their_seeds_and_how_many_there_are(claims):
    ledger = claims.ledger
    found = ledger.Values([1.0, None, 3.0])
    assert (list(found), found.seeds, found.of) == ([1.0, 3.0], (0, 2), 3)
    assert ledger.spread(found, 1) == "2.0 ± 1.4 (2 of 3 seeds)"
    assert ledger.spread(ledger.Values([None]), 1) == "none"
    assert found.where([1, 2]).by_seed == {2: 3.0}
    row = ledger.Found("a", {"steps": 2, "of": 2, "scores": {"x": {"1": [1.0, None, 3.0], "2": [3.0, 2.0, 4.0]}}})
    assert row.averaged("x", [1, 2]).by_seed == {0: 2.0, 2: 3.5}


def test_a_trend_is_that_of_ranks(claims):
    ledger = claims.ledger
    falls = ledger.trend({0: [9.0, 8.0], 8: [7.0, 6.5], 32: [0.1, 0.2]})
    assert (falls.rho, falls.sign) == (pytest.approx(-0.956, abs=1e-3), -1)
    assert ledger.judged(falls, -1) == "confirmed"
    assert ledger.judged(falls, 1) == "refuted"
    assert ledger.trend({0: [1.0, 2.0], 1: [2.0, 1.0], 2: [1.5, 1.6]}).sign == 0
    with pytest.raises(ledger.TooFew, match="two settings"):
        ledger.trend({0: [1.0, 2.0, 3.0]})


def made_up(claims, names, steps=100, of=100, **scores):
    """Rows that were never run: a score's name -> its values half-way and at the end, by the row or the method."""
    rows = {}
    for name in names:
        found = scores.get(name, scores.get(name.split("/")[-1])).items()
        at = {key: {str(steps // 2): early, str(steps): late} for key, (early, late) in found}
        rows[name] = {"seeds": 3, "steps": steps, "of": of, "scores": at}
    return claims.ledger.Recorded(rows)


def around(value):
    return [value - 0.01, value, value + 0.01]


@pytest.mark.parametrize(("far", "verdict"), [(0.5, "confirmed"), (0.98, "refuted"), (1.5, "refuted"), (0.9, "open")])
def test_a_verdict_follows_the_numbers(claims, far, verdict):
    paper, names = claims.far_in_plane, ["plane/gaussian/r1", "plane/gaussian/far"]
    pulls = {paper.PULL: (around(1.0), around(1.0))}
    scores = {
        "r1": {paper.W2: (around(1.0), around(1.0)), **pulls},
        "far": {paper.W2: (around(1.0), around(far)[::-1]), **pulls},
    }
    recorded = made_up(claims, names, **scores)
    claim = next(claim for claim in paper.CLAIMS if claim.says == "FAR generalises much better than R1 on the Gaussian")
    assert claim.finding(recorded, paper.ROWS).verdict == verdict
    dead = made_up(claims, names, r1=scores["r1"] | {paper.PULL: (around(1.0), [0.0, 0.0, 1.0])}, far=scores["far"])
    lack = "2 of 3 discriminators have no gradient in plane/gaussian/r1"
    assert claim.finding(dead, paper.ROWS) == claims.ledger.Finding("", "open", lack)
    cut = claim.finding(made_up(claims, names, of=200, **scores), paper.ROWS)
    assert (cut.verdict, cut.lack) == ("open", "100 of 200 steps so far")
    ended = made_up(claims, names, of=200, **scores)
    ended.rows["plane/gaussian/r1"]["diverged"] = "step 120: sampler_loss is nan"
    assert claim.finding(ended, paper.ROWS).lack == "plane/gaussian/r1 diverged, step 120: sampler_loss is nan"
    assert claims.ledger.length_of(ended["plane/gaussian/r1"]) == "3 seeds, 100 of 200 steps, diverged"
    del recorded.rows["plane/gaussian/r1"]
    assert claim.finding(recorded, paper.ROWS) == claims.ledger.Finding("", "open", "1 of 2 rows were run")


@pytest.mark.parametrize(
    ("early", "late", "over_fits", "worse"),
    [(1.0, 0.4, "confirmed", "confirmed"), (1.0, 0.95, "refuted", "open"), (1.0, 1.02, "refuted", "refuted")],
)
def test_over_fitting_is_lying_at_fewer_points_by_more_than_a_little(claims, early, late, over_fits, worse):
    paper, row = claims.far_in_plane, "plane/gaussian/r1"
    points, w2 = (around(early), around(late)), (around(1.0), [1.0 + early - late + e for e in (-0.05, 0.04, 0.01)])
    scores = {paper.POINTS[0]: points, paper.POINTS[1]: ([1.0] * 3,) * 2, paper.PULL: (around(1.0),) * 2, paper.W2: w2}
    recorded = made_up(claims, [row], r1=scores)
    assert paper.over_fits_later(row)(recorded).verdict == over_fits
    assert paper.worse_later(row)(recorded).verdict == worse


def test_that_all_hold_needs_no_division_of_the_level_and_that_one_does_not_does(claims):
    ledger = claims.ledger
    near = ledger.Values([2.0, 3.0, 4.0])  # 3 +- 2.48 by itself, +- 3.58 as one of two
    several = ledger.changes([(near, ledger.Values([0.0] * 3))] * 2)
    assert [one.sign for one in several] == [0, 0]
    assert ledger.judged(several, 1) == "confirmed"
    assert ledger.judged(several, -1) == "open"
    assert ledger.judged([*several[:1], ledger.beyond([9.0, 9.1, 9.2], 0)], -1) == "refuted"


def test_a_claim_without_rows_is_judged_by_what_is_computed(claims):
    verdicts = {
        claim.says: claim.finding(claims.ledger.Recorded({}), {}).verdict
        for paper in claims.page.PAPERS
        for claim in paper.CLAIMS
        if not claim.rows and claim.judge
    }
    assert verdicts["KL divergence ranges over [0, 1]"] == "refuted"
    assert verdicts["JS divergence is symmetric and ranges over [0, log 2]"] == "confirmed"
    assert verdicts["The discriminator of the largest V is p / (p + q)"] == "confirmed"
    assert verdicts["The largest V is -2 log 2 and the JS divergence of eq. 4"] == "refuted"
    assert verdicts["The covariance of the model with ±1 for t differs from that of the mixture"] == "refuted"


def test_discriminators_without_a_gradient_at_the_samples_are_left_out(claims):
    paper = claims.far_in_plane
    names = [f"plane/{data}/{method}" for data in paper.LENGTHS for method in ("r1", "far")]
    scores = {
        "r1": {paper.PULL: (around(1.0), around(1.0))},
        "far": {paper.PULL: (around(1.0), [0.0, 1.5, 1.51])},
    }
    claim = next(claim for claim in paper.CLAIMS if claim.says.startswith("FAR lowers the sampler's"))
    found = claim.finding(made_up(claims, names, **scores), paper.ROWS)
    assert found.verdict == "refuted"  # by those that pull
    assert found.measured.endswith("; 4 without a gradient at the samples left out")
    scores["far"][paper.PULL] = (around(1.0), [0.0, 0.0, 1.5])
    assert (
        claim.finding(made_up(claims, names, **scores), paper.ROWS).lack
        == "2 of 3 discriminators have no gradient in plane/gaussian/far"
    )


def test_numbers_of_samples_counted_as_real_are_compared_by_rank(claims):
    paper, names = claims.far_in_plane, [f"counted/{count}_of_256" for count in claims.far_in_plane.COUNTED]
    judge = paper.with_more(paper.COUNTED, "counted/{}_of_256", paper.PULL, -1)
    pulls = dict(zip((name.split("/")[-1] for name in names), (4.0, 3.0, 2.0, 1.0), strict=True))
    falling = {name: {paper.PULL: (around(1.0), around(pull))} for name, pull in pulls.items()}
    assert judge(made_up(claims, names, **falling)).verdict == "confirmed"
    rising = {name: {paper.PULL: (around(1.0), around(5 - pull))} for name, pull in pulls.items()}
    assert judge(made_up(claims, names, **rising)).verdict == "refuted"


@pytest.mark.parametrize(
    ("modes", "quality", "verdict"),
    [([8, 8, 8], 0.95, "confirmed"), ([8, 8, 8], 0.5, "open"), ([7, 8, 8], 0.95, "open"), ([7, 7, 6], 0.95, "refuted")],
)
def test_a_ring_is_drawn_whole_by_every_seed_or_not(claims, modes, quality, verdict):
    paper, names = claims.vgrow, [f"plane/ring8/{name}" for name in claims.vgrow.DIVERGENCES]
    all_of_it = {paper.MODES: ([0] * 3, [8] * 3), paper.QUALITY: ([0.0] * 3, around(0.95))}
    scores = dict.fromkeys(paper.DIVERGENCES, all_of_it)
    scores["js"] = {paper.MODES: ([0] * 3, modes), paper.QUALITY: ([0.0] * 3, around(quality))}
    assert paper.draws_all("ring8")(made_up(claims, names, **scores)).verdict == verdict


def test_samplers_that_have_not_learnt_are_not_of_comparable_quality(claims):
    paper, names = claims.vgrow, [f"demonstration/{name}" for name in claims.vgrow.DIVERGENCES]
    for early, verdict in ((100.0, "confirmed"), (12.0, "open")):
        scores = {name: {paper.DIGITS: (around(early), around(10.0))} for name in paper.DIVERGENCES}
        assert paper.comparable("demonstration")(made_up(claims, names, **scores)).verdict == verdict
        assert paper.steady("demonstration")(made_up(claims, names, **scores)).verdict == verdict


@pytest.mark.parametrize(
    ("logd", "verdict"),
    [([9.5, 10, 10.5], "confirmed"), ([3.0, 11, 40], "open"), ([30, 30.5, 31], "refuted")],
)
def test_quality_is_comparable_where_each_two_surely_are(claims, logd, verdict):
    """A divergence that nobody can tell anything of does not hide between two that are alike."""
    paper, names = claims.vgrow, [f"demonstration/{name}" for name in claims.vgrow.DIVERGENCES]
    scores = {name: {paper.DIGITS: (around(100.0), [10.0, 10.2, 10.4])} for name in paper.DIVERGENCES}
    scores["logd"] = {paper.DIGITS: (around(100.0), logd)}
    assert paper.comparable("demonstration")(made_up(claims, names, **scores)).verdict == verdict


def test_a_seed_without_a_p_value_is_no_seed_that_was_rejected(claims):
    values = claims.ledger.Values
    assert claims.rmt.largest(values([0.01, 0.02, 0.03])) == 0.03
    assert claims.rmt.largest(values([0.01, 0.02, None], 2)) == 0.02, "one seed was not run yet"
    for without in (values([0.01, None, None]), values([None, None]), values([])):
        with pytest.raises(claims.ledger.TooFew):
            claims.rmt.largest(without)


@pytest.mark.parametrize(("early", "now", "verdict"), [(20, 10, "confirmed"), (5, 10, "refuted"), (10, 10, "open")])
def test_samples_get_better_for_each_divergence_or_worse_for_one(claims, early, now, verdict):
    paper, kinds = claims.vgrow, ("mnist/32", "mnist/64")
    names = [f"{kind}/{name}" for kind in kinds for name in paper.DIVERGENCES]
    scores = {name: {paper.DIGITS: (around(20.0), around(10.0))} for name in names}
    scores["mnist/32/js"] = {paper.DIGITS: (around(early), around(now))}
    recorded = made_up(claims, names, **scores)
    assert paper.goes_on("mnist/32")(recorded).verdict == verdict
    scores = {name: {paper.DIGITS: (around(20.0), around(10.0 if "32" in name else 5.0))} for name in names}
    scores["mnist/32/js"] = {paper.DIGITS: (around(20.0), around(0.5 * early))}
    assert paper.wider(made_up(claims, names, **scores)).verdict == verdict


def test_every_claim_is_judged_and_every_picture_drawn_once_all_rows_are_there(claims):
    draw = np.random.default_rng(0)
    for paper in claims.page.PAPERS:
        rows = {}
        for name, row in paper.ROWS.items():
            looked = range(row.every, row.steps + 1, row.every) if row.every else [row.steps]
            scores = {
                score: {str(step): draw.uniform(0.1, 0.9, row.seeds).tolist() for step in looked}
                for score in row.scores
            }
            made = {"seconds": 1, "threads": 1, "precision": "float32", "compiled": False}
            made |= {"processor": "none", "torch": "0", "gflow": "0"}
            rows[name] = {"seeds": row.seeds, "steps": row.steps, "of": row.steps, "scores": scores, **made}
        recorded = claims.ledger.Recorded(rows)
        for claim in paper.CLAIMS:
            found = claim.finding(recorded, paper.ROWS)
            assert found.verdict in ("confirmed", "refuted", "open")
            assert bool(found.measured) == (claim.judge is not None), claim.says
            assert ("onfirm" in claim.rule or "efute" in claim.rule) == (claim.judge is not None), claim.says
        assert all(panel.lines or panel.patches for panel in paper.picture(recorded).axes), paper.PAPER
        told = "\n".join(claims.page.section(paper, recorded))
        lines = [line for line in told.splitlines() if line.startswith("| ") and " | **" in line]
        assert {line.count("|") for line in lines} == {6}, "five cells each"
        assert "rows were run" not in told
        assert paper.picture(claims.ledger.Recorded({})) is None
        for there in (recorded, claims.ledger.Recorded({})):
            panel = Figure().subplots()
            assert paper.glance(panel, there) == bool(panel.lines) == bool(len(there)), paper.PAPER
