"""Small plans and workers for the tests of the harness."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench.plan import build, cells, outside
from bench.plan.budgets import BUDGETS

FAKE = Path(__file__).with_name("fake_worker.py")
QUICK = BUDGETS["quick"]
SETTINGS = cells.Settings(
    style="great_wave",
    content="astronaut",
    nets=(("johnson/stylize", "j.npz"), ("texture_net/stylize", "s.npz"), ("texture_net/texture", "t.npz")),
)


def small_plan(**changes) -> cells.Plan:
    """Both tasks with all methods at one size, unless ``changes`` says otherwise."""
    arguments = {
        "engines": ["gluon"],
        "method_names": ["gatys", "johnson", "texture_net"],
        "tasks": ["texture", "stylize"],
        "sizes": [64],
        "batches": [1],
        "dtypes": ["float32"],
        "devices": ["cpu"],
        "seed": 0,
        "repeats": 1,
        "budget": QUICK,
        "settings": SETTINGS,
        **changes,
    }
    arguments["methods"] = outside.facts(arguments.pop("method_names"))
    return build.build(**arguments)


def samples_of(task: str, seed: int) -> int:
    """Rows of a fake generator's cell in samples.csv: its calls, and in its first process what it scores."""
    calls, draws = 3, QUICK.draws
    return calls + (0 if seed else draws if task == "texture" else 1)


def fake_command(modes: dict[str, str] | None = None) -> list[str]:
    """How to start the fake worker with a mode by cell key ("*": all others)."""
    return [sys.executable, "-S", str(FAKE), json.dumps(modes or {})]


def with_settings(of: cells.Plan, **changes) -> cells.Plan:
    return dataclasses.replace(of, settings=dataclasses.replace(of.settings, **changes))


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def wait_until(condition, seconds: float = 10.0) -> bool:
    """Poll ``condition`` until it holds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return bool(condition())


def environment() -> dict[str, str]:
    """The environment of a child process that imports this checkout."""
    return {**os.environ, "PYTHONPATH": str(FAKE.parent.parent)}


def run_module(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """``python -m ARGUMENTS`` of this checkout; ``options`` are those of subprocess.run."""
    usual = {"env": environment(), "capture_output": True, "text": True, "timeout": 900, "stdin": subprocess.DEVNULL}
    return subprocess.run([sys.executable, "-m", *map(str, arguments)], **{**usual, **options})


def in_pairs(block):
    """What runs a gate's pairs of workers, from what stands for one worker: ``block(command, spec, **more)``."""
    return lambda starts: [block(**{k: v for k, v in vars(one).items() if k != "grace_s"}) for one in starts]
