"""Pictures larger than memory, tile by tile: the same picture as in one piece, without seams.

A tile's graph (:mod:`nst_gluon.nets.inference`) sees the tile and, where the picture goes on, as much around it as the
net's receptive field needs (:func:`nst_gluon.nets.geometry.tile_geometry`); at the picture's own edge the net pads as
it always does. All tiles have one size, so that one graph serves them all, and lie on multiples of the net's
coarsest pixel. With batch norm that is all, and exact up to rounding.

Instance norm divides by the mean and variance of the *whole* picture. They are taken exactly, layer by layer, in passes
over all tiles that end at the first layer whose statistics are unknown yet: about nine passes' work for the Johnson
net, four for the texture network. Nothing cheaper will do: statistics of a thumbnail of half the side, or of a quarter
of the tiles, give pictures of 14 to 27 dB against the whole one, where the exact ones give more than 80 dB.

Memory follows the tile, not the picture; of the picture there are the content, in float32, and the result in 8 bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from nst_gluon.methods.description import Content, Net, Norm, Upsample
from nst_gluon.nets.geometry import tile_geometry, working_size
from nst_gluon.nets.inference import Inference
from nst_gluon.nets.inference_graph import Statistics
from nst_gluon.nets.inputs import noise_window
from nst_gluon.nets.trained_net import TrainedNet
from nst_gluon.system.engine import mx
from nst_gluon.system.errors import NotFinite, UserError


@dataclass(frozen=True)
class Span:
    """One tile along one axis, in pixels: it sees ``begin`` to ``end``, and ``first`` to ``last`` of it is sound.

    ``open_before``, ``open_after``: whether the picture goes on there.
    """

    begin: int
    end: int
    first: int
    last: int
    open_before: bool
    open_after: bool


def spans(length: int, side: int, overlap: int, wraps: bool = False) -> list[Span]:
    """Tiles of ``side`` pixels whose sound parts cover ``length`` pixels once.

    ``wraps``: the picture repeats, and goes on beyond its edge. ``length``, ``side`` and ``overlap`` are multiples of
    the net's coarsest pixel. Raises ValueError when a tile is nothing but overlap.
    """
    if side >= length:
        return [Span(0, length, 0, length, wraps, wraps)]
    step = side - 2 * overlap
    if step <= 0:
        raise ValueError(f"tiles of {side} pixels with an overlap of {overlap} leave nothing")
    count = _count(length, side, overlap)
    cuts = [0, *(overlap + number * step for number in range(1, count)), length]
    found = []
    for number, (first, last) in enumerate(zip(cuts, cuts[1:])):
        begin = min(number * step, length - side)
        found.append(Span(begin, begin + side, first, last, number > 0 or wraps, number < count - 1 or wraps))
    return found


def fitted(length: int, side: int, overlap: int) -> int:
    """The least side of a tile with which no more tiles cover ``length`` pixels than with ``side``.

    Tiles of the full side would lie on each other at the end: 9 of 512 for 1024 x 1024, two and a quarter times it.
    """
    if side >= length or side <= 2 * overlap:
        return side
    return -(-(length - 2 * overlap) // _count(length, side, overlap)) + 2 * overlap


def _count(length: int, side: int, overlap: int) -> int:
    """How many tiles of ``side`` pixels, less than ``length``, it takes."""
    return -(-(length - 2 * overlap) // (side - 2 * overlap))


def continued(begin: int, end: int, length: int, mode: str) -> np.ndarray:
    """Indices of the pixels ``begin`` to ``end`` of an axis of ``length`` pixels that goes on beyond its edges.

    ``circular``: it repeats; otherwise it is mirrored without repeating the edge, as numpy's ``reflect``.
    """
    index = np.arange(begin, end)
    if mode == "circular":
        return index % length
    period = max(2 * (length - 1), 1)
    return (length - 1) - np.abs(index % period - (length - 1))


def least_side(net: Net) -> int:
    """The smallest side of a tile: as much sound as there is overlap on both sides, and what the net needs."""
    coarsest = tile_geometry(net).overlap * 4
    return max(working_size(net, coarsest, coarsest))


def normalised_at(net: Net, norm: str) -> int:
    """The width, in the picture's pixels, of a pixel that ``norm`` normalises; of what was upsampled, before that."""
    layer = net[norm]
    while isinstance(layer, Norm):
        layer = net[layer.inputs[0]]
    return 1 << (layer.reduction + isinstance(layer, Upsample))


class Tiling:
    """One picture of a trained net in tiles.

    Args:
        content: (1, 3, H, W) in [0, 1], for the task ``stylize``.
        size: (H, W) of a texture.
        side: of a tile, in pixels, at most (but rounded up to what the net can work with).

    Raises:
        UserError: the tile is too small for the net's receptive field, or the net cannot be cut into tiles.
    """

    def __init__(
        self,
        net: TrainedNet,
        content: np.ndarray | None,
        size: tuple[int, int],
        side: int,
        seed: int = 0,
        noise_scale: float = 1.0,
    ):
        self._net, self._run = net.description, net.inference
        self._content, self._size, self._seed, self._noise_scale = content, tuple(size), seed, noise_scale
        if not isinstance(self._run, Inference):
            raise UserError("--tile: tiles are for the CPU; use --device cpu, or --tile off")
        self._geometry, least = tile_geometry(self._net), least_side(self._net)
        if side < least:
            raise UserError(f"--tile: {side} is too small for the reach of this net; use at least {least}")
        self.full = working_size(self._net, *self._size)
        overlap, wraps = self._geometry.overlap, self._geometry.wraps
        (most, _) = working_size(self._net, side, side)
        sides = (max(fitted(length, most, overlap), least) for length in self.full)
        whole = working_size(self._net, *sides)
        self.rows, self.columns = (spans(n, t, overlap, wraps) for n, t in zip(self.full, whole))

    def __len__(self) -> int:
        return len(self.rows) * len(self.columns)

    @property
    def work(self) -> int:
        """Tiles to be worked on in all, each pass for statistics counted: how often ``progress`` is called."""
        start, passes, known = self.inputs(self.rows[0], self.columns[0]), 0, {}
        while norms := self._run.for_tiles(known).unknown_names(start):
            sizes = {norm: self._net[norm].channels for norm in norms}
            known = {**known, **{norm: (np.zeros(n), np.ones(n)) for norm, n in sizes.items()}}
            passes += 1
        return (passes + 1) * len(self)

    def _tiles(self) -> Iterator[tuple[Span, Span]]:
        return ((row, column) for row in self.rows for column in self.columns)

    def inputs(self, row: Span, column: Span) -> list:
        """NDArrays for the tile's graph: its part of each input, with surroundings that go on beyond the edge."""
        arrays = []
        for layer in self._net.inputs:
            around, mode = self._geometry.surroundings[layer.name], "circular" if self._geometry.wraps else "reflect"
            pixels = [
                continued((span.begin >> layer.reduction) - around, (span.end >> layer.reduction) + around,
                          full >> layer.reduction, mode)
                for span, full in zip((row, column), self.full)
            ]  # fmt: skip
            if isinstance(layer, Content):
                # The content is not padded to the working size, which would be a copy.
                rows, columns = (
                    continued(0, full, own, "reflect")[index]
                    for index, full, own in zip(pixels, self.full, self._size)
                )
                arrays.append(self._content[:, :, rows[:, None], columns[None, :]])
            else:
                arrays.append(noise_window(self._net, layer, self._seed, self.full, *pixels, self._noise_scale))
        return [mx.nd.array(array, dtype="float32") for array in arrays]

    def statistics(self, progress: Callable[[], object] = lambda: None) -> Statistics:
        """Mean and variance of each instance norm over the whole picture; ``progress`` is called after each tile."""
        known: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        start = self.inputs(self.rows[0], self.columns[0])
        while True:
            graph, norms = self._run.for_tiles(known).unknown(start)
            if graph is None:
                return known
            sums = [_Moments(self._net[norm].channels) for norm in norms]
            for row, column in self._tiles():
                values = graph(*self.inputs(row, column))
                for norm, value, moments in zip(norms, values, sums):
                    scale = normalised_at(self._net, norm)
                    height, width = value.shape[2:]
                    part = (_sound(row, scale, height), _sound(column, scale, width))
                    moments.add(value.asnumpy()[(0, slice(None), *part)])
                progress()
            known.update((norm, moments.result()) for norm, moments in zip(norms, sums))

    def pixels(self, progress: Callable[[], object] = lambda: None) -> np.ndarray:
        """The picture, uint8 (H, W, 3): clipped to [0, 1], rounded. ``progress`` is called :attr:`work` times.

        Raises NotFinite where the net makes values that are no numbers.
        """
        height, width = self._size
        run = self._run.for_tiles(self.statistics(progress))
        picture = np.empty((height, width, 3), np.uint8)
        for row, column in self._tiles():
            tile = run(*self.inputs(row, column)).asnumpy()[0]
            tile = tile[:, row.first - row.begin :, column.first - column.begin :]
            target = picture[row.first : row.last, column.first : column.last]
            tile = tile[:, : target.shape[0], : target.shape[1]]
            if not np.isfinite(tile).all():
                raise NotFinite("the picture has values that are NaN or infinite")
            target[...] = np.rint(np.clip(tile, 0, 1) * np.float32(255)).transpose(1, 2, 0)
            progress()
        return picture


def _sound(span: Span, scale: int, pixels: int) -> slice:
    """The part of a tile's activation, of ``pixels`` pixels that are ``scale`` wide, that counts for the whole.

    The activation may go beyond the tile on both sides: at the picture's own edge all of it counts.
    """
    beyond = (pixels - (span.end - span.begin) // scale) // 2
    begin = beyond + (span.first - span.begin) // scale if span.open_before else 0
    end = beyond + (span.last - span.begin) // scale if span.open_after else pixels
    return slice(begin, end)


class _Moments:
    """Mean and variance of each channel over pieces (C', H, W), in float64; of the first ``channels`` channels."""

    def __init__(self, channels: int):
        self._channels, self._count = channels, 0
        self._sum, self._squares = np.zeros(channels), np.zeros(channels)

    def add(self, piece: np.ndarray) -> None:
        for channel in range(self._channels):
            values = piece[channel].astype(np.float64)
            self._sum[channel] += values.sum()
            self._squares[channel] += np.square(values, out=values).sum()
        self._count += piece.shape[1] * piece.shape[2]

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance (C,), float32."""
        mean = self._sum / self._count
        variance = np.maximum(self._squares / self._count - mean**2, 0)
        return mean.astype(np.float32), variance.astype(np.float32)
