"""The result of a run in one sentence, with what puts it in proportion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from bench.analysis.summary import LOWER_BOUND, REFERENCE_ITERATIONS
from bench.report import run_facts
from bench.report.tables import SPEEDUP_500, SPEEDUP_EQUAL
from bench.report.wording import engine_name, measured, with_interval
from nst_gluon.pages.wording import clean, listing, method_name, quantity, size_name, task_name

MEANING = (
    "Painting in the style of a picture (stylisation), or more of it (texture). Optimisation lowers a loss, the "
    "objective, step by step; a trained net needs one pass. Speed-up at equal loss: the seconds until optimisation is "
    "down at the loss of the net's picture, over those of the pass."
)


def of_run(summary: pd.DataFrame, random_weights: bool) -> tuple[str, str]:
    """The result in one sentence, and what puts it in proportion (or nothing)."""
    return (answer_of_random(summary), "") if random_weights else answers(summary)


def answers(summary: pd.DataFrame) -> tuple[str, str]:
    """The result in one sentence, and the range of all comparable results, so that the first is no cherry."""
    rows = summary[(summary["metric"] == SPEEDUP_EQUAL) & (summary["batch"] == 1)]
    known = rows[rows["value"].notna()]
    if known.empty:
        return _no_answer(summary, rows), ""
    row = min((row for _, row in known.iterrows()), key=_prominence)
    what = f"{size_name(row['size'])} {'texture' if row['task'] == 'texture' else 'stylisation'}"
    sentence = f"The {method_name(row['method'])} made a {what} {_faster(row)} than optimisation at equal loss"
    sentence += _memory(summary, row)
    devices = known["device"].nunique() > 1
    engines = known["engine"].nunique() > 1
    sentence += f", both in {engine_name(row['engine'])}" if engines else ""
    sentence += f", on {clean(row['device'], 40)}" if devices else ""
    sentence += ", on one seed." if row["n"] == 1 else "."
    if len(known) == 1:
        return sentence, ""
    low, high = known.loc[known["value"].idxmin()], known.loc[known["value"].idxmax()]
    also = [name for name, several in (("device", devices), ("engine", engines)) if several]
    further = (
        f"Over all {len(known)} combinations of {listing(['net', 'task', 'size', *also])} the "
        f"speed-up at equal loss goes from {_place(low, also)} to {_place(high, also)}."
    )
    fixed = summary[(summary["metric"] == SPEEDUP_500) & (summary["batch"] == 1) & summary["value"].notna()]
    if len(fixed):
        further += (
            f" Against 500 iterations, whatever the loss, it is {quantity(fixed['value'].min(), 'x')} to "
            f"{quantity(fixed['value'].max(), 'x')}."
        )
    return sentence, further


def certainty(summary: pd.DataFrame, seeds: int) -> str:
    """How far the numbers can be trusted: what the brackets are, on how many samples and seeds they rest."""
    timed = summary[summary["metric"].isin(["latency_s", "iteration_s"]) & summary["value"].notna()]
    if timed.empty:
        return ""
    low, high = int(timed["n"].min()), int(timed["n"].max())
    samples = f"{low}" if low == high else f"{low} to {high}"
    several = f"{seeds} seeds" if seeds > 1 else "one seed: what another would change is not in them"
    return f"Brackets are 95 % intervals; times are medians of {samples} samples; {several}"


def answer_of_random(summary: pd.DataFrame) -> str:
    """What a run with random descriptor weights can say: nothing at equal loss."""
    rows = summary[(summary["metric"] == SPEEDUP_500) & (summary["batch"] == 1) & summary["value"].notna()]
    sentence = "With random descriptor weights there is no loss at which to compare"
    if rows.empty:
        return f"{sentence}."
    row = min((row for _, row in rows.iterrows()), key=_prominence)
    return (
        f"{sentence}; against {REFERENCE_ITERATIONS} iterations of optimisation, whatever the loss, the "
        f"{method_name(row['method'])} was {_faster(row)} at {size_name(row['size'])}."
    )


def _faster(row: Mapping) -> str:
    """ "612× [580, 650] faster", "at least 80× faster", "2.0× [1.8, 2.3] slower"."""
    value, low, high = (float(row[name]) for name in ("value", "low", "high"))
    if row["status"] == LOWER_BOUND:
        return f"at least {quantity(value, 'x')} faster"
    if value < 1:
        return with_interval(1 / value, 1 / high, 1 / low, "x") + " slower"
    return with_interval(value, low, high, "x") + " faster"


def _no_answer(summary: pd.DataFrame, rows: pd.DataFrame) -> str:
    if len(rows):
        states = sorted(set(rows["status"]))
        return f"No speed-up at equal loss was measured: {listing([measured(float('nan'), 'x', s) for s in states])}."
    if summary["value"].notna().any():
        return "No speed-up at equal loss was measured: it needs an optimisation and a net of the same task and size."
    return "Nothing was measured."


def _prominence(row: Mapping) -> tuple:
    """The papers' own setting first: the texture network, textures, 256 x 256, the suite's engine, a GPU."""
    return (
        row["method"] != "texture_net",
        row["task"] != "texture",
        run_facts.from_papers_size(row["size"]),
        row["engine"] != "gluon",
        row["dtype"] != "float32",
        not str(row["device"]).startswith("gpu"),
        str(row["method"]),
    )


def _memory(summary: pd.DataFrame, row: Mapping) -> str:
    same = summary[(summary["metric"] == "working_memory_ratio") & summary["value"].notna()]
    for name in ("engine", "method", "task", "size", "batch", "dtype", "device"):
        same = same[same[name] == row[name]]
    if same.empty:
        return ""
    ratio = float(same["value"].iloc[0])
    return f", with {quantity(ratio if ratio >= 1 else 1 / ratio, 'x')} {'less' if ratio >= 1 else 'more'} memory"


def _place(row: Mapping, also: Sequence[str]) -> str:
    value = measured(row["value"], "x", row["status"])
    more = "".join(f", {engine_name(row[name]) if name == 'engine' else clean(row[name], 40)}" for name in also)
    return f"{value} ({method_name(row['method'])}, {task_name(row['task'])}, {size_name(row['size'])}{more})"
