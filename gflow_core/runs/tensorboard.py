"""A run's curves and pictures for TensorBoard: `train.tensorboard = true`, then `tensorboard --logdir runs`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from PIL import Image

from gflow_core.errors import GflowError

__all__ = ["Curves", "require"]


def require() -> None:
    """Raise GflowError where the package tensorboard is missing."""
    if find_spec("tensorboard") is None:
        raise GflowError(
            "train.tensorboard: the package tensorboard is not installed; "
            'pip install "gflow-core[tensorboard]", or set train.tensorboard = false'
        )


class Curves:
    """Event files in `folder` that go on after step `done`.

    What an earlier stretch of the run wrote beyond that step is purged: the resumed run does it again.
    """

    def __init__(self, folder: Path, done: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(folder, purge_step=done + 1)

    def scalars(self, step: int, values: Mapping[str, object], group: str) -> None:
        """One point on the curve GROUP/NAME of each value that is a number."""
        for name, value in values.items():
            if isinstance(value, int | float):
                self._writer.add_scalar(f"{group}/{name}", value, step)

    def picture(self, step: int, path: Path) -> None:
        """The sample picture of a step, as it lies in the run folder."""
        with Image.open(path) as image:
            self._writer.add_image("samples", np.asarray(image.convert("RGB")), step, dataformats="HWC")

    def flush(self) -> None:
        """Write what is still in memory."""
        self._writer.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
