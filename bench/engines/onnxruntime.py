"""Exported nets in ONNX Runtime, for :mod:`bench.engines.measure`. Imported in workers only.

It has no objective: its pictures are compared with the reference's (``python -m bench parity``), not scored.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bench.engines import measure
from bench.machine import meters
from bench.plan import engines
from bench.plan.cells import Budget, Cell, Settings
from bench.run.worker import Context
from nst_gluon.nets import inputs as net_inputs
from nst_gluon.nets import netfile, onnx_export
from nst_gluon.system import runtime
from nst_gluon.system.errors import UserError

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
        meta: the net file's description.
        parameter_count: learnt parameters, running statistics not counted.
    """

    def __init__(self, path: Path, backend: OnnxRuntime):
        params, self.meta = netfile.load(path)
        self.parameter_count = sum(v.size for k, v in params.items() if not k.endswith(("running_mean", "running_var")))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = runtime.engine_threads(), 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3  # errors; its warnings are advice for builders
        model = onnx_export.build(params, self.meta).SerializeToString()
        self._session = onnxruntime.InferenceSession(model, options, providers=backend.providers)
        self._names = [given.name for given in self._session.get_inputs()]
        self._place = (backend.device.kind.replace("gpu", "cuda"), backend.device.index)

    def inputs(
        self, content: np.ndarray | None = None, size: tuple[int, int] | None = None, batch: int = 1, seed: int = 0
    ) -> tuple:
        """Values on the device for :meth:`forward`, see :func:`nst_gluon.nets.inputs.arrays`."""
        arrays = net_inputs.arrays(self.meta, content, size, batch, seed)
        place = onnxruntime.OrtValue.ortvalue_from_numpy
        return tuple(place(np.ascontiguousarray(array, dtype="float32"), *self._place) for array in arrays)

    def forward(self, *inputs: Any) -> np.ndarray:
        """One pass of the net: (N, 3, H', W') at the working size, clipped to [0, 1], on the host."""
        return self._session.run_with_ort_values(None, dict(zip(self._names, inputs)))[0].numpy()

    def generate(
        self, content: np.ndarray | None = None, size: tuple[int, int] | None = None, seed: int = 0
    ) -> np.ndarray:
        """Pictures (N, 3, H, W), float32 in [0, 1]: of the content's size, or of ``size`` for textures."""
        height, width = size or content.shape[2:]
        out = self.forward(*self.inputs(content, size, 1 if content is None else content.shape[0], seed))
        return out[:, :, :height, :width]


def execute(cell: Cell, settings: Settings, budget: Budget, context: Context) -> dict[str, Any]:
    """Measure ``cell``; returns facts for its record."""
    host = meters.HostMeter()
    return measure.execute(OnnxRuntime(cell.device, cell.dtype, cell.seed), host, cell, settings, budget, context)
