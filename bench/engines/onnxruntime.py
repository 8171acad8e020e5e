"""Exported nets in ONNX Runtime, for :mod:`bench.engines.measure`. Imported in workers only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.engines import exported
from bench.machine import meters
from bench.plan import engines
from nst_gluon.nets import sessions
from nst_gluon.system import runtime
from nst_gluon.system.errors import UserError

onnxruntime, _ = engines.get("onnxruntime").packages_loaded()


class OnnxRuntime(exported.Backend):
    """The backend: see :class:`bench.engines.measure.Backend`."""

    def __init__(self, device: str, dtype: str, seed: int = 0, options: dict[str, str] | None = None):
        self.device = runtime.parse_device(device)
        self.provider, where = "CPUExecutionProvider", {}
        if self.device.kind == "gpu":
            self.provider, where = "CUDAExecutionProvider", {"device_id": self.device.index, "use_tf32": 0}
            if self.provider not in onnxruntime.get_available_providers():
                raise UserError(f"--device {device}: this ONNX Runtime has no CUDA; use --device cpu")
        self.providers = [(self.provider, where)]

    def meter(self, host: meters.HostMeter) -> Any:
        """Memory of this process, or of the GPU."""
        if self.device.kind == "cpu":
            return host
        return meters.GpuMeter(runtime.gpu_devices()[self.device.index].nvml_index)

    def generator(self, net_file: Path) -> Generator:
        return Generator(net_file, self)


class Generator(exported.Generator):
    """A trained net in a session of ONNX Runtime."""

    def __init__(self, path: Path, backend: OnnxRuntime):
        super().__init__(path)
        with exported.explained(f"the net {str(path)!r} cannot be loaded by ONNX Runtime"):
            self._session = sessions.onnxruntime(self.model, backend.providers)
        self._place = (backend.device.kind.replace("gpu", "cuda"), backend.device.index)

    def given(self) -> Sequence[tuple[str, Sequence[Any]]]:
        return [(given.name, given.shape) for given in self._session.get_inputs()]

    def placed(self, arrays: Sequence[np.ndarray]) -> tuple:
        return tuple(onnxruntime.OrtValue.ortvalue_from_numpy(array, *self._place) for array in arrays)

    def forward(self, *inputs: Any) -> np.ndarray:
        feeds = {name: value for (name, _), value in zip(self.given(), inputs)}
        return self._session.run_with_ort_values(None, feeds)[0].numpy()
