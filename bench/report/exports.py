"""A run's numbers for other tools: github-action-benchmark, Bencher, and Parquet for data frames.

https://github.com/benchmark-action/github-action-benchmark: ``tool: customSmallerIsBetter``.
https://bencher.dev/docs/reference/bencher-metric-format: ``--adapter json``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from bench.analysis import metrics
from bench.store.reader import read_run, read_summary
from nst_gluon.system.errors import UserError
from nst_gluon.system.files import write_atomically

# What is exported is what the gate watches. Less of each is better, which both tools are told once for all.
METRICS = metrics.named(metrics.GATE)
USUAL = {"engine": "gluon", "batch": 1, "dtype": "float32", "device": "cpu"}


def benchmark_name(row: pd.Series) -> str:
    """A cell's name: method, task, style (in a run of several) and size, and what is not usual about it."""
    unusual = [f"batch {row.batch}" if name == "batch" else str(row[name]) for name, usual in USUAL.items()
               if row[name] != usual]  # fmt: skip
    style = [row["style_name"]] if row["style_name"] else []
    return " ".join([row.method, row.task, *style, str(row["size"]), *unusual])


def _exported(summary: pd.DataFrame) -> list[pd.Series]:
    found = summary[summary.metric.isin(METRICS) & summary.value.notna() & (summary.status == "ok")]
    return [row for _, row in found.iterrows()]


def github_benchmark(summary: pd.DataFrame) -> list[dict[str, Any]]:
    """Entries of github-action-benchmark's custom JSON; ``range`` is the 95 % interval of the median."""
    entries = []
    for row in _exported(summary):
        entry = {"name": f"{benchmark_name(row)}: {row.metric}", "unit": row.unit, "value": float(row.value)}
        if pd.notna(row.low) and pd.notna(row.high):
            entry["range"] = f"{row.low:.6g} to {row.high:.6g}"
        entries.append({**entry, "extra": f"n = {int(row.n)}"})
    return entries


def bencher(summary: pd.DataFrame) -> dict[str, dict[str, dict[str, float]]]:
    """Bencher's metric format: measures by benchmark, with the ends of the 95 % interval where there is one."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for row in _exported(summary):
        measure = {"value": float(row.value)}
        if pd.notna(row.low) and pd.notna(row.high):
            measure.update(lower_value=float(row.low), upper_value=float(row.high))
        found.setdefault(benchmark_name(row), {})[row.metric.replace("_", "-")] = measure
    return found


def _json(path: Path, make: Callable[[pd.DataFrame], Any], name: str) -> Path:
    summary = read_summary(path)
    if summary is None:
        raise UserError(f"--format: {path} has no summary yet; make one with python -m bench report {path}")
    content = make(summary)
    return write_atomically(path / name, (json.dumps(content, indent=2) + "\n"))


def _parquet(path: Path) -> Path:
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise UserError("--format: parquet needs pyarrow: python -m pip install pyarrow") from None
    return write_atomically(path / "samples.parquet", read_run(path).samples.to_parquet(index=False))


FORMATS: dict[str, Callable[[Path], Path]] = {
    "github-benchmark": lambda path: _json(path, github_benchmark, "github-benchmark.json"),
    "bmf": lambda path: _json(path, bencher, "bmf.json"),
    "parquet": _parquet,
}


def write(path: Path, name: str) -> Path:
    """Write a run, whose summary is there, in a format of FORMATS into its folder; the file's path."""
    return FORMATS[name](path)
