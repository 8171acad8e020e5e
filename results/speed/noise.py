"""What moving noise to its mean is worth: the objective of the bundled texture network's pictures without and with it.

    python results/speed/noise.py

Writes noise.csv, a row for each picture.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
import peers

from nst_gluon import assets
from nst_gluon.cli import console
from nst_gluon.descriptor import weights
from nst_gluon.nets.trained_net import load_net
from nst_gluon.objective import presets
from nst_gluon.objective.loss import Objective
from nst_gluon.pictures import images
from nst_gluon.system.engine import mx

COLUMNS = ("size", "seed", "drawn", "moved")
STYLE = "great_wave"


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = peers.parser(__doc__, "noise.csv")
    peers.add_sizes(parser)
    peers.add_number(parser, "--draws", 12, "of noise (%(default)s)")
    return parser.parse_args()


def drawn(shapes: list[tuple[int, ...]], seed: int) -> list[np.ndarray]:
    """The noise of :func:`nst_gluon.nets.inputs.drawn` as it is before it is moved."""
    rng = np.random.default_rng(seed)
    return [rng.random(shape, dtype=np.float32) for shape in shapes]


def main() -> int:
    """Make the pictures, and write the record."""
    options = arguments()
    peers.check_output(options)
    net = load_net(assets.find_net(STYLE, "texture_net", "texture"))
    style = images.load(assets.style_path(STYLE), net.meta["size"])
    objective = Objective(presets.get(net.meta["preset"]), weights.load(None), "texture", style)
    rows = []
    for size in options.size:
        for seed in range(options.draws):
            moved = net.inputs(size=(size, size), seed=seed)
            plain = [mx.nd.array(z) for z in drawn([z.shape for z in moved], seed)]
            terms = [objective.terms(net.forward(*inputs).asnumpy()) for inputs in (plain, moved)]
            rows.append((size, seed, *(f"{one.objective:.6g}" for one in terms)))
    peers.write_table(options.output, COLUMNS, rows)
    print(options.output)
    return 0


if __name__ == "__main__":
    sys.exit(console.run(main))
