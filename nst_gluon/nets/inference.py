"""What makes the pictures on a CPU: the graphs of :mod:`nst_gluon.nets.inference_graph`, compiled for each size."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import numpy as np

from nst_gluon.descriptor.vgg import BFLOAT16
from nst_gluon.methods.description import Net, Norm
from nst_gluon.nets.inference_graph import InferenceGraph, S, Statistics
from nst_gluon.system.engine import mx

# Graphs that stay compiled: a picture's size and that of its tiles, say. Each holds its own memory.
KEPT_GRAPHS = 2


class Compiled:
    """A graph for one size of its inputs (NDArrays): a function from them to the list of ``outputs``."""

    def __init__(self, outputs: Sequence, graph: InferenceGraph, inputs: Sequence, ctx):
        self._train = graph.train
        symbol = S.Group(outputs)
        needed = set(symbol.list_inputs())
        values = {name: mx.nd.array(value, ctx=ctx) for name, value in graph.arrays.items() if name in needed}
        for name in graph.halves & needed:
            values[name] = mx.nd.amp_cast(values[name], dtype=BFLOAT16)
        self._named = [name for name in (f"data{i}" for i in range(len(inputs))) if name in needed]
        if not self._train:
            every = {**values, **{name: inputs[int(name[4:])] for name in self._named}}
            auxiliary = {name: every.pop(name) for name in symbol.list_auxiliary_states()}
            symbol = symbol.optimize_for("MKLDNN", every, auxiliary)
        names = symbol.list_inputs()
        self._slots = [(names.index(name), int(name[4:])) for name in self._named]
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
    ):
        self.net, self.params = net, params
        self._ctx, self._tile, self._dtype = ctx or mx.cpu(), tile, dtype
        norms = [layer for layer in net.layers if isinstance(layer, Norm)]
        self.statistics = dict(statistics or {})
        for layer in norms:
            if layer.statistics():
                self.statistics[layer.name] = tuple(params[name] for name in layer.statistics())
        self._each = not tile and len(self.statistics) < len(norms)
        self._graphs: OrderedDict[tuple, Compiled] = OrderedDict()

    def for_tiles(self, statistics: Statistics) -> Inference:
        """This net for tiles, with statistics of the whole picture."""
        return Inference(self.net, self.params, self._ctx, statistics, True, self._dtype)

    def _draw(self, inputs: Sequence, dtype: str = "float32") -> InferenceGraph:
        shapes = [tuple(value.shape) for value in inputs]
        return InferenceGraph(self.net, self.params, self.statistics, shapes, self._tile, dtype)

    def unknown(self, inputs: Sequence) -> tuple[Compiled | None, list[str]]:
        """What the next unknown statistics are to be taken from, for inputs of that size: a graph whose outputs are
        the inputs of the norms named; (None, []) when all are known. See :class:`InferenceGraph`."""
        graph = self._draw(inputs)
        if not graph.unknown:
            return None, []
        return Compiled(list(graph.unknown.values()), graph, inputs, self._ctx), list(graph.unknown)

    def unknown_names(self, inputs: Sequence) -> list[str]:
        """The norms whose statistics :meth:`unknown` is about."""
        return list(self._draw(inputs).unknown)

    def _picture(self, inputs: Sequence):
        key = tuple(tuple(value.shape) for value in inputs)
        if key not in self._graphs:
            while len(self._graphs) >= KEPT_GRAPHS:
                self._graphs.popitem(last=False)
            graph = self._draw(inputs, self._dtype)
            self._graphs[key] = Compiled([graph.picture], graph, inputs, self._ctx)
        self._graphs.move_to_end(key)
        return self._graphs[key](*inputs)[0]

    def __call__(self, *inputs):
        """Pictures (N, 3, H, W), not clipped, of NDArrays (N, C, H, W). Asynchronous.

        Where each picture has statistics of its own, the pictures of a batch go through one by one.
        """
        count = inputs[0].shape[0]
        if not self._each or count == 1:
            return self._picture(inputs)
        return mx.nd.concat(*(self._picture([x[i : i + 1] for x in inputs]) for i in range(count)), dim=0)
