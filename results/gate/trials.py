"""Does the gate keep its promises? Real gates on unchanged code and on patched copies, one line of record each.

    python results/gate/trials.py unchanged --count 100      the other core is kept busy meanwhile
    python results/gate/trials.py slower    --count 10       one generator is 15 % slower in a patched copy
    python results/gate/trials.py hungrier  --count 10       its working memory is 5 % larger in a patched copy
    python results/gate/trials.py summary                    what the record says

Each trial is one ``python -m bench compare`` of two revisions of a clone of this repository. The record is trials.csv
(verdicts, intervals, rounds, seconds, load) and blocks.csv (the number of every block, from which each verdict can be
worked out again); both are appended to, so an interrupted series goes on where it was.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parent.parent
PLAN = ["--method", "texture_net", "--task", "texture", "--size", "128", "--threads", "1"]
TIME_S = {"unchanged": "60", "slower": "290", "hungrier": "90"}
WORKING_BYTES = 37e6  # of the texture network at 128, as the gate itself measures it

# Appended to nst_gluon/generator.py of the candidate: real work and real memory, in proportion.
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


Generator.forward = _slower(Generator.forward)
''',
    "hungrier": f'''

def _hungrier(forward):
    def call(self, *inputs):
        self._ballast = getattr(self, "_ballast", None) or bytearray(b"x") * {int(0.05 * WORKING_BYTES)}
        return forward(self, *inputs)

    return call


Generator.forward = _hungrier(Generator.forward)
''',
}
BURN = """
import os
os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
source, target, x = bytearray(64 << 20), bytearray(64 << 20), 0
while True:
    for i in range(300_000):
        x += i * i
    target[:] = source
"""
KINDS = {
    "unchanged": "the same code twice, the other core busy",
    "slower": "a copy that takes 15 % longer",
    "hungrier": "a copy that needs 5 % more working memory",
}
COLUMNS = ("kind", "trial", "exit_status", "seconds", "rounds", "load", "metric", "baseline", "candidate", "ratio",
           "low", "high", "floor", "verdict")  # fmt: skip


def clone(kind: str, folder: Path) -> tuple[str, str]:
    """A clone in ``folder`` with baseline and candidate; their revisions."""
    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True).stdout

    subprocess.run(["git", "clone", "--quiet", str(SOURCE), str(folder)], check=True)
    baseline = git("rev-parse", "HEAD").strip()
    git("config", "user.name", "trials")
    git("config", "user.email", "trials@example.invalid")
    if kind in PATCHES:
        with open(folder / "nst_gluon" / "generator.py", "a", encoding="utf-8") as source:
            source.write(PATCHES[kind])
    git("commit", "--quiet", "--all", "--allow-empty", "--message", kind)
    return baseline, git("rev-parse", "HEAD").strip()


def trial(kind: str, number: int, folder: Path, revisions: tuple[str, str]) -> None:
    """One gate, recorded."""
    load, begun = os.getloadavg()[0], time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "bench", "compare", *revisions, *PLAN, "--time", TIME_S[kind], "--json",
         "--out", str(folder / "out")],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False,
    )  # fmt: skip
    seconds = time.monotonic() - begun
    result = json.loads(done.stdout)
    rows = [
        (kind, number, done.returncode, f"{seconds:.1f}", result["rounds"], load, row["metric"],
         *(row[name] for name in ("baseline", "candidate", "ratio", "low", "high", "floor", "verdict")))
        for row in result["rows"]
    ]  # fmt: skip
    samples = pd.read_csv(Path(result["folder"]) / "samples.csv")
    samples = samples[samples["metric"].isin([row["metric"] for row in result["rows"]])]
    blocks = samples.groupby(["metric", "round", "position"], sort=False)["value"].median().reset_index()
    blocks = blocks.assign(kind=kind, trial=number)[["kind", "trial", "metric", "round", "position", "value"]]
    _append(HERE / "blocks.csv", tuple(blocks.columns), blocks.itertuples(index=False))
    _append(HERE / "trials.csv", COLUMNS, rows)
    said = ", ".join(f"{row['metric']} {row['ratio']:.3f} {row['verdict']}" for row in result["rows"])
    print(f"{kind} {number}: exit {done.returncode}, {seconds:.0f} s, {result['rounds']} rounds: {said}", flush=True)


def _append(path: Path, columns: tuple[str, ...], rows) -> None:
    new = not path.exists()
    with open(path, "a", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream, lineterminator="\n")
        if new:
            table.writerow(columns)
        table.writerows(rows)


def summary(record: pd.DataFrame) -> str:
    """The record as a Markdown table: per kind, how many gates, what they said, how long they took."""
    lines = [
        "| revisions compared | gates | red | verdict on what was changed | its ratio | seconds a gate: median, most |",
        "| --- | ---: | ---: | --- | ---: | ---: |",
    ]
    for kind, text in KINDS.items():
        group = record[record["kind"] == kind]
        gates = group.drop_duplicates("trial")
        watched = group[group["metric"] == ("working_memory_bytes" if kind == "hungrier" else "latency_s")]
        verdicts = ", ".join(f"{count} {name}" for name, count in watched["verdict"].value_counts().items())
        red, ratio = int((gates["exit_status"] == 1).sum()), watched["ratio"].median()
        lines.append(
            f"| {text} | {len(gates)} | {red} | {verdicts} | {ratio:.3f} | "
            f"{gates['seconds'].median():.0f}, {gates['seconds'].max():.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=[*KINDS, "summary"])
    parser.add_argument("--count", type=int, default=10)
    options = parser.parse_args()
    if options.kind == "summary":
        print(summary(pd.read_csv(HERE / "trials.csv")))
        return
    done = 0
    if (HERE / "trials.csv").exists():
        record = pd.read_csv(HERE / "trials.csv")
        done = record.loc[record["kind"] == options.kind, "trial"].nunique()
    busy = None
    if options.kind == "unchanged":
        busy = subprocess.Popen([sys.executable, "-c", BURN], start_new_session=True)
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
