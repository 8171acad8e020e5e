"""Power laws: recovered where there is one, with an interval only where there is something to tell it from."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from synthetic import make_run

from bench.analysis.analysed import analyse
from bench.analysis.growth import fit, laws
from bench.report import tables
from bench.store.reader import SUMMARY_COLUMNS, read_run

PIXELS = np.array([128.0, 256.0, 512.0, 1024.0]) ** 2


def summary(rows: list[dict]) -> pd.DataFrame:
    usual = {"engine": "gluon", "method": "gatys", "task": "texture", "batch": 1, "dtype": "float32", "device": "cpu",
             "metric": "iteration_s", "unit": "s", "low": math.nan, "high": math.nan, "n": 9, "status": "ok"}
    return pd.DataFrame([{**usual, **row} for row in rows], columns=list(SUMMARY_COLUMNS))


def test_an_exact_law_is_recovered():
    law = fit(PIXELS, 3e-6 * PIXELS**0.87)
    assert law.exponent == pytest.approx(0.87) and law.factor == pytest.approx(3e-6) and law.sizes == 4
    assert law.low == pytest.approx(0.87) and law.high == pytest.approx(0.87)
    assert law.at(512**2) == pytest.approx(3e-6 * 512**1.74)


def test_the_interval_is_students():
    """By hand: slope and standard error of three points, and Student's 97.5 % quantile for one degree of freedom."""
    x, y = np.log([1.0, 4.0, 16.0]), np.log([1.0, 5.0, 16.0])
    slope = ((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum()
    rest = y - y.mean() - slope * (x - x.mean())
    error = math.sqrt((rest**2).sum() / 1 / ((x - x.mean()) ** 2).sum())
    law = fit([1, 4, 16], [1, 5, 16])
    assert law.exponent == pytest.approx(slope)
    assert law.high - law.exponent == pytest.approx(12.7062 * error, rel=1e-4)
    assert law.exponent - law.low == pytest.approx(law.high - law.exponent)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(1)
    found = [fit(PIXELS, PIXELS**0.9 * np.exp(rng.normal(0, 0.05, 4))) for _ in range(400)]
    covered = np.mean([law.low <= 0.9 <= law.high for law in found])
    assert 0.92 < covered < 0.98


def test_two_sizes_give_an_exponent_without_an_interval():
    law = fit([65536, 262144], [1.0, 3.0])
    assert law.exponent == pytest.approx(math.log(3) / math.log(4)) and law.sizes == 2
    assert math.isnan(law.low) and math.isnan(law.high)


@pytest.mark.parametrize(("pixels", "costs"), [([], []), ([65536], [1.0]), ([65536, 65536], [1.0, 2.0]),
                                               ([1, 4], [0.0, math.nan])])  # fmt: skip
def test_less_than_two_sizes_give_nothing(pixels, costs):
    law = fit(pixels, costs)
    assert math.isnan(law.exponent) and law.sizes < 2


def test_only_what_was_measured_at_batch_1_counts():
    rows = [{"size": size, "value": (size / 256) ** 2} for size in (128, 256, 512)]
    rows += [{"size": 1024, "value": 99.0, "status": "not reached"}, {"size": 2048, "value": math.nan, "status": "oom"}]
    rows += [{"size": 128, "value": 50.0, "batch": 4}, {"size": 512, "value": 7.0, "metric": "objective"}]
    ((series, used, law),) = laws(summary(rows))
    assert series["method"] == "gatys" and list(used["size"]) == [128, 256, 512]
    assert law.exponent == pytest.approx(1.0) and law.sizes == 3


def test_a_report_shows_an_exponent_only_where_its_interval_says_anything(tmp_path):
    def shown(*sizes: int) -> list[str]:
        run = read_run(make_run(tmp_path, sizes=sizes, seeds=(0,), pictures=False))
        table = tables.growth(analyse(run))
        return [] if table is None else [row[-1].small for row in table.rows]

    assert all(small.startswith("[") for small in shown(128, 256, 512))
    assert set(shown(128, 256)) == {""} and shown(256) == []


@pytest.mark.parametrize(("noise", "certain"), [(1.0, True), (1.6, False)])
def test_a_wide_interval_is_not_worth_printing(noise, certain):
    assert fit([1, 4, 16], [1, 4 * noise, 16]).certain == certain
    assert not fit([1, 4], [1, 4]).certain
