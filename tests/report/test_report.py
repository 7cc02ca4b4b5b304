"""The page as HTML: what it says, what it escapes, and that it needs nothing else."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import pytest

from gflow_core.files.sealed import sealed
from gflow_core.recipes.changes import BEGAN
from gflow_core.report.curves import POINTS, curve, score_charts, stems
from gflow_core.report.page import headline, score_rows, short
from gflow_core.report.pictures import FRAMES, sequel
from gflow_core.report.read import Analysis, Finding, read


def _write(path, body):
    path.write_text(json.dumps(body))


VOID = {"meta", "link", "img", "input", "br"}


class Page(HTMLParser):
    """Text, tags and embedded charts of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.html = path.read_text(encoding="utf-8")
        self.feed(self.html)
        self.close()
        assert self._open == [], "every tag is closed"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open[-1:] == ["script"]:
            self.scripts.append(data)
        elif self._open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def charts(self):
        return json.loads(self.scripts[0])

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def page(make, gflow):
    """The page of a run, made by the command."""

    def read_page(run: Path | None = None) -> Page:
        run = run or make()
        assert gflow(run).stdout == f"{run / 'report.html'}\n"
        return Page(run / "report.html")

    return read_page


# ------------------------------------------------------------------ one run


def test_what_a_page_tells(page):
    found = page()
    for words in (
        "A ring",
        "state analyzed",
        "steps 60",
        "training 30 s",
        "2026-01-02",
        "share 0.75 ± 0.013 real 0.99",
        "Look twice.",
        "n_real 500",
        "mode share 0 0.1235",
        "[sampler] vgrow.mlp 1 of",
        "width 32 128",  # set, and its default
        "gflow run",
        "000060",
        "device cpu",
    ):
        assert words in found.text
    assert "What is missing" not in found.text
    (chart,) = found.charts
    assert (chart["curves"][0]["x"], chart["curves"][0]["y"][-1]) == (
        list(range(1, 61)),
        pytest.approx(1 / 60, rel=1e-5),
    )
    assert chart["references"] == [{"name": "equilibrium", "value": 0.0}]


def test_it_needs_nothing_else(page):
    found = page()
    for tag, attributes in found.tags:
        for name in ("src", "href", "srcset", "poster", "data", "action"):
            value = attributes.get(name) or ""
            assert value.startswith(("data:", "#")) or not value, (tag, name, value[:60])
        assert tag not in ("iframe", "object", "embed", "base")
    styles = re.findall(r"<style>(.*?)</style>", found.html, re.DOTALL)
    assert all("url(" not in style and "@import" not in style for style in styles)
    policy = next(meta["content"] for meta in found.of("meta") if meta.get("http-equiv"))
    assert policy.startswith("default-src 'none'")


def test_pictures_have_words_labels_and_one_that_shows_without_a_script(page):
    found = page()
    assert all(image["alt"] for image in found.of("img"))
    assert [image["alt"] for image in found.of("img")][:3] == [f"samples, step {step}" for step in (20, 40, 60)]
    frames = [div for div in found.of("div") if (div.get("class") or "").startswith("frame")]
    assert [(div["data-step"], "current" in div["class"]) for div in frames[:3]] == [
        ("20", False),
        ("40", False),
        ("60", True),
    ]
    assert found.of("input")[0]["aria-label"] == "Samples over training: step"
    ids = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {link["href"][1:] for link in found.of("a")} <= set(ids)
    assert found.of("html")[0]["lang"] == "en"


KNOWN = """
html head meta title link style body a header p h1 dl div dt dd span time small ul li nav main section h2 h3 button
label input output noscript figure figcaption img table thead tbody tr th td data details summary code pre footer script
"""


def test_nothing_in_a_run_is_taken_for_html(page, make, hostile):
    run = make(
        title=hostile, scores={hostile: 1.5, f"{hostile}_real": 2.5, "verdict": hostile}, manifest={hostile: hostile}
    )
    name = '<b>&" onload=x.csv'
    (run / "analysis" / "modes" / name).write_text(f'"<i>x</i>",b\n{json.dumps("<script>")},2\n')
    result = run / "analysis" / "modes" / "result.json"
    result.write_text(json.dumps({**json.loads(result.read_text()), "files": [name]}))
    lines = ({"step": i, hostile: i, "seeds": {hostile: {hostile: i}}} for i in range(1, 4))
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    shutil.copytree(run / "analysis" / "modes", run / "analysis" / "<script>alert(1)<")
    found = page(run)
    assert {tag for tag, _ in found.tags} <= set(KNOWN.split())
    assert len(found.of("script")) == 3
    assert not any(image["src"] == "x" for image in found.of("img"))
    assert not any(key.startswith("on") for _, attributes in found.tags for key in attributes)
    assert hostile.split("\u2028")[0] in found.text
    assert "{{ 7 * 7 }}" in found.text
    # plotly shows names as HTML: they reach it escaped.
    assert "<" not in json.dumps([curve["name"] for chart in found.charts for curve in chart["curves"]])


def test_surrogates_cost_no_page(page, make):
    run = make(scores={"\ud800": 1.0, "nan": "nan", "none": None, "last": 1})
    assert "last 1" in page(run).text


@pytest.mark.parametrize("outside", ["../../recipe.toml.csv", "/etc/passwd", "link.csv"])
def test_a_result_shows_no_file_from_elsewhere(page, make, outside):
    run = make()
    (run / "recipe.toml.csv").write_text("secret,2\n1,2\n")
    (run / "analysis" / "modes" / "link.csv").symlink_to(run / "recipe.toml.csv")
    result = run / "analysis" / "modes" / "result.json"
    result.write_text(json.dumps({"step": 1, "scores": {}, "manifest": {}, "files": [outside]}))
    text = page(run).text
    assert "secret" not in text
    assert "root:" not in text


# ------------------------------------------------------------------ damaged, missing


def test_what_is_missing_is_named_and_the_rest_is_there(page, make, gflow):
    run = make()
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 61, "diver')
    (run / "samples" / "000040.png").write_bytes(b"\x89PNG half")
    (run / "samples" / "000020.png").write_bytes(b"")
    (run / "manifest.json").write_text("{")
    modes = run / "analysis" / "modes"
    body = json.loads((modes / "result.json").read_text())
    (run / "analysis" / "more").mkdir()
    _write(run / "analysis" / "more" / "result.json", {**body, "files": ["gone.png", "torn.csv"]})
    (run / "analysis" / "more" / "torn.csv").write_bytes(b"a,b\n\xff,1\n")
    (modes / "result.json").write_text('{"scores": 3}')
    found = page(run)
    for words in (
        "1 of 61 lines cannot be read",
        "000040.png is missing or damaged",
        "manifest.json: damaged",
        "gflow analyze",
        "A ring",
        "width 32",
        "gone.png, which is part of its result, is missing",
        "torn.csv: not a table that can be read",
    ):
        assert words in found.text
    assert len(found.of("img")) == 1
    assert "note: metrics.jsonl: 1 of 61" in gflow(run).stderr


def test_what_was_edited_is_named(page, make):
    run = make()
    manifest = {"device": "cpu", BEGAN: tomllib.loads((run / "recipe.toml").read_text())}
    _write(run / "manifest.json", {**sealed(manifest), "device": "cuda"})
    (run / "recipe.toml").write_text((run / "recipe.toml").read_text().replace("width = 32", "width = 64"))
    result = run / "analysis" / "modes" / "result.json"
    body = sealed(json.loads(result.read_text()))
    _write(result, {**body, "scores": {**body["scores"], "share": 1.0}})
    found = page(run)
    for words in (
        "manifest.json: was changed after gflow wrote it",
        "result.json: was changed after gflow wrote it",
        "sampler.width was 32 when the run began, and is 64 in recipe.toml",
    ):
        assert words in found.text
    _write(result, body)
    _write(run / "manifest.json", sealed(manifest))
    (run / "recipe.toml").write_text((run / "recipe.toml").read_text().replace("width = 64", "width = 32 # as before"))
    assert "was changed" not in page(run).text
    assert "when the run began" not in page(run).text


def test_a_recipe_whose_plugin_is_missing(page, make):
    run = make()
    text = (run / "recipe.toml").read_text()
    (run / "recipe.toml").write_text(text.replace("vgrow.flow", "gone.flow"))
    found = page(run)
    assert 'unknown objective "gone.flow"' in found.text
    assert "[sampler] vgrow.mlp 1 options" in found.text
    assert found.charts[0]["references"] == []


@pytest.mark.parametrize(
    "recipe", ["", "gflow = ", "\x00", "analyze = 3\ntrain = 1\nobjective = []", 'analyze = [1, { name = "../.." }]']
)
def test_a_bare_or_damaged_recipe_still_has_a_page(page, tmp_path, recipe):
    run = tmp_path / "bare-s0-001"
    run.mkdir()
    (run / "recipe.toml").write_text(recipe)
    found = page(run)
    assert "bare-s0-001" in found.text
    assert "What is missing" in found.text
    assert len(found.html) < 100_000, "a page without curves has no plotly.js"


def test_what_is_no_run_and_what_cannot_be_written(gflow, make, tmp_path):
    assert "no such run folder" in gflow(tmp_path / "none", code=2).stderr
    assert "not a run folder" in gflow(tmp_path, code=2).stderr
    (tmp_path / "taken").write_text("")
    assert "choose another folder" in gflow(make(), "--out", tmp_path / "taken" / "x", code=2).stderr
    assert "no run has an analysis nothing (there are modes)" in gflow(make("b"), "--only", "nothing", code=2).stderr


def test_it_starts_without_torch(make):
    code = (
        "import sys; from gflow_core.cli import main; main(standalone_mode=False); "
        "sys.exit(3 * ('torch' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, "report", str(make())], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_open_opens_it(make, gflow, monkeypatch):
    opened: list[str] = []
    monkeypatch.setattr("click.launch", opened.append)
    run = make()
    gflow(run, "--open")
    assert opened == [str(run / "report.html")]


# ------------------------------------------------------------------ several runs


def test_a_comparison_has_means_over_seeds_and_bands(make, gflow, tmp_path):
    runs = [make(f"ring-s{seed}-001", seed) for seed in (0, 1, 2)]
    runs.append(make("ring-s0-002", 0, width=48))
    gflow(*sorted(runs), "--out", tmp_path / "out")
    found = Page(tmp_path / "out" / "report.html")
    assert "share sampler.width=32 0.76 ± 0.01 sampler.width=48 0.75" in found.text
    first, second = found.charts[0]["curves"]
    assert (first["seeds"], second["seeds"]) == (3, 1)
    assert first["y"][-1] == pytest.approx(1 + 1 / 60, rel=1e-5)
    assert (first["low"][-1], first["high"][-1]) == pytest.approx((1 / 60, 2 + 1 / 60), rel=0.05)
    assert second["low"] is None
    captions = [*(f"sampler.width=32, seed {seed}" for seed in (0, 1, 2)), "sampler.width=48, seed 0"]
    assert [image["alt"] for image in found.of("img")[:4]] == [f"samples, {name}, step 20" for name in captions]
    html = (tmp_path / "out" / "report.html").read_text()
    assert html.count('<figcaption><span class="swatch c1"></span>sampler.width=48, seed 0<') == 3
    assert len(found.of("img")) == 3 * 4


def test_scores_that_do_not_compare_leave_the_rest(make, gflow, tmp_path):
    runs = [make("a-s0-001", 0), make("a-s1-001", 1, manifest={"n_real": 9})]
    assert "n_real is 500" in gflow(*runs, "--out", tmp_path).stderr
    found = Page(tmp_path / "report.html")
    assert "n_real is 500" in found.text
    assert len(found.charts[0]["curves"]) == 2
    assert {"samples, a-s0-001, step 20", "samples, a-s1-001, step 20"} <= {one["alt"] for one in found.of("img")}


def test_checksums_of_what_does_not_compare_are_short(make, gflow, tmp_path):
    runs = [make(f"a-s{i}-001", i, manifest={"sha256": f"{i}" * 64}) for i in (0, 1)]
    assert "sha256 is 00000000... in" in gflow(*runs, "--out", tmp_path).stderr
    assert "and 11111111... in" in Page(tmp_path / "report.html").text


def test_a_damaged_recipe_among_several_leaves_the_rest(make, gflow, tmp_path):
    runs = [make("a-s0-001"), make("b-s0-001")]
    (runs[1] / "recipe.toml").write_text("analyze = 3\ntrain = 1\n")
    assert "Not compared: " in gflow(*runs, "--out", tmp_path).stderr
    page = Page(tmp_path / "report.html")
    assert len(page.charts[0]["curves"]) == 2
    assert "b-s0-001" in page.text


# ------------------------------------------------------------------ parts


def test_scores_that_belong_together():
    names = ["acc", "acc_se", "acc_real", "acc_real_se", "accuracy", "FD(x)", "FD(x)_real_halves"]
    assert stems(names) == dict(zip(names, ["acc"] * 4 + ["accuracy"] + ["FD(x)"] * 2, strict=True))


def test_curves_are_thinned_smoothed_and_bounded_by_their_seeds():
    drawn = curve("x", [{i: float(i % 2) for i in range(1, 2 * POINTS + 1)}])
    assert len(drawn.steps) == POINTS
    assert drawn.steps[-1] == 2 * POINTS
    assert set(drawn.values) == {0.5}
    band = curve("x", [{1: 1.0, 2: 2.0}, {2: 4.0, 3: 5.0}])
    assert (band.steps, band.values, band.low, band.high) == ([2], [3.0], [2.0], [4.0])
    assert curve("x", []) is None
    assert curve("x", [{1: 1.0}, {2: 1.0}]) is None


def test_huge_values_are_gaps(make, page):
    run = make()
    lines = ({"step": i, "loss": 1.7e308 * (i > 60)} for i in range(1, 100))
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    smooth = page(run).charts[0]["curves"][0]["smooth"]
    assert smooth[0] == 0
    assert None in smooth


def test_scores_over_training_stand_with_what_they_compare_to():
    def at(step: int) -> Finding:
        return Finding(step, {"fd": 10.0 / step, "fd_se": 0.5, "fd_real": 1.0, "rank": 3, "name": "x"})

    charts, still = score_charts(Analysis("fd", at(3), (at(1), at(2))))
    assert [chart.title for chart in charts] == ["fd"]
    assert [drawn.name for drawn in charts[0].curves] == ["fd", "fd_real"]
    assert charts[0].curves[0].low == pytest.approx([9.5, 4.5, 10 / 3 - 0.5])
    assert still == ["rank"]


def test_the_best_checkpoint_is_ringed_and_named(page, make):
    run = make()
    recipe = (run / "recipe.toml").read_text()
    goal = '[train]\nkeep_best = "max:modes.share"\nstop_after = 40\n'
    (run / "recipe.toml").write_text(
        recipe.replace("steps = 60", "steps = 90").replace("[train]\n", goal) + "every = 20\n"
    )
    for step, share in ((20, 0.9), (40, 0.8)):
        folder = run / "analysis" / "modes" / f"{step:06d}"
        folder.mkdir()
        _write(folder / "result.json", {"step": step, "scores": {"share": share}, "manifest": {}, "files": []})
    (run / "checkpoints" / "000020").mkdir()
    _write(run / "checkpoints" / "000020" / "checkpoint.json", {})
    manifest = json.loads((run / "manifest.json").read_text())
    _write(run / "manifest.json", {**manifest, "ended": {"step": 60, "why": "it got no better"}})
    found = page(run)
    assert [chart["best"] for chart in found.charts] == [None, {"x": 20, "y": 0.9}]
    for words in (
        "state analyzed",
        "steps 60 of 90",
        "ended early it got no better",
        "best checkpoint 000020 modes.share 0.9",
        "share best 0.9 at step 20",
        "000020 0.0 kB, the best by modes.share 000060 0.0 kB",
        "--out best.png --best",
    ):
        assert words in found.text


def test_replicas_have_a_band_and_pictures_a_seed(make, page):
    run = make()
    text = (run / "recipe.toml").read_text()
    (run / "recipe.toml").write_text(text.replace("seed = 0", "seed = 0\nreplicas = 2"))
    lines = (
        {"step": i, "divergence": 2.0, "seeds": {"0": {"divergence": 1.0}, "1": {"divergence": 3.0}}} for i in (1, 2)
    )
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    analysis = run / "analysis" / "modes"
    seeds = [{"seed": seed, "scores": {"share": 0.5 + seed / 4}} for seed in (0, 1)]
    body = {"step": 60, "scores": {"share": 0.625, "share (std)": 0.1768}, "manifest": {}, "seeds": seeds}
    for seed in (0, 1):
        shutil.copytree(analysis, run / "analysis" / f"seed{seed}")
        (run / "analysis" / f"seed{seed}").rename(analysis / f"seed{seed}")
    (analysis / "result.json").write_text(json.dumps({**body, "files": []}))
    found = page(run)
    (chart,) = found.charts
    assert (chart["curves"][0]["y"], chart["curves"][0]["low"], chart["curves"][0]["high"]) == ([2, 2], [1, 1], [3, 3])
    assert "share 0.625 ± 0.18 0 0.5 1 0.75" in found.text
    assert {"modes: modes.png, seed 0, step 60", "modes: modes.png, seed 1, step 60"} <= {
        i["alt"] for i in found.of("img")
    }


def test_many_pictures_are_thinned_and_the_page_says_so(make):
    run = make()
    source = run / "samples" / "000020.png"
    steps = {step: {"": source} for step in range(1, 201)}
    found = sequel("Samples", "samples", steps)
    assert (len(found.frames), found.frames[0].step, found.frames[-1].step) == (FRAMES, 1, 200)
    assert found.left_out == f"{FRAMES} of 200 pictures are shown, at even distances."
    assert [frame.step for frame in found.frames if frame.key] == [1, found.frames[FRAMES // 2].step, 200]


def test_long_tables_are_cut_and_the_page_says_so(make, page):
    run = make()
    (run / "analysis" / "modes" / "modes.csv").write_text("a,b\n" + "1,2\n" * 1000)
    assert "800 rows more in modes.csv." in page(run).text


def test_numbers_are_short():
    assert [short(x) for x in (1.23456, 3, "nan", None, True, 1e-9)] == ["1.235", "3", "nan", "-", "yes", "1e-09"]


def test_a_run_at_work_is_running(make):
    from gflow_core.files.locks import held
    from gflow_core.files.run_folder import lock_of

    run = make()
    with held(lock_of(run)):
        assert read(run).summary.state == "running"
    assert read(run).summary.state == "analyzed"


def test_the_head_shows_scores_and_neither_counts_nor_settings(make):
    found = {"threshold": 3.0, "images": 56, "share": 0.5, "ratio": 2.0, "fd": 7.0, "fd_real_halves": 1.0}
    for scores, name in (
        (found, "fd"),
        ({**found, "share_chance": 0.1}, "share"),  # the first that stands beside its value by chance
        ({name: found[name] for name in ("threshold", "images", "ratio", "share")}, "ratio"),
        ({"images": 56}, None),
    ):
        finding = Finding(60, scores, {"threshold": 3})
        row = headline(score_rows(finding), finding)
        assert (row and row.name) == name


def test_curves_of_training_are_drawn_once(page, make):
    page(path := make(scores={"divergence": 0.1, "divergence_minus_equilibrium": 0.1}))
    html = (path / "report.html").read_text()
    assert "The curves stand under Training." in html
    assert "modes: modes.png" not in html  # its alternative text
    assert "<summary>modes.csv" in html
