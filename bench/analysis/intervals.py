"""Medians and ratios of medians with 95 % bootstrap intervals, for samples that may be few, skewed or unbounded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95
RESAMPLES = 10_000
SEED = 0


@dataclass(frozen=True)
class Estimate:
    """A median (or ratio of medians) with its interval, and the number of samples it rests on.

    ``low`` and ``high`` are NaN where there is no interval: one sample says nothing about its own spread.
    """

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Resampled:
    """A value and what it became when its samples were drawn again: ``values`` (RESAMPLES,), None if it cannot vary.

    ``n`` is the number of samples.
    """

    value: float
    values: np.ndarray | None
    n: int

    def over(self, other: Resampled, factor: float = 1.0) -> Resampled:
        """``factor`` times the ratio to another, resampled independently; ``n`` is that of the smaller side.

        A side that cannot vary leaves the spread of the other. A ratio to zero is no number (n = 0).
        """
        n = min(self.n, other.n)
        least = other.value if other.values is None else min(other.value, other.values.min())
        if n == 0 or not least > 0:
            return Resampled(np.nan, None, 0)
        value = factor * self.value / other.value
        if self.values is None and other.values is None:
            return Resampled(value, None, n)
        above, below = (side.value if side.values is None else side.values for side in (self, other))
        return Resampled(value, factor * above / below, n)

    def estimate(self) -> Estimate:
        """The value with its 95 % percentile interval."""
        low, high = (np.nan, np.nan) if self.values is None else _interval(self.values)
        return Estimate(self.value, low, high, self.n)


def resampled(groups: Iterable[Iterable[float]], seed: int = SEED) -> Resampled:
    """The median over groups (processes) of the medians of their samples; both levels are drawn again.

    Samples that are NaN are left out; infinite ones are allowed. With one group only its samples are drawn again, with
    one sample nothing is. The interval of 2 or 3 samples is their whole range.
    """
    ordered = [found for found in map(_ordered, groups) if len(found)]
    n = sum(map(len, ordered))
    if not n:
        return Resampled(np.nan, None, 0)
    value = float(np.median([np.median(found) for found in ordered]))
    if n == 1:
        return Resampled(value, None, 1)
    if len(ordered) == 1:
        return Resampled(value, _bootstrap_medians(ordered[0], seed), n)
    rng = np.random.default_rng(seed)
    chosen = rng.integers(len(ordered), size=(RESAMPLES, len(ordered)))
    medians = np.empty(chosen.shape)
    for index, found in enumerate(ordered):
        places = chosen == index
        medians[places] = _bootstrap_medians(found, seed + 1 + index, int(places.sum()))
    return Resampled(value, np.median(medians, axis=1), n)


def _ordered(samples: Iterable[float]) -> np.ndarray:
    values = np.asarray(list(samples), dtype=float)
    return np.sort(values[~np.isnan(values)])


def _bootstrap_medians(ordered: np.ndarray, seed: int, count: int = RESAMPLES) -> np.ndarray:
    """Medians of ``count`` resamples of sorted samples, without drawing the resamples.

    A resample is n uniform positions in the sorted samples, and the middle one of n uniform numbers has a
    beta distribution: drawing that one number is the same as drawing all n and sorting them. An even n has
    two middle ones; the upper, given the lower, is the least of the n/2 that lie above it.
    """
    rng = np.random.default_rng(seed)
    n = len(ordered)
    rank = (n + 1) // 2
    lower = rng.beta(rank, n - rank + 1, count)
    medians = ordered[_position(lower, n)]
    if n % 2:
        return medians
    upper = lower + (1 - lower) * rng.beta(1, n - rank, count)
    return (medians + ordered[_position(upper, n)]) / 2


def _position(uniform: np.ndarray, n: int) -> np.ndarray:
    return np.minimum((uniform * n).astype(int), n - 1)


def _interval(resampled: np.ndarray) -> tuple[float, float]:
    # Whole ranks outwards rather than interpolated ones: infinities stay infinities, and nothing gets too narrow.
    tail = (1 - CONFIDENCE) / 2
    resampled = np.sort(resampled)
    last = len(resampled) - 1
    return float(resampled[int(np.floor(tail * last))]), float(resampled[int(np.ceil((1 - tail) * last))])
