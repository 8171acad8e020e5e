"""The committed learning curves follow from the logs of the nets and of optimisation, worked out in plain numpy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.report.generated import part
from nst_gluon import assets

RESULTS = Path(__file__).resolve().parent.parent / "results"


def test_the_record_follows_from_logs_and_optimisation(results_script):
    optimisation = pd.read_csv(RESULTS / "learning" / "optimisation.csv")
    record = pd.read_csv(RESULTS / "learning" / "learning.csv")
    nets = [net for net in assets.nets() if net.task == "stylize"]
    assert set(zip(record["style"], record["method"])) == {(net.style, net.method) for net in nets}
    for net in nets:
        rows = record[(record["style"] == net.style) & (record["method"] == net.method)]
        last, about = rows.iloc[-1], json.loads(net.record.read_text(encoding="utf-8"))
        before, start = 0, about["start"]
        while start and net.style in start["command"]:
            before, start = before + start["iterations"], start.get("start")
        assert 0 <= about["iterations"] + before - last["steps"] < 150
        assert rows["held_out"].min() == pytest.approx(about["held_out"], rel=1e-3)
        runs = [group["objective"].to_numpy() for _, group in optimisation[optimisation["style"] == net.style]
                .groupby("picture")]  # fmt: skip
        lowest = np.mean([np.minimum.accumulate(run) for run in runs], axis=0)
        reached = np.argmax(lowest <= rows["held_out"].min()) + 1  # the first evaluation that is as low
        assert reached - 1 <= rows["evaluations"].max() <= reached
    assert part(RESULTS / "learning" / "README.md", "learning") == results_script("learning", "curves").table(
        record, optimisation)  # fmt: skip
