"""The pictures of a run: which there are, and small copies of them to embed in a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from bench.plan.cells import OPTIMISE
from bench.report import run_facts
from bench.store.reader import RunData
from nst_gluon.pages.wording import clean, method_name, quantity, size_name, task_name

LONGEST_SIDE = 512
MOST_BYTES = 1_400_000  # of all embedded pictures together, before base64
_QUALITIES = ((LONGEST_SIDE, 88), (LONGEST_SIDE, 80), (384, 82), (256, 78), (160, 70))


@dataclass(frozen=True)
class Picture:
    """One picture; ``path`` is relative to the run directory; ``steps`` says how many an optimisation took.

    ``brief`` is the note without what all pictures of a ``group`` share.
    """

    title: str
    note: str
    alt: str
    file: Path
    path: str
    task: str
    size: int
    steps: str = ""
    brief: str = ""
    group: str = "given"


def inputs(run: RunData) -> list[Picture]:
    """The style and the content picture, as the run kept them."""
    found = []
    for role in ("style", "content"):
        path = f"images/{role}.png"
        name = clean(Path(str(run_facts.setting(run.meta, role) or role)).stem, 80)
        if (run.directory / path).is_file():
            alt = f"The {role} picture, {name}"
            found.append(Picture(f"{role} picture", name, alt, run.directory / path, path, role, 0, brief=name))
    return found


def outputs(run: RunData) -> list[Picture]:
    """What the methods made: one picture for each method, task and size, of batch 1 and the first seed."""
    chosen: dict[tuple, Mapping[str, Any]] = {}
    for record in run.records:
        if record.get("status") != "ok" or record.get("batch") != 1 or not _path(run, record):
            continue
        identity = (str(record["task"]), int(record["size"]), str(record["method"]))
        current = chosen.get(identity)
        if current is None or _rank(record) < _rank(current):
            chosen[identity] = record
    return [_output(run, record) for _, record in sorted(chosen.items())]


def _output(run: RunData, record: Mapping[str, Any]) -> Picture:
    path = str(_path(run, record))
    method, task, size = str(record["method"]), str(record["task"]), int(record["size"])
    objective = run_facts.get(record, "medians", "objective")
    note, brief, steps = [task_name(task), size_name(size)], "", ""
    if isinstance(objective, (int, float)):
        brief = f"objective {quantity(float(objective), '1')}"
        note.append(brief)
    if record.get("kind") == OPTIMISE and record.get("evaluations"):
        note.append(f"{record['evaluations']} evaluations")
        steps = f", {record['evaluations']} steps"
    alt = f"The picture that the {method_name(method)} made: {task_name(task)} at {size_name(size)}"
    texts = {"title": method_name(method), "note": ", ".join(note), "brief": brief, "alt": alt}
    place = {"file": run.directory / path, "path": path}
    return Picture(**texts, **place, task=task, size=size, steps=steps, group=task_name(task))


def _path(run: RunData, record: Mapping[str, Any]) -> str | None:
    """The cell's picture, relative to the run directory; None if there is none, or if it lies outside."""
    named = record.get("image")
    if not isinstance(named, str) or not named:
        return None
    root = run.directory.resolve()
    path = (root / named).resolve()
    return path.relative_to(root).as_posix() if root in path.parents and path.is_file() else None


def _rank(record: Mapping[str, Any]) -> tuple:
    return (record.get("engine") != "gluon", record.get("dtype") != "float32", str(record.get("device")),
            record.get("seed", 0))  # fmt: skip


def first_size(made: Sequence[Picture]) -> int:
    """The size whose pictures are shown first: the papers', or the nearest to it; 0 without any."""
    return min((picture.size for picture in made), key=run_facts.from_papers_size, default=0)


def row(run: RunData) -> bytes | None:
    """One PNG with the inputs and, at :func:`first_size`, what each method made of them; None without any output."""
    made = outputs(run)
    if not made:
        return None
    first = first_size(made)
    shown = inputs(run) + sorted(
        (picture for picture in made if picture.size == first), key=lambda picture: (picture.task, picture.title)
    )
    figure = Figure(figsize=(1.75 * len(shown), 2.1), dpi=150)
    for axes, picture in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown):
        data = _jpeg(picture.file, 256, 95)
        if data:
            with Image.open(io.BytesIO(data)) as opened:
                axes.imshow(np.asarray(opened), interpolation="lanczos")
        what = picture.note if picture.size == 0 else f"{task_name(picture.task)}{picture.steps}"
        axes.set_title(f"{picture.title}\n{what}", fontsize=7)
        axes.set_axis_off()
    figure.subplots_adjust(left=0.005, right=0.995, bottom=0.01, top=0.84, wspace=0.04)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", facecolor="white")
    return stream.getvalue()


def embed(pictures: list[Picture]) -> dict[Path, str]:
    """Data URIs of small copies, by file, together below MOST_BYTES; a file that cannot be read is left
    out.
    """
    encoded: dict[Path, bytes] = {}
    for longest, quality in _QUALITIES:
        encoded = {picture.file: data for picture in pictures if (data := _jpeg(picture.file, longest, quality))}
        if sum(map(len, encoded.values())) <= MOST_BYTES:
            break
    return {path: "data:image/jpeg;base64," + base64.b64encode(data).decode("ascii") for path, data in encoded.items()}


def _jpeg(path: Path, longest: int, quality: int) -> bytes | None:
    try:
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
        picture.thumbnail((longest, longest), Image.LANCZOS)
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=quality, optimize=True)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return stream.getvalue()
