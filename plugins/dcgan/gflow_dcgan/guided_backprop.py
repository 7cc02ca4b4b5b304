"""What excites the discriminator's last convolutional layer (`dcgan.guided_backprop`): the paper's Figure 5.

Guided backpropagation (Springenberg et al. 2014, arXiv 1412.6806, Figure 1): backwards through a ReLU y = max(x, 0) a
gradient R passes only where both are positive,

    R <- [x > 0] [R > 0] R.

A leaky ReLU is treated alike: what is negative going in passes nothing back, whatever the slope. Everything else
keeps its own gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import attrs
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from gflow_core import Batch, DataShape, Diverged, GflowError, Result, Runtime, Subject, image_grid, real_index
from gflow_dcgan.layers import convolutions, example_labels
from gflow_dcgan.untrained import untrained

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gflow_core import Spec

__all__ = ["Guided", "concentration", "foresee", "guided_backprop", "guided_gradient", "last_maps", "selectivity"]

Maps = Callable[[Batch], Tensor]
"""Items -> the activations [B, C, h, w] of one layer."""

TOP = 0.1
"""Share of the pixels in which a concentrated gradient has most of its energy."""


def guided_backprop(
    subject: Subject,
    *,
    features: int,
    maps: tuple[int, ...],
    images: int,
    real_samples: int | None,
    batch_size: int,
) -> Result:
    """Guided gradients of each map's strongest responses, of the trained discriminator and of one with random weights.

    Figure `guided_backprop`; table `maps`, a row for each network and map; scores: their means over maps. Raises
    Diverged where responses are NaN or infinite.
    """
    data, runtime = subject.data, subject.runtime
    assert data is not None
    assert subject.discriminator is not None
    labelled = subject.spec.discriminator.conditional

    def items(index: Tensor) -> Batch:
        batch = data.batch(index, runtime.device)
        return batch if labelled else Batch(batch.x)

    index = real_index(data, real_samples or len(data))
    pieces = index.split(batch_size)
    chosen = _chosen(subject.discriminator, items(index[:2]), features, maps)
    fresh = untrained(subject, index, batch_size)

    found: dict[str, dict[int, _Response]] = {}
    for name, network in (("trained", subject.discriminator), ("random", fresh)):
        activations = last_maps(network, items(index[:2]))
        responses = []
        for done, piece in enumerate(pieces):
            subject.progress(f"responses of {name} maps", done * batch_size, len(index))
            with torch.no_grad(), runtime.autocast():
                responses.append(activations(items(piece))[:, chosen].float().amax((2, 3)).cpu())
            if not bool(responses[-1].isfinite().all()):
                raise Diverged(
                    f"step {subject.step}: responses of the {name} discriminator are NaN or infinite; train with a "
                    "lower rate, or analyze an earlier checkpoint"
                )
        found[name] = {}
        for channel, response in zip(chosen, torch.cat(responses).T, strict=True):
            order = response.argsort(descending=True, stable=True)[:images]
            batch = items(index[order])
            gradient = guided_gradient(activations, batch, channel, runtime)
            found[name][channel] = _Response(response, batch.x.float().cpu(), gradient.float().cpu())
    rows = [
        {"network": name, "map": channel, **response.numbers()}
        for name, responses_of in found.items()
        for channel, response in responses_of.items()
    ]
    return Result(
        scores={
            f"{measure}{suffix}": _mean([row[measure] for row in rows if row["network"] == name])
            for measure in ("concentration", "selectivity")
            for name, suffix in (("trained", ""), ("random", "_random"))
        },
        tables={"maps": rows},
        figures={"guided_backprop": _figure(found, data.shape, subject.step)},
        manifest=subject.protocol() | {"n_real": len(index), "images": min(images, len(index)), "maps": chosen},
    )


def foresee(spec: Spec, *, features: int, maps: tuple[int, ...]) -> None:
    """Try a fresh discriminator. Raises GflowError where it has no convolution, or not the maps that are listed."""
    shape = spec.dataset.data_shape()
    example = Batch(torch.zeros(2, *shape.shape), example_labels(spec.discriminator, shape))
    _chosen(spec.discriminator.build(shape).eval(), example, features, maps)


@torch.no_grad()
def _chosen(network: nn.Module, example: Batch, features: int, maps: tuple[int, ...]) -> list[int]:
    """The maps that are looked at: `maps`, or the first `features`.

    Raises GflowError where there are none, or not those listed.
    """
    channels = last_maps(network, example)(example).shape[1]
    if maps and max(maps) >= channels:
        raise GflowError(
            f"dcgan.guided_backprop: maps names map {max(maps)}, and the discriminator's last convolutional layer "
            f"has maps 0 to {channels - 1}"
        )
    return list(maps or range(min(features, channels)))


# ------------------------------------------------------------------ networks


def _judge(network: Callable[..., Any], batch: Batch) -> Any:
    return network(batch.x) if batch.y is None else network(batch.x, batch.y)


def last_maps(network: nn.Module, example: Batch) -> Maps:
    """The activations of the network's last convolutional layer.

    A network that has `conv_features(x, y) -> [layer, ...]` gives its last entry, after norm and nonlinearity. Of any
    other it is the output of the nn.Conv2d that it uses last; those to a single map, which is a logit, do not count.
    Raises GflowError where there is none.
    """
    features = getattr(network, "conv_features", None)
    if features is not None:
        return lambda batch: _judge(features, batch)[-1]
    with torch.no_grad():
        order = convolutions(network, nn.Conv2d, lambda: _judge(network, example))
    order = [module for module in order if module.out_channels != 1]
    if not order:
        raise GflowError(
            f"dcgan.guided_backprop: the discriminator ({type(network).__name__}) uses no nn.Conv2d with several maps; "
            "choose a convolutional one"
        )

    def maps(batch: Batch) -> Tensor:
        held: list[Tensor] = []

        def hold(module: nn.Module, given: Any, out: Tensor) -> Tensor:
            held.append(out)
            return out.clone()  # a nonlinearity in place would write into what is held

        with order[-1].register_forward_hook(hold):
            _judge(network, batch)
        return held[-1]

    return maps


# ------------------------------------------------------------------ guided gradients


class _Rectify(torch.autograd.Function):
    """ReLU or leaky ReLU with the guided backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: float) -> Tensor:
        ctx.save_for_backward(x > 0)
        return F.leaky_relu(x, slope)

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> tuple[Tensor, None]:
        (positive,) = ctx.saved_tensors
        return gradient[0].clamp(min=0) * positive, None


def _rectify(input: Tensor, negative_slope: float, inplace: bool = False) -> Tensor:
    out: Tensor = _Rectify.apply(input, negative_slope)  # type: ignore[no-untyped-call]
    return input.copy_(out) if inplace else out


class Guided(TorchFunctionMode):
    """Within the block every ReLU and leaky ReLU, as a module, function or method, has the guided backward pass."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if name.removesuffix("_") not in ("relu", "leaky_relu"):
            return func(*args, **options)
        if name.endswith("_"):
            options["inplace"] = True
        if len(args) < 2:
            options.setdefault("negative_slope", 0.01 if "leaky" in name else 0.0)
        return _rectify(*args, **options)


def guided_gradient(maps: Maps, batch: Batch, channel: int, runtime: Runtime) -> Tensor:
    """Guided gradient [B, *shape], by its pixels, of each item's greatest response in map `channel`."""
    x = batch.x.detach().clone().requires_grad_()
    with Guided(), runtime.autocast():
        strongest = maps(Batch(x, batch.y))[:, channel].flatten(1).max(1).values
    (gradient,) = torch.autograd.grad(strongest.sum(), x)
    return gradient


# ------------------------------------------------------------------ numbers


def concentration(gradient: Tensor) -> Tensor:
    """Share of the energy g^2 of each gradient [B, C, H, W] in its strongest tenth of the pixels: 0.1 if it is spread
    evenly, 1 if it is all there, NaN if there is none; [B]."""
    energy = gradient.double().square().sum(1).flatten(1)
    top = energy.topk(math.ceil(TOP * energy.shape[1]), 1).values
    return top.sum(1) / energy.sum(1)


def selectivity(response: Tensor, images: int) -> float:
    """How far the `images` strongest of the responses [n] lie above the median, in their standard deviation.

    (A ratio to the median would depend on where a map's zero is.) NaN where all responses are equal.
    """
    response = response.double()
    strongest = response.topk(min(images, len(response))).values.mean()
    return float((strongest - response.median()) / response.std(correction=0))


@attrs.frozen(eq=False)
class _Response:
    """One map of one network: its greatest response to every item, the items of the strongest, their gradients."""

    response: Tensor
    x: Tensor
    gradient: Tensor

    def numbers(self) -> dict[str, float | None]:
        return {
            "strongest": _number(float(self.response.max())),
            "median": _number(float(self.response.median())),
            "selectivity": _number(selectivity(self.response, len(self.x))),
            "concentration": _number(float(concentration(self.gradient).nanmean())),
        }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _mean(values: list[Any]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


# ------------------------------------------------------------------ the figure


def _figure(found: Mapping[str, Mapping[int, _Response]], shape: DataShape, step: int) -> Figure:
    """A row for each map: the images that excite it most, over their guided gradients; trained, then random."""
    from matplotlib.figure import Figure

    titles = {"trained": "trained discriminator", "random": "the same with random weights"}
    channels = list(found["trained"])
    count = len(found["trained"][channels[0]].x)
    width = 6.0
    height = 2 * width / count * shape.shape[1] / shape.shape[2] + 0.1
    figure = Figure(figsize=(2 * width + 0.6, height * len(channels) + 0.9), layout="constrained")
    panels = figure.subplots(len(channels), 2, squeeze=False)
    for column, (name, responses) in enumerate(found.items()):
        for row, (channel, response) in enumerate(responses.items()):
            axes = panels[row, column]
            axes.imshow(_pair(response, shape, count), interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            if row == 0:
                axes.set_title(titles[name], fontsize=11)
            if column == 0:
                axes.set_ylabel(f"map {channel}", fontsize=10)
    figure.suptitle(
        f"step {step:,}, last convolutional layer: the images that excite each map most, over their guided gradients "
        "(grey: 0)",
        fontsize=11,
    )
    return figure


def _pair(response: _Response, shape: DataShape, columns: int) -> Any:
    """Images in one row, their gradients below, each scaled by its own largest absolute value."""
    gradient = response.gradient
    scaled = gradient / gradient.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-30)
    images = image_grid(response.x, shape, columns)
    below = image_grid(scaled, attrs.evolve(shape, low=-1.0, high=1.0), columns)
    return torch.cat([torch.from_numpy(images), torch.from_numpy(below)[2:]]).numpy()
