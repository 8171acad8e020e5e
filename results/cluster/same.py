"""A run on two workers beside the same run on this machine: ``python results/cluster/same.py [FOLDER]``.

``--method all --size 64,96 --budget quick`` with the commands that the harness's page gives. Prints one line of JSON:
whether samples and summary have the same columns and metrics, and how many pictures are the same, bit for bit.
Optimisations that the clock ended after another number of steps are counted apart: their pictures have to differ.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

RUN = ["-m", "bench", "run", "--method", "all", "--size", "64,96", "--budget", "quick", "--threads", "1", "--quiet"]
WORKER = ["--no-nanny", "--nthreads", "1", "--resources", "machine=1", "--memory-limit", "0", "--death-timeout", "60"]


def run(*arguments: str) -> Path:
    """The folder of a run that every cell of is ok."""
    child = subprocess.run([sys.executable, *RUN, *arguments], stdout=subprocess.PIPE, text=True, check=True)
    return Path(child.stdout.splitlines()[-1]).parent


def main(folder: Path) -> None:
    here = run("--out", str(folder / "here"))
    dask = [sys.executable, "-m", "dask"]
    file, quiet = folder / "scheduler.json", {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    scheduler = [*dask, "scheduler", "--scheduler-file", file, "--port", "0", "--no-dashboard"]
    cluster = [subprocess.Popen(scheduler, **quiet)]
    try:
        while not file.exists():
            time.sleep(0.1)
        cluster += [subprocess.Popen([*dask, "worker", "--scheduler-file", file, *WORKER], cwd=folder, **quiet)
                    for _ in range(2)]  # fmt: skip
        there = run("--out", str(folder / "there"), "--cluster", str(file))
    finally:
        for process in cluster:
            process.kill()
            process.wait()
    cells = [{cell["key"]: cell for cell in map(json.loads, (path / "cells.jsonl").read_text().splitlines())}
             for path in (here, there)]  # fmt: skip
    same, ended_elsewhere, differ = [], [], []
    for key, one in cells[0].items():
        other = cells[1][key]
        made = ((path, cell["image"]) for path, cell in ((here, one), (there, other)))
        pictures = [(path / image).read_bytes() for path, image in made if image]
        if pictures:
            counted = one["evaluations"] == other["evaluations"]
            (same if pictures[0] == pictures[1] else differ if counted else ended_elsewhere).append(key)
    answer = {"cells": len(cells[0]), "same_cells": cells[0].keys() == cells[1].keys(), "same_pictures": len(same),
              "ended_by_the_clock_elsewhere": ended_elsewhere, "different_pictures": differ}  # fmt: skip
    for name in ("samples.csv", "summary.csv"):
        one, other = (pd.read_csv(path / name) for path in (here, there))
        answer[f"{name}: columns"] = list(one) == list(other)
        metrics = [set(part[["method", "task", "size", "metric"]].itertuples(index=False, name=None))
                   for part in (one, other)]  # fmt: skip
        answer[f"{name}: metrics"] = not [row for row in metrics[0] ^ metrics[1] if not row[-1].startswith("warm_up")]
    print(json.dumps(answer, indent=2))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main(Path(sys.argv[1] if sys.argv[1:] else tempfile.mkdtemp()))
