"""Patterns of layers in a net's description for which other operators are faster. No engine here."""

from __future__ import annotations

from nst_gluon.methods.description import (
    Activation,
    Affine,
    AveragePool,
    Concatenate,
    Content,
    Convolution,
    Layer,
    Net,
    Noise,
    Norm,
    Upsample,
)
from nst_gluon.nets.kernels import LANES

# Side of a last kernel from which it makes four pixels at a time.
LEAST_PHASED = 5


def follower(net: Net, layer: Layer, *kinds: type) -> Layer | None:
    """The layer of one of ``kinds`` that takes ``layer``, if nothing else does."""
    taken = net.consumers(layer.name)
    return taken[0] if len(taken) == 1 and isinstance(taken[0], kinds) else None


def output_function(net: Net) -> list[Layer]:
    """The layers from the output back that are a function of each pixel alone: an affine map, and a tanh before it."""
    found, layer, by_name = [], net.output, {layer.name: layer for layer in net.layers}
    while isinstance(layer, Affine) or (isinstance(layer, Activation) and layer.kind == "tanh"):
        found.append(layer)
        layer = by_name[layer.inputs[0]]
    return found


def folds_on(net: Net, norm: Norm) -> bool:
    """Whether ``norm``, once its statistics are known, is part of the convolutions that take it, also across a
    concatenation: not of one that pads with zeros, since a shift before that is not the same as one after it."""
    takers: list[Layer] = []
    for taker in net.consumers(norm.name):
        takers += net.consumers(taker.name) if isinstance(taker, Concatenate) else [taker]
    return bool(takers) and all(
        isinstance(taker, Convolution) and (taker.mode != "zero" or taker.padding == 0) for taker in takers
    )


def is_phased(net: Net, conv: Convolution) -> bool:
    """Whether ``conv`` is the net's last one, and has so few channels and so large a kernel that four pixels at a time
    are faster (:func:`nst_gluon.nets.kernels.phase_kernel`)."""
    last: Layer = conv
    while (after := follower(net, last, Affine, Activation)) is not None:
        last = after
    keeps = conv.stride == 1 and 2 * conv.padding == conv.kernel - 1 and net.multiple > 1
    return keeps and last is net.output and conv.kernel >= LEAST_PHASED and 4 * conv.channels <= LANES


def finest_is_apart(net: Net) -> bool:
    """Whether the finest scale begins with inputs and with 3x3 convolutions of what was upsampled, where all norms are
    known: then it can be worked on in strips."""
    takers = [
        taker
        for layer in net.layers
        if isinstance(layer, Upsample) and layer.reduction == 0
        for taker in _takers(net, layer)
    ]
    pools = [layer for layer in net.layers if isinstance(layer, AveragePool)]
    begins = all(isinstance(taker, Convolution) and taker.kernel == 3 for taker in takers)
    return bool(takers) and begins and all(isinstance(net[pool.inputs[0]], (Content, Noise)) for pool in pools)


def _takers(net: Net, layer: Layer) -> list[Layer]:
    """The layers that take ``layer``, through norms that are folded into them and concatenations."""
    found: list[Layer] = []
    for taker in net.consumers(layer.name):
        passes = isinstance(taker, Concatenate) or (isinstance(taker, Norm) and folds_on(net, taker))
        found += _takers(net, taker) if passes else [taker]
    return found
