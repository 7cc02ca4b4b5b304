"""Write docs/gallery.md and its pictures from run folders: every figure that their analyzers drew.

    python docs/make_gallery.py RUN...

Pictures are made smaller: at most 1,000 pixels wide, 128 colours.
"""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path

from PIL import Image

from gflow_core.plugins import plugins
from gflow_core.recipe import load

DOCS = Path(__file__).parent
WIDTH, COLOURS = 1000, 128

HEAD = """# Gallery

Pictures that the analyzers draw, from real runs on two processor cores. Each stands under its analyzer with the
command that made it; numbers are in [Results](results.md).

"""


def command(run: Path) -> str:
    """How the run is repeated: its recipe and the overrides, but where its data lies."""
    manifest = json.loads((run / "manifest.json").read_text())
    words = [word for word in manifest["command"][2:] if "=" in word and not word.startswith(("dataset.root", "--"))]
    return shlex.join(["gflow", "run", f"recipes/{Path(manifest['recipe']).name}", *words])


def small(source: Path, target: Path) -> None:
    picture = Image.open(source).convert("RGB")
    if picture.width > WIDTH:
        picture = picture.resize((WIDTH, round(picture.height * WIDTH / picture.width)), Image.Resampling.LANCZOS)
    target.parent.mkdir(parents=True, exist_ok=True)
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(target, optimize=True)


def main() -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="finished runs; of two with one analyzer both are shown")
    options = parser.parse_args()

    registry = plugins().registries["analyzer"]
    entries: dict[str, list[str]] = {}
    for run in options.runs:
        for analysis in load(run / "recipe.toml").spec.analyze:
            name = registry.name_of(type(analysis.part))
            for figure in sorted((run / "analysis" / analysis.name).glob("*.png")):
                recipe = run.name.rpartition("-s")[0]
                picture = f"images/gallery/{recipe}-{analysis.name.replace('.', '-')}-{figure.stem}.png"
                small(figure, DOCS / picture)
                entries.setdefault(name, []).append(
                    f"![{analysis.name}: {figure.stem}]({picture})\n\n`{figure.name}`, by `{command(run)}`\n"
                )
    with (DOCS / "gallery.md").open("w", encoding="utf-8") as page:
        page.write(HEAD)
        for name in sorted(entries, key=lambda name: ("." not in name, name)):
            summary = str(registry.get(name).__doc__).strip().splitlines()[0]
            page.write(f"## {name}\n\n{summary}\n\n" + "\n".join(entries[name]) + "\n")


if __name__ == "__main__":
    main()
