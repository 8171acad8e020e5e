"""One small real run: the real engine, a random descriptor, nets that nobody trained, and the report at the end."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import toy_net
from plans import run_module

from nst_gluon.nets import netfile

pytest.importorskip("mxnet", reason="needs an engine")

NETS = (
    ("texture_net", "texture"),
    *((name, "stylize") for name in ("texture_net", "johnson", "johnson_slim", "coarse_net")),
)


@pytest.fixture(scope="module")
def nets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nets")
    paths = [netfile.save(folder / f"{'-'.join(net)}.npz", *toy_net.trained(*net)) for net in NETS]
    return [argument for path in paths for argument in ("--net", str(path))]


def bench(nets, out, *arguments: str) -> tuple[int, dict]:
    """Exit status and the JSON answer of a quick run with a random descriptor."""
    child = run_module("bench", "run", "--size", "64", "--budget", "quick", "--random-weights", "--json",
                       "--threads", "1", "--out", out, *nets, *arguments)  # fmt: skip
    assert child.stdout, child.stderr
    return child.returncode, json.loads(child.stdout)


@pytest.fixture(scope="module")
def finished(nets, tmp_path_factory):
    status, answer = bench(nets, tmp_path_factory.mktemp("results"))
    assert status == 0, answer["failed"]
    return Path(answer["path"]), answer


def rows(path) -> list[dict]:
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


def test_every_cell_is_ok_and_both_tasks_have_a_speed_up_at_equal_loss(finished):
    path, answer = finished
    assert answer["cells"] == {"ok": 7}
    found = {
        (row["method"], row["task"]): row["value"]
        for row in answer["summary"]
        if row["metric"] == "speedup_at_equal_loss"
    }
    assert set(found) == set(NETS)
    assert all(value and value > 0 for value in found.values())


def test_the_run_directory_is_complete(finished):
    path, answer = finished
    names = {entry.name for entry in path.iterdir()}
    assert {"run.json", "cells.jsonl", "samples.csv", "curves.csv", "summary.csv", "claims.csv", "report.md",
            "report.html", "plots", "images", "logs"} <= names  # fmt: skip
    pictures = {entry.name for entry in (path / "images").iterdir()}
    equal = {f"gluon-gatys-{task}-64-b1-float32-cpu-s0-at-{net}.png" for net, task in NETS}  # at a net's objective
    assert {"style.png", "content.png", "row.png", *equal} < pictures and len(pictures) == 3 + len(equal) + 7
    assert answer["report"] == str(path / "report.html")


def test_each_number_is_plausible(finished):
    path, _ = finished
    for row in rows(path / "samples.csv"):
        value = float(row["value"])
        assert value >= 0
        if row["metric"] == "peak_memory_bytes":
            assert 1e8 < value < 4e9
        if row["metric"] == "working_memory_bytes":
            assert 1e6 < value < 3e9
    for cell in map(json.loads, (path / "cells.jsonl").read_text().splitlines()):
        if cell["kind"] == "optimise":
            assert cell["targets"] and cell["evaluations"] >= 1
            best = min(float(row["objective"]) for row in rows(path / "curves.csv") if row["task"] == cell["task"])
            # The picture is saved clipped to [0, 1]; otherwise it is the best one of the curve.
            assert cell["medians"]["objective"] == pytest.approx(best, rel=0.05)


def test_the_pictures_are_judged_afterwards(finished, tmp_path):
    """On a copy, so that no other test sees it; the nets are asked for further draws and for other noise."""
    path = tmp_path / finished[0].name
    shutil.copytree(finished[0], path)
    child = run_module("bench", "judge", path, "--out", tmp_path, "--json")
    assert child.returncode == 0, child.stderr
    found = {(row["method"], row["task"], row["target"], row["metric"]): float(row["value"])
             for row in rows(path / "judges.csv")}  # fmt: skip
    for net, task in NETS:
        for method, target in ((net, ""), ("gatys", ""), ("gatys", net)):
            for metric in ("objective", "judge_gram", "copied_share" if task == "texture" else "edge_ssim"):
                assert np.isfinite(found[method, task, target, metric])
    assert 0.5 < found["texture_net", "texture", "", "diversity"] < 1.5
    assert found["johnson", "stylize", "", "diversity"] == 0, "it takes no noise"
    curve = {float(row["scale"]): float(row["objective"]) for row in rows(path / "noise.csv")}
    assert curve[1] == pytest.approx(found["texture_net", "stylize", "", "objective"], rel=1e-3)
    assert (path / "images" / "noise-texture_net-4.png").is_file() and len(curve) == 6
    assert {row["metric"] for row in json.loads(child.stdout)["correlations"]} >= {"judge_gram"}


@pytest.mark.slow
def test_the_same_seed_gives_the_same_pictures_bit_for_bit(nets, finished, tmp_path):
    path, _ = finished
    status, answer = bench(nets[:2], tmp_path, "--task", "texture")
    assert status == 0
    again = sorted(Path(answer["path"], "images").glob("gluon-*.png"))
    assert len(again) == 3  # the net's, optimisation's, and optimisation's at the net's objective
    for picture in again:
        assert picture.read_bytes() == (path / "images" / picture.name).read_bytes()
