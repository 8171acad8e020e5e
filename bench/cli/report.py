"""``bench report``: the report of one run, the history of several, the list of all runs; numbers for other tools."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from bench.cli.options import add_out
from bench.store import run_folder
from nst_gluon.system.errors import UserError

HISTORY = "history"
FORMATS = ("github-benchmark", "bmf", "parquet")  # of bench.report.exports, which is heavy to import


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command's arguments."""
    command = commands.add_parser(
        "report",
        help="rebuild the report of a run, or the history of several",
        description="With one RUN, rebuild its summary, claims and report. With several, show them side by side, over "
        "revisions and machines. Either way the list of runs, index.html in the folder of runs, is rebuilt.",
        epilog="examples:\n  python -m bench report latest --open\n"
        "  python -m bench report results/2030*\n  python -m bench report --index --json",
    )
    command.add_argument("runs", metavar="RUN", nargs="*", help="a run directory, a run's id, or latest")
    command.add_argument("--index", action="store_true", help="rebuild only the list of runs")
    command.add_argument("--to", metavar="DIR", help=f"where to write the history of several runs ({HISTORY} in --out)")
    command.add_argument(
        "--format",
        choices=FORMATS,
        metavar="NAME",
        help="write one run's numbers for another tool into its folder, instead of the report: github-benchmark "
        "(github-action-benchmark's custom JSON), bmf (Bencher's JSON) or parquet (the samples; needs pyarrow)",
    )
    add_out(command)
    command.add_argument("--json", action="store_true", help="print one JSON object on standard output")
    command.add_argument("--open", action="store_true", help="open the page in a browser")


def main(options: argparse.Namespace) -> int:
    """Build what is asked for, and print its path; returns the exit status."""
    out = Path(options.out)
    if options.index and options.runs:
        raise UserError("--index: rebuilds the list of all runs; leave out RUN or --index")
    if not options.index and not options.runs:
        raise UserError("RUN: missing; give a run directory, a run's id, latest, or several runs for their history")
    paths = list({(path := run_folder.find_run(text, out)).resolve(): path for text in options.runs}.values())
    for path in paths:
        run_folder.read_run(path)
    if options.to is not None and len(paths) < 2:
        raise UserError("--to: is for the history of several runs; give more than one RUN")
    if options.format is not None:
        if len(paths) != 1:
            raise UserError("--format: is for one RUN; give one")
        from bench.report import exports

        page = exports.write(paths[0], options.format)
    elif options.index:
        page = _index(out)
    elif len(paths) == 1:
        from bench import report

        page = report.build(paths[0])
        refresh(paths[0], out)
    else:
        from bench.report import timeline

        target = Path(options.to) if options.to is not None else out / HISTORY
        page = timeline.write(paths, target, out)
        refresh(target, out)
    print(json.dumps({"page": str(page), "runs": [str(path) for path in paths]}, indent=2) if options.json else page)
    if options.open:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())
    return 0


def _index(out: Path) -> Path:
    from bench.report import index

    if not out.is_dir():
        raise UserError(f"--out: there is no folder {out}; make a run with python -m bench run")
    return index.write(out)


def refresh(made: Path, out: Path) -> None:
    """Rebuild the list of runs if what was made is in it. A list that cannot be written is not worth an error."""
    if made.resolve().parent != out.resolve():
        return
    try:
        _index(out)
    except (UserError, OSError) as error:
        print(f"warning: the list of runs could not be rebuilt: {error}", file=sys.stderr)
