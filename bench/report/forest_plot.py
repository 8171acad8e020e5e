"""A forest plot whose rows stand in the rows of a table: ratio, interval, noise floor, all on one logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

WIDTH, HEIGHT, MARGIN = 220, 22, 12
# (limit, ticks): the axis goes from 1 / limit to limit. What lies beyond the last one gets an arrow and has no say in
# which axis is taken, so that one large change does not flatten all others.
AXES = (
    (1.12, (0.9, 0.95, 1.0, 1.05, 1.1)),
    (1.25, (0.8, 0.9, 1.0, 1.1, 1.2)),
    (1.5, (0.7, 0.85, 1.0, 1.2, 1.4)),
)


class Forest:
    """The rows of one table; ``rows`` have ratio, low, high and floor, each a number or None."""

    def __init__(self, rows: Iterable[Mapping[str, Any]]):
        distances = [abs(math.log(end)) for row in rows for end in _ends(row)]
        furthest = max((far for far in distances if far <= math.log(AXES[-1][0])), default=0.0)
        self.limit, self.ticks = next(axis for axis in AXES if math.log(axis[0]) >= furthest)

    def limits(self) -> str:
        """The ends of the axis in words."""
        return f"{1 / self.limit:.2f} to {self.limit:.2f}"

    def draw(self, row: Mapping[str, Any], verdict: str, tone: str = "calm") -> str:
        """The SVG of one row, of the CSS class ``tone``; empty where there is no ratio. All text in it is escaped."""
        ratio, low, high = (_number(row.get(name)) for name in ("ratio", "low", "high"))
        if ratio is None:
            return ""
        low, high = (ratio if end is None else end for end in (low, high))
        floor = _number(row.get("floor"))
        words = f"ratio {ratio:.3f}, interval {low:.3f} to {high:.3f}"
        band = ""
        if floor is not None:
            words += f", noise floor {1 / (1 + floor):.3f} to {1 + floor:.3f}"
            band = self._band(floor)
        return _svg(f"{words}: {verdict}", band + self._middle() + self._interval(ratio, low, high), tone)

    def axis(self) -> str:
        """The ticks, for the head of the column."""
        texts = "".join(
            f'<line x1="{self._x(tick):.1f}" x2="{self._x(tick):.1f}" y1="16" y2="22" class="line"/>'
            f'<text x="{self._x(tick):.1f}" y="12" text-anchor="middle">{tick:g}</text>'
            for tick in self.ticks
        )
        return _svg(f"logarithmic axis of ratios, {self.limits()}", texts, "calm")

    def key(self) -> str:
        """An example for the legend."""
        step = (self.limit - 1) / 4
        drawn = self._band(step) + self._middle() + self._interval(1 + 2 * step, 1 + 0.8 * step, 1 + 3.2 * step)
        return _svg("example of a row", drawn, "open")

    def _x(self, ratio: float) -> float:
        half = WIDTH / 2 - MARGIN
        place = math.log(ratio) / math.log(self.limit)
        return WIDTH / 2 + half * max(-1.0, min(1.0, place))

    def _band(self, floor: float) -> str:
        left, right = self._x(1 / (1 + floor)), self._x(1 + floor)
        return f'<rect x="{left:.1f}" y="0" width="{right - left:.1f}" height="{HEIGHT}" class="band"/>'

    def _middle(self) -> str:
        return f'<line x1="{WIDTH / 2:.1f}" x2="{WIDTH / 2:.1f}" y1="0" y2="{HEIGHT}" class="line"/>'

    def _interval(self, ratio: float, low: float, high: float) -> str:
        left, right, y = self._x(low), self._x(high), HEIGHT / 2
        drawn = f'<line x1="{left:.1f}" x2="{right:.1f}" y1="{y}" y2="{y}" class="interval"/>'
        for end, x, way in ((low, left, -1), (high, right, 1)):
            beyond = math.log(end) * way > math.log(self.limit)
            shape = f"M{x:.1f} {y - 5}l{7 * way} 5l{-7 * way} 5z" if beyond else f"M{x:.1f} {y - 4}v8"
            drawn += f'<path d="{shape}" class="{"arrow" if beyond else "interval"}"/>'
        if 1 / self.limit <= ratio <= self.limit:
            drawn += f'<circle cx="{self._x(ratio):.1f}" cy="{y}" r="3.5" class="dot"/>'
        return drawn


def _svg(words: str, drawn: str, tone: str) -> str:
    return (
        f'<svg class="forest {tone}" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" '
        f'aria-label="{escape(words)}">{drawn}</svg>'
    )


def _ends(row: Mapping[str, Any]) -> Iterable[float]:
    found = [_number(row.get(name)) for name in ("ratio", "low", "high")]
    floor = _number(row.get("floor"))
    if floor is not None and any(found):
        found.append(1 + floor)
    return [end for end in found if end is not None]


def _number(value: Any) -> float | None:
    """A positive, finite number, or None."""
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) and value > 0 else None
