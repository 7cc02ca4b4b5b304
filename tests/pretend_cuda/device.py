"""The device: a tensor that holds another, and what torch does with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.optim import optimizer
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map_only

from pretend_cuda.record import note, place

__all__ = ["install"]

# The host learns something of the device, and waits for it.
_WAITS = {
    *("equal", "is_nonzero", "nonzero", "masked_select", "bincount"),
    *("_unique2", "unique_dim", "unique_consecutive"),
    *("_linalg_eigh", "linalg_eig", "_linalg_svd", "linalg_lstsq", "_linalg_det", "_linalg_slogdet"),
    *("linalg_cholesky_ex", "linalg_inv_ex", "linalg_lu_factor_ex", "_linalg_solve_ex"),
}
_INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index", "_unsafe_index_put"}
_COPIES = {"_to_copy", "copy_", "_foreach_copy_"}
# Nothing is computed; views, which schemas tell, besides.
_NO_LAUNCH = {"_unsafe_view", "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "is_pinned"}


class DeviceTensor(Tensor):
    """A tensor "on cuda:0"; `held` is the CPU's."""

    held: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, held: Tensor) -> DeviceTensor:
        made = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            layout=held.layout,
            device="cuda:0",
        )
        made.held = held
        return made  # type: ignore[no-any-return]

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"{self.held!r} on cuda:0"

    def untyped_storage(self) -> torch.UntypedStorage:
        return self.held.untyped_storage()

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def numpy(self, *, force: bool = False) -> Any:
        if force:
            return self.detach().cpu().numpy()
        raise TypeError(
            "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory "
            f"first. ({place()})"
        )

    def __array__(self, *_: Any, **__: Any) -> Any:
        return self.numpy()


class _Everywhere(TorchDispatchMode):
    """Factories have no tensor that would bring them here."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    here = [tensor for tensor in tensors if isinstance(tensor, DeviceTensor)]
    to = kwargs.get("device")
    to = None if to is None else torch.device(to).type
    if not here and to != "cuda":
        return func(*args, **kwargs)
    if torch.is_inference_mode_enabled():  # it hands on whole what autograd takes apart
        with _Everywhere():  # type: ignore[no-untyped-call]
            out = func.decompose(*args, **kwargs)
        if out is not NotImplemented:
            return out
    name = func._schema.name.removeprefix("aten::")
    generator = kwargs.get("generator")
    if generator is not None and generator.device.type != "cuda":
        _refuse("Expected a 'cuda' device type for generator but found 'cpu'", func)
    if name in _COPIES:
        _note_copy(func, args, kwargs)
    elif name == "_local_scalar_dense":
        note("copy back", func)
        note("wait", func)
    else:
        _refuse_mix(func, name, args, tensors)
        if name in _WAITS or (name in _INDEXING and _has_mask(args[1])):
            note("wait", func)
        if str(func) == "aten.repeat_interleave.Tensor" and kwargs.get("output_size") is None:
            note("wait", func)
        if not func.is_view and name not in _NO_LAUNCH:
            note("launch", func)
    inner_args, inner = tree_map_only(DeviceTensor, lambda tensor: tensor.held, (tuple(args), dict(kwargs)))
    inner |= {key: value for key, value in _HOST.items() if key in inner}
    if generator is None:
        out = func(*inner_args, **inner)
    else:  # the CPU's own kernels draw, from the state that the device's generator keeps
        drawing = torch.Generator()
        drawing.set_state(generator.get_state())
        out = func(*inner_args, **inner | {"generator": drawing})
        generator.set_state(drawing.get_state())
    if to == "cpu":
        return out.clone() if any(out is tensor.held for tensor in here) else out
    if name == "copy_":
        return args[0]
    if to == "cuda" and name == "_to_copy":
        return DeviceTensor(out)
    return return_and_correct_aliasing(func, tuple(args), kwargs, tree_map_only(Tensor, _held, out))


_HOST = {"device": torch.device("cpu"), "pin_memory": None, "non_blocking": False}


def _held(tensor: Tensor) -> Tensor:
    return tensor if isinstance(tensor, DeviceTensor) else DeviceTensor(tensor)


def _note_copy(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Between devices, or within this one: then it may be a cast."""
    pairs: list[tuple[Tensor, Any, torch.dtype]]  # source, whether it comes to this device, and as what
    if func._schema.name == "aten::_to_copy":
        (source,), to = args, kwargs.get("device")
        arrives = isinstance(source, DeviceTensor) if to is None else torch.device(to).type == "cuda"
        pairs = [(source, arrives, kwargs.get("dtype") or source.dtype)]
    elif func._schema.name == "aten::copy_":
        pairs = [(args[1], isinstance(args[0], DeviceTensor), args[0].dtype)]
    else:
        pairs = [(source, isinstance(to, DeviceTensor), to.dtype) for to, source in zip(args[0], args[1], strict=True)]
    blocking = not (kwargs.get("non_blocking") or (len(args) > 2 and args[2]))
    within = [(source, dtype) for source, arrives, dtype in pairs if arrives and isinstance(source, DeviceTensor)]
    if within:  # many at once are one launch
        note("launch", func)
        if casts := [f"{source.dtype} to {dtype}" for source, dtype in within if dtype != source.dtype]:
            note("cast", casts[0])
    for source, arrives, _ in pairs:
        if arrives and isinstance(source, DeviceTensor):
            continue
        pinned = getattr(source, "_pinned", False)
        note("copy back" if not arrives else "pinned copy" if pinned else "pageable copy", func)
        if blocking or not pinned:
            note("wait", func)


def _refuse_mix(func: Any, name: str, args: Sequence[Any], tensors: Sequence[Tensor]) -> None:
    """Numbers [] of the CPU may stand beside the device's tensors, and index them from there; no others."""
    far = [tensor for tensor in tensors if not isinstance(tensor, DeviceTensor) and tensor.dim()]
    if far and name in _INDEXING and isinstance(args[0], DeviceTensor):
        indices = [index for index in args[1] if isinstance(index, Tensor) and not isinstance(index, DeviceTensor)]
        for _ in indices:
            note("pageable copy", func)
            note("wait", func)
        far = [tensor for tensor in far if not any(tensor is index for index in indices)]
    if far and len(far) < len(tensors):
        _refuse("Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!", func)


def _has_mask(indices: Sequence[Tensor | None]) -> bool:
    return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in indices)


def _refuse(what: str, func: Any) -> NoReturn:
    raise RuntimeError(f"{what} ({func} at {place()})")


def _pinned(tensor: Tensor, *_: Any) -> Tensor:
    if isinstance(tensor, DeviceTensor):
        raise RuntimeError("cannot pin 'torch.cuda.FloatTensor' only dense CPU tensors can be pinned")
    copy = tensor.clone()
    copy._pinned = True  # type: ignore[attr-defined]
    return copy


def install() -> None:
    """Give this process the device."""
    torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(1.0, device="cuda") begins on the CPU
    torch.__future__.set_overwrite_module_params_on_conversion(True)  # a parameter's data cannot become a DeviceTensor
    generator = torch.Generator()
    answers: dict[str, Callable[..., Any]] = {
        "_lazy_init": lambda: None,
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "mem_get_info": lambda *_: (2**36, 2**36),
        "is_bf16_supported": lambda including_emulation=True: True,
        "get_device_name": lambda *_: "pretend",
        "synchronize": lambda *_: note("wait", "torch.cuda.synchronize"),
        "get_rng_state": lambda *_: generator.get_state(),
        "set_rng_state": lambda state, *_: generator.set_state(state),
        "manual_seed": generator.manual_seed,
        "manual_seed_all": generator.manual_seed,
    }
    for name, answer in answers.items():
        setattr(torch.cuda, name, answer)
    torch.Tensor.pin_memory = _pinned  # type: ignore[assignment]
    optimizer._foreach_supported_types.append(DeviceTensor)
    _Everywhere().__enter__()  # type: ignore[no-untyped-call]
