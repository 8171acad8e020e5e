"""The table that sets the reference engine and its peers side by side."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from bench.analysis import engine_comparison
from bench.plan.engines import REFERENCE
from bench.report.definitions import describe
from bench.report.tables import Entry, Table, table
from bench.report.wording import engine_name
from bench.store.reader import RunData
from nst_gluon.pages.wording import MISSING, clean, interval, method_name, quantity, task_name

HEADS = (
    (engine_comparison.TIMES, "time of a call or step"),
    (("time_to_target_s",), "time to target"),
    (("working_memory_bytes",), "working memory"),
    (("objective",), "objective"),
)
NOTE = (
    "In each group of rows the method is one and the same: the same net and weights, pictures, noise, objective, seeds "
    "and threads. So a ratio in this table is the merit of an engine, and of the work put into its program here: below "
    "1× it takes less than Gluon does. Nothing in it says how good a method is. What a net gains over optimisation is "
    "the method's merit: every speed-up and memory ratio elsewhere in this report relates cells of one engine. Working "
    "memory is counted above what an engine's own import takes, which differs from engine to engine."
)


def against(run: RunData, summary: pd.DataFrame) -> Table | None:
    """Gluon against peers: a row per cell and engine; None where no cell was measured by two."""
    found = engine_comparison.compare(run.cells, run.samples, summary)
    if found.empty:
        return None
    extras = [name for name in ("dtype", "device") if found[name].nunique() > 1]
    rows = []
    order = ["task", "size", "method", "batch", "dtype", "device"]
    for key, group in found.groupby(order, sort=True):
        setting = dict(zip(order, key))
        engines = sorted(group["engine"].unique(), key=lambda name: (name != REFERENCE, name))
        for engine in engines:
            by_metric = {row["metric"]: row for _, row in group[group["engine"] == engine].iterrows()}
            values = [
                next((by_metric[name] for name in metrics if name in by_metric), None) for metrics, _ in HEADS
            ]
            rows.append([
                task_name(setting["task"]), str(setting["size"]), method_name(setting["method"]), str(setting["batch"]),
                *(clean(setting[name], 40) for name in extras), engine_name(engine),
                *(entry for value in values for entry in (_value(value), _ratio(value))),
            ])  # fmt: skip
    columns = ["task", "size", "method", "batch", *extras, "engine"]
    first = len(columns)
    for metrics, head in HEADS:
        columns += [Entry(head, metric=metrics[0]), "over Gluon's"]
    return table("peers", "Gluon against peers", columns, rows, (1, 3, *range(first, len(columns))), NOTE)


def _value(row: Mapping | None) -> Entry:
    if row is None:
        return Entry(MISSING, tone="missing")
    value = float(row["value"])
    return Entry(quantity(value, row["unit"]), hover=describe(row["metric"]).label, metric=row["metric"], order=value)


def _ratio(row: Mapping | None) -> Entry:
    if row is None or row["engine"] == REFERENCE or pd.isna(row["ratio"]):
        return Entry("")
    ratio = float(row["ratio"])
    brackets = interval(ratio, float(row["low"]), float(row["high"]), "x") if row["low"] != row["high"] else ""
    return Entry(quantity(ratio, "x"), brackets, f"median over median, n = {int(row['n'])}", order=ratio)
