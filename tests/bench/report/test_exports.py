"""A run's numbers in the formats of other tools."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest

from bench.cli import main
from bench.report import exports

REFERENCE = Path(__file__).resolve().parents[3] / "results" / "reference"
COLUMNS = ["engine", "method", "task", "size", "batch", "dtype", "device", "metric", "unit", "value", "low", "high",
           "n", "status"]  # fmt: skip
SUMMARY = pd.DataFrame(
    [
        ["gluon", "johnson", "stylize", 256, 1, "float32", "cpu", "latency_s", "s", 0.05, 0.04, 0.06, 30, "ok"],
        ["gluon", "johnson", "stylize", 256, 4, "float32", "cpu", "latency_s", "s", 0.2, None, None, 1, "ok"],
        ["pytorch", "gatys", "texture", 64, 1, "bfloat16", "gpu:1", "peak_memory_bytes", "B", 1e9, None, None, 1, "ok"],
        ["gluon", "johnson", "stylize", 256, 1, "float32", "cpu", "speedup_at_equal_loss", "x", 80, 70, 90, 3, "ok"],
        ["gluon", "gatys", "stylize", 256, 1, "float32", "cpu", "iteration_s", "s", None, None, None, 0, "oom"],
    ],
    columns=COLUMNS,
)


def test_github_action_benchmark_takes_a_list_of_names_units_and_values():
    assert exports.github_benchmark(SUMMARY) == [
        {"name": "johnson stylize 256: latency_s", "unit": "s", "value": 0.05, "range": "0.04 to 0.06",
         "extra": "n = 30"},
        {"name": "johnson stylize 256 batch 4: latency_s", "unit": "s", "value": 0.2, "extra": "n = 1"},
        {"name": "gatys texture 64 pytorch bfloat16 gpu:1: peak_memory_bytes", "unit": "B", "value": 1e9,
         "extra": "n = 1"},
    ]  # fmt: skip


def test_bencher_takes_measures_by_benchmark():
    assert exports.bencher(SUMMARY) == {
        "johnson stylize 256": {"latency-s": {"value": 0.05, "lower_value": 0.04, "upper_value": 0.06}},
        "johnson stylize 256 batch 4": {"latency-s": {"value": 0.2}},
        "gatys texture 64 pytorch bfloat16 gpu:1": {"peak-memory-bytes": {"value": 1e9}},
    }


def test_every_name_of_a_real_run_stands_once():
    names = [entry["name"] for entry in exports.github_benchmark(pd.read_csv(REFERENCE / "summary.csv"))]
    assert len(names) > 30 and len(set(names)) == len(names)


@pytest.mark.parametrize(("name", "file"), [("github-benchmark", "github-benchmark.json"), ("bmf", "bmf.json")])
def test_the_command_writes_it_beside_the_report(tmp_path, capsys, name, file):
    shutil.copytree(REFERENCE, tmp_path / "run")
    assert main.main(["report", str(tmp_path / "run"), "--out", str(tmp_path), "--format", name]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "run" / file)
    assert json.loads((tmp_path / "run" / file).read_text())


def test_what_cannot_be_written_is_one_line(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for arguments, said in (
        (["report", str(REFERENCE), "--format", "parquet"], "pip install pyarrow"),
        (["report", str(REFERENCE), "--format", "xml"], "--format: unknown 'xml'"),
        (["report", str(REFERENCE), str(REFERENCE.parent / "peers"), "--format", "bmf"], "--format: is for one RUN"),
    ):
        assert main.main(arguments) == 2
        error = capsys.readouterr().err
        assert said in error and len(error.splitlines()) == 1
