"""A net's graph for inference, drawn from its description: other operators than it is trained with, the same picture.

What makes it fast, measured in ``results/speed/inference.md``; each is a pattern of layers, whatever the net:

- oneDNN's fast kernels want multiples of 16 output channels, or of 8 where the processor has AVX2 only: zero channels
  are added, with zero weights. Those for AVX2 pad by at most 3 pixels: more are added before.
- Normalisation with known statistics (batch norm, or instance norm whose statistics were taken before) is folded into
  the convolution before it, or after it unless that pads with zeros; oneDNN applies activations and sums as it writes
  a convolution's result.
- Instance norm is the batch norm operator in train mode with the ReLU inside it, in oneDNN's own memory layout.
- Upsampling by 2 and the 3x3 convolution after it are one transposed convolution, 4x4 with stride 2: 4/9 of the work.
  A norm between the two comes before both.
- A convolution of a concatenation is the sum of two.
- A large last kernel makes four pixels at a time, as channels: one of 5x5 after upsampling from the coarser picture.
- Where all padding is circular and all statistics are known, inputs are wrapped around once and no convolution is
  padded. The finest scale, whose activations are the only large ones, is worked on in strips that stay in the
  processor's cache.
- In bfloat16 all but the first convolutions and the last result.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nst_gluon.descriptor.vgg import BFLOAT16
from nst_gluon.methods.description import (
    EPSILON,
    Activation,
    Affine,
    AveragePool,
    Convolution,
    Layer,
    Net,
    Norm,
    Upsample,
)
from nst_gluon.nets import geometry, operators, patterns
from nst_gluon.nets.kernels import (
    WIDEST_PAD,
    coarse_phase_kernel,
    fit,
    laid_out,
    phase_kernel,
    rows_below,
    upsampling_kernel,
)
from nst_gluon.system.engine import mx

# Inputs (pictures, noise) have fewer channels than this, activations do not.
LEAST_WIDTH = 8
# Rows of the finest scale that are worked on at a time: 3 MB an activation at 256x256.
STRIP_ROWS = 64
# What names of symbols begin with whose statistics are not known yet.
MARK = "unknown_"

Statistics = Mapping[str, tuple[np.ndarray, np.ndarray]]
S = mx.sym


@dataclass(frozen=True)
class Value:
    """What a layer makes, not all of it done yet.

    Attributes:
        symbol: (N, width, H, W), where the first ``channels`` channels count.
        laid: whether it has zero channels up to a multiple of LANES: activations have, inputs do not.
        half: whether it is in bfloat16.
        margin: pixels that it has around what is wanted, on each side.
        upsampled: it is still to be upsampled by 2; ``margin`` is that before.
        affine: scale and shift (C,) that are still to be applied.
        parts: what is still to be concatenated, in the place of ``symbol``.
        whole: it has all rows where a strip of them is worked on.
    """

    symbol: Any
    channels: int
    width: int
    laid: bool = False
    half: bool = False
    margin: int = 0
    upsampled: bool = False
    affine: tuple[np.ndarray, np.ndarray] | None = None
    parts: tuple[Value, ...] = ()
    whole: bool = False


class InferenceGraph:
    """The graph's symbol ``picture``, or what ``unknown`` statistics are to be taken from, and the arrays it needs.

    Args:
        net: the description.
        params: the net's parameters by name.
        statistics: known means and variances (C,) by the name of the norm.
        shapes: of the inputs ``data0``, ``data1`` ... in the net's order.
        tile: the inputs have their surroundings already (:func:`nst_gluon.nets.geometry.tile_geometry`), and
            statistics that are not known are to be taken of the whole picture before; otherwise they are taken from
            the picture at hand, in train mode.
        kept: activations that were kept of an earlier graph for the same tile, by name, as its ``offered`` had them:
            the inputs ``data`` after those of the net, in order.
        dtype: ``bfloat16`` puts all between the first convolution and the last one's result in half precision.

    Attributes:
        train: whether the graph runs in train mode.
        unknown: for a tile, by name, the inputs of those norms of unknown statistics that depend on known ones only.
        offered: for a tile, what would spare later graphs most of the work: by the name of a norm what it normalises,
            and by that of a sum the sum.
    """

    def __init__(
        self,
        net: Net,
        params: Mapping[str, np.ndarray],
        statistics: Statistics,
        shapes: Sequence[tuple[int, ...]],
        tile: bool = False,
        dtype: str = "float32",
        kept: Mapping[str, Value] | None = None,
    ):
        self.net, self.params, self.statistics, self.tile = net, params, statistics, tile
        self._kept = {
            name: replace(value, symbol=S.var(f"data{len(net.inputs) + number}"))
            for number, (name, value) in enumerate((kept or {}).items())
        }
        self.offered: dict[str, Value] = {}
        self.half = dtype == "bfloat16"
        norms = [layer.name for layer in net.layers if isinstance(layer, Norm)]
        known = all(name in statistics for name in norms)
        self.train = not (tile or known)
        self.margins = None if self.train else geometry.margins(net)
        self.arrays: dict[str, np.ndarray] = {}
        self.halves: set[str] = set()
        self.unknown: dict[str, Any] = {}
        self.rows: tuple[int, int] | None = None
        self._values = {layer.name: self._input(i, layer, shapes[i]) for i, layer in enumerate(net.inputs)}
        self._pools: dict[tuple[str, int], Any] = {}
        if self.margins and known and patterns.finest_is_apart(net):
            around = 2 * self.margins[net.inputs[0].name] * tile
            height = (shapes[0][2] - around) << net.inputs[0].reduction
            self.picture = self._in_strips(height)
        else:
            self._draw(net.layers)
            self.picture = self._finished()

    def constant(self, value: np.ndarray, half: bool = False):
        """A symbol for an array that is part of the graph, in bfloat16 if ``half``."""
        name = f"constant{len(self.arrays)}"
        self.arrays[name] = np.ascontiguousarray(value, dtype=np.float32)
        if half:
            self.halves.add(name)
        return S.var(name)

    def _draw(self, layers: Iterable[Layer]) -> None:
        for layer in layers:
            if layer.name not in self._values:
                getattr(self, f"_{type(layer).__name__.lower()}")(layer)

    def _made(self, value: Value, *layers: Layer | None) -> None:
        """Of ``layers``, one after another, ``value`` is what the last one makes; nothing else takes the others."""
        for layer in layers:
            if layer is not None:
                self._values[layer.name] = value

    def _finished(self):
        """The picture (N, 3, H, W), in float32."""
        return self._cropped(self._single(self._plain(self.net.output.name)))

    # Strips of the finest scale

    def _in_strips(self, height: int):
        layers = [layer for layer in self.net.layers if layer.inputs]
        self._draw(layer for layer in layers if layer.reduction > 0)
        coarse, strips = {name: replace(value, whole=True) for name, value in self._values.items()}, []
        for first in range(0, height, STRIP_ROWS):
            self.rows = first, min(first + STRIP_ROWS, height)
            self._values = dict(coarse)
            for layer in self.net.inputs:
                if layer.reduction == 0:
                    self._values[layer.name] = self._at(coarse[layer.name], self.margins[layer.name])
            self._draw(layer for layer in layers if layer.reduction == 0)
            strips.append(self._finished())
        return S.concat(*strips, dim=2)

    # Values

    def _input(self, number: int, layer: Layer, shape: tuple[int, ...]) -> Value:
        symbol, margin = S.var(f"data{number}"), self.margins[layer.name] if self.margins else 0
        if margin and not self.tile:
            symbol = operators.wrap(S, symbol, margin, shape)
        return Value(symbol, layer.channels, layer.channels, margin=margin)

    def _cropped(self, value: Value):
        """The symbol's channels that count."""
        if value.width == value.channels:
            return value.symbol
        return operators.crop_channels(S, value.symbol, value.channels)

    def _single(self, value: Value) -> Value:
        """In float32."""
        return replace(value, symbol=S.amp_cast(value.symbol, dtype="float32"), half=False) if value.half else value

    def _at(self, value: Value, margin: int) -> Value:
        """With that ``margin``, and the rows that are worked on."""
        symbol, surplus = value.symbol, value.margin - margin
        if value.whole and self.rows is not None:
            symbol = operators.rows(S, symbol, self.rows[0] + surplus, self.rows[1] + surplus + 2 * margin)
        elif surplus:
            symbol = operators.rows(S, symbol, surplus, -surplus)
        if surplus:
            symbol = S.slice_axis(symbol, axis=3, begin=surplus, end=-surplus)
        return replace(value, symbol=symbol, margin=margin, whole=False)

    def _plain(self, name: str, layer: Layer | None = None) -> Value:
        """The value of ``name`` with all done that was not done yet, and the margin that ``layer`` needs."""
        value = self._values[name]
        if value.parts:
            parts = [self._plain_value(part) for part in value.parts]
            least = min(part.margin for part in parts)
            parts = [self._at(part, least) for part in parts]
            if len({part.half for part in parts}) > 1:
                parts = [self._single(part) for part in parts]
            symbol = S.concat(*(self._cropped(part) for part in parts), dim=1)
            value = replace(parts[0], symbol=symbol, channels=value.channels, width=value.channels, laid=False)
        value = self._plain_value(value)
        return self._at(value, self.margins[layer.name]) if layer and self.margins else value

    def _plain_value(self, value: Value) -> Value:
        if not value.upsampled:
            return value
        value = self._single(value)
        symbol = operators.upsample(S, value.symbol, value.width)
        return replace(value, symbol=symbol, upsampled=False, margin=2 * value.margin)

    def _offer(self, name: str, value: Value) -> None:
        """Note what a later graph for the same tile might begin with."""
        if self.tile and not self.margins and not value.half and not _marked(value.symbol):
            self.offered[name] = value

    # Norms

    def _note(self, x, norm: str):
        """``x``, the input of ``norm``: noted if the statistics of ``norm`` are the next that are to be taken.

        What is made of it from here on means nothing, and bears a mark in its name.
        """
        if self.train or norm in self.statistics:
            return x
        if not _marked(x):
            self.unknown[norm] = x
        return S.identity(x, name=f"{MARK}{norm}")

    def _scale_shift(self, norm: str) -> tuple[np.ndarray, np.ndarray]:
        """Scale and shift (C,) that the normalisation ``norm`` is; of an unknown one, those of (0, 1)."""
        mean, variance = self.statistics.get(norm, (np.float32(0), np.float32(1)))
        scale = self.params[f"{norm}.gamma"] / np.sqrt(variance + EPSILON)
        return scale, self.params[f"{norm}.beta"] - scale * mean

    def _normalised(self, x, norm: str, width: int, after: Activation | None):
        """``norm`` of ``x`` and the activation after it, where the norm is not folded into a convolution."""
        known = not self.train or norm in self.statistics
        mean, variance = self.statistics.get(norm, (np.zeros(width, np.float32), np.ones(width, np.float32)))
        x = self._note(x, norm)
        arrays = (self.params[f"{norm}.gamma"], self.params[f"{norm}.beta"], mean, variance)
        arrays = [self.constant(fit(value, width)) for value in arrays]
        settings = {"fix_gamma": False, "eps": EPSILON, "momentum": 1.0, "use_global_stats": known}
        if after is not None and after.kind == "relu":
            return S.contrib.BatchNormWithReLU(x, *arrays, **settings)[0]
        return activated(S.BatchNorm(x, *arrays, **settings)[0], after)

    def _norm(self, layer: Norm) -> None:
        """A norm that is not folded into the convolution before it. One of something upsampled is one of the less."""
        value = self._values[layer.inputs[0]]
        value = value if value.upsampled else self._plain(layer.inputs[0])
        if (not self.train or layer.name in self.statistics) and patterns.folds_on(self.net, layer):
            self._values[layer.name] = replace(
                value, symbol=self._note(value.symbol, layer.name), affine=self._scale_shift(layer.name)
            )
            return
        after = patterns.follower(self.net, layer, Activation)
        after = after if after and after.kind != "tanh" else None
        symbol = self._normalised(value.symbol, layer.name, value.width, after)
        self._made(replace(value, symbol=symbol), layer, after)

    # Convolutions

    def _convolution(self, layer: Convolution) -> None:
        """A convolution, and the norm or the scale and shift, and the activation, that follow it alone."""
        weight, bias = self.params[f"{layer.name}.weight"], self.params[f"{layer.name}.bias"]
        net, last = self.net, patterns.follower(self.net, layer, Affine) or layer
        if isinstance(last, Affine):
            weight, bias = weight * np.float32(last.scale), bias * np.float32(last.scale) + np.float32(last.shift)
        norm = patterns.follower(net, layer, Norm)
        folds = norm is not None and (not self.train or norm.name in self.statistics)
        if folds and norm.name in self.statistics:
            scale, shift = self._scale_shift(norm.name)
            weight, bias = weight * scale[:, None, None, None], bias * scale + shift
        elif norm is not None and not folds:
            bias = None  # The norm takes it away again.
        last = norm or last
        after = patterns.follower(net, last, Activation)
        if norm is not None and norm.name in self._kept:
            value = self._kept[norm.name]
            symbol = self._normalised(value.symbol, norm.name, value.width, after)
            self._made(replace(value, symbol=symbol), layer, last, after)
            return
        source = self._values[layer.inputs[0]]
        phased = patterns.is_phased(net, layer) and not source.parts and source.affine is None
        value = self._sum(layer, weight, bias, phased)
        if phased or (after and after.kind == "tanh"):
            value = self._single(value)
        if norm is not None and norm.name not in self.statistics:
            self._offer(norm.name, value)
        if norm is None:
            symbol = activated(value.symbol, after)
        elif folds:
            symbol = activated(self._note(value.symbol, norm.name), after)
        else:
            symbol = self._normalised(value.symbol, norm.name, value.width, after)
        if phased:
            symbol = S.depth_to_space(operators.crop_channels(S, symbol, 4 * layer.channels), block_size=2)
            value = Value(symbol, layer.channels, layer.channels)
        self._made(replace(value, symbol=symbol), layer, last, after)

    def _sum(self, layer: Convolution, weight: np.ndarray, bias: np.ndarray | None, phased: bool) -> Value:
        """``layer`` with other weights, of all parts of what it takes."""
        source = self._values[layer.inputs[0]]
        parts = list(source.parts or (source,))
        ends = np.cumsum([part.channels for part in parts])
        if any(part.affine for part in parts):
            ones, zeros = (np.full(layer.source, fill, np.float32) for fill in (1, 0))
            affines = [part.affine or (ones[: part.channels], zeros[: part.channels]) for part in parts]
            scale, shift = (np.concatenate(pair)[:, None, None] for pair in zip(*affines))
            weight, bias = weight * scale, None if bias is None else bias + (weight * shift).sum(axis=(1, 2, 3))
        weights = np.split(weight, ends[:-1], axis=1)
        small = [part.upsampled and layer.kernel == 3 and layer.stride == 1 and layer.padding <= 1 for part in parts]
        total = None
        # The bias goes with the last convolution: oneDNN adds to it what was made before.
        order = sorted(range(len(parts)), key=lambda number: not small[number])
        for number in order:
            own = bias if number == order[-1] else None
            made = self._convolved(parts[number], layer, weights[number], own, small[number], phased)
            total = made if total is None else self._added(made, total)
        return total

    def _convolved(
        self, x: Value, layer: Convolution, weight: np.ndarray, bias: np.ndarray | None, small: bool, phased: bool
    ) -> Value:
        """One part of :meth:`_sum`; ``small``: from before its upsampling."""
        margin, takes = self.margins[layer.name] if self.margins else 0, layer.padding
        pad = takes if layer.mode == "zero" and not self.margins else 0
        stride = 2 if phased else layer.stride
        coarse = phased and x.upsampled and layer.kernel == 5 and layer.mode == "zero"
        if coarse:
            x, pad, stride = replace(x, upsampled=False), 1, 1
        elif not small:
            x = self._plain_value(x)
            if self.margins:
                x = self._at(x, margin + takes)
            elif takes and (not pad or pad > WIDEST_PAD):
                x, pad = self._padded(x, takes, layer.mode), 0
        if phased:
            weight, bias = (coarse_phase_kernel if coarse else phase_kernel)(weight), np.tile(bias, 4)
        out, taken = weight.shape[:2]
        half = self.half and not (x.width < LEAST_WIDTH and not x.laid)
        width = laid_out(out)
        settings = {"num_filter": width, "no_bias": bias is None}
        if small:
            kernel = upsampling_kernel(fit(weight, width, x.width))
            if self.margins:
                pad = 2 * x.margin - margin + 1
                if self.rows is not None:
                    begin, end, above = rows_below(*self.rows, pad, margin)
                    x = replace(x, symbol=operators.rows(S, x.symbol, begin, end))
                    pad = (above, pad)
            elif takes and not pad:
                # Reflection of an upsampled picture by one pixel repeats the edge of the coarse one.
                mode = "edge" if layer.mode == "reflect" else layer.mode
                x, pad = replace(x, symbol=operators.pad_by_one(S, x.symbol, mode)), 3
            else:
                pad = 2 - takes
            settings.update(kernel=(4, 4), stride=(2, 2), pad=pad if isinstance(pad, tuple) else (pad, pad))
        else:
            kernel = fit(weight, width, x.width)
            settings.update(kernel=weight.shape[2:], stride=(stride, stride), pad=(pad, pad))
        arrays = [kernel] if bias is None else [kernel, fit(bias, width)]
        data = S.amp_cast(x.symbol, dtype=BFLOAT16) if half else x.symbol
        operator = S.Deconvolution if small else S.Convolution
        symbol = operator(data, *(self.constant(array, half) for array in arrays), **settings)
        return Value(symbol, layer.channels, width, laid=True, half=half, margin=margin)

    def _padded(self, x: Value, amount: int, mode: str) -> Value:
        if amount == 1 and mode != "zero":
            return replace(x, symbol=operators.pad_by_one(S, x.symbol, mode))
        x = self._single(x)
        return replace(x, symbol=operators.pad(S, x.symbol, amount, mode))

    # All other layers

    def _added(self, x: Value, y: Value) -> Value:
        if x.half != y.half:
            x, y = self._single(x), self._single(y)
        if x.width == y.width:
            return replace(x, symbol=x.symbol + y.symbol, laid=x.laid and y.laid)
        return replace(x, symbol=self._cropped(x) + self._cropped(y), width=x.channels, laid=False)

    def _add(self, layer) -> None:
        if layer.name in self._kept:
            self._values[layer.name] = self._kept[layer.name]
            return
        x, y = (self._plain(name, layer) for name in layer.inputs)
        self._values[layer.name] = self._added(x, y)
        self._offer(layer.name, self._values[layer.name])

    def _concatenate(self, layer) -> None:
        parts = tuple(self._values[name] for name in layer.inputs)
        flat = tuple(part for value in parts for part in (value.parts or (value,)))
        self._values[layer.name] = Value(None, layer.channels, 0, parts=flat)
        lazy = any(part.laid or part.upsampled or part.affine for part in flat)
        if not (lazy and all(isinstance(taker, Convolution) for taker in self.net.consumers(layer.name))):
            self._values[layer.name] = self._plain(layer.name, layer)

    def _activation(self, layer: Activation) -> None:
        x = self._plain(layer.inputs[0])
        x = self._single(x) if layer.kind == "tanh" else x
        self._values[layer.name] = replace(x, symbol=activated(x.symbol, layer))

    def _affine(self, layer: Affine) -> None:
        x = self._single(self._plain(layer.inputs[0]))
        scaled = x.symbol if layer.scale == 1 else layer.scale * x.symbol
        self._values[layer.name] = replace(x, symbol=scaled + layer.shift)

    def _pad(self, layer) -> None:
        x = self._plain(layer.inputs[0])
        skipped = self.tile and layer.name in geometry.outer_pads(self.net)
        self._values[layer.name] = x if skipped else self._padded(x, layer.amount, layer.mode)

    def _crop(self, layer) -> None:
        x, amount = self._plain(layer.inputs[0]), layer.amount
        self._values[layer.name] = replace(x, symbol=operators.crop(S, x.symbol, amount))

    def _upsample(self, layer: Upsample) -> None:
        value = self._values[layer.inputs[0]]
        value = self._plain(layer.inputs[0]) if value.parts or value.upsampled else value
        self._values[layer.name] = replace(value, upsampled=True)

    def _averagepool(self, layer: AveragePool) -> None:
        """One pooling by 2 after another: those of other layers are used again."""
        x, source, factor = self._plain(layer.inputs[0]), layer.inputs[0], 1
        margin = self.margins[layer.name] if self.margins else 0
        x = self._single(self._at(x, margin * layer.factor))
        while factor < layer.factor:
            before, factor = x.symbol, 2 * factor
            x = replace(x, symbol=self._pools.get((source, factor, margin * layer.factor)))
            if x.symbol is None:
                x = replace(x, symbol=S.Pooling(before, kernel=(2, 2), stride=(2, 2), pool_type="avg"))
                self._pools[source, factor, margin * layer.factor] = x.symbol
        self._values[layer.name] = replace(x, margin=margin)


def _marked(x) -> bool:
    """Whether it depends on unknown statistics."""
    return any(name.startswith(MARK) for name in x.get_internals().list_outputs())


def activated(x, activation: Activation | None):
    """``x`` through an activation; None leaves it as it is."""
    if activation is None:
        return x
    if activation.kind == "leaky_relu":
        return S.LeakyReLU(x, act_type="leaky", slope=activation.slope)
    return S.Activation(x, act_type=activation.kind)
