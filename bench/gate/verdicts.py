"""Whether a candidate is slower, or takes more memory, than a baseline: pure functions on data frames.

Imports no engine. Samples are compared in one of two ways.

Rounds: both sides were measured in one job, in rounds of A B B A (A the baseline), each block in a process of its own
and the two of a pair in turns of a tenth of a second. A block's number is the median of its samples. A round gives two
paired log-ratios, log(B1 / A1) and log(B2 / A2), so that what slowed the machine down for a while hit both halves of a
pair, and a steady drift cancels. The ratio is the geometric mean of the pairs, with Student's t interval. The verdict
is looked at after every round from ``least_rounds`` on, and measuring stops when it is clear. The intervals allow for
that: look j uses the level 1 - SPENT / j, so that the intervals of all looks together miss the true ratio in at most
5 % of comparisons (4.9 % over 40 looks at normal noise).

Pools: two finished runs, measured at different times. The ratio is that of the medians of all samples, with a bootstrap
interval. It does not see what differs from process to process; the floor covers that (:mod:`bench.gate.selftest`).

A metric is slower if its whole interval lies above 1 + floor, faster if below 1 / (1 + floor), the same if it lies
between these two, and otherwise inconclusive. Of every metric compared here, less is better.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import special, stats

from bench.analysis.intervals import CONFIDENCE, SEED, Estimate
from nst_gluon.objective.loss_terms import TERMS

FASTER, SAME, SLOWER, INCONCLUSIVE = "faster", "same", "slower", "inconclusive"
NEW, MISSING, INCOMPARABLE = "new", "missing", "incomparable"
VERDICTS = (SLOWER, INCONCLUSIVE, MISSING, NEW, INCOMPARABLE, FASTER, SAME)

BASELINE, CANDIDATE = "baseline", "candidate"
ORDER = (BASELINE, CANDIDATE, CANDIDATE, BASELINE)

PASS, REGRESSION, CELLS_FAILED, NOTHING_MEASURED = 0, 1, 2, 3

GATED_METRICS = ("latency_s", "iteration_s", "working_memory_bytes", "peak_memory_bytes")
# Everything that cells report samples of and less is better of.
COMPARED_METRICS = (*GATED_METRICS, "setup_s", "first_call_s", *TERMS, "parameters",
                    "net_file_bytes")  # fmt: skip
KEYS = ["cell", "metric", "unit"]
ROW_COLUMNS = (
    "cell", "metric", "unit", "baseline", "candidate", "ratio", "low", "high", "floor", "n", "verdict", "note"
)  # fmt: skip

MEMORY_STEP = 2**20  # bytes: allocators take and keep memory in steps, of which two processes may differ by one
SPENT = 0.03
RESAMPLES = 4000


@dataclass(frozen=True)
class Rules:
    """When a verdict is given.

    ``floors``: the floor by unit, as a fraction: a smaller change is none (memory is far less noisy than time).
    ``floor_of``: those of single metrics, keyed (cell, metric). ``least_rounds``: with fewer rounds, every metric is
    inconclusive.
    """

    floors: Mapping[str, float] = field(default_factory=lambda: {"s": 0.05, "B": 0.02})
    least_rounds: int = 3
    floor_of: Mapping[tuple[str, str], float] = field(default_factory=dict)

    def floor(self, cell: str, metric: str, unit: str) -> float:
        """The floor of a metric."""
        return self.floor_of.get((cell, metric), self.floors.get(unit, max(self.floors.values())))


# ---------------------------------------------------------------------------------------------------- intervals


def interval(values: Iterable[float], confidence: float) -> Estimate:
    """The mean of log-ratios with Student's t interval; what is not finite is left out."""
    kept = np.asarray([v for v in values if np.isfinite(v)], dtype=float)
    n = len(kept)
    if n < 2:
        return Estimate(float(kept[0]) if n else math.nan, math.nan, math.nan, n)
    mean = float(np.mean(kept))
    half = float(special.stdtrit(n - 1, (1 + confidence) / 2) * np.std(kept, ddof=1)) / math.sqrt(n)
    return Estimate(mean, mean - half, mean + half, n)


def confidence(rounds: int, least_rounds: int) -> float:
    """The level of the interval that is looked at after so many rounds."""
    return 1 - SPENT / max(1, rounds - least_rounds + 1)


def pool_interval(baseline: Sequence[float], candidate: Sequence[float]) -> Estimate:
    """The log of the ratio of two medians (candidate over baseline) of positive samples, and its interval."""
    a, b = (np.log([v for v in side if np.isfinite(v) and v > 0]) for side in (baseline, candidate))
    n = min(len(a), len(b))
    if n == 0:
        return Estimate(math.nan, math.nan, math.nan, 0)
    value = float(np.median(b) - np.median(a))
    if n < 2:
        return Estimate(value, math.nan, math.nan, n)
    found = stats.bootstrap(
        (a, b),
        lambda x, y, axis: np.median(y, axis=axis) - np.median(x, axis=axis),
        confidence_level=CONFIDENCE,
        n_resamples=RESAMPLES,
        method="percentile",
        random_state=SEED,
    ).confidence_interval
    return Estimate(value, float(found.low), float(found.high), n)


def verdict(low: float, high: float, floor: float) -> str:
    """The verdict on a ratio's interval ``low`` to ``high`` (1 is no change); ``floor`` is a fraction."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return INCONCLUSIVE
    if low > 1 + floor:
        return SLOWER
    if high < 1 / (1 + floor):
        return FASTER
    return SAME if low >= 1 / (1 + floor) and high <= 1 + floor else INCONCLUSIVE


# ------------------------------------------------------------------------------------------------------- rounds


def block_medians(samples: pd.DataFrame) -> pd.DataFrame:
    """One row per block and metric.

    Args:
        samples: columns cell, metric, unit, round, position (0 to 3 in ORDER), value.

    Returns:
        The same columns, ``value`` being the median of the block's positive, finite values.
    """
    usable = samples[np.isfinite(samples["value"]) & (samples["value"] > 0)]
    return usable.groupby([*KEYS, "round", "position"], sort=False, as_index=False)["value"].median()


def rounds_of(blocks: pd.DataFrame) -> pd.DataFrame:
    """Log of the block medians as a table: one row per whole round, columns 0 to 3 (positions in ORDER).

    ``blocks``: the rows of one cell and metric from :func:`block_medians`. A round that lacks a block is left out.
    """
    table = blocks.pivot_table(index="round", columns="position", values="value", aggfunc="median")
    return np.log(table.reindex(columns=range(len(ORDER)))).dropna().sort_index()


def ratio_of(rounds: pd.DataFrame, least_rounds: int) -> Estimate:
    """The log of candidate over baseline, with the interval of the look after these rounds (:func:`rounds_of`)."""
    pairs = np.concatenate([rounds[1] - rounds[0], rounds[2] - rounds[3]])
    return interval(pairs, confidence(len(rounds), least_rounds))


def compare_rounds(samples: pd.DataFrame, rules: Rules = Rules()) -> pd.DataFrame:
    """A row of ROW_COLUMNS per cell and metric of ``samples`` (see :func:`block_medians`)."""
    blocks = block_medians(samples)
    rows = []
    for key, group in blocks.groupby(KEYS, sort=False):
        floor, rounds = rules.floor(*key), rounds_of(group)
        sides = (
            np.exp(rounds[[p for p, s in enumerate(ORDER) if s == side]].to_numpy()).ravel()
            for side in (BASELINE, CANDIDATE)
        )
        row = _row(key, *sides, ratio_of(rounds, rules.least_rounds), floor)
        if len(rounds) < rules.least_rounds:
            row.update(verdict=INCONCLUSIVE, note=f"{len(rounds)} of at least {rules.least_rounds} rounds")
        rows.append(row)
    return pd.DataFrame(rows, columns=list(ROW_COLUMNS))


def _row(key: tuple[str, str, str], baseline: np.ndarray, candidate: np.ndarray, ratio: Estimate, floor: float) -> dict:
    """A row of ROW_COLUMNS, from the samples of both sides and the log of their ratio."""
    low, high = math.exp(ratio.low), math.exp(ratio.high)
    return {
        **dict(zip(KEYS, key)), "baseline": _median(baseline), "candidate": _median(candidate),
        "ratio": math.exp(ratio.value), "low": low, "high": high, "floor": floor, "n": ratio.n,
        "verdict": verdict(low, high, floor), "note": "",
    }  # fmt: skip


def undecided(rows: pd.DataFrame, cell: str) -> bool:
    """Whether more rounds of ``cell`` could still change a verdict from inconclusive; not where it has no row at all:
    what its first round did not report, no other will.
    """
    return bool((rows.loc[rows["cell"] == cell, "verdict"] == INCONCLUSIVE).any())


# -------------------------------------------------------------------------------------------------------- pools


def compare_pools(baseline: pd.DataFrame, candidate: pd.DataFrame, rules: Rules = Rules()) -> pd.DataFrame:
    """A row of ROW_COLUMNS per cell and metric that either side has.

    Both tables have columns cell, metric, unit, value. What only one side has is new or missing.
    """
    sides = [dict(iter(side.groupby(KEYS, sort=False)["value"])) for side in (baseline, candidate)]
    rows = []
    for key in dict.fromkeys([*sides[0], *sides[1]]):
        a, b = (side.get(key, pd.Series(dtype=float)).to_numpy(dtype=float) for side in sides)
        ratio, floor = pool_interval(a, b), rules.floor(*key)
        if key[1].endswith("memory_bytes") and _median(a) > 0:
            floor = max(floor, MEMORY_STEP / _median(a))
        row = _row(key, a, b, ratio, floor)
        if key not in sides[1]:
            row["verdict"] = MISSING
        elif key not in sides[0]:
            row["verdict"] = NEW
        elif ratio.n == 1 and key[2] == "B":  # a memory peak is taken as it is
            row["verdict"] = verdict(row["ratio"], row["ratio"], floor)
        elif ratio.n == 1:
            row.update(verdict=INCONCLUSIVE, note="one sample a side")
        rows.append(row)
    return pd.DataFrame(rows, columns=list(ROW_COLUMNS))


def _median(values: np.ndarray) -> float:
    values = values[np.isfinite(values)]
    return float(np.median(values)) if len(values) else math.nan


# ------------------------------------------------------------------------------------------------------- status


def exit_status(
    rows: pd.DataFrame, failures: int, fail_on: Iterable[str] = (SLOWER,), accepted: Iterable[tuple[str, str]] = ()
) -> int:
    """PASS, REGRESSION, CELLS_FAILED or NOTHING_MEASURED, in that order of how much is known.

    Args:
        rows: of ROW_COLUMNS.
        failures: how many cells of the candidate failed that the baseline could do.
        fail_on: verdicts that are a regression.
        accepted: (cell, metric) whose slow-down was declared as wanted.
    """
    allowed = set(accepted)
    bad = rows[rows["verdict"].isin(list(fail_on))]
    if any((row.cell, row.metric) not in allowed for row in bad.itertuples()):
        return REGRESSION
    if failures:
        return CELLS_FAILED
    measured = rows["verdict"].isin([FASTER, SAME, SLOWER, INCONCLUSIVE]) & rows["n"].gt(0)
    return PASS if measured.any() else NOTHING_MEASURED
