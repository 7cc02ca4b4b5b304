"""gflow score: the analyzers' scores of one set of items against another, of whatever these are made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor

from gflow_core.errors import DataError, GflowError, Problem, RecipeError, did_you_mean, for_people
from gflow_core.files.reading import parse_toml
from gflow_core.machine.runtime import Runtime
from gflow_core.machine.streams import Streams, draws_kept
from gflow_core.nn.sampling import CHUNK
from gflow_core.parts.analysis import Result
from gflow_core.parts.nouns import DataShape, Progress, no_progress
from gflow_core.parts.plugins import plugins
from gflow_core.parts.source import Source
from gflow_core.parts.spec import Analysis, Spec
from gflow_core.parts.training import Experiment
from gflow_core.recipes.asking import ask
from gflow_core.recipes.describe import options_of
from gflow_core.recipes.overrides import apply
from gflow_core.recipes.tree import to_node, to_value
from gflow_core.recipes.values import Reader
from gflow_core.recipes.words import WrongError, path_text
from gflow_core.runs.analyze import analyze
from gflow_core.runs.blame import blaming
from gflow_core.runs.build import read_data
from gflow_core.scores.features import real_index
from gflow_core.scores.sides import Items, Loose, Samples, Side, side_of

__all__ = ["Judgement", "score"]

DRAWN = 10_000
"""Samples of a run that is the reference, where nobody says how many."""


@attrs.frozen
class Judgement:
    """What `score` found."""

    judged: str
    """What was scored, in words."""
    reference: str
    """What it was scored against, in words."""
    results: Mapping[str, Result]
    """Metric -> its scores and their manifest, as the analyzer of this name finds them."""
    doubts: tuple[str, ...]
    """Why not to trust the scores, a sentence each."""


@for_people
@draws_kept()
def score(
    judged: Path | str | np.ndarray | Tensor,
    reference: Path | str | np.ndarray | Tensor,
    *overrides: str,
    metrics: Sequence[str] = ("frechet",),
    encoder: str | Mapping[str, Any] | None = None,
    n: int | None = None,
    image_size: int | None = None,
    channels: int | None = None,
    against: str | None = None,
    seed: int | None = None,
    device: str | None = None,
    progress: Progress = no_progress,
) -> Judgement:
    """Score one set of items against another, by the analyzers of the names in `metrics`.

    These are analyzers that ask samples and data alone, such as frechet, kernel, inception, prdc and two_sample, and a
    plugin's that says so (`of_samples`).
    Each set is a folder, zip or tar of images, a .npy or .npz (one of several arrays as FILE.npz[NAME]), a run folder
    (its samples), a recipe (its data), or an array or tensor: images [N, H, W], [N, H, W, C] or [N, C, H, W] of uint8,
    vectors [N, d] of floats. `encoder` is a name, or a mapping with `use` and options; `n` items of each
    count, or as many as the analyzers' defaults say; overrides ("kernel.subset_size=100") change other options.
    Images of files are taken at the size and in the channels of the reference, and resized only where `image_size`
    is given. `against` is the split of a recipe's data, `seed` that of a run's samples and of random subsets (a run's
    own by default, else 0), and `device` where to compute. Raises GflowError for all that does not fit.
    """
    names = list(dict.fromkeys(metrics))
    parts, stated = _parts(names, encoder, n, against, overrides)
    a, b = (side_of(one, name, device, seed, progress) for name, one in (("judged", judged), ("reference", reference)))
    shape = _agreed(a, b, image_size, channels)
    dataset = b.part(shape)
    _check(parts, dataset, b)
    place = a.experiment.runtime.device.type if isinstance(a, Samples) and device is None else device or "auto"
    runtime = Runtime.of(place, "float32")
    compared = _reference(b, dataset, parts, progress)
    items = None if isinstance(a, Samples) else _items(a, a.part(shape), progress)
    if items is not None:
        parts = {name: _counted(a, name, part, len(items), name in stated) for name, part in parts.items()}
        _check(parts, dataset, b)
    streams, step = Streams(seed or 0), 0
    if isinstance(a, Samples):
        streams, step = a.experiment.streams, a.step
    results = {}
    for name, part in parts.items():
        drawn = a.drawn(part.samples, name, _at_once(part), progress) if isinstance(a, Samples) else items
        assert drawn is not None
        index = torch.arange(part.samples) if isinstance(a, Samples) else real_index(drawn, part.samples)
        handed = Items(drawn, index)
        analysis = Analysis(name=name, every=0, part=part)
        spec = Spec(dataset=dataset, sampler=handed, analyze=(analysis,))
        experiment = Experiment(spec, runtime, streams, data=compared, sampler=handed.build())
        with blaming(spec, experiment):
            found = analyze(experiment, analysis, step, progress=progress)
        found.manifest |= {"ema": a.averaged if isinstance(a, Samples) else None, **_resized(a, b, shape)}
        results[name] = found
    same = items is not None and items.fingerprint == compared.fingerprint
    return Judgement(str(a), str(b), results, tuple(_doubts(results, n, a, b, shape, same)))


# ------------------------------------------------------------------ what is asked for


def _parts(
    names: Sequence[str],
    encoder: str | Mapping[str, Any] | None,
    n: int | None,
    against: str | None,
    overrides: Sequence[str],
) -> tuple[dict[str, Any], set[str]]:
    """Metric -> its analyzer, with the options that were given; and those of which it was said how many items count.

    Raises RecipeError with all that is wrong.
    """
    analyzers = plugins().registries["analyzer"]
    known = [name for name in analyzers if getattr(analyzers.entry(name).part, "of_samples", False)]
    for name in names:
        if name in analyzers and name not in known:
            raise GflowError(f"metric {name}: it asks more of a run than samples and data; gflow analyze RUN {name}")
        if name not in known:
            close = did_you_mean(name, known) or f"; there are {', '.join(known)}"
            raise GflowError(f"metric {name}: no such metric{close}")
    if not names:
        raise GflowError(f"metric: name one of {', '.join(known)}, or several")
    given: dict[str, Any] = {}
    if encoder is not None:
        given["encoder"] = _encoder(encoder)
    if n is not None:
        given |= {"samples": n, "real_samples": n}
    if against is not None:
        given["against"] = against
    takes = {name: {field.name for field in options_of(analyzers.entry(name).part)} for name in names}
    for option in ("encoder", "against"):
        if option in given and not any(option in own for own in takes.values()):
            raise GflowError(f"--{option}: none of {', '.join(names)} has an option {option}; leave it out")
    tree: dict[str, Any] = {
        name: to_node({option: value for option, value in given.items() if option in takes[name]}, "") for name in names
    }
    for text in overrides:
        apply(tree, text, plugins())
    if others := [key for key in tree if key not in names]:
        raise GflowError(f"override {others[0]}...: not one of the metrics; they are {', '.join(names)}")
    reader, parts, problems = Reader(plugins()), {}, []
    for name in names:
        try:
            parts[name] = reader.part({**to_value(tree[name]), "use": name}, "analyzer")
        except WrongError as error:
            problems += [Problem(path_text((name, *place)), said) for place, said in error.faults]
    if problems:
        raise RecipeError(problems)
    return parts, {name for name in names if "samples" in tree[name]}


def _encoder(given: str | Mapping[str, Any]) -> Any:
    """A name, or a table of its options that TOML may write in a line."""
    if not isinstance(given, str):
        return dict(given)
    if not given.lstrip().startswith("{"):
        return {"use": given}
    try:
        return parse_toml(f"encoder = {given}")["encoder"]
    except ValueError as error:
        raise GflowError(f'--encoder {given}: {error}; write it as {{ use = "mnist_cnn", layer = "hidden" }}') from None


def _check(parts: Mapping[str, Any], dataset: Any, b: Side) -> None:
    """Raise RecipeError with all that keeps the analyzers from looking at such items."""
    terms = {"set encoder = { use = ... }": "say --encoder NAME"}  # what a recipe says -> what is said here
    if isinstance(b, Loose):
        terms["set dataset.channels ="] = "say --channels"
    problems = []
    for name, part in parts.items():
        for said in ask(part, Spec(dataset=dataset)):
            for term, here in terms.items():
                said = said.replace(term, here)
            problems.append(Problem(name, said))
    if problems:
        raise RecipeError(problems)


def _counted(a: Side, name: str, part: Any, there: int, stated: bool) -> Any:
    """The analyzer for as many items as are there; GflowError where more were asked for."""
    if part.samples <= there:
        return part
    if stated:
        raise GflowError(f"{a.text}: {there} items are there, and {name} is to look at {part.samples}; lower --n")
    splits = getattr(part, "splits", 1)
    try:
        return attrs.evolve(part, samples=max(there - there % splits, 1))
    except ValueError as error:  # fewer than it can look at
        raise GflowError(f"{a.text}: too few items for {name}, {there}; {error}") from None


# ------------------------------------------------------------------ what the items look like


def _agreed(a: Side, b: Side, image_size: int | None, channels: int | None) -> DataShape:
    """What items of both sides look like. GflowError where they do not agree and nobody says how they shall."""
    fixed = b.shape if not isinstance(b, Loose) else None
    if fixed is None:
        assert isinstance(b, Loose)
        fixed = _of_files(b, image_size, channels)
    for side in (a, b):
        if isinstance(side, Loose):
            _check_files(side, fixed, image_size, channels)
        elif side.shape != fixed:
            raise GflowError(f"{side}; the other side is {fixed}: score like with like")
        elif fixed.kind == "image" and image_size and fixed.shape[1:] != (image_size, image_size):
            raise GflowError(f"--image-size {image_size}: only files are resized, and {side}; leave it out")
        elif fixed.kind == "image" and (channels or fixed.shape[0]) != fixed.shape[0]:
            raise GflowError(f"--channels {channels}: only files are converted, and {side}; leave it out")
    return fixed


def _of_files(b: Loose, image_size: int | None, channels: int | None) -> DataShape:
    if b.held.dim is not None:
        return DataShape("vector", (b.held.dim,))
    size = (image_size, image_size) if image_size else b.held.size
    if size is None:
        raise GflowError(
            f"{b}, not of one size; with --image-size N all are cropped to their centre square and resized"
        )
    return DataShape("image", (channels or b.held.channels, *size), -1.0, 1.0)


def _check_files(side: Loose, shape: DataShape, image_size: int | None, channels: int | None) -> None:
    held = side.held
    if (held.dim is not None) != (shape.kind == "vector") or (held.dim is not None and (held.dim,) != shape.shape):
        raise GflowError(f"{side}; the reference is {shape}: score like with like")
    if held.dim is not None:
        if image_size or channels:
            raise GflowError(f"--image-size and --channels are for images; {side}")
        return
    if image_size and side.is_array and held.size is not None and held.size[0] != held.size[1]:
        raise GflowError(f"{side}; arrays are resized, not cropped: cut them to squares first")
    if image_size is None and held.size != shape.shape[1:]:
        height, width = shape.shape[1:]
        mend = f"say --image-size {height} if all are to be cropped to their centre square and resized to that"
        mend = mend if height == width else f"make files of {width}x{height} yourself"
        raise GflowError(f"{side}; the reference is {shape}: what is resized scores otherwise, so {mend}")
    if channels is None and held.channels > shape.shape[0]:
        raise GflowError(f"{side}; the reference is grey: say --channels 1 to make these grey, or 3 if files are both")


def _changed(side: Side, shape: DataShape) -> str | None:
    """What is done to a side's files; None where nothing is."""
    if not isinstance(side, Loose) or side.held.dim is not None:
        return None
    channels, *size = shape.shape
    done = []
    if side.held.size != shape.shape[1:]:
        done.append("cropped to the centre square, resized to {}x{} by bicubic".format(*size))
    if side.held.channels != channels:
        done.append("made grey" if channels == 1 else "grey repeated in 3 channels")
    return f"{side.held}, {', '.join(done)}" if done else None


def _resized(a: Side, b: Side, shape: DataShape) -> dict[str, Any]:
    """For the manifest: what was done to files before an analyzer saw them; empty where nothing was."""
    sides = {"judged": _changed(a, shape), "reference": _changed(b, shape)}
    done = {name: said for name, said in sides.items() if said}
    return {"processing": done} if done else {}


# ------------------------------------------------------------------ the items


def _reference(b: Side, dataset: Any, parts: Mapping[str, Any], progress: Progress) -> Source:
    """What all metrics compare with. Of a run other samples than those that are judged."""
    if not isinstance(b, Samples):
        return _items(b, dataset, progress)
    # Those without the option compare with two sets of as many.
    wanted = [getattr(part, "real_samples", 2 * part.samples) or DRAWN for part in parts.values()]
    return b.drawn(max(wanted), "reference", _at_once(next(iter(parts.values()))), progress)


def _items(side: Side, dataset: Any, progress: Progress) -> Source:
    """All items of a side. What is wrong with files is told without what a recipe would do about it."""
    try:
        return read_data(dataset, progress)
    except DataError as error:
        if not isinstance(side, Loose):
            raise
        raise DataError(str(error).replace(", or set dataset.skip_unreadable = true", "")) from None


def _at_once(part: Any) -> int:
    """Samples that the analyzer has a run draw at once."""
    return getattr(part, "batch_size", CHUNK)


# ------------------------------------------------------------------ what to think of it


def _doubts(
    results: Mapping[str, Result], n: int | None, a: Side, b: Side, shape: DataShape, same: bool
) -> Iterator[str]:
    for name, found in results.items():
        scores, manifest = found.scores, found.manifest
        if scores.get("rank_deficient"):
            yield (
                f"{name}: no more items than features (n_real {manifest['n_real']}, n_fake {manifest['n_fake']}), so "
                "the distance is mostly the lack of directions in a covariance; take more items, or fewer features"
            )
        elif scores.get("rank_deficient_halves"):
            yield f"{name}: the halves of the reference have no more items than features, so their distance says little"
        if n is not None and manifest.get("n_real", n) < n:
            yield f"{name}: it compares with {manifest['n_real']} items of the reference, fewer than the {n} of --n"
    done = [_changed(side, shape) for side in (a, b)]
    if any(done) and done[0] != done[1]:
        sides = f"judged: {done[0] or a.untouched}; reference: {done[1] or b.untouched}"
        yield f"the two sides were not processed alike ({sides})"
    if same:
        yield "both sides are the same items"
