"""NumPy's ``.npz`` and Keras's ``.h5`` files: named arrays, described before they are read."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from nst_gluon.descriptor.weights.entries import Entry, Refused
from nst_gluon.system.errors import UserError
from nst_gluon.system.files import printable

#: A header of ours has about 120 bytes; numpy itself refuses more than this since 1.24.
MAX_HEADER_BYTES = 10_000


def _npy_header(stream: io.BufferedIOBase, name: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, Fortran order and element type of the ``.npy`` in ``stream``, which is left at its data."""
    try:
        version = np.lib.format.read_magic(stream)
        width = {(1, 0): 2, (2, 0): 4}[version]
        raw = stream.read(width)
        length = int.from_bytes(raw, "little")
        if len(raw) != width or length > MAX_HEADER_BYTES:
            raise ValueError("header")
        header = io.BytesIO(raw + stream.read(length))
        reader = np.lib.format.read_array_header_1_0 if width == 2 else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = reader(header)
    except (ValueError, KeyError, TypeError, SyntaxError, RecursionError, MemoryError):
        raise Refused(f"{printable(name, 60)} is not an array of a supported kind") from None
    if dtype.hasobject or dtype.names or dtype.subdtype:
        raise Refused(f"{printable(name, 60)} holds Python objects or records, not numbers")
    if any(type(n) is not int or n < 0 for n in shape):
        raise Refused(f"{printable(name, 60)} has a senseless shape")
    return shape, fortran, dtype


def read_npz(archive: zipfile.ZipFile) -> dict[str, Entry]:
    """The arrays of an ``.npz``; pickled objects are refused. Raises :class:`Refused`."""
    entries = {}
    for member in archive.infolist():
        if not member.filename.endswith(".npy"):
            continue
        with archive.open(member) as stream:
            shape, _fortran, dtype = _npy_header(stream, member.filename)

        def read(member: zipfile.ZipInfo = member) -> np.ndarray:
            with archive.open(member) as stream:
                shape, fortran, dtype = _npy_header(stream, member.filename)
                length = math.prod(shape) * dtype.itemsize
                raw = stream.read(length) if length <= member.file_size else b""
            if len(raw) != length:
                raise Refused(f"{printable(member.filename, 60)} is truncated")
            return np.frombuffer(raw, dtype).reshape(shape, order="F" if fortran else "C")

        entries[member.filename[: -len(".npy")]] = Entry(shape, dtype, read)
    return entries


@contextmanager
def open_h5(path: Path) -> Iterator[dict[str, Entry]]:
    """The data sets of an HDF5 file by path; nothing in other files is followed. Raises :class:`Refused`."""
    try:
        import h5py
    except ImportError:
        raise UserError(f"weights {path}: Keras's .h5 files need h5py: pip install h5py") from None
    entries: dict[str, Entry] = {}
    with h5py.File(path, "r") as file:

        def visit(name: str, item: object) -> None:
            if not isinstance(item, h5py.Dataset):
                return
            if item.external is not None or item.is_virtual:
                raise Refused(f"{printable(name, 60)} keeps its values in another file")
            shape = item.shape
            if shape is None or item.dtype.kind not in "fiu":
                return

            def read() -> np.ndarray:
                return item[()]

            entries[name] = Entry(tuple(shape), item.dtype, read)

        file.visititems(visit)
        yield entries
