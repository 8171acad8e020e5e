"""The committed trials of the gate: what today's rule says of their blocks, against the same in plain numpy."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bench.report.generated import part

GATE = Path(__file__).resolve().parents[3] / "results" / "gate"
FLOORS = {"latency_s": 0.05, "peak_memory_bytes": 0.02, "working_memory_bytes": 0.02}


def load():
    found = importlib.util.spec_from_file_location("trials", GATE / "trials.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


TRIALS = load()


@pytest.fixture(scope="module")
def blocks() -> pd.DataFrame:
    return pd.read_csv(GATE / "blocks.csv")


@pytest.fixture(scope="module")
def replayed(blocks) -> pd.DataFrame:
    return TRIALS.replay(blocks)


@pytest.fixture(scope="module")
def shifted(blocks) -> pd.DataFrame:
    return TRIALS.replay(blocks[blocks["kind"] == "unchanged"], 1.15)


def red(rows: pd.DataFrame, kind: str) -> float:
    mine = rows[rows["kind"] == kind]
    return mine.loc[mine["verdict"] == "slower", "trial"].nunique() / mine["trial"].nunique()


def test_of_a_hundred_gates_on_unchanged_code_at_most_one_is_red(replayed):
    assert replayed.loc[replayed["kind"] == "unchanged", "trial"].nunique() >= 100
    assert red(replayed, "unchanged") <= 0.01


@pytest.mark.parametrize("kind, metric", [("slower", "latency_s"), ("hungrier", "working_memory_bytes")])
def test_a_real_change_is_caught_nine_times_in_ten_within_a_minute(replayed, kind, metric):
    assert red(replayed, kind) >= 0.9
    others = replayed[(replayed["kind"] == kind) & (replayed["metric"] != metric)]
    assert not others["verdict"].eq("slower").any()
    trials = pd.read_csv(GATE / "trials.csv")
    assert trials["seconds"].max() < 90 and trials["kind"].eq(kind).sum() >= 10


def test_a_slow_down_of_the_recorded_blocks_is_caught_nine_times_in_ten(shifted):
    assert red(shifted, "unchanged") >= 0.9


@pytest.mark.parametrize("metric", FLOORS)
def test_the_intervals_of_unchanged_code_hold_1_as_often_as_they_say(replayed, metric):
    mine = replayed[(replayed["kind"] == "unchanged") & (replayed["metric"] == metric)]
    assert TRIALS.covering(mine) >= 0.95


def test_every_interval_and_verdict_follows_from_the_blocks(replayed, blocks):
    tables = dict(iter(blocks.groupby(["kind", "trial", "metric"])))
    for row in replayed.itertuples():
        table = tables[(row.kind, row.trial, row.metric)].pivot(index="round", columns="position", values="value")
        block = np.log(table.to_numpy())[: row.n // 2]
        pairs = np.concatenate([block[:, 1] - block[:, 0], block[:, 2] - block[:, 3]])
        error = 0.03 / max(1, len(block) - 2)
        half = stats.t.ppf(1 - error / 2, len(pairs) - 1) * pairs.std(ddof=1) / np.sqrt(len(pairs))
        low, high = np.exp([pairs.mean() - half, pairs.mean() + half])
        assert (row.ratio, row.low, row.high) == pytest.approx((np.exp(pairs.mean()), low, high))
        edge = 1 + FLOORS[row.metric]
        clear = "slower" if low > edge else "faster" if high < 1 / edge else "same"
        within = clear == "same" and not (low >= 1 / edge and high <= edge)
        assert row.verdict == ("inconclusive" if len(block) < 3 or within else clear)


def test_the_page_says_what_the_record_says(replayed, shifted):
    assert part(GATE / "README.md", "gate") == TRIALS.summary(pd.read_csv(GATE / "trials.csv"), replayed, shifted)


def test_the_readme_has_the_same_table():
    """The first table of the record: what is promised on the project's first page is what was measured."""
    ours, record = (part(path, "gate") for path in (GATE.parents[1] / "README.md", GATE / "README.md"))
    assert ours == record.split("\n\n")[0]
