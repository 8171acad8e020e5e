"""How a run grows on a cluster: cells that sleep, on simulated workers of which some die with their cell.

``python results/cluster/simulate.py`` measures 100 to 2,000 cells on 64 workers, each a process of its own, and writes
growth.csv and growth.png beside itself. The bound is what longest-processing-time-first needs for the same groups.
Their times include what the deaths cost: a cell that takes its worker with it does so half-way, the first time.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parents[1] / "tests")]

import dask_cluster  # noqa: E402
from drive import INPUTS  # noqa: E402
from plans import QUICK, environment, small_plan  # noqa: E402

from bench.machine.environment import high_water_bytes  # noqa: E402
from bench.plan import shards  # noqa: E402
from bench.plan.cells import Plan  # noqa: E402
from bench.plan.durations import estimate_s  # noqa: E402
from bench.run import output, session  # noqa: E402
from bench.store import run_folder  # noqa: E402

COUNTS, WORKERS, MEAN_S = (100, 250, 500, 1000, 2000), 64, 2.0
COLUMNS = ("cells", "workers", "committed", "twice", "deaths", "seconds", "bound_seconds", "client_bytes")
PER_SIZE = 10  # both tasks of all methods, two seeds


def plan_of(cells: int) -> Plan:
    """A plan of so many cells at sizes from 16 up."""
    return small_plan(sizes=[16 + 8 * index for index in range(cells // PER_SIZE)], repeats=2)


def bound(times: list[float], workers: int) -> float:
    """Seconds that ``workers`` need for these, the longest first, each to the worker that is free first."""
    ends = [0.0] * workers
    for seconds in sorted(times, reverse=True):
        first = min(range(workers), key=ends.__getitem__)
        ends[first] += seconds
    return max(ends)


def measure(cells: int, workers: int, mean: float, folder: Path) -> dict[str, float]:
    """One run in a process of its own; ``mean`` is about the seconds of a cell."""
    plan = plan_of(cells)
    scale = mean / (sum(estimate_s(cell, QUICK) for cell in plan.cells) / len(plan.cells))
    times: dict[tuple, float] = {}
    for cell in plan.cells:
        seconds = dask_cluster.seconds_of(cell, scale) * (1.5 if dask_cluster.dies(cell.key) else 1.0)
        times[shards.group_of(cell)] = times.get(shards.group_of(cell), 0.0) + seconds
    with dask_cluster.running(workers, scale, folder) as found:
        command = [sys.executable, __file__, "client", found["address"], str(folder / "runs"), str(cells)]
        child = subprocess.run(command, env=environment(), stdout=subprocess.PIPE, text=True, check=True)
    told = json.loads(child.stdout.splitlines()[-1])
    (run,) = run_folder.list_runs(folder / "runs")
    lines = [json.loads(line)["key"] for line in (run["path"] / "cells.jsonl").read_text().splitlines()]
    starts = (folder / "starts.txt").read_text().split()[::2]
    assert told["status"] == session.OK and {record["status"] for record in run["cells"]} == {"ok"}
    return dict(zip(COLUMNS, (
        len(plan.cells), workers, len(set(lines)), len(lines) - len(set(lines)), len(starts) - len(lines),
        round(told["seconds"], 2), round(bound(list(times.values()), workers), 2), told["client_bytes"],
    )))  # fmt: skip


def client(address: str, out: str, cells: str) -> None:
    """What a user's own process does, and what it takes."""
    from bench.run import cluster

    plan, measured = plan_of(int(cells)), cluster.Run.measure
    seconds = []

    def timed(*arguments):
        begun = time.monotonic()
        try:
            return measured(*arguments)
        finally:
            seconds.append(time.monotonic() - begun)

    cluster.Run.measure = timed
    how = session.How(out=Path(out), ask=lambda *arguments: INPUTS, report=False, level=output.QUIET, cluster=address)
    status = session.execute(plan, how)
    print(json.dumps({"status": status, "seconds": seconds[0], "client_bytes": high_water_bytes()}))


def draw(rows: list[dict[str, float]], path: Path) -> None:
    """Time over cells, measured and bound."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4), constrained_layout=True)
    counts = [row["cells"] for row in rows]
    axes.plot(counts, [row["seconds"] for row in rows], "o-", color="#0b5394", label="measured")
    axes.plot(counts, [row["bound_seconds"] for row in rows], "s--", color="#b45f06", label="bound")
    axes.set(xlabel=f"cells of about {MEAN_S:g} s", ylabel="seconds", ylim=(0, None),
             title=f"{WORKERS} simulated workers, {dask_cluster.DEATHS:.0%} of the cells kill theirs")  # fmt: skip
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=150)


def main() -> None:
    rows = []
    for count in COUNTS:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure(count, WORKERS, MEAN_S, Path(folder)))
        print(json.dumps(rows[-1]), flush=True)
    pd.DataFrame(rows).to_csv(HERE / "growth.csv", index=False)
    draw(rows, HERE / "growth.png")


if __name__ == "__main__":
    client(*sys.argv[2:]) if sys.argv[1:2] == ["client"] else main()
