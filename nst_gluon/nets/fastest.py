"""A trained net on the CPU in whichever installed engine makes the same picture fastest, found by a trial."""

from __future__ import annotations

import importlib.util
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from nst_gluon.methods.description import Net
from nst_gluon.nets import onnx_export, sessions
from nst_gluon.nets.inference import KEPT_GRAPHS, Inference
from nst_gluon.pictures.images import psnr
from nst_gluon.system.engine import mx
from nst_gluon.system.files import one_line

OWN = "gluon"
# The least agreement with the net's own picture in float32, in dB; and how much faster another engine has to be.
SAME, GAIN, TRIALS = {"float32": 60.0, "bfloat16": 40.0}, 0.95, 3

Run = Callable[..., np.ndarray]


def onnxruntime(model: bytes, shapes: Sequence[tuple[int, ...]], dtype: str) -> Run | None:
    """A net's ONNX export in ONNX Runtime, which has float32 alone: arrays (N, C, H, W) to pictures in [0, 1]."""
    if dtype != "float32":
        return None
    session = sessions.onnxruntime(model)
    names = [given.name for given in session.get_inputs()]
    return lambda *arrays: session.run(None, dict(zip(names, arrays)))[0]


def openvino(model: bytes, shapes: Sequence[tuple[int, ...]], dtype: str) -> Run:
    """The same in OpenVINO, for inputs of these shapes alone."""
    request = sessions.OpenVino(model, dtype).request(shapes)
    return lambda *arrays: next(iter(request.infer(list(arrays)).values()))


PEERS = {"openvino": openvino, "onnxruntime": onnxruntime}


class Fastest(Inference):
    """As :class:`Inference`; for each size of picture, in whole, the fastest engine. In tiles: the net's own.

    Args:
        meta: the net file's text, for the export.

    Attributes:
        tell: is told which engine it is, at each trial.
    """

    def __init__(self, net: Net, params: Mapping[str, np.ndarray], meta: Mapping[str, Any], dtype: str):
        super().__init__(net, params, dtype=dtype)
        self._meta, self.tell = meta, lambda line: None
        # By the inputs' shapes: the engine that won, and what runs it there, which is compiled again when it is needed
        # after others.
        self._winners: dict[tuple, str] = {}
        self._runs: OrderedDict[tuple, Run] = OrderedDict()

    def __call__(self, *inputs):
        key = tuple(tuple(value.shape) for value in inputs)
        run = self._runs.pop(key, None)
        if key not in self._winners:
            self._winners[key], run = self._trial(inputs)
        if self._winners[key] == OWN:
            return super().__call__(*inputs)
        while len(self._runs) >= KEPT_GRAPHS:
            self._runs.popitem(last=False)
        self._runs[key] = run or PEERS[self._winners[key]](self._model, key, self._dtype)
        return mx.nd.array(self._runs[key](*(value.asnumpy() for value in inputs)), dtype="float32")

    @cached_property
    def _model(self) -> bytes:
        """The net's export, for inputs of any size."""
        return onnx_export.build(self.net, self.params, self._meta).SerializeToString()

    def _trial(self, inputs: Sequence) -> tuple[str, Run | None]:
        """The fastest engine for inputs of that size, and what runs it; None: the net's own."""
        own, name, chosen = super().__call__, OWN, None
        least = _seconds(lambda: own(*inputs).wait_to_read())
        installed = [peer for peer in PEERS if importlib.util.find_spec(peer) and importlib.util.find_spec("onnx")]
        if installed:
            expected = np.clip(Inference(self.net, self.params)(*inputs).asnumpy(), 0, 1)
            arrays = [value.asnumpy() for value in inputs]
        for peer in installed:
            try:
                run = PEERS[peer](self._model, [array.shape for array in arrays], self._dtype)
                # Not below: where it makes NaN, nothing is true.
                if run is None or not psnr(np.clip(run(*arrays), 0, 1), expected) >= SAME[self._dtype]:
                    continue
                seconds = _seconds(lambda run=run: run(*arrays))
            except Exception as error:  # an installation that is broken, or a layer that it does not know
                self.tell(f"note: engine {peer} fails and is left out: {one_line(error)}")
                continue
            if seconds < GAIN * least:
                least, name, chosen = seconds, peer, run
        others = f"of {', '.join([OWN, *installed])}" if installed else "no other is installed"
        self.tell(f"note: engine {name}, {least * 1e3:.0f} ms a picture ({others})")
        return name, chosen


def _seconds(call: Callable[[], object]) -> float:
    """The least time of a few calls, after one that does not count."""
    times = []
    for _ in range(TRIALS + 1):
        begun = time.perf_counter()
        call()
        times.append(time.perf_counter() - begun)
    return min(times[1:])
