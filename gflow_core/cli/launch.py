"""One process, or `train.devices` of them on this machine."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from multiprocessing.queues import SimpleQueue
from typing import Any

from gflow_core.errors import GflowError, shortened
from gflow_core.machine.runtime import world_size
from gflow_core.machine.signals import INTERRUPTED, held_back, listening
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
    from torch.multiprocessing import get_context
    from torch.multiprocessing.spawn import ProcessExitedException, start_processes

    if torch.cuda.is_available() and devices > torch.cuda.device_count() and train.device in ("auto", "cuda"):
        raise GflowError(f"train.devices = {devices}: this machine has {torch.cuda.device_count()} CUDA devices")
    threads = max(torch.get_num_threads() // devices, 1)
    words = get_context("spawn").SimpleQueue()
    arguments = (devices, _free_port(), threads, words, work, arguments)
    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)  # it ends the others, as it should
    with held_back():
        context = start_processes(_child, arguments, devices, join=False, start_method="spawn")

    def forward(number: int) -> None:
        # Ctrl-C in a terminal reaches the children by itself, the others only their parent.
        if number != signal.SIGINT:
            for process in context.processes:
                process.terminate()

    # The children save and leave; this process waits for them.
    try:
        with listening(forward):
            while not context.join():
                pass
    except ProcessExitedException as error:
        said = None if words.empty() else words.get()
        sys.exit(_told(context.processes, error.exit_code, said))


_LOST = 70
"""Exit code of a child that another one has left alone: which one, its parent says."""

_GO_ON = "gflow resume goes on from the newest checkpoint"


def _told(processes: Sequence[BaseProcess], code: int, said: str | None) -> int:
    """The exit code of children of which the first told why they ended. GflowError where it could not.

    Another one of them then speaks to nobody but its parent: it has `said` why, was killed, or left without a word.
    """
    codes = [process.exitcode or 0 for process in processes]
    ended = [(rank, -own) for rank, own in enumerate(codes) if own < 0 and own != -signal.SIGTERM]  # torch's own
    if ended:
        rank, number = ended[0]
        perhaps = ", perhaps for want of memory" if number == signal.SIGKILL else ""
        raise GflowError(
            f"process {rank} of {len(codes)} was killed by {signal.Signals(number).name}{perhaps}; {_GO_ON}"
        )
    if codes[0] != GflowError.exit_code and said is not None:
        raise GflowError(said)
    silent = [(rank, own) for rank, own in enumerate(codes) if own not in (0, 2, INTERRUPTED, _LOST) and own > 0]
    if codes[0] == _LOST and silent:
        rank, own = silent[0]
        raise GflowError(f"process {rank} of {len(codes)} left with exit code {own} and did not say why; {_GO_ON}")
    if code in (0, _LOST):
        code = next((own for own in codes if own not in (0, _LOST)), 2)
    return 128 - code if code < 0 else code


def _child(
    rank: int,
    world: int,
    port: int,
    threads: int,
    words: SimpleQueue[str],
    work: Callable[..., None],
    arguments: tuple[Any, ...],
) -> None:
    # torch ends a child whose parent has died with SIGINT: it must not be ignored, as background jobs inherit that.
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

    def tell(error: GflowError) -> None:
        if error.exit_code != INTERRUPTED:
            words.put(shortened(str(error)))

    with reporting(quiet=rank > 0, lost=_LOST, elsewhere=tell):
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
