"""Runs from before cells named their engine: there was one, and they are read as its. Imports no engine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.plan.engines import REFERENCE
from nst_gluon.system.errors import UserError

FIRST_COLUMN = "method"  # of their tables


def cell(record: Mapping[str, Any]) -> dict[str, Any]:
    """A cell's record with its engine."""
    return {"engine": REFERENCE, **record}


def table(text: str) -> str:
    """A CSV table whose rows name their engine first."""
    header, *rows = text.splitlines(keepends=True) or [""]
    if not header.startswith(f"{FIRST_COLUMN},"):
        return text
    return "".join([f"engine,{header}", *(f"{REFERENCE},{row}" for row in rows)])


def refuse_to_resume(tables: Iterable[Path]) -> None:
    """Raise a UserError if one of the tables has no engines: rows of another form must not follow."""
    for path in filter(Path.is_file, tables):
        with open(path, encoding="utf-8", errors="replace") as stream:
            if stream.readline().startswith(f"{FIRST_COLUMN},"):
                raise UserError(f"--resume: {path} is of an older version of this suite; start a new run")
