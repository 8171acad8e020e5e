"""Workers that crash, hang, run out of memory, babble, or leave children behind: each is one cell's result."""

from __future__ import annotations

import os
import signal
import threading

import numpy as np
import pytest
from plans import QUICK, alive, fake_command, small_plan, wait_until, with_settings

from bench.analysis.methods import Methods
from bench.machine import environment
from bench.run import scheduler
from bench.run.outcome import classify, parse_event
from bench.run.output import QUIET
from bench.run.progress import Progress
from bench.store.run_folder import Store
from nst_gluon import methods

TEXTURE = "gluon-texture_net-texture-64-b1-float32-cpu-s0"


@pytest.fixture
def make_store(tmp_path):
    stores = []

    def make(plan) -> Store:
        stores.append(Store.create(tmp_path, {**plan.to_dict(), "warnings": []}))
        return stores[-1]

    yield make
    for store in stores:
        store.close()


def run(plan, store, modes=None, timeout=20.0, **options):
    progress = Progress(QUICK, level=QUIET)
    how = scheduler.Options(command=fake_command(modes), grace_s=0.3, **options)
    records = scheduler.run_cells(plan, store, how, progress, timeout_of=lambda cell: timeout)
    return {record["key"]: record for record in records}


def one(plan, store, mode, **options):
    """The record of the first cell, whose worker behaves as ``mode`` says."""
    first = plan.cells[0]
    plan = type(plan)((first,), plan.budget, plan.settings)
    return run(plan, store, {first.key: mode}, **options)[first.key]


def starts(store) -> list[str]:
    return [line.split()[0] for line in (store.path / "starts.txt").read_text().splitlines()]


def test_every_cell_runs_in_a_process_of_its_own(make_store):
    plan = small_plan()
    store = make_store(plan)
    records = run(plan, store)
    assert [record["status"] for record in records.values()] == ["ok"] * len(plan.cells)
    assert len({record["info"]["pid"] for record in records.values()}) == len(plan.cells)
    assert starts(store) == [cell.key for cell in plan.cells]
    assert [record["key"] for record in store.cells()] == [cell.key for cell in plan.cells]


def test_optimisations_get_the_generators_objectives_as_targets(make_store):
    plan = with_settings(small_plan(repeats=3), other_contents=("/photos/b.jpg",))
    records = run(plan, make_store(plan))
    for record in records.values():
        if record["kind"] == "optimise":
            names = ["johnson", "texture_net"] if record["task"] == "stylize" else ["texture_net"]
            # The fake generators' objectives are 100, 101, ... by draw, of which there are four, or by photo.
            photo = ("astronaut", "b")[record["seed"] % 2]
            own = {"": [101.5, 100.0]} if record["task"] == "texture" else {photo: [100.0 + record["seed"] % 2] * 2}
            assert record["info"]["targets"] == dict.fromkeys(names, own)
            assert record["targets"] == {name: next(iter(own.values()))[0] for name in names}


@pytest.mark.parametrize("count", [4, 9, 16, 30])
def test_a_descent_goes_on_far_enough_for_the_interval_of_its_target(count):
    rng = np.random.default_rng(count)
    draws = rng.lognormal(4, 0.2, count)
    resampled = np.median(rng.choice(draws, (20_000, count)), axis=1)
    end = scheduler.goes_down_to(list(draws))
    assert min(draws) <= end <= np.median(draws) and np.mean(resampled < end) < 0.015
    assert scheduler.goes_down_to([3.0]) == 3.0


def test_variants_also_get_what_the_optimisation_ended_at_and_need_a_net_to_begin_with(make_store):
    names = ["gatys", "gatys_pyramid", "net_gatys", "texture_net"]
    plan = small_plan(method_names=names, tasks=["texture"])
    cell = next(cell for cell in plan.cells if cell.method == "gatys_pyramid")
    plain = next(cell for cell in plan.cells if cell.method == "gatys")
    ended = {**plain.to_dict(), "status": "ok", "scores": {"": [7.0]}}
    assert scheduler.targets_for(cell, plan, [ended]) == {"gatys": {"": (7.0, 7.0)}}
    assert scheduler.targets_for(plain, plan, [ended]) == {}
    lower = {**ended, "seed": 1, "scores": {"": [6.0]}}
    assert scheduler.targets_for(cell, plan, [ended, lower]) == {"gatys": {"": (7.0, 7.0)}}, "each start has its own"
    records = run(with_settings(plan, nets=()), make_store(plan))
    statuses = {record["method"]: record["status"] for record in records.values()}
    assert statuses["net_gatys"] == "skipped" and statuses["gatys_pyramid"] == "ok"


def test_nothing_is_aimed_at_a_net_that_was_trained_on_another_loss():
    plan = small_plan(method_names=["gatys", "dcgan"], tasks=["texture"])
    cells = {cell.method: cell for cell in plan.cells}
    made = {**cells["dcgan"].to_dict(), "status": "ok", "medians": {"objective": 5.0}, "scores": {"": [5.0]}}
    assert scheduler.targets_for(cells["gatys"], plan, [made]) == {}
    known = Methods({name: methods.facts(name) for name in ("portilla_simoncelli", "gatys", "dcgan")})
    assert known.baseline == "gatys" and [name for name in known if known[name].own_loss] == [
        "portilla_simoncelli", "dcgan"
    ]  # fmt: skip


def test_a_target_of_the_users_replaces_the_generators(make_store):
    plan = with_settings(small_plan(method_names=["gatys", "texture_net"]), target_loss=5.0)
    records = run(plan, make_store(plan))
    optimised = [record for record in records.values() if record["kind"] == "optimise"]
    assert all(record["targets"] == {"texture_net": 5.0} for record in optimised)
    alone = with_settings(small_plan(method_names=["gatys"]), target_loss=5.0)
    assert scheduler.targets_for(alone.cells[0], alone, []) == {"target_loss": {"": (5.0, 5.0)}}


@pytest.mark.parametrize(
    ("mode", "status", "words", "attempts"),
    [
        ("crash", "error", "exit status 3: it broke", 2),
        ("segfault", "error", "SIGSEGV", 2),
        ("silent", "error", "without a result", 2),
        ("half", "error", "without a result", 2),
        ("crash_once", "ok", "", 2),
        ("memory_error", "oom", "MemoryError", 1),
        ("oom", "oom", "out of memory", 1),
        ("sigkill", "error", "killed by SIGKILL; --resume tries it again", 2),
        ("user_error", "error", "net: wrong", 1),
        ("garbage", "ok", "", 1),
        ("flood", "ok", "", 1),
        ("after_result", "ok", "", 1),
    ],
)
def test_what_becomes_of_a_worker(make_store, mode, status, words, attempts):
    plan = small_plan()
    store = make_store(plan)
    record = one(plan, store, mode)
    assert (record["status"], record["attempts"]) == (status, attempts)
    assert words in record["reason"]
    assert "\n" not in record["reason"]
    assert len(starts(store)) == attempts


def test_what_aims_at_a_net_whose_process_was_killed_waits_for_the_resume(make_store):
    plan = small_plan(method_names=["gatys", "gatys_pyramid", "texture_net", "johnson"])
    killed = next(cell for cell in plan.cells if cell.method == "texture_net" and cell.task == "stylize")
    store = make_store(plan)
    first = run(plan, store, {killed.key: "sigkill"})
    waiting = {key for key, record in first.items() if record.get("killed")} - {killed.key}
    aimed = [cell for cell in plan.cells if cell.kind == "optimise" and cell.task == "stylize"]
    assert waiting == {cell.key for cell in aimed} and not waiting & set(starts(store))
    assert "texture_net" in first[aimed[0].key]["reason"] and "--resume" in first[aimed[0].key]["reason"]
    again = run(plan, store)
    assert not any(record.get("killed") for record in again.values()) and len(again) == len(plan.cells)
    assert {"texture_net", "johnson"} <= set(again[aimed[0].key]["targets"])


def test_samples_of_a_crashed_attempt_do_not_count(make_store):
    plan = small_plan()
    store = make_store(plan)
    one(plan, store, "crash_once")
    assert "99.0" not in (store.path / "samples.csv").read_text()


def test_garbage_on_the_pipe_is_counted_and_changes_nothing(make_store):
    plan = small_plan()
    store = make_store(plan)
    record = one(plan, store, "garbage")
    assert record["garbage_lines"] == 6  # five lines that are no events, and half a line
    assert (store.path / "samples.csv").read_text().count("latency_s") == 3
    log = (store.path / record["log"]).read_text()
    assert '"status":"error"' in log


@pytest.mark.parametrize("mode", ["hang", "stubborn"])
def test_a_worker_that_hangs_is_killed_and_its_samples_are_kept(make_store, mode):
    plan = small_plan()
    store = make_store(plan)
    record = one(plan, store, mode, timeout=3.0)
    assert (record["status"], record["attempts"]) == ("timeout", 1)
    assert "3 s" in record["reason"]
    assert record["duration_s"] < 15
    pid = int((store.path / "starts.txt").read_text().split()[1])
    assert not alive(pid)
    assert record["medians"]["latency_s"] == 0.2


@pytest.mark.parametrize("mode", ["child", "stray"])
def test_children_that_a_worker_leaves_behind_are_killed(make_store, mode):
    plan = small_plan()
    store = make_store(plan)
    record = one(plan, store, mode)
    child = int((store.path / "child.txt").read_text())
    assert record["status"] == "ok"
    assert record["stragglers"] == 1
    assert record["duration_s"] < 15
    assert wait_until(lambda: not alive(child))


def test_one_bad_cell_does_not_end_the_run(make_store):
    plan = small_plan()
    bad = plan.cells[1].key
    records = run(plan, make_store(plan), {bad: "segfault"})
    assert records[bad]["status"] == "error"
    assert [key for key, record in records.items() if record["status"] != "ok"] == [bad]


def test_after_an_out_of_memory_larger_cells_of_the_method_are_skipped(make_store):
    plan = small_plan(sizes=[64, 128, 256], batches=[1, 4])
    store = make_store(plan)
    records = run(plan, store, {"gluon-johnson-stylize-128-b1-float32-cpu-s0": "memory_error"})
    skipped = {key for key, record in records.items() if record["status"] == "skipped"}
    assert skipped == {
        "gluon-johnson-stylize-128-b4-float32-cpu-s0",
        "gluon-johnson-stylize-256-b1-float32-cpu-s0",
        "gluon-johnson-stylize-256-b4-float32-cpu-s0",
    }
    assert all("128x128 at batch 1 ran out of memory" in records[key]["reason"] for key in skipped)
    assert not skipped & set(starts(store))


def test_ctrl_c_kills_the_worker_and_keeps_what_was_measured(make_store):
    plan = small_plan()
    store = make_store(plan)

    def interrupt() -> None:
        path = store.path / "starts.txt"
        if wait_until(lambda: path.exists() and len(path.read_text().splitlines()) == 2):
            os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        run(plan, store, {plan.cells[1].key: "hang"})
    pid = int((store.path / "starts.txt").read_text().split()[3])
    assert not alive(pid)
    assert [record["key"] for record in store.cells()] == [plan.cells[0].key]


# ------------------------------------------------------------------------------------------------------ verdicts


@pytest.mark.parametrize(
    ("arguments", "status", "crashed"),
    [
        ((0, {"status": "ok"}, ""), "ok", False),
        ((-11, {"status": "ok"}, ""), "ok", False),  # it fell over while it was going home
        ((0, None, ""), "error", True),
        ((1, None, "mxnet.base.MXNetError: cudaMalloc retry failed: out of memory"), "oom", False),
        ((-9, None, "", 30.0), "timeout", False),
        ((-15, None, "", 30.0), "timeout", False),
        ((-11, None, ""), "error", True),
        ((7, None, "first\nlast words\n\n"), "error", True),
    ],
)
def test_the_verdict_on_an_ended_worker(arguments, status, crashed):
    verdict = classify(*arguments)
    assert (verdict[0], verdict[2]) == (status, crashed)


@pytest.mark.parametrize(
    "line",
    [
        b"", b"null", b"[]", b"3", b"{}", b'{"event": "dance"}', b'{"event": "sample", "metric": "x", "unit": "s"}',
        b'{"event": "sample", "metric": "x", "unit": "s", "value": Infinity}',
        b'{"event": "sample", "metric": "x", "unit": "s", "value": "3"}',
        b'{"event": "sample", "metric": "x", "unit": "s", "value": true}',
        b'{"event": "sample", "metric": 3, "unit": "s", "value": 1}',
        b'{"event": "result", "status": "splendid"}', b'{"event": "result", "status": "ok", "info": 3}',
        b'{"event": "ready"', b"\xff\xfe", b"[" * 100_000,
    ],
)  # fmt: skip
def test_lines_that_are_no_events(line):
    assert parse_event(line) is None


def test_a_busy_machine_is_told(make_store, monkeypatch):
    seconds = iter(range(0, 1000, 50))
    monkeypatch.setattr(environment, "busy_seconds", lambda cpus: float(next(seconds)))
    plan = small_plan()
    record = one(plan, make_store(plan), "hang", timeout=1.2)
    assert record["foreign_cores"] == pytest.approx(50 / record["duration_s"], rel=0.1)
    (warning,) = environment.warnings_after([record, {"foreign_cores": 0.1}, {"foreign_cores": None}])
    assert "busy machine" in warning and "1 of 2 cells" in warning
    assert environment.warnings_after([{"foreign_cores": 0.1}]) == []
