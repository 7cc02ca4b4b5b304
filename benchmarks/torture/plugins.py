"""Broken foreign code: plugins, files of parts and packages on the path that fail in every way that Python knows."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path

import kit

DEEDS = {
    "raises": "raise RuntimeError('on purpose')",
    "exits": "import sys; sys.exit(3)",
    "exits in silence": "raise SystemExit",
    "interrupts": "raise KeyboardInterrupt",
    "raises what is no Exception": "raise type('Odd', (BaseException,), {})('odd')",
    "raises itself badly": "raise type('Bad', (Exception,), {'__str__': lambda self: 1 / 0})()",
    "prints": "print('hello from foreign code')",
    "recurses": "f = lambda: f(); f()",
    "fails to import": "import no_such_module_anywhere",
    "raises a group": "raise ExceptionGroup('many', [ValueError('a'), OSError('b')])",
    "runs out of memory": "raise MemoryError",
    "stops an iteration": "raise StopIteration",
    "asserts": "assert False",
}

PART = """
{head}
from __future__ import annotations
from typing import ClassVar
import attrs
from gflow_core import DataShape, hookimpl, option, register
{module}

def checked(value):
    {option}
    return None

@register
@attrs.frozen(kw_only=True)
class Torture:
    '''A discriminator.'''
    conditional: ClassVar[bool] = False
    width: int = option(4, doc="Units.", ge=1, check=checked)

    def check(self, data):
        {check}
        return ()

    def build(self, data):
        {build}
        from torch import nn
        return nn.Sequential(nn.Linear(2, 1), Last())

def Last():
    from torch import nn
    class Squeeze(nn.Module):
        def forward(self, x):
            {forward}
            return x.squeeze(-1)
    return Squeeze()

def __getattr__(name):
    {attribute}
    raise AttributeError(name)
"""

OUTPUTS = {
    "a number an item more": "torch.cat([x, x], 1)",
    "text": "'text'",
    "a list": "[x]",
    "whole numbers": "x.sum(1).long()",
    "complex numbers": "x.sum(1) + 1j",
    "NaN": "x.sum(1) / 0 * 0",
    "nothing": "None",
}
BUILDS = {
    "returns None": "return None",
    "returns a function": "return lambda x: x",
    "returns a class": "from torch import nn; return nn.Linear",
    "returns a module on meta": "from torch import nn; return nn.Linear(2, 1, device='meta')",
    "returns a module of NaN": "import torch; m = torch.nn.Linear(2, 1); m.weight.data.fill_(torch.nan); return m",
    "wants more": "import torch; return torch.nn.Bilinear(2, 2, 1)",
} | {
    f"gives {name}": f"import torch; return type('T', (torch.nn.Module,), {{'forward': lambda self, x: {value}}})()"
    for name, value in OUTPUTS.items()
}

_NAMED = b"Metadata-Version: 2.1\nName: odd\nVersion: 1\n"
METADATA: dict[str, dict[str, bytes]] = {
    "an empty .dist-info": {},
    "metadata without a name": {"METADATA": b"Version: 1\n", "entry_points.txt": b"[gflow.plugins]\nodd = odd\n"},
    "malformed entry points": {"METADATA": _NAMED, "entry_points.txt": b"gflow.plugins]\n=\n[\n"},
    "entry points that are no text": {"METADATA": _NAMED, "entry_points.txt": bytes(range(128, 256))},
    "an entry point to nothing": {"METADATA": _NAMED, "entry_points.txt": b"[gflow.plugins]\nodd = no_such\n"},
    "an entry point without a module": {"METADATA": _NAMED, "entry_points.txt": b"[gflow.plugins]\nodd = :\n"},
    "metadata that is no text": {"METADATA": bytes(range(256)), "entry_points.txt": b"[gflow.plugins]\nodd = odd\n"},
    "metadata that is a folder": {"METADATA/x": b"", "entry_points.txt/x": b""},
}

COMMANDS: dict[str, list[str]] = {
    "ls": ["ls", "--json"],
    "plugins": ["plugins", "--json"],
    "show": ["show", "sampler", "far.mlp", "--json"],
    "validate": ["validate", "torture.toml", "--json"],
    "resolve": ["resolve", "torture.toml"],
    "run": ["run", "torture.toml", "--runs", "runs", "train.steps=4", "analyze=[]"],
}


def case(rng: random.Random, root: Path, pristine: Path) -> Iterator[str]:
    """One broken thing, one command."""
    (root / "torture.toml").write_text(kit.RECIPE)
    command = rng.choice(sorted(COMMANDS))
    words: list[str | Path] = [*COMMANDS[command]]
    env = {}
    kind = rng.choice(["file", "file", "package", "metadata"])
    if kind == "metadata":
        what = rng.choice(sorted(METADATA))
        folder = root / "path" / "odd-1.dist-info"
        folder.mkdir(parents=True)
        for name, content in METADATA[what].items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)
        env["PYTHONPATH"] = str(root / "path")
    else:
        place = rng.choice(["head", "module", "option", "check", "build", "forward", "attribute"])
        deed = rng.choice(sorted(DEEDS | (BUILDS if place == "build" else {})))
        what = f"{kind}: {place} {deed}"
        lines = dict.fromkeys(("head", "module", "option", "check", "build", "forward", "attribute"), "pass")
        lines[place] = {**DEEDS, **BUILDS}[deed]
        if place == "head" and deed != "prints":
            lines["head"] += "\n"
        source = PART.format(**lines)
        if place == "head":  # before `from __future__`, which is then a mistake of its own
            source = source.replace("from __future__ import annotations\n", "")
        if kind == "file":
            (root / "parts.py").write_text(source)
            words += ["--load", root / "parts.py"]
            if command in ("validate", "resolve", "run"):
                theirs = '[discriminator]\nuse = "far.mlp"\nwidth = 8\ndepth = 1'
                text = kit.RECIPE.replace(theirs, '[discriminator]\nuse = "torture"')
                (root / "torture.toml").write_text(text)
        else:
            folder = root / "path" / "odd-1.dist-info"
            folder.mkdir(parents=True)
            (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1\n")
            (folder / "entry_points.txt").write_text("[gflow.plugins]\nodd = odd_module\n")
            (root / "path" / "odd_module.py").write_text(source.replace("@register\n", ""))
            env["PYTHONPATH"] = str(root / "path")
    outcome = kit.spawned(*words, cwd=root, env={**os.environ, **_joined(env)})
    yield f"{command} with {what}"
    yield from outcome.faults()
    if kind != "file" and command in ("ls", "show", "validate", "resolve") and outcome.code != 0:
        yield f"what does not need it ends with {outcome.code}: {outcome.err.decode(errors='replace')[-200:]}"
    if "--json" in words and outcome.code == 0:
        try:
            json.loads(outcome.out)
        except ValueError:
            yield f"standard output is no JSON: {outcome.out[:80]!r}"
    if b"hello from foreign code" in outcome.out:
        yield "foreign code prints to standard output"


def _joined(env: dict[str, str]) -> dict[str, str]:
    """The path in front of the one that there is."""
    before = os.environ.get("PYTHONPATH", "")
    return {name: f"{value}{os.pathsep}{before}" if before else value for name, value in env.items()}
