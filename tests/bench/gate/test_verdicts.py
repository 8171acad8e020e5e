"""The gate's verdicts on invented samples, against plain numpy and against what is true of how they were made."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bench.gate import verdicts
from bench.gate.verdicts import FASTER, INCONCLUSIVE, ORDER, SAME, SLOWER, Rules

CELL = "texture_net texture 256"


def rounds_of_samples(
    rng: np.random.Generator, rounds: int = 6, shift: float = 1.0, draw=None, drift: float = 0.0, unit: str = "s",
    samples: int = 10,
) -> pd.DataFrame:
    """A B B A samples around 20 ms: ``shift`` is the candidate's, ``drift`` grows per block, ``draw`` is noise."""
    metric = "latency_s" if unit == "s" else "peak_memory_bytes"
    draw = draw or (lambda n: np.exp(rng.normal(0, 0.02, n)))
    rows = []
    for block, (number, (position, side)) in enumerate(itertools.product(range(1, rounds + 1), enumerate(ORDER))):
        factor = (shift if side == "candidate" else 1.0) * (1 + drift) ** block
        for value in 0.02 * factor * draw(samples):
            rows.append((side, number, position, CELL, metric, unit, value))
    return pd.DataFrame(rows, columns=["side", "round", "position", "cell", "metric", "unit", "value"])


def only(rows: pd.DataFrame) -> pd.Series:
    assert len(rows) == 1
    return rows.iloc[0]


def heavy(rng):
    """Mostly steady, now and then many times as long."""
    return lambda n: 1 + 0.02 * np.abs(rng.standard_t(1.5, n))


def bimodal_blocks(rng):
    """A whole process is fast or 20 % slow, as with memory that lies well or badly."""
    return lambda n: np.exp(rng.normal(0, 0.005, n)) * rng.choice([1.0, 1.2])


NOISES = {
    "normal": lambda rng: None,
    "heavy tails": heavy,
    "two modes": bimodal_blocks,
    "one process in eight disturbed": lambda rng: lambda n: np.exp(rng.normal(0, 0.01, n))
    * (1 + (rng.random() < 1 / 8)),
}


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("drift", [0.0, 0.01, -0.01])
def test_unchanged_code_is_hardly_ever_red(noise, drift):
    rng = np.random.default_rng(1)
    found = [
        only(verdicts.compare_rounds(rounds_of_samples(rng, draw=NOISES[noise](rng), drift=drift)))["verdict"]
        for _ in range(60)
    ]
    assert found.count(SLOWER) + found.count(FASTER) <= 1


@pytest.mark.parametrize("drift", [0.0, 0.02])
@pytest.mark.parametrize("shift, expected", [(1.15, SLOWER), (0.85, FASTER), (1.0, SAME)])
def test_a_change_is_seen_through_drift(drift, shift, expected):
    rng = np.random.default_rng(2)
    row = only(verdicts.compare_rounds(rounds_of_samples(rng, shift=shift, drift=drift)))
    assert row["verdict"] == expected or (drift and row["verdict"] == INCONCLUSIVE and shift == 1.0)
    assert row["ratio"] == pytest.approx(shift, rel=0.03)
    assert row["low"] <= row["ratio"] <= row["high"]


def test_a_change_is_seen_through_heavy_tails():
    rng = np.random.default_rng(3)
    found = [
        only(verdicts.compare_rounds(rounds_of_samples(rng, shift=1.15, draw=heavy(rng))))["verdict"]
        for _ in range(20)
    ]
    assert found.count(SLOWER) >= 18


def test_noise_makes_it_inconclusive_and_never_the_same():
    rng = np.random.default_rng(4)
    wild = rounds_of_samples(rng, draw=lambda n: np.full(n, np.exp(rng.normal(0, 0.4))))
    row = only(verdicts.compare_rounds(wild))
    assert row["verdict"] == INCONCLUSIVE


def test_memory_is_gated_tighter_than_time():
    rng = np.random.default_rng(5)
    steady = {"draw": lambda n: np.full(n, np.exp(rng.normal(0, 0.002))), "shift": 1.04}
    assert only(verdicts.compare_rounds(rounds_of_samples(rng, unit="B", **steady)))["verdict"] == SLOWER
    assert only(verdicts.compare_rounds(rounds_of_samples(rng, unit="s", **steady)))["verdict"] == SAME


@pytest.mark.parametrize("rounds", [1, 2])
def test_few_rounds_decide_nothing(rounds):
    row = only(verdicts.compare_rounds(rounds_of_samples(np.random.default_rng(6), rounds=rounds, shift=2.0)))
    assert row["verdict"] == INCONCLUSIVE
    assert f"{rounds} of at least 3 rounds" in row["note"]


def test_no_samples_no_rows():
    rows = verdicts.compare_rounds(rounds_of_samples(np.random.default_rng(7)).iloc[:0])
    assert rows.empty
    assert list(rows.columns) == list(verdicts.ROW_COLUMNS)
    assert verdicts.exit_status(rows, 0) == verdicts.NOTHING_MEASURED


def test_a_round_that_lacks_a_block_and_values_that_are_no_times_do_not_count():
    rng = np.random.default_rng(8)
    whole = rounds_of_samples(rng, rounds=5, shift=1.3)
    odd = pd.concat([
        whole,
        whole[(whole["round"] == 1) & (whole["position"] < 3)].assign(round=6),
        whole[whole["round"] == 2].assign(value=np.nan),
        whole[whole["round"] == 3].assign(value=-1.0),
    ])
    pd.testing.assert_frame_equal(verdicts.compare_rounds(odd), verdicts.compare_rounds(whole))


def test_a_row_by_hand():
    rng = np.random.default_rng(9)
    samples = rounds_of_samples(rng, rounds=3, shift=1.1)
    row = only(verdicts.compare_rounds(samples))
    block = samples.groupby(["round", "position"])["value"].median().unstack().to_numpy()
    pairs = np.log(np.concatenate([block[:, 1] / block[:, 0], block[:, 2] / block[:, 3]]))
    assert row["ratio"] == pytest.approx(np.exp(pairs.mean()))
    assert row["n"] == 6
    assert row["baseline"] == pytest.approx(np.median(block[:, [0, 3]]))
    assert row["candidate"] == pytest.approx(np.median(block[:, [1, 2]]))
    half = 3.0029 * pairs.std(ddof=1) / np.sqrt(6)  # Student's t of 5 degrees of freedom, 97 %
    ends = np.exp(pairs.mean() - half), np.exp(pairs.mean() + half)
    assert (row["low"], row["high"]) == pytest.approx(ends, rel=1e-4)
    assert row["floor"] == 0.05


def test_all_looks_together_miss_the_truth_in_one_comparison_of_twenty_at_most():
    """Twenty rounds of normal pairs, an interval after each from the third on."""
    rng = np.random.default_rng(10)
    pairs = rng.normal(0.1, 0.05, (4000, 20, 2))
    missed = np.zeros(len(pairs), dtype=bool)
    first = None
    for count in range(3, 21):
        seen = pairs[:, :count].reshape(len(pairs), -1)
        level = verdicts.confidence(count, 3)
        half = stats.t.ppf((1 + level) / 2, 2 * count - 1) * seen.std(axis=1, ddof=1) / np.sqrt(2 * count)
        missed |= np.abs(seen.mean(axis=1) - 0.1) > half
        first = missed.mean() if first is None else first
        found = verdicts.interval(seen[0], level)
        assert (found.low, found.high) == pytest.approx((seen[0].mean() - half[0], seen[0].mean() + half[0]))
    assert 0.02 < first < missed.mean() < 0.053


@pytest.mark.parametrize("low, high, floor, expected", [
    (1.06, 1.2, 0.05, SLOWER), (1.05, 1.2, 0.05, INCONCLUSIVE), (1.06, 1.2, 0.10, INCONCLUSIVE),
    (0.8, 0.9, 0.05, FASTER), (0.8, 0.96, 0.05, INCONCLUSIVE), (0.96, 1.04, 0.05, SAME), (0.9, 1.1, 0.5, SAME),
    (0.94, 1.04, 0.05, INCONCLUSIVE), (0.5, 2.0, 0.05, INCONCLUSIVE),
    (math.nan, math.nan, 0.05, INCONCLUSIVE), (1.2, math.inf, 0.05, INCONCLUSIVE),
])  # fmt: skip
def test_verdicts(low, high, floor, expected):
    assert verdicts.verdict(low, high, floor) == expected


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0.001, 1000.0), min_size=1, max_size=12), st.floats(0.1, 10.0))
def test_scaling_both_sides_changes_no_ratio(values, factor):
    a = verdicts.pool_interval(values, [2 * v for v in values])
    b = verdicts.pool_interval([factor * v for v in values], [2 * factor * v for v in values])
    assert (a.value, a.low, a.high) == pytest.approx((b.value, b.low, b.high), nan_ok=True, abs=1e-9)
    assert a.value == pytest.approx(math.log(2))


# -------------------------------------------------------------------------------------------------------- pools


def pool(values, metric="latency_s", unit="s", cell=CELL):
    return pd.DataFrame({"cell": cell, "metric": metric, "unit": unit, "value": values})


def test_two_runs_are_compared_by_their_samples():
    rng = np.random.default_rng(11)
    a, b = 0.02 * np.exp(rng.normal(0, 0.02, 30)), 0.024 * np.exp(rng.normal(0, 0.02, 25))
    row = only(verdicts.compare_pools(pool(a), pool(b)))
    assert row["verdict"] == SLOWER
    assert row["ratio"] == pytest.approx(np.median(b) / np.median(a))
    assert row["n"] == 25
    draws = np.median(rng.choice(b, (4000, 25)), axis=1) / np.median(rng.choice(a, (4000, 30)), axis=1)
    assert (row["low"], row["high"]) == pytest.approx(np.quantile(draws, [0.025, 0.975]), rel=0.01)


def test_what_only_one_run_has_is_new_or_missing():
    rows = verdicts.compare_pools(pool([1.0, 2.0]), pool([1.0, 2.0], cell="johnson stylize 256"))
    assert dict(zip(rows["cell"], rows["verdict"])) == {CELL: "missing", "johnson stylize 256": "new"}
    assert verdicts.exit_status(rows, 0) == verdicts.NOTHING_MEASURED
    assert verdicts.exit_status(rows, 0, ["missing"]) == verdicts.REGRESSION


def test_one_sample_a_side_decides_on_memory_only():
    memory = {"metric": "peak_memory_bytes", "unit": "B"}
    assert only(verdicts.compare_pools(pool([0.0], **memory), pool([1e6], **memory)))["verdict"] == INCONCLUSIVE
    assert only(verdicts.compare_pools(pool([100e6], **memory), pool([110e6], **memory)))["verdict"] == SLOWER
    assert only(verdicts.compare_pools(pool([100e6], **memory), pool([101e6], **memory)))["verdict"] == SAME
    small = verdicts.compare_pools(pool([10e6], **memory), pool([11e6], **memory))
    assert only(small)["verdict"] == SAME, "less than the step in which an allocator takes memory"
    assert only(verdicts.compare_pools(pool([1.0]), pool([2.0])))["verdict"] == INCONCLUSIVE


def test_a_machine_that_is_known_to_be_noisy_has_a_higher_floor():
    rules = Rules(floor_of={(CELL, "latency_s"): 0.3})
    row = only(verdicts.compare_pools(pool([1.0, 1.01, 1.02]), pool([1.2, 1.21, 1.22]), rules))
    assert row["floor"] == 0.3
    assert row["verdict"] == SAME


@pytest.mark.parametrize("a, b", [([], [1.0]), ([math.nan], [1.0]), ([0.0, -1.0], [1.0, 2.0]), ([math.inf], [1.0])])
def test_nothing_usable_is_inconclusive(a, b):
    rows = verdicts.compare_pools(pool(a), pool(b))
    assert set(rows["verdict"]) <= {INCONCLUSIVE, "new"}


# ------------------------------------------------------------------------------------------------------- status


def table(*found):
    cells = [f"c{i}" for i in range(len(found))]
    return pd.DataFrame({"cell": cells, "metric": "latency_s", "n": 6, "verdict": found})


@pytest.mark.parametrize("found, failures, expected", [
    ((SAME, FASTER, INCONCLUSIVE), 0, 0), ((SAME, SLOWER), 0, 1), ((SAME, SLOWER), 2, 1), ((SAME,), 1, 2),
    ((), 1, 2), ((), 0, 3), (("incomparable",), 0, 3), (("new", "missing"), 0, 3), (("new", SAME), 0, 0),
])  # fmt: skip
def test_exit_status(found, failures, expected):
    assert verdicts.exit_status(table(*found), failures) == expected


def test_a_declared_slow_down_passes_and_another_does_not():
    rows = table(SLOWER, SLOWER)
    assert verdicts.exit_status(rows, 0, accepted=[("c0", "latency_s")]) == verdicts.REGRESSION
    assert verdicts.exit_status(rows, 0, accepted=[("c0", "latency_s"), ("c1", "latency_s")]) == verdicts.PASS
