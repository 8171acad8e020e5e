"""The reference engine against its peers, cell by cell: the only place where numbers of two engines are related.

Everything else (speed-ups, memory ratios, claims) relates cells of one engine, which is the method's merit; a ratio in
here relates the same method in two engines, which is the engine's. Pure functions on data frames. Imports no engine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd

from bench.analysis import metrics
from bench.analysis.intervals import SEED, Estimate, Resampled
from bench.analysis.summary import OK, redrawn, with_status
from bench.plan.engines import REFERENCE
from bench.store.reader import GROUP_COLUMNS

SETTING = tuple(name for name in GROUP_COLUMNS if name != "engine")
METRICS = metrics.named(metrics.ENGINES)
COLUMNS = (*SETTING, "engine", "metric", "unit", "value", "ratio", "low", "high", "n")


def compare(cells: pd.DataFrame, samples: pd.DataFrame, summary: pd.DataFrame) -> pd.DataFrame:
    """Every value of METRICS of the cells that the reference and a peer have both measured.

    Args:
        cells, samples: of a run (:mod:`bench.store.reader`); what did not end ok is left out.
        summary: the run's, for what is no sample: the time to target.

    Returns:
        COLUMNS, a row per cell, engine and metric; the reference comes first. ``ratio`` is the value over the
        reference's, NaN for the reference itself, with its 95 % bootstrap interval (NaN where both have one sample):
        processes, or photos, and the samples of each are drawn again, as in the summary.
    """
    counted = with_status(samples, cells)
    counted = counted[(counted["status"] == OK) & counted["metric"].isin(METRICS)]
    reached = summary[(summary["metric"] == "time_to_target_s") & (summary["status"] == OK)]
    counted = pd.concat([counted, reached.assign(photo="", seed=0)])
    rows = []
    for key, group in counted.groupby([*SETTING, "metric", "unit"], sort=False):
        values = {str(name): samples for name, samples in group.groupby("engine", sort=True)}
        if REFERENCE not in values or len(values) < 2:
            continue
        base = redrawn(values.pop(REFERENCE), SEED + 1)
        rows.append(_row(key, REFERENCE, base, Estimate(math.nan, math.nan, math.nan, base.n)))
        for name, own in values.items():
            peer = redrawn(own)
            rows.append(_row(key, name, peer, peer.over(base).estimate()))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _row(key: tuple, engine: str, own: Resampled, ratio: Estimate) -> Mapping[str, object]:
    setting = dict(zip((*SETTING, "metric", "unit"), key))
    return {**setting, "engine": engine, "value": own.value, "ratio": ratio.value, "low": ratio.low,
            "high": ratio.high, "n": ratio.n}  # fmt: skip
