"""From raw samples and curves to the summary: pure functions from data frames to data frames. Imports no engine.

Only like is compared with like: a speed-up relates a generator to the optimisation of the same engine,
task, size, dtype and device. Every row of the summary carries its status, so that a number which is only a
bound, or is missing because a cell failed, can never be taken for a measurement.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.analysis import methods, metrics
from bench.analysis.descents import Aims, Descent, by_photo, by_start, lowest, to_targets
from bench.analysis.intervals import RESAMPLES, SEED, Estimate, Resampled, resampled
from bench.analysis.methods import Methods
from bench.analysis.metrics import REFERENCE_ITERATIONS
from bench.plan.cells import CELL_COLUMNS, GENERATE, OPTIMISE, use_of
from bench.store.reader import GROUP_COLUMNS, SUMMARY_COLUMNS, RunData
from nst_gluon.system.files import write_atomically

OK = "ok"
NOT_REACHED = "not reached"
LOWER_BOUND = "lower bound"
SPEEDUP_EQUAL = "speedup_at_equal_loss"
SPEEDUP_500 = f"speedup_at_{REFERENCE_ITERATIONS}_iterations"
SPEEDUP_OF_VARIANT = "speedup_over_optimisation"
WHOLE_CALL = "_whole_call"

# What a reader looks for first in a cell; shown as missing, with the reason, when the cell failed.
EXPECTED = {
    GENERATE: (("latency_s", "s"), ("peak_memory_bytes", "B")),
    OPTIMISE: (("iteration_s", "s"), ("peak_memory_bytes", "B"), ("time_to_target_s", "s")),
}
_SPEEDUPS = ((SPEEDUP_EQUAL, "x"), (SPEEDUP_500, "x"))
NOTHING = Estimate(math.nan, math.nan, math.nan, 0)
Descents = Mapping[str, list[Descent]]  # by photo
Starts = Mapping[tuple[str, int], list[Descent]]  # by photo and seed, one each
Training = Mapping[str, tuple[float, bool]]  # as training_seconds has it
MOST_STAGES = 10
_MEMORY_RATIOS = {"peak_memory_bytes": "memory_ratio", "working_memory_bytes": "working_memory_ratio"}
SETTING = ("style_name", "engine", "task", "size", "dtype", "device")  # what two cells must share to be compared


def to_target(descents: Descents, aims: Aims, axis: str = "seconds") -> tuple[Estimate, str] | None:
    """:func:`bench.analysis.descents.to_targets` as one number with its status; None where no photo has both.

    A seed that did not reach the target took *at least* what it spent. Where that leaves the median with two bounds,
    the status is ok, the value is the lower one, and the interval holds both; its high end is infinite if it rests on
    such a seed. Where there is no upper one, the value is the lower bound and the status is 'not reached'.
    """
    times = to_targets(descents, aims, axis)
    return None if times is None else _censored(times.least.estimate(), times.most.estimate())


def _censored(least: Estimate, most: Estimate) -> tuple[Estimate, str]:
    if math.isnan(least.value):
        return replace(least, high=most.high), OK
    if not math.isinf(most.value):
        return replace(least, high=max(most.high, most.value)), OK
    return replace(least, low=least.value if math.isnan(least.low) else least.low, high=math.inf), NOT_REACHED


def throughput(samples: pd.DataFrame) -> pd.DataFrame:
    """Samples of ``throughput_images_per_s`` from those of ``latency_s``: the batch over the time of one call."""
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
    """One row per group and metric, as :func:`redrawn` has it. ``samples`` has a status."""
    rows = []
    for key, group in samples.groupby([*GROUP_COLUMNS, "metric", "unit"], sort=False):
        rows.append(_row(key[:-2], key[-2], key[-1], redrawn(group).estimate(), group["status"].iloc[-1]))
    return _table(rows)


def redrawn(samples: pd.DataFrame, seed: int = SEED) -> Resampled:
    """The median over processes (of photos, if there are any) of the medians of their samples; all drawn again."""
    by = "photo" if samples["photo"].any() else "seed"
    return resampled((values for _, values in samples.groupby(by)["value"]), seed)


def targets(samples: pd.DataFrame, generators: Iterable[str], setting: Mapping[str, object]) -> dict[str, Aims]:
    """For each generator, the objectives that the optimisation of ``setting`` has to reach, by photo.

    Those of the generator's own pictures of that photo, or of its draws of a texture, at batch 1 in the same setting:
    the target is their median. Where a reduced precision was not scored, the float32 ones.
    """
    found = {}
    for generator in generators:
        for dtype in (setting["dtype"], "float32"):
            own = matching(samples, {**setting, "dtype": dtype, "method": generator, "batch": 1})
            own = own[own["metric"] == "objective"]
            if len(own):
                found[generator] = {str(photo): values.to_numpy() for photo, values in own.groupby("photo")["value"]}
                break
    return found


def asked_for(aims: Aims, asked: float | None) -> Aims:
    """The target of a net's speed-ups: the net's own ``aims``, or the loss that was ``asked`` for (--target-loss)."""
    return aims if asked is None else dict.fromkeys(aims, np.array([asked]))


def misses(aims: Aims, asked: float | None) -> bool:
    """Whether a net with these objectives by photo is above the loss that was asked for."""
    return asked is not None and float(np.median(np.concatenate(list(aims.values())))) > asked


def compare(
    samples: pd.DataFrame,
    curves: pd.DataFrame,
    known: Methods,
    asked: float | None,
    training: Training,
) -> pd.DataFrame:
    """Rows that relate methods to each other: times to target, speed-ups, break-even, memory ratios.

    Times and iterations to target are rows of the optimisation: ``time_to_target_<net>_s`` for each net's objective,
    and ``time_to_target_s`` for the lowest of them, or the target that was ``asked`` for, which speed-ups and
    break-even have, too. These and memory ratios are rows of the net: against the baseline (the optimisation that is
    nobody's variant) of the same setting, and against each of its variants. What a start of the baseline came down to
    is a target for the same start of its variants; no net's speed-up depends on that. ``training`` has the seconds
    that each net took, by its name in the plan.
    """
    generators, rows = sorted(known.nets), []
    aimed_at = [name for name in generators if not known[name].own_loss]
    optimisers = sorted(name for name in known.optimisers if not known[name].own_loss)
    everything = pd.concat([frame[list(SETTING)] for frame in (samples, curves)])
    for key in everything.drop_duplicates().itertuples(index=False, name=None):
        setting = dict(zip(SETTING, key))
        aims = targets(samples, aimed_at, setting)
        descents = {name: by_photo(matching(curves, {**setting, "method": name})) for name in optimisers}
        for optimiser, own in descents.items():
            rows += _times(own, aims, _group(setting, optimiser), asked)
        starts = {name: by_start(matching(curves, {**setting, "method": name})) for name in optimisers}
        for variant in filter(known.is_variant, optimisers):
            plain, own = starts.get(known.baseline, {}), starts[variant]
            rows += _of_variant(plain, own, _group(setting, variant), known.baseline)
        if known.baseline:
            for generator in generators:
                missed = generator in aims and misses(aims[generator], asked)
                goal = asked_for(aims[generator], asked) if generator in aims else None
                rows += _speedups(samples, descents, goal, setting, known, generator, missed)
                rows += _break_even(samples, descents, None if missed else goal, setting, generator, training)
    return _table(rows)


def _of_variant(plain: Starts, own: Starts, group: tuple, baseline: str) -> Iterator[dict]:
    """A variant's times to what the same starts of the optimisation came down to, and how many times sooner it is
    there than they were; unknown if it never is.
    """
    goal = {start: np.array([each.lowest]) for start, (each,) in plain.items() if start in own}
    theirs, ours = (to_targets(each, goal) for each in (plain, own))  # of one seed: the same starts are drawn again
    if theirs is None or ours is None:
        return
    yield from _times_to(own, goal, f"_{baseline}", group, told=True)
    if math.isinf(ours.most.value):
        yield _row(group, SPEEDUP_OF_VARIANT, "x", NOTHING, NOT_REACHED)
    else:
        found = _censored(theirs.least.over(ours.most).estimate(), theirs.most.over(ours.least).estimate())
        yield _row(group, SPEEDUP_OF_VARIANT, "x", *found)


def _times(descents: Descents, aims: Mapping[str, Aims], group: tuple, asked: float | None) -> Iterator[dict]:
    if not descents:
        return
    named = {f"_{name}": target for name, target in aims.items()}
    if asked is not None:
        named[""] = {photo: np.array([asked]) for photo in descents}
    elif aims:
        named[""] = lowest(aims.values())
    for suffix, target in named.items():
        yield from _times_to(descents, target, suffix, group, told=bool(suffix) or asked is not None)


def _times_to(descents: Descents | Starts, target: Aims, suffix: str, group: tuple, told: bool) -> Iterator[dict]:
    for metric, unit, axis in (
        (f"time_to_target{suffix}_s", "s", "seconds"), (f"iterations_to_target{suffix}", "1", "iteration")
    ):  # fmt: skip
        found = to_target(descents, target, axis)
        if found is not None:
            yield _row(group, metric, unit, *found)
    if told:
        estimate = resampled([[float(np.median(draws)) for draws in target.values()]] if len(target) > 1
                             else target.values()).estimate()  # fmt: skip
        yield _row(group, f"target{suffix}", "1", estimate, OK)


def _speedups(
    samples: pd.DataFrame,
    descents: Mapping[str, Descents],
    aims: Aims | None,
    setting: Mapping[str, object],
    known: Methods,
    generator: str,
    missed: bool,
) -> Iterator[dict]:
    theirs, own = ({**setting, "method": name, "batch": 1} for name in (known.baseline, generator))
    group = _group(setting, generator)
    for clock, ending in (("latency_s", ""), ("call_s", WHOLE_CALL)):
        latency = redrawn(matching(samples, {**own, "metric": clock}), SEED + 1)
        for optimiser, each in descents.items() if latency.n and aims is not None else ():
            times = to_targets(each, aims)
            if times is None:
                continue
            name = SPEEDUP_EQUAL + ending
            if optimiser != known.baseline:
                name = metrics.aimed_at("speedup_over_variant" + ending, optimiser)
            estimate, status = NOTHING, NOT_REACHED
            if not missed:
                estimate, status = _censored(times.least.over(latency).estimate(), times.most.over(latency).estimate())
            bounded = status == NOT_REACHED and not missed
            yield _row(group, name, "x", estimate, LOWER_BOUND if bounded else status)
        step = redrawn(matching(samples, {**theirs, "metric": "iteration_s"}))
        if latency.n and step.n:
            yield _row(group, SPEEDUP_500 + ending, "x", step.over(latency, REFERENCE_ITERATIONS).estimate(), OK)
    for metric, ratio in _MEMORY_RATIOS.items():
        estimate = redrawn(matching(samples, {**theirs, "metric": metric})).over(
            redrawn(matching(samples, {**own, "metric": metric}), SEED + 1)
        )
        if estimate.n:
            yield _row(group, ratio, "x", estimate.estimate(), OK)


def _break_even(
    samples: pd.DataFrame,
    descents: Mapping[str, Descents],
    aims: Aims | None,
    setting: Mapping[str, object],
    generator: str,
    training: Training,
) -> Iterator[dict]:
    """After how many pictures a net's training has paid, against each optimisation: training over what one saves."""
    use = use_of(setting["style_name"], generator, setting["task"])
    call = redrawn(matching(samples, {**setting, "method": generator, "batch": 1, "metric": "call_s"}), SEED + 1)
    if use not in training or not call.n:
        return
    group, (took, whole) = _group(setting, generator), training[use]
    status = OK if whole else LOWER_BOUND
    yield _row(group, "training_s", "s", Estimate(took, math.nan, math.nan, 1), status)
    for optimiser, each in descents.items() if aims is not None else ():
        times = to_targets(each, aims)
        if times is None or math.isinf(times.most.value) or times.least.value <= call.value:
            continue
        theirs, ours = (side.value if side.values is None else side.values for side in (times.least, call))
        saved = np.broadcast_to(theirs - ours, (RESAMPLES,))
        values = np.where(saved > 0, took / np.where(saved > 0, saved, 1), math.inf)
        pictures = Resampled(took / (times.least.value - call.value), values, times.least.n)
        yield _row(group, metrics.aimed_at("break_even", optimiser), "1", pictures.estimate(), status)


def missing(cells: pd.DataFrame, summary: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """Rows without a value for what a failed cell should have given, so that a gap in a table has its reason.

    A generator whose optimisation failed gets speed-up rows with the optimisation's status.
    """
    rows = []
    present = set(summary[[*GROUP_COLUMNS, "metric"]].itertuples(index=False, name=None))
    statuses = {
        key: OK if (group == OK).any() else str(group.iloc[-1])
        for key, group in cells.groupby([*GROUP_COLUMNS, "kind"], sort=False)["status"]
    }
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
                rows.append(_row(tuple(group), metric, unit, NOTHING, status))
    return _table(rows)


def summarise_run(run: RunData) -> pd.DataFrame:
    """The whole summary (columns SUMMARY_COLUMNS) of a run that has been read."""
    known, training = methods.of_run(run), training_seconds(run.meta)
    return summarise_tables(run.cells, run.samples, run.curves, known, asked_of(run), training)


def asked_of(run: RunData) -> float | None:
    """A run's --target-loss, if it had one."""
    asked = (run.meta.get("settings") or {}).get("target_loss")
    return None if asked is None else float(asked)


def summarise_tables(
    cells: pd.DataFrame,
    samples: pd.DataFrame,
    curves: pd.DataFrame,
    known: Methods,
    asked: float | None = None,
    training: Training | None = None,
) -> pd.DataFrame:
    """The same from tables. ``asked`` is the run's --target-loss, ``training`` as :func:`training_seconds` has it.

    Raises UserError for samples of a metric that :mod:`bench.analysis.metrics` has no entry of.
    """
    derived = {name for name in samples["metric"].unique() if metrics.RELATION in metrics.find(name).where}
    counted = with_status(samples, cells)
    plain = counted[~counted["metric"].isin(derived)]
    followed = with_status(curves, cells)
    followed = followed[followed["status"].isin([OK, "timeout"])]  # a curve that broke off in an error bounds nothing
    fine = plain[plain["status"] == OK]
    parts = [medians(plain), medians(throughput(counted)), compare(fine, followed, known, asked, training or {})]
    summary = pd.concat([part for part in parts if len(part)] or [_table([])], ignore_index=True)
    lost = missing(cells, summary, known.baseline)
    if len(lost):
        summary = pd.concat([summary, lost], ignore_index=True)
    return summary.sort_values(["style_name", "task", "size", "method", "batch", "dtype", "device", "engine", "metric"],
                               kind="stable", ignore_index=True)  # fmt: skip


def stages(meta: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The trainings that made a net, as its file describes them: those that it went on from first, its own last."""
    found = [meta]
    while isinstance(found[0].get("start"), Mapping) and len(found) <= MOST_STAGES:
        found.insert(0, found[0]["start"])
    return found


def known_seconds(meta: Mapping[str, Any]) -> tuple[list[float], int]:
    """What the stages of a net's training took, where it is on record, and how many there were."""
    parts = stages(meta)
    known = [part["seconds"] for part in parts if isinstance(part.get("seconds"), (int, float))]
    return known, len(parts) + bool(parts[0].get("start"))


def training_seconds(meta: Mapping[str, Any]) -> dict[str, tuple[float, bool]]:
    """Seconds that each net of a run took to train, by its name in the plan, and whether all its stages count in."""
    found = {}
    for use, net in ((meta.get("inputs") or {}).get("nets") or {}).items():
        known, parts = known_seconds((net or {}).get("meta") or {})
        if sum(known):
            found[use] = (sum(known), len(known) == parts)
    return found


def write(summary: pd.DataFrame, directory: Path) -> None:
    """Write a run's summary.csv."""
    text = summary.to_csv(index=False, float_format="%.9g", lineterminator="\n")
    write_atomically(directory / "summary.csv", text)


def _group(setting: Mapping[str, object], method: str) -> tuple:
    return tuple({**setting, "method": method, "batch": 1}[name] for name in GROUP_COLUMNS)


def matching(table: pd.DataFrame, fields: Mapping[str, object]) -> pd.DataFrame:
    """The rows of a table whose columns have these values."""
    chosen = np.ones(len(table), dtype=bool)
    for name, value in fields.items():
        chosen &= (table[name] == value).to_numpy(dtype=bool)
    return table[chosen]


def _row(group: tuple, metric: str, unit: str, estimate: Estimate, status: str) -> dict:
    return {**dict(zip(GROUP_COLUMNS, group)), "metric": metric, "unit": unit, **vars(estimate), "status": status}


def _table(rows: list[dict]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(SUMMARY_COLUMNS))
