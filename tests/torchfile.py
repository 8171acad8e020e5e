"""Torch's weight files, put together with Python's pickle module and no torch."""

from __future__ import annotations

import io
import pickle
import struct
import sys
import types
import zipfile
from collections import OrderedDict
from unittest import mock

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C
SYSTEM = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
OF_DTYPE = {
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "float64": "DoubleStorage",
    "uint8": "ByteStorage",
    "int64": "LongStorage",
}
STORAGES = {name: type(name, (), {"__module__": "torch"}) for name in OF_DTYPE.values()}


def _rebuild_tensor_v2(*arguments):
    raise AssertionError("nothing in a file is called")


_rebuild_tensor_v2.__module__ = "torch._utils"


def _rebuild_parameter(*arguments):
    raise AssertionError("nothing in a file is called")


_rebuild_parameter.__module__ = "torch._utils"


class Storage:
    def __init__(self, key, array, count=None, persistent_id=None):
        self.key, self.array = key, np.ascontiguousarray(array).ravel()
        self.count = self.array.size if count is None else count
        self.persistent_id = persistent_id


class Tensor:
    """What torch pickles for a tensor; shape, strides and offset count elements."""

    def __init__(self, storage, shape=None, strides=None, offset=0):
        self.storage, self.offset = storage, offset
        self.shape = (storage.count,) if shape is None else shape
        self.strides = (1,) if strides is None else strides

    def __reduce_ex__(self, protocol):
        arguments = (self.storage, self.offset, self.shape, self.strides, False, OrderedDict())
        return _rebuild_tensor_v2, arguments


class Parameter:
    def __init__(self, tensor):
        self.tensor = tensor

    def __reduce_ex__(self, protocol):
        return _rebuild_parameter, (self.tensor, True, OrderedDict())


def tensor(key, array):
    """A contiguous tensor with a storage of its own."""
    array = np.asarray(array)
    strides = tuple(s // array.itemsize for s in np.ascontiguousarray(array).strides)
    return Tensor(Storage(key, array), array.shape, strides)


def tensors(arrays):
    """A state dictionary of contiguous tensors, with the attribute that torch's state_dict() leaves."""
    state = OrderedDict((name, tensor(str(i), array)) for i, (name, array) in enumerate(arrays.items()))
    state._metadata = OrderedDict([("", {"version": 1})])
    return state


class _Pickler(pickle.Pickler):
    def __init__(self, stream, protocol, legacy):
        super().__init__(stream, protocol)
        self.legacy, self.storages = legacy, {}

    def persistent_id(self, value):
        if not isinstance(value, Storage):
            return None
        self.storages[value.key] = value
        if value.persistent_id is not None:
            return value.persistent_id
        kind = STORAGES[OF_DTYPE[value.array.dtype.name]]
        identity = ("storage", kind, value.key, "cpu", value.count)
        return (*identity, None) if self.legacy else identity


def _pickled(value, protocol, legacy):
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name, kind in STORAGES.items():
        setattr(torch, name, kind)
    utils._rebuild_tensor_v2, utils._rebuild_parameter = _rebuild_tensor_v2, _rebuild_parameter
    torch._utils = utils
    stream = io.BytesIO()
    pickler = _Pickler(stream, protocol, legacy)
    with mock.patch.dict(sys.modules, {"torch": torch, "torch._utils": utils}):
        pickler.dump(value)
    return stream.getvalue(), pickler.storages


def legacy(value, protocol=2, magic=MAGIC, version=1001, system=SYSTEM, keys=None):
    """The bytes of ``torch.save(value)`` as they were before torch 1.6."""
    root, storages = _pickled(value, protocol, legacy=True)
    heads = [pickle.dumps(part, protocol) for part in (magic, version, system)]
    data = b"".join([*heads, root, pickle.dumps(sorted(storages) if keys is None else keys, protocol)])
    for key in sorted(storages):
        data += struct.pack("<q", storages[key].count) + storages[key].array.tobytes()
    return data


def zipped(value, protocol=2, byteorder=b"little", root="archive"):
    """The bytes of ``torch.save(value)`` since torch 1.6."""
    data, storages = _pickled(value, protocol, legacy=False)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(f"{root}/data.pkl", data)
        archive.writestr(f"{root}/byteorder", byteorder)
        for key, storage in storages.items():
            archive.writestr(f"{root}/data/{key}", storage.array.tobytes())
        archive.writestr(f"{root}/version", b"3\n")
    return stream.getvalue()
