"""A run's sampler as a folder that others load without gflow: program, weights, what it is, and how to use it."""

from __future__ import annotations

import json
import logging
import shutil
import tomllib
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from io import BytesIO
from pathlib import Path
from typing import Any

import attrs
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from gflow_core.errors import GflowError, for_people, own_words
from gflow_core.export.pages import model_card, readme
from gflow_core.files.weights import load_state, save_tensors
from gflow_core.files.whole import beside
from gflow_core.machine.runtime import Runtime
from gflow_core.machine.streams import draws_kept
from gflow_core.nn.portable import folded
from gflow_core.nn.resample import DownConv, UpConv
from gflow_core.parts.plugins import name_of
from gflow_core.runs.build import build_network
from gflow_core.runs.drawing import Drawing
from gflow_core.runs.manifest import versions

__all__ = ["ARCHITECTURE", "CARD", "ONNX", "PROGRAM", "README", "WEIGHTS", "export_sampler"]

PROGRAM = "sampler.pt2"
"""What torch.export made of it, for torch.export.load."""
ONNX = "sampler.onnx"
WEIGHTS = "sampler.safetensors"
"""By the names of gflow's network, as `sampler.weights` takes them."""
ARCHITECTURE = "architecture.json"
"""Which network these weights are of."""
README = "README.md"
CARD = "MODEL_CARD.md"

_SIZES = (5, 1)  # batches that it is checked with; it is traced with another
_TRACED = 3
_SAID = 400  # letters of what torch says against a sampler

Given = tuple[Tensor, ...]
"""(z [n, dim],), or (z, y) with labels y [n] or [n, k]."""


@for_people
@draws_kept()
def export_sampler(
    run: Path | str,
    to: Path | str,
    *,
    checkpoint: str | int | None = None,
    replica: int = 0,
    onnx: bool = False,
    licence: str | None = None,
) -> Path:
    """Write a run's sampler into a new folder `to`, from which others load it without gflow; its README.md says how.

    In float32, on the CPU, in eval mode. The folder gets its name once each of program, weights and, with `onnx`, ONNX
    was read back and gives the run's samples within the rounding of float32. The model's card states the `licence`.
    Raises GflowError: a folder that is there, a sampler that torch.export does not take, one that draws numbers of its
    own; and for a `checkpoint` or a `replica` that the run does not have.
    """
    folder = Path(to)
    if not folder.parent.is_dir():
        raise GflowError(f"{folder}: the folder {folder.parent} does not exist")
    drawing = Drawing(Path(run), None if checkpoint is None else str(checkpoint), replica=replica)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise GflowError(f"{folder}: is there already; name another folder, or delete it")
    network = _on_cpu(drawing.experiment.final_sampler)
    with _whole(folder) as aside:
        save_tensors({name: tensor.clone() for name, tensor in network.state_dict().items()}, aside / WEIGHTS)
        _check(drawing, network, _rebuilt(drawing, aside / WEIGHTS), WEIGHTS)
        program = _traced(drawing, network)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of weights on devices, where there is one
            held = BytesIO()  # torch's own writer ends the process where a disk is full
            torch.export.save(program, held)
            (aside / PROGRAM).write_bytes(held.getbuffer())
            read = torch.export.load(aside / PROGRAM).module()
        _check(drawing, network, read, PROGRAM)
        if onnx:
            _write_onnx(drawing, program, aside / ONNX)
            _check(drawing, network, _onnx_session(aside / ONNX), ONNX)
        (aside / ARCHITECTURE).write_text(json.dumps(_architecture(drawing), indent=2) + "\n", encoding="utf-8")
        (aside / README).write_text(readme(drawing, onnx), encoding="utf-8")
        (aside / CARD).write_text(model_card(drawing, licence), encoding="utf-8")
    return folder


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """A new folder beside `folder`, which gets its name when the block ends well, and is deleted when it does not."""
    aside = beside(folder)
    try:
        aside.mkdir()
        yield aside
        aside.rename(folder)
    except OSError as error:
        raise GflowError(f"{folder}: cannot be written: {error.strerror or error}; name another folder") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


# ------------------------------------------------------------------ the network


@torch.no_grad()
def _on_cpu(module: nn.Module | None) -> nn.Module:
    assert module is not None
    network = deepcopy(module).eval().to("cpu", torch.float32)
    return network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload,no-any-return]


@torch.no_grad()
def _plain(network: nn.Module) -> nn.Module:
    """A copy of torch's own layers, with the weights that gflow's compute at each forward.

    Convolutions next to a resampling, which ONNX's converter takes for others, and spectral normalisation.
    """
    copy = folded(network)
    for module in list(copy.modules()):
        for name, layer in list(module.named_children()):
            if isinstance(layer, UpConv | DownConv):
                setattr(module, name, layer.plain().eval())
    return copy


def _rebuilt(drawing: Drawing, weights: Path) -> nn.Module:
    """The network that the recipe's sampler builds anew, with these weights."""
    spec = drawing.experiment.spec
    shape = spec.dataset.data_shape() if spec.dataset else None
    network = build_network("sampler", spec.sampler, shape, 0, Runtime(torch.device("cpu"))).eval()
    load_state(network, load_file(weights), weights)
    return network


def _traced(drawing: Drawing, network: nn.Module) -> torch.export.ExportedProgram:
    """The program of any batch size. Raises GflowError where torch.export finds none."""
    given = _given(drawing, _TRACED)
    batch = torch.export.Dim("batch", min=1)
    with _refusing(drawing, "cannot be exported; torch.export", f"its weights are in {drawing.path / 'checkpoints'}"):
        return torch.export.export(_plain(network), given, dynamic_shapes=tuple({0: batch} for _ in given), strict=True)


@contextmanager
def _refusing(drawing: Drawing, what: str, mend: str) -> Iterator[None]:
    """One message for whatever torch says within the block: errors of all kinds, over many lines, and logs."""
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            yield
    except Exception as error:
        said = " ".join(own_words(error).split())[:_SAID]
        raise GflowError(f"{drawing.path}: its sampler {_name(drawing)} {what} says: {said} ({mend})") from error
    finally:
        logging.disable(logging.NOTSET)


# ------------------------------------------------------------------ checks


def _given(drawing: Drawing, n: int) -> Given:
    """The latents and labels of the first n samples that `gflow sample` draws."""
    part, shape = drawing.experiment.spec.sampler, drawing.recipe.spec.data_shape()
    z = part.latent.draw(n, drawing.experiment.streams.fork("sample")["latent"])
    if not part.conditional:
        return (z,)
    assert shape is not None
    if shape.classes:
        return z, torch.arange(n) % shape.classes
    return z, torch.linspace(-1, 1, n * shape.label_size).unflatten(0, (n, shape.label_size))


@torch.no_grad()
def _check(drawing: Drawing, network: nn.Module, exported: Callable[..., Tensor], name: str) -> None:
    """What is exported gives the network's samples, also of sizes that it was not traced with. GflowError if not."""
    for n in _SIZES:
        given = _given(drawing, n)
        expected, found = network(*given), exported(*given)
        largest = float(expected.abs().max())
        off = float((found - expected).abs().max()) if found.shape == expected.shape else float("inf")
        if not off <= 1e-4 * max(largest, 1e-30):
            raise GflowError(
                f"{drawing.path}: {name} gives other samples than the sampler {_name(drawing)}, by {off:.2g} where the "
                f"largest number is {largest:.2g}; one that draws random numbers of its own cannot be exported, and of "
                "any other this is a defect"
            )


def _name(drawing: Drawing) -> str:
    return name_of("sampler", drawing.experiment.spec.sampler)


# ------------------------------------------------------------------ ONNX


def _write_onnx(drawing: Drawing, program: torch.export.ExportedProgram, path: Path) -> None:
    try:
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise GflowError('ONNX needs more packages; pip install "gflow-core[onnx]"') from error
    with _refusing(drawing, "cannot be exported to ONNX; torch.onnx", "leave ONNX out"):
        made = torch.onnx.export(program, dynamo=True, verbose=False)
    assert made is not None
    made.save(path, external_data=False)


def _onnx_session(path: Path) -> Callable[..., Tensor]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]

    def run(*given: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {k: t.numpy() for k, t in zip(names, given, strict=True)})[0])

    return run


# ------------------------------------------------------------------ what it is


def _architecture(drawing: Drawing) -> dict[str, Any]:
    """Enough to build the network again with gflow, and to know what goes in and comes out without."""
    part, shape = drawing.experiment.spec.sampler, drawing.recipe.spec.data_shape()
    table = tomllib.loads(drawing.recipe.dumps())["sampler"]
    label = shape.label_size if part.conditional and shape is not None else 0
    about = attrs.asdict(shape) | {"class_names": list(drawing.class_names)} if shape is not None else None
    return {
        "format": 1,
        "sampler": table,
        "latent": table.get("latent"),
        "data": about,
        "inputs": {
            "z": ["n", part.latent.dim],
            **({"y": ["n"] if shape is not None and shape.classes else ["n", label]} if label else {}),
        },
        "step": drawing.step,
        "averaged": drawing.experiment.ema is not None,
        "versions": versions(),
    }
