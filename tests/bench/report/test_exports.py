"""A run's numbers in the formats of other tools."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest
from synthetic import make_run

from bench.cli import main
from bench.report import exports
from bench.store.reader import read_run, read_summary

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
).assign(style_name="")


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
    names = [entry["name"] for entry in exports.github_benchmark(read_summary(REFERENCE))]
    assert len(names) > 30 and len(set(names)) == len(names)


@pytest.mark.parametrize(("name", "file"), [("github-benchmark", "github-benchmark.json"), ("bmf", "bmf.json")])
def test_the_command_writes_it_beside_the_report(tmp_path, capsys, name, file):
    shutil.copytree(REFERENCE, tmp_path / "run")
    assert main.main(["report", str(tmp_path / "run"), "--out", str(tmp_path), "--format", name]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "run" / file)
    assert json.loads((tmp_path / "run" / file).read_text())


@pytest.mark.parametrize("style", ["NA", "null", "01"])
def test_a_style_is_called_what_it_is_called(tmp_path, style):
    SUMMARY.assign(style_name=style).to_csv(tmp_path / "summary.csv", index=False)
    names = [entry["name"] for entry in json.loads(exports.write(tmp_path, "github-benchmark").read_text())]
    assert len(names) == 3 and all(f" {style} " in name for name in names)


def test_parquet_has_what_was_committed(tmp_path, monkeypatch):
    run = make_run(tmp_path, sizes=(64,), seeds=(0,), batches=(1,), pictures=False)
    meant = read_run(run).samples
    with open(run / "samples.csv", "a") as stream:
        stream.write((run / "samples.csv").read_text().splitlines()[-1])
    monkeypatch.setitem(sys.modules, "pyarrow", sys)
    written = []
    monkeypatch.setattr(pd.DataFrame, "to_parquet", lambda self, index: written.append(self) or b"bytes")
    path = exports.write(run, "parquet")
    assert path == run / "samples.parquet" and path.read_bytes() == b"bytes"
    pd.testing.assert_frame_equal(written[0], meant)


def test_what_cannot_be_written_is_one_line(tmp_path, capsys, monkeypatch):
    damaged = shutil.copytree(REFERENCE, tmp_path / "run")
    (damaged / "summary.csv").write_text("not,a\nsummary\n")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for arguments, said in (
        (["report", str(REFERENCE), "--format", "parquet"], "pip install pyarrow"),
        (["report", str(damaged), "--format", "bmf"], "summary.csv is damaged"),
        (["report", str(REFERENCE), "--format", "xml"], "--format: unknown 'xml'"),
        (["report", str(REFERENCE), str(REFERENCE.parent / "peers"), "--format", "bmf"], "--format: is for one RUN"),
    ):
        assert main.main(arguments) == 2
        error = capsys.readouterr().err
        assert said in error and len(error.splitlines()) == 1
