"""Reading pytest-benchmark's JSON: one that pytest-benchmark really wrote, and ones that are broken."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from bench.gate import pytest_benchmark
from nst_gluon.system.errors import UserError

PROGRAM = """
import pytest

@pytest.mark.parametrize("side", [4, "a/b::c"])
def test_square(benchmark, side):
    benchmark.extra_info.update(peak_memory_bytes=123_000_000, working_memory_bytes=None, ratio=2.5)
    benchmark.pedantic(lambda: sum(range(1000)), rounds=7, iterations=3)

def test_broken(benchmark):
    benchmark(lambda: 1 / 0)
"""


def session(folder, *options: str) -> None:
    """A session of pytest-benchmark in a process of its own, where no setting of this suite reaches."""
    (folder / "inner").mkdir()
    (folder / "inner" / "test_tiny.py").write_text(PROGRAM)
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "inner", *options]
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV_"))}
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=120)
    assert "2 passed" in done.stdout, done.stdout + done.stderr


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("session")
    session(folder, "--benchmark-json=kernels.json")
    return folder / "kernels.json"


@pytest.fixture
def changed(written, tmp_path):
    """``changed(function)``: a copy of the real file after ``function(content)``."""

    def make(change):
        content = json.loads(written.read_text())
        change(content)
        path = tmp_path / "changed.json"
        path.write_text(json.dumps(content))
        return path

    return make


def test_samples_of_a_real_file(written):
    meta, samples = pytest_benchmark.read(written)
    assert list(samples.columns) == ["cell", "metric", "unit", "value"]
    times = samples[samples["metric"] == "latency_s"]
    assert dict(times.groupby("cell").size()) == {
        "test_tiny.py::test_square[4]": 7,
        "test_tiny.py::test_square[a/b::c]": 7,
    }
    assert set(times["unit"]) == {"s"} and times["value"].between(0, 1, inclusive="neither").all()
    memory = samples[samples["metric"] != "latency_s"]
    assert set(zip(memory["metric"], memory["unit"], memory["value"])) == {("peak_memory_bytes", "B", 123e6)}
    assert meta["fingerprint"]["cpu"] and meta["fingerprint"]["cores"] == os.cpu_count()
    assert meta["datetime"].startswith("20")


def test_fingerprint_is_what_the_suite_says_of_the_machine(changed):
    def change(content):
        content["machine_info"]["nst_gluon"] = {"cpu": "Example 9000", "cores": 2, "threads": 3, "gpu": None}
        content["commit_info"] = {"id": "abc123", "dirty": True}

    meta, _ = pytest_benchmark.read(changed(change))
    wanted = {"cpu": "Example 9000", "cores": 2, "threads": 3, "gpu": None}
    assert {name: meta["fingerprint"][name] for name in wanted} == wanted
    assert meta["revision"] == "abc123+"
    assert "node" not in meta["fingerprint"]


def test_a_file_without_raw_times_says_how_to_get_them(tmp_path):
    session(tmp_path, "--benchmark-save=short", "--benchmark-storage=saved")
    (path,) = tmp_path.glob("saved/*/*_short.json")
    with pytest.raises(UserError, match=r"^--baseline: .*short\.json has no raw times; .*--benchmark-save-data"):
        pytest_benchmark.read(path, "--baseline")


def drop(name):
    return lambda content: content["benchmarks"][0].pop(name)


def put(*path, value):
    def change(content):
        for name in path[:-1]:
            content = content[name]
        content[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (drop("stats"), "it lacks 'stats'"),
        (drop("extra_info"), "it lacks 'extra_info'"),
        (drop("fullname"), "it lacks 'fullname'"),
        (put("benchmarks", value=[1]), "damaged"),
        (put("benchmarks", value={"a": 1}), "damaged"),
        (put("benchmarks", value=None), "damaged"),
        (put("machine_info", value=[3]), "damaged"),
        (put("commit_info", value="here"), "damaged"),
        (put("benchmarks", 0, "stats", "data", value=["fast"]), "'fast' is not a time"),
        (put("benchmarks", 0, "stats", "data", value=[float("nan")]), "nan is not a time"),
        (put("benchmarks", 0, "stats", "data", value=None), "damaged"),
        (put("benchmarks", 0, "extra_info", "peak_memory_bytes", value=-1), "-1 is not a time"),
        (put("benchmarks", value=[]), "no benchmark that finished"),
    ],
)
def test_a_damaged_file_is_one_line(changed, change, said):
    with pytest.raises(UserError) as caught:
        pytest_benchmark.read(changed(change), "CANDIDATE")
    message = str(caught.value)
    assert message.startswith("CANDIDATE: ") and said in message and "\n" not in message


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "null", '{"benchmarks": []}', "[" * 100_000, "\0\xff"])
def test_a_foreign_file_is_one_line(tmp_path, text):
    path = tmp_path / "foreign.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=r"^FILE: [^\n]*$"):
        pytest_benchmark.read(path)


def test_no_file_and_a_folder(tmp_path):
    for path in (tmp_path, tmp_path / "none.json"):
        with pytest.raises(UserError, match=r"^RUN: [^\n]*$"):
            pytest_benchmark.read(path, "RUN")
