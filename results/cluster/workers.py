"""What training together costs on one machine: ``python results/cluster/workers.py`` writes workers.csv beside itself.

The texture network, 24 steps of 4 pictures of 64 x 64, in one process and in 2 and 4, each of one thread; and, so that
one process has the same batches, how far the learnt parameters are from it after the last step.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from nst_gluon.system import runtime  # noqa: E402

runtime.prepare(threads=1)

from nst_gluon import api  # noqa: E402
from nst_gluon.nets import netfile  # noqa: E402
from nst_gluon.training.config import TrainConfig  # noqa: E402
from nst_gluon.training.run_folder import train  # noqa: E402

COUNTS, SETTINGS = (1, 2, 4), {"task": "texture", "size": 64, "batch": 4, "iterations": 24, "recipe": "paper",
                               "random_weights": True}  # fmt: skip
WARM_UP = 4
COLUMNS = ("workers", "step_ms", "images_per_s", "images_per_s_and_worker", "largest_difference")


def measure(count: int, folder: Path) -> dict[str, float]:
    """One group's row; one process of the same parts gives what its parameters should be."""
    path = api.train("great_wave", output=folder / "together", workers=count, threads=1, **SETTINGS)
    seconds = pd.read_csv(path.with_suffix(".csv"))["seconds"]
    config = replace(TrainConfig(method="texture_net", style="great_wave", **SETTINGS), workers=count)
    alone = netfile.load(train(config, folder / "alone"))[0]
    found = netfile.load(path)[0]
    step = float(np.median(np.diff(seconds)[WARM_UP:]))
    apart = max(float(np.abs(found[name] - alone[name]).max()) for name in alone if "running" not in name)
    rate = SETTINGS["batch"] / step
    return dict(zip(COLUMNS, (count, round(1e3 * step, 1), round(rate, 2), round(rate / count, 2), f"{apart:.1e}")))


def main() -> None:
    rows = []
    for count in COUNTS:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure(count, Path(folder)))
        print(json.dumps(rows[-1]), flush=True)
    pd.DataFrame(rows).to_csv(HERE / "workers.csv", index=False)


if __name__ == "__main__":
    main()
