"""The meters, against known allocations, known times and a driver that is not there."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest
from plans import environment as child_environment

from bench.engines import measure
from bench.machine import environment, meters

MB = 1 << 20


class Clock:
    """A clock that only calls move on."""

    def __init__(self, *durations: float):
        self.now, self.durations, self.calls = 0.0, list(durations), 0

    def __call__(self) -> float:
        return self.now

    def work(self) -> None:
        last = len(self.durations) - 1
        self.now += self.durations[min(self.calls, last)]
        self.calls += 1


@pytest.fixture
def clock(monkeypatch):
    def make(*durations: float) -> Clock:
        made = Clock(*durations)
        monkeypatch.setattr(meters, "clock", made)
        return made

    return make


def test_warm_up_ends_when_times_are_stable(clock):
    slow_start = clock(5.0, 2.0, 1.2, 1.0, 1.01, 1.02, 1.0)
    assert meters.warm_up(slow_start.work, max_seconds=100) == pytest.approx([5.0, 2.0, 1.2, 1.0, 1.01, 1.02])


def test_warm_up_ends_when_its_time_is_spent(clock):
    restless = clock(1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0)
    assert len(meters.warm_up(restless.work, max_seconds=4.0)) == 3
    assert len(meters.warm_up(clock(9.0).work, max_seconds=0.0)) == 1


@pytest.mark.parametrize(
    ("duration", "count"),
    [
        (0.01, 100),  # 10 samples would be there after 0.1 s: go on to 1 s
        (0.5, 10),  # 1 s would be there after two: go on to 10 samples
        (4.0, 5),  # 20 s are the most
        (30.0, 3),  # but three samples in any case
    ],
)
def test_samples_are_taken_until_both_count_and_time_are_reached(clock, duration, count):
    times = meters.sample(clock(duration).work, min_samples=10, min_seconds=1.0, max_seconds=20.0)
    assert len(times) == pytest.approx(count, abs=1)
    assert times == pytest.approx([duration] * len(times))


def child(code: str) -> list[float]:
    """Numbers that a fresh Python prints."""
    program = "import sys\nfrom bench.machine import meters\n" + code
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=child_environment())
    assert done.returncode == 0, done.stderr
    return [float(word) for word in done.stdout.split()]


needs_proc = pytest.mark.skipif(environment.high_water_bytes() is None, reason="no VmHWM in /proc on this system")


@needs_proc
@pytest.mark.parametrize(("size", "kept"), [(64, True), (256, False)])
def test_the_host_meter_measures_a_known_allocation(size, kept):
    """Within 3 %: the working memory is what was allocated and touched after the baseline, kept or given back, and
    the peak is that and the baseline.
    """
    peak, working, baseline = child(
        f"meter = meters.HostMeter(); meter.start(); block = bytearray(b'x') * ({size} << 20)\n"
        + ("" if kept else "del block\n")
        + "memory = meter.read(); print(memory.peak, memory.working, memory.details['import_baseline_bytes'])"
    )
    assert working == pytest.approx(size * MB, rel=0.03)
    assert peak == pytest.approx(size * MB + baseline, rel=0.03)
    assert 0 < baseline < 64 * MB


@needs_proc
def test_memory_that_is_never_touched_does_not_count():
    (working,) = child(
        "import mmap; meter = meters.HostMeter(); meter.start(); block = mmap.mmap(-1, 512 << 20)\n"
        "print(meter.read().working)"
    )
    assert working < 16 * MB


@needs_proc
def test_the_host_meter_keeps_the_peak_of_the_measured_part_and_forgets_that_of_the_set_up():
    during, before, was_reset = child(
        "meter = meters.HostMeter()\n"
        "block = bytearray(b'x') * (200 << 20); del block\n"
        "meter.start()\n"
        "block = bytearray(b'x') * (50 << 20); del block\n"
        "memory = meter.read()\n"
        "print(memory.working, 200 << 20, memory.details['peak_reset'] is True)".replace("is True", "and 1 or 0")
    )
    if not was_reset:
        pytest.skip("this kernel does not allow the high-water mark to be reset")
    assert during == pytest.approx(50 * MB, rel=0.1)
    assert during < before


@needs_proc
def test_a_large_parent_does_not_falsify_the_childs_memory():
    """ru_maxrss would be inherited; VmHWM is not."""
    block = bytearray(b"x") * (300 * MB)
    (peak,) = child("meter = meters.HostMeter(); meter.start(); print(meter.read().peak)")
    assert peak < 100 * MB
    del block  # it lived until here


def test_a_system_without_a_high_water_mark_reports_no_memory(monkeypatch):
    monkeypatch.setattr(meters, "high_water_bytes", lambda *field: None)
    memory, sent = meters.HostMeter().read(), []
    assert (memory.peak, memory.working) == (None, None)
    context = SimpleNamespace(sample=lambda *row: sent.append(row))
    assert measure._report_memory(context, memory) == {"source": "no VmHWM on this system"} and not sent


class FakeNvml:
    """What :class:`bench.machine.meters.GpuMeter` uses of pynvml."""

    class NVMLError(Exception):
        pass

    def __init__(self, processes, used):
        self.processes, self.used = processes, used

    def nvmlInit(self):
        pass

    def nvmlDeviceGetHandleByIndex(self, index):
        if index > 1:
            raise self.NVMLError("invalid argument")
        return index

    def nvmlDeviceGetMemoryInfo(self, handle):
        return SimpleNamespace(used=self.used, total=80_000 * MB, free=0)

    def nvmlDeviceGetComputeRunningProcesses(self, handle):
        if self.processes is None:
            raise self.NVMLError("not supported")
        return [SimpleNamespace(pid=pid, usedGpuMemory=size) for pid, size in self.processes.items()]


def test_the_gpu_meter_reads_this_process_and_the_device():
    nvml = FakeNvml({7: 500 * MB, 8: 9000 * MB}, used=9500 * MB)
    meter = meters.GpuMeter(0, nvml, pid=7)
    meter.start()
    nvml.processes[7], nvml.used = 1700 * MB, 10_700 * MB
    memory = meter.read()
    assert (memory.peak, memory.working) == (1700 * MB, 1200 * MB)
    assert memory.source == "NVML, this process"
    assert memory.details["device_bytes"] == 10_700 * MB
    assert memory.details["process_baseline_bytes"] == 500 * MB


@pytest.mark.parametrize("processes", [None, {}, {7: None}, {99: 5 * MB}])
def test_the_gpu_meter_falls_back_to_the_device_where_processes_are_hidden(processes):
    nvml = FakeNvml(processes, used=400 * MB)
    meter = meters.GpuMeter(0, nvml, pid=7)
    nvml.used = 900 * MB
    memory = meter.read()
    assert (memory.peak, memory.working, memory.source) == (900 * MB, 500 * MB, "NVML, whole device")


class FakePool:
    """MXNet's pool on a device: it takes memory from the device, and gives back only what is free when told to."""

    def __init__(self, nvml, total: int = 80_000 * MB):
        self.nvml, self.total, self.cached = nvml, total, 0

    def allocate(self, size: int, pid: int = 7) -> None:
        fresh = max(0, size - self.cached)
        self.cached -= size - fresh
        self.nvml.used += fresh
        self.nvml.processes[pid] += fresh

    def release(self, size: int) -> None:
        self.cached += size

    def info(self) -> tuple[int, int]:
        return self.total - self.nvml.used, self.total

    def empty(self) -> None:
        self.nvml.used -= self.cached
        self.nvml.processes[7] -= self.cached
        self.cached = 0


def test_the_gpu_meter_measures_a_known_allocation_and_what_the_pool_only_kept():
    """Of the 256 MB that were used, a quarter is free again at the end: the peak is all, the pool has a quarter."""
    size, nvml = 256, FakeNvml({7: 500 * MB, 8: 9000 * MB}, used=9500 * MB)
    pool = FakePool(nvml)
    meter = meters.GpuMeter(0, nvml, pid=7, device_memory=pool.info, empty_cache=pool.empty)
    meter.start()
    pool.allocate(size * MB // 2)
    pool.allocate(size * MB // 2)
    pool.release(size * MB // 2)
    pool.allocate(size * MB // 4)  # from the pool: the device does not notice
    memory = meter.read()
    assert memory.working == pytest.approx(size * MB, rel=0.03)
    assert memory.peak == pytest.approx((500 + size) * MB, rel=0.03)
    assert memory.details["mxnet_used_bytes"] == pytest.approx((9500 + size) * MB, rel=0.03)
    assert memory.details["mxnet_used_bytes"] == memory.details["device_bytes"]
    assert memory.details["mxnet_pool_cached_bytes"] == pytest.approx(size * MB / 4, rel=0.03)


def test_the_pool_is_emptied_after_everything_else_was_read_and_others_do_not_count():
    nvml = FakeNvml({7: 100 * MB}, used=100 * MB)
    steps = []

    def info() -> tuple[int, int]:
        steps.append("info")
        return 1000 * MB - nvml.used, 1000 * MB

    def empty() -> None:
        steps.append("empty")
        nvml.used += 50 * MB  # meanwhile somebody else has taken memory

    details = meters.GpuMeter(0, nvml, pid=7, device_memory=info, empty_cache=empty).read().details
    assert steps == ["info", "empty", "info"]
    assert details["device_bytes"] == 100 * MB and details["mxnet_pool_cached_bytes"] == 0
    assert "mxnet_used_bytes" not in meters.GpuMeter(0, nvml, pid=7).read().details


# ------------------------------------------------------------------------------------------------- environment


def test_the_record_of_the_machine_names_what_numbers_depend_on():
    machine = environment.capture(threads=2)
    assert machine["cpu"]["model"] and machine["cpu"]["cores_used"] >= 1
    assert machine["versions"]["python"] and machine["versions"]["nst_gluon"]
    assert machine["threads"] == 2
    fingerprint = environment.fingerprint(machine, {"cpu"}, {"float32"})
    assert fingerprint["cpu"] == machine["cpu"]["model"] and fingerprint["gpu"] is None
    assert set(fingerprint) == {"cpu", "cores", "threads", "gpu", "dtypes"}


def test_generations_of_a_processor_that_share_a_name_are_told_apart(monkeypatch):
    """Virtual machines often say AMD EPYC and no more; one generation takes 1.6 times as long as another."""
    said = "vendor_id\t: AuthenticAMD\ncpu family\t: {}\nmodel\t\t: {}\nmodel name\t: AMD  EPYC\nflags\t\t: fpu {}\n"
    texts = [said.format(25, 1, "avx avx2"), said.format(26, 2, "avx avx2 avx512f"), said.format(25, 1, "avx"),
             "CPU implementer\t: 0x41\nHardware\t: Board\n"]  # fmt: skip
    names = []
    for text in texts:
        monkeypatch.setattr(environment, "read", lambda path, text=text: text * 2)  # as of two processors
        names.append(environment.cpu_model())
    assert names == [
        "AMD EPYC (family 25, model 1, AVX2)", "AMD EPYC (family 26, model 2, AVX-512)",
        "AMD EPYC (family 25, model 1, AVX)", "Board",
    ]  # fmt: skip


def test_the_gpu_belongs_to_the_fingerprint_only_where_it_is_used():
    machine = {"cpu": {"model": "c", "cores_used": 2}, "threads": 2, "gpus": [{"name": "g"}]}
    assert environment.fingerprint(machine, ["cpu"], ["float32"])["gpu"] is None
    assert environment.fingerprint(machine, ["cpu", "gpu"], ["float32"])["gpu"] == "g"
    machine["gpus"].append({"name": "h"})
    for devices, name in ((["gpu:1"], "h"), (["gpu"], "g"), (["gpu", "gpu:1"], "g and h")):
        assert environment.fingerprint(machine, devices, ["float32"])["gpu"] == name


def test_busy_and_oversubscribed_machines_are_warned_about():
    machine = {"cpu": {"cores_used": 2}, "threads": 8}
    busy, oversubscribed = environment.warnings_before(machine, [3.0, 1.0, 1.0])
    assert "load average 3.00 on 2 cores" in busy
    assert "8 threads on 2 cores" in oversubscribed
    assert environment.warnings_before({"cpu": {"cores_used": 2}, "threads": 2}, [0.1, 0.0, 0.0]) == []
    assert environment.warnings_before({"cpu": {"cores_used": 2}, "threads": 2}, None) == []


def test_the_revision_of_a_checkout(tmp_path):
    assert environment.git(tmp_path) is None
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "-q"], check=True)
    (tmp_path / "a").write_text("1")
    subprocess.run([*git, "add", "a"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "a"], check=True)
    clean = environment.git(tmp_path)
    assert len(clean["revision"]) == 40 and clean["dirty"] is False
    (tmp_path / "a").write_text("2")
    assert environment.git(tmp_path)["dirty"] is True
