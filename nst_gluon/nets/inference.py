"""What makes the pictures on a CPU: the graphs of :mod:`nst_gluon.nets.inference_graph`, compiled for each size."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence

import numpy as np

from nst_gluon.descriptor.vgg import BFLOAT16
from nst_gluon.methods.description import Net, Norm
from nst_gluon.nets.inference_graph import InferenceGraph, S, Statistics, Value
from nst_gluon.system.engine import mx

# Graphs that stay compiled: a picture's size and that of its tiles, say. Each holds its own memory.
KEPT_GRAPHS = 2
# Pictures of a batch that may go through at once, and pixels of them in all: more are out of any cache. A larger group
# must be so much faster than single pictures.
GROUPS, GROUP_PIXELS, GAIN, TRIALS = (4, 16), 2**20, 0.97, 3


class Compiled:
    """A graph for one size of its inputs (NDArrays): a function from them to the list of ``outputs``."""

    def __init__(self, outputs: Sequence, graph: InferenceGraph, inputs: Sequence, ctx):
        self._train = graph.train
        symbol = S.Group(outputs)
        needed = set(symbol.list_inputs())
        values = {name: mx.nd.array(value, ctx=ctx) for name, value in graph.arrays.items() if name in needed}
        for name in graph.halves & needed:
            values[name] = mx.nd.amp_cast(values[name], dtype=BFLOAT16)
        named = [name for name in (f"data{i}" for i in range(len(inputs))) if name in needed]
        if not self._train:
            # Not told the inputs' shapes, which it would give to the wrong inputs where it changes their order.
            symbol = symbol.optimize_for("MKLDNN")
        names = symbol.list_inputs()
        self._slots = [(names.index(name), int(name[4:])) for name in named]
        self._values = [values.get(name) for name in names]
        flags = {
            "data_indices": [slot for slot, _ in self._slots],
            "param_indices": [i for i, name in enumerate(names) if name in values],
            "static_alloc": True,
            "static_shape": True,
        }
        self._op = mx.nd.CachedOp(symbol, list(flags.items()))

    def __call__(self, *inputs) -> list:
        values = list(self._values)
        for slot, number in self._slots:
            values[slot] = inputs[number]
        with mx.autograd.train_mode() if self._train else mx.autograd.predict_mode():
            out = self._op(*values)
        return list(out) if isinstance(out, (list, tuple)) else [out]


class Inference:
    """A trained net as a function from its inputs to pictures, on the CPU.

    Args:
        net: the description.
        params: the parameters by name, float32.
        statistics: mean and variance (C,) of norms by name, beside the running ones of batch norm. Of all others each
            picture has its own.
        tile: for tiles, whose inputs have their surroundings, and which have no statistics of their own.
        kept: activations of a tile that are given to it as further inputs, see :class:`InferenceGraph`.
        dtype: ``float32`` or, on a CPU that has it, ``bfloat16``.
    """

    def __init__(
        self,
        net: Net,
        params: Mapping[str, np.ndarray],
        ctx=None,
        statistics: Statistics | None = None,
        tile: bool = False,
        dtype: str = "float32",
        kept: Mapping[str, Value] | None = None,
    ):
        self.net, self.params = net, params
        self._ctx, self._tile, self._dtype, self._kept = ctx or mx.cpu(), tile, dtype, kept
        norms = [layer for layer in net.layers if isinstance(layer, Norm)]
        self.statistics = dict(statistics or {})
        for layer in norms:
            if layer.statistics():
                self.statistics[layer.name] = tuple(params[name] for name in layer.statistics())
        self._each = not tile and len(self.statistics) < len(norms)
        self._graphs: OrderedDict[tuple, Compiled] = OrderedDict()
        self._groups: dict[tuple, int] = {}

    def for_tiles(self, statistics: Statistics, kept: Mapping[str, Value] | None = None) -> Inference:
        """This net for tiles, with statistics of the whole picture, beginning with what was kept of a tile."""
        return Inference(self.net, self.params, self._ctx, statistics, True, self._dtype, kept)

    def draw(self, shapes: Sequence[tuple[int, ...]], whole: bool = False) -> InferenceGraph:
        """The graph for inputs of these shapes: in float32, but for the picture (``whole``) in the net's precision."""
        dtype = self._dtype if whole else "float32"
        return InferenceGraph(self.net, self.params, self.statistics, shapes, self._tile, dtype, self._kept)

    def compile(self, graph: InferenceGraph, outputs: Sequence, inputs: Sequence) -> Compiled:
        """``outputs`` of a graph as a function of ``inputs``, of which those that it does not need may be None."""
        return Compiled(outputs, graph, inputs, self._ctx)

    def _picture(self, inputs: Sequence):
        key = tuple(tuple(value.shape) for value in inputs)
        if key not in self._graphs:
            while len(self._graphs) >= KEPT_GRAPHS:
                self._graphs.popitem(last=False)
            graph = self.draw(key, whole=True)
            self._graphs[key] = Compiled([graph.picture], graph, inputs, self._ctx)
        self._graphs.move_to_end(key)
        return self._graphs[key](*inputs)[0]

    def _group(self, inputs: Sequence) -> int:
        """How many pictures of a batch go through at once: what is fastest in a trial when a batch first comes.

        Where each picture has statistics of its own, they go through one by one.
        """
        count, pixels = inputs[0].shape[0], max(x.shape[2] * x.shape[3] for x in inputs)
        key = tuple(tuple(x.shape) for x in inputs)
        if key not in self._groups:
            sizes = [n for n in sorted({*GROUPS, count}) if 1 < n <= count and count % n == 0 and not self._each]
            single, best = (self._seconds(inputs, 1), 1) if sizes else (0, 1)
            for size in sizes:
                if size * pixels <= GROUP_PIXELS:
                    seconds = self._seconds(inputs, size)
                    best, single = (size, seconds) if seconds < GAIN * single else (best, single)
            self._groups[key] = best
        return self._groups[key]

    def _seconds(self, inputs: Sequence, size: int) -> float:
        """The least time a picture takes in a group of that size, its graph being built before."""
        part, times = [x[:size] for x in inputs], []
        for _ in range(TRIALS + 1):
            begun = time.perf_counter()
            self._picture(part).wait_to_read()
            times.append(time.perf_counter() - begun)
        return min(times[1:]) / size

    def __call__(self, *inputs):
        """Pictures (N, 3, H, W), not clipped, of NDArrays (N, C, H, W). Asynchronous, but for the first of a size."""
        count = inputs[0].shape[0]
        size = self._group(inputs) if count > 1 else 1
        if size == count:
            return self._picture(inputs)
        parts = [self._picture([x[i : i + size] for x in inputs]) for i in range(0, count, size)]
        return mx.nd.concat(*parts, dim=0)
