"""The code of docs/python.md, block after block, as a reader would run it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import gflow_core

PAGE = Path(__file__).parents[1] / "docs" / "python.md"


def test_every_block_of_the_tutorial_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text(encoding="utf-8")
    blocks = list(re.finditer(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))
    assert len(blocks) > 8
    names: dict[str, Any] = {}
    for block in blocks:
        line = text[: block.start()].count("\n") + 1
        exec(compile("\n" * line + block[1], str(PAGE), "exec"), names)  # lines in tracebacks are the page's
    assert names["done"].metrics()[-1]["step"] == 50
    assert 'unknown option; did you mean "width"' in capsys.readouterr().out
    assert (tmp_path / "loss.png").stat().st_size > 0


def test_every_public_name_of_a_run_is_documented():
    text = PAGE.read_text(encoding="utf-8")
    public = [name for name in vars(gflow_core.Run) if not name.startswith("_")]
    assert [name for name in public if f"`{name}" not in text] == []
