"""What the scripts here share: arguments; blocks in fresh processes, in turns; their record; the table.

A block is one program of ``blocks/`` in one process. Each round has four, in the order A B B A (A the peer, B ours), so
that whatever slows the machine for a while hits both halves of a pair; bench/gate/verdicts.py gives the ratios.
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
from nst_gluon.system.errors import UserError, did_you_mean  # noqa: E402
from nst_gluon.system.files import write_atomically  # noqa: E402

COLUMNS = ("cell", "metric", "unit", "round", "position", "side", "value")
LIMIT_S = 3600
PLACES = ("peer_python", "output", "force", "onnx", "before")
PEER, OURS = verdicts.BASELINE, verdicts.CANDIDATE
NAMES = {PEER: "peer", OURS: "ours"}


def parser(description: str, output: str, rounds: int | None = None) -> argparse.ArgumentParser:
    """The arguments that all scripts have; with ``rounds``: and those of what is measured in turns."""
    made = console.Parser(description=description.splitlines()[0])
    if rounds:
        add_number(made, "--threads", runtime.available_cores(), "threads of all sides (all cores that may be used)")
        add_number(made, "--rounds", rounds, "rounds of four blocks (%(default)s)")
    made.add_argument("--output", type=Path, default=HERE / output, metavar="FILE", help="the record (%(default)s)")
    made.add_argument("--force", action="store_true", help="overwrite the record")
    return made


def add_number(made: argparse.ArgumentParser, name: str, default: int, what: str) -> None:
    """An argument that is a whole number from 1."""
    made.add_argument(name, type=console.whole_number(name, 1), default=default, metavar="N", help=what)


def add_sizes(made: argparse.ArgumentParser, default: str = "256,512", least: int = 16) -> None:
    """The argument --size, a list."""
    sides = console.whole_numbers("--size", least)
    made.add_argument("--size", type=sides, default=default, metavar="LIST", help="sides in pixels (%(default)s)")


def names(argument: str, known: Iterable[str]) -> Callable[[str], list[str]]:
    """A parser of known names, separated by commas; its UserErrors name ``argument``."""
    known = list(known)

    def parse(text: str) -> list[str]:
        for name in text.split(","):
            if name not in known:
                raise UserError(f"{argument}: unknown {name!r}; {did_you_mean(name, known)}")
        return text.split(",")

    return parse


def facts(options: argparse.Namespace) -> dict[str, Any]:
    """Machine and arguments for the record, without those that say where things are on this machine."""
    return {
        "settings": {name: value for name, value in vars(options).items() if name not in PLACES},
        "environment": environment.capture(options.threads),
        "load_before": environment.load_average(),
        "versions": {},
    }


def write_facts(output: Path, found: dict[str, Any]) -> None:
    """Write them beside the record, when all is measured."""
    run_folder.write_json(facts_path(output), {**found, "load_after": environment.load_average()})


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

    def __init__(self, options: argparse.Namespace):
        self.rows: list[dict[str, Any]] = []
        self.facts = facts(options)
        self._output = options.output
        write_table(self._output, COLUMNS, [])

    def add(self, cell: str, place: tuple[int, int], metric: str, values: Sequence[float], unit: str = "s") -> None:
        """Rows of one block, whose ``place`` is (round, position)."""
        side = NAMES[verdicts.ORDER[place[1]]]
        rows = [dict(zip(COLUMNS, (cell, metric, unit, *place, side, value))) for value in values]
        self.rows += rows
        with open(self._output, "a", newline="", encoding="utf-8") as stream:
            csv.DictWriter(stream, COLUMNS, lineterminator="\n").writerows(rows)

    def finish(self) -> pd.DataFrame:
        """Write the facts; returns all rows."""
        write_facts(self._output, self.facts)
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
