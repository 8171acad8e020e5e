"""Gluon against peers: what is related across engines, and that nothing else is."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from synthetic import make_run

from bench import report
from bench.analysis import claims, engine_comparison, methods
from bench.analysis import summary as analysis
from bench.report import run_facts
from bench.store.reader import read_run
from bench.store.run_folder import Store

FACTOR = {"latency_s": 0.5, "iteration_s": 2.0, "working_memory_bytes": 3.0}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of Gluon's, with every cell again by PyTorch, whose times and memory are FACTOR times Gluon's, and one net
    by ONNX Runtime.
    """
    path = make_run(tmp_path_factory.mktemp("runs"), sizes=(256,), seeds=(0, 1), batches=(1, 4), pictures=False)
    data = read_run(path)
    again = Store.resume(path)
    for record in data.records:
        for engine in ("pytorch", "onnxruntime"):
            if engine == "onnxruntime" and record["method"] != "johnson":
                continue
            names = ("method", "task", "size", "batch", "seed")
            samples, curve = (
                table[np.logical_and.reduce([table[name] == record[name] for name in names])]
                for table in (data.samples, data.curves)
            )
            rows = [(r.metric, r.unit, r.value * FACTOR.get(r.metric, 1.0)) for r in samples.itertuples()]
            rows = [row for row in rows if engine == "pytorch" or row[0] != "objective"]
            points = [(2 * r.seconds, r.iteration, r.objective, r.content, r.style, r.tv) for r in curve.itertuples()]
            key = record["key"].replace("gluon", engine)
            again.append({**record, "engine": engine, "key": key}, rows, points)
    again.close()
    analysis.write(analysis.summarise_run(read_run(path)), path)
    return path


@pytest.fixture(scope="module")
def compared(run):
    data = read_run(run)
    return engine_comparison.compare(data.cells, data.samples, pd.read_csv(run / "summary.csv"))


def test_every_cell_of_two_engines_is_there_with_its_ratio(compared):
    peer = compared[compared["engine"] == "pytorch"]
    for metric, factor in FACTOR.items():
        rows = peer[peer["metric"] == metric]
        assert len(rows) and rows["ratio"].to_numpy() == pytest.approx(factor)
    timed = peer[peer["metric"] == "latency_s"]
    assert (timed["low"] <= 0.5).all() and (timed["high"] >= 0.5).all() and (timed["high"] > timed["low"]).all()
    assert peer.loc[peer["metric"] == "time_to_target_s", "ratio"].to_numpy() == pytest.approx(2.0)
    own = compared[compared["engine"] == "gluon"]
    assert own["ratio"].isna().all() and len(own) == len(peer)
    onnx = compared[compared["engine"] == "onnxruntime"]
    assert set(onnx["method"]) == {"johnson"} and "objective" not in set(onnx["metric"])


def test_processes_are_kept_apart_as_in_the_main_table():
    """Calls hardly differ within a process, processes do."""
    rng = np.random.default_rng(3)
    cell = {"photo": "", "style_name": "", "method": "johnson", "task": "stylize", "size": 64, "batch": 1,
            "dtype": "float32", "device": "cpu", "metric": "latency_s", "unit": "s"}  # fmt: skip
    samples = pd.DataFrame([
        {**cell, "engine": engine, "seed": seed, "value": factor * level * rng.normal(1, 0.001)}
        for engine, factor in (("gluon", 1.0), ("pytorch", 2.0))
        for seed, (level, calls) in enumerate(((1.0, 30), (1.2, 5), (1.4, 5)))
        for _ in range(calls)
    ])  # fmt: skip
    summary = analysis.medians(samples.assign(status="ok"))
    base, peer = engine_comparison.compare(pd.DataFrame(), samples, summary).to_dict("records")
    assert [base["value"], peer["value"]] == list(summary["value"]) and peer["value"] == pytest.approx(2.4, rel=0.01)
    assert peer["low"] < 2 / 1.1 and peer["high"] > 2 * 1.1


def test_nothing_is_compared_where_there_is_one_engine(run):
    data, summary = read_run(run), pd.read_csv(run / "summary.csv")
    alone = (table[table["engine"] == "pytorch"] for table in (data.samples, summary))
    assert engine_comparison.compare(data.cells, *alone).empty


def test_cells_that_failed_are_not_compared(run):
    data = read_run(run)
    cells = data.cells.copy()
    cells.loc[cells["engine"] == "pytorch", "status"] = "error"
    found = engine_comparison.compare(cells, data.samples, pd.read_csv(run / "summary.csv"))
    assert "pytorch" not in set(found.loc[found["metric"] != "time_to_target_s", "engine"])


def test_speed_ups_stay_within_an_engine(run):
    summary = pd.read_csv(run / "summary.csv")
    rows = summary[(summary["metric"] == "speedup_at_equal_loss") & (summary["method"] == "texture_net")]
    by_engine = rows.set_index(["engine", "task"])["value"]
    for task in ("texture", "stylize"):  # half the latency, twice the time to target
        assert by_engine["pytorch", task] == pytest.approx(4 * by_engine["gluon", task], rel=1e-6)
    assert "onnxruntime" not in set(summary.loc[summary["metric"].str.startswith("speedup"), "engine"])


def test_claims_rest_on_the_reference_and_on_a_peer_where_it_is_alone(run):
    summary, known = pd.read_csv(run / "summary.csv").fillna({"style_name": ""}), methods.of_run(read_run(run))
    for engine, rows in (("gluon", summary), ("pytorch", summary[summary["engine"] == "pytorch"])):
        measured = [part for claim in claims.CLAIMS for part in claims.find(claim, rows, known).parts if part.row]
        assert {part.row["engine"] for part in measured} == {engine}
        assert all(f"{engine} on cpu, n = " in part.reason for part in measured)


def test_the_report_has_the_table_and_says_whose_merit_is_whose(run):
    report.build(run)
    text, page = (run / "report.md").read_text(), (run / "report.html").read_text()
    part = text[text.index("## Engines compared") :]
    part = part[: part.index("\n## ")]
    assert "the merit of an engine" in part
    assert "Every other speed-up in this report relates cells of one engine." in part
    row = next(line for line in part.splitlines() if "Johnson net; stylisation 256 | PyTorch" in line)
    assert "0.500× Gluon's \\[" in row and "3.00× Gluon's \\[" in row
    assert sum("ONNX Runtime" in line for line in part.splitlines()) == 2  # batches 1 and 4
    assert 'id="peers"' in page and "Engines compared" in page
    in_seconds = next(line for line in text.splitlines() if line.startswith("- For example: "))
    summary = pd.read_csv(run / "summary.csv").set_index(["metric", "engine", "task", "method"])["value"].sort_index()
    speedup = summary["speedup_at_equal_loss", "gluon", "texture", "texture_net"].item()
    assert f" {speedup:.0f}× " in in_seconds and "(Gluon)" in in_seconds
    plot = (run / "plots" / "latency-s.svg").read_text()
    assert all(f">Johnson net, {name}<" in plot for name in ("Gluon", "PyTorch", "ONNX Runtime"))


def test_a_report_of_one_engine_has_no_such_table(tmp_path):
    path = make_run(tmp_path, sizes=(256,), seeds=(0,), batches=(1,), pictures=False)
    report.build(path)
    assert "Engines compared" not in (path / "report.md").read_text()
    assert 'id="peers"' not in (path / "report.html").read_text()


def test_only_engines_of_the_run_are_said_to_have_been_used():
    versions = {"python": "3.11.9", "mxnet": "1.9.1", "torch": "2.13.0", "onnxruntime": "1.18.1"}
    meta = {"environment": {"versions": versions}, "cells": [{"engine": "gluon"}, {"engine": "onnxruntime"}]}
    assert run_facts.software(meta) == "MXNet 1.9.1, ONNX Runtime 1.18.1, Python 3.11.9"
    assert "PyTorch 2.13.0" in run_facts.software({**meta, "cells": []})


def test_the_papers_size_is_shown_first():
    def first(*sizes):
        return min(sizes, key=run_facts.from_papers_size)

    assert first(128, 256, 512) == 256 and first(512, 128, 1024) == 128 and first(384, 128) == 128


def test_the_command_that_repeats_a_cell_has_its_engine_and_options(run):
    from bench.report import repeat

    data = read_run(run)
    meta = json.loads(json.dumps(data.meta))
    meta["settings"]["engine_options"] = [["pytorch.lbfgs", "torch"]]
    of_peer = [record for record in data.records if record["engine"] == "pytorch"][:1]
    assert "--engine pytorch" in repeat.command(meta, of_peer)
    assert "--engine-option pytorch.lbfgs=torch" in repeat.command(meta, of_peer)
    of_gluon = [record for record in data.records if record["engine"] == "gluon"][:1]
    assert "engine" not in repeat.command(meta, of_gluon)
