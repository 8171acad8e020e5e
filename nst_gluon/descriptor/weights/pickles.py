"""Torch's weight files without torch: an interpreter of the few pickle instructions that they need.

A pickle is a program. The interpreter here knows dictionaries, lists, tuples, numbers, strings, storages
and tensors; ``REDUCE`` calls nothing but the markers of :func:`find_class`, and everything else is refused
before it has an effect. (Python's own ``Unpickler`` with a ``find_class`` of its own would still allocate
what a hostile file declares.)
"""

from __future__ import annotations

import io
import math
import os
import pickle
import pickletools
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from nst_gluon.descriptor.weights.entries import Entry, Refused, printable

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
#: The pickled structure of a VGG is some kilobytes; its numbers lie outside of it.
MAX_PICKLE_BYTES = 1 << 20
MAX_DIMENSIONS = 8

STORAGES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "?",
}


class _Mark:
    pass


_MARK = _Mark()


@dataclass(frozen=True)
class _Global:
    """A name that a pickle may mention: the rebuild functions, an ordered dictionary or a storage type."""

    kind: str
    dtype: str = ""


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: np.dtype
    count: int

    @property
    def nbytes(self) -> int:
        return self.count * self.dtype.itemsize


@dataclass(frozen=True)
class _Tensor:
    """A strided window of a storage; offset and strides count elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def of(self, data: np.ndarray) -> np.ndarray:
        strides = tuple(s * data.itemsize for s in self.strides)
        window = np.lib.stride_tricks.as_strided(data[self.offset :], self.shape, strides, writeable=False)
        return window.copy()


def find_class(module: object, name: object) -> _Global:
    """What a global name stands for; every name that weights do not need is refused."""
    if type(module) is not str or type(name) is not str:
        raise Refused("the pickle is damaged (a global that is no name)")
    if (module, name) == ("collections", "OrderedDict"):
        return _Global("dict")
    if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
        return _Global("tensor")
    if (module, name) == ("torch._utils", "_rebuild_parameter"):
        return _Global("parameter")
    if module == "torch" and name in STORAGES:
        return _Global("storage", STORAGES[name])
    hint = " (save the state_dict alone, in float32 or float16)" if module.startswith("torch") else ""
    raise Refused(f"it asks for {printable(f'{module}.{name}', 60)}, which no file of weights needs{hint}")


def _natural(value: object, what: str) -> int:
    if type(value) is not int or not 0 <= value < 1 << 48:
        raise Refused(f"{what} is not a sensible number")
    return value


def _naturals(value: object, what: str) -> tuple[int, ...]:
    if type(value) is not tuple or len(value) > MAX_DIMENSIONS:
        raise Refused(f"{what} is not a short list of numbers")
    return tuple(_natural(v, what) for v in value)


def _storage(pid: object) -> _Storage:
    if type(pid) is not tuple or len(pid) not in (5, 6) or type(pid[0]) is not str or pid[0] != "storage":
        raise Refused("a persistent id is not that of a storage")
    _, kind, key, location, count = pid[:5]
    if not isinstance(kind, _Global) or kind.kind != "storage":
        raise Refused("a storage has no known type")
    if type(key) is not str or type(location) is not str:
        raise Refused("a storage's key or place is not a string")
    if len(pid) == 6 and pid[5] is not None:
        raise Refused("a storage is a view of another, which only very old files had")
    return _Storage(key, np.dtype(kind.dtype), _natural(count, "a storage's size"))


def _tensor(arguments: object) -> _Tensor:
    if type(arguments) is not tuple or not 4 <= len(arguments) <= 7 or not isinstance(arguments[0], _Storage):
        raise Refused("a tensor is not made of a storage, an offset, a shape and strides")
    storage, offset, shape, strides = arguments[:4]
    offset = _natural(offset, "a tensor's offset")
    shape, strides = _naturals(shape, "a tensor's shape"), _naturals(strides, "a tensor's strides")
    if len(shape) != len(strides):
        raise Refused("a tensor's shape and strides do not match")
    last = offset + sum((n - 1) * s for n, s in zip(shape, strides))
    if math.prod(shape) > storage.count or (0 not in shape and last >= storage.count):
        raise Refused("a tensor reaches beyond its storage")
    return _Tensor(storage, offset, shape, strides)


def _call(function: object, arguments: object) -> object:
    kind = function.kind if isinstance(function, _Global) else ""
    if kind == "dict" and type(arguments) is tuple and not arguments:
        return {}
    if kind == "tensor":
        return _tensor(arguments)
    if kind == "parameter" and type(arguments) is tuple and arguments and isinstance(arguments[0], _Tensor):
        return arguments[0]
    raise Refused("it calls something, which no file of weights needs")


_CONSTANTS: dict[str, Callable[[], Any]] = {
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "MARK": lambda: _MARK,
}
_LITERALS = frozenset(("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE"))


class _Machine:
    """Runs one pickle; ``storages`` are the ones it mentioned, by key."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, _Storage] = {}

    def _since_mark(self) -> list[Any]:
        for i in range(len(self.stack) - 1, -1, -1):
            if self.stack[i] is _MARK:
                items = self.stack[i + 1 :]
                del self.stack[i:]
                return items
        raise Refused("the pickle is damaged (no mark)")

    def _top(self, kind: type) -> Any:
        if not self.stack or type(self.stack[-1]) is not kind:
            raise Refused("the pickle is damaged (no container)")
        return self.stack[-1]

    def _set(self, items: list[Any]) -> None:
        target = self._top(dict)
        if len(items) % 2 or any(type(key) not in (str, int) for key in items[::2]):
            raise Refused("a dictionary's keys are not names")
        target.update(zip(items[::2], items[1::2]))

    def _persistent(self, pid: object) -> _Storage:
        storage = _storage(pid)
        if self.storages.setdefault(storage.key, storage) != storage:
            raise Refused("a storage is described in two ways")
        return storage

    def run(self, stream: BinaryIO) -> Any:
        push, pop = self.stack.append, self.stack.pop
        for op, argument, _ in pickletools.genops(stream):
            name = op.name
            if name == "STOP":
                return pop()
            if name in _CONSTANTS:
                push(_CONSTANTS[name]())
            elif name in _LITERALS:
                push(argument)
            elif name in ("BINPUT", "LONG_BINPUT"):
                self.memo[argument] = self.stack[-1]
            elif name == "MEMOIZE":
                self.memo[len(self.memo)] = self.stack[-1]
            elif name in ("BINGET", "LONG_BINGET"):
                push(self.memo[argument])
            elif name == "TUPLE":
                push(tuple(self._since_mark()))
            elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
                items = [pop() for _ in range(int(name[-1]))]
                push(tuple(reversed(items)))
            elif name == "SETITEMS":
                self._set(self._since_mark())
            elif name == "SETITEM":
                value, key = pop(), pop()
                self._set([key, value])
            elif name == "APPENDS":
                items = self._since_mark()
                self._top(list).extend(items)
            elif name == "APPEND":
                item = pop()
                self._top(list).append(item)
            elif name == "GLOBAL":
                push(find_class(*argument.split(" ", 1)))
            elif name == "STACK_GLOBAL":
                attribute, module = pop(), pop()
                push(find_class(module, attribute))
            elif name == "REDUCE":
                arguments, function = pop(), pop()
                push(_call(function, arguments))
            elif name == "BINPERSID":
                push(self._persistent(pop()))
            elif name == "BUILD":
                pop()  # the attributes of a state dictionary (versions of modules): nothing that is needed
                self._top(dict)
            elif name not in ("PROTO", "FRAME"):
                raise Refused(f"it has the pickle instruction {name}, which no file of weights needs")
        raise Refused("the pickle has no end")


def read_pickle(stream: BinaryIO) -> tuple[Any, dict[str, _Storage]]:
    """The object of the next pickle in ``stream`` and the storages that it mentions, by key.

    Raises :class:`Refused` for a damaged pickle, and for one that asks for anything but tensors of numbers.
    """
    machine = _Machine()
    try:
        return machine.run(stream), machine.storages
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, pickle.UnpicklingError) as e:
        raise Refused(f"the pickle is damaged ({type(e).__name__})") from None


def _tensors(root: object) -> dict[str, _Tensor]:
    """The named tensors of a state dictionary, also where that lies under ``state_dict`` or the like."""
    for _ in range(2):
        if type(root) is not dict:
            break
        found = {k: v for k, v in root.items() if type(k) is str and isinstance(v, _Tensor)}
        if found:
            return found
        root = next((root[k] for k in ("state_dict", "model", "model_state_dict", "net") if k in root), None)
    raise Refused("it has no dictionary of named tensors (a state_dict)")


def read_legacy(file: BinaryIO) -> dict[str, Entry]:
    """Torch's format before version 1.6: five pickles, then each storage's int64 count and raw numbers."""
    size = os.fstat(file.fileno()).st_size
    head = io.BytesIO(file.read(MAX_PICKLE_BYTES))
    if read_pickle(head)[0] != MAGIC:
        raise Refused("it is not a file that torch.save wrote")
    if read_pickle(head)[0] != PROTOCOL:
        raise Refused(f"its protocol is not {PROTOCOL}")
    info = read_pickle(head)[0]
    if type(info) is not dict or info.get("little_endian") is not True:
        raise Refused("its numbers are not little-endian")
    root, storages = read_pickle(head)
    tensors = _tensors(root)
    keys = read_pickle(head)[0]
    if type(keys) is not list or any(type(k) is not str for k in keys) or sorted(keys) != sorted(storages):
        raise Refused("its list of storages is not that of its tensors")
    places: dict[str, int] = {}
    position = head.tell()
    for key in keys:
        file.seek(position)
        raw = file.read(8)
        if len(raw) == 8 and struct.unpack("<q", raw)[0] != storages[key].count:
            raise Refused("a storage has another size than its tensors say")
        places[key] = position + 8
        position += 8 + storages[key].nbytes
        if position > size:
            raise Refused(f"it is truncated ({size} bytes, at least {position} expected)")

    def read(tensor: _Tensor) -> np.ndarray:
        file.seek(places[tensor.storage.key])
        data = np.fromfile(file, tensor.storage.dtype, tensor.storage.count)
        if data.size != tensor.storage.count:
            raise Refused("it is truncated")
        return tensor.of(data)

    return {name: Entry(t.shape, t.storage.dtype, lambda t=t: read(t)) for name, t in tensors.items()}


def read_zip(archive: zipfile.ZipFile) -> dict[str, Entry]:
    """Torch's format since version 1.6: a zip of ``<root>/data.pkl`` and ``<root>/data/<key>``."""
    members = {info.filename: info for info in archive.infolist()}
    pickles = [name for name in members if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(pickles) != 1:
        raise Refused("it is a zip archive without torch's data.pkl")
    root = pickles[0][: -len("data.pkl")]
    if members[pickles[0]].file_size > MAX_PICKLE_BYTES:
        raise Refused("its pickle is far larger than that of any VGG")
    if root + "byteorder" in members:
        with archive.open(root + "byteorder") as stream:
            if stream.read(16).strip() != b"little":
                raise Refused("its numbers are not little-endian")
    with archive.open(pickles[0]) as stream:
        tensors = _tensors(read_pickle(io.BytesIO(stream.read(MAX_PICKLE_BYTES)))[0])

    def read(tensor: _Tensor) -> np.ndarray:
        member = members.get(f"{root}data/{tensor.storage.key}")
        if member is None or member.file_size != tensor.storage.nbytes:
            raise Refused("a tensor's storage is missing or has another size than the tensors say")
        with archive.open(member) as stream:
            raw = stream.read(tensor.storage.nbytes + 1)
        if len(raw) != tensor.storage.nbytes:
            raise Refused("it is truncated")
        return tensor.of(np.frombuffer(raw, tensor.storage.dtype))

    return {name: Entry(t.shape, t.storage.dtype, lambda t=t: read(t)) for name, t in tensors.items()}
