"""Medians and ratios of medians with 95 % bootstrap intervals, for samples that may be few, skewed or
unbounded.
"""

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


def median_interval(samples: Iterable[float]) -> Estimate:
    """The median and its 95 % percentile-bootstrap interval; samples that are NaN are left out.

    Infinite samples are allowed (a time that is known only to be longer than everything measured). With n =
    1 the interval is NaN, with n = 2 or 3 it is the whole range of the samples: read ``n`` beside it.
    """
    ordered = _ordered(samples)
    n = len(ordered)
    if n == 0:
        return Estimate(np.nan, np.nan, np.nan, 0)
    low, high = _interval(_bootstrap_medians(ordered)) if n > 1 else (np.nan, np.nan)
    return Estimate(float(np.median(ordered)), low, high, n)


def ratio_interval(numerator: Iterable[float], denominator: Iterable[float], factor: float = 1.0) -> Estimate:
    """``factor`` times the ratio of two medians of positive samples; both sides are resampled,
    independently of each other.

    ``n`` is that of the smaller side. A side with a single sample cannot vary: the interval then covers the
    spread of the other side only, which n = 1 tells; with n = 1 on both sides it is NaN. A ratio to zero is
    no number (n = 0).
    """
    above, below = _ordered(numerator), _ordered(denominator)
    n = min(len(above), len(below))
    if n == 0 or below[0] <= 0:
        return Estimate(np.nan, np.nan, np.nan, 0)
    value = factor * float(np.median(above)) / float(np.median(below))
    if max(len(above), len(below)) == 1:
        return Estimate(value, np.nan, np.nan, 1)
    low, high = _interval(factor * _bootstrap_medians(above) / _bootstrap_medians(below, SEED + 1))
    return Estimate(value, low, high, n)


def _ordered(samples: Iterable[float]) -> np.ndarray:
    values = np.asarray(list(samples), dtype=float)
    return np.sort(values[~np.isnan(values)])


def _bootstrap_medians(ordered: np.ndarray, seed: int = SEED) -> np.ndarray:
    """Medians of RESAMPLES resamples of sorted samples, without drawing the resamples.

    A resample is n uniform positions in the sorted samples, and the middle one of n uniform numbers has a
    beta distribution: drawing that one number is the same as drawing all n and sorting them. An even n has
    two middle ones; the upper, given the lower, is the least of the n/2 that lie above it.
    """
    rng = np.random.default_rng(seed)
    n = len(ordered)
    rank = (n + 1) // 2
    lower = rng.beta(rank, n - rank + 1, RESAMPLES)
    medians = ordered[_position(lower, n)]
    if n % 2:
        return medians
    upper = lower + (1 - lower) * rng.beta(1, n - rank, RESAMPLES)
    return (medians + ordered[_position(upper, n)]) / 2


def _position(uniform: np.ndarray, n: int) -> np.ndarray:
    return np.minimum((uniform * n).astype(int), n - 1)


def _interval(resampled: np.ndarray) -> tuple[float, float]:
    # Whole ranks outwards rather than interpolated ones: infinities stay infinities, and nothing gets too narrow.
    tail = (1 - CONFIDENCE) / 2
    resampled = np.sort(resampled)
    last = len(resampled) - 1
    return float(resampled[int(np.floor(tail * last))]), float(resampled[int(np.ceil((1 - tail) * last))])
