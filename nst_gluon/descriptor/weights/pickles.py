"""Torch's weight files without torch: the standard library's Unpickler, with the few instructions that they need.

A pickle is a program. This one may build dictionaries, lists, tuples, numbers, strings, storages and tensors; it calls
nothing but the functions of :meth:`_Reader.find_class`, and whatever else it has is refused before it has an effect.
(It is the Unpickler that is written in Python: the one in C allocates what a hostile file declares.)
"""

from __future__ import annotations

import io
import math
import os
import pickle
import struct
import zipfile
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from nst_gluon.descriptor.weights.entries import Entry, Refused
from nst_gluon.system.files import printable

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


@dataclass(frozen=True)
class _StorageType:
    dtype: str


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
    if not isinstance(kind, _StorageType):
        raise Refused("a storage has no known type")
    if type(key) is not str or type(location) is not str:
        raise Refused("a storage's key or place is not a string")
    if len(pid) == 6 and pid[5] is not None:
        raise Refused("a storage is a view of another, which only very old files had")
    return _Storage(key, np.dtype(kind.dtype), _natural(count, "a storage's size"))


def _tensor(*arguments: object) -> _Tensor:
    if not 4 <= len(arguments) <= 7 or not isinstance(arguments[0], _Storage):
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


def _parameter(tensor: object = None, *_: object) -> _Tensor:
    if not isinstance(tensor, _Tensor):
        raise Refused("a parameter is not made of a tensor")
    return tensor


def _dict(*arguments: object) -> dict[object, object]:
    if arguments:
        raise Refused("an ordered dictionary is not made empty")
    return {}


_INSTRUCTIONS = tuple(getattr(pickle, name) for name in (
    "PROTO", "FRAME", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1",
    "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE", "TUPLE", "TUPLE1",
    "TUPLE2", "TUPLE3", "BINPUT", "LONG_BINPUT", "MEMOIZE", "BINGET", "LONG_BINGET", "GLOBAL", "STACK_GLOBAL",
    "BINPERSID",
))  # fmt: skip


class _Reader(pickle._Unpickler):
    """Runs one pickle; ``storages`` are the ones it mentioned, by key."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__(stream)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> object:
        """What a global name stands for; every name that weights do not need is refused."""
        if (module, name) == ("collections", "OrderedDict"):
            return _dict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return _parameter
        if module == "torch" and name in STORAGES:
            return _StorageType(STORAGES[name])
        hint = " (save the state_dict alone, in float32 or float16)" if module.startswith("torch") else ""
        raise Refused(f"it asks for {printable(f'{module}.{name}', 60)}, which no file of weights needs{hint}")

    def persistent_load(self, pid: object) -> _Storage:
        storage = _storage(pid)
        if self.storages.setdefault(storage.key, storage) != storage:
            raise Refused("a storage is described in two ways")
        return storage

    def _top(self, kind: type) -> Any:
        if not self.stack or type(self.stack[-1]) is not kind:
            raise Refused("the pickle is damaged (no container)")
        return self.stack[-1]

    def _set(self, items: list[Any]) -> None:
        target = self._top(dict)
        if len(items) % 2 or any(type(key) not in (str, int) for key in items[::2]):
            raise Refused("a dictionary's keys are not names")
        target.update(zip(items[::2], items[1::2]))

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set([key, value])

    def load_append(self) -> None:
        item = self.stack.pop()
        self._top(list).append(item)

    def load_appends(self) -> None:
        items = self.pop_mark()
        self._top(list).extend(items)

    def load_build(self) -> None:
        self.stack.pop()  # the attributes of a state dictionary (versions of modules): nothing that is needed
        self._top(dict)

    def load_reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if function not in (_dict, _tensor, _parameter) or type(arguments) is not tuple:
            raise Refused("it calls something, which no file of weights needs")
        self.append(function(*arguments))

    def load_unknown(self, code: int) -> None:
        raise Refused(f"it has the pickle instruction {bytes([code])!r}, which no file of weights needs")

    dispatch = {
        **{code: lambda self, code=code: self.load_unknown(code) for code in range(256)},
        **{code[0]: pickle._Unpickler.dispatch[code[0]] for code in _INSTRUCTIONS},
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: lambda self: self._set(self.pop_mark()),
        pickle.APPEND[0]: load_append,
        pickle.APPENDS[0]: load_appends,
        pickle.BUILD[0]: load_build,
        pickle.REDUCE[0]: load_reduce,
    }


def read_pickle(stream: BinaryIO) -> tuple[Any, dict[str, _Storage]]:
    """The object of the next pickle in ``stream`` and the storages that it mentions, by key.

    Raises :class:`Refused` for a damaged pickle, and for one that asks for anything but tensors of numbers.
    """
    reader = _Reader(stream)
    try:
        return reader.load(), reader.storages
    except Refused:
        raise
    except Exception as error:  # a damaged pickle makes the interpreter raise nearly anything
        raise Refused(f"the pickle is damaged ({type(error).__name__})") from None


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
