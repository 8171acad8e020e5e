"""Runs from before cells named their engine: there was one, and they are read as its. Imports no engine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.engines import REFERENCE
from nst_gluon.errors import UserError

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


def refuse_to_resume(path: Path) -> None:
    """Raise a UserError if the table at ``path`` has none: rows of another form must not follow."""
    if path.is_file():
        with open(path, encoding="utf-8", errors="replace") as stream:
            if stream.readline().startswith(f"{FIRST_COLUMN},"):
                raise UserError(f"--resume: {path} is of an older version of this suite; start a new run")
