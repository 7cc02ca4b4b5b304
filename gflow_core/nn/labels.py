"""Labels as networks read them, and as people write them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gflow_core.errors import GflowError, did_you_mean
from gflow_core.parts.nouns import DataShape
from gflow_core.parts.source import Source

__all__ = ["as_vectors", "class_list", "label_fault", "label_in", "label_name", "label_rows", "parse_label"]


def as_vectors(y: Tensor | None, size: int, like: Tensor) -> Tensor:
    """Class indices y [B] one-hot, real labels y [B, size] as they are: [B, size], in the type of `like`.

    Raises GflowError where there are none. (No check that an index is below `size`: it would wait for the device.
    `build` checks the data's labels once.)
    """
    if y is None:
        raise GflowError(f"the network reads labels: class indices y [B], or y [B, {size}], beside its first argument")
    if y.dim() > 1:
        return y.to(like.dtype)
    return torch.zeros(len(y), size, dtype=like.dtype, device=y.device).scatter(1, y.unsqueeze(1), 1)


def label_fault(y: Tensor | None, items: int, shape: DataShape) -> str | None:
    """Why y is not one label, as `shape` promises them, for each of so many items; None where it is."""
    if not shape.label_size:
        return None
    if y is None:
        return "promised labels, loaded none"
    if shape.classes:
        if y.shape != (items,) or y.dtype != torch.int64:
            return f"promised {items} class indices of torch.int64, loaded {y.dtype} {list(y.shape)}"
        if y.min() < 0 or y.max() >= shape.classes:
            return f"promised labels 0 to {shape.classes - 1}, loaded {int(y.min())} to {int(y.max())}"
        return None
    if y.shape != (items, shape.label_size) or not y.is_floating_point():
        return f"promised labels of {shape.label_size} real numbers, loaded {y.dtype} {list(y.shape)}"
    return None if bool(y.isfinite().all()) else "its labels hold NaN or infinite values"


def label_rows(labels: Tensor, shape: DataShape, most: int = 20) -> Tensor:
    """The labels that pictures show, one a row: every class, or the commonest real labels of the pool [m, k].

    Where all real labels are distinct none is commoner: evenly spaced ones, in lexical order.
    """
    if shape.classes:
        return torch.arange(min(shape.classes, most))
    distinct, count = labels.unique(dim=0, return_counts=True)
    if len(distinct) == len(labels):
        chosen = torch.linspace(0, len(distinct) - 1, min(most, len(distinct))).round().long()
    else:
        chosen = count.argsort(descending=True, stable=True)[:most]
    rows: Tensor = distinct[chosen]
    return rows


def label_name(y: Tensor, shape: DataShape, class_names: Sequence[str] = ()) -> str:
    """One label in words: "cat" (or "3", where classes have no names), or "Smiling 1, Male -1"."""
    if y.dim() == 0:
        return class_names[int(y)] if class_names else str(int(y))
    if shape.text:
        return "a caption"
    return ", ".join(f"{name} {float(value):g}" for name, value in zip(shape.conditions, y, strict=True))


def label_in(data: Source | None, y: Tensor, shape: DataShape) -> str:
    """One label in words, as the data have them: their captions too."""
    if data is not None and data.captions:
        return data.caption(y)
    return label_name(y, shape, data.class_names if data is not None else ())


def class_list(classes: int, names: Sequence[str] = (), most: int = 100) -> str:
    """All classes in words: "0 cat, 1 dog", or "0 to 9" where names say no more."""
    if all(name == str(i) for i, name in enumerate(names)):
        return f"0 to {classes - 1}"
    more = f", ... ({classes} in all)" if classes > most else ""
    return ", ".join(f"{i} {name}" for i, name in enumerate(names[:most])) + more


def parse_label(text: str, shape: DataShape, class_names: Sequence[str] = ()) -> Tensor:
    """The label that `text` states: a class by its name or else its index, "3"; numbers "1,-1", also by name
    "Smiling=1,Male=-1".

    Raises ValueError, which says what is wrong.
    """
    if not shape.label_size:
        raise ValueError(f"the data has no labels ({shape})")
    if shape.text:
        raise ValueError('the labels are captions; ask in words, --text "..."')
    if shape.classes:
        if text.strip() in class_names:
            return torch.tensor(class_names.index(text.strip()))
        if not text.strip().isdecimal() or int(text) >= shape.classes:
            close = did_you_mean(text, class_names) if class_names else ""
            raise ValueError(f"labels are {class_list(shape.classes, class_names)}, got {text!r}{close}")
        return torch.tensor(int(text))
    written = [entry.rpartition("=") for entry in text.split(",")]
    names = [name.strip() for name, _, _ in written]
    expected = f"one number for each of {', '.join(shape.conditions)}"
    if any(names) and sorted(names) != sorted(shape.conditions):
        raise ValueError(f"expected {expected}, got {text!r}")
    try:
        numbers = [float(number) for _, _, number in written]
    except ValueError:
        raise ValueError(f"expected {expected}, got {text!r}") from None
    if len(numbers) != len(shape.conditions) or not all(map(math.isfinite, numbers)):
        raise ValueError(f"expected {expected}, got {text!r}")
    if any(names):
        numbers = [numbers[names.index(name)] for name in shape.conditions]
    return torch.tensor(numbers)
