"""``bench roofline``: what this machine can do at most, and how much of it the cells of a run reach."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from nst_gluon import console, runtime
from nst_gluon.errors import UserError

RESULTS = "results"


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command's arguments."""
    command = commands.add_parser(
        "roofline",
        help="how much of what the machine can do a run reaches",
        description="Without --run: measure the peak of a large matrix product and of a copy, through the engine, and "
        "keep them for this machine. With --run: tell how much of that each cell of a finished run reaches, and draw "
        "it into the run's plots.",
        epilog="examples:\n  python -m bench roofline --threads 2\n  python -m bench roofline --run latest",
    )
    command.add_argument("--threads", metavar="N", help="threads of the engine (OMP_NUM_THREADS, or all cores)")
    command.add_argument("--run", metavar="RUN", help="a run directory, a run's id, or latest")
    command.add_argument("--out", default=RESULTS, metavar="DIR", help="the folder of runs (results)")


def main(options: argparse.Namespace) -> int:
    """Measure, or tell and draw; returns the exit status."""
    out = Path(options.out)
    if options.run is not None:
        if options.threads is not None:
            raise UserError("--threads: a run has its own number of threads; leave out --threads or --run")
        return _show(options.run, out)
    given = None if options.threads is None else console.whole_number("--threads", 1, 2)(options.threads)
    return _measure(out, runtime.prepare(given))


def _measure(out: Path, threads: int) -> int:
    from bench import engines, environment, roofline, store

    engines.get("gluon").check()
    store.check_writable(out)
    captured, load = environment.capture(threads), environment.load_average()
    measured = roofline.measure(threads)
    warnings = environment.warnings_before(captured, load)
    path = roofline.keep(out, roofline.record(measured, captured, warnings))
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(roofline.ceilings(roofline.peaks_of(measured)))
    print(path)
    return 0


def _show(text: str, out: Path) -> int:
    from bench import roofline, rundata, store

    directory = store.find_run(text, out, "--run")
    run = rundata.read_run(directory)
    peaks = roofline.read_peaks(out, run.meta)
    rows = roofline.fractions(roofline.cell_costs(run), run.samples, peaks)
    if rows.empty:
        raise UserError(f"--run: {directory} has no time of a cell on the CPU whose operations are known")
    print(roofline.table(rows))

    from bench.report import plots
    from bench.report import roofline as drawing

    plots.write_all([drawing.plot(rows, peaks)], directory / "plots")
    print(directory / "plots" / "roofline.svg")
    return 0
