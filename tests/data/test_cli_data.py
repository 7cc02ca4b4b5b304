"""gflow data prepare, from the recipe to the cache."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from gflow_core.cli import main


def prepare(*arguments):
    return CliRunner().invoke(main, ["data", "prepare", *map(str, arguments)])


def test_prepare_decodes_once_and_names_the_cache(tmp_path, celeba):
    recipe = tmp_path / "faces.toml"
    recipe.write_text(f'gflow = 1\n[dataset]\nuse = "celeba"\nroot = "{celeba}"\nimage_size = 16\n')
    first = prepare(recipe)
    assert first.exit_code == 0, first.output
    assert "12 items, image 3x16x16 in [-1, 1]" in first.output
    (cache,) = (celeba / "celeba" / "gflow-cache").glob("*.npy")
    assert f"cache {cache}" in first.output
    made = cache.stat().st_mtime_ns
    again = prepare(recipe, "dataset.flip=true")
    assert f"cache {cache}" in again.output
    assert cache.stat().st_mtime_ns == made
    small = prepare(recipe, "dataset.limit=3")
    assert "3 items" in small.output


def test_prepare_of_a_set_without_a_cache(tmp_path):
    recipe = tmp_path / "ring.toml"
    recipe.write_text('gflow = 1\n[dataset]\nuse = "ring"\nn = 10\n')
    out = prepare(recipe)
    assert out.exit_code == 0
    assert "10 items, vector 2 unbounded" in out.output
    assert "no cache: this set needs no decoding" in out.output


def test_prepare_reports_errors_without_a_traceback(tmp_path):
    recipe = tmp_path / "faces.toml"
    recipe.write_text(f'gflow = 1\n[dataset]\nuse = "celeba"\nroot = "{tmp_path}"\n')
    missing = prepare(recipe)
    assert missing.exit_code == 2
    names, folders = "img_align_celeba.zip or img_align_celeba", f"{tmp_path}, {tmp_path}/Img, {tmp_path}/celeba"
    assert missing.stderr.startswith(f"error: CelebA not found; looked for {names} in {folders}, ")
    relative = prepare(recipe, "dataset.root=nowhere")
    assert f"(from {Path.cwd()})" in relative.stderr
    assert len(relative.stderr) < 400
    assert missing.stderr.count("\n") == 1
    recipe.write_text("gflow = 1\n")
    empty = prepare(recipe)
    assert empty.exit_code == 2
    assert "there is no [dataset] to prepare" in empty.stderr
