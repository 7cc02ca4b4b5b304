"""DINOv2 (Oquab et al. 2023): a vision transformer that learned from images alone.

Names of tensors are those of the authors' files, which timm's share but for a few.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gflow_core.encoders.imagenet import by_imagenet
from gflow_core.encoders.network import EncoderNetwork, grey_as_rgb, resized
from gflow_core.encoders.weights import pretrained

if TYPE_CHECKING:
    from gflow_core.parts.nouns import DataShape

__all__ = ["GRID", "PATCH", "SIZES", "VisionTransformer", "as_the_authors", "build_dinov2"]

PATCH = 14
GRID = 37
"""Patches along a side of the images, 518x518, that the published position embeddings are for."""

SIZES = {"s": (384, 12, 6, "small"), "b": (768, 12, 12, "base"), "l": (1024, 24, 16, "large")}
"""Width, blocks, heads and timm's word by the letter in the model's name."""

URL = "https://dl.fbaipublicfiles.com/dinov2/dinov2_{plain}/dinov2_{file}_pretrain.pth"


def build_dinov2(
    data: DataShape, device: torch.device, *, model: str, size: int, weights: str, download: bool
) -> EncoderNetwork:
    """The encoder of `data` on its device, in eval mode; `weights` as in `pretrained`. Raises DataError.

    `model` is such as "vits14" or "vits14_reg", `size` the side of what the network reads, a multiple of 14.
    """
    plain, registers = model.removesuffix("_reg"), 4 if model.endswith("_reg") else 0
    width, depth, heads, word = SIZES[plain[3]]
    network, name = pretrained(
        f"dinov2_{model}",
        lambda: VisionTransformer(width, depth, heads, registers),
        weights,
        URL.format(plain=plain, file=f"{plain}_reg4" if registers else plain),
        aliases=[f"vit_{word}_patch14{'_reg4' if registers else ''}_dinov2.lvd142m.safetensors"],
        download=download,
        adapt=as_the_authors,
        mend="give the right file, or set the encoder's model to the one that the file is of",
    )
    resizer = (
        f"{grey_as_rgb(data)}[-1, 1] to [0, 1]; bicubic to {size}x{size}, antialiased; less ImageNet's mean, by its "
        "standard deviation"
    )

    def prepare(x: Tensor) -> Tensor:
        return by_imagenet(resized((x + 1) / 2, size, "bicubic").expand(-1, 3, -1, -1))

    side = size // PATCH

    def grid(tokens: Tensor) -> Tensor:
        """[B, tokens, width] without class and registers -> [B, width, side, side]."""
        patches: Tensor = tokens[:, -(side**2) :].mT.unflatten(2, (side, side))
        return patches

    depths = [f"blocks.{at}" for at in dict.fromkeys(max(depth * quarter // 4, 1) - 1 for quarter in (1, 2, 3, 4))]
    return EncoderNetwork(name, network, "head", prepare, resizer, device, dim=width, depths=depths, as_map=grid)


def as_the_authors(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A file's tensors under the authors' names, without what only their training reads.

    timm calls registers reg_token, and where there are some has added the class token's position to it already.
    """
    state = {name.replace("reg_token", "register_tokens"): x for name, x in state.items() if name != "mask_token"}
    positions = state.get("pos_embed")
    if positions is not None and positions.dim() == 3 and positions.shape[1] == GRID**2:
        state["pos_embed"] = F.pad(positions, (0, 0, 1, 0))
    return state


class VisionTransformer(nn.Module):
    """x [B, 3, 14 h, 14 w] -> the normalised class token [B, width].

    With registers (Darcet et al. 2024) that many tokens more, which have no place, pass through the blocks.
    """

    def __init__(self, width: int, depth: int, heads: int, registers: int = 0) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, 1 + GRID**2, width))
        self.register_tokens = nn.Parameter(0.02 * torch.randn(1, registers, width)) if registers else None
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, PATCH, PATCH)})
        self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(depth))
        self.norm = _norm(width)
        self.head = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        patches = self.patch_embed["proj"](x)
        first, others = self.positions(*patches.shape[2:])
        tokens = [self.cls_token + first, patches.flatten(2).mT + others]
        if self.register_tokens is not None:
            tokens.insert(1, self.register_tokens)
        x = torch.cat([token.expand(len(x), -1, -1) for token in tokens], 1)
        for block in self.blocks:
            x = block(x)
        features: Tensor = self.head(self.norm(x[:, 0]))
        return features

    def positions(self, h: int, w: int) -> tuple[Tensor, Tensor]:
        """The embeddings of the class token [1, 1, width] and of a grid of patches [1, h w, width].

        Bicubic as the authors' code has it: antialiased with registers; else not, and stretched by a tenth of a patch.
        """
        first, others = self.pos_embed[:, :1], self.pos_embed[:, 1:]
        if (h, w) == (GRID, GRID):
            return first, others
        grid = others.mT.unflatten(2, (GRID, GRID))
        if self.register_tokens is None:
            scale = ((h + 0.1) / GRID, (w + 0.1) / GRID)
            grid = F.interpolate(grid, scale_factor=scale, mode="bicubic")
        else:
            grid = F.interpolate(grid, (h, w), mode="bicubic", antialias=True)
        return first, grid.flatten(2).mT


class _Block(nn.Module):
    """x [B, tokens, width] + attention + two layers, each of the normalised x and scaled by a learned vector."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.attn, self.ls1 = _norm(width), _Attention(width, heads), _Scale(width)
        self.norm2, self.mlp, self.ls2 = _norm(width), _Mlp(width), _Scale(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        y: Tensor = x + self.ls2(self.mlp(self.norm2(x)))
        return y


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed: Tensor = self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return mixed


class _Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return y


class _Scale(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


_norm = partial(nn.LayerNorm, eps=1e-6)
