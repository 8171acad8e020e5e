"""What became of a worker: what it said over its pipe, and what its end means. Imports no engine."""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nst_gluon.objective.loss_terms import TERMS

OOM_PHRASES = (
    "MemoryError", "bad_alloc", "Cannot allocate memory", "out of memory", "cudaErrorMemoryAllocation",
    "CUDNN_STATUS_ALLOC_FAILED", "ENOMEM", "Failed to allocate CPU Memory", "Unable to allocate",
    "failed to map segment from shared object", "could not create a memory object",
)  # fmt: skip
# What engine and libraries say when they cannot map memory, and on other occasions too: they count under a limit of the
# address space only. The first is a thread that cannot be started for want of a stack.
LIMITED_PHRASES = ("Resource temporarily unavailable", "could not create a", "could not execute a primitive")
# How a process ends whose C++ threads cannot allocate; MXNet's handler of SIGSEGV turns it into exit status 255.
FATAL_SIGNALS = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL)
FATAL_EXIT, FATAL_WORDS = 255, "Segmentation fault"
# What no program does to itself.
OUTSIDE_SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
NEAR_LIMIT, AT_LIMIT = 0.5, 0.9  # of the address space that a crash, and a hang, are put down to; OpenBLAS hangs
STARTING = 1 << 30  # bytes of address space; with fewer, Python and its libraries may not even start

# Fields that an event must have, and whether each is a finite number or a text.
EVENTS: dict[str, dict[str, type]] = {
    "ready": {},
    "progress": {},
    "turn": {},
    "sample": {"metric": str, "unit": str, "value": float},
    "curve": dict.fromkeys(("seconds", "iteration", *TERMS), float),
    "image": {"path": str},
    "result": {"status": str},
}
RESULTS = ("ok", "oom", "error", "user_error", "disk_full")


@dataclass
class Outcome:
    """What became of a worker.

    ``status`` is ok, oom, timeout, error or disk_full; ``ready`` says that it got through its imports, ``crashed`` that
    it ended without reporting a result, which a retry may cure, and ``killed`` that somebody ended it.
    A sample is (metric, unit, value, photo), a point of a curve (seconds, iteration, objective, content, style, tv,
    photo); the photo is empty for what belongs to none. ``foreign_cores`` is the processor time that
    others used meanwhile, in cores; None if unknown.
    """

    status: str
    reason: str = ""
    crashed: bool = False
    killed: bool = False
    user_error: bool = False
    samples: list[tuple[Any, ...]] = field(default_factory=list)
    curve: list[tuple[Any, ...]] = field(default_factory=list)
    image: str | None = None
    ready: bool = False
    info: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None
    garbage_lines: int = 0
    stragglers: int = 0
    duration_s: float = 0.0
    foreign_cores: float | None = None

    def record(self, event: Mapping[str, Any]) -> None:
        """Take in what an event (of :func:`parse_event`) measured."""
        if event["event"] == "sample":
            self.samples.append((event["metric"], event["unit"], float(event["value"]), str(event.get("photo", ""))))
        elif event["event"] == "curve":
            terms = (float(event[name]) for name in TERMS)
            photo = str(event.get("photo", ""))
            self.curve.append((float(event["seconds"]), int(event["iteration"]), *terms, photo))
        elif event["event"] == "image":
            self.image = event["path"]
        elif event["event"] == "ready":
            self.ready = True

    def scores(self) -> dict[str, list[float]]:
        """The objectives of finished pictures by photo; those of a texture's draws by ""."""
        found: dict[str, list[float]] = {}
        for metric, _, value, photo in self.samples:
            if metric == "objective":
                found.setdefault(photo, []).append(value)
        return found


def parse_event(line: bytes) -> dict[str, Any] | None:
    """A line of the protocol as a dict, or None for anything that is not one: garbage, half a line, NaN."""
    try:
        event = json.loads(line.decode("utf-8"), parse_constant=_reject)
        fields = EVENTS[event["event"]]
        for name, kind in fields.items():
            value = event[name]
            if kind is str and not isinstance(value, str):
                return None
            if kind is float and (
                isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value)
            ):
                return None
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
        return None
    if event["event"] == "result" and (event["status"] not in RESULTS or not isinstance(event.get("info", {}), dict)):
        return None
    return event


def _reject(name: str) -> float:
    raise ValueError(name)


def out_of_memory_phrase(text: str, limited: bool = False) -> str | None:
    """What in ``text`` says that memory could not be had; None if nothing does.

    ``limited``: the process's address space is limited, see LIMITED_PHRASES.
    """
    phrases = (*OOM_PHRASES, *LIMITED_PHRASES) if limited else OOM_PHRASES
    return next((phrase for phrase in phrases if phrase.lower() in text.lower()), None)


def classify(
    exit_code: int,
    result: Mapping[str, Any] | None,
    log_tail: str,
    timed_out: float | None = None,
    kernel_kills: int | None = None,
    limit: int | None = None,
    mapped: int = 0,
    ready: bool = True,
) -> tuple[str, str, bool]:
    """(status, reason, crashed) of an ended worker.

    Args:
        exit_code: as subprocess gives it, negative for a signal.
        result: the result event, if one came.
        log_tail: the end of what it printed.
        timed_out: seconds after which we killed it, None if we did not.
        kernel_kills: processes here that the kernel killed meanwhile for want of memory, None if unknown. A SIGKILL
            without one came from somebody.
        limit, mapped: the limit of its address space in bytes, if it had one, and the most that it was seen to map.
        ready: whether it got through its imports. Under a limit that is too small for them it ends in any way at all,
            and too soon to be watched.
    """
    if result is not None:
        return result["status"], " ".join(str(result.get("reason", "")).split()), False
    near_limit = limit is not None and mapped > NEAR_LIMIT * limit
    starved = limit is not None and limit < STARTING and not ready
    space = f"the limit of {limit / 1e6:,.0f} MB, most likely for want of memory" if limit is not None else ""
    phrase = out_of_memory_phrase(log_tail, near_limit)
    if timed_out is not None:
        if phrase:
            return "oom", f"out of memory ({phrase}), and then no result; killed after {timed_out:.0f} s", False
        if limit is not None and mapped > AT_LIMIT * limit:
            return "oom", f"no result after {timed_out:.0f} s at {space}; killed", False
        return "timeout", f"no result after {timed_out:.0f} s; killed", False
    if exit_code == -signal.SIGKILL and kernel_kills:
        return "oom", "killed by the kernel for want of memory", False
    if phrase and exit_code != 0:
        return "oom", f"out of memory ({phrase})", False
    if exit_code == 0:
        return "error", "ended with exit status 0 but without a result", True
    what = f"killed by {_signal_name(-exit_code)}" if exit_code < 0 else f"exit status {exit_code}"
    fatal = -exit_code in FATAL_SIGNALS or (exit_code == FATAL_EXIT and FATAL_WORDS in log_tail)
    if (near_limit and fatal) or (starved and -exit_code not in OUTSIDE_SIGNALS):
        return "oom", f"{what} near {space}", False
    last = next((line.strip() for line in reversed(log_tail.splitlines()) if line.strip()), "")
    return "error", f"crashed: {what}" + (f": {last[:200]}" if last else ""), True


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
