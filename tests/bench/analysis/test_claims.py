"""Verdicts follow from rules and intervals: each rule at its edges, and the published figures against a whole run."""

from __future__ import annotations

import csv
import dataclasses
import math

import pandas as pd
import pytest
from synthetic import make_run

from bench.analysis import claims
from bench.analysis import summary as analysis
from bench.analysis.claims import ABOUT, AT_LEAST, AT_MOST, CLAIMS, NOT_MEASURED, NOT_REPRODUCED, PARTLY, REPRODUCED
from bench.report.definitions import METRICS, describe
from bench.store.reader import SUMMARY_COLUMNS

BY_ID = {claim.id: claim for claim in CLAIMS}


def summary(claim: claims.Claim, value: float, low=math.nan, high=math.nan, **fields) -> pd.DataFrame:
    """A summary of one row: what ``claim`` looks for, in the metric's own scale."""
    row = {
        "engine": "gluon",
        "method": claim.method,
        "task": claim.task,
        "size": claim.size,
        "batch": 1,
        "dtype": "float32",
        "device": "cpu",
        "metric": claim.metric,
        "unit": claim.unit,
        "value": value / claim.factor,
        "low": low / claim.factor,
        "high": high / claim.factor,
        "n": 3,
        "status": "ok",
        **fields,
    }
    return pd.DataFrame([row], columns=list(SUMMARY_COLUMNS))


@pytest.mark.parametrize(
    ("rule", "low", "high", "verdict"),
    [
        (AT_LEAST, 90, 95, REPRODUCED),
        (AT_LEAST, 500, 600, REPRODUCED),
        (AT_LEAST, 89, 95, PARTLY),
        (AT_LEAST, 10, 90, PARTLY),
        (AT_LEAST, 34, 40, PARTLY),
        (AT_LEAST, 30, 40, NOT_REPRODUCED),
        (AT_MOST, 1, 110, REPRODUCED),
        (AT_MOST, 105, 115, PARTLY),
        (AT_MOST, 200, 299, PARTLY),
        (AT_MOST, 200, 301, NOT_REPRODUCED),
        (ABOUT, 80, 120, REPRODUCED),
        (ABOUT, 70, 85, PARTLY),
        (ABOUT, 121, 299, PARTLY),
        (ABOUT, 34, 60, PARTLY),
        (ABOUT, 20, 30, NOT_REPRODUCED),
        (ABOUT, 200, 400, NOT_REPRODUCED),
    ],
)
def test_rules_at_their_edges_for_a_published_100(rule, low, high, verdict):
    assert claims.judge(rule, (100, 100), low, high) == verdict


def test_a_range_is_met_inside():
    assert claims.judge(ABOUT, (50, 100), 53, 53) == REPRODUCED
    assert claims.judge(ABOUT, (50, 100), 20, 30) == PARTLY
    assert claims.judge(ABOUT, (50, 100), 1, 2) == NOT_REPRODUCED


def test_a_single_sample_stands_for_its_interval():
    claim = BY_ID["texture-net-500x"]
    assert claims.find(claim, summary(claim, 470.0, n=1)).verdict == REPRODUCED
    assert claims.find(claim, summary(claim, 170.0, n=1)).verdict == PARTLY


def test_the_interval_decides_and_not_the_value():
    claim = BY_ID["texture-net-500x"]
    assert claims.find(claim, summary(claim, 600.0, 300.0, 900.0)).verdict == PARTLY


@pytest.mark.parametrize(
    ("bound", "verdict"), [(1000.0, REPRODUCED), (460.0, REPRODUCED), (200.0, PARTLY), (100.0, NOT_MEASURED)]
)
def test_a_lower_bound_confirms_but_does_not_refute(bound, verdict):
    claim = BY_ID["texture-net-500x"]
    found = claims.find(claim, summary(claim, bound, high=math.inf, status="lower bound"))
    assert (found.verdict, found.lower_bound, found.measured) == (verdict, True, bound)


@pytest.mark.parametrize(("bound", "verdict"), [(60.0, NOT_MEASURED), (200.0, NOT_MEASURED), (400.0, NOT_REPRODUCED)])
def test_a_lower_bound_refutes_what_it_exceeds_by_far(bound, verdict):
    claim = BY_ID["johnson-equal-loss-iterations"]
    assert claims.find(claim, summary(claim, bound, high=math.inf, status="not reached")).verdict == verdict


@pytest.mark.parametrize(
    ("seconds", "device", "verdict"),
    [
        (0.010, "cpu", REPRODUCED),
        (0.045, "cpu", PARTLY),
        (0.500, "cpu", NOT_MEASURED),
        (0.500, "gpu", NOT_REPRODUCED),
    ],
)
def test_a_slower_cpu_does_not_refute_a_time_published_for_a_gpu(seconds, device, verdict):
    claim = BY_ID["texture-net-20ms"]
    found = claims.find(claim, summary(claim, seconds, device=device))
    assert found.verdict == verdict
    assert "hardware-bound" in found.reason


def test_a_faster_machine_does_not_refute_about_10_seconds():
    claim = BY_ID["optimisation-10s"]
    assert claims.find(claim, summary(claim, 0.5, device="gpu")).verdict == NOT_MEASURED
    assert claims.find(claim, summary(claim, 100.0, device="gpu")).verdict == NOT_REPRODUCED
    assert claims.find(claim, summary(claim, 100.0, device="cpu")).verdict == NOT_MEASURED


def test_random_weights_measure_no_claim_about_loss_but_all_others():
    for claim in CLAIMS:
        found = claims.find(claim, summary(claim, claim.published[0]), random_weights=True)
        assert (found.verdict == NOT_MEASURED) == claim.needs_real_weights, claim.id
    assert "random" in claims.find(CLAIMS[0], summary(CLAIMS[0], 500.0), random_weights=True).reason


def test_what_the_run_lacks_is_not_measured_with_the_reason():
    claim = BY_ID["johnson-speedup-1024-500"]
    empty = summary(claim, 1.0).iloc[:0]
    found = claims.find(claim, empty)
    assert found.verdict == NOT_MEASURED and "johnson, stylize at 1024" in found.reason
    failed = claims.find(claim, summary(claim, math.nan, status="oom", n=0))
    assert failed.verdict == NOT_MEASURED and "oom" in failed.reason


@pytest.mark.parametrize("other", [{"dtype": "bfloat16"}, {"batch": 4}, {"size": 128}, {"task": "stylize"}])
def test_only_the_cell_that_a_claim_names_counts(other):
    claim = BY_ID["texture-net-500x"]
    assert claims.find(claim, summary(claim, 500.0, **other)).verdict == NOT_MEASURED


def test_the_suites_own_engine_speaks_for_a_run_of_several():
    claim = BY_ID["texture-net-500x"]
    table = pd.concat([summary(claim, 9.0, engine="pytorch"), summary(claim, 500.0)], ignore_index=True)
    assert claims.find(claim, table).measured == 500.0
    table.loc[1, "value"] = math.nan
    assert claims.find(claim, table).measured == 9.0


def test_johnsons_table_is_scaled_from_one_metric():
    for size, iterations, published in ((256, 100, 212), (512, 300, 615), (1024, 500, 1042)):
        claim = BY_ID[f"johnson-speedup-{size}-{iterations}"]
        assert claim.published == (published, published)
        row = summary(claim, 1.0).assign(value=1000.0)
        assert claims.find(claim, row).measured == pytest.approx(1000 * iterations / 500)


def test_the_table_of_claims_is_sound():
    assert len(BY_ID) == len(CLAIMS) == 21
    assert sum(claim.headline for claim in CLAIMS) <= 6
    for claim in CLAIMS:
        assert claim.published[0] <= claim.published[1]
        assert claim.rule in claims.RULES
        assert describe(claim.metric).name in METRICS, claim.metric
        assert dataclasses.is_dataclass(claim) and claim.text and claim.source


def test_claims_csv_of_a_whole_run(tmp_path):
    path = make_run(tmp_path, sizes=(256, 512), pictures=False)
    analysis.summarise(path)
    returned = claims.evaluate(path)
    with open(path / "claims.csv", newline="", encoding="utf-8") as stream:
        lines = list(csv.DictReader(stream))
    assert list(lines[0])[:7] == ["claim", "source", "published", "measured", "low", "high", "verdict"]
    assert len(lines) == len(CLAIMS) == len(returned)
    by_id = {line["id"]: line for line in lines}
    assert by_id["parameters-65k"]["verdict"] == REPRODUCED
    assert float(by_id["parameters-65k"]["measured"]) == 71_659
    assert by_id["johnson-speedup-1024-500"]["verdict"] == NOT_MEASURED
    assert by_id["johnson-speedup-1024-500"]["reason"]
    assert by_id["johnson-equal-loss-iterations"]["published"] == "50-100"
    for line in lines:
        assert line["verdict"] in claims.VERDICTS


def test_another_measurement_gives_another_verdict(tmp_path):
    path = make_run(tmp_path, sizes=(256,), pictures=False)
    table = analysis.summarise(path)
    before = claims.find(BY_ID["johnson-speedup-256-500"], table)
    table.loc[table["metric"] == "speedup_at_500_iterations", ["value", "low", "high"]] /= 100
    after = claims.find(BY_ID["johnson-speedup-256-500"], table)
    assert (before.verdict, after.verdict) == (REPRODUCED, NOT_REPRODUCED)
