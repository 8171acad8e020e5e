"""The suite's own methods on MXNet/Gluon, for :mod:`bench.engines.measure`. Imported in workers only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bench.engines import measure
from bench.machine import meters
from nst_gluon.descriptor.vgg import Descriptor
from nst_gluon.descriptor.weights import VggWeights
from nst_gluon.nets.trained_net import TrainedNet, load_net
from nst_gluon.objective.loss import Objective
from nst_gluon.objective.presets import Preset
from nst_gluon.system import runtime
from nst_gluon.system.engine import context as device_context
from nst_gluon.system.engine import mx


class Gluon(measure.Backend):
    """The backend: see :class:`bench.engines.measure.Backend`."""

    synchronise = staticmethod(mx.nd.waitall)

    def __init__(self, device: str, dtype: str, seed: int = 0, options: dict[str, str] | None = None):
        self.device, self.dtype, self.context = device, dtype, device_context(device)
        mx.random.seed(seed)
        np.random.seed(seed)

    def meter(self, host: meters.HostMeter) -> meters.HostMeter | meters.GpuMeter:
        """Memory of this process, or of the GPU."""
        if self.context.device_type == "cpu":
            return host
        # Makes the CUDA context, which is no one method's need.
        mx.nd.zeros((1,), ctx=self.context).wait_to_read()
        gpu = runtime.find_gpu(runtime.parse_device(self.device))

        def empty_cache() -> None:
            mx.nd.waitall()
            self.context.empty_cache()

        return meters.GpuMeter(
            gpu.nvml_index,
            device_memory=lambda: mx.context.gpu_memory_info(self.context.device_id),
            empty_cache=empty_cache,
        )

    def generator(self, net_file: Path) -> TrainedNet:
        return load_net(net_file, self.context, self.dtype)

    def objective(
        self,
        preset: Preset,
        descriptor: VggWeights,
        task: str,
        style: np.ndarray,
        content: np.ndarray | None,
        dtype: str = "float32",
        segments: int = 1,
    ) -> Objective:
        return Objective(preset, descriptor, task, style, content, dtype=dtype, ctx=self.context, segments=segments)

    def activations(self, descriptor: VggWeights, layers: list[str], pooling: str, picture: np.ndarray) -> list:
        """Named activations of a picture, numpy, in the order of ``layers``."""
        describe = Descriptor(descriptor, layers, pooling, self.dtype, self.context)
        return [found.asnumpy() for found in describe(mx.nd.array(picture, ctx=self.context, dtype="float32"))]

    def fetch(self, array: Any) -> np.ndarray:
        """An array on the host; what is there already, as it is."""
        return array.asnumpy() if isinstance(array, mx.nd.NDArray) else np.array(array)
