"""What the objectives are made of: the terms of each method's picture, as plots."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.ticker import FuncFormatter, MaxNLocator

from bench.report.definitions import describe
from bench.report.plots import ENGINE_MARKS, EXTRAS, Plot, finished
from nst_gluon.pages import style
from nst_gluon.pages.wording import clean, quantity, size_name, task_name

TERMS = ("objective", "content", "style", "tv")


def plots(summary: pd.DataFrame) -> Iterator[Plot]:
    """The objective and its terms, method beside method: one plot for each task and size."""
    rows = summary[summary["metric"].isin(TERMS) & (summary["batch"] == 1) & summary["value"].notna()]
    for (task, size), everything in rows.groupby(["task", "size"], sort=True):
        largest = everything.groupby("metric")["value"].transform("max")
        group = everything[(everything["metric"] == TERMS[0]) | (largest > 0)]
        yield _plot(group, f"{task_name(task).capitalize()}, {size_name(size)}", f"quality-{task}-{size}")


def _plot(rows: pd.DataFrame, title: str, name: str) -> Plot:
    drawn, axes = style.figure()
    look = style.marks(rows["method"])
    extras = [extra for extra in EXTRAS if rows[extra].nunique() > 1]
    terms = [term for term in TERMS if term in set(rows["metric"])]
    places = {term: -index for index, term in enumerate(terms)}
    series = list(rows.groupby(["method", *EXTRAS], sort=True))
    told = []
    for index, ((method, *rest), group) in enumerate(series):
        colour, marker = look[method]
        marker = ENGINE_MARKS.get(rest[EXTRAS.index("engine")], marker)
        more = [clean(value, 24) for value, extra in zip(rest, EXTRAS) if extra in extras]
        text = ", ".join([style.method_text(method), *more])
        shift = 0.5 * (index - (len(series) - 1) / 2) / max(1, len(series))
        heights = group["metric"].map(places).to_numpy(dtype=float) - shift
        value, low, high = (group[column].to_numpy(dtype=float) for column in ("value", "low", "high"))
        axes.plot(value, heights, ls="none", color=colour, marker=marker, ms=6, label=style.label(text))
        known = np.isfinite(low) & np.isfinite(high)
        errors = np.stack([np.maximum(0, value - low), np.maximum(0, high - value)])[:, known]
        axes.errorbar(value[known], heights[known], xerr=errors, fmt="none", ecolor=colour, elinewidth=1.2, capsize=2.5)
        found = (f"{row['metric']} {quantity(row['value'], '1')}" for _, row in group.iterrows())
        told.append(f"{text}: {', '.join(found)}")
    axes.set_xlim(0, max(rows["value"].max() * 1.08, 1e-9))
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: style.tick(value, "1")))
    axes.set_yticks(list(places.values()), [describe(term).label for term in terms])
    axes.set_ylim(min(places.values()) - 0.5, 0.5)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("weighted, as it enters the objective; less is better")
    axes.set_title(style.label(title))
    style.finish(drawn, left=1.3)
    caption = (
        "The finished pictures, all under the same objective; bars are 95 % intervals. A term that is zero for all is "
        "left out."
    )
    title = f"Terms of the objective: {title}"
    return finished(drawn, style.slug(name), title, caption, f"{title}. {'; '.join(told)}", "quality")
