"""Several runs as one history: each metric of each machine from run to run, and the machines beside each other.

Pure functions on what :func:`read` has read. Imports no engine.

A number is compared with the one before it on the same machine, if both were made with the same inputs (pictures,
weights, objective, and the nets that the number depends on). The change is beyond noise only if the ratio of the two,
at its least favourable (one interval's low end over the other's high end), lies wholly beyond 1 + floor or below
1 / (1 + floor). The floor is the machine's own where it is known (:mod:`bench.gate.selftest`).

A slow drift passes all such comparisons. :func:`drifts` finds it: it looks for the run before and after which a
number's values differ most in rank (Pettitt, A non-parametric approach to the change-point problem, 1979), keeps it if
so great a difference is rare among the same values in random order and if the medians before and after lie beyond the
floor of a comparison in rounds, and then looks into both parts (binary segmentation).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from bench.analysis import methods, metrics
from bench.analysis import summary as analysis
from bench.analysis.methods import Methods
from bench.gate import selftest, verdicts
from bench.gate.rounds import cell_name
from bench.gate.verdicts import Rules
from bench.store.reader import GROUP_COLUMNS, read_run
from bench.store.whole_runs import by_machine, inputs_of, of_cell, one_machine
from nst_gluon.system.errors import UserError

METRICS = metrics.named(metrics.HISTORY)
BETTER, WORSE, SAME, UNCLEAR, FIRST, OTHER = "better", "worse", "same", "unclear", "first", "other inputs"
POINT_COLUMNS = (
    "machine", "run", "created", "revision", *GROUP_COLUMNS, "metric", "unit", "value", "low", "high", "n", "status",
    "ratio", "ratio_low", "ratio_high", "floor", "change",
)  # fmt: skip
DRIFT_COLUMNS = (
    "machine", *GROUP_COLUMNS, "metric", "unit", "run", "revision", "before", "after", "ratio", "p", "change",
)  # fmt: skip
RARE, SHUFFLES = 0.005, 4000
FEWEST = 10  # runs: of fewer, no order is that rare


@dataclass(frozen=True)
class Entry:
    """One run: when and of which revision it is, what it was made with (``inputs``), and its summary.

    ``revision`` is short, with a "+" where there were uncommitted changes; empty where it is not known.
    """

    path: Path
    id: str
    created: str
    revision: str
    status: str
    fingerprint: Mapping[str, Any]
    inputs: Mapping[str, str]
    methods: Methods
    summary: pd.DataFrame


def read(path: Path) -> Entry:
    """A run directory. Raises UserError if it is none, or is of several machines."""
    run = read_run(path)
    meta = run.meta
    if meta.get("machines"):
        raise UserError(f"RUN: {path} is several machines side by side already; give the runs that it was merged from")
    git = (meta.get("environment") or {}).get("git") or {}
    return Entry(
        path=path,
        id=str(meta.get("id") or path.name),
        created=str(meta.get("created") or ""),
        revision=str(git.get("revision") or "")[:9] + ("+" if git.get("dirty") else ""),
        status=str(meta.get("status") or ""),
        fingerprint=meta.get("fingerprint") or {},
        inputs=inputs_of(meta),
        methods=methods.of_run(run),
        summary=analysis.summarise_run(run),
    )


def machines(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    """The runs of each machine, oldest first, by a label; a run that used no GPU fits either.

    Runs of one and the same id (copies) are told apart by their folders.
    """
    entries = list(entries)
    count = Counter(entry.id for entry in entries)
    named = [replace(entry, id=str(entry.path)) if count[entry.id] > 1 else entry for entry in entries]
    return by_machine(sorted(named, key=lambda entry: (entry.created, entry.id)), " ")


def points(groups: Mapping[str, Sequence[Entry]], results: Path) -> pd.DataFrame:
    """A row of POINT_COLUMNS for each metric of METRICS, cell at batch 1 and run; ``results`` has the self-tests."""
    rows: list[dict[str, Any]] = []
    for machine, entries in groups.items():
        optimised = {
            cell_name(row)
            for entry in entries
            for row in entry.summary.to_dict("records")
            if row["method"] in entry.methods.optimisers
        }
        rules, _ = selftest.pool_rules(results, one_machine(entry.fingerprint for entry in entries), optimised)
        before: dict[tuple, tuple[Entry, Mapping[str, Any]]] = {}
        for entry in entries:
            chosen = entry.summary[(entry.summary["batch"] == 1) & entry.summary["metric"].isin(METRICS)]
            for row in chosen.to_dict("records"):
                key = tuple(row[name] for name in (*GROUP_COLUMNS, "metric"))
                about = {"machine": machine, "run": entry.id, "created": entry.created, "revision": entry.revision}
                rows.append({**about, **row, **_change(before.get(key), entry, row, rules)})
                if row["status"] == analysis.OK and not math.isnan(row["value"]):
                    before[key] = (entry, row)
    return pd.DataFrame(rows, columns=list(POINT_COLUMNS))


def _change(
    before: tuple[Entry, Mapping[str, Any]] | None, entry: Entry, row: Mapping[str, Any], rules: Rules
) -> dict[str, Any]:
    nothing = {"ratio": math.nan, "ratio_low": math.nan, "ratio_high": math.nan}
    floor = rules.floor(cell_name(row), row["metric"], row["unit"])
    if before is None:
        return {**nothing, "floor": floor, "change": FIRST}
    if depends_on(before[0], row) != depends_on(entry, row):
        return {**nothing, "floor": floor, "change": OTHER}
    if row["status"] != analysis.OK or math.isnan(row["value"]):
        return {**nothing, "floor": floor, "change": UNCLEAR}
    ratio, low, high = ratio_of(before[1], row)
    found = {"ratio": ratio, "ratio_low": low, "ratio_high": high, "floor": floor}
    return {**found, "change": verdict(low, high, floor, more_is_better=row["unit"] == "x")}


def depends_on(entry: Entry, row: Mapping[str, Any]) -> dict[str, str]:
    """Those inputs of a run that a row of its summary depends on: all but the nets of other methods and tasks."""
    method, task = row["method"], row["task"]
    found = of_cell(entry.inputs, row)
    if method in entry.methods.optimisers and row["metric"] == "time_to_target_s":
        nets = f"nets.{row['style_name']}/" if row.get("style_name") else "nets."
        found |= {
            name: value
            for name, value in entry.inputs.items()
            if name.startswith(nets) and name.endswith(f"/{task}")
        }
    return found


def ratio_of(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[float, float, float]:
    """``after`` over ``before``, and between what the two intervals leave possible.

    One sample has no interval: a memory peak is then taken as it is, as it hardly varies; of anything else nothing can
    be said (NaN).
    """
    if not before["value"] > 0:
        return math.nan, math.nan, math.nan
    (low, high), (least, most) = (_ends(row) for row in (after, before))
    return after["value"] / before["value"], low / most, high / least


def _ends(row: Mapping[str, Any]) -> tuple[float, float]:
    if row["unit"] == "B" and math.isnan(row["low"]):
        return row["value"], row["value"]
    return row["low"], row["high"]


def verdict(low: float, high: float, floor: float, more_is_better: bool) -> str:
    """What a ratio between ``low`` and ``high`` means (1 is no change); ``floor`` is a fraction."""
    found = verdicts.verdict(low, high, floor)
    down, up = (WORSE, BETTER) if more_is_better else (BETTER, WORSE)
    return {verdicts.SLOWER: up, verdicts.FASTER: down, verdicts.SAME: SAME}.get(found, UNCLEAR)


def latest(found: pd.DataFrame) -> pd.DataFrame:
    """Of :func:`points`, the newest of each machine, cell and metric that has a value."""
    known = found[found["value"].notna()]
    return known.groupby(["machine", *GROUP_COLUMNS, "metric"], sort=False).tail(1)


# ------------------------------------------------------------------------------------------------------ slow drift


def drifts(found: pd.DataFrame) -> pd.DataFrame:
    """Of :func:`points`, where a number's level changed over the runs: a row of DRIFT_COLUMNS each, oldest first.

    ``run`` is the first of the new level, ``before`` and ``after`` are the levels' medians, and ``p`` says how often
    runs in random order differ as much. Runs of other inputs are not looked at together; bounds are no measurements.
    """
    rows = []
    known = found[found["value"].gt(0) & found["status"].eq(analysis.OK)]
    for key, series in known.groupby(["machine", *GROUP_COLUMNS, "metric", "unit"], sort=False):
        floor = Rules().floors.get(key[-1], max(Rules().floors.values()))
        for _, part in series.groupby(series["change"].isin([FIRST, OTHER]).cumsum(), sort=False):
            values = np.log(part["value"].to_numpy(dtype=float))
            for at, before, after, p in level_changes(values, math.log1p(floor)):
                first, ratio = part.iloc[at], math.exp(after - before)
                rows.append((
                    *key, first["run"], first["revision"], math.exp(before), math.exp(after), ratio, p,
                    BETTER if (ratio > 1) == (key[-1] == "x") else WORSE,
                ))  # fmt: skip
    return pd.DataFrame(rows, columns=list(DRIFT_COLUMNS))


def level_changes(values: np.ndarray, least: float) -> list[tuple[int, float, float, float]]:
    """Where the level of a series changes: (index of the first of the new level, median before, median after, p).

    Args:
        values: in the order of time.
        least: a smaller difference of medians is none.
    """
    splits: dict[int, float] = {}
    _split(values, 0, len(values), least, splits)
    edges = [0, *sorted(splits), len(values)]
    levels = [float(np.median(values[low:high])) for low, high in zip(edges, edges[1:])]
    return [(at, levels[i], levels[i + 1], splits[at]) for i, at in enumerate(edges[1:-1])]


def _split(values: np.ndarray, low: int, high: int, least: float, splits: dict[int, float]) -> None:
    part = values[low:high]
    if len(part) < FEWEST:
        return
    scan = _rank_scan(part[None])[0]
    at = int(np.argmax(np.abs(scan))) + 1
    rng = np.random.default_rng(0)
    shuffled = rng.permuted(np.tile(part, (SHUFFLES, 1)), axis=1)
    extreme = np.abs(_rank_scan(shuffled)).max(axis=1) >= abs(scan[at - 1])
    p = (1 + int(extreme.sum())) / (1 + SHUFFLES)
    if p <= RARE and abs(np.median(part[at:]) - np.median(part[:at])) > least:
        splits[low + at] = p
        _split(values, low, low + at, least, splits)
        _split(values, low + at, high, least, splits)


def _rank_scan(series: np.ndarray) -> np.ndarray:
    """Pettitt's U of each split of each row (K, n): (K, n - 1), from the ranks, with ties at their mean."""
    ranks = stats.rankdata(series, axis=1)
    n = series.shape[1]
    return 2 * np.cumsum(ranks, axis=1)[:, :-1] - np.arange(1, n) * (n + 1)
