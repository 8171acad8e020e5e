"""results/speed: what its scripts measure, and that the page shows what the records beside it say."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from bench.report.generated import part
from nst_gluon.cli import console
from nst_gluon.cli.main import build_parser
from nst_gluon.system import children

SPEED = Path(__file__).resolve().parent.parent / "results" / "speed"


# What a script asks for at least; without bfloat16 only some of the steps can be measured.
NEEDED = {"pastiche": ("--peer-python", sys.executable), "coarse_to_fine": ("--before", SPEED.parents[1]),
          "steps": ("--only", "batch")}  # fmt: skip


@pytest.fixture
def load(results_script):
    """A script of results/speed as a module."""
    return functools.partial(results_script, "speed")


@pytest.mark.parametrize("name", ["capacity", "coarse_to_fine", "engines", "noise", "pastiche", "primitives",
                                  "startup", "steps", "tiles"])  # fmt: skip
def test_a_record_that_is_there_is_not_overwritten(load, run_script, tmp_path, name):
    (tmp_path / "s.csv").write_text("precious")
    status, _, err = run_script(load(name), *NEEDED.get(name, ()), "--output", tmp_path / "s.csv")
    assert status == console.MISUSED and "exists" in err and (tmp_path / "s.csv").read_text() == "precious"


def ratios(samples: pd.DataFrame, metric: str) -> dict[str, float]:
    """After over before of each step, from the record in plain numpy: pairs of block medians, ABBA."""
    found = {}
    for cell, group in samples[samples["metric"] == metric].groupby("cell"):
        block = np.log(group.groupby(["round", "position"])["value"].median().unstack().to_numpy())
        pairs = np.concatenate([block[:, 1] - block[:, 0], block[:, 2] - block[:, 3]])
        found[cell] = float(np.exp(pairs.mean()))
    return found


def test_each_step_differs_in_what_it_says_and_is_measured_in_turns(load, run_script, monkeypatch, tmp_path):
    steps = load("steps")
    seen = []

    def block(python, program, spec):
        seen.append(spec)
        return {"setup_s": 2.0, "seconds": [0.2, 0.1][spec["dtype"] == "bfloat16"] * np.ones(spec["samples"]),
                "working_memory_bytes": 3e6, "versions": {}}  # fmt: skip

    monkeypatch.setattr(steps.peers, "block", block)
    output = tmp_path / "s.csv"
    name = "descriptor-bfloat16-256"
    monkeypatch.setattr(steps.runtime, "cpu_supports_bfloat16", lambda: True)
    status, out, err = run_script(steps, "--only", name, "--rounds", 4, "--output", output)
    assert status == 0, err
    assert [spec["dtype"] for spec in seen] == ["float32", "bfloat16", "bfloat16", "float32"] * 4
    same = [{key: value for key, value in spec.items() if key != "dtype"} for spec in seen]
    assert all(spec == same[0] for spec in same)
    assert ratios(pd.read_csv(output), "seconds") == {name: pytest.approx(0.5)}
    assert "0.500" in out and "3 MB, 3 MB" in out
    assert len({step.name for step in steps.STEPS}) == len(steps.STEPS)
    for step in steps.STEPS:
        assert {**step.work, **step.without} != {**step.work, **step.with_}


def test_descents_of_two_revisions_are_timed_in_turns_with_the_same_seeds(load, run_script, monkeypatch, tmp_path):
    descents, page = load("coarse_to_fine"), load("page")
    (tmp_path / "nst_gluon" / "optimise").mkdir(parents=True)
    seen = []

    def block(python, program, spec, checkout):
        seen.append((checkout, spec["task"], spec["seed"]))
        seconds = [0.1 * number * (2 if checkout == tmp_path else 1) for number in range(1, 8)]
        return {"seconds": [*seconds, None]}  # the last was not reached

    monkeypatch.setattr(descents.peers, "block", block)
    output, root = tmp_path / "d.csv", descents.peers.ROOT
    status, _, err = run_script(descents, "--before", tmp_path, "--size", 64, "--rounds", 2, "--output", output)
    assert status == 0, err
    order = [tmp_path, root, root, tmp_path]
    assert seen == [(side, task, seed) for task in ("texture", "stylize") for seed in (0, 1) for side in order]
    table = page.coarse_to_fine_table(pd.read_csv(output))
    assert "| texture, 64, until 400 | 0.20 | 0.10 | 2.00x" in table and "until 60 " not in table
    assert table.endswith("texture, 64 2.00x; stylize, 64 2.00x.")
    status, _, err = run_script(descents, "--before", tmp_path / "none", "--output", output)
    assert status == console.MISUSED and "--before" in err and len(err.strip().splitlines()) == 1


def test_wrong_names_and_processors(load, run_script, monkeypatch, tmp_path):
    steps = load("steps")
    status, _, err = run_script(steps, "--only", "segments", "--output", tmp_path / "s.csv")
    assert status == console.MISUSED and "--only: unknown 'segments'" in err and "segments-1024" in err
    monkeypatch.setattr(steps.runtime, "cpu_supports_bfloat16", lambda: False)
    status, _, err = run_script(steps, "--output", tmp_path / "s.csv")
    assert status == console.MISUSED and "bfloat16" in err and len(err.splitlines()) == 1


@pytest.mark.parametrize("spec", [
    {"work": "descent", "optimizer": "ours", "segments": 1},
    {"work": "forward", "net": "johnson-stylize", "graph": "trained", "batch": 2},
    {"work": "forward", "net": "texture_net-texture", "graph": "inference", "batch": 1},
    {"work": "training", "method": "texture_net", "task": "texture"},
], ids=lambda spec: "-".join(str(value) for value in spec.values()))  # fmt: skip
def test_the_blocks_are_real(spec):
    pytest.importorskip("mxnet", reason="needs an engine")
    spec = {"size": 64, "dtype": "float32", "threads": 1, "warm_up": 1, "samples": 2, **spec}
    command = [sys.executable, str(SPEED / "blocks" / "gluon_work.py"), json.dumps(spec)]
    done = subprocess.run(command, env=children.environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found["seconds"]) == 2 and min(found["seconds"]) > 0
    assert 0 < found["working_memory_bytes"] < found["peak_memory_bytes"] and found["setup_s"] > 0


def test_tiles_are_fitted_over_pixels(load, run_script, monkeypatch, tmp_path):
    tiles = load("tiles")

    def block(python, program, spec):
        seconds = spec["size"] ** 2 * 1e-6 if spec["net"].startswith("johnson") else spec["size"] ** 3 * 1e-9
        assert spec["tile"] or spec["size"] <= tiles.WHOLE
        return {"seconds": [seconds * (2 if spec["tile"] else 1)], "peak_memory_bytes": 5e8, "versions": {}}

    monkeypatch.setattr(tiles.peers, "block", block)
    status, out, err = run_script(tiles, "--size", "512,1024,4096", "--rounds", 2, "--output", tmp_path / "t.csv")
    assert status == 0, err
    assert "johnson-stylize: time grows with pixels to the power 1.000" in out
    assert "texture_net-texture: time grows with pixels to the power 1.500" in out
    page = load("page").tiles_table(pd.read_csv(tmp_path / "t.csv"))
    assert "| johnson-stylize, 1024 | 1.0 | 2.1 | 2.00 [2.00, 2.00] | 500 | 500 |" in page
    assert "| johnson-stylize, 4096 |  | 33.6 |  |  | 500 |" in page


def test_weights_are_fitted_to_the_draws_that_are_learnt(load, run_script, monkeypatch, tmp_path):
    capacity, output = load("capacity"), tmp_path / "c.csv"
    monkeypatch.setattr(capacity, "SIZE", 64)
    monkeypatch.setattr(capacity, "DESCRIPTOR", "float32")  # of any processor
    status, _, err = run_script(capacity, "--draws", 1, "--others", 2, "--evaluations", 10, "--output", output)
    assert status == 0, err
    rows = pd.read_csv(output)
    learnt = rows[rows["noise"] == "learnt"]
    assert list(learnt["evaluation"]) == list(range(1, 11))
    assert learnt["objective"].min() < 0.8 * learnt["objective"].iloc[0]
    assert list(rows[rows["noise"] == "others"]["evaluation"]) == [1, 10]


PRINTED = """dnnl_verbose,info,oneDNN v2.0.0
dnnl_verbose,exec,cpu,convolution,jit:avx512_core,forward_training,src_f32::blocked,,alg:direct,mb1_ic3oc64,1.5
dnnl_verbose,exec,cpu,convolution,jit:avx512_core,backward_data,src_f32::blocked,,alg:direct,mb1_ic3oc64,2.5
dnnl_verbose,create,cpu,convolution,jit:avx512_core,backward_data,src_f32::blocked,,alg:direct,mb1_ic3oc64,99
dnnl_verbose,exec,cpu,reorder,jit:uni,undef,src_f32::blocked,,,64x3,0.25
dnnl_verbose,exec,cpu,convolution,jit:avx512_core,forward_training,src_f32::blocked,,alg:direct,mb1_ic64oc64,1.0
dnnl_verbose,exec,cpu,shuffle,jit:uni,undef,src_f32::blocked,,,64x3,0.125
"""


def test_primitives_are_added_up_by_kind(load):
    found = load("primitives").executed(PRINTED)
    assert found == {"convolutions, forward": 2.5, "convolutions, back to the picture": 2.5,
                     "changes of memory layout and precision": 0.25, "shuffle": 0.125}  # fmt: skip


def test_a_profile_has_what_a_step_is_made_of(load, run_script, monkeypatch, tmp_path):
    pytest.importorskip("mxnet", reason="needs an engine")
    primitives, output = load("primitives"), tmp_path / "p.csv"
    monkeypatch.setattr(primitives, "FEW", 1)
    monkeypatch.setattr(primitives, "MORE", 9)
    status, _, err = run_script(primitives, "--size", 64, "--output", output)
    assert status == 0, err
    rows = pd.read_csv(output)
    of_float32 = rows[rows["dtype"] == "float32"].set_index("kind")["ms"]
    assert {*primitives.KINDS.values(), primitives.STEP} <= set(of_float32.index)
    assert np.isfinite(of_float32).all() and of_float32[primitives.STEP] > 0


def test_noise_is_scored_as_it_is_drawn_and_moved(load, run_script, tmp_path):
    noise, output = load("noise"), tmp_path / "n.csv"
    status, _, err = run_script(noise, "--size", 64, "--draws", 2, "--output", output)
    assert status == 0, err
    rows = pd.read_csv(output)
    assert list(rows["seed"]) == [0, 1] and (rows["drawn"] != rows["moved"]).all()
    net = noise.load_net(noise.assets.find_net("great_wave", "texture_net", "texture"))
    moved = net.inputs(size=(64, 64), seed=1)
    for z, plain in zip(moved, noise.drawn([z.shape for z in moved], 1)):
        shift = z.asnumpy() - plain
        assert 0 < np.abs(shift).max() < 0.3 and np.ptp(shift, axis=(2, 3)).max() < 1e-6


def test_whole_commands_are_timed_in_turns(load, run_script, monkeypatch, tmp_path):
    startup, seen = load("startup"), []
    monkeypatch.setattr(startup, "subprocess", SimpleNamespace(run=lambda words, **options: seen.append(words)))
    assert run_script(startup, "--rounds", 2, "--output", tmp_path / "s.csv")[0] == 0
    assert len(seen) == 3 * len(startup.COMMANDS)  # the first round only brings files into memory
    for words in seen:
        assert words[:3] == [sys.executable, "-m", "nst_gluon"] and build_parser().parse_args(words[3:]).run
    assert list(pd.read_csv(tmp_path / "s.csv")["command"]) == [*startup.COMMANDS] * 2


def test_the_page_says_what_the_records_say(load):
    page = load("page")
    sections = page.sections()
    assert set(sections) == {*page.TABLES, "training"}
    for name, content in sections.items():
        assert part(page.PAGE, name) == content
    assert page.PAGE.read_text(encoding="utf-8").isascii()


def test_the_ratios_follow_from_the_record(load):
    """Worked out again in plain numpy."""
    page, found = load("page"), pd.read_csv(SPEED / "steps.csv")
    shown = {line.split("`")[1]: line.split("|")[4].split("x")[0] for line in page.steps_table(found).splitlines()[2:]}
    plain = ratios(found, "seconds")
    assert set(shown) == set(plain) and set(plain) <= {step.name for step in page.steps.STEPS} and len(plain) >= 6
    for name, value in shown.items():
        assert float(value) == pytest.approx(1 / plain[name], abs=0.006)
