"""The machine and the software that the numbers of a run belong to. Imports no engine and nothing heavy."""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nst_gluon import __version__
from nst_gluon.system import runtime
from nst_gluon.system.machine import read

SOURCE = Path(__file__).resolve().parents[2]
DISTRIBUTIONS = (
    "nst-gluon", "mxnet", "mxnet-cu112", "gluoncv", "numpy", "scipy", "pandas", "matplotlib", "Pillow",
    "torch", "onnx", "onnxruntime", "onnxruntime-gpu", "openvino", "nvidia-ml-py",
)  # fmt: skip
VARIABLES = (
    "OMP_NUM_THREADS", "OMP_WAIT_POLICY", "OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY", "KMP_AFFINITY",
    "OMP_DYNAMIC", "OMP_MAX_ACTIVE_LEVELS", "OMP_THREAD_LIMIT", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS",
    "BLIS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "NVIDIA_TF32_OVERRIDE",
    "DNNL_MAX_CPU_ISA", "LD_PRELOAD", "MALLOC_ARENA_MAX",
)  # fmt: skip
# Pools of threads beside the engine's own.
OTHER_THREADS = ("MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "BLIS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
VECTORS = {"avx512f": "AVX-512", "avx2": "AVX2", "avx": "AVX"}  # flags of /proc/cpuinfo, the widest first
BUSY_CORES = 0.25
AFTER = ("busy machine:", "drift:", "clock rate:", "warm-up:")  # how the lines of warnings_after begin
MOST_DRIFT, MOST_CLOCK_LOSS, MOST_DROPPED = 0.05, 0.10, 0.25


# ---------------------------------------------------------------------------------------------------- machine


def cpu_model() -> str:
    """The processor's name as its maker gives it; of x86 with family, model and widest vectors, as generations of
    virtual machines share a name: ``AMD EPYC (family 25, model 1, AVX2)``.
    """
    told = dict(re.findall(r"^([^:\n]*[^:\s])\s*: *(.*)$", read("/proc/cpuinfo"), re.MULTILINE))
    name = next((told[key] for key in ("model name", "Hardware", "cpu model") if told.get(key)), None)
    name = " ".join(name.split()) if name else platform.processor() or platform.machine()
    if "cpu family" not in told:
        return name
    vectors = [label for flag, label in VECTORS.items() if flag in told.get("flags", "").split()]
    facts = [f"family {told['cpu family']}", f"model {told.get('model', '?')}", *vectors[:1]]
    return f"{name} ({', '.join(facts)})"


def affinity() -> frozenset[int]:
    """The logical processors that this process may run on."""
    try:
        return frozenset(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        return frozenset(range(os.cpu_count() or 1))


def busy_seconds(cpus: Iterable[int]) -> float | None:
    """Seconds that ``cpus`` have spent not idle since boot, all processes together; None where it is not told."""
    wanted, ticks = {f"cpu{cpu}" for cpu in cpus}, []
    for line in read("/proc/stat").splitlines():
        name, *fields = line.split()
        if name in wanted and len(fields) >= 8:
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
            ticks.append(user + nice + system + irq + softirq + steal)
    return sum(ticks) / os.sysconf("SC_CLK_TCK") if ticks else None


def cpu_mhz(cpus: Iterable[int] | None = None) -> float | None:
    """The clock rate in MHz of the fastest of ``cpus`` (those of this process) now; None where it is not told.

    The fastest, because the one that asks is at work and the others may be idle.
    """
    wanted = affinity() if cpus is None else cpus
    folder = "/sys/devices/system/cpu/cpu{}/cpufreq/scaling_cur_freq"
    rates = [int(text) / 1000 for cpu in wanted if (text := read(folder.format(cpu)).strip()).isdigit()]
    if not rates:
        blocks = re.findall(r"^processor\s*:\s*(\d+)$(.*?)(?=^processor|\Z)", read("/proc/cpuinfo"), re.M | re.S)
        told = {int(cpu): re.search(r"^cpu MHz\s*:\s*([\d.]+)$", text, re.M) for cpu, text in blocks}
        rates = [float(told[cpu].group(1)) for cpu in wanted if told.get(cpu)]
    return round(max(rates), 1) if rates else None


def load_average() -> list[float] | None:
    """The 1, 5 and 15 minute load averages."""
    try:
        return [round(value, 2) for value in os.getloadavg()]
    except OSError:
        return None


def memory_total_bytes() -> int | None:
    match = re.search(r"^MemTotal:\s*(\d+) kB", read("/proc/meminfo"), re.MULTILINE)
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


def high_water_bytes(field: str = "VmHWM", pid: int | str = "self") -> int | None:
    """A memory field of /proc/<pid>/status in bytes (VmHWM: the most that was ever resident)."""
    match = re.search(rf"^{field}:\s*(\d+) kB", read(f"/proc/{pid}/status"), re.MULTILINE)
    return int(match.group(1)) * 1024 if match else None


def address_space_limit(pid: int | str = "self") -> int | None:
    """Bytes that a process may map at most (ulimit -v); None where there is no limit, or none is told."""
    match = re.search(r"^Max address space\s+(\d+)", read(f"/proc/{pid}/limits"), re.MULTILINE)
    return int(match.group(1)) if match else None


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
    """What makes numbers comparable: CPU model and generation, cores used, GPU model if one is used, precisions.

    Not the clock rate, which drifts, and not the host's name, which changes.
    """
    places = {runtime.parse_device(name).index for name in devices if name.startswith("gpu")}
    used = [gpu["name"] for place, gpu in enumerate(environment["gpus"]) if place in places]
    return {
        "cpu": environment["cpu"]["model"],
        "cores": environment["cpu"]["cores_used"],
        "threads": environment["threads"],
        "gpu": " and ".join(dict.fromkeys(used)) or None,
        "dtypes": sorted(set(dtypes)),
    }


# --------------------------------------------------------------------------------------------------- warnings


def warnings_before(environment: Mapping[str, Any], load: list[float] | None) -> list[str]:
    """What, before anything is measured, makes the numbers less trustworthy; each a line for the report."""
    found, cores = [], environment["cpu"]["cores_used"]
    if load and load[0] > BUSY_CORES * cores:
        found.append(
            f"the machine was busy before the run (load average {load[0]:.2f} on {cores} cores): times may be too long"
        )
    return [*found, *oversubscription(environment["threads"], cores, environment.get("variables") or {})]


def oversubscription(threads: int, cores: int, variables: Mapping[str, str]) -> Iterator[str]:
    """A line for each setting that makes more threads than there are cores for them.

    Args:
        threads: of the engine's OpenMP (--threads, OMP_NUM_THREADS).
        cores: those that this process may use at once: affinity and quota.
        variables: environment variables by name.
    """
    if threads > cores:
        yield f"{threads} threads on {cores} cores: oversubscribed, times may be far too long"
    levels = [int(part) for part in variables.get("OMP_NUM_THREADS", "").split(",") if part.strip().isdigit()]
    if len(levels) > 1 and math.prod(levels) > max(cores, threads):
        yield (
            f"OMP_NUM_THREADS={variables['OMP_NUM_THREADS']}: {math.prod(levels)} nested threads on {cores} cores: "
            "oversubscribed, times may be far too long"
        )
    for name in OTHER_THREADS:
        count = variables.get(name, "").strip()
        if count.isdigit() and int(count) > cores:
            yield f"{name}={count} on {cores} cores: oversubscribed, times may be far too long"
    workers = variables.get("MXNET_CPU_WORKER_NTHREADS", "").strip()
    if workers.isdigit() and int(workers) > 1 and int(workers) * threads > cores:
        yield (
            f"MXNET_CPU_WORKER_NTHREADS={workers} workers of {threads} threads each on {cores} cores: oversubscribed, "
            "times may be far too long"
        )
    bound = bound_processors(variables)
    if bound is not None and bound < min(threads, cores):
        names = ("OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY")
        binding = " ".join(f"{name}={variables[name]}" for name in names if variables.get(name))
        yield (
            f"{threads} threads are bound to {bound} of {cores} cores ({binding}): they take turns, times may be "
            "far too long"
        )


def bound_processors(variables: Mapping[str, str]) -> int | None:
    """How many processors OpenMP's threads are bound to together; None where they are not bound, or to all.

    libgomp's rules: OMP_PLACES, or else GOMP_CPU_AFFINITY, names the places; OMP_PROC_BIND=false switches binding
    off, and master (or primary) puts every thread into the first one's place.
    """
    bind = variables.get("OMP_PROC_BIND", "").split(",")[0].strip().lower()
    if bind == "false":
        return None
    places = parse_places(variables.get("OMP_PLACES", ""))
    if places is None:
        places = [{cpu} for cpu in parse_processors(variables.get("GOMP_CPU_AFFINITY", ""))] or None
    if bind in ("master", "primary"):
        return len(places[0]) if places else 1
    return len(set().union(*places)) if places else None


def parse_places(text: str) -> list[set[int]] | None:
    """The places of OMP_PLACES: "{0,1},{2:2}", "{0}:4:2", "cores(2)"; None where it limits nothing or is not
    understood. An abstract place counts as one processor.
    """
    text = text.replace(" ", "")
    abstract = re.fullmatch(r"(threads|cores)\((\d+)\)", text.lower())
    if abstract:
        return [{place} for place in range(int(abstract.group(2)))] or None
    if not re.fullmatch(r"\{[\d:,]+\}(:\d+){0,2}(,\{[\d:,]+\}(:\d+){0,2})*", text):
        return None
    places = []
    for inner, count, stride in re.findall(r"\{([\d:,]+)\}(?::(\d+))?(?::(\d+))?", text):
        place = set()
        for part in inner.split(","):
            numbers = [int(number) for number in part.split(":") if number]
            first, length, step = (*numbers, *(0, 1, 1)[len(numbers) :])[:3]
            place |= {first + index * step for index in range(length)}
        repeats = [index * int(stride or 1) for index in range(int(count or 1))]
        places += [{cpu + offset for cpu in place} for offset in repeats]
    return places or None


def parse_processors(text: str) -> list[int]:
    """The processors of GOMP_CPU_AFFINITY: "0 3 1-2 4-15:2"; what is not understood is left out."""
    found = []
    for first, last, step in re.findall(r"(\d+)(?:-(\d+)(?::(\d+))?)?", text):
        found += range(int(first), int(last or first) + 1, int(step or 1) or 1)
    return found


def warnings_after(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the cells' records tell against their numbers; each a line for the report."""
    return [*busy(records), *drifted(records), *slowed(records), *unsettled(records)]


def busy(records: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Other processes that computed meanwhile."""
    known = [record["foreign_cores"] for record in records if record.get("foreign_cores") is not None]
    foreign = [cores for cores in known if cores > BUSY_CORES]
    if foreign:
        yield (
            f"busy machine: other processes used up to {max(foreign):.1f} cores on average while {len(foreign)} of "
            f"{len(known)} cells were measured; times may be too long"
        )


def drifted(records: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Times that went up or down while a cell was measured."""
    known = [(record["drift"], record.get("key", "?")) for record in records if record.get("drift") is not None]
    found = [(drift, key) for drift, key in known if abs(drift) > MOST_DRIFT]
    if found:
        drift, key = max(found, key=lambda pair: abs(pair[0]))
        yield (
            f"drift: the times changed steadily while {len(found)} of {len(known)} cells were measured, most by "
            f"{drift:+.0%} in {key}: heat, the clock rate, or the load of the machine"
        )


def slowed(records: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A processor whose clock rate fell while a cell was measured."""
    known = []
    for record in records:
        before, after = (record.get("info") or {}).get("cpu_mhz") or (None, None)
        if before and after:
            known.append((1 - after / before, before, after))
    found = [loss for loss in known if loss[0] > MOST_CLOCK_LOSS]
    if found:
        _, before, after = max(found)
        yield (
            f"clock rate: the processor slowed down while {len(found)} of {len(known)} cells were measured, most from "
            f"{before:.0f} to {after:.0f} MHz; times may be too long"
        )


def unsettled(records: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Cells whose warm-up was much too short: many of their first samples had to be left out."""
    known = [info for record in records if (info := record.get("info") or {}).get("timed_samples")]
    found = [info for info in known if info.get("dropped_samples", 0) > MOST_DROPPED * info["timed_samples"]]
    if found:
        worst = max(found, key=lambda info: info["dropped_samples"] / info["timed_samples"])
        yield (
            f"warm-up: the first times were still falling in {len(found)} of {len(known)} cells, and up to "
            f"{worst['dropped_samples']} of {worst['timed_samples']} samples of a cell were left out for that"
        )
