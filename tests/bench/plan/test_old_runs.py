"""Runs of version 0.1, whose tables name no photo and no style, are read, and not gone on with."""

from __future__ import annotations

import json
import shutil

import pytest
from synthetic import make_run

from bench.analysis import summary
from bench.cli import main
from bench.store import run_folder, whole_runs
from bench.store.reader import read_run
from nst_gluon import methods
from nst_gluon.system.errors import UserError


@pytest.fixture
def runs(tmp_path):
    """A run, and the same as an older suite would have written it."""
    new = make_run(tmp_path / "new", sizes=(256,), seeds=(0,), batches=(1,), pictures=False)
    old = tmp_path / "old" / new.name
    shutil.copytree(new, old)
    for name in run_folder.TABLES:
        lines = (old / name).read_text().splitlines(keepends=True)
        (old / name).write_text("".join(line.split(",", 2)[2] for line in lines))
    records = [json.loads(line) for line in (old / "cells.jsonl").read_text().splitlines()]
    for record in records:
        del record["style_name"], record["rows"]
    (old / "cells.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return new, old


def test_an_old_run_says_what_it_says_today(runs):
    new, old = (summary.summarise_run(read_run(path)) for path in runs)
    assert new.equals(old) and len(new) > 20
    assert read_run(runs[1]).cells.equals(read_run(runs[0]).cells)


def test_an_old_run_can_be_merged_and_compared(runs):
    new, old = runs
    before, after = whole_runs.read(old).finished, whole_runs.read(new).finished
    assert [done.cell for done in before] == [done.cell for done in after]
    assert before[0].samples == after[0].samples
    assert main.main(["compare", str(old), str(new), "--out", str(old.parent)]) == 0


def test_an_old_run_is_not_gone_on_with(runs):
    with pytest.raises(UserError, match="--resume: .* is of an older version of this suite; start a new run"):
        run_folder.Store.resume(runs[1])
    run_folder.Store.resume(runs[0]).close()


def test_methods_of_a_run_are_those_that_it_kept_or_that_the_suite_knows(runs):
    path = runs[0] / "run.json"
    meta = json.loads(path.read_text())
    kept = {**methods.facts("gatys").to_dict(), "title": "as it was"}
    path.write_text(json.dumps({**meta, "methods": [kept]}))
    assert read_run(runs[0]).methods["gatys"].title == "as it was"
    records = [json.loads(line) for line in (runs[0] / "cells.jsonl").read_text().splitlines()]
    text = "".join(json.dumps({**record, "method": record["method"].replace("gatys", "forgotten")}) + "\n"
                   for record in records)  # fmt: skip
    (runs[0] / "cells.jsonl").write_text(text)
    path.write_text(json.dumps({name: value for name, value in meta.items() if name not in ("methods", "cells")}))
    found = read_run(runs[0]).methods
    assert found["johnson"] == methods.facts("johnson")
    assert (found["forgotten"].kind, found["forgotten"].title) == (methods.OPTIMISES, "forgotten")
