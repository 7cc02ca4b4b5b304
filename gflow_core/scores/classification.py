"""cas: how well a classifier that learned from samples knows held-out data (Ravuri and Vinyals 2019)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import attrs
import torch
from torch import Tensor, nn

from gflow_core.encoders.learning import learn
from gflow_core.encoders.network import float32_only
from gflow_core.errors import DataError
from gflow_core.machine.runtime import Runtime
from gflow_core.machine.streams import derive, seeded
from gflow_core.nn.labels import label_name
from gflow_core.nn.sampling import Given, draw_through, sample
from gflow_core.parts.analysis import Result, Subject
from gflow_core.parts.contracts import EncoderPart
from gflow_core.parts.nouns import DataShape
from gflow_core.parts.source import Source
from gflow_core.scores.bars import paired_bars
from gflow_core.scores.features import Features, as_stored, real_index
from gflow_core.scores.held_out import held_out

__all__ = ["classification_accuracy", "small_cnn"]

BATCH = 64
"""Items that are learned from at once."""

RATE = 2e-3
"""AdamW's learning rate at its height."""

CHUNK = 256
"""Items drawn, encoded or classified at once."""

NAMED = 20
"""Classes up to which the figure has bars for each."""


def classification_accuracy(
    subject: Subject, *, encoder: EncoderPart | None, samples: int, held_out_samples: int, epochs: int, width: int
) -> Result:
    """Accuracy on held-out items of a classifier taught by samples, and of one taught by training items.

    Without an encoder it is a small CNN on pixels. DataError: one training item.
    """
    data = subject.data
    assert data is not None
    assert data.shape.classes is not None
    n = min(samples, len(data))
    if n < 2:
        raise DataError("cas: the data has one item, and classes are learned from more (dataset.limit)")
    other_part = held_out(subject.spec.dataset)
    other = other_part.load(subject.progress)
    features = None if encoder is None else Features.of(subject, encoder, CHUNK)
    read = partial(_items, subject=subject, features=features)

    test = read(_first(other, held_out_samples), what="held-out items")
    truth = test.y.cpu()
    right = {}
    for suffix, source in (("", _drawn(subject, n)), ("_real", _first(data, n))):
        what = "samples" if not suffix else "training items"
        taught = read(source, what=what)
        with seeded(derive(0, "cas")), float32_only(subject.runtime.device):
            if features is None:
                network = small_cnn(data.shape, width)
            else:
                network = _linear(features.encoder.dim, data.shape.classes)
            network.to(subject.runtime.device)
            _learn(network, taught, epochs, partial(subject.progress, f"learning from {what}"))
            right[suffix] = _classes(network, test) == truth

    name = f"CAS({'small_cnn' if features is None else features.encoder.name})"
    result = Result(
        manifest={
            **(subject.protocol() if features is None else features.manifest(n_real=n, n_fake=n)),
            "n_real": n,
            "n_fake": n,
            "conversion": "x255",
            "n_held_out": len(truth),
            "held_out_split": other_part.split,
            "held_out_data": other.fingerprint,
            "epochs": epochs,
            **({"width": width} if features is None else {}),
        }
    )
    for suffix, hits in right.items():
        accuracy = _share(hits)
        result.scores[f"{name}{suffix}"] = accuracy
        result.scores[f"{name}{suffix}_se"] = (accuracy * (1 - accuracy) / len(hits)) ** 0.5
    by_class: dict[str, tuple[float, float]] = {}
    rows = result.tables["classes"] = []
    for k in truth.unique():
        here = truth == k
        label = label_name(k, data.shape, data.class_names)
        fake, real = by_class[label] = _share(right[""][here]), _share(right["_real"][here])
        rows.append({"class": label, "count": int(here.sum()), "accuracy": fake, "accuracy_real": real})
    shown = {"all": (_share(right[""]), _share(right["_real"]))} | (by_class if len(by_class) <= NAMED else {})
    bars = [{key: pair[i] for key, pair in shown.items()} for i in (0, 1)]
    title = f"step {subject.step}: held-out items that {name[4:-1]} gets right, taught by samples or by data"
    result.figures["accuracy"] = paired_bars(bars[0], bars[1], "training items", title)
    return result


def _share(hits: Tensor) -> float:
    return float(hits.double().mean())


# ------------------------------------------------------------------ what is learned from


@attrs.frozen(eq=False)
class _Labelled:
    """Items by index, as the classifier reads them, and their classes [n]; both on its device."""

    x: Callable[[Tensor], Tensor]
    y: Tensor


def _items(source: Source, *, subject: Subject, features: Features | None, what: str) -> _Labelled:
    """Pixels in [-1, 1], or features; items as they lie in the source."""
    device = subject.runtime.device
    assert source.y is not None
    y = source.y.to(device)
    if features is None:
        return _Labelled(lambda index: source.batch(index, device).x, y)
    seen = []
    for piece in torch.arange(len(source)).split(CHUNK):
        seen.append(features.encode(source.batch(piece, device).x))
        subject.progress(f"features of {what}", sum(map(len, seen)), len(source))
    found = torch.cat(seen)
    return _Labelled(lambda index: found[index.to(device)], y)


def _first(data: Source, n: int) -> Source:
    """The n items that scores are computed on."""
    index = real_index(data, n)
    assert data.y is not None
    return attrs.evolve(data, x=data.x[index], y=data.y[index], joints=())


def _drawn(subject: Subject, n: int) -> Source:
    """n samples as bytes, with the labels that they were asked for, which are as frequent as in the data."""
    assert subject.sampler is not None
    assert subject.data is not None
    look = partial(_with_labels, subject.sampler, subject.data.shape)
    x, y = [], []
    for drawn, labels in draw_through(subject, look, n, CHUNK):
        x.append(drawn.add(1).mul(127.5).round().to(torch.uint8).cpu())
        y.append(labels.cpu())
        subject.progress("samples", sum(map(len, y)), n)
    return attrs.evolve(subject.data, x=torch.cat(x), y=torch.cat(y))


def _with_labels(sampler: nn.Module, shape: DataShape, runtime: Runtime, given: Given) -> tuple[Tensor, Tensor]:
    assert given[1] is not None
    return as_stored(sample(sampler, runtime, given), shape), given[1]


# ------------------------------------------------------------------ classifiers


def small_cnn(shape: DataShape, width: int) -> nn.Module:
    """Images [B, *shape] -> logits [B, classes].

    3 x 3 convolutions with batch norm and ReLU, each followed by a 2 x 2 max-pool, until fewer than 8 pixels are left;
    `width` channels, doubled each time up to eight times as many; then a linear layer.
    """
    assert shape.classes is not None
    channels, *size = shape.shape
    layers: list[nn.Module] = []
    outputs = width
    while min(size) >= 8:
        layers += [
            nn.Conv2d(channels, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
        channels, outputs, size = outputs, min(2 * outputs, 8 * width), [side // 2 for side in size]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * size[0] * size[1], shape.classes))


def _linear(dim: int, classes: int) -> nn.Module:
    return nn.Sequential(nn.BatchNorm1d(dim), nn.Linear(dim, classes))


def _learn(network: nn.Module, taught: _Labelled, epochs: int, progress: Callable[[int, int], None]) -> None:
    device = taught.y.device

    def batch(index: Tensor) -> tuple[Tensor, Tensor]:
        return taught.x(index), taught.y[index.to(device)]

    with torch.inference_mode(False), torch.enable_grad():
        n = len(taught.y)
        learn(network.train(), batch, n, epochs=epochs, batch_size=min(BATCH, n), rate=RATE, progress=progress)
    network.eval()


@torch.no_grad()
def _classes(network: nn.Module, items: _Labelled) -> Tensor:
    """What the network takes the items for, [n], on the CPU."""
    return torch.cat([network(items.x(piece)).argmax(1).cpu() for piece in torch.arange(len(items.y)).split(CHUNK)])
