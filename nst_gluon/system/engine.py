"""The one place that imports MXNet: ``from nst_gluon.system.engine import mx``.

Settles threads and environment first, loads the CUDA libraries that a CUDA build needs, and keeps the
warnings of dependencies off the terminal. Raises EngineMissing, in one line with what to do, where MXNet
cannot be imported.
"""

from __future__ import annotations

import ctypes
import importlib
import sys
from types import ModuleType

import numpy as np

from nst_gluon.system import lazily, runtime
from nst_gluon.system.errors import EngineMissing


def _explain(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    if "libcuda.so" in text:
        return (
            "no engine: mxnet-cu112 needs NVIDIA's driver (libcuda.so.1), which this machine lacks: install "
            "it, or python -m pip uninstall -y mxnet-cu112 && python -m pip install -e '.[cpu]'"
        )
    if ".so." in text and runtime.engine_distribution() == "mxnet-cu112":
        return f"no engine: a CUDA 11 library is missing ({text}): python -m pip install -e '.[cu112]'"
    return f"no engine: MXNet cannot be imported ({text}): in a fresh environment, {runtime.INSTALL}"


def _load() -> ModuleType:
    if sys.modules.get("mxnet") is None:
        reason = runtime.engine_problem()
        if reason:
            raise EngineMissing(reason)
    runtime.prepare()
    if runtime.engine_distribution() == "mxnet-cu112":
        runtime.preload_cuda_libraries()
    try:
        lazily.put_off(lazily.UNNEEDED)
        with runtime.quiet_import(), lazily.quick():
            return importlib.import_module("mxnet")
    except (ImportError, OSError, AttributeError) as error:
        raise EngineMissing(_explain(error)) from error


mx = _load()


def context(device: runtime.Device | str) -> mx.Context:
    """MXNet's context for a device; a UserError, in one line, if this engine cannot compute there."""
    if isinstance(device, str):
        device = runtime.parse_device(device)
    runtime.check_device(device)
    return mx.Context(device.kind, device.index)


def fetch(array: mx.nd.NDArray, out: np.ndarray) -> None:
    """Copy ``array`` into a contiguous array of its shape and type: ``asnumpy`` without new memory each time."""
    data, count = out.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(out.size)
    mx.base.check_call(mx.base._LIB.MXNDArraySyncCopyToCPU(array.handle, data, count))
