"""A run directory as tables: what was committed, typed by column, with pandas alone. Imports no engine."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from bench.plan import older
from bench.plan.cells import CELL_COLUMNS
from bench.store import machines, run_folder
from nst_gluon.methods import Facts
from nst_gluon.objective.loss_terms import TERMS
from nst_gluon.system.errors import UserError

GROUP_COLUMNS = CELL_COLUMNS[:-1]
SUMMARY_COLUMNS = (*GROUP_COLUMNS, "metric", "unit", "value", "low", "high", "n", "status")
CELL_TABLE_COLUMNS = (*CELL_COLUMNS, "kind", "status", "reason")

_INTEGERS = ("size", "batch", "seed", "n")
_NUMBERS = ("value", "low", "high", "seconds", "iteration", *TERMS)


@dataclass(frozen=True)
class RunData:
    """What a run wrote: ``meta`` is run.json, ``records`` the last record of each cell, in the order of their ends.

    ``cells`` is the same as a table (CELL_TABLE_COLUMNS); ``samples`` and ``curves`` are the CSV files, and ``texts``
    what they were read from, by file name.
    """

    directory: Path
    meta: dict[str, Any]
    records: tuple[dict[str, Any], ...]
    cells: pd.DataFrame
    samples: pd.DataFrame
    curves: pd.DataFrame
    texts: Mapping[str, str] = field(default_factory=dict)

    @property
    def methods(self) -> dict[str, Facts]:
        """What is known of each method of the run, by name, in the plan's order."""
        return older.facts(self.meta, [*(self.meta.get("cells") or ()), *self.records])


def read_run(run_dir: str | Path) -> RunData:
    """Everything that a run committed. Raises UserError when the folder is no run that this suite reads."""
    directory = Path(run_dir)
    meta = run_folder.read_run(directory)
    committed, texts = run_folder.read_committed(directory)
    there = {
        tuple(str(record.get(name)) for name in CELL_COLUMNS): label
        for record in committed if (label := machines.label(record, meta))
    }  # fmt: skip
    records = tuple(machines.labelled(record, meta) for record in committed)
    fields = ([record.get(name) for name in CELL_TABLE_COLUMNS] for record in records)
    cells = pd.DataFrame(
        [["" if value is None else str(value) for value in row] for row in fields],
        columns=list(CELL_TABLE_COLUMNS),
        dtype=str,
    )
    samples = _side_by_side(parse_table(texts["samples.csv"], run_folder.SAMPLE_COLUMNS, "samples.csv"), there)
    curves = _side_by_side(parse_table(texts["curves.csv"], run_folder.CURVE_COLUMNS, "curves.csv"), there)
    return RunData(
        directory=directory,
        meta=meta,
        records=records,
        cells=_typed(cells),
        samples=samples.dropna(subset=["value"]).reset_index(drop=True),
        curves=curves.dropna(subset=["seconds", "objective"]).reset_index(drop=True),
        texts=texts,
    )


def read_summary(run_dir: Path) -> pd.DataFrame | None:
    """The summary that a run's report left (SUMMARY_COLUMNS), None without one. Raises UserError if it is damaged."""
    try:
        text = (run_dir / "summary.csv").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    table = parse_table(text, tuple(name for name in SUMMARY_COLUMNS if name != "style_name"), "summary.csv")
    if "style_name" not in table:  # older runs have one style and no column for it
        table["style_name"] = ""
    return table


def _side_by_side(table: pd.DataFrame, there: Mapping[tuple[str, ...], str]) -> pd.DataFrame:
    """The table with each cell's machine in its device; ``there``: labels by the cell's identity, may be empty."""
    if there:
        identities = table[list(CELL_COLUMNS)].astype(str).itertuples(index=False, name=None)
        labels = [there.get(identity) for identity in identities]
        table["device"] = [f"{device}{machines.AT}{label}" if label else device
                           for device, label in zip(table["device"], labels)]  # fmt: skip
    return table


def parse_table(text: str, columns: tuple[str, ...], name: str = "table") -> pd.DataFrame:
    """A CSV text with a header and at least ``columns``, typed by column name; an empty text is an empty table.

    A row whose size, batch or seed is no number is left out. Text stays text: a method called "NA" is no gap.
    Raises UserError, naming the file ``name``, where a column is missing or the text is no table at all.
    """
    if not text.strip():
        return _typed(pd.DataFrame({name: pd.Series(dtype=str) for name in columns}))
    try:
        table = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False, on_bad_lines="skip")
    except ValueError as error:
        raise UserError(f"RUN: {name} is damaged ({' '.join(str(error).split())})") from None
    for column in table.columns.intersection(("photo", "style_name")):
        table[column] = table[column].map(cache(run_folder.unescaped))  # a function: of no rows a dict makes numbers
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise UserError(f"RUN: {name} is damaged (it has no column {missing[0]!r})")
    return _typed(table)


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    for name in (*_INTEGERS, *_NUMBERS):
        if name in table.columns:
            table[name] = pd.to_numeric(table[name], errors="coerce")
    whole = [name for name in _INTEGERS if name in table.columns]
    for name in whole:
        table[name] = table[name].where(table[name].abs() < 1 << 53)
    return table.dropna(subset=whole).reset_index(drop=True).astype(dict.fromkeys(whole, int))
