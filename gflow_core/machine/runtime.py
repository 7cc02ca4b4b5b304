"""Where the computation happens: device, precision, and the processes that share it."""

from __future__ import annotations

import ctypes
import hashlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta

import attrs
import torch
from torch import Tensor, distributed, nn

from gflow_core.errors import GflowError
from gflow_core.machine.speed import Speed, speed_here
from gflow_core.machine.streams import HOST

__all__ = ["Runtime", "choose_device", "computes_bf16", "keep_freed_memory", "send", "world_size"]


_CONNECT = timedelta(minutes=5)  # in which all processes arrive; where one fails before, its launcher may not tell
_WAIT = timedelta(hours=24)  # for one another, once connected: others wait while the first one runs analyzers


@attrs.frozen(eq=False)
class Runtime:
    """One process's view of the run.

    Every process draws the global batch from the same streams and takes its `shard`; gradients are averaged.
    So the same recipe gives the same weights for any number of processes, up to rounding.
    """

    device: torch.device
    bf16: bool = False
    rank: int = 0
    world: int = 1
    speed: Speed | None = None
    """What the processor was measured to do, where that decided the precision."""
    draws_on: torch.device = HOST
    """Where training draws its random numbers (`train.draws`)."""
    tf32: bool = False
    """Whether training's float32 products are made in TF32 (`train.tf32`); on CUDA only."""

    @classmethod
    def of(
        cls,
        device: str = "auto",
        precision: str = "auto",
        *,
        images: bool = False,
        batch_size: int = 0,
        deterministic: bool = False,
        draws: str = "host",
        tf32: bool = False,
    ) -> Runtime:
        """This process's runtime, as a recipe's [train] asks for it. Raises GflowError where the machine cannot.

        `precision` = "auto" takes bfloat16 for `images` where that is the faster; of several processes the first one
        decides. `batch_size` is the global one.
        """
        place = choose_device(device)
        if place.type == "cpu":
            keep_freed_memory()
        rank, world = 0, world_size()
        if world > 1:
            # accelerate reads torchrun's, its own and Slurm's environments; told `cpu`, it connects with gloo.
            from accelerate import PartialState

            try:
                state = PartialState(cpu=place.type == "cpu", timeout=_CONNECT)
            except (ValueError, RuntimeError) as error:
                reason = str(error).partition("\n")[0]
                raise GflowError(
                    f"cannot join the {world} processes that WORLD_SIZE announces: {reason}; another failed before, or "
                    "is out of reach (GLOO_SOCKET_IFNAME or NCCL_SOCKET_IFNAME names the network interface)"
                ) from error
            assert distributed.group.WORLD is not None
            distributed.group.WORLD.set_timeout(_WAIT)
            place, rank = state.device, state.process_index
            if batch_size % world:
                raise GflowError(f"train.batch_size = {batch_size} does not divide among {world} processes")
        auto = precision == "auto" and images and rank == 0
        speed = speed_here() if auto and place.type == "cpu" else None
        bf16 = precision == "bf16" or (auto and (speed.takes_bf16 if speed else computes_bf16(place)))
        if world > 1:  # all take part, also where recipes differ, which is told later
            decided = [(bf16, speed)]
            distributed.broadcast_object_list(decided)
            bf16, speed = decided[0]
        if deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.use_deterministic_algorithms(True)
        draws_on = place if draws == "device" and place.type == "cuda" else HOST
        return cls(place, bf16, rank, world, speed, draws_on, tf32 and place.type == "cuda")

    @property
    def main(self) -> bool:
        """Whether this process writes records and speaks."""
        return self.rank == 0

    @property
    def precision(self) -> str:
        """ "bf16" or "float32"."""
        return "bf16" if self.bf16 else "float32"

    def autocast(self) -> AbstractContextManager[None]:
        """The precision that networks run in; losses and optimizers stay in float32 outside it."""
        return torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else nullcontext()

    @contextmanager
    def products(self, tf32: bool | None = None) -> Iterator[None]:
        """On CUDA, float32 products and convolutions in TF32 within the block if the run asked for it, else in float32.

        `tf32` says so in its place. Torch by itself computes convolutions in TF32.
        """
        if self.device.type != "cuda":
            yield
            return
        matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
        before = matmul.allow_tf32, cudnn.allow_tf32
        matmul.allow_tf32 = cudnn.allow_tf32 = self.tf32 if tf32 is None else tf32
        try:
            yield
        finally:
            matmul.allow_tf32, cudnn.allow_tf32 = before

    def to_device(self, x: Tensor) -> Tensor:
        """`x` on the device; to CUDA without waiting for what the device is at. What is drawn comes this way."""
        return send(x, self.device)

    def shard(self, x: Tensor) -> Tensor:
        """This process's equal slice of a global batch [n, ...]; n is a multiple of `world`."""
        assert len(x) % self.world == 0, "slices of different sizes would be averaged as if they were equal"
        return x if self.world == 1 else x.chunk(self.world)[self.rank]

    def here(self, x: Tensor) -> Tensor:
        """This process's slice of a global draw x [n, ...], on its device."""
        return self.to_device(self.shard(x))

    def gather(self, x: Tensor) -> Tensor:
        """The global batch from every process's slice: the inverse of `shard`."""
        if self.world == 1:
            return x
        parts = [torch.empty_like(x) for _ in range(self.world)]
        distributed.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    def mean(self, x: Tensor) -> Tensor:
        """The mean of x over processes (x itself where there is one)."""
        if self.world > 1:
            x = x.detach().clone()
            distributed.all_reduce(x)
            x /= self.world
        return x

    def any(self, flag: bool) -> bool:
        """Whether any process raises the flag; all get the same answer."""
        if self.world == 1:
            return flag
        raised = torch.tensor(int(flag), device=self.device)
        distributed.all_reduce(raised)
        return bool(raised.item())

    def barrier(self) -> None:
        """Wait for every process."""
        if self.world > 1:
            distributed.barrier()

    def agree(self, things: Mapping[str, str]) -> None:
        """Check that every process has the same texts, by their names. Raises GflowError, in all, for what differs."""
        if self.world == 1:
            return
        mine = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in things.items()}
        found: list[dict[str, str]] = [{}] * self.world
        distributed.all_gather_object(found, mine)
        for name in mine:
            odd = [str(rank) for rank, theirs in enumerate(found) if theirs.get(name) != found[0][name]]
            if odd:
                raise GflowError(
                    f"the processes differ in {name}: {', '.join(odd)} from process 0; every machine needs the same"
                )

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Average gradients over processes by one flattened all-reduce."""
        if self.world > 1:
            self._average([p.grad for p in parameters if p.grad is not None])

    def average_buffers(self, module: nn.Module) -> None:
        """Average floating-point buffers (batch-norm statistics) over processes."""
        if self.world > 1:
            self._average([b for b in module.buffers() if b.is_floating_point()])

    def _average(self, tensors: list[Tensor]) -> None:
        if not tensors:
            return
        flat = torch.cat([t.reshape(-1) for t in tensors])
        distributed.all_reduce(flat)
        flat /= self.world
        for tensor, mean in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            tensor.copy_(mean.view(tensor.shape))


def send(x: Tensor, device: torch.device | str) -> Tensor:
    """`x` on `device`; from the host to CUDA without waiting: the pinned copy stays until it has been read."""
    if torch.device(device).type == "cuda" and x.device.type == "cpu":
        return x.pin_memory().to(device, non_blocking=True)
    return x.to(device)


def world_size() -> int:
    """Processes that the launcher (torchrun, accelerate launch, train.devices) started; 1 without one."""
    stated = os.environ.get("WORLD_SIZE") or "1"
    if not stated.isdecimal() or int(stated) < 1:
        raise GflowError(f'WORLD_SIZE is "{stated}", not a number of processes; launchers set it, otherwise unset it')
    return int(stated)


def choose_device(name: str) -> torch.device:
    """auto: CUDA, then MPS, then the CPU. Raises GflowError for a device that this machine lacks."""
    have = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, present in have.items() if present)
    if not have[name]:
        raise GflowError(f'train.device = "{name}": this machine has no {name} device; set train.device = "auto"')
    return torch.device(name)


def computes_bf16(device: torch.device) -> bool:
    """Whether bfloat16 is the faster precision on this hardware: on CUDA where it is native, on a CPU as measured."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and speed_here().takes_bf16


def keep_freed_memory() -> None:
    """Have glibc keep freed blocks for the next tensor of that size, instead of handing them back each time.

    By default tensors of 32 MB and more are fresh, zeroed pages at every operation, which costs a fifth of a
    training step. What the process has freed stays with it; nothing happens without glibc.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if libc is not None and hasattr(libc, "mallopt"):
        trim_threshold, top_pad, mmap_max = -1, -2, -4  # mallopt's names for them, from malloc.h
        libc.mallopt(mmap_max, 0)
        libc.mallopt(trim_threshold, 2**31 - 1)
        libc.mallopt(top_pad, 256 * 2**20)
