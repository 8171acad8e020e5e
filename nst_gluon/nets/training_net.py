"""The Gluon net that trains, from a net's description; elsewhere than on a CPU it makes the pictures, too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nst_gluon.descriptor.vgg import BFLOAT16
from nst_gluon.methods import description as layers
from nst_gluon.methods.description import EPSILON, Net
from nst_gluon.nets import patterns
from nst_gluon.nets.operators import crop, pad, phased_convolution, upsample
from nst_gluon.system.engine import mx

# Suffixes of the arrays that instance normalisation's operator insists on and nobody reads; they are no part of a net.
SCRATCH = ("scratch_mean", "scratch_variance")
# Channels from which a convolution is faster in half precision.
LEAST_HALF = 16
# Normalised activations beyond so many standard deviations are spikes.
SPIKE = 4.0

INITIALIZERS = {
    "xavier": lambda: mx.init.Xavier(),
    "normal": lambda: mx.init.Normal(0.02),
    "uniform": lambda: mx.init.Xavier(rnd_type="uniform", factor_type="in", magnitude=1),
}


class TrainingNet(mx.gluon.HybridBlock):
    """A net as data, as a block: content and noise (N, C, H, W) at its working size -> pictures (N, 3, H, W).

    Its parameters are named as in net files. Instance normalisation (Ulyanov, Vedaldi, Lempitsky 2016) of one picture
    equals batch normalisation with the batch's own statistics, whose operator is ten times faster than MXNet's
    InstanceNorm. It takes those statistics only in train mode: a net that has it runs in train mode always, one picture
    of the batch after another.

    Args:
        net: the description.
        portable: MXNet's own InstanceNorm instead, for programs that know nothing of this one.
        watched: layers whose spikes come out beside the pictures: the mean square (1,) of what exceeds SPIKE, over all.

    Attributes:
        one_by_one: whether pictures of a batch go through one after another.
        half: convolutions of at least LEAST_HALF channels in bfloat16, forward and backward; all else is float32.
    """

    def __init__(self, net: Net, portable: bool = False, watched: tuple[str, ...] = ()):
        super().__init__(prefix="")
        self._watched = watched
        self.description, self.half, self._portable = net, False, portable
        instance = [layer for layer in net.layers if isinstance(layer, layers.Norm) and layer.kind == "instance"]
        self.one_by_one = bool(instance) and not portable
        for layer in net.layers:
            for name, shape in layer.parameters().items():
                init = {"gamma": "ones", "beta": "zeros", "bias": "zeros"}.get(name.rpartition(".")[2])
                setattr(self, name, self.params.get(name, shape=shape, init=init))
            kept = layer.statistics()
            if layer in instance and not portable:
                kept = {f"{layer.name}.{suffix}": (layer.channels,) for suffix in SCRATCH}
            for name, shape in kept.items():
                init = "zeros" if name.endswith("mean") else "ones"
                kept = self.params.get(name, shape=shape, init=init, grad_req="null", differentiable=False)
                setattr(self, name, kept)

    def forward(self, *inputs):
        if not (self.one_by_one and isinstance(inputs[0], mx.nd.NDArray)):
            return super().forward(*inputs)
        with mx.autograd.train_mode():
            count = inputs[0].shape[0]
            pictures = [super(TrainingNet, self).forward(*(x[i : i + 1] for x in inputs)) for i in range(count)]
        return pictures[0] if count == 1 else mx.nd.concat(*pictures, dim=0)

    def hybrid_forward(self, F, *inputs, **params):
        values = {layer.name: value for layer, value in zip(self.description.inputs, inputs)}
        for layer in self.description.layers:
            if layer.name not in values:
                compute = getattr(self, f"_{type(layer).__name__.lower()}")
                own = [value for name, value in params.items() if name.rpartition(".")[0] == layer.name]
                values[layer.name] = compute(F, layer, *(values[name] for name in layer.inputs), *own)
        picture = values[self.description.output.name]
        if not self._watched:
            return picture
        beyond = [F.mean(F.square(F.relu(F.abs(values[name]) - SPIKE))) for name in self._watched]
        return picture, F.add_n(*beyond) / len(beyond)

    def _convolution(self, F, layer, x, weight, bias):
        zero = layer.mode == "zero"
        half = self.half and min(layer.channels, layer.source) >= LEAST_HALF
        x, padding = (x, layer.padding) if zero else (pad(F, x, layer.padding, layer.mode), 0)
        if not self._portable and patterns.is_phased(self.description, layer):
            return phased_convolution(F, x, weight, bias, layer.channels, layer.kernel, padding)
        if half:
            x, weight, bias = (F.amp_cast(value, dtype=BFLOAT16) for value in (x, weight, bias))
        x = F.Convolution(
            x, weight, bias, num_filter=layer.channels, kernel=(layer.kernel,) * 2, stride=(layer.stride,) * 2,
            pad=(padding, padding),
        )  # fmt: skip
        return F.amp_cast(x, dtype="float32") if half else x

    def _norm(self, F, layer, x, gamma, beta, *kept):
        if not kept:
            return F.InstanceNorm(x, gamma, beta, eps=EPSILON)
        momentum = 1.0 if layer.kind == "instance" else 0.9
        return F.BatchNorm(x, gamma, beta, *kept, fix_gamma=False, momentum=momentum, eps=EPSILON)

    def _activation(self, F, layer, x):
        return F.LeakyReLU(x, slope=layer.slope) if layer.kind == "leaky_relu" else getattr(F, layer.kind)(x)

    def _affine(self, F, layer, x):
        return (x if layer.scale == 1 else layer.scale * x) + layer.shift

    def _pad(self, F, layer, x):
        return pad(F, x, layer.amount, layer.mode)

    def _crop(self, F, layer, x):
        return crop(F, x, layer.amount)

    def _upsample(self, F, layer, x):
        return upsample(F, x, layer.channels)

    def _averagepool(self, F, layer, x):
        return F.Pooling(x, kernel=(layer.factor,) * 2, stride=(layer.factor,) * 2, pool_type="avg")

    def _concatenate(self, F, layer, *xs):
        return F.concat(*xs, dim=1)

    def _add(self, F, layer, x, y):
        return x + y


def parameters_of(net: TrainingNet) -> dict[str, Any]:
    """The net's Gluon parameters, running statistics among them, by their names in net files."""
    return {name: p for name, p in net.collect_params().items() if not name.endswith(SCRATCH)}


def set_parameters(net: TrainingNet, params: Mapping[str, np.ndarray], ctx, where: str) -> None:
    """Gives an initialised ``net`` its parameters; UserError for names or shapes that are not the net's."""
    net.description.check({name: value.shape for name, value in params.items()}, where)
    for name, parameter in parameters_of(net).items():
        parameter.set_data(mx.nd.array(params[name], ctx=ctx, dtype="float32"))


def values_of(net: TrainingNet) -> dict[str, np.ndarray]:
    """The parameters as a net file has them."""
    return {name: p.data(p.list_ctx()[0]).asnumpy() for name, p in parameters_of(net).items()}


def initialised(net: Net, initializer: str, ctx=None, watched: tuple[str, ...] = ()) -> TrainingNet:
    """A new net; ``initializer`` is its method's. What it draws follows MXNet's random seed."""
    block = TrainingNet(net, watched=watched)
    block.initialize(INITIALIZERS[initializer](), ctx=ctx or mx.cpu())
    return block


def with_parameters(net: Net, params: Mapping[str, np.ndarray], ctx=None, portable: bool = False) -> TrainingNet:
    """A net with parameters that it has already been checked for."""
    block = TrainingNet(net, portable)
    block.initialize(mx.init.Zero(), ctx=ctx or mx.cpu())
    set_parameters(block, params, ctx or mx.cpu(), "net")
    return block
