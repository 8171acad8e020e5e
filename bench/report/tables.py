"""The tables of a report, as plain data: rows of entries, which Markdown and HTML print each in their own
way.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.analysis import claims
from bench.analysis.summary import LOWER_BOUND, NOT_REACHED, OK, REFERENCE_ITERATIONS, SPEEDUP_OF_VARIANT
from bench.plan.cells import OPTIMISE
from bench.report import repeat, run_facts
from bench.report.definitions import describe
from bench.report.notes import Note
from bench.report.numbers import NOTHING, Book, Number, cell_label
from bench.report.wording import measured, setting_name, status_name
from bench.store.reader import CELL_COLUMNS, GROUP_COLUMNS, RunData
from nst_gluon.pages.wording import MISSING, clean, interval, listing, method_name, published, task_name

SPEEDUP_EQUAL, SPEEDUP_500 = "speedup_at_equal_loss", f"speedup_at_{REFERENCE_ITERATIONS}_iterations"


@dataclass(frozen=True)
class Entry:
    """What stands in one place of a table: ``text``, and smaller below it ``small``.

    ``hover`` says on what it rests. ``metric`` names the definition it belongs to. ``tone`` is "", "bound"
    (only a bound is known), "missing" (no value, for a reason) or a verdict's first word. ``number`` is the whole
    story of a number, whose notes mark it; ``link`` is where the text leads to; ``order`` is what a column is sorted by
    where that is not the text.
    """

    text: str
    small: str = ""
    hover: str = ""
    metric: str = ""
    tone: str = ""
    number: Number | None = None
    link: str = ""
    order: float | None = None

    @property
    def notes(self) -> tuple[Note, ...]:
        return self.number.notes if self.number else ()


@dataclass(frozen=True)
class Table:
    """``numeric`` says of each column whether it is right-aligned; the first column heads its row. ``ids`` names
    the rows, where there are links to them.
    """

    name: str
    title: str
    columns: tuple[Entry, ...]
    rows: tuple[tuple[Entry, ...], ...]
    numeric: tuple[bool, ...]
    note: str = ""
    ids: tuple[str, ...] = ()


def table(
    name: str,
    title: str,
    columns: Sequence[Any],
    rows: Iterable[Sequence[Any]],
    numeric: Iterable[int],
    note: str = "",
    ids: Iterable[str] = (),
) -> Table:
    """A Table from texts and entries; ``numeric`` are the indices of right-aligned columns."""
    right = set(numeric)
    return Table(
        name,
        title,
        tuple(map(_entry, columns)),
        tuple(tuple(map(_entry, row)) for row in rows),
        tuple(index in right for index in range(len(columns))),
        note,
        tuple(ids),
    )


def _entry(value: Any) -> Entry:
    return value if isinstance(value, Entry) else Entry(clean(value))


def value_entry(row: Mapping[str, Any] | None, book: Book = NOTHING) -> Entry:
    """A row of the summary as an entry: the value with its interval below, and n on hovering."""
    if row is None:
        return Entry(MISSING, tone="missing")
    value, unit, status = float(row["value"]), str(row["unit"]), str(row["status"])
    brackets = interval(value, float(row["low"]), float(row["high"]), unit) if status == OK else ""
    tone = "" if status == OK else ("bound" if status in (LOWER_BOUND, NOT_REACHED) else "missing")
    n = int(row["n"])
    number = book.find(row)
    hover = f"{describe(str(row['metric'])).label}; median of n = {n}" if n else status_name(status)
    hover = f"{hover}; {number.reason}" if number and number.reason else hover
    if brackets and low_equals_high(row):
        brackets = ""
    small = brackets or ("n = 1" if n == 1 and status == OK and unit in ("s", "x") else "")
    order = value if math.isfinite(value) else None
    return Entry(measured(value, unit, status), small, hover, str(row["metric"]), tone, number, order=order)


def low_equals_high(row: Mapping[str, Any]) -> bool:
    """Whether all samples agreed, as they do for a count; such an interval says nothing."""
    return float(row["low"]) == float(row["high"])


# ------------------------------------------------------------------------------------------------------- at a glance


def glance(summary: pd.DataFrame, book: Book = NOTHING) -> Table:
    """The few numbers that most readers want: one row for each task, size and method at batch 1."""
    single = summary[summary["batch"] == 1]
    extras = [name for name in ("engine", "dtype", "device") if single[name].nunique() > 1]
    rows = []
    for key, group in single.groupby(["task", "size", "method", "engine", "dtype", "device"], sort=True):
        by_metric = {row["metric"]: row for _, row in group.iterrows()}
        time = by_metric.get("latency_s", by_metric.get("time_to_target_s"))
        values = [time, *(by_metric.get(name) for name in (SPEEDUP_EQUAL, SPEEDUP_500))]
        values += [by_metric.get(name) for name in ("peak_memory_bytes", "working_memory_bytes", "objective")]
        setting = dict(zip(("engine", "dtype", "device"), key[3:]))
        cells = [task_name(key[0]), str(key[1]), method_name(key[2])]
        cells += [setting_name(name, setting[name]) for name in extras]
        rows.append([*cells, *(value_entry(value, book) for value in values)])
    columns = ["task", "size", "method", *extras]
    metrics = ("latency_s", SPEEDUP_EQUAL, SPEEDUP_500, "peak_memory_bytes", "working_memory_bytes", "objective")
    heads = ("time for one picture", "speed-up at equal loss", f"speed-up, {REFERENCE_ITERATIONS} iterations",
             "peak memory", "working memory", "objective")  # fmt: skip
    columns += [Entry(head, metric=metric) for head, metric in zip(heads, metrics)]
    note = (
        "Time: one forward pass of a net; for the optimisation, the time until it is down to the lowest of the nets' "
        "objectives. Objectives compare within one task and size."
    )
    return table("glance", "At a glance", columns, rows, (1, *range(len(columns) - 6, len(columns))), note)


def metric_tables(summary: pd.DataFrame, book: Book = NOTHING) -> list[Table]:
    """Every row of the summary, one table for each family of metrics."""
    tables = []
    families = summary["metric"].map(lambda name: describe(name).name)
    extras = [name for name in ("engine", "dtype", "device") if summary[name].nunique() > 1]
    order = [name for name in _ORDER if name in set(families)]
    for family in [*order, *sorted(set(families) - set(order))]:
        group = summary[families == family]
        of_target = group["metric"].nunique() > 1
        rows = []
        for _, row in group.iterrows():
            cells = [task_name(row["task"]), str(row["size"]), method_name(row["method"]), str(row["batch"])]
            cells += [setting_name(name, row[name]) for name in extras]
            if of_target:
                cells.append(_of_which_target(row["metric"], family))
            entry = dataclasses.replace(value_entry(row, book), small="")
            brackets = interval(row["value"], row["low"], row["high"], row["unit"]) if row["status"] == OK else ""
            rows.append([*cells, entry, brackets, str(row["n"]), *_range(book.find(row)), row["status"]])
        columns = ["task", "size", "method", "batch", *extras, *(["target of"] if of_target else [])]
        first = len(columns)
        columns += [Entry("median", metric=family), "95 % interval", "n", "least", "most", "status"]
        numbers = (1, 3, *range(first, first + 5))
        tables.append(table(f"metric-{family}", describe(family).label, columns, rows, numbers, describe(family).text))
    return tables


def _range(number: Number | None) -> tuple[str, str]:
    """The least and the most of the samples of one metric; empty for what relates several."""
    own = number.sources if number else ()
    return (own[0].least, own[0].most) if len(own) == 1 and own[0].n > 1 else ("", "")


_ORDER = (
    SPEEDUP_EQUAL, SPEEDUP_500, SPEEDUP_OF_VARIANT, "latency_s", "time_to_target_s", "iterations_to_target", "target",
    "iteration_s", "throughput_images_per_s", "peak_memory_bytes", "working_memory_bytes", "memory_ratio",
    "working_memory_ratio", "objective", "content", "style", "tv", "setup_s", "first_call_s", "warm_up_latency_s",
    "warm_up_iteration_s", "parameters", "net_file_bytes",
)  # fmt: skip


def _of_which_target(metric: str, family: str) -> str:
    label, parent = describe(metric).label, describe(family).label
    return method_name(label[len(parent) + 2 :]) if label.startswith(f"{parent}: ") else "the lowest"


# ------------------------------------------------------------------------------------------------------------ claims


def claims_table(findings: Sequence[claims.Finding], summary: pd.DataFrame, book: Book = NOTHING) -> Table:
    """Each claim with what was published, what was measured, and the verdict with what it rests on."""
    rows = []
    for finding in findings:
        claim = finding.claim
        verdict = Entry(finding.verdict, finding.reason, _rule(claim), tone=finding.verdict.split()[0])
        rows.append([Entry(claim.text, claim.source), _published(claim), _result(finding, summary, book), verdict])
    columns = ["claim", "published", "measured", "verdict"]
    ids = [f"claim-{finding.claim.id}" for finding in findings]
    return table("claims", "Every published claim", columns, rows, (1, 2), ids=ids)


def short_claims(findings: Sequence[claims.Finding], summary: pd.DataFrame, book: Book = NOTHING) -> Table:
    """The headline claims, a line each: the verdict, what was published and what was measured."""
    rows = []
    for finding in findings:
        claim = finding.claim
        if not claim.headline:
            continue
        verdict = Entry(finding.verdict, "", f"{finding.reason}. {_rule(claim)}", tone=finding.verdict.split()[0])
        text = Entry(claim.text, hover=claim.source, link=f"#claim-{claim.id}")
        rows.append([text, _published(claim), _result(finding, summary, book), verdict])
    return table("headline-claims", "The claims, checked", ["claim", "published", "measured", "verdict"], rows, (1, 2))


def _published(claim: claims.Claim) -> Entry:
    low, high = claim.published
    said = published(high, claim.unit)
    return Entry(said if low == high else f"{published(low, '1')} to {said}", order=high)


def _result(finding: claims.Finding, summary: pd.DataFrame, book: Book) -> Entry:
    """What was measured, with the story of the number that it is, or is a multiple of."""
    claim, status = finding.claim, LOWER_BOUND if finding.lower_bound else OK
    without = finding.lower_bound or finding.low == finding.high
    brackets = "" if without else interval(finding.measured, finding.low, finding.high, claim.unit)
    row = claims.row_of(claim, summary)
    order = finding.measured if math.isfinite(finding.measured) else None
    number = None if row is None or order is None else book.find(row)
    text = measured(finding.measured, claim.unit, status)
    return Entry(text, brackets, finding.reason, claim.metric, number=number, order=order)


def _rule(claim: claims.Claim) -> str:
    return f"Judged on {claim.metric}. {claims.RULES[claim.rule]}"


# -------------------------------------------------------------------------------------------------------- the others


def troubled_cells(run: RunData) -> Table | None:
    """The cells that failed or were skipped, and the optimisations that ended above a target; None if there
    is none.
    """
    lowest = run.curves.groupby(list(CELL_COLUMNS))["objective"].min().to_dict()
    devices = run.cells["device"].nunique() > 1
    seeds: dict[tuple[str, ...], list[str]] = {}
    for record in run.records:
        status, reason = str(record.get("status")), clean(record.get("reason") or "")
        if status == OK:
            identity = tuple(record.get(name) for name in CELL_COLUMNS)
            reason = _stopped_short(record, lowest.get(identity, math.inf))
            status = NOT_REACHED
            if not reason:
                continue
        cell = (task_name(str(record.get("task"))), str(record.get("size")), method_name(str(record.get("method"))))
        cell += (clean(record.get("device"), 40),) if devices else ()
        seeds.setdefault((*cell, str(record.get("batch")), status, reason), []).append(str(record.get("seed")))
    if not seeds:
        return None
    rows = [
        [*cell, batch, ", ".join(found), Entry(status_name(status), tone="missing"), reason]
        for (*cell, batch, status, reason), found in seeds.items()
    ]
    columns = ["task", "size", "method", *(["device"] if devices else []), "batch", "seed", "status", "reason"]
    numbers = (1, columns.index("batch"), columns.index("seed"))
    return table("troubled", "Failed, skipped and time-limited cells", columns, rows, numbers)


def _stopped_short(record: Mapping[str, Any], lowest: float) -> str:
    """Why an optimisation ended above a target; empty for one that reached all of them, and for a
    generator.
    """
    targets = record.get("targets")
    if record.get("kind") != OPTIMISE or not isinstance(targets, Mapping):
        return ""
    short = [method_name(str(name)) for name, value in sorted(targets.items()) if lowest > value]
    if not short:
        return ""
    stopped = clean(run_facts.get(record, "info", "stopped_because") or "its limit")
    return f"ended above the objective of the {listing(short)}: {stopped}"


def commands(run: RunData) -> Table | None:
    """The command that measures each cell again, its seeds taken together; None where no cell is on record."""
    groups: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for record in run.records:
        groups.setdefault(tuple(record.get(name) for name in GROUP_COLUMNS), record)
    rows = [
        [cell_label({name: record[name] for name in GROUP_COLUMNS}), status_name(str(record.get("status"))),
         repeat.command(run.meta, repeat.needed(record, run.records))]
        for record in groups.values()
        if all(name in record for name in GROUP_COLUMNS)
    ]  # fmt: skip
    return table("commands", "The command of each cell", ["cell", "status", "command"], rows, ()) if rows else None


def environment(run: RunData) -> Table:
    """Everything that run.json says of the machine and the software."""
    rows = [list(pair) for pair in run_facts.flat(run.meta.get("environment") or {})]
    rows += [[f"fingerprint.{name}", text] for name, text in run_facts.flat(run.meta.get("fingerprint") or {})]
    return table("environment", "Machine and software", ["what", "value"], rows, ())


def inputs(run: RunData) -> Table:
    """Settings, pictures, weights and nets, each with its identity."""
    rows = []
    for part in ("inputs", "settings", "budget", "seeds", "plan_fingerprint"):
        rows += [list(pair) for pair in run_facts.flat(run.meta.get(part), "" if part == "inputs" else part)]
    return table("inputs", "Settings, pictures, weights and nets", ["what", "value"], rows, ())


def sessions(run: RunData) -> Table | None:
    """When the run was begun and gone on with, and the machine's load; None if nothing is on record."""
    rows = [list(pair) for pair in run_facts.flat(run.meta.get("sessions") or [], "session")]
    return table("sessions", "Sessions", ["what", "value"], rows, ()) if rows else None
