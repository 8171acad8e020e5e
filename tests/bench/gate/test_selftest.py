"""What the self-test says of invented machines: steady ones detect small changes, noisy ones only large ones."""

from __future__ import annotations

import json

import numpy as np
import pytest
from test_verdicts import CELL, rounds_of_samples

from bench.gate import selftest
from bench.gate.verdicts import Rules

FINGERPRINT = {"cpu": "Imaginary 1", "cores": 2, "threads": 2, "gpu": None, "dtypes": ["float32"]}


def machine(noise: float, rounds: int = 12):
    rng = np.random.default_rng(0)
    return rounds_of_samples(rng, rounds=rounds, draw=lambda n: np.full(n, np.exp(rng.normal(0, noise))))


@pytest.fixture(scope="module")
def steady():
    return selftest.analyse(machine(0.005), Rules(), most=8, gates=80)


def test_a_steady_machine_detects_little_more_than_the_floor_and_gives_no_false_alarm(steady):
    (row,) = steady
    assert row["verdict"] == "same"
    assert row["false_alarm_rate"] == 0
    assert 0.05 < row["smallest_detected"] < 0.12
    assert row["blocks"] == 48
    assert row["standard_deviation"] == pytest.approx(0.005, rel=0.3)
    # Two of them differ by sqrt(2) standard deviations; 95 % of the differences are below 1.96 of those.
    assert row["between_two"] == pytest.approx(1.96 * np.sqrt(2) * 0.005, rel=0.3)


def test_a_noisy_machine_detects_only_large_changes_and_still_gives_no_false_alarm(steady):
    (row,) = selftest.analyse(machine(0.08), Rules(), most=8, gates=80)
    assert row["false_alarm_rate"] <= 0.02
    assert row["smallest_detected"] is None or row["smallest_detected"] > 1.5 * steady[0]["smallest_detected"]


def test_too_few_rounds_tell_the_spread_and_nothing_more():
    (row,) = selftest.analyse(machine(0.01, rounds=2), Rules(), most=8, gates=20)
    assert row["false_alarm_rate"] is None and row["smallest_detected"] is None
    text = selftest.table({"rows": [row], "rounds": 2, "seconds": 1.0, "warnings": []})
    assert text.count("too few rounds") == 2 and "none up to" not in text
    assert row["between_two"] > 0


def test_what_is_kept_for_a_machine_is_found_for_it_alone(steady, tmp_path):
    result = {"fingerprint": FINGERPRINT, "rows": steady, "rounds": 12, "seconds": 1.0, "warnings": ["busy"]}
    path = selftest.keep(tmp_path, result)
    assert json.loads(path.read_text())["rounds"] == 12
    assert steady[0]["between_two"] < 0.05  # below the floor that comparisons in rounds have
    assert selftest.floors(tmp_path, FINGERPRINT) == {(CELL, "latency_s"): 0.05}
    selftest.keep(tmp_path, {**result, "rows": [{**steady[0], "between_two": 0.2}, {**steady[0], "between_two": None}]})
    assert selftest.floors(tmp_path, FINGERPRINT) == {(CELL, "latency_s"): 0.2}
    assert selftest.floors(tmp_path, {**FINGERPRINT, "cores": 4}) == {}
    path.write_text("{")
    assert selftest.floors(tmp_path, FINGERPRINT) == {}


def test_the_table_names_everything(steady):
    text = selftest.table({"rows": steady, "rounds": 12, "seconds": 61.2, "warnings": ["busy machine"]})
    assert CELL in text and "latency_s" in text and "0.0%" in text and "warning: busy machine" in text
