"""``bench doctor``: one line per finding, what to do about each problem, an exit status to rely on."""

from __future__ import annotations

import json
import os
import types
from pathlib import Path

import pytest

from bench.machine import doctor, environment
from nst_gluon.system import builds, runtime

ADA = runtime.Gpu(0, "NVIDIA L4", (8, 9), 24 << 30, "550.54")
HOPPER = runtime.Gpu(1, "NVIDIA H200", (9, 0), 141 << 30, "550.54")


@pytest.fixture(autouse=True)
def machine(monkeypatch, tmp_path):
    """A machine on which everything works; tests break one thing each."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NST_GLUON_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(doctor, "probe_engine", lambda: {"version": "1.9.1", "computes": True})
    monkeypatch.setattr(doctor, "_python", lambda code: types.SimpleNamespace(returncode=0, stderr=""))
    monkeypatch.setattr(runtime, "installed_version", lambda name: {"mxnet": "1.9.1", "gluoncv": "0.10"}.get(name))
    monkeypatch.setattr(runtime, "available_cores", lambda: 4)
    monkeypatch.setattr(runtime, "prepare", lambda threads=None: 4)
    monkeypatch.setattr(runtime, "memory_available_bytes", lambda: 16 << 30)
    monkeypatch.setattr(runtime, "gpu_devices", lambda: [])
    monkeypatch.setattr(environment, "load_average", lambda: [0.0, 0.0, 0.0])


def examined(examination) -> dict[str, doctor.Finding]:
    return {finding.subject: finding for finding in examination()}


def test_a_machine_that_works(capsys):
    assert doctor.run() == 0
    out = capsys.readouterr().out
    for subject in (
        "python",
        "engine",
        "gluoncv",
        "cores",
        "threads",
        "precision",
        "memory",
        "gpu",
        "weights",
    ):
        assert any(line.split()[1] == subject for line in out.splitlines() if line), subject
    assert out.splitlines()[-1].startswith("A run on the CPU can work here")


def test_no_engine_is_status_2_with_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "probe_engine", lambda: {"error": f"no engine: {runtime.INSTALL}"})
    assert doctor.run() == 2
    out = capsys.readouterr().out
    assert out.count(runtime.INSTALL) == 1 and "first see to engine" in out


def test_findings_for_programs(monkeypatch, capsys):
    for probed, status in (({"version": "1.9.1", "computes": True}, 0), ({"error": "engine: not installed"}, 2)):
        monkeypatch.setattr(doctor, "probe_engine", lambda found=probed: found)
        assert doctor.run(as_json=True) == status
        answer = json.loads(capsys.readouterr().out)
        engine = next(finding for finding in answer["findings"] if finding["subject"] == "engine")
        assert answer["can_run"] == (status == 0) == (engine["state"] == doctor.OK)


def test_an_engine_that_computes_nonsense_is_status_2(monkeypatch):
    monkeypatch.setattr(doctor, "probe_engine", lambda: {"version": "1.9.1", "computes": False})
    assert doctor.run() == 2


def test_both_builds_together_are_a_problem(monkeypatch):
    monkeypatch.setattr(runtime, "installed_version", lambda name: "1.9.1")
    finding = examined(doctor.examine_engine)["engine"]
    assert finding.state == doctor.PROBLEM and "pip uninstall" in finding.text


def test_a_missing_system_library_of_opencv_is_a_note(monkeypatch):
    failed = types.SimpleNamespace(returncode=1, stderr="Trace\nImportError: libGL.so.1: cannot open shared object\n")
    monkeypatch.setattr(doctor, "_python", lambda code: failed)
    finding = examined(doctor.examine_engine)["gluoncv"]
    assert finding.state == doctor.NOTE and "apt-get install libgl1" in finding.text


@pytest.mark.parametrize(
    ("threads", "state", "text"),
    [(8, doctor.PROBLEM, "unset OMP_NUM_THREADS"), (1, doctor.NOTE, "unset it"), (4, doctor.OK, "4")],
)
def test_threads(monkeypatch, threads, state, text):
    monkeypatch.setattr(runtime, "prepare", lambda: threads)
    finding = examined(doctor.examine_processor)["threads"]
    assert finding.state == state and text in finding.text


def test_a_quota_is_told(monkeypatch):
    monkeypatch.setattr(runtime, "cpu_quota", lambda: 1.5)
    assert "a quota of 1.5" in examined(doctor.examine_processor)["cores"].text


@pytest.mark.parametrize(
    ("native", "state", "text"),
    [(True, doctor.OK, "--dtype bfloat16"), (False, doctor.NOTE, "float32 only")],
)
def test_precision(monkeypatch, native, state, text):
    monkeypatch.setattr(runtime, "cpu_supports_bfloat16", lambda: native)
    finding = examined(doctor.examine_processor)["precision"]
    assert finding.state == state and text in finding.text


@pytest.mark.parametrize(
    ("available", "state", "blocks"),
    [(16 << 30, doctor.OK, False), (2 << 30, doctor.PROBLEM, False), (100 << 20, doctor.PROBLEM, True)],
)
def test_memory(monkeypatch, available, state, blocks):
    monkeypatch.setattr(runtime, "memory_available_bytes", lambda: available)
    finding = examined(doctor.examine_memory)["memory"]
    assert (finding.state, finding.blocks) == (state, blocks)


def test_three_machines_get_three_true_lines(monkeypatch, capsys):
    """A build with code for the GPU, one without, and no GPU; none of them is a reason to fail."""
    monkeypatch.setattr(builds, "computes_on", lambda index: True)
    lines = []
    for gpus, code in (([HOPPER], {(8, 6), (9, 0)}), ([HOPPER], {(8, 6)}), ([], {(8, 6)})):
        monkeypatch.setattr(runtime, "gpu_devices", lambda found=gpus: found)
        monkeypatch.setattr(builds, "installed", lambda has=code: builds.Build(Path("lib"), frozenset(has)))
        assert doctor.run() == 0
        lines += [line for line in capsys.readouterr().out.splitlines() if line[9:12] == "gpu"]
    new, old, none = lines
    assert new.startswith("ok") and "CUDA build for 8.6, 9.0) computes on it: --device gpu:1" in new
    assert old.startswith("problem") and "capability 9.0" in old and "CUDA build for 8.6) has no code" in old
    assert builds.IMAGE in old and "--engine pytorch" in old and "cu112" not in old, "the wheel has none either"
    assert none.startswith("ok") and "none visible" in none


def test_a_gpu_that_only_lacks_the_right_build(monkeypatch):
    monkeypatch.setattr(runtime, "gpu_devices", lambda: [ADA])
    monkeypatch.setattr(builds, "installed", lambda: builds.Build(Path("lib")))
    finding = examined(doctor.examine_gpus)["gpu"]
    assert finding.state == doctor.NOTE and "CPU build" in finding.text and ".[cu112]" in finding.text


def test_a_gpu_whose_code_does_not_run(monkeypatch):
    monkeypatch.setattr(runtime, "gpu_devices", lambda: [ADA])
    monkeypatch.setattr(builds, "installed", lambda: builds.Build(Path("lib"), frozenset({(8, 6)})))
    monkeypatch.setattr(builds, "computes_on", lambda index: False)
    finding = examined(doctor.examine_gpus)["gpu"]
    assert finding.state == doctor.PROBLEM and "driver" in finding.text and "550.54" in finding.text


def test_results_that_cannot_be_written(monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    finding = examined(doctor.examine_files)["results"]
    assert finding.state == doctor.PROBLEM and "--out" in finding.text


def test_results_on_a_full_disk(monkeypatch):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: types.SimpleNamespace(free=1000))
    assert examined(doctor.examine_files)["results"].state == doctor.PROBLEM


def test_the_probe_tells_the_one_line_of_a_missing_engine(monkeypatch):
    monkeypatch.undo()
    from conftest import BLOCK_ENGINE

    monkeypatch.setattr(doctor, "_PROBE", BLOCK_ENGINE + doctor._PROBE)
    found = doctor.probe_engine()
    assert found["error"].startswith("no engine: ") and "\n" not in found["error"]


def test_the_probe_computes(monkeypatch):
    pytest.importorskip("mxnet")
    monkeypatch.undo()
    assert doctor.probe_engine() == {"version": "1.9.1", "computes": True}
