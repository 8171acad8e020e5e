"""What version 0.1 of the suite wrote, read as if it had written what this one does. Imports no engine.

Runs did not keep what was known of their methods. A net had one draw of noise in each of as many processes as
optimisation had seeds, one photo, one style.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from nst_gluon import methods
from nst_gluon.methods import GENERATES, OPTIMISES, TASKS, Facts, Method
from nst_gluon.objective import presets
from nst_gluon.system.errors import UserError

FIRST_COLUMN = "engine"  # of older tables, before which photo and style_name are now


def cell(record: Mapping[str, Any]) -> dict[str, Any]:
    """A cell's record with its style, and the method that its method is a variant of; null is as good as missing."""
    known = methods.bundled().get(str(record.get("method")))
    usual = {"variant_of": known and known.variant_of, "style_name": ""}
    return {**usual, **{name: value for name, value in record.items() if value is not None or name not in usual}}


def run(fields: dict[str, Any]) -> dict[str, Any]:
    """A run.json whose preset has the name that it has now."""
    settings = fields.get("settings")
    if not settings or "preset" not in settings:
        return fields
    preset = presets.recorded(settings["preset"], fields["schema_version"])
    return {**fields, "settings": {**settings, "preset": preset}}


def budget(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A budget with its numbers of draws, seeds and processes."""
    repeats = fields.get("repeats", 1)
    known = {name: value for name, value in fields.items() if name != "repeats"}
    return {"draws": 1, "seeds": repeats, "processes": repeats, **known}


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
    """A CSV table whose rows name photo and style first."""
    header, *rows = text.splitlines(keepends=True) or [""]
    if header.split(",")[0] != FIRST_COLUMN:
        return text
    return "".join([f"photo,style_name,{header}", *(f",,{row}" for row in rows)])


def refuse_to_resume(tables: Iterable[Path]) -> None:
    """Raise a UserError if one of the tables is of an older form: rows of another form must not follow."""
    for path in filter(Path.is_file, tables):
        with open(path, encoding="utf-8", errors="replace") as stream:
            if stream.readline().split(",")[0] == FIRST_COLUMN:
                raise UserError(f"--resume: {path} is of an older version of this suite; start a new run")
