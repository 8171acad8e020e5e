"""results/presets: its table is what the summaries say, and each run is of the preset that it is named after."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from bench.report.generated import part

PRESETS = Path(__file__).resolve().parent.parent / "results" / "presets"


def test_the_table_says_what_the_summaries_say(results_script):
    page = results_script("presets", "page")
    table = page.table()
    assert part(PRESETS / "README.md", "presets") == table
    cells = [line.split(" | ") for line in table.splitlines()[2:]]
    for preset, run in page.RUNS.items():
        assert json.loads((run / "run.json").read_text(encoding="utf-8"))["settings"]["preset"] == preset
        summary = pd.read_csv(run / "summary.csv")
        found = summary[summary["size"] == page.SIZE]
        found = found[found["style_name"].fillna(page.STYLE) == page.STYLE]
        values = found[found["batch"] == 1].set_index(["method", "task", "metric"])["value"]
        mine = [cell for cell in cells if cell[2] == f"`{preset}`"]
        assert len(mine) == 4, "three stylising nets and a texture network"
        for task, net, _, evaluations, ratio, _ in mine:
            task, net = task.strip("| "), net.strip("`")
            wanted = values["gatys", task, f"iterations_to_target_{net}"]
            assert 0 <= wanted - float(evaluations.strip("≥ ")) < 1, "in whole evaluations"
            # Time to the objective over the time of a picture, from other rows of the summary.
            again = values["gatys", task, f"time_to_target_{net}_s"] / values[net, task, "latency_s"]
            assert float(ratio.strip("≥ ").split("x")[0].replace(",", "")) == pytest.approx(again, rel=0.15)
