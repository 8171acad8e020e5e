"""An orchestrator with fake workers and fake inputs, to be killed.

``python drive.py OUT [RUN] [MODES] [REPEATS] [CLUSTER]``
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from plans import fake_command, small_plan

from bench.plan.cells import Plan
from bench.run import session
from bench.store import run_folder
from nst_gluon.system import ending

INPUTS = {"pictures": {}, "weights": {"sha256": "0"}, "nets": {}}


def main(out: str, resume: str = "", modes: str = "{}", repeats: str = "2", where: str = "") -> int:
    path = run_folder.find_run(resume, Path(out), "--resume") if resume else None
    plan = Plan.from_dict(run_folder.read_run(path)) if path else small_plan(repeats=int(repeats))
    how = session.How(
        out=Path(out),
        resume=path,
        command=fake_command(json.loads(modes)),
        ask=lambda *arguments: INPUTS,
        report=False,
        arguments=["drive"],
        cluster=where or None,
    )
    return session.execute(plan, how)


if __name__ == "__main__":
    ending.program(lambda: main(*sys.argv[1:]))
