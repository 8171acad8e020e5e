"""What is told while something is measured: the time left, the cell, its objective, the last result; and how loudly."""

from __future__ import annotations

import dataclasses
import io
import threading
from pathlib import Path

import pytest
from plans import QUICK, fake_command, in_pairs, small_plan

from bench.gate import rounds as gate
from bench.gate.revisions import Checkout
from bench.gate.verdicts import GATED_METRICS, Rules
from bench.plan.cells import Cell, Plan
from bench.plan.durations import estimate_s
from bench.run import output, scheduler
from bench.run.cluster_progress import Several
from bench.run.outcome import Outcome
from bench.run.progress import Current, Estimator, Parts, Progress, Rounds
from bench.run.screen import Screen
from bench.store import run_folder
from bench.store.run_folder import Store

REFERENCE = Path(__file__).resolve().parents[3] / "results" / "reference"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def usual_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.fixture
def run(tmp_path):
    """Run a plan with fake workers; what was told, and the progress itself."""

    def go(plan, stream, modes=None, level=output.USUAL):
        progress = Progress(QUICK, stream, level)
        kept = Store.create(tmp_path, {**plan.to_dict(), "warnings": []})
        how = scheduler.Options(command=fake_command(modes), grace_s=0.3)
        try:
            scheduler.run_cells(plan, kept, how, progress, timeout_of=lambda cell: 20.0)
        finally:
            kept.close()
        return stream.getvalue(), progress

    return go


# ------------------------------------------------------------------------------------------------------------ a run


def without_load(said: str) -> list[str]:
    """The lines, without those that speak of the load of the machine that the tests happen to run on."""
    return [line for line in said.splitlines() if "busy machine" not in line]


def test_without_a_terminal_every_cell_is_one_plain_line(run):
    plan = small_plan()
    said, _ = run(plan, io.StringIO(), {plan.cells[0].key: "segfault"})
    lines = without_load(said)
    assert len(lines) == len(plan.cells) + 1
    assert lines[0].startswith(f"{len(plan.cells)} cells, about")
    assert lines[1].startswith(f"[1/{len(plan.cells)}] texture_net texture 64: error (crashed: killed by SIGSEGV")
    assert lines[3].startswith(f"[3/{len(plan.cells)}] johnson stylize 64: 200 ms, objective 100; about")
    assert all(line.endswith(" left") for line in lines[1:-1]) and lines[-1].endswith("; all measured")
    assert "\r" not in said and "\x1b" not in said


def test_on_a_terminal_two_lines_tell_the_cell_the_objective_the_time_left_and_the_last_result(run):
    threads = threading.active_count()
    said, _ = run(small_plan(), Terminal(), {"*": "slow"})
    assert "about" in said and " left" in said and "gatys stylize 64" in said
    assert "last: johnson stylize 64: 200 ms" in said
    assert "\r" in said and threading.active_count() == threads


def test_a_machine_that_is_slower_than_estimated_is_told_after_the_first_cells(run):
    stream = io.StringIO()
    progress, cells = Progress(QUICK, stream), small_plan().cells
    progress.begin(cells)
    for cell in cells[:4]:
        progress.finished(cell, {"status": "ok", "medians": {}, "duration_s": 2 * estimate_s(cell, QUICK),
                                 "attempts": 1, "evaluations": 1})  # fmt: skip
    told = [line for line in stream.getvalue().splitlines() if "times as long as estimated" in line]
    assert len(told) == 1 and told[0].startswith("the first cells took 2.0 times as long as estimated")


def test_quiet_says_nothing_and_verbose_says_more(run):
    assert run(small_plan(), io.StringIO(), {"*": "crash"}, output.QUIET)[0] == ""
    usual = without_load(run(small_plan(), io.StringIO())[0])
    verbose = without_load(run(small_plan(), io.StringIO(), level=output.VERBOSE)[0])
    assert len(verbose) == len(usual) + 3 * 5
    assert "  gatys texture 64, seed 0: about 4 s" in verbose
    assert any(line.startswith("  johnson stylize 64: started, about") for line in verbose)
    assert any(line.startswith("  took ") for line in verbose)


def test_the_current_objective_is_what_the_worker_reported_last():
    progress = Progress(QUICK, io.StringIO())
    texture, *_, cell = small_plan().cells
    progress.begin([texture, cell])
    progress.started(texture)
    progress.event({"event": "progress", "text": "timing\x1b[2J"})
    progress.event({"event": "sample", "metric": "objective", "unit": "1", "value": 427.81})
    assert "objective 427.8" in progress.current.text() and "timing" in progress.current.text()
    progress.started(cell, {"johnson": 300.0, "texture_net": 250.0})
    for number, objective in enumerate((5000.0, 612.34)):
        progress.event({"event": "curve", "seconds": 0.1 * number, "iteration": number, "objective": objective})
    assert "evaluation 1, objective 612.3, to reach 250" in progress.current.text()


# ------------------------------------------------------------------------------------------------------ the time left


def test_the_time_left_follows_what_was_measured():
    plan = small_plan(sizes=[64, 128], repeats=2)
    estimator = Estimator(QUICK)
    first = plan.cells[0]
    before = {cell: estimator.seconds(cell) for cell in plan.cells}
    estimator.learn(first, 3 * before[first])
    for cell in plan.cells:
        factor = 3 if cell.kind == first.kind else 1
        assert estimator.seconds(cell) == pytest.approx(factor * before[cell])
    twin = next(cell for cell in plan.cells if cell.seed == 1 and cell.method == first.method)
    other = next(cell for cell in plan.cells if cell.method == "johnson")
    estimator.learn(other, before[other])
    assert estimator.seconds(twin) == pytest.approx(3 * before[first])
    larger = [cell for cell in plan.cells if cell.size == 128]
    slow, fast = (next(c for c in larger if c.method == name) for name in ("texture_net", "johnson"))
    assert estimator.seconds(slow) == pytest.approx(3 * before[slow]), "a method's own pace comes first"
    assert estimator.seconds(fast) == pytest.approx(before[fast])
    peer = dataclasses.replace(slow, engine="pytorch")
    assert estimator.seconds(peer) == pytest.approx(3 * before[slow]), "as in the other engine, until it is known"
    estimator.learn(dataclasses.replace(other, engine="pytorch"), 5 * before[other])
    assert estimator.seconds(peer) == pytest.approx(5 * before[slow]), "an engine's own pace comes first"
    assert estimator.seconds(slow) == pytest.approx(3 * before[slow])


def test_the_time_left_was_true_in_the_committed_run():
    """Replayed cell by cell: what was said to be left against what it then took."""
    plan, records = Plan.from_dict(run_folder.read_run(REFERENCE)), run_folder.read_cells(REFERENCE)
    progress, left = Progress(plan.budget, level=output.QUIET), sum(record["duration_s"] for record in records)
    progress.begin(plan.cells)
    for record in records[:-1]:
        assert left / 2 < progress.left()[0] < 2 * left
        progress.finished(Cell.from_dict(record), record)
        left -= record["duration_s"]


def test_a_resumed_run_knows_how_long_its_cells_took():
    """Cells that took a third of what was estimated: the two that are left are expected to as well."""
    plan, records = Plan.from_dict(run_folder.read_run(REFERENCE)), run_folder.read_cells(REFERENCE)
    records = [{**r, "duration_s": estimate_s(Cell.from_dict(r), plan.budget) / 3} for r in records]
    stream = io.StringIO()
    progress = Progress(plan.budget, stream)
    progress.begin(plan.cells[-2:], records[:-2])
    assert f"2 cells, {len(records) - 2} already done" in stream.getvalue()
    assert progress.left()[0] < 0.6 * sum(estimate_s(cell, plan.budget) for cell in plan.cells[-2:])


def test_an_optimisation_goes_by_its_own_pace_and_says_when_it_does_not_know():
    cell, now = small_plan().cells[-1], [0.0]
    current, estimator = Current(cell, clock=lambda: now[0]), Estimator(QUICK)
    assert current.left(estimator) == estimator.seconds(cell) > 0

    def at(seconds: float, evaluation: int) -> float:
        now[0] = 2.0 + seconds
        current.event({"event": "curve", "seconds": seconds, "iteration": evaluation, "objective": 1.0})
        return current.left(estimator)

    assert at(0.5, 10) == pytest.approx(1.25), "25 of 35 evaluations at their pace"
    assert at(9.0, 20) == pytest.approx(1.0), "the budget ends it after 10 s"
    assert at(9.5, 120) == 0, "more evaluations than were thought"
    progress = Progress(QUICK, level=output.QUIET)
    progress.begin(small_plan().cells)
    progress.started(cell)
    progress.current = current
    assert progress.left()[1], "nobody knows: at least what the others need"
    assert progress.left()[0] == sum(estimate_s(other, QUICK) for other in small_plan().cells[:-1])


# -------------------------------------------------------------------------------------------- comparisons, and parts


def test_a_comparison_tells_each_round_and_what_is_left_at_most(tmp_path):
    now, stream = [0.0], io.StringIO()

    def block(command, spec, on_event, on_tick, **more):
        now[0] += 5.0
        on_event({"event": "curve", "seconds": 1.0, "iteration": 3, "objective": 7.0})
        on_tick()
        return Outcome("ok", samples=[("latency_s", "s", 0.1 + 0.0001 * index) for index in range(5)])

    plan = small_plan(method_names=["texture_net"], tasks=["texture"])
    rounds = Rounds(QUICK, 100.0, stream, output.VERBOSE, clock=lambda: now[0])
    sides = {name: Checkout(name, tmp_path, name) for name in ("baseline", "candidate")}
    made = gate.Gate(sides, plan, tmp_path, Rules(), GATED_METRICS, 100.0, rounds, in_pairs(block), lambda: now[0])
    found = made.measure()
    lines = stream.getvalue().splitlines()
    assert lines[0] == "1 cell in rounds of 4 blocks, at most about 2 min left"
    assert lines[1] == "  round 1, baseline and candidate: texture_net texture 64"
    ends = [line for line in lines if line.startswith("round ")]
    assert len(ends) == found.rounds and ends[0].endswith("; at most about 80 s left")
    assert "latency_s x1.000" in ends[0]


def test_a_cluster_of_one_machine_takes_as_long_as_that_machine():
    plan = small_plan()
    one = Progress(QUICK, io.StringIO(), pictures=lambda cell: 7)
    for progress in (one, several := Several(one)):
        progress.begin(plan.cells)
    assert several.left()[0] == pytest.approx(one.left()[0])


def test_a_comparison_whose_first_round_is_longer_than_its_limit_does_not_promise_the_limit():
    cell = small_plan().cells[0]
    rounds = Rounds(QUICK, 1.0, io.StringIO(), clock=lambda: 0.0)
    rounds.begin([cell], 4)
    assert rounds.left() == pytest.approx(4 * estimate_s(cell, QUICK))


def test_parts_tell_how_much_is_left_by_what_was_done():
    now, stream = [0.0], io.StringIO()
    parts = Parts(stream, clock=lambda: now[0])
    parts.part("matrix product", 0.0)
    now[0] = 10.0
    parts.part("copy", 0.25)
    parts.close()
    assert stream.getvalue().splitlines() == ["matrix product", "copy; about 30 s left"]


# ------------------------------------------------------------------------------------------------------ the terminal


def test_colours_are_for_terminals_and_can_be_refused(monkeypatch):
    assert output.paint("x", "worse", Terminal()) == "\x1b[31mx\x1b[0m"
    assert output.paint("x", "worse", io.StringIO()) == "x"
    monkeypatch.setenv("NO_COLOR", "")
    assert output.has_colours(Terminal()), "an empty NO_COLOR is none"
    monkeypatch.setenv("NO_COLOR", "1")
    assert not output.has_colours(Terminal()) and output.is_terminal(Terminal())
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not output.has_colours(Terminal()) and not output.is_terminal(Terminal())


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_names_cannot_move_the_cursor(stream, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    told = stream()
    screen = Screen(told)
    screen.open(3)
    screen.line("a\x1b[2Jb\u202ec\nd")
    screen.close()
    shown = told.getvalue()
    assert "\x1b[2J" not in shown and "\u202e" not in shown and r"a\x1b[2Jb\u202ec\nd" in shown
