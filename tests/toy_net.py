"""A net with every kind of layer, and what it computes by numpy, layer by layer: the oracle of all interpreters."""

from __future__ import annotations

import numpy as np

from nst_gluon import methods
from nst_gluon.methods import description as d


def net(norm: str = "instance", mode: str = "reflect") -> d.Net:
    """Content and two noises; every layer, padding ``mode`` and ``norm`` in every place where it folds or cannot."""
    b = d.Builder()
    content, fine, coarse = b.content(), b.noise(0, 2, 0.5), b.noise(2, 4, 2.0)
    x = b.affine(content, 2.0, -0.5)
    x = b.convolution("first", b.pad(x, 3, mode), 6, 5, padding=2, mode=mode)
    x = b.activation(b.norm("norm1", b.crop(x, 3), norm), "leaky_relu", 0.2)
    x = b.concatenate(b.norm("norm2", x, norm), fine)
    x = b.convolution("half.conv", x, 5, 3, stride=2, padding=1, mode=mode)
    x = b.activation(b.norm("half.norm", x, norm), "relu")
    y = b.convolution("straight", b.norm("norm3", x, norm), 5, 1)
    x = b.add(x, b.norm("norm4", y, norm))
    deep = b.concatenate(b.upsample(coarse), b.average_pool(content, 2), b.norm("norm5", x, norm))
    x = b.convolution("join", deep, 4, 3, padding=1, mode="zero")
    x = b.convolution("last", b.upsample(b.activation(x, "tanh")), 3, 3, padding=1, mode=mode)
    b.affine(b.activation(x, "tanh"), 0.5, 0.5)
    return b.build()


def branches(norm: str) -> d.Net:
    """Sums whose second term is a convolution: of two branches, and of a block with what it begins with."""
    b = d.Builder()
    x = b.convolution("whole", b.content(), 16, 5, padding=2)
    x = b.activation(b.norm("whole.norm", x, norm), "relu")
    y = b.activation(b.norm("detail.norm", b.convolution("detail", x, 16, 3, padding=1), norm), "relu")
    z = b.activation(b.convolution("broad", x, 16, 5, padding=2), "relu")
    x = b.add(z, b.convolution("back", y, 16, 1))
    y = b.activation(b.norm("block.norm", b.convolution("block", x, 16, 3, padding=1), norm), "relu")
    b.convolution("out", b.add(x, b.convolution("block.out", y, 16, 3, padding=1)), 3, 3, padding=1)
    return b.build()


def parameters(net: d.Net, seed: int = 0) -> dict[str, np.ndarray]:
    """Values for all parameters and statistics that are anything but trivial: scales of both signs, shifts."""
    rng = np.random.default_rng(seed)
    made = {}
    for name, shape in {**net.parameters(), **net.statistics()}.items():
        kind = name.rpartition(".")[2]
        if kind == "weight":
            value = rng.normal(0, np.prod(shape[1:]) ** -0.5, shape)
        elif kind == "gamma":
            value = rng.uniform(0.5, 1.5, shape) * rng.choice([-1, 1], shape, p=[0.2, 0.8])
        else:
            value = rng.uniform(0.5, 2, shape) if kind == "running_var" else rng.normal(0, 0.3, shape)
        made[name] = value.astype("float32")
    return made


def trained(method: str, task: str, **changes) -> tuple[dict[str, np.ndarray], dict]:
    """Parameters and meta of a net of a bundled method, its ``architecture`` changed."""
    known = methods.get(method)
    architecture = {**known.architecture(task), **changes}
    meta = {"method": method, "task": task, "style": "great_wave", "architecture": architecture}
    return parameters(d.describe(known, architecture, "net")), meta


def compute(net: d.Net, params: dict[str, np.ndarray], inputs: list[np.ndarray]) -> np.ndarray:
    """The picture, not clipped, in float64."""
    return layers(net, params, dict(zip((given.name for given in net.inputs), inputs)))[net.layers[-1].name]


def layers(net: d.Net, params: dict[str, np.ndarray], given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What every layer makes, in float64, where those in ``given`` make that."""
    params = {name: value.astype("float64") for name, value in params.items()}
    values = {name: value.astype("float64") for name, value in given.items()}
    for layer in net.layers:
        if layer.name not in values:
            values[layer.name] = _layer(layer, [values[name] for name in layer.inputs], params)
    return values


def _pad(x, amount, mode):
    mode = {"zero": "constant", "reflect": "reflect", "circular": "wrap"}[mode]
    return np.pad(x, ((0, 0), (0, 0), (amount, amount), (amount, amount)), mode)


def _layer(layer, xs, params):
    x, name = xs[0], layer.name
    if isinstance(layer, d.Convolution):
        x = _pad(x, layer.padding, layer.mode)
        windows = np.lib.stride_tricks.sliding_window_view(x, (layer.kernel, layer.kernel), (2, 3))
        windows = windows[:, :, :: layer.stride, :: layer.stride]
        return np.einsum("nihwkl,oikl->nohw", windows, params[f"{name}.weight"]) + params[f"{name}.bias"][:, None, None]
    if isinstance(layer, d.Norm):
        if layer.kind == "instance":
            mean, variance = x.mean((2, 3), keepdims=True), x.var((2, 3), keepdims=True)
        else:
            mean, variance = (params[f"{name}.running_{part}"][:, None, None] for part in ("mean", "var"))
        gamma, beta = (params[f"{name}.{part}"][:, None, None] for part in ("gamma", "beta"))
        return gamma * (x - mean) / np.sqrt(variance + 1e-5) + beta
    if isinstance(layer, d.Activation):
        return np.tanh(x) if layer.kind == "tanh" else np.where(x > 0, x, layer.slope * x)
    if isinstance(layer, d.Affine):
        return layer.scale * x + layer.shift
    if isinstance(layer, d.Pad):
        return _pad(x, layer.amount, layer.mode)
    if isinstance(layer, d.Crop):
        return x[:, :, layer.amount : -layer.amount, layer.amount : -layer.amount]
    if isinstance(layer, d.Upsample):
        return x.repeat(2, 2).repeat(2, 3)
    if isinstance(layer, d.AveragePool):
        n, c, h, w = x.shape
        return x.reshape(n, c, h // layer.factor, layer.factor, w // layer.factor, layer.factor).mean((3, 5))
    return np.concatenate(xs, 1) if isinstance(layer, d.Concatenate) else xs[0] + xs[1]
