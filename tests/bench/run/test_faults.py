"""What happens to runs in the real world: memory that runs out, clocks that jump, two runs at once, old folders."""

from __future__ import annotations

import dataclasses
import datetime
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from drive import INPUTS
from plans import SETTINGS, environment, fake_command, small_plan

from bench.plan.budgets import GATE
from bench.report import run_facts
from bench.run import process, scheduler, session
from bench.run.outcome import classify
from bench.run.output import QUIET
from bench.run.progress import Progress
from bench.store import run_folder

DRIVE = Path(__file__).resolve().parents[2].joinpath("drive.py")
GB = 10**9
LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's limits")


# ------------------------------------------------------------------------------------------------ out of memory


def real_plan(*sizes: int):
    """Optimisations by the real engine on a random descriptor, as short as the gate's."""
    settings = dataclasses.replace(SETTINGS, random_weights=True, threads=1, nets=())
    return small_plan(method_names=["gatys"], tasks=["texture"], sizes=sizes, budget=GATE, settings=settings)


def run_cells(tmp_path, plan, command, limit_s=60.0) -> list[dict]:
    made = run_folder.Store.create(tmp_path, {**plan.to_dict(), "warnings": []})
    options = scheduler.Options(command=command)
    try:
        return scheduler.run_cells(plan, made, options, Progress(GATE, level=QUIET), timeout_of=lambda cell: limit_s)
    finally:
        made.close()


@LINUX
@pytest.mark.parametrize("megabytes", [20, 200, 450])
def test_a_worker_that_cannot_even_import_is_out_of_memory(tmp_path, megabytes):
    """Python, numpy, MXNet's library, its threads: each says it in words of its own, or falls over."""
    pytest.importorskip("mxnet", reason="needs an engine")
    limit = f'ulimit -v {megabytes * 1024}; exec "$@"'
    command = ["sh", "-c", limit, "sh", *process.worker_command()]
    (record,) = run_cells(tmp_path, real_plan(512), command, limit_s=10.0 if megabytes == 450 else 60.0)
    assert (record["status"], record["attempts"]) == ("oom", 1), record["reason"]
    assert "memory" in record["reason"] and "\n" not in record["reason"]


# Takes nearly all memory away at a moment of the cell: all but SPARE megabytes of address space.
STARVED = """
import resource, sys
from bench.machine import environment
from bench.run import worker
def starve():
    limit = environment.high_water_bytes("VmSize") + (SPARE << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
if "MOMENT" == "set-up":
    from bench.engines import measure
    objective = measure._objective
    measure._objective = lambda *arguments: (starve(), objective(*arguments))[1]
else:
    ready = worker.Context.ready
    worker.Context.ready = lambda self: (ready(self), starve())
sys.exit(worker.main())
"""


@LINUX
@pytest.mark.parametrize(("moment", "spare"), [("set-up", 16), ("measured part", 150)])
def test_memory_that_runs_out_later_is_told_too_and_larger_cells_are_skipped(tmp_path, moment, spare):
    pytest.importorskip("mxnet", reason="needs an engine")
    program = STARVED.replace("MOMENT", moment).replace("SPARE", str(spare))
    first, second = run_cells(tmp_path, real_plan(512, 1024), [sys.executable, "-c", program])
    assert (first["status"], first["attempts"]) == ("oom", 1), first["reason"]
    assert "memory" in first["reason"] and "\n" not in first["reason"]
    assert ("setup_s" in first["medians"]) == (moment == "measured part")
    assert "iteration_s" not in first["medians"]
    assert (second["status"], second["attempts"]) == ("skipped", 0)
    assert "512x512 at batch 1 ran out of memory" in second["reason"]


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ((-9, None, "", None, 1), "oom"),  # the kernel says that it was for want of memory
        ((-9, None, "", None, 0), "error"),  # somebody else's kill -9
        ((-9, None, "", None, None), "error"),
        ((-9, None, "std::bad_alloc"), "oom"),
        ((1, None, "mxnet.base.MXNetError: MXNetError: Failed to allocate CPU Memory"), "oom"),
        ((1, None, "numpy.core._exceptions._ArrayMemoryError: Unable to allocate 9.00 MiB for an array"), "oom"),
        ((1, None, "ImportError: libX.so.6: failed to map segment from shared object"), "oom"),
        ((1, None, "MXNetError: Resource temporarily unavailable"), "error"),
        ((1, None, "MXNetError: Resource temporarily unavailable", None, 0, GB, 0.6 * GB), "oom"),
        ((1, None, "MXNetError: could not create a primitive", None, 0, GB, 0.6 * GB), "oom"),
        ((-11, None, ""), "error"),
        ((-11, None, "", None, 0, GB, 0.6 * GB), "oom"),
        ((-6, None, "terminate called without an active exception", None, 0, GB, 0.6 * GB), "oom"),
        ((255, None, "\nSegmentation fault: 11\n"), "error"),
        ((255, None, "\nSegmentation fault: 11\n", None, 0, GB, 0.6 * GB), "oom"),
        ((255, None, "goodbye", None, 0, GB, 0.6 * GB), "error"),
        ((1, None, "ValueError: surprise", None, 0, GB, 0.6 * GB), "error"),
        ((1, None, "SystemError: error return without exception set", None, 0, GB, 0, False), "oom"),
        ((1, None, "SystemError: error return without exception set", None, 0, None, 0, False), "error"),
        ((-15, None, "", None, 0, GB, 0, False), "error"),
        ((-9, None, "std::bad_alloc", 60.0), "oom"),  # it hung after that
        ((-9, None, "", 60.0, 0, GB, 0.8 * GB), "timeout"),
        ((-15, None, "", 60.0, 0, GB, 0.95 * GB), "oom"),  # so does OpenBLAS when it cannot map its buffers
        ((-11, None, "", None, 0, GB, 0.4 * GB), "error"),
    ],
)
def test_what_counts_as_out_of_memory(arguments, status):
    found, reason, crashed = classify(*arguments)
    assert found == status
    assert crashed == (status == "error")
    assert reason and "\n" not in reason


@LINUX
def test_a_limit_is_only_a_reason_for_a_crash_that_came_near_it(tmp_path):
    """A segmentation fault far below a generous limit is a bug."""
    for limit, status in ((64 << 30, "error"), (48 << 20, "oom")):
        ready, go, ticks = tmp_path / f"ready{limit}", tmp_path / f"go{limit}", []
        program = (
            "import os, resource, signal, sys, time; sys.stdin.readline()\n"
            f"resource.setrlimit(resource.RLIMIT_AS, ({limit}, {limit}))\n"
            f"block = bytearray(16 << 20); open({str(ready)!r}, 'w').close()\n"
            f"while not os.path.exists({str(go)!r}): time.sleep(0.01)\n"
            "os.kill(os.getpid(), signal.SIGSEGV)"
        )

        def tick(ready=ready, go=go, ticks=ticks):
            ticks.append(ready.exists())
            if sum(ticks) > 1:  # between two ticks it was looked at
                go.touch()

        outcome = process.run_worker([sys.executable, "-S", "-c", program], {}, timeout_s=20,
                                     log_path=tmp_path / "log", on_tick=tick)  # fmt: skip
        assert outcome.status == status, outcome.reason


# --------------------------------------------------------------------------------------- a wall clock that jumps


class Jumping(datetime.datetime):
    """The time of day, hours off, differently each time it is asked."""

    @classmethod
    def now(cls, tz=None):
        return super().now(tz) + datetime.timedelta(hours=next(HOURS))


def _hours():
    while True:
        yield from (0, 5, -7, 30, -100, 2, -1)


HOURS = _hours()


@pytest.fixture
def jumping(monkeypatch):
    """Every wall clock that the harness might ask jumps back and forth by hours."""
    real, gmtime = time.time, time.gmtime
    monkeypatch.setattr(time, "time", lambda: real() + 3600 * next(HOURS))
    monkeypatch.setattr(time, "gmtime", lambda seconds=None: gmtime(time.time() if seconds is None else seconds))
    monkeypatch.setattr(datetime, "datetime", Jumping)


def execute(out: Path, plan, modes=None, resume: Path | None = None) -> int:
    how = session.How(
        out=out, resume=resume, level=QUIET, command=fake_command(modes), ask=lambda *arguments: INPUTS, report=False,
        arguments=["test"],
    )  # fmt: skip
    return session.execute(plan, how)


def test_a_wall_clock_that_jumps_back_and_forth_changes_nothing(tmp_path, jumping, monkeypatch):
    plan = small_plan(repeats=2)
    hung = plan.cells[3].key
    monkeypatch.setattr(scheduler, "timeout_s", lambda cell, budget, *more: 1.0 if cell.key == hung else 20.0)
    started = time.monotonic()
    assert execute(tmp_path, plan, {"*": "slow", hung: "hang"}) == session.FAILED
    assert time.monotonic() - started < 60
    (found,) = run_folder.list_runs(tmp_path)
    assert re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{4}", found["id"])
    assert found["run"]["status"] == "complete"
    records = {record["key"]: record for record in found["cells"]}
    assert {key for key, record in records.items() if record["status"] != "ok"} == {hung}
    assert records[hung]["status"] == "timeout" and "1 s" in records[hung]["reason"]
    assert all(0.0 < record["duration_s"] < 15 for record in records.values())
    assert len(found["run"]["sessions"]) == 1


def test_a_run_that_ended_before_it_began_has_no_duration():
    begun = {"created": "2026-01-01T12:00:00+00:00", "finished": "2026-01-01T12:03:00+00:00"}
    assert run_facts.when(begun) == "2026-01-01 12:00, 3 min"
    assert run_facts.when({**begun, "finished": "2026-01-01T07:00:00+00:00"}) == "2026-01-01 12:00"


# --------------------------------------------------------------------------------------------- two runs at once


def test_two_runs_that_start_in_the_same_second_are_two_runs(tmp_path):
    """Two processes, each of which makes its run directory at the same moment."""
    program = (
        "import sys, time; from drive import main; from bench.store import run_folder\n"
        "until = float(sys.argv[2])\n"
        "time.sleep(max(0.0, until - time.time()))\n"
        "sys.exit(main(sys.argv[1]))"
    )
    variables = {**environment(), "PYTHONPATH": f"{DRIVE.parent}{os.pathsep}{DRIVE.parent.parent}"}
    for _ in range(3):  # a slow machine may need another second
        out = tmp_path / "results"
        moment = str(int(time.time()) + 3.1)
        both = [
            subprocess.Popen([sys.executable, "-c", program, str(out), moment], env=variables, stderr=subprocess.PIPE)
            for _ in range(2)
        ]
        errors = [child.communicate(timeout=60)[1] for child in both]
        assert [child.returncode for child in both] == [0, 0], errors
        first, second = run_folder.list_runs(out)
        if first["id"].split("-")[0] == second["id"].split("-")[0]:
            break
        shutil.rmtree(out)
    else:
        pytest.skip("this machine is too busy to start two processes in one second")
    assert first["id"] != second["id"]
    for found in (first, second):
        assert found["run"]["status"] == "complete" and found["run"]["id"] == found["id"]
        keys = [cell.key for cell in small_plan(repeats=2).cells]
        assert [cell["key"] for cell in found["cells"]] == keys
        starts = (found["path"] / "starts.txt").read_text().splitlines()
        assert [line.split()[0] for line in starts] == keys
        assert (found["path"] / "samples.csv").read_text().count("latency_s") == 3 * 6


# ------------------------------------------------------------------------------------------------- old folders
