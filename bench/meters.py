"""Clocks and memory meters; they run inside the worker, on what is measured, and cost nothing while it runs.

Host memory is the kernel's own high-water mark of the worker (VmHWM), which needs no polling. What the
numbers contain:

    import_baseline_bytes   resident after importing the engine: interpreter, engine, libraries; no net,
                            no picture
    peak_memory_bytes       the most that was resident during the measured part: the baseline, the weights of
                            the net or the descriptor, inputs, activations, what the allocator keeps. The mark
                            is reset after set-up, so that temporaries of loading do not count
    working_memory_bytes    peak_memory_bytes - import_baseline_bytes: what the method itself needs

On a GPU both are device memory: what the driver counts for this process (or, where it does not tell, what the
device holds more than before). The engine's pool never gives memory back, so that the value at the end is the
high-water mark. The baseline is then the value after the context was made.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.environment import high_water_bytes

clock = time.perf_counter

SECONDS, BYTES, PURE = "s", "B", "1"
WINDOW, TOLERANCE = 3, 0.05
LEAST_SAMPLES = 3


# ----------------------------------------------------------------------------------------------------- clocks


def timed(call: Callable[[], Any]) -> float:
    """Seconds that ``call`` takes. It must not return before its work is done (waitall)."""
    started = clock()
    call()
    return clock() - started


def is_stable(samples: list[float], window: int = WINDOW, tolerance: float = TOLERANCE) -> bool:
    """Whether the last ``window`` samples lie within ``tolerance`` of their median."""
    last = samples[-window:]
    return len(last) == window and max(last) - min(last) <= tolerance * statistics.median(last)


def warm_up(call: Callable[[], Any], max_seconds: float) -> list[float]:
    """Call until the times are stable or ``max_seconds`` are spent; the times returned are not samples."""
    times: list[float] = []
    started = clock()
    while not is_stable(times) and (not times or clock() - started < max_seconds):
        times.append(timed(call))
    return times


def sample(call: Callable[[], Any], min_samples: int, min_seconds: float, max_seconds: float) -> list[float]:
    """Times of successive calls: until ``min_samples`` and ``min_seconds`` are both reached.

    ``max_seconds`` ends it earlier, but not before LEAST_SAMPLES.
    """
    times: list[float] = []
    started = clock()
    while True:
        times.append(timed(call))
        spent = clock() - started
        if len(times) >= min_samples and spent >= min_seconds:
            return times
        if len(times) >= LEAST_SAMPLES and spent >= max_seconds:
            return times


# ----------------------------------------------------------------------------------------------------- memory


@dataclass(frozen=True)
class Memory:
    """What a meter read, in bytes; ``source`` says what was read."""

    peak: int
    working: int
    source: str
    details: dict[str, Any]


class HostMeter:
    """The high-water mark of this process. Make it right after the engine's import."""

    def __init__(self) -> None:
        self.baseline = high_water_bytes("VmRSS") or 0
        self.was_reset = False

    def start(self) -> None:
        """The measured part begins: give back what the set-up freed and forget its peak, where the system can."""
        gc.collect()
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
        self.was_reset = reset_peak()

    def read(self) -> Memory:
        """The peak since :meth:`start`."""
        peak = high_water_bytes() or 0
        details = {"import_baseline_bytes": self.baseline, "peak_reset": self.was_reset}
        return Memory(peak, max(0, peak - self.baseline), "VmHWM of the worker", details)


def reset_peak() -> bool:
    """Set VmHWM to what is resident now; False where the kernel does not allow it."""
    try:
        with open("/proc/self/clear_refs", "w") as stream:
            stream.write("5\n")
    except OSError:
        return False
    return True


class GpuMeter:
    """Memory of one GPU through NVML, for this process and for the whole device. Make it after the context is
    made.

    Args:
        index: NVML's index of the device.
        nvml: the module ``pynvml`` (nvidia-ml-py), or one that behaves like it.
    """

    def __init__(self, index: int, nvml: Any = None, pid: int | None = None):
        if nvml is None:
            import pynvml as nvml
        self.nvml = nvml
        self.pid = os.getpid() if pid is None else pid
        nvml.nvmlInit()
        self.handle = nvml.nvmlDeviceGetHandleByIndex(index)
        self.process_baseline = self.process_bytes()
        self.device_baseline = self.device_bytes()

    def process_bytes(self) -> int | None:
        """Bytes of this process; None where the driver does not tell (containers, some virtual machines)."""
        used = []
        for name in ("nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetGraphicsRunningProcesses"):
            with contextlib.suppress(self.nvml.NVMLError, AttributeError):
                used += [
                    process.usedGpuMemory
                    for process in getattr(self.nvml, name)(self.handle)
                    if process.pid == self.pid
                ]
        known = [value for value in used if value is not None]
        return max(known) if known else None

    def device_bytes(self) -> int:
        """Bytes in use on the whole device, by everybody."""
        return int(self.nvml.nvmlDeviceGetMemoryInfo(self.handle).used)

    def start(self) -> None:
        """The pool's high-water mark cannot be reset: set-up that outweighs the measured part would show."""

    def read(self) -> Memory:
        """What the pool holds now, which is the most that it ever held."""
        process, device = self.process_bytes(), self.device_bytes()
        details = {
            "process_bytes": process,
            "process_baseline_bytes": self.process_baseline,
            "device_bytes": device,
            "device_baseline_bytes": self.device_baseline,
        }
        if process is None:
            grown = max(0, device - self.device_baseline)
            return Memory(device, grown, "NVML, whole device", details)
        return Memory(process, max(0, process - (self.process_baseline or 0)), "NVML, this process", details)

    def close(self) -> None:
        with contextlib.suppress(self.nvml.NVMLError):
            self.nvml.nvmlShutdown()
