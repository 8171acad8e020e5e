"""Pictures larger than the memory: time and peak memory of tiles, in turns with one piece where that fits.

    python results/speed/tiles.py

Each picture is made in a fresh process, statistics of the whole picture and all graphs included; a round has one piece
and tiles of each picture, A B B A. Pictures of more than WHOLE pixels a side are made in tiles only, once. Writes
tiles.csv (a row per picture) and tiles.json (machine, versions, settings), and prints exponents of time over pixels.
Needs a machine that does nothing else: a quarter of an hour on two slow cores.
"""

from __future__ import annotations

import sys

import pandas as pd
import peers

from bench.analysis import growth
from bench.gate import verdicts
from nst_gluon.api.maker import TILE_SIDE
from nst_gluon.cli import console

NETS = ("johnson-stylize", "texture_net-texture")
WHOLE = 2048


def arguments() -> peers.argparse.Namespace:
    """The command line."""
    parser = peers.parser(__doc__, "tiles.csv", rounds=3)
    peers.add_sizes(parser, "1024,2048,4096", 64)
    peers.add_number(parser, "--tile", TILE_SIDE, "side of a tile (%(default)s)")
    return parser.parse_args()


def exponents(samples: pd.DataFrame) -> dict[str, growth.PowerLaw]:
    """Time over pixels of each net: all its pictures, in tiles, by the suite's own fit."""
    times = samples[(samples["metric"] == "seconds") & (samples["side"] == peers.NAMES[peers.OURS])]
    laws = {}
    for net in NETS:
        cells = {cell: int(cell.rsplit(", ", 1)[1]) for cell in times["cell"].unique() if cell.startswith(net)}
        mine = times[times["cell"].isin(cells)]
        laws[net] = growth.fit(mine["cell"].map(cells) ** 2, mine["value"])
    return laws


def main() -> int:
    """Make the pictures, write the record, print the exponents."""
    options = arguments()
    peers.check_output(options)
    record = peers.Record(options)
    for number in range(options.rounds):
        for net in NETS:
            for size in options.size:
                for position, side in enumerate(verdicts.ORDER):
                    if size > WHOLE and (number, position) != (0, 1):
                        continue
                    found = peers.block(sys.executable, "gluon_work.py", {
                        "work": "tiles", "net": net, "size": size, "dtype": "float32", "threads": options.threads,
                        "tile": options.tile if side == peers.OURS else None, "warm_up": 0, "samples": 1,
                    })  # fmt: skip
                    cell, place = f"{net}, {size}", (number, position)
                    record.add(cell, place, "seconds", found["seconds"])
                    record.add(cell, place, "peak_memory_bytes", [found["peak_memory_bytes"]], "B")
                    record.facts["versions"][peers.NAMES[peers.OURS]] = found["versions"]
                    what = "tiles" if side == peers.OURS else "one piece"
                    peak = found["peak_memory_bytes"] / 1e6
                    print(f"{cell}, {what}: {found['seconds'][0]:.1f} s, {peak:.0f} MB", file=sys.stderr, flush=True)
    for net, law in exponents(record.finish()).items():
        print(f"{net}: time grows with pixels to the power {law.exponent:.3f}")
    print(options.output)
    return 0


if __name__ == "__main__":
    sys.exit(console.run(main))
