"""What a run tells on the terminal while it goes on: time left, the current cell, the last result. On stderr.

On a terminal one line is redrawn by tqdm; elsewhere (a file, CI) each finished cell is one plain line.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from bench.plan import OPTIMISE, Budget, Cell, estimate_s


class Estimator:
    """Seconds left, from the budget's estimates, corrected by what was measured so far."""

    def __init__(self, budget: Budget):
        self.budget = budget
        self.measured: dict[tuple, float] = {}
        self.ratios: dict[str, list[float]] = {}

    @staticmethod
    def _same(cell: Cell) -> tuple:
        return (cell.engine, cell.method, cell.task, cell.size, cell.batch, cell.dtype, cell.device)

    def learn(self, cell: Cell, seconds: float) -> None:
        """``cell`` took ``seconds``: use that for its other seeds, its ratio to the guess for its kind."""
        self.measured[self._same(cell)] = seconds
        self.ratios.setdefault(cell.kind, []).append(seconds / estimate_s(cell, self.budget))

    def seconds(self, cell: Cell) -> float:
        """How long ``cell`` will take."""
        if self._same(cell) in self.measured:
            return self.measured[self._same(cell)]
        ratios = self.ratios.get(cell.kind)
        return estimate_s(cell, self.budget) * (sum(ratios) / len(ratios) if ratios else 1.0)


def duration(seconds: float) -> str:
    """Seconds for people: 45 s, 6 min, 1 h 05 min."""
    if seconds < 90:
        return f"{max(0, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


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


def milliseconds(seconds: float) -> str:
    """A short time for people: 74.1 ms, 1.20 s."""
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


class Progress:
    """Follows the scheduler. ``quiet`` says nothing at all."""

    def __init__(self, budget: Budget, stream: TextIO | None = None, quiet: bool = False):
        self.stream = sys.stderr if stream is None else stream
        self.quiet = quiet
        self.estimator = Estimator(budget)
        self.waiting: list[Cell] = []
        self.current: Cell | None = None
        self.since = 0.0
        self.last = self.detail = ""
        self.total = self.count = 0
        self.bar: Any = None
        self._drawn = 0.0

    def begin(self, cells: Sequence[Cell], done: int) -> None:
        """``cells`` are to be run; ``done`` were finished before."""
        self.waiting = list(cells)
        self.count, self.total = done, done + len(cells)
        if self.quiet or not cells:
            return
        if self.stream.isatty():
            from tqdm import tqdm

            tqdm.monitor_interval = 0  # no thread: this process forks
            self.bar = tqdm(
                total=self.total,
                initial=done,
                file=self.stream,
                bar_format="{n_fmt}/{total_fmt} |{bar:16}| {desc}",
                dynamic_ncols=True,
                leave=False,
            )
        else:
            again = f", {done} already done" if done else ""
            self._line(f"{len(cells)} cells{again}, about {duration(self.left())}")

    def left(self) -> float:
        """Seconds until the last cell has ended, by what is known now."""
        total = sum(self.estimator.seconds(cell) for cell in self.waiting)
        if self.current is not None:
            spent = time.monotonic() - self.since
            total += max(0.0, self.estimator.seconds(self.current) - spent)
        return total

    def started(self, cell: Cell) -> None:
        self._take(cell)
        self.current, self.since, self.detail = cell, time.monotonic(), ""
        self._draw(force=True)

    def event(self, event: Mapping[str, Any]) -> None:
        """Something that the worker reported."""
        if event["event"] == "curve":
            self.detail = f"evaluation {event['iteration']:.0f}, objective {event['objective']:.4g}"
        elif event["event"] == "progress":
            self.detail = " ".join(str(event.get("text", "")).split())[:60]
        self._draw()

    def tick(self) -> None:
        self._draw()

    def finished(self, cell: Cell, record: Mapping[str, Any]) -> None:
        self._take(cell)
        self.current = None
        if record["status"] == "ok":
            self.estimator.learn(cell, record["duration_s"])
        self.count += 1
        self.last = result_line(cell, record)
        if self.quiet:
            return
        if self.bar is None:
            self._line(f"[{self.count}/{self.total}] {self.last}; {duration(self.left())} left")
            return
        if record["status"] != "ok":
            self.bar.write(self.last, file=self.stream)
        self.bar.update(1)
        self._draw(force=True)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def _take(self, cell: Cell) -> None:
        if cell in self.waiting:
            self.waiting.remove(cell)

    def _draw(self, force: bool = False) -> None:
        now = time.monotonic()
        if self.bar is None or (not force and now - self._drawn < 0.5):
            return
        self._drawn = now
        parts = [f"{duration(self.left())} left"]
        if self.current is not None:
            parts.append(self.current.label() + (f": {self.detail}" if self.detail else ""))
        if self.last:
            parts.append(f"last: {self.last}")
        self.bar.set_description_str("; ".join(parts))

    def _line(self, text: str) -> None:
        print(text, file=self.stream, flush=True)
