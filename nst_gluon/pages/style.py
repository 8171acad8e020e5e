"""The one style of all plots: colours (Okabe-Ito), marks, axes; and SVG that a page can embed and recolour."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from nst_gluon.pages.wording import clean
from nst_gluon.system.files import mark

if TYPE_CHECKING:
    import pandas as pd

INK, MUTED, GRID, PAPER = "#1b2027", "#59636f", "#d9dee4", "#ffffff"
BLUE = "#0072b2"
# In a page these become custom properties of its style sheet, which has a dark variant.
_PROPERTIES = {INK: "--ink", MUTED: "--muted", GRID: "--grid", PAPER: "--card", BLUE: "--blue"}

# A method's own, in the order of the methods of a page.
MARKERS = "osD^vPXph*d8"
LINES = {"stylize": "-", "texture": (0, (4, 2))}

# Inches. At 9 points the type is readable when the figure fills a telephone's width.
WIDTH, AXES_HEIGHT = 4.8, 2.5
LONGEST_OF_TWO = 36  # characters of a legend's entry that still leave room for another beside it
LONGEST_NAME = 80
LEFT, RIGHT, TOP, BOTTOM, LEGEND_ROW, BETWEEN = 0.78, 0.15, 0.32, 0.52, 0.19, 0.34
RC: dict[str, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.linewidth": 0.8,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "legend.handlelength": 2.2,
    "legend.borderaxespad": 0,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "svg.fonttype": "none",
    "svg.hashsalt": "nst-gluon",
    "pdf.fonttype": 42,
}


def marks(colors: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """(colour, marker) for each method, from its own colour by name."""
    return {name: (color.lower(), MARKERS[place % len(MARKERS)]) for place, (name, color) in enumerate(colors.items())}


def tint(colour: str, part: float) -> str:
    """``colour`` with ``part`` of it (0 to 1) replaced by white."""
    if not part:
        return colour
    channels = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return "#" + "".join(f"{round(channel + (255 - channel) * part):02x}" for channel in channels)


def label(text: str) -> str:
    """Text for a plot: cleaned, and with no character that matplotlib would take for mathematics."""
    return clean(text, 66).replace("$", r"\$")


def figure(panels: int = 1, height: float = AXES_HEIGHT) -> tuple[Figure, list[Axes]]:
    """A figure with so many axes, one below the other, each ``height`` inches high, sharing the horizontal axis. Call
    within :func:`context`, and :func:`finish` it.
    """
    made = Figure(figsize=(WIDTH, panels * height))
    return made, list(made.subplots(panels, 1, sharex=True, squeeze=False)[:, 0])


def finish(drawn: Figure, left: float = LEFT) -> None:
    """Lay the figure out: the legend below the axes, where it covers no data; every axes of the same size, but for
    ``left``, the inches that the labels of the vertical axis take; more where they are longer.
    """
    unique = {text: handle for axes in drawn.axes for handle, text in zip(*axes.get_legend_handles_labels())}
    columns = 1 if max(map(len, unique), default=0) > LONGEST_OF_TWO else 2
    rows, panels = math.ceil(len(unique) / columns), len(drawn.axes)
    each = drawn.get_size_inches()[1] / panels
    inside = panels * each + (panels - 1) * BETWEEN
    height = TOP + inside + BOTTOM + rows * LEGEND_ROW + 0.08
    drawn.set_size_inches(WIDTH, height)
    edges = {"right": 1 - RIGHT / WIDTH, "top": 1 - TOP / height, "bottom": 1 - (TOP + inside) / height,
             "hspace": BETWEEN / each}  # fmt: skip
    drawn.subplots_adjust(left=left / WIDTH, **edges)
    boxes = [axes.yaxis.get_tightbbox(FigureCanvasAgg(drawn).get_renderer()) for axes in drawn.axes]
    least = min((box.x0 for box in boxes if box is not None), default=0)  # None where nothing is drawn
    if least < 0:
        drawn.subplots_adjust(left=(left - least / drawn.dpi + 0.03) / WIDTH, **edges)
    for axes in drawn.axes:
        axes.title.set_position((0, 1))
    if unique:
        drawn.legend(unique.values(), unique.keys(), loc="lower left", bbox_to_anchor=(0.03, 0.04 / height),
                     ncol=columns, columnspacing=1.4)  # fmt: skip


def error_bars(axes: Axes, x: Sequence[float], rows: pd.DataFrame, color: str, across: bool = False) -> None:
    """The intervals (columns value, low, high) of points at ``x``; ``across``: they lie along the horizontal axis.

    None where there is no interval: a single sample, an end that is not known, or samples that are all equal.
    """
    value, low, high = (rows[name].to_numpy(dtype=float) for name in ("value", "low", "high"))
    known = np.isfinite(low) & np.isfinite(high) & (low < high)
    errors = np.stack([np.maximum(0, value - low), np.maximum(0, high - value)])[:, known]
    x = np.asarray(x, dtype=float)[known]
    places = {"x": value[known], "y": x, "xerr": errors} if across else {"x": x, "y": value[known], "yerr": errors}
    if known.any():
        axes.errorbar(**places, fmt="none", ecolor=color, elinewidth=1.2, capsize=2.5)


def log_axis(axis: Axis, unit: str) -> None:
    """Make an axis logarithmic, with two labelled ticks at least: decades, or 1, 2 and 5 of each where those are few.
    Call when everything is drawn.
    """
    (axis.axes.set_xscale if axis.axis_name == "x" else axis.axes.set_yscale)("log")
    low, high = axis.get_view_interval()
    decades = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    for steps in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
        ticks = [step * 10.0**decade for decade in decades for step in steps]
        if len(within := [tick for tick in ticks if low <= tick <= high]) >= 3:
            break
    if len(within) < 2:  # a narrow range: widen it to the ticks around it
        within = [max(tick for tick in ticks if tick <= low), min(tick for tick in ticks if tick >= high)]
        axis.set_view_interval(within[0] * 0.98, within[1] * 1.02, ignore=True)
    axis.set_major_locator(FixedLocator(within))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: tick(value, unit)))


def linear_axis(axis: Axis, unit: str) -> None:
    """The labels of an axis that begins at zero."""
    axis.set_major_locator(MaxNLocator(5))
    axis.set_major_formatter(FuncFormatter(lambda value, _: tick(value, unit)))


def under(axes: Axes, text: Text, renderer: Any) -> Iterator[str]:
    """What a text in axes lies on: lines, marks and other texts, by the boxes in which they are drawn."""
    box = text.get_window_extent(renderer)
    for line in axes.lines:
        path = line.get_path().transformed(line.get_transform())
        marked = line.get_marker() not in ("", "None", None)
        if line.get_linestyle() not in ("None", "", " ") and path.intersects_bbox(box, filled=False):
            yield f"a line ({line.get_label()})"
        elif marked and box.padded(line.get_markersize() / 2).count_contains(path.vertices):
            yield f"a mark ({line.get_label()})"
    for other in axes.texts:
        if other is not text and other.get_text() and box.overlaps(other.get_window_extent(renderer)):
            yield f"{other.get_text()!r}"


def write_near(axes: Axes, places: Iterable[tuple[float, float]], words: str, gap: float = 5) -> bool:
    """Write at the first of ``places`` (data coordinates) where a text lies on no line, mark or other text, above it or
    below; False where there is none, and nothing is written. Call after :func:`finish`.
    """
    renderer, frame = FigureCanvasAgg(axes.figure).get_renderer(), axes.get_window_extent()
    for place in places:
        for offset, side in ((gap, "bottom"), (-gap, "top")):
            text = axes.annotate(label(words), place, (0, offset), textcoords="offset points", ha="center", va=side,
                                 fontsize=8.5, color=INK)  # fmt: skip
            box = text.get_window_extent(renderer)
            inside = all(map(frame.containsx, (box.x0, box.x1))) and all(map(frame.containsy, (box.y0, box.y1)))
            if inside and not list(under(axes, text, renderer)):
                return True
            text.remove()
    return False


def tick(value: float, unit: str) -> str:
    """A tick's label: 10 s, 500 MB, 20 G (of operations), 200×; a plain number where the axis names the unit."""
    scales = {"s": (("µs", 1e-6), ("ms", 1e-3), ("s", 1.0)), "B": (("kB", 1e3), ("MB", 1e6), ("GB", 1e9)),
              "operations": (("M", 1e6), ("G", 1e9), ("T", 1e12))}  # fmt: skip
    for name, scale in reversed(scales.get(unit, ())):
        if abs(value) >= scale * 0.999:
            return f"{value / scale:,.4g} {name}"
    return f"{value:,.10g}{'×' if unit == 'x' else ''}"


def render(drawn: Figure) -> tuple[str, bytes, bytes]:
    """The figure as SVG text, as PNG and as PDF; equal figures give equal bytes."""
    svg, png, pdf = io.StringIO(), io.BytesIO(), io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support", category=UserWarning)
        drawn.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
        drawn.savefig(png, format="png", dpi=200, metadata={"Software": None})
        drawn.savefig(pdf, format="pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None})
    return svg.getvalue(), png.getvalue(), pdf.getvalue()


def inline(svg: str, name: str, title: str, description: str) -> str:
    """An SVG file's text as an element of a page: unique ids, scalable, recoloured by the page, described.

    ``name`` prefixes the ids; it is of the characters a-z, 0-9 and "-".
    """
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'((?:xlink:)?href=")#', rf"\1#{name}-", svg)
    svg = re.sub(r"url\(#", f"url(#{name}-", svg)
    for colour, variable in _PROPERTIES.items():
        svg = re.sub(rf"{colour}\b", f"var({variable}, {colour})", svg, flags=re.IGNORECASE)
    opening = svg[: svg.index(">")]
    box = re.search(r'viewBox="[^"]+"', opening)
    described = f'<title id="{name}-t">{escape(title)}</title><desc id="{name}-d">{escape(description)}</desc>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'{box.group(0) if box else ""} role="img" aria-labelledby="{name}-t {name}-d">{described}'
        f"{svg[svg.index('>') + 1 :]}"
    )


def slug(*parts: object) -> str:
    """A name for files and ids, of a-z, 0-9 and "-".

    Where a part holds anything else than words of these joined by "_", or all are too long, a mark tells it from
    others that would come out alike.
    """
    text = "-".join(map(str, parts))
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    if 0 < len(name) <= LONGEST_NAME and all(re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", str(part)) for part in parts):
        return name
    return f"{name[: LONGEST_NAME - 7]}-{mark(text)}".lstrip("-")


def context() -> Any:
    """The style as a context manager; the caller's own settings are left alone."""
    return matplotlib.rc_context(RC)
