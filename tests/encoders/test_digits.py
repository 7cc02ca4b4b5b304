"""The digits' network: what it computes, how it is trained once, kept and found again."""

from __future__ import annotations

import logging

import attrs
import pytest
import torch
from safetensors import safe_open
from torch.nn import functional as F

from gflow_core.data.parts import Mnist5k
from gflow_core.encoders import digits, kept, mnist_cnn
from gflow_core.encoders.digits import train, trained
from gflow_core.encoders.digits_encoder import DIGITS_ENCODER
from gflow_core.encoders.mnist_cnn import MNIST_CNN, DigitsCnn
from gflow_core.encoders.parts import DigitsEncoder as DigitsEncoderPart
from gflow_core.encoders.parts import MnistCnn
from gflow_core.errors import DataError
from gflow_core.parts.nouns import no_progress
from gflow_core.parts.source import weights_hash

SHORT = attrs.evolve(MNIST_CNN, digits=160, epochs=1)


@pytest.fixture
def short(monkeypatch):
    """Training that takes a moment."""
    monkeypatch.setattr(mnist_cnn, "MNIST_CNN", SHORT)


@pytest.fixture
def random(shape, cpu):
    return lambda size: MnistCnn(weights="random").build(shape(1, size), cpu)


def test_features_are_two_convolutions_relu_and_a_pool(random, images):
    encoder = random(28)
    x = images(3, channels=1, size=28)
    features = encoder(x)
    assert features.shape == (3, encoder.dim) == (3, 9216)
    net = encoder.trunk
    y = F.relu(F.conv2d((((x + 1) / 2) - 0.1307) / 0.3081, net.conv1.weight, net.conv1.bias))
    y = F.relu(F.conv2d(y, net.conv2.weight, net.conv2.bias))
    y = y.unfold(2, 2, 2).unfold(3, 2, 2).amax((-1, -2)).flatten(1)
    assert torch.allclose(features, y, atol=1e-5)
    assert encoder.classify(x).shape == (3, 10)
    assert encoder.name == "mnist_cnn (random)"


def test_the_hidden_layer_leads_to_the_same_logits(random, images, shape, cpu):
    hidden, pool = MnistCnn(weights="random", layer="hidden").build(shape(1, 28), cpu), random(28)
    x = images(3, channels=1, size=28)
    assert hidden.name == "mnist_cnn.hidden (random)"
    assert hidden(x).shape == (3, hidden.dim) == (3, 128)
    assert (hidden(x) >= 0).all(), "after the ReLU"
    assert torch.allclose(hidden.classify(x), pool.classify(x), atol=1e-6)
    assert hidden.weights == pool.weights


def test_padding_is_cut_off_and_other_sizes_are_resized(random):
    plain, padded, small = (
        source.batch(torch.arange(4)).x
        for source in (
            Mnist5k(limit=4).load(),
            Mnist5k(limit=4, image_size=32).load(),
            Mnist5k(limit=4, image_size=20, fit="resize").load(),
        )
    )
    assert torch.equal(random(28)(plain), random(32)(padded))
    resized = F.interpolate(small, (28, 28), mode="bilinear", antialias=True)
    assert torch.allclose(random(20)(small), random(28)(resized), atol=1e-5)
    assert [random(size).resizer.split(";")[0] for size in (28, 32, 20)] == [
        "28x28 as they are",
        "the 28x28 in the middle of 32x32",
        "bilinear to 28x28, antialiased",
    ]


def test_it_is_trained_once_and_found_again(short, shape, cpu, log, monkeypatch, tmp_path):
    encoder = MnistCnn().build(shape(1, 28), cpu, log)
    assert encoder.name == "mnist_cnn"
    assert log.calls[-1] == ("training mnist_cnn", 10, 10)
    (file,) = (tmp_path / "user-cache" / "gflow" / "encoders").glob("*.safetensors")
    monkeypatch.setattr(digits, "train", None)  # not called again
    again = MnistCnn().build(shape(1, 28), cpu, log)
    assert again.weights == encoder.weights
    with safe_open(file, "pt") as tensors:
        notes = tensors.metadata()
    assert notes["sha256"] == encoder.weights
    # The accuracy in the file is that of the network over the digits that were held out.
    held_out = Mnist5k(split="test").load()
    x, y = held_out.batch(torch.arange(500)).x, held_out.y
    right = (encoder.classify(x).argmax(1) == y).double().mean()
    assert float(notes["accuracy"]) == pytest.approx(float(right))


def test_every_way_of_training_has_a_file_of_its_own(monkeypatch, tmp_path):
    monkeypatch.setenv("GFLOW_CACHE", str(tmp_path / "own"))
    assert SHORT.file.parent == tmp_path / "own" / "encoders"
    assert len({way.file for way in (SHORT, MNIST_CNN, DIGITS_ENCODER)}) == 3
    assert len({attrs.evolve(MNIST_CNN, **change).file for change in ({}, {"version": 2}, {"rate": 1e-3})}) == 3


def test_a_damaged_file_is_made_again(log, caplog):
    whole = trained(SHORT, no_progress)
    raw = SHORT.file.read_bytes()
    for damaged in (raw[:1000], raw[:-4] + bytes(4)):
        SHORT.file.write_bytes(damaged)
        assert weights_hash(trained(SHORT, log).network) == weights_hash(whole.network)
    assert len([call for call in log.calls if call[1] == 10]) == 2
    warned = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert "header" in warned[0]
    assert "not those that it states; made again" in warned[1]
    before = len(caplog.records)
    trained(SHORT, log)
    assert len(caplog.records) == before
    assert [path.suffix for path in SHORT.file.parent.iterdir() if path != SHORT.file] == [".lock"]


def test_a_cache_that_cannot_be_written_says_so(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("GFLOW_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="set GFLOW_CACHE to a folder that can be written"):
        trained(SHORT, no_progress)


def test_what_was_learnt_is_of_use_where_there_is_no_room_for_it(monkeypatch, caplog):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept, "save_tensors", full)
    assert weights_hash(trained(SHORT, no_progress).network) == weights_hash(train(SHORT, no_progress).network)
    assert "No space left on device); set GFLOW_CACHE to a folder with room for it" in caplog.text
    assert not SHORT.file.exists()


def test_the_same_bits_whatever_is_around_and_nothing_around_changes():
    plain = weights_hash(train(SHORT, no_progress).network)
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    torch.manual_seed(7)
    torch.set_default_dtype(torch.float64)
    state = torch.get_rng_state()
    try:
        with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
            again = weights_hash(train(SHORT, no_progress).network)
        assert torch.get_num_threads() == threads + 1
        assert torch.get_default_dtype() == torch.float64
        assert torch.equal(torch.get_rng_state(), state)
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_num_threads(threads)
    assert again == plain


@pytest.mark.parametrize(("way", "least"), [(MNIST_CNN, 0.8), (DIGITS_ENCODER, 0.4)])
def test_it_learns_the_digits(way, least):
    """A fraction of the real training; docs/encoders.md shows what all of it reaches."""
    assert train(attrs.evolve(way, digits=1000, epochs=2), no_progress).accuracy > least


def test_dropout_and_the_head_are_off_in_features(random, images):
    encoder = random(28)
    x = images(2, channels=1, size=28)
    assert torch.equal(encoder(x), encoder(x))
    assert torch.equal(encoder.classify(x), encoder.classify(x))
    assert not any(module.training for module in (encoder.trunk, encoder.head))
    assert not any(p.requires_grad for p in encoder.trunk.parameters())


def test_its_size():
    assert sum(p.numel() for p in DigitsCnn().parameters()) == 320 + 18_496 + 9217 * 128 + 1290


def test_maps_are_what_the_layers_make_and_no_more_is_computed(random, shape, cpu, images, monkeypatch):
    x = images(3, channels=1, size=28)
    first, second = random(28).maps(x)
    assert first.shape == (3, 32, 26, 26)
    assert torch.equal(second.flatten(1), random(28)(x)), "the features of mnist_cnn are its second map"
    encoder = DigitsEncoderPart(weights="random").build(shape(1, 28), cpu)
    monkeypatch.setattr(encoder.trunk.head, "forward", None)  # beyond the deepest map
    maps = encoder.maps(x)
    assert [tuple(one.shape[1:]) for one in maps] == [(32, 28, 28), (64, 14, 14), (128, 7, 7)]
    y = (((x + 1) / 2) - 0.1307) / 0.3081
    for made, depth in zip(maps, (encoder.trunk.depth1, encoder.trunk.depth2, encoder.trunk.depth3), strict=True):
        y = depth(y)
        assert torch.allclose(made, y, atol=1e-5)


def test_every_pixel_moves_the_maps_of_the_digits_encoder(shape, cpu, images):
    x = images(1, channels=1, size=28).requires_grad_()
    for made in DigitsEncoderPart(weights="random").build(shape(1, 28), cpu).maps(x):
        (slope,) = torch.autograd.grad(made.square().sum(), x, retain_graph=True)
        assert (slope != 0).all()


def test_maps_leave_nothing_behind_also_after_an_error(random, images):
    """Interrupted within a layer, then read again: no hook of the first time is left."""
    encoder = random(28)
    x = images(2, channels=1, size=28)
    before, wanted = torch.get_default_dtype(), encoder.maps(x)
    fail = encoder.trunk.conv2.register_forward_hook(lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        encoder.maps(x)
    fail.remove()
    assert torch.get_default_dtype() == before
    assert not any(layer._forward_hooks for layer in encoder.trunk.modules())
    assert all(map(torch.equal, encoder.maps(x), wanted))
    assert encoder(x).shape == (2, 9216)
