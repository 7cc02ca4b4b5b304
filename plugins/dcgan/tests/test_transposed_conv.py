"""dcgan.transposed_conv: the arithmetic against torch and slow loops, and wrong mathematics caught."""

import math

import attrs
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from gflow_core import Result, Runtime, Spec, Streams, StridedSampler, Subject
from gflow_dcgan import transposed_conv as tc
from gflow_dcgan.parts.arithmetic import TransposedConv
from gflow_dcgan.transposed_conv import DCGAN, Layer


def analyze(part: TransposedConv, seed: int = 0) -> Result:
    assert list(part.check(Spec())) == []
    return part.build()(Subject(spec=Spec(), runtime=Runtime(torch.device("cpu")), streams=Streams(seed)))


@pytest.fixture(scope="module")
def result() -> Result:
    return analyze(TransposedConv())


@st.composite
def layers(draw) -> Layer:
    kernel, stride = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    layer = Layer(
        input_size=draw(st.integers(1, 6)),
        kernel_size=kernel,
        stride=stride,
        padding=draw(st.integers(0, kernel - 1)),
        output_padding=draw(st.integers(0, stride - 1)),
    )
    return layer if layer.output_size >= 1 else attrs.evolve(layer, padding=0)


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


# ------------------------------------------------------------------ the arithmetic


@settings(max_examples=150, deadline=None)
@given(layers(), st.integers(1, 3), st.integers(1, 2))
def test_size_matrix_and_zero_stuffing(layer: Layer, c_in: int, c_out: int):
    """On real numbers and unequal channels; torch's own module says what is right."""
    n, k, m = layer.input_size, layer.kernel_size, layer.output_size
    x, w, y = normal(2, c_in, n, n), normal(c_in, c_out, k, k), normal(1, c_out, m, m)
    module = torch.nn.ConvTranspose2d(
        c_in, c_out, k, layer.stride, layer.padding, layer.output_padding, bias=False, dtype=torch.float64
    )
    module.weight.data = w
    wanted = module(x).detach()
    assert wanted.shape == (2, c_out, m, m)
    matrix = tc.convolution_matrix(w, layer).toarray()
    np.testing.assert_allclose(matrix @ y.flatten().numpy(), layer.down(y, w).flatten(), atol=1e-12)
    np.testing.assert_allclose(matrix.T @ x.flatten(1).T.numpy(), wanted.flatten(1).T, atol=1e-12)
    direct = F.conv2d(tc.stuffed(x, layer), w.flip(2, 3).transpose(0, 1))
    torch.testing.assert_close(direct, wanted, rtol=0, atol=1e-12)


@settings(max_examples=100, deadline=None)
@given(layers())
def test_overlap_counts_are_those_of_a_slow_loop(layer: Layer):
    counts = np.zeros((layer.output_size, layer.output_size), int)
    for i1 in range(layer.input_size):
        for i2 in range(layer.input_size):
            for j1 in range(layer.kernel_size):
                for j2 in range(layer.kernel_size):
                    o1, o2 = (i * layer.stride + j - layer.padding for i, j in ((i1, j1), (i2, j2)))
                    if 0 <= o1 < layer.output_size and 0 <= o2 < layer.output_size:
                        counts[o1, o2] += 1
    np.testing.assert_array_equal(tc.overlap(layer), counts)
    np.testing.assert_array_equal(np.outer(tc.taps(layer), tc.taps(layer)), counts)


@pytest.mark.parametrize("stride", range(1, 5))
@pytest.mark.parametrize("kernel", range(1, 9))
def test_evenness_is_divisibility(kernel: int, stride: int):
    """And the interior is what the middle of a large layer shows."""
    row = tc.evenness(kernel, stride)
    assert (row["ratio"] == 1) == (kernel % stride == 0)
    assert (row["ratio"] == math.inf) == (kernel < stride)
    middle = tc.overlap(Layer(input_size=24, kernel_size=kernel, stride=stride))[8:20, 8:20]
    assert (row["fewest"], row["most"]) == (middle.min(), middle.max())


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 3), st.integers(1, 3))
def test_resizing_merges_into_the_kernel(kernel: int, stride: int, padding: int, c_out: int):
    padding = min(padding, kernel - 1)
    x, w = normal(1, 2, 5, 5), normal(c_out, 2, kernel, kernel)
    wanted = F.conv2d(x.repeat_interleave(stride, 2).repeat_interleave(stride, 3), w, padding=padding)
    found = F.conv_transpose2d(x, tc.merged_kernel(w, stride), stride=stride, padding=kernel - 1 - padding)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("layer", DCGAN.values(), ids=DCGAN)
def test_dcgan_is_the_network_that_is_built(layer: Layer):
    sampler = StridedSampler(8, 3, 64, width=4, kernel_size=layer.kernel_size)
    built = [module for module in sampler.modules() if isinstance(module, torch.nn.ConvTranspose2d)]
    wanted = (layer.kernel_size, layer.stride, layer.padding, layer.output_padding)
    assert len(built) == 4
    for module in built:
        found = (module.kernel_size, module.stride, module.padding, module.output_padding)
        assert found == tuple((number, number) for number in wanted)


# ------------------------------------------------------------------ the checkerboard


@pytest.mark.parametrize("method", tc.METHODS)
@pytest.mark.parametrize("kernel", tc.ROW)
def test_the_middle_knows_no_border(kernel: int, method: tc.Method):
    """It repeats every 8 pixels, three doublings; that of resizing is constant whatever the weights."""
    weights = tc._weights(kernel, torch.Generator().manual_seed(0))
    image = tc.stacked(method, weights)
    assert image.shape == (32, 32)
    np.testing.assert_allclose(image[8:], image[:-8], rtol=1e-12)
    np.testing.assert_allclose(image[:, 8:], image[:, :-8], rtol=1e-12)
    if method == "resize and convolution":
        np.testing.assert_allclose(image, image[0, 0], rtol=1e-12)
    else:
        assert image.std() > 0.01 * image.mean()


# ------------------------------------------------------------------ the analyzer


def test_everything_holds(result: Result):
    assert all(row["ok"] and row["error"] == 0 and row["compared"] > 0 for row in result.tables["checks"])
    assert result.scores == {"output_size": 8, "overlap_ratio": 2.25, "checks": 23, "failures": 0}
    assert [row["output_size"] for row in result.tables["sizes"]] == [8, 8, 16, 32, 64, 8, 16, 32, 64]
    for row in result.tables["sizes"]:
        assert eval(row["formula"]) == row["output_size"] == row["torch"]
    overlap = {(row["kernel_size"], row["stride"]): row for row in result.tables["overlap"]}
    assert len(overlap) == 15
    assert (overlap[5, 2]["fewest"], overlap[5, 2]["most"], overlap[5, 2]["layer"]) == (4, 9, "DCGAN as published")
    assert (overlap[4, 2]["ratio"], overlap[4, 2]["layer"]) == (1, "DCGAN's usual port")
    even = {row["kernel_size"]: row["ratio"] for row in result.tables["checkerboard"][::4]}
    assert even == pytest.approx({5: 25 / 9, 4: 1, 3: 25})  # along one dimension 5 to 3, 1 to 1 and 5 to 1


def test_figures_are_drawn(result: Result, tmp_path):
    assert set(result.figures) == {"arithmetic", "matrix", "checkerboard"}
    for name, figure in result.figures.items():
        figure.savefig(tmp_path / name, format="png", dpi=40)
        assert (tmp_path / name).stat().st_size > 4000
    # The sum under the picture is the orange pixel's.
    left, value = result.figures["arithmetic"].get_supxlabel().split(": ")[1].split(" = ")
    assert sum(math.prod(map(int, term.split("·"))) for term in left.split(" + ")) == int(value)


def test_another_layer_and_seed():
    part = TransposedConv(input_size=1, kernel_size=2, stride=3, padding=0, output_padding=2, channels=2)
    found = analyze(part, seed=1)
    assert found.scores == {"output_size": 4, "overlap_ratio": None, "checks": 30, "failures": 0}
    assert found.tables["sizes"][0]["layer"] == "this recipe"


def _not_flipped(x, layer):
    return stuffed(x, layer).flip(2)


def _shifted_matrix(w, layer):
    return convolution_matrix(w.flip(2), layer)


def _one_too_few(layer):
    return np.minimum(taps(layer), 2)


stuffed, convolution_matrix, taps = tc.stuffed, tc.convolution_matrix, tc.taps


@pytest.mark.parametrize(
    ("name", "wrong", "caught"),
    [
        ("stuffed", _not_flipped, {"convolution of the zero-stuffed input with the flipped kernel"}),
        (
            "convolution_matrix",
            _shifted_matrix,
            {"the explicit matrix is the convolution", "its transpose is the transposed convolution"},
        ),
        ("taps", _one_too_few, {"taps that reach each pixel"}),
    ],
)
def test_wrong_mathematics_is_caught(monkeypatch, name, wrong, caught):
    monkeypatch.setattr(tc, name, wrong)
    layer = DCGAN["DCGAN as published"]
    checks = tc._checked("x", tc._sides(layer, 1, torch.Generator().manual_seed(0)))
    assert {check.statement for check in checks if check.error} == caught


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"padding": 5}, "padding 5 must be below kernel_size 5"),
        ({"output_padding": 2}, "output_padding 2 must be below stride 2"),
        ({"input_size": 1, "padding": 4}, "the output has -2 pixels a side"),
    ],
)
def test_layers_that_cannot_be_are_refused(options, reason):
    assert [message.split(";")[0] for message in TransposedConv(**options).check(Spec())] == [reason]
    with pytest.raises(ValueError, match="must be >= 1"):
        TransposedConv(kernel_size=0)
