"""The comparisons with public peers (results/speed): arguments, records and tables, with blocks that are made up."""

from __future__ import annotations

import csv
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from nst_gluon.cli import console
from nst_gluon.pictures import images

FOLDER = Path(__file__).resolve().parent.parent / "results" / "speed"


@pytest.fixture
def script(monkeypatch):
    """One of the scripts as a module, under a name that hides no package: ``script("pastiche")``."""
    monkeypatch.syspath_prepend(FOLDER)

    def load(name: str):
        spec = importlib.util.spec_from_file_location(f"script_{name}", FOLDER / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    yield load
    sys.modules.pop("peers", None)


@pytest.fixture
def call(monkeypatch, tmp_path, capsys):
    """Run a script's main with arguments and made-up blocks: (status, standard output, error lines)."""

    def run(module, block, *arguments: str):
        module.peers.block = block
        monkeypatch.setattr(sys, "argv", ["script", "--peer-python", sys.executable, *arguments])
        monkeypatch.setattr(module.peers, "check", lambda options, package: None)
        status = console.run(module.main)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def engine_block(python, program, spec, factors, off=0.0):
    """A made-up block: each engine has a factor on time, and a picture that is ``off`` from Gluon's."""
    cells = []
    for cell in spec["cells"]:
        _, size, dtype, batch = cell
        if spec["engine"] == "onnxruntime" and dtype != "float32":
            continue
        seconds = size**2 * 1e-6 * batch * factors[spec["engine"]]
        shift = off if spec["engine"] != "gluon" else 0.0
        cells.append({"cell": cell, "latency_s": [seconds] * 2, "grid": [0.5 + shift]})
    return {"cells": cells, "versions": {"fake": spec["engine"]}}


@pytest.fixture
def engines(script, monkeypatch, capsys, tmp_path):
    """Run engines.py with made-up blocks: (status, standard output, error lines, order of the blocks)."""

    def run(factors, off=0.0):
        module, order = script("engines"), []

        def block(python, program, spec):
            order.append((spec["engine"], len(spec["cells"])))
            return engine_block(python, program, spec, factors, off)

        monkeypatch.setattr(module.peers, "block", block)
        monkeypatch.setattr(sys, "argv", ["script", "--rounds", "2", "--output", str(tmp_path / "e.csv")])
        status = console.run(module.main)
        captured = capsys.readouterr()
        return status, captured.out, captured.err, order

    return run


def test_engines_in_turns(engines, tmp_path):
    status, out, err, order = engines({"gluon": 1.0, "openvino": 0.5, "onnxruntime": 2.0})
    assert status == 0, err
    names = [name for name, _ in order]
    assert names[:7] == ["gluon", "openvino", "onnxruntime", "onnxruntime", "openvino", "gluon", "gluon"]
    lines = {line[: line.index("  ")].strip(): line.split() for line in out.splitlines() if line.startswith("great")}
    johnson = "great_wave-johnson-stylize"
    assert lines[f"{johnson} 512 float32 openvino"][-3:] == ["0.500", "[0.500,", "0.500]"]
    assert lines[f"{johnson} 256 float32 onnxruntime"][-3] == "2.000"
    assert lines[f"{johnson} 256 float32 gluon batch 16"][-3] == "1.000"
    found = rows(tmp_path / "e.csv")
    assert {row["dtype"] for row in found if row["engine"] == "onnxruntime"} == {"float32"}
    facts = json.loads((tmp_path / "e.json").read_text())
    assert facts["versions"]["openvino"] == {"fake": "openvino"} and "cpu" in facts["environment"]


def test_different_pictures_are_not_compared(engines, tmp_path):
    status, out, err, _ = engines({"gluon": 1.0, "openvino": 0.5, "onnxruntime": 2.0}, off=0.01)
    assert status == console.MISUSED and out == "" and "40.0 dB from Gluon's picture" in err
    assert not (tmp_path / "e.csv").exists()


def test_pastiche_steps_and_descents(script, call, tmp_path):
    module = script("pastiche")
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

    module.Scores.__call__ = lambda self, picture, spec: scored[picture]
    module.Comparison.targets = lambda self, spec: {"johnson": 50.0, "texture_net": 25.0, "gatys": 1.0}
    output = tmp_path / "p.csv"
    status, out, err = call(module, block, "--size", "64", "--rounds", "1", "--descent-rounds", "1", "--samples", "4",
                            "--iterations", "40", "--every", "10", "--output", str(output))  # fmt: skip
    assert status == 0, err
    found = rows(output)
    steps = [float(row["value"]) for row in found if row["metric"] == "iteration_s" and row["side"] == "peer"]
    assert steps == pytest.approx([0.3] * len(steps)) and len(steps) == 2 * 2 * 4
    times = {(row["cell"], row["side"]): float(row["value"]) for row in found if row["metric"] == "time_to_target_s"}
    assert times["descent, 64, matched, texture_net's objective of 25", "peer"] == pytest.approx(12)
    assert times["descent, 64, matched, texture_net's objective of 25", "ours"] == pytest.approx(4)
    assert {cell.rsplit(" ", 1)[1] for cell, _ in times} == {"50", "25", "1"}
    assert len(rows(tmp_path / "p-curves.csv")) == 2 * 4 * 4
    assert "0.333" in out and out.count("not reached") == 4 and "gatys's objective of 1: peer, 2 descents" in out
    facts = json.loads((tmp_path / "p.json").read_text())
    assert facts["setup_s"]["ours"] == [1.0] * (2 * 2 + 2 * 2) and "peer_python" not in facts["settings"]


@pytest.mark.parametrize(("name", "package"), [("pastiche", "pastiche")])
def test_a_peer_that_is_not_there_is_one_line(script, name, package, monkeypatch, capsys, tmp_path):
    module = script(name)
    for python, said in (("/nowhere/python", "cannot run"), ("/bin/false", f"has no {package}")):
        monkeypatch.setattr(sys, "argv", ["script", "--peer-python", python, "--output", str(tmp_path / "x.csv")])
        assert console.run(module.main) == console.MISUSED
        captured = capsys.readouterr()
        assert said in captured.err and len(captured.err.splitlines()) == 1 and list(tmp_path.iterdir()) == []
    (tmp_path / "x.csv").write_text("precious")
    assert console.run(module.main) == console.MISUSED
    assert "exists" in capsys.readouterr().err and (tmp_path / "x.csv").read_text() == "precious"
