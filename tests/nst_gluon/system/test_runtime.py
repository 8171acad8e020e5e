"""Threads, memory, devices and precision: what is settled before the engine is imported."""

from __future__ import annotations

import json
import os
import struct
import sys
import types
from pathlib import Path

import pytest

from nst_gluon.system import builds, machine, runtime
from nst_gluon.system.errors import UserError


def tree(root, files: dict[str, str]):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


# ------------------------------------------------------------------------------------------- cores and memory


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, None),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),
        # The parent is tighter than the group itself.
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/b/cpu.max": "400000 100000\n",
                "sys/fs/cgroup/a/cpu.max": "50000 100000\n",
            },
            0.5,
        ),
        # The host's path, which does not exist below the container's mount.
        ({"proc/self/cgroup": "0::/docker/1f/x\n", "sys/fs/cgroup/cpu.max": "300000 100000\n"}, 3.0),
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/job\n",
                "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us": "250000\n",
                "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us": "100000\n",
            },
            2.5,
        ),
        (
            {
                "proc/self/cgroup": "4:cpu:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            None,
        ),
        ({"proc/self/cgroup": "garbage\n", "sys/fs/cgroup/cpu.max": "1 2 3\n"}, None),
    ],
)
def test_quota_of_control_groups(tmp_path, files, quota):
    assert runtime.cpu_quota(tree(tmp_path, files)) == quota


def test_cores_are_the_affinity_cut_by_the_quota(tmp_path, monkeypatch):
    root = tree(tmp_path, {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"})
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert runtime.available_cores(root) == 2
    assert runtime.available_cores(tmp_path / "nothing") == 8
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3}, raising=False)
    assert runtime.available_cores(root) == 1


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8_000_000 * 1024),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n",
          "sys/fs/cgroup/memory.current": "9\n"}, 8_000_000 * 1024),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1000000\n",
          "sys/fs/cgroup/memory.current": "400000\n"}, 600_000),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1000000\n",
          "sys/fs/cgroup/memory.current": "400000\n",
          "sys/fs/cgroup/memory.stat": "anon 5\ninactive_file 30000\n"}, 630_000),
        ({"proc/self/cgroup": "7:memory:/x\n", "sys/fs/cgroup/memory/x/memory.limit_in_bytes": "2000000\n",
          "sys/fs/cgroup/memory/x/memory.usage_in_bytes": "500000\n"}, 1_500_000),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1000\n",
          "sys/fs/cgroup/memory.current": "4000\n"}, 0),
    ],
)  # fmt: skip
def test_memory_available(tmp_path, files, expected):
    root = tree(tmp_path, {"proc/meminfo": "MemTotal: 9000000 kB\nMemAvailable:    8000000 kB\n", **files})
    assert runtime.memory_available_bytes(root) == expected


@pytest.mark.parametrize(
    ("flags", "bfloat16", "avx2"),
    [
        ("fpu avx2 avx512f avx512_bf16 vnni", True, False),
        ("fpu amx_bf16", True, False),
        ("fpu avx2 avx512f", False, False),
        ("fpu avx avx2 fma", False, True),
        (None, False, False),
    ],
)
def test_what_the_processor_can_do(tmp_path, flags, bfloat16, avx2):
    if flags:
        tree(tmp_path, {"proc/cpuinfo": f"processor\t: 0\nflags\t\t: {flags}\nbugs\t: x\n"})
    assert machine.cpu_supports_bfloat16(tmp_path) is bfloat16
    assert machine.cpu_lacks_avx512(tmp_path) is avx2


# ------------------------------------------------------------------------------------------------ environment

ENVIRONMENT = """
import json, os
from nst_gluon.system import builds, runtime
threads = runtime.prepare({threads})
names = (*runtime.ENVIRONMENT, "OMP_NUM_THREADS")
print(json.dumps([threads, {{name: os.environ.get(name) for name in names}}]))
"""


@pytest.mark.parametrize(
    ("asked", "given", "threads", "expected"),
    [
        (None, {}, runtime.available_cores(), {}),
        (None, {"OMP_NUM_THREADS": "3,2", "OMP_WAIT_POLICY": "ACTIVE"}, 3, {"OMP_WAIT_POLICY": "ACTIVE"}),
        (5, {"OMP_NUM_THREADS": "3"}, 5, {}),
    ],
)
def test_threads_and_variables_before_the_engine_starts(python, asked, given, threads, expected):
    """All cores, waiting passively; what the user has set stays, but an explicit number of threads wins."""
    done = python(ENVIRONMENT.format(threads=asked), **given)
    assert json.loads(done.stdout) == [threads, {**runtime.ENVIRONMENT, "OMP_NUM_THREADS": str(threads), **expected}]
    assert not done.stderr and runtime.ENVIRONMENT["OMP_WAIT_POLICY"] == "PASSIVE"


@pytest.mark.parametrize("given", ["abc", "1.5", "0", "99999999999", ",2", "-1"])
def test_threads_that_would_abort_the_engine_are_refused(monkeypatch, given):
    monkeypatch.delitem(sys.modules, "mxnet", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    with pytest.raises(UserError, match="^OMP_NUM_THREADS: '.*' is not a number of threads; use 1 to 1,024, or unset"):
        runtime.prepare()
    with pytest.raises(UserError, match="^--threads: 100000 is not a number of threads; use 1 to 1,024$"):
        runtime.prepare(100_000)


def test_importing_the_engine_prints_nothing_and_gives_it_the_threads(python):
    pytest.importorskip("mxnet")
    done = python(
        "import warnings; warnings.simplefilter('default')\n"
        "import os; before = list(warnings.filters)\n"
        "from nst_gluon.system.engine import mx, context\n"
        "net = mx.gluon.nn.Conv2D(4, 3, in_channels=3); net.initialize(); net.hybridize()\n"
        "net(mx.nd.ones((1, 3, 8, 8))).wait_to_read()\n"
        "warnings.warn('mine', DeprecationWarning)\n"
        "print(os.environ['OMP_NUM_THREADS'], context('cpu'), mx.__version__)"
    )
    assert done.stdout.split() == [str(runtime.available_cores()), "cpu(0)", "1.9.1"]
    assert done.stderr.count("Warning") == 1 and "mine" in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("version", "numpy", "expected"),
    [
        ((3, 12, 1), "1.23.5", "runs on Python 3.9 to 3.11"),
        ((3, 11, 7), "1.24.0", "needs numpy 1.23, and 1.24.0 is installed"),
        ((3, 11, 7), "2.2.1", "needs numpy 1.23, and 2.2.1 is installed"),
        ((3, 9, 18), "1.23.5", None),
        ((3, 11, 7), None, None),
    ],
)
def test_what_the_engine_cannot_run_with(monkeypatch, version, numpy, expected):
    monkeypatch.setattr(sys, "version_info", version)
    monkeypatch.setattr(runtime, "installed_version", lambda _: numpy)
    monkeypatch.setattr(runtime, "_find", lambda _: object())
    problem = runtime.engine_problem()
    assert (problem is None) if expected is None else (expected in problem and "\n" not in problem)


def test_cuda_libraries_are_loaded_globally_each_after_what_it_needs(tmp_path, monkeypatch):
    for package, library in runtime.CUDA_LIBRARIES:
        if package != "nccl":  # not installed: left to the system's loader
            tree(tmp_path, {f"nvidia/{package}/lib/{library}": ""})
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "nvidia", raising=False)
    loaded = []

    def load(path, mode):
        assert mode == runtime.ctypes.RTLD_GLOBAL
        if path.endswith("libnvToolsExt.so.1"):
            raise OSError("broken")
        loaded.append(path)

    monkeypatch.setattr(runtime.ctypes, "CDLL", load)
    runtime.preload_cuda_libraries()
    assert [os.path.basename(path).split(".so")[0] for path in loaded] == [
        "libcudart", "libcublasLt", "libcublas", "libcufft", "libcurand", "libcusolver", "libnvrtc",
        "libcudnn",
    ]  # fmt: skip


# ------------------------------------------------------------------------------------- devices and precision


@pytest.mark.parametrize(
    "text", ["", "tpu", "gpu:", "gpu:x", "cpu:1", "gpu:-1", "gpu 1", "gpu:99999", "gpu\n:1"]
)
def test_unknown_devices_are_refused_in_one_line(text):
    with pytest.raises(UserError, match="use cpu, gpu or gpu:1") as refusal:
        runtime.parse_device(text)
    assert "\n" not in str(refusal.value)


def test_dtype_of_a_device(monkeypatch):
    monkeypatch.setattr(runtime, "cpu_supports_bfloat16", lambda: False)
    runtime.check_dtype("float32", runtime.Device("gpu"))
    with pytest.raises(UserError, match="AVX512_BF16"):
        runtime.check_dtype("bfloat16", runtime.Device("cpu"))
    monkeypatch.setattr(runtime, "cpu_supports_bfloat16", lambda: True)
    runtime.check_dtype("bfloat16", runtime.Device("cpu"))
    with pytest.raises(UserError, match="CPU only"):
        runtime.check_dtype("bfloat16", runtime.Device("gpu"))


class FakeNvml(types.ModuleType):
    """nvidia-ml-py for made-up GPUs: (name, compute capability, bytes, uuid) each."""

    class NVMLError(Exception):
        pass

    def __init__(self, *gpus, driver=True):
        super().__init__("pynvml")
        self.gpus, self.driver, self.open = gpus, driver, 0

    def nvmlInit(self):
        if not self.driver:
            raise self.NVMLError("Driver Not Loaded")
        self.open += 1

    def nvmlShutdown(self):
        self.open -= 1

    def nvmlSystemGetDriverVersion(self):
        return b"550.54"

    def nvmlDeviceGetCount(self):
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index):
        return self.gpus[index]

    def nvmlDeviceGetName(self, gpu):
        return gpu[0]

    def nvmlDeviceGetCudaComputeCapability(self, gpu):
        if gpu[1] is None:
            raise self.NVMLError("GPU is lost")
        return list(gpu[1])

    def nvmlDeviceGetMemoryInfo(self, gpu):
        return types.SimpleNamespace(total=gpu[2])

    def nvmlDeviceGetUUID(self, gpu):
        return gpu[3]


ADA = ("NVIDIA L4", (8, 9), 24 << 30, "GPU-aaaa")
HOPPER = ("NVIDIA H200", (9, 0), 141 << 30, "GPU-bbbb")
KEPLER = ("Tesla K80", (3, 7), 12 << 30, "GPU-cccc")


@pytest.fixture
def nvml(monkeypatch):
    def use(*gpus, driver=True, visible=None):
        fake = FakeNvml(*gpus, driver=driver)
        monkeypatch.setitem(sys.modules, "pynvml", fake)
        if visible is None:
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        else:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        return fake

    return use


def test_gpus_as_the_driver_tells(nvml):
    fake = nvml(ADA, HOPPER)
    first, second = runtime.gpu_devices()
    assert first == runtime.Gpu(0, "NVIDIA L4", (8, 9), 24 << 30, "550.54", 0)
    assert (second.index, second.name, second.compute_capability) == (1, "NVIDIA H200", (9, 0))
    assert fake.open == 0


@pytest.mark.parametrize(
    ("visible", "names"),
    [("1", ["NVIDIA H200"]), ("1,0", ["NVIDIA H200", "NVIDIA L4"]), ("", []), ("-1", []),
     ("0,7,1", ["NVIDIA L4"]), ("GPU-bb", ["NVIDIA H200"]), ("GPU-zz", [])],
)  # fmt: skip
def test_gpus_are_numbered_as_cuda_does(nvml, visible, names):
    nvml(ADA, HOPPER, visible=visible)
    gpus = runtime.gpu_devices()
    assert [gpu.name for gpu in gpus] == names
    assert [gpu.index for gpu in gpus] == list(range(len(names)))


def test_no_driver_no_package_or_a_lost_gpu_is_no_gpu(nvml, monkeypatch):
    nvml(ADA, driver=False)
    assert runtime.gpu_devices() == []
    lost = nvml(("lost", None, 0, "GPU-x"))
    assert runtime.gpu_devices() == [] and lost.open == 0
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert runtime.gpu_devices() == []


WHEEL_CODE = frozenset({(5, 0), (6, 0), (7, 0), (8, 0), (8, 6)})
WHEEL = builds.Build(Path("wheel"), WHEEL_CODE)
CONTAINER = builds.Build(Path("container"), frozenset({(6, 0), (7, 0), (8, 0), (8, 6), (9, 0)}))
FOR_CPUS = builds.Build(Path("cpu"))


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (WHEEL, {(3, 7): False, (5, 0): True, (7, 5): True, (8, 6): True, (8, 9): True, (9, 0): False}),
        (CONTAINER, {(5, 2): False, (8, 9): True, (9, 0): True, (10, 0): False}),
        (builds.Build(Path(), frozenset({(8, 6)}), frozenset({(9, 0)})), {(8, 0): False, (9, 0): True, (12, 0): True}),
        (FOR_CPUS, {(8, 6): False}),
    ],
)
def test_what_a_build_runs_on(build, expected):
    """Machine code runs on later minor versions of its major one; PTX on everything that is newer."""
    assert {capability: build.runs_on(capability) for capability in expected} == expected


def library(path, *entries):
    """An ELF file whose section of GPU code has a container for each of ``entries``, (kind, architecture) pairs."""
    code = b""
    for pairs in entries:
        body = b"".join(struct.pack("<HHIQIIHHI", kind, 0x101, 64, 24, 0, 0, 0, 0, arch) + bytes(32 + 24)
                        for kind, arch in pairs)  # fmt: skip
        code += struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(body)) + body + bytes(8)
    names = b"\0.shstrtab\0.nv_fatbin\0"
    begin = 64 + len(names) + len(code)
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + bytes(24) + struct.pack("<Q", begin) + bytes(10)
    header += struct.pack("<HHH", 64, 3, 1)
    sections = [(0, 0, 0), (1, 64, len(names)), (11, 64 + len(names), len(code))]
    table = b"".join(struct.pack("<IIQQQQ", name, 1, 0, 0, at, size) + bytes(24) for name, at, size in sections)
    path.write_bytes(header + names + code + table)
    return path


def test_a_build_is_asked_for_its_code(tmp_path, monkeypatch):
    for index, (entries, code, ptx) in enumerate((
        ([[(2, 50), (2, 86)], [(2, 86), (1, 90)]], {(5, 0), (8, 6)}, {(9, 0)}),
        ([[(2, 90)]], {(9, 0)}, set()),
        ([], set(), set()),
    )):  # fmt: skip
        path = library(tmp_path / f"{index}.so", *entries)
        monkeypatch.setenv("MXNET_LIBRARY_PATH", str(path))
        assert builds.installed() == builds.Build(path, frozenset(code), frozenset(ptx))
    (tmp_path / "none.so").write_text("no library at all")
    monkeypatch.setenv("MXNET_LIBRARY_PATH", str(tmp_path / "none.so"))
    assert builds.installed() is None


def test_the_installed_build_is_for_cpus_or_has_code():
    pytest.importorskip("mxnet")
    assert str(builds.installed()).startswith(("CPU build", "CUDA build for "))


@pytest.mark.parametrize(
    ("gpus", "device", "build", "line"),
    [
        ((), "gpu", WHEEL, "no NVIDIA GPU and driver"),
        ((ADA,), "gpu:1", WHEEL, "no GPU of that number; use one of: gpu$"),
        ((HOPPER,), "gpu", WHEEL, "NVIDIA H200 has compute capability 9.0.*5.0, 6.0, 7.0, 8.0, 8.6.*docker run"),
        ((KEPLER,), "gpu", CONTAINER, "Tesla K80 has compute capability 3.7.* --engine pytorch"),
        ((ADA, HOPPER), "gpu:1", WHEEL, "NVIDIA H200"),
        ((ADA,), "gpu", FOR_CPUS, "CPU build.*cu112"),
        ((ADA,), "gpu", None, "unknown build"),
    ],
)
def test_a_device_that_cannot_work_is_refused_in_one_line(nvml, monkeypatch, gpus, device, build, line):
    nvml(*gpus)
    monkeypatch.setattr(builds, "installed", lambda: build)
    monkeypatch.setattr(builds, "computes_on", lambda index: False)
    with pytest.raises(UserError, match=f"--device {device}: .*{line}") as refusal:
        runtime.check_device(runtime.parse_device(device))
    assert "\n" not in str(refusal.value)


def test_a_slice_of_a_gpu_is_refused_by_its_name(nvml):
    nvml(HOPPER, visible="MIG-1234-ab")
    with pytest.raises(UserError, match="^--device gpu: CUDA_VISIBLE_DEVICES names 'MIG-1234-ab'.* not supported; .*$"):
        runtime.find_gpu(runtime.parse_device("gpu"))


def test_a_device_that_works(nvml, monkeypatch):
    nvml(HOPPER, ADA)
    monkeypatch.setattr(builds, "installed", lambda: WHEEL)
    runtime.check_device(runtime.parse_device("gpu:1"))
    runtime.check_device(runtime.parse_device("cpu"))
    monkeypatch.setattr(builds, "installed", lambda: CONTAINER)
    runtime.check_device(runtime.parse_device("gpu"))
    monkeypatch.setattr(builds, "installed", lambda: None)
    monkeypatch.setattr(builds, "computes_on", lambda index: index == 0)
    runtime.check_device(runtime.parse_device("gpu"))
