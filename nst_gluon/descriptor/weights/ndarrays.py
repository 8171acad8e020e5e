"""MXNet's ``.params`` files without MXNet: dmlc's binary list of dense, named arrays.

    uint64 0x112, uint64 0, uint64 count, the arrays, uint64 count, the names (uint64 length, bytes)
    array: uint32 version, int32 storage type (0: dense), int32 dimensions, int64 each, int32 device type and
           number, int32 type of the elements, the elements

The first versions (0xF993FAC8 and, before it, none) have no storage type; the very first has uint32
dimensions. All of it is little-endian. Source: MXNet 1.9.1, ``src/ndarray/ndarray.cc``, ``NDArray::Save``
and ``Load``.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Mapping
from typing import BinaryIO

import numpy as np

from nst_gluon.descriptor.weights.entries import Entry, Refused

LIST_MAGIC = 0x112
V1, V2, V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
DTYPES = {0: "<f4", 1: "<f8", 2: "<f2", 3: "<u1", 4: "<i4", 5: "<i1", 6: "<i8"}
FLAGS = {np.dtype(dtype): flag for flag, dtype in DTYPES.items()}
MAX_DIMENSIONS = 8
MAX_ARRAYS = 100_000
MAX_NAME = 1024


class _Cursor:
    """Reads numbers and refuses to run past the end of the file."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.size = os.fstat(file.fileno()).st_size

    def left(self) -> int:
        return self.size - self.file.tell()

    def take(self, count: int) -> bytes:
        data = self.file.read(count) if count <= self.left() else b""
        if len(data) != count:
            raise Refused("it is truncated")
        return data

    def numbers(self, layout: str) -> tuple[int, ...]:
        return struct.unpack("<" + layout, self.take(struct.calcsize("<" + layout)))

    def number(self, layout: str) -> int:
        return self.numbers(layout)[0]


def _entry(cursor: _Cursor) -> Entry | None:
    version = cursor.number("I")
    if version in (V2, V3):
        if cursor.number("i") != 0:
            raise Refused("it has an array that is not dense")
        dimensions, layout = cursor.number("i"), "q"
    elif version == V1:
        dimensions, layout = cursor.number("i"), "q"
    else:
        dimensions, layout = version, "I"
    if dimensions == (-1 if version == V3 else 0):
        return None  # an array that was never given a shape: nothing follows
    if not 0 <= dimensions <= MAX_DIMENSIONS:
        raise Refused(f"it has an array of {dimensions} dimensions, or is damaged")
    shape = cursor.numbers(f"{dimensions}{layout}")
    _device, _number, flag = cursor.numbers("iii")
    if flag not in DTYPES:
        raise Refused(f"it has an array of an element type that is not supported ({flag})")
    dtype = np.dtype(DTYPES[flag])
    if any(n < 0 for n in shape):
        raise Refused("it has an array of a negative size")
    count = math.prod(shape)
    position = cursor.file.tell()
    if count * dtype.itemsize > cursor.left():
        raise Refused(f"it is truncated ({cursor.size} bytes, an array of shape {shape} does not fit)")
    cursor.file.seek(count * dtype.itemsize, os.SEEK_CUR)

    def read() -> np.ndarray:
        cursor.file.seek(position)
        data = np.fromfile(cursor.file, dtype, count)
        if data.size != count:
            raise Refused("it is truncated")
        return data.reshape(shape)

    return Entry(shape, dtype, read)


def read(file: BinaryIO) -> dict[str, Entry]:
    """The named arrays of an open ``.params`` file, not yet read. Raises :class:`Refused`."""
    cursor = _Cursor(file)
    magic, _reserved, count = cursor.numbers("QQQ")
    if magic != LIST_MAGIC:
        raise Refused("it is not a .params file")
    if count > MAX_ARRAYS:
        raise Refused("it is damaged (a senseless number of arrays)")
    entries = [_entry(cursor) for _ in range(count)]
    if cursor.number("Q") != count:
        raise Refused("its arrays have no names")
    named: dict[str, Entry] = {}
    for entry in entries:
        length = cursor.number("Q")
        if length > MAX_NAME:
            raise Refused("it is damaged (a name of senseless length)")
        name = cursor.take(length).decode("utf-8", "replace")
        if entry is not None:
            named[name] = entry
    return named


def write(file: BinaryIO, arrays: Mapping[str, np.ndarray]) -> None:
    """Write ``arrays`` byte for byte as ``mx.nd.save`` writes a dictionary of arrays in the host's memory."""
    file.write(struct.pack("<QQQ", LIST_MAGIC, 0, len(arrays)))
    for array in arrays.values():
        dtype = array.dtype.newbyteorder("<")
        file.write(struct.pack(f"<Iii{array.ndim}q", V2, 0, array.ndim, *array.shape))
        file.write(struct.pack("<iii", 1, 0, FLAGS[dtype]))
        file.write(np.ascontiguousarray(array, dtype).data)
    file.write(struct.pack("<Q", len(arrays)))
    for name in arrays:
        data = name.encode()
        file.write(struct.pack("<Q", len(data)) + data)
