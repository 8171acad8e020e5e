"""A net as data: a small graph of layers that is written down once and interpreted many times.

The same description trains in Gluon, infers through oneDNN, is cut into tiles, exported to ONNX, run in PyTorch and
counted. It needs no engine. A layer has a name, which its parameters carry in a net file (``conv1.weight``,
``norm1.gamma``), and names the layers that it takes; the last layer is the picture.

    net = Builder()
    x = net.content()
    x = net.convolution("conv1", x, 32, kernel=9, padding=4)
    x = net.activation(net.norm("norm1", x, "instance"), "relu")
    x = net.convolution("conv2", x, 3, kernel=9, padding=4)
    description = net.build()
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nst_gluon.system.errors import UserError, did_you_mean
from nst_gluon.system.files import one_line

if TYPE_CHECKING:
    from nst_gluon.methods.base import Generator

PADDINGS = ("zero", "reflect", "circular")
NORMS = ("instance", "batch")
ACTIVATIONS = ("relu", "leaky_relu", "tanh")
# A net of more parameters is a mistake or an attack: 64 million are 256 MB, forty times the largest paper's.
MAX_PARAMETERS = 64_000_000
MAX_LAYERS = 2_000
MAX_REDUCTION = 12
MAX_VALUES = 2_048  # that a layer reads and writes, for each pixel of the picture: 8 kB; the Johnson net's most are 64
# Added to the variance before its root is taken, as in all common frameworks.
EPSILON = 1e-5


@dataclass(frozen=True)
class Layer:
    """What all layers have.

    Attributes:
        name: unique in the net; that of its parameters.
        inputs: names of the layers that it takes.
        channels: of what it makes.
        reduction: log2 of the side of the working picture over the side of what it makes, padding aside.
    """

    name: str
    inputs: tuple[str, ...]
    channels: int
    reduction: int

    def parameters(self) -> dict[str, tuple[int, ...]]:
        """Shapes of its learnt parameters by full name."""
        return {}

    def statistics(self) -> dict[str, tuple[int, ...]]:
        """Shapes of what it keeps beside learnt parameters (running statistics), by full name."""
        return {}


@dataclass(frozen=True)
class Content(Layer):
    """The content picture, RGB in [0, 1]."""


@dataclass(frozen=True)
class Noise(Layer):
    """Fresh uniform noise, each channel's mean moved to half its ``amplitude``."""

    amplitude: float = 1.0


@dataclass(frozen=True)
class Convolution(Layer):
    """``kernel`` x ``kernel``, with bias; ``padding`` pixels a side in ``mode`` before it."""

    source: int = 0
    kernel: int = 3
    stride: int = 1
    padding: int = 0
    mode: str = "zero"

    def parameters(self) -> dict[str, tuple[int, ...]]:
        shape = (self.channels, self.source, self.kernel, self.kernel)
        return {f"{self.name}.weight": shape, f"{self.name}.bias": (self.channels,)}


@dataclass(frozen=True)
class Norm(Layer):
    """``instance`` or ``batch`` normalisation with scale and shift."""

    kind: str = "instance"

    def parameters(self) -> dict[str, tuple[int, ...]]:
        return {f"{self.name}.{part}": (self.channels,) for part in ("gamma", "beta")}

    def statistics(self) -> dict[str, tuple[int, ...]]:
        kept = ("running_mean", "running_var") if self.kind == "batch" else ()
        return {f"{self.name}.{part}": (self.channels,) for part in kept}


@dataclass(frozen=True)
class Activation(Layer):
    """``relu``, ``leaky_relu`` with ``slope`` below zero, or ``tanh``."""

    kind: str = "relu"
    slope: float = 0.0


@dataclass(frozen=True)
class Affine(Layer):
    """``scale * x + shift``, the same for all channels: the range of pictures to that of a net and back."""

    scale: float = 1.0
    shift: float = 0.0


@dataclass(frozen=True)
class Pad(Layer):
    """``amount`` pixels more on each side."""

    amount: int = 0
    mode: str = "reflect"


@dataclass(frozen=True)
class Crop(Layer):
    """``amount`` pixels fewer on each side."""

    amount: int = 0


@dataclass(frozen=True)
class Upsample(Layer):
    """Nearest neighbour, by 2."""


@dataclass(frozen=True)
class AveragePool(Layer):
    """The mean of each ``factor`` x ``factor`` square."""

    factor: int = 2


@dataclass(frozen=True)
class Concatenate(Layer):
    """Channels of all inputs, one after another."""


@dataclass(frozen=True)
class Add(Layer):
    """The sum of two inputs of one shape."""


# How a builder is asked for each kind of layer, and with what.
_CALLS = {
    Content: "content", Noise: "noise", Convolution: "convolution", Norm: "norm", Activation: "activation",
    Affine: "affine", Pad: "pad", Crop: "crop", Upsample: "upsample", AveragePool: "average_pool",
    Concatenate: "concatenate", Add: "add",
}  # fmt: skip
_ARGUMENTS = {
    Content: (), Noise: ("reduction", "channels", "amplitude"),
    Convolution: ("name", "inputs", "channels", "kernel", "stride", "padding", "mode"),
    Norm: ("name", "inputs", "kind"),
    Activation: ("inputs", "kind", "slope"), Affine: ("inputs", "scale", "shift"), Pad: ("inputs", "amount", "mode"),
    Crop: ("inputs", "amount"), Upsample: ("inputs",), AveragePool: ("inputs", "factor"), Concatenate: ("inputs",),
    Add: ("inputs",),
}  # fmt: skip


class Builder:
    """Puts a :class:`Net` together. Each method adds a layer and returns its name.

    Layers without parameters name themselves. Raises UserError for a kind, padding or number that no layer can have,
    so that an ``architecture`` from an untrusted file fails in one line before anything is allocated.
    """

    def __init__(self) -> None:
        self._layers: dict[str, Layer] = {}

    def content(self) -> str:
        """The content picture, 3 channels."""
        return self._add(Content("content", (), 3, 0))

    def noise(self, reduction: int = 0, channels: int = 3, amplitude: float = 1.0) -> str:
        """Noise with a side of the working picture's / 2^reduction."""
        whole("noise, halvings of the side", reduction, MAX_REDUCTION, least=0)
        return self._add(Noise(f"noise{self._count(Noise)}", (), whole("noise channels", channels), reduction,
                               _number("noise amplitude", amplitude)))  # fmt: skip

    def convolution(
        self, name: str, x: str, channels: int, kernel: int, stride: int = 1, padding: int = 0, mode: str = "zero"
    ) -> str:
        before = self._layers[x]
        known("padding", mode, PADDINGS)
        whole("stride", stride, 2)
        return self._add(Convolution(name, (x,), whole(f"channels of {name}", channels), before.reduction + stride - 1,
                                     before.channels, whole("kernel", kernel, 99), stride,
                                     whole("padding", padding, 99, least=0), mode))  # fmt: skip

    def norm(self, name: str, x: str, kind: str) -> str:
        before = self._layers[x]
        return self._add(Norm(name, (x,), before.channels, before.reduction, known("norm", kind, NORMS)))

    def activation(self, x: str, kind: str, slope: float = 0.0) -> str:
        return self._same(Activation, x, known("activation", kind, ACTIVATIONS), _number("slope", slope))

    def affine(self, x: str, scale: float = 1.0, shift: float = 0.0) -> str:
        return self._same(Affine, x, _number("scale", scale), _number("shift", shift))

    def pad(self, x: str, amount: int, mode: str) -> str:
        return self._same(Pad, x, whole("padding", amount, 4096), known("padding", mode, PADDINGS))

    def crop(self, x: str, amount: int) -> str:
        return self._same(Crop, x, whole("crop", amount, 4096))

    def upsample(self, x: str) -> str:
        before = self._layers[x]
        return self._add(Upsample(self._label(Upsample), (x,), before.channels, before.reduction - 1))

    def average_pool(self, x: str, factor: int) -> str:
        before = self._layers[x]
        steps = whole("factor of pooling", factor).bit_length() - 1
        if factor != 1 << steps:
            raise UserError(f"net: a factor of pooling of {factor!r} is not a power of 2")
        return self._add(AveragePool(self._label(AveragePool), (x,), before.channels, before.reduction + steps, factor))

    def concatenate(self, *xs: str) -> str:
        parts = [self._layers[x] for x in xs]
        self._meet(parts)
        channels = sum(part.channels for part in parts)
        return self._add(Concatenate(self._label(Concatenate), xs, channels, parts[0].reduction))

    def add(self, x: str, y: str) -> str:
        parts = [self._layers[x], self._layers[y]]
        self._meet(parts)
        if parts[0].channels != parts[1].channels:
            raise UserError(f"net: {x} has {parts[0].channels} channels and {y} {parts[1].channels}: no sum")
        return self._add(Add(self._label(Add), (x, y), parts[0].channels, parts[0].reduction))

    def build(self) -> Net:
        """The finished net; its picture is the last layer."""
        return Net(tuple(self._layers.values()))

    def _add(self, layer: Layer) -> str:
        if layer.name in self._layers:
            raise UserError(f"net: two layers are called {layer.name!r}")
        if len(self._layers) >= MAX_LAYERS:
            raise UserError(f"net: more than {MAX_LAYERS} layers")
        if not 0 <= layer.reduction <= MAX_REDUCTION:
            raise UserError(f"net: {layer.name} has 2^{-layer.reduction} of the side, not 1 to 2^-{MAX_REDUCTION}")
        self._layers[layer.name] = layer
        return layer.name

    def _same(self, kind: type, x: str, *values) -> str:
        before = self._layers[x]
        return self._add(kind(self._label(kind), (x,), before.channels, before.reduction, *values))

    def _count(self, kind: type) -> int:
        return sum(type(layer) is kind for layer in self._layers.values())

    def _label(self, kind: type) -> str:
        return f"{kind.__name__.lower()}{self._count(kind)}"

    @staticmethod
    def _meet(parts: list[Layer]) -> None:
        if len({part.reduction for part in parts}) != 1:
            raise UserError(f"net: {' and '.join(part.name for part in parts)} differ in size")


@dataclass(frozen=True)
class Net:
    """A finished description: layers in an order in which they can be computed; the last one is the picture."""

    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        output = self.layers[-1]
        if output.channels != 3 or output.reduction != 0:
            raise UserError(f"net: its output has {output.channels} channels at 1/{2**output.reduction}, not a picture")
        if self.parameter_count > MAX_PARAMETERS:
            raise UserError(f"net: {self.parameter_count:,} parameters; the most is {MAX_PARAMETERS:,}")
        for layer in self.layers:
            used = (layer, *(self[name] for name in layer.inputs))
            values = sum(each.channels / 4**each.reduction for each in used)
            if values > MAX_VALUES:
                raise UserError(f"net: {layer.name} has {values:,.0f} values a pixel; the most is {MAX_VALUES:,}")

    def to_data(self) -> list[list[Any]]:
        """The calls of a :class:`Builder` that make this net, for JSON: ``["norm", "norm1", "conv1", "instance"]``."""
        found = []
        for layer in self.layers:
            values = [(name, getattr(layer, name)) for name in _ARGUMENTS[type(layer)]]
            flat = [each for name, value in values for each in (value if name == "inputs" else (value,))]
            found.append([_CALLS[type(layer)], *flat])
        return found

    @classmethod
    def from_data(cls, data: Any, where: str) -> Net:
        """From :meth:`to_data`, of a file that nobody vouches for. Raises UserError where it makes no net."""
        builder = Builder()
        try:
            for call, *values in data:
                kind = next(kind for kind, name in _CALLS.items() if name == call)
                words = len([name for name in _ARGUMENTS[kind] if name in ("name", "inputs")])
                if not all(isinstance(value, str) for value in (values if kind is Concatenate else values[:words])):
                    raise TypeError(call)
                getattr(builder, call)(*values)
            return builder.build()
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
        except (TypeError, ValueError, LookupError, StopIteration) as error:
            raise UserError(f"{where}: its layers are damaged ({one_line(repr(error))[:80]})") from error

    def __getitem__(self, name: str) -> Layer:
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Layer]:
        return {layer.name: layer for layer in self.layers}

    @property
    def inputs(self) -> tuple[Layer, ...]:
        """Content and noise in the order in which the net takes them."""
        return tuple(layer for layer in self.layers if isinstance(layer, (Content, Noise)))

    @property
    def output(self) -> Layer:
        """The layer that is the picture."""
        return self.layers[-1]

    @property
    def multiple(self) -> int:
        """The side of a working picture is a multiple of this: of its coarsest pixel."""
        return 1 << max(layer.reduction for layer in self.layers)

    def consumers(self, name: str) -> tuple[Layer, ...]:
        """The layers that take ``name``, as often as they do."""
        return tuple(self._taken_by.get(name, ()))

    @cached_property
    def _taken_by(self) -> dict[str, list[Layer]]:
        found: dict[str, list[Layer]] = {}
        for layer in self.layers:
            for name in layer.inputs:
                found.setdefault(name, []).append(layer)
        return found

    @property
    def takes_content(self) -> bool:
        return any(isinstance(layer, Content) for layer in self.layers)

    def parameters(self) -> dict[str, tuple[int, ...]]:
        """Shapes of all learnt parameters by name, in the layers' order."""
        return {name: shape for layer in self.layers for name, shape in layer.parameters().items()}

    def statistics(self) -> dict[str, tuple[int, ...]]:
        """Shapes of all running statistics by name."""
        return {name: shape for layer in self.layers for name, shape in layer.statistics().items()}

    @property
    def parameter_count(self) -> int:
        return sum(math.prod(shape) for shape in self.parameters().values())

    def check(self, shapes: Mapping[str, tuple[int, ...]], where: str) -> None:
        """Raise a UserError unless ``shapes`` are those of all parameters and statistics."""
        expected = {**self.parameters(), **self.statistics()}
        if set(expected) != set(shapes):
            odd = sorted(set(expected) ^ set(shapes))[0]
            raise UserError(f"{where}: its parameters are not those of its architecture (see {odd!r})")
        for name, shape in expected.items():
            if tuple(shapes[name]) != shape:
                raise UserError(f"{where}: {name} is {tuple(shapes[name])}, the architecture needs {shape}")


def describe(method: Generator, architecture: object, where: str) -> Net:
    """The net of ``method`` for the ``architecture`` of a net file, which nobody vouches for.

    Raises a UserError, one line that begins with ``where``, for keywords that the method does not know, values of
    another type than its own, and all that its net refuses. Nothing is allocated.
    """
    keywords = inspect.signature(method.net).parameters
    if not isinstance(architecture, dict):
        raise UserError(f"{where}: its architecture is {shown(architecture)}, not names and values")
    for key, value in architecture.items():
        if key not in keywords:
            raise UserError(f"{where}: {method.name} has no {shown(key)}; {did_you_mean(str(key), keywords)}")
        kinds = str(keywords[key].annotation).split(" | ")
        if set(kinds) <= set(_KINDS) and not any(_KINDS[kind][1](value) for kind in kinds):
            right = " or ".join(_KINDS[kind][0] for kind in kinds)
            raise UserError(f"{where}: its {key} is {shown(value)}, not {right}")
    try:
        made = method.net(**architecture)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    except Exception as error:  # a method from anywhere, and values from anywhere
        raise UserError(f"{where}: not an architecture of {method.name}: {one_line(error)}") from error
    if not isinstance(made, Net):
        raise UserError(f"{where}: {method.name}.net() returned a {type(made).__name__}, not a Net; end with build()")
    return made


def _is_number(value: object) -> bool:
    """A number that no overflow is to be feared of."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e9


# What JSON may hold for a keyword with one of these annotations.
_KINDS = {
    "int": ("a whole number", lambda value: isinstance(value, int) and _is_number(value)),
    "float": ("a number", _is_number),
    "bool": ("true or false", lambda value: isinstance(value, bool)),
    "str": ("a word", lambda value: isinstance(value, str)),
    "None": ("null", lambda value: value is None),
}


def shown(value: Any) -> str:
    """A value as an error message shows it: on one line, at most 40 characters."""
    text = one_line(repr(value))
    return text if len(text) <= 40 else f"{text[:39]}…"


def whole(what: str, value: object, most: int = 1 << 14, least: int = 1) -> int:
    """``value``, if it is a whole number from ``least`` to ``most``; else a UserError."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise UserError(f"net: {what}: {shown(value)} is not a whole number from {least} to {most}")
    return value


def _number(what: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise UserError(f"net: {what}: {shown(value)} is not a number")
    return float(value)


def known(what: str, value: object, choices: tuple[str, ...]) -> str:
    """``value``, if it is one of ``choices``; else a UserError."""
    if value not in choices:
        raise UserError(f"net: unknown {what} {shown(value)}; choose from {', '.join(choices)}")
    return str(value)
