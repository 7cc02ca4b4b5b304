"""The pages of an exported sampler: how to use it without gflow, and where it comes from."""

from __future__ import annotations

import json
from typing import Any

from gflow_core.errors import printable
from gflow_core.nn.labels import class_list
from gflow_core.parts.nouns import DataShape
from gflow_core.parts.plugins import name_of
from gflow_core.recipes.changes import changed_on_the_way
from gflow_core.recipes.joined import joins
from gflow_core.runs.api import Run
from gflow_core.runs.drawing import Drawing
from gflow_core.runs.manifest import versions

__all__ = ["model_card", "program_code", "readme"]


# ------------------------------------------------------------------ README.md


def readme(drawing: Drawing, onnx: bool) -> str:
    """How to load and sample, without gflow."""
    spec = drawing.experiment.spec
    part, shape = spec.sampler, drawing.recipe.spec.data_shape()
    files = {
        "sampler.pt2": "the program, of any batch size: torch.export.load needs torch alone",
        **({"sampler.onnx": "the same for ONNX runtimes; inputs and output in the same order"} if onnx else {}),
        "sampler.safetensors": "the weights, by the names of gflow's network",
        "architecture.json": "which network they are of: the sampler's table of the recipe, shapes, versions",
        "MODEL_CARD.md": "data, recipe, scores, seed, versions, licence",
    }
    rows = "\n".join(f"| `{name}` | {what} |" for name, what in files.items())
    reads = f"z `[n, {part.latent.dim}]` from the law `{name_of('latent', part.latent)}`"
    if part.conditional and shape is not None:
        reads += f" and labels y, {_labels(drawing, shape)}"
    return f"""# A sampler, exported by gflow

The sampler `{name_of("sampler", part)}`{_of(drawing)}: it reads {reads},
and gives samples x{_range(shape)}, in float32. In this folder:

```python
{program_code(drawing)}
```

| file | what it is |
|---|---|
{rows}

With gflow the weights begin another run, or are measured: `sampler.weights = "sampler.safetensors"` in a recipe
with the table `sampler` of `architecture.json`.
"""


_CAPTION = "the vector of a caption, as the run's text encoder makes it"


def program_code(drawing: Drawing) -> str:
    """Lines of Python that draw samples with torch alone."""
    part, shape = drawing.experiment.spec.sampler, drawing.recipe.spec.data_shape()
    law = name_of("latent", part.latent)
    drawn = (
        part.latent.code() if hasattr(part.latent, "code") else f"z = ...  # [n, {part.latent.dim}] of the law {law}"
    )
    lines = ["import math", ""] if "math." in drawn else []
    lines += ["import torch", "", 'sampler = torch.export.load("sampler.pt2").module()', "n = 16", *drawn.split("\n")]
    arguments = "z"
    if part.conditional and shape is not None:
        arguments = "z, y"
        if shape.classes:
            lines += [f"y = torch.arange(n) % {shape.classes}  # classes in turn"]
        else:
            zeros = ", ".join(["0.0"] * shape.label_size)
            meaning = _CAPTION if shape.text else ", ".join(shape.conditions)
            lines += [f"y = torch.tensor([[{zeros}]] * n)  # {meaning}"]
    lines += ["with torch.no_grad():", f"    x = sampler({arguments})"]
    if shape is not None and shape.kind == "image":
        low, high = _bounds(shape)
        scaled = f"(x - {low:g}) * {255 / (high - low):g}".replace("- -", "+ ")
        lines += [f"pixels = ({scaled}).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()"]
    return "\n".join(lines)


def _bounds(shape: DataShape) -> tuple[float, float]:
    return (shape.low, shape.high) if shape.low is not None and shape.high is not None else (-1.0, 1.0)


def _range(shape: DataShape | None) -> str:
    if shape is None:
        return ""
    within = "" if shape.low is None else f" in [{shape.low:g}, {shape.high:g}]"
    return f" `[n, {', '.join(map(str, shape.shape))}]`{within}"


def _labels(drawing: Drawing, shape: DataShape) -> str:
    if shape.classes:
        return f"classes `[n]` of int64: {printable(class_list(shape.classes, drawing.class_names))}"
    return f"real numbers `[n, {shape.label_size}]`: {_CAPTION if shape.text else ', '.join(shape.conditions)}"


def _of(drawing: Drawing) -> str:
    averaged = ", averaged weights" if drawing.experiment.ema is not None else ""
    return f" after {drawing.step:,} steps{averaged}" if drawing.step is not None else ""


# ------------------------------------------------------------------ MODEL_CARD.md


def model_card(drawing: Drawing, licence: str | None) -> str:
    """Data, recipe, scores with what they depend on, seed, versions, licence."""
    run = Run(drawing.path)
    manifest, spec = run.manifest, drawing.experiment.spec
    data = manifest.get("data", {})
    datasets = [name_of("dataset", part) for _, part in joins(spec.dataset) if part is not None]
    stated = {
        "run": drawing.path.resolve().name,
        "title": spec.title,
        "data": (" + ".join(datasets) or "none")
        + (f": {data['items']} items, {data['shape']}, fingerprint `{data['fingerprint']}`" if data else ""),
        "sampler": f"`{name_of('sampler', spec.sampler)}`{_of(drawing)}",
        "seed": str(spec.seed),
        "began": str(manifest.get("created", "")),
        "changed on the way": "; ".join(changed_on_the_way(manifest)),
        "trained on": ", ".join(str(manifest[key]) for key in ("device_name", "precision") if manifest.get(key)),
        "trained with": ", ".join(f"{name} {version}" for name, version in manifest.get("versions", {}).items()),
        "exported with": ", ".join(f"{name} {version}" for name, version in versions().items()),
        "licence": licence or "not stated",
    }
    rows = "\n".join(f"| {name} | {_cell(value)} |" for name, value in stated.items() if value)
    return f"""# Model card

| | |
|---|---|
{rows}

## Scores

{_scores(run.results())}

## Recipe

```toml
{drawing.recipe.dumps().strip()}
```
"""


def _scores(results: dict[str, dict[str, Any]]) -> str:
    parts = []
    for name, found in results.items():
        if not found["scores"]:  # a picture
            continue
        rows = "\n".join(f"| {_cell(score)} | {_number(value)} |" for score, value in found["scores"].items())
        depends = json.dumps(found["manifest"], indent=2)
        parts.append(
            f"### {_cell(name)}, after {found.get('step', 0):,} steps\n\n| score | |\n|---|---|\n{rows}\n\n"
            f"It depends on:\n\n```json\n{depends}\n```"
        )
    return "\n\n".join(parts) or "None was measured."


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else _cell(str(value))


def _cell(text: str) -> str:
    return printable(str(text)).replace("|", "\\|").replace("\n", " ")
