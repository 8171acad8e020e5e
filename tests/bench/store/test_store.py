"""The run directory: what is committed stays, what is cut off is not there, whatever happens in between."""

from __future__ import annotations

import csv
import errno
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from plans import environment, small_plan

from bench.store import run_folder
from bench.store.run_folder import DiskFull, Store
from nst_gluon.system.errors import UserError

PLAN = small_plan()


def line(cell, status="ok"):
    return {"key": cell.key, **cell.columns(), "kind": cell.kind, "status": status, "reason": 'a "reason", é\n'}


def rows_of(cell, number: int) -> tuple[list, list]:
    """Two samples, and for an optimisation one evaluation."""
    samples = [("latency_s", "s", 0.1 + number), ("objective", "1", 1 / 3)]
    return samples, [(0.5, 1, 10.0, 5.0, 5.0, 0.0)] if cell.kind == "optimise" else []


def fill(target: Store, cells) -> None:
    for number, cell in enumerate(cells):
        target.append(line(cell), *rows_of(cell, number))


@pytest.fixture
def run(tmp_path):
    made = Store.create(tmp_path / "results", {"settings": {}})
    yield made
    made.close()


def table(run: Store, name: str) -> str:
    return run_folder.read_committed(run.path)[1][name]


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_new_run_is_complete_in_itself(run):
    names = {path.name for path in run.path.iterdir()}
    assert names == {"run.json", "cells.jsonl", "samples.csv", "curves.csv", "images", "logs"}
    assert run_folder.read_run(run.path)["schema_version"] == run_folder.SCHEMA_VERSION
    assert run_folder.read_cells(run.path) == []
    assert table(run, "samples.csv") == ",".join(run_folder.SAMPLE_COLUMNS) + "\n"


def test_what_is_appended_is_read_again_exactly(run):
    fill(run, PLAN.cells[:5])
    cells = run_folder.read_cells(run.path)
    assert [cell["key"] for cell in cells] == [cell.key for cell in PLAN.cells[:5]]
    assert cells[0]["reason"] == 'a "reason", é\n'
    samples = rows(table(run, "samples.csv"))
    assert len(samples) == 10
    assert float(samples[1]["value"]) == 1 / 3
    assert {name: samples[2][name] for name in ("method", "size", "seed")} == {
        "method": PLAN.cells[1].method, "size": "64", "seed": "0"
    }  # fmt: skip
    assert [row["objective"] for row in rows(table(run, "curves.csv"))] == ["10.0", "10.0"]


def test_ids_never_collide(tmp_path, monkeypatch):
    suffixes, token_hex = iter(["aaaa", "aaaa", "bbbb", "cccc"]), run_folder.secrets.token_hex
    monkeypatch.setattr(run_folder.secrets, "token_hex", lambda n: next(suffixes) if n == 2 else token_hex(n))
    monkeypatch.setattr(run_folder.time, "strftime", lambda *a: "20300101T000000Z")
    made = [Store.create(tmp_path, {}) for _ in range(3)]
    assert [run.path.name[-4:] for run in made] == ["aaaa", "bbbb", "cccc"]
    for run in made:
        run.close()


@pytest.mark.parametrize("name", ["cells.jsonl", "samples.csv", "curves.csv"])
def test_cut_off_at_any_byte_it_is_readable_and_resumes(run, tmp_path, monkeypatch, name):
    """Every prefix of every file: the cells whose line and rows are whole are there, once; the rest is gone."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    cells = [PLAN.cells[0], PLAN.cells[3], PLAN.cells[4]]  # a generator's and two optimisations'
    fill(run, cells)
    run.close()
    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy)
    files = {file: (run.path / file).read_bytes() for file in ("cells.jsonl", "samples.csv", "curves.csv")}
    for size in range(len(files[name]) + 1):
        for file, data in files.items():
            (copy / file).write_bytes(data[:size] if file == name else data)
        committed = [cell["key"] for cell in run_folder.read_cells(copy)]
        assert committed == [cell.key for cell in cells[: len(committed)]]
        resumed = Store.resume(copy)
        assert [cell["key"] for cell in resumed.cells()] == committed
        for number in range(len(committed), len(cells)):
            resumed.append(line(cells[number]), *rows_of(cells[number], number))
        resumed.close()
        assert {file: (copy / file).read_bytes() for file in files} == files, (size, len(committed))
    assert len(committed) == len(cells)


@pytest.mark.parametrize("tail", [b'{"status":', b"\x00\xff\n", b"null\n", b"\n", b'{"rows": {"x": 3}}\n'])
def test_rubbish_after_the_last_line_is_cut_off(run, tail):
    fill(run, PLAN.cells[:2])
    run.close()
    for name in ("cells.jsonl", "samples.csv"):
        with open(run.path / name, "ab") as stream:
            stream.write(tail)
    assert len(run_folder.read_cells(run.path)) == 2
    assert len(rows(table(run, "samples.csv"))) == 4
    resumed = Store.resume(run.path)
    fill_again = PLAN.cells[2]
    resumed.append(line(fill_again))
    resumed.close()
    assert len((run.path / "cells.jsonl").read_bytes().splitlines()) == 3
    assert len(rows((run.path / "samples.csv").read_text())) == 4


def test_a_damaged_line_with_others_after_it_is_told_and_nothing_is_cut_off(run):
    fill(run, PLAN.cells[:3])
    run.close()
    file = run.path / "cells.jsonl"
    before = file.read_bytes().replace(b'{"key"', b'{"ke\xff"', 1)
    file.write_bytes(before)
    for reads in (run_folder.read_cells, Store.resume):
        with pytest.raises(UserError, match="line 1 is damaged"):
            reads(run.path)
    assert file.read_bytes() == before


def test_a_machine_that_does_not_tell_its_clock_rate_leaves_a_run_that_can_be_read(run):
    run.append({**line(PLAN.cells[0]), "info": {"cpu_mhz": [None, 2400.5]}}, [])
    assert run_folder.read_cells(run.path)[0]["info"]["cpu_mhz"] == [None, 2400.5]


@pytest.mark.parametrize("after", range(0, 1200, 111))
def test_a_disk_that_fills_up_in_the_middle_leaves_the_cells_before(run, monkeypatch, after):
    fill(run, PLAN.cells[:2])
    before = {name: (run.path / name).read_bytes() for name in ("cells.jsonl", "samples.csv", "curves.csv")}
    real, left = os.write, [after]

    def write(descriptor, data):
        if left[0] <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        part = bytes(data)[: left[0]]
        left[0] -= len(part)
        return real(descriptor, part)

    monkeypatch.setattr(os, "write", write)
    cell = PLAN.cells[3]
    samples = [("latency_s", "s", float(number)) for number in range(10)]
    try:
        run.append(line(cell), samples)
        committed = True
    except DiskFull as error:
        committed = False
        assert "no space left" in str(error) and "\n" not in str(error)
    monkeypatch.setattr(os, "write", real)
    assert len(run.cells()) == 2 + committed
    if not committed:
        assert {name: (run.path / name).read_bytes() for name in before} == before
        run.append(line(cell), samples)
        assert len(run.cells()) == 3


def test_run_json_is_replaced_whole_or_not_at_all(run, monkeypatch):
    before = (run.path / "run.json").read_bytes()

    def write(descriptor, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(DiskFull):
        run.update(status="complete")
    assert (run.path / "run.json").read_bytes() == before
    assert not list(run.path.glob(".*"))


def test_a_full_disk_at_the_start_leaves_nothing(tmp_path, monkeypatch):
    def write(descriptor, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(DiskFull):
        Store.create(tmp_path / "results", {})
    assert list((tmp_path / "results").iterdir()) == []


@pytest.mark.parametrize("where", ["write_all", "lock"])
def test_an_interrupt_at_the_start_leaves_nothing(tmp_path, monkeypatch, where):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(run_folder, where, interrupted)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(KeyboardInterrupt):
        Store.create(tmp_path / "results", {})
    assert list((tmp_path / "results").iterdir()) == [] and len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"schema_version": 3}', "schema_version 3 .* update"),
        ('{"schema_version": 0}', "schema_version 0 .* measure it again"),
        ('{"schema_version": "x"}', "schema_version 'x'"),
        ("{}", "damaged"),
        ("[]", "damaged"),
        ('{"schema_version": ', "damaged"),
        ("", "damaged"),
    ],
)
def test_another_schema_or_a_damaged_record_is_one_clear_line(run, text, words):
    run.close()
    (run.path / "run.json").write_text(text)
    for call in (lambda: run_folder.read_run(run.path, "--resume"), lambda: Store.resume(run.path)):
        with pytest.raises(UserError, match=f"^--resume: .*{words}") as error:
            call()
        assert "\n" not in str(error.value)


def test_a_folder_that_is_no_run(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file", tmp_path / "nothing"):
        with pytest.raises(run_folder.NoRun, match="not a run directory"):
            run_folder.read_run(path)


def test_two_processes_do_not_write_to_one_run(run):
    start = "import sys; from bench.store.run_folder import Store; from pathlib import Path"
    code = f"{start}; Store.resume(Path({str(run.path)!r}))"
    child = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True)
    assert "another process is writing" in child.stderr
    run.close()
    assert subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True).returncode == 0


def test_an_output_folder_that_cannot_be_written(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(UserError, match="^--out: .* is a file"):
        run_folder.check_writable(file / "results")
    monkeypatch.setattr(os, "access", lambda *a: False)
    with pytest.raises(UserError, match="^--out: .*permission denied"):
        run_folder.check_writable(tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_a_name_that_cannot_be_made_is_one_line(tmp_path):
    with pytest.raises(UserError, match="^--out: cannot write"):
        Store.create(tmp_path / ("x" * 300), {})


def test_the_latest_run_is_the_newest_whatever_its_name(tmp_path):
    for created, name in (("2030-01-01T12:00:00", "reference"), ("2031-01-01T12:00:00", "20310101T120000Z-abcd")):
        made = Store.create(tmp_path, {"created": created})
        made.close()
        made.path.rename(tmp_path / name)
    assert run_folder.find_run("latest", tmp_path).name == "20310101T120000Z-abcd"


def test_runs_are_found_by_id_path_and_latest(tmp_path):
    assert run_folder.list_runs(tmp_path / "nothing") == []
    with pytest.raises(UserError, match="no run below"):
        run_folder.find_run("latest", tmp_path)
    made = [Store.create(tmp_path, {}) for _ in range(2)]
    (tmp_path / "README.md").write_text("not a run")
    (tmp_path / "empty").mkdir()
    newest = max(run.path for run in made)
    assert run_folder.find_run("latest", tmp_path) == newest
    assert run_folder.find_run(newest.name, tmp_path) == newest
    assert run_folder.find_run(str(newest), Path("elsewhere")) == newest
    assert [found["path"] for found in run_folder.list_runs(tmp_path)] == sorted(run.path for run in made)
    with pytest.raises(UserError, match="--resume: no run 'x'; the newest are"):
        run_folder.find_run("x", tmp_path, "--resume")
    for run in made:
        run.close()
