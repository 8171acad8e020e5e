"""From raw samples and curves to the summary: pure functions from data frames to data frames. Imports no
engine.

Only like is compared with like: a speed-up relates a generator to the optimisation of the same engine,
task, size, dtype and device. Every row of the summary carries its status, so that a number which is only a
bound, or is missing because a cell failed, can never be taken for a measurement.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from bench.analysis import methods, metrics
from bench.analysis.intervals import Estimate, median_interval, ratio_interval
from bench.analysis.methods import Methods
from bench.analysis.metrics import REFERENCE_ITERATIONS
from bench.plan.cells import CELL_COLUMNS, GENERATE, OPTIMISE
from bench.store.reader import GROUP_COLUMNS, SUMMARY_COLUMNS, RunData, read_run
from nst_gluon.system.files import write_atomically

OK = "ok"
NOT_REACHED = "not reached"
LOWER_BOUND = "lower bound"
SPEEDUP_EQUAL = "speedup_at_equal_loss"
SPEEDUP_500 = f"speedup_at_{REFERENCE_ITERATIONS}_iterations"
SPEEDUP_OF_VARIANT = "speedup_over_optimisation"

# What a reader looks for first in a cell; shown as missing, with the reason, when the cell failed.
EXPECTED = {
    GENERATE: (("latency_s", "s"), ("peak_memory_bytes", "B")),
    OPTIMISE: (("iteration_s", "s"), ("peak_memory_bytes", "B"), ("time_to_target_s", "s")),
}
_SPEEDUPS = ((SPEEDUP_EQUAL, "x"), (SPEEDUP_500, "x"))
_MEMORY_RATIOS = {"peak_memory_bytes": "memory_ratio", "working_memory_bytes": "working_memory_ratio"}
_SETTING = ("engine", "task", "size", "dtype", "device")  # what two cells must share to be compared


@dataclass(frozen=True)
class Crossing:
    """Where an optimisation's curve first comes down to a target.

    Reached: ``seconds`` and ``iteration`` are those of the crossing. Not reached: they are what was spent,
    which is a lower bound on what it would have taken.
    """

    reached: bool
    seconds: float
    iteration: float


@dataclass(frozen=True)
class Target:
    """An objective to come down to: a generator's own, or the one that the user asked for (``asked``)."""

    generator: str
    estimate: Estimate
    asked: bool = False

    @property
    def value(self) -> float:
        return self.estimate.value


def time_to_target(curve: pd.DataFrame, target: float) -> Crossing:
    """The first crossing of ``target`` by a curve with columns seconds, iteration and objective, in order
    of time.

    Between the last evaluation above the target and the first at or below it, log(objective) is taken as
    linear in seconds and in iterations. Evaluations whose objective is not finite are left out. A curve
    that starts at or below the target crosses at its first evaluation.
    """
    curve = curve[np.isfinite(curve["objective"])]
    if curve.empty:
        return Crossing(False, math.nan, math.nan)
    seconds, iterations, objective = (
        curve[name].to_numpy(dtype=float) for name in ("seconds", "iteration", "objective")
    )
    below = np.flatnonzero(objective <= target)
    if not len(below):
        return Crossing(False, float(seconds[-1]), float(iterations[-1]))
    after = int(below[0])
    if after == 0:
        return Crossing(True, float(seconds[0]), float(iterations[0]))
    before = after - 1
    if target > 0 and objective[after] > 0:
        part = np.log(objective[before] / target) / np.log(objective[before] / objective[after])
    else:
        part = (objective[before] - target) / (objective[before] - objective[after])
    return Crossing(
        True,
        float(seconds[before] + part * (seconds[after] - seconds[before])),
        float(iterations[before] + part * (iterations[after] - iterations[before])),
    )


def median_to_target(crossings: Iterable[Crossing], axis: str = "seconds") -> tuple[Estimate, str]:
    """The median over seeds of the crossings' ``axis``, with its status.

    A seed that did not reach the target took *at least* what it spent. Where that leaves the median known,
    the status is ok, and the interval's high end is infinite if it rests on such a seed. Where it does not,
    the value is the lower bound of the median and the status is 'not reached'.
    """
    least, most = _bounds(crossings, axis)
    return _censored(median_interval(least), median_interval(most))


def speedup(crossings: Iterable[Crossing], latencies: Iterable[float]) -> tuple[Estimate, str]:
    """Median time to target over median latency, with its status: 'lower bound' if the median is only
    bounded.
    """
    least, most = _bounds(crossings, "seconds")
    latencies = list(latencies)
    estimate, status = _censored(ratio_interval(least, latencies), ratio_interval(most, latencies))
    return estimate, LOWER_BOUND if status == NOT_REACHED else status


def _bounds(crossings: Iterable[Crossing], axis: str) -> tuple[list[float], list[float]]:
    crossings = list(crossings)
    least = [getattr(crossing, axis) for crossing in crossings]
    return least, [value if crossing.reached else math.inf for crossing, value in zip(crossings, least)]


def _censored(least: Estimate, most: Estimate) -> tuple[Estimate, str]:
    if least.value == most.value or math.isnan(least.value):
        return replace(least, high=most.high), OK
    return replace(least, low=least.value if math.isnan(least.low) else least.low, high=math.inf), NOT_REACHED


def throughput(samples: pd.DataFrame) -> pd.DataFrame:
    """Samples of ``throughput_images_per_s`` from those of ``latency_s``: the batch over the time of one
    call.
    """
    latency = samples[(samples["metric"] == "latency_s") & (samples["value"] > 0)]
    return latency.assign(metric="throughput_images_per_s", unit="images/s", value=latency["batch"] / latency["value"])


def with_status(samples: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """The samples that count, with their cell's status.

    Samples of a failed cell count only where no cell of the group (the same but for the seed) is ok. Where
    ``cells`` is empty every sample counts; otherwise those of a cell that has no record are left out, as it
    did not finish.
    """
    if cells.empty:
        return samples.assign(status=OK)
    merged = samples.merge(cells[[*CELL_COLUMNS, "status"]], on=list(CELL_COLUMNS), how="inner")
    fine = cells.loc[cells["status"] == OK, list(GROUP_COLUMNS)].drop_duplicates().assign(fine=True)
    merged = merged.merge(fine, on=list(GROUP_COLUMNS), how="left")
    return merged[(merged["status"] == OK) | merged["fine"].isna()].drop(columns="fine")


def medians(samples: pd.DataFrame) -> pd.DataFrame:
    """One row per group and metric: the median of all its samples with its interval. ``samples`` has a
    status.
    """
    rows = []
    for key, group in samples.groupby([*GROUP_COLUMNS, "metric", "unit"], sort=False):
        estimate = median_interval(group["value"])
        rows.append(_row(key[:-2], key[-2], key[-1], estimate, group["status"].iloc[-1]))
    return _table(rows)


def targets(
    samples: pd.DataFrame, generators: Iterable[str], setting: Mapping[str, object], asked: float | None = None
) -> dict[str, Target]:
    """For each generator, the objective that the optimisation of ``setting`` has to reach.

    It is the median over seeds of the generator's own objective at batch 1, in the same setting; where a
    reduced precision was not scored, the float32 one. ``asked`` (--target-loss) replaces the value for all
    of them.
    """
    found = {}
    for generator in generators:
        for dtype in (setting["dtype"], "float32"):
            own = _select(samples, {**setting, "dtype": dtype, "method": generator, "batch": 1}, "objective")
            if len(own):
                estimate = median_interval(own)
                if asked is not None:
                    estimate = Estimate(asked, math.nan, math.nan, estimate.n)
                found[generator] = Target(generator, estimate, asked is not None)
                break
    return found


def compare(
    samples: pd.DataFrame, curves: pd.DataFrame, known: Methods, asked: float | None = None
) -> pd.DataFrame:
    """Rows that relate methods to each other: times to target, speed-ups, memory ratios.

    Times and iterations to target are rows of the optimisation: ``time_to_target_<net>_s`` for each net's objective,
    and ``time_to_target_s`` for the lowest of them (or the target that was ``asked`` for). Speed-ups and memory ratios
    are rows of the net, against the baseline (the optimisation that is nobody's variant) of the same setting. Where
    the run has variants of it, what the baseline ended at is a target for it and for them; no net's speed-up depends
    on that.
    """
    generators = sorted(known.nets)
    aimed_at = [name for name in generators if not known.own_loss(name)]
    rows: list[dict] = []
    for optimiser in sorted(name for name in known.optimisers if not known.own_loss(name)):
        everything = pd.concat([frame[list(_SETTING)] for frame in (samples, curves)])
        for key in everything.drop_duplicates().itertuples(index=False, name=None):
            setting = dict(zip(_SETTING, key))
            aims = targets(samples, aimed_at, setting, asked)
            mine = _matching(curves, {**setting, "method": optimiser})
            by_seed = [curve for _, curve in mine.groupby("seed")]
            goal = _goal(samples, known, setting)
            rows += _times(by_seed, aims, _group(setting, optimiser), asked, goal)
            if goal is not None and optimiser != goal.generator:
                plain = _matching(curves, {**setting, "method": goal.generator})
                rows += _speedup_of_variant(plain, by_seed, goal, _group(setting, optimiser))
            if optimiser == known.baseline:
                for generator in generators:
                    rows += _speedups(samples, by_seed, aims.get(generator), setting, optimiser, generator)
    return _table(rows)


def _goal(samples: pd.DataFrame, known: Methods, setting: Mapping[str, object]) -> Target | None:
    """What the optimisation of ``setting`` ended at, for its variants; None where there are none."""
    plain = known.baseline
    if not plain or not any(known.is_variant(name) for name in known):
        return None
    ended = _select(samples, {**setting, "method": plain, "batch": 1}, "objective")
    return Target(plain, median_interval(ended)) if len(ended) else None


def _speedup_of_variant(plain: pd.DataFrame, curves: list[pd.DataFrame], goal: Target, group: tuple) -> list[dict]:
    """How many times sooner a variant is down to what the optimisation ended at; unknown if one of them never is."""
    theirs, own = (
        [time_to_target(curve, goal.value) for curve in each]
        for each in ([curve for _, curve in plain.groupby("seed")], curves)
    )
    if not theirs or not own:
        return []
    if all(crossing.reached for crossing in theirs + own):
        estimate = ratio_interval([c.seconds for c in theirs], [c.seconds for c in own])
        return [_row(group, SPEEDUP_OF_VARIANT, "x", estimate, OK)]
    return [_row(group, SPEEDUP_OF_VARIANT, "x", Estimate(math.nan, math.nan, math.nan, 0), NOT_REACHED)]


def _times(
    curves: list[pd.DataFrame],
    aims: Mapping[str, Target],
    group: tuple,
    asked: float | None,
    goal: Target | None = None,
) -> list[dict]:
    rows: list[dict] = []
    if not curves:
        return rows
    named = {} if asked is not None else {f"_{name}": target for name, target in aims.items()}
    hardest = asked if asked is not None else min((target.value for target in aims.values()), default=None)
    if hardest is not None:
        named[""] = Target("", Estimate(hardest, math.nan, math.nan, 1))
    if goal is not None:
        named[f"_{goal.generator}"] = goal
    for suffix, target in named.items():
        crossings = [time_to_target(curve, target.value) for curve in curves]
        seconds, status = median_to_target(crossings)
        iterations, _ = median_to_target(crossings, "iteration")
        rows.append(_row(group, f"time_to_target{suffix}_s", "s", seconds, status))
        rows.append(_row(group, f"iterations_to_target{suffix}", "1", iterations, status))
        if suffix or asked is not None:
            rows.append(_row(group, f"target{suffix}", "1", target.estimate, OK))
    return rows


def _speedups(
    samples: pd.DataFrame,
    curves: list[pd.DataFrame],
    target: Target | None,
    setting: Mapping[str, object],
    optimiser: str,
    generator: str,
) -> list[dict]:
    rows: list[dict] = []
    theirs, own = ({**setting, "method": name, "batch": 1} for name in (optimiser, generator))
    group = _group(setting, generator)
    latency = _select(samples, own, "latency_s")
    if len(latency) and curves and target is not None:
        if target.asked and _select(samples, own, "objective").median() > target.value:
            estimate, status = Estimate(math.nan, math.nan, math.nan, 0), NOT_REACHED
        else:
            estimate, status = speedup((time_to_target(curve, target.value) for curve in curves), latency)
        rows.append(_row(group, SPEEDUP_EQUAL, "x", estimate, status))
    step = _select(samples, theirs, "iteration_s")
    if len(latency) and len(step):
        estimate = ratio_interval(step, latency, REFERENCE_ITERATIONS)
        rows.append(_row(group, SPEEDUP_500, "x", estimate, OK))
    for metric, ratio in _MEMORY_RATIOS.items():
        estimate = ratio_interval(_select(samples, theirs, metric), _select(samples, own, metric))
        if estimate.n:
            rows.append(_row(group, ratio, "x", estimate, OK))
    return rows


def missing(cells: pd.DataFrame, summary: pd.DataFrame, baseline: str = "") -> pd.DataFrame:
    """Rows without a value for what a failed cell should have given, so that a gap in a table has its reason.

    A generator whose optimisation failed gets speed-up rows with the optimisation's status.
    """
    rows = []
    present = set(summary[[*GROUP_COLUMNS, "metric"]].itertuples(index=False, name=None))
    statuses = {key: _group_status(group) for key, group in cells.groupby([*GROUP_COLUMNS, "kind"], sort=False)}
    optimisers = {key[:-1]: status for key, status in statuses.items() if key[-1] == OPTIMISE}
    for (*group, kind), status in statuses.items():
        fields = dict(zip(GROUP_COLUMNS, group))
        expected = EXPECTED.get(kind, ()) if status != OK else ()
        if kind == GENERATE and fields["batch"] == 1:
            theirs = optimisers.get(tuple({**fields, "method": baseline}.values()), OK)
            status = theirs if status == OK else status
            expected += _SPEEDUPS if status != OK else ()
        for metric, unit in expected:
            if (*group, metric) not in present:
                rows.append(_row(tuple(group), metric, unit, Estimate(math.nan, math.nan, math.nan, 0), status))
    return _table(rows)


def summarise_run(run: RunData) -> pd.DataFrame:
    """The whole summary (columns SUMMARY_COLUMNS) of a run that has been read."""
    asked = (run.meta.get("settings") or {}).get("target_loss")
    asked = None if asked is None else float(asked)
    return summarise_tables(run.cells, run.samples, run.curves, asked, methods.of_run(run))


def summarise_tables(
    cells: pd.DataFrame,
    samples: pd.DataFrame,
    curves: pd.DataFrame,
    asked: float | None = None,
    known: Methods | None = None,
) -> pd.DataFrame:
    """The same from tables. ``asked`` is the run's --target-loss.

    Raises UserError for samples of a metric that :mod:`bench.analysis.metrics` has no entry of.
    """
    known = methods.of_tables(cells, samples) if known is None else known
    derived = {name for name in samples["metric"].unique() if metrics.RELATION in metrics.find(name).where}
    counted = with_status(samples, cells)
    plain = counted[~counted["metric"].isin(derived)]
    followed = with_status(curves, cells)
    followed = followed[followed["status"].isin([OK, "timeout"])]  # a curve that broke off in an error bounds nothing
    fine = plain[plain["status"] == OK]
    parts = [medians(plain), medians(throughput(counted)), compare(fine, followed, known, asked)]
    summary = pd.concat([part for part in parts if len(part)] or [_table([])], ignore_index=True)
    lost = missing(cells, summary, known.baseline)
    if len(lost):
        summary = pd.concat([summary, lost], ignore_index=True)
    return summary.sort_values(["task", "size", "method", "batch", "dtype", "device", "engine", "metric"],
                               kind="stable", ignore_index=True)  # fmt: skip


def write(summary: pd.DataFrame, directory: Path) -> None:
    """Write a run's summary.csv."""
    text = summary.to_csv(index=False, float_format="%.9g", lineterminator="\n")
    write_atomically(directory / "summary.csv", text)


def summarise(run_dir: str | Path) -> pd.DataFrame:
    """Read cells.jsonl, samples.csv and curves.csv of a run, write its summary.csv, and return that table."""
    run = read_run(run_dir)
    summary = summarise_run(run)
    write(summary, run.directory)
    return summary


def _group(setting: Mapping[str, object], method: str) -> tuple:
    return tuple({**setting, "method": method, "batch": 1}[name] for name in GROUP_COLUMNS)


def _group_status(cells: pd.DataFrame) -> str:
    return OK if (cells["status"] == OK).any() else str(cells["status"].iloc[-1])


def _matching(table: pd.DataFrame, fields: Mapping[str, object]) -> pd.DataFrame:
    chosen = np.ones(len(table), dtype=bool)
    for name, value in fields.items():
        chosen &= (table[name] == value).to_numpy(dtype=bool)
    return table[chosen]


def _select(samples: pd.DataFrame, fields: Mapping[str, object], metric: str) -> pd.Series:
    return _matching(samples, {**fields, "metric": metric})["value"]


def _row(group: tuple, metric: str, unit: str, estimate: Estimate, status: str) -> dict:
    return {
        **dict(zip(GROUP_COLUMNS, group)),
        "metric": metric,
        "unit": unit,
        "value": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "n": estimate.n,
        "status": status,
    }


def _table(rows: list[dict]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(SUMMARY_COLUMNS))
