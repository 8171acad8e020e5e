"""Where the numbers of a run are from: one machine or several side by side, one run or several merged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bench.report import run_facts
from bench.report.tables import Table, table
from bench.store.reader import RunData
from nst_gluon.pages.wording import clean

Meta = Mapping[str, Any]


def machine(meta: Meta) -> str:
    """One line: the machine, or each of several with the label that its devices bear."""
    return _each(meta, run_facts.machine)


def software(meta: Meta) -> str:
    """The engines and their versions, once if all machines have the same."""
    return _each(meta, run_facts.software)


def revision(meta: Meta) -> str:
    """The suite's revision, once if all machines have the same."""
    return _each(meta, run_facts.revision)


def _each(meta: Meta, describe: Callable[[Meta], str]) -> str:
    environments = run_facts.get(meta, "environment", "machines")
    if not isinstance(environments, Mapping) or not environments:
        return describe(meta)
    texts = {str(label): describe({**meta, "environment": found}) for label, found in environments.items()}
    if describe is not run_facts.machine and len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    return "; ".join(f"{clean(label, 20)}: {text or 'unknown'}" for label, text in texts.items())


def is_dirty(meta: Meta) -> bool:
    """Whether the suite's own code was changed, on any of the machines."""
    environments = run_facts.get(meta, "environment", "machines")
    each = environments.values() if isinstance(environments, Mapping) else [meta.get("environment")]
    return any(run_facts.get(found, "git", "dirty") for found in each)


def shard(meta: Meta) -> str:
    """What part of a larger plan a run is, as a sentence; empty for a whole run."""
    index, of = (run_facts.get(meta, "shard", name) for name in ("index", "of"))
    return f"This is part {index} of {of} of a larger plan; the other parts are not in this report." if of else ""


def planned(meta: Meta) -> int:
    """How many cells the largest plan has whose parts a run was merged from; 0 for any other run."""
    totals = (run_facts.get(entry, "shard", "total") for entry in meta.get("merged_from") or ())
    return max((total for total in totals if isinstance(total, int)), default=0)


def merged(run: RunData) -> Table | None:
    """The runs that this one was merged from; None if it was measured as it is."""
    origins = [entry for entry in run.meta.get("merged_from") or () if isinstance(entry, Mapping)]
    if not origins:
        return None
    rows = [
        [
            clean(entry.get("id"), 80),
            clean(entry.get("created") or ""),
            f"{entry.get('cells')} of {entry.get('planned')}",
            _part(entry),
            clean(entry.get("machine") or "", 40),
            run_facts.revision({"environment": {"git": entry.get("git")}}),
            run_facts.command(entry),
        ]
        for entry in origins
    ]
    columns = ["run", "begun", "cells", "part", "machine", "revision", "command"]
    used = [index for index in range(len(columns)) if any(row[index] for row in rows)]
    return table(
        "merged",
        "The runs that this one was merged from",
        [columns[index] for index in used],
        [[row[index] for index in used] for row in rows],
        (),
    )


def _part(entry: Meta) -> str:
    index, of = (run_facts.get(entry, "shard", name) for name in ("index", "of"))
    return f"{index} of {of}" if of else ""
