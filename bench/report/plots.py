"""The plots of a run: loss against seconds, every main metric against size, throughput by batch, terms of the loss."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from bench.analysis import claims, metrics
from bench.analysis.analysed import EXTRAS, Analysed
from bench.analysis.descents import by_photo
from bench.analysis.summary import LOWER_BOUND, NOT_REACHED, OK, SETTING, targets, to_target
from bench.plan.engines import REFERENCE
from bench.report import run_facts
from bench.report.wording import measured, series_label, setting_name, status_name, with_interval
from nst_gluon.pages import style
from nst_gluon.pages.wording import clean, harmless, listing, quantity, size_name, task_name
from nst_gluon.system.files import write_atomically

ENGINE_MARKS = {"pytorch": "<", "onnxruntime": ">", "openvino": "H"}  # a peer's; the reference has the method's own
LONGEST_TITLE = 26  # characters that fit above axes beside which long labels stand
PANEL = 1.75  # inches: the height of one of several axes in a figure


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
    pdf: bytes

    def inline(self) -> str:
        """The plot as an SVG element for a page."""
        return style.inline(self.svg, f"plot-{self.name}", self.title, self.alt)


@dataclass(frozen=True)
class Series:
    """What one line of a plot stands for, and how it looks."""

    label: str
    color: str
    marker: str
    rows: pd.DataFrame


def finished(drawn: Figure, name: str, title: str, caption: str, alt: str, section: str) -> Plot:
    """The figure, rendered, as a plot; ``name`` as of :func:`style.slug`."""
    return Plot(name, title, caption, alt, section, *style.render(drawn))


def write_all(plots: Iterable[Plot], folder: Path) -> None:
    """Write each plot to ``folder`` as SVG, PNG and PDF."""
    folder.mkdir(exist_ok=True)
    for plot in plots:
        write_atomically(folder / f"{plot.name}.svg", harmless(plot.svg))
        write_atomically(folder / f"{plot.name}.png", plot.png)
        write_atomically(folder / f"{plot.name}.pdf", plot.pdf)


def draw_all(analysed: Analysed) -> list[Plot]:
    """All of them, of which the run has data. Call within :func:`style.context`."""
    return [*loss_plots(analysed), *size_plots(analysed), *batch_plots(analysed), *term_plots(analysed)]


def looks(analysed: Analysed) -> dict[str, tuple[str, str]]:
    """(colour, marker) of each method."""
    return style.marks({name: analysed.methods[name].color for name in analysed.methods})


def series_of(analysed: Analysed, rows: pd.DataFrame) -> Iterator[Series]:
    """A line for each method (engine, precision, device) of ``rows``."""
    look = looks(analysed)
    several = [name for name in EXTRAS if rows[name].nunique() > 1]
    places = [name for name in EXTRAS if name != "dtype"]
    found = sorted(set(zip(*(rows[name] for name in places))), key=lambda place: (REFERENCE not in place, *place))
    for (method, *extras), group in rows.groupby(["method", *EXTRAS], sort=True):
        own = dict(zip(EXTRAS, extras))
        text = series_label(method, own, several, analysed.methods)
        color, marker = look.get(method, (style.MUTED, "o"))
        color = style.tint(color, 0.75 * found.index(tuple(own[name] for name in places)) / len(found))
        yield Series(text, color, ENGINE_MARKS.get(own["engine"], marker), group)


def over_styles(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of several styles as one: the median, from the least to the most; those of one style as they are.

    Styles that failed are left out where others did not; ``left_out`` counts them.
    """
    if rows["style_name"].nunique() < 2:
        return rows
    found = []
    for _, group in rows.groupby(["method", "task", "size", "batch", "engine", "dtype", "device"], sort=False):
        fine = group["value"].notna() & group["status"].isin([OK, LOWER_BOUND, NOT_REACHED])
        known = group[fine] if fine.any() else group
        values, bad = known["value"].dropna(), known.loc[known["status"] != OK, "status"]
        found.append({
            **known.iloc[0], "style_name": "", "value": values.median(), "low": values.min(), "high": values.max(),
            "n": len(values), "status": bad.iloc[0] if len(bad) else OK, "left_out": len(group) - len(known),
        })  # fmt: skip
    return pd.DataFrame(found)


def draw_points(axes: Axes, series: Series, axis: str) -> list[str]:
    """Draw medians with their intervals, arrows for bounds, crosses for what failed; what was drawn, in words."""
    rows = series.rows.sort_values(axis)
    fine = rows[rows["value"].notna()]
    axes.plot(fine[axis], fine["value"], color=series.color, marker=series.marker, label=style.label(series.label))
    style.error_bars(axes, fine[axis], fine[fine["status"] == OK].reindex(fine.index), series.color)
    for row in fine[fine["status"] != OK].to_dict("records"):
        axes.annotate("", (row[axis], row["value"]), (0, 16), textcoords="offset points",
                      arrowprops={"arrowstyle": "<-", "color": series.color, "lw": 1.4})  # fmt: skip
    for lost in rows.loc[rows["value"].isna(), axis]:
        axes.plot([lost], [0.03], transform=axes.get_xaxis_transform(), color=series.color, marker="x", mew=2)
    return [
        f"{series.label} at {row[axis]}: "
        + with_interval(row["value"], row["low"], row["high"], row["unit"], row["status"])
        for row in rows.to_dict("records")
    ]


def axes_of(axes: Axes, axis: str, rows: pd.DataFrame, axis_label: str) -> None:
    """The axes of a plot against size or batch, when everything is drawn: what differs fourfold gets a logarithm."""
    ticks, unit = sorted(rows[axis].unique()), str(rows["unit"].iloc[0])
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
    axes.set_xlim(min(ticks) / 1.35, max(ticks) * 1.35)
    axes.set_xlabel(axis_label if axes.get_subplotspec().is_last_row() else "")
    values = rows.loc[rows["value"] > 0, "value"]
    if len(values) and values.max() / values.min() > 4:
        axes.set_yscale("log")
        axes.margins(y=0.14)
        style.log_axis(axes.yaxis, unit)
    else:
        axes.set_ylim(0, axes.get_ylim()[1] * 1.08)
        style.linear_axis(axes.yaxis, unit)


# ------------------------------------------------------------------------------------------- loss against seconds


def loss_plots(analysed: Analysed) -> Iterator[Plot]:
    """One plot for each task, size (engine, dtype, device): the falling curves and the nets' points."""
    curves = analysed.run.curves
    for key, group in curves[curves["method"].isin(analysed.methods.optimisers)].groupby(list(SETTING)):
        yield _loss_plot(analysed, group, dict(zip(SETTING, key)))


def loss_name(setting: Mapping[str, Any]) -> str:
    """The name of the plot of a setting."""
    return style.slug("loss", *filter(None, (setting[name] for name in SETTING)))


def _loss_plot(analysed: Analysed, curves: pd.DataFrame, setting: Mapping[str, Any]) -> Plot:
    drawn, (axes,) = style.figure()
    look, methods, told = looks(analysed), analysed.methods, []
    photos = curves["photo"].unique()
    photo = photos[0]  # of several the first
    curves = curves[curves["photo"] == photo]
    named = f"photo {clean(photo, 40)}{f', one of {len(photos)}' if len(photos) > 1 else ''}" if photo else ""
    for (method, _), curve in curves.groupby(["method", "seed"]):
        alone = len(curve) == 1  # a line of one point is none
        axes.plot(curve["seconds"].clip(lower=1e-3), curve["objective"], color=look[method][0], lw=1.4,
                  marker="." if len(curve) < 20 else None, ls="none" if alone else "-", ms=7 if alone else 4,
                  label=style.label(methods.title(method)))  # fmt: skip
    for method, group in curves.groupby("method"):
        first, least = group["objective"].iloc[0], group["objective"].min()
        if least < first:
            told.append(f"{methods.title(method)} goes from {quantity(first, '1')} down to {quantity(least, '1')}")
    plain = methods.baseline if methods.baseline in set(curves["method"]) else curves["method"].iloc[0]
    descents = by_photo(curves[curves["method"] == plain])
    factors, seen = [], []
    for net in methods.nets:
        scores = targets(analysed.run.samples, [net], setting).get(net, {}).get(photo)
        latency = analysed.row("latency_s", method=net, **setting)
        if scores is None or latency is None or not latency["value"] > 0:
            continue
        found = to_target(descents, {photo: scores})
        if found is None:
            continue
        median, status = found
        start, level, color = latency["value"], float(np.median(scores)), look[net][0]
        factor = measured(median.value / start, "x", OK if status == OK else LOWER_BOUND)
        axes.plot([start, median.value], [level, level], color=color, lw=1.4, ls=style.LINES["texture"])
        axes.plot([start], [level], color=color, marker=look[net][1], ms=7, ls="none",
                  label=style.label(methods.title(net)))  # fmt: skip
        if status == OK:
            axes.plot([median.value], [level], marker="o", ms=8, mfc="none", mec=color, mew=1.6, ls="none")
        factors.append((start, level, f"{factor} as long"))
        gets = f"after {quantity(median.value, 's')}" if status == OK else f"not within {quantity(median.value, 's')}"
        told.append(f"the {methods.title(net)} is at {quantity(level, '1')} after {quantity(start, 's')}, optimisation "
                    f"{gets}: {factor} as long")  # fmt: skip
        seen.append(net)
    axes.set_xlabel("seconds of computing, without set-up")
    axes.set_ylabel("objective")
    axes.margins(y=0.12)
    style.log_axis(axes.xaxis, "s")
    axes.set_yscale("log")
    style.log_axis(axes.yaxis, "1")
    extra = "".join(f", {setting_name(name, setting[name])}" for name in analysed.several)
    title = f"{task_name(setting['task']).capitalize()}, {size_name(setting['size'])}{extra}"
    axes.set_title(style.label(title))
    style.finish(drawn)
    first = max(float(curves["seconds"].min()), 1e-3)
    for start, level, words in factors:
        style.write_near(axes, [(start * (first / start) ** part, level) for part in (0.5, 0.7, 0.35)], words)
    seeds = curves["seed"].nunique()
    caption = (
        f"The objective{f' of the {named},' if named else ''} against each optimisation's own time"
        + (", one line per seed" if seeds > 1 else "") + "."
        + (" A net is a point; the ring is where optimisation matches its objective." if seen else "")
    )  # fmt: skip
    text = "; ".join(told)
    told_of = ", ".join(filter(None, [title, named]))
    alt = f"{told_of}: {text}." if text else told_of
    return finished(drawn, loss_name(setting), f"Loss against seconds: {title}", caption, alt, "loss")


# -------------------------------------------------------------------------------------------------- size and batch


def size_plots(analysed: Analysed) -> Iterator[Plot]:
    """Each main metric against size at batch 1, an axes for each task."""
    for metric in metrics.named(metrics.SIZE):
        rows = analysed.rows(metric)
        if rows["value"].notna().any():
            yield _size_plot(analysed, over_styles(rows), metric)


def _size_plot(analysed: Analysed, rows: pd.DataFrame, metric: str) -> Plot:
    tasks = sorted(rows["task"].unique())
    drawn, panels = style.figure(len(tasks), style.AXES_HEIGHT if len(tasks) == 1 else PANEL)
    entry, told, published = metrics.find(metric), [], False
    for axes, task in zip(panels, tasks):
        group = rows[rows["task"] == task]
        for series in series_of(analysed, group):
            told += [f"{task_name(task)}, {words}" for words in draw_points(axes, series, "size")]
        published |= _published(axes, analysed, metric, task, group["size"].unique())
        axes_of(axes, "size", group, "side of the picture in pixels")
        axes.set_title(style.label(f"{entry.label.capitalize()}: {task_name(task)}"))
    style.finish(drawn)
    lost = sorted({status_name(status) for status in rows.loc[rows["value"].isna(), "status"]})
    better = f"; {entry.better} is better" if entry.better else ""
    several = analysed.run.cells["style_name"].nunique() > 1
    what = "Medians over styles, with their range" if several else "Medians with 95 % intervals"
    caption = f"{what}{better}." if several else f"{what} where there are several samples{better}."
    if rows["status"].isin([LOWER_BOUND, NOT_REACHED]).any():
        caption += " An arrow upwards: a lower bound, as optimisation ended before it reached the target."
    caption += f" A cross: no value ({listing(lost)})." if lost else ""
    caption += " Styles that failed are left out." if "left_out" in rows and rows["left_out"].any() else ""
    caption += " Stars: published." if published else ""
    alt = f"{entry.label}: {'; '.join(told)}"
    return finished(drawn, style.slug(metric), entry.label.capitalize(), caption, alt, "size")


def _published(axes: Axes, analysed: Analysed, metric: str, task: str, sizes: Sequence[int]) -> bool:
    """The papers' speed-ups for this metric as stars in their nets' colours; whether there are any."""
    look, found = looks(analysed), False
    for claim in claims.CLAIMS:
        nets = analysed.methods.of_paper(claim.paper.title)
        if claim.metric != metric or claim.task != task or claim.unit != "x" or not nets:
            continue
        for size in set(claim.published) & set(sizes):
            axes.plot(size, claim.published[size][1], ls="none", marker="*", ms=11, mfc="none", mec=look[nets[0]][0])
            found = True
    if found:
        axes.plot([], [], ls="none", marker="*", ms=10, mfc="none", mec=style.MUTED, label="published")
    return found


def batch_plots(analysed: Analysed) -> Iterator[Plot]:
    """Throughput against the batch as one figure of small axes, where more than one batch was measured."""
    rows = analysed.summary
    rows = rows[(rows["metric"] == metrics.named(metrics.BATCH)[0]) & rows["value"].notna()]
    groups = [(key, group) for key, group in rows.groupby(["task", "size"]) if group["batch"].nunique() > 1]
    if not groups:
        return
    drawn, panels = style.figure(len(groups), 1.05)
    told = []
    for axes, ((task, size), group) in zip(panels, groups):
        for series in series_of(analysed, group):
            told += [f"{task_name(task)}, {size_name(size)}, {words}" for words in draw_points(axes, series, "batch")]
        axes_of(axes, "batch", group, "pictures in a batch")
        axes.set_title(style.label(f"{task_name(task).capitalize()}, {size_name(size)}: pictures per second"))
    style.finish(drawn)
    devices = set(rows["device"])
    caption = "Pictures per second against the size of the batch; higher is better."
    if all(str(device).startswith("cpu") for device in devices):
        caption += (
            " A batch rarely helps on a CPU: one picture keeps all cores busy already, and the activations of several "
            "no longer fit into the caches."
        )
    yield finished(drawn, "throughput-by-batch", "Throughput by batch", caption, "; ".join(told), "batch")


# ------------------------------------------------------------------------------------------- terms of the objective


def term_plots(analysed: Analysed) -> Iterator[Plot]:
    """The objective and its terms, method beside method: one plot for each task and size."""
    terms = metrics.named(metrics.QUALITY)
    rows = analysed.summary
    rows = rows[rows["metric"].isin(terms) & (rows["batch"] == 1) & rows["value"].notna()]
    for (own, task, size), everything in rows.groupby(["style_name", "task", "size"], sort=True):
        largest = everything.groupby("metric")["value"].transform("max")
        group = everything[(everything["metric"] == terms[0]) | (largest > 0)]
        title = ", ".join(filter(None, [task_name(task).capitalize(), size_name(size), clean(own, 40)]))
        yield _term_plot(analysed, group, title, style.slug(*filter(None, ["quality", own, task, size])))


def _term_plot(analysed: Analysed, rows: pd.DataFrame, title: str, name: str) -> Plot:
    drawn, (axes,) = style.figure(height=1.9)
    terms = [term for term in metrics.named(metrics.QUALITY) if term in set(rows["metric"])]
    places = {term: -index for index, term in enumerate(terms)}
    all_series, told = list(series_of(analysed, rows)), []
    for index, series in enumerate(all_series):
        shift = 0.5 * (index - (len(all_series) - 1) / 2) / max(1, len(all_series))
        heights = series.rows["metric"].map(places).to_numpy(dtype=float) - shift
        axes.plot(series.rows["value"], heights, ls="none", color=series.color, marker=series.marker, ms=6,
                  label=style.label(series.label))  # fmt: skip
        style.error_bars(axes, heights, series.rows, series.color, across=True)
        found = (f"{row['metric']} {quantity(row['value'], '1')}" for row in series.rows.to_dict("records"))
        told.append(f"{series.label}: {', '.join(found)}")
    axes.set_xlim(0, max(rows[["value", "high"]].max().max() * 1.08, 1e-9))
    style.linear_axis(axes.xaxis, "1")
    axes.set_yticks(list(places.values()), [metrics.find(term).label for term in terms])
    axes.set_ylim(min(places.values()) - 0.5, 0.5)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("weighted as in the objective; lower is better")
    axes.set_title(style.label(title), loc="right" if len(title) > LONGEST_TITLE else "left")
    style.finish(drawn, left=1.3)
    several = bool(np.any(rows["n"] > 1))
    caption = f"Each method's picture under one objective{', with 95 % intervals' if several else ''}."
    caption = run_facts.with_end(caption, analysed.run.records)
    title = f"Terms of the objective: {title}"
    return finished(drawn, name, title, caption, f"{title}. {'; '.join(told)}", "quality")
