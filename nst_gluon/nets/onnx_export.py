"""A trained net as an ONNX graph, from its parameters alone. Imports no engine; ``onnx`` only where it is needed.

Opset 13; batch, height and width stay symbolic. Batch normalisation is folded into the convolutions beside it
(:mod:`nst_gluon.nets.folding`), instance normalisation is ONNX's own operator. The pictures that leave the graph are
clipped to [0, 1].
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nst_gluon import __version__, assets
from nst_gluon.methods import description as layers
from nst_gluon.nets import inputs as net_inputs
from nst_gluon.nets.folding import fold
from nst_gluon.nets.model_card import facts
from nst_gluon.pictures import images
from nst_gluon.system.errors import UserError

OPSET, IR_VERSION = 13, 7  # IR 7 is what came with opset 13: the oldest that readers of it know
INSTALL = "python -m pip install -e '.[onnx]'"
PICTURE = "picture"
TO_THE_END = np.iinfo(np.int64).max
# Not square, and a multiple of nearly every net's step.
CHECK_SIZE = (256, 320)
# Half a step of an 8-bit picture. The bundled nets stay below 1e-4 (tests/test_export.py), but instance norms amplify
# rounding, and how much is a matter of the net and not of the export.
TOLERANCE = 0.5 / 255


def require():
    """The package ``onnx``; a UserError, in one line with what to install, where it is missing."""
    try:
        import onnx
        import onnx.checker
        import onnx.helper
        import onnx.numpy_helper
    except ImportError as error:
        raise UserError(f"--format: onnx needs the package onnx ({' '.join(str(error).split())}): {INSTALL}") from None
    return onnx


class Graph:
    """Nodes and constants under construction.

    Args:
        params: parameters by name, those of the layers that are to be added.
    """

    def __init__(self, params: Mapping[str, np.ndarray]):
        self._onnx = require()
        self._params = params
        self.nodes: list[Any] = []
        self.constants: dict[tuple, Any] = {}

    def constant(self, values: Any, dtype: str = "float32") -> str:
        """The name of a constant; equal ones are stored once."""
        array = np.ascontiguousarray(values, dtype=dtype)
        key = (str(array.dtype), array.shape, array.tobytes())
        if key not in self.constants:
            name = f"constant{len(self.constants)}"
            self.constants[key] = self._onnx.numpy_helper.from_array(array, name)
        return self.constants[key].name

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Adds an operator and returns the name of its output."""
        name = f"{operator}{len(self.nodes)}"
        self.nodes.append(self._onnx.helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    def slice(self, x: str, begin: int, end: int, axes: Sequence[int]) -> str:
        """``x[begin:end]`` along each of ``axes``."""
        ends = ([begin] * len(axes), [end] * len(axes), axes)
        return self.node("Slice", x, *(self.constant(values, "int64") for values in ends))

    def pad(self, x: str, amount: int, mode: str) -> str:
        """(N, C, H, W) with ``amount`` more pixels on each side."""
        if mode != "circular":
            pads = self.constant((0, 0, amount, amount) * 2, "int64")
            return self.node("Pad", x, pads, mode="constant" if mode == "zero" else mode)
        for axis in (2, 3):  # ONNX has no such padding
            around = self.slice(x, -amount, TO_THE_END, [axis]), self.slice(x, 0, amount, [axis])
            x = self.node("Concat", around[0], x, around[1], axis=axis)
        return x

    def layer(self, layer: layers.Layer, sources: Sequence[str]) -> str:
        """Adds a layer of a net that takes ``sources``; returns the name of its output."""
        x, learnt = sources[0], [self._params[name] for name in (*layer.parameters(), *layer.statistics())]
        if isinstance(layer, layers.Convolution):
            own = layer.padding if layer.mode == "zero" else 0
            if layer.padding and not own:
                x = self.pad(x, layer.padding, layer.mode)
            settings = {"kernel_shape": [layer.kernel] * 2, "strides": [layer.stride] * 2, "pads": [own] * 4}
            return self.node("Conv", x, *map(self.constant, learnt), **settings)
        if isinstance(layer, layers.Norm):
            operator = {"instance": "InstanceNormalization", "batch": "BatchNormalization"}[layer.kind]
            return self.node(operator, x, *map(self.constant, learnt), epsilon=layers.EPSILON)
        if isinstance(layer, layers.Activation):
            settings = {"alpha": layer.slope} if layer.kind == "leaky_relu" else {}
            return self.node({"relu": "Relu", "leaky_relu": "LeakyRelu", "tanh": "Tanh"}[layer.kind], x, **settings)
        if isinstance(layer, layers.Affine):
            x = self.node("Mul", x, self.constant(layer.scale)) if layer.scale != 1 else x
            return self.node("Add", x, self.constant(layer.shift)) if layer.shift else x
        if isinstance(layer, layers.Pad):
            return self.pad(x, layer.amount, layer.mode)
        if isinstance(layer, layers.Crop):
            return self.slice(x, layer.amount, -layer.amount, (2, 3))
        if isinstance(layer, layers.Upsample):
            how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
            return self.node("Resize", x, "", self.constant((1, 1, 2, 2)), **how)
        if isinstance(layer, layers.AveragePool):
            return self.node("AveragePool", x, kernel_shape=[layer.factor] * 2, strides=[layer.factor] * 2)
        if isinstance(layer, layers.Concatenate):
            return self.node("Concat", *sources, axis=1)
        if isinstance(layer, layers.Add):
            return self.node("Add", *sources)
        raise TypeError(f"net: ONNX has no layer {type(layer).__name__}")


def build(net: layers.Net, params: Mapping[str, np.ndarray], meta: Mapping[str, Any]):
    """The ``onnx.ModelProto`` of a net with its parameters, checked by ``onnx.checker``.

    Inputs: ``content`` (N, 3, H, W) in [0, 1] if it takes one, ``noise0`` ... (N, C, H / 2^k, W / 2^k). Output:
    ``picture`` (N, 3, H, W) in [0, 1]. What it is and where it comes from, ``meta``, is in its metadata.

    Raises:
        UserError: ``onnx`` is missing.
    """
    onnx = require()
    folded, params = fold(net, params)
    g, values = Graph(params), {given.name: given.name for given in net.inputs}
    for layer in folded.layers:
        if layer.name not in values:
            values[layer.name] = g.layer(layer, [values[name] for name in layer.inputs])
    g.node("Clip", values[folded.layers[-1].name], g.constant(0.0), g.constant(1.0))
    g.nodes[-1].output[0] = PICTURE

    def value(name: str, channels: int, reduction: int = 0):
        sides = (f"{side}/{2**reduction}" if reduction else side for side in ("height", "width"))
        return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", channels, *sides])

    graph = onnx.helper.make_graph(
        g.nodes,
        meta["method"],
        [value(given.name, given.channels, given.reduction) for given in net.inputs],
        [value(PICTURE, 3)],
        list(g.constants.values()),
    )
    model = onnx.helper.make_model(
        graph,
        ir_version=IR_VERSION,
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        producer_name="nst-gluon",
        producer_version=__version__,
        doc_string=_text(f"{meta['method']}, {meta.get('task')}, in the style of {meta.get('style')}"),
    )
    props = {**facts(net, meta), "layers": net.to_data()}
    onnx.helper.set_model_props(model, {name: _text(fact) for name, fact in props.items()})
    onnx.checker.check_model(model, full_check=True)
    return model


def _text(fact: Any) -> str:
    """A fact as a text that UTF-8 can hold: names of files may be none."""
    text = fact if isinstance(fact, str) else json.dumps(fact, sort_keys=True)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


# -------------------------------------------------------------------------------------------------------- check


def difference(model: bytes, net: Path) -> float:
    """How far the picture of an exported net, by ONNX Runtime, is from the original's by the engine, at most.

    For a bundled photo of CHECK_SIZE and, where the net takes noise, that of one seed; as a part of the range [0, 1].

    Raises:
        ImportError: ONNX Runtime is missing.
        EngineMissing: the engine is.
    """
    import onnxruntime

    from nst_gluon.nets.trained_net import load_net

    trained = load_net(net)
    content = None
    if trained.description.takes_content:
        content = images.load(assets.content_path(assets.HELD_OUT), max(CHECK_SIZE))[:, :, : CHECK_SIZE[0]]
    expected = trained.generate(content, CHECK_SIZE, seed=0)

    arrays = net_inputs.arrays(trained.description, content, CHECK_SIZE)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    feeds = {given.name: array for given, array in zip(session.get_inputs(), arrays)}
    made = session.run(None, feeds)[0][:, :, : CHECK_SIZE[0], : CHECK_SIZE[1]]
    return float(np.abs(made - expected).max())
