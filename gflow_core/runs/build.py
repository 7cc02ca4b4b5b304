"""A checked recipe, built: data read, networks initialised, optimizers attached."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from gflow_core.data.checked import checked
from gflow_core.data.feed import Feed, ReplicaFeed, Shelf
from gflow_core.errors import GflowError, PluginError
from gflow_core.machine.runtime import Runtime
from gflow_core.machine.streams import Streams, derive, seeded
from gflow_core.methods.compiled import compiles
from gflow_core.optim.ema import Ema
from gflow_core.optim.freezing import freeze
from gflow_core.optim.player import Player
from gflow_core.optim.replicas import replica, stack
from gflow_core.parts.nouns import DataShape, Progress, TextEncoder, no_progress
from gflow_core.parts.returned import kind_fault, named, promise_fault, refuse
from gflow_core.parts.source import Source
from gflow_core.parts.spec import Spec
from gflow_core.parts.training import Experiment
from gflow_core.runs.blame import blaming
from gflow_core.runs.estimates import growing
from gflow_core.runs.origins import Origin, origins_of
from gflow_core.runs.promised import built_objective, check_augmentations, check_network, module_fault

__all__ = ["build", "build_network", "read_data", "single"]


def build(
    spec: Spec,
    *,
    progress: Progress = no_progress,
    load_data: bool = True,
    begin: bool = True,
    precision: str = "auto",
    compiled: bool | None = None,
    data: Source | None = None,
    text: TextEncoder | None = None,
) -> Experiment:
    """Build everything the recipe names. Raises DataError where data is missing, PluginError for what parts do wrong.

    `load_data = False` leaves out the data, the players and the objective: enough to sample from a run. `begin = False`
    reads no weights that networks begin from: those of a checkpoint are put in their place. `precision` is the one
    that "auto" stands for, where that is known; so is `compiled`, of `train.compile`. `data` that were read already are
    not read again, and `text` is the encoder that a run began with; by default one is fitted to the captions.
    """
    if compiled is None:
        compiled = load_data and compiles(spec)
    with blaming(spec):
        return _build(spec, progress, load_data, begin, precision, compiled, data, text)


def _build(
    spec: Spec,
    progress: Progress,
    load_data: bool,
    begin: bool,
    precision: str,
    compiled: bool,
    data: Source | None,
    text: TextEncoder | None,
) -> Experiment:
    shape = spec.dataset.data_shape() if spec.dataset else None
    runtime = _runtime(spec, precision)
    streams = Streams(spec.seed)
    # Dropout and the like draw from torch's global generators: each process its own numbers.
    torch.manual_seed(derive(spec.seed, f"global.{runtime.rank}"))

    experiment = Experiment(spec=spec, runtime=runtime, streams=streams, compiled=compiled)
    if spec.train and spec.train.replicas > 1:
        if runtime.world > 1:
            raise GflowError("train.replicas: replicas share one process; start one, or set train.replicas = 1")
        experiment.replicas = tuple(Streams(seed) for seed in spec.seeds)
    if spec.dataset and load_data:
        data = read_data(spec.dataset, progress) if data is None else data
        experiment.data = data if text is None else data.under(text)
        check_augmentations(spec, experiment.data.shape)
        augment = spec.train.augment if spec.train else ()
        shelf = Shelf(experiment.data, runtime, spec.storage.on_device)
        each = experiment.replicas or [streams]
        feeds = [Feed(experiment.data, runtime, own, augment=augment, shelf=shelf) for own in each]
        experiment.feed = ReplicaFeed(feeds) if experiment.replicas else feeds[0]
    origins = origins_of(spec) if begin else {}
    experiment.origins = {name: origin.record for name, origin in origins.items()}
    if spec.sampler:
        experiment.sampler = _network("sampler", spec, shape, runtime, origins)
    if spec.discriminator:
        experiment.discriminator = _network("discriminator", spec, spec.judged(shape), runtime, origins)
    if spec.train and spec.train.ema and experiment.sampler is not None:
        experiment.ema = Ema(experiment.sampler, spec.train.ema, spec.train.batch_size)
        if "ema" in origins:
            origins["ema"].begin(experiment.ema.module)
    if spec.objective and load_data:
        networks = {"sampler": experiment.sampler, "discriminator": experiment.discriminator}
        for name in spec.objective.players:
            module = networks[name]
            assert module is not None
            experiment.players[name] = Player(
                module,
                spec.optimizer[name],
                runtime,
                clip=spec.train.clip if spec.train else None,
                replicas=len(experiment.replicas),
                still=freeze(module, spec.networks[name].freeze, f"{name}.freeze"),
            )
        experiment.objective = built_objective(spec.objective, spec.objective.build(experiment))
    return experiment


def _runtime(spec: Spec, precision: str) -> Runtime:
    """Device, precision and processes as [train] asks."""
    data = spec.data_shape()
    images = data is not None and data.kind == "image"
    train = spec.train
    if train is None:
        return Runtime.of(precision=precision, images=images)
    return Runtime.of(
        train.device,
        precision if train.precision == "auto" else train.precision,
        images=images,
        batch_size=train.batch_size,
        deterministic=train.deterministic,
        draws=train.draws,
        tf32=train.tf32,
    )


def single(experiment: Experiment, index: int) -> Experiment:
    """Replica `index` as the run of its own seed that it is, with the weights samples come from.

    A run without replicas is its own replica 0.
    """
    if not experiment.replicas:
        return experiment
    spec, runtime = experiment.spec, experiment.runtime
    assert spec.train is not None
    shape, seed = spec.dataset.data_shape(), spec.seeds[index]
    one = Experiment(
        spec=attrs.evolve(spec, train=attrs.evolve(spec.train, seed=seed, replicas=1)),
        runtime=runtime,
        streams=Streams(seed),
        data=experiment.data,
    )
    stacked = {"sampler": experiment.final_sampler, "discriminator": experiment.discriminator}
    for name, module in stacked.items():
        if module is not None:
            given = spec.judged(shape) if name == "discriminator" else shape
            fresh = build_network(name, getattr(spec, name), given, seed, runtime)
            setattr(one, name, replica(module, fresh, index))
    return one


def _network(
    kind: str, spec: Spec, shape: DataShape | None, runtime: Runtime, origins: Mapping[str, Origin]
) -> nn.Module:
    """The network of the run, as it begins; those of all replicas stacked."""
    part = getattr(spec, kind)
    modules = [build_network(kind, part, shape, seed, runtime, len(spec.seeds)) for seed in spec.seeds]
    if kind in origins:
        for module in modules:
            origins[kind].begin(module)
    if len(modules) == 1:
        if spec.train is not None and kind in getattr(spec.objective, "players", ()):
            _check_single(kind, modules[0], spec, shape, runtime)
        return modules[0]
    assert shape is not None
    size = (part.latent.dim,) if kind == "sampler" else shape.shape
    example = torch.randn(4, *size, generator=torch.Generator().manual_seed(0)).to(runtime.device)
    return stack(kind, modules, example)


@torch.no_grad()
def _check_single(kind: str, module: nn.Module, spec: Spec, shape: DataShape | None, runtime: Runtime) -> None:
    """Where training gives the network one item at a time, it takes one. Raises GflowError: batch norm may not."""
    size, why = spec.smallest_batch(kind, 1 if runtime.device.type == "cuda" else runtime.world)
    if size > 1 or shape is None:
        return
    part = getattr(spec, kind)
    try:
        with seeded(0):
            _zeros_through(kind, deepcopy(module).train(), part, shape, 1, runtime)
    except ValueError as error:  # torch's, of batch norm
        raise GflowError(f"{kind}: cannot be trained on one item at a time, and {why}; raise it ({error})") from error


def _zeros_through(
    kind: str, module: nn.Module, part: Any, shape: DataShape, n: int, runtime: Runtime
) -> tuple[Tensor, Tensor]:
    """n zeros of the shape, and what the network makes of them (of zeros of its z, if it is a sampler)."""
    x = torch.zeros(n, *shape.shape, device=runtime.device)
    given = torch.zeros(n, part.latent.dim, device=runtime.device) if kind == "sampler" else x
    y = None
    if part.conditional:
        y = x.new_zeros(n, dtype=torch.int64) if shape.classes else x.new_zeros(n, shape.label_size)
    return x, module(given) if y is None else module(given, y)


def read_data(part: Any, progress: Progress = no_progress) -> Source:
    """The data, if it is what its options promised. Raises DataError, and PluginError where it is no data at all."""
    shape, data = part.data_shape(), part.load(progress)
    refuse("dataset", part, "load", kind_fault(data, Source, "a Source"))
    if fault := promise_fault(part, data):
        raise PluginError(f"{named('dataset', part)}: {fault} (a defect of the plugin)")
    return checked(data, shape, named("dataset", part))


def build_network(
    kind: str, part: Any, shape: DataShape | None, seed: int, runtime: Runtime, times: int = 1
) -> nn.Module:
    """A network of its own random stream, on the device, in channels-last layout; one of so many.

    Raises GflowError where all of them are too large for the machine; PluginError where it is no network, or two items
    through it, in eval mode, come out as its contract does not say.
    """
    with growing(kind, times), seeded(derive(seed, f"init.{kind}")):
        module = part.build(shape)
    refuse(kind, part, "build", module_fault(module))
    if runtime.world > 1 and runtime.device.type == "cuda":
        module = nn.SyncBatchNorm.convert_sync_batchnorm(module)
    module = module.to(runtime.device, memory_format=torch.channels_last)
    check_network(kind, module, part, shape, runtime)
    network: nn.Module = module
    return network
