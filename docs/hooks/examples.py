"""An example of each public name, for the reference: the shortest piece of code of the house that uses it.

Nothing is written twice: pages come first, then plugins, tests, and the core. The tests run all of it.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

__all__ = ["example_of"]

ROOT = Path(__file__).parents[2]
LONGEST = 14  # lines

# Protocols and bases are met more than named: for each a class that meets it.
MEETS = {
    "AnalyzerPart": ("docs/plugins.md", "MeanGap"),
    "BatchVelocity": ("docs/flows.md", "Home"),
    "Average": ("gflow_core/optim/ema.py", "Ema"),
    "DatasetPart": ("docs/plugins.md", "Csv"),
    "DiscriminatorPart": ("plugins/far/gflow_far/parts.py", "MlpDiscriminator"),
    "GradientPenalty": ("gflow_core/methods/penalties.py", "R1"),
    "Objective": ("docs/plugins.md", "EnergyObjective"),
    "ObjectivePart": ("docs/plugins.md", "Energy"),
    "ParticleFlow": ("gflow_core/methods/velocities.py", "Flow"),
    "Velocity": ("gflow_core/methods/coupled.py", "Coupled"),
    "VelocityPart": ("gflow_core/methods/velocities.py", "BatchVelocity"),
}


def example_of(name: str) -> tuple[str, str]:
    """Where code uses the name, and the code.

    Raises LookupError where nothing does.
    """
    if name in MEETS:
        place, meets = MEETS[name]
        return place, _class(meets, ROOT / place)
    for pieces in _uses():
        if found := pieces.get(name):
            return min(found, key=lambda piece: (_weak(piece[1]), len(piece[1])))
    raise LookupError(f"{name}: nothing shows how it is used; give docs/plugins.md or a test a line that does")


def _weak(code: str) -> bool:
    """Whether it is cut, or only says a type."""
    return code.endswith("...") or re.fullmatch(r"\w+: \w+", code) is not None


def _class(name: str, path: Path) -> str:
    """The class as its file or page has it."""
    text = path.read_text(encoding="utf-8")
    for _, block in _blocks(path) if path.suffix == ".md" else [("", text)]:
        if f"class {name}" in block:
            for node in ast.parse(block).body:
                if isinstance(node, ast.ClassDef) and node.name == name:
                    first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
                    return "\n".join(block.splitlines()[first - 1 : node.end_lineno])
    raise LookupError(f"{path} has no class {name}")


@cache
def _uses() -> list[dict[str, list[tuple[str, str]]]]:
    """By preference, pages first and the core itself last: name -> (place, code) of all that use it."""
    pages = [ROOT / "docs" / "how-to" / "one-file.md", ROOT / "docs" / "plugins.md", ROOT / "docs" / "python.md"]
    authors = [*ROOT.glob("tests/third_party/**/*.py"), *ROOT.glob("plugins/*/gflow_*/**/*.py")]
    tests = [*ROOT.glob("plugins/*/tests/*.py"), *ROOT.glob("tests/**/*.py")]
    core = [*ROOT.glob("gflow_core/**/*.py")]
    return [_index(block for page in pages for block in _blocks(page))] + [
        _index((str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")) for path in sorted(paths))
        for paths in (authors, tests, core)
    ]


def _blocks(page: Path) -> Iterator[tuple[str, str]]:
    """The blocks of Python in a page, indented or fenced."""
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"(?:^    .*\n(?:\n(?=\n*    ))*)+", text, re.MULTILINE):
        yield str(page.relative_to(ROOT)), textwrap.dedent(block)
    for block in re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield str(page.relative_to(ROOT)), block


def _index(sources: Iterable[tuple[str, str]]) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for place, text in sources:
        try:
            tree = ast.parse(text)
        except SyntaxError:  # a page shows TOML and words, too
            continue
        ours = {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and _ours(node, place)
            for alias in node.names
            if not alias.asname
        }
        lines = text.splitlines()
        for node in ast.walk(tree):
            if isinstance(node, ast.stmt) and not isinstance(node, ast.Import | ast.ImportFrom):
                code, used = _excerpt(node, lines)
                if len(code) < LONGEST:
                    for name in used & ours | _attributes(node, ours):
                        found.setdefault(name, []).append((place, textwrap.dedent("\n".join(code))))
            elif isinstance(node, ast.List | ast.Tuple | ast.Dict):  # of a long table its one line
                for one in node.values if isinstance(node, ast.Dict) else node.elts:
                    if isinstance(one, ast.Tuple | ast.Starred):
                        for name in _names([one]) & ours:
                            code = ast.get_source_segment(text, one)
                            found.setdefault(name, []).append((place, f"{code},  # ..."))
    return found


def _ours(node: ast.ImportFrom, place: str) -> bool:
    """Whether names come from the core; a relative import says so only inside of it."""
    return place.startswith("gflow_core") if node.level else (node.module or "").partition(".")[0] == "gflow_core"


def _excerpt(node: ast.stmt, lines: list[str]) -> tuple[list[str], set[str]]:
    """The lines of a statement and the names in them; of a long class or function its head alone."""
    first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", []))])
    code = lines[first - 1 : node.end_lineno]
    if len(code) < LONGEST or not isinstance(node, ast.ClassDef | ast.FunctionDef):
        return code, _names([node])
    head = [*node.decorator_list, *(node.bases if isinstance(node, ast.ClassDef) else [node.args])]
    if isinstance(node, ast.FunctionDef) and node.returns:
        head.append(node.returns)
    body = node.body[0]
    return [*lines[first - 1 : body.lineno - 1], " " * body.col_offset + "..."], _names(head)


def _names(nodes: Iterable[ast.AST]) -> set[str]:
    return {one.id for node in nodes for one in ast.walk(node) if isinstance(one, ast.Name)}


def _attributes(node: ast.AST, ours: set[str]) -> set[str]:
    """NAME of each `gflow_core.NAME`, and of each of a module that comes from there."""
    return {
        one.attr
        for one in ast.walk(node)
        if isinstance(one, ast.Attribute) and isinstance(one.value, ast.Name) and one.value.id in {"gflow_core", *ours}
    }
