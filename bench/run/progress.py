"""What a run tells while it goes on: the time left, the current cell and its objective, the last result.

On a terminal two lines are drawn again and again; elsewhere (a file, CI) each finished cell is one plain line.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TextIO

from bench.machine.environment import BUSY_CORES
from bench.plan.budgets import Budget
from bench.plan.cells import OPTIMISE, Cell
from bench.plan.durations import estimate_s, usual_evaluations
from bench.run import output
from bench.run.screen import Screen

SECONDS_BETWEEN_STEPS = 5.0  # of the lines that -v prints for the steps of a cell
# After so many cells of a run it is told if they take this many times as long as was estimated.
FIRST_CELLS, SLOW = 3, 1.4


def duration(seconds: float) -> str:
    """Seconds for people: 45 s, 6 min, 1 h 05 min."""
    if seconds < 90:
        return f"{max(0, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def milliseconds(seconds: float) -> str:
    """A short time for people: 74.1 ms, 1.20 s."""
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


# ----------------------------------------------------------------------------------------------------- the time left


class Estimator:
    """How long cells take: the plan's estimates, corrected by how long the finished ones took."""

    def __init__(self, budget: Budget, pictures: Callable[[Cell], int] = lambda cell: 1):
        self.budget, self.pictures = budget, pictures
        self.measured: dict[tuple, float] = {}
        self.sums: dict[tuple, list[float]] = {}

    def _same(self, cell: Cell) -> tuple:
        return (cell.engine, cell.method, cell.task, cell.size, cell.batch, cell.dtype, cell.device,
                self.pictures(cell))  # fmt: skip

    def guess(self, cell: Cell) -> float:
        """How long it will take by the plan alone."""
        return estimate_s(cell, self.budget, self.pictures(cell))

    @staticmethod
    def _alike(cell: Cell) -> tuple[tuple, ...]:
        """Groups of cells that take alike longer or shorter than was guessed: its engine's own first."""
        return (cell.engine, cell.method), (cell.engine, cell.kind), (cell.method,), (cell.kind,)

    def learn(self, cell: Cell, seconds: float) -> None:
        """``cell`` took ``seconds``: use that for its other seeds, its ratio to the guess for cells that are alike."""
        self.measured[self._same(cell)] = seconds
        for group in self._alike(cell):
            sums = self.sums.setdefault(group, [0.0, 0.0])
            sums[0] += seconds
            sums[1] += self.guess(cell)

    def knows(self, cell: Cell) -> bool:
        """Whether the cell, with another seed, was measured."""
        return self._same(cell) in self.measured

    def seconds(self, cell: Cell) -> float:
        """How long ``cell`` will take."""
        if self.knows(cell):
            return self.measured[self._same(cell)]
        for group in self._alike(cell):
            if group in self.sums:
                taken, guessed = self.sums[group]
                return self.guess(cell) * taken / guessed
        return self.guess(cell)


class Current:
    """The cell that is being measured, as far as its worker has told.

    ``target``: the objective that an optimisation is to come down to at the end, None without one.
    """

    def __init__(self, cell: Cell, target: float | None = None, clock: Callable[[], float] = time.monotonic):
        self.cell, self.target, self.clock = cell, target, clock
        self.since = clock()
        self.step = ""
        self.objective: float | None = None
        self.evaluations, self.curve_seconds = 0, 0.0

    def event(self, event: Mapping[str, Any]) -> None:
        """Something that the worker reported."""
        if event["event"] == "curve":
            self.evaluations, self.curve_seconds = int(event["iteration"]), float(event["seconds"])
            self.objective = float(event["objective"])
            self.step = f"evaluation {self.evaluations}"
        elif event["event"] == "progress":
            self.step = " ".join(str(event.get("text", "")).split())[:60]
        elif event["event"] == "sample" and event["metric"] == "objective":
            self.objective = float(event["value"])

    @property
    def spent(self) -> float:
        return self.clock() - self.since

    def left(self, estimator: Estimator) -> float:
        """Seconds until it ends; 0 once it takes longer than can be known.

        An optimisation that is on its way goes by its own pace and its budget's limit, unless another seed's time is
        known.
        """
        if self.curve_seconds > 0 and not estimator.knows(self.cell) and estimator.pictures(self.cell) == 1:
            budget, pace = estimator.budget, self.curve_seconds / max(1, self.evaluations)
            by_count = (usual_evaluations(budget) - self.evaluations) * pace
            by_clock = budget.limit_s(self.cell.size, self.cell.variant) - self.curve_seconds
            return max(0.0, min(by_count, by_clock))
        return max(0.0, estimator.seconds(self.cell) - self.spent)

    def text(self) -> str:
        """What it is and where it has got to."""
        parts = [self.step] if self.step else []
        if self.objective is not None:
            aim = f", to reach {self.target:.4g}" if self.target is not None else ""
            parts.append(f"objective {self.objective:.4g}{aim}")
        parts.append(duration(self.spent))
        return f"{self.cell.label()}: {', '.join(parts)}"


def left_text(seconds: float, at_least: bool) -> str:
    """ "about 6 min left"; "at least" where the current cell takes longer than was thought."""
    if at_least and seconds < 1:
        return "takes longer than estimated"
    return f"{'at least' if at_least else 'about'} {duration(seconds)} left"


# ------------------------------------------------------------------------------------------------------------- a run


def result_line(cell: Cell, record: Mapping[str, Any]) -> str:
    """A finished cell in a few words."""
    if record["status"] != "ok":
        return f"{cell.label()}: {record['status']} ({record['reason']})"
    medians = record["medians"]
    parts = []
    if "latency_s" in medians:
        parts.append(f"{milliseconds(medians['latency_s'])}")
    if cell.kind == OPTIMISE:
        parts.append(f"{record['evaluations']} evaluations")
    if "objective" in medians:
        parts.append(f"objective {medians['objective']:.4g}")
    return f"{cell.label()}: {', '.join(parts) or 'ok'}"


def result_details(record: Mapping[str, Any]) -> str:
    """What -v adds to a finished cell's line."""
    medians, parts = record["medians"], [f"took {duration(record['duration_s'])}"]
    if "iteration_s" in medians:
        parts.append(f"{milliseconds(medians['iteration_s'])} a step")
    if "peak_memory_bytes" in medians:
        parts.append(f"peak {medians['peak_memory_bytes'] / 1e6:.0f} MB")
    if "working_memory_bytes" in medians:
        parts.append(f"working {medians['working_memory_bytes'] / 1e6:.0f} MB")
    if record["attempts"] > 1:
        parts.append(f"{record['attempts']} attempts")
    return ", ".join(parts)


class Progress:
    """Follows the scheduler of a run. ``level`` is one of bench.run.output; at QUIET it says nothing at all."""

    def __init__(
        self,
        budget: Budget,
        stream: TextIO | None = None,
        level: int = output.USUAL,
        pictures: Callable[[Cell], int] = lambda cell: 1,
    ):
        self.screen = Screen(stream, level)
        self.estimator = Estimator(budget, pictures)
        self.waiting: list[Cell] = []
        self.current: Current | None = None
        self.last = ""
        self.total = self.count = 0
        self._told = 0.0
        self._busy = False
        self._taken: list[tuple[float, float]] = []  # seconds that cells took, and that were estimated for them

    def begin(self, cells: Sequence[Cell], records: Iterable[Mapping[str, Any]] = ()) -> None:
        """``cells`` are to be run; ``records`` are those of cells that were finished before."""
        before = list(records)
        for record in before:
            self._learn(Cell.from_dict(record), record)
        self.waiting = list(cells)
        self.count, self.total = len(before), len(before) + len(cells)
        if not cells:
            return
        again = f", {len(before)} already done" if before else ""
        usual = "" if before else " if the machine does nothing else; the estimate follows what is measured"
        self.screen.line(f"{len(cells)} cell{'s' * (len(cells) > 1)}{again}, about {duration(self.left()[0])}{usual}")
        self.screen.open(self.total, self.count)
        for cell in self.waiting:
            guess = duration(self.estimator.seconds(cell))
            self.screen.line(f"  {cell.label()}, seed {cell.seed}: about {guess}", least=output.VERBOSE)

    def left(self) -> tuple[float, bool]:
        """Seconds until the last cell has ended, by what is known now; whether it will be more than that."""
        waiting = sum(self.estimator.seconds(cell) for cell in self.waiting)
        if self.current is None:
            return waiting, False
        rest = self.current.left(self.estimator)
        return waiting + rest, rest <= 0

    def started(self, cell: Cell, targets: Mapping[str, float] | None = None) -> None:
        """``cell`` is being measured from now on."""
        self._take(cell)
        self.current = Current(cell, min(targets.values()) if targets else None)
        self._told = self.current.since
        guess = duration(self.estimator.seconds(cell))
        self.screen.line(f"  {cell.label()}: started, about {guess}", least=output.VERBOSE)
        self._draw(force=True)

    def event(self, event: Mapping[str, Any]) -> None:
        """Something that the worker reported."""
        if self.current is None:
            return
        self.current.event(event)
        now = time.monotonic()
        if event["event"] == "progress" or now - self._told >= SECONDS_BETWEEN_STEPS:
            self._told = now
            self.screen.line(f"  {self.current.text()}", least=output.VERBOSE)
        self._draw()

    def tick(self) -> None:
        """Some time has passed."""
        self._draw()

    def finished(self, cell: Cell, record: Mapping[str, Any]) -> None:
        """``cell`` has ended as ``record`` says."""
        self._take(cell)
        self.current = None
        if record["status"] == "ok":
            self._taken.append((record["duration_s"], self.estimator.guess(cell)))
        self._learn(cell, record)
        self.count += 1
        self.last = result_line(cell, record)
        failed = record["status"] != "ok"
        if self.screen.live:
            self.screen.line(self.last, "worse" if failed else None, output.USUAL if failed else output.VERBOSE)
        else:
            rest = left_text(*self.left()) if self.waiting else "all measured"
            self.screen.line(f"[{self.count}/{self.total}] {self.last}; {rest}")
        if not failed:
            self.screen.line(f"  {result_details(record)}", least=output.VERBOSE)
        foreign = record.get("foreign_cores") or 0.0
        if foreign > BUSY_CORES and not self._busy:
            self._busy = True
            self.screen.line(f"busy machine: other processes used {foreign:.1f} cores while that was measured; its "
                             "times may be too long, and the report says so", "open")  # fmt: skip
        if len(self._taken) == FIRST_CELLS and not failed and self.waiting:
            taken, estimated = map(sum, zip(*self._taken))
            if taken > SLOW * estimated:
                self.screen.line(
                    f"the first cells took {taken / estimated:.1f} times as long as estimated (slow or busy machine?): "
                    + left_text(*self.left()),
                    "open",
                )
        self.screen.advance(self.count)
        self._draw(force=True)

    def close(self) -> None:
        """Nothing more will come."""
        self.screen.close()

    def _learn(self, cell: Cell, record: Mapping[str, Any]) -> None:
        if record["status"] == "ok":
            self.estimator.learn(cell, record["duration_s"])

    def _take(self, cell: Cell) -> None:
        if cell in self.waiting:
            self.waiting.remove(cell)

    def _draw(self, force: bool = False) -> None:
        upper = left_text(*self.left()) + (f"; last: {self.last}" if self.last else "")
        self.screen.draw(upper, self.current.text() if self.current else "", force)


# ------------------------------------------------------------------------------------------------------ a comparison


class Rounds:
    """Follows the rounds of a comparison (:mod:`bench.gate.rounds`), which ends when all is clear, or in time."""

    def __init__(
        self,
        budget: Budget,
        limit_s: float,
        stream: TextIO | None = None,
        level: int = output.USUAL,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.screen = Screen(stream, level)
        self.estimator = Estimator(budget)
        self.limit_s, self.clock = limit_s, clock
        self.first: list[Cell] = []
        self.current: Current | None = None
        self.sides: Sequence[str] = ()
        self.side = ""
        self.begun = 0.0

    def begin(self, cells: Sequence[Cell], blocks: int) -> None:
        """``cells`` are measured in rounds of so many ``blocks`` each, two at a time."""
        self.begun = self.clock()
        self.first = [cell for cell in cells for _ in range(blocks)]
        self.screen.open(len(cells), unit="cells clear")
        if not self.screen.live:
            self.screen.line(f"{len(cells)} cell{'s' * (len(cells) > 1)} in rounds of {blocks} blocks, {self._left()}")

    def pair(self, cell: Cell, sides: Sequence[str], number: int) -> None:
        """Two blocks of round ``number`` begin, which are measured in turns."""
        for _ in sides:
            if cell in self.first:
                self.first.remove(cell)
        self.sides, self.side = sides, f"round {number}, {' and '.join(sides)}"
        self.current = Current(cell, clock=self.clock)
        self.screen.line(f"  {self.side}: {cell.label()}", least=output.VERBOSE)
        self._draw(force=True)

    def event(self, event: Mapping[str, Any]) -> None:
        """Something that the worker reported."""
        if self.current is not None:
            self.current.event(event)
        self._draw()

    def tick(self) -> None:
        """Some time has passed."""
        self._draw()

    def ended(self, cell: Cell, well: bool) -> None:
        """The pair of blocks has ended."""
        if well and self.current is not None:
            self.estimator.learn(cell, self.current.spent / len(self.sides))
        self.current = None

    def round(self, text: str) -> None:
        """A round of a cell has ended with these verdicts."""
        self.screen.line(text if self.screen.live else f"{text}; {self._left()}")
        self._draw(force=True)

    def decided(self, cells: int) -> None:
        """So many cells will get no more rounds."""
        self.screen.advance(cells)

    def close(self) -> None:
        """Nothing more will come."""
        self.screen.close()

    def left(self) -> float:
        """Seconds at most: what the limit leaves, or the first round's rest, which is measured whatever it takes."""
        rest = sum(self.estimator.seconds(cell) for cell in self.first)
        if self.current:
            rest += max(0.0, len(self.sides) * self.estimator.seconds(self.current.cell) - self.current.spent)
        return max(self.limit_s - (self.clock() - self.begun), rest)

    def _left(self) -> str:
        return f"at most about {duration(self.left())} left"

    def _draw(self, force: bool = False) -> None:
        lower = f"{self.side}: {self.current.text()}" if self.current else ""
        self.screen.draw(self._left(), lower, force)


# ---------------------------------------------------------------------------------------------- one thing, in parts


class Parts:
    """Follows one measurement in parts, each of which tells the share of the work that was done before it."""

    def __init__(
        self,
        stream: TextIO | None = None,
        level: int = output.USUAL,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.screen, self.clock = Screen(stream, level), clock
        self.begun = clock()
        self.screen.open(100, unit="%")

    def part(self, name: str, done: float) -> None:
        """A part begins; ``done`` is from 0 to 1."""
        spent = self.clock() - self.begun
        rest = f"; about {duration(spent / done - spent)} left" if done > 0 else ""
        if not self.screen.live:
            self.screen.line(name + rest)
        self.screen.advance(round(100 * done))
        self.screen.draw(rest[2:], name, force=True)

    def close(self) -> None:
        """Nothing more will come."""
        self.screen.close()
