"""Every number of a report: its samples and lines are those of the files, its command measures it again, its marks."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
import shlex
import sys

import pandas as pd
import pytest
import toy_methods
from htmlpage import Page
from PIL import Image
from synthetic import make_run

from bench.analysis.analysed import analyse
from bench.cli import main
from bench.plan import cells as plans
from bench.plan import engines, memory
from bench.plan.arguments import make_plan
from bench.plan.budgets import BUDGETS
from bench.plan.cells import GENERATE, OPTIMISE
from bench.report import numbers, repeat
from bench.report.wording import measured
from bench.store.reader import GROUP_COLUMNS, read_run
from nst_gluon.pages import wording


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return read_run(make_run(tmp_path_factory.mktemp("runs"), sizes=(256, 512, 1024), oom_at=1024, pictures=False))


@pytest.fixture(scope="module")
def analysed(run):
    return analyse(run)


@pytest.fixture(scope="module")
def summary(analysed):
    return analysed.summary


@pytest.fixture(scope="module")
def book(analysed):
    return numbers.collect(analysed)


def row_of(summary, **fields):
    found = summary[(summary[list(fields)] == pd.Series(fields)).all(axis=1)]
    return found.iloc[0]


def test_every_row_has_its_number_and_its_definition(summary, book):
    assert len(book.numbers) == len(summary)
    assert len({number.id for number in book.numbers.values()}) == len(summary)
    for _, row in summary.iterrows():
        number = book.find(row)
        assert number.definition and number.command.startswith("python -m bench run ")
        assert measured(row["value"], row["unit"], row["status"]) in number.value


def test_the_lines_named_are_those_of_the_samples(run, summary, book):
    """Read the named lines of samples.csv with nothing but the csv module."""
    lines = (run.directory / "samples.csv").read_text().splitlines()
    header = lines[0].split(",")
    for method, metric in (("johnson", "latency_s"), ("gatys", "iteration_s"), ("texture_net", "objective")):
        row = row_of(summary, method=method, metric=metric, task="stylize", size=256, batch=1)
        (source,) = book.find(row).sources
        spans = re.findall(r"(\d+)(?: to (\d+))?", source.where.partition("line")[2])
        named = [n for first, last in spans for n in range(int(first), int(last or first) + 1)]
        found = [dict(zip(header, next(csv.reader([lines[n - 1]])))) for n in named]
        assert len(found) == source.n == row["n"]
        assert {(one["method"], one["metric"], one["size"]) for one in found} == {(method, metric, "256")}
        values = pd.Series([float(one["value"]) for one in found])
        each = values.groupby([one["seed"] for one in found]).median()
        assert each.median() == pytest.approx(row["value"], rel=1e-6)
        told = (source.least, source.median, source.most)
        assert told == tuple(wording.quantity(v, row["unit"]) for v in (values.min(), values.median(), values.max()))


def test_a_ratio_names_both_its_sides(summary, book):
    row = row_of(summary, metric="speedup_at_equal_loss", method="texture_net", task="texture", size=256)
    curve, objective, latency = book.find(row).sources
    assert "curves.csv" in curve.where and curve.n == 3 and curve.what.startswith("optimisation")
    assert objective.what == "texture network, objective" and latency.what == "texture network, latency of one call"
    row = row_of(summary, metric="working_memory_ratio", method="johnson", task="stylize", size=256)
    assert [source.what for source in book.find(row).sources] == [
        "optimisation, working memory", "Johnson net, working memory"
    ]  # fmt: skip


def test_a_failed_cell_has_its_reason(summary, book):
    row = row_of(summary, method="gatys", metric="iteration_s", task="texture", size=1024)
    number = book.find(row)
    assert number.value == "out of memory" and "killed by the kernel: out of memory" in number.reason


@pytest.mark.parametrize(
    ("lines", "text"),
    [([4], "line 4"), ([4, 5, 6], "lines 4 to 6"), ([9, 4, 5], "lines 4 to 5 and 9"), ([], "lines "),
     ([1, 3, 5, 7], "lines 1, 3, 5 and 7"), (range(1, 20, 2), "lines 1, 3, 5 and 7 more pieces")],
)  # fmt: skip
def test_ranges(lines, text):
    assert numbers.ranges(lines) == text


# ------------------------------------------------------------------------------------------------------------ commands


@pytest.fixture
def any_engine(monkeypatch):
    """A plan is made, not measured: it does not matter which engine is installed, or how much memory there is."""
    monkeypatch.setattr(engines.Engine, "check", lambda self: None)
    monkeypatch.setattr(memory, "check_memory", lambda cells, available: None)


def parsed(command: str) -> plans.Plan:
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "bench"]
    return make_plan(main.parser().parse_args(words[3:]))


def test_the_command_names_files_that_have_a_comma(any_engine, tmp_path):
    for name in ("a, b", "c"):
        Image.new("RGB", (32, 32)).save(tmp_path / f"{name}.png")
    arguments = ["run", "--method", "gatys", "--content", str(tmp_path), "--budget", "quick"]
    whole = make_plan(main.parser().parse_args(arguments))
    meta = whole.to_dict()
    again = parsed(repeat.command(meta, [cell for cell in meta["cells"] if cell["task"] == "stylize"][:1]))
    assert again.settings.contents == whole.settings.contents and len(again.settings.contents) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "--size 256 --budget quick --seed 3",
        "--budget full --size 512,256 --repeats 2 --seed 7",
        "--task texture --batch 1,8 --preset gatys --threads 1 --target-loss 123.5",
        "--method gatys,johnson --random-weights --content chelsea --weights gluon:vgg16",
        "--method texture_net,gatys --repeats 5",
        "--method toys.py:SignDescent,gatys --task texture --size 64 --budget quick --engine gluon,pytorch "
        f"--engine-python pytorch={sys.executable}",
    ],
)
def test_the_command_of_a_cell_measures_that_cell_again(any_engine, arguments, tmp_path, monkeypatch):
    toy_methods.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    whole = make_plan(main.parser().parse_args(["run", *arguments.split()]))
    meta = whole.to_dict()
    for cell in meta["cells"]:
        again = parsed(repeat.command(meta, repeat.needed(cell, meta["cells"])))
        wanted = [c for c in whole.cells if all(getattr(c, n) == cell[n] for n in GROUP_COLUMNS)]
        assert set(wanted) <= set(again.cells)
        assert {c.seed for c in again.cells} >= {c.seed for c in wanted}
        assert dict(again.settings.nets).items() <= dict(whole.settings.nets).items()
        used = {name for c in again.cells for name in (c.method, c.engine)}
        own = {name: tuple(pair for pair in getattr(whole.settings, name) if pair[0] in used)
               for name in ("methods", "engine_pythons")}  # fmt: skip
        assert again.settings == dataclasses.replace(whole.settings, nets=again.settings.nets, **own)
        assert again.budget == whole.budget
        if cell["kind"] == OPTIMISE:  # with all the nets that it was aimed at, and no others
            aims = {c.method for c in whole.cells if c.kind == GENERATE and c.task == cell["task"]}
            assert {c.method for c in again.cells if c.kind == GENERATE} == aims


def test_styles_nets_and_machines_that_are_not_usual(tmp_path):
    net = tmp_path / "my net.npz"
    settings = {"style": "/a b/style.jpg", "nets": [["johnson/stylize", str(net)], ["texture_net/texture", "x.npz"]]}
    cell = {"engine": "gluon", "method": "johnson", "task": "stylize", "size": 64, "batch": 4, "dtype": "bfloat16",
            "device": "gpu:1@machine-2", "seed": 2, "kind": GENERATE}  # fmt: skip
    words = shlex.split(repeat.command({"settings": settings, "budget": {"name": "full"}}, [cell]))
    assert words[words.index("--style") + 1] == "/a b/style.jpg" and words[words.index("--net") + 1] == str(net)
    assert words[words.index("--device") + 1] == "gpu:1" and words[words.index("--dtype") + 1] == "bfloat16"
    assert words[words.index("--repeats") + 1] == "1" and words[words.index("--seed") + 1] == "2"
    assert words.count("--net") == 1 and BUDGETS["full"].seeds == 3


def test_the_command_of_a_speed_up_has_both_methods(book, summary):
    row = row_of(summary, metric="speedup_at_equal_loss", method="texture_net", task="stylize", size=256)
    words = shlex.split(book.find(row).command)
    assert set(words[words.index("--method") + 1].split(",")) == {"texture_net", "gatys"}
    assert words[words.index("--size") + 1] == "256" and words[words.index("--task") + 1] == "stylize"


# --------------------------------------------------------------------------------------------------------------- notes


def texts(run, summary, **fields):
    row = row_of(summary, **fields)
    book = numbers.collect(dataclasses.replace(analyse(run), summary=summary))
    return " ".join(note.text for note in book.find(row).notes)


def changed(path, of=lambda record: True, **fields):
    """A run whose cells carry further fields."""
    lines = [json.loads(line) for line in (path / "cells.jsonl").read_text().splitlines()]
    lines = [{**line, **(fields if of(line) else {})} for line in lines]
    (path / "cells.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return read_run(path)


def test_warnings_stand_beside_the_numbers_they_touch(tmp_path):
    path = make_run(tmp_path, sizes=(256,), seeds=(0,), pictures=False)
    run = changed(path, lambda line: line["method"] == "johnson", foreign_cores=1.5, drift=-0.2)
    summary = analyse(run).summary
    told = texts(run, summary, method="johnson", metric="latency_s", batch=1)
    assert "Busy machine" in told and "Drift" in told
    assert "Busy machine" in texts(run, summary, method="johnson", metric="speedup_at_equal_loss")
    assert not texts(run, summary, method="johnson", metric="peak_memory_bytes", batch=1)
    assert not texts(run, summary, method="texture_net", metric="latency_s", task="texture", batch=1)
    assert "One start" in texts(run, summary, method="gatys", metric="time_to_target_s", task="texture")


def test_few_samples_precision_bounds_and_random_weights_are_marked(tmp_path):
    path = make_run(tmp_path, sizes=(256, 512), seeds=(0,), pictures=False, random_weights=True)
    run = read_run(path)
    summary = analyse(run).summary
    assert "Random descriptor weights" in texts(run, summary, method="johnson", metric="objective", size=256)
    assert "Random" not in texts(run, summary, method="johnson", metric="latency_s", size=256, batch=1)
    bound = texts(run, summary, method="texture_net", task="stylize", metric="speedup_at_equal_loss", size=512)
    assert "A lower bound" in bound
    assert "Not reached" in texts(run, summary, method="gatys", task="stylize", metric="time_to_target_s", size=512)
    summary.loc[summary["metric"] == "latency_s", ["n", "dtype"]] = [3, "bfloat16"]
    told = texts(run, summary, method="johnson", metric="latency_s", size=256, batch=1)
    assert "Few samples" in told and "bfloat16" in told
    summary.loc[summary["metric"] == "iterations_to_target_johnson", "value"] = 19.0
    assert "Below the quality floor" in texts(run, summary, method="johnson", metric="speedup_at_equal_loss", size=256)


def test_a_page_leads_from_each_number_to_its_story(tmp_path):
    path = make_run(tmp_path, sizes=(256,), seeds=(0,), batches=(1,), pictures=False)
    assert main.main(["report", str(path), "--out", str(tmp_path)]) == 0
    page = Page((path / "report.html").read_text(encoding="utf-8"))
    summary = pd.read_csv(path / "summary.csv")
    stories = {one["id"] for _, one in page.elements if "popover" in one}
    opened = [one["popovertarget"] for one in page.all("button") if one.get("class", "").startswith("story")]
    assert len(stories) == len(summary) and stories == set(opened)
    marks = [one["href"] for one in page.all("a") if one["href"].startswith("#note-")]
    assert marks and {one["id"] for _, one in page.elements if "id" in one} >= {href[1:] for href in marks}
    assert "samples.csv, lines" in page.text and "curves.csv, lines" in page.text
    text = (path / "report.md").read_text(encoding="utf-8")
    assert "ᵃ" in text and "- ᵃ One start" in text


def test_of_several_machines_the_lines_of_a_cell_are_found_though_the_file_has_no_labels():
    cell = ("", "gluon", "gatys", "texture", 256, 1, "float32", "cpu@machine-1", 0)
    written = (*map(str, cell[:7]), "cpu", "0")
    assert numbers._of_cell({(*written, "iteration_s"): [7]}, cell, "iteration_s") == [7]
    assert numbers._of_cell({tuple(map(str, cell)): [3], written: [4]}, cell) == [3]  # merged: the file has the labels
    assert numbers._of_cell({}, cell) == []
