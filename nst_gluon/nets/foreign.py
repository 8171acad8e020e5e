"""Nets that other programs wrote: state dictionaries of PyTorch that a method recognises, and ONNX files. No engine.

    state dictionary   .pth (both of torch's formats), .npz, .h5 or .params: becomes a net of the method whose layers
                       it has, which every engine runs
    ONNX file          stays a graph, which ONNX Runtime runs and no other engine

Nothing that a file says is executed.
"""

from __future__ import annotations

import json
import os
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nst_gluon import methods
from nst_gluon.descriptor.weights.formats import opened
from nst_gluon.descriptor.weights.ndarrays import LIST_MAGIC
from nst_gluon.methods.base import Generator
from nst_gluon.methods.description import MAX_PARAMETERS, describe
from nst_gluon.methods.onnx_file import OnnxFile
from nst_gluon.system.errors import UserError
from nst_gluon.system.files import PathLike, one_line, printable, quoted, reading

INSTALL = "python -m pip install -e '.[onnx]'"
# Prefixes that wrappers of modules put before every name.
WRAPPERS = ("module.", "model.")
SHOWN = 3


def is_state_dictionary(path: PathLike, own: str) -> bool:
    """Whether a file begins as a state dictionary does, and is no archive with a member called ``own``."""
    with reading(path) as file:
        start = file.read(4)
    if start != b"PK\x03\x04":
        return start[:1] == b"\x80" or start in (b"\x89HDF", struct.pack("<I", LIST_MAGIC))
    try:
        with zipfile.ZipFile(path) as archive:
            return own not in archive.namelist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError):
        return False


def is_onnx(path: PathLike) -> bool:
    """Whether a file is taken for an ONNX file: by its name, since the format has no mark of its own."""
    return Path(path).suffix.lower() == ".onnx"


def state_dictionary(path: PathLike) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """A state dictionary as :func:`nst_gluon.nets.netfile.load` returns nets: (parameters, meta).

    Raises UserError when the file is damaged or hostile, or when no method recognises its names and shapes.
    """
    where = f"the net {quoted(path)}"
    with opened(path, where) as (entries, _):
        entries = _unwrapped(entries)
        shapes = {name: tuple(entry.shape) for name, entry in entries.items()}
        method, architecture, keys = _recognised(shapes, where)
        describe(method, architecture, where).check({own: shapes[key] for own, key in keys.items()}, where)
        params = {own: entries[key].read() for own, key in keys.items()}
    for name, array in params.items():
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            raise UserError(f"{where} is damaged: {keys[name]!r} has values that are not numbers")
    meta = {"method": method.name, "task": method.tasks[0], "style": Path(path).stem, "architecture": architecture}
    return {name: array.astype(np.float32) for name, array in params.items()}, meta


def _unwrapped(entries: Mapping[str, Any]) -> Mapping[str, Any]:
    for prefix in WRAPPERS:
        if entries and all(name.startswith(prefix) for name in entries):
            return {name[len(prefix) :]: entry for name, entry in entries.items()}
    return entries


def _recognised(shapes: Mapping[str, tuple[int, ...]], where: str) -> tuple[Any, dict[str, Any], dict[str, str]]:
    """The method whose net has arrays of these shapes, its architecture, and the arrays' names by parameter."""
    tried = []
    for method in methods.loaded():  # reading a file executes nothing that others wrote
        if isinstance(method, Generator) and type(method).recognise is not Generator.recognise:
            tried.append(method.title)
            try:
                found = method.recognise(shapes)
            except UserError as error:
                raise UserError(f"{where}: {error}") from None
            if found is not None:
                return (method, *found)
    names = ", ".join(sorted(shapes)[:SHOWN]) + (", ..." if len(shapes) > SHOWN else "")
    raise UserError(
        f"{where} has no description ('meta') and its arrays ({printable(names)}) are not those of a net that is known "
        f"without one: {', '.join(tried)}"
    )


def onnx_file(path: PathLike) -> tuple[Any, dict[str, Any]]:
    """An ONNX file as (``onnx.ModelProto``, meta).

    One that the suite exported says itself what its inputs are. Any other must take one input (N, 3, H, W), which is
    taken to be the content, RGB in [0, 1].

    Raises UserError when the package ``onnx`` is missing, and when the file is damaged or takes something else.
    """
    where = f"the net {quoted(path)}"
    try:
        import onnx
    except ImportError:
        raise UserError(f"{where}: an ONNX file needs the package onnx: {INSTALL}") from None
    try:
        if os.path.getsize(path) > 4 * MAX_PARAMETERS:
            raise UserError(f"{where} has more than {MAX_PARAMETERS:,} parameters, which no net for pictures has")
        model = onnx.load(os.fspath(path), load_external_data=False)
        onnx.checker.check_model(model)
    except UserError:
        raise
    except Exception as error:  # a damaged file makes protobuf and the checker raise nearly anything
        raise UserError(f"{where} is not a valid ONNX file: {one_line(error)[:200]}") from None
    constants = {constant.name for constant in model.graph.initializer}
    if any(onnx.external_data_helper.uses_external_data(constant) for constant in model.graph.initializer):
        raise UserError(f"{where} keeps its parameters in another file; save it as one file")
    props = {prop.key: prop.value for prop in model.metadata_props}
    meta = {"method": OnnxFile.name, "task": "stylize", "style": Path(path).stem}
    if {"task", "style", "layers"} <= set(props) and model.producer_name == "nst-gluon":
        try:
            architecture = {"layers": json.loads(props["layers"])}
        except (ValueError, RecursionError):
            raise UserError(f"{where} is damaged: its layers are not JSON") from None
        return model, {**meta, "task": props["task"], "style": props["style"], "architecture": architecture}
    given = [value for value in model.graph.input if value.name not in constants]
    if len(given) != 1 or not _is_picture(given[0]):
        takes = printable(", ".join(f"{value.name} {_shape(value)}" for value in given) or "nothing")
        raise UserError(f"{where} takes {takes}; known is one input of float32 (N, 3, H, W), the content")
    return model, {**meta, "architecture": {}}


def _shape(value: Any) -> tuple[int | str, ...]:
    """The shape of an input; what is not fixed is a name."""
    return tuple(dim.dim_value or dim.dim_param or "?" for dim in value.type.tensor_type.shape.dim)


def _is_picture(value: Any) -> bool:
    shape = _shape(value)
    return value.type.tensor_type.elem_type == 1 and len(shape) == 4 and shape[1] == 3
