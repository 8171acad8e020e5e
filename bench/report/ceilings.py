"""What the run's machine can do at most, where it was measured: a file of ``roofline/`` beside the run's folder.

Each file there is of one machine: {"fingerprint", "flops_per_s": {precision: number}, "bytes_per_s"}.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bench.parts import machine_difference
from bench.report.tables import Entry, Table, table
from bench.report.wording import clean, significant
from bench.rundata import RunData

FOLDER = "roofline"


def ceilings(run: RunData) -> Table | None:
    """The peaks of the machine; None where they were not measured, or the run is of several machines."""
    for path in sorted((run.directory.resolve().parent / FOLDER).glob("*.json")):
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            if run.meta.get("machines") or not _same_machine(found["fingerprint"], run.meta.get("fingerprint")):
                continue
            peaks = {clean(name, 20): float(value) for name, value in found["flops_per_s"].items()}
            rows = [[f"arithmetic, {name}", Entry(f"{significant(value / 1e9)} billion operations/s", order=value)]
                    for name, value in peaks.items()]  # fmt: skip
            rows.append(["memory, a copy", f"{significant(float(found['bytes_per_s']) / 1e9)} GB/s"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
        note = "A large matrix product and a copy, through the engine: no method can be faster than these."
        return table("ceilings", "What this machine can do at most", ["limit", "measured"], rows, (1,), note)
    return None


def _same_machine(kept: Mapping[str, Any], own: Any) -> bool:
    return isinstance(own, Mapping) and bool(own) and machine_difference(kept, own) is None
