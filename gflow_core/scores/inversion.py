"""inversion: latents whose samples come nearest to given images."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from matplotlib.figure import Figure
from torch import Tensor

from gflow_core.data.decode import Decoding
from gflow_core.data.image_folder import read_image_folder
from gflow_core.data.places import expand, not_found
from gflow_core.data.store import open_store
from gflow_core.encoders.network import float32_only
from gflow_core.errors import DataError
from gflow_core.nn.sampling import draw_labels, label_pool, sample
from gflow_core.parts.analysis import Result, Subject
from gflow_core.parts.contracts import EncoderPart
from gflow_core.parts.nouns import DataShape, Progress
from gflow_core.parts.source import Source
from gflow_core.runs.pictures import image_grid
from gflow_core.scores.features import Features, real_index
from gflow_core.scores.held_out import compared_items
from gflow_core.scores.sample_grid import grid_figure

__all__ = ["images_of", "inversion"]

Distance = Literal["maps", "features"]
Read = Callable[[Tensor], Tensor]


def inversion(
    subject: Subject,
    *,
    images: str | None = None,
    count: int,
    steps: int,
    starts: int,
    rate: float,
    encoder: EncoderPart | None,
    distance: Distance,
    weight: float,
) -> Result:
    """The root mean squared error of the pixels, in the data's units, of some held-out images and of samples.

    Of the first `count` of other `images` where there is a folder, zip or tar of them.

    The figures `data` and `samples` have three rows: what was sought, what was found, and how far they are apart.
    """
    data, part, sampler = subject.data, subject.spec.sampler, subject.sampler
    assert data is not None
    assert sampler is not None
    device = subject.runtime.device
    whose: dict[str, Any]
    if images is None:
        real, split = compared_items(subject)
        count = min(count, len(real))
        index, whose = real_index(real, count), {"held_out_split": split, "held_out_data": real.fingerprint}
    else:
        real, sums = images_of(images, data.shape, count, subject.progress)
        count = len(real)
        index, whose = torch.arange(count), {"images": sums}
    features = None if encoder is None else Features.of(subject, encoder, count)

    given = real.batch(index, device)
    z = part.latent.draw(count, subject.streams["latent"])
    y = draw_labels(label_pool(data, data.shape), count, subject.streams["label"]) if part.conditional else None
    with float32_only(device):
        own = sample(sampler, subject.runtime, (z, y))
    result = Result(
        manifest={
            **subject.protocol(),
            "n_real": count,
            "n_fake": count,
            **whose,
            "steps": steps,
            "starts": starts,
            "rate": rate,
            **({} if features is None else {"encoder": features.encoder.name, "distance": distance, "weight": weight}),
        }
    )
    read = None if features is None else _reader(features.encoder, distance)
    sought = {"": (given.x, given.y if part.conditional else None), "_samples": (own, y)}
    for suffix, (x, labels) in sought.items():
        found = _nearest(subject, x, labels, steps=steps, starts=starts, rate=rate, read=read, weight=weight).to(x)
        error = (found - x).square().flatten(1).mean(1).sqrt().cpu()
        result.scores[f"error{suffix}"] = float(error.mean())
        result.tables[f"errors{suffix}"] = [{"image": i, "error": value} for i, value in enumerate(error.tolist())]
        result.figures[suffix[1:] or "data"] = _figure(x.cpu(), found.cpu(), data.shape)
    return result


def images_of(images: str, shape: DataShape, n: int, progress: Progress) -> tuple[Source, dict[str, str]]:
    """The first n images of a folder, zip or tar, as items of such a shape; and the sha256 of each file, by name.

    They are cropped to the centre square and resized, as image_folder does it. Raises DataError.
    """
    path, mend = expand(images), "set images to a folder, zip or tar of images"
    if not path.exists():
        raise not_found("inversion: images", [path], mend)
    store = open_store(path)
    if not store.names:
        raise DataError(f"inversion: {path}: holds no images; {mend}")
    found = read_image_folder(
        images,
        Decoding(None, shape.shape[1], shape.shape[0]),
        folder="",
        classes=None,
        labelling=None,
        limit=n,
        skip_unreadable=False,
        workers=1,
        progress=progress,
    )
    sums = {}
    for name in found.names:
        member = store.file([name])
        assert member is not None  # it was decoded
        sums[name] = hashlib.sha256(member[1]).hexdigest()
    return Source(found.x, DataShape("image", shape.shape, -1.0, 1.0), found.fingerprint), sums


def _reader(encoder: Any, distance: Distance) -> Read:
    """What an encoder sees of images, as vectors whose squared distances are those asked for.

    By maps as LPIPS has it (Zhang et al. 2018, without learnt weights): channels of length 1 at each position, means
    over positions, summed over depths. By features their mean squared error.
    """
    # An encoder that reads images with gradient says so by `smooth`, which the options ask for.
    if distance == "features":

        def features(x: Tensor) -> Tensor:
            read: Tensor = encoder.features(x)
            return read / math.sqrt(read.shape[1])

        return features

    def maps(x: Tensor) -> Tensor:
        return torch.cat([_unit(one).flatten(1) / math.sqrt(one.shape[2] * one.shape[3]) for one in encoder.maps(x)], 1)

    return maps


def _unit(x: Tensor) -> Tensor:
    """Channels [B, C, h, w] by their length at each position; 0 where all are."""
    return x * (x.square().sum(1, keepdim=True) + 1e-10).rsqrt()


def _nearest(
    subject: Subject,
    x: Tensor,
    y: Tensor | None,
    *,
    steps: int,
    starts: int,
    rate: float,
    read: Read | None,
    weight: float,
) -> Tensor:
    """For each image x [n, *shape] under its label the best of `starts` samples: [n, *shape]."""
    part, sampler, device = subject.spec.sampler, subject.sampler, subject.runtime.device
    assert sampler is not None
    latent, n = part.latent, len(x)
    z = latent.draw(n * starts, subject.streams["start"]).to(device, x.dtype)
    project = getattr(latent, "project", None)
    labels = () if y is None else (y.to(device).repeat_interleave(starts, 0),)
    target = x.repeat_interleave(starts, 0)
    with torch.inference_mode(False), torch.enable_grad(), float32_only(device):
        wanted = None if read is None else read(target).detach()
        z = z.clone().requires_grad_()
        optimizer = torch.optim.Adam([z], lr=rate)
        for step in range(steps + 1):
            made = sampler(z, *labels)
            losses = (made - target).square().flatten(1).mean(1)
            if read is not None and wanted is not None:
                losses = losses + weight * (read(made) - wanted).square().sum(1)
            if step == steps:
                break
            (z.grad,) = torch.autograd.grad(losses.sum(), z)  # of z alone: networks keep no gradient
            optimizer.param_groups[0]["lr"] = rate * 0.5 * (1 + math.cos(math.pi * step / steps))
            optimizer.step()
            if project is not None:
                with torch.no_grad():
                    z.copy_(project(z))
            subject.progress("inversion", step + 1, steps)
    best = losses.detach().view(n, starts).argmin(1)
    found: Tensor = made.detach()[torch.arange(n, device=device) * starts + best]
    return found


def _figure(x: Tensor, found: Tensor, shape: DataShape) -> Figure:
    assert shape.low is not None
    rows = torch.cat([x, found, shape.low + (x - found).abs()])
    return grid_figure(image_grid(rows, shape, len(x)), ["sought", "found", "apart"])
