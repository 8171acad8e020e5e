"""Where no engine can be imported, a committed run is still read, reported on and compared, in every child process too.

What a machine without MXNet, PyTorch and ONNX Runtime can do; tox's noengine environments are such machines.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
from pathlib import Path

import pytest
from conftest import BLOCK_ENGINE
from plans import environment, run_module

ROOT = Path(__file__).resolve().parent.parent
REFERENCE_RUN = ROOT / "results" / "reference"


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """Run ``python -m bench`` where no process finds an engine: ``bare(*arguments)``."""
    folder = tmp_path_factory.mktemp("site")
    # Every Python imports this at its start, children too.
    (folder / "sitecustomize.py").write_text(BLOCK_ENGINE)
    path = os.pathsep.join([str(folder), environment()["PYTHONPATH"]])
    return functools.partial(run_module, "bench", env={**environment(), "PYTHONPATH": path}, cwd=folder)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A committed run without what was made of it: measurements and pictures only."""
    path = tmp_path_factory.mktemp("runs") / "reference"
    shutil.copytree(REFERENCE_RUN, path)
    for name in ("report.md", "report.html", "summary.csv", "claims.csv"):
        (path / name).unlink(missing_ok=True)
    shutil.rmtree(path / "plots")
    return path


def test_the_report_of_a_committed_run_is_built(bare, copy):
    done = bare("report", str(copy), "--out", str(copy.parent))
    assert done.returncode == 0, done.stderr
    report = (copy / "report.md").read_text()
    assert "The papers' claims, checked" in report and len((copy / "report.html").read_text()) > 100_000
    assert (copy / "plots" / "latency-s.svg").is_file()
    rows = (copy / "summary.csv").read_text().splitlines()
    assert len(rows) > 50 and rows[1].startswith(",gluon,")


def test_two_committed_runs_are_compared(bare, copy):
    done = bare("compare", str(copy), str(REFERENCE_RUN), "--out", str(copy.parent))
    assert done.returncode == 0, done.stdout + done.stderr
    assert " same" in done.stdout and "slower" not in done.stdout


def test_runs_are_listed_and_the_machine_is_examined(bare, copy):
    assert "reference" in bare("list", "runs", "--out", str(copy.parent)).stdout
    done = bare("doctor")
    assert done.returncode == 2  # no run can work here
    assert "pytorch is not here" in done.stdout and "onnxruntime is not here" in done.stdout


@pytest.mark.parametrize("engine", ["gluon", "pytorch", "onnxruntime", "openvino", "gluon,pytorch,onnxruntime"])
def test_a_run_is_refused_in_one_line_and_leaves_nothing(bare, tmp_path, engine):
    done = bare("run", "--engine", engine, "--method", "johnson", "--size", "64", "--out", str(tmp_path / "out"))
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and "no engine" in line and "pip install" in line
    assert not (tmp_path / "out").exists()


def test_parity_says_that_there_is_nothing_to_compare(bare):
    done = bare("parity", "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert "none is installed" in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_plan_with_every_engine_is_made_without_one(python):
    code = (
        "import json\nfrom bench.plan.cells import Plan\nfrom plans import small_plan\n"
        "made = small_plan(engines=['gluon', 'pytorch', 'onnxruntime'])\n"
        "again = Plan.from_dict(json.loads(json.dumps(made.to_dict())))\n"
        "print(json.dumps([made == again, len(made.cells)]))"
    )
    done = python(code, engine=False, PYTHONPATH=os.pathsep.join([str(ROOT / "tests"), str(ROOT)]))
    assert json.loads(done.stdout) == [True, 13], done.stderr
