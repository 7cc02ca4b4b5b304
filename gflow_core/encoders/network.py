"""What all encoders do: prepare images, run a frozen network in float32, hand out features or logits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gflow_core.machine.streams import derive, seeded
from gflow_core.parts.nouns import DataShape
from gflow_core.parts.source import weights_hash

__all__ = ["EncoderNetwork", "float32_only", "fresh", "grey_as_rgb", "resized"]

Prepare = Callable[[Tensor], Tensor]
"""[B, C, H, W] in [-1, 1] -> what the network was trained on."""


class EncoderNetwork:
    """An encoder (`Encoder`): images -> prepare -> network without its head -> features -> head -> logits.

    `network` is the whole classifier with its weights; `head` names the part of it that turns features into logits.
    One that is no classifier has an empty head and says how many features it has, `dim`. `depths` names the layers,
    shallow to deep, whose outputs are its `maps`; `as_map` makes such an output [B, C, h, w] where it is not.
    """

    def __init__(
        self,
        name: str,
        network: nn.Module,
        head: str,
        prepare: Prepare,
        resizer: str,
        device: torch.device,
        dim: int | None = None,
        depths: Sequence[str] = (),
        as_map: Callable[[Tensor], Tensor] = lambda out: out,
    ) -> None:
        self.name = name
        self.weights = weights_hash(network)
        self.resizer = resizer
        self.prepare = prepare
        network = network.requires_grad_(False).eval()
        self.head = network.get_submodule(head).to(device)
        network.set_submodule(head, nn.Identity())
        self.as_map = as_map
        self.depths = [network.get_submodule(depth) for depth in depths]
        self.trunk: nn.Module = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.dim = dim or next(layer.in_features for layer in self.head.modules() if isinstance(layer, nn.Linear))

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """x [B, C, H, W] in [-1, 1], on the device -> features [B, dim], float32."""
        return self.features(x)

    def features(self, x: Tensor) -> Tensor:
        """As a call, with gradient with respect to x."""
        with float32_only(x.device):
            return self._through(x)

    def _through(self, x: Tensor) -> Tensor:
        images = self.prepare(x.float()).contiguous(memory_format=torch.channels_last)
        features: Tensor = self.trunk(images)
        return features

    def maps(self, x: Tensor) -> list[Tensor]:
        """x as in a call -> feature maps [B, C, h, w], shallow to deep, float32, with gradient with respect to x.

        Scores never come from them, and so they are computed in the precision that autocast asks for.
        """
        found: list[Tensor] = []

        def keep(layer: nn.Module, _: object, out: Tensor) -> None:
            found.append(self.as_map(out).float())
            if layer is self.depths[-1]:
                raise _Enough

        with ExitStack() as around, suppress(_Enough):
            around.enter_context(float32_only(x.device, autocast=torch.is_autocast_enabled(x.device.type)))
            for layer in self.depths:
                around.enter_context(layer.register_forward_hook(keep))
            self._through(x)
        return found

    @torch.no_grad()
    def classify(self, x: Tensor) -> Tensor:
        """x [B, C, H, W] in [-1, 1], on the device -> logits [B, classes], float32."""
        features = self(x)
        with float32_only(x.device):
            logits: Tensor = self.head(features)
        return logits


class _Enough(Exception):
    """The deepest map is there; what comes after it need not be computed."""


@contextmanager
def float32_only(device: torch.device, *, autocast: bool = False) -> Iterator[None]:
    """No autocast (or as it is), no float64 default and, on CUDA, no TF32 convolution within the block."""
    before = torch.get_default_dtype()
    cuda = device.type == "cuda"
    backend = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False) if cuda else nullcontext()
    with nullcontext() if autocast else torch.autocast(device.type, enabled=False), backend:
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(before)


def fresh(name: str, make: Callable[[], nn.Module]) -> nn.Module:
    """The network that `make` initialises, from a fixed seed of its own; global random state stays as it is."""
    with float32_only(torch.device("cpu")), seeded(derive(0, f"encoder.{name}")):
        return make()


def resized(x: Tensor, size: int, mode: Literal["bilinear", "bicubic"] = "bilinear") -> Tensor:
    """x [B, C, H, W] -> [B, C, size, size], antialiased: when shrinking, the filter widens."""
    if x.shape[2:] == (size, size):
        return x
    return F.interpolate(x, (size, size), mode=mode, align_corners=False, antialias=True)


def grey_as_rgb(data: DataShape) -> str:
    """What `resizer` says of the channels."""
    return "grey repeated in 3 channels; " if data.shape[0] == 1 else ""
