"""Where progress is drawn: two lines that are drawn again on a terminal, plain lines one after another elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any, TextIO

from bench.run import output
from nst_gluon.cli import console
from nst_gluon.system.files import escaped

SECONDS_BETWEEN = 0.5  # at most two drawings a second: what is measured needs the cores


class Screen:
    """Progress on ``stream`` (standard error). At the level QUIET nothing is drawn at all."""

    def __init__(self, stream: TextIO | None = None, level: int = output.USUAL):
        self.stream = sys.stderr if stream is None else stream
        self.level = level
        self._bars: list[Any] = []
        self._drawn = 0.0

    @property
    def live(self) -> bool:
        """Whether lines are being drawn again."""
        return bool(self._bars)

    def open(self, total: int, done: int = 0, unit: str = "") -> None:
        """Begin, on a terminal, to draw ``done`` of ``total``."""
        if self.level == output.QUIET or not output.is_terminal(self.stream):
            return
        from tqdm import tqdm

        tqdm.monitor_interval = 0  # no thread: this process forks
        usual = {"file": self.stream, "dynamic_ncols": True, "leave": False}
        bar = "{n_fmt}/{total_fmt}" + f"{unit and ' '}{unit} |{{bar:16}}| {{desc}}"
        self._bars = [
            tqdm(total=total, initial=done, position=0, bar_format=bar, **usual),
            tqdm(total=0, position=1, bar_format="{desc}", **usual),
        ]

    def line(self, text: str, tone: str | None = None, least: int = output.USUAL) -> None:
        """Print a line that stays, from the level ``least`` on; in the colour of one of output.COLOURS, if any."""
        if self.level < least:
            return
        text = console.wrapped(escaped(text), self.stream)
        text = output.paint(text, tone, self.stream) if tone else text
        if self._bars:
            self._bars[0].write(text, file=self.stream)
        else:
            print(text, file=self.stream, flush=True)

    def draw(self, upper: str, lower: str, force: bool = False) -> None:
        """Put texts into the two lines, not too often unless it is forced."""
        now = time.monotonic()
        if not self._bars or (not force and now - self._drawn < SECONDS_BETWEEN):
            return
        self._drawn = now
        for bar, text in zip(self._bars, (upper, lower)):
            bar.set_description_str(escaped(text))

    def advance(self, done: int) -> None:
        """So many are done now."""
        if self._bars:
            self._bars[0].n = done
            self._bars[0].refresh()

    def close(self) -> None:
        """Take the drawn lines away."""
        for bar in reversed(self._bars):
            bar.close()
        self._bars = []
