"""``bench roofline``: this machine's peak, and how close the cells of a run come to it."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from pathlib import Path

from bench.cli.options import add_out
from bench.run import output
from nst_gluon.cli import console
from nst_gluon.system import runtime
from nst_gluon.system.errors import UserError


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command's arguments."""
    command = commands.add_parser(
        "roofline",
        help="show how close a run comes to the machine's peak",
        description="Without --run: measure the machine's peak, by a large matrix product and a copy through the "
        "engine, and keep it for this machine. With --run: show what share of the peak each cell of a finished run "
        "reaches, and add a plot to the run.",
        epilog="examples:\n  python -m bench roofline --threads 2\n  python -m bench roofline --run latest",
    )
    add = command.add_argument
    add("--threads", metavar="N", help="threads of the engine (default: OMP_NUM_THREADS, or all cores)")
    command.add_argument("--run", metavar="RUN", help="a run directory, a run's id, or latest")
    add_out(command)
    output.add_arguments(command)


def main(options: argparse.Namespace) -> int:
    """Measure the peak, or show a run's part of it; returns the exit status."""
    out, level = Path(options.out), output.level(options)
    if options.run is not None:
        if options.threads is not None:
            raise UserError("--threads: a run has a number of threads already; leave out --threads or --run")
        return _show(options.run, out, level, options.json)
    given = None if options.threads is None else console.whole_number("--threads", 1, 2)(options.threads)
    return _measure(out, runtime.prepare(given), level, options.json)


def _measure(out: Path, threads: int, level: int, as_json: bool) -> int:
    from bench.analysis import roofline
    from bench.machine import environment
    from bench.plan import engines
    from bench.run import progress
    from bench.store import run_folder

    engines.get("gluon").check()
    run_folder.check_writable(out)
    captured, load = environment.capture(threads), environment.load_average()
    with contextlib.closing(progress.Parts(level=level)) as parts:
        measured = roofline.measure(threads, parts.part)
    record = roofline.record(measured, captured, environment.warnings_before(captured, load))
    path = roofline.keep(out, record)
    if as_json:
        print(json.dumps({**record, "path": str(path)}, indent=2))
        return 0
    if level > output.QUIET:
        for warning in record["warnings"]:
            print(output.paint(f"warning: {warning}", "open", sys.stderr), file=sys.stderr)
        print(roofline.ceilings(roofline.peaks_of(measured)))
    print(path)
    return 0


def _show(text: str, out: Path, level: int, as_json: bool) -> int:
    from bench.analysis import methods, roofline
    from bench.store import reader, run_folder

    directory = run_folder.find_run(text, out, "--run")
    run = reader.read_run(directory)
    peaks = roofline.read_peaks(out, run.meta)
    rows = roofline.fractions(roofline.cell_costs(run), run.samples, peaks)
    if rows.empty:
        raise UserError(f"--run: {directory} has no measured CPU cell whose operations are known")
    if level > output.QUIET and not as_json:
        print(roofline.table(rows))

    from bench.report import plots
    from bench.report import roofline as drawing

    plots.write_all([drawing.plot(rows, peaks, methods.of_run(run))], directory / "plots")
    plot = directory / "plots" / "roofline.svg"
    cells = json.loads(rows.to_json(orient="records"))
    print(json.dumps({"run": directory.name, "cells": cells, "plot": str(plot)}, indent=2) if as_json else plot)
    return 0
