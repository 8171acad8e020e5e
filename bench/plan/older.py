"""What older versions of the suite wrote, read as if they had written what this one does. Imports no engine.

Cells did not always name their engine, as there was one, nor did runs keep what was known of their methods.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.plan.engines import REFERENCE
from nst_gluon import methods
from nst_gluon.methods import GENERATES, OPTIMISES, TASKS, Facts, Method
from nst_gluon.system.errors import UserError

FIRST_COLUMN = "method"  # of their tables


def cell(record: Mapping[str, Any]) -> dict[str, Any]:
    """A cell's record with its engine, and the method that its method is a variant of."""
    known = methods.bundled().get(str(record.get("method")))
    return {"engine": REFERENCE, "variant_of": known and known.variant_of, **record}


def facts(run: Mapping[str, Any], cells: Iterable[Mapping[str, Any]]) -> dict[str, Facts]:
    """What a run kept of its methods, by name.

    Of those that it kept nothing of: what the suite knows of them now; of a name that nobody knows, its kind.
    """
    found = {fields["name"]: Facts.from_dict(fields) for fields in run.get("methods") or ()}
    for record in cells:
        name = str(record["method"]) if isinstance(record, Mapping) else ""
        if name and name not in found:
            known, kind = methods.bundled().get(name), OPTIMISES if record.get("kind") == "optimise" else GENERATES
            found[name] = known.facts() if known else Facts(name, kind, TASKS, name, "", "", Method.color)
    return found


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
