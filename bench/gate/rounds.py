"""Measures two checkouts in one job: rounds of A B B A, a fresh process per block, until every verdict is clear.

The two processes of a pair, A B or B A, take turns of a tenth of a second, or of a few calls, while they are timed:
what slows the machine down for a while slows both down. One runs to its end before the other begins where a revision's
worker knows no turns, on a GPU, whose memory is not told by process everywhere, and where both do not fit into memory.

The cells take turns, round by round; a cell that is decided gets no more rounds. The samples of every pair are written
to samples.csv as soon as it has ended, so that each verdict can be worked out again from that file alone.
"""

from __future__ import annotations

import contextlib
import csv
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from bench.analysis import metrics
from bench.gate import guest, revisions, verdicts
from bench.gate.revisions import Checkout
from bench.gate.verdicts import BASELINE, ORDER, Rules
from bench.machine.environment import BUSY_CORES
from bench.plan.cells import CELL_COLUMNS, OPTIMISE, USUAL, Cell, Plan
from bench.plan.durations import timeout_s
from bench.run.outcome import Outcome
from bench.run.output import QUIET
from bench.run.process import Start, run_in_turns
from bench.run.progress import Rounds
from nst_gluon.system import children
from nst_gluon.system.machine import memory_available_bytes

SAMPLE_COLUMNS = ("side", "round", "position", "cell", *CELL_COLUMNS, "metric", "unit", "value")
DECIDED, TIME_IS_UP = "decided", "time budget"
NO_ROUND = "no round within --time"
# A block that takes so many times as long as one that ended, and at least so many seconds, hangs.
PATIENCE, LEAST_PATIENCE_S = 20.0, 60.0
# A checkout's worker imports nothing of the suite that measures, so nst_gluon.system.children cannot start it.
START = """
import ctypes, os, runpy, sys
if sys.platform.startswith("linux"):
    ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)  # PR_SET_PDEATHSIG, SIGKILL: it ends with this process
if os.getppid() != {parent}:
    os._exit(1)
sys.path[0] = {folder!r}
runpy.run_module("bench.run.worker", run_name="__main__", alter_sys=True)
"""
SAFETY = 1.1  # a round that would take longer than what is left is not begun


def cell_name(columns: Mapping[str, Any]) -> str:
    """A cell in few words that say all but the seed, whatever is usual being left out."""
    words = [str(columns[name]) for name in ("method", "task", "style_name", "size") if columns.get(name)]
    words += [f"batch-{columns['batch']}"] if int(columns["batch"]) > 1 else []
    words += [str(columns[name]) for name, value in USUAL.items() if columns[name] != value]
    return " ".join(words)


def start_command(folder: Path) -> list[str]:
    """How to start the worker of the suite in the checkout ``folder``, whatever folder this process is in."""
    return [sys.executable, "-c", START.format(parent=os.getpid(), folder=str(folder))]


def prepare(folder: Path) -> None:
    """Compile a fresh checkout: the first process that imports it must not be another than the next."""
    packages = [str(folder / name) for name in ("bench", "nst_gluon")]
    children.run(children.python("compileall", "-q", *packages), stderr=subprocess.DEVNULL)


@dataclass
class Measured:
    """What came out: ``samples`` has SAMPLE_COLUMNS, ``rows`` verdicts.ROW_COLUMNS."""

    samples: pd.DataFrame
    rows: pd.DataFrame
    failures: list[dict[str, str]]
    stopped_because: str
    rounds: int
    seconds: float
    warnings: list[str] = field(default_factory=list)


class Gate:
    """One comparison. ``run_pair`` runs the workers of two blocks and is replaced in tests.

    Args:
        sides: baseline and candidate.
        metrics: those that are compared; the others are kept in samples.csv.
        folder: where samples.csv and logs go.
        time_limit_s: no round is begun that would end later, except the first.
        progress: is told of every pair and round; silent without one.
    """

    def __init__(
        self,
        sides: Mapping[str, Checkout],
        plan: Plan,
        folder: Path,
        rules: Rules,
        metrics: Sequence[str],
        time_limit_s: float,
        progress: Rounds | None = None,
        run_pair: Callable[[Sequence[Start]], list[Outcome]] = run_in_turns,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.sides, self.plan, self.folder, self.rules = sides, plan, folder, rules
        self.metrics, self.time_limit_s, self.run_pair, self.clock = metrics, time_limit_s, run_pair, clock
        self.progress = progress or Rounds(plan.budget, time_limit_s, level=QUIET)
        self.samples: list[tuple] = []
        self.failures: list[dict[str, str]] = []
        self.foreign: list[float] = []
        self.turns = all(side.guest or revisions.takes_turns(side.folder) for side in sides.values())
        self.available = memory_available_bytes() // 2  # bytes for each of two processes
        self.apart: set[Cell] = set()  # cells whose two processes have not worked at the same time
        self.patience: dict[Cell, float] = {}  # seconds after which a block hangs, once one has ended

    def measure(self) -> Measured:
        """Rounds until every cell is decided or the time is spent."""
        started, stopped = self.clock(), DECIDED
        open_cells, longest, number = list(self.plan.cells), {}, 0
        (self.folder / "logs").mkdir(parents=True, exist_ok=True)
        self.progress.begin(self.plan.cells, len(ORDER))
        path = self.folder / "samples.csv"
        with open(path, "w", newline="", encoding="utf-8") as stream, contextlib.closing(self.progress):
            table = csv.writer(stream, lineterminator="\n")
            table.writerow(SAMPLE_COLUMNS)
            while open_cells:
                number += 1
                for cell in list(open_cells):
                    begun = self.clock()
                    if longest.get(cell, 0.0) * SAFETY > self.time_limit_s - (begun - started):
                        open_cells.remove(cell)
                        stopped = TIME_IS_UP
                        continue
                    whole = self._round(cell, number, table)
                    stream.flush()
                    longest[cell] = max(longest.get(cell, 0.0), self.clock() - begun)
                    if not whole or not verdicts.undecided(self.rows(), cell_name(cell.columns())):
                        open_cells.remove(cell)
                        self.progress.decided(len(self.plan.cells) - len(open_cells))
        left = [cell for cell in self.plan.cells if cell not in longest]
        rows = [*self.rows().to_dict("records"), *self._unmeasured(left)]
        rows = pd.DataFrame(rows, columns=list(verdicts.ROW_COLUMNS))
        samples = self.frame()
        rounds = int(samples["round"].max()) if len(samples) else 0
        seconds = self.clock() - started
        return Measured(samples, rows, self.failures, stopped, rounds, seconds, list(self._warnings(left)))

    def frame(self) -> pd.DataFrame:
        """Every sample so far."""
        return pd.DataFrame(self.samples, columns=list(SAMPLE_COLUMNS)).astype({"value": float})

    def rows(self) -> pd.DataFrame:
        """The verdicts by what is known so far."""
        samples = self.frame()
        return verdicts.compare_rounds(samples[samples["metric"].isin(self.metrics)], self.rules)

    def _unmeasured(self, cells: Iterable[Cell]) -> Iterator[dict[str, Any]]:
        """A row for each of the cells that had no round."""
        for cell in cells:
            others = "latency_s" if cell.kind == OPTIMISE else "iteration_s"
            metric = next((name for name in self.metrics if name != others), others)
            key = cell_name(cell.columns()), metric, metrics.find(metric).unit
            yield {
                **dict(zip(verdicts.KEYS, key)), "floor": self.rules.floor(*key), "n": 0,
                "verdict": verdicts.INCONCLUSIVE, "note": NO_ROUND,
            }  # fmt: skip

    def _round(self, cell: Cell, number: int, table: Any) -> bool:
        """One round of a cell; False if a block failed."""
        name = cell_name(cell.columns())
        for first in range(0, len(ORDER), 2):
            sides = ORDER[first : first + 2]
            self.progress.pair(cell, sides, number)
            outcomes = self.run_pair([self._start(cell, side) for side in sides])
            if self._in_turns(cell) and any(each.status != "ok" for each in outcomes):
                self.apart.add(cell)
                outcomes = [self.run_pair([self._start(cell, side)])[0] for side in sides]
            failed = [(side, each) for side, each in zip(sides, outcomes) if each.status != "ok"]
            self.progress.ended(cell, not failed)
            for side, outcome in failed:
                failure = {"side": side, "status": outcome.status, "reason": outcome.reason}
                self.failures.append({"cell": name, **failure})
                self.progress.round(f"round {number}, {name}: {side} {outcome.status} ({outcome.reason})")
            if failed:
                return False
            for position, (side, outcome) in enumerate(zip(sides, outcomes), first):
                self._keep(cell, (side, number, position), outcome, table)
        mine = self.rows()
        words = [
            f"{row.metric} x{row.ratio:.3f} [{row.low:.3f}, {row.high:.3f}] {row.verdict}"
            for row in mine[mine["cell"] == name].itertuples()
        ]
        self.progress.round(f"round {number}, {name}: {'; '.join(words) or 'nothing to compare'}")
        return True

    def _keep(self, cell: Cell, place: tuple[str, int, int], outcome: Outcome, table: Any) -> None:
        needed = max(LEAST_PATIENCE_S, PATIENCE * outcome.duration_s)
        self.patience[cell] = max(needed, self.patience.get(cell, 0.0))
        if outcome.foreign_cores is not None:
            self.foreign.append(outcome.foreign_cores)
        head = (*place, cell_name(cell.columns()), *cell.columns().values())
        rows = [(*head, metric, unit, value) for metric, unit, value, *_ in outcome.samples]
        table.writerows(rows)
        self.samples += rows

    def _in_turns(self, cell: Cell) -> bool:
        return self.turns and cell.device == "cpu" and cell not in self.apart

    def _start(self, cell: Cell, side: str) -> Start:
        checkout = self.sides[side]
        fields = self.plan.to_dict()
        if checkout.origin is not None:
            fields = guest.at(checkout.folder, checkout.origin, fields)
        if checkout.guest:
            command = guest.command(checkout.folder, fields)
            marks = {"PYTHONDONTWRITEBYTECODE": "1"}  # else the first process, which compiles, is another than the next
        else:
            command = start_command(checkout.folder)
            marks = {"PYTHONPATH": os.pathsep.join(filter(None, [str(checkout.folder), os.environ.get("PYTHONPATH")]))}
        spec = {
            **{name: fields[name] for name in ("settings", "budget")},
            "cell": cell.to_dict(), "photos": self.plan.share(cell)[0], "draws": 0, "targets": {},
            "run_dir": str(self.folder.resolve()),
        }  # fmt: skip
        if self._in_turns(cell):
            spec.update(turns=True, available=self.available)
        return Start(
            command,
            spec,
            timeout_s=min(timeout_s(cell, self.plan.budget), self.patience.get(cell, math.inf)),
            log_path=self.folder / "logs" / f"{side}-{cell.key}.log",
            marks=marks,
            on_event=self.progress.event,
            on_tick=self.progress.tick,
        )

    def _warnings(self, left: Sequence[Cell]) -> Iterator[str]:
        """``left``: the cells that had no round."""
        if left:
            yield f"{NO_ROUND}: {', '.join(cell_name(cell.columns()) for cell in left)}"
        told = {*self.rows()["cell"], *(failure["cell"] for failure in self.failures)}
        names = [cell_name(cell.columns()) for cell in self.plan.cells if cell not in left]
        without = [name for name in names if name not in told]
        if without:
            yield f"no {' or '.join(self.metrics)} to compare: {', '.join(without)}"
        busy = [cores for cores in self.foreign if cores > BUSY_CORES]
        if busy:
            yield (
                f"busy machine: other processes used up to {max(busy):.1f} cores while {len(busy)} of "
                f"{len(self.foreign)} blocks were measured"
            )


def failed_cells(failures: Sequence[Mapping[str, str]], able: Iterable[str] | None = None) -> list[str]:
    """The cells that the baseline could do (``able``; None: where it did not fail), the candidate not."""
    broken = {failure["cell"] for failure in failures if failure["side"] == BASELINE}
    failed = {failure["cell"] for failure in failures if failure["side"] != BASELINE}
    return sorted(failed - broken if able is None else failed & set(able))
