"""The processor and the memory that this process may use: affinity, control groups, /proc.

Every function takes the root of the file system, so that other machines can be made up.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path


def read(path: str | Path) -> str:
    """What a file of the system says; nothing where it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _cgroup_folders(controller: str, root: Path) -> Iterator[tuple[int, Path]]:
    """(version, folder) of this process's control group and of all its parents, which limit it just as well.

    In a container the path in /proc/self/cgroup may not exist below the mount; then its parents count.
    """
    base = root / "sys/fs/cgroup"
    for line in read(root / "proc/self/cgroup").splitlines():
        if line.count(":") < 2:
            continue
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        if controllers:
            version, mounts = 1, [base / controllers, base / controller]
        else:
            version, mounts = 2, [base, base / "unified"]
        mount = next((m for m in mounts if m.is_dir()), None)
        if mount is None:
            continue
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for depth in range(len(parts), -1, -1):
            folder = mount.joinpath(*parts[:depth])
            if folder.is_dir():
                yield version, folder


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Cores that the control groups (v1 or v2) grant this process, such as 1.5; None without a limit."""
    quotas = []
    for version, folder in _cgroup_folders("cpu", root):
        if version == 2:
            quota, period = (read(folder / "cpu.max").split() + ["", ""])[:2]
        else:
            quota, period = read(folder / "cpu.cfs_quota_us"), read(folder / "cpu.cfs_period_us")
        quota_us, period_us = _number(quota), _number(period)
        if quota_us and period_us and quota_us > 0 and period_us > 0:
            quotas.append(quota_us / period_us)
    return min(quotas, default=None)


def available_cores(root: Path = Path("/")) -> int:
    """Cores that this process may really use: its scheduling affinity, cut by the control groups' quota."""
    try:
        cores = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        cores = os.cpu_count() or 1
    quota = cpu_quota(root)
    if quota is not None:
        cores = min(cores, math.ceil(quota))
    return max(1, cores)


def memory_available_bytes(root: Path = Path("/")) -> int:
    """Bytes that can still be allocated: the kernel's MemAvailable, cut by what the control groups leave."""
    match = re.search(r"^MemAvailable:\s*(\d+) kB", read(root / "proc/meminfo"), re.MULTILINE)
    if match:
        available = int(match.group(1)) * 1024
    else:
        import psutil

        available = int(psutil.virtual_memory().available)
    for version, folder in _cgroup_folders("memory", root):
        names = ("max", "current") if version == 2 else ("limit_in_bytes", "usage_in_bytes")
        limit, used = (_number(read(folder / f"memory.{name}").strip()) for name in names)
        if limit is None or used is None:
            continue
        # Page cache that nobody uses is given back before anything fails.
        cache = re.search(r"^(?:total_)?inactive_file (\d+)", read(folder / "memory.stat"), re.MULTILINE)
        available = min(available, int(limit - used) + (int(cache.group(1)) if cache else 0))
    return max(0, available)


def oom_kills(root: Path = Path("/")) -> int | None:
    """How many processes the kernel has killed for want of memory, None where it is not told.

    Of this process's control group, those in groups below it included; of the whole machine where no group counts them.
    """
    counters = [
        folder / ("memory.events" if version == 2 else "memory.oom_control")
        for version, folder in _cgroup_folders("memory", root)
    ]
    for counter in (*counters[:1], root / "proc/vmstat"):
        found = re.search(r"^oom_kill (\d+)$", read(counter), re.MULTILINE)
        if found:
            return int(found.group(1))
    return None


def cpu_flags(root: Path = Path("/")) -> frozenset[str]:
    """What an x86 processor says that it can do, such as ``avx2``; empty where it is not told."""
    flags = re.search(r"^flags\s*:(.*)$", read(root / "proc/cpuinfo"), re.MULTILINE)
    return frozenset(flags.group(1).split() if flags else ())


def cpu_supports_bfloat16(root: Path = Path("/")) -> bool:
    """Whether the processor multiplies bfloat16 itself (AVX512_BF16 or AMX); emulated, it gains nothing."""
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(cpu_flags(root))


def cpu_lacks_avx512(root: Path = Path("/")) -> bool:
    """Whether the processor has AVX2, for which oneDNN has kernels, and no AVX-512."""
    flags = cpu_flags(root)
    return "avx2" in flags and "avx512f" not in flags
