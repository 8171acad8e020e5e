"""Every net of one style in every engine, and batches, in turns.

    python results/speed/engines.py [--engine openvino,onnxruntime] [--engine-python onnxruntime=PYTHON]

A block is one engine in a fresh process, which goes through all nets, sizes and precisions; a round has each engine
twice, A B C C B A. In float32 all make the same pictures, 60 dB from Gluon's, or
nothing is compared; how far those of bfloat16 are from them is told. Needs a machine that does nothing else: three
rounds take about seven minutes on two cores.

Writes engines.csv (a row per pass) and engines.json (machine, versions, settings), and prints each engine's time over
Gluon's, and batches' time a picture over that of one alone, with 95 % intervals over the rounds.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterator

import numpy as np
import peers

from bench.plan import engines
from nst_gluon import assets
from nst_gluon.cli import console
from nst_gluon.pictures.images import psnr
from nst_gluon.system.errors import UserError

COLUMNS = ("net", "size", "dtype", "batch", "engine", "round", "position", "seconds")
STYLE = "great_wave"  # other styles' nets have the same layers
DTYPES, SAME = ("float32", "bfloat16"), 60.0
T95 = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26)  # Student's, two-sided, from one degree of freedom


def arguments() -> peers.argparse.Namespace:
    """The command line."""
    made = peers.parser(__doc__, "engines.csv", rounds=3)
    made.add_argument("--engine", default="openvino,onnxruntime", metavar="LIST", help="the peers (%(default)s)")
    made.add_argument("--engine-python", metavar="NAME=PATH", action="append", help="as of bench run")
    made.add_argument("--engine-option", metavar="NAME=VALUE", action="append", help="as of bench run")
    peers.add_sizes(made)
    batches, seconds = console.whole_numbers("--batch", 1), console.number("--seconds")
    made.add_argument("--batch", type=batches, default="4,16", metavar="LIST", help="Gluon's at 256 (%(default)s)")
    made.add_argument("--seconds", type=seconds, default=1.0, metavar="X", help="of a cell in a block, at most")
    return made.parse_args()


def interval(logs: list[float]) -> str:
    """A ratio from its logarithms, one a round, with the 95 % interval of their mean."""
    mean = float(np.mean(logs))
    if len(logs) < 2:
        return f"{math.exp(mean):.3f}"
    half = T95[min(len(logs) - 2, len(T95) - 1)] * float(np.std(logs, ddof=1)) / math.sqrt(len(logs))
    return f"{math.exp(mean):.3f} [{math.exp(mean - half):.3f}, {math.exp(mean + half):.3f}]"


def main() -> int:
    """Measure everything, write the record, print the ratios."""
    options = arguments()
    peers.check_output(options)
    others = [name for name in options.engine.split(",") if engines.get(name).name != engines.REFERENCE]
    pythons = dict(engines.parse_pythons(options.engine_python or (), others))
    chosen = engines.parse_options(options.engine_option or (), others)
    nets = [net.path.stem for net in assets.nets() if net.style == STYLE]
    plain = [[net, size, dtype, 1] for net, size, dtype in itertools.product(nets, options.size, DTYPES)]
    more = [[net, 256, "float32", batch] for net in nets for batch in (1, *options.batch)]
    facts = peers.facts(options)
    facts["settings"]["engine_python"] = sorted(pythons)
    rows: list[tuple] = []
    pictures: dict[tuple, np.ndarray] = {}
    agreements: dict[tuple, float] = {}

    def block(engine: str, cells: list, number: int, position: int) -> None:
        settings = {name.split(".", 1)[1]: value for name, value in chosen if name.startswith(f"{engine}.")}
        spec = {"engine": engine, "options": settings, "threads": options.threads, "cells": cells, "warm_up": 2,
                "samples": 10, "seconds": options.seconds}  # fmt: skip
        found = peers.block(pythons.get(engine, sys.executable), "engine_passes.py", spec)
        facts["versions"][engine] = found["versions"]
        for entry in found["cells"]:
            net, size, dtype, batch = cell = entry["cell"]
            rows.extend((*cell, engine, number, position, seconds) for seconds in entry["latency_s"])
            made = np.array(entry["grid"], np.float32)
            if engine == engines.REFERENCE and (batch, dtype) == (1, "float32"):
                pictures.setdefault((net, size), made)
            if batch > 1:  # other noise; that a batch's pictures are those of single ones is a test
                continue
            agreement = psnr(made, pictures[net, size])
            agreements[(*cell, engine)] = agreement
            if dtype == "float32" and agreement < SAME:
                raise UserError(f"{engine}, {cell}: {agreement:.1f} dB from Gluon's picture: nothing is compared")
        print(f"round {number + 1}/{options.rounds}, {engine}", file=sys.stderr, flush=True)

    order = [engines.REFERENCE, *others]
    for number in range(options.rounds):
        for position, engine in enumerate([*order, *reversed(order)]):
            block(engine, plain, number, position)
        block(engines.REFERENCE, more, number, len(order) * 2)
    peers.write_table(options.output, COLUMNS, rows)
    facts["bfloat16_db"] = {
        f"{net} {size} {engine}": round(min(value, 99.9), 1)
        for (net, size, dtype, *_, engine), value in agreements.items() if dtype == DTYPES[1]
    }  # fmt: skip
    peers.write_facts(options.output, facts)
    print(table(peers.pd.DataFrame(rows, columns=list(COLUMNS)), facts["bfloat16_db"]))
    print(options.output)
    return 0


def ratios(found: peers.pd.DataFrame) -> Iterator[tuple[tuple, float, str]]:
    """Each cell and engine, seconds a picture, and the ratio to Gluon's (of batches: to one alone)."""
    keys = ["net", "size", "dtype", "batch"]
    medians = found.groupby([*keys, "engine", "round"])["seconds"].median()
    overall = found.groupby([*keys, "engine"])["seconds"].median()
    last = found["position"].max()
    own = found[found["position"] == last].groupby([*keys, "engine", "round"])["seconds"].median()
    for (net, size, dtype, batch, engine), seconds in overall.items():
        base, side = (net, size, dtype, 1, engines.REFERENCE), medians if batch == 1 else own
        logs = [math.log(value / batch / side[(*base, number)])
                for number, value in side[(net, size, dtype, batch, engine)].items()]  # fmt: skip
        ratio = "" if batch == 1 and engine == engines.REFERENCE else interval(logs)
        yield (net, size, dtype, batch, engine), seconds / batch, ratio


def table(found: peers.pd.DataFrame, decibels: dict[str, float]) -> str:
    """What was found, for people: medians in ms, and ratios."""
    lines = [("what", "ms", "dB", "over Gluon's, or one alone")]
    for (net, size, dtype, batch, engine), seconds, ratio in ratios(found):
        name = f"{net} {size} {dtype} {engine}" + (f" batch {batch}" if batch > 1 else "")
        said = str(decibels.get(f"{net} {size} {engine}", "")) if dtype == "bfloat16" else ""
        lines.append((name, f"{seconds * 1e3:,.1f}", said, ratio))
    return peers.aligned(lines)


if __name__ == "__main__":
    sys.exit(console.run(main))
