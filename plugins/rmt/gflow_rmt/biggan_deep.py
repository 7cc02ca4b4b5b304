"""BigGAN-deep's generator (Brock et al. 2019), as the paper's section 3 and its eqs. 1-64 describe it.

A latent z and the embedding e of a class, side by side, are c = (z, e). A linear map makes c a picture of 4x4; blocks
of four convolutions double its side and halve its channels, self-attention looks at all of it at 64x64, and every batch
norm but the last takes gain and offset from c. All maps but the embedding are divided by their largest singular value.

Tensors have the names of the public PyTorch port, so that its state dicts load as they are: `embeddings.weight` and
`generator.*`, with weight_orig, weight_u and weight_v wherever torch.nn.utils.spectral_norm writes them. Two
peculiarities of that port are kept: running statistics are those of 51 truncations, between which it interpolates with
reversed weights (`interpolation`), and the last convolution has as many maps as its input, of which three are used.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from gflow_core import DataError, UpConv, as_vectors, load_state, not_found, read_state

__all__ = ["Attention", "BatchNorm", "Block", "Generator", "Network", "build_biggan_deep", "gflop_per_image"]

_CLASSES = 1000
_Z = 128
"""Length of z, and of a class's embedding."""
_STATISTICS = 51
"""Rows of running statistics: truncations 0, 0.02, ..., 1."""
_EPS = 1e-4

_256 = (
    (False, 16, 16),
    (True, 16, 16),
    (False, 16, 16),
    (True, 16, 8),
    (False, 8, 8),
    (True, 8, 8),
    (False, 8, 8),
    (True, 8, 4),
    (False, 4, 4),
    (True, 4, 2),
    (False, 2, 2),
    (True, 2, 1),
)
_BLOCKS = {128: (*_256[:5], *_256[7:]), 256: _256, 512: (*_256, (False, 1, 1), (True, 1, 1))}
"""(upsampling, channels in, channels out), in units of `channels`, by image size."""
_ATTENTION = 8
"""The block that self-attention comes before."""
_PIXELS = 2**20
"""Pixels of the images that pass the network at once, 16 of 256 px: some 3 GB at 128 channels and float32."""


def build_biggan_deep(
    *,
    image_size: int,
    channels: int,
    weights: str,
    truncation: float,
    interpolation: Literal["published", "corrected"],
) -> nn.Module:
    """The network with the weights. DataError where their file is missing, unreadable or another network's."""
    path = None if weights == "random" else _file(weights)
    network = Network(image_size, channels, rows_of(truncation, interpolation))
    if path is None:
        initialise(network)
    else:
        load_state(network, read_state(path), path)
    return network


def gflop_per_image(image_size: int, channels: int) -> float:
    """Floating-point operations (two a multiplication) of one image's forward, in 10^9."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
        Network(image_size, channels, [(0, 1.0)]).eval()(torch.empty(1, _Z), torch.empty(1, _CLASSES))
    return float(counter.get_total_flops()) / 1e9


def _file(weights: str) -> Path:
    try:
        path = Path(weights).expanduser()
    except RuntimeError as error:
        raise DataError(f"sampler.weights = {weights}: {error}; write the path out") from error
    if not path.is_file():
        mend = 'give the path of a state dict with the public names, or set sampler.weights = "random"'
        raise not_found("sampler.weights: the file", [path], mend)
    return path


@torch.no_grad()
def initialise(network: nn.Module) -> None:
    """Fresh weights from torch's global generator: orthogonal maps, biases 0, embeddings N(0, 1).

    The attention's gamma is 1, not 0 as where training starts: nobody trains this network, and attention should take
    part. Running means and variances stay 0 and 1, as they are made.
    """
    for module in network.modules():
        if isinstance(module, SpectralNorm):
            nn.init.orthogonal_(module.weight_orig)
            module.weight_u.normal_()
            module.iterate()  # all singular values are 1: one iteration ends at singular vectors
            if (bias := module._parameters.get("bias")) is not None:
                nn.init.zeros_(bias)
        elif isinstance(module, Network):
            nn.init.normal_(module.embeddings.weight)
        elif isinstance(module, Attention):
            nn.init.ones_(module.gamma)


# ------------------------------------------------------------------ linear maps


def no_autocast(x: Tensor) -> AbstractContextManager[None]:
    """Arithmetic in the tensors' own types within the block, on the device of x."""
    return nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False)


class SpectralNorm(nn.Module):
    """Mixed into a layer: its weight is weight_orig / sigma, sigma = u'Wv of its matrix [out, the rest] (eq. 4).

    In training mode each forward does one step of the power method for u and v; otherwise they stand still.
    """

    weight_orig: nn.Parameter
    weight_u: Tensor
    weight_v: Tensor

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        weight = self._parameters.pop("weight")  # the layer's own, which from here on is the property below
        assert weight is not None
        self.weight_orig = weight
        for name, size in (("weight_u", len(weight)), ("weight_v", weight[0].numel())):
            self.register_buffer(name, torch.full((size,), size**-0.5))

    @property
    def weight(self) -> Tensor:
        """The normalised weight, computed anew in each forward: little work beside that of a batch of images."""
        with no_autocast(self.weight_orig):
            u, v = self.weight_u.clone(), self.weight_v.clone()  # they may move on before this graph is differentiated
            return self.weight_orig / u.dot(self.weight_orig.flatten(1).mv(v))

    @torch.no_grad()
    def iterate(self) -> None:
        """One step of the power method: v = W'u, then u = Wv, both normalised."""
        with no_autocast(self.weight_orig):
            matrix = self.weight_orig.flatten(1)
            self.weight_v.copy_(F.normalize(matrix.mT.mv(self.weight_u), dim=0, eps=_EPS))
            self.weight_u.copy_(F.normalize(matrix.mv(self.weight_v), dim=0, eps=_EPS))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.iterate()
        out: Tensor = super().forward(x)
        return out


class Linear(SpectralNorm, nn.Linear):  # type: ignore[override]
    """Linear layer with spectral normalisation."""


class Conv(SpectralNorm, nn.Conv2d):  # type: ignore[override]
    """Convolution with spectral normalisation."""


class DoublingConv(SpectralNorm, UpConv):  # type: ignore[override]
    """The same of the input doubled by nearest neighbours (eq. 23)."""


class ToRgb(Conv):
    """Convolution to as many maps as its input has, of which the first three are computed (eqs. 61, 62)."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.iterate()
        assert self.bias is not None
        return F.conv2d(x, self.weight[:3], self.bias[:3], padding=1)


# ------------------------------------------------------------------ batch norm


Rows = list[tuple[int, float]]
"""Rows of running statistics and their weights."""


def rows_of(truncation: float, interpolation: Literal["published", "corrected"]) -> Rows:
    """Which rows of the running statistics make those of a truncation in (0, 1], with their weights.

    With s + f = truncation / step, s whole: row s weighs f and row s + 1 weighs 1 - f (published; reversed), or 1 - f
    and f (corrected). Where f is 0 both give row s. In floating point f may miss 0 by 1e-15: at truncations .14, .28,
    .56, .58 and .94 the published form then gives the row after, or before, the one meant; the corrected form does not.
    """
    step = 1.0 / (_STATISTICS - 1)
    fraction, whole = math.modf(truncation / step)
    row = int(whole)
    if fraction == 0:
        return [(row, 1.0)]
    first = fraction if interpolation == "published" else 1 - fraction
    return [(row, first), (row + 1, 1 - first)]


class BatchNorm(nn.Module):
    """Batch norm by running statistics, then ReLU (eqs. 6-9): relu((x - mean) / sqrt(var + 1e-4) * w + b).

    w = 1 + scale(c) and b = offset(c) depend on the image; without `condition` they are parameters (eqs. 57-60).
    """

    running_means: Tensor
    running_vars: Tensor

    def __init__(self, channels: int, rows: Rows, *, condition: int = 0) -> None:
        super().__init__()
        self.rows = rows
        self.register_buffer("running_means", torch.zeros(_STATISTICS, channels))
        self.register_buffer("running_vars", torch.ones(_STATISTICS, channels))
        self.scale = Linear(condition, channels, bias=False) if condition else None
        self.offset = Linear(condition, channels, bias=False) if condition else None
        if not condition:
            self.weight = nn.Parameter(torch.ones(channels))
            self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """x [B, C, H, W] and c [B, condition] -> [B, C, H, W]."""
        # Statistics, gain and shift in float32 under autocast as well; only the affine map is in x's type.
        with no_autocast(x):
            mean, deviation = self._statistics()
            if self.scale is not None and self.offset is not None:
                gain, shift = 1 + self.scale(c), self.offset(c)
            else:
                gain, shift = self.weight[None], self.bias[None]
            gain = gain / deviation
            shift = shift - mean * gain
        gain, shift = (t.to(x.dtype)[:, :, None, None] for t in (gain, shift))
        return torch.addcmul(shift, x, gain).relu_()

    def _statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [C] at the truncation."""
        mean, variance = (
            torch.stack([weight * rows[row] for row, weight in self.rows]).sum(0)
            for rows in (self.running_means, self.running_vars)
        )
        return mean, (variance + _EPS).sqrt()


# ------------------------------------------------------------------ modules of the sequence


class Block(nn.Module):
    """Four convolutions around a skip (sections 3.3.1-3.3.3): [B, in, H, W] -> [B, out, H, W], or of twice the side.

    Where there are fewer channels out than in, the skip drops the last ones.
    """

    def __init__(self, channels_in: int, channels_out: int, rows: Rows, *, up: bool) -> None:
        super().__init__()
        self.up = up
        self.channels_out = channels_out
        middle = channels_in // 4
        self.bn_0 = BatchNorm(channels_in, rows, condition=2 * _Z)
        self.conv_0 = Conv(channels_in, middle, 1)
        self.bn_1 = BatchNorm(middle, rows, condition=2 * _Z)
        self.conv_1 = (DoublingConv if up else Conv)(middle, middle, 3, padding=1)
        self.bn_2 = BatchNorm(middle, rows, condition=2 * _Z)
        self.conv_2 = Conv(middle, middle, 3, padding=1)
        self.bn_3 = BatchNorm(middle, rows, condition=2 * _Z)
        self.conv_3 = Conv(middle, channels_out, 1)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        h: Tensor = self.conv_0(self.bn_0(x, c))
        h = self.conv_1(self.bn_1(h, c))
        h = self.conv_2(self.bn_2(h, c))
        h = self.conv_3(self.bn_3(h, c))
        skip = x[:, : self.channels_out]
        if self.up:
            skip = F.interpolate(skip, scale_factor=2, mode="nearest")
        return h + skip


class Attention(nn.Module):
    """Self-attention (section 3.3.4, eqs. 30-42): x + gamma o(.), each of H W places looking at H W / 4."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.snconv1x1_theta = Conv(channels, channels // 8, 1, bias=False)
        self.snconv1x1_phi = Conv(channels, channels // 8, 1, bias=False)
        self.snconv1x1_g = Conv(channels, channels // 2, 1, bias=False)
        self.snconv1x1_o_conv = Conv(channels // 2, channels, 1, bias=False)
        self.maxpool = nn.MaxPool2d(2)
        self.softmax = nn.Softmax(-1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W]."""
        theta = self.snconv1x1_theta(x).flatten(2)  # [B, C/8, HW]
        phi = self.maxpool(self.snconv1x1_phi(x)).flatten(2)  # [B, C/8, HW/4]
        g = self.maxpool(self.snconv1x1_g(x)).flatten(2)  # [B, C/2, HW/4]
        attention = self.softmax(theta.mT @ phi)  # [B, HW, HW/4]
        seen = (attention @ g.mT).mT.unflatten(2, x.shape[2:])  # [B, C/2, H, W], channels last
        o: Tensor = self.snconv1x1_o_conv(seen)
        return x + self.gamma.to(o.dtype) * o


class Generator(nn.Module):
    """c [B, 256] -> images [B, 3, S, S]."""

    def __init__(self, image_size: int, channels: int, rows: Rows) -> None:
        super().__init__()
        blocks = [Block(ins * channels, outs * channels, rows, up=up) for up, ins, outs in _BLOCKS[image_size]]
        attention = Attention(_BLOCKS[image_size][_ATTENTION][1] * channels)
        self.gen_z = Linear(2 * _Z, 4 * 4 * 16 * channels)
        self.layers = nn.ModuleList([*blocks[:_ATTENTION], attention, *blocks[_ATTENTION:]])
        self.bn = BatchNorm(channels, rows)
        self.conv_to_rgb = ToRgb(channels, channels, 3, padding=1)

    def forward(self, c: Tensor) -> Tensor:
        rows: Tensor = self.gen_z(c).view(len(c), 4, 4, -1)  # [B, H, W, C]
        x: Tensor = rows.permute(0, 3, 1, 2)
        for layer in self.layers:
            x = layer(x) if isinstance(layer, Attention) else layer(x, c)
        x = self.conv_to_rgb(self.bn(x, c))
        return x.tanh()


class Network(nn.Module):
    """z [B, 128] and classes y [B], or rows [B, 1000] of their weights, -> images [B, 3, S, S] in [-1, 1].

    z is read as it is: the law it is drawn from has the truncation as its scale.
    """

    def __init__(self, image_size: int, channels: int, rows: Rows) -> None:
        super().__init__()
        self.embeddings = nn.Linear(_CLASSES, _Z, bias=False)
        self.generator = Generator(image_size, channels, rows)
        self.together = _PIXELS // image_size**2

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        with no_autocast(z):
            c = torch.cat([z, self.embeddings(as_vectors(y, _CLASSES, z))], 1)  # eqs. 1, 2
        if torch.compiler.is_exporting():  # a program of any batch has no loop
            whole: Tensor = self.generator(c)
            return whole
        return torch.cat([self.generator(piece) for piece in c.split(self.together)])
