"""The descriptor network: VGG-16 or VGG-19 with fixed weights, cut after the deepest activation that is asked for.

Simonyan & Zisserman 2014. The input is always RGB in [0, 1]: the scaling of the weights' source travels with them
(:class:`nst_gluon.descriptor.weights.VggWeights`). Its division is folded into the first convolution; its subtraction
cannot be, because that convolution pads with zeros after it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from nst_gluon.descriptor.architecture import CHANNELS, CONVOLUTIONS
from nst_gluon.descriptor.weights import VggWeights
from nst_gluon.system.engine import mx
from nst_gluon.system.errors import UserError

# MXNet has no name for bfloat16 on the Python side: this structured dtype is how its operators recognise it.
BFLOAT16 = np.dtype([("bfloat16", np.uint16)])


def parse_layer(name: str, arch: str) -> tuple[str, int, int]:
    """``"relu4_2"`` -> ``("relu", 4, 2)``.

    Raises:
        UserError: the network has no such layer.
    """
    match = re.fullmatch(r"(relu|conv)([1-5])_([1-4])", name)
    if match is None or int(match.group(3)) > CONVOLUTIONS[arch][int(match.group(2)) - 1]:
        raise UserError(f"layer: {arch} has no {name!r}; layers are relu1_1 ... relu5_{CONVOLUTIONS[arch][4]}")
    return match.group(1), int(match.group(2)), int(match.group(3))


def layer_shape(name: str, height: int, width: int) -> tuple[int, int, int]:
    """(C, H, W) of a named activation for a picture of ``height`` x ``width``."""
    block = int(name[4])
    return CHANNELS[block - 1], height >> (block - 1), width >> (block - 1)


def plan(arch: str, layers: Sequence[str]) -> list[tuple[int, int]]:
    """The convolutions, as (block, index), up to the deepest of ``layers``."""
    deepest = max((parse_layer(name, arch)[1:] for name in layers), default=(0, 0))
    every = [(b, i) for b, n in enumerate(CONVOLUTIONS[arch], 1) for i in range(1, n + 1)]
    return [step for step in every if step <= deepest]


def parameters(weights: VggWeights, layers: Sequence[str], dtype: str, ctx) -> list:
    """The arrays that :func:`describe` takes: the mean (1, 3, 1, 1), then weight and bias of each convolution.

    They are inputs of the graph and not Gluon parameters: no gradient is ever computed for them.
    """
    arrays = [mx.nd.array(np.reshape(weights.mean, (1, 3, 1, 1)), ctx=ctx, dtype="float32")]
    for step in plan(weights.arch, layers):
        name = f"conv{step[0]}_{step[1]}"
        kernel = weights.params[f"{name}.weight"]
        if step == (1, 1):
            kernel = kernel / np.reshape(weights.std, (1, 3, 1, 1))
        for value in (kernel, weights.params[f"{name}.bias"]):
            array = mx.nd.array(value, ctx=ctx, dtype="float32")
            half = dtype == "bfloat16" and step != (1, 1)
            arrays.append(mx.nd.amp_cast(array, dtype=BFLOAT16) if half else array)
    return arrays



def describe(
    F,
    x,
    arrays: Sequence,
    steps: Sequence[tuple[int, int]],
    span: tuple[int, int],
    layers: Sequence[str],
    pooling: str,
    dtype: str,
) -> tuple[list, object]:
    """Named activations, from the convolution ``span[0]`` of ``steps`` up to ``span[1]``, which is not in it any more.

    In bfloat16 only convolutions, ReLUs and poolings are in half precision; what is handed out is float32 again, since
    Grams need the range and the digits. The first convolution, with its three input channels, stays in float32: it is
    slower in bfloat16 and its activation is the largest to convert back.

    Args:
        F: ``mx.nd`` or ``mx.sym``.
        x: what the part before it handed on, float32; the picture (N, 3, H, W) for the first part.
        arrays: those of this part alone, see :func:`arrays_of_part`.
        layers: the named activations that lie in this part.

    Returns:
        The named activations, and what the next part takes, both float32: already pooled where a block ends.
    """
    first, last = span
    kinds = [parse_layer(name, "vgg19") for name in layers]
    named = {}
    half = False
    if first == 0:
        x, arrays = F.broadcast_sub(x, arrays[0]), arrays[1:]
    for position in range(first, last):
        block, index = steps[position]
        if position > 0 and dtype == "bfloat16" and not half:
            half, x = True, F.amp_cast(x, dtype=BFLOAT16)
        weight, bias = arrays[2 * (position - first) : 2 * (position - first) + 2]
        x = F.Convolution(x, weight, bias, kernel=(3, 3), pad=(1, 1), num_filter=CHANNELS[block - 1])
        for kind in ("conv", "relu"):
            if kind == "relu":
                x = F.Activation(x, act_type="relu")
            if (kind, block, index) in kinds:
                named[kind, block, index] = F.amp_cast(x, dtype="float32") if half else x
        if position + 1 < len(steps) and steps[position + 1][0] > block:
            x = F.Pooling(x, kernel=(2, 2), stride=(2, 2), pool_type=pooling)
    return [named[kind] for kind in kinds], F.amp_cast(x, dtype="float32") if half else x


def arrays_of_part(arrays: Sequence, span: tuple[int, int]) -> list:
    """The arrays of :func:`parameters` that :func:`describe` takes: the mean goes with the first part."""
    first, last = span
    return [*(arrays[:1] if first == 0 else ()), *arrays[1 + 2 * first : 1 + 2 * last]]


class _Description(mx.gluon.HybridBlock):
    def __init__(self, arch, layers, pooling, dtype):
        super().__init__()
        steps = plan(arch, layers)
        self._settings = (steps, (0, len(steps)), layers, pooling, dtype)

    def hybrid_forward(self, F, x, *arrays):
        return describe(F, x, arrays, *self._settings)[0]


class Descriptor:
    """The descriptor as a function: pictures (N, 3, H, W) in [0, 1] -> list of float32 activations (N, C, H', W').

    Args:
        layers: names such as ``relu1_1`` or ``conv4_4`` (before ReLU), in the order wanted.
        pooling: ``max`` or ``avg``.
        dtype: ``float32`` or ``bfloat16`` (convolutions only).
    """

    def __init__(
        self,
        weights: VggWeights,
        layers: Sequence[str],
        pooling: str = "max",
        dtype: str = "float32",
        ctx=None,
    ):
        self.layers = tuple(layers)
        self._arrays = parameters(weights, self.layers, dtype, ctx or mx.cpu())
        self._block = _Description(weights.arch, self.layers, pooling, dtype)
        self._block.hybridize(static_alloc=True, static_shape=True)

    def __call__(self, x) -> list:
        out = self._block(x, *self._arrays)
        return list(out) if isinstance(out, (list, tuple)) else [out]
