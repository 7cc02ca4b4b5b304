"""What a runtime switches on for a run, and off again."""

from __future__ import annotations

import pytest
import torch

from gflow_core.machine.runtime import Runtime
from gflow_core.machine.streams import HOST


def flags() -> tuple[bool, bool]:
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize("tf32", [True, False])
def test_tf32_is_taken_as_asked_while_a_step_is_computed(tf32):
    before = flags()
    with pytest.raises(KeyError), Runtime(torch.device("cuda"), tf32=tf32).products():
        assert flags() == (tf32, tf32)
        with Runtime(torch.device("cuda"), tf32=tf32).products(tf32=False):
            assert flags() == (False, False)
        assert flags() == (tf32, tf32)
        raise KeyError
    assert flags() == before


def test_a_cpu_has_no_tf32():
    before = flags()
    with Runtime(HOST, tf32=True).products():
        assert flags() == before
    assert not Runtime.of("cpu", tf32=True).tf32
