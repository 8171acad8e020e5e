"""Exported nets in ONNX Runtime, for :mod:`bench.engines.measure`. Imported in workers only.

It has no objective: its pictures are compared with the reference's (``python -m bench parity``), not scored.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench.engines import measure
from bench.engines.context import Context
from bench.machine import meters
from bench.plan import engines
from bench.plan.budgets import Budget
from bench.plan.cells import Cell, Settings
from nst_gluon.methods.description import Net
from nst_gluon.nets import foreign, netfile, onnx_export
from nst_gluon.nets import inputs as net_inputs
from nst_gluon.system import runtime
from nst_gluon.system.errors import UserError
from nst_gluon.system.files import one_line

FLOAT = 1  # the number of float32 among ONNX's types
onnxruntime, _ = engines.get("onnxruntime").packages_loaded()


class OnnxRuntime(measure.Defaults):
    """The backend: see :class:`bench.engines.measure.Backend`."""

    def __init__(self, device: str, dtype: str, seed: int = 0, options: dict[str, str] | None = None):
        self.device = runtime.parse_device(device)
        self.provider, where = "CPUExecutionProvider", {}
        if self.device.kind == "gpu":
            self.provider, where = "CUDAExecutionProvider", {"device_id": self.device.index, "use_tf32": 0}
            if self.provider not in onnxruntime.get_available_providers():
                raise UserError(f"--device {device}: this ONNX Runtime has no CUDA; use --device cpu")
        self.providers = [(self.provider, where)]

    def synchronise(self) -> None:
        """Nothing to wait for: a call returns when it is done."""

    def meter(self, host: meters.HostMeter) -> Any:
        """Memory of this process, or of the GPU."""
        if self.device.kind == "cpu":
            return host
        return meters.GpuMeter(runtime.gpu_devices()[self.device.index].nvml_index)

    def generator(self, net_file: Path) -> Generator:
        return Generator(net_file, self)

    def objective(self, *arguments: Any) -> None:
        """There is none."""

    def fetch(self, array: Any) -> np.ndarray:
        """An array on the host, for good."""
        return np.array(array)


class Generator:
    """A trained net, exported when it is loaded, in a session of ONNX Runtime.

    Attributes:
        description: the net as data; meta: what its file says of it.
        parameter_count: learnt parameters, running statistics not counted.
    """

    def __init__(self, path: Path, backend: OnnxRuntime):
        model, self.description, self.meta, self.parameter_count = _read(path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = runtime.engine_threads(), 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3  # errors; its warnings are advice for builders
        with _explained(f"the net {str(path)!r} cannot be loaded by ONNX Runtime"):
            self._session = onnxruntime.InferenceSession(model, options, providers=backend.providers)
        self._given = self._session.get_inputs()
        self._place = (backend.device.kind.replace("gpu", "cuda"), backend.device.index)

    def inputs(
        self, content: np.ndarray | None = None, size: tuple[int, int] | None = None, batch: int = 1, seed: int = 0
    ) -> tuple:
        """Values on the device for :meth:`forward`, see :func:`nst_gluon.nets.inputs.arrays`."""
        arrays = net_inputs.arrays(self.description, content, size, batch, seed)
        for given, array in zip(self._given, arrays):
            if any(isinstance(side, int) and side != there for side, there in zip(given.shape, array.shape)):
                raise UserError(f"--net: its {given.name} is {given.shape}, never {list(array.shape)}")
        place = onnxruntime.OrtValue.ortvalue_from_numpy
        return tuple(place(np.ascontiguousarray(array, dtype="float32"), *self._place) for array in arrays)

    def forward(self, *inputs: Any) -> np.ndarray:
        """One pass of the net: (N, 3, H', W') at the working size, on the host."""
        feeds = {given.name: value for given, value in zip(self._given, inputs)}
        return self._session.run_with_ort_values(None, feeds)[0].numpy()

    def generate(
        self, content: np.ndarray | None = None, size: tuple[int, int] | None = None, seed: int = 0
    ) -> np.ndarray:
        """Pictures (N, 3, H, W), float32 in [0, 1]: of the content's size, or of ``size`` for textures."""
        height, width = size or content.shape[2:]
        out = self.forward(*self.inputs(content, size, 1 if content is None else content.shape[0], seed))
        return np.clip(out[:, :, :height, :width], 0.0, 1.0)


def _read(path: Path) -> tuple[bytes, Net, dict[str, Any], int]:
    """A net as an ONNX model, as data, its meta, and how many parameters it has.

    Of a model from elsewhere, whose layers are not known, all constants count.
    """
    if foreign.is_onnx(path):
        model, meta = foreign.onnx_file(path)
        count = sum(math.prod(constant.dims) for constant in model.graph.initializer if constant.data_type == FLOAT)
        return model.SerializeToString(), netfile.net_of(meta, str(path)), meta, count
    net, params, meta = netfile.checked(path)
    return onnx_export.build(net, params, meta).SerializeToString(), net, meta, net.parameter_count


@contextlib.contextmanager
def _explained(what: str) -> Iterator[None]:
    """Errors of ONNX Runtime, which have no class in common, as a UserError of one line."""
    try:
        yield
    except Exception as error:
        raise UserError(f"{what}: {one_line(error)[:200]}") from None


def execute(cell: Cell, settings: Settings, budget: Budget, context: Context) -> dict[str, Any]:
    """Measure ``cell``; returns facts for its record."""
    host = meters.HostMeter()
    return measure.execute(OnnxRuntime(cell.device, cell.dtype, cell.seed), host, cell, settings, budget, context)
