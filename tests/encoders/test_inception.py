"""The FID network against torchvision's, brute force and the files it reads."""

from __future__ import annotations

import hashlib

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gflow_core.encoders import inception
from gflow_core.encoders.inception import fid_inception, pixels, resize_tf1
from gflow_core.encoders.network import fresh
from gflow_core.encoders.parts import Inception
from gflow_core.errors import DataError


@pytest.fixture(scope="module")
def state():
    """Random weights, with statistics of batch norm that matter."""
    network = fresh("inception", fid_inception)
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.8, 1.2, generator=generator)
    return network.state_dict()


@pytest.fixture
def file(state, tmp_path):
    torch.save(state, tmp_path / "mine.pth")
    return tmp_path / "mine.pth"


def test_tensors_are_named_as_in_the_ports_of_the_original(state):
    shapes = {
        "Conv2d_1a_3x3.conv.weight": [32, 3, 3, 3],
        "Conv2d_4a_3x3.bn.running_var": [192],
        "Mixed_5b.branch1x1.conv.weight": [64, 192, 1, 1],
        "Mixed_6a.branch3x3.conv.weight": [384, 288, 3, 3],
        "Mixed_6e.branch7x7dbl_5.conv.weight": [192, 192, 1, 7],
        "Mixed_7a.branch7x7x3_4.bn.bias": [192],
        "Mixed_7c.branch_pool.conv.weight": [192, 2048, 1, 1],
        "fc.weight": [1008, 2048],
        "fc.bias": [1008],
    }
    assert {key: list(state[key].shape) for key in shapes} == shapes
    assert not any("Aux" in key for key in state)
    convolutions = [key for key in state if key.endswith(".conv.weight")]
    # 94 convolutions, each with batch norm's weight, bias, mean, variance and counter, and the linear layer.
    assert len(convolutions) == 94
    assert len(state) == 94 * 6 + 2


def test_parameters_are_torchvisions_less_the_auxiliary_head_with_eight_classes_more(state):
    from torchvision.models import Inception_V3_Weights
    from torchvision.models.inception import InceptionAux

    stated = Inception_V3_Weights.IMAGENET1K_V1.meta["num_params"]  # with 1000 classes and the auxiliary head
    auxiliary = sum(p.numel() for p in InceptionAux(768, 1000).parameters())
    own = sum(p.numel() for p in fid_inception().parameters())
    assert own == stated - auxiliary + 8 * (2048 + 1) == 23_850_960


def test_blocks_differ_from_torchvisions_in_the_pool_branch_alone():
    from torchvision.models import inception as tv

    def mean(x):
        """3x3 averages over what lies inside the image, by explicit counts."""
        ones = torch.ones_like(x[:1, :1])
        total, count = (F.unfold(F.pad(t, (1, 1, 1, 1)), 3).view(len(t), -1, 9, 36).sum(2) for t in (x, ones))
        return (total / count).view_as(x)

    def maximum(x):
        return F.unfold(F.pad(x, (1, 1, 1, 1), value=-1e9), 3).view(len(x), -1, 9, 36).amax(2).view_as(x)

    cases = [
        (inception._A(16, 8), tv.InceptionA(16, 8), mean),
        (inception._C(16, 8), tv.InceptionC(16, 8), mean),
        (inception._E(16), tv.InceptionE(16), mean),
        (inception._E(2048), tv.InceptionE(2048), maximum),
    ]
    with torch.no_grad():
        for block, original, pool in cases:
            original.load_state_dict(block.state_dict())
            x = torch.randn(2, block.branch1x1.conv.in_channels, 6, 6)
            got, theirs = block.eval()._forward(x), original.eval()._forward(x)
            assert all(torch.equal(a, b) for a, b in zip(got[:-1], theirs[:-1], strict=True))
            wanted = block.branch_pool(pool(x))
            assert torch.allclose(got[-1], wanted, atol=1e-5)
            assert not torch.allclose(theirs[-1], wanted, atol=1e-2)


def test_the_first_of_the_last_blocks_averages_and_the_second_takes_the_maximum():
    with torch.device("meta"):
        network = fid_inception()
    assert network.Mixed_7b.pool is inception._average
    assert network.Mixed_7c.pool is inception._maximum


@pytest.mark.parametrize(("height", "width", "size"), [(3, 4, 9), (8, 8, 8), (11, 7, 5), (1, 1, 3), (6, 10, 13)])
def test_resizing_is_tensorflow_1s(height, width, size):
    x = torch.rand(2, 3, height, width, dtype=torch.float64)
    wanted = torch.empty(2, 3, size, size, dtype=torch.float64)
    for i in range(size):
        for j in range(size):
            r, c = i * height / size, j * width / size
            top, left = int(r), int(c)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            upper = x[..., top, left] + (x[..., top, right] - x[..., top, left]) * (c - left)
            lower = x[..., bottom, left] + (x[..., bottom, right] - x[..., bottom, left]) * (c - left)
            wanted[..., i, j] = upper + (lower - upper) * (r - top)
    assert torch.allclose(resize_tf1(x, size), wanted, rtol=0, atol=1e-12)


def test_resizing_puts_pixels_at_corners_not_at_centres():
    x = torch.tensor([[0.0, 1.0]]).view(1, 1, 1, 2)
    assert resize_tf1(x, 4)[0, 0, 0].tolist() == [0, 0.5, 1, 1]


def test_pixels_are_the_bytes_of_the_image():
    levels = torch.arange(256.0)
    assert torch.equal(pixels(levels / 127.5 - 1), levels)
    assert pixels(torch.tensor([-1.3, -0.999, 0.001, 1.7])).tolist() == [0, 0, 128, 255]


def test_a_file_gives_its_own_weights(file, state, shape, images, cpu):
    encoder = Inception(weights=str(file)).build(shape(), cpu)
    assert encoder.name == "inception (mine)"
    assert encoder.dim == 2048
    x = images()
    features, logits = encoder(x), encoder.classify(x)
    assert features.shape == (2, 2048)
    assert features.dtype == torch.float32
    # Against the whole network, which ends in the linear layer with its bias.
    network = fresh("other", fid_inception).eval()
    network.load_state_dict(state)
    whole = network((resize_tf1((x + 1) * 127.5, 299) - 128) / 128)
    assert torch.allclose(features @ state["fc.weight"].T + state["fc.bias"], whole, atol=1e-4)
    assert torch.allclose(logits, whole - state["fc.bias"], atol=1e-4)
    assert torch.equal(encoder(x), features)


def test_precision_and_gradients_around_it_change_nothing(shape, images, cpu):
    encoder = Inception(weights="random").build(shape(1), cpu)
    assert encoder.name == "inception (random)"
    x = images(channels=1)
    plain = encoder(x)
    assert bool(plain.isfinite().all())
    assert plain.std() > 1e-2
    assert (plain[0] - plain[1]).abs().max() > 1e-3
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(encoder(x), plain)
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(encoder(x.double().requires_grad_()), plain)
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert not plain.requires_grad
    # Grey is repeated.
    assert torch.allclose(encoder(x.expand(-1, 3, -1, -1)), plain, atol=1e-6)
    assert encoder.resizer.startswith("grey repeated in 3 channels; ")


def test_only_the_published_file_is_called_inception(file, hub, shape, cpu, monkeypatch):
    part = Inception()
    with pytest.raises(DataError) as caught:
        part.build(shape(), cpu)
    said = str(caught.value)
    assert f"{hub}/weights-inception-2015-12-05-6726825d.pth, {hub}/pt_inception-2015-12-05-6726825d.pth" in said
    assert "github.com/toshas/torch-fidelity" in said
    hub.mkdir(parents=True)
    (hub / "weights-inception-2015-12-05-6726825d.pth").write_bytes(file.read_bytes())
    with pytest.raises(DataError, match="its sha256 does not start with 6726825d"):
        part.build(shape(), cpu)
    # The same file, were it the published one.
    digest = hashlib.sha256(file.read_bytes()).hexdigest()[:8]
    monkeypatch.setattr(inception, "URL", f"https://example.org/inception-{digest}.pth")
    (hub / f"inception-{digest}.pth").write_bytes(file.read_bytes())
    assert part.build(shape(), cpu).name == "inception"


def test_torchvisions_own_inception_is_another_network(tmp_path, shape, cpu):
    from torchvision.models import inception_v3

    with torch.device("meta"):
        names = inception_v3(weights=None, init_weights=False).state_dict()
    torch.save({key: torch.zeros(value.shape) for key, value in names.items()}, tmp_path / "tv.pth")
    with pytest.raises(DataError, match=r"unexpected \(AuxLogits.*fc.weight \[1000, 2048\] instead of \[1008, 2048\]"):
        Inception(weights=str(tmp_path / "tv.pth")).build(shape(), cpu)


@pytest.mark.gpu
def test_cuda_agrees_with_the_cpu(shape, images, cpu):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA")
    device = torch.device("cuda")
    x = images()
    here = Inception(weights="random").build(shape(), cpu)
    there = Inception(weights="random").build(shape(), device)
    assert here.weights == there.weights
    with torch.autocast("cuda", torch.bfloat16):
        features = there(x.to(device))
    assert torch.equal(features, there(x.to(device)))
    assert torch.allclose(features.cpu(), here(x), atol=1e-4)
