"""A run read whole, to be joined with others; and whether two of them can be. Imports no engine and no pandas."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.plan.budgets import Budget
from bench.plan.cells import CELL_COLUMNS, Cell, Settings, use_of
from bench.store import run_folder
from nst_gluon.system.errors import UserError

ARGUMENT = "DIR"
# Judged by the hash of what they name, and by the machine's fingerprint, not by what the run was told.
BY_IDENTITY = ("style", "content", "other_styles", "other_contents", "weights", "nets", "methods", "engine_pythons",
               "threads")  # fmt: skip


@dataclass(frozen=True)
class Finished:
    """One cell's result: its line of cells.jsonl without ``rows``, and its rows of both tables as they were read."""

    cell: Cell
    record: dict[str, Any]
    samples: tuple[tuple[str, ...], ...]
    curve: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Part:
    """A run to be merged: run.json, its cells as planned, and those that are finished. ``machine`` is its label."""

    path: Path
    run: dict[str, Any]
    planned: tuple[Cell, ...]
    finished: tuple[Finished, ...]
    machine: str = ""

    @property
    def id(self) -> str:
        """The run's own name, which its folder may have lost on the way here."""
        return str(self.run.get("id") or self.path.name)

    @property
    def fingerprint(self) -> dict[str, Any]:
        return self.run.get("fingerprint") or {}


# ---------------------------------------------------------------------------------------------------- reading


def read(path: Path) -> Part:
    """A run directory. Raises UserError if it is none, is damaged, or cannot be read."""
    run = run_folder.read_run(path, ARGUMENT)
    if run.get("machines"):
        raise UserError(
            f"{ARGUMENT}: {path} is several machines side by side already; merge the runs that it is made of: "
            f"{', '.join(part['id'] for part in run.get('merged_from') or ()) or 'none, a cluster measured it'}"
        )
    try:
        records, texts = run_folder.read_committed(path)
        tables = {name: _rows(name, run_folder.unescaped(text)) for name, text in texts.items()}
        finished = tuple(_finished(record, tables) for record in records)
        planned = tuple(Cell.from_dict(fields) for fields in run.get("cells") or ())
    except OSError as error:
        raise UserError(f"{ARGUMENT}: cannot read {path} ({(error.strerror or str(error)).lower()})") from None
    except (LookupError, TypeError, ValueError, AttributeError, csv.Error) as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"{ARGUMENT}: {path} is damaged ({said}); measure it again") from None
    return Part(path, run, planned or tuple(done.cell for done in finished), finished)


def _rows(name: str, text: str) -> dict[tuple[str, ...], list[tuple[str, ...]]]:
    """The rows of a table by the cell they belong to, without the cell's columns."""
    header, *rows = list(csv.reader(io.StringIO(text)))
    for number, row in enumerate(rows, 2):
        if len(row) != len(header):
            raise ValueError(f"row {number} of {name} has {len(row)} fields, not {len(header)}")
    columns = [header.index(name) for name in CELL_COLUMNS]
    found: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for row in rows:
        rest = tuple(text for index, text in enumerate(row) if index not in columns)
        found.setdefault(tuple(row[index] for index in columns), []).append(rest)
    return found


def _finished(record: Mapping[str, Any], tables: Mapping[str, Mapping]) -> Finished:
    cell = Cell.from_dict(record)
    identity = tuple(str(value) for value in cell.columns().values())
    rows = {name: tuple(table.get(identity, ())) for name, table in tables.items()}
    plain = {name: value for name, value in record.items() if name != "rows"}
    for *_, value in rows["samples.csv"]:
        float(value)
    return Finished(cell, plain, rows["samples.csv"], rows["curves.csv"])


# --------------------------------------------------------------------------------------------------- checking


def machine_difference(a: Mapping[str, Any], b: Mapping[str, Any]) -> str | None:
    """The field in which two fingerprints are of different machines; None if they are of one.

    Precisions are no part of a machine; a run that used no GPU says nothing of which there is.
    """
    for name in dict.fromkeys((*a, *b)):
        if name == "dtypes" or (name == "gpu" and None in (a.get(name), b.get(name))):
            continue
        if a.get(name) != b.get(name):
            return name
    return None


def one_machine(fingerprints: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The fingerprint of a run that did on one machine all that these did."""
    joined: dict[str, Any] = {}
    for fingerprint in fingerprints:
        for name, value in fingerprint.items():
            if name == "dtypes":
                value = sorted({*joined.get(name, ()), *value})
            joined[name] = joined.get(name) if value is None else value
    return joined


def by_machine(runs: Iterable[Any], joint: str) -> dict[str, list[Any]]:
    """Runs (with a ``fingerprint``) by their machines, in the order given: machine<joint>1 for the first, and so on.

    A run that used no GPU fits either.
    """
    groups: list[list[Any]] = []
    for run in runs:
        for group in groups:
            if machine_difference(one_machine(one.fingerprint for one in group), run.fingerprint) is None:
                group.append(run)
                break
        else:
            groups.append([run])
    return {f"machine{joint}{number}": group for number, group in enumerate(groups, 1)}


def check_comparable(first: Part, other: Part) -> None:
    """Raise a UserError, naming what differs, if numbers of the two cannot stand in one table.

    Of what was measured, not of the machine: style, content, weights, nets, preset and budget.
    """
    for kind, mine, theirs in (
        ("settings", *(_with_defaults(Settings, part.run.get("settings")) for part in (first, other))),
        ("inputs", *(identities(part.run) for part in (first, other))),
        ("budget", *(_with_defaults(Budget, part.run.get("budget")) for part in (first, other))),
    ):
        for name in dict.fromkeys((*mine, *theirs)):
            if kind == "settings" and name in BY_IDENTITY:
                continue
            if name.startswith("nets.") and not (name in mine and name in theirs):
                continue
            if mine.get(name) != theirs.get(name):
                what = name if kind == "inputs" else f"{kind} ({name})"
                values = f"{short(theirs.get(name))} and {short(mine.get(name))}"
                raise UserError(
                    f"{ARGUMENT}: {other.path} has another {what} than {first.path} ({values}); merge runs of one and "
                    "the same measurement"
                )


def _with_defaults(kind: type, fields: Mapping[str, Any] | None) -> dict[str, Any]:
    """The fields of a dataclass as a run has them; those that it is too old to have are at their defaults."""
    defaults = {field.name: field.default for field in dataclasses.fields(kind)}
    known = {name: value for name, value in defaults.items() if value is not dataclasses.MISSING}
    return {**known, **(fields or {})}


def identities(run: Mapping[str, Any]) -> dict[str, Any]:
    """The hashes of what a run was made with; the name where there is no hash."""
    inputs, settings = run.get("inputs") or {}, run.get("settings") or {}
    pictures, weights = inputs.get("pictures") or {}, inputs.get("weights") or {}
    found = {name: (pictures.get(name) or {}).get("sha256", settings.get(name)) for name in ("style", "content")}
    found.update({name: (picture or {}).get("sha256") for name, picture in pictures.items()})
    found.update({f"{name}.{key}": value for name in ("methods", "engines")
                  for key, value in (inputs.get(name) or {}).items()})  # fmt: skip
    found["weights"] = weights.get("sha256", settings.get("weights"))
    found.update({f"nets.{use}": (net or {}).get("sha256") for use, net in (inputs.get("nets") or {}).items()})
    return found


def inputs_of(run: Mapping[str, Any]) -> dict[str, str]:
    """What decides the numbers of a run, apart from machine and code: hashes where there are any, else names."""
    settings = _with_defaults(Settings, run.get("settings"))
    chosen = {name: value for name, value in settings.items() if name not in BY_IDENTITY}
    return {name: _text(value) for name, value in {**chosen, **identities(run)}.items()}


def of_cell(inputs: Mapping[str, str], cell: Mapping[str, Any]) -> dict[str, str]:
    """Those of them that a cell depends on: all but the nets of others."""
    own = f"nets.{use_of(cell.get('style_name'), cell['method'], cell['task'])}"
    return {name: value for name, value in inputs.items() if not name.startswith("nets.") or name == own}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def short(value: Any) -> str:
    """A value of :func:`inputs_of` or of a setting for people."""
    text = _text(value)
    return text[:12] if re.fullmatch(r"[0-9a-f]{64}", text) else text
