"""The roofline as a plot: one point per cell below the limits of the machine."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from bench.analysis.methods import Methods
from bench.analysis.roofline import Peaks, operations
from bench.report.plots import Plot, finished
from nst_gluon.pages import style
from nst_gluon.pages.wording import listing, significant, task_name

TITLE = "Roofline: speed reached and speed possible"
ROOF_LINES = {"float32": "-", "bfloat16": (0, (4, 2))}
AREA_OF_256 = 24.0  # of a point, in square points; in proportion to the picture's side


def plot(rows: pd.DataFrame, peaks: Peaks, methods: Methods) -> Plot:
    """The plot of :func:`bench.analysis.roofline.fractions`; ``rows`` has at least one row."""
    dtypes = [dtype for dtype in peaks.flops_per_s if dtype in set(rows["dtype"])]
    with style.context():
        drawn, (axes,) = style.figure()
        ridges = [peaks.ridge(dtype) for dtype in dtypes]
        left, right = min(rows["intensity"].min(), *ridges) / 4, max(rows["intensity"].max(), *ridges) * 4
        lowest = min(peaks.roof(left, dtype) for dtype in dtypes)
        axes.set_xlim(left, right)
        axes.set_ylim(min(rows["flops_per_s"].min() / 2, lowest), 2 * max(peaks.flops_per_s[name] for name in dtypes))
        x = np.geomspace(left, right, 200)
        for dtype in dtypes:
            axes.plot(x, np.minimum(peaks.flops_per_s[dtype], x * peaks.bytes_per_s), color=style.INK, lw=1.3, zorder=1,
                      ls=ROOF_LINES.get(dtype, ":"), label=f"limit, {style.label(dtype)}")  # fmt: skip
        _points(axes, rows, methods)
        axes.set_xlabel("operations per byte moved")
        axes.set_ylabel("operations per second")
        axes.set_title(TITLE)
        axes.set_xscale("log")
        axes.set_yscale("log")
        style.log_axis(axes.xaxis, "1")
        style.log_axis(axes.yaxis, "operations")
        style.finish(drawn)
        roofs = listing([f"{operations(peaks.flops_per_s[dtype])} in {dtype}" for dtype in dtypes])
        caption = (
            f"Lines: the most this machine does, {significant(peaks.bytes_per_s / 1e9)} GB/s of memory on the slope "
            f"and {roofs} above it. Points: the cells, larger for larger pictures; hollow for textures, pale for "
            "reduced precision."
        )
        return finished(drawn, "roofline", TITLE, caption, f"{caption} {_words(rows, methods)}", "roofline")


def _points(axes: Axes, rows: pd.DataFrame, methods: Methods) -> None:
    look = style.marks({name: methods[name].color for name in methods})
    # Hollow marks last, so that a filled one at the same place shows through.
    for (task, method, dtype), group in rows.groupby(["task", "method", "dtype"], sort=True):
        color, marker = look.get(method, (style.MUTED, "o"))
        axes.scatter([], [], s=AREA_OF_256 * 1.5, marker=marker, color=color, label=style.label(methods.title(method)))
        color = color if dtype == "float32" else style.tint(color, 0.45)
        if task == "texture":
            how = {"facecolors": "none", "edgecolors": color, "linewidths": 1.3, "zorder": 4}
        else:
            how = {"facecolors": color, "edgecolors": style.PAPER, "linewidths": 0.7, "zorder": 3}
        group = group.sort_values("size", ascending=False)
        area = AREA_OF_256 * group["size"].to_numpy(dtype=float) / 256
        axes.scatter(group["intensity"], group["flops_per_s"], s=area, marker=marker, **how)


def _words(rows: pd.DataFrame, methods: Methods) -> str:
    cells = "; ".join(
        f"{methods.title(row.method)} ({task_name(row.task)}, {row.size}, batch {row.batch}, {row.dtype}): "
        f"{operations(row.flops_per_s)}, {row.fraction:.0%} of what {row.bound} allows"
        for row in rows.itertuples()
    )
    return f"{cells}."
