"""What a user means by BASELINE and CANDIDATE: something that was measured, or a revision that can be.

Measured: a run directory, a saved baseline, or the JSON of pytest-benchmark. To be measured: a git revision, or a
folder that holds the suite or, for methods from outside, their repository ("." is the working tree as it is).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from bench.gate import pytest_benchmark, revisions
from bench.gate.rounds import cell_name
from bench.gate.verdicts import GATED_METRICS
from bench.machine.environment import AFTER, warnings_after
from bench.plan.cells import CELL_COLUMNS, OPTIMISE, Cell
from bench.store import baselines, run_folder
from bench.store.reader import read_run
from bench.store.whole_runs import inputs_of, of_cell
from nst_gluon.system.errors import UserError, nearest

CODE = ("methods.", "engines.")  # inputs that are code: what is compared may differ in them
THROUGHOUT = "the machine was busy"  # how the warning begins that is about the times of all cells


@dataclass(frozen=True)
class Measured:
    """Samples of a finished run: ``samples`` has pytest_benchmark.COLUMNS, ``failed`` status and reason by cell name.

    ``able``: the cells that were measured without a failure. ``metrics`` are those that can be trusted enough to be
    compared unless others are asked for. ``optimised`` are the cells whose method optimises. ``unsteady`` is what the
    run warned of that makes times too long, in one line each, and ``shaken`` has the cells that it is about. ``inputs``
    has what each cell was made with, by name, but for the code; empty where that is not on record.
    """

    label: str
    fingerprint: Mapping[str, Any]
    samples: pd.DataFrame
    failed: Mapping[str, tuple[str, str]]
    able: frozenset[str]
    revision: str | None = None
    metrics: tuple[str, ...] = GATED_METRICS
    optimised: frozenset[str] = frozenset()
    unsteady: tuple[str, ...] = ()
    shaken: frozenset[str] = frozenset()
    inputs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Named:
    """A saved baseline: which entry it is depends on the machine of the other side."""

    name: str


@dataclass(frozen=True)
class Revision:
    """A revision or, where ``revision`` is None, the working tree in ``folder``."""

    label: str
    revision: str | None
    folder: Path | None = None


def pair_of(
    baseline: str, candidate: str, results: Path, repository: Path, guests: bool = False
) -> list[Measured | Named | Revision]:
    """Both sides, as for :func:`parse`. Beside a revision, the name of a baseline that a branch has too is the branch.
    """
    pair = [
        parse(text, argument, results, repository, guests)
        for text, argument in ((baseline, "BASELINE"), (candidate, "CANDIDATE"))
    ]
    if any(isinstance(side, Revision) for side in pair):
        pair = [isinstance(side, Named) and _revision(side.name, repository) or side for side in pair]
    return pair


def parse(
    text: str, argument: str, results: Path, repository: Path, guests: bool = False
) -> Measured | Named | Revision:
    """What ``text`` means; raises a UserError that says what could be meant where it means nothing.

    ``guests``: methods of ``repository`` are compared, which is not the suite's.
    """
    if not text.strip():
        raise UserError(f"{argument}: empty; give a run, a baseline, a git revision or a folder")
    path = Path(text)
    if (path / run_folder.RUN).is_file():
        return from_run(path, argument)
    if path.is_file():
        return from_kernels(path, argument)
    if text in baselines.names(results):
        return Named(text)
    if path.is_dir() and (revisions.is_checkout(path) or (guests and revisions.top(path))):
        return Revision(str(path), None, revisions.top(path) if guests else path.resolve())
    missing, revision = "", None
    try:
        revision = _revision(text, repository)
    except revisions.NoGit as error:
        missing = f"{error}; "
    if revision:
        return revision
    if text == "latest" or (results / text / run_folder.RUN).is_file():
        return from_run(run_folder.find_run(text, results, argument), argument)
    if path.is_dir() and not guests and revisions.top(path):
        raise UserError(
            f"{argument}: {text!r} does not hold the suite; to compare a method of its own, name it with --method "
            "FILE.py:NAME"
        )
    saved = baselines.names(results)
    near = nearest(text, [*saved, *(run["id"] for run in run_folder.list_runs(results)), "latest"])
    raise UserError(
        f"{argument}: {text!r} is not a run directory, baseline ({', '.join(saved) or 'none'}), pytest-benchmark JSON, "
        f"git revision or checkout; {missing}{near}".rstrip("; ")
    )


def _revision(text: str, repository: Path) -> Revision | None:
    found = revisions.resolve(text, repository)
    if found is None:
        return None
    return Revision(text[:12] if found.startswith(text) else f"{text} ({found[:9]})", found)


def from_run(path: Path, argument: str) -> Measured:
    """A run directory's samples, by cell; the seeds of a cell are taken together. Planned cells that were not measured,
    because the run was interrupted, have failed.
    """
    if run_folder.read_run(path, argument).get("machines"):
        raise UserError(f"{argument}: {path} is several machines side by side; compare the runs that it is made of")
    run = read_run(path)
    samples = run.samples
    keys = list(samples[list(CELL_COLUMNS)].itertuples(index=False, name=None))
    names = {key: cell_name(dict(zip(CELL_COLUMNS, key))) for key in set(keys)}
    table = samples.assign(cell=[names[key] for key in keys])[list(pytest_benchmark.COLUMNS)]
    able = frozenset(cell_name(record) for record in run.records if record["status"] == "ok")
    failed = {
        cell_name(record): (record["status"], record.get("reason") or "")
        for record in run.records
        if record["status"] not in ("ok", "skipped")
    }
    planned = {cell_name(Cell.from_dict(cell).columns()) for cell in run.meta.get("cells") or ()}
    left = planned - {cell_name(record) for record in run.records}
    failed |= dict.fromkeys(sorted(left), ("not measured", "the run was interrupted"))
    unsteady = tuple(text for text in run.meta.get("warnings") or () if text.startswith((*AFTER, THROUGHOUT)))
    shaken = frozenset(cell_name(record) for record in run.records if warnings_after([record]))
    if unsteady and (not shaken or any(text.startswith(THROUGHOUT) for text in unsteady)):
        shaken = frozenset(names.values())
    inputs = {name: text for name, text in inputs_of(run.meta).items() if not name.startswith(CODE)}
    git = (run.meta.get("environment") or {}).get("git") or {}
    return Measured(
        label=run.meta.get("id") or path.name,
        fingerprint=run.meta.get("fingerprint") or {},
        samples=table[table["cell"].isin(able)],
        failed=failed,
        able=able,
        revision=git.get("revision"),
        optimised=frozenset(cell_name(record) for record in run.records if record.get("kind") == OPTIMISE),
        unsteady=unsteady,
        shaken=shaken,
        inputs={name: of_cell(inputs, dict(zip(CELL_COLUMNS, key))) for key, name in names.items()},
    )


def from_kernels(path: Path, argument: str) -> Measured:
    """The samples of a pytest-benchmark JSON.

    All its benchmarks share one process, whose allocator keeps what it likes: their working memory is not compared.
    """
    meta, samples = pytest_benchmark.read(path, argument)
    kept = ("latency_s", "peak_memory_bytes")
    return Measured(path.name, meta["fingerprint"], samples, {}, frozenset(samples["cell"]), meta.get("revision"), kept)
