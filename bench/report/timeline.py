"""The history of several runs as a page: every metric from run to run, what changed, and machines side by side."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.ticker import FixedLocator, FuncFormatter

from bench.analysis import metrics
from bench.analysis.methods import Methods
from bench.gate import history
from bench.gate.history import BETTER, METRICS, OTHER, WORSE, Entry
from bench.gate.selftest import OPTIMISED_FLOORS, POOL_FLOORS
from bench.report import run_facts
from bench.report.page import render
from bench.report.plots import ENGINE_MARKS, EXTRAS, Plot, finished, write_all
from bench.report.tables import Entry as Shown
from bench.report.tables import Table, table
from bench.report.wording import cell_label, measured, series_label
from bench.store import run_folder
from nst_gluon.pages import style
from nst_gluon.pages.wording import clean, interval, listing, size_name, task_name
from nst_gluon.system.files import write_atomically

TITLE = "History of runs"
DRAWN = ("speedup_at_equal_loss", "latency_s", "iteration_s", "working_memory_bytes")
TONES = {BETTER: "reproduced", WORSE: "not"}
EXPLANATION = (
    "A number is compared with the one before it on the same machine, if both were made with the same pictures, "
    "weights, objective and nets. The change is beyond noise only if the ratio of the two lies wholly beyond the noise "
    "floor, taken at its least favourable: one interval's low end over the other's high end. The floor is what python "
    f"-m bench selftest found for the machine; without it, {100 * POOL_FLOORS['s']:.0f} % for times and "
    f"{100 * POOL_FLOORS['B']:.0f} % for memory (optimisation: {100 * OPTIMISED_FLOORS['peak_memory_bytes']:.0f} % for "
    f"the peak, {100 * OPTIMISED_FLOORS['working_memory_bytes']:.0f} % for working memory). One sample has no "
    "interval: a peak of memory is then taken as it is, and of anything else nothing can be said. Slow drift is small "
    "changes that add up: before and after a run, the values differ more in rank than in all but "
    f"{history.RARE:.1%} of random orders."
)


@dataclass(frozen=True)
class Machine:
    """What the page says of one machine."""

    name: str
    title: str
    runs: Table
    changes: Table | None
    drift: Table | None
    plots: tuple[Plot, ...]


def write(paths: Sequence[Path], target: Path, results: Path) -> Path:
    """Write index.html, history.csv and plots of the runs at ``paths`` into ``target``; the path of the page.

    Raises UserError for a run that cannot be read, and if ``target`` cannot be written.
    """
    read = [history.read(path) for path in paths]
    methods = Methods({name: facts for entry in read for name, facts in entry.methods.items()})
    groups = history.machines(read)
    found = history.points(groups, results)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise run_folder.explain(error, target) from error
    shown = [_machine(name, entries, found[found["machine"] == name], target, methods)
             for name, entries in groups.items()]  # fmt: skip
    text = found.to_csv(index=False, float_format="%.9g", lineterminator="\n")
    write_atomically(target / "history.csv", text)
    write_all([plot for machine in shown for plot in machine.plots], target / "plots")
    page = render(
        "history.html.j2",
        title=TITLE,
        answer=answer(groups, found),
        machines=shown,
        beside=side_by_side(found, methods) if len(groups) > 1 else None,
        explanation=EXPLANATION,
        svg=lambda plot: Markup(plot.inline()),
    )
    return write_atomically(target / "index.html", page)


def answer(groups: Mapping[str, Sequence[Entry]], found: pd.DataFrame) -> str:
    """What the history says, in one sentence."""
    runs = sum(map(len, groups.values()))
    count = found["change"].value_counts()
    where = f"{runs} runs on {len(groups)} machine{'' if len(groups) == 1 else 's'}"
    compared = len(found) - int(count.get(history.FIRST, 0)) - int(count.get(OTHER, 0))
    if not compared:
        return f"{where}: no number was measured twice on one machine with the same inputs."
    better, worse = (int(count.get(name, 0)) for name in (BETTER, WORSE))
    if not better + worse:
        return f"{where}: of {compared} numbers measured again, none changed beyond noise."
    parts = [f"{n} got {name}" for n, name in ((worse, WORSE), (better, BETTER)) if n]
    return f"{where}: of {compared} numbers measured again, {listing(parts)} beyond noise."


def _machine(
    name: str, entries: Sequence[Entry], found: pd.DataFrame, target: Path, methods: Methods
) -> Machine:
    title = f"{name.capitalize()}: {run_facts.fingerprint(entries[-1].fingerprint)}"
    with style.context():
        drawn = tuple(_plots(name, [entry.id for entry in entries], found, methods))
    tables = (_runs(name, entries, target), changes(name, found, methods), drift(name, found, methods))
    return Machine(style.slug(*name.split()), title, *tables, drawn)


def _runs(name: str, entries: Sequence[Entry], target: Path) -> Table:
    rows = []
    for entry in entries:
        report = entry.path / "report.html"
        link = quote(os.path.relpath(report, target)) if report.is_file() else ""
        rows.append([Shown(clean(entry.created[:16].replace("T", " ") or "?")), Shown(clean(entry.id, 80), link=link),
                     clean(entry.revision or "?", 20), clean(entry.status, 20)])  # fmt: skip
    return table(style.slug("runs", *name.split()), f"Runs of {name}", ["date", "run", "revision", "status"], rows, ())


def changes(name: str, found: pd.DataFrame, methods: Methods) -> Table | None:
    """The numbers that changed beyond noise from one run to the next; None where there is none."""
    rows = []
    for row in found[found["change"].isin([BETTER, WORSE])].to_dict("records"):
        metric = metrics.find(row["metric"])
        brackets = interval(row["ratio"], row["ratio_low"], row["ratio_high"], "x")
        hover = f"noise floor {row['floor']:.0%}"
        by = Shown(f"{100 * (row['ratio'] - 1):+.1f} %", f"{brackets}×", hover, order=row["ratio"])
        value = Shown(measured(row["value"], row["unit"], row["status"]), order=row["value"])
        rows.append([Shown(metric.label), cell_label(row, methods), value, by, clean(f"{row['revision'] or '?'}", 20),
                     clean(row["run"], 80), Shown(row["change"], tone=TONES[row["change"]])])  # fmt: skip
    columns = ["metric", "cell", "value", "change", "revision", "run", "verdict"]
    return table(style.slug("changes", *name.split()), "Changes beyond noise", columns, rows, (2, 3)) if rows else None


def drift(name: str, found: pd.DataFrame, methods: Methods) -> Table | None:
    """Where a number's level changed over the runs; None where it did nowhere."""
    rows = []
    for row in history.drifts(found).to_dict("records"):
        by = Shown(f"{100 * (row['ratio'] - 1):+.1f} %", f"p {row['p']:.4f}", order=row["ratio"])
        label, revision = metrics.find(row["metric"]).label, clean(f"{row['revision'] or '?'}", 20)
        rows.append([Shown(label), cell_label(row, methods), by, revision, clean(row["run"], 80),
                     Shown(row["change"], tone=TONES[row["change"]])])  # fmt: skip
    columns = ["metric", "cell", "change of the median", "since revision", "since run", "verdict"]
    return table(style.slug("drift", *name.split()), "Slow drift", columns, rows, (2,)) if rows else None


def side_by_side(found: pd.DataFrame, methods: Methods) -> Table:
    """The newest value of each metric and cell on every machine."""
    newest = history.latest(found)
    names = list(dict.fromkeys(found["machine"]))
    order = {metric: index for index, metric in enumerate(METRICS)}
    cells: dict[tuple, dict[str, Mapping]] = {}
    for row in newest.to_dict("records"):
        place = ("style_name", "task", "size", "method", "engine", "dtype", "device")
        key = (order[row["metric"]], *(row[name] for name in place))
        cells.setdefault(key, {})[row["machine"]] = row
    rows = []
    for key in sorted(cells):
        any_row = next(iter(cells[key].values()))
        rows.append([metrics.find(any_row["metric"]).label, cell_label(any_row, methods),
                     *(_value(cells[key].get(name)) for name in names)])  # fmt: skip
    columns = ["metric", "cell", *names]
    return table("machines", "Machines side by side", columns, rows, range(2, len(columns)))


def _value(row: Mapping | None) -> Shown:
    if row is None:
        return Shown("–", tone="missing")
    brackets = interval(row["value"], row["low"], row["high"], row["unit"]) if row["status"] == "ok" else ""
    tone = "" if row["status"] == "ok" else "bound"
    hover = f"run {row['run']}, revision {row['revision'] or '?'}, n = {row['n']}"
    return Shown(measured(row["value"], row["unit"], row["status"]), brackets, hover, tone=tone, order=row["value"])


def _plots(name: str, runs: Sequence[str], found: pd.DataFrame, methods: Methods) -> Iterator[Plot]:
    """Each metric of DRAWN at each size against the runs of one machine, where two or more have it.

    What differs in more than method and task (the engine, say) gets a plot of its own.
    """
    for metric in DRAWN:
        rows = found[(found["metric"] == metric) & found["value"].notna()]
        extras = [extra for extra in EXTRAS if rows[extra].nunique() > 1]
        for (size, *rest), group in rows.groupby(["size", *EXTRAS], sort=True):
            if group["run"].nunique() > 1:
                told = [str(value) for value, extra in zip(rest, EXTRAS) if extra in extras]
                title = ", ".join([metrics.find(metric).label, size_name(size), *(clean(value, 24) for value in told)])
                yield _plot(style.slug(*name.split(), metric, size, *told), title, runs, group, methods)


def _plot(name: str, title: str, runs: Sequence[str], rows: pd.DataFrame, methods: Methods) -> Plot:
    drawn, (axes,) = style.figure()
    look = style.marks({method: methods[method].color for method in methods})
    unit, told, changed = str(rows["unit"].iloc[0]), [], []
    for (method, task, engine), group in rows.groupby(["method", "task", "engine"], sort=True):
        colour, marker = look[method]
        text = f"{series_label(method, {}, (), methods)}, {task_name(task)}"
        x = np.array([runs.index(run) for run in group["run"]], dtype=float)
        face = style.PAPER if task == "texture" else colour
        axes.plot(x, group["value"], color=colour, marker=ENGINE_MARKS.get(engine, marker), mfc=face, mec=colour,
                  ls=style.LINES.get(task, ":"), label=style.label(text))  # fmt: skip
        style.error_bars(axes, x, group, colour)
        for place, point in zip(x, group.to_dict("records")):
            shown = measured(point["value"], unit, point["status"])
            told.append(f"{text}, {point['revision'] or point['run']}: {shown}, {point['change']}")
            if point["change"] in (BETTER, WORSE):
                axes.plot([place], [point["value"]], marker="o", ms=12, mfc="none", mec=style.INK, mew=1.2, ls="none")
                changed.append((place, point["value"], f"{100 * (point['ratio'] - 1):+.0f} %"))
    axes.set_yscale("log")
    axes.margins(x=0.12, y=0.25)
    style.log_axis(axes.yaxis, unit)
    step = -(-len(runs) // 6)
    axes.xaxis.set_major_locator(FixedLocator(list(range(0, len(runs), step))))
    labels = rows.drop_duplicates("run").set_index("run")["revision"].to_dict()
    names = [style.label(str(labels.get(run) or run[-9:])) for run in runs]
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: names[int(value)] if 0 <= value < len(runs) else ""))
    axes.set_xlabel("revision, oldest run first")
    axes.set_title(style.label(title))
    style.finish(drawn)
    for place, value, words in changed:
        beside = [(place + shift, value) for shift in (0, -0.25, 0.25, -0.4, 0.4)]
        style.write_near(axes, beside, words, gap=9)
    caption = "Medians with 95 % intervals. A ring, with its percentage: changed beyond noise since the run before."
    return finished(drawn, name, title, caption, f"{title}: {'; '.join(told)}", "history")
