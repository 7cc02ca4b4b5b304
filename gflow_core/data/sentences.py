"""Sentence embeddings by somebody's model, through the package sentence-transformers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gflow_core.errors import DataError, GflowError, first_line
from gflow_core.parts.source import weights_hash

__all__ = ["Encoder"]


class Encoder:
    """Texts -> [n, dim], each of length 1."""

    def __init__(self, model: str, dim: int, weights: str | None = None) -> None:
        """Load the model, whose weights must have this sha256 where it is given. Raises GflowError, DataError."""
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise GflowError(
                'dataset.text: sentence_transformers needs its package: pip install "gflow-core[text]"'
            ) from error
        try:
            self._model = SentenceTransformer(model, device="cpu")
        except Exception as error:  # the package raises what it meets
            raise DataError(f"dataset.text.model = {model!r}: it cannot be loaded: {first_line(error)}") from error
        self.weights = weights_hash(self._model)
        if weights is not None and weights != self.weights:
            raise DataError(f"dataset.text.model = {model!r}: other weights than when the run began; put those back")
        found = self._model.get_sentence_embedding_dimension()
        if found != dim:
            raise DataError(f"dataset.text.dim = {dim}: the model's vectors have {found} numbers; set it to that")
        self.dim = dim

    def __call__(self, texts: Sequence[str]) -> Tensor:
        found = self._model.encode(list(texts), convert_to_numpy=True, show_progress_bar=False)
        x = torch.as_tensor(found, dtype=torch.float32)
        return torch.nn.functional.normalize(x, dim=1)

    def state(self) -> dict[str, Any]:
        return {"weights": self.weights}
