"""Two methods of somebody's own, in one file outside the packages, through everything that the bundled ones go through.

No other file knows of them. All commands run as users run them: in processes of their own.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import toy_methods
from plans import environment, run_module

from bench.analysis import roofline
from bench.plan import outside
from bench.plan.cells import Plan
from bench.store.reader import read_run
from nst_gluon import methods
from nst_gluon.pictures import images
from nst_gluon.system.errors import UserError

pytest.importorskip("mxnet", reason="needs an engine")

SIZES = (32, 48)
NET, DESCENT = "toys.py:ToyNet", "toys.py:SignDescent"
QUICK = ("--budget", "quick", "--random-weights", "--threads", "1", "--batch", "1", "--task", "stylize")


def command(folder: Path, *arguments: str, expected: int = 0, path: Path | None = None) -> subprocess.CompletedProcess:
    """``python -m ARGUMENTS`` in a folder, with a folder of installed packages if one is given."""
    variables = environment()
    if path is not None:
        variables["PYTHONPATH"] += f":{path}"
    done = run_module(*arguments, cwd=folder, env=variables)
    assert done.returncode == expected, done.stdout + done.stderr
    return done


def measured(folder: Path, names: Sequence[str], net: Path, out: str = "runs", path: Path | None = None) -> Path:
    sizes = ",".join(map(str, SIZES))
    done = command(folder, "bench", "run", "--method", ",".join(names), "--size", sizes, "--net", net, *QUICK,
                   "--out", out, "-q", path=path)  # fmt: skip
    return folder / Path(done.stdout.strip().splitlines()[-1]).parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    found = tmp_path_factory.mktemp("somewhere")
    toy_methods.write(found)
    return found


@pytest.fixture(scope="module")
def net(folder) -> Path:
    """The toy net after a training of three iterations."""
    done = command(folder, "nst_gluon", "train", "great_wave", "--method", NET, "--iterations", "3", "--size", "32",
                   "--random-weights", "--threads", "1", "--output", "nets", "-q")  # fmt: skip
    return folder / done.stdout.strip()


@pytest.fixture(scope="module")
def run(folder, net) -> Path:
    """A run of both, beside the optimisation that the suite brings."""
    return measured(folder, [DESCENT, NET, "gatys"], net)


# ------------------------------------------------------------------------------------------------------------ a plan


def test_what_is_known_of_them_comes_from_a_process_of_its_own(folder, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "loud.py").write_text("import os\nfrom toys import *\nprint('loud')\nSignDescent.engines = ('pytorch',)\n"
                                    "open('imported', 'w').write(str(os.getpid()))\n")  # fmt: skip
    loud, toy, plain = outside.facts(["loud.py:SignDescent", "toys.py:ToyNet", "gatys"])
    assert (loud.name, loud.kind, loud.engines, loud.reference) == (
        "sign_descent", methods.OPTIMISES, ("pytorch",), "loud.py:SignDescent"
    )  # fmt: skip
    assert (toy.title, toy.color, toy.tasks) == ("toy network", "#44aa99", ("stylize",)) and plain.reference == ""
    assert "toys" not in sys.modules and (folder / "imported").read_text() != str(os.getpid())


@pytest.mark.parametrize(("text", "said"), [
    ("toys.py:Toynet", "did you mean 'ToyNet'"), ("tois.py:ToyNet", "there is no file 'tois.py'"),
    ("toy_net", "unknown method 'toy_net'"), ("toys.py:np", "is not a method"), ("no.such:Thing", "cannot be imported"),
    ("broken.py:ToyNet", "cannot be imported (ZeroDivisionError: division by zero, broken.py line 2)"),
    ("taken.py:ToyNet", "another method is called 'gatys'"), ("taken.py:Ugly", "its color is 'pink'"),
    ("taken.py:Nowhere", "runs on 'gluom'; did you mean 'gluon'"), ("toys.py:ToyNet", "no trained net"),
])  # fmt: skip
def test_what_cannot_be_used_is_one_line(folder, text, said):
    (folder / "broken.py").write_text("x = 1\nx / 0\n")
    (folder / "taken.py").write_text(
        "import toys\nclass ToyNet(toys.ToyNet):\n    name = 'gatys'\n"
        "class Ugly(toys.ToyNet):\n    color = 'pink'\nclass Nowhere(toys.SignDescent):\n    engines = ('gluom',)\n"
    )
    done = command(folder, "bench", "run", "--method", text, "--size", "32", "--out", "results", expected=2)
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: --") and said in line and done.stdout == ""
    assert not (folder / "results").exists()


def test_an_option_that_train_has_already_is_one_line(folder):
    (folder / "clash.py").write_text("import toys\nclass Clash(toys.ToyNet):\n    name = 'clash'\n"
                                     "    def choices(self):\n        return {'size': 'anything'}\n")  # fmt: skip
    done = command(folder, "nst_gluon", "train", "brick", "--method", "clash.py:Clash", expected=2)
    assert done.stderr == "error: --method: clash: train has a --size already; rename it\n"


def test_help_says_where_a_file_is_imported(folder):
    text = " ".join(command(folder, "bench", "run", "--help").stdout.split())
    assert "FILE.py:NAME or package.module:NAME" in text and "FILE.py is imported in the worker processes" in text


# -------------------------------------------------------------------------------------------------------------- a run


@pytest.mark.slow
def test_both_are_measured_like_the_others(run):
    data = read_run(run)
    assert set(data.cells["status"]) == {"ok"} and len(data.cells) == 6
    assert list(data.methods) == ["sign_descent", "toy_net", "gatys"]
    facts = data.methods["sign_descent"]
    assert (facts.title, facts.color, facts.reference) == ("descent by sign", "#aa3377", DESCENT)
    assert data.meta["settings"]["methods"] == [["sign_descent", DESCENT], ["toy_net", NET]]
    assert len(data.meta["inputs"]["methods"]["toy_net"]["sha256"]) == 64
    curve = data.curves[data.curves["method"] == "sign_descent"]
    assert len(curve) and (curve["objective"] > 0).all()
    records = {(record["method"], record["size"]): record for record in data.records}
    coarse = records["sign_descent", 48]["info"]["coarse"]
    assert [(level["side"], level["evaluations"]) for level in coarse] == [(24, 3)]
    assert records["sign_descent", 48]["targets"].keys() == {"toy_net"}
    plan = Plan.from_dict(json.loads((run / "run.json").read_text()))
    assert plan.facts("toy_net").title == "toy network"


@pytest.mark.slow
def test_its_report_needs_nothing_but_the_run(run, tmp_path):
    (run / "report.md").unlink()
    command(tmp_path, "bench", "report", run, "--out", run.parent)
    text, page = (run / "report.md").read_text(), (run / "report.html").read_text()
    for title, color in (("descent by sign", "#aa3377"), ("toy network", "#44aa99")):
        assert title in text and title in page
        assert color in "".join(path.read_text() for path in (run / "plots").glob("*.svg"))


@pytest.mark.slow
def test_operations_of_its_net_are_counted_from_the_run(run):
    costs = {key: cost for key, cost in roofline.cell_costs(read_run(run)).items() if key[0] == "toy_net"}
    width, side = 16, 32
    multiplications = width * 3 * 25 + 2 * width * width * 9 / 4 + width * 3 * width * 9 + 3 * width * 9
    flops = next(cost.flops for key, cost in costs.items() if key[2] == side)
    assert flops == pytest.approx(2 * multiplications * side * side, rel=0.05)


@pytest.mark.slow
def test_it_goes_on_where_it_was_and_not_with_another_file(run, folder):
    cells = (run / "cells.jsonl").read_text().splitlines(keepends=True)
    (run / "cells.jsonl").write_text("".join(cells[:-1]))
    done = command(folder, "bench", "run", "--resume", run, expected=2)  # somebody else may have made that folder
    assert "runs code from toys.py:" in done.stderr and "--method" in done.stderr
    trusted = ["--method", re.search(r"--method (\S+)", done.stderr)[1]]
    command(folder, "bench", "run", "--resume", run, *trusted, "-q")
    assert len((run / "cells.jsonl").read_text().splitlines()) == len(cells)
    with open(folder / "toys.py", "a") as file:
        file.write("# another file now\n")
    try:
        done = command(folder, "bench", "run", "--resume", run, *trusted, expected=2)
    finally:
        toy_methods.write(folder)
    assert "--resume: the methods are not those that" in done.stderr


@pytest.mark.slow
def test_two_runs_are_compared(run, folder, net):
    again = measured(folder, [DESCENT, NET], net, "again")
    done = command(folder, "bench", "compare", run, again, "--json", "--floor", "90",
                   "--metric", "latency_s,iteration_s")  # fmt: skip
    found = json.loads(done.stdout)
    assert {"sign_descent", "toy_net"} <= {row["cell"].split()[0] for row in found["rows"]}


# ------------------------------------------------------------------------------------------------ pictures, and a net


def test_pictures_are_made_by_both(folder, net):
    made = folder / "optimised.png"
    command(folder, "nst_gluon", "stylize", "chelsea", "--method", DESCENT, "--size", "48", "--iterations", "2",
            "--random-weights", "--output", made)  # fmt: skip
    assert images.load(made).shape[2:] == (32, 48)
    texture = folder / "texture.png"
    command(folder, "nst_gluon", "texture", "--method", DESCENT, "--size", "32", "--iterations", "2",
            "--random-weights", "--output", texture)  # fmt: skip
    named, plain = folder / "named.png", folder / "plain.png"
    command(folder, "nst_gluon", "stylize", "chelsea", "--method", NET, "--net", net, "--size", "48", "--output", named)
    # The file has the net's layers: nothing of its author's is executed.
    command(folder, "nst_gluon", "stylize", "chelsea", "--net", net, "--size", "48", "--output", plain)
    assert (images.load(named) == images.load(plain)).all()


def test_a_net_is_cut_into_tiles(folder, net):
    whole, tiles = folder / "whole.png", folder / "tiles.png"
    for output, tile in ((whole, "off"), (tiles, "128")):
        command(folder, "nst_gluon", "stylize", "astronaut", "--net", net, "--size", "320", "--tile", tile,
                "--output", output)  # fmt: skip
    assert images.psnr(images.load(whole), images.load(tiles)) > 45


def test_a_net_is_exported_with_its_card(folder, net):
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    command(folder, "nst_gluon", "export", net, "--method", NET, "--format", "onnx", "--output", "toy.onnx")
    session = onnxruntime.InferenceSession(str(folder / "toy.onnx"), providers=["CPUExecutionProvider"])
    picture = session.run(None, {"content": np.full((1, 3, 64, 80), 0.5, "float32")})[0]
    assert picture.shape == (1, 3, 64, 80)
    card = (folder / "toy.md").read_text()
    assert "four convolutions (nobody, 2021)" in card
    command(folder, "nst_gluon", "export", net, "--output", "for_mxnet")
    assert len(list((folder / "for_mxnet").iterdir())) == 3


def test_engines_make_the_same_picture_of_it(folder, net):
    for package in ("torch", "onnxruntime", "openvino"):
        pytest.importorskip(package, reason="needs the extras torch, onnx and openvino")
    done = command(folder, "bench", "parity", "--net", net, "--preset", "gatys", "--size", "48", "--random-weights",
                   "--threads", "1", "--json")  # fmt: skip
    lines = {line["engine"]: line for line in json.loads(done.stdout)["lines"] if line["item"].startswith("picture")}
    assert set(lines) == {"pytorch", "onnxruntime", "openvino"}
    assert all("toy_net" in line["item"] for line in lines.values())
    assert all(line["passed"] for line in lines.values())


# -------------------------------------------------------------------------------------------- from an installed package


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    return toy_methods.install(tmp_path_factory.mktemp("site"))


def test_an_installed_package_s_methods_are_known_by_name(installed, tmp_path, monkeypatch):
    listed = command(tmp_path, "bench", "list", "methods", "--json", path=installed).stdout
    assert {"sign_descent", "toy_net"} <= {row["method"] for row in json.loads(listed)["methods"]}
    assert "sign_descent" in command(tmp_path, "nst_gluon", "list", "methods", path=installed).stdout
    assert "sign_descent" in command(tmp_path, "bench", "run", "--help", path=installed).stdout
    done = command(tmp_path, "bench", "run", "--method", "sign_desent", path=installed, expected=2)
    assert "did you mean 'sign_descent'" in done.stderr
    monkeypatch.syspath_prepend(str(installed))
    monkeypatch.setenv("PYTHONPATH", str(installed))
    assert methods.installed() == {"sign_descent": "toy_methods_of_somebody:SignDescent",
                                   "toy_net": "toy_methods_of_somebody:ToyNet"}  # fmt: skip
    (facts,) = outside.facts(["sign_descent"])
    assert facts.reference == "toy_methods_of_somebody:SignDescent"
    entry = installed / "toy_methods-1.0.dist-info" / "entry_points.txt"
    text = entry.read_text()
    entry.write_text(text.replace("sign_descent =", "other_name ="))
    methods._entry_points_on.cache_clear()
    try:
        with pytest.raises(UserError, match="give both one name"):
            outside.facts(["other_name"])
    finally:
        entry.write_text(text)
        methods._entry_points_on.cache_clear()


@pytest.mark.slow
def test_an_installed_package_s_methods_are_measured(installed, tmp_path, net):
    run = measured(tmp_path, ["sign_descent", "toy_net"], net, path=installed)
    data = read_run(run)
    assert set(data.cells["status"]) == {"ok"}
    assert data.methods["toy_net"].reference == "toy_methods_of_somebody:ToyNet"
    command(tmp_path, "nst_gluon", "stylize", "astronaut", "--method", "sign_descent", "--size", "32",
            "--iterations", "2", "--random-weights", "--output", "out.png", path=installed)  # fmt: skip
