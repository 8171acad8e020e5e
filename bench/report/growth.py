"""How cost grows with the picture, for a reader: plots against pixels with their power laws, and the exponents."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from bench.analysis.growth import LEAST_SIZES, PowerLaw
from bench.report.definitions import describe
from bench.report.plots import ENGINE_MARKS, EXTRAS, Plot, ensure_ticks, finished
from bench.report.tables import Entry, Table, table
from nst_gluon.pages import style
from nst_gluon.pages.wording import clean, interval, listing, method_name, significant, task_name

PLOTS = (
    ("growth-time", "Time against pixels", ("latency_s", "iteration_s"), "time"),
    ("growth-memory", "Working memory against pixels", ("working_memory_bytes",), "memory"),
)
OF_ONE = {"latency_s": "one picture", "iteration_s": "one step", "working_memory_bytes": ""}
Law = tuple[Mapping[str, str], pd.DataFrame, PowerLaw]


def sentence(laws: Sequence[Law]) -> str:
    """What the exponents mean, or why there are none."""
    if not any(law.sizes > 1 for _, _, law in laws):
        return "How cost grows with the picture takes at least two sizes, for example --size 256,512,1024."
    text = "cost = factor × pixels ^ exponent: with exponent 1, twice the pixels cost twice as much."
    if any(law.sizes < LEAST_SIZES for _, _, law in laws if law.sizes > 1):
        text += (
            " Between two sizes there is one exponent and no telling how well the law fits, so it has no interval; "
            "three sizes would give one."
        )
    return text


def exponents(laws: Sequence[Law]) -> Table | None:
    """A row for each law; None where no cost was measured at two sizes."""
    kept = [(series, rows, law) for series, rows, law in laws if law.sizes > 1]
    if not kept:
        return None
    extras = _distinct(kept)
    rows = []
    for series, measured, law in kept:
        metric = describe(series["metric"])
        sizes = listing([str(size) for size in sorted(measured["size"].unique())])
        brackets = interval(law.exponent, law.low, law.high, "x")
        value = Entry(significant(law.exponent), brackets, order=law.exponent)
        twice = Entry(f"{significant(4**law.exponent)}×", order=law.exponent)
        names = [task_name(series["task"]), method_name(series["method"]), *(clean(series[name]) for name in extras)]
        rows.append([Entry(metric.label, metric=series["metric"]), *names, value, twice, sizes])
    columns = ["cost", "task", "method", *extras, "exponent", "twice the side costs", "sizes"]
    return table("growth", "Exponents", columns, rows, (len(columns) - 3, len(columns) - 2), sentence(laws))


def plots(laws: Sequence[Law]) -> Iterator[Plot]:
    """Time and memory against pixels, for costs that were measured at two sizes or more."""
    for name, title, metrics, axis in PLOTS:
        chosen = [law for law in laws if law[0]["metric"] in metrics and law[2].sizes > 1]
        if chosen:
            yield _plot(name, title, chosen, axis)


def _plot(name: str, title: str, laws: Sequence[Law], axis_label: str) -> Plot:
    drawn, axes = style.figure()
    look = style.marks(series["method"] for series, _, _ in laws)
    several_tasks = len({series["task"] for series, _, _ in laws}) > 1
    extras = _distinct(laws)
    told, sizes = [], set()
    for series, rows, law in laws:
        colour, marker = look[series["method"]]
        marker = ENGINE_MARKS.get(series["engine"], marker)
        pixels = (rows["size"] ** 2).to_numpy(dtype=float)
        sizes |= set(rows["size"])
        words = [style.method_text(series["method"]), OF_ONE[series["metric"]]]
        words += [task_name(series["task"])] if several_tasks else []
        words += [clean(series[extra], 24) for extra in extras]
        text = ", ".join(filter(None, words))
        told.append(f"{text}: exponent {_exponent(law)}")
        line = np.geomspace(pixels.min() / 1.3, pixels.max() * 1.3, 20)
        axes.plot(line, law.at(line), color=colour, lw=1.2, ls=style.LINES.get(series["task"], ":"))
        face = style.PAPER if series["task"] == "texture" else colour
        axes.plot(pixels, rows["value"], color=colour, marker=marker, mfc=face, ls="none",
                  label=style.label(f"{text}: ^{significant(law.exponent)}"))  # fmt: skip
        _bars(axes, pixels, rows, colour)
    unit = laws[0][0]["unit"]
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(FixedLocator([size**2 for size in sorted(sizes)]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{math.isqrt(round(value))}²"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: style.tick(value, unit)))
    axes.margins(y=0.12)
    ensure_ticks(axes)
    axes.set_xlabel("pixels of the picture")
    axes.set_ylabel(axis_label)
    axes.set_title(title)
    style.finish(drawn)
    caption = "Points: medians with 95 % intervals. Lines: the power law through them, and ^ its exponent."
    return finished(drawn, name, title, caption, f"{title}: {'; '.join(told)}", "growth")


def _bars(axes: Axes, pixels: np.ndarray, rows: pd.DataFrame, colour: str) -> None:
    value, low, high = (rows[name].to_numpy(dtype=float) for name in ("value", "low", "high"))
    known = np.isfinite(low) & np.isfinite(high)
    errors = np.stack([np.maximum(0, value - low), np.maximum(0, high - value)])[:, known]
    axes.errorbar(pixels[known], value[known], errors, fmt="none", ecolor=colour, elinewidth=1.2, capsize=2.5)


def _exponent(law: PowerLaw) -> str:
    brackets = interval(law.exponent, law.low, law.high, "x")
    return f"{significant(law.exponent)} {brackets}".strip()


def _distinct(laws: Sequence[Law]) -> list[str]:
    return [name for name in EXTRAS if len({series[name] for series, _, _ in laws}) > 1]

