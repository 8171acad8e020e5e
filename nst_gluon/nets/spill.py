"""Activations of a picture in a temporary file, so that memory does not grow with the picture. No engine."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator

import numpy as np


class Spill:
    """Arrays (C, H, W) by name, float32, written and read in parts; the file goes away with this."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="nst-gluon-", buffering=0)  # noqa: SIM115
        self._places: dict[str, tuple[int, tuple[int, int, int]]] = {}
        self._free: list[tuple[int, int]] = []
        self._end = 0

    @staticmethod
    def room() -> int:
        """Bytes that such a file may take: half of what is free where temporary files are."""
        return shutil.disk_usage(tempfile.gettempdir()).free // 2

    def make(self, name: str, shape: tuple[int, int, int]) -> None:
        """Make room for an array."""
        self._places[name] = self._allocate(4 * int(np.prod(shape))), shape

    def put(self, name: str, top: int, left: int, part: np.ndarray) -> None:
        """Write a part (C, h, w), whose first row and column are ``top`` and ``left``."""
        for piece in self._pieces(name, top, left, part):
            while len(piece):
                piece = piece[self._file.write(piece) :]

    def get(self, name: str, top: int, left: int, out: np.ndarray) -> None:
        """Read the part of the shape of ``out``, contiguous."""
        for piece in self._pieces(name, top, left, out):
            while len(piece):
                read = self._file.readinto(piece)
                if not read:
                    raise OSError(f"the temporary file {os.path.basename(str(self._file.name))} is cut off")
                piece = piece[read:]

    def _pieces(self, name: str, top: int, left: int, part: np.ndarray) -> Iterator[memoryview]:
        """Bytes of ``part`` that lie together in the file as well; the file is there where each belongs."""
        begin, (_, height, width) = self._places[name]
        for channel, rows in enumerate(part):
            for number, piece in enumerate([rows] if rows.shape[1] == width else rows):
                self._file.seek(begin + 4 * ((channel * height + top + number) * width + left))
                yield memoryview(piece).cast("B")

    def drop(self, names: Iterable[str]) -> None:
        """Give the place of these to others."""
        for name in names:
            begin, shape = self._places.pop(name)
            self._free.append((4 * int(np.prod(shape)), begin))

    def _allocate(self, size: int) -> int:
        fits = min((place for place in self._free if place[0] >= size), default=None)
        if fits is not None:
            self._free.remove(fits)
            return fits[1]
        begin, self._end = self._end, self._end + size
        return begin

    def close(self) -> None:
        self._file.close()
