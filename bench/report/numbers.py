"""Where each number of a report comes from: its definition, its samples, its lines in the files, its command."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.analysis import metrics
from bench.analysis import summary as analysis
from bench.analysis.analysed import Analysed
from bench.plan.cells import CELL_COLUMNS, OPTIMISE
from bench.report import repeat
from bench.report.notes import Note, Notes, texts_of
from bench.report.wording import cell_label, metric_label, status_name, with_interval
from bench.store.machines import AT
from bench.store.reader import GROUP_COLUMNS
from nst_gluon.pages.wording import clean, listing, quantity

BREAK_EVEN = "break_even"

Row = Mapping[str, Any]
Key = tuple[Any, ...]
RATIOS = {
    "memory_ratio": ("peak_memory_bytes", "peak_memory_bytes"),
    "working_memory_ratio": ("working_memory_bytes", "working_memory_bytes"),
    analysis.SPEEDUP_500: ("iteration_s", "latency_s"),
}
MOST_RANGES = 4


@dataclass(frozen=True)
class Source:
    """Samples that a number rests on: how many, their spread, and their lines in a file of the run."""

    what: str
    n: int
    least: str
    median: str
    most: str
    where: str

    def __str__(self) -> str:
        spread = f", least {self.least}, median {self.median}, most {self.most}" if self.n > 1 else f", {self.median}"
        return f"{self.what}: n = {self.n}{spread if self.median else ''}; {self.where}"


@dataclass(frozen=True)
class Number:
    """One row of the summary, with everything that a reader may ask of it. ``id`` is fit for a page."""

    id: str
    metric: str
    label: str
    cell: str
    value: str
    definition: str
    sources: tuple[Source, ...]
    reason: str
    command: str
    notes: tuple[Note, ...]


@dataclass(frozen=True)
class Book:
    """All numbers of a run by their place in the summary, and the notes on them."""

    numbers: Mapping[Key, Number]
    notes: tuple[Note, ...]

    def find(self, row: Row | None) -> Number | None:
        return None if row is None else self.numbers.get(key_of(row))


NOTHING = Book({}, ())


def key_of(row: Row) -> Key:
    """What names a row of the summary."""
    return tuple(row[name] for name in (*GROUP_COLUMNS, "metric"))


def collect(analysed: Analysed) -> Book:
    """The numbers of every row of a run's summary."""
    reader = _Reader(analysed)
    notes = Notes()
    numbers = {}
    for index, row in enumerate(analysed.summary.to_dict("records")):
        involved = reader.cells_of(row)
        numbers[key_of(row)] = Number(
            id=f"number-{index}",
            metric=metrics.split(str(row["metric"]))[0],
            label=metric_label(str(row["metric"]), analysed.methods),
            cell=cell_label(row, analysed.methods),
            value=with_interval(row["value"], row["low"], row["high"], row["unit"], row["status"]),
            definition=metrics.find(str(row["metric"])).text,
            sources=tuple(reader.sources(row)),
            reason=_reason(row, involved),
            command=repeat.command(analysed.run.meta, reader.needed(row, involved)),
            notes=notes.mark(texts_of(row, analysed, involved)),
        )
    return Book(numbers, tuple(notes.values()))


def _reason(row: Row, records: Sequence[Mapping[str, Any]]) -> str:
    """Why there is no value, or only a bound; empty where all went well."""
    failed = [record for record in records if record.get("status") != analysis.OK]
    if row["status"] == analysis.OK or not failed:
        return ""
    texts = (f"{status_name(str(record.get('status')))}: {clean(record.get('reason') or '')}" for record in failed)
    return "; ".join(dict.fromkeys(text.rstrip(": ") for text in texts))


class _Reader:
    """The run's cells, counted samples and lines, looked up by the rows of the summary."""

    def __init__(self, analysed: Analysed):
        run = analysed.run
        self.records, self.methods = run.records, analysed.methods
        counted = analysis.with_status(run.samples, run.cells)
        self.groups = dict(iter(counted.groupby([*GROUP_COLUMNS, "metric"], sort=False)))
        self.lines = line_numbers(run.texts["samples.csv"], (*CELL_COLUMNS, "metric"))
        self.curves = line_numbers(run.texts["curves.csv"], CELL_COLUMNS)
        followed = run.curves[list(CELL_COLUMNS)].drop_duplicates()
        self.followed = [tuple(map(str, cell)) for cell in followed.itertuples(index=False, name=None)]
        self.optimiser = analysed.methods.baseline

    def cells_of(self, row: Row) -> list[Mapping[str, Any]]:
        """The records of the cells that a row rests on: its own, and the optimisation's for what relates the two."""
        methods = {(row["method"], row["batch"])}
        family, aimed = metrics.split(str(row["metric"]))
        if family in (*RATIOS, BREAK_EVEN) or metrics.find(family).unit == "x":
            methods.add((aimed or self.optimiser, 1))
        return [
            record
            for record in self.records
            if (record.get("method"), record.get("batch")) in methods
            and all(record.get(name) == row[name] for name in analysis.SETTING)
        ]

    def needed(self, row: Row, involved: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """The cells to measure for a row: the optimisation comes with the nets that it aims at."""
        found: dict[str, Mapping[str, Any]] = {}
        for record in involved:
            cells = repeat.needed(record, self.records)
            if row["method"] in self.methods.nets and record.get("kind") == OPTIMISE:
                cells = [cell for cell in cells if cell["method"] in (row["method"], record["method"])]
            found |= {str(cell["key"]): cell for cell in cells if "key" in cell}
        return list(found.values())

    def sources(self, row: Row) -> Iterable[Source]:
        metric = str(row["metric"])
        family, aimed = metrics.split(metric)
        clock = "call_s" if family.endswith(analysis.WHOLE_CALL) or family == BREAK_EVEN else "latency_s"
        family = family.removesuffix(analysis.WHOLE_CALL)
        if family in RATIOS:
            theirs, own = RATIOS[family]
            yield from self._samples({**row, "method": self.optimiser, "batch": 1}, theirs)
            yield from self._samples(row, clock if own == "latency_s" else own)
        elif family in (analysis.SPEEDUP_EQUAL, "speedup_over_variant", BREAK_EVEN):
            yield from self._curve({**row, "method": aimed or self.optimiser, "batch": 1})
            yield from self._samples(row, "objective")
            yield from self._samples(row, clock)
        elif family == analysis.SPEEDUP_OF_VARIANT:
            yield from self._curve({**row, "method": self.optimiser, "batch": 1})
            yield from self._curve(row)
        elif family in ("time_to_target_s", "iterations_to_target"):
            yield from self._curve(row)
        elif family == "target":
            yield from self._samples({**row, "method": aimed}, "objective")
        else:
            yield from self._samples(row, "latency_s" if family == "throughput_images_per_s" else metric)

    def _samples(self, row: Row, metric: str) -> Iterable[Source]:
        group = self.groups.get((*(row[name] for name in GROUP_COLUMNS), metric))
        if group is None:
            return
        unit, values = str(group["unit"].iloc[0]), group["value"]
        cells = group[list(CELL_COLUMNS)].drop_duplicates().itertuples(index=False, name=None)
        lines = [line for cell in cells for line in _of_cell(self.lines, cell, metric)]
        what = f"{self.methods.title(row['method'])}, {metric_label(metric, self.methods)}"
        spread = (quantity(float(value), unit) for value in (values.min(), values.median(), values.max()))
        yield Source(what, len(values), *spread, f"samples.csv, {ranges(lines)}")

    def _curve(self, row: Row) -> Iterable[Source]:
        wanted = tuple(str(row[name]) for name in GROUP_COLUMNS)
        cells = [cell for cell in self.followed if cell[:-1] == wanted]
        found = {cell: _of_cell(self.curves, cell) for cell in cells}
        if found:
            count = sum(map(len, found.values()))
            what = f"{self.methods.title(row['method'])}, evaluations of the objective, one curve per seed"
            lines = [line for each in found.values() for line in each]
            yield Source(what, len(found), "", "", "", f"{count} points in curves.csv, {ranges(lines)}")


def _of_cell(lines: Mapping[tuple[str, ...], list[int]], cell: Iterable[Any], *more: str) -> list[int]:
    """The lines of a cell; of a run on several kinds of machines the file has devices without the machines' labels."""
    named = dict(zip(CELL_COLUMNS, map(str, cell)))
    written = {**named, "device": named["device"].partition(AT)[0]}
    return next((found for key in (named, written) if (found := lines.get((*key.values(), *more)))), [])


def line_numbers(text: str, columns: Sequence[str]) -> dict[tuple[str, ...], list[int]]:
    """For each combination of texts in ``columns`` of a CSV text, the lines (from 1) that its rows begin at."""
    reader = csv.reader(io.StringIO(text))
    header = next(reader, [])
    places = [header.index(name) for name in columns] if set(columns) <= set(header) else []
    found: dict[tuple[str, ...], list[int]] = {}
    begins = reader.line_num + 1
    for row in reader:
        if places and len(row) == len(header):
            found.setdefault(tuple(row[place] for place in places), []).append(begins)
        begins = reader.line_num + 1
    return found


def ranges(lines: Iterable[int]) -> str:
    """ "line 7", "lines 4 to 85", "lines 4 to 85 and 203 to 240"; the first MOST_RANGES of many."""
    spans: list[list[int]] = []
    for line in sorted(lines):
        if spans and line == spans[-1][1] + 1:
            spans[-1][1] = line
        else:
            spans.append([line, line])
    texts = [f"{first}" if first == last else f"{first} to {last}" for first, last in spans]
    if len(texts) > MOST_RANGES:
        texts = [*texts[: MOST_RANGES - 1], f"{len(texts) - MOST_RANGES + 1} more pieces"]
    single = len(spans) == 1 and spans[0][0] == spans[0][1]
    return f"line{'' if single else 's'} {listing(texts)}"
