"""The suite's methods in PyTorch, for :mod:`bench.engines.measure`. Imported in workers only."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.engines import measure
from bench.engines.pytorch import devices
from bench.engines.pytorch.descriptor import Descriptor
from bench.engines.pytorch.library import torch
from bench.engines.pytorch.minimisers import MINIMISERS
from bench.engines.pytorch.nets import Generator
from bench.engines.pytorch.objective import Objective
from bench.machine import meters
from bench.plan import engines
from nst_gluon.descriptor.weights import VggWeights
from nst_gluon.objective.presets import Preset
from nst_gluon.system import runtime
from nst_gluon.system.errors import UserError


class PyTorch(measure.Backend):
    """The backend: see :class:`bench.engines.measure.Backend`. ``options`` are those of the registry."""

    def __init__(self, device: str, dtype: str, seed: int = 0, options: dict[str, str] | None = None):
        self.options = engines.get("pytorch").settle(options or {})
        self.name, self.dtype = device, dtype
        self.device = devices.settle(device)
        self.minimise = MINIMISERS[self.options["lbfgs"]]
        self.compiled = self.options["compile"] == "yes"
        if self.compiled and self.device == "cpu" and not any(map(shutil.which, ("g++", "clang++"))):
            raise UserError("--engine-option: pytorch.compile=yes needs a C++ compiler on a CPU; there is none here")
        self._facts: dict[str, Any] = {"options": self.options}

    def synchronise(self) -> None:
        devices.synchronise(self.device)

    def meter(self, host: meters.HostMeter) -> Any:
        """Memory of this process, or of the GPU."""
        if self.device == "cpu":
            return host
        gpu = runtime.find_gpu(runtime.parse_device(self.name))
        return devices.GpuMeter(self.device, gpu.nvml_index)

    def place(self, picture: np.ndarray) -> torch.Tensor:
        """A picture as a tensor on the device: there the optimiser's vectors are, too."""
        return torch.from_numpy(np.array(picture, dtype="float32")).to(self.device)

    def fetch(self, array: Any) -> np.ndarray:
        """A tensor on the host, for good: what is computed later does not change it."""
        return array.detach().cpu().numpy().copy() if isinstance(array, torch.Tensor) else np.array(array)

    def generator(self, net_file: Path) -> Generator:
        """A trained net; its layout is settled when inputs are asked for."""
        return LaidOut(net_file, self)

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
        """The common objective; the layout is tried on the style picture."""

        def make(layout: Any, content: np.ndarray | None, compiled: bool = False) -> Objective:
            return Objective(preset, descriptor, task, style, content, dtype, self.device, layout, segments, compiled)

        def trial(layout: Any) -> Callable[[], Any]:
            made, at = make(layout, style if content is not None else None), self.place(style)
            return lambda: made.value_and_gradient(at)

        return make(self.layout(f"objective, {dtype}", trial), content, self.compiled)

    def activations(self, descriptor: VggWeights, layers: list[str], pooling: str, picture: np.ndarray) -> list:
        """Named activations of a picture, numpy, in the order of ``layers``."""
        with torch.no_grad():
            found = Descriptor(descriptor, layers, pooling, self.dtype).to(self.device)(self.place(picture))
        return [self.fetch(found[name]) for name in layers]

    def device_seconds(self, forward: Callable[[], Any], calls: int) -> list[float]:
        return [] if self.device == "cpu" else devices.event_seconds(forward, calls, self.device)

    def layout(self, what: str, trial: Callable[[Any], Callable[[], Any]]) -> Any:
        """The memory format for ``what``, as the options say or by trial; remembered for the record."""
        name, seconds = devices.choose_layout(self.options["layout"], trial, self.device)
        self._facts.setdefault("layouts", {})[what] = {"chosen": name, "seconds": seconds}
        return devices.LAYOUTS[name]

    def facts(self) -> dict[str, Any]:
        return {"pytorch": self._facts}


class LaidOut(Generator):
    """A net in the layout that suits its first inputs, which is settled when they are asked for, off every clock."""

    def __init__(self, path: Path, backend: PyTorch):
        super().__init__(path, backend.device, backend.dtype)
        self._backend, self._settled = backend, False

    def inputs(
        self, content: np.ndarray | None = None, size: tuple[int, int] | None = None, batch: int = 1, seed: int = 0
    ) -> tuple:
        """As :meth:`Generator.inputs`."""
        if not self._settled:
            self._settled = True

            def trial(layout: Any) -> Callable[[], Any]:
                self.lay_out(layout)
                tried = Generator.inputs(self, content, size, batch, seed)
                return lambda: self.forward(*tried)

            self.lay_out(self._backend.layout("net", trial))
            if self._backend.compiled:
                self.compile()
        return super().inputs(content, size, batch, seed)
