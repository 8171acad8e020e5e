"""Several runs as one: the parts of a plan, or the same plan on several machines. Imports no engine and no pandas.

Only what can be compared is joined. With ``facet`` the machines are kept apart: each gets a label, which becomes part
of its cells' devices ("cpu@machine-1"), and as the analysis never relates two devices, no ratio crosses machines.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.plan.cells import GENERATE, Cell, Plan
from bench.store import run_folder
from bench.store.machines import AT
from bench.store.whole_runs import (
    ARGUMENT,
    Finished,
    Part,
    by_machine,
    check_comparable,
    machine_difference,
    one_machine,
)
from nst_gluon import __version__, methods
from nst_gluon.system.errors import UserError
from nst_gluon.system.files import IrregularFile, inside, mark, reading, scratch_folder


@dataclass(frozen=True)
class Merged:
    """What a merged run is made of; ``finished`` comes with the run that each cell is from."""

    run: dict[str, Any]
    finished: tuple[tuple[Part, Finished], ...]
    pictures_of: Part


# ---------------------------------------------------------------------------------------------------- joining


def join(parts: Sequence[Part], facet: bool, command: Sequence[str]) -> Merged:
    """The runs as one. Raises UserError if they cannot be compared, or hold the same cell with different results.

    ``facet``: different machines are allowed, and told apart by the device of their cells.
    """
    first = parts[0]
    for part in parts[1:]:
        check_comparable(first, part)
    machines = by_machine(parts, "-")
    if not facet and len(machines) > 1:
        _refuse_machines(parts)
    if facet:
        parts = [_labelled(part, machines) for part in parts]
    finished: dict[Cell, tuple[Part, Finished]] = {}
    for part in parts:
        for done in part.finished:
            _add(finished, part, done)
    order = _order(parts)
    every = (cell for part in parts for cell in (*part.planned, *(done.cell for done in part.finished)))
    cells = sorted(dict.fromkeys(every), key=order)
    missing = missing_shards(parts)
    warnings = [*_incomplete(parts, missing), *_differences(parts)]
    warnings += [f"{part.id}: {text}" for part in parts for text in part.run.get("warnings") or ()]
    status = "complete" if len(finished) == len(cells) and not missing else "partial"
    now, plain = run_folder.now(), {"cells": [cell.to_dict() for cell in cells], **_shared(parts)}
    run = {
        "status": status,
        "suite_version": __version__,
        "created": min((str(part.run["created"]) for part in parts if part.run.get("created")), default=now),
        "finished": max((str(part.run["finished"]) for part in parts if part.run.get("finished")), default=now),
        "merged": now,
        "command": list(command),
        "plan_fingerprint": _fingerprint(plain),
        **plain,
        "seeds": sorted({cell.seed for cell in cells}),
        **(_several(machines) if facet else _same(parts)),
        "sessions": [{"run": part.id, **session} for part in parts for session in part.run.get("sessions") or ()],
        "warnings": list(dict.fromkeys(warnings)),
        "merged_from": [entry for part in parts for entry in _origin(part)],
    }
    largest = max(parts, key=lambda part: max((cell.size for cell in part.planned), default=0))
    return Merged(run, tuple(finished[cell] for cell in cells if cell in finished), largest)


def _add(finished: dict[Cell, tuple[Part, Finished]], part: Part, done: Finished) -> None:
    if done.cell not in finished:
        finished[done.cell] = (part, done)
        return
    other, known = finished[done.cell]
    if known != done:
        where = f"both {other.path} and {part.path}" if other.path != part.path else f"{part.path} twice"
        raise UserError(f"{ARGUMENT}: {done.cell.key} is in {where}, with different results; leave one out")


def _refuse_machines(parts: Sequence[Part]) -> None:
    for other, part in itertools.combinations(parts, 2):
        name = machine_difference(other.fingerprint, part.fingerprint)
        if name:
            raise UserError(
                f"{ARGUMENT}: {part.path} was measured on another machine than {other.path} ({name} is "
                f"{part.fingerprint.get(name)!r} and {other.fingerprint.get(name)!r}); --facet machine keeps "
                "machines apart"
            )


def _labelled(part: Part, machines: Mapping[str, Sequence[Part]]) -> Part:
    """The run with its machine in the device of every cell."""
    label = next(name for name, group in machines.items() if any(one.path == part.path for one in group))

    def there(cell: Cell) -> Cell:
        return dataclasses.replace(cell, device=f"{cell.device}{AT}{label}")

    finished = []
    for done in part.finished:
        cell = there(done.cell)
        record = {**done.record, "key": cell.key, "device": cell.device}
        finished.append(dataclasses.replace(done, cell=cell, record=record))
    return dataclasses.replace(part, machine=label, planned=tuple(map(there, part.planned)), finished=tuple(finished))


def _order(parts: Sequence[Part]) -> Any:
    """The key that puts cells into the order of the plan: a whole one that all are shards of, else as plans go."""
    shards = [part.run.get("shard") for part in parts]
    if all(shards) and len({shard["plan_fingerprint"] for shard in shards}) == 1:
        places = {
            cell: position for part, shard in zip(parts, shards)
            for cell, position in zip(part.planned, shard["positions"])
        }  # fmt: skip
        return lambda cell: (places.get(cell, len(places)), cell.device)
    tasks, styles = (
        list(dict.fromkeys(getattr(cell, name) for part in parts for cell in part.planned))
        for name in ("task", "style_name")
    )
    names = [*methods.bundled(), *sorted({cell.method for part in parts for cell in part.planned})]
    return lambda cell: (
        cell.kind != GENERATE, cell.seed, cell.size, (*tasks, cell.task).index(cell.task),
        (*styles, cell.style_name).index(cell.style_name), (*names, cell.method).index(cell.method), cell.method,
        cell.batch, cell.dtype, cell.device, cell.engine,
    )  # fmt: skip


# ------------------------------------------------------------------------------------------- the merged run.json


def _shared(parts: Sequence[Part]) -> dict[str, Any]:
    """Budget, settings and inputs: those of the first run, with the nets of all."""
    first = parts[0].run
    settings, inputs = dict(first.get("settings") or {}), dict(first.get("inputs") or {})
    nets = [net for part in parts for net in (part.run.get("settings") or {}).get("nets") or ()]
    settings["nets"] = [list(net) for net in {use: (use, net) for use, net in reversed(nets)}.values()]
    settings["nets"].sort()
    inputs["nets"] = {
        use: net for part in reversed(parts) for use, net in ((part.run.get("inputs") or {}).get("nets") or {}).items()
    }
    return {"budget": first.get("budget"), "settings": settings, "inputs": inputs}


def _fingerprint(fields: Mapping[str, Any]) -> str | None:
    try:
        return Plan.from_dict(fields).fingerprint()
    except (KeyError, TypeError):  # made by hand, or too old
        return None


def _same(parts: Sequence[Part]) -> dict[str, Any]:
    """Environment and fingerprint of runs on one machine."""
    used = next((part for part in parts if part.fingerprint.get("gpu")), parts[0])
    environment = dict(used.run.get("environment") or {})
    revisions = [(part.run.get("environment") or {}).get("git") for part in parts]
    if any(revision != revisions[0] for revision in revisions):
        environment["git"] = {"revision": None, "dirty": any((revision or {}).get("dirty") for revision in revisions)}
    return {"environment": environment, "fingerprint": one_machine(part.fingerprint for part in parts)}


def _several(machines: Mapping[str, Sequence[Part]]) -> dict[str, Any]:
    """The same of several machines, and what each is."""
    each = {label: _same(group) for label, group in machines.items()}
    legend = {}
    for label, group in machines.items():
        fingerprint = {name: value for name, value in each[label]["fingerprint"].items() if name != "dtypes"}
        legend[label] = {"name": label.replace("-", " "), **fingerprint, "runs": [part.id for part in group]}
    return {
        "environment": {"machines": {label: found["environment"] for label, found in each.items()}},
        "fingerprint": {"machines": {label: found["fingerprint"] for label, found in each.items()}},
        "machines": legend,
    }


def _origin(part: Part) -> list[dict[str, Any]]:
    """What a run is made of: itself, or the runs that it was merged from."""
    label = {"machine": part.machine} if part.machine else {}
    if part.run.get("merged_from"):
        return [{**entry, **label} for entry in part.run["merged_from"]]
    shard = part.run.get("shard")
    entry = {
        "id": part.id,
        "status": part.run.get("status"),
        "created": part.run.get("created"),
        "cells": len(part.finished),
        "planned": len(part.planned),
        "shard": shard and {name: value for name, value in shard.items() if name != "positions"},
        **label,
        "git": (part.run.get("environment") or {}).get("git"),
        "command": part.run.get("command"),
    }
    return [{name: value for name, value in entry.items() if value is not None}]


def missing_shards(parts: Sequence[Part]) -> list[str]:
    """The shards, as i/n, of which another one is here and they are not."""
    here: dict[tuple[str, int], set[int]] = {}
    for part in parts:
        for shard in (entry.get("shard") for entry in _origin(part)):
            if shard:
                here.setdefault((shard["plan_fingerprint"], shard["of"]), set()).add(shard["index"])
    return [f"{index}/{of}" for (_, of), found in here.items() for index in range(1, of + 1) if index not in found]


def _incomplete(parts: Sequence[Part], missing: Sequence[str]) -> Iterator[str]:
    """What a merged run lacks, each a line for the report."""
    for part in parts:
        if len(part.finished) < len(part.planned):
            yield f"{part.id} is not complete: {len(part.finished)} of its {len(part.planned)} cells are here"
    if missing:
        yield f"not all parts of the plan are here: shard {', '.join(missing)} is missing"
    shards = [part.run["shard"] for part in parts if part.run.get("shard")]
    for fingerprint in dict.fromkeys(shard["plan_fingerprint"] for shard in shards):
        same = [shard for shard in shards if shard["plan_fingerprint"] == fingerprint]
        covered = {position for shard in same for position in shard["positions"]}
        lost = same[0]["total"] - len(covered)
        if lost and not missing:
            yield (
                f"{lost} of the {same[0]['total']} cells of the whole plan are in no part: they did not fit the "
                "memory, or the parts were made by different revisions"
            )


def _differences(parts: Sequence[Part]) -> Iterator[str]:
    """Other revisions of the suite and other versions of what it stands on: no reason to refuse, but to say so."""
    environments = {part.id: part.run.get("environment") or {} for part in parts}
    revisions = {name: _revision(environment) for name, environment in environments.items()}
    if len(set(revisions.values())) > 1:
        each = ", ".join(f"{name}: {revision}" for name, revision in revisions.items())
        yield f"the runs were made with different revisions of the suite ({each})"
    for part in ("versions", "variables"):
        have = {name: environment.get(part) or {} for name, environment in environments.items()}
        for name in sorted({name for one in have.values() for name in one}):
            values = {run: one.get(name) for run, one in have.items()}
            if len(set(values.values())) > 1:
                each = ", ".join(f"{run}: {value or 'none'}" for run, value in values.items())
                yield f"the runs differ in {name} ({each})"


def _revision(environment: Mapping[str, Any]) -> str:
    git = environment.get("git") or {}
    return str(git.get("revision") or "unknown")[:12] + (" with uncommitted changes" if git.get("dirty") else "")


# ---------------------------------------------------------------------------------------------------- writing


def write(merged: Merged, out: Path, build: Callable[[Path], object]) -> Path:
    """A new run directory below ``out``, with whatever ``build`` makes in it; if that fails, there is none.

    It is built in its place, beside which the machine's peaks are.

    Raises UserError if it cannot be written.
    """
    run_folder.check_writable(out)
    try:
        with scratch_folder(out) as scratch:
            filled = _fill(merged, scratch)
            made = filled.rename(out / filled.name)
            try:
                build(made)
            except BaseException:
                shutil.rmtree(made, ignore_errors=True)
                raise
            return made
    except OSError as error:
        raise run_folder.explain(error, out) from error


def _fill(merged: Merged, root: Path) -> Path:
    status = merged.run["status"]
    made = run_folder.Store.create(root, {**merged.run, "status": "running"})
    try:
        for role in ("style", "content"):
            _copy(merged.pictures_of.path, f"images/{role}.png", made.path / f"images/{role}.png")
        for style in (merged.run.get("settings") or {}).get("other_styles") or ():
            kept = f"images/style-{Path(style).stem}.png"
            _copy(merged.pictures_of.path, kept, made.path / kept)
        for part, done in merged.finished:
            files = {}
            for field, folder in (("image", "images"), ("log", "logs")):
                named = done.record.get(field)
                if isinstance(named, str) and named:
                    kept = f"{folder}/{_file_name(done.cell.key)}{Path(named).suffix}"
                    files[field] = kept if _copy(part.path, named, made.path / kept) else None
            files["info"] = _with_pictures(part, done, made.path)
            samples = [(metric, unit, float(value), photo) for photo, metric, unit, value in done.samples]
            made.append({**done.record, **files}, samples, [(*point, photo) for photo, *point in done.curve])
        made.update(status=status)
    finally:
        made.close()
    return made.path


def _with_pictures(part: Part, done: Finished, target: Path) -> dict[str, Any]:
    """What a cell tells of itself, with its pictures at equal loss copied to ``target``."""
    info = dict(done.record.get("info") or {})
    if info.get("equal_loss"):
        info["equal_loss"] = equal = {net: dict(one) for net, one in info["equal_loss"].items()}
        for net, one in equal.items():
            kept = f"images/{_file_name(done.cell.key)}-at-{_file_name(net)}.png"
            one["image"] = kept if one.get("image") and _copy(part.path, one["image"], target / kept) else None
    return info


def _file_name(key: str) -> str:
    fit = re.sub(r"[^\w@.+-]", "_", key)
    return fit if len(fit) <= 150 else f"{fit[:140]}_{mark(key)}"


def _copy(root: Path, name: str, target: Path) -> bool:
    """Copy a file of a run directory; False if it is not there, is no regular file, or lies outside."""
    source = inside(root, name)
    if source is None:
        return False
    try:
        with reading(source, follow=False) as stream, open(target, "xb") as copy:
            shutil.copyfileobj(stream, copy)
    except (FileNotFoundError, IrregularFile):
        return False
    return True
