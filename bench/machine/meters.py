"""Clocks and memory meters; they run inside the worker, on what is measured, and cost nothing while it runs.

Engines compute behind the caller's back, so the meter owns the synchronisation: every reading of the clock comes
after ``synchronise()`` (waitall), and :func:`check_synchronised` proves that this was enough.

Host memory is the kernel's own high-water mark of the worker (VmHWM), which needs no polling and is reset after set-up;
where the system has none (macOS), no memory is reported. On a GPU memory is what the driver counts for this process or,
where it does not tell, what the device holds more than before. The engine's pool never gives memory back, so that the
value at the end is the high-water mark. :mod:`bench.analysis.metrics` says what each number contains.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import math
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.machine.environment import high_water_bytes

clock = time.perf_counter

SECONDS, BYTES, JOULES, PURE = "s", "B", "J", "1"
WINDOW, TOLERANCE = 3, 0.05
LEAST_SAMPLES = 3
LATE_RATIO, LATE_SECONDS = 1.3, 0.005
REPETITIONS, ENOUGH_HONEST, BRACKET, MOST_CALLS = 5, 2, 3, 20
SIGNIFICANCE, LEAST_POINTS, MOST_POINTS = 3.0, 10, 40


class NotSynchronised(Exception):
    """The clock was read before the work was done: the samples are worth nothing."""


# ----------------------------------------------------------------------------------------------------- clocks


def nothing() -> None:
    """The ``synchronise`` of work that is done when its call returns."""


def timed(call: Callable[[], Any], synchronise: Callable[[], Any] = nothing) -> float:
    """Seconds from the call to its last finished operation; ``synchronise`` waits until all work is done."""
    synchronise()
    started = clock()
    call()
    synchronise()
    return clock() - started


def is_stable(samples: Sequence[float]) -> bool:
    """Whether the last WINDOW samples lie within TOLERANCE of their median."""
    last = samples[-WINDOW:]
    return len(last) == WINDOW and max(last) - min(last) <= TOLERANCE * statistics.median(last)


def warm_up(call: Callable[[], Any], max_seconds: float, synchronise: Callable[[], Any] = nothing) -> list[float]:
    """Call until the times are stable or ``max_seconds`` are spent; the times returned are not samples."""
    times: list[float] = []
    started = clock()
    while not is_stable(times) and (not times or clock() - started < max_seconds):
        times.append(timed(call, synchronise))
    return times


def sample(
    call: Callable[[], Any],
    min_samples: int,
    min_seconds: float,
    max_seconds: float,
    synchronise: Callable[[], Any] = nothing,
    turn: Callable[[], bool] = bool,
) -> list[float]:
    """Seconds of successive calls: until ``min_samples`` and ``min_seconds`` are both reached.

    ``max_seconds`` ends it earlier, but not before LEAST_SAMPLES. ``turn`` is called before each call, off the clock;
    the first call after it returned True is no sample.
    """
    times: list[float] = []
    spent = 0.0
    while True:
        if turn():
            timed(call, synchronise)
        times.append(timed(call, synchronise))
        spent += times[-1]
        if len(times) >= min_samples and spent >= min_seconds:
            return times
        if len(times) >= LEAST_SAMPLES and spent >= max_seconds:
            return times


# -------------------------------------------------------------------------------------------- synchronisation


def materialised(call: Callable[[], Any], finish: Callable[[Any], Any], calls: int) -> float:
    """Seconds of ``calls`` calls back to back until the last result lies on the host, less the copying, which is what
    bringing it there once more takes (the shorter of two times).
    """
    started = clock()
    for _ in range(calls):
        result = call()
    finish(result)
    ready = clock()
    copying = min(timed(lambda: finish(result)) for _ in range(2))
    return max(0.0, ready - started - copying)


def check_synchronised(
    call: Callable[[], Any],
    synchronise: Callable[[], Any],
    finish: Callable[[Any], Any],
    samples: Sequence[float],
) -> None:
    """Raise NotSynchronised if results come clearly later than ``samples`` (seconds a call) say.

    Costs a tenth of the samples at most, or one call. Only where that looks late it is asked again and again, each
    time between fresh samples, so that a machine that has become busy is not mistaken for a clock that lies; and it
    must look honest ENOUGH_HONEST times, so that one call that was held up does not excuse a clock that lies.

    Args:
        finish: takes what ``call`` returns and brings it to the host; it must not return before that is there.
    """
    calls = max(1, min(MOST_CALLS, len(samples) // 10))
    claimed = statistics.median(samples)
    if not is_late(materialised(call, finish, calls), calls, claimed):
        return
    found, honest = [], 0
    for _ in range(REPETITIONS):
        fresh = [timed(call, synchronise) for _ in range(BRACKET)]
        finish(call())  # what was queued until now is not counted
        seconds = materialised(call, finish, calls)
        fresh += [timed(call, synchronise) for _ in range(BRACKET)]
        finish(call())
        if is_late(seconds, calls, max(claimed, *fresh)):
            found.append(seconds / calls)
        else:
            honest += 1
        if honest == ENOUGH_HONEST:
            return
    raise NotSynchronised(
        f"not synchronised: samples say {milliseconds(claimed)} a call, "
        f"the results took {milliseconds(statistics.median(found))} a call"
    )


def milliseconds(seconds: float) -> str:
    """For people: "0.2 ms", "65.1 ms", "1,234 ms"."""
    value = 1e3 * seconds
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.3g} ms"


def is_late(seconds: float, calls: int, claimed: float) -> bool:
    """Whether ``seconds`` for so many calls are clearly more than ``claimed`` seconds a call."""
    expected = calls * claimed
    return seconds > LATE_RATIO * expected and seconds - expected > LATE_SECONDS


# ------------------------------------------------------------------------------------------ warm-up and drift


def settled(samples: Sequence[float]) -> int:
    """How many leading samples to drop because they are still slower than what comes after; at most half.

    Slower: beyond the second half's median by more than TOLERANCE and by more than its noise (three scaled median
    absolute deviations). The first sample that is not ends the warm-up; a slow one after it stays. Fewer than
    2 * LEAST_SAMPLES samples are too few to tell.
    """
    if len(samples) < 2 * LEAST_SAMPLES:
        return 0
    half = len(samples) // 2
    rest = samples[half:]
    typical = statistics.median(rest)
    noise = 1.4826 * statistics.median(abs(value - typical) for value in rest)
    limit = typical + max(TOLERANCE * typical, 3 * noise)
    return next((index for index in range(half) if samples[index] <= limit), half)


def drift(samples: Sequence[float]) -> float:
    """Relative change of the times from the first sample to the last, 0.0 where it is no more than noise.

    0.1: the calls became 10 % slower while they were sampled. The slope is Theil and Sen's, the median of the slopes
    of all pairs; it counts only if Mann and Kendall's test finds it beyond SIGNIFICANCE standard deviations.
    Fewer than LEAST_POINTS samples are too few to tell; of more than MOST_POINTS, medians of successive ones count.
    """
    count = min(len(samples), MOST_POINTS)
    parts = (slice(part * len(samples) // count, (part + 1) * len(samples) // count) for part in range(count))
    points = [statistics.median(samples[part]) for part in parts]
    if count < LEAST_POINTS or statistics.median(points) <= 0:
        return 0.0
    pairs = [(points[later] - points[first], later - first) for later in range(count) for first in range(later)]
    trend = sum((change > 0) - (change < 0) for change, _ in pairs)
    if abs(trend) <= SIGNIFICANCE * math.sqrt(count * (count - 1) * (2 * count + 5) / 18):
        return 0.0
    slope = statistics.median(change / distance for change, distance in pairs)
    return slope * (count - 1) / statistics.median(points)


# ----------------------------------------------------------------------------------------------------- memory


@dataclass(frozen=True)
class Memory:
    """What a meter read, in bytes, None where the system does not tell; ``source`` says what was read, ``samples`` are
    further metrics of the cell.
    """

    peak: int | None
    working: int | None
    source: str
    details: dict[str, Any]
    samples: dict[str, int] = field(default_factory=dict)


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
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5\n")  # VmHWM is what is resident now
            self.was_reset = True

    def read(self) -> Memory:
        """The peak since :meth:`start`."""
        peak = high_water_bytes()
        if peak is None:
            return Memory(None, None, "no VmHWM on this system", {})
        details = {"import_baseline_bytes": self.baseline, "peak_reset": self.was_reset}
        return Memory(peak, max(0, peak - self.baseline), "VmHWM of the worker", details)


class GpuMeter:
    """Memory of one GPU through NVML, for this process and for the whole device, and through the engine for its
    pool. Make it after the context is made.

    Args:
        index: NVML's index of the device.
        nvml: the module ``pynvml`` (nvidia-ml-py), or one that behaves like it.
        device_memory: the engine's own (free, total) bytes of the whole device; None: it is not asked.
        empty_cache: waits for all work and gives the free blocks of the engine's pool back to the device.
    """

    def __init__(
        self,
        index: int,
        nvml: Any = None,
        pid: int | None = None,
        device_memory: Callable[[], tuple[int, int]] | None = None,
        empty_cache: Callable[[], Any] = nothing,
    ):
        if nvml is None:
            import pynvml as nvml
        self.nvml = nvml
        self.pid = os.getpid() if pid is None else pid
        self._device_memory, self._empty_cache = device_memory, empty_cache
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

    def pool(self) -> dict[str, int]:
        """What the engine says is in use on the device, and how much of it its pool only kept; empties the pool."""
        if self._device_memory is None:
            return {}
        before = self._used()
        self._empty_cache()
        return {"mxnet_used_bytes": before, "mxnet_pool_cached_bytes": max(0, before - self._used())}

    def _used(self) -> int:
        free, total = self._device_memory()
        return int(total - free)

    def read(self) -> Memory:
        """What the pool holds now, which is the most that it ever held. Read it once: the pool is empty then."""
        process, device = self.process_bytes(), self.device_bytes()
        details = {
            "process_bytes": process,
            "process_baseline_bytes": self.process_baseline,
            "device_bytes": device,
            "device_baseline_bytes": self.device_baseline,
            **self.pool(),
        }
        if process is None:
            grown = max(0, device - self.device_baseline)
            return Memory(device, grown, "NVML, whole device", details)
        return Memory(process, max(0, process - (self.process_baseline or 0)), "NVML, this process", details)
