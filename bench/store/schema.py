"""What run.json and the lines of cells.jsonl are: one description for all that read them (see
:mod:`nst_gluon.system.documents`). What is missing here may be anything, and is shown as text at most.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from bench.plan.cells import CELL_COLUMNS, Budget, Settings
from nst_gluon.methods.base import GENERATES, OPTIMISES, Facts
from nst_gluon.objective.loss_terms import TERMS
from nst_gluon.system.documents import NUMBER, check

# What was found out about the finished pictures of a run afterwards. ``target``: empty for a method's final picture, or
# the net at whose loss the optimisation had made this one.
JUDGES, NOISE = "judges.csv", "noise.csv"
JUDGE_COLUMNS = (*CELL_COLUMNS, "target", "metric", "value")
NOISE_COLUMNS = ("method", "size", "scale", *TERMS, "picture")

_CELL = {
    "engine!": str, "method!": str, "task!": str, "size!": int, "batch!": int, "dtype!": str, "device!": str,
    "seed!": int, "kind": str, "variant_of": str, "style_name": str,
}  # fmt: skip
_FILE = {"file": str, "sha256": str}
_SHARD = {"index!": int, "of!": int, "plan_fingerprint!": str, "total!": int, "positions": [int]}
_PLACE = {"system": {"*": (str, int)}, "cpu": {"model": str, "architecture": str, "cores_used": int},
          "threads": int, "memory_total_bytes": NUMBER, "memory_available_bytes": NUMBER,
          "gpus": [{"index": int, "name": str}], "versions": {"*": str}, "variables": {"*": str},
          "git": {"revision": str, "dirty": bool}}  # fmt: skip
_MARK = {"cpu": str, "cores": NUMBER, "threads": int, "gpu": (str, dict, list), "dtypes": [str]}

_JSON_OF = {"int": int, "float": NUMBER, "bool": bool, "str": str, "tuple[int, ...]": [int], "tuple[str, ...]": [str],
            "tuple[tuple[str, str], ...]": [[str]]}  # fmt: skip


def _fields(kind: type) -> dict[str, Any]:
    return {field.name: _JSON_OF[field.type.replace(" | None", "")] for field in dataclasses.fields(kind)}


RUN: dict[str, Any] = {
    "schema_version!": int, "id": str, "status": str, "suite_version": str, "created": str, "finished": str,
    "merged": str, "command": [str], "plan_fingerprint": str, "cells": [_CELL], "seeds": [int], "warnings": [str],
    "budget": _fields(Budget),
    "settings": _fields(Settings),
    "methods": [_fields(Facts)],
    "inputs": {
        "pictures": {"*": _FILE},
        "weights": {"arch": str, "source": str, "sha256": str, "random": bool},
        "nets": {"*": {**_FILE, "meta": {
            "method": str, "task": str, "style": str, "command": str, "iterations": int, "final_window": int,
            "final_objective": {"*": NUMBER}, "training": {"*": (str, int, float, bool, list, dict)},
            "weights": {"*": (str, bool)}, "seconds": NUMBER, "architecture": dict, "start": dict,
        }}},
    },
    "environment": {**_PLACE, "machines": {"*!": _PLACE}},
    "fingerprint": {**_MARK, "machines": {"*!": _MARK}},
    "sessions": [{"started": str, "finished": str, "run": str, "command": [str], "load_before": [NUMBER],
                  "load_after": [NUMBER], "orchestrator_peak_memory_bytes": int}],
    "shard": _SHARD,
    "merged_from": [{"id!": str, "machine": str, "shard": _SHARD}],
    "machines": {"*!": {"cpu": str, "cores": NUMBER, "runs": [str]}},
    "baseline": {"*": str},
}  # fmt: skip

RECORD: dict[str, Any] = {
    **_CELL, "key": str, "status!": str, "reason": str, "attempts": int, "duration_s": NUMBER, "exit_code": int,
    "garbage_lines": int, "stragglers": int, "drift": NUMBER, "foreign_cores": NUMBER, "targets": {"*!": NUMBER},
    "medians": {"*": NUMBER}, "evaluations": int, "image": str, "log": str, "started": str, "killed": bool,
    "machine": str, "rows": {"*!": [int]}, "scores": {"*": [NUMBER]},
    "info": {"memory": dict, "stopped_because": str, "cpu_mhz": [(*NUMBER, type(None))], "timed_samples": int,
             "dropped_samples": int, "start_net": str, "warm_up_calls": int, "warm_up_stable": bool,
             "equal_loss": {"*!": {"image": str, "objective": NUMBER, "evaluations": int, "seconds": NUMBER}}},
}  # fmt: skip
LARGEST_SIDE = LARGEST_BATCH = 1 << 20


def check_run(run: Any) -> None:
    """Raise ValueError if ``run`` is not what run.json holds."""
    check(run, RUN, "")
    for cell in run.get("cells") or ():
        _check_ranges(cell)
    for fields in run.get("methods") or ():
        _check_facts(fields)
    for name in ("nets", "engine_options", "methods"):
        if any(len(pair) != 2 for pair in (run.get("settings") or {}).get(name) or ()):
            raise ValueError(f"settings.{name} is not made of pairs")
    shard = run.get("shard")
    if shard and len(shard.get("positions") or ()) != len(run.get("cells") or ()):
        raise ValueError("shard.positions are not as many as the cells")


def _check_facts(fields: dict[str, Any]) -> None:
    try:
        facts = Facts.from_dict(fields)
    except TypeError as error:
        raise ValueError(f"methods: {error}") from None
    if facts.kind not in (GENERATES, OPTIMISES) or not re.fullmatch(r"#[0-9a-fA-F]{6}", str(facts.color)):
        raise ValueError(f"methods: {facts.name} has an unknown kind, or a color that is not #rrggbb")


def check_record(record: Any) -> None:
    """Raise ValueError if ``record`` is not what a line of cells.jsonl holds."""
    check(record, RECORD, "cell")
    _check_ranges(record)


def _check_ranges(cell: dict[str, Any]) -> None:
    for name, most in (("size", LARGEST_SIDE), ("batch", LARGEST_BATCH)):
        if not 1 <= cell[name] <= most:
            raise ValueError(f"a cell's {name} is {cell[name]}, not from 1 to {most}")
