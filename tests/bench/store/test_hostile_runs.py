"""Run folders that somebody else made: every reader of them goes through one door, which refuses in one line."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil

import pytest
from synthetic import make_run

from bench import report
from bench.cli.main import main
from bench.plan.budgets import BUDGETS
from bench.plan.cells import Cell
from bench.store import reader, run_folder, whole_runs
from nst_gluon.nets import netfile
from nst_gluon.system.errors import UserError


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("made"), sizes=(64,), seeds=(0,), batches=(1,), pictures=False)


@pytest.fixture
def results(made, tmp_path, monkeypatch):
    """A folder of two runs, "bad" and "good"; the current folder is the one above it."""
    monkeypatch.chdir(tmp_path)
    for name in ("bad", "good"):
        shutil.copytree(made, tmp_path / "results" / name)
    return tmp_path / "results"


COMMANDS = [["report", "bad"], ["merge", "bad", "good"], ["compare", "bad", "good"], ["compare", "good", "bad"],
            ["baseline", "save", "main", "bad"], ["run", "--resume", "bad"], ["roofline", "--run", "bad"]]  # fmt: skip
DEEP = "[" * 5000 + "]" * 5000


def put(*path_and_value):
    """Change a record: ``put("settings", "preset", 3)``."""
    *path, name, value = path_and_value

    def change(record):
        for key in path:
            record = record[key]
        record[name] = value

    return change


def in_run(change):
    def apply(folder):
        record = json.loads((folder / "run.json").read_text())
        change(record)
        (folder / "run.json").write_text(json.dumps(record))

    return apply


def in_cells(change):
    def apply(folder):
        first, *rest = (folder / "cells.jsonl").read_text().splitlines()
        record = json.loads(first)
        change(record)
        (folder / "cells.jsonl").write_text("\n".join([json.dumps(record), *rest]) + "\n")

    return apply


def instead(name, make):
    def apply(folder):
        (folder / name).unlink()
        make(folder / name)

    return apply


WRONG = {
    "deep run.json": instead("run.json", lambda path: path.write_text('{"schema_version": 1, "x": ' + DEEP + "}")),
    "a pipe for run.json": instead("run.json", os.mkfifo),
    "a pipe for cells.jsonl": instead("cells.jsonl", os.mkfifo),
    "a device for run.json": instead("run.json", lambda path: path.symlink_to("/dev/zero")),
    "a link out of the folder": instead("cells.jsonl", lambda path: path.symlink_to("/etc/passwd")),
    "a list where a text was": in_run(put("settings", "preset", ["a"])),
    "a text where a list was": in_run(put("command", "rm -rf")),
    "a number where an object was": in_run(put("inputs", 7)),
    "cells that are none": in_run(put("cells", [[]])),
    "a method without a kind": in_run(put("methods", [{"name": "a"}])),
    "a color that is a style sheet": in_run(put("methods", [{
        "name": "a", "kind": "optimises", "tasks": ["texture"], "title": "A", "description": "", "paper": "",
        "color": "red;background:url(//example.org)"}])),
    "null batch": in_cells(put("batch", None)),
    "a size as text": in_cells(put("size", "256")),
    "a huge size": in_cells(put("size", 10**9)),
    "medians as a list": in_cells(put("medians", [1])),
    "rows of a table that is none": in_cells(put("rows", {"../../x": [0, 1]})),
    "a list of pictures at equal loss": in_cells(put("info", {"equal_loss": ["a"]})),
    "a text for an objective": in_cells(put("info", {"equal_loss": {"johnson": {"objective": "low"}}})),
    "rows that are null": in_cells(put("rows", {"samples.csv": None})),
    "a target that is null": in_cells(put("targets", {"johnson": None})),
}


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("wrong", WRONG)
def test_a_bad_folder_is_one_line(results, capsys, wrong, command):
    WRONG[wrong](results / "bad")
    before = sorted(results.rglob("*"))
    assert main(command) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.startswith("error: ") and "bad" in said
    assert sorted(results.rglob("*")) == before


@pytest.mark.parametrize("wrong", WRONG)
def test_a_bad_folder_is_one_line_of_the_list_and_others_are_listed(results, capsys, wrong):
    WRONG[wrong](results / "bad")
    assert main(["list", "runs"]) == 0
    bad, good = capsys.readouterr().out.splitlines()
    assert bad.startswith("bad") and "unreadable" in bad and good.startswith("good") and "unreadable" not in good
    assert [found["id"] for found in run_folder.list_runs(results)] == ["good"]
    assert main(["report", "--index"]) == 0


def test_no_more_is_read_than_was_said(results, monkeypatch):
    monkeypatch.setitem(run_folder.LARGEST, "cells.jsonl", 100)
    with pytest.raises(UserError, match="cells.jsonl.*larger than 100 bytes"):
        reader.read_run(results / "bad")


@pytest.mark.parametrize("name", ["cells.jsonl", "samples.csv", "curves.csv", "images", "logs"])
def test_links_in_a_run_folder_are_not_written_through(results, tmp_path, name):
    outside = tmp_path / "outside"
    path = results / "bad" / name
    if path.is_dir():
        shutil.rmtree(path)
        outside.mkdir()
    else:
        shutil.move(path, outside)
    before = None if outside.is_dir() else outside.read_bytes()
    path.symlink_to(outside)
    with pytest.raises(UserError, match="symbolic link"):
        run_folder.Store.resume(results / "bad")
    assert list(outside.iterdir()) == [] if before is None else outside.read_bytes() == before


@pytest.mark.parametrize("name", ["images", "plots", "training"])
def test_a_report_is_not_written_through_links(results, tmp_path, name):
    outside = tmp_path / "outside"
    outside.mkdir()
    shutil.rmtree(results / "bad" / name, ignore_errors=True)
    (results / "bad" / name).symlink_to(outside)
    with pytest.raises(UserError, match="symbolic link"):
        report.build(results / "bad")
    assert list(outside.iterdir()) == []


def test_run_json_is_replaced_and_a_link_in_its_place_not_followed(results, tmp_path):
    store = run_folder.Store.resume(results / "good")
    (tmp_path / "outside").write_text("precious")
    (results / "good" / "run.json").unlink()
    (results / "good" / "run.json").symlink_to(tmp_path / "outside")
    store.update(status="complete")
    store.close()
    assert (tmp_path / "outside").read_text() == "precious" and not (results / "good" / "run.json").is_symlink()


def test_names_that_are_no_utf_8_are_kept(results):
    store = run_folder.Store.resume(results / "good")
    store.update(command=["--style", "s\udcff.jpg"])
    store.close()
    assert run_folder.read_run(results / "good")["command"] == ["--style", "s\udcff.jpg"]
    assert b"\\udcff" in (results / "good" / "run.json").read_bytes()


def test_numbers_of_a_style_whose_name_is_no_utf_8_are_kept(tmp_path):
    cell = Cell("gluon", "texture_net", "texture", 64, 1, "float32", "cpu", 0, "generate", style_name="caf\udce9")
    store = run_folder.Store.create(tmp_path, {"command": ["x"], "cells": [cell.to_dict()]})
    store.append({**cell.to_dict(), "key": cell.key, "status": "ok"}, [("latency_s", "s", 0.5)])
    store.close()
    run = reader.read_run(store.path)
    assert list(run.samples["style_name"]) == list(run.cells["style_name"]) == ["caf\udce9"]
    (done,) = whole_runs.read(store.path).finished
    assert done.samples


def test_long_names_of_styles_make_names_of_files(tmp_path):
    keys = {Cell("gluon", "johnson", "stylize", 64, 1, "float32", "cpu", 0, "generate", style_name="w" * 240 + end).key
            for end in "ab"}  # fmt: skip
    assert len(keys) == 2 and max(map(len, keys)) < 150


@pytest.mark.parametrize("rows", [20_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_large_tables_are_read_and_cells_appended_to_them(results, rows):
    if rows > 20_000 and not os.environ.get("NST_GLUON_FUZZ"):
        pytest.skip("takes half a minute: tox -e fuzz")
    store = run_folder.Store.resume(results / "good")
    cell = {**store.cells()[0], "seed": 1}
    store.append(cell, [("latency_s", "s", 0.1)] * rows)
    store.close()
    samples = reader.read_run(results / "good").samples
    assert (samples["seed"] == 1).sum() == rows


def test_numbers_of_a_table_that_are_none_are_left_out(results):
    good = results / "good"
    lines = [json.loads(line) for line in (good / "cells.jsonl").read_text().splitlines()]
    (good / "cells.jsonl").write_text("".join(json.dumps({**line, "rows": {}}) + "\n" for line in lines))
    before, path = len(reader.read_run(good).samples), good / "samples.csv"
    text = path.read_text()
    path.write_text(text.replace(",0,latency_s", ",inf,latency_s", 1).replace(",0,latency_s", ",1e300,latency_s", 1))
    assert len(reader.read_run(good).samples) == before - 2


def test_names_of_methods_in_files_are_not_followed(results, tmp_path, capsys):
    """``FILE.py:NAME`` on the command line imports that file; the same words in a run folder or a net do not."""
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w')")
    with pytest.raises(UserError, match="unknown method 'evil.py:Evil'"):
        netfile.method_of({"method": "evil.py:Evil", "task": "texture"}, "net.npz")

    def follow(record):
        record["settings"]["methods"] = [["evil", "evil.py:Evil"]]
        record["budget"] = dataclasses.asdict(BUDGETS["quick"])
        record["cells"] = [dict(json.loads((results / "bad" / "cells.jsonl").read_text().splitlines()[0]))]

    in_run(follow)(results / "bad")
    assert main(["run", "--resume", "bad"]) == 2
    assert "runs code from evil.py:Evil; if you trust that, name it too" in capsys.readouterr().err
    assert not (tmp_path / "executed").exists()
