"""The tables of a report, as plain data: rows of entries, which Markdown and HTML print each in their own way."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.analysis import claims, metrics
from bench.analysis.analysed import Analysed
from bench.analysis.summary import (
    LOWER_BOUND,
    NOT_REACHED,
    OK,
    REFERENCE_ITERATIONS,
    SPEEDUP_500,
    SPEEDUP_EQUAL,
)
from bench.plan.cells import OPTIMISE
from bench.plan.engines import REFERENCE
from bench.report import run_facts
from bench.report.notes import Note
from bench.report.numbers import NOTHING, Book, Number
from bench.report.wording import TONES, engine_name, head_of, measured, setting_name, status_name
from bench.store.reader import CELL_COLUMNS
from nst_gluon.pages.wording import MISSING, clean, interval, listing, published, quantity, significant, task_name


@dataclass(frozen=True)
class Entry:
    """What stands in one place of a table: ``text``, and smaller below it ``small``.

    ``hover`` says what it rests on. ``metric`` names the definition it belongs to. ``tone`` is "", "bound" (only a
    bound is known), "missing" (no value, for a reason) or a verdict's class. ``number`` is the whole story of a number,
    whose notes mark it; ``link`` is where the text leads to, and ``source`` where the small print does; ``order`` is
    what a column is sorted by where that is not the text.
    """

    text: str
    small: str = ""
    hover: str = ""
    metric: str = ""
    tone: str = ""
    number: Number | None = None
    link: str = ""
    source: str = ""
    order: float | None = None

    @property
    def notes(self) -> tuple[Note, ...]:
        return self.number.notes if self.number else ()


@dataclass(frozen=True)
class Table:
    """``numeric`` says of each column whether it is right-aligned; the first column heads its row."""

    name: str
    title: str
    columns: tuple[Entry, ...]
    rows: tuple[tuple[Entry, ...], ...]
    numeric: tuple[bool, ...]
    note: str = ""


def table(
    name: str, title: str, columns: Sequence[Any], rows: Iterable[Sequence[Any]], numeric: Iterable[int], note: str = ""
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
    )


def _entry(value: Any) -> Entry:
    return value if isinstance(value, Entry) else Entry(clean(value))


def value_entry(row: Mapping[str, Any] | None, book: Book = NOTHING) -> Entry:
    """A row of the summary as an entry: the value with its interval below, and n on hovering."""
    if row is None:
        return Entry(MISSING, tone="missing")
    value, unit, status = float(row["value"]), str(row["unit"]), str(row["status"])
    low, high, n = float(row["low"]), float(row["high"]), int(row["n"])
    brackets = interval(value, low, high, unit) if status == OK and low != high else ""
    tone = "" if status == OK else ("bound" if status in (LOWER_BOUND, NOT_REACHED) else "missing")
    number = book.find(row)
    hover = f"{metrics.find(str(row['metric'])).label}; median of n = {n}" if n else status_name(status)
    hover = f"{hover}; {number.reason}" if number and number.reason else hover
    small = brackets or ("n = 1" if n == 1 and status == OK and unit in ("s", "x") else "")
    order = value if math.isfinite(value) else None
    return Entry(measured(value, unit, status), small, hover, str(row["metric"]), tone, number, order=order)


# ------------------------------------------------------------------------------------------------------- at a glance


def glance(analysed: Analysed, book: Book = NOTHING) -> Table:
    """The few numbers that most readers want: one row for each task, size and method at batch 1."""
    methods, rows = analysed.methods, []
    grouping = ["style_name", "task", "size", "method", "engine", "dtype", "device"]
    for key, group in analysed.rows().groupby(grouping, sort=True):
        setting = dict(zip(grouping, key))
        by_metric = {row["metric"]: row for row in group.to_dict("records")}
        is_net = "latency_s" in by_metric or setting["method"] in methods.nets
        time = value_entry(by_metric.get("latency_s" if is_net else "iteration_s"), book)
        names = [task_name(setting["task"]), str(setting["size"]), methods.title(setting["method"])]
        names += [setting_name(name, setting[name]) for name in analysed.several]
        what = "a picture" if is_net else "a step"
        relations = ["", "", ""]
        if is_net:
            relations = [_optimised(analysed, setting, book), *(value_entry(by_metric.get(name), book)
                                                                for name in (SPEEDUP_EQUAL, SPEEDUP_500))]  # fmt: skip
        if is_net and methods[setting["method"]].own_loss:
            relations[:2] = [Entry(MISSING, "trained on another loss", tone="missing")] * 2
        time = dataclasses.replace(time, small=f"{what} {time.small}".strip())
        rows.append([*names, time, *relations, *(value_entry(by_metric.get(name), book)
                                                 for name in ("working_memory_bytes", "objective"))])  # fmt: skip
    heads = (
        ("time", "latency_s"), ("optimisation to the same loss", "time_to_target_s"),
        ("speed-up at equal loss", SPEEDUP_EQUAL), (f"speed-up over {REFERENCE_ITERATIONS} iterations", SPEEDUP_500),
        ("working memory", "working_memory_bytes"), ("objective", "objective"),
    )  # fmt: skip
    columns = ["task", "size", "method", *map(head_of, analysed.several),
               *(Entry(head, metric=metric) for head, metric in heads)]  # fmt: skip
    note = (
        "Time: of a net, one forward pass, which is a picture; of an optimisation, one step. Beside a net stands what "
        "optimisation takes to the loss of that net's picture, and below it what its fastest variant takes. Objectives "
        "are comparable only within one task and size."
    )
    note = run_facts.with_end(note, analysed.run.records)
    return table("glance", "The main numbers", columns, rows, (1, *range(len(columns) - 6, len(columns))), note)


def _optimised(analysed: Analysed, net: Mapping[str, Any], book: Book) -> Entry:
    """What the baseline takes to the loss of a net's picture, and below it its fastest variant that needs no net."""
    where = {name: net[name] for name in ("style_name", "task", "size", "engine", "dtype", "device")}
    entry = value_entry(analysed.row(_to_loss(analysed, net), method=analysed.methods.baseline, **where), book)
    best = fastest_variant(analysed, net)
    if best is None:
        return entry
    small = f"{analysed.methods.title(best['method'])}: {measured(best['value'], 's', best['status'])}"
    return dataclasses.replace(entry, small=small)


def fastest_variant(analysed: Analysed, net: Mapping[str, Any]) -> dict[str, Any] | None:
    """The row of the optimisation, among the baseline's variants that do not begin with a net, that is first at the
    loss of a net's picture: a bound where none got there; None without any.
    """
    methods = analysed.methods
    where = {name: net[name] for name in ("style_name", "task", "size", "engine", "dtype", "device")}
    rows = analysed.rows(_to_loss(analysed, net), **where).to_dict("records")
    able = [row for row in rows if methods.is_variant(row["method"]) and not methods[row["method"]].from_net]
    return min(able, key=lambda row: (row["status"] != OK, row["value"]), default=None)


def _to_loss(analysed: Analysed, net: Mapping[str, Any]) -> str:
    """The metric of an optimisation's time to the loss at which a net is compared with it."""
    return metrics.aimed_at("time_to_target_s", net["method"]) if analysed.asked is None else "time_to_target_s"


def metric_tables(analysed: Analysed, book: Book = NOTHING) -> list[Table]:
    """Every row of the summary, one table for each family of metrics, in the order of the metrics' entries."""
    summary, methods, tables = analysed.summary, analysed.methods, []
    families = summary["metric"].map(lambda name: metrics.split(name)[0])
    for family in [name for name in metrics.METRICS if name in set(families)]:
        group = summary[families == family]
        of_target = group["metric"].nunique() > 1
        rows = []
        for row in group.to_dict("records"):
            cells = [task_name(row["task"]), str(row["size"]), methods.title(row["method"]), str(row["batch"])]
            cells += [setting_name(name, row[name]) for name in analysed.several]
            if of_target:
                aimed = metrics.split(row["metric"])[1]
                cells.append(methods.title(aimed) if aimed else "the lowest")
            entry = dataclasses.replace(value_entry(row, book), small="")
            brackets = interval(row["value"], row["low"], row["high"], row["unit"]) if row["status"] == OK else ""
            rows.append([*cells, entry, brackets, str(row["n"]), *_range(book.find(row)), row["status"]])
        columns = ["task", "size", "method", "batch", *map(head_of, analysed.several)]
        columns += ["target of"] if of_target else []
        first, entry = len(columns), metrics.METRICS[family]
        columns += [Entry("median", metric=family), "95 % interval", "n", "least", "most", "status"]
        numbers = (1, 3, *range(first, first + 5))
        tables.append(table(f"metric-{family}", entry.label, columns, rows, numbers, entry.whole_text))
    return tables


def _range(number: Number | None) -> tuple[str, str]:
    """The least and the most of the samples of one metric; empty for what relates several."""
    own = number.sources if number else ()
    return (own[0].least, own[0].most) if len(own) == 1 and own[0].n > 1 else ("", "")


# ------------------------------------------------------------------------------------------------------------ claims


def claims_table(analysed: Analysed, book: Book = NOTHING) -> Table:
    """Each claim with its paper and rule, what was published, what was measured, and the verdict with its reason."""
    rows = []
    for finding in sorted(analysed.findings, key=lambda found: found.verdict not in claims.COUNTED):
        claim, worst = finding.claim, finding.worst
        tone = TONES.get(worst.verdict, "unmeasured")
        small = "; ".join(filter(None, [worst.why, worst.row and clean(worst.row["style_name"], 40)]))
        rows.append([
            Entry(claim.text, claim.paper.name, _rule(claim), source=claim.paper.url),
            _published(claim), _result(finding, book),
            Entry(worst.verdict, small, f"{worst.reason}. {_rule(claim)}", tone=tone),
            Entry(analysed.untrained.get(claim.id, MISSING)),
        ])  # fmt: skip
    columns = ["claim", "published", "measured", "verdict",
               Entry("the same nets, untrained", hover="the verdict on the same nets before training: as fast and as "
                     "small, with the loss that optimisation starts from")]  # fmt: skip
    return table("claims", "The papers' claims, checked", columns, rows, (1, 2))


def _published(claim: claims.Claim) -> Entry:
    """The published values, and from which value on (or in which band) the claim counts as reproduced."""
    texts = [" to ".join(published(end, claim.unit) for end in dict.fromkeys(ends))
             for ends in claim.published.values()]  # fmt: skip
    within, high = claims.TOLERANCE[claim.rule], next(iter(claim.published.values()))[1]
    bands = [(low * (1 - within), high * (1 + within)) for low, high in claim.published.values()]
    least, most = (" / ".join(published(end, claim.unit) for end in ends) for ends in zip(*bands))
    marks = {claims.AT_LEAST: f"{least} or more", claims.AT_MOST: f"{most} or less", claims.ABOUT: f"{least} to {most}"}
    small = "" if claim.hardware_bound else f"needs {marks[claim.rule]}"
    return Entry(" / ".join(texts), small, claims.RULES[claim.rule], order=high)


def _result(finding: claims.Finding, book: Book) -> Entry:
    """The values that the verdict rests on (without a verdict, those there are), and the story of a single one."""
    known = [part for part in finding.parts if not math.isnan(part.measured)]
    if not known:
        return Entry(MISSING, tone="missing")
    known = [part for part in known if part.verdict != claims.NOT_MEASURED] or known
    unit = finding.claim.unit
    texts = [measured(part.measured, unit, LOWER_BOUND if part.lower_bound else OK) for part in known]
    if len(finding.parts) > 1:
        sizes = listing([str(part.size) for part in known])
        sizes += f", {len(known)} of {len(finding.parts)} sizes" if len(known) < len(finding.parts) else ""
        return Entry(" / ".join(texts), f"at {sizes}", order=known[0].measured)
    (part,) = known
    without = part.lower_bound or part.low == part.high
    brackets = "" if without else interval(part.measured, part.low, part.high, unit)
    return Entry(texts[0], brackets, part.reason, finding.claim.metric, number=book.find(part.row), order=part.measured)


def _rule(claim: claims.Claim) -> str:
    floor = f" {claims.EXCEPTIONS[0]}" if claim.speed else ""
    return f"Judged on {claim.metric}. {claims.RULES[claim.rule]}{floor}"


# ----------------------------------------------------------------------------------------------------------- engines

_ENGINE_HEADS = (
    (("latency_s", "iteration_s"), "time of a call or step"),
    (("time_to_target_s",), "time to target"),
    (("working_memory_bytes",), "working memory"),
    (("objective",), "objective"),
)
_ENGINE_NOTE = (
    "Within a group of rows the method is the same: the same net and weights, pictures, noise, objective, seeds and "
    "threads. A ratio in this table is therefore the merit of an engine, and of the work put into its program here; "
    "below 1× it takes less than Gluon. Every other speed-up in this report relates cells of one engine. Working "
    "memory is counted above what an engine's own import takes."
)


def engines(analysed: Analysed) -> Table | None:
    """The reference engine against its peers: a row per cell and engine; None where no cell was measured by two."""
    found = analysed.engines
    if found.empty:
        return None
    extras = [name for name in ("style_name", "dtype", "device") if found[name].nunique() > 1]
    order, rows = ["task", "size", "method", "batch", "style_name", "dtype", "device"], []
    for key, group in found.groupby(order, sort=True):
        setting = dict(zip(order, key))
        for engine in sorted(group["engine"].unique(), key=lambda name: (name != REFERENCE, name)):
            by_metric = {row["metric"]: row for row in group[group["engine"] == engine].to_dict("records")}
            chosen = [next(filter(None, map(by_metric.get, names)), None) for names, _ in _ENGINE_HEADS]
            what = analysed.methods.title(setting["method"]) + (f", batch {key[3]}" if key[3] != 1 else "")
            rows.append([
                Entry(what, f"{task_name(setting['task'])} {setting['size']}"),
                *(clean(setting[name], 40) for name in extras), engine_name(engine), *map(_engine_entry, chosen),
            ])  # fmt: skip
    heads = (Entry(head, metric=names[0]) for names, head in _ENGINE_HEADS)
    columns = ["method", *map(head_of, extras), "engine", *heads]
    numbers = range(len(columns) - len(_ENGINE_HEADS), len(columns))
    return table("peers", "Gluon against other engines", columns, rows, numbers, _ENGINE_NOTE)


def _engine_entry(row: Mapping[str, Any] | None) -> Entry:
    """A value, and below it its ratio to the reference engine's."""
    if row is None:
        return Entry(MISSING, tone="missing")
    value, ratio = float(row["value"]), float(row["ratio"])
    small = ""
    if row["engine"] != REFERENCE and not math.isnan(ratio):
        brackets = interval(ratio, float(row["low"]), float(row["high"]), "x") if row["low"] != row["high"] else ""
        small = f"{quantity(ratio, 'x')} Gluon's {brackets}".strip()
    label = metrics.find(row["metric"]).label
    return Entry(quantity(value, row["unit"]), small, f"{label}, n = {int(row['n'])}", row["metric"], order=value)


# ------------------------------------------------------------------------------------------------ growth, the machine


def growth(analysed: Analysed) -> Table | None:
    """How each cost grows from size to size, and the exponent where its interval says anything; None with one size."""
    kept = [(series, rows, law) for series, rows, law in analysed.laws if law.sizes > 1]
    if not kept:
        return None
    rows = []
    for series, found, law in kept:
        names = [task_name(series["task"]), analysed.methods.title(series["method"])]
        names += [setting_name(name, series[name]) for name in analysed.several]
        pairs = list(zip(found.to_dict("records"), found.to_dict("records")[1:]))
        steps = [f"{significant(b['value'] / a['value'])}× ({a['size']} to {b['size']})" for a, b in pairs]
        exponent = Entry(MISSING, tone="missing")
        if law.certain:
            brackets = interval(law.exponent, law.low, law.high, "x")
            exponent = Entry(significant(law.exponent), brackets, order=law.exponent)
        label = metrics.find(series["metric"]).label
        rows.append([Entry(label, metric=series["metric"]), *names, ", ".join(steps), exponent])
    columns = ["cost", "task", "method", *map(head_of, analysed.several), "from size to size", "exponent"]
    note = (
        "Exponent: cost = factor × pixels ^ exponent, so that 1 means that twice the pixels cost twice as much. It is "
        "shown only where its 95 % interval is narrower than 0.5. Twice the side is four times the pixels, which is 4× "
        "at exponent 1."
    )
    return table("growth", "How cost grows with the picture", columns, rows, (len(columns) - 1,), note)


def ceilings(analysed: Analysed) -> Table | None:
    """The peaks of the machine; None where they are not known."""
    peaks = analysed.peaks
    if peaks is None:
        return None
    rows = [
        [f"arithmetic, {clean(name, 20)}", Entry(f"{significant(value / 1e9)} billion operations/s", order=value)]
        for name, value in peaks.flops_per_s.items()
    ]
    rows.append(["memory, a copy", f"{significant(peaks.bytes_per_s / 1e9)} GB/s"])
    note = (
        "A large matrix product and a copy, through the engine: no method can be faster whose operations each read "
        "their input from memory and write their result to it."
    )
    return table("ceilings", "The limits of this machine", ["limit", "measured"], rows, (1,), note)


# ------------------------------------------------------------------------------------------------------------ trouble


def troubled_cells(analysed: Analysed) -> Table | None:
    """The cells that failed or were skipped, and the optimisations that ended above a target; None without any."""
    run, methods = analysed.run, analysed.methods
    lowest = run.curves.groupby(list(CELL_COLUMNS))["objective"].min().to_dict()
    extras = [name for name in ("style_name", "engine", "dtype", "device") if run.cells[name].nunique() > 1]
    seeds: dict[tuple[str, ...], list[str]] = {}
    for record in run.records:
        status, reason = str(record.get("status")), clean(record.get("reason") or "")
        if status == OK:
            identity = tuple(record.get(name) for name in CELL_COLUMNS)
            status, reason = NOT_REACHED, _stopped_short(record, lowest.get(identity, math.inf), analysed)
            if not reason:
                continue
        cell = (task_name(str(record.get("task"))), str(record.get("size")), methods.title(str(record.get("method"))))
        cell += tuple(setting_name(name, str(record.get(name) or "")) for name in extras)
        seeds.setdefault((*cell, str(record.get("batch")), status, reason), []).append(str(record.get("seed")))
    if not seeds:
        return None
    rows = [
        [*cell, batch, ", ".join(found), Entry(status_name(status), tone="missing"), reason]
        for (*cell, batch, status, reason), found in seeds.items()
    ]
    columns = ["task", "size", "method", *map(head_of, extras), "batch", "seed", "status", "reason"]
    numbers = (1, columns.index("batch"), columns.index("seed"))
    return table("troubled", "Failed, skipped and time-limited cells", columns, rows, numbers)


def _stopped_short(record: Mapping[str, Any], lowest: float, analysed: Analysed) -> str:
    """Why an optimisation ended above a target; empty for one that reached all of them, and for a generator."""
    targets = record.get("targets")
    if record.get("kind") != OPTIMISE or not isinstance(targets, Mapping):
        return ""
    short = run_facts.get(record, "info", "not_reached")  # of any photo; older runs do not say
    if not isinstance(short, list):
        short = [name for name, value in sorted(targets.items()) if lowest > value]
    short = [analysed.methods.title(str(name)) for name in short]
    if not short:
        return ""
    stopped = clean(run_facts.get(record, "info", "stopped_because") or "its limit")
    return f"ended above the objective of the {listing(short)}: {stopped}"


