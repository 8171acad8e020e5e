"""``python -m bench judge RUN``: what nobody minimised, of the pictures that runs have saved."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from bench.cli.options import add_out
from bench.store import run_folder
from nst_gluon.system.errors import UserError


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command's arguments."""
    command = commands.add_parser(
        "judge",
        help="judge the pictures of finished runs by more than the objective",
        description="Compare the saved pictures of runs with their style and photo by Gram matrices of unused layers, "
        "wavelet statistics, copied patches, diversity and edges; run their nets with more and less noise; write "
        "judges.csv, noise.csv and a new report. Prints how far each judge agrees with the objective, over all "
        "runs named.",
        epilog="examples:\n  python -m bench judge latest\n  python -m bench judge results/2030*",
    )
    command.add_argument("runs", metavar="RUN", nargs="+", help="a run directory, a run's id, or latest")
    command.add_argument("--kept", action="store_true", help="judge nothing again: compare what judges.csv has")
    add_out(command)
    command.add_argument("--json", action="store_true", help="print one JSON object on standard output")


def main(options: argparse.Namespace) -> int:
    """Judge each run, make its report anew, and print the rank correlations; returns the exit status."""
    paths = [run_folder.find_run(text, Path(options.out)) for text in options.runs]
    for path in paths:
        run_folder.read_run(path)
    if not options.kept:
        from bench.engines import judging as judge

        for path in paths:
            judge.write(path)
    from bench import report
    from bench.analysis import judging
    from bench.report.judges import sentence

    tables = [judging.read(path) for path in paths]
    empty = [str(path) for path, table in zip(paths, tables) if table.empty]
    if empty:
        raise UserError(f"RUN: {empty[0]} has no judged pictures; leave out --kept, or give a run with pictures")
    pages = [] if options.kept else [str(report.build(path)) for path in paths]
    rows = judging.correlations(tables).to_dict("records")
    if options.json:
        print(json.dumps({"pages": pages, "correlations": rows}, indent=2))
        return 0
    for line in (*map(sentence, rows), *pages):
        print(line)
    return 0
