"""A net's description in PyTorch: a module built from its layers, with the parameters of a net file.

Batch normalisation is folded into the convolutions beside it (:mod:`nst_gluon.nets.folding`). The module is a traced
graph (``torch.fx``): its code is one line a layer, and forgets an activation after its last use.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench.engines.pytorch.library import torch
from nst_gluon.methods import description as layers
from nst_gluon.nets import inputs as net_inputs
from nst_gluon.nets import netfile
from nst_gluon.nets.folding import fold

nn, F = torch.nn, torch.nn.functional

MODES = {"zero": "constant", "reflect": "reflect", "circular": "circular"}
ACTIVATIONS = {"relu": F.relu, "leaky_relu": F.leaky_relu, "tanh": torch.tanh}


def build(net: layers.Net, params: Mapping[str, np.ndarray]) -> nn.Module:
    """A net in use, float32 on the CPU, from its description and its parameters by name."""
    net, params = fold(net, params)
    graph, parts, values = torch.fx.Graph(), {}, {}
    for number, layer in enumerate(net.layers):
        if isinstance(layer, (layers.Content, layers.Noise)):
            values[layer.name] = graph.placeholder(layer.name)
            continue
        sources = [values[name] for name in layer.inputs]
        part = module(layer, params)
        if part is not None:
            place = f"layer{number}"  # a layer's own name may be that of a method of modules
            parts[place] = part
            values[layer.name] = graph.call_module(place, tuple(sources))
        else:
            values[layer.name] = call(graph, layer, sources)
    graph.output(values[net.layers[-1].name])
    return torch.fx.GraphModule(parts, graph).eval().requires_grad_(False)


def module(layer: layers.Layer, params: Mapping[str, np.ndarray]) -> nn.Module | None:
    """The module of a layer that has parameters; None for one that has none."""
    if isinstance(layer, layers.Convolution):
        mode = "zeros" if layer.mode == "zero" else layer.mode
        made = nn.Conv2d(layer.source, layer.channels, layer.kernel, layer.stride, layer.padding, padding_mode=mode)
        names = {"weight": "weight", "bias": "bias"}
    elif isinstance(layer, layers.Norm):
        kind = nn.InstanceNorm2d if layer.kind == "instance" else nn.BatchNorm2d
        made = kind(layer.channels, eps=layers.EPSILON, affine=True)
        names = {"gamma": "weight", "beta": "bias", "running_mean": "running_mean", "running_var": "running_var"}
    else:
        return None
    state = {names[name.rpartition(".")[2]]: name for name in (*layer.parameters(), *layer.statistics())}
    made.load_state_dict({own: torch.from_numpy(np.array(params[name])) for own, name in state.items()}, strict=False)
    return made


def call(graph: torch.fx.Graph, layer: layers.Layer, sources: list[torch.fx.Node]) -> torch.fx.Node:
    """The node of a layer without parameters."""
    x = sources[0]
    if isinstance(layer, layers.Activation):
        slope = (layer.slope,) if layer.kind == "leaky_relu" else ()
        return graph.call_function(ACTIVATIONS[layer.kind], (x, *slope))
    if isinstance(layer, layers.Affine):
        x = graph.call_function(operator.mul, (x, layer.scale)) if layer.scale != 1 else x
        return graph.call_function(operator.add, (x, layer.shift)) if layer.shift else x
    if isinstance(layer, layers.Pad):
        return graph.call_function(F.pad, (x, (layer.amount,) * 4), {"mode": MODES[layer.mode]})
    if isinstance(layer, layers.Crop):
        inner = slice(layer.amount, -layer.amount)
        return graph.call_function(operator.getitem, (x, (slice(None), slice(None), inner, inner)))
    if isinstance(layer, layers.Upsample):
        return graph.call_function(F.interpolate, (x,), {"scale_factor": 2})
    if isinstance(layer, layers.AveragePool):
        return graph.call_function(F.avg_pool2d, (x, layer.factor))
    if isinstance(layer, layers.Concatenate):
        return graph.call_function(torch.cat, (sources,), {"dim": 1})
    if isinstance(layer, layers.Add):
        return graph.call_function(operator.add, tuple(sources))
    raise TypeError(f"net: PyTorch has no layer {type(layer).__name__}")


class Generator:
    """A trained net on a device, in a precision and a layout: contiguous at first.

    Attributes:
        description: the net as data; meta: what its file says of it.
        parameter_count: learnt parameters, running statistics not counted.
    """

    def __init__(self, path: str | Path, device: str, dtype: str):
        self.description, params, self.meta = netfile.checked(path)
        self.device, self._kind = device, getattr(torch, dtype)
        self._net = build(self.description, params).to(device, self._kind)
        self._run, self._layout = self._net, torch.contiguous_format
        self.parameter_count = self.description.parameter_count

    def lay_out(self, layout: Any) -> None:
        """Keep weights and activations in ``layout``, a ``torch.memory_format``."""
        self._layout = layout
        self._net.to(memory_format=layout)

    def compile(self) -> None:
        """Let ``torch.compile`` make fewer kernels of the net; it does so at the first call."""
        self._run = torch.compile(self._net)

    def inputs(
        self, content: np.ndarray | None = None, size: tuple[int, int] | None = None, batch: int = 1, seed: int = 0
    ) -> tuple:
        """Tensors on the device for :meth:`forward`, see :func:`nst_gluon.nets.inputs.arrays`."""
        arrays = net_inputs.arrays(self.description, content, size, batch, seed)
        return tuple(self._tensor(array) for array in arrays)

    def _tensor(self, array: np.ndarray):
        placed = torch.from_numpy(np.ascontiguousarray(array)).to(self.device, self._kind)
        return placed.contiguous(memory_format=self._layout)

    @torch.inference_mode()
    def forward(self, *inputs):
        """One pass of the net: a tensor (N, 3, H', W') at the working size, float32, not clipped."""
        return self._run(*inputs).float()

    def generate(
        self, content: np.ndarray | None = None, size: tuple[int, int] | None = None, seed: int = 0
    ) -> np.ndarray:
        """Pictures (N, 3, H, W), float32 in [0, 1]: of the content's size, or of ``size`` for textures."""
        height, width = size or content.shape[2:]
        out = self.forward(*self.inputs(content, size, 1 if content is None else content.shape[0], seed))
        return np.clip(out.cpu().numpy()[:, :, :height, :width], 0.0, 1.0)
