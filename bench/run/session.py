"""``bench run``: plan -> inputs -> cells -> summary, claims, report. The orchestrating process stays small.

Whatever needs an engine, pandas or matplotlib happens in child processes: the inputs (:mod:`bench.run.prepare`),
the cells (:mod:`bench.run.worker`), the report (``python -m bench report``).
"""

from __future__ import annotations

import contextlib
import json
import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import RESULTS
from bench.machine import environment
from bench.plan import outside, shards
from bench.plan.cells import Plan
from bench.plan.durations import pictures_of
from bench.run import cluster, output, prepare, result_table
from bench.run.process import RUN_MARK, kill_marked, worker_command
from bench.run.progress import Progress
from bench.run.scheduler import Options, run_cells
from bench.run.screen import Screen
from bench.store.run_folder import DiskFull, Store, now, plan_of
from nst_gluon import __version__, assets
from nst_gluon.cli import console
from nst_gluon.system import children, ending, runtime
from nst_gluon.system.errors import UserError

OK, FAILED = 0, 2


@dataclass(frozen=True)
class How:
    """How a run goes about it, apart from what it measures.

    ``out`` is the folder of all runs; ``resume`` an existing run directory to go on with; ``level`` how much is told,
    one of bench.run.output. ``command`` starts a worker and ``ask`` checks the inputs; tests put others in their place.
    ``cluster`` is where the cells are measured instead of here, see :func:`bench.run.cluster.connect`.
    ``judge``: whether the finished pictures are judged (:mod:`bench.engines.judging`) before the report is made.
    """

    out: Path
    resume: Path | None = None
    level: int = output.USUAL
    as_json: bool = False
    timeout_scale: float = 1.0
    arguments: Sequence[str] = ()
    command: Sequence[str] = field(default_factory=worker_command)
    ask: Any = prepare.ask
    report: bool = True
    cluster: str | None = None
    judge: bool = False


def execute(plan: Plan, how: How) -> int:
    """Run a plan to its end; the exit status is 0 (every cell ok), 2 (some are not), or that of
    :func:`nst_gluon.system.ending.exit_status` after Ctrl-C, SIGTERM and SIGHUP.

    Raises UserError before anything is written if the inputs are not right, if the run to be resumed has
    another plan, other inputs or another machine, and when the disk is full.
    """
    if how.cluster is None:
        return _execute(plan, how, None)
    with cluster.connect(how.cluster, len(shards.loads(plan))) as connected:
        return _execute(plan, how, connected)


def _execute(plan: Plan, how: How, connected: cluster.Cluster | None) -> int:
    inputs = how.ask([] if connected else plan.values("engine"), plan.values("size"), plan.to_dict()["settings"], None)
    threads = runtime.prepare(plan.settings.threads)
    there = None
    if connected is None:
        machine = environment.capture(threads)
    else:
        same = how.ask is prepare.ask
        command = None if how.command == worker_command() else how.command
        there = cluster.Run(connected, plan, inputs if same else None, command)
        machine = there.first_machine(Screen(level=how.level).line)["environment"]
    store = _open(plan, how, inputs, machine)
    try:
        return _measure(plan, how, store, machine, there)
    except DiskFull as error:
        if how.resume is None and not store.cells():
            shutil.rmtree(store.path, ignore_errors=True)
            raise
        with contextlib.suppress(UserError):
            store.update(status="disk full")
        raise DiskFull(f"{error}, then {_go_on(store, plan, how)}") from error
    finally:
        store.close()


def _measure(plan: Plan, how: How, store: Store, machine: Mapping[str, Any], there: cluster.Run | None) -> int:
    load = environment.load_average() if there is None else None
    session = {"started": now(), "command": list(how.arguments), "load_before": load}
    warnings = environment.warnings_before(machine, load)
    if plan.settings.random_weights:
        warnings.append("random descriptor weights: objectives compare methods but say nothing of pictures")
    _warn(store, warnings)
    progress = Progress(plan.budget, level=how.level, pictures=lambda cell: pictures_of(cell, plan))
    if left_out(plan):
        progress.screen.line(left_out(plan))
    for warning in warnings:  # now, while there is time to do something about it; the report has them too
        progress.screen.line(f"warning: {warning}", "open")
    options = Options(command=how.command, timeout_scale=how.timeout_scale)
    try:
        run = run_cells if there is None else there.measure
        records = run(plan, store, options, progress, plan.unavailable())
    except cluster.Lost as error:
        _finish(store, session, "interrupted")
        raise cluster.Lost(f"{error}; {_kept(store, plan)}; {_go_on(store, plan, how)}") from error
    except KeyboardInterrupt as error:
        _finish(store, session, "interrupted")
        print(f"\ninterrupted: {_kept(store, plan)}; {_go_on(store, plan, how)}", file=sys.stderr)
        return ending.exit_status(error)
    _finish(store, session, "complete")
    try:
        return _conclude(store, records, how)
    except KeyboardInterrupt as error:
        print(f"\ninterrupted: {_kept(store, plan)}; python -m bench report {store.path}", file=sys.stderr)
        return ending.exit_status(error)


def left_out(plan: Plan) -> str:
    """What a run of one bundled style and photo does not measure; empty where somebody chose more."""
    styles, photos = len(plan.settings.styles), len(plan.settings.contents)
    if styles > 1 or photos > 1 or not {plan.settings.style} <= set(assets.styles()):
        return ""
    return (
        f"one style of {len(assets.styles())} and one photo: a net that is better or worse on others is not seen; "
        "--style all, --content FOLDER"
    )


# -------------------------------------------------------------------------------------------------- beginning


def _open(plan: Plan, how: How, inputs: Mapping[str, Any], machine: Mapping[str, Any]) -> Store:
    fingerprint = environment.fingerprint(machine, plan.values("device"), plan.values("dtype"))
    if how.resume is None:
        run = {
            "suite_version": __version__,
            "created": now(),
            "command": list(how.arguments),
            "plan_fingerprint": plan.fingerprint(),
            **plan.to_dict(),
            "seeds": plan.values("seed"),
            "inputs": dict(inputs),
            "environment": dict(machine),
            "fingerprint": fingerprint,
            "sessions": [],
            "warnings": [],
        }
        store = Store.create(how.out, run)
        try:
            how.ask([], plan.values("size"), plan.to_dict()["settings"], store.path / "images")
        except BaseException:
            store.close()
            shutil.rmtree(store.path, ignore_errors=True)
            raise
        return store
    store = Store.resume(how.resume)
    try:
        check_same(store.run, plan, inputs, {} if how.cluster else fingerprint)
        if store.alone:
            kill_marked(RUN_MARK, store.mark)  # workers that outlived a killed orchestrator
        if machine["git"] != (store.run.get("environment") or {}).get("git"):
            _warn(store, ["resumed with another revision of the suite than it was begun with"])
        if not store.cells():  # it may have been killed before all its inputs were kept
            how.ask([], plan.values("size"), plan.to_dict()["settings"], store.path / "images")
        store.update(status="running")
    except BaseException:
        store.close()
        raise
    return store


def check_same(run: Mapping[str, Any], plan: Plan, inputs: Mapping[str, Any], fingerprint: Mapping[str, Any]) -> None:
    """Raise a UserError if going on with ``run`` would mix numbers that cannot be compared."""
    difference = plan_of(run, Path(run["id"]), "--resume").difference(plan)
    if difference:
        raise UserError(f"--resume: {run['id']} has another plan ({difference}); leave the other arguments out")
    fingerprint_there, inputs_there = run.get("fingerprint") or {}, run.get("inputs") or {}
    for name, value in fingerprint.items():
        if fingerprint_there.get(name) != value:
            raise UserError(
                f"--resume: {run['id']} was measured on another machine ({name} is "
                f"{fingerprint_there.get(name)!r} there and {value!r} here); start a new run"
            )
    tried = ("engines",) if "engines" in inputs else ()  # those of a cluster are tried by its workers
    for name in ("pictures", "weights", "nets", "methods", *tried):
        if inputs_there.get(name) != json.loads(json.dumps(inputs.get(name))):
            raise UserError(f"--resume: the {name} are not those that {run['id']} began with; start a new run")


# ----------------------------------------------------------------------------------------------------- ending


def _warn(store: Store, lines: Sequence[str], instead_of: Sequence[str] = ()) -> None:
    """Add what the run does not carry yet; lines that begin with one of ``instead_of`` are replaced."""
    before = store.run.get("warnings", [])
    known = [line for line in before if not line.startswith(tuple(instead_of))]
    after = [*known, *(line for line in lines if line not in known)]
    if after != before:
        store.update(warnings=after)


def _finish(store: Store, session: Mapping[str, Any], status: str) -> None:
    # They speak of all cells, those of earlier sessions too.
    _warn(store, environment.warnings_after(store.cells()), instead_of=environment.AFTER)
    session = {
        **session,
        "finished": now(),
        "load_after": environment.load_average(),
        "orchestrator_peak_memory_bytes": environment.high_water_bytes(),
    }
    store.update(status=status, finished=session["finished"], sessions=[*store.run.get("sessions", []), session])


def _kept(store: Store, plan: Plan) -> str:
    kept = sum(not record.get("killed") for record in store.cells())
    return f"{kept} of {len(plan.cells)} cells are kept in {store.path}"


def _go_on(store: Store, plan: Plan, how: How) -> str:
    words = ["--resume", store.path.name]
    strange = outside.strange(reference for _, reference in plan.settings.methods)
    words += ["--method", ",".join(strange)] if strange else []  # what others wrote is named again, to be trusted
    for name, program in plan.settings.engine_pythons:
        words += ["--engine-python", f"{name}={program}"]
    words += [] if how.out == RESULTS else ["--out", str(how.out)]
    words += ["--cluster", how.cluster] if how.cluster else []
    return f"go on with: python -m bench run {shlex.join(words)}"


def _conclude(store: Store, records: Sequence[Mapping[str, Any]], how: How) -> int:
    failed = [record for record in records if record["status"] != "ok"]
    status = FAILED if failed else OK
    if how.report and how.level > output.QUIET:
        print("making the report", file=sys.stderr, flush=True)
    if how.judge:  # the measurements are complete without it
        if how.level > output.QUIET:
            print("judging the pictures", file=sys.stderr, flush=True)
        judge_pictures(store.path)
    report = make_report(store.path) if how.report else None
    summary = result_table.read_summary(store.path / "summary.csv")
    if how.as_json:
        answer = {
            "run": store.path.name,
            "path": str(store.path),
            "report": report,
            "exit_status": status,
            "cells": dict(Counter(record["status"] for record in records)),
            "failed": [{name: record[name] for name in ("key", "status", "reason")} for record in failed],
            "warnings": store.run.get("warnings", []),
            "summary": summary,
        }
        print(json.dumps(answer, indent=2))
        return status
    lines = [f"{record['status']}: {record['key']}: {record['reason']}" for record in failed]
    if how.level == output.QUIET:
        for line in lines:
            print(output.paint(line, "worse", sys.stderr), file=sys.stderr)
        print(report or store.path)
        return status
    if summary:
        print(result_table.short_table(summary))
    for warning in store.run.get("warnings", []):
        print(output.paint(console.wrapped(f"warning: {warning}", sys.stdout), "open", sys.stdout))
    for line in lines:
        print(output.paint(console.wrapped(line, sys.stdout), "worse", sys.stdout))
    print(f"report: {report}" if report else f"run: {store.path}")
    return status


def judge_pictures(path: Path) -> None:
    """Judge a run's pictures in a child process, which warns where it cannot."""
    children.run(children.python("bench.engines.judging", str(path)))


def make_report(path: Path) -> str | None:
    """Build summary, claims and report in a child process; the report's path."""
    child = children.run(children.python("bench", "report", str(path), "--out", str(path.parent)))
    if child.returncode != 0:
        raise UserError(
            f"report: it could not be built (see above); the measurements are complete, build it again with "
            f"python -m bench report {path}"
        )
    return child.stdout.strip().splitlines()[-1] if child.stdout.strip() else None
