"""Joules by the machine's counters: what they add up to, and silence where there are none."""

from __future__ import annotations

import types

import numpy as np
import pytest
from plans import small_plan

from bench.engines import measure
from bench.plan.budgets import GATE
from nst_gluon.objective.loss_terms import Terms
from nst_gluon.system.energy import Meter


def rapl(root, **zones):
    """Counters as the kernel shows them: ``name=(microjoules, largest)``."""
    for index, (name, (now, most)) in enumerate(zones.items()):
        folder = root / "sys/class/powercap" / f"intel-rapl:{index}"
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in (("name", name.replace("_", "-")), ("energy_uj", now), ("max_energy_range_uj", most)):
            (folder / file).write_text(f"{text}\n")


def test_packages_and_memory_are_added_up_over_an_overflow(tmp_path):
    rapl(tmp_path, package_0=(900, 1000), dram=(5, 1000), core=(0, 1000), psys=(0, 1000))
    meter = Meter(root=tmp_path)
    assert meter.source == "RAPL, package and dram" and meter.read() == 0
    rapl(tmp_path, package_0=(100, 1000), dram=(15, 1000), core=(70, 1000), psys=(999, 1000))
    assert meter.read() == pytest.approx((200 + 10) * 1e-6)
    rapl(tmp_path, package_0=(150, 1000), dram=(15, 1000), core=(70, 1000), psys=(999, 1000))
    assert meter.read() == pytest.approx(260e-6)


def test_a_machine_that_does_not_tell(tmp_path, monkeypatch):
    assert Meter(root=tmp_path).read() is None
    rapl(tmp_path, package_0=(1, 1000))
    meter = Meter(root=tmp_path)
    (tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj").unlink()  # as where only root may read it
    assert meter.read() is None and Meter(root=tmp_path).source is None


def test_a_gpu_by_its_driver():
    class Error(Exception):
        pass

    counts = iter([1000, 3500])
    nvml = types.SimpleNamespace(
        NVMLError=Error, nvmlInit=lambda: None, nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: next(counts),
    )  # fmt: skip
    assert Meter(1, nvml=nvml).read() == 2.5

    def unknown(handle):
        raise Error

    nvml.nvmlDeviceGetTotalEnergyConsumption = unknown
    assert Meter(0, nvml=nvml).read() is None


def test_a_sample_is_of_one_picture_and_there_is_none_without_a_counter(tmp_path):
    sent = []
    context = types.SimpleNamespace(sample=lambda *row: sent.append(row), turns=None)
    assert measure._report_energy(context, Meter(root=tmp_path), 4) == {} and sent == []
    rapl(tmp_path, package_0=(0, 10**9))
    meter = Meter(root=tmp_path)
    rapl(tmp_path, package_0=(8_000_000, 10**9))
    assert measure._report_energy(context, meter, 4) == {"energy_source": "RAPL, package"}
    assert sent == [("energy_j", 2.0, "J")]


def test_the_counter_is_read_at_every_evaluation_lest_it_overflows_unseen(monkeypatch):
    class Bowl:
        segments = 1

        def value_and_gradient(self, picture):
            return Terms(float((picture**2).sum()), 0.0, 0.0, 0.0), 2 * picture

    counter, reads = types.SimpleNamespace(source="RAPL", read=lambda: reads.append(1) or 1.0), []
    monkeypatch.setattr(measure, "_energy", lambda cell: counter)
    monkeypatch.setattr(measure, "_objective", lambda *arguments: Bowl())
    monkeypatch.setattr(measure, "_style", lambda *arguments: np.zeros((1, 3, 16, 16), "float32"))
    plan = small_plan(method_names=["gatys"], tasks=["texture"], sizes=[16], budget=GATE)
    nothing = lambda *arguments: None  # noqa: E731
    context = types.SimpleNamespace(targets={}, photos=(), turns=None, turn=bool, sample=nothing, curve=nothing,
                                    ready=nothing)  # fmt: skip
    backend, host = measure.Backend(), measure.meters.HostMeter()
    info = measure.execute(backend, host, plan.cells[0], plan.settings, GATE, context)
    assert info["evaluations"] > 1 and len(reads) == info["evaluations"] + 1
