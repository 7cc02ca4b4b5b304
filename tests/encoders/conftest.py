"""What the tests of encoders share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gflow_core.parts.nouns import DataShape


@pytest.fixture(autouse=True)
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache of torch hub in place of the user's; the folder that files of weights belong in."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    return tmp_path / "torch" / "hub" / "checkpoints"


@pytest.fixture
def shape() -> Callable[..., DataShape]:
    """The shape of square images."""

    def make(channels: int = 3, size: int = 32) -> DataShape:
        return DataShape("image", (channels, size, size), -1.0, 1.0, 10)

    return make


@pytest.fixture
def images(shape: Callable[..., DataShape]) -> Callable[..., Tensor]:
    """Random images in [-1, 1], as a data set hands them out: whole 8-bit values."""

    def make(n: int = 2, channels: int = 3, size: int = 32, seed: int = 0) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.randint(0, 256, (n, channels, size, size), generator=generator) / 127.5 - 1

    return make


@pytest.fixture
def cpu() -> torch.device:
    return torch.device("cpu")
