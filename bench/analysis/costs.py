"""What each method has to compute and to move, from its net's description or its objective: pure functions, no engine.

A method is a list of operators. Each counts floating-point operations (a multiplication and an addition are two) and
the bytes of what it reads and writes: its weights and activations once each, float32 or, where the operator works in
half precision, bfloat16. That is the traffic of operators that run one after the other, from memory to memory; caches
and fused operators move less, so a measured speed may lie above the roofline that follows from it.

Counted as the mathematics has it, not as a library does: no gradient of fixed weights, one matrix product for the
gradient of a Gram. Not counted: conversions between precisions, noise, the optimiser's own vectors.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from nst_gluon.descriptor.weights.model import CHANNELS, CONVOLUTIONS
from nst_gluon.methods.description import (
    Activation,
    Add,
    Affine,
    AveragePool,
    Concatenate,
    Content,
    Convolution,
    Crop,
    Layer,
    Net,
    Noise,
    Norm,
    Pad,
    Upsample,
)
from nst_gluon.nets import geometry
from nst_gluon.objective.presets import Preset

FLOAT32, BFLOAT16 = "float32", "bfloat16"

# Operations per element. A norm in use is a scale and a shift; instance norm takes statistics first (a sum; a
# difference, its square and their sum).
RELU, TANH, ADD, AFFINE, STATISTICS = 1, 1, 1, 2, 4


@dataclass(frozen=True)
class Operator:
    """One operator on one batch.

    Attributes:
        flops: operations.
        weights: elements of its learnt parameters; read once, whatever the batch.
        read, written: elements of activations.
        half: whether it works in half precision when the method does.
    """

    name: str
    flops: float
    weights: int = 0
    read: int = 0
    written: int = 0
    half: bool = True

    def bytes(self, dtype: str = FLOAT32) -> int:
        """Bytes moved when the method's precision is ``dtype``."""
        size = 2 if dtype == BFLOAT16 and self.half else 4
        return size * (self.weights + self.read + self.written)


@dataclass(frozen=True)
class Cost:
    """The sums over operators. ``intensity`` is operations per byte."""

    flops: float
    bytes: int
    parameters: int

    @property
    def intensity(self) -> float:
        return self.flops / self.bytes


def total(operators: Iterable[Operator], dtype: str = FLOAT32) -> Cost:
    """The cost of all of ``operators`` together."""
    listed = list(operators)
    return Cost(
        flops=sum(operator.flops for operator in listed),
        bytes=sum(operator.bytes(dtype) for operator in listed),
        parameters=sum(operator.weights for operator in listed),
    )


def batched(operators: Iterable[Operator], batch: int) -> list[Operator]:
    """The same for ``batch`` pictures: activations and operations multiply, weights do not."""
    return [replace(o, flops=o.flops * batch, read=o.read * batch, written=o.written * batch) for o in operators]


# ---------------------------------------------------------------------------------------------------- operators


def conv(
    name: str, source: int, channels: int, kernel: int, size: tuple[int, int], read: tuple[int, int] | None = None
) -> Operator:
    """A convolution with bias, to (``channels``, ``size``), of ``source`` channels of ``read`` pixels: as many as the
    output's unless given.
    """
    (height, width), (rows, columns) = size, read or size
    return Operator(
        name,
        flops=(2 * kernel * kernel * source + 1) * channels * height * width,
        weights=(kernel * kernel * source + 1) * channels,
        read=source * rows * columns,
        written=channels * height * width,
    )


def each(name: str, channels: int, size: tuple[int, int], flops: float, inputs: int = 1, weights: int = 0) -> Operator:
    """An operator that takes ``inputs`` arrays (C, H, W) to one, with ``flops`` operations an element."""
    count = channels * size[0] * size[1]
    return Operator(name, flops * count, weights, inputs * count, count)


def norm(name: str, kind: str, channels: int, size: tuple[int, int]) -> Operator:
    """Instance or batch normalisation (in use) with scale and shift."""
    flops = AFFINE + (STATISTICS if kind == "instance" else 0)
    return each(name, channels, size, flops, weights=2 * channels)


def resampled(name: str, channels: int, source: tuple[int, int], size: tuple[int, int], flops: float = 0) -> Operator:
    """Padding, upsampling or pooling of (C, ``source``) to (C, ``size``), with ``flops`` operations in all."""
    read, written = (channels * height * width for height, width in (source, size))
    return Operator(name, flops, read=read, written=written)


def pool(name: str, channels: int, size: tuple[int, int], window: int) -> Operator:
    """Pooling to (C, ``size``) by windows that do not overlap."""
    source = (size[0] * window, size[1] * window)
    return resampled(name, channels, source, size, channels * source[0] * source[1])


# --------------------------------------------------------------------------------------------------- descriptor


def descriptor(arch: str, layers: Sequence[str], size: tuple[int, int]) -> list[Operator]:
    """The forward pass of a descriptor up to the deepest of ``layers`` (``relu4_2``), for one picture (H, W).

    As in :func:`nst_gluon.descriptor.vgg.describe`, the first convolution stays in float32.
    """
    deepest = max((int(name[4]), int(name[6])) for name in layers)
    found = [replace(each("mean", 3, size, ADD), half=False)]
    source = 3
    for block, count in enumerate(CONVOLUTIONS[arch], 1):
        channels, here = CHANNELS[block - 1], (size[0] >> (block - 1), size[1] >> (block - 1))
        for index in range(1, count + 1):
            if (block, index) > deepest:
                return found
            if index == 1 and block > 1:
                found.append(pool(f"pool{block - 1}", source, here, 2))
            half = (block, index) != (1, 1)
            found.append(replace(conv(f"conv{block}_{index}", source, channels, 3, here), half=half))
            found.append(replace(each(f"relu{block}_{index}", channels, here, RELU), half=half))
            source = channels
    return found


def _shape(layer: str, size: tuple[int, int]) -> tuple[int, int]:
    """(C, pixels) of a named activation."""
    block = int(layer[4])
    return CHANNELS[block - 1], (size[0] >> (block - 1)) * (size[1] >> (block - 1))


def losses(preset: Preset, task: str, size: tuple[int, int]) -> list[Operator]:
    """Grams, their differences, content differences and total variation, all in float32."""
    found = []
    for layer, _ in preset.style_layers:
        channels, pixels = _shape(layer, size)
        gram = channels * channels
        found.append(Operator(f"gram {layer}", 2 * gram * pixels, read=channels * pixels, written=gram))
        found.append(Operator(f"style {layer}", 3 * gram, read=2 * gram, written=1))
    for layer, _ in preset.content_layers if task == "stylize" else ():
        channels, pixels = _shape(layer, size)
        found.append(Operator(f"content {layer}", 3 * channels * pixels, read=2 * channels * pixels, written=1))
    if preset.tv != "none":
        count = 3 * size[0] * size[1]
        found.append(Operator("tv", 6 * count, read=count, written=1))
    return [replace(operator, half=False) for operator in found]


def evaluation(preset: Preset, task: str, size: tuple[int, int], arch: str = "vgg19") -> list[Operator]:
    """The objective of one picture (H, W): descriptor and losses, forward only."""
    layers = [*preset.style_layers, *(preset.content_layers if task == "stylize" else ())]
    return [*descriptor(arch, [name for name, _ in layers], size), *losses(preset, task, size)]


def backward(operator: Operator) -> Operator:
    """The gradient of an operator to its activations, weights being fixed.

    A convolution's is a convolution of the same cost, a Gram's the product of the Gram's gradient and the activations.
    It reads the gradient of what was written and writes that of what was read; whatever is not linear needs what was
    read again.
    """
    kind = operator.name.split(" ")[0].rstrip("0123456789_")
    again = 0 if kind in ("conv", "mean") else operator.read
    return replace(
        operator, name=f"{operator.name} backward", read=operator.written + again, written=operator.read
    )


def optimisation_step(preset: Preset, task: str, size: tuple[int, int], arch: str = "vgg19") -> list[Operator]:
    """One evaluation of the objective and of its gradient to the picture."""
    forward = evaluation(preset, task, size, arch)
    return [*forward, *(backward(operator) for operator in reversed(forward))]


# --------------------------------------------------------------------------------------------------------- nets


def net(description: Net, size: tuple[int, int]) -> list[Operator]:
    """A net's layers on one picture (H, W), a size at which it works.

    A crop is a view and costs nothing; an affine map of an activation is counted with it. Padding with zeros is part
    of its convolution, every other padding is an operator that writes the padded array.

    Raises:
        ValueError: the net does not work at that size.
    """
    sides = [geometry.sides(description, side) for side in size]
    if None in sides:
        raise ValueError(f"the net does not work at {size[0]} x {size[1]}")
    sizes = {layer.name: (sides[0][layer.name], sides[1][layer.name]) for layer in description.layers}
    found: list[Operator] = []
    previous = None
    for layer in description.layers:
        operators = _layer(layer, sizes[layer.inputs[0]] if layer.inputs else size, sizes[layer.name])
        if isinstance(layer, Affine) and isinstance(previous, Activation) and layer.inputs == (previous.name,):
            found[-1] = replace(found[-1], flops=found[-1].flops + operators[0].flops)
        else:
            found += operators
        previous = layer
    return found


def _layer(layer: Layer, before: tuple[int, int], here: tuple[int, int]) -> list[Operator]:
    """The operators of a layer that makes (H, W) ``here`` of ``before``."""
    name, channels = layer.name, layer.channels
    if isinstance(layer, (Content, Noise, Crop)):
        return []
    if isinstance(layer, Convolution):
        if layer.mode == "zero" or not layer.padding:
            return [conv(name, layer.source, channels, layer.kernel, here, before)]
        padded = (before[0] + 2 * layer.padding, before[1] + 2 * layer.padding)
        pad = resampled(f"{name} pad", layer.source, before, padded)
        return [pad, conv(name, layer.source, channels, layer.kernel, here, padded)]
    if isinstance(layer, Norm):
        return [norm(name, layer.kind, channels, here)]
    if isinstance(layer, Activation):
        return [each(name, channels, here, TANH if layer.kind == "tanh" else RELU)]
    if isinstance(layer, Affine):
        return [each(name, channels, here, (layer.scale != 1) + (layer.shift != 0))]
    if isinstance(layer, Concatenate):
        return [each(name, channels, here, 0)]
    if isinstance(layer, Add):
        return [each(name, channels, here, ADD, inputs=2)]
    if isinstance(layer, AveragePool):
        return [pool(name, channels, here, layer.factor)]
    if isinstance(layer, (Pad, Upsample)):
        return [resampled(name, channels, before, here)]
    raise TypeError(f"net: no operations are known of a layer {type(layer).__name__}")
