"""Activations of a picture in a temporary file, so that memory does not grow with the picture. No engine."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import BinaryIO

import numpy as np

from nst_gluon.system.errors import UserError
from nst_gluon.system.files import one_line


def _folder() -> str:
    """Where large temporary files go: TMPDIR, or else /var/tmp, as /tmp may be memory."""
    if "TMPDIR" not in os.environ and os.access("/var/tmp", os.W_OK):
        return "/var/tmp"
    return tempfile.gettempdir()


@contextmanager
def _naming_the_file() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"--tile: cannot use a temporary file: {one_line(error)}; set TMPDIR to a folder with more room"
        ) from error


class Spill:
    """Arrays (C, H, W) by name, float32, written and read in parts; the file goes away with this.

    Raises:
        UserError: the file cannot be made, written or read.
    """

    def __init__(self) -> None:
        self._places: dict[str, tuple[int, tuple[int, int, int]]] = {}
        self._free: list[tuple[int, int]] = []
        self._end = 0

    @cached_property
    def _file(self) -> BinaryIO:
        return tempfile.TemporaryFile(prefix="nst-gluon-", buffering=0, dir=_folder())

    @staticmethod
    def room() -> int:
        """Bytes that such a file may take: half of what is free where temporary files are; 0 where none can be."""
        try:
            return shutil.disk_usage(_folder()).free // 2
        except OSError:
            return 0

    def make(self, name: str, shape: tuple[int, int, int]) -> None:
        """Make room for an array."""
        self._places[name] = self._allocate(4 * int(np.prod(shape))), shape

    def put(self, name: str, top: int, left: int, part: np.ndarray) -> None:
        """Write a part (C, h, w), whose first row and column are ``top`` and ``left``."""
        with _naming_the_file():
            for piece in self._pieces(name, top, left, part):
                while len(piece):
                    piece = piece[self._file.write(piece) :]

    def get(self, name: str, top: int, left: int, out: np.ndarray) -> None:
        """Read the part of the shape of ``out``, contiguous."""
        with _naming_the_file():
            for piece in self._pieces(name, top, left, out):
                while len(piece):
                    read = self._file.readinto(piece)
                    if not read:
                        raise OSError("it is cut off")
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
        if "_file" in self.__dict__:
            self._file.close()
