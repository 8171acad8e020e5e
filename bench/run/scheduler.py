"""Runs the cells of a plan one after another, each in a fresh process, and commits each as soon as it ends.

A crash, a hang or an out-of-memory is the result of that cell, never the end of the run. Only three things
end it early: Ctrl-C, a full disk, and a run directory that cannot be written any more.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.machine import meters
from bench.plan.cells import GENERATE, OPTIMISE, Cell, Plan
from bench.plan.durations import pictures_of, timeout_s
from bench.run.outcome import Outcome
from bench.run.process import RUN_MARK, run_worker, worker_command
from bench.run.progress import Progress
from bench.store.run_folder import FULL, DiskFull, Store, now

HEADLINES = (
    "setup_s", "first_call_s", "latency_s", "iteration_s", "peak_memory_bytes", "working_memory_bytes",
    "objective",
)  # fmt: skip
TIMES = ("latency_s", "iteration_s")
# By method and photo (textures: ""): the objective to come down to, and the one at which the descent ends.
Targets = dict[str, dict[str, tuple[float, float]]]


@dataclass(frozen=True)
class Options:
    """How cells are run, apart from what they measure.

    ``command`` starts a worker (see :func:`bench.run.process.run_worker`). A crash is retried ``retries`` times;
    an out-of-memory, a time-out, and an error that the worker reported itself are not.
    """

    command: Sequence[str]
    retries: int = 1
    timeout_scale: float = 1.0
    grace_s: float = 5.0


def run_cells(
    plan: Plan,
    store: Store,
    options: Options,
    progress: Progress,
    unavailable: Mapping[str, str] | None = None,
    timeout_of: Callable[[Cell], float] | None = None,
) -> list[dict[str, Any]]:
    """Run every cell of ``plan`` that the run directory does not hold yet; return the records of all.

    Args:
        unavailable: reasons, by cell key, why a cell cannot be measured at all; it is then skipped.
        timeout_of: replaces the plan's time-outs.

    Raises DiskFull when nothing more can be written; KeyboardInterrupt passes through after the worker is
    dead.
    """
    records = [record for record in store.cells() if not record.get("killed")]
    done = {record["key"] for record in records}
    progress.begin([cell for cell in plan.cells if cell.key not in done], records)
    limit_of = timeout_of or (lambda cell: timeout_s(cell, plan.budget, options.timeout_scale, pictures_of(cell, plan)))
    try:
        for cell in plan.cells:
            if cell.key in done:
                continue
            targets = targets_for(cell, plan, records)
            reason = (unavailable or {}).get(cell.key) or skip_reason(cell, records) or without_net(cell, plan)
            waits = None if reason else put_off(cell, plan, records)
            if reason or waits:
                record = cell_record(cell, Outcome("skipped", reason or waits), attempts=0, targets={})
                if waits:
                    record["killed"] = True  # a resume tries it, too
                store.append(record)
            else:
                progress.started(cell, medians_of(targets))
                record = _run_cell(cell, plan, store, options, progress, targets, limit_of(cell))
            records.append(record)
            progress.finished(cell, record)
    finally:
        progress.close()
    return records


def _run_cell(
    cell: Cell,
    plan: Plan,
    store: Store,
    options: Options,
    progress: Progress,
    targets: Targets,
    limit_s: float,
) -> dict[str, Any]:
    started, fields = now(), plan.to_dict()
    log = Path("logs") / f"{cell.key}.log"
    spec = {
        "cell": cell.to_dict(),
        "settings": fields["settings"],
        "budget": fields["budget"],
        **dict(zip(("photos", "draws"), plan.share(cell))),
        "targets": targets,
        "run_dir": str(store.path.resolve()),
    }
    program = dict(plan.settings.engine_pythons).get(cell.engine)
    command = worker_command(program=program) if program else options.command
    attempts, outcome = 0, None
    while outcome is None or (outcome.crashed and attempts <= options.retries):
        attempts += 1
        try:
            outcome = run_worker(
                command,
                spec,
                timeout_s=limit_s,
                log_path=store.path / log,
                marks={RUN_MARK: store.mark},
                on_event=progress.event,
                on_tick=progress.tick,
                grace_s=options.grace_s,
            )
        except OSError as error:
            if error.errno in FULL:  # the log could not be begun
                raise DiskFull.at(store.path) from error
            raise
    if outcome.status == "disk_full":
        raise DiskFull.at(store.path)
    record = cell_record(cell, outcome, attempts, medians_of(targets))
    record.update(started=started, log=str(log))
    if outcome.killed:  # a resume tries it again: nothing of this attempt may stand beside what that measures
        record.update(killed=True, medians={}, evaluations=0)
        store.append(record)
    else:
        store.append(record, outcome.samples, outcome.curve)
    return record


def cell_record(cell: Cell, outcome: Outcome, attempts: int, targets: Mapping[str, float]) -> dict[str, Any]:
    """The line of cells.jsonl."""
    headline: dict[str, float] = {}
    for metric in HEADLINES:
        values = [value for name, _, value, *_ in outcome.samples if name == metric]
        if values:
            headline[metric] = statistics.median(values)
    return {
        "key": cell.key,
        **cell.columns(),
        "kind": cell.kind,
        "status": outcome.status,
        "reason": outcome.reason,
        "attempts": attempts,
        "duration_s": round(outcome.duration_s, 3),
        "exit_code": outcome.exit_code,
        "garbage_lines": outcome.garbage_lines,
        "stragglers": outcome.stragglers,
        "drift": _drift(outcome.samples),
        "foreign_cores": None if outcome.foreign_cores is None else round(outcome.foreign_cores, 3),
        "targets": dict(targets),
        "medians": headline,
        "evaluations": len(outcome.curve),
        "scores": outcome.scores(),
        "image": outcome.image,
        "info": outcome.info,
    }


def _drift(samples: Sequence[Sequence[Any]]) -> float | None:
    """How much a cell's times changed while they were taken (see :func:`meters.drift`); None without any."""
    values = [value for name, _, value, *_ in samples if name in TIMES]
    return round(meters.drift(values), 4) if values else None


# -------------------------------------------------------------------------------------------------- decisions


def skip_reason(cell: Cell, records: Iterable[Mapping[str, Any]]) -> str | None:
    """Why a cell need not be tried: a smaller one of the same kind ran out of memory. None if it should be.

    Smaller: neither more pixels nor a larger batch, and at least one of them less.
    """
    for record in records:
        names = ("style_name", "engine", "method", "task", "dtype", "device")
        same = all(record[name] == getattr(cell, name) for name in names)
        smaller = record["size"] <= cell.size and record["batch"] <= cell.batch
        equal = record["size"] == cell.size and record["batch"] == cell.batch
        if same and smaller and not equal and record["status"] == "oom":
            return f"{record['size']}x{record['size']} at batch {record['batch']} ran out of memory already"
    return None


def without_net(cell: Cell, plan: Plan) -> str | None:
    """Why a cell that begins with a net's picture cannot be measured: the run has no net for its task."""
    if not plan.facts(cell.method).from_net:
        return None
    if any(plan.settings.net(cell, other.method) for other in plan.cells):
        return None
    return f"no trained net to begin with: measure a method that generates too, with a net for {cell.task}"


def put_off(cell: Cell, plan: Plan, records: Iterable[Mapping[str, Any]]) -> str | None:
    """Why an optimisation waits for a resume: somebody ended the process of a method whose objective it aims at."""
    aims = cell.kind == OPTIMISE and not plan.facts(cell.method).own_loss and plan.settings.target_loss is None
    for record in records if aims else ():
        same = all(record[name] == getattr(cell, name) for name in ("style_name", "engine", "task", "size", "device"))
        if same and record.get("killed") and (record["kind"] == GENERATE or record["method"] == cell.variant_of):
            return f"the process of {record['method']}, at whose objective it aims, was killed; --resume measures both"
    return None


def targets_for(cell: Cell, plan: Plan, records: Iterable[Mapping[str, Any]]) -> Targets:
    """The objectives that an optimisation is to come down to, by generator and photo; empty for a generator's cell.

    Nothing is aimed at a generator that was trained on another loss, nor does a method of another loss aim at any.
    Each generator's own objective of the same photo under the same objective: the median over its draws of noise, in
    the same precision where it was measured in it, else in float32. The descent goes on to :func:`goes_down_to`.
    ``--target-loss`` replaces them all. Each start of a variant is also to come down to what the same start of the
    optimisation ended at.
    """
    if cell.kind != OPTIMISE or plan.facts(cell.method).own_loss:
        return {}
    asked = plan.settings.target_loss
    photos = plan.share(cell)[0] or ("",)
    if asked is not None:
        names = {other.method for other in plan.cells if other.kind == GENERATE and other.task == cell.task
                 and not plan.facts(other.method).own_loss}
        each = {Path(photo).stem: (asked, asked) for photo in photos}
        return dict.fromkeys(sorted(names) or ["target_loss"], each)
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    for record in records:
        same = all(record[name] == getattr(cell, name) for name in ("style_name", "engine", "task", "size", "device"))
        plain = cell.variant and record["method"] == cell.variant_of and record["seed"] == cell.seed
        aim = record["kind"] == GENERATE or plain
        aim = aim and not plan.facts(record["method"]).own_loss
        if same and aim and record["batch"] == 1 and record["status"] == "ok":
            by_dtype = found.setdefault(record["method"], {}).setdefault(record["dtype"], {})
            for photo, objectives in record["scores"].items():
                by_dtype.setdefault(photo, []).extend(objectives)
    wanted, aims = {Path(photo).stem for photo in photos}, {}
    for method, by_dtype in sorted(found.items()):
        scores = by_dtype.get(cell.dtype) or by_dtype.get("float32") or {}
        aims[method] = {
            photo: (statistics.median(values), goes_down_to(values) if method != cell.variant_of else min(values))
            for photo, values in scores.items()
            if photo in wanted
        }
    return {method: by_photo for method, by_photo in aims.items() if by_photo}


def goes_down_to(objectives: Sequence[float]) -> float:
    """The objective at which an optimisation may stop whose target is the median of these.

    Lower than the target: another sixteen draws have another median, and its crossing belongs to the interval. A median
    of resampled draws lies below the one returned here in less than about 1 % of all cases.
    """
    ordered = sorted(objectives)
    return ordered[max(0, math.floor(len(ordered) / 2 - 1.3 * math.sqrt(len(ordered)) - 0.2))]


def medians_of(targets: Targets) -> dict[str, float]:
    """One target for each generator: the median over the photos."""
    return {name: statistics.median(target for target, _ in by_photo.values()) for name, by_photo in targets.items()}
