"""``bench baseline``: runs kept under a name, for later comparisons on the same machine."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from bench.cli.listing import aligned
from bench.cli.options import add_out
from bench.store import baselines, run_folder
from nst_gluon.cli import console
from nst_gluon.system.errors import UserError

COLUMNS = ("name", "state", "saved", "run", "machine")


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command's arguments."""
    command = commands.add_parser(
        "baseline",
        help="keep a run under a name, for later comparisons",
        description="Keep a run under a name, to compare later ones on the same machine with. One name has an entry "
        "for each machine.",
        epilog="examples:\n  python -m bench baseline save main latest\n  python -m bench baseline list",
    )
    actions = command.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=console.Parser)
    save = actions.add_parser(
        "save", help="keep a run", epilog="example:\n  python -m bench baseline save main latest --force"
    )
    save.add_argument("name", metavar="NAME", help="the baseline's name: letters, digits, - _ .")
    save.add_argument("run", metavar="RUN", help="a run directory, a run's id, or latest")
    save.add_argument("--force", action="store_true", help="replace this machine's entry, if there is one")
    listing = actions.add_parser(
        "list", help="list what is kept", epilog="example:\n  python -m bench baseline list --json"
    )
    for action in (save, listing):
        add_out(action)
        action.add_argument("--json", action="store_true", help="print one JSON object on standard output")


def main(options: argparse.Namespace) -> int:
    """Save or list; returns the exit status."""
    out = Path(options.out)
    if options.action == "list":
        return _list(out, options.json)
    baselines.check_name(options.name)
    saved = baselines.save(out, options.name, run_folder.find_run(options.run, out), options.force)
    for warning in saved.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if options.json:
        answer = {"name": options.name, "path": str(saved.path), "replaced": saved.replaced}
        print(json.dumps({**answer, "warnings": list(saved.warnings)}, indent=2))
    else:
        print(f"{'replaced' if saved.replaced else 'saved'}: {saved.path}")
    return 0


def _list(out: Path, as_json: bool) -> int:
    rows = [row for name in baselines.names(out) for row in (_row(name, path) for path in baselines.entries(out, name))]
    if as_json:
        print(json.dumps({"baselines": [dict(zip(COLUMNS, row)) for row in rows]}, indent=2))
    elif rows:
        print(aligned(rows))
    else:
        where, how = out / baselines.FOLDER, "python -m bench baseline save NAME RUN"
        print(f"no baselines below {where}; make one with {how}", file=sys.stderr)
    return 0


def _row(name: str, path: Path) -> tuple[str, ...]:
    """An entry's line; one that cannot be read has one too."""
    try:
        run, cells = run_folder.read_run(path), run_folder.read_cells(path)
        fine = sum(cell["status"] == "ok" for cell in cells)
        kept = run.get("baseline") or {}
        state = f"{fine}/{len(cells)} ok"
        return (name, state, str(kept.get("saved", "")), str(kept.get("run", "")), machine(run["fingerprint"]))
    except run_folder.OtherSchema as error:
        return (name, "unreadable", "", path.name, f"schema {error.version}: not read by this suite")
    except (UserError, OSError, ValueError, TypeError, LookupError, AttributeError):
        return (name, "unreadable", "", path.name, "damaged")


def machine(fingerprint: dict[str, Any]) -> str:
    """A fingerprint in words."""
    cores, threads = fingerprint.get("cores"), fingerprint.get("threads")
    parts = [str(fingerprint.get("cpu")), f"{cores} core{'' if cores == 1 else 's'}"]
    parts += [f"{threads} thread{'' if threads == 1 else 's'}"] if threads not in (None, cores) else []
    parts += [str(fingerprint["gpu"])] if fingerprint.get("gpu") else []
    return ", ".join([*parts, *fingerprint.get("dtypes", ())])
