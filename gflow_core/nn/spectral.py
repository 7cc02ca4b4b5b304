"""Spectral normalisation (Miyato et al. 2018, Algorithm 1) as a parametrization of one module's weight."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

__all__ = ["SpectralNorm", "spectral_norm", "spectral_norms"]

M = TypeVar("M", bound=nn.Module)


class SpectralNorm(nn.Module):
    """W -> W / sigma, sigma = u^T W v the largest singular value of W [rows, the rest] by power iteration.

    The same numbers as torch.nn.utils.parametrizations.spectral_norm, but in float32 under autocast as well:
    torch's own would iterate in bfloat16. (float64 stays float64.)
    """

    u: Tensor
    v: Tensor

    def __init__(self, weight: Tensor, iterations: int, dim: int = 0) -> None:
        """`iterations` of the power method in each training-mode forward; `dim` is the output dimension."""
        super().__init__()
        self.iterations = iterations
        self.dim = dim
        with torch.no_grad():
            matrix = self._matrix(weight)
            self.register_buffer("u", F.normalize(matrix.new_empty(matrix.shape[0]).normal_(), dim=0))
            self.register_buffer("v", F.normalize(matrix.new_empty(matrix.shape[1]).normal_(), dim=0))
            self._iterate(matrix, 15)  # a start close to the singular vectors, as torch has it

    def forward(self, weight: Tensor) -> Tensor:
        with torch.autocast(weight.device.type, enabled=False):
            matrix = self._matrix(weight)
            if self.training:
                self._iterate(matrix.detach(), self.iterations)
            # Copies: the buffers may move on before this graph is differentiated.
            u, v = self.u.clone(), self.v.clone()
            sigma = u.dot(matrix.mv(v))
            return (weight / sigma).to(weight.dtype)

    def _matrix(self, weight: Tensor) -> Tensor:
        matrix = weight.movedim(self.dim, 0).flatten(1)
        return matrix.to(torch.promote_types(matrix.dtype, torch.float32))

    @torch.no_grad()
    def _iterate(self, matrix: Tensor, times: int) -> None:
        u, v = self.u, self.v
        for _ in range(times):
            u = F.normalize(matrix.mv(v), dim=0)
            v = F.normalize(matrix.mT.mv(u), dim=0)
        self.u.copy_(u)
        self.v.copy_(v)


def spectral_norm(module: M, iterations: int) -> M:
    """Normalise the weight of a convolution or linear layer by its largest singular value; returns the module.

    Initialise first: under a parametrization, writing to `module.weight.data` is silently lost. In eval mode the
    vectors u and v stand still, and within `parametrize.cached()` the weight is computed once.
    """
    transposed = isinstance(module, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d)
    weight = module.weight
    assert isinstance(weight, Tensor)
    parametrize.register_parametrization(module, "weight", SpectralNorm(weight, iterations, int(transposed)))
    return module


def spectral_norms(network: nn.Module, iterations: int) -> None:
    """`spectral_norm` on every convolution and linear layer of an initialised network; 0 iterations leave it alone."""
    if iterations:
        for layer in list(network.modules()):
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                spectral_norm(layer, iterations)
