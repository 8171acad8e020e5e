"""Verdicts follow from rules and intervals: each rule at its edges, and the published figures against a whole run."""

from __future__ import annotations

import csv
import math
from types import SimpleNamespace

import pandas as pd
import pytest
from synthetic import make_run

from bench.analysis import claims, methods, metrics
from bench.analysis import summary as analysis
from bench.analysis.claims import (
    ABOUT,
    AT_LEAST,
    AT_MOST,
    BELOW_FLOOR,
    CLAIMS,
    NOT_MEASURED,
    NOT_REPRODUCED,
    OTHER_HARDWARE,
    PARTLY,
    QUALITY_FLOOR,
    REPRODUCED,
)
from bench.analysis.methods import Methods
from bench.report import markdown, tables
from bench.store.reader import SUMMARY_COLUMNS, read_run
from nst_gluon.methods import bundled

BY_ID = {claim.id: claim for claim in CLAIMS}
KNOWN = Methods({name: method.facts() for name, method in bundled().items()})
SPEED = BY_ID["texture-net-speed"]


def row(method: str, metric: str, task: str, size: int, unit: str, value: float, **fields) -> dict:
    ends = {"low": math.nan, "high": math.nan, "n": 3, "status": "ok"}
    return {"style_name": "", "engine": "gluon", "method": method, "task": task, "size": size, "batch": 1,
            "dtype": "float32", "device": "cpu", "metric": metric, "unit": unit, "value": value, **ends,
            **fields}  # fmt: skip


def summary(claim: claims.Claim, value: float, low=math.nan, high=math.nan, steps=50.0, **fields) -> pd.DataFrame:
    """What ``claim`` looks for at its first size, and ``steps`` evaluations of optimisation to the net's loss."""
    (net, *_), size = KNOWN.of_paper(claim.paper.title), next(iter(claim.published))
    metric = claim.metric
    if claim.of_optimisation and metric in ("iterations_to_target", "time_to_target_s"):
        metric = metrics.aimed_at(metric, net)
    places = {name: fields.pop(name) for name in ("task", "size") if name in fields}
    own = row(KNOWN.baseline if claim.of_optimisation else net, metric, claim.task, size, claim.unit, value, low=low,
              high=high, **fields)  # fmt: skip
    own.update(places)
    place = {name: own[name] for name in ("engine", "dtype", "device")}
    quality = row(KNOWN.baseline, metrics.aimed_at("iterations_to_target", net), claim.task, size, "1", steps, **place)
    rows = [own] if metric == quality["metric"] else [own, quality]
    return pd.DataFrame(rows, columns=list(SUMMARY_COLUMNS))


def part(claim: claims.Claim, table: pd.DataFrame, random_weights: bool = False) -> claims.Part:
    return claims.find(claim, table, KNOWN, random_weights).parts[0]


@pytest.mark.parametrize(
    ("rule", "low", "high", "verdict"),
    [
        (AT_LEAST, 90, 95, REPRODUCED), (AT_LEAST, 500, 600, REPRODUCED), (AT_LEAST, 89, 95, PARTLY),
        (AT_LEAST, 10, 90, PARTLY), (AT_LEAST, 34, 40, PARTLY), (AT_LEAST, 30, 40, NOT_REPRODUCED),
        (AT_MOST, 1, 110, REPRODUCED), (AT_MOST, 105, 115, PARTLY), (AT_MOST, 200, 299, PARTLY),
        (AT_MOST, 200, 301, NOT_REPRODUCED), (ABOUT, 80, 120, REPRODUCED), (ABOUT, 70, 85, PARTLY),
        (ABOUT, 121, 299, PARTLY), (ABOUT, 34, 60, PARTLY), (ABOUT, 20, 30, NOT_REPRODUCED),
        (ABOUT, 200, 400, NOT_REPRODUCED),
    ],
)  # fmt: skip
def test_rules_at_their_edges_for_a_published_100(rule, low, high, verdict):
    assert claims.judge(rule, (100, 100), low, high) == verdict


def test_a_single_sample_stands_for_its_interval():
    assert part(SPEED, summary(SPEED, 470.0, n=1)).verdict == REPRODUCED
    assert part(SPEED, summary(SPEED, 170.0, n=1)).verdict == PARTLY


def test_the_interval_decides_and_not_the_value():
    assert part(SPEED, summary(SPEED, 600.0, 300.0, 900.0)).verdict == PARTLY


@pytest.mark.parametrize(
    ("bound", "verdict"), [(1000.0, REPRODUCED), (460.0, REPRODUCED), (200.0, NOT_MEASURED), (100.0, NOT_MEASURED)]
)
def test_a_lower_bound_confirms_but_does_not_refute(bound, verdict):
    found = part(SPEED, summary(SPEED, bound, high=math.inf, status="lower bound"))
    assert (found.verdict, found.lower_bound, found.measured) == (verdict, True, bound)
    assert ("holds from there on" in found.reason) == (verdict == REPRODUCED)


@pytest.mark.parametrize(("bound", "verdict"), [(60.0, NOT_MEASURED), (200.0, NOT_MEASURED), (400.0, NOT_REPRODUCED)])
def test_a_lower_bound_refutes_what_it_exceeds_by_far(bound, verdict):
    claim = BY_ID["johnson-quality"]
    assert part(claim, summary(claim, bound, high=math.inf, status="not reached")).verdict == verdict


@pytest.mark.parametrize(("value", "device"), [(1e-6, "cpu"), (1e12, "gpu")])
def test_what_is_bound_to_the_papers_hardware_has_no_verdict_in_either_direction(value, device):
    bound = [claim for claim in CLAIMS if claim.hardware_bound]
    assert len(bound) == 4 and all(claim.unit in ("s", "B") for claim in bound)
    for claim in bound:
        assert part(claim, summary(claim, value, device=device)).verdict == OTHER_HARDWARE
    assert OTHER_HARDWARE not in claims.COUNTED


@pytest.mark.parametrize(("steps", "verdict"), [(QUALITY_FLOOR - 1, BELOW_FLOOR), (QUALITY_FLOOR, REPRODUCED),
                                                (math.nan, NOT_MEASURED)])  # fmt: skip
def test_speed_counts_only_above_the_quality_floor(steps, verdict):
    for claim in CLAIMS:
        found = part(claim, summary(claim, 1e6, steps=steps))
        assert not claim.speed or found.verdict == verdict, claim.id


def test_an_untrained_net_reproduces_nothing_that_speaks_of_speed_or_quality():
    """Its picture has the loss that optimisation starts from: reached at the first evaluation, whatever the ratio."""
    for claim in CLAIMS:
        value = 1.0 if claim.metric == "iterations_to_target" else 1e6
        if claim.speed or claim.metric == "iterations_to_target":
            assert part(claim, summary(claim, value, steps=1.0)).verdict in (BELOW_FLOOR, NOT_REPRODUCED)


def test_the_nets_of_a_run_before_their_training_reproduce_no_claim_about_loss_or_quality(tmp_path):
    run = read_run(make_run(tmp_path, sizes=(256, 512), pictures=False))
    table, known = analysis.summarise_run(run), methods.of_run(run)
    trained = {found.claim.id: found.verdict for found in claims.of_run(run, table, known)}
    before = claims.of_run(run, claims.untrained(table, known), known)
    assert REPRODUCED in trained.values()
    for found in before:
        if found.claim.speed or found.claim.needs_real_weights:
            assert found.verdict not in (REPRODUCED, PARTLY), found.claim.id
        elif found.claim.metric == "parameters":  # it is as small as after
            assert found.verdict == trained[found.claim.id] == REPRODUCED
    assert table.equals(analysis.summarise_run(run))  # as it was


def test_random_weights_measure_no_claim_about_loss_or_speed():
    for claim in CLAIMS:
        found = part(claim, summary(claim, next(iter(claim.published.values()))[0]), random_weights=True)
        assert (found.verdict == NOT_MEASURED) == (claim.needs_real_weights or claim.speed), claim.id


def test_what_the_run_lacks_is_not_measured_with_the_reason():
    found = part(SPEED, summary(SPEED, 1.0).iloc[:0])
    assert found.verdict == NOT_MEASURED and found.reason == "not in this run"
    failed = part(SPEED, summary(SPEED, math.nan, status="oom", n=0))
    assert failed.verdict == NOT_MEASURED and "oom" in failed.reason


@pytest.mark.parametrize("other", [{"dtype": "bfloat16"}, {"batch": 4}, {"size": 128}, {"task": "stylize"}])
def test_only_the_cell_that_a_claim_names_counts(other):
    assert part(SPEED, summary(SPEED, 500.0, **other)).verdict == NOT_MEASURED


def test_the_suites_own_engine_speaks_for_a_run_of_several():
    table = pd.concat([summary(SPEED, 9.0, engine="pytorch"), summary(SPEED, 500.0)], ignore_index=True)
    assert part(SPEED, table).measured == 500.0
    table.loc[(table["metric"] == SPEED.metric) & (table["engine"] == "gluon"), "value"] = math.nan
    assert part(SPEED, table).measured == 9.0


def test_a_claim_with_several_sizes_is_one_with_the_worst_of_their_verdicts():
    claim = BY_ID["johnson-speed-500"]
    good, poor = (summary(claim, value) for value in (1060.0, 500.0))
    assert claims.find(claim, good, KNOWN).verdict == REPRODUCED
    both = pd.concat([good, poor.assign(size=512)], ignore_index=True)
    found = claims.find(claim, both, KNOWN)
    assert [one.verdict for one in found.parts] == [REPRODUCED, PARTLY, NOT_MEASURED] and found.verdict == PARTLY


def of_styles(claim: claims.Claim, **values: float) -> pd.DataFrame:
    """The same for several styles; a style without a value is one whose optimisation ran out of memory."""
    return pd.concat([
        summary(claim, value, status="oom" if math.isnan(value) else "ok").assign(style_name=name)
        for name, value in values.items()
    ], ignore_index=True)  # fmt: skip


def shown(*findings: claims.Finding) -> list[str]:
    """The rows of the report's table, in Markdown."""
    return markdown.table(tables.claims_table(SimpleNamespace(findings=findings, untrained={}))).splitlines()[2:]


def test_of_several_styles_the_worst_speaks_and_is_named():
    table = of_styles(SPEED, auvers=40.0, brick=500.0, waves=450.0)
    assert part(SPEED, table).measured == 40.0 and part(SPEED, table).reason.startswith("auvers, ")
    table = pd.concat([summary(SPEED, 500.0).assign(style_name="auvers"),
                       summary(SPEED, 500.0, steps=5.0).assign(style_name="waves")])  # fmt: skip
    assert part(SPEED, table).reason.startswith("matched in 5 evaluations, 20 needed; waves, texture network, ")


@pytest.mark.parametrize(("name", "values", "worst"), [
    ("texture-net-speed", {"auvers": 600.0, "brick": 460.0, "waves": 500.0}, "brick"),
    ("texture-net-20ms", {"auvers": 0.02, "brick": 0.03, "waves": 0.025}, "brick"),
    ("johnson-quality", {"auvers": 9.0, "brick": 3.0, "waves": 400.0}, "brick"),
    ("johnson-quality", {"auvers": 9.0, "brick": 3.0, "waves": 4000.0}, "waves"),
])  # fmt: skip
def test_of_equal_verdicts_the_worst_value_speaks_and_the_table_names_its_style(name, values, worst):
    finding = claims.find(BY_ID[name], of_styles(BY_ID[name], **values), KNOWN)
    assert finding.parts[0].measured == values[worst]
    assert f": {worst} |" in shown(finding)[0]


def test_styles_without_a_verdict_leave_a_claim_partly_reproduced_at_most():
    failed = dict.fromkeys(("auvers", "brick", "chelsea", "gravel", "starry"), math.nan)
    found = part(SPEED, of_styles(SPEED, waves=500.0, **failed))
    assert found.verdict == PARTLY and found.reason.startswith("1 of 6 styles measured; waves, texture network, ")
    assert part(SPEED, of_styles(SPEED, waves=40.0, **failed)).verdict == NOT_REPRODUCED
    assert part(SPEED, of_styles(SPEED, **failed)).verdict == NOT_MEASURED
    elsewhere = of_styles(SPEED, auvers=500.0).assign(method="johnson")  # a style that the net was not run on
    assert part(SPEED, pd.concat([elsewhere, of_styles(SPEED, waves=500.0)])).verdict == REPRODUCED


def test_a_failed_cell_counts_where_it_left_no_row_of_the_claims_metric():
    claim = BY_ID["memory-ratio"]
    lost = row("texture_net", "latency_s", "texture", 256, "s", math.nan, status="error", style_name="auvers", n=0)
    table = pd.concat([of_styles(claim, waves=7.0), pd.DataFrame([lost])], ignore_index=True)
    assert part(claim, table).verdict == PARTLY and part(claim, table).why == "1 of 2 styles measured"
    (alone,) = claims.find(claim, pd.DataFrame([lost]), KNOWN).parts
    assert alone.verdict == NOT_MEASURED and alone.reason == "no value: a cell ended as error"


def test_a_size_without_a_verdict_caps_it_and_its_value_is_not_shown():
    claim = BY_ID["johnson-speed-500"]
    table = pd.concat([summary(claim, 1060.0), summary(claim, 2690.0, steps=math.nan, size=512)], ignore_index=True)
    table.loc[table["metric"] != claim.metric, "size"] = 256
    finding = claims.find(claim, table, KNOWN)
    assert [one.verdict for one in finding.parts] == [REPRODUCED, NOT_MEASURED, NOT_MEASURED]
    assert finding.verdict == PARTLY and finding.worst.why == "1 of 2 sizes measured"
    (line,) = shown(finding)
    assert "2,690" not in line and "| 1,060× at 256, 1 of 3 sizes |" in line


def test_a_verdict_names_the_method_that_it_was_judged_on():
    assert part(SPEED, summary(SPEED, 500.0)).reason == "texture network, gluon on cpu, n = 3"
    claim = BY_ID["johnson-quality"]
    reason = part(claim, summary(claim, 60.0)).reason
    assert reason == "optimisation to the loss of the Johnson net, gluon on cpu, n = 3"
    for steps, verdict in ((5.0, BELOW_FLOOR), (math.nan, NOT_MEASURED)):
        found = part(SPEED, summary(SPEED, 500.0, steps=steps))
        assert found.verdict == verdict and found.reason.endswith("; texture network, gluon on cpu, n = 3")


@pytest.mark.parametrize(("steps", "low", "high", "verdict", "said"), [
    (18.0, 17.2, 19.9, BELOW_FLOOR, "matched in 18 evaluations [17, 19], 20 needed"),
    (21.0, 19.9, 24.0, REPRODUCED, "matched in 21 evaluations [19, 24], 20 needed"),
    (21.0, 20.0, 24.0, REPRODUCED, ""), (18.0, 18.0, 18.0, BELOW_FLOOR, "matched in 18 evaluations, 20 needed"),
])  # fmt: skip
def test_how_sure_a_net_s_quality_is_stands_beside_the_floor(steps, low, high, verdict, said):
    table = summary(SPEED, 500.0, steps=steps)
    table.loc[table["metric"] != SPEED.metric, ["low", "high"]] = [low, high]
    found = part(SPEED, table)
    assert (found.verdict, found.why) == (verdict, said)


def test_the_slim_net_is_not_the_papers_in_old_runs_either(tmp_path):
    assert KNOWN.of_paper("Perceptual Losses") == ["johnson"]
    run = read_run(make_run(tmp_path, sizes=(256,), pictures=False))
    old = {**bundled()["johnson_slim"].facts().to_dict(), "paper": bundled()["johnson"].paper}
    own = {**old, "name": "mine", "reference": "mine.py:Mine"}
    run.meta["methods"] = [old, own]
    assert methods.of_run(run).of_paper("Perceptual Losses") == ["mine", "johnson"]


def test_a_method_from_elsewhere_is_held_to_the_claims_of_its_paper():
    """Nothing is known by its name: another implementation of a paper is judged as the bundled one is."""
    table = summary(SPEED, 500.0).replace({"texture_net": "mine"})
    table["metric"] = table["metric"].str.replace("texture_net", "mine")
    mine = Methods({"mine": bundled()["texture_net"].facts(), "gatys": bundled()["gatys"].facts()})
    assert claims.find(SPEED, table, mine).verdict == REPRODUCED


@pytest.mark.parametrize("names", [("mine", "texture_net"), ("texture_net", "mine")])
def test_of_several_nets_of_a_paper_the_worst_speaks(names):
    """Whichever is named first, and if it is below the quality floor."""
    fine, poor = (summary(SPEED, value, steps=steps) for value, steps in ((600.0, 50.0), (500.0, 5.0)))
    fine["metric"] = fine["metric"].str.replace("texture_net", "mine")
    table = pd.concat([fine.replace({"texture_net": "mine"}), poor])
    known = Methods({**{name: bundled()["texture_net"].facts() for name in names}, "gatys": bundled()["gatys"].facts()})
    found = claims.find(SPEED, table, known).parts[0]
    assert (found.verdict, found.measured) == (BELOW_FLOOR, 500.0)


def test_the_table_of_claims_is_sound():
    assert len(BY_ID) == len(CLAIMS) == 10
    measurements = [(claim.metric, claim.paper.title, claim.of_optimisation, claim.task) for claim in CLAIMS]
    assert len(set(measurements)) == len(CLAIMS), "each claim is a measurement of its own"
    for claim in CLAIMS:
        assert all(low <= high for low, high in claim.published.values())
        assert claim.rule in claims.RULES and claim.metric in metrics.METRICS
        assert KNOWN.of_paper(claim.paper.title), claim.id
    assert all(paper.url.startswith("https://arxiv.org/abs/") for paper in claims.PAPERS)


def test_claims_csv_of_a_whole_run(tmp_path):
    path = make_run(tmp_path, sizes=(256, 512), pictures=False)
    run = read_run(path)
    returned = claims.write(claims.of_run(run, analysis.summarise_run(run), methods.of_run(run)), path)
    with open(path / "claims.csv", newline="", encoding="utf-8") as stream:
        lines = list(csv.DictReader(stream))
    assert list(lines[0])[:7] == ["claim", "source", "published", "measured", "low", "high", "verdict"]
    assert len(lines) == len(returned) == sum(len(claim.published) for claim in CLAIMS)
    by_place = {(line["id"], line["size"]): line for line in lines}
    assert by_place["parameters", "256"]["verdict"] == REPRODUCED
    assert float(by_place["parameters", "256"]["measured"]) == 71_659
    assert by_place["johnson-speed-500", "1024"]["verdict"] == NOT_MEASURED
    assert by_place["johnson-quality", "256"]["published"] == "50-100"
    assert {line["verdict"] for line in lines} <= set(claims.VERDICTS)


def test_another_measurement_gives_another_verdict(tmp_path):
    run = read_run(make_run(tmp_path, sizes=(256,), pictures=False))
    table, claim = analysis.summarise_run(run), BY_ID["johnson-speed-500"]
    before = claims.find(claim, table, methods.of_run(run))
    table.loc[table["metric"] == claim.metric, ["value", "low", "high"]] /= 100
    after = claims.find(claim, table, methods.of_run(run))
    assert (before.verdict, after.verdict) == (REPRODUCED, NOT_REPRODUCED)
