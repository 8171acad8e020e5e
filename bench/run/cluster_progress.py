"""What a run on a cluster tells while it goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.plan.cells import Cell
from bench.run.progress import Current, Progress, left_text


class Several(Progress):
    """Follows several cells that are measured at the same time."""

    def __init__(self, of: Progress):
        super().__init__(of.estimator.budget, of.screen.stream, of.screen.level, of.estimator.pictures)
        self.at_work: dict[str, Current] = {}
        self.machines = 1

    def left(self) -> tuple[float, bool]:
        rests = [current.left(self.estimator) for current in self.at_work.values()]
        waiting = sum(self.estimator.seconds(cell) for cell in self.waiting)
        longest = max([*rests, *map(self.estimator.seconds, self.waiting)], default=0.0)
        return max(longest, (waiting + sum(rests)) / max(1, self.machines)), not waiting and not longest

    def started(self, cell: Cell, targets: Mapping[str, float] | None = None) -> None:
        super().started(cell, targets)
        self.at_work[cell.key], self.current = self.current, None

    def told(self, key: str, event: Mapping[str, Any]) -> None:
        """Something that the worker of one cell reported."""
        if key in self.at_work:
            self.at_work[key].event(event)
        self._draw()

    def finished(self, cell: Cell, record: Mapping[str, Any]) -> None:
        self.at_work.pop(cell.key, None)
        super().finished(cell, record)

    def _draw(self, force: bool = False) -> None:
        upper = left_text(*self.left()) + (f"; last: {self.last}" if self.last else "")
        longest = max(self.at_work.values(), key=lambda current: current.spent, default=None)
        count = len(self.at_work)
        lower = f"{count} cell{'s' * (count != 1)} under way; {longest.text()}" if longest else "waiting"
        self.screen.draw(upper, lower, force)
