"""What judges say of a run's pictures, and how its nets answer to more and less noise."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from bench.analysis import judging, metrics
from bench.analysis.analysed import Analysed
from bench.report import tables
from bench.report.pictures import Picture
from bench.report.plots import Plot, finished
from bench.report.tables import Entry, Table
from bench.report.wording import head_of, setting_name
from nst_gluon.pages import style
from nst_gluon.pages.wording import MISSING, clean, quantity, significant, size_name, task_name
from nst_gluon.system.files import inside

TEXT = (
    "The objective is what the methods minimise, or were trained to; these numbers are not. All are of the saved "
    "pictures and taken after the timing. A picture “at the loss of” a net is the one with which optimisation reached "
    "that net's objective."
)
NOISE_TEXT = (
    "The noise of a stylising net, multiplied at test time (Ulyanov et al. 2016, section 5): 1 is what it was trained "
    "with."
)


def table(analysed: Analysed) -> Table | None:
    """One row a picture: the objective and what each judge says; None for a run that was not judged."""
    found = judging.read(analysed.run.directory)
    if found.empty:
        return None
    names = [name for name in metrics.named(metrics.JUDGE) if name in found]
    rows = []
    for row in found.sort_values(["task", "size", "objective"]).to_dict("records"):
        what = analysed.methods.title(row["method"])
        at = f"at the loss of the {analysed.methods.title(row['target'])}" if row["target"] else ""
        cells = [task_name(row["task"]), str(row["size"]), Entry(what, at)]
        cells += [setting_name(name, row[name]) for name in analysed.several]
        rows.append([*cells, *(_value(row[name]) for name in ("objective", *names))])
    columns = ["task", "size", "picture", *map(head_of, analysed.several), Entry("objective", metric="objective")]
    columns += [Entry(metrics.METRICS[name].label, f"{metrics.METRICS[name].better} is better", metric=name)
                for name in names]  # fmt: skip
    numbers = range(len(columns) - len(names) - 1, len(columns))
    return tables.table("judges", "Judges", columns, rows, (1, *numbers))


def _value(value: float) -> Entry:
    if pd.isna(value):
        return Entry(MISSING, tone="missing")
    return Entry(quantity(value, "1") if abs(value) >= 1e-3 else significant(value, 2), order=float(value))


def sentences(analysed: Analysed) -> Iterator[str]:
    """One sentence a judge: how far its order of the pictures is the objective's."""
    for row in judging.correlations([judging.read(analysed.run.directory)]).to_dict("records"):
        yield sentence(row)


def sentence(row: dict) -> str:
    """What a row of :func:`bench.analysis.judging.correlations` means."""
    value, entry = row["correlation"], metrics.METRICS[row["metric"]]
    chance = 2 / math.sqrt(row["pictures"] - row["groups"])  # two standard errors of a correlation of nothing
    says = ("cannot be told from chance" if abs(value) < chance else
            "puts the pictures in the objective's order" if value >= 0.9 else
            "mostly agrees with the objective" if value >= 0.5 else
            "agrees with the objective a little" if value > 0 else
            "leans against the objective" if value > -0.5 else "contradicts the objective")  # fmt: skip
    several = f"{row['groups']} settings, {row['least']:.2f} to {row['most']:.2f}"
    groups = several if row["groups"] > 1 else "one setting"
    label = f"{entry.label[:1].upper()}{entry.label[1:]}"
    return f"{label} {says}: rank correlation {value:.2f} over {row['pictures']} pictures ({groups})."


# ------------------------------------------------------------------------------------------------------------ noise


def noise_plots(analysed: Analysed) -> Iterator[Plot]:
    """Style and content loss of each net against the scale of its noise."""
    for method, rows in judging.noise(analysed.run.directory).groupby("method"):
        drawn, (axes,) = style.figure()
        scales = list(rows["scale"])
        places = range(len(scales))
        told = []
        for name, line in (("style", "-"), ("content", "--")):
            values = list(rows[name])
            axes.plot(places, values, line, marker="o", ms=4, color=analysed.methods[str(method)].color, label=name)
            told.append(f"{name} loss {', '.join(quantity(value, '1') for value in values)}")
        axes.xaxis.set_major_locator(FixedLocator(places))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda place, _, scales=scales: f"{scales[round(place)]:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("noise, of that of the training")
        axes.set_ylabel("weighted loss")
        axes.set_yscale("log")
        axes.margins(y=0.14)
        style.log_axis(axes.yaxis, "1")
        title = f"Noise strength: {analysed.methods.title(str(method))}, {size_name(int(rows['size'].iloc[0]))}"
        axes.set_title(style.label(title))
        style.finish(drawn)
        alt = f"{title}, at {', '.join(f'{scale:g}' for scale in scales)}: {'; '.join(told)}."
        caption = "Style and content loss, weighted as in the objective, of one picture for each strength."
        yield finished(drawn, style.slug("noise", method), title, caption, alt, "noise")


def noise_pictures(analysed: Analysed) -> Iterator[Picture]:
    """The pictures of those points."""
    directory = analysed.run.directory
    for row in judging.noise(directory).to_dict("records"):
        path = inside(directory, str(row["picture"]))
        if path is None or not path.is_file():
            continue
        title = f"{analysed.methods.title(str(row['method'])).capitalize()}, noise × {row['scale']:g}"
        note = f"style {quantity(row['style'], '1')}, content {quantity(row['content'], '1')}"
        named = Path(path).relative_to(directory.resolve()).as_posix()
        yield Picture(clean(title, 80), note, f"{title}: {note}", path, named)
