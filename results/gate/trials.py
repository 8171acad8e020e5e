"""Does the gate keep its promises? Real gates on unchanged code and on patched copies, one line of record each.

    python results/gate/trials.py unchanged --count 100      the same code twice
    python results/gate/trials.py slower    --count 10       one generator is 15 % slower in a patched copy
    python results/gate/trials.py hungrier  --count 10       its working memory is 5 % larger in a patched copy
    python results/gate/trials.py summary                    what the record says

The last core is kept busy meanwhile, unless ``--loaded`` says that it is; the gates run on the others. Each trial is
one ``python -m bench compare`` of two revisions of a clone of this repository. The record is trials.csv (exit status
then, rounds, seconds, load) and blocks.csv (the number of every block); both are appended to, so an interrupted series
goes on where it was. The summary judges the recorded blocks by the present rule, round by round as a gate does
(:func:`replay`).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from bench.gate import verdicts
from bench.gate.verdicts import CANDIDATE, INCONCLUSIVE, ORDER, SLOWER, Rules

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parent.parent
PLAN = ["--method", "texture_net", "--task", "texture", "--size", "128", "--threads", "1"]
TIME_S = "60"
WORKING_BYTES = 37e6  # of the texture network at 128, as the gate itself measures it

# Appended to nst_gluon/nets/trained_net.py of the candidate: real work and real memory, in proportion.
PATCHES = {
    "slower": '''

def _slower(forward):
    import time

    def call(self, *inputs):
        begun = time.perf_counter()
        pictures = forward(self, *inputs)
        pictures.wait_to_read()
        until = time.perf_counter() + 0.15 * (time.perf_counter() - begun)
        while time.perf_counter() < until:
            pass
        return pictures

    return call


TrainedNet.forward = _slower(TrainedNet.forward)
''',
    "hungrier": f'''

def _hungrier(forward):
    def call(self, *inputs):
        self._ballast = getattr(self, "_ballast", None) or bytearray(b"x") * {int(0.05 * WORKING_BYTES)}
        return forward(self, *inputs)

    return call


TrainedNet.forward = _hungrier(TrainedNet.forward)
''',
}
BURN = """
import os
parent = os.getppid()
os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
source, target, x = bytearray(64 << 20), bytearray(64 << 20), 0
while os.getppid() == parent:
    for i in range(300_000):
        x += i * i
    target[:] = source
"""
KINDS = {
    "unchanged": "the same code twice",
    "slower": "a copy that takes 15 % longer",
    "hungrier": "a copy that needs 5 % more working memory",
}
SHIFT = 1.15
SHIFTED = f"the same blocks, the candidate's times multiplied by {SHIFT}"
WATCHED = {"unchanged": "latency_s", "slower": "latency_s", "hungrier": "working_memory_bytes"}
COLUMNS = ("kind", "trial", "exit_status", "seconds", "rounds", "load")


def clone(kind: str, folder: Path) -> tuple[str, str]:
    """A clone in ``folder`` with baseline and candidate; their revisions."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True).stdout

    subprocess.run(["git", "clone", "--quiet", str(SOURCE), str(folder)], check=True)
    baseline = git("rev-parse", "HEAD").strip()
    git("config", "user.name", "trials")
    git("config", "user.email", "trials@example.invalid")
    if kind in PATCHES:
        with open(folder / "nst_gluon" / "nets" / "trained_net.py", "a", encoding="utf-8") as source:
            source.write(PATCHES[kind])
    git("commit", "--quiet", "--all", "--allow-empty", "--message", kind)
    return baseline, git("rev-parse", "HEAD").strip()


def trial(kind: str, number: int, folder: Path, revisions: tuple[str, str]) -> None:
    """One gate, recorded."""
    load, begun = os.getloadavg()[0], time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "bench", "compare", *revisions, *PLAN, "--time", TIME_S, "--json",
         "--out", str(folder / "out")],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False,
    )  # fmt: skip
    seconds = time.monotonic() - begun
    result = json.loads(done.stdout)
    samples = pd.read_csv(Path(result["folder"]) / "samples.csv")
    samples = samples[samples["metric"].isin([row["metric"] for row in result["rows"]])]
    blocks = samples.groupby(["metric", "round", "position"], sort=False)["value"].median().reset_index()
    blocks = blocks.assign(kind=kind, trial=number)[["kind", "trial", "metric", "round", "position", "value"]]
    _append(HERE / "blocks.csv", blocks)
    row = (kind, number, done.returncode, round(seconds, 1), result["rounds"], load)
    _append(HERE / "trials.csv", pd.DataFrame([row], columns=COLUMNS))
    said = ", ".join(f"{row['metric']} {row['ratio']:.3f} {row['verdict']}" for row in result["rows"])
    print(f"{kind} {number}: exit {done.returncode}, {seconds:.0f} s, {result['rounds']} rounds: {said}", flush=True)


def _append(path: Path, rows: pd.DataFrame) -> None:
    rows.to_csv(path, mode="a", header=not path.exists(), index=False)


def replay(blocks: pd.DataFrame, shift: float = 1.0) -> pd.DataFrame:
    """What a gate says of recorded blocks, looking after every round until nothing is inconclusive or no round is left.

    Args:
        blocks: of blocks.csv.
        shift: the candidate's times are multiplied by this.

    Returns:
        A row of verdicts.ROW_COLUMNS for each kind, trial and metric, with columns kind and trial.
    """
    candidate = blocks["position"].map({p: side == CANDIDATE for p, side in enumerate(ORDER)})
    times = blocks["metric"].eq("latency_s") & candidate
    unit = np.where(blocks["metric"].eq("latency_s"), "s", "B")
    known = blocks.assign(cell="", unit=unit, value=blocks["value"] * np.where(times, shift, 1.0))
    found = []
    for (kind, trial), group in known.groupby(["kind", "trial"], sort=False):
        for last in range(Rules().least_rounds, max(Rules().least_rounds, group["round"].max()) + 1):
            rows = verdicts.compare_rounds(group[group["round"] <= last])
            if not rows["verdict"].eq(INCONCLUSIVE).any():
                break
        found.append(rows.assign(kind=kind, trial=trial))
    return pd.concat(found, ignore_index=True)


def summary(trials: pd.DataFrame, rows: pd.DataFrame, shifted: pd.DataFrame) -> str:
    """The record as two Markdown tables: the verdicts by kind, and how often an interval covers the truth.

    Args:
        trials: of trials.csv.
        rows, shifted: of :func:`replay`, as recorded and with the candidate's times multiplied by SHIFT.
    """
    lines = [
        "| revisions compared | comparisons | exit status 1 | verdicts | ratio | seconds: median, most |",
        "| --- | ---: | ---: | --- | ---: | ---: |",
    ]
    for kind, text in KINDS.items():
        seconds = trials.loc[trials["kind"] == kind, "seconds"]
        line = _line(text, rows[rows["kind"] == kind], WATCHED[kind])
        lines.append(f"{line} {seconds.median():.0f}, {seconds.max():.0f} |")
        if kind == "unchanged":
            lines.append(f"{_line(SHIFTED, shifted[shifted['kind'] == kind], WATCHED[kind])} the same |")
    lines += ["", "| the same code twice | intervals | cover 1 |", "| --- | ---: | ---: |"]
    for metric, group in rows[rows["kind"] == "unchanged"].groupby("metric"):
        lines.append(f"| `{metric}` | {len(group)} | {covering(group):.1%} |")
    return "\n".join(lines)


def covering(rows: pd.DataFrame) -> float:
    """The share of intervals that hold 1."""
    return float((rows["low"].le(1) & rows["high"].ge(1)).mean())


def _line(text: str, rows: pd.DataFrame, metric: str) -> str:
    watched = rows[rows["metric"] == metric]
    found = ", ".join(f"{count} {name}" for name, count in watched["verdict"].value_counts().items())
    failed = rows.loc[rows["verdict"] == SLOWER, "trial"].nunique()
    return f"| {text} | {rows['trial'].nunique()} | {failed} | {found} | {watched['ratio'].median():.3f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=[*KINDS, "summary"])
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--loaded", action="store_true", help="the last core is busy already")
    options = parser.parse_args()
    if options.kind == "summary":
        blocks = pd.read_csv(HERE / "blocks.csv")
        shifted = replay(blocks[blocks["kind"] == "unchanged"], SHIFT)
        print(summary(pd.read_csv(HERE / "trials.csv"), replay(blocks), shifted))
        return
    done = 0
    if (HERE / "trials.csv").exists():
        record = pd.read_csv(HERE / "trials.csv")
        done = record.loc[record["kind"] == options.kind, "trial"].nunique()
    busy = None if options.loaded else subprocess.Popen([sys.executable, "-c", BURN], start_new_session=True)
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores - {max(cores)} or cores)
    try:
        with tempfile.TemporaryDirectory(prefix="gate-trials-") as root:
            folder = Path(root) / "suite"
            revisions = clone(options.kind, folder)
            for number in range(done + 1, options.count + 1):
                trial(options.kind, number, folder, revisions)
    finally:
        if busy is not None:
            busy.kill()


if __name__ == "__main__":
    main()
