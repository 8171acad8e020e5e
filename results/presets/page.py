"""The table of README.md here, from the summaries beside it.

    python results/presets/page.py
"""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd

from bench.report.generated import write_part

HERE = Path(__file__).resolve().parent
# The runs by preset; the nets were trained under the first.
RUNS = {
    "texture_net_relative": HERE / "texture_net_relative",
    "texture_net": HERE / "texture_net",
    "gatys": HERE / "gatys",
}
STYLE, SIZE = "great_wave", 256
OLDER = RUNS["texture_net_relative"]  # its coarse-to-fine optimisation is an older one


def table() -> str:
    """A row for each net under each preset."""
    lines = ["| picture | net | preset | evaluations | speed-up at equal loss | against coarse to fine |",
             "| --- | --- | --- | ---: | ---: | ---: |"]  # fmt: skip
    rows = {}
    for preset, run in RUNS.items():
        summary = pd.read_csv(run / "summary.csv")
        ours = summary["style_name"].fillna(STYLE) == STYLE  # a run of one style does not name it
        summary = summary[ours & (summary["size"] == SIZE) & (summary["batch"] == 1)]
        found = summary.set_index(["method", "task", "metric"])
        for row in summary[summary["metric"] == "speedup_at_equal_loss"].itertuples():
            bound = "≥ " if row.status == "lower bound" else ""
            evaluations = found.loc[("gatys", row.task, f"iterations_to_target_{row.method}"), "value"]
            strong = found.loc[(row.method, row.task, "speedup_over_gatys_pyramid"), "value"]
            strong = "" if run == OLDER else f"{strong:,.0f}x"
            rows[row.task, row.method, preset] = (
                f"| {row.task} | `{row.method}` | `{preset}` | {bound}{math.floor(evaluations):,} "
                f"| {bound}{row.value:,.0f}x [{row.low:,.0f}, {row.high:,.0f}] | {strong} |"
            )
    order = list(RUNS)
    lines += [rows[key] for key in sorted(rows, key=lambda key: (*key[:2], order.index(key[2])))]
    return "\n".join(lines)


if __name__ == "__main__":
    write_part(HERE / "README.md", "presets", table())
