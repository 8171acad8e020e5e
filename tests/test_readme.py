"""What the README says is true: its commands run, its table is the committed run's, its files are there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from bench.report.wording import ENGINES

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = ROOT / "results"

# Commands whose whole point is an installation or a run of a quarter of an hour: what runs them instead.
RUN_ELSEWHERE = {
    "python -m pip install -e '.[cpu]'": ".ci/run installs the extras cpu and test together",
    "python -m pip install -e '.[cpu,test]'": ".ci/run, as it stands",
    "python -m pytest": ".ci/run, as it stands",
    "python -m pip install -e '.[cu112]'": "needs 1.5 GB and an NVIDIA GPU; tests/test_packaging.py checks its pins",
    "python -m bench run --method all --size 256,512 --device gpu": "test_without_a_gpu_the_gpu_line_says_so",
    "python -m bench compare HEAD~1 HEAD": "the end of .ci/run, where the clone has the commit before",
    "python -m nst_gluon stylize clip.mp4 --size 256 --output painted.mp4": "tests/test_video.py; needs an extra",
    "python -m pip install -e '.[cpu,torch,onnx]'": ".ci/run installs these extras with test",
    "python -m bench parity": ".ci/run, and tests/test_parity.py",
    "python -m bench run --method all --size 256,512 --engine all": "tests/test_end_to_end_peers.py, small",
    "uv venv --python 3.11 --seed .venv": "needs uv",
    ". .venv/bin/activate": "needs uv",
}
# What makes the others affordable, and nothing else: fewer pixels, fewer steps.
SHORTER = [
    ("bench run --method all --size 256,512", "bench run --method all --size 64 --budget quick"),
    ("bench selftest", "bench selftest --method texture_net --task texture --size 64 --time 10"),
    ("train painting.jpg", "train painting.jpg --iterations 2 --size 64"),
    ("--size 256", "--size 64"),
]


def commands() -> list[str]:
    """Every command of the README's shell blocks, in order."""
    lines = [line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]
    return [command.strip() for line in lines for command in line.split("&&") if command.strip()]


def run(command: str, folder: Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    words = shlex.split(command)
    assert words[:2] == ["python", "-m"], command
    return subprocess.run(
        [sys.executable, *words[1:]],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
    )


def test_every_command_is_run_somewhere():
    found = commands()
    assert "python -m bench run --method all --size 256,512" in found and "python -m pytest" in found
    assert set(RUN_ELSEWHERE) <= set(found), "an entry of RUN_ELSEWHERE is no longer in the README"


@pytest.mark.slow
def test_the_commands_work_in_the_order_given(tmp_path, picture):
    """With the bundled nets and real weights, in an empty folder, with a painting of one's own."""
    pytest.importorskip("mxnet", reason="the README's commands measure and paint with the engine")
    picture("painting.jpg", 80, 80)
    (tmp_path / "holiday").mkdir()
    picture("holiday/beach.jpg", 60, 80)
    for command in commands():
        if command in RUN_ELSEWHERE:
            continue
        for long, short in SHORTER:
            command = command.replace(long, short)
        done = run(command, tmp_path)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr and "Warning" not in done.stderr, f"{command}\n{done.stderr}"
    for name in ("chelsea.png", "waves.png", "mine.png", "painted/beach.jpg", "nets/painting-johnson-stylize.npz"):
        assert (tmp_path / name).is_file()
    assert list(tmp_path.glob("results/*/report.html"))


def test_without_a_gpu_the_gpu_line_says_so(tmp_path):
    pytest.importorskip("mxnet", reason="without the engine that is what the line says")
    done = run("python -m bench run --method all --size 256,512 --device gpu", tmp_path)
    if done.returncode == 0:
        pytest.skip("this machine has a GPU that MXNet runs on")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1 and "--device" in done.stderr


def results_table(summary: pd.DataFrame) -> str:
    """The README's table, from the reference run's summary.csv alone."""

    def cell(row: tuple, metric: str, scale: float, form: str) -> str:
        method, task, size = row
        found = summary[
            (summary.method == method)
            & (summary.task == task)
            & (summary["size"] == size)
            & (summary.metric == metric)
            & (summary.batch == 1)
        ]
        if found.empty or pd.isna(found.value.iloc[0]):
            return ""
        record = found.iloc[0]
        bound = "≥ " if record.status == "lower bound" else ""
        text = bound + form.format(record.value * scale)
        if pd.notna(record.low) and pd.notna(record.high) and not bound and metric.startswith("speedup"):
            text += f" [{form.format(record.low * scale)}, {form.format(record.high * scale)}]"
        return text

    def unit_of_work(row: tuple) -> str:
        return "iteration_s" if row[0] == "gatys" else "latency_s"

    columns = [
        ("time a picture or step, ms", lambda r: cell(r, unit_of_work(r), 1e3, "{:,.0f}")),
        ("objective", lambda r: cell(r, "objective", 1, "{:,.0f}")),
        ("time to the net's objective, s", lambda r: time_to_net(r)),
        ("speed-up at equal loss", lambda r: cell(r, "speedup_at_equal_loss", 1, "{:,.0f}")),
        ("over coarse to fine", lambda r: over_pyramid(r)),
        ("speed-up at 500 iterations", lambda r: cell(r, "speedup_at_500_iterations", 1, "{:,.0f}")),
        ("working memory, MB", lambda r: cell(r, "working_memory_bytes", 1e-6, "{:,.0f}")),
    ]

    def time_to_net(row: tuple) -> str:
        method, task, size = row
        return "" if method == "gatys" else cell(("gatys", task, size), f"time_to_target_{method}_s", 1, "{:,.1f}")

    def over_pyramid(row: tuple) -> str:
        method, task, size = row
        rows = summary[(summary.task == task) & (summary["size"] == size) & (summary.batch == 1)]
        sooner = rows[(rows.method == "gatys_pyramid") & (rows.metric == f"time_to_target_{method}_s")]
        once = rows[(rows.method == method) & (rows.metric == "latency_s")]
        if method == "gatys" or sooner.empty:
            return ""
        return f"{sooner.value.iloc[0] / once.value.iloc[0]:,.0f}"

    methods = ("gatys", "johnson", "texture_net")
    cells = {(r.method, r.task, r.size) for r in summary.itertuples() if r.method in methods}
    rows = sorted(cells, key=lambda r: (r[1], r[2], r[0]))
    lines = [
        "| task | size | method | " + " | ".join(name for name, _ in columns) + " |",
        "| --- | ---: | --- |" + " ---: |" * len(columns),
    ]
    for row in rows:
        lines.append(f"| {row[1]} | {row[2]} | `{row[0]}` | " + " | ".join(value(row) for _, value in columns) + " |")
    return "\n".join(lines)


def engines_table(summary: pd.DataFrame) -> str:
    """The README's table of engines side by side, from the summary.csv of the peers' run alone."""
    timed = summary[(summary.batch == 1) & summary.metric.isin(["latency_s", "iteration_s"])]
    lines = [
        "| task | size | method | " + " | ".join(f"{name}, ms" for name in ENGINES.values()) + " |",
        "| --- | ---: | --- |" + " ---: |" * len(ENGINES),
    ]
    for (task, size, method), group in timed.groupby(["task", "size", "method"]):
        if method in ("gatys", "johnson", "texture_net"):
            values = group.set_index("engine").value
            texts = [f"{values[engine] * 1e3:,.0f}" if engine in values else "" for engine in ENGINES]
            lines.append(f"| {task} | {size} | `{method}` | " + " | ".join(texts) + " |")
    return "\n".join(lines)


@pytest.mark.parametrize(("make", "run"), [(results_table, "reference"), (engines_table, "peers")])
def test_the_results_are_those_of_a_committed_run(make, run):
    table = make(pd.read_csv(RESULTS / run / "summary.csv"))
    assert table in README, f"the README's table should read:\n{table}"


def test_every_link_leads_somewhere():
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    assert targets
    for target in targets:
        assert (ROOT / target).exists(), target
