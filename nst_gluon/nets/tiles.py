"""Pictures larger than memory, tile by tile: the same picture as in one piece, without seams.

A tile's graph (:mod:`nst_gluon.nets.inference`) sees, where the picture goes on, as much around the tile as the layers
that it computes need (:func:`nst_gluon.nets.geometry.sound`); at the picture's own edge the net pads as it always does.
All tiles of a pass have one size, so that one graph serves them all, and lie on multiples of the net's coarsest pixel.
With batch norm one pass is all, and exact up to rounding.

Instance norm divides by the mean and variance of the *whole* picture. They are taken exactly, layer by layer, in passes
over all tiles that end at the first layer whose statistics are unknown yet. What a pass ends at is kept whole in a
temporary file, of which the next one's tiles take what they need: hardly anything is computed twice. Large activations
that are cheap to make, those of Johnson's outermost layers, are made again instead where the picture is large.

Statistics of a thumbnail (Chen et al. 2022: thumbnail instance normalisation) take one pass and no file. They are those
of another picture: 14 to 22 dB against the whole one.

Memory follows the tile, not the picture; of the picture there are the content, in float32, and the result in 8 bits.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from nst_gluon.methods.description import Content, Net
from nst_gluon.nets.geometry import STATISTICS, Axis, array_of, axis, sides, tile_geometry, working_size
from nst_gluon.nets.inference import Inference
from nst_gluon.nets.inference_graph import InferenceGraph, Statistics, Value
from nst_gluon.nets.inputs import noise_window
from nst_gluon.nets.spill import Spill
from nst_gluon.nets.trained_net import TrainedNet
from nst_gluon.pictures.images import resize
from nst_gluon.system.engine import fetch, mx
from nst_gluon.system.errors import NotFinite, UserError

# Floats a pixel of the picture up to which an activation is always kept, and bytes up to which a larger one is.
KEPT_FLOATS, KEPT_BYTES = 16, 2**30
LIVE = 3  # activations as large as the largest that are kept at a time
# How much more than square tiles those may cover that are as wide as the picture, where activations are kept.
STRIPS = 1.25


@dataclass(frozen=True)
class Pass:
    """One pass over all tiles.

    Attributes:
        norms: whose statistics are taken; none: the picture is made.
        kept: what may be there of the passes before, by name.
        uses: which of it this one takes; takes_inputs: whether it takes the net's inputs as well.
        makes: what is to be kept of it; drops: what nothing needs after it.
        rows, columns: its tiles.
    """

    norms: tuple[str, ...]
    kept: Mapping[str, Value]
    uses: frozenset[str]
    takes_inputs: bool
    makes: tuple[str, ...] = ()
    drops: tuple[str, ...] = ()
    rows: Axis | None = None
    columns: Axis | None = None

    def __len__(self) -> int:
        """How many tiles."""
        return len(self.rows.spans) * len(self.columns.spans)


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


class Tiling:
    """One picture of a trained net in tiles.

    Args:
        content: (1, 3, H, W) in [0, 1], for the task ``stylize``.
        size: (H, W) of a texture.
        side: a tile has about side x side pixels at most, square or as wide as the picture (but rounded up to what the
            net can work with).
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
            raise UserError(f"--tile: {side} is too small for this net's receptive field; use at least {least}")
        self.full = working_size(self._net, *self._size)

    @property
    def work(self) -> int:
        """Tiles to be worked on in all, each pass for statistics counted: how often ``progress`` is called."""
        if self._thumbnail is None:
            return sum(map(len, self._passes))
        return len(self._last) + self._thumbnail.work - len(self._thumbnail._last)

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
        span = range(working_size(self._net, 1, 1)[0])
        shapes = [array.shape for array in self.inputs(span, span)]
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
            for norm in graph.unknown:
                known[norm] = np.zeros(self._net[norm].channels), np.ones(self._net[norm].channels)
        last = {name: number for number, done in enumerate(passes) for name in done.uses}
        return [
            self._cut(replace(done, makes=tuple(name for name in made if last.get(name, 0) > number),
                              drops=tuple(name for name in done.uses if last[name] == number)))
            for number, (done, made) in enumerate(zip(passes, offered))
        ]  # fmt: skip

    @cached_property
    def _last(self) -> Pass:
        """What makes the picture."""
        return self._passes[-1] if self._thumbnail is None else self._cut(Pass((), {}, frozenset(), True))

    def _cut(self, done: Pass) -> Pass:
        """That pass in square tiles, or in tiles as wide as the picture, which are read and written in few pieces."""
        wanted = {array_of(self._net, name).name for name in (*done.norms, *done.makes)} or {self._net.output.name}
        (_, width), (side, _) = self.full, working_size(self._net, self._side, self._side)
        square = self._tiles_of(done, wanted, side, side)
        low = side * side // width // self._net.multiple * self._net.multiple
        strips = self._tiles_of(done, wanted, low, width) if low >= working_size(self._net, 1, 1)[0] else None
        most = (STRIPS if done.uses or done.makes else 1) * self._covered(square, wanted)
        return square if strips is None or self._covered(strips, wanted) > most else strips

    def _tiles_of(self, done: Pass, wanted: Collection[str], *size: int) -> Pass | None:
        rows, columns = (
            axis(self._net, length, min(side, length), wanted, done.uses) for length, side in zip(self.full, size)
        )
        return None if rows is None or columns is None else replace(done, rows=rows, columns=columns)

    def _covered(self, done: Pass, wanted: Collection[str]) -> int:
        """Pixels of all that a pass works on, without its inputs where the net pads these itself."""
        wrapped = self._geometry.surroundings if self._geometry.wraps else {}
        around = 2 * max((n << self._net[name].reduction for name, n in wrapped.items()), default=0)
        made = [sides(self._net, len(along.spans[0])) for along in (done.rows, done.columns)]
        return len(done) * sum(
            ((made[0][name] << self._net[name].reduction) + around)
            * ((made[1][name] << self._net[name].reduction) + around)
            for name in wanted
        )


    def _is_kept(self, name: str, value: Value, room: int) -> bool:
        """Whether keeping an activation is worth its place."""
        size = 4 * math.prod(self._whole(name, value))
        floats = value.width / 4 ** array_of(self._net, name).reduction
        return LIVE * size <= room and (floats <= KEPT_FLOATS or size <= KEPT_BYTES)

    def _whole(self, name: str, value: Value) -> tuple[int, int, int]:
        """The shape (C, H, W) of what is kept of that name."""
        layer = array_of(self._net, name).name
        return value.width, *(sides(self._net, length)[layer] for length in self.full)

    def inputs(self, row: range, column: range) -> list:
        """NDArrays for the tile's graph: its part of each input, with surroundings that go on beyond the edge."""
        arrays = []
        for layer in self._net.inputs:
            around, mode = self._geometry.surroundings[layer.name], "circular" if self._geometry.wraps else "reflect"
            pixels = [
                continued((span.start >> layer.reduction) - around, (span.stop >> layer.reduction) + around,
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
    ) -> Iterator[list[tuple[int, int, np.ndarray]]]:
        """What a pass makes of each tile, on the host: of what its norms take, or of the picture, the part (1, C, h, w)
        that is the tile's, and where in the whole that begins.
        """
        run, names = self._run.for_tiles(known, done.kept), list(done.kept)
        sizes = [sides(self._net, len(along.spans[0])) for along in (done.rows, done.columns)]
        buffers = {name: np.empty((done.kept[name].width, *(size[array_of(self._net, name).name] for size in sizes)),
                                  np.float32) for name in done.uses}  # fmt: skip
        stored = [mx.nd.array(buffers[name][None]) if name in done.uses else None for name in names]
        made: dict[str, np.ndarray] = {}
        compiled, wanted, running = None, [*(done.norms or (self._net.output.name,))], []
        wanted += [name for name in done.makes if name not in done.norms]

        def finished() -> list[tuple[int, int, np.ndarray]]:
            row, column, arrays = running.pop(0)
            found = []
            for name, array in zip(wanted, arrays):
                layer = array_of(self._net, name)
                top, rows = done.rows.part(layer, row, array.shape[2], sizes[0][layer.name])
                left, columns = done.columns.part(layer, column, array.shape[3], sizes[1][layer.name])
                if name not in made:
                    made[name] = np.empty(array.shape, np.float32)
                fetch(array, made[name])
                part = made[name][:, :, rows, columns]
                if name in done.makes:
                    spill.put(name, top, left, part[0])
                found.append((top, left, part))
            progress()
            return found[: len(done.norms) or 1]

        for row, column in itertools.product(range(len(done.rows.spans)), range(len(done.columns.spans))):
            spans = done.rows.spans[row], done.columns.spans[column]
            inputs = self.inputs(*spans) if done.takes_inputs else [None] * len(self._net.inputs)
            for name, buffer in buffers.items():
                spill.get(name, *(span.start >> array_of(self._net, name).reduction for span in spans), buffer)
            if compiled is None:
                shapes = [(1, 1, 1, 1) if array is None else array.shape for array in inputs]
                graph = run.draw(shapes, whole=not done.norms)
                outputs = [*_outputs(graph), *(graph.offered[name].symbol for name in wanted[len(done.norms) or 1 :])]
                compiled = run.compile(graph, outputs, [*inputs, *stored])
                for name in done.makes:
                    spill.make(name, self._whole(name, graph.offered[name]))
            for name, array in zip(names, stored):
                if array is not None:
                    array[:] = buffers[name][None]
            running.append((row, column, compiled(*inputs, *stored)))
            # The engine works on this tile while the host sees to the one before.
            if len(running) > 1:
                yield finished()
        yield finished()
        spill.drop(done.drops)

    def statistics(self, progress: Callable[[], object] = lambda: None) -> Statistics:
        """Mean and variance of each instance norm over the whole picture; ``progress`` is called after each tile."""
        with contextlib.closing(Spill()) as spill:
            return self._statistics(spill, progress)

    def _statistics(self, spill: Spill, progress: Callable[[], object]) -> Statistics:
        if self._thumbnail is not None:
            return self._thumbnail.statistics(progress)
        known: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for done in self._passes[:-1]:
            sums = [_Moments(self._net[norm].channels) for norm in done.norms]
            for parts in self._run_pass(done, known, spill, progress):
                for (_, _, part), moments in zip(parts, sums):
                    moments.add(part[0])
            known.update((norm, moments.result()) for norm, moments in zip(done.norms, sums))
        return known

    def pixels(self, progress: Callable[[], object] = lambda: None) -> np.ndarray:
        """The picture, uint8 (H, W, 3): clipped to [0, 1], rounded. ``progress`` is called :attr:`work` times.

        Raises NotFinite where the net makes values that are no numbers.
        """
        height, width = self._size
        picture = np.empty((height, width, 3), np.uint8)
        with contextlib.closing(Spill()) as spill:
            known = self._statistics(spill, progress)
            for ((top, left, tile),) in self._run_pass(self._last, known, spill, progress):
                target = picture[top : top + tile.shape[2], left : left + tile.shape[3]]
                tile = tile[0, :, : target.shape[0], : target.shape[1]]
                if not np.isfinite(tile).all():
                    raise NotFinite("the picture has values that are NaN or infinite")
                target[...] = np.rint(np.clip(tile, 0, 1) * np.float32(255)).transpose(1, 2, 0)
        return picture


def _outputs(graph: InferenceGraph) -> list:
    """What unknown statistics are taken from; if there are none, the picture."""
    return list(graph.unknown.values()) or [graph.picture]


class _Moments:
    """Mean and variance of each channel over pieces (C', H, W), merged in float64 (Chan, Golub, LeVeque 1983); of the
    first ``channels`` channels."""

    def __init__(self, channels: int):
        self._channels, self._count = channels, 0
        self._mean, self._squares = np.zeros(channels), np.zeros(channels)

    def add(self, piece: np.ndarray) -> None:
        count = piece.shape[1] * piece.shape[2]
        mean, squares = np.empty_like(self._mean), np.empty_like(self._mean)
        for number, channel in enumerate(piece[: self._channels]):
            mean[number] = channel.sum(axis=1).sum(dtype=np.float64) / count
            centred = channel - np.float32(mean[number])
            squares[number] = np.einsum("hw,hw->h", centred, centred).sum(dtype=np.float64)
        apart, total = mean - self._mean, self._count + count
        self._squares += squares + apart**2 * (self._count * count / total)
        self._mean += apart * (count / total)
        self._count = total

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance (C,), float32."""
        return self._mean.astype(np.float32), (self._squares / self._count).astype(np.float32)
