"""What a run says of itself, as tables: each cell's command, machine and software, settings and inputs, sessions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.analysis.analysed import Analysed
from bench.report import repeat, run_facts
from bench.report.tables import Table, table
from bench.report.wording import cell_label, status_name
from bench.store.reader import GROUP_COLUMNS


def commands(analysed: Analysed) -> Table | None:
    """The command that measures each cell again, its seeds taken together; None where no cell is on record."""
    run = analysed.run
    groups: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for record in run.records:
        groups.setdefault(tuple(record.get(name) for name in GROUP_COLUMNS), record)
    rows = [
        [cell_label(record, analysed.methods), status_name(str(record.get("status"))),
         repeat.command(run.meta, repeat.needed(record, run.records))]
        for record in groups.values()
        if all(name in record for name in GROUP_COLUMNS)
    ]  # fmt: skip
    return table("commands", "The command of each cell", ["cell", "status", "command"], rows, ()) if rows else None


def of_run(analysed: Analysed) -> list[Table]:
    """Everything else that run.json says."""
    meta = analysed.run.meta
    parts = (
        ("inputs", "Settings, pictures, weights and nets",
         [(meta.get(part), "" if part == "inputs" else part) for part in ("inputs", "settings", "budget", "seeds",
                                                                          "plan_fingerprint")]),
        ("environment", "Machine and software",
         [(meta.get("environment") or {}, ""), (meta.get("fingerprint") or {}, "fingerprint")]),
        ("sessions", "Sessions", [(meta.get("sessions") or [], "session")]),
    )  # fmt: skip
    found = [(name, title, [list(pair) for value, prefix in each for pair in run_facts.flat(value, prefix)])
             for name, title, each in parts]  # fmt: skip
    return [table(name, title, ["what", "value"], rows, ()) for name, title, rows in found if rows]
