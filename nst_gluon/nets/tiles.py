"""Pictures larger than memory, tile by tile: the same picture as in one piece, without seams.

A tile's graph (:mod:`nst_gluon.nets.inference`) sees the tile and, where the picture goes on, as much around it as the
net's receptive field needs (``surroundings`` and ``overlap`` of a method's module); at the picture's own edge the net
pads as it always does. All tiles have one size, so that one graph serves them all, and lie on multiples of the net's
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

from nst_gluon.nets.generator import Generator
from nst_gluon.nets.inference import Inference, Statistics
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


def least_side(generator: Generator) -> int:
    """The smallest side of a tile: as much sound as there is overlap on both sides, and what the net needs."""
    module, architecture = generator.module, generator.architecture
    coarsest = module.overlap(architecture) * 4
    return max(module.working_size(architecture, coarsest, coarsest))


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
        generator: Generator,
        content: np.ndarray | None,
        size: tuple[int, int],
        side: int,
        seed: int = 0,
        noise_scale: float = 1.0,
    ):
        self._generator, self._content, self._size = generator, content, tuple(size)
        self._seed, self._noise_scale = seed, noise_scale
        self._module, self._architecture = generator.module, generator.architecture
        if not isinstance(generator.inference, Inference):
            raise UserError("--tile: tiles are for the CPU; use --device cpu, or --tile off")
        wraps = self._module.extends(self._architecture) == "circular"
        if wraps and content is not None:
            raise UserError("--tile: a stylising net whose padding wraps around cannot work in tiles; use --tile off")
        if side < least_side(generator):
            raise UserError(
                f"--tile: {side} is too small for the reach of this net; use at least {least_side(generator)}"
            )
        self.full = self._module.working_size(self._architecture, *self._size)
        overlap, least = self._module.overlap(self._architecture), least_side(generator)
        (most, _) = self._module.working_size(self._architecture, side, side)
        sides = (max(fitted(length, most, overlap), least) for length in self.full)
        whole = self._module.working_size(self._architecture, *sides)
        self.rows, self.columns = (spans(n, t, overlap, wraps) for n, t in zip(self.full, whole))

    def __len__(self) -> int:
        return len(self.rows) * len(self.columns)

    @property
    def work(self) -> int:
        """Tiles to be worked on in all, each pass for statistics counted: how often ``progress`` is called."""
        start, passes = self.inputs(self.rows[0], self.columns[0]), 0
        run = self._generator.inference
        known = run.statistics
        if known is None:
            known = {}
            while norms := run.with_statistics(known).unknown_names(start):
                channels = {norm: len(run.params[f"{norm}.gamma"]) for norm in norms}
                known = {**known, **{norm: (np.zeros(n), np.ones(n)) for norm, n in channels.items()}}
                passes += 1
        return (passes + 1) * len(self)

    def _tiles(self) -> Iterator[tuple[Span, Span]]:
        return ((row, column) for row in self.rows for column in self.columns)

    def _window(self, row: Span, column: Span, around: int) -> np.ndarray | None:
        """The content (1, 3, h, w) of a tile with ``around`` pixels on each side, mirrored beyond the edge."""
        if self._content is None:
            return None
        pixels = []
        for span, full, own in zip((row, column), self.full, self._size):
            padded = continued(span.begin - around, span.end + around, full, "reflect")
            pixels.append(continued(0, full, own, "reflect")[padded])
        return self._content[:, :, pixels[0][:, None], pixels[1][None, :]]

    def inputs(self, row: Span, column: Span) -> list:
        """NDArrays for the tile's graph."""
        around = self._module.surroundings(self._architecture)
        arrays = self._module.tile_inputs(
            self._architecture,
            self._window(row, column, around[0]),
            self._seed,
            self.full,
            ((row.begin, row.end), (column.begin, column.end)),
            self._noise_scale,
        )
        return [mx.nd.array(array, dtype="float32") for array in arrays]

    def statistics(self, progress: Callable[[], object] = lambda: None) -> Statistics:
        """Mean and variance of each normalisation over the whole picture; ``progress`` is called after each tile.

        Empty where batch norm has its own.
        """
        run = self._generator.inference
        if run.statistics is not None:
            return run.statistics
        known: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        start = self.inputs(self.rows[0], self.columns[0])
        while True:
            graph, norms = run.with_statistics(known).unknown(start)
            if graph is None:
                return known
            sums = [_Moments(len(run.params[f"{norm}.gamma"])) for norm in norms]
            for row, column in self._tiles():
                values = graph(*self.inputs(row, column))
                for norm, value, moments in zip(norms, values, sums):
                    scale = self._module.normalised_at(self._architecture, norm)
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
        run = self._generator.inference.with_statistics(self.statistics(progress))
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
