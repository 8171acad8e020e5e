"""Every metric has one entry, and nothing without one gets into a summary."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pandas as pd
import pytest
from synthetic import make_run

from bench.analysis import metrics
from bench.analysis import summary as analysis
from bench.gate.verdicts import GATED_METRICS
from bench.store.reader import read_run
from nst_gluon.methods import bundled
from nst_gluon.system.errors import UserError

ROOT = Path(__file__).resolve().parents[3]


def test_a_metric_without_an_entry_is_an_error(tmp_path):
    run = read_run(make_run(tmp_path, sizes=(64,), seeds=(0,), batches=(1,), pictures=False))
    more = run.samples.iloc[:1].assign(metric="warmth_k")
    with pytest.raises(UserError, match="warmth_k.*no entry"):
        analysis.summarise_run(dataclasses.replace(run, samples=pd.concat([run.samples, more])))
    with pytest.raises(UserError, match="no entry"):
        metrics.find("target_")


def test_every_metric_of_a_summary_has_its_entrys_unit(tmp_path):
    run = read_run(make_run(tmp_path, sizes=(64,), seeds=(0,), pictures=False))
    summary = analysis.summarise_run(run)
    assert len(summary) > 50
    for row in summary.itertuples():
        assert metrics.find(row.metric).unit == row.unit, row.metric


def test_every_metric_that_the_code_reports_has_an_entry():
    found = set()
    for path in [*(ROOT / "bench" / "engines").rglob("*.py"), *(ROOT / "bench" / "run").rglob("*.py")]:
        found |= set(re.findall(r'\.sample\(\s*"([a-z_0-9]+)"', path.read_text(encoding="utf-8")))
    assert len(found) >= 6 and found <= set(metrics.METRICS)


def test_families_name_the_method_they_are_aimed_at():
    for family in ("time_to_target_s", "iterations_to_target", "target"):
        assert metrics.split(metrics.aimed_at(family, "a_net")) == (family, "a_net")
        assert metrics.split(family) == (family, "")


def test_entries_are_whole():
    for name, metric in metrics.METRICS.items():
        assert metric.name == name and metric.label and metric.text.endswith(".")
        assert metric.better in (metrics.LOWER, metrics.HIGHER, metrics.NEITHER)
    assert set(metrics.named(metrics.GATE)) == set(GATED_METRICS)
    assert all(metrics.find(name).better == metrics.LOWER for name in metrics.named(metrics.GATE))


def test_no_method_is_known_by_its_name_in_analysis_and_report():
    names = re.compile(rf"[\"'/]({'|'.join(bundled())})[\"'/]")
    for folder in ("bench/analysis", "bench/report", "nst_gluon/pages"):
        for path in (ROOT / folder).rglob("*.py"):
            assert not names.findall(path.read_text(encoding="utf-8")), path
