"""``bench selftest``: how far this machine's numbers can be trusted, from comparisons of the code with itself."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench.cli import compare
from bench.run import output

TIME_S = 600.0


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command's arguments."""
    command = commands.add_parser(
        "selftest",
        help="how small a change this machine detects",
        description="Measure this suite against itself and show the rate of false alarms, the smallest slow-down that "
        "nine of ten comparisons detect, and how much each number differs from process to process. What it finds is "
        "kept for this machine, and comparisons of two runs use it.",
        epilog="example:\n  python -m bench selftest --method texture_net --task texture --time 120",
    )
    compare.add_arguments(command, TIME_S)


def main(options: argparse.Namespace) -> int:
    """Measure and tell; returns 0, or 2 if nothing could be measured."""
    import json

    from bench.gate import comparison, selftest, sources
    from bench.gate.verdicts import CELLS_FAILED, GATED_METRICS, PASS, Rules
    from bench.machine.environment import SOURCE

    out, level = Path(options.out), output.level(options)
    plan, limit = compare.plan_of(options), compare.time_limit(options, TIME_S)
    itself = sources.Revision("this suite", None, SOURCE)
    with comparison.measuring_folder(out) as folder:
        measured, fingerprint = comparison.measure(
            {"baseline": itself, "candidate": itself}, plan, folder, Rules(least_rounds=10**6), GATED_METRICS, limit,
            SOURCE, level,
        )  # fmt: skip
    for failure in measured.failures:
        print(f"{failure['status']}: {failure['cell']}: {failure['reason']}", file=sys.stderr)
    kept = measured.samples[measured.samples["metric"].isin(list(GATED_METRICS))]
    rows = selftest.analyse(kept, Rules(), most=max(measured.rounds, Rules().least_rounds))
    result = {
        "schema_version": selftest.SCHEMA_VERSION, "fingerprint": fingerprint, "rounds": measured.rounds,
        "seconds": measured.seconds, "samples": str(folder / "samples.csv"), "warnings": measured.warnings,
        "rows": rows,
    }  # fmt: skip
    path = selftest.keep(out, result) if rows else None
    if options.json:
        print(json.dumps({**result, "path": path and str(path)}, indent=2))
    elif level == output.QUIET:
        print(path or "nothing was measured", file=sys.stdout if path else sys.stderr)
    else:
        print(selftest.table(result))
        print(f"kept for this machine: {path}" if path else "nothing was measured")
    return PASS if rows and not measured.failures else CELLS_FAILED
