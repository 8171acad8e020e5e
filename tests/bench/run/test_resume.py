"""The orchestrator killed with SIGKILL at any moment, and gone on with: nothing lost, nothing twice."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from drive import INPUTS
from plans import alive, environment, fake_command, samples_of, small_plan, wait_until, with_settings

from bench.run import session
from bench.run.output import QUIET
from bench.store import reader, run_folder
from nst_gluon.system import files
from nst_gluon.system.errors import UserError

DRIVE = Path(__file__).resolve().parents[2].joinpath("drive.py")
POINTS = 5  # rows of a fake optimisation in curves.csv


def start(out: Path, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, str(DRIVE), str(out), *arguments],
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def started(path: Path) -> list[str]:
    file = path / "starts.txt"
    return [line.split()[0] for line in file.read_text().splitlines()] if file.exists() else []


def check_readable(path: Path) -> list[str]:
    """The keys of the cells that are done; whatever moment a kill hit, everything is readable and in step."""
    assert run_folder.read_run(path)["status"] in ("running", "complete")
    cells = run_folder.read_cells(path)
    data = reader.read_run(path)
    assert [record["key"] for record in data.records] == [cell["key"] for cell in cells]
    done = [record for record in data.records if not record.get("killed")]
    kinds = Counter(record["kind"] for record in done)
    samples = sum(samples_of(record["task"], record["seed"]) for record in done if record["kind"] == "generate")
    assert (len(data.samples), len(data.curves)) == (samples, POINTS * kinds["optimise"])
    return [cell["key"] for cell in cells if not cell.get("killed")]


@pytest.mark.parametrize("kills", [20, pytest.param(100, marks=pytest.mark.slow)])
def test_killed_at_any_moment_it_loses_nothing_and_measures_nothing_twice(tmp_path, kills):
    """Half of the kills hit a worker, half the orchestrator; then it is gone on with."""
    if kills > 20 and not os.environ.get("NST_GLUON_FUZZ"):
        pytest.skip("takes a minute: tox -e fuzz")
    chance = random.Random(kills)
    modes, repeats = '{"*": "slow"}', kills // 5
    child = start(tmp_path, "", modes, str(repeats))
    assert wait_until(lambda: run_folder.list_runs(tmp_path))
    path = run_folder.list_runs(tmp_path)[0]["path"]
    kept: list[str] = []
    before = 0
    hit = Counter()
    for number in range(kills):
        # Some of the kills hit at work, the others while it starts and recovers.
        if number % 4:
            assert wait_until(lambda: len(started(path)) > before or child.poll() is not None, 30)  # noqa: B023
        time.sleep(chance.uniform(0.0, 0.2))
        if number % 2:
            workers = (path / "starts.txt").read_text().split() if started(path) else []
            if workers and alive(int(workers[-1])):
                os.kill(int(workers[-1]), signal.SIGKILL)
                hit["worker"] += 1
            before = len(started(path))
            continue
        child.kill()
        hit["orchestrator"] += child.wait() == -signal.SIGKILL
        child.communicate()
        committed = check_readable(path)
        assert committed[: len(kept)] == kept and max(Counter(committed).values(), default=1) == 1
        kept, before = committed, len(started(path))
        child = start(tmp_path, path.name, modes)
    for _ in range(3):  # a cell whose worker was killed twice waits for a resume
        _, errors = child.communicate(timeout=120)
        assert "Traceback" not in errors
        if child.returncode == 0:
            break
        child = start(tmp_path, path.name, modes)
    assert child.returncode == 0, errors
    assert hit["orchestrator"] == (kills + 1) // 2 and hit["worker"] > kills // 8 and len(kept) > 2
    cells = run_folder.read_cells(path)
    assert sorted(cell["key"] for cell in cells) == sorted(cell.key for cell in small_plan(repeats=repeats).cells)
    assert {cell["status"] for cell in cells} == {"ok"}
    for name, count in (("samples.csv", 3 * repeats), ("curves.csv", 2 * repeats)):
        table = csv.DictReader(io.StringIO((path / name).read_text()))
        counts = Counter((row["task"], row["method"], row["seed"]) for row in table)
        assert len(counts) == count
        for (task, _, seed), rows in counts.items():
            assert rows == (POINTS if name == "curves.csv" else samples_of(task, int(seed)))
    assert run_folder.read_run(path)["status"] == "complete"
    assert [entry.name for entry in path.rglob(f"{files.PREFIX}*")] == []


def test_a_worker_that_somebody_kills_does_not_end_its_cell_for_good(tmp_path):
    """Nor is a larger size skipped because of it; what is tried again leaves one record and one set of samples."""
    plan = small_plan(method_names=["johnson"], sizes=[64, 128])
    assert execute(plan, tmp_path, modes={plan.cells[0].key: "sigkill"}) == session.FAILED
    (found,) = run_folder.list_runs(tmp_path)
    first, second = found["cells"]
    assert (first["status"], first["attempts"], second["status"]) == ("error", 2, "ok")
    assert first["reason"] == "crashed: killed by SIGKILL; --resume tries it again"
    assert execute(plan, tmp_path, found["path"]) == session.OK
    assert sorted((cell["key"], cell["status"]) for cell in run_folder.read_cells(found["path"])) == sorted(
        (cell.key, "ok") for cell in plan.cells
    )
    assert len(reader.read_run(found["path"]).samples) == 2 * samples_of("stylize", 0)
    assert started(found["path"]).count(second["key"]) == 1


def test_the_copy_of_a_run_can_be_gone_on_with_while_the_original_runs(tmp_path):
    """What the other orchestrator owns is left alone."""
    cells = small_plan(repeats=2).cells
    child = start(tmp_path / "a", "", json.dumps({cells[1].key: "hang"}))
    assert wait_until(lambda: run_folder.list_runs(tmp_path / "a"))
    path = run_folder.list_runs(tmp_path / "a")[0]["path"]
    assert wait_until(lambda: len(started(path)) == 2)
    worker = int((path / "starts.txt").read_text().split()[3])
    shutil.copytree(path, tmp_path / "b" / path.name)
    copy = start(tmp_path / "b", path.name)
    _, errors = copy.communicate(timeout=60)
    assert copy.returncode == 0, errors
    assert alive(worker) and child.poll() is None
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=30)


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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_interrupted_it_says_how_to_go_on(tmp_path, number):
    first, second = (cell.key for cell in small_plan(repeats=2).cells[:2])
    child = start(tmp_path, "", json.dumps({second: "hang"}))
    assert wait_until(lambda: run_folder.list_runs(tmp_path))
    path = run_folder.list_runs(tmp_path)[0]["path"]
    assert wait_until(lambda: len(started(path)) == 2)
    child.send_signal(number)
    _, errors = child.communicate(timeout=30)
    assert child.returncode == (130 if number == signal.SIGINT else 143)
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
        (with_settings(small_plan(method_names=["johnson"]), preset="gatys"), "preset is 'texture_net_relative' there"),
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
