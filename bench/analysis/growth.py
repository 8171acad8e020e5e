"""How cost grows with the size of the picture: power laws, cost = factor * pixels ** exponent. Pure; imports no engine.

A straight line is fitted to the logarithms by least squares. Its slope is the exponent: 1 is "twice the pixels, twice
the cost". The interval is Student's for that slope, from how far the sizes' medians lie off the line; with two sizes
the line meets both points and there is none. An exponent is worth printing only where its interval is no wider than
WIDEST. Three sizes are seldom enough for that: one degree of freedom makes an interval of 25 standard errors.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from bench.analysis import metrics
from bench.analysis.intervals import CONFIDENCE
from bench.analysis.summary import OK

LEAST_SIZES = 3
WIDEST = 0.5
METRICS = metrics.named(metrics.GROWTH)
SERIES = ("metric", "unit", "style_name", "task", "method", "engine", "dtype", "device")


@dataclass(frozen=True)
class PowerLaw:
    """cost = ``factor`` * pixels ** ``exponent``; ``low`` to ``high`` is the exponent's 95 % interval.

    ``low`` and ``high`` are NaN with two sizes, and the exponent and the factor too with fewer.
    """

    exponent: float
    low: float
    high: float
    factor: float
    sizes: int

    @property
    def certain(self) -> bool:
        """Whether the interval is narrow enough to say anything."""
        return self.high - self.low <= WIDEST

    def at(self, pixels: float | np.ndarray) -> float | np.ndarray:
        """The cost that the law gives for a picture of so many pixels."""
        return self.factor * np.asarray(pixels, dtype=float) ** self.exponent


def fit(pixels: Iterable[float], costs: Iterable[float]) -> PowerLaw:
    """The power law through points of (pixels, cost); those that are not positive and finite are left out."""
    points = np.array([list(pixels), list(costs)], dtype=float)
    x, y = np.log(points[:, (np.isfinite(points) & (points > 0)).all(axis=0)])
    sizes = len(np.unique(x))
    if sizes < 2:
        return PowerLaw(math.nan, math.nan, math.nan, math.nan, sizes)
    line = stats.linregress(x, y)
    half = math.nan
    if sizes >= LEAST_SIZES:
        half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(x) - 2) * line.stderr)
    slope = float(line.slope)
    return PowerLaw(slope, slope - half, slope + half, float(np.exp(line.intercept)), sizes)


def laws(summary: pd.DataFrame) -> list[tuple[dict[str, str], pd.DataFrame, PowerLaw]]:
    """The power law of every cost in a summary, at batch 1: (columns SERIES, the rows it is fitted to, the law).

    Only what was measured counts: no lower bound, and no cell that failed.
    """
    rows = summary[(summary["batch"] == 1) & (summary["status"] == OK) & summary["metric"].isin(METRICS)]
    rows = rows[rows["value"] > 0]
    found = []
    for key, group in rows.groupby(list(SERIES), sort=True):
        group = group.sort_values("size")
        found.append((dict(zip(SERIES, key)), group, fit(group["size"] ** 2, group["value"])))
    return sorted(found, key=lambda item: METRICS.index(item[0]["metric"]))
