"""The plots of a run: loss against seconds, and every headline metric against size and batch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from bench.analysis import claims
from bench.analysis.summary import (
    LOWER_BOUND,
    NOT_REACHED,
    OK,
    Crossing,
    kinds_of,
    median_to_target,
    reference,
    time_to_target,
)
from bench.plan.cells import GENERATE, OPTIMISE
from bench.plan.engines import REFERENCE
from bench.report.definitions import describe
from bench.report.wording import engine_name, measured, setting_name, status_name, with_interval
from bench.store.reader import RunData
from nst_gluon.pages import style
from nst_gluon.pages.wording import harmless, listing, method_name, quantity, size_name, task_name
from nst_gluon.system.files import write_atomically

EXTRAS = ("engine", "dtype", "device")
ENGINE_MARKS = {"pytorch": "<", "onnxruntime": ">"}  # a peer's; the reference has the method's own
_MAIN = ("engine", "task", "size", "dtype", "device")


@dataclass(frozen=True)
class Plot:
    """A drawn plot. ``alt`` says in words what it shows; ``section`` groups the plots of a page."""

    name: str
    title: str
    caption: str
    alt: str
    section: str
    svg: str
    png: bytes

    def inline(self) -> str:
        """The plot as an SVG element for a page."""
        return style.inline(self.svg, f"plot-{self.name}", self.title, self.alt)


@dataclass(frozen=True)
class _Series:
    label: str
    colour: str
    marker: str
    line: object
    hollow: bool
    rows: pd.DataFrame


BY_SIZE = (
    ("speedup_at_equal_loss", "Speed-up at equal loss", "against optimisation"),
    ("speedup_at_500_iterations", "Speed-up against 500 iterations", "against optimisation"),
    ("latency_s", "Time for one picture", "time"),
    ("throughput_images_per_s", "Throughput, one picture at a time", "pictures per second"),
    ("peak_memory_bytes", "Peak memory", "memory"),
    ("working_memory_bytes", "Working memory", "memory above the engine's own"),
)


def draw_all(run: RunData, summary: pd.DataFrame) -> list[Plot]:
    """Loss against seconds, and everything against size and batch, of which the run has data.

    Call within :func:`style.context`.
    """
    return [*loss_plots(run, summary), *size_plots(summary), *batch_plots(summary)]


def write_all(plots: Iterable[Plot], folder: Path) -> None:
    """Write each plot to ``folder`` as SVG and PNG."""
    folder.mkdir(exist_ok=True)
    for plot in plots:
        write_atomically(folder / f"{plot.name}.svg", harmless(plot.svg).encode())
        write_atomically(folder / f"{plot.name}.png", plot.png)


# ------------------------------------------------------------------------------------------- loss against seconds


def loss_plots(run: RunData, summary: pd.DataFrame) -> Iterator[Plot]:
    """One plot for each task, size (engine, dtype, device): the falling curves and the generators' lines."""
    kinds = kinds_of(run.cells, run.samples)
    curves = run.curves[run.curves["method"].map(kinds.get) == OPTIMISE]
    for key, group in curves.groupby(list(_MAIN)):
        setting = dict(zip(_MAIN, key))
        rows = summary
        for name, value in setting.items():
            rows = rows[rows[name] == value]
        yield _loss_plot(group, rows[rows["batch"] == 1], setting, kinds, _distinct(summary))


def _loss_plot(
    curves: pd.DataFrame, rows: pd.DataFrame, setting: Mapping, kinds: Mapping[str, str], extras: Sequence[str]
) -> Plot:
    drawn, axes = style.figure()
    look = style.marks(kinds)
    facts = []
    for (method, _), curve in curves.groupby(["method", "seed"]):
        axes.plot(curve["seconds"].clip(lower=1e-3), curve["objective"], color=look[method][0], lw=1.3, alpha=0.75,
                  marker="." if len(curve) < 20 else None,
                  label=f"{style.method_label(method)}, one line a seed")  # fmt: skip
        fall = curve["objective"]
        facts.append(
            f"the optimisation's objective falls from {quantity(fall.iloc[0], '1')} to {quantity(fall.min(), '1')}"
        )
    facts = facts[:1]
    end = float(curves["seconds"].max())
    aims = _value_rows(rows, "target_", kinds)
    slow = reference(kinds)
    plain = curves[curves["method"] == slow] if slow in set(curves["method"]) else curves
    for rank, (generator, target) in enumerate(sorted(aims.items(), key=lambda item: item[1])):
        latency = _value(rows, generator, "latency_s")
        crossings = [time_to_target(curve, target) for _, curve in plain.groupby(["method", "seed"])]
        facts.append(_mark(axes, generator, target, latency, crossings, end, look[generator], below=rank == 0))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(right=max(axes.get_xlim()[1], end * 1.5))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: style.tick(value, "s")))
    axes.set_xlabel("time of computing, without set-up")
    axes.set_ylabel("objective")
    axes.margins(y=0.12)
    extra = "".join(f", {setting_name(name, setting[name])}" for name in extras)
    title = f"{task_name(setting['task']).capitalize()}, {size_name(setting['size'])}{extra}"
    axes.set_title(style.label(title))
    style.finish(drawn)
    text = "; ".join(facts)
    text = f"{text[:1].upper()}{text[1:]}."
    return finished(drawn, style.slug("loss", *setting.values()), f"Loss against seconds: {title}", text, text, "loss")


def _mark(
    axes: Axes,
    generator: str,
    target: float,
    latency: float,
    crossings: Sequence[Crossing],
    end: float,
    look: tuple[str, str],
    below: bool,
) -> str:
    """One generator's line, its own point at its latency, the crossing, and the factor between the two; in
    words.
    """
    colour, marker = look
    name = method_name(generator)
    median, status = median_to_target(crossings)
    axes.axhline(target, color=colour, lw=0.8, alpha=0.45)
    if not latency > 0:
        return f"the {name} has objective {quantity(target, '1')}; its latency is not known"
    start = latency
    axes.plot([start, median.value], [target, target], color=colour, lw=1.8, ls=style.LINES["texture"])
    axes.plot([start], [target], color=colour, marker=marker, ls="none", label=style.label(name))
    if status == OK:
        axes.plot([median.value], [target], marker="o", ms=7, mfc="none", mec=colour, mew=1.6, ls="none")
    else:
        axes.annotate("", (end * 1.25, target), (end, target), arrowprops={"arrowstyle": "->", "color": colour})
    factor = median.value / start
    text = measured(factor, "x", OK if status == OK else LOWER_BOUND)
    time = quantity(median.value, "s") if status == OK else f"> {quantity(median.value, 's')}"
    offset = -4 if below else 4
    axes.annotate(
        f"{time}: {text} as long", (math.sqrt(start * median.value), target), (0, offset),
        textcoords="offset points", ha="center", va="top" if below else "bottom", fontsize=8.5, color=style.INK,
    )  # fmt: skip
    if status == OK:
        gets = f"gets there after {quantity(median.value, 's')}, {text} as long"
    else:
        gets = f"did not get there in {quantity(median.value, 's')}, {quantity(factor, 'x')} as long"
    return f"the {name} has objective {quantity(target, '1')} after {quantity(start, 's')}; the optimisation {gets}"


def _value_rows(rows: pd.DataFrame, prefix: str, kinds: Mapping[str, str]) -> dict[str, float]:
    generators = [name for name, kind in kinds.items() if kind == GENERATE]
    found = {name: rows.loc[rows["metric"] == f"{prefix}{name}", "value"] for name in generators}
    return {name: float(values.iloc[0]) for name, values in found.items() if len(values)}


def _value(rows: pd.DataFrame, method: str, metric: str) -> float:
    values = rows.loc[(rows["method"] == method) & (rows["metric"] == metric), "value"]
    return float(values.iloc[0]) if len(values) else math.nan


# ---------------------------------------------------------------------------------------------- against size, batch


def size_plots(summary: pd.DataFrame) -> Iterator[Plot]:
    """Each of BY_SIZE against the side of the picture, at batch 1, with intervals."""
    single = summary[summary["batch"] == 1]
    for metric, title, unit in BY_SIZE:
        rows = single[single["metric"] == metric]
        if metric == "latency_s":  # what an optimisation takes for one picture stands beside it
            rows = single[single["metric"].isin([metric, "time_to_target_s"])]
        if rows["value"].notna().any():
            yield _against(rows, "size", metric, title, unit, "side of the picture in pixels")


def batch_plots(summary: pd.DataFrame) -> Iterator[Plot]:
    """Throughput against the batch, one plot for each task and size, where more than one batch was
    measured.
    """
    rows = summary[(summary["metric"] == "throughput_images_per_s") & summary["value"].notna()]
    for (task, size), group in rows.groupby(["task", "size"]):
        if group["batch"].nunique() > 1:
            title = f"Throughput by batch: {task_name(task)}, {size_name(size)}"
            yield _against(
                group, "batch", f"throughput-batch-{task}-{size}", title, "pictures per second", "pictures in a batch"
            )


def _against(rows: pd.DataFrame, axis: str, name: str, title: str, unit_label: str, axis_label: str) -> Plot:
    drawn, axes = style.figure()
    unit = str(rows["unit"].iloc[0])
    facts = []
    all_series = list(_series(rows))
    for place, series in enumerate(all_series):
        facts += _draw_series(axes, series, axis, place, len(all_series))
    if axis == "size":
        _published(axes, name, rows["size"].unique())
        _lost(axes, rows)
    ticks = sorted(rows[axis].unique())
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
    axes.set_xlim(min(ticks) / 1.35, max(ticks) * 1.35)
    values = rows.loc[rows["value"] > 0, "value"]
    if len(values) and values.max() / values.min() > 4:
        axes.set_yscale("log")
        axes.margins(y=0.12)
        axes.yaxis.set_minor_locator(NullLocator())
        ensure_ticks(axes)
    else:
        axes.set_ylim(0, axes.get_ylim()[1] * 1.08)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: style.tick(value, unit)))
    axes.set_xlabel(axis_label)
    axes.set_ylabel(unit_label)
    axes.set_title(style.label(title))
    style.finish(drawn)
    caption = "Medians; bars are 95 % intervals, often smaller than the mark."
    if (rows["metric"] == "time_to_target_s").any():
        caption += " Optimisation: the time until it is down to the lowest of the nets' objectives."
    if rows["status"].isin([LOWER_BOUND, NOT_REACHED]).any():
        caption += " An arrow upwards: a lower bound, as the optimisation did not reach the target in its time."
    if rows["value"].isna().any():
        caption += " A cross on the axis: no value, as the cell failed."
    text = f"{describe(name).label if axis == 'size' else title}: {'; '.join(facts)}"
    return finished(drawn, style.slug(name), title, caption, text, axis)


def _draw_series(axes: Axes, series: _Series, axis: str, place: int, count: int) -> list[str]:
    rows = series.rows.sort_values(axis)
    # Side by side, so that marks at one size do not hide each other.
    spread = 1 + min(0.035, 0.35 / count) * (place - (count - 1) / 2)
    fine = rows[rows["value"].notna()]
    x = fine[axis].to_numpy(dtype=float) * spread
    face = style.PAPER if series.hollow else series.colour
    axes.plot(x, fine["value"], color=series.colour, ls=series.line, marker=series.marker, mfc=face, mec=series.colour,
              label=style.label(series.label))  # fmt: skip
    value = fine["value"].to_numpy(dtype=float)
    low, high = (fine[name].to_numpy(dtype=float) for name in ("low", "high"))
    known = np.isfinite(low) & np.isfinite(high) & (fine["status"] == OK).to_numpy(dtype=bool)
    errors = np.stack([np.maximum(0, value - low), np.maximum(0, high - value)])[:, known]
    axes.errorbar(x[known], value[known], errors, fmt="none", ecolor=series.colour, elinewidth=1.2, capsize=2.5)
    for bound_x, bound in zip(x[~(fine["status"] == OK)], value[~(fine["status"] == OK)]):
        axes.annotate("", (bound_x, bound), (0, 16), textcoords="offset points", color=series.colour,
                      arrowprops={"arrowstyle": "<-", "color": series.colour, "lw": 1.4})  # fmt: skip
    for lost in rows.loc[rows["value"].isna(), axis]:
        axes.plot([lost * spread], [0.03], transform=axes.get_xaxis_transform(), color=series.colour, marker="x", mew=2)
    return [
        f"{series.label} at {row[axis]}: "
        + with_interval(row["value"], row["low"], row["high"], row["unit"], row["status"])
        for _, row in rows.iterrows()
    ]


def _series(rows: pd.DataFrame) -> Iterator[_Series]:
    look = style.marks(rows["method"])
    extras = _distinct(rows)
    computers = sorted(set(zip(rows["device"], rows["engine"])), key=lambda pair: (pair[1] != REFERENCE, *pair))
    for (method, task, *rest), group in rows.groupby(["method", "task", *EXTRAS], sort=True):
        name = style.method_text(method)
        more = [engine_name(value) if column == "engine" else str(value)
                for value, column in zip(rest, EXTRAS) if column in extras]  # fmt: skip
        text = ", ".join([name, *([task_name(task)] if rows["task"].nunique() > 1 else []), *more])
        colour, marker = look[method]
        engine, device = (rest[EXTRAS.index(column)] for column in ("engine", "device"))
        colour = style.tint(colour, 0.75 * computers.index((device, engine)) / len(computers))
        marker = ENGINE_MARKS.get(engine, marker)
        yield _Series(text, colour, marker, style.LINES.get(task, ":"), task == "texture", group)


def _distinct(rows: pd.DataFrame) -> list[str]:
    """Those of engine, dtype and device of which there is more than one, so that a label must name them."""
    return [name for name in EXTRAS if rows[name].nunique() > 1]


def _published(axes: Axes, metric: str, sizes: Iterable[int]) -> None:
    """The papers' figures for this metric, for comparison, in their methods' colours."""
    look = style.marks(())
    wanted = [c for c in claims.CLAIMS if c.metric == metric and c.factor == 1 and c.size in sizes and c.unit == "x"]
    for claim in wanted:
        axes.plot(claim.size, claim.published[1], ls="none", marker="*", ms=11, mfc="none", mec=look[claim.method][0],
                  zorder=5)  # fmt: skip
    if wanted:
        axes.plot([], [], ls="none", marker="*", ms=10, mfc="none", mec=style.MUTED, label="published")


def _lost(axes: Axes, rows: pd.DataFrame) -> None:
    """Say below the crosses why there is no value at a size."""
    for size, group in rows[rows["value"].isna()].groupby("size"):
        words = listing([status_name(status) for status in sorted(set(group["status"]))])
        axes.annotate(style.label(words), (size, 0.03), (0, 7), xycoords=axes.get_xaxis_transform(), ha="center",
                      textcoords="offset points", fontsize=8, color=style.MUTED)  # fmt: skip


def ensure_ticks(axes: Axes) -> None:
    """A log axis that spans little more than a decade has hardly a tick: give it 1, 2 and 5 of each
    decade.
    """
    low, high = axes.get_ylim()
    if math.log10(high / low) < 2.2:
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        ticks = [step * 10.0**decade for decade in decades for step in (1, 2, 5)]
        axes.yaxis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))


def finished(drawn: Figure, name: str, title: str, caption: str, facts: str, section: str) -> Plot:
    """The figure, rendered, as a plot."""
    svg, png = style.render(drawn)
    return Plot(name, title, caption, facts, section, svg, png)
