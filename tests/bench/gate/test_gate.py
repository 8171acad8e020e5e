"""The measuring of two checkouts, with workers that are invented: order, early stop, failures, and the record."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from plans import in_pairs, small_plan

from bench.gate import rounds
from bench.gate.revisions import Checkout
from bench.gate.verdicts import GATED_METRICS, NOTHING_MEASURED, PASS, REGRESSION, Rules, exit_status
from bench.run.outcome import Outcome

ROUND_S = 10.0


class Blocks:
    """Invented workers: ``shift`` multiplies the candidate's times, ``noise`` is per block; every block takes time."""

    def __init__(self, folder, shift=1.0, noise=0.005, fail=None):
        self.folder, self.shift, self.noise, self.fail = folder, shift, noise, fail
        self.rng, self.now, self.started, self.told = np.random.default_rng(0), 0.0, [], []

    def clock(self):
        return self.now

    def __call__(self, command, spec, *, timeout_s, log_path, marks, on_event, on_tick):
        side = "candidate" if str(self.folder / "candidate") in command[-1] else "baseline"
        assert marks["PYTHONPATH"].split(":")[0] == str(self.folder / side)
        assert spec["budget"]["score"] is False
        self.told.append((spec.get("turns", False), spec.get("available")))
        self.started.append((spec["cell"]["method"], side))
        self.now += ROUND_S / 4
        if self.fail == (spec["cell"]["method"], side):
            return Outcome("error", "crashed: it broke")
        factor = (self.shift if side == "candidate" else 1.0) * np.exp(self.rng.normal(0, self.noise))
        values = 0.02 * factor * np.exp(self.rng.normal(0, 0.01, 10))
        memory = 60e6 * np.exp(self.rng.normal(0, 0.001))
        return Outcome(
            "ok",
            samples=[*(("latency_s", "s", float(v)) for v in values), ("working_memory_bytes", "B", float(memory))],
            foreign_cores=0.1,
        )


def measured(tmp_path, blocks, limit=300.0, methods=("texture_net",), tasks=("texture",), able=(),
             metrics=GATED_METRICS, **plan):  # fmt: skip
    """``able``: the sides whose workers can take turns."""
    from bench.plan.budgets import GATE

    sides = {name: Checkout(name, tmp_path / name, name) for name in ("baseline", "candidate")}
    for name, side in sides.items():
        (side.folder / "bench" / "run").mkdir(parents=True)
        says = (Path(rounds.__file__).parents[1] / "run" / "worker.py").read_text() if name in able else ""
        (side.folder / "bench" / "run" / "worker.py").write_text(says)
    plan = small_plan(method_names=list(methods), tasks=list(tasks), budget=GATE, **plan)
    made = rounds.Gate(
        sides, plan, tmp_path / "out", Rules(), metrics, limit, run_pair=in_pairs(blocks), clock=blocks.clock
    )  # fmt: skip
    return made.measure()


def verdicts(found):
    return dict(zip(found.rows["metric"], found.rows["verdict"]))


def test_blocks_come_in_the_order_a_b_b_a_and_it_stops_when_all_is_clear(tmp_path):
    blocks = Blocks(tmp_path)
    found = measured(tmp_path, blocks)
    order = [side[0] for _, side in blocks.started]
    assert order == list("bccb") * found.rounds
    assert found.rounds == Rules().least_rounds
    assert found.stopped_because == "decided"
    assert set(verdicts(found).values()) == {"same"}


def test_noise_is_measured_until_the_time_is_spent(tmp_path):
    found = measured(tmp_path, Blocks(tmp_path, noise=0.5), limit=100.0)
    assert found.stopped_because == "time budget"
    assert verdicts(found)["latency_s"] == "inconclusive"
    assert 100.0 - 2 * ROUND_S <= found.seconds <= 100.0


def test_a_cell_that_reports_nothing_that_is_asked_for_has_one_round(tmp_path):
    found = measured(tmp_path, Blocks(tmp_path), metrics=("first_call_s", "iteration_s"))
    assert found.rounds == 1 and found.rows.empty and found.stopped_because == "decided"
    assert found.warnings == ["no first_call_s or iteration_s to compare: texture_net texture 64"]


def test_more_rounds_are_given_only_to_what_is_not_clear(tmp_path):
    noisy = Blocks(tmp_path)
    plain = noisy.__call__

    def sometimes(command, spec, **rest):
        noisy.noise = 0.5 if spec["cell"]["method"] == "johnson" else 0.005
        return plain(command, spec, **rest)

    sometimes.clock = noisy.clock
    found = measured(tmp_path, sometimes, limit=400.0, methods=("johnson", "texture_net"), tasks=("stylize",))
    count = {name: sum(method == name for method, _ in noisy.started) for name in ("johnson", "texture_net")}
    assert count["texture_net"] == 4 * Rules().least_rounds < count["johnson"]
    assert found.rounds == count["johnson"] // 4


@pytest.mark.parametrize("fail, status", [(None, PASS), (("johnson", "baseline"), NOTHING_MEASURED)])
def test_cells_for_which_no_time_was_left_are_named_and_pass_nothing(tmp_path, fail, status):
    blocks = Blocks(tmp_path, fail=fail)
    found = measured(tmp_path, blocks, limit=1.0, methods=("gatys", "johnson", "texture_net"), tasks=("stylize",))
    left = found.rows[found.rows["note"] == rounds.NO_ROUND]
    assert dict(zip(left["cell"], left["metric"])) == {
        "texture_net stylize 64": "latency_s", "gatys stylize 64": "iteration_s"
    }  # fmt: skip
    assert set(left["verdict"]) == {"inconclusive"}
    assert found.stopped_because == "time budget" and "texture_net stylize 64" in found.warnings[0]
    assert exit_status(found.rows, 0) == status
    assert exit_status(found.rows, 0, ["inconclusive"]) == REGRESSION


@pytest.mark.parametrize("side, broken", [("candidate", ["texture_net texture 64"]), ("baseline", [])])
def test_a_cell_that_fails_is_told_and_tried_no_more(tmp_path, side, broken):
    blocks = Blocks(tmp_path, fail=("texture_net", side))
    found = measured(tmp_path, blocks, methods=("texture_net", "gatys"))
    assert [failure["side"] for failure in found.failures] == [side]
    assert "it broke" in found.failures[0]["reason"]
    assert rounds.failed_cells(found.failures) == broken
    assert sum(method == "texture_net" for method, _ in blocks.started) <= 2
    assert "gatys texture 64" in set(found.rows["cell"])


def test_where_nothing_worked_there_are_failures_and_no_rows(tmp_path):
    found = measured(tmp_path, Blocks(tmp_path, fail=("texture_net", "baseline")), methods=("texture_net",))
    assert found.rows.empty and len(found.failures) == 1


def test_a_cell_counts_as_failed_only_where_the_baseline_could_do_it():
    failures = [{"cell": cell, "side": side} for cell, side in
                (("a", "baseline"), ("a", "candidate"), ("b", "candidate"), ("c", "candidate"))]  # fmt: skip
    assert rounds.failed_cells(failures) == ["b", "c"]
    assert rounds.failed_cells(failures, able=["a", "b"]) == ["a", "b"]  # of "a" some seeds worked, "c" is new


def test_a_block_that_takes_much_longer_than_others_of_its_cell_hangs(tmp_path):
    blocks, limits = Blocks(tmp_path), []

    def sometimes(*arguments, timeout_s, **rest):
        limits.append(timeout_s)
        outcome = blocks(*arguments, timeout_s=timeout_s, **rest)
        outcome.duration_s = [1.0, 1.0, 5.0, 4.0][min(len(limits) - 1, 3)]
        return outcome

    sometimes.clock = blocks.clock
    measured(tmp_path, sometimes)
    assert min(limits[:2]) > 100.0 and limits[2:6] == [60.0, 60.0, 100.0, 100.0]


def test_both_take_turns_with_half_of_the_memory_each(tmp_path, monkeypatch):
    monkeypatch.setattr(rounds, "memory_available_bytes", lambda: 2 * 10**9)
    blocks = Blocks(tmp_path)
    measured(tmp_path, blocks, able=("baseline", "candidate"))
    assert set(blocks.told) == {(True, 10**9)}


@pytest.mark.parametrize("able, device", [(("candidate",), "cpu"), (("baseline", "candidate"), "gpu")])
def test_one_after_the_other_where_a_worker_knows_no_turns_and_on_a_gpu(tmp_path, able, device):
    blocks = Blocks(tmp_path)
    measured(tmp_path, blocks, able=able, devices=[device])
    assert set(blocks.told) == {(False, None)}


def test_what_works_alone_only_is_measured_one_after_the_other(tmp_path):
    blocks = Blocks(tmp_path)

    def cramped(command, spec, **rest):
        outcome = blocks(command, spec, **rest)
        together = spec.get("turns") and "candidate" in command[-1]
        return Outcome("oom", "out of memory") if together else outcome

    cramped.clock = blocks.clock
    found = measured(tmp_path, cramped, able=("baseline", "candidate"))
    assert not found.failures and verdicts(found)["latency_s"] == "same"
    assert [turns for turns, _ in blocks.told] == [True, True, *[False] * 4 * found.rounds]
    assert len(found.samples[found.samples["metric"] == "working_memory_bytes"]) == 4 * found.rounds


def test_a_busy_machine_is_told(tmp_path):
    blocks = Blocks(tmp_path)

    def busy(*arguments, **rest):
        outcome = blocks(*arguments, **rest)
        outcome.foreign_cores = 0.9
        return outcome

    busy.clock = blocks.clock
    assert "busy machine" in measured(tmp_path, busy).warnings[0]


def test_names_of_cells_leave_out_what_is_usual():
    cell = small_plan().cells[0].columns()
    assert rounds.cell_name(cell) == f"{cell['method']} {cell['task']} 64"
    odd = {**cell, "batch": 4, "dtype": "bfloat16", "device": "gpu", "engine": "pytorch", "style_name": "brick"}
    assert rounds.cell_name(odd) == f"{cell['method']} {cell['task']} brick 64 batch-4 pytorch bfloat16 gpu"
