"""The roofline as a plot: one point per cell below the limits of the machine."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from bench.analysis.roofline import Peaks, operations
from bench.report.plots import Plot
from nst_gluon.pages import style
from nst_gluon.pages.wording import listing, method_name, significant, size_name, task_name

TITLE = "Roofline: speed reached and speed possible"
_PAPER = {"facecolor": style.PAPER, "edgecolor": "none", "pad": 0.6}
ROOF_LINES = {"float32": "-", "bfloat16": (0, (4, 2))}
AREA_OF_256 = 24.0  # of a point, in square points; in proportion to the picture's side


def plot(rows: pd.DataFrame, peaks: Peaks) -> Plot:
    """The plot of :func:`bench.analysis.roofline.fractions`; ``rows`` has at least one row."""
    dtypes = [dtype for dtype in peaks.flops_per_s if dtype in set(rows["dtype"])]
    with style.context():
        drawn, axes = style.figure()
        left, right = _limits(rows, peaks, dtypes)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(left, right)
        axes.set_ylim(_floor(rows, peaks, left, dtypes), 2.2 * max(peaks.flops_per_s[dtype] for dtype in dtypes))
        _roofs(axes, peaks, dtypes, left, right)
        _points(axes, rows)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 1e9:g}"))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_minor_locator(NullLocator())
        axes.set_xlabel("operations per byte moved")
        axes.set_ylabel("billion operations per second")
        axes.set_title(TITLE)
        style.finish(drawn)
        svg, png = style.render(drawn)
    caption = (
        "Lines: what the machine does at most, limited by memory on the slope and by arithmetic above. "
        "Points: the cells, larger for larger pictures, with one mark for each batch."
    )
    return Plot("roofline", TITLE, caption, _words(rows, peaks), "roofline", svg, png)


def _limits(rows: pd.DataFrame, peaks: Peaks, dtypes: list[str]) -> tuple[float, float]:
    """Operations per byte, from left of everything of interest to right of it."""
    ridges = [peaks.ridge(dtype) for dtype in dtypes]
    return min(rows["intensity"].min(), *ridges) / 4, max(rows["intensity"].max(), *ridges) * 4


def _floor(rows: pd.DataFrame, peaks: Peaks, left: float, dtypes: list[str]) -> float:
    lowest = min(peaks.roof(left, dtype) for dtype in dtypes)
    return min(rows["flops_per_s"].min() / 2, lowest)


def _roofs(axes: Axes, peaks: Peaks, dtypes: list[str], left: float, right: float) -> None:
    x = np.geomspace(left, right, 200)
    for dtype in dtypes:
        peak = peaks.flops_per_s[dtype]
        y = np.minimum(peak, x * peaks.bytes_per_s)
        axes.plot(x, y, color=style.INK, lw=1.3, ls=ROOF_LINES.get(dtype, ":"), zorder=1)
        axes.annotate(
            f"{dtype}: {significant(peak / 1e9)}", (right, peak), (-2, 3), textcoords="offset points", ha="right",
            va="bottom", fontsize=8.5, color=style.INK, bbox=_PAPER,
        )  # fmt: skip
    # Beside the slope, in its direction on the screen.
    start = left * 1.15
    axes.annotate(
        f"copy: {significant(peaks.bytes_per_s / 1e9)} GB/s", (start, start * peaks.bytes_per_s), (0, 5),
        textcoords="offset points", ha="left", va="bottom", rotation=45, rotation_mode="anchor",
        transform_rotates_text=True, fontsize=8.5, color=style.INK,
    )  # fmt: skip


def _points(axes: Axes, rows: pd.DataFrame) -> None:
    look = style.marks(rows["method"])
    several_tasks = rows["task"].nunique() > 1
    # Hollow marks last, so that a filled one at the same place shows through.
    for (task, method, dtype), group in rows.groupby(["task", "method", "dtype"], sort=True):
        colour, marker = look[method]
        words = [style.method_text(method)]
        words += [task_name(task)] if several_tasks else []
        words += [dtype] if dtype != "float32" else []
        colour = colour if dtype == "float32" else style.tint(colour, 0.45)
        if task == "texture":
            how = {"facecolors": "none", "edgecolors": colour, "linewidths": 1.3, "zorder": 4}
        else:
            how = {"facecolors": colour, "edgecolors": style.PAPER, "linewidths": 0.7, "zorder": 3}
        group = group.sort_values("size", ascending=False)
        area = _area(group["size"].to_numpy(dtype=float))
        axes.scatter(group["intensity"], group["flops_per_s"], s=area, marker=marker, **how)
        axes.scatter([], [], s=_area(384), marker=marker, label=style.label(", ".join(words)), **how)
    sizes = sorted(rows["size"].unique())
    for size in sizes if len(sizes) > 1 else ():
        axes.scatter([], [], s=_area(size), color=style.MUTED, label=size_name(size))


def _area(size: float | np.ndarray) -> float | np.ndarray:
    return AREA_OF_256 * size / 256


def _words(rows: pd.DataFrame, peaks: Peaks) -> str:
    roofs = listing([f"{operations(flops)} in {dtype}" for dtype, flops in peaks.flops_per_s.items()])
    cells = "; ".join(
        f"{method_name(row.method)} ({task_name(row.task)}, {row.size}, batch {row.batch}, {row.dtype}): "
        f"{operations(row.flops_per_s)}, {row.fraction:.0%} of what {row.bound} allows"
        for row in rows.itertuples()
    )
    return f"The machine does at most {roofs}, and copies {significant(peaks.bytes_per_s / 1e9)} GB/s. {cells}."
