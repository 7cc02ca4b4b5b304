"""An encoder of anybody's images, learned without labels: by a denoising autoencoder (Vincent et al. 2008)."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from gflow_core.encoders.depths import Depths
from gflow_core.encoders.kept import learned_once
from gflow_core.encoders.network import EncoderNetwork, float32_only, fresh
from gflow_core.files.cache import cache_folder
from gflow_core.machine.streams import derive, seeded
from gflow_core.nn.fits import autoencoder_faults
from gflow_core.parts.nouns import DataShape, Progress, no_progress
from gflow_core.parts.source import Source

__all__ = ["own_encoder", "restored_autoencoder", "train_autoencoder"]

NAME = "autoencoder"

BATCH = 64
"""Items of each step of one that learns a data set."""

logger = logging.getLogger("gflow")


def train_autoencoder(
    batch: Callable[[], Tensor],
    data: DataShape,
    device: torch.device,
    *,
    steps: int,
    generator: Generator,
    rate: float = 2e-3,
    noise: float = 0.5,
    progress: Progress = no_progress,
) -> EncoderNetwork:
    """The encoder of one that learned to see the images of `batch()`, [B, *shape], beneath normal noise, in eval mode.

    It has maps at three depths (`Depths`); `encoder.trunk.state_dict()` is all that it learned, for
    `restored_autoencoder`. AdamW's rate falls from `rate` to 0; `noise` is in the data's units, whose range is 2.
    Weights and noise come from `generator`, on the CPU. Raises ValueError for items with `autoencoder_faults`.
    """
    if faults := list(autoencoder_faults(data)):
        raise ValueError(faults[0])
    with float32_only(device), torch.inference_mode(False), torch.enable_grad():
        with seeded(int(torch.randint(2**31, (), generator=generator))):
            encoder, decoder = Depths(data.shape[0]), _decoder(data.shape[0])
            for network in (encoder, decoder):
                _begin(network)
                network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        parameters = [*encoder.parameters(), *decoder.parameters()]
        optimizer = torch.optim.AdamW(parameters, lr=rate, fused=True)
        for step in range(steps):
            x = batch().to(device, torch.float32, memory_format=torch.channels_last)
            hidden = noise * torch.randn(x.shape, generator=generator).to(device)
            loss = F.mse_loss(decoder(encoder.deepest(x + hidden)), x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.param_groups[0]["lr"] = rate * (1 - step / steps)
            optimizer.step()
            progress("training the autoencoder", step + 1, steps)
    return _frozen(encoder, data, device)


def own_encoder(
    source: Source, device: torch.device, *, steps: int, progress: Progress = no_progress
) -> EncoderNetwork:
    """The encoder of one that learned these data in so many steps of 64 items: from the cache, or put there now.

    The same data and number give the same encoder on a machine, whatever the run's seed. Raises DataError where it
    cannot be kept, and ValueError for items with `autoencoder_faults`.
    """
    digest = hashlib.sha256(f"1 {source.fingerprint} {source.shape} {steps}".encode()).hexdigest()[:16]
    file = cache_folder() / "encoders" / f"{NAME}-{digest}.safetensors"

    def learned() -> EncoderNetwork:
        logger.info("an autoencoder learns the data first, in %d steps; it is kept in %s", steps, file)
        return _learn(source, device, steps, progress)

    def restored(state: Mapping[str, Tensor], notes: Mapping[str, str]) -> EncoderNetwork:
        return restored_autoencoder(state, source.shape, device)

    return learned_once(file, learned, restored, lambda found: found.trunk)


def _learn(source: Source, device: torch.device, steps: int, progress: Progress) -> EncoderNetwork:
    generator = Generator().manual_seed(derive(0, NAME))

    def batch() -> Tensor:
        return source.batch(torch.randint(len(source), (BATCH,), generator=generator)).x

    return train_autoencoder(batch, source.shape, device, steps=steps, generator=generator, progress=progress)


def restored_autoencoder(state: Mapping[str, Tensor], data: DataShape, device: torch.device) -> EncoderNetwork:
    """The encoder of such images whose `trunk.state_dict()` was `state`."""
    network = fresh(NAME, lambda: Depths(data.shape[0]))
    network.load_state_dict(state)
    return _frozen(network, data, device)


def _decoder(channels: int) -> nn.Module:
    """The last map [B, 128, H/4, W/4] -> an image [B, channels, H, W]."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((Depths.dim, 64), (64, 32)):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.SiLU(), nn.Upsample(scale_factor=2)]
    return nn.Sequential(*layers, nn.Conv2d(32, channels, 3, padding=1))


def _begin(network: nn.Module) -> None:
    """He's initialisation: torch's own lets signals fade, and the first steps learn the mean image only."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")


def _frozen(network: nn.Module, data: DataShape, device: torch.device) -> EncoderNetwork:
    return EncoderNetwork(
        NAME, network, "head", lambda x: x, "as they are", device, dim=Depths.dim, depths=Depths.names
    )
