"""What must be settled before the engine is imported: threads, devices, precision, memory, CUDA libraries.

Imports no engine. MXNet reads its environment once, while it is being imported, so :func:`prepare` runs
first; :mod:`nst_gluon.system.engine` sees to that.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.metadata
import importlib.util
import os
import platform
import re
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path

from nst_gluon.system import builds
from nst_gluon.system.errors import UserError, did_you_mean, nearest
from nst_gluon.system.machine import available_cores, cpu_supports_bfloat16
from nst_gluon.system.machine import cpu_quota as cpu_quota
from nst_gluon.system.machine import memory_available_bytes as memory_available_bytes

DTYPES = ("float32", "bfloat16")
LARGEST_SIDE = 1_000_000  # of a picture
LARGEST_SEED = 2**32 - 2**16  # generators take 32 bits, and some are asked with the next few numbers
MOST_THREADS = 1024  # tens of thousands crash OpenMP
INSTALL = "python -m pip install -e '.[cpu]' (or '.[cu112]' for an NVIDIA GPU)"
ENGINE_DISTRIBUTIONS = ("mxnet", "mxnet-cu112")

# Only defaults: whatever the user has set wins.
ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",  # threads that wait leave their core to others: far steadier on a busy machine
    # But not at once (libgomp; some 50 us): to wake one for each of a texture network's short operations takes long.
    "GOMP_SPINCOUNT": "1500",
    "MXNET_CUDNN_AUTOTUNE_DEFAULT": "0",  # autotuning picks other kernels from run to run: other bits
    "MXNET_ENFORCE_DETERMINISM": "1",
    "MXNET_CUDNN_LIB_CHECKING": "0",  # advice for builders, printed at users
    "MXNET_CUDA_LIB_CHECKING": "0",
    "MXNET_MKLDNN_CACHE_NUM": "512",  # unbounded by default: grows with every new picture size
    "MXNET_SUBGRAPH_VERBOSE": "0",  # the engine announces on stderr that it fuses operators
    "NVIDIA_TF32_OVERRIDE": "0",  # float32 means float32
    "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # the order of NVML, so that gpu:1 is the same device in both
}

# (folder under the namespace package `nvidia`, shared library), each after the ones that it needs.
CUDA_LIBRARIES = (
    ("cuda_runtime", "libcudart.so.11.0"),
    ("cublas", "libcublasLt.so.11"),
    ("cublas", "libcublas.so.11"),
    ("cufft", "libcufft.so.10"),
    ("curand", "libcurand.so.10"),
    ("cusolver", "libcusolver.so.11"),
    ("cuda_nvrtc", "libnvrtc.so.11.2"),
    ("nvtx", "libnvToolsExt.so.1"),
    ("nccl", "libnccl.so.2"),
    ("cudnn", "libcudnn.so.8"),
)


@dataclass(frozen=True)
class Device:
    """Where an engine computes: ``kind`` is "cpu" or "gpu"; ``index`` counts GPUs from 0."""

    kind: str
    index: int = 0

    def __str__(self) -> str:
        return self.kind if self.index == 0 else f"{self.kind}:{self.index}"


@dataclass(frozen=True)
class Gpu:
    """A visible NVIDIA GPU: ``index`` is the engine's (after CUDA_VISIBLE_DEVICES), ``nvml_index`` NVML's."""

    index: int
    name: str
    compute_capability: tuple[int, int]
    memory_bytes: int
    driver: str
    nvml_index: int = 0


# ------------------------------------------------------------------------------- engine and environment


def engine_distribution() -> str | None:
    """The installed distribution that provides the package ``mxnet``: "mxnet" (CPU), "mxnet-cu112" or None.

    With both installed, the CUDA build is named: its libraries must then be loaded in any case.
    """
    for name in reversed(ENGINE_DISTRIBUTIONS):
        if installed_version(name) is not None:
            return name
    return None


def _find(package: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return None


def installed_version(distribution: str) -> str | None:
    """The version of an installed distribution, or None; nothing is imported."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def engine_problem() -> str | None:
    """Why MXNet cannot be imported here and what to do, in one line; None if nothing is known against it."""
    if sys.flags.optimize > 1:
        return (
            "no engine: MXNet reads its own documentation when it is imported, and PYTHONOPTIMIZE=2 (python -OO) takes "
            "it away: unset it, or use 1"
        )
    if sys.version_info >= (3, 12):
        return (
            f"no engine: MXNet 1.9.1 runs on Python 3.9 to 3.11 and this is {platform.python_version()}: "
            f"make an environment with python3.11 (or uv run --python 3.11), then "
            f"python -m pip install -e '.[cpu]'"
        )
    if _find("mxnet") is None:
        return f"no engine: {INSTALL}"
    numpy = installed_version("numpy") or ""
    if [int(part) for part in re.findall(r"\d+", numpy)[:2]] >= [1, 24]:
        return (
            f"no engine: MXNet 1.9.1 needs numpy 1.23, and {numpy} is installed: "
            f"python -m pip install 'numpy>=1.23,<1.24'"
        )
    return None


def quiet_dependencies() -> None:
    """Keep what MXNet and gluoncv tell their developers (numpy's old names, distutils) off the terminal."""
    for category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
        warnings.filterwarnings("ignore", category=category, module=r"(mxnet|gluoncv|pkg_resources)(\.|$)")
    for message in (".*pkg_resources", "Setuptools is replacing distutils"):
        warnings.filterwarnings("ignore", message=message, category=UserWarning)


@contextlib.contextmanager
def quiet_import() -> Iterator[None]:
    """No warning of what is imported inside reaches the terminal; the caller's filters come back after it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def prepare(threads: int | None = None) -> int:
    """Settle the environment for an engine that is not imported yet; return the threads that it will use.

    Args:
        threads: threads for the engine; None takes the user's OMP_NUM_THREADS, or else all available cores.

    Every variable that the user has set stays as it is, but an explicit ``threads`` wins, and of a list in
    OMP_NUM_THREADS its first number stays: MXNet takes no list. Once MXNet is imported this changes nothing any more.

    Raises:
        UserError: ``threads``, or OMP_NUM_THREADS, is not a number from 1 to MOST_THREADS.
    """
    if threads is not None and not 1 <= threads <= MOST_THREADS:
        raise UserError(f"--threads: {threads} is not a number of threads; use 1 to {MOST_THREADS:,}")
    if "mxnet" not in sys.modules:
        given = os.environ.get("OMP_NUM_THREADS", "")
        if threads is None and given.strip() and not 1 <= _first_of(given) <= MOST_THREADS:
            right = f"use 1 to {MOST_THREADS:,}, or unset it"
            raise UserError(f"OMP_NUM_THREADS: {given!r} is not a number of threads; {right}")
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        os.environ["OMP_NUM_THREADS"] = str(threads or _first_of(given) or available_cores())
        quiet_dependencies()
    return engine_threads()


def engine_threads() -> int:
    """Threads that OpenMP takes from OMP_NUM_THREADS ("4,2" means 4); 1 where it is unset."""
    return _first_of(os.environ.get("OMP_NUM_THREADS", "")) or 1


def _first_of(levels: str) -> int:
    """The first number of OMP_NUM_THREADS, one for each level of nesting; 0 where that is none."""
    first = levels.split(",")[0].strip()
    return int(first) if re.fullmatch(r"\d{1,9}", first) else 0


def preload_cuda_libraries() -> None:
    """Load the CUDA 11 libraries of the nvidia-*-cu11 packages: mxnet-cu112 then needs no CUDA toolkit.

    A library that no package provides is left to the system's loader.
    """
    spec = _find("nvidia")
    folders = [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec else []
    for package, library in CUDA_LIBRARIES:
        for folder in folders:
            path = folder / package / "lib" / library
            if path.is_file():
                # One that cannot be loaded is named by MXNet's own import error.
                with contextlib.suppress(OSError):
                    ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
                break


# -------------------------------------------------------------------------------- devices and precision


def parse_device(text: str) -> Device:
    """ "cpu", "gpu" or "gpu:1" as a :class:`Device`; anything else is a UserError."""
    match = re.fullmatch(r"cpu|gpu(?::(\d{1,4}))?", text.strip().lower())
    if not match:
        near = nearest(text, ("cpu", "gpu"), 0.8)
        raise UserError(f"--device: {text!r} is not a device; {near}use cpu, gpu or gpu:1")
    return Device(match.group(0)[:3], int(match.group(1) or 0))


def parse_dtype(text: str) -> str:
    """The precision of the descriptor, "float32" or "bfloat16"; anything else is a UserError."""
    name = text.strip().lower()
    if name not in DTYPES:
        raise UserError(f"--dtype: unknown precision {text!r}; {did_you_mean(name, DTYPES)}")
    return name


def _visible(count: int, uuids: list[str]) -> list[int]:
    """NVML's indices in CUDA's order: CUDA_VISIBLE_DEVICES up to its first invalid entry, as CUDA does."""
    setting = os.environ.get("CUDA_VISIBLE_DEVICES")
    if setting is None:
        return list(range(count))
    chosen: list[int] = []
    for entry in (part.strip() for part in setting.split(",")):
        if entry.isdigit() and int(entry) < count:
            chosen.append(int(entry))
        elif entry.startswith("GPU-") and any(uuid.startswith(entry) for uuid in uuids):
            chosen.append(next(i for i, uuid in enumerate(uuids) if uuid.startswith(entry)))
        else:
            break
    return chosen


def gpu_devices() -> list[Gpu]:
    """The NVIDIA GPUs that the engine would see; an empty list without a driver or without nvidia-ml-py."""
    try:
        import pynvml
    except ImportError:
        return []

    def text(value: str | bytes) -> str:
        return value.decode() if isinstance(value, bytes) else value

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        driver = text(pynvml.nvmlSystemGetDriverVersion())
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        uuids = [text(pynvml.nvmlDeviceGetUUID(handle)) for handle in handles]
        return [
            Gpu(
                index=index,
                name=text(pynvml.nvmlDeviceGetName(handles[i])),
                compute_capability=tuple(pynvml.nvmlDeviceGetCudaComputeCapability(handles[i])),
                memory_bytes=int(pynvml.nvmlDeviceGetMemoryInfo(handles[i]).total),
                driver=driver,
                nvml_index=i,
            )
            for index, i in enumerate(_visible(len(handles), uuids))
        ]
    except pynvml.NVMLError:
        return []
    finally:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def find_gpu(device: Device) -> Gpu:
    """The GPU that ``device`` names; a UserError, in one line, if it is not there."""
    gpus = gpu_devices()
    if not gpus:
        mig = re.search(r"MIG-[^,\s]*", os.environ.get("CUDA_VISIBLE_DEVICES", ""))
        if mig:
            raise UserError(
                f"--device {device}: CUDA_VISIBLE_DEVICES names {mig.group()!r}, a part of a GPU, which is not "
                "supported; name a whole one, or use --device cpu"
            )
        raise UserError(f"--device {device}: no NVIDIA GPU and driver are visible here; use --device cpu")
    if device.index >= len(gpus):
        choices = ", ".join(str(Device("gpu", gpu.index)) for gpu in gpus)
        raise UserError(f"--device {device}: there is no GPU of that number; use one of: {choices}")
    return gpus[device.index]


def check_device(device: Device) -> None:
    """Raise a UserError, in one line, if the installed MXNet cannot compute on ``device``."""
    if device.kind == "cpu":
        return
    gpu = find_gpu(device)
    problem = builds.problem(gpu.name, gpu.compute_capability, gpu.index)
    if problem:
        raise UserError(f"--device {device}: {problem}")


def check_dtype(dtype: str, device: Device) -> None:
    """Raise a UserError, in one line, if ``device`` cannot compute in ``dtype``, one of DTYPES."""
    if dtype != "bfloat16":
        return
    if device.kind == "gpu":
        raise UserError("--dtype bfloat16: MXNet 1.9.1 has it on the CPU only; use --dtype float32 on a GPU")
    if not cpu_supports_bfloat16():
        model = platform.processor() or platform.machine()
        raise UserError(
            f"--dtype bfloat16: this processor ({model}) has neither AVX512_BF16 nor AMX; use --dtype float32"
        )
