"""The committed trials of the gate: what they show, and that each verdict follows from the blocks' numbers."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[3]
GATE = ROOT / "results" / "gate"
FLOORS = {"latency_s": 0.05, "peak_memory_bytes": 0.02, "working_memory_bytes": 0.02}


@pytest.fixture(scope="module")
def trials() -> pd.DataFrame:
    return pd.read_csv(GATE / "trials.csv")


def red(trials: pd.DataFrame, kind: str) -> tuple[int, int]:
    gates = trials[trials["kind"] == kind].drop_duplicates("trial")
    return int((gates["exit_status"] == 1).sum()), len(gates)


def test_of_a_hundred_gates_on_unchanged_code_at_most_one_is_red(trials):
    alarms, gates = red(trials, "unchanged")
    assert gates >= 100
    assert alarms <= 1


@pytest.mark.parametrize("kind, metric", [("slower", "latency_s"), ("hungrier", "working_memory_bytes")])
def test_a_real_change_is_caught_nine_times_in_ten_within_five_minutes(trials, kind, metric):
    caught, gates = red(trials, kind)
    assert gates >= 10 and caught >= 0.9 * gates
    mine = trials[trials["kind"] == kind]
    assert mine["seconds"].max() < 300
    others = mine[(mine["metric"] != metric) & (mine["verdict"] == "slower")]
    assert others.empty


def ends(values: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    means = rng.choice(values, (20_000, len(values))).mean(axis=1)
    return tuple(np.exp(np.quantile(means, [0.025, 0.975])))


def test_every_verdict_follows_from_the_blocks(trials):
    """With another bootstrap, in plain numpy; at an edge, its own randomness may decide differently."""
    rng = np.random.default_rng(0)
    blocks = dict(iter(pd.read_csv(GATE / "blocks.csv").groupby(["kind", "trial", "metric"])))
    different = 0
    for row in trials.itertuples():
        table = blocks[(row.kind, row.trial, row.metric)].pivot(index="round", columns="position", values="value")
        block = np.log(table.to_numpy())
        pairs = np.concatenate([block[:, 1] - block[:, 0], block[:, 2] - block[:, 3]])
        own = np.concatenate([block[:, 3] - block[:, 0], block[:-1, 3] - block[1:, 0]])
        assert row.ratio == pytest.approx(np.exp(pairs.mean()))
        low, high = ends(pairs, rng)
        least = FLOORS[row.metric]
        floor = max(least, ends(own, rng)[1] - 1, 1 / ends(own, rng)[0] - 1)
        if len(block) < 4:
            found = "inconclusive"
        elif low > 1 + floor:
            found = "slower"
        elif high < 1 / (1 + floor):
            found = "faster"
        elif low >= 1 / (1 + least) and high <= 1 + least:
            found = "same"
        else:
            found = "inconclusive"
        different += found != row.verdict
    assert different <= 0.01 * len(trials)


@pytest.mark.parametrize("page", [GATE / "README.md", ROOT / "README.md"])
def test_the_pages_say_what_the_record_says(trials, page):
    found = importlib.util.spec_from_file_location("trials", GATE / "trials.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    assert module.summary(trials) in page.read_text(encoding="utf-8")
