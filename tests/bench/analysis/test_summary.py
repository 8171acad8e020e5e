"""Ten-line tables with results that can be worked out by hand, and a run whose summary is recomputed independently."""

from __future__ import annotations

import csv
import math
import statistics
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synthetic import make_run

from bench.analysis import summary as analysis
from bench.analysis.descents import Descent, to_targets
from bench.analysis.intervals import Estimate, resampled
from bench.analysis.methods import Methods
from bench.store.reader import GROUP_COLUMNS, SUMMARY_COLUMNS, parse_table, read_run
from bench.store.run_folder import CURVE_COLUMNS, SAMPLE_COLUMNS
from nst_gluon.methods import bundled
from nst_gluon.system.errors import UserError

GATYS = ("gluon", "gatys", "texture", 256, 1, "float32", "cpu")
NET = ("gluon", "texture_net", "texture", 256, 1, "float32", "cpu")


def curve(*points: tuple[float, float]) -> pd.DataFrame:
    """(seconds, objective) points, iterations from 1."""
    seconds, objective = zip(*points) if points else ((), ())
    return pd.DataFrame(
        {"seconds": seconds, "iteration": range(1, len(points) + 1), "objective": objective}, dtype=float
    )


def samples(*rows: tuple) -> pd.DataFrame:
    """(group, seed, metric, value) rows."""
    table = [("", "", *group, seed, metric, "s", value) for group, seed, metric, value in rows]
    return pd.DataFrame(table, columns=list(SAMPLE_COLUMNS))


def curves(*rows: tuple) -> pd.DataFrame:
    """(group, seed, [(seconds, objective), ...]) rows."""
    table = [
        ("", "", *group, seed, seconds, index + 1, objective, 0.0, objective, 0.0)
        for group, seed, points in rows
        for index, (seconds, objective) in enumerate(points)
    ]
    return pd.DataFrame(table, columns=list(CURVE_COLUMNS))


def cells(*rows: tuple) -> pd.DataFrame:
    """(group, seed, kind, status) rows."""
    table = [("", *group, seed, kind, status, "") for group, seed, kind, status in rows]
    return pd.DataFrame(table, columns=[*GROUP_COLUMNS, "seed", "kind", "status", "reason"])


NO_CELLS = cells()


def summarised(measured: pd.DataFrame, followed: pd.DataFrame, table: pd.DataFrame = NO_CELLS, **more) -> pd.DataFrame:
    """The summary of tables whose methods are bundled ones."""
    there = {*measured["method"], *followed["method"], *table["method"]}
    known = Methods({name: method.facts() for name, method in bundled().items() if name in there})
    return analysis.summarise_tables(table, measured, followed, known, **more)


def row(summary: pd.DataFrame, metric: str, group: tuple = NET) -> pd.Series:
    """The one row of a metric and group."""
    chosen = summary[summary["metric"] == metric]
    for name, value in zip(GROUP_COLUMNS[1:], group):
        chosen = chosen[chosen[name] == value]
    assert len(chosen) == 1, f"{len(chosen)} rows of {metric}"
    return chosen.iloc[0]


# --------------------------------------------------------------------------------------------------- time to target


def reached(descent: Descent, target: float) -> tuple[float, float]:
    """Seconds and evaluations to a target, infinite where it is not reached."""
    found = descent.iterations_to(np.array([target]))
    return float(descent.seconds_at(found)[0]), float(found[0])


def test_crossing_is_interpolated_in_log_objective_and_every_step_takes_the_median():
    # From 10,000 to 100 in the second step: 1,000 is half the way in log. Steps take 1, 2 and 1 s.
    descent = Descent(curve((1, 1e5), (2, 1e4), (4, 1e2), (5, 10)))
    assert reached(descent, 1e3) == pytest.approx((1 + 1.5 * 1, 2.5))


def test_first_crossing_counts_even_if_the_curve_rises_again():
    assert reached(Descent(curve((1, 100), (2, 10), (3, 1000), (4, 1))), 10) == (2.0, 2.0)


def test_a_curve_that_starts_below_the_target_crosses_at_its_first_evaluation():
    assert reached(Descent(curve((0.5, 3.0), (1, 2.0))), 5.0) == (0.5, 1.0)


def test_what_is_not_reached_takes_for_ever_and_the_evaluations_made_are_known():
    descent = Descent(curve((1, 100), (7.5, 50)))
    assert reached(descent, 10) == (math.inf, math.inf) and descent.spent == 2.0


def test_evaluations_that_are_not_finite_are_left_out():
    assert reached(Descent(curve((1, 1e4), (2, math.inf), (3, math.nan), (4, 1e2))), 1e3)[0] == pytest.approx(2.5)
    assert not len(Descent(curve((1, math.nan))))


@pytest.mark.parametrize("seed", range(5))
def test_interpolation_agrees_with_numpy_on_random_monotone_curves(seed):
    rng = np.random.default_rng(seed)
    seconds = np.cumsum(rng.uniform(0.1, 1, 40))
    objective = np.exp(-np.cumsum(rng.uniform(0.01, 0.5, 40)))
    target = float(rng.uniform(objective[-1], objective[0]))
    iteration = np.interp(-np.log(target), -np.log(objective), np.arange(1, 41))
    expected = seconds[0] + (iteration - 1) * np.median(np.diff(seconds))
    assert reached(Descent(curve(*zip(seconds, objective))), target)[0] == pytest.approx(expected)


# -------------------------------------------------------------------------------------------------------- intervals


def median_interval(samples: Iterable[float]) -> Estimate:
    return resampled([samples]).estimate()


def ratio_interval(numerator: Iterable[float], denominator: Iterable[float]) -> Estimate:
    return resampled([numerator]).over(resampled([denominator], seed=1)).estimate()


def test_few_samples_are_told_by_n():
    assert median_interval([]).n == 0 and math.isnan(median_interval([]).value)
    one = median_interval([3.0])
    assert (one.value, one.n) == (3.0, 1) and math.isnan(one.low) and math.isnan(one.high)
    two = median_interval([1.0, 2.0])
    assert (two.value, two.low, two.high, two.n) == (1.5, 1.0, 2.0, 2)
    assert median_interval([1.0, math.nan]).n == 1


@pytest.mark.parametrize("n", [3, 4, 7, 10, 31, 60])
def test_interval_agrees_with_a_bootstrap_that_really_draws_the_resamples(n):
    rng = np.random.default_rng(n)
    values = rng.lognormal(0, 0.5, n)
    drawn = np.median(values[rng.integers(0, n, (40_000, n))], axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    found = median_interval(values)
    # The quantile of a resampled median sits on single samples: allow a step to the next one.
    slack = np.sort(np.abs(np.diff(np.sort(drawn))))[-1] + 0.02
    assert found.value == pytest.approx(np.median(values))
    assert found.low == pytest.approx(low, abs=slack)
    assert found.high == pytest.approx(high, abs=slack)
    assert found.low <= found.value <= found.high


def test_interval_covers_the_true_median_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = sum(
        found.low <= 1.0 <= found.high for found in (median_interval(rng.lognormal(0, 1, 15)) for _ in range(200))
    )
    assert hits / 200 > 0.88


def test_ratio_and_its_interval():
    exact = ratio_interval([100.0, 100.0], [4.0, 4.0, 4.0])
    assert (exact.value, exact.low, exact.high, exact.n) == (25.0, 25.0, 25.0, 2)
    one_sided = ratio_interval([100.0], [4.0, 5.0])
    assert (one_sided.low, one_sided.high, one_sided.n) == (20.0, 25.0, 1)
    assert math.isnan(ratio_interval([100.0], [4.0]).low)
    assert ratio_interval([1.0], []).n == 0
    assert ratio_interval([1.0], [0.0]).n == 0


# ------------------------------------------------------------------------------------------- not reached, lower bound


def descent(*objectives: float, step: float = 1.0) -> Descent:
    """A descent whose evaluations end after 1, 2, ... steps."""
    return Descent(curve(*((step * (index + 1), value) for index, value in enumerate(objectives))))


def test_each_photo_has_its_own_target_and_the_median_is_over_photos():
    falling = [1000.0, 100.0, 10.0, 1.0]
    descents = {name: [descent(*falling)] for name in "abc"}
    times = to_targets(descents, {"a": np.array([100.0]), "b": np.array([10.0]), "c": np.array([1.0])})
    assert times.least.value == times.most.value == 3.0
    found = times.least.estimate()
    assert (found.low, found.high, found.n) == (2.0, 4.0, 3)


def test_the_interval_is_that_of_a_bootstrap_over_draws_and_starts_that_really_draws():
    rng = np.random.default_rng(3)
    draws = rng.lognormal(3, 0.2, 16)
    paths = [np.exp(-np.cumsum(rng.uniform(0.05, 0.15, 60)) + 6) for _ in range(3)]
    found = to_targets({"": [descent(*path) for path in paths]}, {"": draws}).least.estimate()
    expected = []
    for _ in range(4000):
        target = np.median(rng.choice(draws, 16))
        expected.append(np.median([np.interp(-np.log(target), -np.log(paths[seed]), np.arange(1, 61))
                                   for seed in rng.integers(0, 3, 3)]))  # fmt: skip
    low, high = np.quantile(expected, [0.025, 0.975])
    assert found.low == pytest.approx(low, abs=0.3) and found.high == pytest.approx(high, abs=0.3)


def test_processes_are_drawn_again_and_not_their_calls_alone():
    rng = np.random.default_rng(0)
    fast, slow = rng.normal(1.0, 0.001, 200), rng.normal(1.2, 0.001, 200)
    found, pooled = resampled([fast, slow, slow + 0.05]).estimate(), median_interval(np.concatenate([fast, slow]))
    assert found.value == pytest.approx(np.median(slow)) and found.n == 600
    assert found.low < 1.01 and found.high > 1.24  # any one process might have been the only one
    assert resampled([fast]).estimate() == median_interval(fast) and pooled.n == 400


def test_a_descent_that_never_gets_there_leaves_a_lower_bound():
    times = to_targets({"": [descent(100.0, 50.0)]}, {"": np.array([10.0])})
    assert (times.least.value, times.most.value) == (2.0, math.inf)


def test_a_median_that_one_seed_short_leaves_known_is_a_value_with_an_open_interval():
    """Two are at 10 after 10 and 12 s, the third is at 50 after 20."""
    seeds = [descent(100.0, 10.0, step=5), descent(100.0, 10.0, step=6), descent(100.0, 50.0, step=10)]
    estimate, status = analysis.to_target({"": seeds}, {"": np.array([10.0])})
    assert (estimate.value, estimate.low, estimate.high, status) == (12.0, 10.0, math.inf, "ok")


def test_a_median_that_rests_on_seeds_cut_short_is_a_bound():
    seeds = [descent(100.0, 10.0, step=5), descent(100.0, 50.0, step=6), descent(100.0, 50.0, step=10)]
    estimate, status = analysis.to_target({"": seeds}, {"": np.array([10.0])})
    assert (estimate.value, status) == (12.0, "not reached")
    assert analysis.to_target({"": seeds}, {"another": np.array([10.0])}) is None


# --------------------------------------------------------------------------------------------------------- summary


def small_run() -> tuple[pd.DataFrame, pd.DataFrame]:
    measured = samples(
        *((NET, 0, "latency_s", value) for value in (0.02, 0.02, 0.02)),
        ((*NET[:4], 4, *NET[5:]), 0, "latency_s", 0.05),
        (NET, 0, "objective", 1e3),
        (NET, 0, "peak_memory_bytes", 100.0),
        (GATYS, 0, "peak_memory_bytes", 450.0),
        *((GATYS, 0, "iteration_s", value) for value in (0.1, 0.2, 0.3)),
    )
    return measured, curves((GATYS, 0, [(2, 1e4), (4, 1e2)]))


def test_both_speedups_throughput_and_memory_ratio_by_hand():
    summary = summarised(*small_run())
    assert list(summary.columns) == list(SUMMARY_COLUMNS)
    equal = row(summary, "speedup_at_equal_loss")
    assert equal["value"] == pytest.approx(3.0 / 0.02) and equal["status"] == "ok" and equal["n"] == 1
    assert row(summary, "speedup_at_500_iterations")["value"] == pytest.approx(500 * 0.2 / 0.02)
    assert row(summary, "memory_ratio")["value"] == pytest.approx(4.5)
    assert row(summary, "throughput_images_per_s")["value"] == pytest.approx(50.0)
    batch = (*NET[:4], 4, *NET[5:])
    assert row(summary, "throughput_images_per_s", batch)["value"] == pytest.approx(80.0)
    assert row(summary, "time_to_target_s", GATYS)["value"] == pytest.approx(3.0)
    assert row(summary, "time_to_target_texture_net_s", GATYS)["value"] == pytest.approx(3.0)
    assert row(summary, "iterations_to_target_texture_net", GATYS)["value"] == pytest.approx(1.5)
    assert row(summary, "target_texture_net", GATYS)["value"] == 1e3


def test_target_is_the_median_over_the_generators_draws():
    measured, followed = small_run()
    more = samples((NET, 0, "objective", 5e3), (NET, 0, "objective", 2e2))
    summary = summarised(pd.concat([measured, more]), followed)
    assert row(summary, "target_texture_net", GATYS)["value"] == 1e3


@pytest.mark.parametrize(
    "changed", [{"engine": "pytorch"}, {"task": "stylize"}, {"size": 512}, {"dtype": "bfloat16"}, {"device": "gpu"}]
)
def test_only_like_is_compared_with_like(changed):
    measured, followed = small_run()
    is_gatys = measured["method"] == "gatys"
    measured.loc[is_gatys, list(changed)] = list(changed.values())
    followed[list(changed)] = list(changed.values())
    summary = summarised(measured, followed)
    assert not summary["metric"].str.startswith("speedup").any()
    assert not (summary["metric"] == "memory_ratio").any()


def test_a_reduced_precision_optimisation_aims_at_the_float32_objective():
    measured, followed = small_run()
    followed["dtype"] = "bfloat16"
    summary = summarised(measured, followed)
    reduced = (*GATYS[:5], "bfloat16", "cpu")
    assert row(summary, "time_to_target_texture_net_s", reduced)["value"] == pytest.approx(3.0)


def test_target_loss_replaces_the_target_of_speed_ups_and_not_a_nets_own():
    measured, followed = small_run()
    summary = summarised(measured, followed, asked=1e4)
    assert row(summary, "time_to_target_s", GATYS)["value"] == 2.0
    assert row(summary, "speedup_at_equal_loss")["value"] == pytest.approx(2.0 / 0.02)
    assert row(summary, "time_to_target_texture_net_s", GATYS)["value"] == pytest.approx(3.0)
    assert row(summary, "iterations_to_target_texture_net", GATYS)["value"] == pytest.approx(1.5)


PYRAMID = ("gluon", "gatys_pyramid", *GATYS[2:])


def with_variant(points: list[tuple[float, float]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The small run, whose optimisation comes down to 100, with a variant's curve."""
    measured, followed = small_run()
    more = samples((GATYS, 0, "objective", 100.1), (PYRAMID, 0, "objective", 200.0), (PYRAMID, 0, "iteration_s", 0.2))
    return pd.concat([measured, more]), pd.concat([followed, curves((PYRAMID, 0, points))])


def test_a_variant_is_timed_against_what_the_plain_optimisation_ended_at():
    summary = summarised(*with_variant([(0.5, 3000.0), (1.0, 100.0)]))
    own = summary[summary["method"] == "gatys"]
    assert "time_to_target_gatys_s" not in set(own["metric"])  # its own end is no target of its own
    assert row(summary, "time_to_target_gatys_s", PYRAMID)["value"] == pytest.approx(1.0)
    assert row(summary, "speedup_over_optimisation", PYRAMID)["value"] == pytest.approx(4.0)
    assert row(summary, "target_gatys", PYRAMID)["value"] == 100.0
    assert row(summary, "time_to_target_texture_net_s", PYRAMID)["value"] < 1.0
    # A net is compared with the plain optimisation, whatever its variants do.
    assert row(summary, "speedup_at_equal_loss")["value"] == pytest.approx(3.0 / 0.02)
    assert (summary["metric"] == "speedup_at_equal_loss").sum() == 1


def test_a_variant_with_fewer_photos_is_compared_on_those():
    """Plain optimisation takes 1 s on the photo that both make, and 50 s on two others; the variant takes 0.5 s."""
    plain, own = (("gluon", name, "stylize", *GATYS[3:]) for name in ("gatys", "gatys_pyramid"))
    taken = [(plain, "a", 1.0), (plain, "b", 50.0), (plain, "c", 50.0), (own, "a", 0.5)]
    followed = pd.concat(
        curves((group, 0, [(0.1, 1e3), (seconds, 1e2)])).assign(photo=photo) for group, photo, seconds in taken
    )
    measured = pd.concat(samples((group, 0, "objective", 1e2)).assign(photo=photo) for group, photo, _ in taken)
    summary = summarised(measured, followed)
    assert row(summary, "speedup_over_optimisation", own)["value"] == pytest.approx(2.0)


def test_each_start_of_a_variant_is_held_against_the_same_start():
    """Each comes down to what its own plain start ended at, and no further: a median of all would be out of reach."""
    ends = [(4.0, 90.0), (5.0, 110.0), (6.0, 100.0)]
    plain, own = (
        curves(*((group, seed, [(0.5, 3000.0), (seconds / faster, low)]) for seed, (seconds, low) in enumerate(ends)))
        for group, faster in ((GATYS, 1), (PYRAMID, 2))
    )
    measured = samples(*((group, 0, "objective", 100.0) for group in (GATYS, PYRAMID)))
    found = row(summarised(measured, pd.concat([plain, own])), "speedup_over_optimisation", PYRAMID)
    assert (found["status"], found["value"], found["n"]) == ("ok", pytest.approx(2.0), 3)
    assert found["low"] == pytest.approx(2.0) and found["high"] == pytest.approx(2.0)


def test_the_objective_of_several_photos_is_the_median_over_photos():
    """Dealt out to two starts, of which one has the two low ones: medians of starts would say 300."""
    plain = ("gluon", "gatys", "stylize", *GATYS[3:])
    found = [(0, "a", 10.0), (0, "b", 20.0), (0, "c", 30.0), (1, "d", 580.0)]
    measured = pd.concat(samples((plain, seed, "objective", value)).assign(photo=photo) for seed, photo, value in found)
    assert row(summarised(measured, curves()), "objective", plain)["value"] == 25.0


def test_a_median_between_two_bounds_is_known_to_lie_there():
    """Two starts get there after 2 and 3 s, the third is stopped after 2.5 s: the median is one of 2.5 to 3."""
    ends = [(2.0, 1e2), (3.0, 1e2), (2.5, 2e2)]
    followed = curves(*((GATYS, seed, [(1.0, 1e4), end]) for seed, end in enumerate(ends)))
    measured = pd.concat([small_run()[0], samples((NET, 1, "objective", 1e2), (NET, 2, "objective", 1e2))])
    measured.loc[measured["metric"] == "objective", "value"] = 1e2
    found = row(summarised(measured, followed), "time_to_target_texture_net_s", GATYS)
    assert (found["status"], found["value"]) == ("ok", 2.5) and found["high"] >= 3.0


def test_a_variant_that_does_not_get_there_has_no_speedup():
    summary = summarised(*with_variant([(0.5, 3000.0), (1.0, 101.0)]))
    found = row(summary, "speedup_over_optimisation", PYRAMID)
    assert math.isnan(found["value"]) and found["status"] == "not reached"


def test_nets_are_not_compared_with_a_variant_alone():
    measured, followed = with_variant([(0.5, 3000.0), (1.0, 300.0)])
    measured, followed = (table[table["method"] != "gatys"] for table in (measured, followed))
    summary = summarised(measured, followed)
    assert not summary["metric"].str.startswith("speedup").any()
    assert row(summary, "time_to_target_texture_net_s", PYRAMID)["value"] < 1.0


def test_a_net_that_misses_the_target_loss_gets_no_speedup():
    summary = summarised(*small_run(), asked=500.0)
    found = row(summary, "speedup_at_equal_loss")
    assert math.isnan(found["value"]) and found["status"] == "not reached"


def test_derived_metrics_among_the_samples_are_computed_again():
    measured, followed = small_run()
    claimed = samples((NET, 0, "speedup_at_equal_loss", 1e9), (NET, 0, "throughput_images_per_s", 1e9))
    summary = summarised(pd.concat([measured, claimed]), followed)
    assert row(summary, "speedup_at_equal_loss")["value"] == pytest.approx(150.0)
    assert row(summary, "throughput_images_per_s")["value"] == pytest.approx(50.0)


def test_failed_cells_leave_rows_with_their_status():
    measured, followed = small_run()
    table = cells(
        (NET, 0, "generate", "ok"), ((*NET[:4], 4, *NET[5:]), 0, "generate", "ok"), (GATYS, 0, "optimise", "oom")
    )
    only_net = measured[measured["method"] == "texture_net"]
    summary = summarised(only_net, followed.iloc[:0], table)
    lost = row(summary, "iteration_s", GATYS)
    assert math.isnan(lost["value"]) and lost["status"] == "oom" and lost["n"] == 0
    assert row(summary, "speedup_at_equal_loss")["status"] == "oom"
    assert row(summary, "latency_s")["status"] == "ok"


def test_samples_of_a_failed_seed_do_not_mix_with_those_of_good_ones():
    rows = [(NET, seed, "latency_s", value) for seed, value in ((0, 1.0), (1, 99.0))]
    table = cells((NET, 0, "generate", "ok"), (NET, 1, "generate", "timeout"))
    found = row(summarised(samples(*rows), curves(), table), "latency_s")
    assert (found["value"], found["n"], found["status"]) == (1.0, 1, "ok")


def test_samples_of_a_group_that_only_failed_carry_its_status():
    table = cells((NET, 0, "generate", "timeout"))
    summary = summarised(samples((NET, 0, "latency_s", 2.0)), curves(), table)
    assert row(summary, "latency_s")["status"] == "timeout"


def test_a_curve_that_broke_off_in_an_error_bounds_nothing_but_one_cut_by_time_does():
    measured, followed = small_run()
    followed = followed.iloc[:1]
    finished = [(NET, 0, "generate", "ok"), ((*NET[:4], 4, *NET[5:]), 0, "generate", "ok")]
    for status, expected in (("timeout", "lower bound"), ("error", "error")):
        summary = summarised(measured, followed, cells(*finished, (GATYS, 0, "optimise", status)))
        assert row(summary, "speedup_at_equal_loss")["status"] == expected


def test_nothing_measured_gives_an_empty_summary():
    summary = summarised(samples(), curves())
    assert summary.empty and list(summary.columns) == list(SUMMARY_COLUMNS)


# ----------------------------------------------------------------------------------------------------- a whole run


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    path = make_run(tmp_path_factory.mktemp("runs"), sizes=(256, 512, 1024), oom_at=1024, pictures=False)
    analysis.write(analysis.summarise_run(read_run(path)), path)
    return path


def read_csv(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_summary_agrees_with_a_computation_without_pandas(run):
    """Medians, targets, crossings and speed-ups once more, from the CSV files, by other means."""
    processes, points = (defaultdict(lambda: defaultdict(list)) for _ in range(2))
    for line in read_csv(run / "samples.csv"):
        place = line["method"], line["task"], line["size"], line["batch"], line["metric"]
        processes[place][line["seed"]].append(float(line["value"]))
    for line in read_csv(run / "curves.csv"):
        points[line["task"], line["size"]][line["seed"]].append((float(line["seconds"]), float(line["objective"])))

    values = {place: [statistics.median(each) for each in by.values()] for place, by in processes.items()}

    def crossing(path: list[tuple[float, float]], target: float) -> float:
        for (t0, f0), (t1, f1) in zip(path, path[1:]):
            if f0 > target >= f1:
                return t0 + (t1 - t0) * (math.log(f0) - math.log(target)) / (math.log(f0) - math.log(f1))
        return math.nan

    checked = defaultdict(int)
    for line in read_csv(run / "summary.csv"):
        if line["status"] != "ok":
            continue
        key = (line["method"], line["task"], line["size"], line["batch"])
        value, metric = float(line["value"]), line["metric"]
        own, gatys = (lambda name, key=key: values.get((*key, name), [])), ("gatys", *key[1:])
        if own(metric):
            expected = statistics.median(own(metric))
        elif metric == "throughput_images_per_s":
            expected = int(key[3]) / statistics.median(own("latency_s"))
        elif metric == "speedup_at_equal_loss":
            target = statistics.median(own("objective"))
            times = [crossing(path, target) for path in points[key[1:3]].values()]
            expected = statistics.median(times) / statistics.median(own("latency_s"))
        elif metric == "speedup_at_500_iterations":
            steps = values[(*gatys, "iteration_s")]
            expected = 500 * statistics.median(steps) / statistics.median(own("latency_s"))
        elif metric == "memory_ratio":
            theirs = values[(*gatys, "peak_memory_bytes")]
            expected = statistics.median(theirs) / statistics.median(own("peak_memory_bytes"))
        else:
            continue
        exact = metric != "throughput_images_per_s"  # of an even number the median of inverses is another
        assert value == pytest.approx(expected, rel=1e-6 if exact else 1e-3), (key, metric)
        checked[metric] += 1
    assert checked["speedup_at_equal_loss"] == 5  # six combinations, one of them not reached
    assert checked["speedup_at_500_iterations"] == 6
    assert checked["latency_s"] == 18


def test_a_target_not_reached_at_512_is_a_lower_bound_in_the_file(run):
    lines = [
        line
        for line in read_csv(run / "summary.csv")
        if line["metric"] == "speedup_at_equal_loss" and line["status"] == "lower bound"
    ]
    assert [(line["method"], line["task"], line["size"]) for line in lines] == [("texture_net", "stylize", "512")]
    spent = max(float(line["seconds"]) for line in read_csv(run / "curves.csv") if line["size"] == "512")
    assert 0 < float(lines[0]["value"]) < spent / 0.15


# ---------------------------------------------------------------------------------------------------------- reading


def test_text_that_looks_like_a_gap_stays_text():
    text = ",".join(SAMPLE_COLUMNS) + "\n,,gluon,NA,null,256,1,float32,cpu,0,latency_s,s,0.5\n"
    table = parse_table(text, SAMPLE_COLUMNS)
    assert table.loc[0, "method"] == "NA" and table.loc[0, "task"] == "null"


def test_a_row_cut_off_in_its_columns_is_left_out():
    row = ",,gluon,gatys,texture,256,1,float32,cpu,0,latency_s,s,0.5"
    text = f"{','.join(SAMPLE_COLUMNS)}\n{row}\n,,gluon,gatys,text\n"
    assert len(parse_table(text, SAMPLE_COLUMNS)) == 1


def test_a_damaged_table_is_one_line_that_names_the_file():
    with pytest.raises(UserError, match=r"samples\.csv is damaged \(it has no column 'photo'\)"):
        parse_table("a,b\n1,2\n", SAMPLE_COLUMNS, "samples.csv")
