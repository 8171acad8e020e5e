"""``bench merge``: join the shards of a run, or the runs of several machines, into one run with one report."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from bench.cli.options import add_out
from bench.store import run_folder
from nst_gluon.system.errors import UserError

FACETS = ("machine",)


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command's arguments."""
    command = commands.add_parser(
        "merge",
        help="join several runs into one with one report",
        description="Join runs that measured the same thing (style, content, nets, weights, preset, budget) into a new "
        "run, and write its report. They must come from one machine, unless --facet machine shows the machines side by "
        "side.",
        epilog="examples:\n"
        "  python -m bench merge results/20300101T120000Z-1a2b results/20300101T120000Z-3c4d\n"
        "  python -m bench merge laptop/RUN server/RUN --facet machine --json",
    )
    command.add_argument("runs", metavar="DIR", nargs="+", help="two or more run directories, or ids below --out")
    command.add_argument("--facet", choices=FACETS, metavar="machine", help="show different machines side by side")
    add_out(command)
    command.add_argument("--json", action="store_true", help="print one JSON object on standard output")


def main(options: argparse.Namespace) -> int:
    """Merge, report, and print the report's path; returns the exit status."""
    from bench import report
    from bench.cli.report import refresh
    from bench.store import merge, whole_runs
    from bench.store.schema import JUDGES, NOISE

    out = Path(options.out)
    paths = list({(path := run_folder.find_run(text, out, "DIR")).resolve(): path for text in options.runs}.values())
    if len(paths) < 2:
        raise UserError(f"DIR: {paths[0]} is only one run; give two or more")
    facet = ["--facet", options.facet] if options.facet else []
    command = ["python", "-m", "bench", "merge", *options.runs, *facet]
    merged = merge.join([whole_runs.read(path) for path in paths], bool(facet), command)
    made = merge.write(merged, out, report.build)
    refresh(made, out)
    for label, machine in merged.run.get("machines", {}).items():
        print(f"{label}: {machine['cpu']}, {machine['cores']} cores ({', '.join(machine['runs'])})", file=sys.stderr)
    for warning in merged.run["warnings"]:
        print(f"warning: {warning}", file=sys.stderr)
    if any((path / name).is_file() for path in paths for name in (JUDGES, NOISE)):
        print(f"warning: what was judged of the parts is not in it; python -m bench judge {made}", file=sys.stderr)
    done, planned = len(merged.finished), len(merged.run["cells"])
    print(f"merged {len(paths)} runs, {merged.run['status']}: {done} of {planned} cells", file=sys.stderr)
    page = str(made / "report.html")
    if options.json:
        facts = {name: merged.run.get(name) for name in ("status", "warnings", "machines")}
        answer = {"run": made.name, **facts, "page": page, "runs": [str(path) for path in paths]}
        answer["cells"] = {"finished": done, "planned": planned}
        print(json.dumps(answer, indent=2))
    else:
        print(page)
    return 0
