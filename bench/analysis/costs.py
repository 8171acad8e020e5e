"""What each method has to compute and to move, counted from its architecture: pure functions. Imports no engine.

A method is a list of operators. Each counts floating-point operations (a multiplication and an addition are two) and
the bytes of what it reads and writes: its weights and activations once each, float32 or, where the operator works in
half precision, bfloat16. That is the traffic of operators that run one after the other, from memory to memory; caches
and fused operators move less, so a measured speed may lie above the roofline that follows from it.

Counted as the mathematics has it, not as a library does: no gradient of fixed weights, one matrix product for the
gradient of a Gram. Not counted: conversions between precisions, noise, the optimiser's own vectors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nst_gluon.descriptor.weights.model import CHANNELS, CONVOLUTIONS
from nst_gluon.nets.inputs import NOISE_CHANNELS, WIDTH, johnson_widths, texture_net_widths
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


def conv(name: str, source: int, channels: int, kernel: int, size: tuple[int, int], stride: int = 1, margin: int = 0):
    """A convolution with bias.

    Args:
        size: (H, W) of the output.
        margin: pixels that the input has beyond ``stride`` times the output: 2 for an unpadded 3x3.
    """
    height, width = size
    pixels = height * width
    return Operator(
        name,
        flops=(2 * kernel * kernel * source + 1) * channels * pixels,
        weights=(kernel * kernel * source + 1) * channels,
        read=source * (height * stride + margin) * (width * stride + margin),
        written=channels * pixels,
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


def enlarged(size: tuple[int, int], amount: int) -> tuple[int, int]:
    """(H, W) padded by ``amount`` on each side."""
    return size[0] + 2 * amount, size[1] + 2 * amount


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


def names(preset: Preset, task: str) -> list[str]:
    """The layers that an objective needs."""
    return [name for name, _ in (*preset.style_layers, *(preset.content_layers if task == "stylize" else ()))]


def evaluation(preset: Preset, task: str, size: tuple[int, int], arch: str = "vgg19") -> list[Operator]:
    """The objective of one picture (H, W): descriptor and losses, forward only."""
    return [*descriptor(arch, names(preset, task), size), *losses(preset, task, size)]


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


def johnson(
    size: tuple[int, int], norm_kind: str = "instance", residuals: int = 5, output: str = "tanh", width: float = 1.0
) -> list[Operator]:
    """The Johnson net for one picture (H, W), multiples of 4; see :mod:`nst_gluon.methods.johnson`."""
    a, b, c = johnson_widths(width)
    here = enlarged(size, 8 * residuals)
    found = [each("subtract", 3, size, ADD), resampled("pad", 3, size, here)]

    def layer(name: str, source: int, channels: int, kernel: int, stride: int = 1, margin: int = 0, act: bool = True):
        found.append(conv(name, source, channels, kernel, here, stride, margin))
        found.append(norm(f"{name} norm", norm_kind, channels, here))
        if act:
            found.append(each(f"{name} relu", channels, here, RELU))

    layer("conv1", 3, a, 9)
    for name, source, channels in (("down1", a, b), ("down2", b, c)):
        here = (here[0] // 2, here[1] // 2)
        layer(name, source, channels, 3, stride=2)
    for block in range(residuals):
        for index in (1, 2):
            here = enlarged(here, -1)
            layer(f"residual{block}.{index}", c, c, 3, margin=2, act=index == 1)
        found.append(each(f"residual{block} add", c, here, ADD, inputs=2))
    for name, source, channels in (("up1", c, b), ("up2", b, a)):
        above = (here[0] * 2, here[1] * 2)
        found.append(resampled(f"{name} upsample", source, here, above))
        here = above
        layer(name, source, channels, 3)
    found.append(conv("conv2", a, 3, 9, here))
    return [*found, each(output, 3, here, AFFINE + (TANH if output == "tanh" else 0))]


def texture_net(
    size: tuple[int, int],
    scales: int = 5,
    content: bool = False,
    norm_kind: str = "batch",
    padding: str = "circular",
    finest: int | None = None,
) -> list[Operator]:
    """A texture network for one picture (H, W), multiples of 2^(scales - 1); see
    :mod:`nst_gluon.methods.texture_net`."""
    found: list[Operator] = []

    def block(name: str, source: int, channels: int, here: tuple[int, int]) -> None:
        for number, (inputs, kernel) in enumerate(((source, 3), (channels, 3), (channels, 1)), 1):
            if kernel > 1 and padding != "zero":
                found.append(resampled(f"{name}.{number} pad", inputs, here, enlarged(here, 1)))
            margin = kernel - 1 if padding != "zero" else 0
            found.append(conv(f"{name}.{number} conv", inputs, channels, kernel, here, margin=margin))
            found.append(norm(f"{name}.{number} norm", norm_kind, channels, here))
            found.append(each(f"{name}.{number} relu", channels, here, RELU))

    inputs = NOISE_CHANNELS + (3 if content else 0)
    for k in range(scales):
        here = (size[0] >> k, size[1] >> k)
        if content and k:
            found.append(pool(f"content{k}", 3, here, 2**k))
        if content:
            found.append(each(f"input{k}", inputs, here, 0))
        block(f"block{k}", inputs, WIDTH, here)
    widths = texture_net_widths(scales, finest)
    for index in range(1, scales):
        here, deep = (size[0] >> (scales - 1 - index), size[1] >> (scales - 1 - index)), WIDTH * index
        found.append(resampled(f"join{index} upsample", deep, (here[0] // 2, here[1] // 2), here))
        found.append(norm(f"join{index} deep norm", norm_kind, deep, here))
        found.append(norm(f"join{index} shallow norm", norm_kind, WIDTH, here))
        found.append(each(f"join{index} concat", deep + WIDTH, here, 0))
        block(f"join{index}", deep + WIDTH, widths[index - 1], here)
    found.append(conv("output", widths[-1], 3, 1, size))
    return [*found, each("add", 3, size, ADD)]


def net(method: str, architecture: Mapping[str, Any], size: tuple[int, int]) -> list[Operator]:
    """A feed-forward method's net from the ``architecture`` of its file, at the size at which it works.

    Raises:
        ValueError: a method whose net is not known here.
    """
    kwargs = {name: value for name, value in architecture.items() if name not in ("norm", "noise")}
    if method == "johnson":
        least = 8 * kwargs.get("residuals", 5) + 4
        full = tuple(max(-(-side // 4) * 4, least) for side in size)
        return johnson(full, architecture.get("norm", "instance"), **kwargs)
    if method == "texture_net":
        step = 2 ** (kwargs.get("scales", 5) - 1)
        least = 2 * step if kwargs.get("padding") == "reflect" else step
        full = tuple(max(-(-side // step) * step, least) for side in size)
        return texture_net(full, norm_kind=architecture.get("norm", "batch"), **kwargs)
    raise ValueError(f"no net of {method!r} is known")
