"""Exported nets in OpenVINO, for :mod:`bench.engines.measure`. Imported in workers only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.engines import exported, measure
from bench.plan import engines
from nst_gluon.nets import sessions

openvino, _ = engines.get("openvino").packages_loaded()


class OpenVino(measure.Backend):
    """The backend: see :class:`bench.engines.measure.Backend`. On the CPU, tuned for the latency of one call."""

    def __init__(self, device: str, dtype: str, seed: int = 0, options: dict[str, str] | None = None):
        self.dtype = dtype

    def generator(self, net_file: Path) -> Generator:
        return Generator(net_file, self)


class Generator(exported.Generator):
    """A trained net, compiled for the shapes of the inputs that it got last: fixed shapes are its fastest."""

    def __init__(self, path: Path, backend: OpenVino):
        super().__init__(path)
        self._shapes, self._request = None, None
        with exported.explained(f"the net {str(path)!r} cannot be loaded by OpenVINO"):
            self._net = sessions.OpenVino(self.model, backend.dtype)

    def given(self) -> Sequence[tuple[str, Sequence[Any]]]:
        return [
            (given.any_name, [side.get_length() if side.is_static else None for side in given.partial_shape])
            for given in self._net.model.inputs
        ]

    def placed(self, arrays: Sequence[np.ndarray]) -> tuple:
        shapes = [array.shape for array in arrays]
        if shapes != self._shapes:
            self._request, self._shapes = self._net.request(shapes), shapes
        return tuple(map(openvino.Tensor, arrays))

    def forward(self, *inputs: Any) -> np.ndarray:
        for number, value in enumerate(inputs):
            self._request.set_input_tensor(number, value)
        self._request.infer()
        return self._request.get_output_tensor(0).data
