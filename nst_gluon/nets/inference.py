"""The graph that a trained net makes pictures with: other operators than it is trained with, the same picture.

A method's module draws the graph with a :class:`Builder` (``inference_graph`` of :mod:`nst_gluon.methods.johnson` and
:mod:`nst_gluon.methods.texture_net`); :class:`Inference` compiles it, one graph for each size, and runs it. What
makes it fast,
measured in ``results/speed/inference.md``:

- oneDNN's AVX-512 kernels want multiples of 16 output channels: zero channels are added, with zero weights.
- Normalisation with known statistics (batch norm, or instance norm whose statistics were taken before) is folded into
  the weights, and oneDNN applies activations and sums as it writes a convolution's result.
- Instance norm is the batch norm operator in train mode with the ReLU inside it, in oneDNN's own memory layout.
- Upsampling by 2 and the 3x3 convolution after it are one transposed convolution, 4x4 with stride 2: 4/9 of the work.
- A convolution of a concatenation is the sum of two.
- In bfloat16 all but the first convolutions and the last result: 41 dB against float32 for the bundled texture, 50 and
  55 for the stylising nets. There is no int8: with convolutions alone quantised and exact ranges for each picture it
  has 28 dB for the texture, 32 for stylisation by the texture network and 30 on a dark photo for Johnson's.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from types import ModuleType

import numpy as np

from nst_gluon.descriptor.vgg import BFLOAT16
from nst_gluon.system.engine import mx

# Output channels for which oneDNN takes its AVX-512 kernels.
LANES = 16
# Inputs (pictures, noise) have fewer channels than this, activations do not.
LEAST_WIDTH = 8
# Gluon's default for batch norm, and that of layers.InstanceNorm.
EPSILON = 1e-5
# Graphs that stay compiled: a picture's size and that of its tiles, say. Each holds its own memory.
KEPT_GRAPHS = 2

# What names of symbols begin with whose statistics are not known yet.
MARK = "unknown_"

Statistics = Mapping[str, tuple[np.ndarray, np.ndarray]]
S = mx.sym


def laid_out(channels: int) -> int:
    """Channels that an activation of ``channels`` has inside a graph: the next multiple of LANES."""
    return -(-channels // LANES) * LANES


def fit(array: np.ndarray, *sizes: int) -> np.ndarray:
    """``array`` with zeros appended so that its first axes have the given sizes."""
    edges = [(0, size - have) for size, have in zip(sizes, array.shape)]
    return np.pad(array, edges + [(0, 0)] * (array.ndim - len(sizes)))


def upsampling_kernel(weight: np.ndarray) -> np.ndarray:
    """Weights (in, out, 4, 4) of the transposed convolution with stride 2 that equals nearest upsampling by 2 and
    then the 3x3 convolution ``weight`` (out, in, 3, 3).

    Each low-resolution pixel is a 2x2 square, which the convolution smears over 4x4. On n pixels, with ``pad`` 2 the
    result is the 2n - 2 pixels of the unpadded convolution, with 1 the 2n of the zero-padded one.
    """
    flipped = weight[:, :, ::-1, ::-1]
    kernel = sum(np.pad(flipped, ((0, 0), (0, 0), (i, 1 - i), (j, 1 - j))) for i in (0, 1) for j in (0, 1))
    return np.ascontiguousarray(kernel.transpose(1, 0, 2, 3))


def phase_kernel(weight: np.ndarray) -> np.ndarray:
    """Weights (4 * out, in, k + 1, k + 1) of the convolution with stride 2 whose channels, taken apart by
    ``depth_to_space``, are the convolution ``weight`` (out, in, k, k) with stride 1.

    Few output channels leave most of a vector unit idle; four times as many at a quarter of the pixels do not.
    """
    phases = [np.pad(weight, ((0, 0), (0, 0), (i, 1 - i), (j, 1 - j))) for i in (0, 1) for j in (0, 1)]
    return np.concatenate(phases)


class Builder:
    """Symbols of a graph, and the arrays that they need.

    Args:
        params: the net's parameters by structural name.
        statistics: mean and variance (C,) of each normalisation, by its structural name, to be folded into weights;
            None takes them from the picture at hand, in train mode (instance norm).
        dtype: ``bfloat16`` puts all between the first convolution and the last one's result in half precision.

    Where some statistics are known and others are not, ``unknown`` holds by name what the next ones are to be taken
    from: the inputs of those normalisations that depend on known ones only.
    """

    def __init__(
        self, params: Mapping[str, np.ndarray], statistics: Statistics | None = None, dtype: str = "float32"
    ):
        self.params, self.statistics, self._half = params, statistics, dtype == "bfloat16"
        self.arrays: dict[str, np.ndarray] = {}
        self.halves: set[str] = set()
        self.unknown: dict[str, object] = {}

    @property
    def folds(self) -> bool:
        """Whether normalisations are folded into convolutions."""
        return self.statistics is not None

    @property
    def knows_all(self) -> bool:
        """Whether the statistics of every normalisation are known."""
        end = ".gamma"
        return self.folds and all(name[: -len(end)] in self.statistics for name in self.params if name.endswith(end))

    def note(self, x, norm: str):
        """``x``, the input of ``norm``: noted if the statistics of ``norm`` are the next that are to be taken.

        What is made of it from here on means nothing, and bears a mark in its name.
        """
        if not self.folds or norm in self.statistics:
            return x
        if not any(name.startswith(MARK) for name in x.get_internals().list_outputs()):
            self.unknown[norm] = x
        return S.identity(x, name=f"{MARK}{norm}")

    def constant(self, value: np.ndarray, half: bool = False):
        """A symbol for an array that is part of the graph, in bfloat16 if ``half``."""
        name = f"constant{len(self.arrays)}"
        self.arrays[name] = np.ascontiguousarray(value, dtype=np.float32)
        if half:
            self.halves.add(name)
        return S.var(name)

    def single(self, x):
        """``x`` in float32."""
        return S.amp_cast(x, dtype="float32") if self._half else x

    def affine(self, norm: str) -> tuple[np.ndarray, np.ndarray]:
        """Scale and shift (C,) that the normalisation ``norm`` is; of an unknown one, those of (0, 1)."""
        mean, variance = self.statistics.get(norm, (np.float32(0), np.float32(1)))
        scale = self.params[f"{norm}.gamma"] / np.sqrt(variance + EPSILON)
        return scale, self.params[f"{norm}.beta"] - scale * mean

    def kernel(self, conv: str, norm: str | None) -> tuple[np.ndarray, np.ndarray | None]:
        """Weight and bias of a convolution, ``norm`` folded in; no bias where a normalisation takes it away again."""
        weight, bias = self.params[f"{conv}.weight"], self.params[f"{conv}.bias"]
        if norm is None:
            return weight, bias
        if not self.folds:
            return weight, None
        if norm not in self.statistics:
            return weight, bias
        scale, shift = self.affine(norm)
        return weight * scale[:, None, None, None], bias * scale + shift

    def _operands(self, x, kernel: np.ndarray, bias: np.ndarray | None, out: int, half: bool) -> list:
        """Data, weight and bias of an operator with ``out`` channels laid out, in its precision."""
        arrays = [kernel] if bias is None else [kernel, fit(bias, laid_out(out))]
        return [S.amp_cast(x, dtype=BFLOAT16) if half else x, *(self.constant(array, half) for array in arrays)]

    def convolution(self, x, weight: np.ndarray, bias: np.ndarray | None, stride: int = 1, pad: int = 0):
        """A convolution of ``x``, whose channels are laid out or, for the net's inputs, as they are.

        Of inputs, with their few channels, always in float32: half precision is slower there.
        """
        out, source = weight.shape[:2]
        is_input = source < LEAST_WIDTH
        kernel = fit(weight, laid_out(out), source if is_input else laid_out(source))
        operands = self._operands(x, kernel, bias, out, self._half and not is_input)
        return S.Convolution(
            *operands, num_filter=laid_out(out), kernel=weight.shape[2:], no_bias=bias is None,
            stride=(stride, stride), pad=(pad, pad),
        )  # fmt: skip

    def upsampled_convolution(self, x, weight: np.ndarray, bias: np.ndarray | None, pad: int | tuple[int, int]):
        """Nearest upsampling by 2, then the 3x3 convolution ``weight``; ``pad`` as in :func:`upsampling_kernel`.

        Of both axes, or one each.
        """
        out, source = weight.shape[:2]
        kernel = upsampling_kernel(fit(weight, laid_out(out), laid_out(source)))
        return S.Deconvolution(
            *self._operands(x, kernel, bias, out, self._half), num_filter=laid_out(out), kernel=(4, 4), stride=(2, 2),
            pad=pad if isinstance(pad, tuple) else (pad, pad), no_bias=bias is None,
        )  # fmt: skip

    def activate(self, x, leak: float | None):
        """ReLU, leaky for a ``leak`` above 0; None leaves ``x`` as it is."""
        if leak is None:
            return x
        return S.LeakyReLU(x, act_type="leaky", slope=leak) if leak else S.Activation(x, act_type="relu")

    def normalise(self, x, norm: str, leak: float | None = None):
        """``norm`` of ``x`` and the activation after it, where the norm is not folded into a convolution."""
        gamma, beta = self.params[f"{norm}.gamma"], self.params[f"{norm}.beta"]
        width = laid_out(len(gamma))
        known = self.statistics.get(norm) if self.folds else None
        mean, variance = known or (np.zeros(width, np.float32), np.ones(width, np.float32))
        x = self.note(x, norm)
        arrays = [self.constant(fit(value, width)) for value in (gamma, beta, mean, variance)]
        settings = {"fix_gamma": False, "eps": EPSILON, "momentum": 1.0, "use_global_stats": self.folds}
        if leak == 0 and not self.folds:
            return S.contrib.BatchNormWithReLU(x, *arrays, **settings)[0]
        return self.activate(S.BatchNorm(x, *arrays, **settings)[0], leak)

    def unit(self, x, conv: str, norm: str, leak: float | None, stride: int = 1, pad: int = 0, upsample: bool = False):
        """Convolution, normalisation, activation (None: none); ``upsample`` by 2 before, zero padding ``pad``."""
        weight, bias = self.kernel(conv, norm)
        if upsample:
            y = self.upsampled_convolution(x, weight, bias, pad)
        else:
            y = self.convolution(x, weight, bias, stride, pad)
        return self.activate(self.note(y, norm), leak) if self.folds else self.normalise(y, norm, leak)


def running_statistics(params: Mapping[str, np.ndarray]) -> Statistics:
    """Mean and variance of each batch norm by its structural name; empty for a net with instance norm."""
    end = ".running_mean"
    norms = [name[: -len(end)] for name in params if name.endswith(end)]
    return {norm: (params[f"{norm}.running_mean"], params[f"{norm}.running_var"]) for norm in norms}


def crop_channels(x, channels: int):
    """The first ``channels`` channels of (N, C, H, W).

    With ``slice_axis``: oneDNN's ``slice`` dies of a division by zero inside a block of channels.
    """
    return S.slice_axis(x, axis=1, begin=0, end=channels)


class Compiled:
    """A graph for one size of its inputs (NDArrays): a function from them to the list of its outputs."""

    def __init__(self, outputs: Sequence, builder: Builder, inputs: Sequence, ctx):
        self._train = train = not builder.folds
        symbol = S.Group(outputs)
        needed = set(symbol.list_inputs())
        values = {name: mx.nd.array(value, ctx=ctx) for name, value in builder.arrays.items() if name in needed}
        for name in builder.halves & needed:
            values[name] = mx.nd.amp_cast(values[name], dtype=BFLOAT16)
        self._named = [name for name in (f"data{i}" for i in range(len(inputs))) if name in needed]
        if not train:
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
        module: the method's, with ``inference_graph(builder, architecture, shapes, padded)``.
        architecture: as in a net file.
        params: the parameters by structural name, float32.
        statistics: see :class:`Builder`; by default those of batch norm, and for instance norm each picture's own.
        padded: whether inputs come with the surroundings that a tile needs (see :mod:`nst_gluon.nets.tiles`).
        dtype: ``float32`` or, on a CPU that has it, ``bfloat16``.
    """

    def __init__(
        self,
        module: ModuleType,
        architecture: Mapping,
        params: Mapping[str, np.ndarray],
        ctx=None,
        statistics: Statistics | None = None,
        padded: bool = False,
        dtype: str = "float32",
    ):
        self.module, self.architecture, self.params = module, architecture, params
        self._ctx, self._padded, self._dtype = ctx or mx.cpu(), padded, dtype
        self.statistics = running_statistics(params) or None if statistics is None else statistics
        self._graphs: OrderedDict[tuple, Compiled] = OrderedDict()

    def with_statistics(self, statistics: Statistics) -> Inference:
        """This net for tiles: with statistics of the whole picture, and inputs that have their surroundings."""
        return Inference(self.module, self.architecture, self.params, self._ctx, statistics, True, self._dtype)

    def _draw(self, inputs: Sequence, dtype: str = "float32") -> tuple[Builder, object]:
        builder = Builder(self.params, self.statistics, dtype)
        shapes = [tuple(value.shape) for value in inputs]
        return builder, self.module.inference_graph(builder, self.architecture, shapes, self._padded)

    def unknown(self, inputs: Sequence) -> tuple[Compiled | None, list[str]]:
        """What the next unknown statistics are to be taken from, for inputs of that size: a graph whose outputs are
        the inputs of the normalisations named; (None, []) when all are known. See :class:`Builder`."""
        builder, _ = self._draw(inputs)
        if not builder.unknown:
            return None, []
        outputs = list(builder.unknown.values())
        return Compiled(outputs, builder, inputs, self._ctx), list(builder.unknown)

    def unknown_names(self, inputs: Sequence) -> list[str]:
        """The normalisations whose statistics :meth:`unknown` is about."""
        return list(self._draw(inputs)[0].unknown)

    def _picture(self, inputs: Sequence):
        key = tuple(tuple(value.shape) for value in inputs)
        if key not in self._graphs:
            while len(self._graphs) >= KEPT_GRAPHS:
                self._graphs.popitem(last=False)
            builder, picture = self._draw(inputs, self._dtype)
            self._graphs[key] = Compiled([picture], builder, inputs, self._ctx)
        self._graphs.move_to_end(key)
        return self._graphs[key](*inputs)[0]

    def __call__(self, *inputs):
        """Pictures (N, 3, H, W), not clipped, of NDArrays (N, C, H, W). Asynchronous.

        Where each picture has statistics of its own, the pictures of a batch go through one by one.
        """
        count = inputs[0].shape[0]
        if self.statistics is not None or count == 1:
            return self._picture(inputs)
        return mx.nd.concat(*(self._picture([x[i : i + 1] for x in inputs]) for i in range(count)), dim=0)
