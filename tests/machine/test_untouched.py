"""What a process has once is as it was, whatever foreign code does."""

from __future__ import annotations

import os
import sys

import pytest
import torch

from gflow_core.errors import PluginError
from gflow_core.machine.untouched import untouched
from gflow_core.parts.foreign import foreign


def defaults():
    return (
        os.getcwd(),
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.is_grad_enabled(),
        torch.get_float32_matmul_precision(),
        torch.are_deterministic_algorithms_enabled(),
        torch.get_num_threads(),
    )


def meddle() -> None:
    os.chdir("/")
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    torch.set_grad_enabled(False)
    torch.set_float32_matmul_precision("medium")
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(torch.get_num_threads() + 1)


def test_the_folder_and_torchs_defaults_are_put_back(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = defaults()
    with untouched():
        meddle()
    assert defaults() == before
    with pytest.raises(PluginError), foreign("importing it"):
        meddle()
        raise LookupError
    assert defaults() == before
    torch.zeros(1)  # on the processor


def test_also_where_torch_is_imported_there(monkeypatch):
    before = defaults()
    monkeypatch.delitem(sys.modules, "torch")
    with untouched():
        sys.modules["torch"] = torch
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
    assert defaults() == before


def test_a_persons_own_defaults_stay(float64):
    with untouched():
        torch.set_default_dtype(torch.float32)
    assert torch.get_default_dtype() == torch.float64
