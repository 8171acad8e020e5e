"""A bundled net that was trained from random weights comes out of its own command again."""

from __future__ import annotations

import csv
import json
import shlex
import subprocess
import sys
import time

import pytest

from nst_gluon import assets
from nst_gluon.training.run_folder import LOG_COLUMNS

STEPS = 100
PATHS = [info.path for info in assets.nets()]
FROM_RANDOM = [path for path in PATHS if json.loads(path.with_suffix(".json").read_text())["start"] is None]


def log(path) -> list[list[str]]:
    """A training's log but for its seconds, which no two trainings share."""
    seconds = LOG_COLUMNS.index("seconds")
    with path.open(newline="") as file:
        rows = [row for row in csv.reader(file) if len(row) == len(LOG_COLUMNS)]
    return [[*row[:seconds], *row[seconds + 1 :]] for row in rows[1 : STEPS + 1]]


@pytest.mark.slow
@pytest.mark.parametrize("net", FROM_RANDOM[-2:], ids=lambda net: net.stem)
def test_its_command_repeats_its_first_steps(net, tmp_path):
    """Bit for bit, as its log has them, on a machine whose arithmetic is that of the one which trained it."""
    pytest.importorskip("mxnet")
    meta = json.loads(net.with_suffix(".json").read_text())
    command = [sys.executable, *shlex.split(meta["command"])[1:], "--threads", "1", "--output", str(tmp_path), "-q"]
    assert command[1:4] == ["-m", "nst_gluon", "train"]
    made = tmp_path / f"{net.stem}.csv"
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 600
        while child.poll() is None and time.monotonic() < deadline and not (made.exists() and len(log(made)) == STEPS):
            time.sleep(1)
    finally:
        child.terminate()
        _, said = child.communicate()
    if "bfloat16" in said:
        pytest.skip(f"this processor cannot repeat it: {said.strip()}")
    again, before = log(made), log(net.with_suffix(".csv"))
    assert len(again) == STEPS, said
    objective = LOG_COLUMNS.index("objective") - 1
    assert float(again[0][objective]) == pytest.approx(float(before[0][objective]), rel=0.02)
    # The first digit that differs is the processor's; where there is none in the first step, there is none at all.
    if again[0] == before[0]:
        assert again == before
