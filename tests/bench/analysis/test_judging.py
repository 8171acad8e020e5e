"""Judges in a report: their table, and how far they agree with the objective."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from plans import small_plan, with_settings
from scipy.stats import spearmanr
from synthetic import make_run

from bench import report
from bench.analysis import judging
from bench.cli import main
from bench.store.schema import JUDGE_COLUMNS, JUDGES, NOISE, NOISE_COLUMNS


def judged(values: dict[str, list[float]], size: int = 256) -> pd.DataFrame:
    usual = {"engine": "gluon", "task": "texture", "size": size, "batch": 1, "dtype": "float32", "device": "cpu",
             "seed": 0}  # fmt: skip
    rows = [{**usual, "method": f"m{number}", "metric": metric, "value": value}
            for metric, column in values.items() for number, value in enumerate(column)]  # fmt: skip
    return pd.DataFrame(rows, columns=list(JUDGE_COLUMNS)).fillna("")


def test_correlations_are_spearmans_with_the_better_end_in_mind(tmp_path):
    rng = np.random.default_rng(1)
    objective, gram, draws = rng.random((3, 7))
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, part in ((first, slice(7)), (second, slice(4))):
        folder.mkdir()
        table = judged({"objective": list(objective[part]), "judge_gram": list(gram[part]),
                        "diversity": list(draws[part])})  # fmt: skip
        table.to_csv(folder / JUDGES, index=False)
    found = judging.correlations([judging.read(first), judging.read(second)]).set_index("metric")
    one, two = spearmanr(objective, gram)[0], spearmanr(objective[:4], gram[:4])[0]
    assert found.loc["judge_gram", "correlation"] == pytest.approx((7 * one + 4 * two) / 11)
    assert found.loc["judge_gram", ["pictures", "groups"]].tolist() == [11, 2]
    higher = (7 * spearmanr(objective, draws)[0] + 4 * spearmanr(objective[:4], draws[:4])[0]) / 11
    assert found.loc["diversity", "correlation"] == pytest.approx(-higher), "of diversity more is better"


def test_without_an_objective_no_agreement_is_known(tmp_path, capsys):
    run = make_run(tmp_path, sizes=(64,), seeds=(0,), batches=(1,))
    judged({"copied_share": [0.5, 0.25, 0.125]}).to_csv(run / JUDGES, index=False)
    assert "rank correlation" not in report.build(run).read_text() and "0.125" in (run / "report.md").read_text()
    assert main.main(["judge", str(run), "--kept"]) == 0 and capsys.readouterr().out == ""


def test_methods_of_several_engines_are_put_in_one_order_and_each_counts_once():
    table = judged({"objective": [1.0, 2.0, 3.0], "judge_gram": [1.0, 2.0, 3.0]})
    table.loc[table["method"] == "m2", "engine"] = "pytorch"
    again = table[table["method"] == "m0"].assign(engine="openvino", value=99.0)
    wide = judging.wide(pd.concat([again, table]))
    (found,) = judging.correlations([wide]).to_dict("records")
    assert found["correlation"] == pytest.approx(1.0) and found["pictures"] == 3


def test_a_picture_of_another_photo_is_not_judged_by_the_first():
    engine_judging = pytest.importorskip("bench.engines.judging")
    plan = with_settings(small_plan(repeats=3), other_contents=("chelsea", "coffee"))
    judge = object.__new__(engine_judging._Judging)
    judge.plan, judge.settings = plan, plan.settings
    shown = {(cell.method, cell.task, cell.seed): judge.shows_content(cell.to_dict()) for cell in plan.cells}
    assert all(shows for (method, task, seed), shows in shown.items() if method != "gatys" or task == "texture")
    assert [shown["gatys", "stylize", seed] for seed in range(3)] == [True, False, False]


def test_a_report_has_what_the_judges_found_and_does_without(tmp_path):
    run = make_run(tmp_path, sizes=(64,), seeds=(0,), batches=(1,))
    assert judging.read(run).empty and "Judges" not in report.build(run).read_text()
    judged({"objective": [1.0, 2.0, 3.0], "copied_share": [0.5, 0.25, 0.125], "nonsense": [1, 2, 3]}).to_csv(
        run / JUDGES, index=False)  # fmt: skip
    picture = next((run / "images").glob("*texture_net-stylize*.png"))
    rows = [("texture_net", 64, scale, 30 + scale, 10.0, 20 + scale, 0.0, f"images/{picture.name}") for scale in (0, 2)]
    pd.DataFrame(rows, columns=list(NOISE_COLUMNS)).to_csv(run / NOISE, index=False)
    page, text = report.build(run).read_text(), (run / "report.md").read_text()
    assert "Copied patches cannot be told from chance: rank correlation -1.00 over 3 pictures" in page
    assert "nonsense" not in page and "noise × 2" in page and "style loss 20, 22" in page
    assert "0.125" in text and "Noise strength" in text
