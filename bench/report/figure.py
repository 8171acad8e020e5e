"""Styles down, methods across: what each method made at one size, and under each picture what it took (figure 4 of
Ulyanov et al. 2016, with numbers). Of one run or several, with whatever methods and styles they have.
"""

from __future__ import annotations

import base64
import io
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from bench.analysis.analysed import Analysed
from bench.plan.cells import use_of
from bench.plan.engines import REFERENCE
from bench.report import run_facts, training
from bench.report.pictures import evaluations, of_other_photos, thumbnail, usable
from bench.report.plots import Plot, finished
from bench.report.wording import engine_name, status_name
from nst_gluon.methods import GENERATES
from nst_gluon.pages.wording import clean, quantity, size_name, task_name
from nst_gluon.system.errors import UserError

SIDE, PIXELS = 1.75, 384  # of a picture, in inches and in pixels at most
HEAD, FOOT = 0.4, 0.72  # inches above and below a picture
WRAP = 24  # characters of a column's title in a line
JPEG_QUALITY, CORNER = 88, 0.42
CAPTION = (
    "Under each picture: seconds for it (of an optimisation all of them), memory beyond that of the engine, the "
    "training before the first picture, and the common objective."
)


@dataclass(frozen=True)
class Shown:
    """A picture with the lines below it; without a file, why there is none stands in its place."""

    file: Path | None
    lines: tuple[str, ...]
    corner: Path | None = None  # a smaller one that lies in its corner


@dataclass(frozen=True)
class Layout:
    """``columns`` are titles, the first that of what was given; each row has as many pictures."""

    task: str
    size: int
    columns: tuple[str, ...]
    rows: tuple[tuple[Shown, ...], ...]
    caption: str


def lay_out(runs: Sequence[Analysed], task: str, size: int | None = None) -> Layout:
    """What stands where. ``size`` None: the one nearest to the papers' that has the most pictures.

    Raises:
        UserError: no run has a cell of the task, or of the size.
    """
    records = [record for run in runs for record in run.run.records if record["task"] == task]
    if not records:
        raise UserError(f"--task: these runs have no {task_name(task)}; give another task or run")
    sizes = sorted({int(record["size"]) for record in records}, key=run_facts.from_papers_size)
    if size is not None and size not in sizes:
        raise UserError(f"--size: no picture of {size}; the runs have {', '.join(map(str, sorted(sizes)))}")
    side = size or max(sizes, key=lambda side: sum(record["size"] == side for record in records))
    cells: dict[tuple[str, ...], dict[str, Shown]] = {}
    given: dict[tuple[str, ...], Shown] = {}
    names: dict[str, str] = {}
    for analysed in runs:
        baseline, others = analysed.methods.baseline, of_other_photos(analysed.run)
        for method in sorted(analysed.methods, key=lambda name, first=baseline: name != first):
            of: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
            for record in analysed.run.records:
                is_one = (record["task"], record["size"], record["method"]) == (task, side, method)
                if is_one and record.get("key") not in others:
                    of.setdefault(_row_of(analysed, record), []).append(record)
            for row, able in of.items():
                names.setdefault(method, analysed.methods.title(method))
                given.setdefault(row, _given(analysed, task, row[-1]))
                shown = _shown(analysed, min(able, key=_rank))
                if cells.setdefault(row, {}).get(method, Shown(None, ())).file is None:
                    cells[row][method] = shown
    absent = Shown(None, ("not in this run",))
    rows = tuple((given[row], *(cells[row].get(method, absent) for method in names)) for row in cells)
    first = "style" if task == "texture" else "photo and style"
    return Layout(task, side, (first, *names.values()), rows, run_facts.with_end(CAPTION, records))


def _row_of(analysed: Analysed, record: Mapping[str, Any]) -> tuple[str, ...]:
    """What a row has in common: to stylise the photo, and the style; the cells of a run of one style name none."""
    style = str(record.get("style_name") or run_facts.named(analysed.run.meta, "style"))
    return (style,) if record["task"] == "texture" else (run_facts.named(analysed.run.meta, "content"), style)


def _rank(record: Mapping[str, Any]) -> tuple:
    """Which of several cells of a method is shown: one that is ok, the suite's own engine, one picture at a time."""
    return (record.get("status") != "ok", record.get("batch") != 1, record.get("engine") != REFERENCE,
            record.get("dtype") != "float32", str(record.get("device")), record.get("seed", 0))  # fmt: skip


def _given(analysed: Analysed, task: str, style: str) -> Shown:
    """The style; to stylise, the photo with the style in its corner."""
    text, run = clean(style.replace("_", " "), 40), analysed.run
    painting = usable(run, f"images/style-{style}.png") or usable(run, "images/style.png")
    painting = painting and run.directory / painting
    if task == "texture":
        return Shown(painting, (text,))
    photo = usable(run, "images/content.png")
    lines = (clean(run_facts.named(run.meta, "content"), 40), f"as {text}")
    return Shown(photo and run.directory / photo, lines, painting)


def _shown(analysed: Analysed, record: Mapping[str, Any]) -> Shown:
    path, status = usable(analysed.run, record.get("image")), str(record.get("status"))
    if status != "ok" or path is None:
        return Shown(None, (status_name(status) if status != "ok" else "no picture",))
    return Shown(analysed.run.directory / path, tuple(_lines(analysed, record)))


def _lines(analysed: Analysed, record: Mapping[str, Any]) -> Iterator[str]:
    """Time, memory, training time, objective."""
    method, medians = str(record["method"]), record.get("medians") or {}
    made = analysed.methods[method].kind == GENERATES
    seconds = medians.get("latency_s") if made else run_facts.get(record, "info", "seconds")
    time = quantity(float(seconds), "s") if isinstance(seconds, (int, float)) else "time not known"
    steps = "" if made else f", {evaluations(record)} evaluations"
    engine = "" if record.get("engine") == REFERENCE else f" ({engine_name(str(record['engine']))})"
    yield f"{time}{steps}{engine}"
    memory = medians.get("working_memory_bytes")
    yield f"memory {quantity(float(memory), 'B')}" if isinstance(memory, (int, float)) else "memory not known"
    net = method if made else run_facts.get(record, "info", "start_net")
    if net:
        uses = (use_of(style, net, record["task"]) for style in (record.get("style_name"), ""))
        nets = (run_facts.get(analysed.run.meta, "inputs", "nets", use) for use in uses)
        trained, parts = training.seconds(next(filter(None, nets), None))
        least = " or more" if parts else ""
        yield f"training {quantity(trained, 's')}{least}" if trained else "training time not known"
    else:
        yield "no training"
    objective = run_facts.get(record, "info", "shown_objective") or medians.get("objective")  # of this very picture
    own = " (not minimised)" if analysed.methods[method].own_loss else ""
    yield f"objective {quantity(float(objective), '1')}{own}" if isinstance(objective, (int, float)) else "no objective"


# ----------------------------------------------------------------------------------------------------------- drawing


def draw(layout: Layout) -> Plot:
    """The figure. Call within :func:`nst_gluon.pages.style.context`."""
    down, across = len(layout.rows), len(layout.columns)
    high = SIDE + FOOT
    height = down * high + HEAD
    drawn = Figure(figsize=(across * (SIDE + 0.08), height))
    for line, row in enumerate(layout.rows):
        for place, shown in enumerate(row):
            bottom = (height - HEAD - line * high - SIDE) / height
            axes = drawn.add_axes(((place + 0.02) / across, bottom, 0.96 / across, SIDE / height))
            axes.set_axis_off()
            pixels = None if shown.file is None else _pixels(shown.file, shown.corner)
            lines = shown.lines
            if pixels is None:
                axes.text(0.5, 0.5, "\n".join(lines), ha="center", va="center", fontsize=7, transform=axes.transAxes)
                lines = ()
            else:
                axes.imshow(pixels, interpolation="none")
            if line == 0:
                axes.set_title(textwrap.fill(layout.columns[place], WRAP), fontsize=8, pad=4, loc="center")
            axes.text(0.5, -0.03, "\n".join(lines), ha="center", va="top", fontsize=6.5, transform=axes.transAxes)
    title, caption = f"Styles by methods: {task_name(layout.task)} at {size_name(layout.size)}", layout.caption
    told = ["; ".join(f"{title}: {', '.join(shown.lines)}" for title, shown in zip(layout.columns, row))
            for row in layout.rows]  # fmt: skip
    made = finished(drawn, f"figure-{layout.task}", title, caption, f"{caption} {'. '.join(told)}.", "figure")
    return replace(made, svg=re.sub(r"data:image/png;base64,\s*([A-Za-z0-9+/=\s]+)", _as_jpeg, made.svg))


def plots(analysed: Analysed) -> Iterator[Plot]:
    """One figure for each task of a run that has several methods' pictures of it."""
    for task in sorted({str(record["task"]) for record in analysed.run.records}, reverse=True):
        layout = lay_out([analysed], task)
        if sum(shown.file is not None for shown in layout.rows[0]) > 2:
            yield draw(layout)


def _pixels(file: Path, corner: Path | None = None) -> np.ndarray | None:
    """A picture (H, W, 3), uint8, at most PIXELS a side, with another in its ``corner``; None if it is damaged."""
    picture = thumbnail(file, PIXELS)
    if picture is None:
        return None
    small = None if corner is None else _pixels(corner)
    if small is not None:
        side = round(CORNER * picture.width)
        framed = Image.new("RGB", (side, side), "white")
        framed.paste(Image.fromarray(small).resize((side - 4, side - 4), Image.LANCZOS), (4, 4))
        picture.paste(framed, (picture.width - side, picture.height - side))
    return np.asarray(picture)


def _as_jpeg(found: re.Match) -> str:
    """A PNG's data URI as a JPEG's, a fifth of its length; what is transparent is white."""
    with Image.open(io.BytesIO(base64.b64decode(found[1])), formats=("PNG",)) as opened:
        picture = opened.convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    stream = io.BytesIO()
    Image.alpha_composite(white, picture).convert("RGB").save(stream, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
