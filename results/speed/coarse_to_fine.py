"""Coarse to fine of another revision against this one's: seconds until each of eight objectives.

    git worktree add ../before REVISION
    python results/speed/coarse_to_fine.py --before ../before

Each descent is a fresh process, both sides in turns; a round has a seed of its own. Writes coarse_to_fine.csv (a row
per descent and objective; empty where it was not reached) and coarse_to_fine.json.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import peers

from nst_gluon.cli.console import run
from nst_gluon.system.errors import UserError

TARGETS = {
    "texture": (400, 300, 200, 150, 100, 80, 70, 60),
    "stylize": (600, 500, 450, 400, 350, 300, 250, 220),
}
ITERATIONS = 60


def arguments() -> peers.argparse.Namespace:
    """The command line."""
    parser = peers.parser(__doc__, "coarse_to_fine.csv", rounds=3)
    parser.add_argument("--before", required=True, type=Path, metavar="FOLDER", help="checkout of the other revision")
    peers.add_sizes(parser, least=64)
    return parser.parse_args()


def main() -> int:
    """Time the descents, write the record."""
    options = arguments()
    if not (options.before / "nst_gluon" / "optimise").is_dir():
        raise UserError(f"--before: {str(options.before)!r} is no checkout of the suite; make one with git worktree")
    peers.check_output(options)
    record = peers.Record(options)

    def side(checkout: Path, task: str, size: int, number: int, position: int) -> None:
        spec = {"task": task, "size": size, "seed": number, "threads": options.threads,
                "iterations": ITERATIONS, "targets": TARGETS[task]}  # fmt: skip
        found = peers.block(sys.executable, "descent.py", spec, checkout)["seconds"]
        for target, seconds in zip(TARGETS[task], found):
            record.add(f"{task}, {size}, until {target}", (number, position), "seconds", [seconds])

    for size in options.size:
        for task in TARGETS:
            sides = {peers.PEER: partial(side, options.before, task, size),
                     peers.OURS: partial(side, peers.ROOT, task, size)}  # fmt: skip
            peers.alternate(options.rounds, sides, f"{task}, {size}")
    record.finish()
    print(options.output)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
