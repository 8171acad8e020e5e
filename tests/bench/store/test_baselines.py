"""Baselines: what is kept of a run, for which machine, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import make_run

from bench.analysis import summary
from bench.cli import main
from bench.store import baselines, run_folder
from bench.store.reader import read_run
from nst_gluon.system.errors import UserError

ROOT = Path(__file__).resolve().parents[3]
FINGERPRINT = {"cpu": "Example CPU 9000 <fast>", "cores": 2, "gpu": None}  # of the synthetic run


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    return make_run(tmp_path_factory.mktemp("made"), sizes=(64, 128), seeds=(0, 1), batches=(1,))


@pytest.fixture
def results(made, tmp_path) -> Path:
    """A folder of runs with one run in it, called measured."""
    shutil.copytree(made, tmp_path / "results" / "measured")
    return tmp_path / "results"


def change(path: Path, **fields) -> None:
    record = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps({**record, **fields}))


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def refused(capsys, *arguments: str) -> str:
    assert main.main(list(arguments)) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and len(captured.err.splitlines()) == 1
    return captured.err


def test_a_saved_run_is_found_and_read_like_a_run(results, capsys):
    assert main.main(["baseline", "save", "main", "measured", "--out", str(results)]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    path = baselines.find(results, "main", FINGERPRINT)
    assert captured.out == f"saved: {path}\n"
    assert path.parent == results / "baselines" / "main" and path.name.endswith(f"-schema{run_folder.READS[0]}")
    assert sorted(files(path)) == ["cells.jsonl", "run.json", "samples.csv"]
    kept, measured = read_run(path), read_run(results / "measured")
    assert kept.samples.equals(measured.samples) and kept.cells.equals(measured.cells)
    assert kept.curves.empty and not measured.curves.empty
    assert (path / "samples.csv").read_bytes() == (results / "measured" / "samples.csv").read_bytes()
    assert kept.meta["fingerprint"] == FINGERPRINT and kept.meta["baseline"]["run"] == "measured"
    plain = summary.medians(summary.with_status(measured.samples, measured.cells))
    assert summary.medians(summary.with_status(kept.samples, kept.cells)).equals(plain)
    assert [entry["id"] for entry in run_folder.list_runs(results)] == ["measured"]  # no run by itself


def test_a_baseline_of_an_older_run_has_all_its_samples(tmp_path):
    """Its tables are written anew, with more columns, so that the places of its cells in them are others."""
    run = ROOT / "results" / "peers"
    kept = read_run(baselines.save(tmp_path, "old", run).path)
    assert kept.samples.equals(read_run(run).samples) and len(kept.samples)


def test_another_machine_has_an_entry_of_its_own(results):
    first = baselines.save(results, "main", results / "measured").path
    assert baselines.find(results, "main", {**FINGERPRINT, "cores": 4}) is None
    shutil.copytree(results / "measured", results / "other")
    change(results / "other", fingerprint={**FINGERPRINT, "cores": 4})
    second = baselines.save(results, "main", results / "other").path
    assert first != second
    assert baselines.find(results, "main", FINGERPRINT) == first
    assert baselines.find(results, "main", {**FINGERPRINT, "cores": 4}) == second
    assert baselines.names(results) == ["main"]


def test_precisions_are_no_part_of_a_machine(results):
    path = baselines.save(results, "main", results / "measured").path
    assert baselines.find(results, "main", {**FINGERPRINT, "dtypes": ["bfloat16", "float32"]}) == path


def test_an_entry_of_another_schema_is_not_found_and_listed_as_such(results, capsys):
    path = baselines.save(results, "main", results / "measured").path
    change(path, schema_version=0)
    path.rename(path.with_name(path.name.replace("schema1", "schema0")))
    assert baselines.find(results, "main", FINGERPRINT) is None
    assert main.main(["baseline", "list", "--out", str(results)]) == 0
    assert "schema 0: not read by this suite" in capsys.readouterr().out


def test_programs_get_one_object(results, capsys):
    save = ["baseline", "save", "main", "measured", "--out", str(results), "--json"]
    for arguments, replaced in ((save, False), ([*save, "--force"], True)):
        assert main.main(arguments) == 0
        saved = json.loads(capsys.readouterr().out)
        assert run_folder.read_run(Path(saved.pop("path")))["baseline"]["run"] == "measured"
        assert saved == {"name": "main", "replaced": replaced, "warnings": []}
    assert main.main(["baseline", "list", "--out", str(results), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["baselines"]
    assert row["name"] == "main" and row["run"] == "measured" and row["state"].endswith(" ok")
    assert main.main(["baseline", "list", "--out", str(results / "nowhere"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"baselines": []}


FIELDS = st.dictionaries(
    st.sampled_from(["cpu", "cores", "threads", "gpu", "dtypes"]),
    st.sampled_from(["", "a", "0", "é", 0, 1, 2, None, [], ["a"], ["a", "b"]]),
)


@given(FIELDS, FIELDS)
def test_keys_are_equal_for_equal_fingerprints_only(one, other):
    assert (baselines.key(one) == baselines.key(other)) == (one == other)
    assert baselines.key(dict(reversed(list(one.items())))) == baselines.key(one)
    assert baselines.ENTRY.fullmatch(baselines.key(one))


def test_saving_over_an_entry_needs_force(results, capsys):
    save = ["baseline", "save", "main", "measured", "--out", str(results)]
    assert main.main(save) == 0
    capsys.readouterr()
    before = files(results)
    change(results / "measured", created="later")
    changed = files(results)
    error = refused(capsys, *save)
    assert "NAME: main has an entry" in error and "--force" in error
    assert files(results) == changed != before
    assert main.main([*save, "--force"]) == 0
    assert capsys.readouterr().out.startswith("replaced: ")
    (path,) = baselines.entries(results, "main")
    assert run_folder.read_run(path)["created"] == "later"
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_replacement_that_fails_leaves_the_old_entry(results, monkeypatch):
    path = baselines.save(results, "main", results / "measured").path
    before = files(results)
    real = Path.rename

    def rename(self, target):
        if self.name == "new":
            raise OSError(28, "No space left on device")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(UserError, match="no space left"):
        baselines.save(results, "main", results / "measured", force=True)
    with pytest.raises(UserError, match="no space left"):
        baselines.save(results, "second", results / "measured")
    assert files(results) == before and path.is_dir()
    assert not (results / "baselines" / "second").exists()


@pytest.mark.parametrize("name", ["", "..", ".hidden", "../up", "a b", "a\n", "x" * 101, "-x"])
def test_names_that_cannot_be_folders_are_refused(results, name):
    with pytest.raises(UserError, match="^NAME: ") as error:
        baselines.save(results, name, results / "measured")
    assert "\n" not in str(error.value)
    assert not (results / "baselines").exists()


def test_a_run_with_failed_cells_is_saved_and_says_so(tmp_path, capsys):
    run = make_run(tmp_path, sizes=(64, 128), seeds=(0,), batches=(1,), oom_at=128, pictures=False)
    assert main.main(["baseline", "save", "main", str(run), "--out", str(tmp_path)]) == 0
    captured = capsys.readouterr()
    assert "2 of 10 cells have no result (2 oom): nothing is compared there" in captured.err
    assert "saved: " in captured.out


def test_an_unfinished_run_is_saved_and_says_so(results):
    cells = [{**read_run(results / "measured").records[0], "seed": number} for number in range(99)]
    change(results / "measured", cells=cells)
    saved = baselines.save(results, "main", results / "measured")
    assert saved.warnings == (f"the run is not complete: {len(read_run(saved.path).records)} of 99 cells are here",)


def test_what_cannot_be_a_baseline_is_refused(results, capsys):
    measured = results / "measured"
    save = ["baseline", "save", "main", "measured", "--out", str(results)]
    change(measured, fingerprint={})
    assert "which machine" in refused(capsys, *save)
    change(measured, fingerprint=FINGERPRINT, machines={"machine-1": {}})
    assert "several machines" in refused(capsys, *save)
    change(measured, machines={})
    (measured / "cells.jsonl").write_text("")
    assert "no cell that is ok" in refused(capsys, *save)
    change(measured, schema_version=7)
    assert "schema_version 7" in refused(capsys, *save)
    assert "no run 'nothing'" in refused(capsys, "baseline", "save", "main", "nothing", "--out", str(results))
    assert not (results / "baselines").exists()
    assert "ACTION" in refused(capsys, "baseline")
    assert "did you mean 'save'" in refused(capsys, "baseline", "sav")


def test_an_unknown_name_gets_a_hint(results):
    with pytest.raises(UserError, match="make one with python -m bench baseline save"):
        baselines.find(results, "main", FINGERPRINT)
    baselines.save(results, "main", results / "measured")
    with pytest.raises(UserError, match="baseline: there is none named 'mian' .* did you mean 'main'"):
        baselines.find(results, "mian", FINGERPRINT)
    with pytest.raises(UserError, match="none named"):
        baselines.find(results, "../main", FINGERPRINT)


def test_the_list_names_machines_and_damage(results, capsys):
    assert baselines.names(results) == []
    assert main.main(["baseline", "list", "--out", str(results)]) == 0
    assert "no baselines below" in capsys.readouterr().err
    baselines.save(results, "main", results / "measured")
    damaged = baselines.save(results, "before", results / "measured").path
    (damaged / "run.json").write_text("{")
    (results / "baselines" / "notes.txt").write_text("not a baseline")
    (results / "baselines" / "empty").mkdir()
    assert main.main(["baseline", "list", "--out", str(results)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("before  unreadable") and lines[0].endswith("damaged")
    assert lines[1].startswith("main    20/20 ok") and "Example CPU 9000 <fast>, 2 cores" in lines[1]


def test_a_baseline_is_not_gone_on_with(results, capsys):
    path = baselines.save(results, "main", results / "measured").path
    before = files(path)
    assert "is a baseline" in refused(capsys, "run", "--resume", str(path))
    assert files(path) == before
