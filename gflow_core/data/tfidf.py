"""Latent semantic analysis of captions: TF-IDF and a truncated SVD, by scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from torch import Tensor

from gflow_core.errors import DataError

__all__ = ["Encoder", "fit"]


def fit(texts: Sequence[str], dim: int, words: int) -> Encoder:
    """The encoder of these captions. Raises DataError where they hold no words."""
    vectorizer = _vectorizer(max_features=words)
    try:
        table = vectorizer.fit_transform(texts)
    except ValueError as error:
        raise DataError(f"dataset.text: the captions hold no words ({error})") from error
    rank = min(dim, *table.shape)
    if rank < min(table.shape):
        components = TruncatedSVD(rank, random_state=0).fit(table).components_
    else:  # as many directions as there are: scikit-learn wants fewer
        components = np.linalg.svd(table.toarray(), full_matrices=False)[2][:rank]
    padded = np.zeros((dim, table.shape[1]))
    padded[:rank] = components
    return Encoder(
        words=vectorizer.get_feature_names_out().tolist(),
        idf=torch.from_numpy(vectorizer.idf_),
        components=torch.from_numpy(padded),
    )


class Encoder:
    """What was fitted. Texts -> [n, dim], each of length 1."""

    def __init__(self, *, words: Sequence[str], idf: Tensor, components: Tensor) -> None:
        """`words` [v] with their inverse document frequencies [v], and the directions [dim, v]."""
        self.words, self.idf, self.components = list(words), idf, components
        self._vectorizer = _vectorizer(vocabulary=self.words)
        self._vectorizer.idf_ = idf.numpy()

    def __call__(self, texts: Sequence[str]) -> Tensor:
        table = self._vectorizer.transform(texts)
        x = torch.from_numpy(table @ self.components.numpy().T)
        length = x.norm(dim=1, keepdim=True)
        if not bool(length.all()):
            unknown = texts[int((length == 0).nonzero()[0, 0])]
            raise ValueError(f"none of its words stands in the captions of the data: {unknown!r:.80}")
        scaled: Tensor = x / length
        return scaled.float()

    def state(self) -> dict[str, Any]:
        return {"words": self.words, "idf": self.idf, "components": self.components}


def _vectorizer(**given: Any) -> TfidfVectorizer:
    """Words of one letter and more ("a 7"), and pairs of neighbours."""
    return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b", **given)
