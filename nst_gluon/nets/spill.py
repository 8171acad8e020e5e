"""Activations of a picture's tiles in a temporary file, so that memory does not grow with the picture. No engine."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable

import numpy as np


class Spill:
    """Arrays by (name, tile), float32, all tiles' of one name of one shape; the file goes away with this.

    Args:
        tiles: how many there are.
    """

    def __init__(self, tiles: int):
        self._tiles, self._file = tiles, tempfile.TemporaryFile(prefix="nst-gluon-")  # noqa: SIM115
        self._places: dict[str, tuple[int, tuple[int, ...]]] = {}
        self._free: list[tuple[int, int]] = []
        self._end = 0

    @staticmethod
    def room() -> int:
        """Bytes that such a file may take: half of what is free where temporary files are."""
        return shutil.disk_usage(tempfile.gettempdir()).free // 2

    def put(self, name: str, tile: int, array: np.ndarray) -> None:
        """Keep an array."""
        if name not in self._places:
            self._places[name] = self._allocate(self._tiles * array.nbytes), array.shape
        self._file.seek(self._places[name][0] + tile * array.nbytes)
        self._file.write(np.ascontiguousarray(array).data)

    def get(self, name: str, tile: int, out: np.ndarray | None = None) -> np.ndarray:
        """An array that was kept, in ``out`` if that is given."""
        begin, shape = self._places[name]
        array = np.empty(shape, np.float32) if out is None else out
        self._file.seek(begin + tile * array.nbytes)
        if self._file.readinto(memoryview(array).cast("B")) != array.nbytes:
            raise OSError(f"the temporary file of {os.path.basename(str(self._file.name))} is cut off")
        return array

    def drop(self, names: Iterable[str]) -> None:
        """Give the place of these to others."""
        for name in names:
            begin, shape = self._places.pop(name)
            self._free.append((4 * self._tiles * int(np.prod(shape)), begin))

    def _allocate(self, size: int) -> int:
        fits = min((place for place in self._free if place[0] >= size), default=None)
        if fits is not None:
            self._free.remove(fits)
            return fits[1]
        begin, self._end = self._end, self._end + size
        return begin

    def close(self) -> None:
        self._file.close()
