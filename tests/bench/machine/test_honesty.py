"""A method that only looks fast: work that is not done when the clock is read, warm-up among the samples, drift."""

from __future__ import annotations

import dataclasses
import random
import re
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plans import SETTINGS, small_plan

from bench.machine import meters
from bench.plan.budgets import GATE
from bench.report import run_facts
from bench.run import process, scheduler
from bench.run.outcome import Outcome

WORK_S = 0.03


class Later:
    """A method that puts its work off to a thread and returns at once."""

    def __init__(self, seconds: float = WORK_S):
        self.seconds, self.pool = seconds, ThreadPoolExecutor(1)
        self.pending = []

    def call(self):
        self.pending.append(self.pool.submit(time.sleep, self.seconds))
        return self.pending[-1]

    def synchronise(self) -> None:
        for work in self.pending:
            work.result()
        self.pending.clear()


@pytest.fixture
def later():
    made = Later()
    yield made
    made.pool.shutdown(cancel_futures=True)


def test_an_asynchronous_method_is_as_slow_as_it_is_when_it_is_synchronised(later):
    assert meters.timed(later.call, later.synchronise) >= WORK_S
    assert min(meters.warm_up(later.call, 0.2, later.synchronise)) >= WORK_S
    times = meters.sample(later.call, 3, 0.0, 1.0, later.synchronise)
    assert min(times) >= WORK_S
    meters.check_synchronised(later.call, later.synchronise, lambda work: work.result(), times)


def test_an_asynchronous_method_without_synchronisation_is_found_out(later):
    times = meters.sample(later.call, 10, 0.0, 1.0)
    assert statistics.median(times) < WORK_S / 3
    with pytest.raises(meters.NotSynchronised) as error:
        meters.check_synchronised(later.call, meters.nothing, lambda work: work.result(), times)
    words = str(error.value).split()
    assert str(error.value).startswith("not synchronised: samples say ") and words[-3:] == ["ms", "a", "call"]
    assert 0.9 * 1e3 * WORK_S < float(words[-4]) < 5 * 1e3 * WORK_S  # what was queued before is not counted


class Machine:
    """A clock, and a call that takes what ``seconds`` gives for the number of the call."""

    def __init__(self, monkeypatch, seconds):
        self.now, self.calls, self.seconds = 0.0, 0, seconds
        monkeypatch.setattr(meters, "clock", lambda: self.now)

    def call(self) -> None:
        self.now += self.seconds(self.calls)
        self.calls += 1

    def copy(self, result) -> None:
        self.now += 0.5

    def check(self, samples) -> None:
        meters.check_synchronised(self.call, meters.nothing, self.copy, samples)


def test_the_check_of_an_honest_clock_costs_a_tenth_and_does_not_count_the_copying(monkeypatch):
    machine = Machine(monkeypatch, lambda number: 0.1)
    for samples, calls in ((5, 1), (10, 1), (50, 5), (1000, 20)):
        machine.calls = 0
        machine.check([0.1] * samples)
        assert machine.calls == calls


@pytest.mark.parametrize("factor", [1.5, 3.0, 20.0])
def test_a_machine_that_has_become_slower_since_is_no_false_alarm(monkeypatch, factor):
    Machine(monkeypatch, lambda number: factor * 0.1).check([0.1] * 10)


@pytest.mark.parametrize("seed", range(5))
def test_a_machine_that_jerks_is_no_false_alarm(monkeypatch, seed):
    """Calls that take up to eight times as long, at random and in bouts."""
    chance = random.Random(seed)

    def seconds(number: int) -> float:
        bout = 3.0 if random.Random(seed * 1000 + number // 5).random() < 0.3 else 1.0
        return 0.1 * bout * chance.choice([1.0, 1.0, 1.0, 1.3, 8.0 / 3])

    machine = Machine(monkeypatch, seconds)
    for count in (5, 20, 100):
        machine.check([seconds(number) for number in range(count)])


class Liar(Machine):
    """A call that returns after 1 ms and leaves 33 ms of work; the machine holds up one of all its doings by 50 ms."""

    def __init__(self, monkeypatch, held_up: int):
        super().__init__(monkeypatch, lambda number: 0.001)
        self.left, self.doings, self.held_up = 0.0, 0, held_up

    def do(self, seconds: float) -> None:
        self.now += seconds + (0.05 if self.doings == self.held_up else 0.0)
        self.doings += 1

    def call(self) -> None:
        self.do(0.001)
        self.left += 0.033

    def copy(self, result) -> None:
        self.do(self.left)
        self.left = 0.0


@pytest.mark.parametrize("held_up", range(0, 50, 5))
def test_one_moment_in_which_the_machine_stood_still_excuses_no_liar(monkeypatch, held_up):
    with pytest.raises(meters.NotSynchronised):
        Liar(monkeypatch, held_up).check([0.001] * 10)


LYING = """
import sys
from bench.engines import gluon
from bench.run import worker
gluon.Gluon.synchronise = lambda self: None
sys.exit(worker.main())
"""


def measure(tmp_path, method: str, task: str, program: str, size: int = 64) -> Outcome:
    """What becomes of a cell of the gate's budget when the worker is ``program``."""
    settings = dataclasses.replace(
        SETTINGS, random_weights=True, threads=1,
        nets=(("texture_net/texture", "bundled:great_wave-texture_net-texture.npz"),),
    )  # fmt: skip
    plan = small_plan(method_names=[method], tasks=[task], sizes=[size], budget=GATE, settings=settings)
    fields = plan.to_dict()
    spec = {"cell": plan.cells[0].to_dict(), "settings": fields["settings"], "budget": fields["budget"], "targets": {},
            "photos": [], "draws": 0, "run_dir": str(tmp_path)}  # fmt: skip
    return process.run_worker([sys.executable, "-c", program], spec, timeout_s=120, log_path=tmp_path / "log")


def test_a_cell_whose_clock_does_not_wait_ends_as_an_error_with_the_reason(tmp_path):
    pytest.importorskip("mxnet", reason="needs an engine")
    outcome = measure(tmp_path, "texture_net", "texture", LYING, size=256)
    assert (outcome.status, outcome.crashed) == ("error", False)
    assert outcome.reason.startswith("not synchronised: samples say "), (tmp_path / "log").read_text()
    assert not [value for name, _, value, _ in outcome.samples if name == "latency_s"]


LAZY = """
import sys, time
from types import SimpleNamespace
import numpy as np
from bench.engines import measure
from bench.run import worker
from nst_gluon.objective.loss import Objective
from nst_gluon.objective.loss_terms import Terms

TERMS = Terms(1.0, 0.0, 1.0, 0.0)

class Gradient:  # computed when it is looked at for the first time
    values = None
    def __array__(self, dtype=None):
        if self.values is None:
            time.sleep(0.1)
            self.values = np.zeros((1, 3, 64, 64), "float32")
        return self.values

def run(self, descend):
    at = {"terms": TERMS, "size": (64, 64)}
    steps = [SimpleNamespace(seconds=0.001 * number, iteration=number, **at) for number in range(1, 12)]
    return SimpleNamespace(steps=steps, stopped_because="iterations", picture=self.start())

measure.Problem.run = run
Objective.value_and_gradient = lambda self, picture: (TERMS, Gradient())
sys.exit(worker.main())
"""


def test_an_optimisation_step_that_is_not_finished_is_found_out(tmp_path):
    pytest.importorskip("mxnet", reason="needs an engine")
    outcome = measure(tmp_path, "gatys", "texture", LAZY)
    assert outcome.status == "error"
    assert re.fullmatch(r"not synchronised: samples say 1 ms a call, the results took \d+ ms a call", outcome.reason)


def test_an_honest_cell_says_how_many_samples_it_took_and_left_out(tmp_path):
    pytest.importorskip("mxnet", reason="needs an engine")
    for method, metric in (("texture_net", "latency_s"), ("gatys", "iteration_s")):
        program = "import sys; from bench.run import worker; sys.exit(worker.main())"
        outcome = measure(tmp_path, method, "texture", program)
        assert outcome.status == "ok", outcome.reason
        counts = [sum(name == wanted for name, *_ in outcome.samples) for wanted in (metric, f"warm_up_{metric}")]
        assert counts == [outcome.info["timed_samples"] - outcome.info["dropped_samples"],
                          outcome.info["dropped_samples"]]  # fmt: skip
        assert len(outcome.info["cpu_mhz"]) == 2
        assert "objective" not in {name for name, *_ in outcome.samples}  # the gate scores nothing


# ------------------------------------------------------------------------------------------------------ warm-up

TIMES = st.lists(st.floats(1e-4, 10.0), max_size=60)
EVEN = st.lists(st.floats(0.99, 1.01), min_size=6, max_size=60)


@pytest.mark.parametrize(
    ("samples", "dropped"),
    [
        ([], 0),
        ([9.0, 1.0, 1.0], 0),  # too few to tell
        ([9.0, 9.0, 1.0, 1.0, 1.0], 0),
        ([1.0] * 10, 0),
        ([2.0, 1.0, 1.0, 1.0, 1.0, 1.0], 1),
        ([3.0, 2.0, 1.5, 1.2, 1.0, 1.01, 0.99, 1.0, 1.02, 1.0], 4),
        ([3.0, 2.0, 1.0, 1.0, 5.0, 1.0, 1.0, 1.0, 1.0, 1.0], 2),  # a slow one in the middle is no warm-up
        ([1.0, 1.0, 5.0, 1.0, 1.0, 1.0, 1.0, 1.0], 0),
        ([2.0, 1.0, 1.0, 1.0, 1.0, 9.0, 1.0, 1.0], 1),  # nor does one change what is usual
        ([4.0, 3.9, 3.8, 3.7, 3.6, 3.5, 1.0, 1.0, 1.0, 1.0], 5),  # half at most
        ([0.5, 0.6, 0.8, 1.0, 1.0, 1.0, 1.0, 1.0], 0),  # becoming slower is drift, not warm-up
        ([1.2, 1.0, 1.5, 0.7, 1.2, 0.8, 1.4, 0.6, 1.0, 1.3], 0),  # noise
    ],
)
def test_leading_samples_that_are_still_slower_are_dropped(samples, dropped):
    assert meters.settled(samples) == dropped


@given(TIMES)
def test_at_most_half_is_dropped_and_what_stays_first_is_not_slow(samples):
    dropped = meters.settled(samples)
    assert 0 <= dropped <= len(samples) // 2
    assert meters.settled([4.0 * value for value in samples]) == dropped  # whatever the unit
    if dropped:
        assert min(samples[:dropped]) > statistics.median(samples[len(samples) // 2 :])


@given(EVEN, st.integers(0, 30), st.floats(1.5, 50.0))
def test_a_slow_beginning_is_dropped_whole(even, slow, factor):
    slow = min(slow, len(even))
    beginning = [factor * (1 + 0.01 * (slow - index)) for index in range(slow)]
    samples = beginning + even
    assert meters.settled(samples) == slow


def test_the_report_says_how_many_were_left_out():
    def record(dropped: int, timed: int) -> dict:
        return {"info": {"dropped_samples": dropped, "timed_samples": timed}}

    assert run_facts.warm_up([]) == "" == run_facts.warm_up([record(0, 10), {"info": {}}, {}, {"info": None}])
    assert run_facts.warm_up([record(3, 10)]) == (
        "3 of 10 timed samples were slower than the rest and were left out as warm-up (in the one cell); "
        "samples.csv has them as warm_up_latency_s and warm_up_iteration_s."
    )
    assert "5 of 30 timed samples" in run_facts.warm_up([record(1, 10), record(4, 10), record(0, 10)])
    assert "(in 2 of 3 cells, at most 4 in one)" in run_facts.warm_up([record(1, 10), record(4, 10), record(0, 10)])
    assert run_facts.warm_up([record("3", 10), record(True, None)]) == ""


# -------------------------------------------------------------------------------------------------------- drift


def noisy(count: int, change: float, noise: float = 0.01, seed: int = 0) -> list[float]:
    """Times that grow by ``change`` from first to last, with noise."""
    chance = random.Random(seed)
    return [0.1 * (1 + change * index / (count - 1)) * (1 + chance.gauss(0, noise)) for index in range(count)]


@pytest.mark.parametrize("count", [12, 500])
@pytest.mark.parametrize("change", [0.3, 0.1, -0.1])
def test_a_drift_is_measured(count, change):
    assert meters.drift(noisy(count, change)) == pytest.approx(change / (1 + change / 2), abs=0.02)


@pytest.mark.parametrize("seed", range(20))
def test_noise_and_outliers_are_no_drift(seed):
    chance = random.Random(seed)
    samples = noisy(60, 0.0, noise=0.1, seed=seed)
    assert abs(meters.drift(samples)) < 0.05
    for where in chance.sample(range(60), 6):
        samples[where] *= 10
    assert abs(meters.drift(samples)) < 0.1


def test_few_even_or_empty_samples_do_not_drift():
    assert meters.drift([]) == meters.drift([1.0]) == meters.drift([1.0, 2.0, 3.0, 4.0]) == 0.0
    assert meters.drift([1.0] * 50) == 0.0 == meters.drift([0.0] * 50)


@given(TIMES)
def test_drift_has_a_direction_and_no_unit(samples):
    drift = meters.drift(samples)
    assert meters.drift([4.0 * value for value in samples]) == pytest.approx(drift)
    if drift:
        backwards = meters.drift(samples[::-1])
        assert len(samples) > 40 or backwards == pytest.approx(-drift)


def test_the_drift_of_a_cell_is_on_record():
    outcome = Outcome("ok", samples=[("latency_s", "s", value, "") for value in noisy(40, 0.2)])
    cell = small_plan().cells[0]
    assert scheduler.cell_record(cell, outcome, 1, {})["drift"] == pytest.approx(0.18, abs=0.03)
    assert scheduler.cell_record(cell, Outcome("error"), 1, {})["drift"] is None
