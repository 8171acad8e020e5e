"""The short table that ``bench run`` ends with, from summary.csv, without pandas."""

from __future__ import annotations

import csv
import math
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.run.progress import milliseconds

IDENTITY = ("style_name", "engine", "method", "task", "size", "batch", "dtype", "device")
HEADER = ("method", "task", "size", "time", "at equal loss", "memory", "objective")
OPTIONAL = ("style_name", "engine", "batch", "dtype", "device")  # shown where a run has several


def read_summary(path: Path) -> list[dict[str, Any]]:
    """The rows of summary.csv, numbers as numbers (None where there is none); [] without the file."""
    if not path.is_file():
        return []
    with open(path, newline="", encoding="utf-8") as stream:
        rows: list[dict[str, Any]] = list(csv.DictReader(stream))
    for row in rows:
        for name in ("size", "batch", "n"):
            row[name] = int(row[name])
        for name in ("value", "low", "high"):
            number = float(row[name]) if row[name] else math.nan
            row[name] = number if math.isfinite(number) else None
    return rows


def short_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """One line per cell (seeds taken together), as aligned text."""
    cells: dict[tuple, dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        cells.setdefault(tuple(row.get(name, "") for name in IDENTITY), {})[row["metric"]] = row
    several = [
        name for index, name in enumerate(IDENTITY)
        if name in OPTIONAL and len({key[index] for key in cells}) > 1
    ]  # fmt: skip
    lines = [(*several, *HEADER)]
    for key, metrics in cells.items():
        fields = dict(zip(IDENTITY, key))
        time = _entry(metrics, "latency_s", milliseconds) or _time_to_target(metrics)
        lines.append(
            (
                *(str(fields[name]) for name in several),
                *(str(fields[name]) for name in ("method", "task", "size")),
                time or "-",
                _speedup(metrics.get("speedup_at_equal_loss")) or "-",
                _entry(metrics, "peak_memory_bytes", lambda value: f"{value / 1e6:.0f} MB") or "-",
                _entry(metrics, "objective", lambda value: f"{value:.4g}") or "-",
            )
        )
    return aligned(lines)


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Lines of as many texts each as columns of one width, closer where a terminal has no room for them."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    wide = sum(widths) + 2 * (len(widths) - 1)
    narrow = sys.stdout.isatty() and wide > shutil.get_terminal_size((80, 24)).columns
    gap = " " if narrow else "  "
    return "\n".join(gap.join(text.ljust(width) for text, width in zip(line, widths)).rstrip() for line in lines)


def _entry(metrics: Mapping[str, Mapping[str, Any]], name: str, show: Any) -> str:
    row = metrics.get(name)
    if row is None:
        return ""
    return row["status"] if row["value"] is None else show(row["value"])


def _time_to_target(metrics: Mapping[str, Mapping[str, Any]]) -> str:
    row = metrics.get("time_to_target_s")
    if row is None:
        return _entry(metrics, "iteration_s", lambda value: f"{milliseconds(value)} a step")
    if row["value"] is None:
        return row["status"]
    bound = "more than " if row["status"] == "not reached" else ""
    return f"{bound}{milliseconds(row['value'])} to target"


def _speedup(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return ""
    if row["value"] is None:
        return row["status"]
    if row["status"] == "lower bound":
        return f"more than {_factor(row['value'])}x"
    low, high = row["low"], row["high"]
    interval = f" [{_factor(low)}, {_factor(high)}]" if low is not None and high is not None else ""
    return f"{_factor(row['value'])}x{interval}"


def _factor(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"
