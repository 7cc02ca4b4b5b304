"""Reading a pickle as data: text, numbers, lists, tables and arrays of numbers. Nothing that it names is called.

A pickle is a program. This runs the few of its instructions that such data take, on a stack of its own, and refuses
any other. What it holds costs no more memory than its bytes and INSTRUCTIONS.
"""

from __future__ import annotations

import math
import pickletools
import re
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

__all__ = ["PickledArray", "text", "unpickled"]

INSTRUCTIONS = 1 << 21
"""At most; 50,000 labels and names of files take some 250,000."""

_ARRAYS = {f"numpy.{core}.multiarray _reconstruct" for core in ("core", "_core")}
_KNOWN = {*_ARRAYS, "numpy ndarray", "numpy dtype", "_codecs encode"}
_VALUES = {
    *("INT", "LONG", "LONG1", "LONG4", "BININT", "BININT1", "BININT2", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
}
_MARK = object()
_NEW: Mapping[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "MARK": lambda: _MARK,
}


@attrs.frozen
class _Name:
    """What a pickle calls by module and name."""

    name: str


@attrs.define
class _Dtype:
    name: str
    order: str = "|"


@attrs.define(eq=False)
class PickledArray:
    """An array, as a pickle states it."""

    state: tuple[Any, ...] = ()
    """Version, shape, type, whether by columns, and bytes."""

    def array(self) -> npt.NDArray[Any]:
        """The array; ValueError where what is stated does not fit together, or is no array of numbers."""
        match self.state:
            case (int(), tuple(shape), _Dtype(name=str(name), order=str(order)), bool(columns), str() | bytes() as raw):
                content = raw.encode("latin-1") if isinstance(raw, str) else raw
                numbers = re.fullmatch(r"[<>|=](b1|[iu][1248]|f[48])", order + name) and len(shape) <= 32
                if numbers and all(type(n) is int and 0 <= n < 1 << 40 for n in shape):
                    dtype = np.dtype(order + name)
                    if math.prod(shape) * dtype.itemsize == len(content):
                        return np.frombuffer(content, dtype).reshape(shape, order="F" if columns else "C")
        raise ValueError("holds an array whose shape, type and bytes do not fit together")


def text(value: str | bytes) -> str:
    """A key or name as text: those of Python 2 are bytes."""
    return value.decode("latin-1") if isinstance(value, bytes) else value


def unpickled(raw: bytes) -> Any:
    """What a pickle holds; ValueError where it takes an instruction or a name that data do not."""
    stack: list[Any] = []
    memo: dict[Any, Any] = {}
    try:
        for count, (instruction, argument, _) in enumerate(pickletools.genops(raw)):
            if count > INSTRUCTIONS:
                raise ValueError(f"a pickle of more than {INSTRUCTIONS:,} instructions")
            name = instruction.name
            if name == "STOP":
                return stack.pop()
            _step(name, argument, stack, memo)
    except (IndexError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"a pickle that is damaged or made up ({type(error).__name__})") from error
    raise ValueError("a pickle without an end")


def _step(name: str, argument: Any, stack: list[Any], memo: dict[Any, Any]) -> None:
    """One instruction."""
    if name in _VALUES:
        stack.append(argument)
    elif name in _NEW:
        stack.append(_NEW[name]())
    elif name in ("PROTO", "FRAME"):
        pass
    elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
        memo[argument] = stack[-1]
    elif name == "MEMOIZE":
        memo[len(memo)] = stack[-1]
    elif name in ("GET", "BINGET", "LONG_BINGET"):
        stack.append(memo[argument])
    elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
        items = [stack.pop() for _ in range(int(name[-1]))]
        stack.append(tuple(reversed(items)))
    elif name == "TUPLE":
        stack.append(tuple(_marked(stack)))
    elif name in ("LIST", "DICT"):
        items = _marked(stack)
        stack.append(items if name == "LIST" else _pairs(items))
    elif name in ("APPEND", "APPENDS"):
        items = [stack.pop()] if name == "APPEND" else _marked(stack)
        _of(list, stack[-1]).extend(items)
    elif name in ("SETITEM", "SETITEMS"):
        items = [stack.pop(), stack.pop()][::-1] if name == "SETITEM" else _marked(stack)
        _of(dict, stack[-1]).update(_pairs(items))
    elif name == "GLOBAL":
        stack.append(_known(argument))
    elif name == "STACK_GLOBAL":
        attribute, module = stack.pop(), stack.pop()
        stack.append(_known(f"{module} {attribute}"))
    elif name == "REDUCE":
        arguments, called = _of(tuple, stack.pop()), _of(_Name, stack.pop()).name
        stack.append(_made(called, arguments))
    elif name == "BUILD":
        _restore(_of(tuple, stack.pop()), stack[-1])
    else:
        raise ValueError(f"a pickle that takes the instruction {name}, which plain data do not")


def _marked(stack: list[Any]) -> list[Any]:
    """What lies above the last mark, taken with the mark from the stack."""
    items = []
    while (item := stack.pop()) is not _MARK:
        items.append(item)
    return items[::-1]


def _pairs(items: list[Any]) -> dict[Any, Any]:
    for key in items[::2]:
        _of(str | bytes, key)  # others may take for ever to hash
    return dict(zip(items[::2], items[1::2], strict=True))


def _of(kind: Any, value: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError
    return value


def _known(name: str) -> _Name:
    if name not in _KNOWN:
        raise ValueError(f"a pickle that asks for {name.replace(' ', '.')}, which plain data do not; do not open it")
    return _Name(name)


def _made(called: str, arguments: tuple[Any, ...]) -> Any:
    if called in _ARRAYS:
        return PickledArray()
    if called == "numpy dtype":
        return _Dtype(text(arguments[0]))
    if called == "_codecs encode":  # how Python 3 writes bytes for Python 2
        written, encoding = arguments
        if encoding in ("latin1", "latin-1"):
            return written.encode("latin-1")
    raise ValueError(f"a pickle that calls {called.replace(' ', '.')}, which plain data do not")


def _restore(state: tuple[Any, ...], made: Any) -> None:
    if isinstance(made, _Dtype):
        made.order = text(state[1])
    else:
        _of(PickledArray, made).state = state
