"""Several runs as one history: which belong together, what changed beyond noise, the pages, the command."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from htmlpage import Page
from synthetic import HOSTILE, make_run

from bench.cli import main
from bench.gate import history
from bench.gate.history import BETTER, FIRST, OTHER, SAME, UNCLEAR, WORSE
from bench.report import index, timeline


def measured(root: Path, name: str, day: int, slower: float = 1.0, **changes) -> Path:
    """A run of that day whose Johnson net is ``slower``; ``changes`` are put into run.json."""
    path = make_run(root / name, sizes=(256,), seeds=(0, 1), batches=(1,), pictures=False)
    samples = pd.read_csv(path / "samples.csv", dtype=str)
    chosen = (samples["method"] == "johnson") & (samples["metric"] == "latency_s")
    samples.loc[chosen, "value"] = (samples.loc[chosen, "value"].astype(float) * slower).astype(str)
    samples.to_csv(path / "samples.csv", index=False)
    lines = [json.loads(line) for line in (path / "cells.jsonl").read_text().splitlines()]
    (path / "cells.jsonl").write_text("".join(json.dumps({**line, "rows": {}}) + "\n" for line in lines))
    meta = json.loads((path / "run.json").read_text())
    meta |= {"created": f"2026-05-{day:02d}T12:00:00+00:00", **changes}
    meta["environment"]["git"] = {"revision": f"{day}" * 40, "dirty": False}
    (path / "run.json").write_text(json.dumps(meta))
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> list[Path]:
    """Three days on one machine, the net slower on the second and back on the third; and another machine."""
    root = tmp_path_factory.mktemp("runs")
    other = {"fingerprint": {"cpu": f"Other {HOSTILE}", "cores": 8, "gpu": None}}
    same = [measured(root, "c", 3), measured(root, "a", 1), measured(root, "b", 2, 1.5)]
    return [*same, measured(root, "d", 2, **other)]


@pytest.fixture(scope="module")
def points(runs) -> pd.DataFrame:
    return history.points(history.machines(map(history.read, runs)), Path("nowhere"))


def of_johnson(points: pd.DataFrame, metric: str) -> list[str]:
    rows = points[(points["machine"] == "machine 1") & (points["method"] == "johnson") & (points["metric"] == metric)]
    return list(rows["change"])


def test_runs_are_grouped_by_machine_and_ordered_by_time(runs):
    groups = history.machines(map(history.read, runs))
    assert {name: [entry.created[8:10] for entry in group] for name, group in groups.items()} == {
        "machine 1": ["01", "02", "03"], "machine 2": ["02"]
    }  # fmt: skip


def test_changes_beyond_noise_are_found_and_others_are_not(points):
    assert of_johnson(points, "latency_s") == [FIRST, WORSE, BETTER]
    assert of_johnson(points, "speedup_at_500_iterations") == [FIRST, WORSE, BETTER]
    assert of_johnson(points, "peak_memory_bytes") == [FIRST, SAME, SAME]
    rest = points[(points["method"] != "johnson") & (points["change"] != FIRST)]
    assert set(rest["change"]) <= {SAME, UNCLEAR}
    assert set(points.loc[points["machine"] == "machine 2", "change"]) == {FIRST}


def test_a_ratio_is_what_both_intervals_leave_possible():
    before = {"value": 2.0, "low": 1.9, "high": 2.2, "unit": "s"}
    after = {"value": 3.0, "low": 2.8, "high": 3.3, "unit": "s"}
    assert history.ratio_of(before, after) == pytest.approx((1.5, 2.8 / 2.2, 3.3 / 1.9))
    single = {"value": 3.0, "low": math.nan, "high": math.nan}
    assert history.ratio_of({**single, "value": 2.0, "unit": "B"}, {**single, "unit": "B"}) == (1.5, 1.5, 1.5)
    assert math.isnan(history.ratio_of({**single, "unit": "s"}, {**single, "unit": "s"})[1])
    assert math.isnan(history.ratio_of({**before, "value": 0.0}, after)[0])


@pytest.mark.parametrize(
    ("low", "high", "more_is_better", "found"),
    [(1.2, 1.3, False, WORSE), (1.2, 1.3, True, BETTER), (0.7, 0.8, False, BETTER), (0.7, 0.8, True, WORSE),
     (0.98, 1.02, False, SAME), (1.05, 1.3, False, UNCLEAR), (math.nan, math.nan, True, UNCLEAR)],
)  # fmt: skip
def test_verdicts(low, high, more_is_better, found):
    assert history.verdict(low, high, 0.1, more_is_better) == found


def drifting(ratios, noise: float = 0.02, **columns) -> pd.DataFrame:
    """Invented points of one number, run by run, its level following ``ratios``."""
    rng = np.random.default_rng(0)
    cell = {"style_name": "", "engine": "gluon", "method": "m", "task": "texture", "size": 64, "batch": 1,
            "dtype": "float32"}  # fmt: skip
    rows = [
        {"machine": "machine 1", "run": f"r{i}", "revision": f"{i}", **cell, "device": "cpu", "metric": "latency_s",
         "unit": "s", "value": 0.02 * ratio * np.exp(rng.normal(0, noise)), "status": "ok",
         "change": SAME if i else FIRST}
        for i, ratio in enumerate(ratios)
    ]  # fmt: skip
    return pd.DataFrame(rows).assign(**columns)


def test_a_drift_is_found_that_every_comparison_of_neighbours_lets_pass():
    creeping = 1.01 ** np.arange(40)
    points = drifting(creeping, noise=0.005)
    steps = points["value"].to_numpy()
    assert (steps[1:] / steps[:-1]).max() < 1.05
    found = history.drifts(points)
    assert set(found["change"]) == {WORSE} and (found["p"] <= history.RARE).all()
    assert found["ratio"].prod() > 1.15  # from the median of the first runs to that of the last
    assert set(history.drifts(drifting(creeping, 0.005, unit="x"))["change"]) == {BETTER}


def test_a_step_is_found_where_it_is_and_how_large():
    found = history.drifts(drifting([1.2] * 12 + [1.1] * 15 + [1.0] * 13))
    assert list(found["change"]) == [BETTER, BETTER]
    assert [int(run[1:]) for run in found["run"]] == pytest.approx([12, 27], abs=1)
    assert list(found["ratio"]) == pytest.approx([1.1 / 1.2, 1 / 1.1], rel=0.02)


def test_noise_is_no_drift_and_neither_is_a_change_below_the_floor_or_of_the_inputs():
    rng = np.random.default_rng(1)
    alarms = sum(bool(history.level_changes(rng.normal(0, 0.1, 30), 0.05)) for _ in range(60))
    assert alarms <= 2
    assert history.drifts(drifting([1.0] * 20 + [1.03] * 20, noise=0.001)).empty
    other = drifting([1.0] * 20 + [2.0] * 20)
    assert history.drifts(other.assign(change=[FIRST, *[SAME] * 19, OTHER, *[SAME] * 19])).empty
    bounds = other.assign(status=[*["lower bound"] * 20, *["ok"] * 20])
    assert history.drifts(bounds).empty
    assert history.drifts(drifting([1.0] * 4 + [2.0] * 5)).empty  # too few runs to tell an order from chance


def test_numbers_of_other_inputs_are_not_compared(tmp_path):
    first, second = measured(tmp_path, "a", 1), measured(tmp_path, "b", 2, 3.0)
    meta = json.loads((second / "run.json").read_text())
    meta["inputs"]["nets"]["johnson/stylize"]["sha256"] = "00" * 32
    (second / "run.json").write_text(json.dumps(meta))
    found = history.points(history.machines(map(history.read, [first, second])), tmp_path)
    later = found[found["revision"] == "2" * 9]
    assert set(later.loc[later["method"] == "johnson", "change"]) == {OTHER}
    optimiser = later[(later["method"] == "gatys") & (later["task"] == "stylize")]
    assert set(optimiser.loc[optimiser["metric"] == "time_to_target_s", "change"]) == {OTHER}
    assert OTHER not in set(optimiser.loc[optimiser["metric"] != "time_to_target_s", "change"])
    assert OTHER not in set(later.loc[later["method"] == "texture_net", "change"])


def test_the_options_of_an_engine_are_an_input(runs):
    meta = json.loads((runs[0] / "run.json").read_text())
    known = history.inputs_of(meta)
    meta["settings"]["engine_options"] = [["pytorch.compile", "yes"]]
    assert history.inputs_of(meta) != known == history.inputs_of({**meta, "settings": {
        name: value for name, value in meta["settings"].items() if name != "engine_options"
    }})  # fmt: skip


def test_a_row_of_several_styles_depends_on_its_own_style_s_net(runs):
    nets = {f"nets.{style}/johnson/stylize": style for style in ("brick", "waves")}
    entry = dataclasses.replace(history.read(runs[0]), inputs={"weights": "w", **nets})
    row = {"style_name": "waves", "method": "johnson", "task": "stylize", "metric": "latency_s"}
    assert history.depends_on(entry, row) == {"weights": "w", "nets.waves/johnson/stylize": "waves"}
    aimed = {**row, "method": "gatys", "metric": "time_to_target_s"}
    assert history.depends_on(entry, aimed) == {"weights": "w", "nets.waves/johnson/stylize": "waves"}


def test_the_page_has_the_changes_the_machines_and_every_point(runs, tmp_path):
    page = timeline.write(runs, tmp_path / "history", tmp_path)
    seen = Page(page.read_text(encoding="utf-8"))
    assert page == tmp_path / "history" / "index.html" and seen.open == []
    assert "4 runs on 2 machines" in seen.text and "got worse" in seen.text
    assert "Changes beyond noise" in seen.text and re.search(r"\+5\d\.\d %", seen.text)
    assert "10 % for times and 2 % for memory (optimisation: 6 % for the peak, 12 % for working" in seen.text
    assert "Machines side by side" in seen.text and "Other <script>alert('x')</script>" in seen.text
    table = pd.read_csv(page.parent / "history.csv")
    assert tuple(table.columns) == history.POINT_COLUMNS and set(table["machine"]) == {"machine 1", "machine 2"}
    names = {path.stem for path in (page.parent / "plots").glob("*.svg")}
    assert "machine-1-latency-s-256" in names and not [name for name in names if name.startswith("machine-2")]
    assert [level for level, _ in seen.headings][0] == 1
    for (level, _), (following, _) in zip(seen.headings, seen.headings[1:]):
        assert following <= level + 1
    for link in seen.all("a"):
        assert link["href"].startswith("#")  # none of these runs has a report to lead to


def test_a_run_of_several_machines_is_refused_in_one_line(tmp_path, capsys):
    path = measured(tmp_path, "a", 1, machines={"machine-1": {}})
    other = measured(tmp_path, "b", 2)
    assert main.main(["report", str(path), str(other), "--out", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert len(captured.err.splitlines()) == 1 and "RUN" in captured.err and "several machines" in captured.err
    assert not (tmp_path / "history").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [([], "RUN: missing"), (["--index", "latest"], "--index"), (["latest", "--to", "x"], "--to"),
     (["nowhere"], "no run 'nowhere'")],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(tmp_path, capsys, arguments, words):
    measured(tmp_path, ".", 1)
    assert main.main(["report", *arguments, "--out", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert words in captured.err and len(captured.err.splitlines()) == 1 and not captured.out


def test_history_goes_where_it_is_told(runs, tmp_path, capsys):
    assert main.main(["report", *map(str, runs[:2]), "--to", str(tmp_path / "there"), "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "there" / "index.html")
    assert (tmp_path / "index.html").is_file()


def test_programs_get_one_object(runs, tmp_path, capsys):
    for paths, page in ((runs[:2], "history/index.html"), (runs[:1], f"{runs[0].name}/report.html")):
        assert main.main(["report", *map(str, paths), "--out", str(tmp_path), "--json"]) == 0
        answer = json.loads(capsys.readouterr().out)
        assert answer["runs"] == [str(path) for path in paths]
        assert Path(answer["page"]).is_file() and answer["page"].endswith(page)


# ----------------------------------------------------------------------------------------------------- the list of runs


def test_the_list_reads_the_summary_of_an_older_run(tmp_path):
    path = measured(tmp_path, ".", 1)
    assert main.main(["report", str(path), "--out", str(tmp_path)]) == 0
    table = pd.read_csv(path / "summary.csv", dtype=str, keep_default_na=False)
    table.drop(columns="style_name").to_csv(path / "summary.csv", index=False)
    assert main.main(["report", "--index", "--out", str(tmp_path)]) == 0
    page = Page((tmp_path / "index.html").read_text(encoding="utf-8"))
    assert "faster than optimisation" in page.text and "unreadable" not in page.text


def test_the_list_has_every_run_newest_first_and_what_is_unreadable(tmp_path, capsys):
    old = measured(tmp_path, ".", 1)
    new = measured(tmp_path, ".", 5)
    broken = measured(tmp_path, ".", 3)
    (broken / "run.json").write_text("{")
    (tmp_path / "notes").mkdir()
    assert main.main(["report", str(new), "--out", str(tmp_path)]) == 0
    page = Page((tmp_path / "index.html").read_text(encoding="utf-8"))
    assert page.open == [] and "3 runs" in page.text and "notes" not in page.text
    assert page.text.index(new.name) < page.text.index(old.name) < page.text.index(broken.name)
    links = [link["href"] for link in page.all("a") if not link["href"].startswith("#")]
    assert links == [f"{new.name}/report.html"] and (tmp_path / links[0]).is_file()
    assert "faster than optimisation" in page.text and "unreadable" in page.text
    assert main.main(["report", "--index", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "index.html")


def test_a_page_of_somebody_else_is_left_alone(tmp_path, capsys):
    path = measured(tmp_path, ".", 1)
    (tmp_path / "index.html").write_text("mine")
    assert main.main(["report", "--index", "--out", str(tmp_path)]) == 2
    assert "was not made by this suite" in capsys.readouterr().err
    assert main.main(["report", str(path), "--out", str(tmp_path)]) == 0
    assert "warning" in capsys.readouterr().err and (tmp_path / "index.html").read_text() == "mine"


def test_a_report_of_a_run_elsewhere_leaves_no_list_there(tmp_path):
    path = measured(tmp_path / "elsewhere", ".", 1)
    assert main.main(["report", str(path), "--out", str(tmp_path / "results")]) == 0
    assert not (tmp_path / "elsewhere" / "index.html").exists() and not (tmp_path / "results").exists()


def test_an_empty_folder_and_a_missing_one(tmp_path, capsys):
    assert "No runs yet" in index.write(tmp_path).read_text()
    assert main.main(["report", "--index", "--out", str(tmp_path / "nowhere")]) == 2
    assert "--out: there is no folder" in capsys.readouterr().err
