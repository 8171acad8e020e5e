"""What all readers of weight files have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


class Refused(Exception):
    """The file is damaged, or asks for something that no file of weights needs."""


@dataclass(frozen=True)
class Entry:
    """An array that has been described and not read, so that its shape can be judged before it takes memory.

    ``read`` is valid while the file is open; it raises :class:`Refused` where the values are not there.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[], np.ndarray]


def printable(text: object, limit: int = 160) -> str:
    """``text`` as one printable line of at most ``limit`` characters (file contents can reach messages)."""
    line = " ".join(str(text).split())
    line = "".join(c if c.isprintable() else "?" for c in line)
    return line if len(line) <= limit else line[: limit - 3] + "..."
