"""Exported nets in the engines of others, set up for the latency of one call. An engine is imported when it is asked
for, and not before.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from nst_gluon.system import runtime

PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}


def onnxruntime(model: bytes, providers: Sequence[Any] = ("CPUExecutionProvider",)) -> Any:
    """A session of ONNX Runtime, which has float32 alone."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = runtime.engine_threads(), 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3  # errors; its warnings are advice for builders
    return onnxruntime.InferenceSession(model, options, providers=providers)


class OpenVino:
    """A net in OpenVINO, on the CPU. ``model`` is it as read, for inputs of any shape."""

    def __init__(self, model: bytes, dtype: str):
        import openvino

        self._core = openvino.Core()
        self.model = self._core.read_model(io.BytesIO(model))
        self._settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": PRECISIONS[dtype],
                          "INFERENCE_NUM_THREADS": runtime.engine_threads()}  # fmt: skip

    def request(self, shapes: Sequence[tuple[int, ...]]) -> Any:
        """What runs it for inputs of these shapes alone, which is fastest."""
        model = self.model.clone()
        model.reshape({given.any_name: list(shape) for given, shape in zip(model.inputs, shapes)})
        return self._core.compile_model(model, "CPU", self._settings).create_infer_request()
