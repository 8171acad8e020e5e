"""``bench list``: the runs of a folder, and the names that ``run`` takes."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

from bench.cli.options import add_out
from bench.store import run_folder
from nst_gluon import assets, methods
from nst_gluon.cli import console
from nst_gluon.objective import presets
from nst_gluon.system.errors import UserError
from nst_gluon.system.files import escaped, one_line

# What can be listed, and the names of its columns.
LISTS = {
    "runs": ("run", "cells", "status", "command"),
    "methods": ("method", "kind", "tasks", "description"),
    "styles": ("style", "nets"),
    "presets": ("preset", "source"),
    "claims": ("claim", "published", "text"),
}


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command's arguments."""
    command = commands.add_parser(
        "list",
        help="list " + ", ".join(LISTS),
        description="List the runs of a folder, or the names that run takes.",
        epilog="examples:\n  python -m bench list\n  python -m bench list styles\n"
        "  python -m bench list runs --json",
    )
    add = command.add_argument
    add("what", metavar="WHAT", nargs="?", default="runs", choices=LISTS,
        help=f"one of: {', '.join(LISTS)} (default: runs)")
    command.add_argument("--json", action="store_true", help="print one JSON object on standard output")
    add_out(command)


def main(options: argparse.Namespace) -> int:
    """Print the list; returns the exit status."""
    out = Path(options.out)
    rows = {"runs": _runs, "methods": _methods, "styles": _styles, "presets": _presets, "claims": _claims}
    found = rows[options.what](out)
    if options.json:
        print(json.dumps({options.what: [dict(zip(LISTS[options.what], row)) for row in found]}, indent=2))
    elif found:
        print(aligned(found))
    else:
        print(f"no runs below {out}; make one with python -m bench run", file=sys.stderr)
    return 0


def aligned(rows: list[tuple[str, ...]]) -> str:
    """Rows of equally many texts as lines with aligned columns; names may be anybody's."""
    rows = [tuple(map(escaped, row)) for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    lines = ("  ".join([*(text.ljust(width) for text, width in zip(row, widths)), row[-1]]).rstrip() for row in rows)
    return "\n".join(console.wrapped(line, sys.stdout, min(sum(widths) + 2 * len(widths), 40)) for line in lines)


def _runs(out: Path) -> list[tuple[str, ...]]:
    """Every run below ``out``, oldest first, unreadable ones too."""
    folders = sorted(out.iterdir()) if out.is_dir() else []
    return [row for row in map(_run, folders) if row]


def _run(folder: Path) -> tuple[str, ...] | None:
    """A run directory's line; None for any other folder."""
    try:
        return _line(folder.name, run_folder.read_run(folder), run_folder.read_cells(folder))
    except run_folder.NoRun:
        return None
    except run_folder.OtherSchema as error:
        return (folder.name, "-", "unreadable", f"schema {error.version}: not read by this suite")
    except UserError as error:
        return (folder.name, "-", "unreadable", str(error).split(": ", 1)[1])
    except OSError as error:
        return (folder.name, "-", "unreadable", one_line(error))


def _line(name: str, run: dict[str, Any], cells: list[dict[str, Any]]) -> tuple[str, ...]:
    fine = sum(cell["status"] == "ok" for cell in cells)
    status = run.get("status") or ""
    planned = len(run.get("cells") or cells)
    what = shlex.join(map(str, run.get("command") or ()))
    return (name, f"{fine}/{planned} ok", "unfinished" if status == "running" else str(status), what)


def _methods(out: Path) -> list[tuple[str, ...]]:
    return [(m.name, m.kind, ",".join(m.tasks), m.description) for m in methods.all()]


def _styles(out: Path) -> list[tuple[str, ...]]:
    nets: dict[str, list[str]] = {}
    for net in assets.nets():
        nets.setdefault(net.style, []).append(f"{net.method}/{net.task}")
    return [(name, "trained nets: " + (", ".join(nets.get(name, [])) or "none")) for name in assets.styles()]


def _presets(out: Path) -> list[tuple[str, ...]]:
    return [(name, preset.source) for name, preset in presets.PRESETS.items()]


def _claims(out: Path) -> list[tuple[str, ...]]:
    from bench.analysis.claims import CLAIMS

    return [
        (claim.id, f"{' / '.join(map(claim.published_text, claim.published))} {claim.unit}",
         f"{claim.text} ({claim.paper.name})")
        for claim in CLAIMS
    ]  # fmt: skip
