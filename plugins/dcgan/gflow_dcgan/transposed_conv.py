"""Transposed convolution, the layer that DCGAN's sampler grows images with: its arithmetic, checked, and its overlap.

An input of n pixels a side, kernel size k, stride s, padding p and output padding op give m pixels a side,

    m = (n - 1) s - 2 p + k + op,        y[o] = sum of x[i] w[j] over i and j with o = i s + j - p

(Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", 2016, section 4). This is the transpose of
the convolution with the same k, s and p, that convolution's gradient in its input, and the convolution of stride 1
of x, with s - 1 zeros between pixels and k - 1 - p around (op more on the far sides), with the flipped kernel.

Where s does not divide k, some pixels get more taps than others: ceil(k/s)^2 against floor(k/s)^2, the checkerboard
(Odena et al., "Deconvolution and checkerboard artifacts", Distill 2016).

All that is compared is in whole numbers, which float64 adds and multiplies exactly: errors must be 0.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import attrs
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from scipy.sparse import csr_array
from torch import Generator, Tensor
from torch.nn import functional as F

from gflow_core import Result, Subject

__all__ = [
    "DCGAN",
    "Layer",
    "convolution_matrix",
    "evenness",
    "interior",
    "merged_kernel",
    "overlap",
    "stacked",
    "stuffed",
    "taps",
    "transposed_conv",
]

Array = np.ndarray[Any, np.dtype[Any]]

KERNELS, STRIDES = range(2, 7), range(1, 4)
"""What the overlap table spans."""


# ------------------------------------------------------------------ the arithmetic


@attrs.frozen(kw_only=True)
class Layer:
    """A transposed convolution of square maps; padding is below kernel_size and output_padding below stride."""

    input_size: int
    kernel_size: int
    stride: int = 1
    padding: int = 0
    output_padding: int = 0

    @property
    def output_size(self) -> int:
        """(n - 1) s - 2 p + k + op."""
        full = (self.input_size - 1) * self.stride + self.kernel_size
        return full - 2 * self.padding + self.output_padding

    @property
    def margins(self) -> tuple[int, int]:
        """Zeros before and after the zero-stuffed input: k - 1 - p, and op more."""
        before = self.kernel_size - 1 - self.padding
        return before, before + self.output_padding

    def __str__(self) -> str:
        k, s, p, op = self.kernel_size, self.stride, self.padding, self.output_padding
        return f"{self.input_size} to {self.output_size} px, k={k}, s={s}, p={p}, op={op}"

    def up(self, x: Tensor, w: Tensor) -> Tensor:
        """x [B, I, n, n] and w [I, O, k, k] -> [B, O, m, m]: torch's transposed convolution."""
        return F.conv_transpose2d(x, w, stride=self.stride, padding=self.padding, output_padding=self.output_padding)

    def down(self, y: Tensor, w: Tensor) -> Tensor:
        """y [B, O, m, m] and w [I, O, k, k] -> [B, I, n, n]: the convolution that `up` is the transpose of."""
        return F.conv2d(y, w, stride=self.stride, padding=self.padding)


DCGAN: dict[str, Layer] = {
    "DCGAN as published": Layer(input_size=4, kernel_size=5, stride=2, padding=2, output_padding=1),
    "DCGAN's usual port": Layer(input_size=4, kernel_size=4, stride=2, padding=1),
}
"""The first layer of DCGAN's sampler; the others differ in input_size alone."""


def convolution_matrix(w: Tensor, layer: Layer) -> csr_array:
    """The matrix [I n n, O m m] of `layer.down` with weights w [I, O, k, k]: a row an output, a column an input."""
    n, m, k = layer.input_size, layer.output_size, layer.kernel_size
    a, b, i1, i2, j1, j2 = np.indices((*w.shape[:2], n, n, k, k)).reshape(6, -1)
    o1, o2 = (i * layer.stride + j - layer.padding for i, j in ((i1, j1), (i2, j2)))
    inside = (o1 >= 0) & (o1 < m) & (o2 >= 0) & (o2 < m)
    row, column = (a * n + i1) * n + i2, (b * m + o1) * m + o2
    shape = (w.shape[0] * n * n, w.shape[1] * m * m)
    return csr_array((w.numpy()[a, b, j1, j2][inside], (row[inside], column[inside])), shape=shape)


def stuffed(x: Tensor, layer: Layer) -> Tensor:
    """x [B, I, n, n] with s - 1 zeros between pixels and `layer.margins` around: [B, I, m + k - 1, m + k - 1]."""
    side = (layer.input_size - 1) * layer.stride + 1
    out = x.new_zeros(*x.shape[:2], side, side)
    out[..., :: layer.stride, :: layer.stride] = x
    return F.pad(out, layer.margins * 2)


def merged_kernel(w: Tensor, stride: int) -> Tensor:
    """w [O, I, k, k] -> [I, O, k + s - 1, k + s - 1]: the transposed convolution of stride s with this kernel is
    nearest-neighbour resizing by s, then the convolution with w (paddings p there and k - 1 - p here)."""
    box = w.new_ones(1, 1, stride, stride)
    merged = F.conv_transpose2d(w.flip(2, 3).flatten(0, 1)[:, None], box)
    return merged.reshape(*w.shape[:2], *merged.shape[2:]).transpose(0, 1)


# ------------------------------------------------------------------ overlap


def taps(layer: Layer) -> Array:
    """Kernel taps that reach each output pixel along one dimension [m], in closed form."""
    o = np.arange(layer.output_size) + layer.padding
    first = np.maximum(0, -((layer.kernel_size - 1 - o) // layer.stride))
    last = np.minimum(layer.input_size - 1, o // layer.stride)
    counts: Array = np.maximum(0, last - first + 1)
    return counts


def overlap(layer: Layer) -> Array:
    """Kernel taps that reach each output pixel [m, m], counted by the layer itself: ones through a kernel of ones."""
    n, k = layer.input_size, layer.kernel_size
    ones = torch.ones(1, 1, n, n, dtype=torch.float64), torch.ones(1, 1, k, k, dtype=torch.float64)
    counts: Array = layer.up(*ones)[0, 0].numpy().astype(int)
    return counts


def interior(kernel_size: int, stride: int) -> Array:
    """`overlap` where no border interferes, over at least one period (`stride` pixels), after which it repeats."""
    layer = Layer(input_size=kernel_size, kernel_size=kernel_size, stride=stride, output_padding=stride - 1)
    inside = slice(max(0, kernel_size - stride), kernel_size * stride)
    return overlap(layer)[inside, inside]


def evenness(kernel_size: int, stride: int) -> dict[str, Any]:
    """A row of the overlap table: fewest and most taps a pixel in the interior; ratio is inf where fewest is 0."""
    counts = interior(kernel_size, stride)
    fewest, most = int(counts.min()), int(counts.max())
    marks = (name for name, layer in DCGAN.items() if (layer.kernel_size, layer.stride) == (kernel_size, stride))
    return {
        "kernel_size": kernel_size,
        "stride": stride,
        "fewest": fewest,
        "most": most,
        "ratio": most / fewest if fewest else math.inf,
        "layer": next(marks, ""),
    }


# ------------------------------------------------------------------ three layers in a row

ROW = (5, 4, 3)
"""Kernel sizes that are shown."""
LAYERS, SIDE, CHANNELS = 3, 8, 16
"""Layers of stride 2, the side of the constant input, and the maps between layers."""

Method = Literal["transposed convolution", "resize and convolution"]
METHODS: Sequence[Method] = ("transposed convolution", "resize and convolution")


def stacked(method: Method, weights: Iterable[Tensor]) -> Array:
    """A constant input doubled once by each of the weights [I, O, k, k]: the middle half [h, h].

    Up to three layers of kernels up to 5 the borders reach less than the outer quarters.
    """
    x: Tensor | None = None
    for w in weights:
        if x is None:
            x = w.new_ones(1, w.shape[0], SIDE, SIDE)
        k = w.shape[2]
        before, after = (k - 1) // 2, k // 2
        if method == "transposed convolution":
            x = F.conv_transpose2d(x, w, stride=2, padding=before, output_padding=k % 2)
        else:
            x = F.pad(F.interpolate(x, scale_factor=2.0, mode="nearest"), (before, after) * 2)
            x = F.conv2d(x, w.transpose(0, 1))
    assert x is not None
    quarter = x.shape[-1] // 4
    middle: Array = x[0, 0, quarter:-quarter, quarter:-quarter].numpy()
    return middle


def _weights(kernel_size: int, generator: Generator | None) -> list[Tensor]:
    """LAYERS weights, the last to one map: uniform on (0, 1), or all equal without a generator."""
    shapes = [(CHANNELS, 1 if i == LAYERS - 1 else CHANNELS, kernel_size, kernel_size) for i in range(LAYERS)]
    if generator is None:
        return [torch.ones(shape, dtype=torch.float64) for shape in shapes]
    return [torch.rand(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def _row(kernel_size: int, method: Method, weights: str, image: Array) -> dict[str, Any]:
    """A row of the checkerboard table: how uneven the image is that should be constant."""
    return {
        "kernel_size": kernel_size,
        "method": method,
        "weights": weights,
        "ratio": float(image.max() / image.min()),
        "relative_std": float(image.std() / image.mean()),
    }


# ------------------------------------------------------------------ checks


@attrs.frozen(kw_only=True)
class Check:
    """One line of the table: `compared` numbers of each of two sides, and the largest absolute difference."""

    statement: str
    setting: str
    compared: int
    error: float

    def row(self) -> dict[str, Any]:
        return {**attrs.asdict(self), "ok": self.error == 0}


def _whole(generator: Generator, *shape: int) -> Tensor:
    """Whole numbers from -9 to 9, in float64."""
    return torch.randint(-9, 10, shape, generator=generator).double()


def _sides(layer: Layer, channels: int, generator: Generator) -> Iterator[tuple[str, Any, Any]]:
    """Each statement about a layer with both its sides, at random input and weights."""
    n, k = layer.input_size, layer.kernel_size
    x = _whole(generator, 1, channels, n, n).requires_grad_()
    w = _whole(generator, channels, channels, k, k)
    y = layer.up(x, w)
    g = _whole(generator, *y.shape).requires_grad_()  # maps of the output's size
    down = layer.down(g, w)
    yield "output size (n - 1) s - 2 p + k + op, and back to n", [y.shape[-1], down.shape[-1]], [layer.output_size, n]

    matrix = convolution_matrix(w, layer)
    x_, y_, g_, down_ = (t.detach().numpy().ravel() for t in (x, y, g, down))
    yield "the explicit matrix is the convolution", matrix @ g_, down_
    yield "its transpose is the transposed convolution", matrix.T @ x_, y_
    direct = F.conv2d(stuffed(x.detach(), layer), w.flip(2, 3).transpose(0, 1))
    yield "convolution of the zero-stuffed input with the flipped kernel", direct, y.detach()
    yield "its gradient is the convolution", torch.autograd.grad(y, x, g.detach())[0], down.detach()
    yield "the convolution's gradient is the layer", torch.autograd.grad(down, g, x.detach())[0], y.detach()
    yield "taps that reach each pixel", np.outer(taps(layer), taps(layer)), overlap(layer)


def _resized_sides(layer: Layer, channels: int, generator: Generator) -> Iterator[tuple[str, Any, Any]]:
    """The same for resizing and convolution; layer gives their sizes, and the padding of the transposed convolution."""
    n, k = layer.input_size, layer.kernel_size
    x, w = _whole(generator, 1, channels, n, n), _whole(generator, channels, channels, k, k)
    resized = F.interpolate(x, scale_factor=float(layer.stride), mode="nearest")
    wanted = F.conv2d(resized, w, padding=k - 1 - layer.padding)
    merged = F.conv_transpose2d(x, merged_kernel(w, layer.stride), stride=layer.stride, padding=layer.padding)
    yield "resize and convolution is a transposed convolution with k + s - 1", merged, wanted


def _overlap_sides(layer: Layer) -> Iterator[tuple[str, Any, Any]]:
    k, s = layer.kernel_size, layer.stride
    counts = interior(k, s)
    bounds = [(k // s) ** 2, (-(-k // s)) ** 2]
    yield "fewest and most taps: floor(k/s)^2 and ceil(k/s)^2", [counts.min(), counts.max()], bounds


def _checked(setting: str, sides: Iterable[tuple[str, Any, Any]]) -> list[Check]:
    """One check a statement: its largest error over all its pairs of sides."""
    found: dict[str, Check] = {}
    for statement, left, right in sides:
        one, other = np.asarray(left, float), np.asarray(right, float)
        error = float(np.abs(one - other).max()) if one.shape == other.shape else math.inf
        before = found.get(statement)
        found[statement] = Check(
            statement=statement,
            setting=setting,
            compared=one.size + (before.compared if before else 0),
            error=max(error, before.error if before else 0.0),
        )
    return list(found.values())


def _grid() -> list[Layer]:
    """Every padding and output padding of each kernel and stride of the overlap table."""
    return [
        Layer(input_size=6, kernel_size=k, stride=s, padding=p, output_padding=op)
        for k in KERNELS
        for s in STRIDES
        for p in range(k)
        for op in range(s)
    ]


def _sizes(own: Layer) -> list[dict[str, Any]]:
    """The recipe's layer, and DCGAN's from 4 to 64 pixels, with the formula's terms and torch's own size."""
    layers = [("this recipe", own)]
    for name, layer in DCGAN.items():
        while layer.input_size < 64:
            layers.append((name, layer))
            layer = attrs.evolve(layer, input_size=layer.output_size)
    return [
        {
            "layer": name,
            **attrs.asdict(layer),
            "formula": "({input_size} - 1) * {stride} - 2 * {padding} + {kernel_size} + {output_padding}".format(
                **attrs.asdict(layer)
            ),
            "output_size": layer.output_size,
            "torch": overlap(layer).shape[0],
        }
        for name, layer in layers
    ]


# ------------------------------------------------------------------ figures

ZERO, MARGIN, PIXEL, LIT = range(4)
CELLS = ListedColormap(["white", "0.9", "#bcd7ee", "#ffb74d"])
"""Colours of cells: zeros between pixels, zeros around, numbers, the numbers that make one output pixel."""

TAPS = ("#a6cee3", "#fdbf6f", "#b2df8a", "#fb9a99", "#cab2d6", "#ffff99", "#d9b08c", "0.8")
"""Colours of kernel taps."""

WIDTH = 9.0
"""Inches."""
READABLE = 5.0
"""Points: cells too small for such a number bear none, and thin lines."""


def _cells(axes: Axes, at: tuple[float, float], values: Array, kinds: Array, title: str, fontsize: float) -> None:
    """A grid of numbers with its upper left corner at (x, y), in cells; no numbers where they could not be read."""
    height, width = values.shape
    x, y = at
    axes.pcolormesh(
        x + np.arange(width + 1),
        y + np.arange(height + 1),
        kinds,
        cmap=CELLS,
        vmin=0,
        vmax=CELLS.N - 1,
        edgecolors="0.7",
        linewidth=0.5 if fontsize >= READABLE else 0.1,
    )
    if fontsize >= READABLE:
        for (row, column), value in np.ndenumerate(values):
            grey = "0.65" if kinds[row, column] in (ZERO, MARGIN) else "black"
            where = (x + column + 0.5, y + row + 0.55)
            axes.text(*where, f"{value:g}", ha="center", va="center", fontsize=fontsize, color=grey)
    axes.text(x + width / 2, y - 0.4, title, ha="center", va="bottom", fontsize=9.5, linespacing=1.25)


def _brightest(counts: Array) -> tuple[int, int]:
    """The pixel that most taps reach; of several, the one nearest the middle."""
    rows, columns = np.nonzero(counts == counts.max())
    middle = (np.array(counts.shape) - 1) / 2
    best = int(((rows - middle[0]) ** 2 + (columns - middle[1]) ** 2).argmin())
    return int(rows[best]), int(columns[best])


def _arithmetic_figure(layer: Layer, generator: Generator) -> Figure:
    """Input and kernel, the zero-stuffed input, the output; and what makes one output pixel."""
    n, m, k = layer.input_size, layer.output_size, layer.kernel_size
    x = torch.randint(1, 6, (1, 1, n, n), generator=generator).double()
    w = torch.randint(1, 4, (1, 1, k, k), generator=generator).double()
    padded, y = stuffed(x, layer), layer.up(x, w)
    before, after = layer.margins
    kinds = np.full(padded.shape[2:], MARGIN)
    inner = slice(before, len(kinds) - after)
    kinds[inner, inner] = ZERO
    kinds[stuffed(torch.ones_like(x), layer)[0, 0].bool().numpy()] = PIXEL

    row, column = _brightest(overlap(layer))
    window = (slice(row, row + k), slice(column, column + k))
    met = kinds[window] == PIXEL
    flipped = w.flip(2, 3)[0, 0].numpy()
    kinds[window][met] = LIT
    input_kinds = kinds[before::, before::][:: layer.stride, :: layer.stride][:n, :n]
    output_kinds = np.full((m, m), PIXEL)
    output_kinds[row, column] = LIT

    side, left, gap, head = len(kinds), max(n, k, 4), 2.0, 2.2
    height = max(n + k + head + 1.2, side, m)
    width = left + side + m + 2 * gap
    inches = WIDTH / (width + 1)
    fontsize = min(10.0, 0.42 * 72 * inches)
    figure = Figure(figsize=(WIDTH, max(3.0, (height + 1) * inches + 1.2)), layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlim=(-0.5, width + 0.5), ylim=(height + 0.2, -head), aspect="equal")
    axes.axis("off")
    top = (height - side) / 2
    _cells(axes, ((left - n) / 2, 0), x[0, 0].numpy(), input_kinds, f"input {n} x {n}", fontsize)
    lit = np.where(met, LIT, PIXEL)
    _cells(axes, ((left - k) / 2, height - k), flipped, lit, f"kernel {k} x {k},\nturned by 180°", fontsize)
    zeros, around = layer.stride - 1, f"{before} around" if after == before else f"{before} before, {after} after"
    title = f"{zeros} zero{'s' if zeros != 1 else ''} between pixels,\n{around}: {side} x {side}"
    _cells(axes, (left + gap, top), padded[0, 0].numpy(), kinds, title, fontsize)
    axes.add_patch(Rectangle((left + gap + column, top + row), k, k, fill=False, edgecolor="tab:red", lw=2))
    out = (left + side + 2 * gap, (height - m) / 2)
    _cells(axes, out, y[0, 0].numpy(), output_kinds, f"output {m} x {m}", fontsize)

    values = padded[0, 0].numpy()[window][met]
    terms = [f"{a:g}·{b:g}" for a, b in zip(values, flipped[met], strict=True)]
    text = f"the pixel in orange, {len(terms)} of {k * k} taps: {' + '.join(terms)} = {y[0, 0, row, column]:g}"
    paddings = f"padding {layer.padding}, output padding {layer.output_padding}"
    figure.suptitle(f"A transposed convolution in steps: kernel {k}, stride {layer.stride}, {paddings}")
    figure.supxlabel("\n".join(textwrap.wrap(text, 110, max_lines=3, placeholder=" ...")), fontsize=9.5)
    return figure


def _matrix_figure(layer: Layer) -> Figure:
    """The convolution's matrix in one dimension beside its transpose, taps by colour, and how many stand in a row."""
    n, m, k = layer.input_size, layer.output_size, layer.kernel_size
    o, i = np.arange(m), np.arange(n)[:, None]
    tap = o + layer.padding - i * layer.stride  # [n, m]
    matrix = np.where((tap >= 0) & (tap < k), tap, -1)
    colours = ListedColormap(["white", *TAPS])
    inches = WIDTH / (m + n + 8)
    fontsize = min(11.0, 0.36 * 72 * inches)
    figure = Figure(figsize=(WIDTH, max(2.6, (m + 1) * inches + 1.4)), layout="constrained")
    panels = figure.subplots(1, 2, width_ratios=(m, n + 2))
    names = (f"convolution: {m} pixels to {n}", f"its transpose: {n} pixels to {m}")
    for axes, values, name in zip(panels, (matrix, matrix.T), names, strict=True):
        line = 0.5 if fontsize >= READABLE else 0.1
        axes.pcolormesh(values, cmap=colours, vmin=-1, vmax=colours.N - 2, edgecolors="0.7", linewidth=line)
        rows, columns = values.shape
        axes.set(title=name, aspect="equal", xlim=(0, columns), ylim=(rows, 0))
        axes.set(xlabel="from pixel", ylabel="to pixel")
        for axis, count in ((axes.xaxis, columns), (axes.yaxis, rows)):
            step = max(1, round(0.3 / inches))  # a label needs 0.3 inches
            axis.set_ticks(np.arange(0, count, step) + 0.5, labels=[str(at) for at in range(0, count, step)])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        if fontsize >= READABLE:
            for (row, column), j in np.ndenumerate(values):
                if j >= 0:
                    axes.text(column + 0.5, row + 0.55, f"$w_{j}$", ha="center", va="center", fontsize=fontsize)
    if fontsize >= READABLE:
        for row, count in enumerate(taps(layer)):
            text = f"{count} tap{'s' if count != 1 else ''}"
            panels[1].text(n + 0.3, row + 0.55, text, va="center", fontsize=fontsize * 0.85, color="0.35")
    figure.suptitle(f"The same weights, transposed, along one dimension: kernel {k}, stride {layer.stride}")
    return figure


def _checkerboard_figure(shown: dict[int, dict[Method, Array]]) -> Figure:
    """Kernel sizes down; across, overlap counts of one layer and what layers in a row make of a constant input."""
    figure = Figure(figsize=(WIDTH, 3.2 * len(shown) + 0.8), layout="constrained")
    panels = figure.subplots(len(shown), 1 + len(METHODS), squeeze=False)
    brightest = max(image.max() / image.mean() for images in shown.values() for image in images.values())
    picture = None
    for (k, images), row in zip(shown.items(), panels, strict=True):
        layer = Layer(input_size=5, kernel_size=k, stride=2, padding=(k - 1) // 2, output_padding=k % 2)
        counts, inside = overlap(layer), interior(k, 2)
        few, many = inside.min(), inside.max()
        row[0].imshow(counts, cmap="YlOrBr", vmin=0, vmax=16)
        for (y, x), count in np.ndenumerate(counts):
            row[0].text(x, y, str(count), ha="center", va="center", fontsize=8)
        span = f"{few} to {many}" if few != many else f"{few}"
        row[0].set_title(f"taps that reach each pixel:\n{span} away from the borders", fontsize=10)
        row[0].set_ylabel(f"kernel {k}, stride 2", fontsize=11)
        for axes, (method, image) in zip(row[1:], images.items(), strict=True):
            picture = axes.imshow(image / image.mean(), cmap="gray", vmin=0, vmax=brightest, interpolation="nearest")
            axes.set_title(f"{LAYERS} times {method}:\nlargest / smallest {image.max() / image.min():.2f}", fontsize=10)
    for axes in panels.flat:
        axes.set(xticks=[], yticks=[])
    assert picture is not None
    bar = figure.colorbar(picture, ax=panels[:, 1:], location="bottom", shrink=0.6, aspect=40, pad=0.02)
    bar.set_label("pixel / mean; constant input, random positive weights, far from the borders")
    figure.suptitle("Overlap of a transposed convolution of stride 2, and the checkerboard it makes")
    return figure


# ------------------------------------------------------------------ the analyzer


def transposed_conv(
    subject: Subject,
    *,
    input_size: int,
    kernel_size: int,
    stride: int,
    padding: int,
    output_padding: int,
    channels: int,
) -> Result:
    """Compute, check and draw.

    `tables["checks"]` has each statement with how many numbers were compared and the largest error (0: exact),
    `tables["sizes"]` the output sizes of the recipe's layer and of DCGAN's, `tables["overlap"]` taps a pixel for
    kernels 2 to 6 and strides 1 to 3, `tables["checkerboard"]` what three layers of stride 2 make of a constant input.
    """
    generator = subject.streams["dcgan.transposed_conv"]
    own = Layer(
        input_size=input_size,
        kernel_size=kernel_size,
        stride=stride,
        padding=padding,
        output_padding=output_padding,
    )
    checks: list[Check] = []
    for layer in dict.fromkeys([own, *DCGAN.values()]):
        checks += _checked(str(layer), _sides(layer, channels, generator))
    grid = _grid()
    square = [layer for layer in grid if layer.output_padding == 0]
    plain = [layer for layer in square if layer.padding == 0]
    span = f"k={KERNELS[0]}..{KERNELS[-1]}, s={STRIDES[0]}..{STRIDES[-1]}"
    for layers, setting, sides in (
        (grid, f"{len(grid)} layers: {span}, every p and op", lambda layer: _sides(layer, channels, generator)),
        (square, f"{len(square)} layers: {span}, every p", lambda layer: _resized_sides(layer, channels, generator)),
        (plain, f"{len(plain)} layers: {span}", _overlap_sides),
    ):
        checks += _checked(setting, (pair for layer in layers for pair in sides(layer)))

    table: list[dict[str, Any]] = []
    shown: dict[int, dict[Method, Array]] = {}
    for k in ROW:
        equal, random = _weights(k, None), _weights(k, generator)
        shown[k] = {method: stacked(method, random) for method in METHODS}
        table += [_row(k, method, "equal", stacked(method, equal)) for method in METHODS]
        table += [_row(k, method, "random", image) for method, image in shown[k].items()]

    ratio = evenness(own.kernel_size, own.stride)["ratio"]
    return Result(
        scores={
            "output_size": own.output_size,
            "overlap_ratio": ratio if math.isfinite(ratio) else None,
            "checks": len(checks),
            "failures": sum(check.error != 0 for check in checks),
        },
        tables={
            "checks": [check.row() for check in checks],
            "sizes": _sizes(own),
            "overlap": [evenness(k, s) for k in KERNELS for s in STRIDES],
            "checkerboard": table,
        },
        figures={
            "arithmetic": _arithmetic_figure(own, generator),
            "matrix": _matrix_figure(own),
            "checkerboard": _checkerboard_figure(shown),
        },
        manifest={"layer": attrs.asdict(own), "channels": channels, "side": SIDE, "maps": CHANNELS},
    )
