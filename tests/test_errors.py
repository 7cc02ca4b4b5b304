"""Messages: what is suggested, and what is escaped."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from gflow_core.errors import Problem, did_you_mean, printable, shortened, typed


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        ("chanels", ["channels", "depth"], ["channels"]),
        ("mlp", ["vgrow.mlp", "vgrow.resnet"], ["vgrow.mlp"]),
        ("mlp", ["dcgan.mlp", "vgrow.mlp", "dcgan.mlp"], ["dcgan.mlp", "vgrow.mlp"]),
        ("vgrow.resnt", ["far.resnet", "vgrow.resnet"], ["vgrow.resnet"]),
        ("KL", ["kl", "js"], ["kl"]),
        ("gpu", ["auto", "cpu", "cuda", "mps"], ["cuda"]),
        ("gpu", ["cpu"], ["cpu"]),
        ("zzz", ["channels"], []),
    ],
)
def test_did_you_mean(word, known, meant):
    names = " or ".join(f'"{name}"' for name in meant)
    assert did_you_mean(word, known) == (f"; did you mean {names}?" if meant else "")


def test_a_path_in_a_command_is_typed_as_it_stands():
    assert typed(Path("runs/ring-s0-001")) == "runs/ring-s0-001"
    for path in ("runs/tiny copy-s0-001", "-x.toml", "it's.toml", "a;b"):
        (word,) = shlex.split(typed(path))
        assert Path(word) == Path(path)
        assert not word.startswith("-")


def test_a_long_message_keeps_its_ends():
    text = "wrong: " + "x" * 200_000 + "; mend it"
    short = shortened(text)
    assert len(short) < 1700
    assert short.startswith("wrong: xxx")
    assert short.endswith("xxx; mend it")
    assert f"{200_016 - 1600:,} letters left out" in short
    assert shortened("wrong; mend it") == "wrong; mend it"


def test_only_what_is_printable_is_printed():
    assert printable("é ü 数 ok") == "é ü 数 ok"
    assert printable("a\nb\x1b[0m\u202e\udcff") == r"a\nb\x1b[0m\u202e\udcff"
    assert str(Problem("k\x07", "m\n", "s")) == r"s: k\x07: m\n"
