"""Every number of the README's table of results, from a run's samples.csv and curves.csv alone: csv and numpy.

``python tests/recompute.py results/reference`` prints the table. Nothing of the suite's own analysis is imported, so
that a mistake there cannot hide here.
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

BASELINE = "gatys"


def rows_of(path: Path) -> list[dict[str, str]]:
    """A table of a run; of runs before photos and styles had columns, with empty ones."""
    with open(path, newline="", encoding="utf-8") as stream:
        return [{"photo": "", "style_name": "", **row} for row in csv.DictReader(stream)]


def crossing(points: list[tuple[float, float, float]], target: float) -> float:
    """Seconds of a curve (seconds, iteration, objective) to a target; NaN if it never gets there.

    The seconds of the first evaluation, and from there evaluations times the median step.
    """
    seconds, iteration, objective = map(np.array, zip(*points))
    step = np.median(np.diff(seconds) / np.diff(iteration)) if len(seconds) > 1 else 0.0
    (below,) = np.nonzero(objective <= target)
    if not len(below):
        return float("nan")
    after = int(below[0])
    at = iteration[0]
    if after:
        above = after - 1
        part = np.log(objective[above] / target) / np.log(objective[above] / objective[after])
        at = iteration[above] + part * (iteration[after] - iteration[above])
    return float(seconds[0] + (at - iteration[0]) * step)


def recompute(run: Path) -> list[dict[str, object]]:
    """A row for each style, task, size and net: latency_s, optimisation_s, speedup, net_bytes, optimisation_bytes."""
    processes, scores, curves = (defaultdict(lambda: defaultdict(list)) for _ in range(3))
    for row in rows_of(run / "samples.csv"):
        if (row["batch"], row["dtype"], row.get("engine", "gluon")) == ("1", "float32", "gluon"):
            place = row["style_name"], row["task"], int(row["size"]), row["method"]
            processes[(*place, row["metric"])][row["seed"]].append(float(row["value"]))
            if row["metric"] == "objective":
                scores[place][row["photo"]].append(float(row["value"]))
    for row in rows_of(run / "curves.csv"):
        if (row["method"], row["dtype"], row.get("engine", "gluon")) == (BASELINE, "float32", "gluon"):
            place = row["style_name"], row["task"], int(row["size"])
            point = tuple(float(row[name]) for name in ("seconds", "iteration", "objective"))
            curves[place][row["photo"], row["seed"]].append(point)

    def median(place: tuple, metric: str) -> float:
        found = processes[(*place, metric)].values()
        return float(np.median([np.median(values) for values in found])) if found else float("nan")

    table = []
    for place in sorted(scores):
        latency = median(place, "latency_s")
        if place[-1] == BASELINE or np.isnan(latency):
            continue
        by_photo = defaultdict(list)
        for (photo, _), points in curves[place[:3]].items():
            if photo in scores[place]:
                by_photo[photo].append(crossing(points, float(np.median(scores[place][photo]))))
        if not by_photo:
            continue
        seconds = float(np.median([np.median(times) for times in by_photo.values()]))
        optimisation = (*place[:3], BASELINE)
        table.append({
            "style_name": place[0], "task": place[1], "size": place[2], "method": place[3], "latency_s": latency,
            "optimisation_s": seconds, "speedup": seconds / latency,
            "net_bytes": median(place, "working_memory_bytes"),
            "optimisation_bytes": median(optimisation, "working_memory_bytes"),
        })  # fmt: skip
    return table


if __name__ == "__main__":
    for line in recompute(Path(sys.argv[1])):
        where = " ".join(str(line[name]) for name in ("style_name", "task", "size", "method"))
        print(f"{where}: {1e3 * line['latency_s']:.0f} ms : {line['optimisation_s']:.1f} s, {line['speedup']:.0f}x, "
              f"{line['net_bytes'] / 1e6:.0f} : {line['optimisation_bytes'] / 1e6:,.0f} MB")  # fmt: skip
