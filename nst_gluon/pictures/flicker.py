"""How much a stylised video flickers: what changes from frame to frame, beside what changes in the input."""

from __future__ import annotations

import numpy as np


class Flicker:
    """Mean absolute changes from frame to frame of a video and of what was made of it.

    The change is the mean over all pixels, channels and pairs of successive frames, as a fraction of the range: 0 for a
    still picture, 1 for one that goes from black to white. A video whose net added no movement of its own has a ratio
    of about 1.
    """

    def __init__(self) -> None:
        self._last: tuple[np.ndarray, np.ndarray] | None = None
        self._sums, self._pairs = np.zeros(2), 0

    def add(self, source: np.ndarray, made: np.ndarray) -> None:
        """The next frame of both, uint8 (H, W, 3); frames of one video are all of one size."""
        if self._last is not None:
            for index, (before, now) in enumerate(zip(self._last, (source, made))):
                difference = np.maximum(before, now) - np.minimum(before, now)
                self._sums[index] += float(difference.mean()) / 255
            self._pairs += 1
        self._last = source.copy(), made.copy()

    @property
    def input_change(self) -> float | None:
        """The input's change; None before there are two frames."""
        return float(self._sums[0]) / self._pairs if self._pairs else None

    @property
    def output_change(self) -> float | None:
        """The output's change; None before there are two frames."""
        return float(self._sums[1]) / self._pairs if self._pairs else None

    @property
    def ratio(self) -> float | None:
        """The output's change over the input's; None where the input does not change at all."""
        return self.output_change / self.input_change if self._pairs and self.input_change else None
