"""``bench compare`` from the command line: runs, baselines, kernels' JSON and real revisions, with their statuses."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from plans import in_pairs, small_plan

from bench.cli import main
from bench.gate import comparison, revisions, rounds, selftest, sources
from bench.machine import environment
from bench.run.outcome import Outcome
from bench.store import baselines
from bench.store.run_folder import Store

FINGERPRINT = {"cpu": "Imaginary 1", "cores": 2, "threads": 2, "gpu": None, "dtypes": ["float32"]}


def make_run(root: Path, factor: float = 1.0, memory: float = 1.0, methods=("texture_net", "johnson"), seed: int = 0,
             fingerprint=None, failed=(), task="stylize", drifting=(), left=()) -> Path:  # fmt: skip
    """A run of invented samples whose times are ``factor`` times 20 ms; methods of ``left`` were not come to."""
    rng = np.random.default_rng(seed)
    plan = small_plan(method_names=list(methods), tasks=[task])
    run = {"fingerprint": fingerprint or FINGERPRINT, "environment": {"git": {"revision": "ab" * 20}}, **plan.to_dict()}
    made = Store.create(root, {**run, "status": "complete"})
    for cell in plan.cells:
        if cell.method in left:
            continue
        status = "error" if cell.method in failed else "ok"
        values = 0.02 * factor * np.exp(rng.normal(0, 0.01, 20))
        samples = [("latency_s", "s", float(v)) for v in values]
        samples += [("peak_memory_bytes", "B", 300e6 * memory), ("working_memory_bytes", "B", 60e6 * memory)]
        record = {"key": cell.key, **cell.columns(), "kind": cell.kind, "status": status, "reason": "it broke"}
        record["drift"] = 0.2 if cell.method in drifting else 0.0
        made.append(record, samples if status == "ok" else [("setup_s", "s", 1.0)], [])
    made.update(warnings=environment.warnings_after(made.cells()))
    made.close()
    return made.path


def compare(tmp_path, capsys, *arguments) -> tuple[int, dict, str]:
    status = main.main(["compare", *map(str, arguments), "--out", str(tmp_path), "--json"])
    said = capsys.readouterr()
    return status, json.loads(said.out) if said.out.strip() else {}, said.err


def verdicts(result):
    return {(row["cell"], row["metric"]): row["verdict"] for row in result["rows"]}


def test_two_runs_of_the_same_speed_pass(tmp_path, capsys):
    status, result, _ = compare(tmp_path, capsys, make_run(tmp_path), make_run(tmp_path, seed=1))
    assert status == result["exit_status"] == 0
    assert set(verdicts(result).values()) == {"same"}
    assert "noise is not known" in result["warnings"][0]


@pytest.mark.parametrize("change, metric", [({"factor": 1.3}, "latency_s"), ({"memory": 1.2}, "working_memory_bytes")])
def test_a_slower_or_hungrier_run_is_a_regression(tmp_path, capsys, change, metric):
    status, result, _ = compare(tmp_path, capsys, make_run(tmp_path), make_run(tmp_path, **change))
    assert status == 1
    assert verdicts(result)[("johnson stylize 64", metric)] == "slower"
    assert "Regression" in result["summary"]


def test_the_files_say_what_the_terminal_says(tmp_path, capsys):
    a, b = make_run(tmp_path), make_run(tmp_path, factor=1.3)
    assert main.main(["compare", str(a), b.name, "--out", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    folder = Path(said.strip().splitlines()[-1].split(": ", 1)[1]).parent
    result = json.loads((folder / "compare.json").read_text())
    assert result["summary"] in said
    for name in ("compare.md", "compare.html", "comment.md"):
        assert "johnson stylize 64" in (folder / name).read_text()


def test_what_may_fail_is_the_users_to_say(tmp_path, capsys):
    a, b = make_run(tmp_path), make_run(tmp_path, factor=1.3, methods=["texture_net"])
    assert compare(tmp_path, capsys, a, b, "--fail-on", "missing")[0] == 1
    assert compare(tmp_path, capsys, a, b, "--metric", "peak_memory_bytes")[0] == 0
    assert compare(tmp_path, capsys, a, b, "--floor", "40")[0] == 0
    assert compare(tmp_path, capsys, a, b)[0] == 1


def test_another_machine_is_not_compared(tmp_path, capsys):
    other = make_run(tmp_path, factor=9.0, fingerprint={**FINGERPRINT, "cpu": "Imaginary 2"})
    status, result, _ = compare(tmp_path, capsys, make_run(tmp_path), other)
    assert status == 3
    assert set(verdicts(result).values()) == {"incomparable"}
    assert "Imaginary 1" in result["rows"][0]["note"]


@pytest.mark.parametrize("changes, cells, words", [
    ({"settings": {"preset": "gatys"}}, 2, "preset is texture_net_relative there and gatys here"),
    ({"settings": {"engine_options": [["pytorch.compile", "yes"]]}}, 2, "engine_options"),
    ({"inputs": {"pictures": {"style": {"sha256": "a"}}}}, 2, "style is great_wave there and a here"),
    ({"inputs": {"nets": {"johnson/stylize": {"sha256": "b"}}}}, 1, "nets.johnson/stylize"),
    ({"inputs": {"methods": {"mine": "c"}}}, 0, ""),
])  # fmt: skip
def test_cells_that_were_made_with_other_inputs_are_not_compared(tmp_path, capsys, changes, cells, words):
    first, other = make_run(tmp_path), make_run(tmp_path, factor=9.0)
    meta = json.loads((other / "run.json").read_text())
    (other / "run.json").write_text(json.dumps({**meta, **{k: {**meta.get(k, {}), **v} for k, v in changes.items()}}))
    status, result, _ = compare(tmp_path, capsys, first, other)
    notes = {row["cell"]: row["note"] for row in result["rows"] if row["verdict"] == "incomparable"}
    assert len(notes) == cells and all(words in note for note in notes.values())
    assert status == (3 if cells == 2 else 1)


def test_cells_that_fail_now_are_status_2_and_those_that_always_failed_are_not(tmp_path, capsys):
    fine, broken = make_run(tmp_path), make_run(tmp_path, failed=["johnson"])
    status, result, _ = compare(tmp_path, capsys, fine, broken)
    assert status == 2
    assert result["failures"] == [
        {"cell": "johnson stylize 64", "side": "candidate", "status": "error", "reason": "it broke"}
    ]
    assert "; 1 cell failed (johnson stylize 64)." in result["summary"]
    assert compare(tmp_path, capsys, broken, broken)[0] == 0


def test_the_summary_of_cells_that_failed_alone_is_a_sentence():
    said = comparison.summary(comparison._no_rows(), ["a"], [], "decided", 2)
    assert said == "Cells failed: 1 cell failed (a)."


def test_nothing_in_common_is_status_3(tmp_path, capsys):
    a, b = make_run(tmp_path, methods=["johnson"]), make_run(tmp_path, methods=["texture_net"])
    status, result, _ = compare(tmp_path, capsys, a, b)
    assert status == 3
    assert set(verdicts(result).values()) == {"new", "missing"}


def test_a_baseline_belongs_to_its_machine_and_nothing_is_compared_on_another(tmp_path, capsys):
    baselines.save(tmp_path, "nightly", make_run(tmp_path))
    assert compare(tmp_path, capsys, "nightly", make_run(tmp_path))[0] == 0
    assert compare(tmp_path, capsys, "nightly", make_run(tmp_path, factor=1.5))[0] == 1
    other = make_run(tmp_path, factor=1.5, fingerprint={**FINGERPRINT, "cores": 8})
    status, result, _ = compare(tmp_path, capsys, "nightly", other)
    assert status == 3 and result["summary"] == "Nothing could be compared."
    assert f"baseline save nightly {other.name}" in result["warnings"][0]
    assert result["rows"] == []


def test_a_noise_that_the_self_test_found_is_the_floor(tmp_path, capsys):
    rows = [{"cell": "johnson stylize 64", "metric": "latency_s", "unit": "s", "between_two": 0.4}]
    selftest.keep(tmp_path, {"fingerprint": {**FINGERPRINT, "dtypes": ["bfloat16", "float32"]}, "rows": rows})
    _, result, _ = compare(tmp_path, capsys, make_run(tmp_path), make_run(tmp_path, factor=1.3))
    found = verdicts(result)
    assert found[("johnson stylize 64", "latency_s")] == "same"
    assert found[("texture_net stylize 64", "latency_s")] == "slower"
    assert result["warnings"] == []


def test_the_json_of_pytest_benchmark_is_compared_too(tmp_path, capsys):
    def file(name, factor):
        rng = np.random.default_rng(0)
        bench = {
            "name": "test_gram", "fullname": "tests/benchmarks/test_loss.py::test_gram", "params": None, "group": None,
            "extra_info": {"peak_memory_bytes": 3e8},
            "stats": {"data": list(0.01 * factor * np.exp(rng.normal(0, 0.01, 20)))},
        }  # fmt: skip
        found = {"machine_info": {"cpu": {"brand_raw": "Imaginary 1", "count": 2}}, "commit_info": {"id": "ab"},
                 "benchmarks": [bench], "datetime": "2026-01-01T00:00:00", "version": "5.0.0"}  # fmt: skip
        (tmp_path / name).write_text(json.dumps(found))
        return tmp_path / name

    status, result, _ = compare(tmp_path, capsys, file("a.json", 1.0), file("b.json", 1.4))
    assert status == 1
    assert {row["verdict"] for row in result["rows"] if row["metric"] == "latency_s"} == {"slower"}
    assert {row["verdict"] for row in result["rows"] if row["metric"] == "peak_memory_bytes"} == {"same"}


@pytest.mark.parametrize("side", ["baseline", "candidate"])
def test_what_a_run_warned_of_makes_a_slower_time_inconclusive(tmp_path, capsys, side):
    fine, slow = make_run(tmp_path), make_run(tmp_path, factor=1.3, memory=1.2)
    warned = {"baseline": fine, "candidate": slow}[side]
    meta = json.loads((warned / "run.json").read_text())
    text = "busy machine: other processes used up to 1.5 cores on average while 3 of 4 cells were measured"
    (warned / "run.json").write_text(json.dumps({**meta, "warnings": ["random descriptor weights: x", text]}))
    status, result, _ = compare(tmp_path, capsys, fine, slow, "--metric", "latency_s")
    assert status == 0 and set(verdicts(result).values()) == {"inconclusive"}
    assert f"{side} {warned.name}: {text}" in result["warnings"] and "random" not in str(result["warnings"])
    status, result, _ = compare(tmp_path, capsys, fine, slow)
    assert status == 1 and verdicts(result)[("johnson stylize 64", "peak_memory_bytes")] == "slower"


@pytest.mark.parametrize("side", ["baseline", "candidate"])
def test_a_drift_of_one_cell_says_nothing_of_others(tmp_path, capsys, side):
    shaken = {side: ["johnson"]}
    pair = [make_run(tmp_path, factor=factor, drifting=shaken.get(name, ()))
            for name, factor in (("baseline", 1.0), ("candidate", 1.3))]  # fmt: skip
    status, result, _ = compare(tmp_path, capsys, *pair, "--metric", "latency_s")
    found = verdicts(result)
    assert found[("johnson stylize 64", "latency_s")] == "inconclusive"
    assert found[("texture_net stylize 64", "latency_s")] == "slower" and status == 1
    assert any(f"{side} " in text and "drift: " in text for text in result["warnings"])


def test_a_candidate_that_was_interrupted_does_not_pass(tmp_path, capsys):
    whole, part = make_run(tmp_path), make_run(tmp_path, left=["johnson"])
    status, result, _ = compare(tmp_path, capsys, whole, part)
    assert status == 2 and "1 cell failed (johnson stylize 64)" in result["summary"]
    assert compare(tmp_path, capsys, part, whole)[0] == compare(tmp_path, capsys, part, part)[0] == 0


def test_what_is_not_clear_fails_if_asked_to(tmp_path, capsys):
    a, b = make_run(tmp_path), make_run(tmp_path, factor=1.1)
    assert compare(tmp_path, capsys, a, b)[0] == 0
    status, result, _ = compare(tmp_path, capsys, a, b, "--inconclusive", "fail")
    assert status == 1 and result["summary"].startswith("Failed: ")


def test_memory_has_the_floor_that_its_spread_from_process_to_process_allows(tmp_path, capsys):
    names = ("texture_net", "gatys")
    a, b = (make_run(tmp_path, memory=memory, methods=names, task="texture") for memory in (1.0, 1.08))
    found = verdicts(compare(tmp_path, capsys, a, b)[1])
    memory = [f"{what}_memory_bytes" for what in ("peak", "working")]
    assert [found[("texture_net texture 64", name)] for name in memory] == ["slower", "slower"]
    assert [found[("gatys texture 64", name)] for name in memory] == ["slower", "same"]


@pytest.mark.parametrize("file, text", [
    ("setup.cfg", "[nst-gluon:compare]\nmethod = texture_net\ntask = texture\nsize = 64\n"
     "fail-on =\n  slower\n  faster\n"),
    ("pyproject.toml", '[tool.nst-gluon.compare]\nmethod = "texture_net"\ntask = "texture"\nsize = 64\n'
     'fail-on = ["slower", "faster"]\n'),
])  # fmt: skip
def test_the_plan_may_stand_in_the_repository(tmp_path, capsys, repository, file, text):
    folder, _ = repository
    (folder / file).write_text(text)
    if file.endswith(".toml") and sys.version_info < (3, 11):
        pytest.skip("TOML is read from Python 3.11 on")
    status, result, _ = compare(tmp_path, capsys, "HEAD", "HEAD~1")
    assert status == 1 and [row["cell"] for row in result["rows"]] == ["texture_net texture 64"]
    assert result["summary"].startswith("Failed: ")
    assert compare(tmp_path, capsys, "HEAD", "HEAD~1", "--fail-on", "slower")[0] == 0


@pytest.mark.parametrize("file, text, words", [
    ("setup.cfg", "[nst-gluon:compare]\nmethods = x\n", "setup.cfg: [nst-gluon:compare] has no option 'methods'"),
    ("setup.cfg", "no section\n", "setup.cfg: "),
    ("pyproject.toml", "[tool.nst-gluon.compare]\nsize = {a = 1}\n", "pyproject.toml: size"),
    ("pyproject.toml", "[tool.nst-gluon.compare]\nsize = \n", "pyproject.toml: "),
])  # fmt: skip
def test_a_plan_in_the_repository_that_is_wrong_is_one_line(tmp_path, capsys, repository, file, text, words):
    if file.endswith(".toml") and sys.version_info < (3, 11):
        pytest.skip("TOML is read from Python 3.11 on")
    (repository[0] / file).write_text(text)
    status, _, said = compare(tmp_path, capsys, "HEAD", "HEAD~1")
    assert status == 2 and len(said.strip().splitlines()) == 1 and words in said


def test_a_repository_without_the_suite_must_name_a_method_of_its_own(tmp_path, capsys, repository):
    folder, commit = repository
    shutil.rmtree(folder / "nst_gluon")
    commit("another repository")
    status, _, said = compare(tmp_path, capsys, "HEAD", "HEAD~1")
    assert status == 2 and "--method" in said and "FILE.py:NAME" in said


def test_without_git_runs_are_compared_and_revisions_are_not(tmp_path, capsys, monkeypatch):
    run = make_run(tmp_path)
    monkeypatch.setenv("PATH", "")
    assert compare(tmp_path, capsys, run.name, "latest")[0] == 0
    status, _, said = compare(tmp_path, capsys, "HEAD~1", "HEAD")
    assert status == 2 and "comparing revisions needs git" in said


@pytest.mark.parametrize("arguments, words", [
    (["", "HEAD"], ["BASELINE", "empty"]),
    (["HEAD", " "], ["CANDIDATE", "empty"]),
    (["RUN", "RUN", "--inconclusive", "maybe"], ["--inconclusive", "fail"]),
    (["no-such", "HEAD"], ["BASELINE", "no-such", "git revision"]),
    (["RUN", "no-such"], ["CANDIDATE", "no-such"]),
    (["RUN", "HEAD"], ["revision is compared with a revision"]),
    (["RUN", "RUN", "--fail-on", "slow"], ["--fail-on", "slower"]),
    (["RUN", "RUN", "--metric", ","], ["--metric"]),
    (["RUN", "RUN", "--metric", "latncy_s"], ["--metric", "did you mean 'latency_s'"]),
    (["RUN", "latst"], ["CANDIDATE", "did you mean 'latest'"]),
    (["RUN", "RUN", "-q", "-v"], ["-v/--verbose", "-q/--quiet"]),
    (["RUN", "RUN", "--floor", "x"], ["--floor"]),
    (["HEAD", "HEAD", "--method", "gaty"], ["--method", "gatys"]),
    (["HEAD", "HEAD", "--time", "soon"], ["--time"]),
    (["HEAD", "HEAD", "--metric", "latency_s,style"], ["--metric: style is of finished pictures", "compare two runs"]),
])  # fmt: skip
def test_what_is_wrong_is_one_line(tmp_path, capsys, arguments, words):
    run = make_run(tmp_path)
    status, _, said = compare(tmp_path, capsys, *[str(run) if text == "RUN" else text for text in arguments])
    assert status == 2
    assert len(said.strip().splitlines()) == 1
    assert all(word in said for word in words), said
    assert not list(tmp_path.glob("comparisons/*"))


def test_quiet_prints_the_path_alone_and_on_a_regression_why(tmp_path, capsys):
    a, b = make_run(tmp_path), make_run(tmp_path, factor=1.5, seed=5)
    for pair, status, words in (((a, a), 0, ""), ((a, b), 1, "Regression: ")):
        assert main.main(["compare", *map(str, pair), "--out", str(tmp_path), "-q"]) == status
        captured = capsys.readouterr()
        assert Path(captured.out.rstrip("\n")).name == "compare.html" and len(captured.out.splitlines()) == 1
        assert captured.err.startswith(words) and len(captured.err.splitlines()) == status


# ---------------------------------------------------------------------------------------------------- revisions


def block(command, spec, **rest):
    """An invented worker: the candidate takes 30 % longer if a file in its checkout says so."""
    folder = Path(command[-1].split("sys.path[0] = '")[1].split("'")[0])
    rng = np.random.default_rng()
    factor = 1.3 if (folder / "SLOW").exists() else 1.0
    values = 0.02 * factor * np.exp(rng.normal(0, 0.01, 10))
    return Outcome("ok", samples=[("latency_s", "s", float(v)) for v in values])


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository whose second revision is slow, with invented workers; the current folder."""
    folder = tmp_path / "suite"
    source = Path(rounds.__file__).parents[1]
    (folder / "bench" / "run").mkdir(parents=True)
    (folder / "nst_gluon").mkdir()
    shutil.copy(source / "run" / "worker.py", folder / "bench" / "run")
    (folder / "nst_gluon" / "__init__.py").touch()

    def commit(message):
        for words in (["add", "."], ["commit", "--quiet", "--allow-empty", "--message", message]):
            subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True)

    for words in (["init", "--quiet"], ["config", "user.name", "t"], ["config", "user.email", "t@example.invalid"]):
        subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True)
    commit("first")
    (folder / "SLOW").touch()
    commit("second")
    monkeypatch.chdir(folder)
    made = rounds.Gate
    monkeypatch.setattr(rounds, "Gate", lambda *arguments, **more: made(*arguments, run_pair=in_pairs(block), **more))
    monkeypatch.setattr(comparison.prepare, "ask", lambda *arguments: {})
    return folder, commit


REVISIONS = ("--method", "texture_net", "--task", "texture", "--size", "64")


def test_revisions_are_measured_and_each_verdict_follows_from_samples_csv(tmp_path, capsys, repository):
    status, result, said = compare(tmp_path, capsys, "HEAD~1", "HEAD", *REVISIONS)
    assert status == 1
    assert result["stopped_because"] == "decided"
    assert said.count("round ") == result["rounds"] == 3
    (row,) = result["rows"]
    samples = pd.read_csv(Path(result["folder"]) / "samples.csv")
    blocks = samples.groupby(["round", "position"])["value"].median().unstack().to_numpy()
    pairs = np.log(np.concatenate([blocks[:, 1] / blocks[:, 0], blocks[:, 2] / blocks[:, 3]]))
    half = 3.0029 * pairs.std(ddof=1) / np.sqrt(6)  # Student's t of 5 degrees of freedom, 97 %: the first look
    assert row["ratio"] == pytest.approx(np.exp(pairs.mean()))
    ends = np.exp(pairs.mean() - half), np.exp(pairs.mean() + half)
    assert (row["low"], row["high"]) == pytest.approx(ends, rel=1e-4)
    assert row["floor"] == 0.05 and row["low"] > 1.05 and row["verdict"] == "slower"


def test_the_working_tree_is_a_side_too(tmp_path, capsys, repository):
    folder, _ = repository
    (folder / "SLOW").unlink()
    status, result, _ = compare(tmp_path, capsys, "HEAD", ".", *REVISIONS)
    assert status == 0
    assert result["rows"][0]["verdict"] == "faster"
    assert result["candidate"]["revision"] is None


def test_a_slow_down_that_is_declared_passes_and_is_told(tmp_path, capsys, repository):
    _, commit = repository
    commit("third\n\nAccept-Slower: latency_s texture_net: exact padding costs a copy")
    status, result, _ = compare(tmp_path, capsys, "HEAD~2", "HEAD", *REVISIONS)
    assert status == 0
    assert result["rows"][0]["verdict"] == "slower"
    assert result["rows"][0]["accepted"] == "exact padding costs a copy"
    assert result["accepted"][0]["metric"] == "latency_s"
    assert "declared" in result["summary"]


def test_a_folder_elsewhere_declares_only_what_its_own_commits_do(tmp_path, repository):
    folder, commit = repository
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(folder), str(clone)], check=True)
    baseline = sources.Revision("HEAD", revisions.resolve("HEAD", folder))
    commit("third\n\nAccept-Slower: latency_s: exact padding costs a copy")
    for place, count in ((folder, 1), (clone, 0), (tmp_path, 0)):
        assert len(comparison._declared(baseline, sources.Revision(".", None, place), folder)) == count


def test_beside_a_revision_a_baseline_s_name_is_that_of_a_branch(tmp_path, repository):
    folder, _ = repository
    run = make_run(tmp_path)
    for name in ("trunk", "nightly"):
        baselines.save(tmp_path, name, run)
    subprocess.run(["git", "-C", str(folder), "branch", "trunk", "HEAD~1"], check=True)
    where = (tmp_path, folder, False)
    kinds = [[type(side) for side in sources.pair_of("trunk", other, *where)] for other in ("HEAD", str(run))]
    assert kinds == [[sources.Revision] * 2, [sources.Named, sources.Measured]]
    assert isinstance(sources.pair_of("nightly", "HEAD", *where)[0], sources.Named)


def test_a_revision_of_before_comparisons_cannot_be_compared(tmp_path, capsys, repository):
    folder, commit = repository
    (folder / "bench" / "run" / "worker.py").write_text("# no protocol\n")
    commit("third")
    status, result, _ = compare(tmp_path, capsys, "HEAD", "HEAD~1", *REVISIONS)
    assert status == 3
    assert result["rows"] == []
    assert "older than comparisons" in result["warnings"][0]


def test_a_self_test_of_wrong_inputs_leaves_nothing(tmp_path, capsys):
    (tmp_path / "bad.npz").write_bytes(b"no weights")
    arguments = ["selftest", *REVISIONS, "--weights", str(tmp_path / "bad.npz"), "--out", str(tmp_path)]
    assert main.main(arguments) == 2 and "bad.npz" in capsys.readouterr().err
    assert not list(tmp_path.glob("comparisons/*"))


def test_the_self_test_tells_of_this_machine_and_keeps_it(tmp_path, capsys, repository, monkeypatch):
    from bench.machine import environment

    monkeypatch.setattr(environment, "SOURCE", repository[0])
    made = rounds.Gate
    clock = iter(range(0, 10**6, 10))
    monkeypatch.setattr(rounds, "Gate", lambda *a: made(*a, clock=lambda: float(next(clock))))
    assert main.main(["selftest", *REVISIONS, "--time", "150", "--out", str(tmp_path), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    (row,) = result["rows"]
    assert row["verdict"] == "same" and row["false_alarm_rate"] == 0
    assert 0.05 < row["smallest_detected"] < 0.2
    assert selftest.floors(tmp_path, result["fingerprint"])[("texture_net texture 64", "latency_s")] < 0.1
