"""Whether the options of networks fit their data and each other, without torch: what parts say in `check`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["attention_faults", "batch_norm_faults"]


def attention_faults(attention: Sequence[int], smallest: int, largest: int) -> Iterable[str]:
    """Sides at which self-attention cannot stand, where maps have `smallest`, twice that, ... `largest` pixels."""
    sides = [smallest << j for j in range((largest // smallest).bit_length())]
    for side in sorted(set(attention)):
        if side not in sides:
            yield f"attention = {side}: no maps have this side; at this image_size they have {_words(sides)} pixels"
        elif list(attention).count(side) > 1:
            yield f"attention names {side} twice"


def batch_norm_faults(*, use_batch_norm: bool, norm_init: str, join: str = "") -> Iterable[str]:
    """Options about batch norm where there is none."""
    if not use_batch_norm:
        if norm_init != "ones":
            yield f'norm_init = "{norm_init}" is of batch norm, which use_batch_norm = false leaves out'
        if join == "norm":
            yield 'join = "norm" has labels set batch norm, which use_batch_norm = false leaves out'


def _words(numbers: Sequence[int]) -> str:
    *most, last = map(str, numbers)
    return f"{', '.join(most)} or {last}" if most else last
