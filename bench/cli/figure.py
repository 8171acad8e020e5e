"""``bench figure``: styles down, methods across, with what each picture took, from one run or several."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from bench.cli.options import add_out
from bench.run import output
from bench.store import run_folder
from nst_gluon.cli import console
from nst_gluon.methods import TASKS


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command's arguments."""
    command = commands.add_parser(
        "figure",
        help="show pictures of runs side by side, with time and memory",
        description="Draw one figure: a row for each style, a column for each method, and under each picture its time, "
        "memory, training time and objective. Written as SVG, PNG and PDF. A run has one row for each of its styles; "
        "give several runs for more.",
        epilog="examples:\n  python -m bench figure latest\n  python -m bench figure results/2030* --to results/figure",
    )
    add = command.add_argument
    add("runs", metavar="RUN", nargs="+", help="a run directory, a run's id, or latest")
    add("--task", default="texture", choices=TASKS, metavar="TASK",
        help=f"one of: {', '.join(TASKS)} (default: texture)")
    add("--size", metavar="N", help="side of the pictures (default: the one that most cells have)")
    add("--to", metavar="DIR", help="where to write it (default: plots/ in the first RUN)")
    add_out(command)
    output.add_arguments(command)


def main(options: argparse.Namespace) -> int:
    """Draw the figure, and print its path; returns the exit status."""
    size = None if options.size is None else console.whole_number("--size", 1, 256)(options.size)
    paths = [run_folder.find_run(text, Path(options.out)) for text in options.runs]

    from bench.analysis.analysed import summarised
    from bench.analysis.summary import summarise_run
    from bench.report import figure, plots
    from bench.store.reader import read_run
    from nst_gluon.pages import style

    runs = [summarised(run, summarise_run(run)) for run in map(read_run, paths)]
    layout = figure.lay_out(runs, options.task, size)
    with style.context():
        drawn = figure.draw(layout)
    folder = paths[0] / "plots" if options.to is None else Path(options.to)
    folder.parent.mkdir(parents=True, exist_ok=True)
    plots.write_all([drawn], folder)
    page = folder / f"{drawn.name}.png"
    found = {"figure": str(page), "task": layout.task, "size": layout.size, "columns": layout.columns,
             "rows": [[list(shown.lines) for shown in row] for row in layout.rows]}  # fmt: skip
    print(json.dumps(found, indent=2) if options.json else page)
    return 0
