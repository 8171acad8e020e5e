"""The command line: what it refuses, in one line, and what it prints at the end."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from drive import INPUTS
from plans import environment, fake_command

from bench.cli import listing, main
from bench.plan import arguments, cells, engines
from bench.run import result_table, session
from bench.store import run_folder

STYLISING = ("johnson", "johnson_slim", "coarse_net", "texture_net")
NETS = {*((net, "stylize") for net in STYLISING), ("texture_net", "texture")}


@pytest.fixture(autouse=True)
def engine_is_there(monkeypatch):
    monkeypatch.setattr(engines.Engine, "installed", lambda self: True)


@pytest.fixture
def nets(monkeypatch, tmp_path):
    """Every generator has a net."""
    monkeypatch.setattr(
        arguments.assets, "find_net",
        lambda style, method, task: tmp_path / "net.npz" if (method, task) in NETS else None,
    )  # fmt: skip


@pytest.fixture
def faked(monkeypatch, nets):
    """``bench run`` with fake workers, fake inputs and a report that is a summary only."""

    def fake(modes=None, summary="", report=True):
        def make_report(path):
            (path / "summary.csv").write_text(summary)
            return str(path / "report.html")

        monkeypatch.setattr(session, "make_report", make_report)
        monkeypatch.setattr(session, "judge_pictures", lambda path: None)
        monkeypatch.setattr(
            main.session, "How",
            functools.partial(session.How, command=fake_command(modes), ask=lambda *a: INPUTS, report=report),
        )  # fmt: skip

    return fake


def status_and_error(capsys, *arguments: str) -> tuple[int, str]:
    status = main.main(list(arguments))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1, captured.err
    assert captured.err.startswith("error: ")
    return status, captured.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--size", "0"], ["--size", "0"]),
        (["--size", "-256"], ["--size", "-256"]),
        (["--size", "256,x"], ["--size", "'x'", "whole number"]),
        (["--size", "12.5"], ["--size", "'12.5'"]),
        (["--size", "100000"], ["--size", "100000", "TB", "available"]),
        (["--size", "256", "--batch", "100000"], ["--batch 100000", "GB", "TB"]),
        (["--method", "gatis"], ["--method", "gatis", "did you mean 'gatys'"]),
        (["--method", ""], ["--method", "empty"]),
        (["--engine", "tensorflow"], ["--engine", "tensorflow", "gluon"]),
        (["--task", "stylise"], ["--task", "stylise", "did you mean 'stylize'"]),
        (["--method", "johnson", "--task", "texture"], ["--task", "johnson cannot do texture"]),
        (["--style", "great_wav"], ["--style", "great_wav", "did you mean 'great_wave'"]),
        (["--style", "no such file\n.jpg"], ["--style", "no such file"]),
        (["--content", ",".join(f"{number:030}.png" for number in range(12))], ["--content: '000", "neither"]),
        (["--content", "x" * 300], ["--content", "neither"]),
        (["--weights", "x" * 300], ["--weights", "neither"]),
        (["--net", "x" * 300], ["--net", "neither"]),
        (["--content", "nobody.png"], ["--content", "nobody.png"]),
        (["--device", "tpu"], ["--device", "tpu", "gpu:1"]),
        (["--dtype", "float16"], ["--dtype", "float16"]),
        (["--batch", "0"], ["--batch", "0"]),
        (["--repeats", "0"], ["--repeats", "0"]),
        (["--repeats", "1001"], ["--repeats", "the most is 1,000"]),
        (["--seed", "x"], ["--seed", "'x'"]),
        (["--budget", "fast"], ["--budget", "fast", "quick"]),
        (["--preset", "gatis"], ["--preset", "did you mean 'gatys'"]),
        (["--target-loss", "nan"], ["--target-loss", "nan"]),
        (["--target-loss", "-3"], ["--target-loss", "-3"]),
        (["--target-loss", "0"], ["--target-loss", "0"]),
        (["--threads", "0"], ["--threads", "0"]),
        (["--threads", ""], ["--threads", "whole number"]),
        (["--repeats", ""], ["--repeats", "whole number"]),
        (["--net", "nowhere.npz"], ["--net", "nowhere.npz"]),
        (["--net", "brick-texture_net-texture", "--method", "gatys"], ["--net", "'texture_net'", "--method; add"]),
        (["--net", "brick-texture_net-texture", "--task", "stylize"], ["--net", "'texture'", "--task; add"]),
        (["--resume", "yesterday"], ["--resume", "yesterday"]),
        (["--shard", "0/2"], ["--shard", "no part 0 of 2", "1/2 to 2/2"]),
        (["--shard", "3/2"], ["--shard", "no part 3 of 2"]),
        (["--shard", "a/b"], ["--shard", "'a/b'", "1/3"]),
        (["--shard", "2"], ["--shard", "'2'"]),
        (["--size", "64", "--shard", "1/9"], ["--shard", "9 parts are too many", "at most 2"]),
        (["--device", "gpuu"], ["--device", "did you mean 'gpu'"]),
        (["--dtype", "bfloat61"], ["--dtype", "did you mean 'bfloat16'"]),
        (["--engine", "gluom"], ["--engine", "did you mean 'gluon'"]),
        (["--content", "astronuat"], ["--content", "did you mean 'astronaut'"]),
        (["--budget", "standrad"], ["--budget", "did you mean 'standard'"]),
        (["--weights", "vgg91"], ["--weights", "did you mean 'vgg19'"]),
        (["--net", "great_wave-jonson-stylize"], ["--net", "did you mean 'great_wave-johnson-stylize'"]),
        (["--seed", "202612311200"], ["--seed", "too large"]),
        (["--resume", "latst"], ["--resume", "did you mean 'latest'"]),
        (["--stlye", "brick"], ["--stlye", "did you mean '--style'", "bench run --help"]),
        (["--stlye=brick"], ["did you mean '--style'"]),
        (["--quiet", "--verbose"], ["-v/--verbose", "-q/--quiet"]),
        (["--wat"], ["--wat"]),
        (["--size"], ["--size"]),
    ],
)
def test_bad_values_are_one_line_that_names_the_argument(capsys, nets, tmp_path, arguments, words):
    out = tmp_path / "results"
    status, error = status_and_error(capsys, "run", *arguments, "--out", str(out))
    assert status == 2
    for word in words:
        assert word in error
    assert not out.exists()


def test_a_size_that_fits_nowhere_says_what_would(capsys, nets, monkeypatch, tmp_path):
    monkeypatch.setattr(main.runtime, "memory_available_bytes", lambda: 4_000_000_000)
    status, error = status_and_error(capsys, "run", "--size", "1024", "--out", str(tmp_path / "r"))
    assert "gatys would take about 5.4 GB and 4.0 GB are available on cpu; use at most 848" in error


def test_an_output_folder_that_cannot_be_written(capsys, nets, tmp_path):
    (tmp_path / "file").write_text("")
    status, error = status_and_error(capsys, "run", "--size", "64", "--out", str(tmp_path / "file" / "results"))
    assert status == 2 and "--out" in error


@pytest.mark.parametrize(
    "arguments", [["report", "refernce"], ["merge", "refernce", "x"], ["roofline", "--run", "refernce"],
                  ["baseline", "save", "x", "refernce"], ["compare", "refernce", "refernce"]],
)  # fmt: skip
def test_the_names_of_runs_are_completed(capsys, arguments, tmp_path):
    (tmp_path / "reference").mkdir()
    (tmp_path / "reference" / "run.json").write_text(json.dumps({"schema_version": run_folder.SCHEMA_VERSION}))
    (tmp_path / "reference" / "cells.jsonl").touch()
    status, error = status_and_error(capsys, *arguments, "--out", str(tmp_path))
    assert status == 2 and "did you mean 'reference'?" in error


def test_unknown_commands_and_lists(capsys):
    assert "did you mean 'save'" in status_and_error(capsys, "baseline", "sav")[1]
    assert "FACET" in status_and_error(capsys, "merge", "a", "b", "--facet", "x")[1].upper()
    assert "did you mean 'run'" in status_and_error(capsys, "rum")[1]
    assert "did you mean 'methods'" in status_and_error(capsys, "list", "method")[1]
    assert status_and_error(capsys)[0] == 2


def test_a_style_without_any_net_is_refused_when_only_generators_are_asked_for(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(arguments.assets, "find_net", lambda *a: None)
    out = str(tmp_path / "r")
    status, error = status_and_error(capsys, "run", "--method", "johnson", "--size", "64", "--out", out)
    assert status == 2 and "--style: no trained net" in error and "python -m nst_gluon train" in error


def test_without_an_engine_it_says_what_to_install(capsys, monkeypatch, tmp_path):
    monkeypatch.undo()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    status, error = status_and_error(capsys, "run", "--size", "0", "--out", str(tmp_path / "r"))
    assert status == 2
    assert "no engine" in error and "pip install -e '.[cpu]'" in error


# ----------------------------------------------------------------------------------------------------------- runs

SUMMARY = """\
engine,method,task,size,batch,dtype,device,metric,unit,value,low,high,n,status
gluon,gatys,texture,64,1,float32,cpu,iteration_s,s,0.2,0.19,0.21,30,ok
gluon,gatys,texture,64,1,float32,cpu,time_to_target_s,s,21.5,,,1,ok
gluon,gatys,texture,64,1,float32,cpu,peak_memory_bytes,B,1100000000,,,1,ok
gluon,texture_net,texture,64,1,float32,cpu,latency_s,s,0.0441,0.043,0.045,20,ok
gluon,texture_net,texture,64,1,float32,cpu,objective,1,123.456,,,1,ok
gluon,texture_net,texture,64,1,float32,cpu,speedup_at_equal_loss,x,487.5,480,495,1,ok
gluon,texture_net,texture,128,1,float32,cpu,speedup_at_equal_loss,x,300,300,inf,1,lower bound
gluon,texture_net,texture,128,1,float32,cpu,latency_s,s,,,,0,timeout
"""


@pytest.mark.parametrize("value, low, high, shown", [
    (0.31, 0.254, 0.4, "0.31x [0.25, 0.4]"), (5.44, 4.0, 12.3, "5.4x [4, 12]"), (487.5, None, None, "488x"),
])  # fmt: skip
def test_a_ratio_below_ten_has_two_digits(value, low, high, shown):
    row = {"metric": "speedup_at_equal_loss", "value": value, "low": low, "high": high, "status": "ok"}
    assert shown in result_table.short_table([row])


def test_an_attempt_that_was_killed_is_not_kept():
    store = SimpleNamespace(cells=lambda: [{"key": "a"}, {"key": "b", "killed": True}], path="there")
    assert session._kept(store, SimpleNamespace(cells=range(3))) == "1 of 3 cells are kept in there"


def test_a_run_ends_with_a_table_and_the_reports_path(capsys, faked, tmp_path):
    faked(summary=SUMMARY)
    status = main.main(["run", "--size", "64", "--repeats", "1", "--out", str(tmp_path)])
    captured = capsys.readouterr()
    assert status == 0
    (found,) = run_folder.list_runs(tmp_path)
    lines = [line.split("  ") for line in captured.out.splitlines()]
    assert lines[0][0] == "method"
    assert "21.5 s to target" in captured.out and "1100 MB" in captured.out
    row = next(line for line in captured.out.splitlines() if "texture_net  texture  64" in line)
    assert "44.1 ms" in row and "488x [480, 495]" in row and "123.5" in row
    assert "more than 300x" in captured.out and "timeout" in captured.out
    assert captured.out.splitlines()[-1] == f"report: {found['path'] / 'report.html'}"
    assert "[11/11]" in captured.err
    recorded = found["run"]
    assert recorded["command"][:4] == ["python", "-m", "bench", "run"]
    assert recorded["status"] == "complete" and recorded["seeds"] == [0]
    assert recorded["sessions"][0]["load_before"] and recorded["sessions"][0]["load_after"]
    assert recorded["environment"]["variables"]["OMP_NUM_THREADS"]


def test_with_json_standard_output_is_one_object(capsys, faked, tmp_path):
    faked({"gluon-johnson-stylize-64-b1-float32-cpu-s0": "segfault"}, SUMMARY)
    status = main.main(["run", "--size", "64", "--repeats", "1", "--out", str(tmp_path), "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert status == answer["exit_status"] == 2
    assert answer["cells"] == {"ok": 10, "error": 1}
    assert answer["failed"][0]["key"].startswith("gluon-johnson")
    assert answer["summary"][1]["value"] == 21.5
    assert answer["summary"][6]["high"] is None  # JSON knows no infinity
    assert answer["run"] == run_folder.list_runs(tmp_path)[0]["id"]


def test_quiet_prints_errors_and_the_final_path_and_nothing_else(capsys, faked, tmp_path):
    faked({"gluon-johnson-stylize-64-b1-float32-cpu-s0": "segfault"}, SUMMARY)
    assert main.main(["run", "--size", "64", "--repeats", "1", "--out", str(tmp_path), "-q"]) == 2
    captured = capsys.readouterr()
    (found,) = run_folder.list_runs(tmp_path)
    assert captured.out == f"{found['path'] / 'report.html'}\n"
    (line,) = captured.err.splitlines()
    assert line.startswith("error: gluon-johnson-stylize-64-b1-float32-cpu-s0: crashed")


def test_a_failed_cell_makes_the_exit_status_2_and_is_named_with_its_reason(capsys, faked, tmp_path):
    faked({"gluon-johnson-stylize-64-b1-float32-cpu-s0": "oom"})
    assert main.main(["run", "--size", "64,128", "--repeats", "1", "--out", str(tmp_path)]) == 2
    out = capsys.readouterr().out
    assert "oom: gluon-johnson-stylize-64-b1-float32-cpu-s0: out of memory" in out
    assert "skipped: gluon-johnson-stylize-128-b1-float32-cpu-s0: 64x64 at batch 1 ran out" in out


def test_resume_takes_the_plan_from_the_run(capsys, faked, tmp_path):
    faked()
    assert main.main(["run", "--size", "64", "--repeats", "1", "--out", str(tmp_path)]) == 0
    path = run_folder.list_runs(tmp_path)[0]["path"]
    before = (path / "starts.txt").read_text()
    assert main.main(["run", "--resume", path.name, "--out", str(tmp_path)]) == 0
    assert main.main(["run", "--resume", "latest", "--size", "64", "--repeats", "1", "--out", str(tmp_path)]) == 0
    assert (path / "starts.txt").read_text() == before
    capsys.readouterr()
    status, error = status_and_error(capsys, "run", "--resume", str(path), "--method", "gatys")
    assert status == 2 and "another plan" in error
    status, error = status_and_error(capsys, "run", "--resume", str(path), "--size", "128")
    assert status == 2 and "--resume" in error and "another plan" in error


@pytest.mark.parametrize("budget", ["quick", "standard", "long", "full"])
def test_a_loss_that_the_user_named_ends_optimisation(budget):
    options = main.parser().parse_args(["run", "--size", "64", "--budget", budget, "--target-loss", "300"])
    plan = main.make_plan(options)
    assert (plan.budget.stop_early, plan.budget.least_iterations) == (True, 0)
    assert plan.settings.target_loss == 300 and plan.budget.name == budget


def test_random_weights_are_marked(capsys, faked, tmp_path):
    faked()
    main.main(["run", "--size", "64", "--repeats", "1", "--random-weights", "--out", str(tmp_path)])
    recorded = run_folder.list_runs(tmp_path)[0]["run"]
    assert recorded["settings"]["random_weights"] is True
    assert any("random descriptor weights" in line for line in recorded["warnings"])
    said = capsys.readouterr()
    assert "warning: random descriptor weights" in said.out
    first = said.err.splitlines()
    assert any(line.startswith("warning: random") for line in first[:3]), "at once, while it can still be stopped"


def test_lists(capsys, faked, tmp_path):
    faked()
    main.main(["run", "--size", "64", "--repeats", "1", "--out", str(tmp_path)])
    capsys.readouterr()
    expected = {
        "runs": "11/11 ok  complete  python -m bench run --size 64",
        "methods": "johnson",
        "styles": "great_wave",
        "presets": "texture_net",
    }
    for what, words in expected.items():
        assert main.main(["list", what, "--out", str(tmp_path)]) == 0
        assert words in capsys.readouterr().out
        assert main.main(["list", what, "--out", str(tmp_path), "--json"]) == 0
        first, *_ = json.loads(capsys.readouterr().out)[what]
        assert set(first) == set(listing.LISTS[what]) and all(first.values())
    path = run_folder.list_runs(tmp_path)[0]["path"]
    run_folder.write_json(path / "run.json", {**run_folder.read_run(path), "command": None})
    assert main.main(["list", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{path.name}  11/11 ok  complete\n"
    assert main.main(["list", "--out", str(tmp_path / "nothing"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"runs": []}
    assert main.main(["list", "runs", "--out", str(tmp_path / "nothing")]) == 0
    captured = capsys.readouterr()
    assert captured.out == "" and "no runs below" in captured.err


def test_a_shard_is_measured_recorded_and_kept_on_resume(capsys, faked, tmp_path):
    faked()
    common = ["run", "--size", "64,128", "--repeats", "1", "--out", str(tmp_path)]
    keys, fingerprints = [], set()
    for index in (1, 2, 3):
        assert main.main([*common, "--shard", f"{index}/3"]) == 0
        path = sorted(run_folder.list_runs(tmp_path), key=lambda found: found["run"]["created"])[-1]["path"]
        path = path.rename(tmp_path / f"shard-{index}")
        record = run_folder.read_run(path)
        assert (record["shard"]["index"], record["shard"]["of"], record["shard"]["total"]) == (index, 3, 22)
        assert [cell["key"] for cell in run_folder.read_cells(path)] == [
            cells.Cell.from_dict(cell).key for cell in record["cells"]
        ]
        keys += [cell["key"] for cell in run_folder.read_cells(path)]
        fingerprints.add(record["shard"]["plan_fingerprint"])
        path.rename(tmp_path.parent / f"{tmp_path.name}-{index}")
    assert main.main(common) == 0
    (found,) = run_folder.list_runs(tmp_path)
    assert fingerprints == {found["run"]["plan_fingerprint"]}
    assert sorted(keys) == sorted(cell["key"] for cell in found["cells"])
    first = tmp_path.parent / f"{tmp_path.name}-1"
    before = run_folder.read_run(first)["shard"]
    assert main.main(["run", "--resume", str(first)]) == 0
    assert main.main(["run", "--resume", str(first), *common[1:-2], "--shard", "1/3"]) == 0
    assert run_folder.read_run(first)["shard"] == before
    capsys.readouterr()
    for other in ([], ["--shard", "2/3"]):
        status, error = status_and_error(capsys, "run", "--resume", str(first), *common[1:-2], *other)
        assert status == 2 and "another plan" in error and "shard 1/3 there" in error


def test_a_shard_of_a_style_without_nets_still_records_what_it_cannot_do(capsys, faked, monkeypatch, tmp_path):
    faked()
    monkeypatch.setattr(arguments.assets, "find_net", lambda *a: None)
    assert main.main(["run", "--size", "64", "--repeats", "1", "--out", str(tmp_path), "--shard", "1/2"]) == 2
    (found,) = run_folder.list_runs(tmp_path)
    assert {cell["status"] for cell in found["cells"]} == {"ok", "skipped"}


def test_a_run_that_was_killed_before_its_first_cell_keeps_its_inputs_again(capsys, faked, monkeypatch, tmp_path):
    faked()
    assert main.main(["run", "--size", "64", "--repeats", "1", "--out", str(tmp_path)]) == 0
    (path,) = (found["path"] for found in run_folder.list_runs(tmp_path))
    folders = []

    def ask(engines, sizes, settings, keep_in=None):
        folders.append(keep_in)
        return INPUTS

    monkeypatch.setattr(main.session, "How", functools.partial(main.session.How, ask=ask))
    assert main.main(["run", "--resume", str(path)]) == 0 and folders == [None]
    (path / "cells.jsonl").write_text("")
    assert main.main(["run", "--resume", str(path)]) == 0 and folders == [None, None, path / "images"]


def test_list_claims(capsys):
    pytest.importorskip("pandas")
    assert main.main(["list", "claims"]) == 0
    assert "500" in capsys.readouterr().out


def test_ctrl_c_before_anything_is_measured(tmp_path):
    """While the inputs are being prepared: status 130, no traceback, nothing written."""
    code = (
        "import os, signal, sys\n"
        "from bench.cli import main\nfrom bench.plan import engines\nfrom bench.run import session\n"
        "def ask(*a): os.kill(os.getpid(), signal.SIGINT)\n"
        "engines.Engine.installed = lambda self: True\n"
        "how = session.How\n"
        "session.How = lambda **k: how(ask=ask, **k)\n"
        f"sys.exit(main.main(['run', '--method', 'gatys', '--size', '64', '--out', {str(tmp_path / 'r')!r}]))"
    )
    child = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True)
    assert child.returncode == 130
    assert "Traceback" not in child.stderr
    assert not os.path.exists(tmp_path / "r")
