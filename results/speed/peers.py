"""What the comparisons with public peers share: blocks in fresh processes, in turns; their record; the table.

A block is one program of ``blocks/`` in one process. Each round has four, in the order A B B A (A the peer, B ours), so
that whatever slows the machine for a while hits both halves of a pair; see bench/regression.py, which gives the ratios.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT))

import pandas as pd  # noqa: E402  (the suite's own packages need not be installed)

from bench.gate import verdicts  # noqa: E402
from bench.machine import environment  # noqa: E402
from bench.run.result_table import aligned  # noqa: E402
from bench.store import run_folder  # noqa: E402
from nst_gluon.cli import console  # noqa: E402
from nst_gluon.system import runtime  # noqa: E402
from nst_gluon.system.errors import UserError  # noqa: E402
from nst_gluon.system.files import write_atomically  # noqa: E402

COLUMNS = ("cell", "metric", "unit", "round", "position", "side", "value")
LIMIT_S = 3600
PLACES = ("peer_python", "output", "force", "onnx", "before")
PEER, OURS = verdicts.BASELINE, verdicts.CANDIDATE
NAMES = {PEER: "peer", OURS: "ours"}


def parser(description: str, output: str) -> argparse.ArgumentParser:
    """The arguments that every comparison has."""
    made = console.Parser(description=description)
    made.add_argument("--peer-python", required=True, metavar="FILE", help="the Python of the peer's environment")
    made.add_argument("--size", default="256,512", metavar="LIST", help="sides in pixels (%(default)s)")
    add_common(made, output, rounds=5)
    return made


def add_common(made: argparse.ArgumentParser, output: str, rounds: int) -> None:
    """The arguments of everything that is measured in rounds here."""
    made.add_argument("--threads", metavar="N", help="threads of both (all cores that may be used)")
    made.add_argument("--rounds", default=str(rounds), metavar="N", help="rounds of four blocks (%(default)s)")
    add_output(made, output)


def add_output(made: argparse.ArgumentParser, output: str) -> None:
    """Where the record goes."""
    made.add_argument("--output", type=Path, default=HERE / output, metavar="FILE", help="the record (%(default)s)")
    made.add_argument("--force", action="store_true", help="overwrite the record")


def numbers(argument: str, text: str, least: int = 1) -> list[int]:
    """A list of whole numbers, "256,512"."""
    return [console.whole_number(argument, least)(part.strip()) for part in text.split(",")]


def threads_of(options: argparse.Namespace) -> int:
    """The threads of both sides."""
    return runtime.available_cores() if options.threads is None else numbers("--threads", options.threads)[0]


def settings(options: argparse.Namespace) -> dict[str, str]:
    """The arguments for the record, without those that say where things are on this machine."""
    return {name: str(value) for name, value in vars(options).items() if name not in PLACES}


def check(options: argparse.Namespace, package: str) -> None:
    """Refuse, before anything is measured, a peer without its package and a record that is there already."""
    check_output(options)
    try:
        done = subprocess.run(
            [options.peer_python, "-I", "-c", f"import {package}"], capture_output=True, text=True, timeout=300
        )
    except OSError as error:
        raise UserError(f"--peer-python: cannot run {options.peer_python!r} ({error.strerror})") from None
    if done.returncode:
        raise UserError(f"--peer-python: {options.peer_python!r} has no {package}; install it there")


def check_output(options: argparse.Namespace) -> None:
    """Refuse, before anything is measured, a record that is there already."""
    for path in (options.output, facts_path(options.output)):
        if path.exists() and not options.force:
            raise UserError(f"--output: {str(path)!r} exists; give another name, or --force to overwrite it")
    if not options.output.absolute().parent.is_dir():
        raise UserError(f"--output: there is no folder {str(options.output.absolute().parent)!r}")


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A record of another form: what was found, not how long it took."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(columns)
    table.writerows(rows)
    write_atomically(path, text.getvalue().encode())


def block(python: str, program: str, spec: Mapping[str, Any], checkout: Path = ROOT) -> dict[str, Any]:
    """Run one program of ``blocks/`` in a fresh process, with the suite of ``checkout`` if it is ours; what it printed.

    Raises:
        UserError: it failed; its last words are in the line.
    """
    ours = python == sys.executable
    variables = {**os.environ, "PYTHONPATH": str(checkout.resolve()) if ours else ""}
    variables["OMP_NUM_THREADS"] = str(spec["threads"])
    done = subprocess.run(
        [python, str(HERE / "blocks" / program), json.dumps(spec)],
        env=variables, capture_output=True, text=True, timeout=LIMIT_S,
    )  # fmt: skip
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise UserError(f"{program}: {last}")
    return json.loads(done.stdout.splitlines()[-1])


def facts_path(output: Path) -> Path:
    """Where the machine, versions and settings of a record are written."""
    return output.with_suffix(".json")


class Record:
    """The CSV file, written row by row, and beside it a JSON file with machine, versions and settings."""

    def __init__(self, output: Path, threads: int, settings: Mapping[str, Any]):
        self.rows: list[dict[str, Any]] = []
        self.facts: dict[str, Any] = {
            "settings": dict(settings),
            "environment": environment.capture(threads),
            "load_before": environment.load_average(),
            "versions": {},
        }
        self._output = output
        with open(output, "w", newline="", encoding="utf-8") as stream:
            csv.writer(stream, lineterminator="\n").writerow(COLUMNS)

    def add(self, cell: str, place: tuple[int, int], metric: str, values: Sequence[float], unit: str = "s") -> None:
        """Rows of one block, whose ``place`` is (round, position)."""
        side = NAMES[verdicts.ORDER[place[1]]]
        rows = [dict(zip(COLUMNS, (cell, metric, unit, *place, side, value))) for value in values]
        self.rows += rows
        with open(self._output, "a", newline="", encoding="utf-8") as stream:
            csv.DictWriter(stream, COLUMNS, lineterminator="\n").writerows(rows)

    def finish(self) -> pd.DataFrame:
        """Write the facts; returns all rows."""
        self.facts["load_after"] = environment.load_average()
        run_folder.write_json(facts_path(self._output), self.facts)
        return pd.DataFrame(self.rows, columns=list(COLUMNS))


def alternate(rounds: int, sides: Mapping[str, Callable[[int, int], None]], what: str) -> None:
    """Call each side's function with (round, position), in turns."""
    for number in range(rounds):
        for position, side in enumerate(verdicts.ORDER):
            begun = time.monotonic()
            sides[side](number, position)
            took = time.monotonic() - begun
            print(f"{what}: round {number + 1}/{rounds}, {NAMES[side]}: {took:.0f} s", file=sys.stderr, flush=True)


def table(samples: pd.DataFrame, peer: str) -> str:
    """Medians of both sides and ours over theirs with its interval, for every cell and metric."""
    lines = [("what", "metric", f"{peer}, ms", "ours, ms", "ours / theirs", "95 % interval", "verdict on ours")]
    for row in verdicts.compare_rounds(samples).itertuples():
        lines.append((
            row.cell, row.metric, f"{row.baseline * 1e3:,.1f}", f"{row.candidate * 1e3:,.1f}", f"{row.ratio:.3f}",
            f"[{row.low:.3f}, {row.high:.3f}]", f"{row.verdict}{f' ({row.note})' if row.note else ''}",
        ))  # fmt: skip
    return aligned(lines)
