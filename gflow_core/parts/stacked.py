"""Several tensors as one, without a copy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["Stacked"]

_aten = torch.ops.aten


class Stacked(Tensor):
    """Tensors of the same items, [n_i, *shape], one after the other, without a copy: [n_1 + n_2 + ..., *shape].

    What is taken of its first dimension, by index or slice, is read from the tensors it lies in; whatever else is done
    with it is done with a copy of all of it.
    """

    parts: Sequence[Tensor]
    """They may be memory-mapped."""

    @staticmethod
    def __new__(cls, parts: Sequence[Tensor]) -> Stacked:
        first = parts[0]
        shape = (sum(map(len, parts)), *first.shape[1:])
        made: Stacked = Tensor._make_wrapper_subclass(cls, shape, dtype=first.dtype, device=first.device)
        made.parts = tuple(parts)
        return made

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"Stacked({list(self.shape)}, {self.dtype})"

    def taken(self, index: Tensor) -> Tensor:
        """The items at whole numbers [B]."""
        if len(index) and not -len(self) <= int(index.min()) <= int(index.max()) < len(self):
            raise IndexError(f"index out of range of {len(self)} items")
        index = torch.where(index < 0, index + len(self), index)
        out = torch.empty(len(index), *self.shape[1:], dtype=self.dtype)
        for part, here, at in self.found(index):
            out[here] = part[at]
        return out

    def found(self, index: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """The tensors that items at 0 <= index [B] lie in: each, which of the B they are, and where in it they are."""
        start = 0
        for part in self.parts:
            here = ((index >= start) & (index < start + len(part))).nonzero()[:, 0]
            if len(here):
                yield part, here, index[here] - start
            start += len(part)

    def whole(self, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> Tensor:
        """All of it as one tensor, filled part by part."""
        out = torch.empty(self.shape, dtype=dtype or self.dtype, device=device)
        start = 0
        for part in self.parts:
            out[start : start + len(part)] = part
            start += len(part)
        return out

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # torch declares it as if it were no class method
        cls,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...],
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        own, *rest = args
        if func is _aten.index.Tensor and isinstance(own, Stacked) and len(rest[0]) == 1 and rest[0][0].dim() == 1:
            (index,) = rest[0]
            return own.taken(index.nonzero()[:, 0] if index.dtype == torch.bool else index.long().cpu())
        if func is _aten.slice.Tensor and not (rest and rest[0]):
            return own.taken(torch.arange(len(own))[slice(*rest[1:])] if rest[1:] else torch.arange(len(own)))
        if func is _aten.select.int and rest[0] == 0:
            return own.taken(torch.tensor([rest[1]]))[0]
        if func is _aten._to_copy.default and not args[1:]:
            wanted = {key: value for key, value in (kwargs or {}).items() if key in ("dtype", "device")}
            return own.whole(**wanted)
        plain = torch.utils._pytree.tree_map_only(Stacked, Stacked.whole, (args, dict(kwargs or {})))
        return func(*plain[0], **plain[1])
