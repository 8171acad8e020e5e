"""The README's table of results, recomputed without the suite's analysis: what the suite says, and what is printed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from recompute import recompute
from synthetic import make_run

from bench.analysis import summary
from bench.store.reader import read_run

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "results" / "reference"
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


def test_the_committed_run_is_what_the_suite_makes_of_it():
    assert agree(REFERENCE) >= 6


def test_a_run_of_several_processes_is_too(tmp_path):
    assert agree(make_run(tmp_path, sizes=(256,), pictures=False)) == 3


def test_the_table_of_the_readme_is_recomputed_from_samples_and_curves():
    """Every printed figure, to its last digit; a row names task and size, and the style where there are several."""
    if json.loads((REFERENCE / "run.json").read_text())["schema_version"] < 2:
        pytest.skip("the committed run has one draw and one process; its table goes by the clock at the crossing")
    text = (ROOT / "README.md").read_text(encoding="utf-8").split("<!-- results: begin -->")[1]
    text = text.split("<!-- results: end -->")[0]
    lines = [line for line in text.splitlines() if re.match(r"\| .*\b(stylize|texture) \d+ ", line)]
    found, printed = recompute(REFERENCE), 0
    for line in lines:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        task, size = re.search(r"(stylize|texture) (\d+)", cells[0]).groups()
        (row,) = [
            row for row in found
            if (row["task"], str(row["size"]), f"`{row['method']}`") == (task, size, cells[1])
            and (row["style_name"] in cells[0] or not row["style_name"])
        ]  # fmt: skip
        millis, seconds = re.fullmatch(r"([\d.,]+) ms : ([\d.,]+) s", cells[2]).groups()
        assert round(1e3 * row["latency_s"], decimals(millis)) == number(millis)
        assert round(row["optimisation_s"], decimals(seconds)) == number(seconds)
        speedup = re.match(r"\*\*([\d.,]+)x\*\*", cells[3]).group(1)
        assert round(row["speedup"], decimals(speedup)) == number(speedup)
        net, theirs = re.fullmatch(r"([\d.,]+) : ([\d.,]+) MB", cells[4]).groups()
        assert round(row["net_bytes"] / 1e6) == number(net) and round(row["optimisation_bytes"] / 1e6) == number(theirs)
        printed += 1
    assert printed >= 6


def number(text: str) -> float:
    return float(text.replace(",", ""))


def decimals(text: str) -> int:
    return len(text.partition(".")[2])
