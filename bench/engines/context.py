"""What an engine reports through: lines of JSON to whoever started the worker."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from bench.plan.cells import Cell
from nst_gluon.objective.loss_terms import TERMS

# A turn of a process that takes turns with another: long against what the change costs, short against what makes a
# machine slower or faster for a while.
TURN_S, TURN_CALLS = 0.1, 3


@dataclass
class Context:
    """The worker's end of the pipe.

    ``targets``: by generator and photo (its file's name without folder and ending; "" for a texture), the objective
    that an optimisation is to come down to and the one at which it may end. ``photos`` and ``draws``: see
    :meth:`bench.plan.cells.Plan.share`. ``spawned`` is the monotonic time at which the orchestrator started this
    process. ``available``: bytes that the cell can have, None for all that are free. ``turns``: where whoever started
    this process says that it is its turn, if it takes turns with another (:func:`bench.run.process.run_in_turns`).
    """

    pipe: int
    run_dir: Path
    cell: Cell
    targets: Mapping[str, Mapping[str, Sequence[float]]]
    spawned: float
    photos: Sequence[str] = ()
    draws: int = 0
    available: int | None = None
    turns: TextIO | None = None
    _began: float = -math.inf
    _calls: int = TURN_CALLS

    def emit(self, event: str, **fields: Any) -> None:
        """Write one line of the protocol. Ends this process if nobody reads any more."""
        data = json.dumps({"event": event, **fields}).encode() + b"\n"
        try:
            while data:
                data = data[os.write(self.pipe, data) :]
        except BrokenPipeError:
            os._exit(1)

    def sample(self, metric: str, value: float, unit: str, photo: str = "") -> None:
        """One raw sample of a metric; of a picture that was made of a photo, with that photo's name."""
        self.emit("sample", metric=metric, value=float(value), unit=unit, **({"photo": photo} if photo else {}))

    def curve(self, seconds: float, iteration: int, terms: Any, photo: str = "") -> None:
        """One evaluation of the loss; ``terms`` has objective, content, style and tv."""
        self.emit(
            "curve",
            seconds=float(seconds),
            iteration=int(iteration),
            **{name: float(getattr(terms, name)) for name in TERMS},
            **({"photo": photo} if photo else {}),
        )

    def progress(self, text: str) -> None:
        """What is going on, for the progress bar."""
        self.emit("progress", text=text)

    def turn(self) -> bool:
        """Called before each call that is timed. Ends the turn after TURN_S and TURN_CALLS of them, and waits for the
        next; whether it did: what another process left in the caches then makes the first call slower than others.
        """
        if self.turns is None:
            return False
        self._calls += 1
        if self._calls <= TURN_CALLS or time.monotonic() - self._began < TURN_S:
            return False
        self.emit("turn")
        self.turns.readline()
        self._began, self._calls = time.monotonic(), 0
        return True

    def ready(self) -> None:
        """Set-up is over: ``setup_s`` is the time since the process was started."""
        self.sample("setup_s", time.monotonic() - self.spawned, "s")
        self.emit("ready")

    def image(self, suffix: str = "") -> Path:
        """Where the cell's picture goes; announce it with :meth:`saved`. With a ``suffix``: a further picture."""
        return self.run_dir / "images" / f"{self.cell.key}{suffix}.png"

    def saved(self, path: Path) -> None:
        """``path`` (below the run directory) has been written."""
        self.emit("image", path=str(path.relative_to(self.run_dir)))
