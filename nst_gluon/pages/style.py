"""The one style of all plots: colours (Okabe-Ito), marks, axes; and SVG that a page can embed and
recolour.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Iterable
from html import escape
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from nst_gluon.pages.wording import clean, method_name

INK, MUTED, GRID, PAPER = "#1b2027", "#59636f", "#d9dee4", "#ffffff"
BLUE = "#0072b2"
# In a page these become custom properties of its style sheet, which has a dark variant.
_PROPERTIES = {INK: "--ink", MUTED: "--muted", GRID: "--grid", PAPER: "--card", BLUE: "--blue"}

_FIXED = {
    "gatys": ("#d55e00", "o"),
    "texture_net": (BLUE, "D"),
    "johnson": ("#009e73", "s"),
    "gatys_pyramid": ("#b07d00", "v"),
    "net_gatys": ("#cc79a7", "^"),
}
# Okabe and Ito's, darkened where they would be hard to see: each has a contrast of 3 to 1 on white and on dark paper.
_FURTHER = (("#3b8fc4", "P"), ("#767676", "X"), ("#a0527f", "p"), ("#8a6d3b", "h"))
LINES = {"stylize": "-", "texture": (0, (4, 2))}

# Inches. At 9 points the type is readable when the figure fills a telephone's width.
WIDTH, AXES_HEIGHT = 4.8, 2.5
LONGEST_OF_TWO = 36  # characters of a legend's entry that still leave room for another beside it
LEFT, RIGHT, TOP, BOTTOM, LEGEND_ROW = 0.78, 0.15, 0.32, 0.52, 0.19
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
}


def marks(methods: Iterable[str]) -> dict[str, tuple[str, str]]:
    """(colour, marker) for each method: always the same for the suite's own, the next free one for others."""
    others = [name for name in sorted(set(methods)) if name not in _FIXED]
    return {**_FIXED, **{name: _FURTHER[index % len(_FURTHER)] for index, name in enumerate(others)}}


def tint(colour: str, part: float) -> str:
    """``colour`` with ``part`` of it (0 to 1) replaced by white."""
    if not part:
        return colour
    channels = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return "#" + "".join(f"{round(channel + (255 - channel) * part):02x}" for channel in channels)


def label(text: str) -> str:
    """Text for a plot: cleaned, and with no character that matplotlib would take for mathematics."""
    return clean(text, 66).replace("$", r"\$")


def method_text(method: str) -> str:
    """A method's name in a plot; none of the suite's own is cut."""
    return clean(method_name(method), 36)


def method_label(method: str) -> str:
    """The same as a label."""
    return label(method_text(method))


def figure() -> tuple[Figure, Axes]:
    """A figure with one axes. Call within :func:`context`, and :func:`finish` it."""
    made = Figure(figsize=(WIDTH, AXES_HEIGHT))
    return made, made.add_subplot()


def finish(drawn: Figure, left: float = LEFT) -> None:
    """Lay the figure out: the legend below the axes, where it covers no data, and every axes of the same
    size, but for ``left``, the inches that the labels of its vertical axis take; more where they are longer.
    """
    axes = drawn.axes[0]
    handles, labels = axes.get_legend_handles_labels()
    unique = dict(zip(labels, handles))
    columns = 1 if max(map(len, labels), default=0) > LONGEST_OF_TWO else 2
    rows = math.ceil(len(unique) / columns)
    height = TOP + AXES_HEIGHT + BOTTOM + rows * LEGEND_ROW + 0.08
    drawn.set_size_inches(WIDTH, height)
    edges = {"right": 1 - RIGHT / WIDTH, "top": 1 - TOP / height, "bottom": 1 - (TOP + AXES_HEIGHT) / height}
    drawn.subplots_adjust(left=left / WIDTH, **edges)
    labels_box = axes.yaxis.get_tightbbox(FigureCanvasAgg(drawn).get_renderer())  # None where nothing is drawn
    if labels_box is not None and labels_box.x0 < 0:
        drawn.subplots_adjust(left=(left - labels_box.x0 / drawn.dpi + 0.03) / WIDTH, **edges)
    axes.title.set_position((0, 1))
    if unique:
        drawn.legend(unique.values(), unique.keys(), loc="lower left", bbox_to_anchor=(0.03, 0.04 / height),
                     ncol=columns, columnspacing=1.4)  # fmt: skip


def tick(value: float, unit: str) -> str:
    """A tick's label: 10 s, 500 MB, 200×; a plain number where the axis names the unit."""
    scales = {"s": (("µs", 1e-6), ("ms", 1e-3), ("s", 1.0)), "B": (("kB", 1e3), ("MB", 1e6), ("GB", 1e9))}
    for name, scale in reversed(scales.get(unit, ())):
        if abs(value) >= scale * 0.999:
            return f"{value / scale:,.4g} {name}"
    return f"{value:,.10g}{'×' if unit == 'x' else ''}"


def render(drawn: Figure) -> tuple[str, bytes]:
    """The figure as SVG text and as PNG; equal figures give equal bytes."""
    svg, png = io.StringIO(), io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support", category=UserWarning)
        drawn.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
        drawn.savefig(png, format="png", dpi=200, metadata={"Software": None})
    return svg.getvalue(), png.getvalue()


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
    """A name for files and ids."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(map(str, parts)).lower()).strip("-")[:80] or "plot"


def context() -> Any:
    """The style as a context manager; the caller's own settings are left alone."""
    return matplotlib.rc_context(RC)
