"""Sizes and surroundings of a net's layers, computed from its description. No engine here."""

from __future__ import annotations

from collections.abc import Collection, Mapping
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
    raise UserError(f"net: no size up to {TRIED * net.multiple} pixels gives a picture as large as the input")


def working_size(net: Net, height: int, width: int) -> tuple[int, int]:
    """The size, at least ``height`` x ``width``, at which the net can work.

    Multiples of its coarsest pixel, and as large as its reflections need.
    """
    return tuple(max(-(-side // net.multiple), _least(net)) * net.multiple for side in (height, width))


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


def sound(net: Net, side: int, given: Collection[str] = ()) -> dict[str, tuple[int, int]]:
    """Pixels (first, end) along one side of what each layer makes of a tile: those that it makes of the whole picture.

    Others depend on padding where the picture goes on, before the tile and after it. What ``given`` layers make is not
    computed from the tile but given, and is sound.
    """
    own, whole, found = sides(net, side), {*given, *outer_pads(net)}, {}
    for layer in net.layers:
        first, end = 0, own[layer.name]
        if layer.inputs and layer.name not in whole:
            low, high = (choose(found[name][place] for name in layer.inputs) for place, choose in enumerate((max, min)))
            if isinstance(layer, d.Convolution):
                low = -(-(low + layer.padding) // layer.stride)
                high = (high + layer.padding - layer.kernel) // layer.stride + 1
            elif isinstance(layer, d.Pad):
                low, high = low + layer.amount, high + layer.amount
            elif isinstance(layer, d.Crop):
                low, high = low - layer.amount, high - layer.amount
            elif isinstance(layer, d.Upsample):
                low, high = 2 * low, 2 * high
            elif isinstance(layer, d.AveragePool):
                low, high = -(-low // layer.factor), high // layer.factor
            first, end = max(low, 0), min(high, end)
        found[layer.name] = first, end
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
    side = _least(net) * net.multiple
    first, end = sound(net, side)[net.output.name]
    return TileGeometry(False, surroundings, -(-max(first, side - end) // net.multiple) * net.multiple)



@dataclass(frozen=True)
class Axis:
    """All tiles of a pass along one axis.

    Attributes:
        spans: the pixels of the picture that each tile has, all as many.
        cuts: by layer, in pixels of what it makes of the whole picture: where each tile's part of that begins, and the
            end of the last one's.
    """

    spans: tuple[range, ...]
    cuts: Mapping[str, tuple[int, ...]]

    def part(self, layer: d.Layer, tile: int, pixels: int, own: int) -> tuple[int, slice]:
        """Where the part of a tile belongs in the whole, and where it is in what ``layer`` makes of the tile.

        ``pixels``: of that; ``own``: of these, without the margin around it.
        """
        first, end = self.cuts[layer.name][tile : tile + 2]
        before = (self.spans[tile].start >> layer.reduction) - (pixels - own) // 2
        return first, slice(first - before, end - before)


def axis(net: Net, length: int, side: int, wanted: Collection[str], given: Collection[str] = ()) -> Axis | None:
    """Tiles of at most ``side`` pixels whose sound parts of each ``wanted`` layer cover ``length`` pixels once.

    No larger than is needed for that many tiles: of the full side, the last ones would lie on each other. ``length``
    and ``side`` are multiples of the net's coarsest pixel. None where such a tile is nothing but surroundings.
    """
    wraps, whole, smallest = tile_geometry(net).wraps, sides(net, length), working_size(net, 1, 1)[0]
    side = max(side, smallest)
    if side >= length:
        return Axis((range(length),), {name: (0, whole[name]) for name in wanted})

    def parts(side: int) -> dict[str, tuple[int, int]]:
        if wraps:
            return {name: (0, side >> net[name].reduction) for name in wanted}
        return sound(net, side, given)

    # From one tile to the next there is this much more than a tile's side: less, but of layers of a padded content.
    found = parts(side)
    gain = min((found[name][1] - found[name][0]) << net[name].reduction for name in wanted) - side
    gain = gain // net.multiple * net.multiple
    if side + gain <= 0:
        return None
    count = -(-(length - side) // (side + gain)) + 1
    least = -(-(length - (count - 1) * gain) // count)
    side = max(-(-least // net.multiple) * net.multiple, smallest)
    begins = [min(number * (side + gain), length - side) for number in range(count)]
    found = parts(side)
    return Axis(tuple(range(begin, begin + side) for begin in begins), {
        name: (0, *((begin >> net[name].reduction) + found[name][0] for begin in begins[1:]), whole[name])
        for name in wanted
    })  # fmt: skip


def array_of(net: Net, name: str) -> d.Layer:
    """The layer that makes what a norm of that name normalises, or a sum of that name is: before an upsampling."""
    layer = net[name]
    while isinstance(layer, d.Norm):
        layer = net[layer.inputs[0]]
    return net[layer.inputs[0]] if isinstance(layer, d.Upsample) else layer


def _pads(layer) -> bool:
    return bool(layer.amount if isinstance(layer, d.Pad) else layer.padding)
