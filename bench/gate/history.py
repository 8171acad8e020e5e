"""Several runs as one history: each metric of each machine from run to run, and the machines beside each other.

Pure functions on what :func:`read` has read. Imports no engine.

A number is compared with the one before it on the same machine, if both were made with the same inputs (pictures,
weights, objective, and the nets that the number depends on). The change is beyond noise only if the ratio of the two,
at its least favourable (one interval's low end over the other's high end), lies wholly beyond 1 + floor or below
1 / (1 + floor). The floor is the machine's own where it is known (:mod:`bench.gate.selftest`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from bench.analysis import summary as analysis
from bench.gate import selftest, verdicts
from bench.gate.comparison import POOL_FLOORS
from bench.gate.rounds import cell_name
from bench.gate.verdicts import Rules
from bench.plan.cells import OPTIMISE
from bench.store.reader import GROUP_COLUMNS, read_run
from bench.store.whole_runs import machine_difference, one_machine
from nst_gluon.system.errors import UserError

METRICS = (
    "speedup_at_equal_loss", "speedup_at_500_iterations", "latency_s", "iteration_s", "time_to_target_s",
    "working_memory_bytes", "peak_memory_bytes",
)  # fmt: skip
BETTER, WORSE, SAME, UNCLEAR, FIRST, OTHER = "better", "worse", "same", "unclear", "first", "other inputs"
POINT_COLUMNS = (
    "machine", "run", "created", "revision", *GROUP_COLUMNS, "metric", "unit", "value", "low", "high", "n", "status",
    "ratio", "ratio_low", "ratio_high", "floor", "change",
)  # fmt: skip


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
    kinds: Mapping[str, str]
    summary: pd.DataFrame


def read(path: Path) -> Entry:
    """A run directory. Raises UserError if it is none, or is of several machines."""
    run = read_run(path)
    meta = run.meta
    if meta.get("machines"):
        raise UserError(f"RUN: {path} is several machines side by side already; give the runs that it was merged from")
    settings = meta.get("settings") or {}
    git = (meta.get("environment") or {}).get("git") or {}
    asked = settings.get("target_loss")
    return Entry(
        path=path,
        id=str(meta.get("id") or path.name),
        created=str(meta.get("created") or ""),
        revision=str(git.get("revision") or "")[:9] + ("+" if git.get("dirty") else ""),
        status=str(meta.get("status") or ""),
        fingerprint=meta.get("fingerprint") or {},
        inputs=_inputs(meta),
        kinds=analysis.kinds_of(run.cells, run.samples),
        summary=analysis.summarise_tables(run.cells, run.samples, run.curves, None if asked is None else float(asked)),
    )


def _inputs(meta: Mapping[str, Any]) -> dict[str, str]:
    """What decides the numbers of a run, apart from machine and code: hashes where there are any, else names."""
    settings, inputs = meta.get("settings") or {}, meta.get("inputs") or {}
    pictures, nets = inputs.get("pictures") or {}, inputs.get("nets") or {}
    found = {name: (pictures.get(name) or {}).get("sha256") or settings.get(name) for name in ("style", "content")}
    found["weights"] = (inputs.get("weights") or {}).get("sha256") or settings.get("weights")
    for name in ("preset", "style_size", "random_weights", "target_loss"):
        found[name] = settings.get(name)
    found.update({f"nets.{use}": (net or {}).get("sha256") for use, net in nets.items()})
    return {name: str(value) for name, value in found.items()}


def machines(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    """The runs of each machine, oldest first, by a label; a run that used no GPU fits either.

    Runs of one and the same id (copies) are told apart by their folders.
    """
    groups: list[list[Entry]] = []
    entries = list(entries)
    count = Counter(entry.id for entry in entries)
    named = [replace(entry, id=str(entry.path)) if count[entry.id] > 1 else entry for entry in entries]
    for entry in sorted(named, key=lambda entry: (entry.created, entry.id)):
        for group in groups:
            if machine_difference(one_machine(one.fingerprint for one in group), entry.fingerprint) is None:
                group.append(entry)
                break
        else:
            groups.append([entry])
    return {f"machine {number}": group for number, group in enumerate(groups, 1)}


def points(groups: Mapping[str, Sequence[Entry]], results: Path) -> pd.DataFrame:
    """A row of POINT_COLUMNS for each metric of METRICS, cell at batch 1 and run; ``results`` has the self-tests."""
    rows: list[dict[str, Any]] = []
    for machine, entries in groups.items():
        floors = selftest.floors(results, one_machine(entry.fingerprint for entry in entries))
        rules = Rules(floors=Rules().floors if floors else POOL_FLOORS, floor_of=floors)
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
    own = f"nets.{method}/{task}"
    aims = entry.kinds.get(method) == OPTIMISE and row["metric"] == "time_to_target_s"
    return {
        name: value
        for name, value in entry.inputs.items()
        if not name.startswith("nets.") or name == own or (aims and name.endswith(f"/{task}"))
    }


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
    found = verdicts.verdict(low, high, floor, floor)
    down, up = (WORSE, BETTER) if more_is_better else (BETTER, WORSE)
    return {verdicts.SLOWER: up, verdicts.FASTER: down, verdicts.SAME: SAME}.get(found, UNCLEAR)


def latest(found: pd.DataFrame) -> pd.DataFrame:
    """Of :func:`points`, the newest of each machine, cell and metric that has a value."""
    known = found[found["value"].notna()]
    return known.groupby(["machine", *GROUP_COLUMNS, "metric"], sort=False).tail(1)
