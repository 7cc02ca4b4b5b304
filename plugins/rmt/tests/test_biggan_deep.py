from __future__ import annotations

import copy
import math
from functools import cache

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gflow_core import DataError, DataShape, Normal, Runtime, TruncatedNormal, build_network, push
from gflow_rmt import biggan_deep
from gflow_rmt.biggan_deep import Conv, Network, gflop_per_image, rows_of
from gflow_rmt.parts.networks import BigGanDeep

TRAPS = (0.14, 0.28, 0.56, 0.58, 0.94)
LAYERS = {  # up, in, out, in units of the channels; A is self-attention
    128: "F16,16 T16,16 F16,16 T16,8 F8,8 T8,4 F4,4 T4,2 A2,2 F2,2 T2,1",
    256: "F16,16 T16,16 F16,16 T16,8 F8,8 T8,8 F8,8 T8,4 A4,4 F4,4 T4,2 F2,2 T2,1",
    512: "F16,16 T16,16 F16,16 T16,8 F8,8 T8,8 F8,8 T8,4 A4,4 F4,4 T4,2 F2,2 T2,1 F1,1 T1,1",
}


def layers(size):
    return [(word[0], *map(int, word[1:].split(","))) for word in LAYERS[size].split()]


def network_of(part):
    return Network(part.image_size, part.channels, rows_of(part.truncation, part.interpolation))


@cache
def meta(size):
    with torch.device("meta"):
        return network_of(BigGanDeep(image_size=size)).eval()


def random_state(part, seed=0):
    """A state dict of float64 in which no tensor has the value it is initialised with."""
    network = network_of(part).double()
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, value in network.state_dict().items():
        g = torch.randn(value.shape, generator=generator, dtype=torch.float64)
        if name.endswith("running_vars"):
            g = 0.5 + g.square()
        elif name.endswith("weight_orig"):
            g = g / math.sqrt(value[0].numel())
        elif name.endswith(("weight_u", "weight_v")):
            g = g / g.norm()
        state[name] = g
    for name in [name for name in state if name.endswith("weight_u")]:  # near the singular vectors: sigma is not tiny
        w, v = state[f"{name[:-1]}orig"].flatten(1), state[f"{name[:-1]}v"]
        for _ in range(5):
            state[name] = F.normalize(w @ v, dim=0)
            v = F.normalize(w.T @ state[name], dim=0)
        state[f"{name[:-1]}v"] = v
    state["generator.bn.weight"] *= 0.05  # or tanh would hide what differs
    return state


def network_with(part, state):
    network = network_of(part).double().eval()
    network.load_state_dict(state)
    return network


# ------------------------------------------------------------------ the same by the book


def reference(state, z, y, *, size, channels, truncation, interpolation):
    """The paper's section 3, one equation after the other."""

    def spectral(name):  # eq. 4
        weight, u, v = (state[f"{name}.weight_{part}"] for part in ("orig", "u", "v"))
        return weight / (u @ (weight.flatten(1) @ v))

    def batch_norm(x, name, w, b):  # eqs. 8, 59
        eta = 1 / 50
        f, s = math.modf(truncation / eta)
        s = int(s)
        means, variances = state[f"{name}.running_means"], state[f"{name}.running_vars"]
        if f == 0:
            mean, variance = means[s], variances[s]
        elif interpolation == "published":
            mean, variance = (rows[s] * f + rows[s + 1] * (1 - f) for rows in (means, variances))
        else:
            mean, variance = (rows[s] * (1 - f) + rows[s + 1] * f for rows in (means, variances))
        x = (x - mean.view(1, -1, 1, 1)) / torch.sqrt(variance.view(1, -1, 1, 1) + 0.0001)
        return x * w[:, :, None, None] + b[:, :, None, None]

    def conditional(x, name, c):  # eqs. 6, 7
        w = 1 + c @ spectral(f"{name}.scale").T
        b = c @ spectral(f"{name}.offset").T
        return batch_norm(x, name, w, b).clamp(min=0)

    def doubled(x):  # eq. 23
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3)

    def block(x, name, c, up, outs):  # sections 3.3.1 to 3.3.3
        h = F.conv2d(conditional(x, f"{name}.bn_0", c), spectral(f"{name}.conv_0"), state[f"{name}.conv_0.bias"])
        h = conditional(h, f"{name}.bn_1", c)
        h = doubled(h) if up else h
        h = F.conv2d(h, spectral(f"{name}.conv_1"), state[f"{name}.conv_1.bias"], padding=1)
        h = conditional(h, f"{name}.bn_2", c)
        h = F.conv2d(h, spectral(f"{name}.conv_2"), state[f"{name}.conv_2.bias"], padding=1)
        h = F.conv2d(conditional(h, f"{name}.bn_3", c), spectral(f"{name}.conv_3"), state[f"{name}.conv_3.bias"])
        x = x[:, :outs]
        return h + (doubled(x) if up else x)

    def attention(x, name):  # section 3.3.4
        batch, c, height, width = x.shape
        flat = x.reshape(batch, c, height * width)
        theta, phi, g = (spectral(f"{name}.snconv1x1_{path}").flatten(1) @ flat for path in ("theta", "phi", "g"))
        phi, g = (
            t.reshape(batch, -1, height // 2, 2, width // 2, 2).amax((3, 5)).reshape(batch, t.shape[1], -1)
            for t in (phi, g)
        )
        att = torch.einsum("bcn,bcp->bnp", theta, phi).exp()
        att = att / att.sum(2, keepdim=True)
        seen = torch.einsum("bcp,bnp->bcn", g, att)
        o = spectral(f"{name}.snconv1x1_o_conv").flatten(1) @ seen
        return x + state[f"{name}.gamma"] * o.reshape(x.shape)

    e = state["embeddings.weight"].T[y]  # eq. 1
    c = torch.cat([z, e], 1)  # eq. 2
    x = c @ spectral("generator.gen_z").T + state["generator.gen_z.bias"]  # eq. 3
    x = x.reshape(-1, 4, 4, 16 * channels).permute(0, 3, 1, 2)
    for i, (kind, _, outs) in enumerate(layers(size)):
        name = f"generator.layers.{i}"
        x = attention(x, name) if kind == "A" else block(x, name, c, kind == "T", outs * channels)
    w, b = (state[f"generator.bn.{part}"].expand(len(x), -1) for part in ("weight", "bias"))
    x = batch_norm(x, "generator.bn", w, b).clamp(min=0)
    x = F.conv2d(x, spectral("generator.conv_to_rgb"), state["generator.conv_to_rgb.bias"], padding=1)
    return torch.tanh(x[:, :3])


@pytest.mark.parametrize(
    ("size", "interpolation", "truncations"),
    [
        (128, "published", (0.4, 0.14)),
        (128, "corrected", (0.413,)),
        (256, "published", (0.43,)),
        (512, "corrected", (0.777,)),
    ],
)
def test_images_are_those_of_the_paper_s_equations(size, interpolation, truncations):
    z, y = torch.randn(2, 128, generator=torch.Generator().manual_seed(1), dtype=torch.float64), torch.tensor([947, 3])
    state, pictures = random_state(BigGanDeep(image_size=size, channels=8)), []
    for truncation in truncations:
        options = {"channels": 8, "truncation": truncation, "interpolation": interpolation}
        part = BigGanDeep(image_size=size, **options)
        n = 2 if truncation == 0.4 else 1
        with torch.no_grad():
            x = network_with(part, state)(z[:n], y[:n])
            wanted = reference(state, z[:n], y[:n], size=size, **options)
        assert x.shape == (n, 3, size, size)
        assert x.std() > 0.1
        assert (x.abs() < 0.99).double().mean() > 0.9
        torch.testing.assert_close(x, wanted, rtol=0, atol=1e-10)
        pictures.append(x[0])
    for i, one in enumerate(pictures):
        assert all((one - other).abs().max() > 1e-3 for other in pictures[:i])


def test_row_of_statistics_and_its_traps():
    """By hand: 0.43 / 0.02 = 21.5; 0.42 is row 21; .14 / .02 comes out as 7.000000000000001."""
    assert rows_of(0.4, "published") == rows_of(0.4, "corrected") == [(20, 1.0)]
    assert rows_of(1.0, "published") == [(50, 1.0)]
    assert [row for row, _ in rows_of(0.43, "published")] == [21, 22]
    fraction = 0.435 / 0.02 - 21
    for interpolation, first in (("published", fraction), ("corrected", 1 - fraction)):
        (row, weight), (after, other) = rows_of(0.435, interpolation)
        assert (row, after) == (21, 22)
        assert (weight, other) == pytest.approx((first, 1 - first))

    def place(truncation, interpolation):
        return sum(row * weight for row, weight in rows_of(truncation, interpolation))

    on_a_row = [i / 50 for i in range(1, 51)]
    moved = [t for t in on_a_row if abs(place(t, "published") - 50 * t) > 0.5]
    assert moved == list(TRAPS)
    assert [round(place(t, "published") - 50 * t) for t in TRAPS] == [1, 1, 1, -1, -1]
    fine = torch.linspace(0.001, 1, 2000, dtype=torch.float64).tolist()
    assert all(abs(place(t, "corrected") - 50 * t) < 1e-12 for t in [*fine, *on_a_row])


# ------------------------------------------------------------------ the published network


@pytest.mark.parametrize(("size", "parameters"), [(128, 50_388_609), (256, 55_880_833), (512, 56_163_905)])
def test_parameters_and_names(size, parameters):
    network = meta(size)
    assert sum(p.numel() for p in network.parameters()) == parameters
    normalised = {"generator.gen_z", "generator.conv_to_rgb"}
    names = {"embeddings.weight", "generator.gen_z.bias", "generator.conv_to_rgb.bias"}
    statistics = ("running_means", "running_vars")
    names |= {f"generator.bn.{name}" for name in ("weight", "bias", *statistics)}
    for i, (kind, _, _) in enumerate(layers(size)):
        name = f"generator.layers.{i}"
        if kind == "A":
            normalised |= {f"{name}.snconv1x1_{path}" for path in ("theta", "phi", "g", "o_conv")}
            names.add(f"{name}.gamma")
        else:
            normalised |= {f"{name}.conv_{j}" for j in range(4)}
            normalised |= {f"{name}.bn_{j}.{what}" for j in range(4) for what in ("scale", "offset")}
            names |= {f"{name}.conv_{j}.bias" for j in range(4)}
            names |= {f"{name}.bn_{j}.{what}" for j in range(4) for what in statistics}
    names |= {f"{name}.weight_{part}" for name in normalised for part in ("orig", "u", "v")}
    state = network.state_dict()
    assert set(state) == names
    assert {value.shape[0] for name, value in state.items() if name.endswith(statistics)} == {51}
    assert state["generator.layers.0.conv_1.weight_orig"].shape == (512, 512, 3, 3)
    assert state["generator.gen_z.weight_orig"].shape == (32768, 256)


def test_shapes_that_the_paper_prints():
    """Eqs. 1-3 and 30-63, of one image of 256 px."""
    network = meta(256)
    seen, entered = {}, {}

    def note(name):
        def hook(module, given, out):
            entered[name], seen[name] = tuple(given[0].shape), tuple(out.shape)

        return hook

    for name, module in network.named_modules():
        module.register_forward_hook(note(name))
    network(torch.empty(1, 128, device="meta"), torch.empty(1, 1000, device="meta"))

    assert seen["embeddings"] == (1, 128)
    assert entered["generator.gen_z"] == (1, 256)
    assert seen["generator.gen_z"] == (1, 32768)
    sides = [4, 8, 8, 16, 16, 32, 32, 64, 64, 64, 128, 128, 256]
    channels = [2048, 2048, 2048, 1024, 1024, 1024, 1024, 512, 512, 512, 256, 256, 128]
    for i, (c, side) in enumerate(zip(channels, sides, strict=True)):  # eqs. 43-55
        assert seen[f"generator.layers.{i}"] == (1, c, side, side), i
    assert entered["generator.layers.0"] == (1, 2048, 4, 4)
    for i, side in ((0, 4), (1, 8)):  # eqs. 10-25
        before = {0: 4, 1: 4}[i]
        assert seen[f"generator.layers.{i}.conv_0"] == (1, 512, before, before)
        assert seen[f"generator.layers.{i}.conv_1"] == seen[f"generator.layers.{i}.conv_2"] == (1, 512, side, side)
        assert seen[f"generator.layers.{i}.conv_3"] == (1, 2048, side, side)
    assert seen["generator.layers.3.conv_3"] == (1, 1024, 16, 16)  # eq. 26

    attention = "generator.layers.8"
    assert seen[f"{attention}.snconv1x1_theta"] == (1, 64, 64, 64)  # eq. 30
    assert seen[f"{attention}.snconv1x1_phi"] == (1, 64, 64, 64)  # eq. 31
    assert seen[f"{attention}.softmax"] == (1, 4096, 1024)  # eqs. 35, 36
    assert seen[f"{attention}.snconv1x1_g"] == (1, 256, 64, 64)  # eq. 38
    assert seen[f"{attention}.maxpool"] == (1, 256, 32, 32)  # eq. 39, after eq. 32
    assert entered[f"{attention}.snconv1x1_o_conv"] == (1, 256, 64, 64)  # eq. 40
    assert seen[f"{attention}.snconv1x1_o_conv"] == (1, 512, 64, 64)  # eq. 41
    pooled = network.generator.layers[8].maxpool(torch.empty(1, 64, 64, 64, device="meta"))
    assert pooled.shape == (1, 64, 32, 32)  # eq. 32

    assert seen["generator.bn"] == (1, 128, 256, 256)  # eqs. 59, 60
    rgb = network.generator.conv_to_rgb
    assert entered["generator.conv_to_rgb"] == (1, 128, 256, 256)
    assert nn.Conv2d.forward(rgb, torch.empty(1, 128, 256, 256, device="meta")).shape == (1, 128, 256, 256)  # eq. 61
    assert seen["generator.conv_to_rgb"] == (1, 3, 256, 256)  # eq. 62
    assert seen[""] == (1, 3, 256, 256)  # eq. 63


def test_gflop_of_an_image():
    """Two operations a multiplication, counted layer by layer; the doubling convolutions act on the smaller side."""
    size = 128
    side, total = 4, 256 * 32768 + 128 * 1000
    for kind, ins, outs in layers(size):
        ins, outs, m = 128 * ins, 128 * outs, 32 * ins
        if kind == "A":
            n = side**2
            total += n * ins * (ins // 8 * 2 + ins // 2 * 2) + n * n // 4 * (ins // 8 + ins // 2)
            continue
        after = 2 * side if kind == "T" else side
        total += 2 * 256 * (ins + 3 * m)  # scales and offsets
        total += side**2 * ins * m + side**2 * m * m * (16 if kind == "T" else 9)
        total += after**2 * (9 * m * m + m * outs)
        side = after
    total += side**2 * 9 * 128 * 3
    assert gflop_per_image(size, 128) == pytest.approx(2 * total / 1e9, rel=1e-6)


# ------------------------------------------------------------------ spectral normalisation


def test_spectral_norm_is_torch_s_own():
    """Names, eval mode, and three steps of training, forward, backward and vectors, against the legacy hook."""
    torch.manual_seed(0)
    theirs = nn.utils.spectral_norm(nn.Conv2d(3, 4, 3, padding=1), eps=1e-4).double()
    ours = Conv(3, 4, 3, padding=1).double()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 3, 5, 5, dtype=torch.float64)
    for mode in (False, True, False):
        for network in (ours, theirs):
            network.train(mode)
        for _ in range(3):
            gradients = []
            for network in (ours, theirs):
                out = network(x)
                network.zero_grad()
                out.square().sum().backward()
                gradients.append(network.weight_orig.grad)
                with torch.no_grad():
                    network.weight_orig.sub_(1e-3 * network.weight_orig.grad)
            torch.testing.assert_close(*gradients)
            for name, value in theirs.state_dict().items():
                torch.testing.assert_close(ours.state_dict()[name], value)
            with torch.no_grad():
                torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))
            ours.train(mode), theirs.train(mode)


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return BigGanDeep(image_size=128, channels=8).build(None).eval()


Z = torch.randn(2, 128, generator=torch.Generator().manual_seed(0)) * 0.4
Y = torch.tensor([1, 2])


@torch.no_grad()
def test_inference_changes_nothing(small):
    before = {name: value.clone() for name, value in small.state_dict().items()}
    assert torch.equal(small(Z, Y), small(Z, Y))
    assert all(torch.equal(value, before[name]) for name, value in small.state_dict().items())


def test_gradients_reach_z_and_weights(small):
    network = copy.deepcopy(small)
    z = Z[:1].clone().requires_grad_()
    network(z, Y[:1]).sum().backward()
    assert network.generator.layers[3].conv_1.weight_orig.grad.abs().max() > 0
    step = 1e-6 * z.grad / z.grad.norm()
    with torch.no_grad():
        high, low = (network.double()(Z[:1].double() + s * step.double(), Y[:1]).sum() for s in (1, -1))
    assert float((high - low) / 2e-6) == pytest.approx(float(z.grad.norm()), rel=1e-2)


def test_training_mode_only_turns_the_vectors(small):
    """One step of the power method a forward, which at the singular vectors changes nothing."""
    network = copy.deepcopy(small).train()
    with torch.no_grad():
        x = network(Z, Y)
        torch.testing.assert_close(x, small(Z, Y), rtol=0, atol=1e-4)
    changed = [n for n, v in network.state_dict().items() if not torch.equal(v, small.state_dict()[n])]
    assert all(name.endswith(("weight_u", "weight_v")) for name in changed)


# ------------------------------------------------------------------ weights


def test_random_weights_repeat_with_the_seed_and_vary(small):
    part, runtime = BigGanDeep(image_size=128, channels=8), Runtime(torch.device("cpu"))
    one, two, other = (build_network("sampler", part, None, seed, runtime).eval() for seed in (0, 0, 1))
    z, y = part.latent.draw(4, torch.Generator().manual_seed(0)), torch.tensor([947, 963]).repeat(2)
    with torch.no_grad():
        x, again, different = (network(z, y) for network in (one, two, other))
        shifted = one(z, y.roll(1))
    assert torch.equal(x, again)
    assert x.abs().max() <= 1
    assert (x - different).abs().mean() > 0.1
    assert (x - shifted).abs().mean() > 0.1
    assert (x[:2] - x[2:]).abs().mean() > 0.02  # another z
    assert x.std((2, 3)).mean() > 0.02
    for module in small.modules():
        if isinstance(module, biggan_deep.SpectralNorm):
            norm = torch.linalg.matrix_norm(module.weight.detach().flatten(1), 2)
            assert float(norm) == pytest.approx(1, abs=1e-4)


def test_one_z_in_another_batch_and_type(small, monkeypatch):
    z, y = Z.repeat(2, 1)[:3], torch.arange(3)
    with torch.no_grad():
        x = small(z, y)
        assert torch.equal(small(z, F.one_hot(y, 1000)), x)  # rows of weights are read as well
        monkeypatch.setattr(small, "together", 2)
        torch.testing.assert_close(small(z, y), x, rtol=0, atol=1e-4)
        monkeypatch.undo()
        last = small.to(memory_format=torch.channels_last)
        torch.testing.assert_close(last(z, y), x, rtol=0, atol=1e-4)
        (half,) = push(last, z, y, Runtime(torch.device("cpu"), bf16=True))
    assert half.dtype == torch.float32
    assert (half - x).abs().mean() < 0.02


def test_a_file_of_the_public_names(small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    torch.save({name: value.half() for name, value in small.state_dict().items()}, "half.bin")
    wanted = copy.deepcopy(small).half().float()
    for path in ("half.bin", "~/half.bin"):
        network = BigGanDeep(image_size=128, channels=8, weights=path).build(None).eval()
        assert {value.dtype for value in network.state_dict().values()} == {torch.float32}
        with torch.no_grad():
            assert torch.equal(network(Z, Y), wanted(Z, Y))


def test_wrong_files_are_told_in_one_message(small, tmp_path):
    def refused(weights, match, **options):
        with pytest.raises(DataError, match=match):
            BigGanDeep(**{"image_size": 128, "channels": 8, **options}, weights=str(weights)).build(None)

    state = small.state_dict()
    path = tmp_path / "weights.bin"
    refused(path, r"sampler\.weights: the file not found; looked for .*weights\.bin; .*weights = \"random\"")
    refused(tmp_path, "not found")
    refused("~nobody_of_that_name/x", r"~nobody_of_that_name/x: .*; write the path out")
    path.write_bytes(b"no weights")
    refused(path, r"weights\.bin: not readable as weights")
    torch.save({"epoch": 3}, path)
    refused(path, "not a state dict of tensors")
    changed = {"extra": torch.zeros(1), **state}
    del changed["generator.gen_z.bias"]
    changed["embeddings.weight"] = torch.zeros(128, 10)
    torch.save(changed, path)
    refused(
        path,
        r"1 missing \(generator\.gen_z\.bias\); 1 unexpected \(extra\); "
        r"1 of another shape \(embeddings\.weight \[128, 10\] instead of \[128, 1000\]\)",
    )
    torch.save(state, path)
    refused(path, r"missing \(generator\.layers\.11", image_size=256)
    refused(path, "of another shape", channels=16)


# ------------------------------------------------------------------ the part


def test_what_the_part_refuses():
    part = BigGanDeep()
    assert not list(part.check(None))
    assert not list(part.check(DataShape("image", (3, 256, 256), -1.0, 1.0, classes=1000)))
    assert "remove [dataset]" in next(iter(part.check(DataShape("image", (1, 28, 28), -1.0, 1.0, classes=10))))
    assert list(BigGanDeep(latent=Normal(dim=100)).check(None)) == [
        "latent.dim = 100; the network reads 128 numbers, set latent.dim = 128"
    ]
    assert not list(BigGanDeep(latent=Normal(dim=128)).check(None))
    assert "latent.scale = 0.4" in next(iter(BigGanDeep(truncation=0.5).check(None)))
    assert not list(BigGanDeep(truncation=0.5, latent=TruncatedNormal(dim=128, scale=0.5)).check(None))
    for options in ({"weights": " "}, {"truncation": 0}, {"truncation": 1.01}, {"truncation": math.nan}):
        with pytest.raises(ValueError, match=r"expected|must be"):
            BigGanDeep(**options)
