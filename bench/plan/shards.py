"""A plan split over machines: the same arguments give the same parts everywhere. Pure; imports no engine.

What is compared with each other stays together: a speed-up relates a net to the optimisation of the same engine, task,
size and device, whose targets are that net's objectives (:func:`bench.run.scheduler.targets_for`). These groups go, the
longest first, each to the part that has the least to do so far.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from bench.plan.cells import Cell, Plan, Shard
from bench.plan.durations import estimate_s, pictures_of
from nst_gluon.system.errors import UserError

Group = tuple[str, str, str, int, str]


def parse(text: str) -> tuple[int, int]:
    """(i, n) from "i/n", 1 <= i <= n. Raises UserError, in one line, for anything else."""
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text.strip())
    if not match:
        raise UserError(f"--shard: {text!r} is not a part of a whole; give for example 1/3, 2/3 or 3/3")
    index, of = int(match.group(1)), int(match.group(2))
    if not 1 <= index <= of:
        right = f"give 1/{of} to {of}/{of}" if of else "give for example 1/3"
        raise UserError(f"--shard: there is no part {index} of {of}; {right}")
    return index, of


def group_of(cell: Cell) -> Group:
    """What a cell must not be parted from: the cells of the same style, engine, task, size and device."""
    return (cell.style_name, cell.engine, cell.task, cell.size, cell.device)


def loads(plan: Plan) -> dict[Group, float]:
    """About how many seconds each group takes."""
    found: dict[Group, float] = {}
    for cell in plan.cells:
        found[group_of(cell)] = found.get(group_of(cell), 0.0) + estimate_s(cell, plan.budget, pictures_of(cell, plan))
    return found


def assign(plan: Plan, of: int) -> dict[Group, int]:
    """Which of ``of`` parts (from 1) each group belongs to. Equal groups go by their names, equal parts by number.

    Raises UserError if there are more parts than groups that can be measured apart.
    """
    seconds = loads(plan)
    if of > len(seconds):
        raise UserError(
            f"--shard: {of} parts are too many; this plan has {len(seconds)} that can be measured apart (a task at one "
            f"size on one device each), so give at most {len(seconds)}"
        )
    totals = [0.0] * of
    parts = {}
    for group in sorted(seconds, key=lambda group: (-seconds[group], group)):
        part = min(range(of), key=lambda index: (totals[index], index))
        totals[part] += seconds[group]
        parts[group] = part + 1
    return parts


def take(plan: Plan, index: int, of: int) -> Plan:
    """Part ``index`` of ``of`` of a whole plan, in the plan's order. Raises the UserError of :func:`assign`."""
    parts = assign(plan, of)
    whole = Shard(index, of, portable(plan).fingerprint(), len(plan.cells), tuple(range(len(plan.cells))))
    return dataclasses.replace(plan, shard=whole).only(lambda cell: parts[group_of(cell)] == index)


def portable(plan: Plan) -> Plan:
    """The plan with files by their names alone: it does not matter in which folder a machine keeps them."""
    settings = plan.settings
    return dataclasses.replace(plan, settings=dataclasses.replace(
        settings,
        style=Path(settings.style).name,
        content=Path(settings.content).name,
        other_styles=tuple(Path(style).name for style in settings.other_styles),
        other_contents=tuple(Path(content).name for content in settings.other_contents),
        weights=settings.weights and Path(settings.weights).name,
        nets=tuple((use, Path(net).name) for use, net in settings.nets),
        methods=tuple((name, Path(reference).name) for name, reference in settings.methods),
        engine_pythons=tuple((name, Path(path).name) for name, path in settings.engine_pythons),
    ))  # fmt: skip
