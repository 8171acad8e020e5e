"""What a user means by BASELINE and CANDIDATE: something that was measured, or a revision that can be.

Measured: a run directory, a saved baseline, or the JSON of pytest-benchmark. To be measured: a git revision, or a
folder that holds the suite ("." is the working tree as it is).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bench.gate import pytest_benchmark, revisions
from bench.gate.rounds import cell_name
from bench.gate.verdicts import GATED_METRICS
from bench.plan.cells import CELL_COLUMNS
from bench.store import baselines, run_folder
from bench.store.reader import read_run
from nst_gluon.system.errors import UserError, nearest

POOL_COLUMNS = ("cell", "metric", "unit", "value")


@dataclass(frozen=True)
class Measured:
    """Samples of a finished run: ``samples`` has POOL_COLUMNS, ``failed`` status and reason by cell name.

    ``metrics`` are those that can be trusted enough to be compared unless others are asked for.
    """

    label: str
    fingerprint: Mapping[str, Any]
    samples: pd.DataFrame
    failed: Mapping[str, tuple[str, str]]
    revision: str | None = None
    metrics: tuple[str, ...] = GATED_METRICS


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


def parse(text: str, argument: str, results: Path, repository: Path) -> Measured | Named | Revision:
    """What ``text`` means; raises a UserError that says what could be meant where it means nothing."""
    path = Path(text)
    if (path / run_folder.RUN).is_file():
        return from_run(path, argument)
    if path.is_file():
        return from_kernels(path, argument)
    if text in baselines.names(results):
        return Named(text)
    if path.is_dir() and revisions.is_checkout(path):
        return Revision(str(path), None, path.resolve())
    revision = revisions.resolve(text, repository)
    if revision:
        return Revision(f"{text} ({revision[:9]})" if not revision.startswith(text) else text[:12], revision)
    if text == "latest" or (results / text / run_folder.RUN).is_file():
        return from_run(run_folder.find_run(text, results, argument), argument)
    saved = baselines.names(results)
    near = nearest(text, [*saved, *(run["id"] for run in run_folder.list_runs(results)), "latest"])
    raise UserError(
        f"{argument}: {text!r} is no run directory, baseline ({', '.join(saved) or 'none'}), pytest-benchmark JSON, "
        f"git revision or checkout; {near}".rstrip("; ")
    )


def from_run(path: Path, argument: str) -> Measured:
    """A run directory's samples, by cell; the seeds of a cell are taken together."""
    if run_folder.read_run(path, argument).get("machines"):
        raise UserError(f"{argument}: {path} is several machines side by side; compare the runs that it is made of")
    run = read_run(path)
    samples = run.samples
    names = {key: cell_name(dict(zip(CELL_COLUMNS, key))) for key in map(tuple, _cells(samples).to_numpy())}
    table = pd.DataFrame({
        "cell": [names[key] for key in map(tuple, _columns(samples).to_numpy())],
        "metric": samples["metric"], "unit": samples["unit"], "value": samples["value"],
    }, columns=list(POOL_COLUMNS))  # fmt: skip
    failed = {cell_name(r): (r["status"], r["reason"]) for r in run.records if r["status"] not in ("ok", "skipped")}
    git = (run.meta.get("environment") or {}).get("git") or {}
    return Measured(run.meta["id"], run.meta.get("fingerprint", {}), table, failed, git.get("revision"))


def _columns(samples: pd.DataFrame) -> pd.DataFrame:
    return samples[list(CELL_COLUMNS)]


def _cells(samples: pd.DataFrame) -> pd.DataFrame:
    return _columns(samples).drop_duplicates()


def from_kernels(path: Path, argument: str) -> Measured:
    """The samples of a pytest-benchmark JSON.

    All its benchmarks share one process, whose allocator keeps what it likes: their working memory is not compared.
    """
    if not pytest_benchmark.is_kernels(path):
        raise UserError(f"{argument}: {path} is neither a run directory nor a JSON of pytest-benchmark")
    meta, samples = pytest_benchmark.read(path, argument)
    kept = ("latency_s", "peak_memory_bytes")
    return Measured(path.name, meta["fingerprint"], samples, {}, meta.get("revision"), kept)


def difference(baseline: Mapping[str, Any], candidate: Mapping[str, Any]) -> str | None:
    """What keeps two fingerprints from being compared, in a few words; None if nothing does.

    The precisions are not looked at: each cell names its own.
    """
    for name in dict.fromkeys([*baseline, *candidate]):
        if name != "dtypes" and baseline.get(name) != candidate.get(name):
            return f"{name} is {baseline.get(name)!r} there and {candidate.get(name)!r} here"
    return None
