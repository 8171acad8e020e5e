"""The comparisons with public peers (results/speed): arguments, records and tables, with blocks that are made up."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nst_gluon.cli import console
from nst_gluon.pictures import images

FACTORS = {"gluon": 1.0, "openvino": 0.5, "onnxruntime": 2.0}


@pytest.fixture
def engines(results_script, run_script, monkeypatch, tmp_path):
    """Run engines.py with blocks in which each engine has a factor on time, and pictures ``off`` from Gluon's."""

    def run(off: float = 0.0):
        module, order = results_script("speed", "engines"), []

        def block(python, program, spec):
            engine = spec["engine"]
            order.append(engine)
            shift, cells = 0.0 if engine == "gluon" else off, []
            for cell in spec["cells"]:
                _, size, dtype, batch = cell
                if engine != "onnxruntime" or dtype == "float32":
                    seconds = size**2 * 1e-6 * batch * FACTORS[engine]
                    cells.append({"cell": cell, "latency_s": [seconds] * 2, "grid": [0.5 + shift]})
            return {"cells": cells, "versions": {"fake": engine}}

        monkeypatch.setattr(module.peers, "block", block)
        return *run_script(module, "--rounds", 2, "--output", tmp_path / "e.csv"), order

    return run


def test_engines_in_turns(engines, tmp_path):
    status, out, err, order = engines()
    assert status == 0, err
    assert order[:7] == ["gluon", "openvino", "onnxruntime", "onnxruntime", "openvino", "gluon", "gluon"]
    lines = {line[: line.index("  ")].strip(): line.split() for line in out.splitlines() if line.startswith("great")}
    johnson = "great_wave-johnson-stylize"
    assert lines[f"{johnson} 512 float32 openvino"][-3:] == ["0.500", "[0.500,", "0.500]"]
    assert lines[f"{johnson} 256 float32 onnxruntime"][-3] == "2.000"
    assert lines[f"{johnson} 256 float32 gluon batch 16"][-3] == "1.000"
    found = pd.read_csv(tmp_path / "e.csv")
    assert set(found.loc[found["engine"] == "onnxruntime", "dtype"]) == {"float32"}
    facts = json.loads((tmp_path / "e.json").read_text())
    assert facts["versions"]["openvino"] == {"fake": "openvino"} and "cpu" in facts["environment"]


def test_different_pictures_are_not_compared(engines, tmp_path):
    status, out, err, _ = engines(off=0.01)
    assert status == console.MISUSED and out == "" and "40.0 dB from Gluon's picture" in err
    assert not (tmp_path / "e.csv").exists()


def test_pastiche_steps_and_descents(results_script, run_script, monkeypatch, tmp_path):
    module = results_script("speed", "pastiche")
    scored = {}

    def block(python, program, spec):
        ours = program.startswith("gluon")
        clock = np.arange(1, spec["iterations"] + 1) * (0.1 if ours else 0.3)
        pictures = []
        if spec["pictures"]:
            folder, every = spec["pictures"]
            for step in range(every, spec["iterations"] + 1, every):
                path = Path(folder) / f"{step}.png"
                images.save(np.full((1, 3, 8, 8), step / 255, np.float32), path)
                scored[str(path)] = 1000 / step
                pictures.append([step, clock[step - 1], str(path)])
        return {"setup_s": 1.0, "seconds": clock.tolist(), "pictures": pictures, "versions": {}}

    monkeypatch.setattr(module.peers, "block", block)
    monkeypatch.setattr(module.peers, "check", lambda options, package: None)
    monkeypatch.setattr(module.Comparison, "score", lambda self, picture, spec: scored[picture])
    targets = {"johnson": 50.0, "texture_net": 25.0, "gatys": 1.0}
    monkeypatch.setattr(module.Comparison, "targets", lambda self, spec: targets)
    output = tmp_path / "p.csv"
    status, out, err = run_script(module, "--peer-python", sys.executable, "--size", 64, "--rounds", 1,
                                  "--descent-rounds", 1, "--samples", 4, "--iterations", 40, "--every", 10,
                                  "--output", output)  # fmt: skip
    assert status == 0, err
    found = pd.read_csv(output)
    steps = found.loc[(found["metric"] == "iteration_s") & (found["side"] == "peer"), "value"]
    assert list(steps) == pytest.approx([0.3] * len(steps)) and len(steps) == 2 * 2 * 4
    times = found[found["metric"] == "time_to_target_s"].groupby(["cell", "side"])["value"].last()
    assert times["descent, 64, matched, texture_net's objective of 25", "peer"] == pytest.approx(12)
    assert times["descent, 64, matched, texture_net's objective of 25", "ours"] == pytest.approx(4)
    assert {cell.rsplit(" ", 1)[1] for cell, _ in times.index} == {"50", "25", "1"}
    assert len(pd.read_csv(tmp_path / "p-curves.csv")) == 2 * 4 * 4
    assert "0.333" in out and out.count("not reached") == 4 and "gatys's objective of 1: peer, 2 descents" in out
    facts = json.loads((tmp_path / "p.json").read_text())
    assert facts["setup_s"]["ours"] == [1.0] * (2 * 2 + 2 * 2) and "peer_python" not in facts["settings"]


@pytest.mark.parametrize(("python", "said"), [("/nowhere/python", "cannot run"), ("/bin/false", "has no pastiche")])
def test_a_peer_that_is_not_there_is_one_line(results_script, run_script, tmp_path, python, said):
    module = results_script("speed", "pastiche")
    status, _, err = run_script(module, "--peer-python", python, "--output", tmp_path / "x.csv")
    assert status == console.MISUSED and said in err and len(err.splitlines()) == 1 and list(tmp_path.iterdir()) == []
