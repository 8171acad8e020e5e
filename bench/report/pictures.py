"""The pictures of a run: which there are, which stand side by side first, and small copies of them to embed."""

from __future__ import annotations

import base64
import io
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from bench.analysis import claims
from bench.analysis.analysed import Analysed
from bench.analysis.summary import SETTING, SPEEDUP_EQUAL
from bench.plan.cells import CELL_COLUMNS
from bench.report import run_facts
from bench.report.wording import steps_text, with_interval
from bench.store.reader import RunData
from nst_gluon.pages.wording import clean, quantity, size_name, task_name
from nst_gluon.pictures import images
from nst_gluon.system.errors import UserError
from nst_gluon.system.files import inside

MOST_BYTES = 1_600_000  # of all embedded pictures together, before base64
FIRST = (512, 85)  # longest side and quality of those of the first screen
_REST = ((384, 80), (256, 78), (160, 70), (96, 60))


@dataclass(frozen=True)
class Picture:
    """One picture; ``path`` is relative to the run directory; ``task`` and ``size`` are empty for what was given."""

    title: str
    note: str
    alt: str
    file: Path
    path: str
    task: str = ""
    size: int = 0


@dataclass(frozen=True)
class Row:
    """What was given, what optimisation made of it at a net's loss, and what the net made of it.

    ``equal`` says whether the optimisation's picture is that of the same loss; otherwise it is the one that it ended
    at.
    """

    title: str
    figure: str
    text: str
    given: tuple[Picture, ...]
    optimised: Picture | None
    made: Picture
    equal: bool

    @property
    def pictures(self) -> tuple[Picture, ...]:
        return tuple(picture for picture in (*self.given, self.optimised, self.made) if picture is not None)


def inputs(run: RunData) -> list[Picture]:
    """The style and the content picture, as the run kept them."""
    found = []
    for role in ("style", "content"):
        path = f"images/{role}.png"
        name = clean(Path(str(run_facts.setting(run.meta, role) or role)).stem, 80)
        if (run.directory / path).is_file():
            title = "Style" if role == "style" else "Photo"
            found.append(Picture(title, name, f"The {role} picture, {name}", run.directory / path, path))
    return found


def outputs(analysed: Analysed) -> list[Picture]:
    """What the methods made: one picture for each method, task and size, of batch 1 and the first seed."""
    return [_output(analysed, record) for _, record in sorted(_chosen(analysed.run).items())]


def _chosen(run: RunData) -> dict[tuple[str, int, str], Mapping[str, Any]]:
    chosen: dict[tuple[str, int, str], Mapping[str, Any]] = {}
    others = of_other_photos(run)
    first = ("", Path(str(run_facts.setting(run.meta, "style") or "")).stem)
    for record in run.records:
        if record.get("style_name") not in first:  # of several styles the first
            continue
        if record.get("status") != "ok" or record.get("batch") != 1 or not usable(run, record.get("image")):
            continue
        if record.get("key") in others:
            continue
        identity = (str(record["task"]), int(record["size"]), str(record["method"]))
        current = chosen.get(identity)
        if current is None or _rank(record) < _rank(current):
            chosen[identity] = record
    return chosen


def of_other_photos(run: RunData) -> set[str]:
    """The keys of cells whose picture is of another photo than the run's first, which stands beside the pictures: of
    several photos each process has its share.
    """
    if not run_facts.setting(run.meta, "other_contents"):
        return set()
    columns, content = list(CELL_COLUMNS), Path(str(run_facts.setting(run.meta, "content"))).stem
    photos = run.samples[run.samples["photo"].fillna("") != ""].groupby(columns)["photo"].first()
    others = {key for key, photo in photos.items() if photo != content}
    return {str(record.get("key")) for record in run.records if tuple(record.get(name) for name in columns) in others}


def _output(analysed: Analysed, record: Mapping[str, Any]) -> Picture:
    run, title = analysed.run, analysed.methods.title(str(record["method"]))
    path = str(usable(run, record["image"]))
    task, size = str(record["task"]), int(record["size"])
    objective = run_facts.get(record, "info", "shown_objective") or run_facts.get(record, "medians", "objective")
    note = [f"objective {quantity(float(objective), '1')}"] if isinstance(objective, (int, float)) else []
    note += [f"{evaluations(record)} evaluations"] if evaluations(record) else []
    words = ", ".join([task_name(task), size_name(size), *note])
    alt = f"The picture that the {title} made: {task_name(task)} at {size_name(size)}"
    return Picture(title, words, alt, run.directory / path, path, task, size)


def evaluations(record: Mapping[str, Any]) -> int | None:
    """Those behind the picture of a cell, which is of its first photo; the record's own number is of all its photos."""
    return run_facts.get(record, "info", "evaluations") or record.get("evaluations")


def usable(run: RunData, named: Any) -> str | None:
    """A picture's path relative to the run directory; None if there is none, or if it lies outside."""
    if not isinstance(named, str) or not named:
        return None
    try:
        path = inside(run.directory, named)
        return path.relative_to(run.directory.resolve()).as_posix() if path and path.is_file() else None
    except (OSError, ValueError):  # a name that no file can have
        return None


def _rank(record: Mapping[str, Any]) -> tuple:
    return (record.get("engine") != "gluon", record.get("dtype") != "float32", str(record.get("device")),
            record.get("seed", 0))  # fmt: skip


# ------------------------------------------------------------------------------------------------------ side by side


def side_by_side(analysed: Analysed) -> list[Row]:
    """For each task the best net's picture beside what was given and what optimisation made, near the papers' size."""
    chosen, given = _chosen(analysed.run), {picture.title: picture for picture in inputs(analysed.run)}
    nets = [key for key in chosen if key[2] in analysed.methods.nets]
    if not nets:
        return []
    size = min((key[1] for key in nets), key=run_facts.from_papers_size)
    rows: list[Row] = []
    for task in sorted({key[0] for key in nets}, reverse=True):  # textures first: their style stands for both
        able = {method: chosen[task, size, method] for *where, method in nets if where == [task, size]}
        if able:
            method = min(able, key=lambda name: (
                analysed.methods[name].own_loss, run_facts.get(able[name], "medians", "objective") or float("inf")
            ))  # fmt: skip
            wanted = ["Style"] if task == "texture" else ["Photo"] if rows else ["Style", "Photo"]
            own = tuple(given[name] for name in wanted if name in given)
            rows.append(_row(analysed, able[method], chosen.get((task, size, analysed.methods.baseline)), own))
    return rows


def _row(
    analysed: Analysed, net: Mapping[str, Any], optimised: Mapping[str, Any] | None, given: tuple[Picture, ...]
) -> Row:
    methods, made = analysed.methods, _output(analysed, net)
    where = {name: net[name] for name in (*SETTING, "method")}
    speedup, latency, median = (analysed.row(name, **where) for name in (SPEEDUP_EQUAL, "latency_s", "objective"))
    objective = run_facts.get(net, "info", "shown_objective") or run_facts.get(net, "medians", "objective")
    told = [f"objective {quantity(float(objective), '1')}"] if isinstance(objective, (int, float)) else []
    if told and median and quantity(median["value"], "1") != quantity(float(objective), "1"):
        over = "over photos" if len(net.get("scores") or ()) > 1 else "of all draws"
        told[0] += f" (median {over} {quantity(median['value'], '1')})"
    told += [quantity(latency["value"], "s")] if latency else []
    picture, equal = (None, False) if optimised is None else _equal(analysed, optimised, str(net["method"]))
    known = speedup is not None and speedup["value"] == speedup["value"]
    parts = with_interval(*(speedup[name] for name in ("value", "low", "high", "unit", "status"))) if known else ""
    figure, _, brackets = parts.partition(" [")
    title = f"{task_name(made.task).capitalize()}, {size_name(made.size)}"
    text = "faster at equal loss" + (f" [{brackets}" if brackets else "")
    steps = claims.evaluations(analysed.summary, where, methods.baseline)
    if known and steps < claims.QUALITY_FLOOR:
        text += f", but below the quality floor: optimisation needs only {steps_text(steps)}"
    made = replace(made, title=_capital(methods.title(str(net["method"]))), note=", ".join(told))
    return Row(title, figure, text, given, picture, made, equal)


def _equal(analysed: Analysed, record: Mapping[str, Any], net: str) -> tuple[Picture, bool]:
    """The optimisation's picture at a net's loss where the run kept it, else the one it ended at; whether it is."""
    last, kept = _output(analysed, record), run_facts.get(record, "info", "equal_loss", net)
    path = usable(analysed.run, run_facts.get(kept, "image"))
    title = _capital(analysed.methods.title(str(record["method"])))
    if path:
        told = [f"{name} {quantity(float(kept[name]), '1')}" for name in ("objective",) if name in kept]
        told += [f"{kept['evaluations']} evaluations"] if "evaluations" in kept else []
        told += [f"{quantity(float(kept['seconds']), 's')} from this start"] if "seconds" in kept else []
        what = [task_name(last.task), size_name(last.size), *told]
        alt = f"What optimisation had made when it reached the same loss: {', '.join(what)}"
        found = replace(last, title=f"{title}, at equal loss", note=", ".join(told), alt=alt, path=path)
        return replace(found, file=analysed.run.directory / path), True
    seconds = run_facts.get(record, "info", "seconds")
    told = [last.note.split(", ", 2)[-1]]
    told += [quantity(float(seconds), "s")] if isinstance(seconds, (int, float)) else []
    return replace(last, title=f"{title}, where it ended", note=", ".join(told)), False


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def side_png(rows: Sequence[Row]) -> bytes | None:
    """The rows as one PNG; None without any."""
    if not rows:
        return None
    width = max(len(row.pictures) for row in rows)
    figure = Figure(figsize=(2.6 * width, 2.95 * len(rows)), dpi=120)
    for line, row in zip(figure.subplots(len(rows), width, squeeze=False), rows):
        for axes in line:
            axes.set_axis_off()
        for axes, picture in zip(line, row.pictures):
            data = _jpeg(picture.file, 512, 95)
            if data:
                with Image.open(io.BytesIO(data), formats=("JPEG",)) as opened:
                    axes.imshow(np.asarray(opened), interpolation="lanczos")
            axes.set_title(f"{picture.title}\n{textwrap.fill(picture.note, 44)}", fontsize=8)
    top = 1 - 0.5 / (2.95 * len(rows))
    figure.subplots_adjust(left=0.005, right=0.995, bottom=0.01, top=top, wspace=0.03, hspace=0.22)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", facecolor="white")
    return stream.getvalue()


# ---------------------------------------------------------------------------------------------------------- embedding


def embed(first: Iterable[Picture], rest: Iterable[Picture]) -> dict[Path, str]:
    """Data URIs of small copies by file, below MOST_BYTES in all: ``rest`` shrinks first, damaged ones are left out."""
    large = _encoded(first, *FIRST)
    left = MOST_BYTES - sum(map(len, large.values()))
    others = [picture for picture in rest if picture.file not in large]
    for longest, quality in _REST:
        small = _encoded(others, longest, quality)
        if sum(map(len, small.values())) <= left:
            break
    return {path: "data:image/jpeg;base64," + base64.b64encode(data).decode("ascii")
            for path, data in {**small, **large}.items()}  # fmt: skip


def _encoded(pictures: Iterable[Picture], longest: int, quality: int) -> dict[Path, bytes]:
    found = ((picture.file, _jpeg(picture.file, longest, quality)) for picture in pictures)
    return {path: data for path, data in found if data}


def thumbnail(path: Path, longest: int) -> Image.Image | None:
    """A copy of a picture, RGB, of at most ``longest`` pixels a side; None if it is damaged."""
    try:
        with images.opened(path, follow=False) as opened:
            picture = opened.convert("RGB")
    except UserError:
        return None
    picture.thumbnail((longest, longest), Image.LANCZOS)
    return picture


def _jpeg(path: Path, longest: int, quality: int) -> bytes | None:
    picture = thumbnail(path, longest)
    if picture is None:
        return None
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=quality, optimize=True)
    return stream.getvalue()
