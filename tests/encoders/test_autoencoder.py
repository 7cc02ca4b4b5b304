"""The autoencoder: what it learns, for which images, and that its state is all of it."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from gflow_core.data.parts import Mnist5k
from gflow_core.encoders import autoencoder
from gflow_core.encoders.autoencoder import restored_autoencoder, train_autoencoder
from gflow_core.nn.fits import autoencoder_faults
from gflow_core.parts.nouns import DataShape


def images_of(*shape):
    return DataShape("image", shape, -1.0, 1.0)


def learned(data, x, steps, batch=8, seed=0, **options):
    generator = torch.Generator().manual_seed(seed)

    def some():
        return x[torch.randint(len(x), (batch,), generator=generator)]

    return train_autoencoder(some, data, torch.device("cpu"), steps=steps, generator=generator, **options)


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 20, 28), (3, 64, 64)])
def test_maps_at_three_depths_for_sizes_and_channels(shape):
    x = torch.rand(4, *shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    encoder = learned(images_of(*shape), x, 2)
    _, h, w = shape
    x.requires_grad_()
    maps = encoder.maps(x)
    sizes = [(32, h, w), (64, h // 2, w // 2), (128, h // 4, w // 4)]
    assert [tuple(one.shape) for one in maps] == [(4, *size) for size in sizes]
    assert torch.allclose(maps[-1].mean((2, 3)), encoder(x), atol=1e-6)
    assert encoder.dim == 128
    assert not any(parameter.requires_grad for parameter in encoder.trunk.parameters())
    (slope,) = torch.autograd.grad(maps[-1].square().sum(), x)
    assert (slope != 0).all()


def test_noise_is_taken_off_the_digits(monkeypatch):
    """After some steps images come out nearer than the noise lies, and than the mean of all."""
    x = Mnist5k(limit=200, image_size=16, fit="resize").load().batch(torch.arange(200)).x
    kept, loss = [], F.mse_loss
    monkeypatch.setattr(autoencoder.F, "mse_loss", lambda *pair: (kept.append(loss(*pair)), kept[-1])[1])
    learned(images_of(1, 16, 16), x, 60, batch=32)
    mean = (x - x.mean(0)).square().mean()
    assert kept[0] > mean
    assert torch.stack(kept[-10:]).mean() < 0.8 * mean < 0.5**2


def test_its_state_is_all_of_it_and_seeds_decide(log):
    data = images_of(1, 16, 16)
    x = torch.rand(8, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    before = torch.get_rng_state()
    one = learned(data, x, 3, progress=log)
    assert torch.equal(torch.get_rng_state(), before)
    assert log.calls[-1] == ("training the autoencoder", 3, 3)
    again = learned(data, x, 3)
    assert again.weights == one.weights != learned(data, x, 3, seed=1).weights
    state = one.trunk.state_dict()
    restored = restored_autoencoder(state, data, torch.device("cpu"))
    assert restored.weights == one.weights
    assert all(map(torch.equal, restored.maps(x), one.maps(x)))


def test_others_are_refused():
    refused = {
        DataShape("vector", (2,)): "learns images in",
        DataShape("image", (1, 16, 16), 0.0, 1.0): "learns images in",
        images_of(1, 30, 32): "multiples of 4",
    }
    for data, words in refused.items():
        assert words in " ".join(autoencoder_faults(data))
        with pytest.raises(ValueError, match=words):
            train_autoencoder(list, data, torch.device("cpu"), steps=1, generator=torch.Generator())
