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
