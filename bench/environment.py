"""The machine and the software that the numbers of a run belong to. Imports no engine and nothing heavy."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nst_gluon import __version__, runtime

SOURCE = Path(__file__).resolve().parent.parent
DISTRIBUTIONS = (
    "nst-gluon", "mxnet", "mxnet-cu112", "gluoncv", "numpy", "scipy", "pandas", "matplotlib", "Pillow",
    "torch", "onnxruntime", "nvidia-ml-py",
)  # fmt: skip
VARIABLES = (
    "OMP_NUM_THREADS", "OMP_WAIT_POLICY", "OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY", "KMP_AFFINITY",
    "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "NVIDIA_TF32_OVERRIDE",
    "DNNL_MAX_CPU_ISA", "LD_PRELOAD", "MALLOC_ARENA_MAX",
)  # fmt: skip
BUSY_CORES = 0.25


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


# ---------------------------------------------------------------------------------------------------- machine


def cpu_model() -> str:
    """The processor's name as its maker gives it."""
    text = _read("/proc/cpuinfo")
    for name in ("model name", "Hardware", "cpu model"):
        match = re.search(rf"^{name}\s*:\s*(.+)$", text, re.MULTILINE)
        if match:
            return " ".join(match.group(1).split())
    return platform.processor() or platform.machine()


def affinity() -> frozenset[int]:
    """The logical processors that this process may run on."""
    try:
        return frozenset(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        return frozenset(range(os.cpu_count() or 1))


def busy_seconds(cpus: Iterable[int]) -> float | None:
    """Seconds that ``cpus`` have spent not idle since boot, all processes together; None where it is not
    told.
    """
    wanted = {f"cpu{cpu}" for cpu in cpus}
    total = 0
    found = False
    for line in _read("/proc/stat").splitlines():
        name, *fields = line.split()
        if name in wanted and len(fields) >= 8:
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
            total += user + nice + system + irq + softirq + steal
            found = True
    return total / os.sysconf("SC_CLK_TCK") if found else None


def kernel_oom_kills() -> int | None:
    """How many processes the kernel has killed for want of memory since boot; None where it is not told."""
    match = re.search(r"^oom_kill (\d+)$", _read("/proc/vmstat"), re.MULTILINE)
    return int(match.group(1)) if match else None


def load_average() -> list[float] | None:
    """The 1, 5 and 15 minute load averages."""
    try:
        return [round(value, 2) for value in os.getloadavg()]
    except OSError:
        return None


def memory_total_bytes() -> int | None:
    match = re.search(r"^MemTotal:\s*(\d+) kB", _read("/proc/meminfo"), re.MULTILINE)
    return int(match.group(1)) * 1024 if match else None


def gpus() -> list[dict[str, Any]]:
    """The visible NVIDIA GPUs, for the record."""
    return [
        {
            "index": gpu.index,
            "name": gpu.name,
            "compute_capability": ".".join(map(str, gpu.compute_capability)),
            "memory_bytes": gpu.memory_bytes,
            "driver": gpu.driver,
        }
        for gpu in runtime.gpu_devices()
    ]


def high_water_bytes(field: str = "VmHWM") -> int | None:
    """A memory field of /proc/self/status in bytes (VmHWM: the most that was ever resident)."""
    match = re.search(rf"^{field}:\s*(\d+) kB", _read("/proc/self/status"), re.MULTILINE)
    return int(match.group(1)) * 1024 if match else None


# --------------------------------------------------------------------------------------------------- software


def versions() -> dict[str, str]:
    """Python's version and those of the installed distributions that matter."""
    found = {"python": platform.python_version(), "nst_gluon": __version__}
    for name in DISTRIBUTIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def git(source: Path = SOURCE) -> dict[str, Any] | None:
    """{"revision", "dirty"} of the checkout that ``source`` is the top of; None without one."""
    if not (source / ".git").exists():
        return None

    def ask(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(source), *arguments], capture_output=True, text=True, timeout=20, check=True
        ).stdout.strip()

    try:
        # The folder of results is what runs write: it says nothing about the code.
        changes = ask("status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude)results")
        return {"revision": ask("rev-parse", "HEAD"), "dirty": bool(changes)}
    except (OSError, subprocess.SubprocessError):
        return None


def file_sha256(path: str | Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def capture(threads: int) -> dict[str, Any]:
    """Everything about the machine and the software that a number may depend on."""
    return {
        "cpu": {
            "model": cpu_model(),
            "architecture": platform.machine(),
            "cores_used": runtime.available_cores(),
            "affinity": sorted(affinity()),
            "quota": runtime.cpu_quota(),
            "logical": os.cpu_count(),
            "bfloat16": runtime.cpu_supports_bfloat16(),
        },
        "threads": threads,
        "variables": {
            name: value for name, value in sorted(os.environ.items()) if name in VARIABLES or name.startswith("MXNET_")
        },
        "memory_total_bytes": memory_total_bytes(),
        "memory_available_bytes": runtime.memory_available_bytes(),
        "gpus": gpus(),
        "system": {
            "name": platform.system(),
            "release": platform.release(),
            "libc": " ".join(platform.libc_ver()),
        },
        "versions": versions(),
        "git": git(),
    }


def fingerprint(environment: Mapping[str, Any], devices: Iterable[str], dtypes: Iterable[str]) -> dict[str, Any]:
    """What makes numbers comparable: CPU model, cores used, GPU model if one is used, precisions.

    Not the clock rate, which drifts, and not the host's name, which changes.
    """
    used = [gpu["name"] for gpu in environment["gpus"] if any(name.startswith("gpu") for name in devices)]
    return {
        "cpu": environment["cpu"]["model"],
        "cores": environment["cpu"]["cores_used"],
        "threads": environment["threads"],
        "gpu": used[0] if used else None,
        "dtypes": sorted(set(dtypes)),
    }


# --------------------------------------------------------------------------------------------------- warnings


def warnings_before(environment: Mapping[str, Any], load: list[float] | None) -> list[str]:
    """What, before anything is measured, makes the numbers less trustworthy; each a line for the report."""
    found = []
    cores = environment["cpu"]["cores_used"]
    if load and load[0] > BUSY_CORES * cores:
        found.append(
            f"the machine was busy before the run (load average {load[0]:.2f} on {cores} cores): times may be too long"
        )
    if environment["threads"] > cores:
        found.append(f"{environment['threads']} threads on {cores} cores: oversubscribed, times may be far too long")
    return found


def warnings_after(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the cells' records tell against their numbers; each a line for the report."""
    known = [record["foreign_cores"] for record in records if record.get("foreign_cores") is not None]
    busy = [cores for cores in known if cores > BUSY_CORES]
    if not busy:
        return []
    return [
        f"busy machine: other processes used up to {max(busy):.1f} cores on average while {len(busy)} of "
        f"{len(known)} cells were measured; times may be too long"
    ]
