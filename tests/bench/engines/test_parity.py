"""Parity of the engines: the verdict on each item, the command, and the real thing with all three."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
from plans import environment

from bench.cli import main
from bench.engines import parity
from bench.engines.parity import SEPARATOR
from bench.plan import engines
from nst_gluon import assets
from nst_gluon.pictures import images
from nst_gluon.system.errors import UserError

BASE = np.linspace(0.1, 0.9, 48).reshape(1, 3, 4, 4)


@pytest.mark.parametrize(
    ("kind", "other", "passed"),
    [
        ("term", BASE * (1 + 0.9e-4), True),
        ("term", BASE * (1 + 1.2e-4), False),
        ("term", BASE * np.nan, False),
        ("activation", BASE + 0.9 * 0.9e-3, True),
        ("activation", BASE + 0.9 * 1.1e-3, False),
        ("gradient", 5 * BASE, True),
        ("gradient", -BASE, False),
        ("gradient", 0 * BASE, False),
        ("picture", BASE + 0.9e-3, True),
        ("picture", BASE + 1.1e-3, False),
    ],
)
def test_bounds_are_those_that_are_promised(kind, other, passed):
    found = parity.line("pytorch", f"{kind}{SEPARATOR}x", BASE, other)
    assert found.passed is passed
    text = parity.text(found)
    assert text.startswith("pass" if passed else "FAIL") and "relative error" in text and found.bound in text


def test_terms_that_are_zero_for_both_are_equal_and_for_one_are_not():
    zero, one = np.zeros(1), np.full(1, 1e-9)
    assert parity.line("pytorch", "term", zero, zero).passed
    assert not parity.line("pytorch", "term", zero, one).passed
    assert not parity.line("pytorch", "term", one, zero).passed


def test_lines_are_json_even_where_numbers_are_not():
    lines = [parity.line("pytorch", "picture", BASE, BASE), parity.line("pytorch", "term", BASE, BASE * np.nan)]
    found = json.loads(json.dumps(parity.as_json(lines), allow_nan=False))
    assert found[0]["value"] == "inf" and found[0]["passed"] and not found[1]["passed"]


# -------------------------------------------------------------------------------------------------------- the command


def answers(**changes) -> dict[str, dict[str, np.ndarray]]:
    """What fake engines give: one item of each kind, the nets' picture alone from ONNX Runtime."""
    every = {f"{kind}{SEPARATOR}{kind}s": BASE for kind in parity.BOUNDS}
    only = {name: value for name, value in every.items() if name.startswith("picture")}
    return {"gluon": every, "pytorch": dict(every), "onnxruntime": only, "openvino": only, **changes}


@pytest.fixture
def faked(monkeypatch):
    """Engines that are all installed and answer what they are told to."""

    def fake(found):
        monkeypatch.setattr(engines.Engine, "installed", lambda self: True)
        monkeypatch.setattr(parity, "ask", lambda name, request, folder: found[name])

    return fake


def test_the_command_prints_a_line_an_item_and_passes(faked, capsys):
    faked(answers())
    assert main.main(["parity", "--size", "32"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7 and all(line.startswith("pass") for line in lines[:-1])
    assert lines[-1] == "6 of 6 pass: pytorch, onnxruntime, openvino against gluon"


def test_one_item_out_of_bounds_is_exit_status_1(faked, capsys):
    wrong = {**answers()["gluon"], f"term{SEPARATOR}terms": BASE * 1.01}
    faked(answers(pytorch=wrong))
    assert main.main(["parity", "--size", "32"]) == 1
    assert [line[:17] for line in capsys.readouterr().out.splitlines() if "FAIL" in line] == ["FAIL  pytorch    "]
    assert main.main(["parity", "--size", "32", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["reference"], found["passed"]) == ("gluon", False)
    assert found["engines"] == ["pytorch", "onnxruntime", "openvino"]
    assert [entry["item"] for entry in found["lines"] if not entry["passed"]] == ["term terms"]


def test_an_item_that_one_of_them_does_not_give_is_refused(faked, capsys):
    fewer = {name: value for name, value in answers()["gluon"].items() if not name.startswith("gradient")}
    for found in (answers(pytorch=fewer), answers(gluon=fewer)):
        faked(found)
        assert main.main(["parity", "--size", "32", "--engine", "gluon,pytorch"]) == 2
        assert "only one of gluon and pytorch gives gradient" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--engine", "gluon"], "--engine: comparing takes two engines and gluon was given"),
        (["--engine", "gluon,pytroch"], "did you mean 'pytorch'"),
        (["--preset", "gatsy"], "did you mean 'gatys'"),
        (["--size", "16"], "--size: 16 is too small; the least is 32"),
        (["--size", "64,128"], "--size: 64,128 is more than one"),
        (["--content", "nowhere.jpg"], "--content: 'nowhere.jpg' is neither"),
        (["--threads", "0"], "--threads: 0 is too small"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_status_2(faked, capsys, arguments, said):
    faked(answers())
    assert main.main(["parity", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and len(captured.err.splitlines()) == 1
    assert captured.err.startswith("error: ") and said in captured.err


def test_without_two_engines_there_is_nothing_to_compare(monkeypatch, capsys):
    monkeypatch.setattr(engines, "_is_there", lambda package: False)
    assert main.main(["parity"]) == 2
    assert "comparing takes two engines and none is installed" in capsys.readouterr().err


def test_an_engine_that_fails_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "torch.py").write_text("raise ImportError('broken')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    request = parity.Request(("gatys",), dict.fromkeys(("style", "content", "picture"), BASE))
    with pytest.raises(UserError, match="--engine: pytorch failed .*broken"):
        parity.ask("pytorch", request, tmp_path)
    monkeypatch.setattr(parity, "TIME_LIMIT_S", 0.01)
    with pytest.raises(UserError, match="--engine: pytorch took more than 0.01 s; .* give a smaller --size"):
        parity.ask("pytorch", request, tmp_path)
    (tmp_path / "text").write_text("no program\n")
    (tmp_path / "text").chmod(0o755)
    request = dataclasses.replace(request, pythons=(("pytorch", str(tmp_path / "text")),))
    with pytest.raises(UserError, match="--engine-python: .* is not a Python that can load pytorch"):
        parity.ask("pytorch", request, tmp_path)


# ----------------------------------------------------------------------------------------------------- the real thing


@pytest.mark.slow
def test_all_engines_agree_on_pictures_that_are_not_in_the_repository(tmp_path):
    for package in ("mxnet", "torch", "onnxruntime", "openvino", "onnx"):
        pytest.importorskip(package, reason="needs the extras cpu, torch, onnx and openvino")
    y, x = np.mgrid[:96, :80] / 96
    waves = np.stack([np.sin(23 * x + 7 * k) * np.cos(31 * y * x + k) for k in range(3)]) * 0.4 + 0.5
    noise = np.random.default_rng(6).random((3, 96, 80)) * 0.2 - 0.1
    for name, picture in (("style", waves), ("content", np.stack([x, y, x * y]) + noise)):
        images.save(np.clip(picture, 0, 1).astype("float32"), tmp_path / f"{name}.png")
    done = subprocess.run(
        [sys.executable, "-m", "bench", "parity", "--style", str(tmp_path / "style.png"), "--content",
         str(tmp_path / "content.png"), "--size", "64", "--random-weights", "--threads", "1", "--json"],
        env=environment(), capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    items = [(entry["engine"], entry["item"]) for entry in found["lines"]]
    assert len(set(items)) == len(items)
    kinds = [item.split()[0] for engine, item in items if engine == "pytorch"]
    assert (kinds.count("term"), kinds.count("gradient"), kinds.count("picture")) == (24, 6, len(assets.nets()))
    assert kinds.count("activation") >= 20
    for peer in ("onnxruntime", "openvino"):
        assert [item.split()[0] for engine, item in items if engine == peer] == ["picture"] * len(assets.nets())
