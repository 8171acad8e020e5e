"""One plan measured again, at other hours: what each run says of a speed-up agrees with what the others say."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pandas as pd
import pytest

REPEATS = Path(__file__).resolve().parents[1] / "results" / "repeats"


@pytest.fixture(scope="module")
def runs() -> dict[str, pd.DataFrame]:
    found = {path.parent.name: pd.read_csv(path) for path in sorted(REPEATS.glob("*/summary.csv"))}
    return {name: table[table["metric"] == "speedup_at_equal_loss"] for name, table in found.items()}


def test_they_are_runs_of_one_plan(runs):
    meta = [json.loads((REPEATS / name / "run.json").read_text()) for name in runs]
    assert len(meta) >= 2 and len({run["plan_fingerprint"] for run in meta}) == 1
    starts = sorted(pd.Timestamp(run["created"]) for run in meta)
    assert all((after - before).total_seconds() > 900 for before, after in zip(starts, starts[1:]))


def test_their_intervals_overlap_in_all_pairs(runs):
    where = ["method", "task", "size"]
    for one, other in itertools.combinations(runs.values(), 2):
        pairs = one.merge(other, on=where, suffixes=("", "_other"))
        assert len(pairs) == len(one) >= 3
        assert (pairs["low"] <= pairs["high_other"]).all() and (pairs["low_other"] <= pairs["high"]).all()
