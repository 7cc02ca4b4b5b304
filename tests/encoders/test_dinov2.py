"""DINOv2's transformer against one block written out, and its files under both of their namings."""

from __future__ import annotations

import math

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from gflow_core.encoders import dinov2
from gflow_core.encoders.dinov2 import GRID, VisionTransformer, as_the_authors
from gflow_core.encoders.network import fresh
from gflow_core.encoders.parts import Dinov2
from gflow_core.errors import DataError

WIDTH, DEPTH, HEADS = 12, 2, 3


def network(registers=0, depth=DEPTH):
    """A small one, all of whose tensors are noise."""
    made = fresh("small", lambda: VisionTransformer(WIDTH, depth, HEADS, registers)).requires_grad_(False).eval()
    generator = torch.Generator().manual_seed(1)
    for parameter in made.parameters():
        parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return made


def picture(n=2, h=3, w=2):
    return torch.randn(n, 3, 14 * h, 14 * w, generator=torch.Generator().manual_seed(0))


def normed(x, weight, bias):
    centred = x - x.mean()
    return centred / (centred.square().mean() + 1e-6).sqrt() * weight + bias


def by_hand(state, image, positions, registers=0):
    """The class token of one image [3, H, W] through one block, a token, a head and a patch at a time."""
    first, others = positions
    kernel, tokens = state["patch_embed.proj.weight"], [state["cls_token"][0, 0] + first[0, 0]]
    tokens += [state["register_tokens"][0, i] for i in range(registers)]
    columns = image.shape[2] // 14
    for i in range(others.shape[1]):
        row, column = divmod(i, columns)
        patch = image[:, 14 * row : 14 * (row + 1), 14 * column : 14 * (column + 1)]
        value = torch.stack([(patch * kernel[c]).sum() for c in range(WIDTH)])
        tokens.append(value + state["patch_embed.proj.bias"] + others[0, i])
    block = {name.removeprefix("blocks.0."): value for name, value in state.items()}

    def linear(name, x):
        return block[f"{name}.weight"] @ x + block[f"{name}.bias"]

    q, k, v = [], [], []
    for token in tokens:
        for kind, value in zip(
            (q, k, v), linear("attn.qkv", normed_by(block, "norm1", token)).split(WIDTH), strict=True
        ):
            kind.append(value.split(WIDTH // HEADS))
    mixed = []
    for head in range(HEADS):
        scores = torch.stack([q[0][head] @ one[head] for one in k]) / math.sqrt(WIDTH / HEADS)
        shares = scores.exp() / scores.exp().sum()
        mixed.append(sum(share * one[head] for share, one in zip(shares, v, strict=True)))
    x = tokens[0] + block["ls1.gamma"] * linear("attn.proj", torch.cat(mixed))
    hidden = linear("mlp.fc1", normed_by(block, "norm2", x))
    hidden = hidden * (1 + torch.erf(hidden / math.sqrt(2))) / 2
    return normed_by(state, "norm", x + block["ls2.gamma"] * linear("mlp.fc2", hidden))


def normed_by(state, name, x):
    return normed(x, state[f"{name}.weight"], state[f"{name}.bias"])


@pytest.mark.parametrize("registers", [0, 4])
def test_a_forward_is_that_of_a_block_written_out(registers):
    one, x = network(registers, depth=1), picture()
    slow = [by_hand(one.state_dict(), image, one.positions(3, 2), registers) for image in x]
    assert torch.allclose(one(x), torch.stack(slow), atol=1e-4)
    assert not torch.allclose(one(x)[0], one(x)[1], atol=1e-2)


def test_blocks_whose_layers_are_scaled_by_0_change_nothing():
    one, x = network(), torch.randn(2, 5, WIDTH)
    for block in one.blocks:
        assert not torch.allclose(block(x), x, atol=0.1)
        block.ls1.gamma.zero_()
        block.ls2.gamma.zero_()
        assert torch.equal(block(x), x)


def cubic(n, stretch, antialias):
    """[n, 37]: what entry i of n takes from each of the 37 along a side, away from the border."""
    scale = GRID / (n + stretch)
    a, wide = (-0.5, scale) if antialias else (-0.75, 1.0)  # torch's kernels
    source = (torch.arange(n) + 0.5) * scale - 0.5
    d = ((torch.arange(GRID) - source[:, None]) / wide).abs()
    near, far = (a + 2) * d**3 - (a + 3) * d**2 + 1, a * (d**3 - 5 * d**2 + 8 * d - 4)
    shares = torch.where(d < 1, near, torch.where(d < 2, far, torch.zeros(())))
    return shares / shares.sum(1, keepdim=True)


@pytest.mark.parametrize("registers", [0, 4])
def test_positions_are_stretched_to_the_patches_as_the_authors_do(registers):
    one = network(registers)
    first, others = one.positions(GRID, GRID)
    assert torch.equal(torch.cat([first, others], 1), one.pos_embed)
    h, w = 16, 20
    first, others = one.positions(h, w)
    assert torch.equal(first, one.pos_embed[:, :1])
    rows, columns = (cubic(n, 0.0 if registers else 0.1, antialias=registers > 0) for n in (h, w))
    wanted = torch.einsum("ia,jb,abc->ijc", rows, columns, one.pos_embed[0, 1:].view(GRID, GRID, WIDTH))
    assert torch.allclose(others.view(h, w, WIDTH)[2:-2, 2:-2], wanted[2:-2, 2:-2], atol=1e-5)


@pytest.fixture
def small(monkeypatch):
    """ViT-S in small."""
    monkeypatch.setitem(dinov2.SIZES, "s", (WIDTH, DEPTH, HEADS, "small"))


@pytest.mark.parametrize("registers", [0, 4])
def test_both_namings_give_the_same_features(registers, small, tmp_path, shape, images, cpu):
    own = network(registers).state_dict()
    torch.save({**own, "mask_token": torch.zeros(1, WIDTH)}, tmp_path / "authors.pth")
    timms = {name.replace("register_tokens", "reg_token"): value.clone() for name, value in own.items()}
    if registers:
        timms["cls_token"] += timms["pos_embed"][:, :1]
        timms["pos_embed"] = timms["pos_embed"][:, 1:].clone()
    save_file(timms, tmp_path / "timms.safetensors")
    model = "vits14_reg" if registers else "vits14"
    files = {"authors": "authors.pth", "timms": "timms.safetensors"}
    made = {
        name: Dinov2(model=model, size=42, weights=str(tmp_path / file)).build(shape(), cpu)
        for name, file in files.items()
    }
    assert [encoder.name for encoder in made.values()] == [f"dinov2_{model} ({name})" for name in files]
    x = images(size=42)
    standard = (((x + 1) / 2).movedim(1, 3) - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    for encoder in made.values():
        assert torch.allclose(encoder(x), network(registers)(standard.movedim(3, 1)), atol=1e-4)
    assert set(as_the_authors(own)) == set(own)


def test_images_are_resized_and_named_and_read_with_gradient(small, shape, images, cpu):
    encoder = Dinov2(weights="random", size=28).build(shape(1), cpu)
    assert (encoder.name, encoder.dim) == ("dinov2_vits14 (random)", WIDTH)
    assert encoder.resizer.startswith("grey repeated in 3 channels; [-1, 1] to [0, 1]; bicubic to 28x28, antialiased")
    x = images(channels=1, size=64).requires_grad_()
    large = F.interpolate(x, (28, 28), mode="bicubic", antialias=True, align_corners=False)
    assert torch.allclose(encoder(x), encoder(large), atol=1e-5)
    assert not encoder(x).requires_grad
    (slope,) = torch.autograd.grad(encoder.features(x).square().sum(), x)
    assert float(slope.abs().max()) > 0
    with pytest.raises(ValueError, match="multiple of 14, the side of a patch, got 32"):
        Dinov2(size=32)


@pytest.mark.parametrize(
    ("model", "file", "name"),
    [
        ("vits14", "dinov2_vits14_pretrain.pth", "dinov2_vits14"),
        ("vits14_reg", "dinov2_vits14_reg4_pretrain.pth", "dinov2_vits14_reg"),
        ("vits14", "vit_small_patch14_dinov2.lvd142m.safetensors", "dinov2_vits14"),
    ],
)
def test_the_published_files_are_found_and_known_by_their_names(model, file, name, small, hub, shape, cpu):
    with pytest.raises(
        DataError, match=r"dinov2_vits14.*not found.*fetch https://dl\.fbaipublicfiles\.com/dinov2/dino"
    ):
        Dinov2(model=model).build(shape(), cpu)
    hub.mkdir(parents=True)
    state = network(4 if "reg" in model else 0).state_dict()
    save_file(state, hub / file) if file.endswith("safetensors") else torch.save(state, hub / file)
    assert Dinov2(model=model).build(shape(), cpu).name == name
    assert Dinov2(model=model, weights=str(hub / file)).build(shape(), cpu).name == name


class Evil:
    def __reduce__(self):
        return print, ("code of a stranger ran",)


def test_files_that_are_not_its_weights_get_one_message(small, tmp_path, shape, cpu, capsys):
    own = network().state_dict()
    files = {
        "evil.pth": ({**own, "norm.bias": Evil()}, r"could run code and are not read"),
        "registers.pth": (network(4).state_dict(), r"1 unexpected \(register_tokens\); .*set the encoder's model"),
        "wider.pth": ({**own, "cls_token": torch.zeros(1, 1, 768)}, r"cls_token \[1, 1, 768\] instead of \[1, 1, 12\]"),
        "diverged.pth": ({**own, "norm.bias": own["norm.bias"] * math.nan}, "norm.bias holds NaN"),
        "list.pth": ([1, 2], "not a state dict"),
        "cut.pth": (own, "not readable as weights"),
    }
    for name, (content, words) in files.items():
        path = tmp_path / name
        torch.save(content, path)
        if name == "cut.pth":
            path.write_bytes(path.read_bytes()[:-200])
        with pytest.raises(DataError, match=f"{name}: .*{words}") as caught:
            Dinov2(weights=str(path)).build(shape(), cpu)
        assert "\n" not in str(caught.value)
    assert "stranger" not in capsys.readouterr().out


@pytest.mark.parametrize("model", ["vits14", "vits14_reg"])
def test_maps_are_the_patches_of_four_blocks(model, shape, cpu, images):
    encoder = Dinov2(weights="random", model=model, size=42).build(shape(), cpu)
    x, tokens = images(1), []
    encoder.trunk.blocks[8].register_forward_hook(lambda block, given, out: tokens.append(out))
    maps = encoder.maps(x)
    assert [tuple(one.shape) for one in maps] == [(1, 384, 3, 3)] * 4
    first = 5 if model.endswith("reg") else 1
    for row, column in ((0, 0), (0, 2), (2, 1)):
        assert torch.equal(maps[2][0, :, row, column], tokens[0][0, first + 3 * row + column])
