"""The orchestrator killed with SIGKILL at any moment, and gone on with: nothing lost, nothing twice."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from drive import INPUTS
from plans import alive, environment, fake_command, small_plan, wait_until, with_settings

from bench.run import session
from bench.run.output import QUIET
from bench.store import reader, run_folder
from nst_gluon.system.errors import UserError

DRIVE = Path(__file__).resolve().parents[2].joinpath("drive.py")
KILLS, REPEATS = 50, 10
SAMPLES, POINTS = 4, 5  # rows of a fake generator and of a fake optimisation


def start(out: Path, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, str(DRIVE), str(out), *arguments],
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def started(path: Path) -> list[str]:
    file = path / "starts.txt"
    return [line.split()[0] for line in file.read_text().splitlines()] if file.exists() else []


def check_readable(path: Path) -> list[str]:
    """The keys of the committed cells; whatever moment a kill hit, everything is readable and in step."""
    assert run_folder.read_run(path)["status"] == "running"
    keys = [cell["key"] for cell in run_folder.read_cells(path)]
    data = reader.read_run(path)
    assert [record["key"] for record in data.records] == keys
    kinds = Counter(record["kind"] for record in data.records)
    assert (len(data.samples), len(data.curves)) == (SAMPLES * kinds["generate"], POINTS * kinds["optimise"])
    return keys


def test_killed_fifty_times_it_loses_nothing_and_measures_nothing_twice(tmp_path):
    chance = random.Random(0)
    modes = '{"*": "slow"}'
    child = start(tmp_path, "", modes, str(REPEATS))
    assert wait_until(lambda: run_folder.list_runs(tmp_path))
    path = run_folder.list_runs(tmp_path)[0]["path"]
    kept: list[str] = []
    before, killed = 0, 0
    for number in range(KILLS):
        if number % 2:  # half of the kills hit at work, the others while it starts and recovers
            assert wait_until(lambda: len(started(path)) > before or child.poll() is not None)  # noqa: B023
        time.sleep(chance.uniform(0.0, 0.2))
        child.kill()
        killed += child.wait() == -signal.SIGKILL
        child.communicate()
        assert not set(kept) & set(started(path)[before:])
        committed = check_readable(path)
        assert committed[: len(kept)] == kept
        kept, before = committed, len(started(path))
        child = start(tmp_path, path.name, modes)
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 0, errors
    assert killed == KILLS and 5 < len(kept) < 5 * REPEATS  # it was at work every time, and got on
    cells = run_folder.read_cells(path)
    assert [cell["key"] for cell in cells] == [cell.key for cell in small_plan(repeats=REPEATS).cells]
    assert {cell["status"] for cell in cells} == {"ok"}
    for name, expected, count in (("samples.csv", SAMPLES, 3 * REPEATS), ("curves.csv", POINTS, 2 * REPEATS)):
        table = csv.DictReader(io.StringIO((path / name).read_text()))
        counts = Counter((row["method"], row["task"], row["seed"]) for row in table)
        assert set(counts.values()) == {expected}
        assert len(counts) == count
    assert run_folder.read_run(path)["status"] == "complete"


def test_a_killed_orchestrator_takes_a_worker_that_is_ours_with_it_at_the_latest_on_resume(tmp_path):
    child = start(tmp_path, "", '{"*": "hang"}')
    assert wait_until(lambda: run_folder.list_runs(tmp_path))
    path = run_folder.list_runs(tmp_path)[0]["path"]
    assert wait_until(lambda: len(started(path)) == 1)
    child.kill()
    child.wait()
    orphan = int((path / "starts.txt").read_text().split()[1])
    assert alive(orphan)  # the fake worker does not ask the kernel to die with its parent; the real one does
    child = start(tmp_path, path.name)
    assert wait_until(lambda: not alive(orphan))
    child.communicate(timeout=60)
    assert child.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_it_says_how_to_go_on(tmp_path, number):
    first, second = (cell.key for cell in small_plan(repeats=2).cells[:2])
    child = start(tmp_path, "", json.dumps({second: "hang"}))
    assert wait_until(lambda: run_folder.list_runs(tmp_path))
    path = run_folder.list_runs(tmp_path)[0]["path"]
    assert wait_until(lambda: len(started(path)) == 2)
    child.send_signal(number)
    _, errors = child.communicate(timeout=30)
    assert child.returncode == 130
    assert "Traceback" not in errors
    last = errors.strip().splitlines()[-1]
    assert f"python -m bench run --resume {path.name} --out {tmp_path}" in last and "1 of 10 cells" in last
    assert run_folder.read_run(path)["status"] == "interrupted"
    assert [cell["key"] for cell in run_folder.read_cells(path)] == [first]
    assert not alive(int((path / "starts.txt").read_text().split()[3]))


# ---------------------------------------------------------------------------------------------------- refusals


def execute(plan, out, resume=None, modes=None, inputs=INPUTS):
    how = session.How(
        out=out, resume=resume, level=QUIET, command=fake_command(modes), ask=lambda *a: inputs, report=False,
        arguments=["test"],
    )  # fmt: skip
    return session.execute(plan, how)


@pytest.fixture
def finished(tmp_path):
    assert execute(small_plan(method_names=["johnson"]), tmp_path) == 0
    return run_folder.list_runs(tmp_path)[0]["path"]


def test_another_plan_is_refused_in_one_line(finished):
    before = (finished / "cells.jsonl").read_bytes()
    for plan, words in (
        (small_plan(), "only here"),
        (small_plan(method_names=["johnson"], seed=3), "only there"),
        (with_settings(small_plan(method_names=["johnson"]), preset="gatys"), "preset is 'texture_net' there"),
    ):
        with pytest.raises(UserError, match=f"^--resume: .* another plan .*{words}") as error:
            execute(plan, finished.parent, finished)
        assert "\n" not in str(error.value)
    assert (finished / "cells.jsonl").read_bytes() == before


def test_other_inputs_are_refused(finished):
    with pytest.raises(UserError, match="the weights are not those"):
        execute(small_plan(method_names=["johnson"]), finished.parent, finished,
                inputs={**INPUTS, "weights": {"sha256": "1"}})  # fmt: skip


def test_another_machine_is_refused(finished, monkeypatch):
    monkeypatch.setattr(session.environment, "cpu_model", lambda: "another processor")
    with pytest.raises(UserError, match="measured on another machine .*another processor"):
        execute(small_plan(method_names=["johnson"]), finished.parent, finished)


def test_a_finished_run_is_not_measured_again(finished):
    before = started(finished)
    assert execute(small_plan(method_names=["johnson"]), finished.parent, finished) == 0
    assert started(finished) == before
    assert len(run_folder.read_run(finished)["sessions"]) == 2


def test_inputs_that_are_wrong_leave_nothing_behind(tmp_path):
    def ask(*arguments):
        raise UserError("--style: not a picture")

    how = session.How(out=tmp_path / "results", level=QUIET, command=fake_command(), ask=ask, report=False)
    with pytest.raises(UserError, match="not a picture"):
        session.execute(small_plan(), how)
    assert not (tmp_path / "results").exists()

    def ask_late(engines, sizes, settings, keep_in):
        if keep_in is not None:
            raise UserError("--content: not a picture")
        return INPUTS

    with pytest.raises(UserError, match="not a picture"):
        session.execute(small_plan(), session.How(out=tmp_path / "results", level=QUIET, ask=ask_late, report=False))
    assert list((tmp_path / "results").iterdir()) == []


def test_the_orchestrator_stays_small(tmp_path):
    """It imports neither an engine nor numpy, and what it used is in run.json."""
    child = start(tmp_path)
    child.communicate(timeout=60)
    run_json = run_folder.list_runs(tmp_path)[0]["run"]
    assert 0 < run_json["sessions"][-1]["orchestrator_peak_memory_bytes"] < 60_000_000


def test_a_full_disk_ends_with_one_line_and_a_way_on(tmp_path):
    second = small_plan(repeats=2).cells[1].key
    child = subprocess.run(
        [sys.executable, "-c", "import sys; from drive import main; from nst_gluon.cli import console;"
         f"sys.exit(console.run(lambda: main({str(tmp_path)!r}, '', {json.dumps({second: 'disk_full'})!r})))"],
        env={**environment(), "PYTHONPATH": f"{DRIVE.parent}{os.pathsep}{DRIVE.parent.parent}"},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert child.returncode == 2
    error = child.stderr.strip().splitlines()[-1]
    assert error.startswith("error: --out: no space left") and "--resume" in error
    assert len(run_folder.list_runs(tmp_path)[0]["cells"]) == 1


def test_a_disk_that_is_full_from_the_start_leaves_no_run(tmp_path):
    plan = small_plan()
    with pytest.raises(UserError, match="^--out: no space left") as error:
        execute(plan, tmp_path / "results", modes={plan.cells[0].key: "disk_full"})
    assert "--resume" not in str(error.value)
    assert list((tmp_path / "results").iterdir()) == []
