"""Merged runs: the parts of a plan are the whole again, machines stay apart, and what does not belong is refused."""

from __future__ import annotations

import csv
import dataclasses
import json
import random
import shutil
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from plans import SETTINGS, small_plan
from synthetic import make_run

from bench import report
from bench.analysis import claims, methods, roofline
from bench.analysis import summary as analysis
from bench.cli import main
from bench.plan import shards
from bench.plan.cells import GENERATE, Plan
from bench.report import index
from bench.store import merge, run_folder
from bench.store import whole_runs as parts
from bench.store.reader import read_run
from nst_gluon.system.errors import UserError

MACHINE = {"cpu": "Example CPU 9000", "cores": 2, "threads": 2, "gpu": None, "dtypes": ["float32"]}
ENVIRONMENT = {
    "cpu": {"model": "Example CPU 9000", "cores_used": 2},
    "threads": 2,
    "memory_total_bytes": 25_000_000_000,
    "gpus": [],
    "variables": {"OMP_NUM_THREADS": "2"},
    "versions": {"python": "3.11.9", "mxnet": "1.9.1"},
    "git": {"revision": "a" * 40, "dirty": False},
}
IDENTITIES = {
    "pictures": {"style": {"file": "great_wave.jpg", "sha256": "1" * 64}, "content": {"sha256": "2" * 64}},
    "weights": {"arch": "vgg19", "sha256": "3" * 64, "random": False},
    "nets": {"johnson/stylize": {"sha256": "4" * 64}, "texture_net/texture": {"sha256": "5" * 64}},
}
OTHER_CPU = {**MACHINE, "cpu": "Another CPU", "cores": 8, "threads": 8}


def invent(root: Path, plan: Plan, name: str, machine=MACHINE, least: int | None = None, **fields) -> Path:
    """A run with invented samples that depend on nothing but the cell; only the ``least`` first cells, if given."""
    environment = {**ENVIRONMENT, "cpu": {"model": machine["cpu"], "cores_used": machine["cores"]}}
    meta = {
        "created": "2030-01-01T12:00:00+00:00", "finished": "2030-01-01T12:10:00+00:00",
        "command": ["python", "-m", "bench", "run"], "plan_fingerprint": plan.fingerprint(), **plan.to_dict(),
        "seeds": [0], "inputs": IDENTITIES, "environment": environment, "fingerprint": machine,
        "sessions": [{"load_before": [0.1]}], "warnings": [], "status": "complete", **fields,
    }  # fmt: skip
    made = run_folder.Store.create(root, json.loads(json.dumps(meta)))
    for cell in plan.cells[:least]:
        chance = random.Random(cell.key)
        samples = [("peak_memory_bytes", "B", chance.uniform(1e9, 2e9))]
        curve = []
        if cell.kind == GENERATE:
            samples += [("latency_s", "s", chance.uniform(0.1, 0.2)) for _ in range(10)]
            samples.append(("objective", "1", chance.uniform(50, 60)))
        else:
            samples += [("iteration_s", "s", chance.uniform(1, 2)) for _ in range(10)]
            curve = [(step * 1.5, step, 100 / (1 + step), 50 / (1 + step), 50 / (1 + step), 0.0) for step in range(5)]
        picture, log = f"images/{cell.key}.png", f"logs/{cell.key}.log"
        (made.path / picture).write_bytes(cell.key.encode())
        (made.path / log).write_text(f"log of {cell.key}")
        record = {"key": cell.key, **cell.to_dict(), "status": "ok", "reason": "", "image": picture, "log": log}
        made.append({**record, "targets": {}, "medians": {}, "evaluations": len(curve)}, samples, curve)
    made.update(id=name)
    made.close()
    return made.path.rename(root / name)


def merged(paths, facet=False) -> merge.Merged:
    return merge.join([parts.read(path) for path in paths], facet, ["merge"])


def written(paths, out: Path, facet=False) -> Path:
    return merge.write(merged(paths, facet), out, lambda path: None)


def keys(path: Path) -> list[str]:
    return [record["key"] for record in run_folder.read_cells(path)]


def summary_bytes(path: Path) -> bytes:
    analysis.write(analysis.summarise_run(read_run(path)), path)
    return (path / "summary.csv").read_bytes()


WHOLE = small_plan(sizes=[64, 128], batches=[1, 4], repeats=2, method_names=["texture_net", "johnson", "gatys"])


@pytest.fixture
def thirds(tmp_path) -> list[Path]:
    return [
        invent(tmp_path / "runs", shards.take(WHOLE, index, 3), f"third-{index}") for index in (1, 2, 3)
    ]  # fmt: skip


# ------------------------------------------------------------------------------------------------------ the parts


def test_all_parts_of_a_plan_are_the_plan_again(tmp_path, thirds):
    whole = invent(tmp_path / "whole", WHOLE, "whole")
    path = written([thirds[index] for index in (2, 0, 1)], tmp_path / "out")
    assert keys(path) == [cell.key for cell in WHOLE.cells]
    record = run_folder.read_run(path)
    assert Plan.from_dict(record) == WHOLE
    assert record["plan_fingerprint"] == WHOLE.fingerprint()
    assert record["status"] == "complete" and record["warnings"] == []
    assert summary_bytes(path) == summary_bytes(whole)
    for name in ("samples.csv", "curves.csv"):
        assert (path / name).read_bytes() == (whole / name).read_bytes()
    assert sorted(part["id"] for part in record["merged_from"]) == ["third-1", "third-2", "third-3"]
    assert {part["shard"]["index"] for part in record["merged_from"]} == {1, 2, 3}
    for cell in WHOLE.cells:
        assert (path / "images" / f"{cell.key}.png").read_bytes() == cell.key.encode()
        assert (path / "logs" / f"{cell.key}.log").read_text() == f"log of {cell.key}"


def test_a_missing_part_is_said_and_the_machines_peaks_are_found(tmp_path, thirds, capsys):
    peaks = roofline.path_of(tmp_path / "out", MACHINE)
    peaks.parent.mkdir(parents=True)
    peaks.write_text(json.dumps({"flops_per_s": {"float32": 1e11}, "bytes_per_s": 1e10}))
    assert main.main(["merge", str(thirds[0]), str(thirds[2]), "--out", str(tmp_path / "out")]) == 0
    captured = capsys.readouterr()
    assert "shard 2/3 is missing" in captured.err and "partial" in captured.err
    page = Path(captured.out.strip())
    assert page.name == "report.html" and page.is_file()
    record = run_folder.read_run(page.parent)
    assert record["status"] == "partial"
    here = len(run_folder.read_cells(page.parent))
    words = (page.parent / "report.md").read_text()
    assert f"{here} of {len(WHOLE.cells)} cells are here" in words
    assert "shard 2/3 is missing" in words and "merged from parts that are not all here" in words
    assert "Limits of the machine" in words
    (line,) = index.lines(tmp_path / "out")
    assert line.status == f"partial, {here} of {len(WHOLE.cells)} cells ok" and not line.fine


def test_cells_of_several_styles_have_one_order(tmp_path):
    """That of the plan, whatever the hashes of the names are in this process."""
    styles = ("great_wave", "brick", "gravel", "grass", "auvers", "moulin_de_la_galette")
    settings = dataclasses.replace(SETTINGS, other_styles=styles[1:])
    plans = [small_plan(method_names=["gatys"], tasks=["texture"], sizes=[size], settings=settings)
             for size in (64, 128)]  # fmt: skip
    found = merged([invent(tmp_path, plan, f"of-{plan.cells[0].size}") for plan in plans]).run
    order = [(cell["size"], cell["style_name"]) for cell in found["cells"]]
    assert order == [(size, style) for size in (64, 128) for style in styles]


def test_an_unfinished_part_is_said(tmp_path):
    first = invent(tmp_path, shards.take(WHOLE, 1, 2), "first", least=3, status="interrupted")
    second = invent(tmp_path, shards.take(WHOLE, 2, 2), "second")
    planned = len(shards.take(WHOLE, 1, 2).cells)
    found = merged([first, second]).run
    assert found["status"] == "partial" and len(found["cells"]) == len(WHOLE.cells)
    assert found["warnings"] == [f"first is not complete: 3 of its {planned} cells are here"]


def test_pictures_of_further_styles_and_at_equal_loss_are_kept(tmp_path, thirds):
    for path in thirds:
        (path / "images" / "style-brick.png").write_bytes(b"brick")
        records = [json.loads(line) for line in (path / "cells.jsonl").read_text().splitlines()]
        for record in records:
            record["info"] = {"equal_loss": {"johnson": {"image": record["image"], "objective": 1.0}}}
        (path / "cells.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
        run = json.loads((path / "run.json").read_text())
        run["settings"]["other_styles"] = ["brick"]
        (path / "run.json").write_text(json.dumps(run))
    path = written(thirds, tmp_path / "out")
    assert (path / "images" / "style-brick.png").read_bytes() == b"brick"
    for record in run_folder.read_cells(path):
        kept = record["info"]["equal_loss"]["johnson"]["image"]
        assert kept.endswith("-at-johnson.png") and (path / kept).read_bytes() == record["key"].encode()


def test_further_photos_are_judged_by_what_is_in_them(tmp_path, thirds):
    def with_photo(path: Path, name: str, sha256: str) -> None:
        run = json.loads((path / "run.json").read_text())
        run["settings"]["other_contents"] = [name]
        run["inputs"]["pictures"]["content b"] = {"file": "b.jpg", "sha256": sha256}
        (path / "run.json").write_text(json.dumps(run))

    for path, home in zip(thirds, ("/home/one", "/home/two", "/home/three")):
        with_photo(path, f"{home}/b.jpg", "7" * 64)
    merged(thirds)
    with_photo(thirds[1], "/home/two/b.jpg", "8" * 64)
    with pytest.raises(UserError, match="another content b"):
        merged(thirds)


def test_merging_what_was_merged_and_the_rest_is_complete(tmp_path, thirds):
    half = written(thirds[:2], tmp_path / "out")
    path = written([half, thirds[2]], tmp_path / "out")
    record = run_folder.read_run(path)
    assert record["status"] == "complete"
    assert [part["id"] for part in record["merged_from"]] == ["third-1", "third-2", "third-3"]
    assert Counter(keys(path)) == Counter(cell.key for cell in WHOLE.cells)
    whole = invent(tmp_path / "whole", WHOLE, "whole")
    assert summary_bytes(path) == summary_bytes(whole)


def test_a_cell_in_two_runs_is_refused_if_they_do_not(tmp_path):
    plan = small_plan(method_names=["gatys"], tasks=["texture"])
    first, second = (invent(tmp_path, plan, name) for name in ("first", "second"))
    text = (second / "samples.csv").read_text()
    value = text.splitlines()[3].rsplit(",", 1)[1]
    assert len(value) > 5
    (second / "samples.csv").write_text(text.replace(value, value[:-1] + ("1" if value[-1] != "1" else "2")))
    key = plan.cells[0].key
    with pytest.raises(
        UserError, match=f"^DIR: {key} is in both .*/first and .*/second, with different results; leave"
    ):
        merged([first, second])


def test_a_picture_outside_of_its_run_is_not_copied(tmp_path):
    runs = [invent(tmp_path, small_plan(sizes=[size], method_names=["gatys"]), str(size)) for size in (64, 128)]
    (tmp_path / "secret.png").write_text("secret")
    lines = (runs[0] / "cells.jsonl").read_text().replace("images/", "../")
    (runs[0] / "cells.jsonl").write_text(lines)
    path = written(runs, tmp_path / "out")
    assert {record["image"] is None for record in run_folder.read_cells(path) if record["size"] == 64} == {True}


# ----------------------------------------------------------------------------------------------- what is refused


def fails(tmp_path: Path, change, words: str) -> None:
    """Merging a run with one that ``change`` has changed ends in one line, and leaves nothing."""
    first = invent(tmp_path, small_plan(sizes=[64]), "first")
    second = invent(tmp_path, small_plan(sizes=[128]), "second")
    record = json.loads((second / "run.json").read_text())
    change(record)
    (second / "run.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match=words) as error:
        written([first, second], tmp_path / "out")
    assert "\n" not in str(error.value) and str(error.value).startswith("DIR: ")
    assert not (tmp_path / "out").exists()


def put(value, *path):
    def change(record):
        for name in path[:-1]:
            record = record[name]
        record[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (put("Other", "fingerprint", "cpu"), "second was measured on another machine than .*first .cpu is 'Other'"),
        (put("avx512", "fingerprint", "isa"), "isa is 'avx512' and None"),
        (put("9" * 64, "inputs", "pictures", "style", "sha256"), r"another style .*\(999999999999 and 111111111111\)"),
        (put("9" * 64, "inputs", "pictures", "content", "sha256"), "another content than .*first"),
        (put("9" * 64, "inputs", "nets", "johnson/stylize", "sha256"), "another nets.johnson/stylize than"),
        (put("gatys", "settings", "preset"), r"another settings \(preset\) .*\(gatys and texture_net_relative\)"),
        (put(5.0, "settings", "target_loss"), r"settings \(target_loss\) than .*first \(5.0 and null\)"),
        (put("full", "budget", "name"), r"another budget \(name\) than .*first \(full and quick\)"),
        (put(3, "schema_version"), "schema_version 3"),
        (lambda record: record.update(machines={"machine-1": {}}, merged_from=[{"id": "a"}]), "several machines"),
        (put([{}], "cells"), r"second.run.json is damaged \(cells\[0\] has no engine"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused_in_one_line(tmp_path, change, words):
    fails(tmp_path, change, words)


@pytest.mark.parametrize(
    "change",
    [
        put(["bfloat16"], "fingerprint", "dtypes"),
        put("/elsewhere/wave.jpg", "settings", "style"),
        put([["johnson/stylize", "/elsewhere/j.npz"]], "settings", "nets"),
        put({"gatys/texture": {"sha256": "9"}}, "inputs", "nets"),
        lambda record: record["budget"].pop("score"),
    ],
)
def test_what_makes_no_difference_is_none(tmp_path, change):
    first = invent(tmp_path, small_plan(sizes=[64]), "first")
    second = invent(tmp_path, small_plan(sizes=[128]), "second")
    record = json.loads((second / "run.json").read_text())
    change(record)
    (second / "run.json").write_text(json.dumps(record))
    found = merged([first, second]).run
    assert found["status"] == "complete"
    assert found["fingerprint"]["dtypes"] in (["float32"], ["bfloat16", "float32"])
    assert dict(map(tuple, found["settings"]["nets"]))["johnson/stylize"] == "j.npz"
    assert found["inputs"]["nets"]["johnson/stylize"]["sha256"] == "4" * 64


def test_a_part_without_a_gpu_goes_with_one_that_used_it(tmp_path):
    gpu = {**MACHINE, "gpu": "Some GPU"}
    on_cpu = invent(tmp_path, small_plan(), "cpu")
    on_gpu = invent(tmp_path, small_plan(devices=["gpu:0"]), "gpu", machine=gpu)
    assert merged([on_cpu, on_gpu]).run["fingerprint"] == gpu
    other = invent(tmp_path, small_plan(devices=["gpu:1"]), "other", machine={**gpu, "gpu": "Another GPU"})
    with pytest.raises(UserError, match="other was measured on another machine than .*gpu .gpu is 'Another GPU'"):
        merged([on_cpu, on_gpu, other])


def test_other_revisions_and_versions_are_warnings_and_those_of_the_parts_are_kept(tmp_path):
    first = invent(tmp_path, small_plan(sizes=[64]), "first", warnings=["busy"])
    other = {**ENVIRONMENT, "git": {"revision": "b" * 40, "dirty": True}, "versions": {"mxnet": "1.9.0"}}
    second = invent(tmp_path, small_plan(sizes=[128]), "second", environment=other, warnings=["busy"])
    found = merged([first, second]).run
    assert found["warnings"] == [
        "the runs were made with different revisions of the suite (first: aaaaaaaaaaaa, second: bbbbbbbbbbbb with "
        "uncommitted changes)",
        "the runs differ in mxnet (first: 1.9.1, second: 1.9.0)",
        "the runs differ in python (first: 3.11.9, second: none)",
        "first: busy",
        "second: busy",
    ]
    assert found["environment"]["git"] == {"revision": None, "dirty": True}
    assert [session["run"] for session in found["sessions"]] == ["first", "second"]


def test_the_command_refuses_what_is_no_run(tmp_path, capsys, thirds):
    out = tmp_path / "out"
    empty, damaged = tmp_path / "empty", tmp_path / "damaged"
    empty.mkdir()
    shutil.copytree(thirds[1], damaged)
    (damaged / "samples.csv").write_bytes(b"no table\n" + b"x" * 100_000)
    for arguments, words in (
        ([thirds[0]], "is only one run"),
        ([thirds[0], thirds[0]], "is only one run"),
        ([thirds[0], empty], "not a run directory"),
        ([thirds[0], damaged], "damaged"),
        ([thirds[0], tmp_path / "nowhere"], "no run"),
        ([thirds[0], thirds[1], "--facet", "size"], "--facet: unknown 'size'"),
        ([], "DIR"),
    ):
        assert main.main(["merge", *map(str, arguments), "--out", str(out)]) == 2
        captured = capsys.readouterr()
        assert words in captured.err and len(captured.err.splitlines()) == 1 and captured.out == ""
        assert not out.exists()


@pytest.mark.parametrize(("name", "fine", "bad", "words"), [
    ("samples.csv", "latency_s,s", "latency,s,s", "14 fields, not 13"),
    ("curves.csv", ",0.0,0,100.0", ",0.000,100.0", "15 fields, not 16"),
])  # fmt: skip
def test_a_row_of_another_length_is_damage(tmp_path, thirds, name, fine, bad, words):
    text = (thirds[1] / name).read_text()
    (thirds[1] / name).write_text(text.replace(fine, bad, 1))
    with pytest.raises(UserError, match=f"^DIR: .*third-2 is damaged .*row [0-9]+ of {name} has {words}.*measure it"):
        parts.read(thirds[1])


def test_a_merge_that_fails_in_the_middle_leaves_nothing(tmp_path, thirds, monkeypatch):
    def broken(path):
        assert (path / "run.json").is_file()
        raise UserError("report: broken")

    found = merged(thirds)
    with pytest.raises(UserError, match="broken"):
        merge.write(found, tmp_path / "deep" / "out", broken)
    assert not (tmp_path / "deep").exists()
    (tmp_path / "out").mkdir()
    with pytest.raises(KeyboardInterrupt):
        merge.write(found, tmp_path / "out", lambda path: (_ for _ in ()).throw(KeyboardInterrupt))

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(merge.shutil, "copyfileobj", full)
    with pytest.raises(UserError, match="^--out: no space left"):
        merge.write(found, tmp_path / "out", broken)
    assert list((tmp_path / "out").iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="^--out: .* is a file"):
        merge.write(found, tmp_path / "file", broken)


def test_a_merged_run_is_not_gone_on_with(tmp_path, thirds, capsys):
    path = written(thirds[:2], tmp_path / "out")
    assert main.main(["run", "--resume", str(path)]) == 2
    assert "was merged from third-1, third-2; resume those" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------ machines side by side


@pytest.fixture
def machines(tmp_path) -> list[Path]:
    """The same plan on two machines, the second in two halves; and the second is twice as fast at nothing."""
    plan = small_plan(sizes=[64, 256])
    halves = [invent(tmp_path, shards.take(plan, i, 2), f"b{i}", machine=OTHER_CPU) for i in (1, 2)]
    return [invent(tmp_path, plan, "a"), *halves]


def test_machines_stay_apart(tmp_path, machines):
    path = written(machines, tmp_path / "out", facet=True)
    record = run_folder.read_run(path)
    assert set(record["machines"]) == {"machine-1", "machine-2"}
    assert record["machines"]["machine-2"] == {
        "name": "machine 2", "cpu": "Another CPU", "cores": 8, "threads": 8, "gpu": None, "runs": ["b1", "b2"]
    }  # fmt: skip
    plan = small_plan(sizes=[64, 256])
    expected = [f"{cell.key}".replace("-cpu-", f"-cpu@machine-{n}-") for cell in plan.cells for n in (1, 2)]
    assert Counter(keys(path)) == Counter(expected)
    assert {cell["device"] for cell in record["cells"]} == {"cpu@machine-1", "cpu@machine-2"}
    assert all((path / found[name]).is_file() for found in run_folder.read_cells(path) for name in ("image", "log"))
    assert record["status"] == "complete"
    assert {part["machine"] for part in record["merged_from"] if part["id"] != "a"} == {"machine-2"}


def test_no_ratio_crosses_machines(tmp_path, machines):
    """Each machine's rows are those of its own run alone."""
    path = written(machines, tmp_path / "out", facet=True)
    together = analysis.summarise_run(read_run(path))
    for label, runs in (("machine-1", machines[:1]), ("machine-2", machines[1:])):
        alone = runs[0] if len(runs) == 1 else written(runs, tmp_path / "alone")
        rows = together[together["device"] == f"cpu@{label}"].assign(device="cpu").reset_index(drop=True)
        pd.testing.assert_frame_equal(rows, analysis.summarise_run(read_run(alone)))
        assert rows["metric"].str.startswith("speedup").sum() >= 6


def test_the_report_of_several_machines_says_what_each_is(tmp_path, capsys):
    first = make_run(tmp_path / "a", sizes=(256, 512), oom_at=512, seeds=(0,))
    second = make_run(tmp_path / "b", sizes=(256, 512), oom_at=512, seeds=(0,))
    record = json.loads((second / "run.json").read_text())
    record["fingerprint"] = {"cpu": "Another CPU", "cores": 8, "gpu": None}
    record["environment"]["cpu"] = {"model": "Another CPU", "cores_used": 8}
    record["environment"]["versions"]["mxnet"] = "1.9.0"
    (second / "run.json").write_text(json.dumps(record))
    arguments = ["merge", str(first), str(second), "--facet", "machine", "--out", str(tmp_path / "out")]
    assert main.main(arguments) == 0
    captured = capsys.readouterr()
    assert "machine-2: Another CPU, 8 cores" in captured.err
    path = Path(captured.out.strip()).parent
    text = (path / "report.md").read_text()
    page = (path / "report.html").read_text()
    assert "machine-1: Example CPU 9000" in text and "machine-2: Another CPU, 8 cores" in text
    assert "machine-1: MXNet 1.9.1" in text and "machine-2: MXNet 1.9.0" in text
    assert "Several machines stand side by side." in text and "less memory (cpu@machine-1)" in text
    assert "samples; one seed, so" in text
    for device in ("cpu@machine-1", "cpu@machine-2"):
        assert device in page
    assert "The runs that this one was merged from" in text and first.name in text and second.name in text
    assert ".nst-gluon-" not in text + page + (path / "run.json").read_text()
    troubled = text[text.index("Failed, skipped") :]
    assert "| stylisation | 512 | optimisation | cpu@machine-2 | 1 | 0 |" in troubled
    verdicts = list(csv.DictReader((path / "claims.csv").read_text().splitlines()))
    measured = [row for row in verdicts if row["measured"]]
    assert measured and all("gluon on cpu@machine-1" in row["reason"] for row in measured)
    assert report.build(path) == path / "report.html"
    merged = read_run(path)
    assert claims.of_run(merged, analysis.summarise_run(merged), methods.of_run(merged))


def test_a_faceted_run_is_of_no_single_machine(tmp_path, machines, capsys):
    path = written(machines, tmp_path / "out", facet=True)
    with pytest.raises(UserError, match="several machines side by side already; merge the runs .* a, b1, b2"):
        parts.read(path)
    assert main.main(["baseline", "save", "main", str(path), "--out", str(tmp_path / "out")]) == 2
    assert "several machines" in capsys.readouterr().err
    assert "cpu" not in run_folder.read_run(path)["fingerprint"]


def test_programs_get_one_object_and_the_list_of_runs_has_the_new_one(tmp_path, capsys):
    parts = [make_run(tmp_path / name, sizes=(256,), seeds=(seed,)) for seed, name in enumerate("ab")]
    (parts[1] / "judges.csv").touch()
    assert main.main(["merge", *map(str, parts), "--out", str(tmp_path / "out"), "--json"]) == 0
    captured = capsys.readouterr()
    answer = json.loads(captured.out)
    folder = tmp_path / "out" / answer["run"]
    assert f"warning: what was judged of the parts is not in it; python -m bench judge {folder}\n" in captured.err
    assert folder.name in (tmp_path / "out" / index.NAME).read_text()
    assert answer["page"] == str(folder / "report.html") and Path(answer["page"]).is_file()
    assert answer["runs"] == [str(path) for path in parts] and answer["status"] == "complete"
    cells = len((folder / "cells.jsonl").read_text().splitlines())
    assert answer["cells"] == {"finished": cells, "planned": cells} and cells > 2
