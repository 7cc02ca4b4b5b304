"""Samples of a run: drawn from its checkpoints, and previews while it trains."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import Tensor

from gflow_core.errors import GflowError
from gflow_core.machine.runtime import choose_device
from gflow_core.machine.streams import Streams
from gflow_core.methods.refinement import Refined, Refinement, numbered, refinement_faults
from gflow_core.nn.batch_norm import batch_norms
from gflow_core.nn.labels import label_rows, parse_label
from gflow_core.nn.portable import Portable
from gflow_core.nn.sampling import CHUNK, Given, by_label, draw_given, label_pool, made_of
from gflow_core.optim.player import evaluating
from gflow_core.parts.analysis import Map
from gflow_core.parts.loading import check_loaded
from gflow_core.parts.spec import NETWORKS, Spec, Train
from gflow_core.parts.training import Experiment
from gflow_core.recipes.changes import check_recipe
from gflow_core.recipes.files import check_files
from gflow_core.recipes.recipe import Recipe, load
from gflow_core.runs.blame import blaming
from gflow_core.runs.build import build, read_data, single
from gflow_core.runs.manifest import check_data, check_origins, class_names, precision_of
from gflow_core.runs.pictures import finite
from gflow_core.runs.record import RunFolder
from gflow_core.runs.standing import standing
from gflow_core.runs.state import load_network
from gflow_core.runs.texts import kept_text

__all__ = ["COLUMNS", "IMAGES", "POINTS", "Drawing", "anywhere", "chunks", "draw", "label_grid", "made", "some_real"]

IMAGES, POINTS = 64, 2048  # samples in the pictures drawn while training
COLUMNS = 10  # samples of each label there


def anywhere(spec: Spec, device: Any = None) -> Spec:
    """A run trained on a device that this machine lacks can still be looked at, or it is on the `device` named."""
    if device is not None:
        return attrs.evolve(spec, train=attrs.evolve(spec.train or Train(), device=device))
    try:
        choose_device(spec.train.device if spec.train else "auto")
    except GflowError:
        assert spec.train is not None
        return attrs.evolve(spec, train=attrs.evolve(spec.train, device="auto"))
    return spec


class Drawing:
    """A run's sampler, ready to be drawn from; the data itself is not needed.

    Averaged weights where the run keeps them, of the newest checkpoint or the one wanted (`RunFolder.checkpoint_name`).
    `seed` chooses other latents than the run's own seed would, `replica` one of several (from 0), and `label` what a
    conditional sampler is asked for: a class by name or index, or numbers (`nn.labels.parse_label`); every class in
    turn without it. Where labels are captions, `text` says it in words. `device` is another than its recipe's.
    `batch_norm` is "eval", the statistics of training, or "standing", those that analyzers may ask for: where the
    sampler reads labels it needs those of the data. `refinement` moves the latents along the discriminator, which is
    read for that or where it is asked for. Raises GflowError, also where there is no batch norm, no discriminator, or
    nothing to refine by.
    """

    def __init__(
        self,
        path: Path,
        checkpoint: str | None = None,
        seed: int | None = None,
        replica: int = 0,
        label: str | int | None = None,
        text: str | None = None,
        device: str | None = None,
        batch_norm: str = "eval",
        refinement: Refinement | None = None,
        with_discriminator: bool = False,
    ) -> None:
        folder = RunFolder(path)
        self.path, self.label, self.text, self.batch_norm = path, label, text, batch_norm
        self.refinement = refinement
        self.recipe = load(folder.recipe, begun=True)
        spec = anywhere(self.recipe.spec, device)
        if spec.sampler is None:
            raise GflowError(f"{path}: its recipe has no [sampler]")
        for fault in refinement_faults(spec) if refinement is not None else ():
            raise GflowError(f"{path}: --refine {fault}")
        if with_discriminator and spec.discriminator is None:
            raise GflowError(f"{path}: its recipe has no [discriminator]")
        judges = with_discriminator or refinement is not None
        manifest = folder.read_manifest()
        check_recipe(manifest, path)
        check_files(manifest, path, spec, tables=NETWORKS)
        self.class_names = class_names(manifest)
        precision = precision_of(manifest, spec)
        self.experiment = build(spec, load_data=False, begin=spec.objective is None, precision=precision)
        check_loaded(manifest, path)
        check_origins(manifest, self.experiment, path)
        self.step: int | None = None  # that its weights are of; a run that trains nothing has none
        if spec.objective is not None:
            judge = ("discriminator",) if judges else ()
            state = folder.load(checkpoint, only=("sampler", "ema", *judge))
            module = self.experiment.final_sampler
            assert module is not None
            load_network("ema" if self.experiment.ema else "sampler", module, state, folder.path)
            if judges:
                assert self.experiment.discriminator is not None
                load_network("discriminator", self.experiment.discriminator, state, folder.path)
            self.step = state.step
        if not 0 <= replica < len(spec.seeds):
            raise GflowError(f"{path}: no replica {replica}; it has {len(spec.seeds)}, numbered from 0")
        self.experiment = single(self.experiment, replica)
        if batch_norm == "standing":
            self._stand(manifest)
        if seed is not None:
            self.experiment.streams = Streams(seed)

    def _stand(self, manifest: Mapping[str, Any]) -> None:
        """The sampler's batch norm gets standing statistics, the same ones for every seed of samples."""
        experiment, module = self.experiment, self.experiment.final_sampler
        assert module is not None
        if not batch_norms(module):
            raise GflowError(f"--batch-norm standing: the sampler of {self.path} has no batch norm; leave it out")
        if experiment.spec.sampler.conditional and experiment.spec.dataset is not None:
            experiment.data = read_data(experiment.spec.dataset)
            check_data(manifest, experiment.data, self.path)
        with evaluating(module):
            module.load_state_dict(standing(experiment, module, self.step or 0).state_dict())

    @cached_property
    def labels(self) -> Tensor | None:
        """What is dealt to samples in turn, [m] or [m, k]; None for a sampler that reads none.

        Raises GflowError where the label that is asked for is none, or only the data would tell them.
        """
        spec = self.recipe.spec
        if self.text is not None:
            return _vector(self.path, spec, self.label, self.text)
        return _wanted(spec, self.label, self.class_names)

    def chunks(self, n: int, map: Map = map, done: int = 0) -> Iterator[Tensor]:
        """n samples [., *shape] on the CPU, CHUNK at a time; the same ones at every call.

        Without the chunks that the first `done` samples fill.
        """
        return chunks(self.experiment, n, "sample", self.labels, map, done, self.refinement)


def draw(
    path: Path,
    n: int,
    checkpoint: str | None = None,
    seed: int | None = None,
    replica: int = 0,
    label: str | int | None = None,
    text: str | None = None,
    map: Map = map,
    batch_norm: str = "eval",
    refinement: Refinement | None = None,
) -> tuple[Tensor, Recipe]:
    """n samples [n, *shape] of a run's sampler, and its recipe; see Drawing."""
    drawing = Drawing(path, checkpoint, seed, replica, label, text, batch_norm=batch_norm, refinement=refinement)
    return torch.cat(list(drawing.chunks(n, map))), drawing.recipe


def _wanted(spec: Spec, label: str | int | None, names: Sequence[str]) -> Tensor | None:
    """The labels to draw [m] or [m, k]: the one that is asked for, or every class; None for a sampler without."""
    shape = spec.data_shape()
    if not spec.sampler.conditional:
        if label is not None:
            raise GflowError(f"--label {label}: the run's sampler reads no labels; leave it out")
        return None
    if label is None or shape is None:
        return label_pool(None, shape)
    try:
        return parse_label(str(label), shape, names if isinstance(label, str) else ())[None]
    except ValueError as error:
        raise GflowError(f"--label {label}: {error}") from None


def _vector(path: Path, spec: Spec, label: str | int | None, text: str) -> Tensor:
    """The vector [1, k] of a text, as the run's own encoder has it."""
    if label is not None:
        raise GflowError("--text and --label ask for the same thing; leave one of them out")
    encoder = kept_text(path, spec) if spec.sampler.conditional else None
    if encoder is None:
        raise GflowError(f"--text: the sampler of {path} reads no captions; leave it out")
    try:
        return encoder([text])
    except ValueError as error:
        raise GflowError(f"--text: {error}") from None


def chunks(
    experiment: Experiment,
    n: int,
    stream: str,
    labels: Tensor | None = None,
    map: Map = map,
    done: int = 0,
    refinement: Refinement | None = None,
) -> Iterator[Tensor]:
    """n samples on the CPU, in eval mode, from a stream that starts afresh: sample i has the same latent at every call.

    A conditional sampler's labels are dealt from `labels` in turn, or drawn as in the data. Chunks that the first
    `done` samples fill are left out. With a `refinement` each chunk moves by noise of its own.
    """
    spec, streams = experiment.spec, experiment.streams.fork(stream)
    in_turn = labels is not None
    if labels is None and spec.sampler.conditional:
        labels = label_pool(experiment.data, spec.data_shape())
    given = draw_given(spec.sampler, n, streams, labels=labels, in_turn=in_turn, chunk=CHUNK, prefix=True, done=done)
    if refinement is None:
        return made(experiment, given, map)
    return _refined(experiment, numbered(given, streams, done // CHUNK), refinement, map)


def made(experiment: Experiment, given: Iterable[Given], map: Map = map) -> Iterator[Tensor]:
    """What the sampler makes, in eval mode, of each piece of latents and labels, on the CPU."""
    module = experiment.final_sampler
    assert module is not None
    spec = experiment.spec
    with evaluating(module), blaming(spec, experiment):
        for x in made_of(given, module, experiment.runtime, map, spec.train):
            yield finite(x.cpu())


def _refined(
    experiment: Experiment, given: Iterable[tuple[int, Given]], rule: Refinement, map: Map
) -> Iterator[Tensor]:
    """What the sampler makes of each piece once it is refined, as `made` has it."""
    sampler, discriminator, spec = experiment.final_sampler, experiment.discriminator, experiment.spec
    assert sampler is not None
    assert discriminator is not None
    function = Portable(Refined.of(spec, sampler, discriminator, rule), experiment.runtime, spec.train)
    with evaluating(sampler), evaluating(discriminator), blaming(spec, experiment):
        for x in map(function, given):
            yield finite(x.cpu())


def label_grid(experiment: Experiment) -> Tensor:
    """A row of images for every label that is shown, one z a column; the same latents at every call."""
    module = experiment.final_sampler
    assert module is not None
    spec, streams = experiment.spec, experiment.streams.fork("preview")
    shape = spec.data_shape()
    assert shape is not None
    rows = label_rows(label_pool(experiment.data, shape), shape)
    with evaluating(module):
        return by_label(module, spec.sampler, rows, COLUMNS, streams, experiment.runtime)


def some_real(experiment: Experiment) -> Tensor | None:
    if experiment.data is None or experiment.data.shape.kind == "image":
        return None
    return experiment.data.x[:POINTS]
