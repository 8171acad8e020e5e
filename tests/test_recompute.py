"""The README's table of results, recomputed without the suite's analysis: what the suite says, and what is printed."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from recompute import recompute
from synthetic import make_run

from bench.analysis import summary
from bench.report.generated import part
from bench.store.reader import read_run

ROOT = Path(__file__).resolve().parents[1]
REFERENCE, STYLES, PAPERS = (ROOT / "results" / name for name in ("reference", "styles", "paper_net"))
NAMES = {"latency_s": "latency_s", "speedup": summary.SPEEDUP_EQUAL, "net_bytes": "working_memory_bytes"}


def agree(path: Path) -> int:
    """Check every row against the suite's own analysis; how many there are."""
    table, found = summary.summarise_run(read_run(path)), recompute(path)
    for row in found:
        where = {name: row[name] for name in ("style_name", "task", "size", "method")}
        own = summary.matching(table, {**where, "batch": 1, "dtype": "float32", "engine": "gluon"})
        for name, metric in NAMES.items():
            (value,) = own.loc[own["metric"] == metric, "value"]
            if row[name] == row[name]:  # else the target was not reached by each
                assert row[name] == pytest.approx(value, rel=1e-9), (where, name)
    return len(found)


@pytest.mark.parametrize("run", [REFERENCE, STYLES, PAPERS])
def test_the_committed_runs_are_what_the_suite_makes_of_them(run):
    assert agree(run) == {REFERENCE: 10, STYLES: 34, PAPERS: 2}[run]


def test_a_run_of_several_processes_is_too(tmp_path):
    assert agree(make_run(tmp_path, sizes=(256,), pictures=False)) == 3


def test_the_table_of_the_readme_is_recomputed_from_samples_and_curves():
    """Every printed figure, to its last digit: medians over the styles of a row; three columns for each size."""
    head, _, *lines = [line.strip("|") for line in part(ROOT / "README.md", "results").splitlines() if line[:1] == "|"]
    sizes = [int(size) for size in re.findall(r" (\d+): time", head)]
    runs, printed = {"": recompute(STYLES), " ‡": recompute(PAPERS)}, 0
    for line in lines:
        task, net, styles, *figures = (cell.strip() for cell in line.split("|"))
        found = runs[net.rpartition("`")[2]]
        of_net = [row for row in found if (row["task"], f"`{row['method']}`") == (task, net.removesuffix(" ‡"))]
        assert len({row["style_name"] for row in of_net}) == int(styles)
        for place, size in enumerate(sizes):
            check([row for row in of_net if row["size"] == size], *figures[3 * place : 3 * place + 3])
            printed += 1
    every = [len({(row["task"], row["size"], row["method"]) for row in found}) for found in runs.values()]
    assert printed == sum(every) and every[0] >= 4


def check(rows: list[dict], times: str, ratio: str, memory: str) -> None:
    """What is printed of a net at one size is what its rows say, one for each style."""
    numbers = ("latency_s", "optimisation_s", "speedup", "net_bytes", "optimisation_bytes")
    median = {name: np.median([row[name] for row in rows]) for name in numbers}
    millis, seconds = re.fullmatch(r"([\d.,]+) ms : ([\d.,]+) s", times).groups()
    assert round(1e3 * median["latency_s"], decimals(millis)) == number(millis)
    assert round(median["optimisation_s"], decimals(seconds)) == number(seconds)
    speedup = re.match(r"(?:\*\*)?([\d.,]+)x", ratio).group(1)
    assert round(median["speedup"]) == number(speedup)
    if len(rows) > 1:
        ends = re.search(r"\(([\d.,]+) to ([\d.,]+)\)", ratio).groups()
        assert [round(end([row["speedup"] for row in rows])) for end in (min, max)] == [*map(number, ends)]
    ours, theirs = re.fullmatch(r"([\d.,]+) : ([\d.,]+) MB", memory).groups()
    assert round(median["net_bytes"] / 1e6) == number(ours)
    assert round(median["optimisation_bytes"] / 1e6) == number(theirs)


def number(text: str) -> float:
    return float(text.replace(",", ""))


def decimals(text: str) -> int:
    return len(text.partition(".")[2])
