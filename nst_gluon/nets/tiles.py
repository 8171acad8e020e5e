"""Pictures larger than memory, tile by tile: the same picture as in one piece, without seams.

A tile's graph (:mod:`nst_gluon.nets.inference`) sees the tile and, where the picture goes on, as much around it as the
net's receptive field needs (:func:`nst_gluon.nets.geometry.tile_geometry`); at the picture's own edge the net pads as
it always does. All tiles have one size, so that one graph serves them all, and lie on multiples of the net's
coarsest pixel. With batch norm that is all, and exact up to rounding.

Instance norm divides by the mean and variance of the *whole* picture. They are taken exactly, layer by layer, in passes
over all tiles that end at the first layer whose statistics are unknown yet. What a pass ends at is kept in a temporary
file for the next one to begin with, so that together they cost little more than one pass; large activations that are
cheap to make, those of Johnson's outermost layers, are made again instead where the picture is large.

Statistics of a thumbnail (Chen et al. 2022: thumbnail instance normalisation) take one pass and no file. They are those
of another picture: 14 to 22 dB against the whole one, where the exact ones give more than 80 dB.

Memory follows the tile, not the picture; of the picture there are the content, in float32, and the result in 8 bits.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from nst_gluon.methods.description import Content, Net, Norm, Upsample
from nst_gluon.nets.geometry import STATISTICS, tile_geometry, working_size
from nst_gluon.nets.inference import Inference
from nst_gluon.nets.inference_graph import InferenceGraph, Statistics, Value
from nst_gluon.nets.inputs import noise_window
from nst_gluon.nets.spill import Spill
from nst_gluon.nets.trained_net import TrainedNet
from nst_gluon.pictures.images import resize
from nst_gluon.system.engine import mx
from nst_gluon.system.errors import NotFinite, UserError

# Floats a pixel of the picture up to which an activation is always kept, and bytes up to which a larger one is.
KEPT_FLOATS, KEPT_BYTES = 16, 2**30
LIVE = 3  # activations as large as the largest that are kept at a time


@dataclass(frozen=True)
class Pass:
    """One pass over all tiles.

    Attributes:
        norms: whose statistics are taken; none: the picture is made.
        kept: what may be there of the passes before, by name.
        uses: which of it this one takes; takes_inputs: whether it takes the net's inputs as well.
        makes: what is to be kept of it; drops: what nothing needs after it.
    """

    norms: tuple[str, ...]
    kept: Mapping[str, Value]
    uses: frozenset[str]
    takes_inputs: bool
    makes: tuple[str, ...] = ()
    drops: tuple[str, ...] = ()


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
        statistics: of instance norms, one of STATISTICS.

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
        statistics: str = STATISTICS[0],
    ):
        self._trained, self._side, self._how = net, side, statistics
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
        if self._thumbnail is None:
            return len(self) * len(self._passes)
        return len(self) + self._thumbnail.work - len(self._thumbnail)

    @cached_property
    def _thumbnail(self) -> Tiling | None:
        """A picture that fits one tile, whose statistics are taken; None: those of the picture itself."""
        scale = self._side / max(self.full)
        if self._how == "exact" or scale >= 1:
            return None
        height, width = (max(round(length * scale), 1) for length in self._size)
        content = None if self._content is None else resize(self._content, (height, width))
        return Tiling(self._trained, content, (height, width), max(self.full), self._seed, self._noise_scale)

    @cached_property
    def _passes(self) -> list[Pass]:
        """What is to be done, found by drawing every graph with made-up statistics."""
        shapes = [array.shape for array in self.inputs(self.rows[0], self.columns[0])]
        known: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        kept: dict[str, Value] = {}
        passes, offered, room = [], [], Spill.room()
        while True:
            graph = self._run.for_tiles(known, kept).draw(shapes)
            taken = {name for output in _outputs(graph) for name in output.list_inputs()}
            own = {f"data{number}" for number in range(len(shapes))}
            uses = {name for number, name in enumerate(kept) if f"data{len(shapes) + number}" in taken}
            passes.append(Pass(tuple(graph.unknown), dict(kept), frozenset(uses), bool(own & taken)))
            offered.append([name for name, value in graph.offered.items() if self._is_kept(name, value, room)])
            if not graph.unknown:
                break
            kept.update((name, graph.offered[name]) for name in offered[-1])
            known.update((norm, (np.zeros(n), np.ones(n))) for norm in graph.unknown for n in (self._channels(norm),))
        last = {name: number for number, done in enumerate(passes) for name in done.uses}
        return [
            replace(done, makes=tuple(name for name in made if last.get(name, 0) > number),
                    drops=tuple(name for name in done.uses if last[name] == number))
            for number, (done, made) in enumerate(zip(passes, offered))
        ]  # fmt: skip

    def _channels(self, norm: str) -> int:
        return self._net[norm].channels

    def _is_kept(self, name: str, value: Value, room: int) -> bool:
        """Whether keeping an activation is worth its place."""
        floats = value.width / normalised_at(self._net, name) ** 2
        # As stored: all of every tile, with its overlap and surroundings.
        around = 2 * max(n << self._net[layer].reduction for layer, n in self._geometry.surroundings.items())
        height, width = (spans[0].end - spans[0].begin + around for spans in (self.rows, self.columns))
        if LIVE * 4 * floats * len(self) * height * width > room:
            return False
        return floats <= KEPT_FLOATS or 4 * floats * self.full[0] * self.full[1] <= KEPT_BYTES

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

    def _run_pass(
        self, done: Pass, known: Statistics, spill: Spill, progress: Callable[[], object]
    ) -> Iterator[tuple[Span, Span, list[np.ndarray]]]:
        """What a pass makes of each tile, on the host: what its norms take, or the picture."""
        run, names = self._run.for_tiles(known, done.kept), list(done.kept)
        compiled, buffers, more, running = None, {}, [], []

        def finished() -> tuple[Span, Span, list[np.ndarray]]:
            number, row, column, arrays = running.pop(0)
            made = [array.asnumpy() for array in arrays]
            for name, array in zip((*done.norms, *more), made):
                if name in done.makes:
                    spill.put(name, number, array)
            progress()
            return row, column, made[: len(made) - len(more)]

        for number, (row, column) in enumerate(self._tiles()):
            inputs = self.inputs(row, column) if done.takes_inputs else [None] * len(self._net.inputs)
            for name in done.uses:
                buffers[name] = spill.get(name, number, buffers.get(name))
            if compiled is None:
                stored = [mx.nd.array(buffers[name]) if name in done.uses else None for name in names]
                shapes = [(1, 1, 1, 1) if array is None else array.shape for array in inputs]
                graph = run.draw(shapes, whole=not done.norms)
                more = [name for name in done.makes if name not in done.norms]
                outputs = [*_outputs(graph), *(graph.offered[name].symbol for name in more)]
                compiled = run.compile(graph, outputs, [*inputs, *stored])
            for name, array in zip(names, stored):
                if array is not None:
                    array[:] = buffers[name]
            running.append((number, row, column, compiled(*inputs, *stored)))
            # The engine works on this tile while the host sees to the one before.
            if number:
                yield finished()
        yield finished()
        spill.drop(done.drops)

    def statistics(self, progress: Callable[[], object] = lambda: None) -> Statistics:
        """Mean and variance of each instance norm over the whole picture; ``progress`` is called after each tile."""
        with contextlib.closing(Spill(len(self))) as spill:
            return self._statistics(spill, progress)

    def _statistics(self, spill: Spill, progress: Callable[[], object]) -> Statistics:
        if self._thumbnail is not None:
            return self._thumbnail.statistics(progress)
        known: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for done in self._passes[:-1]:
            sums = [_Moments(self._channels(norm)) for norm in done.norms]
            for row, column, values in self._run_pass(done, known, spill, progress):
                for norm, value, moments in zip(done.norms, values, sums):
                    scale = normalised_at(self._net, norm)
                    height, width = value.shape[2:]
                    part = (_sound(row, scale, height), _sound(column, scale, width))
                    moments.add(value[(0, slice(None), *part)])
            known.update((norm, moments.result()) for norm, moments in zip(done.norms, sums))
        return known

    def pixels(self, progress: Callable[[], object] = lambda: None) -> np.ndarray:
        """The picture, uint8 (H, W, 3): clipped to [0, 1], rounded. ``progress`` is called :attr:`work` times.

        Raises NotFinite where the net makes values that are no numbers.
        """
        height, width = self._size
        picture = np.empty((height, width, 3), np.uint8)
        with contextlib.closing(Spill(len(self))) as spill:
            known = self._statistics(spill, progress)
            last = self._passes[-1] if self._thumbnail is None else Pass((), {}, frozenset(), True)
            for row, column, (made,) in self._run_pass(last, known, spill, progress):
                tile = made[0]
                tile = tile[:, row.first - row.begin :, column.first - column.begin :]
                target = picture[row.first : row.last, column.first : column.last]
                tile = tile[:, : target.shape[0], : target.shape[1]]
                if not np.isfinite(tile).all():
                    raise NotFinite("the picture has values that are NaN or infinite")
                target[...] = np.rint(np.clip(tile, 0, 1) * np.float32(255)).transpose(1, 2, 0)
        return picture


def _outputs(graph: InferenceGraph) -> list:
    """What unknown statistics are taken from; if there are none, the picture."""
    return list(graph.unknown.values()) or [graph.picture]


def _sound(span: Span, scale: int, pixels: int) -> slice:
    """The part of a tile's activation, of ``pixels`` pixels that are ``scale`` wide, that counts for the whole.

    The activation may go beyond the tile on both sides: at the picture's own edge all of it counts.
    """
    beyond = (pixels - (span.end - span.begin) // scale) // 2
    begin = beyond + (span.first - span.begin) // scale if span.open_before else 0
    end = beyond + (span.last - span.begin) // scale if span.open_after else pixels
    return slice(begin, end)


class _Moments:
    """Mean and variance of each channel over pieces (C', H, W), merged in float64 (Chan, Golub, LeVeque 1983); of the
    first ``channels`` channels."""

    def __init__(self, channels: int):
        self._channels, self._count = channels, 0
        self._mean, self._squares = np.zeros(channels), np.zeros(channels)

    def add(self, piece: np.ndarray) -> None:
        piece = piece[: self._channels]
        count = piece.shape[1] * piece.shape[2]
        mean = piece.sum(axis=2).sum(axis=1, dtype=np.float64) / count
        centred = piece - mean.astype(np.float32)[:, None, None]
        squares = np.einsum("chw,chw->ch", centred, centred).sum(axis=1, dtype=np.float64)
        apart, total = mean - self._mean, self._count + count
        self._squares += squares + apart**2 * (self._count * count / total)
        self._mean += apart * (count / total)
        self._count = total

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance (C,), float32."""
        return self._mean.astype(np.float32), (self._squares / self._count).astype(np.float32)
