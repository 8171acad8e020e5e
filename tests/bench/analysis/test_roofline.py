"""``bench roofline``: fractions from invented peaks, the kept record, the table, the plot and the refusals."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest

from bench.analysis import costs, methods, roofline
from bench.analysis.costs import Cost
from bench.analysis.roofline import Peaks
from bench.cli import main
from bench.report import roofline as drawing
from bench.store import reader
from bench.store import run_folder as store
from bench.store.reader import GROUP_COLUMNS
from nst_gluon.objective import presets
from nst_gluon.system import runtime
from nst_gluon.system.errors import UserError

REFERENCE = Path(__file__).resolve().parents[3] / "results" / "reference"
PEAKS = Peaks({"float32": 100e9, "bfloat16": 200e9}, 10e9)
MEASURED = {
    "products": {"float32": {"1000": [0.04, 0.02], "500": [0.02]}, "bfloat16": {"1000": [0.01]}},
    "copy": {"bytes": 4_000_000_000, "seconds": [0.5, 0.4]},
}
CAPTURED = {"cpu": {"model": "Imagined", "cores_used": 4}, "threads": 3, "gpus": []}


def samples(*rows: tuple) -> pd.DataFrame:
    """Samples of (method, task, size, batch, dtype, device, seed, metric, seconds)."""
    names = ("method", "task", "size", "batch", "dtype", "device", "seed", "metric", "value")
    table = pd.DataFrame([dict(zip(names, row)) for row in rows])
    return table.assign(style_name="", photo="", engine="gluon", unit="s")


@pytest.fixture
def run_folder(tmp_path):
    """A copy of the reference run below ``tmp_path``, and invented peaks of its machine."""
    shutil.copytree(REFERENCE, tmp_path / "reference", ignore=shutil.ignore_patterns("*.html", "logs"))
    run = store.read_run(tmp_path / "reference")
    kept = roofline.record(MEASURED, CAPTURED, [])
    kept["fingerprint"] = roofline.machine(run["fingerprint"])
    roofline.keep(tmp_path, kept)
    return tmp_path


# ----------------------------------------------------------------------------------------------------- fractions


def test_fractions_by_hand():
    """50 G operations in 1 s of 100 G; 8 G in 1 s at 1 operation a byte and 10 GB/s."""
    cell_costs = {
        ("gatys", "stylize", 64, 1, "float32", ""): Cost(50e9, 1_000_000_000, 0),
        ("johnson", "stylize", 64, 2, "bfloat16", ""): Cost(8e9, 8_000_000_000, 0),
        ("texture_net", "texture", 64, 1, "float32", ""): Cost(1e9, 100_000_000, 0),
    }
    gatys, net = ("gatys", "stylize", 64, 1, "float32", "cpu"), ("johnson", "stylize", 64, 2, "bfloat16", "cpu")
    rows = roofline.fractions(
        cell_costs,
        samples(
            *((*gatys, seed, "iteration_s", seconds) for seed, seconds in ((0, 1.0), (0, 0.5), (1, 1.5))),
            (*gatys, 0, "first_call_s", 99.0),
            (*gatys, 0, "warm_up_iteration_s", 99.0),
            (*net, 0, "latency_s", 1.0),
            ("texture_net", "texture", 64, 1, "float32", "gpu", 0, "latency_s", 1.0),
            ("texture_net", "texture", 128, 1, "float32", "cpu", 0, "latency_s", 1.0),
        ),
        PEAKS,
    )
    assert list(rows.columns) == list(roofline.COLUMNS)
    assert list(rows["method"]) == ["gatys", "johnson"]
    first, second = (row for _, row in rows.iterrows())
    assert (first.seconds, first.low, first.high) == (1.0, 0.5, 1.5)
    assert first.fraction == 0.5 and first.bound == roofline.COMPUTE and first.roof_flops_per_s == 100e9
    assert second.fraction == pytest.approx(0.8) and second.bound == roofline.MEMORY and second.intensity == 1


def timed_cells(run: reader.RunData) -> int:
    """Gluon's cells with a time of a call or a step: a descent that its first evaluation ended has none."""
    timed = run.samples[run.samples["metric"].isin(["latency_s", "iteration_s"]) & (run.samples["engine"] == "gluon")]
    return len(timed.drop_duplicates(list(GROUP_COLUMNS)))


def test_the_reference_run_s_cells_all_have_a_cost():
    run = reader.read_run(REFERENCE)
    found = roofline.cell_costs(run)
    gluon = run.cells[run.cells["engine"] == "gluon"]
    assert len(found) == len(gluon.drop_duplicates(["method", "task", "size", "batch", "dtype"]))
    step = costs.optimisation_step(presets.get("texture_net_relative"), "texture", (256, 256))
    assert found["gatys", "texture", 256, 1, "float32", ""] == costs.total(step)
    of_batches = roofline.cell_costs(reader.read_run(REFERENCE.parent / "peers"))
    one, four = (of_batches["johnson", "stylize", 256, batch, "float32", ""] for batch in (1, 4))
    assert four.flops == 4 * one.flops and 3.9 * one.bytes < four.bytes < 4 * one.bytes
    rows = roofline.fractions(found, run.samples, PEAKS)
    assert len(rows) == timed_cells(run) and (rows["fraction"] > 0).all()
    assert (rows["flops_per_s"] / rows["roof_flops_per_s"]).to_numpy() == pytest.approx(rows["fraction"].to_numpy())
    assert set(GROUP_COLUMNS) <= set(rows.columns)


def test_each_style_has_the_cost_of_its_own_net():
    run = reader.read_run(REFERENCE.parent / "styles")
    nets = run.meta["inputs"]["nets"]
    nets["great_wave/johnson_slim/stylize"] = nets["great_wave/johnson/stylize"]
    found = roofline.cell_costs(run)
    assert {key[0] for key in found} == set(run.cells["method"])
    of = {key[0::5]: cost for key, cost in found.items() if key[1:3] == ("stylize", 256)}
    assert of["johnson_slim", "great_wave"] == of["johnson", "great_wave"] != of["johnson_slim", "auvers"]
    rows = roofline.fractions(found, run.samples, PEAKS)
    flops = rows[(rows["method"] == "johnson_slim") & (rows["size"] == 256)].set_index("style_name")["flops"]
    assert flops["great_wave"] > 2 * flops["auvers"]
    assert roofline.table(rows).split()[:6] == list(roofline.KEY)


# --------------------------------------------------------------------------------------------------------- peaks


def test_peaks_are_the_best_of_all_times():
    peaks = roofline.peaks_of(MEASURED)
    assert peaks.flops_per_s == {"float32": 2e9 / 0.02, "bfloat16": 2e9 / 0.01}
    assert peaks.bytes_per_s == 10e9


def test_what_is_kept_is_read_again_for_the_same_machine_only(tmp_path):
    kept = roofline.record(MEASURED, CAPTURED, ["busy"])
    assert kept["fingerprint"] == {"cpu": "Imagined", "cores": 4, "threads": 3} and kept["warnings"] == ["busy"]
    path = roofline.keep(tmp_path, kept)
    assert path.parent == tmp_path / "roofline" and json.loads(path.read_text())["measured"] == MEASURED
    fingerprint = {"cpu": "Imagined", "cores": 4, "threads": 3, "gpu": None, "dtypes": ["bfloat16"]}
    assert roofline.read_peaks(tmp_path, {"fingerprint": fingerprint}) == roofline.peaks_of(MEASURED)
    with pytest.raises(UserError, match="bench roofline --threads 2"):
        roofline.read_peaks(tmp_path, {"fingerprint": {**fingerprint, "threads": 2}})
    with pytest.raises(UserError, match="one machine"):
        roofline.read_peaks(tmp_path, {"fingerprint": fingerprint, "machines": {"A": {}}})
    path.write_text('{"flops_per_s": 3}')
    with pytest.raises(UserError, match="damaged"):
        roofline.read_peaks(tmp_path, {"fingerprint": fingerprint})


def test_a_measurement_that_fails_is_one_line(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(UserError, match="the measurement failed") as caught:
        roofline.measure(1)
    assert "\n" not in str(caught.value)


def test_a_measurement_tells_its_parts_and_what_it_prints_besides_is_no_harm(monkeypatch, tmp_path):
    program = tmp_path / "python"
    lines = ["a library says hello", json.dumps({"part": "copy", "done": 0.5}), json.dumps(MEASURED)]
    program.write_text("#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in lines))
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    told = []
    assert roofline.measure(1, lambda *part: told.append(part)) == MEASURED
    assert told == [("copy", 0.5)]
    program.write_text("#!/bin/sh\nsleep 60\n")
    monkeypatch.setattr(roofline, "TIME_LIMIT_S", 0.2)
    with pytest.raises(UserError, match=r"took more than 0\.2 s"):
        roofline.measure(1)


def test_the_worker_measures_through_the_engine():
    pytest.importorskip("mxnet")
    from bench.engines import peaks

    dtypes = runtime.DTYPES if runtime.cpu_supports_bfloat16() else ("float32",)
    told = []
    found = peaks.measure(dtypes, (64,), 4096, 2, lambda part, done: told.append((part, done)))
    assert len(told) == len(dtypes) + 1 and told[0][1] == 0 < told[-1][1] < 1
    assert set(found["products"]) == set(dtypes) and len(found["products"]["float32"]["64"]) == 2
    assert found["copy"]["bytes"] == 2 * 4 * 4096 and len(found["copy"]["seconds"]) == 4
    assert roofline.peaks_of(found).bytes_per_s > 0
    assert peaks.copy_elements() * 4 >= min(peaks.LEAST_COPY, runtime.memory_available_bytes() // 8) - 4


# ------------------------------------------------------------------------------------------------- command line


def test_measuring_writes_and_tells(tmp_path, monkeypatch, capsys):
    pytest.importorskip("mxnet")
    monkeypatch.setattr(roofline, "measure", lambda threads, tell: tell("copy", 0.5) or MEASURED)
    command = ["roofline", "--out", str(tmp_path / "new"), "--threads", "1"]
    assert main.main(command) == 0
    captured = capsys.readouterr()
    out = captured.out.splitlines()
    assert captured.err.splitlines()[0].startswith("copy; about 0 s left")
    assert out[1].split()[:5] == ["matrix", "product,", "float32", "100", "GFLOP/s"]
    assert out[3].split() == ["copy", "10.0", "GB/s"]
    kept = json.loads(Path(out[-1]).read_text())
    assert kept["flops_per_s"]["bfloat16"] == 200e9 and kept["fingerprint"]["threads"] == runtime.engine_threads()
    assert main.main([*command, "-q"]) == 0
    assert capsys.readouterr() == (f"{out[-1]}\n", "")
    assert main.main([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["path"] == out[-1] and told["flops_per_s"] == kept["flops_per_s"]


def test_a_run_is_told_and_drawn(run_folder, capsys):
    assert main.main(["roofline", "--run", "reference", "--out", str(run_folder)]) == 0
    *lines, drawn = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + timed_cells(reader.read_run(REFERENCE)) and lines[0].split()[:5] == list(roofline.CELL)
    (line,) = (line for line in lines if re.match(r"johnson +stylize +512 +1 +float32 ", line))
    assert re.search(r"91\.2 G +1\.63 GB +55\.8 +\S+ GFLOP/s +100 GFLOP/s +\d+% +arithmetic$", line)
    assert Path(drawn) == run_folder / "reference" / "plots" / "roofline.svg"
    assert main.main(["roofline", "--run", "reference", "--out", str(run_folder), "-q"]) == 0
    assert capsys.readouterr().out == f"{drawn}\n"
    assert main.main(["roofline", "--run", "reference", "--out", str(run_folder), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert len(told["cells"]) == len(lines) - 1 and told["cells"][0]["fraction"] > 0
    assert Path(drawn).read_text().startswith("<?xml") and Path(drawn).with_suffix(".png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--threads", "0"], "--threads: 0"),
        (["--threads", "two"], "--threads: 'two'"),
        (["--run", "nowhere"], "--run: no run 'nowhere'"),
        (["--run", "reference", "--threads", "1"], "--threads: a run has a number of threads already"),
        (["--run", "reference"], "--run: there is no"),
    ],
)
def test_bad_input_is_one_line(arguments, said, tmp_path, capsys):
    shutil.copytree(REFERENCE, tmp_path / "reference")
    before = sorted(tmp_path.rglob("*"))
    assert main.main(["roofline", *arguments, "--out", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and len(captured.err.splitlines()) == 1 and said in captured.err
    assert sorted(tmp_path.rglob("*")) == before


# ---------------------------------------------------------------------------------------------------------- plot


def test_the_plot_has_every_cell_and_says_it_in_words():
    run = reader.read_run(REFERENCE)
    rows, known = roofline.fractions(roofline.cell_costs(run), run.samples, PEAKS), methods.of_run(run)
    rows = rows[rows["dtype"] == "float32"]
    half = rows[rows["method"] == "gatys"].assign(dtype="bfloat16")
    plot = drawing.plot(pd.concat([rows, half]), PEAKS, known)
    assert plot.alt.count("% of what") == len(rows) + len(half)
    for text in ("limit, float32", "limit, bfloat16", "operations per byte", "optimisation", "Johnson net"):
        assert text in plot.svg, text
    assert "10.0 GB/s" in plot.caption and "200 GFLOP/s in bfloat16" in plot.caption
    assert plot.svg == drawing.plot(pd.concat([rows, half]), PEAKS, known).svg
    assert "bfloat16" not in drawing.plot(rows, PEAKS, known).svg  # a roof that no cell is under is not drawn
    assert drawing.plot(rows.head(1), PEAKS, known).png.startswith(b"\x89PNG")
