"""Sizes and surroundings of a net's layers, computed from its description. No engine here."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from nst_gluon.methods import description as d
from nst_gluon.methods.description import Net
from nst_gluon.system.errors import UserError

# What instance norms divide by in tiles: what they do in one piece, or what they do in a thumbnail of the picture.
STATISTICS = ("exact", "thumbnail")
# Multiples of its coarsest pixel among which a net's smallest picture is looked for.
TRIED = 1024


def sides(net: Net, side: int) -> dict[str, int] | None:
    """Pixels of one side of what each layer makes of a picture of ``side`` pixels; None if the net cannot work with it.

    ``side`` is a multiple of :attr:`Net.multiple`.
    """
    found: dict[str, int] = {}
    for layer in net.layers:
        before = [found[name] for name in layer.inputs]
        own = before[0] if before else side >> layer.reduction
        if isinstance(layer, (d.Convolution, d.Pad)):
            amount = layer.padding if isinstance(layer, d.Convolution) else layer.amount
            if amount > own - (layer.mode == "reflect") and layer.mode != "zero":
                return None
            own += 2 * amount
        if isinstance(layer, d.Convolution):
            own = (own - layer.kernel) // layer.stride + 1
        elif isinstance(layer, d.Crop):
            own -= 2 * layer.amount
        elif isinstance(layer, d.Upsample):
            own *= 2
        elif isinstance(layer, d.AveragePool):
            own = own // layer.factor if own % layer.factor == 0 else 0
        elif isinstance(layer, (d.Add, d.Concatenate)) and len(set(before)) > 1:
            return None
        if own < 1:
            return None
        found[layer.name] = own
    return found if found[net.output.name] == side else None


@lru_cache(maxsize=64)
def _least(net: Net) -> int:
    """The smallest picture's side as a multiple of the coarsest pixel."""
    for count in range(1, TRIED + 1):
        if sides(net, count * net.multiple):
            return count
    raise UserError(f"net: it makes no picture of the size it is given, up to {TRIED * net.multiple} pixels")


def working_size(net: Net, height: int, width: int) -> tuple[int, int]:
    """The size, at least ``height`` x ``width``, at which the net can work.

    Multiples of its coarsest pixel, and as large as its reflections need.
    """
    return tuple(max(-(-side // net.multiple), _least(net)) * net.multiple for side in (height, width))


def receptive_field(net: Net, first: int, last: int) -> dict[str, tuple[int, int]]:
    """Pixels (first, last) of each layer that the picture's pixels ``first`` to ``last`` depend on, along one side.

    Counted from the first one that the layer makes; those that padding makes are below 0, or beyond the side.
    """
    found = {net.output.name: (first, last)}
    for layer in reversed(net.layers):
        if layer.name not in found:
            continue
        low, high = found[layer.name]
        if isinstance(layer, d.Convolution):
            low, high = low * layer.stride - layer.padding, high * layer.stride - layer.padding + layer.kernel - 1
        elif isinstance(layer, d.Pad):
            low, high = low - layer.amount, high - layer.amount
        elif isinstance(layer, d.Crop):
            low, high = low + layer.amount, high + layer.amount
        elif isinstance(layer, d.Upsample):
            low, high = low // 2, high // 2
        elif isinstance(layer, d.AveragePool):
            low, high = low * layer.factor, (high + 1) * layer.factor - 1
        for name in layer.inputs:
            before = found.get(name, (low, high))
            found[name] = min(low, before[0]), max(high, before[1])
    return found


@lru_cache(maxsize=64)
def margins(net: Net) -> dict[str, int] | None:
    """Pixels around what is wanted that each layer makes, where the inputs are wrapped around once, generously, and no
    convolution is padded. None for a net to which that does not apply: all its padding must be circular, and in
    convolutions that keep the size.
    """
    convolutions = [layer for layer in net.layers if isinstance(layer, d.Convolution)]
    keep = all(layer.stride == 1 and 2 * layer.padding == layer.kernel - 1 for layer in convolutions)
    modes = {layer.mode for layer in convolutions if layer.padding}
    if not keep or modes != {"circular"} or any(isinstance(layer, (d.Pad, d.Crop)) for layer in net.layers):
        return None
    found = {net.output.name: 0}
    for layer in reversed(net.layers):
        need = found.setdefault(layer.name, 0)
        if isinstance(layer, d.Convolution):
            need += layer.padding
        elif isinstance(layer, d.Upsample):
            need = -(-need // 2)
        elif isinstance(layer, d.AveragePool):
            need *= layer.factor
        for name in layer.inputs:
            found[name] = max(need, found.get(name, 0))
    return found


@lru_cache(maxsize=64)
def outer_pads(net: Net) -> dict[str, str]:
    """Reflections of an input, before all convolutions, by name: which input. A tile gets the picture itself there."""
    found = {}
    for layer in net.inputs:
        taken = net.consumers(layer.name)
        while len(taken) == 1 and isinstance(taken[0], (d.Affine, d.Activation)):
            taken = net.consumers(taken[0].name)
        if len(taken) == 1 and isinstance(taken[0], d.Pad) and taken[0].mode == "reflect":
            found[taken[0].name] = layer.name
    return found


@dataclass(frozen=True)
class TileGeometry:
    """How a net is cut into tiles.

    Attributes:
        wraps: the picture repeats, and goes on beyond its edge so; otherwise it is mirrored there.
        surroundings: pixels of each input, of its own size, that a tile's graph takes on each side.
        overlap: pixels at a tile's edge, a multiple of the coarsest one, that its padding may have spoilt.
    """

    wraps: bool
    surroundings: dict[str, int]
    overlap: int


@lru_cache(maxsize=64)
def tile_geometry(net: Net) -> TileGeometry:
    """Raises a UserError for a net that cannot be cut into tiles: one that wraps a photograph around."""
    found = margins(net)
    circular = any(getattr(layer, "mode", "") == "circular" and _pads(layer) for layer in net.layers)
    if circular and (found is None or net.takes_content):
        raise UserError("--tile: a stylising net whose padding wraps around cannot work in tiles; use --tile off")
    if found is not None:
        return TileGeometry(True, {layer.name: found[layer.name] for layer in net.inputs}, 0)
    surroundings = {layer.name: 0 for layer in net.inputs}
    surroundings.update((source, net[pad].amount) for pad, source in outer_pads(net).items())
    field, beyond = receptive_field(net, 0, net.multiple - 1), 0
    for layer in net.inputs:
        low, high = field.get(layer.name, (0, 0))
        spoilt = max(-low << layer.reduction, ((high + 1) << layer.reduction) - net.multiple)
        beyond = max(beyond, spoilt - (surroundings[layer.name] << layer.reduction))
    return TileGeometry(False, surroundings, -(-beyond // net.multiple) * net.multiple)


def _pads(layer) -> bool:
    return bool(layer.amount if isinstance(layer, d.Pad) else layer.padding)
