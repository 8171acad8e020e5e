"""A trained net as an ONNX graph, from its parameters alone. Imports no engine; ``onnx`` only where it is needed.

One function per layer adds nodes to a :class:`Graph` and returns the name of what comes out. Opset 13; batch, height
and width stay symbolic. Batch normalisation is folded into the convolutions beside it, instance normalisation is
ONNX's own operator. The pictures that leave the graph are clipped to [0, 1].
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nst_gluon import __version__, assets
from nst_gluon.nets import inputs as net_inputs
from nst_gluon.nets import netfile
from nst_gluon.nets.model_card import facts
from nst_gluon.pictures import images
from nst_gluon.system.errors import UserError

OPSET, IR_VERSION = 13, 7  # IR 7 is what came with opset 13: the oldest that readers of it know
INSTALL = "python -m pip install -e '.[onnx]'"
PICTURE = "picture"
EPSILON = 1e-5
# As in nst_gluon.methods.johnson and nst_gluon.methods.texture_net, which cannot be imported without the engine.
TANH_SCALE, LEAK = 150 / 255, 0.01
TO_THE_END = np.iinfo(np.int64).max
# Not square, and a multiple of every net's step.
CHECK_SIZE = (256, 320)
# Half a step of an 8-bit picture. The bundled nets stay below 1e-4 (tests/test_export.py), but instance norms amplify
# rounding, and how much is a matter of the net and not of the export.
TOLERANCE = 0.5 / 255

Affine = tuple[np.ndarray, np.ndarray]


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
    """Nodes and constants under construction, and the parameters that are still to be used.

    Args:
        params: a net file's parameters by name (:mod:`nst_gluon.nets.netfile`).
        norm: ``instance`` or ``batch``.
    """

    def __init__(self, params: Mapping[str, np.ndarray], norm: str):
        if norm not in ("instance", "batch"):
            raise UserError(f"net: unknown normalisation {norm!r}; instance and batch can be exported")
        self._onnx = require()
        self.norm = norm
        self.left = dict(params)
        self.nodes: list[Any] = []
        self.constants: dict[tuple, Any] = {}

    def take(self, name: str) -> np.ndarray:
        """A parameter, which each layer takes once."""
        try:
            return self.left.pop(name)
        except KeyError:
            raise UserError(f"net: its parameters are not those of its architecture (no {name!r})") from None

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


# ------------------------------------------------------------------------------------------------------- layers


def slice_axis(g: Graph, x: str, begin: Sequence[int], end: Sequence[int], axes: Sequence[int]) -> str:
    """``x[begin:end]`` along each of ``axes``."""
    return g.node("Slice", x, *(g.constant(values, "int64") for values in (begin, end, axes)))


def pad(g: Graph, x: str, amount: int, mode: str) -> str:
    """(N, C, H, W) with ``amount`` more pixels on each side: ``reflect``, or ``circular``, which ONNX does not have."""
    if mode == "reflect":
        pads = g.constant((0, 0, amount, amount) * 2, "int64")
        return g.node("Pad", x, pads, mode="reflect")
    for axis in (2, 3):
        before = slice_axis(g, x, [-amount], [TO_THE_END], [axis])
        after = slice_axis(g, x, [0], [amount], [axis])
        x = g.node("Concat", before, x, after, axis=axis)
    return x


def fold_after(weight: np.ndarray, bias: np.ndarray, affine: Affine) -> tuple[np.ndarray, np.ndarray]:
    """Kernel (O, I, k, k) and bias (O,) of a convolution whose output is scaled and shifted per channel."""
    scale, shift = affine
    return weight * scale.reshape(-1, 1, 1, 1), bias * scale + shift


def fold_before(weight: np.ndarray, bias: np.ndarray, affine: Affine) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and bias of a convolution whose input is scaled and shifted per channel, and not padded with zeros."""
    scale, shift = affine
    return weight * scale.reshape(1, -1, 1, 1), bias + np.einsum("oikl,i->o", weight, shift)


def batch_affine(g: Graph, name: str) -> Affine:
    """Scale and shift (C,) of a batch normalisation in use: its running statistics and what it learnt."""
    gamma, beta, mean, variance = (
        g.take(f"{name}.{part}").astype("float64") for part in ("gamma", "beta", "running_mean", "running_var")
    )
    scale = gamma / np.sqrt(variance + EPSILON)
    return scale, beta - mean * scale


def instance_norm(g: Graph, x: str, name: str) -> str:
    """Instance normalisation with its learnt scale and shift."""
    learnt = (g.constant(g.take(f"{name}.{part}")) for part in ("gamma", "beta"))
    return g.node("InstanceNormalization", x, *learnt, epsilon=EPSILON)


def scale_and_shift(g: Graph, x: str, affine: Affine) -> str:
    """``x`` times a scale plus a shift, per channel."""
    scale, shift = (g.constant(values.reshape(1, -1, 1, 1)) for values in affine)
    return g.node("Add", g.node("Mul", x, scale), shift)


def conv(
    g: Graph,
    x: str,
    name: str,
    padding: str = "none",
    stride: int = 1,
    norm: str | None = None,
    before: Affine | None = None,
) -> str:
    """A convolution with bias, and the normalisation called ``norm`` after it.

    Args:
        padding: ``none``, ``zero``, ``reflect`` or ``circular``, by half the kernel.
        before: what its input is to be scaled and shifted by, per channel, first.
    """
    weight, bias = (g.take(f"{name}.{part}").astype("float64") for part in ("weight", "bias"))
    kernel = weight.shape[2]
    if before is not None and padding == "zero":
        x = scale_and_shift(g, x, before)  # zeros come after the shift: it cannot be part of the kernel
    elif before is not None:
        weight, bias = fold_before(weight, bias, before)
    if norm is not None and g.norm == "batch":
        weight, bias = fold_after(weight, bias, batch_affine(g, norm))
    own = kernel // 2 if padding == "zero" else 0
    if padding in ("reflect", "circular") and kernel > 1:
        x = pad(g, x, kernel // 2, padding)
    arrays = (g.constant(weight), g.constant(bias))
    x = g.node("Conv", x, *arrays, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[own] * 4)
    return instance_norm(g, x, norm) if norm is not None and g.norm == "instance" else x


def upsample(g: Graph, x: str) -> str:
    """Nearest-neighbour upsampling by 2."""
    how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return g.node("Resize", x, "", g.constant((1, 1, 2, 2)), **how)


def relu(g: Graph, x: str) -> str:
    """max(x, 0)."""
    return g.node("Relu", x)


def clip(g: Graph, x: str) -> str:
    """``x`` limited to [0, 1]."""
    return g.node("Clip", x, g.constant(0.0), g.constant(1.0))


# --------------------------------------------------------------------------------------------------------- nets


def johnson(
    g: Graph, norm: str = "instance", residuals: int = 5, output: str = "tanh", width: float = 1.0
) -> tuple[str, dict[str, list]]:
    """:class:`nst_gluon.methods.johnson.JohnsonNet`: the picture's name, and the inputs' shapes by name.

    The number of channels is that of the parameters.
    """
    x = g.node("Sub", "content", g.constant(0.5))
    x = pad(g, x, 8 * residuals, "reflect") if residuals else x
    for name, unit, stride in (("conv1", "norm1", 1), ("down1", "norm2", 2), ("down2", "norm3", 2)):
        x = relu(g, conv(g, x, f"{name}.conv", "zero", stride, unit))
    for block in (f"residual.{index}" for index in range(residuals)):
        y = relu(g, conv(g, x, f"{block}.conv1", norm=f"{block}.norm1"))
        y = conv(g, y, f"{block}.conv2", norm=f"{block}.norm2")
        x = g.node("Add", y, slice_axis(g, x, (2, 2), (-2, -2), (2, 3)))
    for name, unit in (("up1", "norm4"), ("up2", "norm5")):
        x = relu(g, conv(g, upsample(g, x), f"{name}.conv", "zero", norm=unit))
    x, scale = conv(g, x, "conv2.conv", "zero"), 0.5
    if output == "tanh":
        x, scale = g.node("Tanh", x), TANH_SCALE
    x = g.node("Add", g.node("Mul", x, g.constant(scale)), g.constant(0.5))
    return x, {"content": ["batch", 3, "height", "width"]}


def _block(g: Graph, x: str, name: str, padding: str, before: Affine | None = None) -> str:
    for number in (1, 2, 3):
        first = before if number == 1 else None
        kernel_padding = padding if number < 3 else "none"
        x = conv(g, x, f"{name}.conv{number}.conv", kernel_padding, norm=f"{name}.norm{number}", before=first)
        x = g.node("LeakyRelu", x, alpha=LEAK)
    return x


def _join(g: Graph, deep: str, shallow: str, name: str, padding: str) -> str:
    deep, before = upsample(g, deep), None
    norms = (f"{name}.deep_norm", f"{name}.shallow_norm")
    if g.norm == "batch":
        before = tuple(map(np.concatenate, zip(*(batch_affine(g, norm) for norm in norms))))
    else:
        deep, shallow = (instance_norm(g, x, norm) for x, norm in zip((deep, shallow), norms))
    return _block(g, g.node("Concat", deep, shallow, axis=1), f"{name}.block", padding, before)


def texture_net(
    g: Graph,
    scales: int = 5,
    content: bool = False,
    norm: str = "batch",
    padding: str = "circular",
    noise: float = 1.0,
    finest: int | None = None,
) -> tuple[str, dict[str, list]]:
    """:class:`nst_gluon.methods.texture_net.TextureNet`: the picture's name, and the inputs' shapes by name.

    The number of channels, ``finest`` too, is that of the parameters.
    """
    inputs: dict[str, list] = {"content": ["batch", 3, "height", "width"]} if content else {}
    branches = []
    for k in range(scales):
        x, factor = f"noise{k}", 2**k
        inputs[x] = ["batch", 3, *(f"{side}/{factor}" if k else side for side in ("height", "width"))]
        if content:
            window = {"kernel_shape": [factor] * 2, "strides": [factor] * 2}
            x = g.node("Concat", x, g.node("AveragePool", "content", **window) if k else "content", axis=1)
        branches.append(_block(g, x, f"blocks.{k}", padding))
    x = branches[-1]
    for index, shallow in enumerate(reversed(branches[:-1])):
        x = _join(g, x, shallow, f"joins.{index}", padding)
    return g.node("Add", conv(g, x, "output"), g.constant(0.5)), inputs


NETS: dict[str, Callable[..., tuple[str, dict[str, list]]]] = {"johnson": johnson, "texture_net": texture_net}


def build(params: Mapping[str, np.ndarray], meta: Mapping[str, Any]):
    """The ``onnx.ModelProto`` of a net file's parameters and description, checked by ``onnx.checker``.

    Inputs: ``content`` (N, 3, H, W) in [0, 1] if it stylises, ``noise0`` ... (N, 3, H / 2^k, W / 2^k). Output:
    ``picture`` (N, 3, H, W) in [0, 1]. What it is and where it comes from is in its metadata.

    Raises:
        UserError: ``onnx`` is missing, or the net is not one that this version knows.
    """
    onnx = require()
    architecture = meta.get("architecture")
    if meta.get("method") not in NETS or not isinstance(architecture, Mapping):
        raise UserError(f"net: no net of {meta.get('method')!r} can be exported; there are {', '.join(NETS)}")
    add = NETS[meta["method"]]
    g = Graph(params, architecture.get("norm", "instance" if add is johnson else "batch"))
    try:
        last, shapes = add(g, **architecture)
    except TypeError as error:
        raise UserError(f"net: its architecture {dict(architecture)} is not known ({error})") from None
    if g.left:
        raise UserError(f"net: its parameters are not those of its architecture (what is {sorted(g.left)[0]!r}?)")
    clip(g, last)
    g.nodes[-1].output[0] = PICTURE

    def value(name: str, shape: list):
        return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)

    graph = onnx.helper.make_graph(
        g.nodes,
        meta["method"],
        [value(name, shape) for name, shape in shapes.items()],
        [value(PICTURE, ["batch", 3, "height", "width"])],
        list(g.constants.values()),
    )
    model = onnx.helper.make_model(
        graph,
        ir_version=IR_VERSION,
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        producer_name="nst-gluon",
        producer_version=__version__,
        doc_string=f"{meta['method']}, {meta.get('task')}, in the style of {meta.get('style')}",
    )
    onnx.helper.set_model_props(model, {name: _text(fact) for name, fact in facts(meta).items()})
    onnx.checker.check_model(model, full_check=True)
    return model


def _text(fact: Any) -> str:
    return fact if isinstance(fact, str) else json.dumps(fact, sort_keys=True)


# -------------------------------------------------------------------------------------------------------- check


def difference(model: bytes, net: Path) -> float:
    """How far the picture of an exported net, by ONNX Runtime, is from the original's by the engine, at most.

    For a bundled photo of CHECK_SIZE and, where the net takes noise, that of one seed; as a part of the range [0, 1].

    Raises:
        ImportError: ONNX Runtime is missing.
        EngineMissing: the engine is.
    """
    import onnxruntime

    from nst_gluon.nets.generator import load_net

    generator = load_net(net)
    _, meta = netfile.load(net)
    content = None
    if generator.task == "stylize":
        content = images.load(assets.content_path(assets.HELD_OUT), max(CHECK_SIZE))[:, :, : CHECK_SIZE[0]]
    expected = generator.generate(content, CHECK_SIZE, seed=0)

    arrays = net_inputs.arrays(meta, content, CHECK_SIZE)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    feeds = {given.name: array for given, array in zip(session.get_inputs(), arrays)}
    return float(np.abs(session.run(None, feeds)[0] - expected).max())
