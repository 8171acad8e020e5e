"""Projected L-BFGS on flat float32 vectors (Nocedal & Wright 2006, algorithms 7.4 and 7.5), of numpy or an engine's.

Why not SciPy's L-BFGS-B: it works in float64 on copies, and its first step has length 1 in all the pixels together,
which is next to nothing for a picture (measured: ``results/speed/choices.md``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

SUFFICIENT = 1e-4  # of the decrease that the slope promises (Armijo)
FLAT = 0.9  # the slope must have come down to this fraction of it (Wolfe)
LONGER = 2.5  # a step at whose end the slope is still steeper is made so much longer
TRIALS = 8

Function = Callable[[np.ndarray], tuple[float, np.ndarray]]


class Memory:
    """The last ``size`` pairs of (step, change of the gradient), and the direction that follows from them."""

    def __init__(self, size: int):
        self._size = size
        self._pairs: list[tuple[np.ndarray, np.ndarray, float]] = []  # step, change, curvature; the oldest first

    def __len__(self) -> int:
        return len(self._pairs)

    def clear(self) -> None:
        self._pairs.clear()

    def add(self, step: np.ndarray, change: np.ndarray) -> None:
        """Remember a pair, unless the curvature along it is not positive; the oldest makes room."""
        product = float(step @ change)
        if not product > 1e-10 * float(change @ change):
            return
        if len(self._pairs) == self._size:
            del self._pairs[0]
        self._pairs.append((step, change, product))

    def direction(self, gradient: np.ndarray) -> np.ndarray:
        """Minus the inverse Hessian's approximation times ``gradient``; steepest descent while it is empty."""
        found, along = -gradient, []
        for step, change, curvature in reversed(self._pairs):
            along.append(float(step @ found) / curvature)
            found -= along[-1] * change
        if self._pairs:
            _, change, curvature = self._pairs[-1]
            found *= curvature / float(change @ change)
        for (step, change, curvature), there in zip(self._pairs, reversed(along)):
            found += (there - float(change @ found) / curvature) * step
        return found


def minimise(
    function: Function,
    start: np.ndarray,
    memory: int = 10,
    first_step: float = 0.05,
    bounds: tuple[float, float] | None = None,
) -> np.ndarray:
    """Go downhill from ``start`` until no step leads down any more; usually ``function`` ends it by raising.

    With ``bounds`` every point lies within them: a step is projected onto them (Johnson et al. 2016, section 4.1), and
    pixels that lie on a bound with the gradient pointing outwards stay there, so that the direction is that of the
    others alone (Bertsekas 1982, section 3). A picture that left [0, 1] would have to be clipped to be saved.

    Args:
        function: a vector (n,), float32, to its value and gradient (n,), float32. Both must stay as they are.
        start: float32, in any shape; what kind of array it is, all vectors are.
        memory: pairs of vectors to remember.
        first_step: root mean square of the first step, which has no curvature to go by.
        bounds: the least and the largest value of a pixel; None: none.

    Returns:
        The lowest point that was found.
    """
    x = _within(start.ravel(), bounds)
    value, gradient = function(x)
    known = Memory(memory)
    while True:
        free = _free(x, gradient, bounds)
        direction = free * known.direction(free * gradient)
        slope = float(gradient @ direction)
        if not slope < 0:
            if not len(known):
                return x
            known.clear()
            continue
        length = 1.0 if len(known) else first_step * math.sqrt(len(x) / float(direction @ direction))
        trials = _along(function, x, gradient, direction, value, slope, length, bounds)
        best = min(trials, key=lambda trial: trial[0])
        if not best[0] < value:
            if not len(known):
                return x
            known.clear()
            continue
        known.add(best[1] - x, best[2] - gradient)
        value, x, gradient = best


def _within(x: np.ndarray, bounds: tuple[float, float] | None) -> np.ndarray:
    """``x``, projected onto the bounds."""
    return x if bounds is None else x.clip(*bounds)


def _free(x: np.ndarray, gradient: np.ndarray, bounds: tuple[float, float] | None) -> Any:
    """1 for each pixel that may move downhill, 0 for those that lie on a bound and would leave it."""
    if bounds is None:
        return 1
    low, high = bounds
    return ~(((x <= low) & (gradient > 0)) | ((x >= high) & (gradient < 0)))


def _along(
    function: Function,
    x: np.ndarray,
    gradient: np.ndarray,
    direction: np.ndarray,
    value: float,
    slope: float,
    length: float,
    bounds: tuple[float, float] | None,
) -> Iterator[tuple[float, np.ndarray, np.ndarray]]:
    """The points that a line search visits, as (value, point, gradient): the first is nearly always good enough.

    Too long a step is followed by the minimum of the cubic through both ends, too short a one by a longer one.
    """
    low, high = (0.0, value, slope), None
    for _ in range(TRIALS):
        point = _within(x + length * direction, bounds)
        reached, after = function(point)
        yield reached, point, after
        # Along the path that is projected, pixels stop at the bounds: what counts is what still moves.
        moving = direction if bounds is None else direction * ((point > bounds[0]) & (point < bounds[1]))
        end = (length, reached, float(after @ moving))
        if reached > value + SUFFICIENT * float(gradient @ (point - x)):
            high = end
        elif end[2] < FLAT * slope:
            low = end
        else:
            return
        length = length * LONGER if high is None else _cubic_minimum(low, high)


def _cubic_minimum(low: tuple[float, float, float], high: tuple[float, float, float]) -> float:
    """Where the cubic through two ends (length, value, slope) is lowest, well within them; else their middle."""
    (a, value_a, slope_a), (b, value_b, slope_b) = low, high
    one = slope_a + slope_b - 3 * (value_a - value_b) / (a - b)
    root = one * one - slope_a * slope_b
    found = 0.5 * (a + b)
    if np.isfinite(root) and root >= 0:
        two = float(np.sqrt(root)) * (1 if b > a else -1)
        below = slope_b - slope_a + 2 * two
        found = b - (b - a) * (slope_b + two - one) / below if below else found
    margin = 0.1 * abs(b - a)
    return float(min(max(found, min(a, b) + margin), max(a, b) - margin))
