"""Workers that take turns: only one computes at a time, A B B A, and what a turn leaves in the caches is not timed."""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
import os
import sys
import time

import numpy as np
import pytest
from plans import SETTINGS, small_plan

from bench.engines import context, measure
from bench.machine import meters
from bench.plan.budgets import GATE
from bench.run import process
from nst_gluon.system import children

# Computes in turns of 30 ms, as many as its spec says, and says when each began and ended.
WORKER = """
import json, os, sys, time
pipe, spec = int(sys.argv[2]), json.loads(sys.stdin.readline())
def emit(**event): os.write(pipe, json.dumps(event).encode() + b"\\n")
for _ in range(spec["count"]):
    if spec["asks"]:
        emit(event="turn")
        sys.stdin.readline()
    if not spec["asks"] and spec.get("strays"):
        emit(event="turn")
    if spec.get("dies"):
        os.kill(os.getpid(), 9)
    begun = time.monotonic()
    while time.monotonic() < begun + 0.03: pass
    emit(event="sample", metric="begun", unit="s", value=begun)
    emit(event="sample", metric="ended", unit="s", value=time.monotonic())
emit(event="result", status="ok", info={})
"""


def run(tmp_path, *specs, timeout_s=20.0):
    return process.run_in_turns([
        process.Start([sys.executable, "-S", "-c", WORKER], {"turns": True, **spec}, timeout_s, tmp_path / f"{i}.log")
        for i, spec in enumerate(specs)
    ])  # fmt: skip


def spells(outcomes):
    """(begun, ended, who) of every turn, in time's order."""
    found = []
    for who, outcome in enumerate(outcomes):
        times = [value for _, _, value, _ in outcome.samples]
        found += [(*pair, who) for pair in zip(times[::2], times[1::2])]
    return sorted(found)


def test_only_one_computes_at_a_time_to_and_fro(tmp_path):
    outcomes = run(tmp_path, {"count": 4, "asks": True}, {"count": 4, "asks": True})
    assert [outcome.status for outcome in outcomes] == ["ok", "ok"]
    found = spells(outcomes)
    assert all(first[1] <= second[0] for first, second in zip(found, found[1:]))
    assert [who for *_, who in found] == [0, 1, 1, 0, 0, 1, 1, 0]


def test_who_has_more_turns_goes_on_alone_and_who_does_not_ask_runs_in_one_go(tmp_path):
    assert [who for *_, who in spells(run(tmp_path, {"count": 1, "asks": True}, {"count": 3, "asks": True}))] == \
        [0, 1, 1, 1]  # fmt: skip
    assert [who for *_, who in spells(run(tmp_path, {"count": 2, "asks": False}, {"count": 2, "asks": True}))] == \
        [0, 0, 1, 1]  # fmt: skip


def test_one_that_dies_leaves_the_turn_to_the_other(tmp_path):
    dead, alive = run(tmp_path, {"count": 3, "asks": True, "dies": True}, {"count": 3, "asks": True})
    assert dead.killed and dead.status == "error"
    assert alive.status == "ok" and len(alive.samples) == 6


def test_waiting_for_a_turn_is_not_hanging(tmp_path):
    """Each computes for 1 s and waits for another, in less than 2 s each of time of its own."""
    begun = time.monotonic()
    outcomes = run(tmp_path, {"count": 33, "asks": True}, {"count": 33, "asks": True}, timeout_s=1.9)
    assert [outcome.status for outcome in outcomes] == ["ok", "ok"]
    assert all(outcome.duration_s < 1.9 < time.monotonic() - begun for outcome in outcomes)


def test_a_turn_that_nobody_asked_for_is_garbage(tmp_path):
    (outcome,) = run(tmp_path, {"count": 2, "asks": False, "strays": True, "turns": False})
    assert (outcome.status, outcome.garbage_lines) == ("ok", 2)


def test_an_interruption_while_one_waits_leaves_no_process_behind(tmp_path):
    def interrupted(event):
        if event["event"] == "turn":
            raise KeyboardInterrupt

    starts = [
        process.Start([sys.executable, "-S", "-c", WORKER], {"turns": True, "count": 9, "asks": True}, 20.0,
                      tmp_path / f"{who}.log", marks={"NST_TEST_MARK": str(tmp_path)}, on_event=told)
        for who, told in enumerate((None, interrupted))
    ]  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        process.run_in_turns(starts)
    assert process.marked_processes("NST_TEST_MARK", str(tmp_path)) == []


@pytest.mark.parametrize("seconds, calls", [(0.25, 8), (0.5, 4), (10.0, 4)])
def test_a_turn_ends_after_its_time_and_some_calls(monkeypatch, seconds, calls):
    """Of calls that take so long, a turn of 2 s and at least three calls has so many, and one that is not timed."""
    now = [0.0]
    monkeypatch.setattr(context, "TURN_S", 2.0)
    monkeypatch.setattr(context.time, "monotonic", lambda: now[0])
    read, write = os.pipe()
    told, waited = context.Context(write, None, None, {}, 0.0, turns=io.StringIO("\n" * 50)), []
    for _ in range(3 * calls):
        waited.append(told.turn())
        now[0] += seconds
    os.close(write)
    with os.fdopen(read) as pipe:
        assert [json.loads(line)["event"] for line in pipe] == ["turn"] * 3
    assert waited == [True, *[False] * (calls - 1)] * 3


def test_alone_nobody_waits():
    assert not any(context.Context(-1, None, None, {}, 0.0).turn() for _ in range(10))


def test_the_first_call_of_a_turn_is_no_sample(monkeypatch):
    """Every third call is the first of a turn and takes ten times as long."""
    now, calls, turns = [0.0], [], itertools.cycle([True, False])
    monkeypatch.setattr(meters, "clock", lambda: now[0])

    def turn():
        now[0] += 50.0  # waits
        calls.append(next(turns))
        return calls[-1]

    def call():
        now[0] += 10.0 if calls and calls.pop() else 1.0

    assert meters.sample(call, 6, 6.0, 60.0, turn=turn) == [1.0] * 6


def test_steps_of_an_optimisation_that_begin_a_turn_are_left_out():
    ends = np.cumsum([1.0, 2.0, 2.0, 9.0, 2.0, 2.0, 9.0, 2.0])
    cold = [False, False, False, True, False, False, True, False]
    assert measure.step_times(list(ends), cold) == pytest.approx([2.0] * 4)
    assert len(measure.step_times(list(ends))) == 6
    assert measure.step_times([1.0, 3.5], [False, True]) == [2.5]  # rather than none at all


@pytest.mark.parametrize("method, metric", [("texture_net", "latency_s"), ("gatys", "iteration_s")])
def test_two_real_workers_take_turns_and_measure_what_one_alone_does(tmp_path, method, metric):
    pytest.importorskip("mxnet", reason="needs an engine")
    settings = dataclasses.replace(
        SETTINGS, random_weights=True, threads=1,
        nets=(("texture_net/texture", "bundled:great_wave-texture_net-texture.npz"),),
    )  # fmt: skip
    plan = small_plan(method_names=[method], tasks=["texture"], budget=GATE, settings=settings)
    (tmp_path / "images").mkdir()
    spec = {**{name: plan.to_dict()[name] for name in ("settings", "budget")}, "cell": plan.cells[0].to_dict(),
            "photos": [], "draws": 0, "targets": {}, "run_dir": str(tmp_path)}  # fmt: skip
    said = {0: [], 1: []}
    outcomes = process.run_in_turns([
        process.Start(children.python("bench.run.worker"), {**spec, "turns": True}, 300.0, tmp_path / f"{who}.log",
                      on_event=lambda event, who=who: said[who].append(event["event"]))
        for who in said
    ])  # fmt: skip
    alone = process.run_worker(children.python("bench.run.worker"), spec, timeout_s=300.0, log_path=tmp_path / "log")
    counts = [sum(name == metric for name, *_ in each.samples) for each in (*outcomes, alone)]
    assert [each.status for each in (*outcomes, alone)] == ["ok"] * 3
    assert min(said[who].count("turn") for who in said) >= 3
    assert min(counts) >= 5
    names = [{name for name, *_ in each.samples if not name.startswith("warm_up")} for each in (outcomes[0], alone)]
    assert names[0] == names[1]
