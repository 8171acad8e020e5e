"""Patterns of layers in a net's description for which other operators are faster. No engine here."""

from __future__ import annotations

from nst_gluon.methods import description as d
from nst_gluon.methods.description import Net

# Side of a last kernel from which it makes four pixels at a time, and channels that it has then at most.
LEAST_PHASED, MOST_PHASED = 5, 16


def follower(net: Net, layer: d.Layer, *kinds: type) -> d.Layer | None:
    """The layer of one of ``kinds`` that takes ``layer``, if nothing else does."""
    taken = net.consumers(layer.name)
    return taken[0] if len(taken) == 1 and isinstance(taken[0], kinds) else None


def folds_on(net: Net, norm: d.Norm) -> bool:
    """Whether ``norm``, once its statistics are known, is part of the convolutions that take it, also across a
    concatenation: not of one that pads with zeros, since a shift before that is not the same as one after it."""
    takers: list[d.Layer] = []
    for taker in net.consumers(norm.name):
        takers += net.consumers(taker.name) if isinstance(taker, d.Concatenate) else [taker]
    return bool(takers) and all(
        isinstance(taker, d.Convolution) and (taker.mode != "zero" or taker.padding == 0) for taker in takers
    )


def is_phased(net: Net, conv: d.Convolution) -> bool:
    """Whether ``conv`` is the net's last one, and has so few channels and so large a kernel that four pixels at a time
    are faster (:func:`nst_gluon.nets.kernels.phase_kernel`)."""
    last: d.Layer = conv
    while (after := follower(net, last, d.Affine, d.Activation)) is not None:
        last = after
    keeps = conv.stride == 1 and 2 * conv.padding == conv.kernel - 1 and net.multiple > 1
    return keeps and last is net.output and conv.kernel >= LEAST_PHASED and 4 * conv.channels <= MOST_PHASED


def normalises_alone(net: Net) -> bool:
    """Whether it has instance norm, which looks at one picture: a training then passes those of a batch one by one."""
    return any(isinstance(layer, d.Norm) and layer.kind == "instance" for layer in net.layers)


def unfinished(net: Net) -> tuple[Net, tuple[d.Layer, ...]]:
    """The net without the affine layer at its end and a tanh before that; and the layers left out, in order."""
    count = 0
    for kind in (d.Affine, d.Activation):
        layer = net.layers[-1 - count]
        fits = isinstance(layer, kind) and getattr(layer, "kind", "tanh") == "tanh"
        if not fits or layer.inputs != (net.layers[-2 - count].name,):
            break
        count += 1
    return Net(net.layers[: len(net.layers) - count]), net.layers[len(net.layers) - count :]


def finest_is_apart(net: Net) -> bool:
    """Whether the finest scale begins with inputs and with 3x3 convolutions of what was upsampled, where all norms are
    known: then it can be worked on in strips."""
    takers = [
        taker
        for layer in net.layers
        if isinstance(layer, d.Upsample) and layer.reduction == 0
        for taker in _takers(net, layer)
    ]
    pools = [layer for layer in net.layers if isinstance(layer, d.AveragePool)]
    begins = all(isinstance(taker, d.Convolution) and taker.kernel == 3 for taker in takers)
    return bool(takers) and begins and all(isinstance(net[pool.inputs[0]], (d.Content, d.Noise)) for pool in pools)


def _takers(net: Net, layer: d.Layer) -> list[d.Layer]:
    """The layers that take ``layer``, through norms that are folded into them and concatenations."""
    found: list[d.Layer] = []
    for taker in net.consumers(layer.name):
        passes = isinstance(taker, d.Concatenate) or (isinstance(taker, d.Norm) and folds_on(net, taker))
        found += _takers(net, taker) if passes else [taker]
    return found
