"""One process, or `train.devices` of them on this machine."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from gflow_core.errors import GflowError
from gflow_core.machine.runtime import world_size
from gflow_core.parts.spec import Spec

__all__ = ["launch"]


def launch(spec: Spec, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """Call `work(*arguments)`, in `train.devices` processes where that is more than one.

    Under torchrun or `accelerate launch` the processes are there already and `train.devices` is not looked at.
    `work` is a function of a module, because new processes import it.
    """
    train = spec.train
    if world_size() > 1:
        _together(work, arguments)
        return
    if train is None or train.devices == 1 or spec.objective is None:
        work(*arguments)
        return

    devices = train.devices
    import torch
    from torch.multiprocessing.spawn import ProcessExitedException, start_processes

    if torch.cuda.is_available() and devices > torch.cuda.device_count() and train.device in ("auto", "cuda"):
        raise GflowError(f"train.devices = {devices}: this machine has {torch.cuda.device_count()} CUDA devices")
    threads = max(torch.get_num_threads() // devices, 1)
    arguments = (devices, _free_port(), threads, work, arguments)
    context = start_processes(_child, arguments, devices, join=False, start_method="spawn")

    def forward(number: int, _frame: FrameType | None) -> None:
        # Ctrl-C in a terminal reaches the children by itself, SIGTERM only their parent.
        if number == signal.SIGTERM:
            for process in context.processes:
                process.terminate()

    # The children save and leave; this process waits for them.
    before = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        while not context.join():
            pass
    except ProcessExitedException as error:
        sys.exit(error.exit_code)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _child(
    rank: int, world: int, port: int, threads: int, work: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    # torch ends a child whose parent has died with SIGINT: it must not be ignored, as background jobs inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    import torch

    from gflow_core.cli import reporting

    torch.set_num_threads(threads)
    with reporting(quiet=rank > 0):
        _together(work, arguments)


def _together(work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """`work` as one of several processes, which leave each other before they end: torch aborts some that do not."""
    import torch

    work(*arguments)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
