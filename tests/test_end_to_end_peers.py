"""One small real run with the peers: real engines, a random descriptor, the bundled nets, and the report at the end."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pandas as pd
import pytest
from plans import run_module

from nst_gluon.pictures import images

pytestmark = pytest.mark.slow
ENGINES = {"gluon": "mxnet", "pytorch": "torch", "onnxruntime": "onnxruntime", "openvino": "openvino"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A quick run of all engines at 64 pixels: its folder and the command's JSON answer."""
    for package in (*ENGINES.values(), "onnx"):
        pytest.importorskip(package, reason="needs the extras cpu, torch, onnx and openvino")
    child = run_module(
        "bench", "run", "--method", "all", "--size", "64", "--engine", "all", "--batch", "1", "--budget", "quick",
        "--random-weights", "--threads", "1", "--engine-option", "pytorch.layout=contiguous",
        "--engine-python", f"openvino={sys.executable}", "--json", "--out", tmp_path_factory.mktemp("results"),
    )  # fmt: skip
    assert child.returncode == 0, child.stdout + child.stderr
    answer = json.loads(child.stdout)
    return Path(answer["path"]), answer


def test_every_method_of_every_engine_that_has_it_is_ok(finished):
    path, answer = finished
    own_loss = importlib.util.find_spec("plenoptic") is not None  # portilla_simoncelli, by PyTorch alone
    assert answer["cells"] == {"ok": 7 + 7 + 5 + 5 + own_loss}
    run = json.loads((path / "run.json").read_text())
    assert run["settings"]["engine_options"] == [["pytorch.layout", "contiguous"]]
    records = [json.loads(line) for line in (path / "cells.jsonl").read_text().splitlines()]
    told = {record["engine"]: record["info"] for record in records}
    assert told["pytorch"]["pytorch"]["options"]["layout"] == "contiguous"
    assert {record["engine"] for record in records if record["kind"] == "optimise"} == {"gluon", "pytorch"}


def test_pictures_and_objectives_are_the_same(finished):
    path, _ = finished
    summary = pd.read_csv(path / "summary.csv")
    summary = summary[summary["metric"] == "objective"]
    objective = summary.pivot_table("value", ["method", "task"], "engine", dropna=False)
    generated = objective.loc[["johnson", "texture_net"]].dropna(how="all")
    assert len(generated) == 3
    assert generated["pytorch"].to_numpy() == pytest.approx(generated["gluon"].to_numpy(), rel=1e-3)
    for method, task in generated.index:
        made = {name: images.load(path / "images" / f"{name}-{method}-{task}-64-b1-float32-cpu-s0.png")
                for name in ENGINES}  # fmt: skip
        for name in ("pytorch", "onnxruntime", "openvino"):
            assert images.psnr(made["gluon"], made[name]) > 45  # of 8 bits


@pytest.mark.parametrize("name", ENGINES)
def test_a_worker_imports_its_own_engine_only(python, name):
    pytest.importorskip(ENGINES[name])
    others = set(ENGINES.values()) - {ENGINES[name]}
    done = python(f"import sys\nfrom bench.plan import engines\nfrom bench.run import worker\n"
                  f"engines.get({name!r}).load()\nprint({others} & set(sys.modules))")  # fmt: skip
    assert done.stdout.splitlines()[-1] == "set()", done.stderr


def test_the_report_sets_them_side_by_side(finished):
    path, _ = finished
    report = (path / "report.md").read_text()
    part = report[report.index("## Engines compared") :]
    for name in ("Gluon", "PyTorch", "ONNX Runtime"):
        assert name in part[: part.index("\n## ")]
