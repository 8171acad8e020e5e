"""Exported nets in ONNX Runtime, for :mod:`bench.engines.measure`. Imported in workers only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.engines import exported, measure
from bench.machine import meters
from bench.plan import engines
from nst_gluon.nets import sessions
from nst_gluon.system import runtime
from nst_gluon.system.errors import UserError

onnxruntime, _ = engines.get("onnxruntime").packages_loaded()


class OnnxRuntime(measure.Backend):
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
        # Makes the CUDA context, which is no one method's need.
        onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros(1, "float32"), "cuda", self.device.index)
        return meters.GpuMeter(runtime.find_gpu(self.device).nvml_index)

    def generator(self, net_file: Path) -> Generator:
        return Generator(net_file, self)


class OnDevice:
    """An array on a GPU, as numpy where it is looked at."""

    def __init__(self, value: Any):
        self._value = value

    def __array__(self, *arguments: Any, **keywords: Any) -> np.ndarray:
        return self._value.numpy()

    def __getitem__(self, where: Any) -> np.ndarray:
        return self._value.numpy()[where]


class Generator(exported.Generator):
    """A trained net in a session of ONNX Runtime."""

    def __init__(self, path: Path, backend: OnnxRuntime):
        super().__init__(path)
        with exported.explained(f"the net {str(path)!r} cannot be loaded by ONNX Runtime"):
            self._session = sessions.onnxruntime(self.model, backend.providers)
        self._on_host = backend.device.kind == "cpu"
        self._place = ("cpu" if self._on_host else "cuda", backend.device.index)

    def given(self) -> Sequence[tuple[str, Sequence[Any]]]:
        return [(given.name, given.shape) for given in self._session.get_inputs()]

    def placed(self, arrays: Sequence[np.ndarray]) -> tuple:
        return tuple(onnxruntime.OrtValue.ortvalue_from_numpy(array, *self._place) for array in arrays)

    def forward(self, *inputs: Any) -> Any:
        feeds = {name: value for (name, _), value in zip(self.given(), inputs)}
        if self._on_host:
            return self._session.run_with_ort_values(None, feeds)[0].numpy()
        binding = self._session.io_binding()
        for name, value in feeds.items():
            binding.bind_ortvalue_input(name, value)
        binding.bind_output(self._session.get_outputs()[0].name, *self._place)
        self._session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        return OnDevice(binding.get_outputs()[0])
