"""ONNX Runtime on a GPU that is not there: what is bound to it, and when its context is made."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="needs the extra onnx")
pytest.importorskip("onnx", reason="needs the extra onnx")

from bench.engines import onnxruntime
from nst_gluon import assets
from nst_gluon.system import runtime


def test_a_picture_stays_on_the_device_until_it_is_looked_at():
    """The session's device is the CPU: all else is as on a GPU."""
    backend = onnxruntime.OnnxRuntime("cpu", "float32")
    generator = backend.generator(assets.find_net("great_wave", "texture_net", "texture"))
    inputs = generator.inputs(None, (64, 64), seed=3)
    expected, picture = generator.forward(*inputs).copy(), generator.generate(None, (64, 64), seed=3)
    generator._on_host = False
    made = generator.forward(*inputs)
    assert isinstance(made, onnxruntime.OnDevice)
    np.testing.assert_array_equal(backend.fetch(made), expected)
    np.testing.assert_array_equal(made[0, 0, 0, :1], expected[0, 0, 0, :1])
    np.testing.assert_array_equal(generator.generate(None, (64, 64), seed=3), picture)


def test_the_context_of_a_gpu_is_made_before_its_memory_is_read(monkeypatch):
    calls = []
    backend = onnxruntime.OnnxRuntime("cpu", "float32")
    backend.device = runtime.parse_device("gpu:1")
    gpus = [runtime.Gpu(index, "fake", (9, 0), 0, "", nvml_index=5 + index) for index in range(2)]
    monkeypatch.setattr(runtime, "gpu_devices", lambda: gpus)
    monkeypatch.setattr(onnxruntime.meters, "GpuMeter", lambda index: calls.append(("meter", index)))
    monkeypatch.setattr(onnxruntime.onnxruntime.OrtValue, "ortvalue_from_numpy",
                        lambda array, kind, index: calls.append((kind, index)))  # fmt: skip
    backend.meter(None)
    assert calls == [("cuda", 1), ("meter", 6)]
