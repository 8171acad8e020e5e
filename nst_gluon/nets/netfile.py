"""The file of a trained net: an .npz of named arrays and a JSON text; nothing in it is ever executed.

Every parameter is an array under its own name, in float16 or float32. The array ``meta`` (uint8) is a JSON
object in UTF-8: format, method, task, style, architecture, preset, size, seed, iterations, final_objective,
weights, command.
"""

from __future__ import annotations

import io
import json
import math
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nst_gluon import methods
from nst_gluon.methods import description
from nst_gluon.methods.description import Net
from nst_gluon.nets import foreign
from nst_gluon.objective import presets
from nst_gluon.system.documents import NUMBER, check, parse
from nst_gluon.system.errors import NotFinite, UserError
from nst_gluon.system.files import PathLike, one_line, quoted, write_atomically

FORMAT = 2
READS = (1, 2)  # in format 1, presets had other names
META = "meta"
# The papers' nets have 0.07 to 1.7 million parameters, 7 MB; a file that unpacks to more than this is no net.
MAX_BYTES = 256 * 2**20

# What the fields of a description are, where it has them and they are not null.
_FIELDS = {
    **dict.fromkeys(("method", "task", "style", "preset"), str), **dict.fromkeys(("size", "seed", "iterations"), int),
    "more_sizes": [int],
}  # fmt: skip
_META = {
    **_FIELDS, "training": _FIELDS, "held_out": NUMBER, "final_objective": {"*!": NUMBER},
    **dict.fromkeys(("architecture", "start", "weights"), dict),
}  # fmt: skip

_RIGHT = "give a net that `python -m nst_gluon train` wrote, or one from elsewhere as a .pth or .onnx file"


def save(path: PathLike, params: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> Path:
    """Write a trained net, whole or not at all; returns the path.

    params: arrays of floats by name. Weights (two axes or more) are stored in float16; vectors (biases, scales, batch
    statistics), which are small and whose range matters, and arrays that overflow it stay float32.
    meta: what JSON can hold; ``"format"`` is added.

    The same arguments give the same bytes. Raises UserError when the file cannot be written, NotFinite when a parameter
    is NaN or infinite.
    """
    arrays = {}
    for name, value in params.items():
        array = np.asarray(value)
        if not np.isfinite(array).all():
            raise NotFinite(f"parameter {name!r} has values that are NaN or infinite")
        arrays[name] = _stored(array)
    text = json.dumps({**meta, "format": FORMAT}, ensure_ascii=False, allow_nan=False, sort_keys=True)
    arrays[META] = np.frombuffer(text.encode("utf-8", "backslashreplace"), np.uint8)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy")  # dated 1980: the same net is the same file
            entry.compress_type = zipfile.ZIP_DEFLATED
            member = io.BytesIO()
            np.lib.format.write_array(member, array, version=(1, 0), allow_pickle=False)
            archive.writestr(entry, member.getvalue())
    return write_atomically(path, stream.getvalue())


def load(path: PathLike) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read a trained net: (parameters as float32 by name, meta).

    Of the suite's own format, or a state dictionary that a method recognises (:mod:`nst_gluon.nets.foreign`). Nothing
    in the file is executed, and nothing larger than MAX_BYTES is unpacked. Raises UserError when the file is missing,
    damaged, too large, or no such net.
    """
    _check_file(path)
    if foreign.is_onnx(path):
        raise UserError(f"the net {quoted(path)} is an ONNX file, which only `bench run --engine onnxruntime` runs")
    try:
        others = foreign.is_state_dictionary(path, f"{META}.npy")
    except OSError as error:
        raise UserError(f"the net {quoted(path)} cannot be read: {one_line(error)}; {_RIGHT}") from error
    if others:
        return foreign.state_dictionary(path)
    if not zipfile.is_zipfile(path):
        raise UserError(f"the net {quoted(path)} is damaged, or is no .npz, .pth or .onnx file at all; {_RIGHT}")
    try:
        arrays = _read(path)
        meta = parse(arrays.pop(META).tobytes()) if META in arrays else None
    except UserError:
        raise
    except Exception as error:  # a damaged archive makes zipfile, zlib, numpy and json raise nearly anything
        raise UserError(f"the net {quoted(path)} is damaged: {one_line(error)}; {_RIGHT}") from error
    if not isinstance(meta, dict):
        raise UserError(f"{quoted(path)} is not a trained net: it has no description ({META!r}); {_RIGHT}")
    if meta.get("format") not in READS:
        raise UserError(f"the net {quoted(path)} has format {meta.get('format')!r}, not {FORMAT}; {_RIGHT}")
    _check_fields(meta, path)
    for part in (meta, meta.get("training") or {}):
        if part.get("preset") is not None:
            part["preset"] = presets.recorded(part["preset"], meta["format"])
    if not arrays:
        raise UserError(f"the net {quoted(path)} has no parameters; {_RIGHT}")
    params = {}
    for name, array in arrays.items():
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            raise UserError(
                f"the net {quoted(path)} is damaged: {name!r} has values that are not numbers; {_RIGHT}"
            )
        params[name] = array.astype(np.float32)
    return params, meta


def describe(path: PathLike) -> dict[str, Any]:
    """The meta alone, as :func:`load` returns it; of an ONNX file too."""
    _check_file(path)
    return foreign.onnx_file(path)[1] if foreign.is_onnx(path) else load(path)[1]


class _Unknown(methods.Generator):
    """The method of a net whose file has its layers, because they were somebody's own."""

    def __init__(self, name: str, task: str, layers: Any, where: str):
        self.name, self.tasks, self.title = name, (task,), name
        self.description, self.paper = "a net of a method that does not come with the suite", "unknown"
        self._net = Net.from_data(layers, where)

    def architecture(self, task: str) -> dict[str, Any]:
        raise UserError(f"--method: {self.name} does not come with the suite; give {methods.FORMS}")

    def net(self, **architecture: Any) -> Net:
        return self._net


def method_of(meta: Mapping[str, Any], where: str) -> methods.Method:
    """The method of a file's meta; of one that nobody knows and whose layers the file has, one that can make pictures.

    Raises UserError when nobody knows it.
    """
    name, known = str(meta.get("method")), {method.name: method for method in methods.loaded()}
    if name not in known and meta.get("task") in methods.TASKS and "layers" in meta and name.isidentifier():
        return _Unknown(name, meta["task"], meta["layers"], where)
    try:
        return methods.named(name)
    except UserError as error:
        raise UserError(f"{where}: {str(error).replace('--method: ', '')}") from None


def net_of(meta: Mapping[str, Any], where: str) -> Net:
    """The net that a file's meta describes. Raises UserError when its method or architecture is not known, or is not of
    its task."""
    method = method_of(meta, where)
    if not isinstance(method, methods.Generator):
        raise UserError(f"{where}: {method.name} optimises a picture and has no net")
    known = not isinstance(method, _Unknown)
    net = description.describe(method, meta.get("architecture"), where) if known else method.net()
    if net.takes_content and meta.get("task") == "texture":
        raise UserError(f"{where}: it is for textures, which are made from noise alone, and takes a content picture")
    return net


def checked(path: PathLike) -> tuple[Net, dict[str, np.ndarray], dict[str, Any]]:
    """A trained net as (description, parameters, meta), whose parameters are those of its description."""
    params, meta = load(path)
    net = net_of(meta, f"the net {quoted(path)}")
    net.check({name: value.shape for name, value in params.items()}, f"the net {quoted(path)}")
    return net, params, meta


def _check_file(path: PathLike) -> None:
    if not os.path.isfile(path):
        wrong = "is a folder" if os.path.isdir(path) else "does not exist"
        raise UserError(f"the net {quoted(path)} {wrong}; {_RIGHT}")


def _check_fields(meta: Mapping[str, Any], path: PathLike) -> None:
    """Raise UserError, in one line, for the first field that is not what it should be."""
    try:
        check(meta, _META, META)
        for part in (meta, meta.get("training") or {}):
            if any(side < 1 for side in part.get("more_sizes") or ()):
                raise ValueError("more_sizes has a side below 1")
    except ValueError as error:
        raise UserError(f"the net {quoted(path)} is damaged: {error}; {_RIGHT}") from None


def _stored(array: np.ndarray) -> np.ndarray:
    if array.ndim >= 2 and (array.size == 0 or np.abs(array).max() <= np.finfo(np.float16).max):
        return array.astype(np.float16)
    return array.astype(np.float32)


def _read(path: PathLike) -> dict[str, np.ndarray]:
    arrays = {}
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        total = sum(entry.file_size for entry in entries)
        if total > MAX_BYTES:
            raise UserError(
                f"the net {quoted(path)} would unpack to {total:,} bytes, "
                f"more than the limit of {MAX_BYTES:,}; {_RIGHT}"
            )
        for entry in entries:
            name = entry.filename[: -len(".npy")]
            if not name or not entry.filename.endswith(".npy") or name in arrays:
                raise ValueError(f"unexpected entry {entry.filename!r}")
            arrays[name] = _array(name, archive.read(entry))
    return arrays


def _array(name: str, data: bytes) -> np.ndarray:
    """One .npy member; its header is checked against the data, so that nothing is allocated on its word."""
    stream = io.BytesIO(data)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    shape, fortran, dtype = readers[np.lib.format.read_magic(stream)](stream)
    allowed = (np.dtype(np.uint8),) if name == META else (np.dtype("<f2"), np.dtype("<f4"))
    if dtype not in allowed:
        raise ValueError(f"{name!r} has the type {dtype}")
    if (
        fortran
        or any(side < 0 for side in shape)
        or math.prod(shape) * dtype.itemsize != len(data) - stream.tell()
    ):
        raise ValueError(f"{name!r} does not have the {shape} values it claims")
    return np.frombuffer(data, dtype, offset=stream.tell()).reshape(shape)
