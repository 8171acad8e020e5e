"""One worker process, or several in turns, from its start to the death of its last descendant.

The worker leads a session and process group of its own. It reports over a pipe of its own as JSON lines, so
that what libraries print cannot corrupt the protocol; its standard output and error go to a log file.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.machine import environment
from bench.run.outcome import OUTSIDE_SIGNALS, Outcome, classify, parse_event
from nst_gluon.system import children, ending, machine
from nst_gluon.system.files import open_regular, reading

RUN_MARK, CELL_MARK = "NST_BENCH_RUN", "NST_BENCH_CELL"

LONGEST_LINE, TAIL = 1 << 20, 4096  # bytes: of an event, and of the end of a log
TICK_S, FIRST_TICK_S, FIRST_TICKS = 0.2, 0.02, 50


class Worker:
    """A running worker. Use :func:`run_worker`; this class keeps its pieces together."""

    def __init__(self, command: Sequence[str], spec: Mapping[str, Any], log_path: Path, marks: Mapping[str, str]):
        self.token = secrets.token_hex(8)
        read, write = os.pipe()
        environ = {**children.environment(), **marks, CELL_MARK: self.token, "PYTHONUNBUFFERED": "1"}
        try:
            with os.fdopen(open_regular(log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, follow=False), "ab") as log:
                self.process = subprocess.Popen(
                    [*command, "--pipe", str(write)],
                    stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT,
                    pass_fds=(write,), start_new_session=True, env=environ,
                )  # fmt: skip
        except BaseException:
            os.close(read)
            raise
        finally:
            os.close(write)
        os.set_blocking(read, False)
        self.pipe = read
        self.closed = False
        self.buffer = b""
        self.overlong = False
        self.garbage = 0
        self.exit_code: int | None = None
        self.cpu_seconds = 0.0
        self.waits, self.mapped = 0, 0
        self.limit: int | None = None
        # A worker that dies at once closes its end; the exit code says why.
        self._tell(json.dumps(spec).encode() + b"\n")
        if not spec.get("turns"):
            self._close_input()

    def _tell(self, data: bytes) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(data)
            self.process.stdin.flush()

    def _close_input(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()

    def turn(self) -> None:
        """Let a worker that waits for its turn go on."""
        self._tell(b"\n")

    def events(self) -> list[dict[str, Any]]:
        """The events that have arrived and were not taken yet. Never blocks."""
        arrived = []
        while True:
            try:
                data = os.read(self.pipe, 1 << 16)
            except (BlockingIOError, InterruptedError):
                break
            if not data:
                self.closed = True
                break
            *lines, self.buffer = (self.buffer + data).split(b"\n")
            for line in lines:
                event = None if self.overlong else parse_event(line)
                self.overlong = False
                if event is not None:
                    arrived.append(event)
                elif line.strip():
                    self.garbage += 1
            if len(self.buffer) > LONGEST_LINE:
                self.buffer, self.overlong = b"", True
            if len(arrived) > 10_000:  # let the caller look at its clock in between
                break
        return arrived

    def ended(self) -> bool:
        """Whether the worker itself has ended. It is not reaped yet, so its group's number is not another's."""
        return os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def look(self) -> None:
        """Note the limit of the worker's address space, if it has one, and how much of it was ever mapped."""
        self.limit = environment.address_space_limit(self.process.pid) or self.limit
        if self.limit is not None:
            self.mapped = max(self.mapped, environment.high_water_bytes("VmPeak", self.process.pid) or 0)

    def signal_group(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)

    def wait(self) -> None:
        """Sleep until something has arrived, or a moment has passed: a short one while libraries are loaded."""
        ending.check()
        self.waits += 1
        moment = FIRST_TICK_S if self.closed or self.waits <= FIRST_TICKS else TICK_S
        if self.closed:
            time.sleep(moment)
        else:
            select.select([self.pipe], [], [], moment)

    def terminate(self, grace_s: float) -> None:
        """SIGTERM to the group, and SIGKILL if the worker has not ended ``grace_s`` later."""
        self.signal_group(signal.SIGTERM)
        until = time.monotonic() + grace_s
        while time.monotonic() < until and not self.ended():
            time.sleep(0.02)
        self.signal_group(signal.SIGKILL)
        while not self.ended():
            time.sleep(0.01)

    def finish(self) -> int:
        """Kill whatever is left of the worker and its descendants, and reap it; how many descendants there were."""
        stragglers = set(marked_processes(CELL_MARK, self.token)) - {self.process.pid}
        self.signal_group(signal.SIGKILL)
        _, status, usage = os.wait4(self.process.pid, 0)
        self.exit_code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        self.process.returncode = self.exit_code
        self.cpu_seconds = usage.ru_utime + usage.ru_stime
        kill_marked(CELL_MARK, self.token)  # those that left the group
        if self.buffer.strip() or self.overlong:  # half a line
            self.garbage += 1
        os.close(self.pipe)
        self._close_input()
        return len(stragglers)


def marked_processes(name: str, value: str) -> list[int]:
    """Processes (of this user) whose environment holds name=value: ours, wherever they went."""
    mark = f"{name}={value}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environ = (folder / "environ").read_bytes()
        except OSError:
            continue
        if mark in environ.split(b"\0") and int(folder.name) != os.getpid():
            found.append(int(folder.name))
    return found


def kill_marked(name: str, value: str) -> None:
    """SIGKILL to all of :func:`marked_processes`."""
    for pid in marked_processes(name, value):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


@dataclass(frozen=True)
class Start:
    """What a worker is started with.

    Args:
        command: how to start it; "--pipe FD" is appended. It gets ``spec`` as one JSON line on standard input.
        timeout_s: after this, its whole process group gets SIGTERM, and after ``grace_s`` more SIGKILL. What it waits
            for its turn does not count.
        marks: extra environment variables.
        on_event, on_tick: called for each event, and several times a second.
    """

    command: Sequence[str]
    spec: Mapping[str, Any]
    timeout_s: float
    log_path: Path
    marks: Mapping[str, str] | None = None
    on_event: Callable[[dict[str, Any]], None] | None = None
    on_tick: Callable[[], None] | None = None
    grace_s: float = 5.0


class Running:
    """A worker that runs: :meth:`go_on` until it waits or has ended, :meth:`close` it, and then :meth:`outcome`."""

    def __init__(self, start: Start):
        self.start, self.kills, self.started = start, machine.oom_kills(), time.monotonic()
        self.log_start = start.log_path.stat().st_size if start.log_path.exists() else 0
        spec = {**start.spec, "parent": os.getpid(), "spawned_monotonic": self.started}
        self.worker = Worker(start.command, spec, start.log_path, start.marks or {})
        self.found = Outcome("error")
        self.result: dict[str, Any] | None = None
        self.timed_out: float | None = None
        self.deadline = self.started + start.timeout_s
        self.waits_since: float | None = None
        self.waited, self.closed = 0.0, False

    def go_on(self) -> bool:
        """Give it its turn, if it waits for one, until it waits for the next (True) or has ended (False)."""
        if self.waits_since is not None:
            waited, self.waits_since = time.monotonic() - self.waits_since, None
            self.deadline += waited
            self.waited += waited
            self.worker.turn()
        while True:
            ended = self.worker.ended()  # asked before reading, so that nothing it wrote is missed
            self.worker.look()
            for event in self.worker.events():
                self._take(event)
            if ended:
                return False
            if self.waits_since is not None:
                return True
            if self.start.on_tick:
                self.start.on_tick()
            if time.monotonic() > self.deadline:
                self.timed_out = self.start.timeout_s if self.result is None else None
                self.worker.terminate(self.start.grace_s)
            else:
                self.worker.wait()

    def _take(self, event: dict[str, Any]) -> None:
        if event["event"] == "turn":
            if self.start.spec.get("turns"):
                self.waits_since = time.monotonic()
            else:
                self.worker.garbage += 1
        elif event["event"] != "result":
            self.found.record(event)
        elif self.result is None:
            self.result = event
            self.deadline = min(self.deadline, time.monotonic() + self.start.grace_s)  # it has said all: let it go
        if self.start.on_event:
            self.start.on_event(event)

    def close(self) -> None:
        """Kill what is left of it, if anything is. A second call does nothing."""
        if not self.closed:
            self.closed = True
            self.found.stragglers = self.worker.finish()
            self.found.duration_s = time.monotonic() - self.started - self.waited

    def outcome(self) -> Outcome:
        """What became of it."""
        worker, found, kills = self.worker, self.found, machine.oom_kills()
        found.exit_code, found.garbage_lines = worker.exit_code, worker.garbage
        kernel_kills = None if self.kills is None or kills is None else kills - self.kills
        status, found.reason, found.crashed = classify(
            worker.exit_code, self.result, _tail(self.start.log_path, self.log_start), self.timed_out, kernel_kills,
            worker.limit, worker.mapped, found.ready,
        )  # fmt: skip
        found.killed = found.crashed and -found.exit_code in OUTSIDE_SIGNALS
        if found.killed:
            found.reason += "; --resume tries it again"
        found.user_error = status == "user_error"
        found.status = "error" if found.user_error else status
        found.info = dict(self.result.get("info", {})) if self.result else {}
        return found


def run_worker(command: Sequence[str], spec: Mapping[str, Any], **more: Any) -> Outcome:
    """Run one worker to its end and say what became of it. Never raises for what the worker does.

    The arguments are those of :class:`Start`. An exception in here (Ctrl-C) kills the worker's group before it goes on.
    """
    return run_in_turns([Start(command, spec, **more)])[0]


def run_in_turns(starts: Sequence[Start]) -> list[Outcome]:
    """Run workers to their ends, of which only one computes at a time, and say what became of each.

    One is started after the other. Those that are told to (``turns`` in their spec) wait before they are timed, and
    then take turns of a moment each (:meth:`bench.engines.context.Context.turn`), to and fro: A B B A. Whatever slows
    the machine down meanwhile slows all of them down alike. Any other runs to its end before the next is started.
    """
    cores = environment.affinity()
    busy, own_cpu, began = environment.busy_seconds(cores), time.process_time(), time.monotonic()
    running: list[Running] = []

    def goes_on(one: Running) -> bool:
        waits = one.go_on()
        if not waits:
            one.close()  # what it left behind would compute during the turns of the others
        return waits

    with contextlib.ExitStack() as stack:
        for start in starts:
            running.append(Running(start))
            stack.callback(running[-1].close)
            goes_on(running[-1])
        waiting = [one for one in running if not one.closed]
        while waiting:
            waiting = [one for one in waiting if goes_on(one)][::-1]
    outcomes, seconds, busy_after = [one.outcome() for one in running], time.monotonic() - began, None
    if busy is not None and seconds > 1.0:
        busy_after = environment.busy_seconds(cores)
    if busy_after is not None:
        own = sum(one.worker.cpu_seconds for one in running) + time.process_time() - own_cpu
        for outcome in outcomes:
            outcome.foreign_cores = max(0.0, (busy_after - busy - own) / seconds)
    return outcomes


def _tail(path: Path, start: int) -> str:
    """The end of a log, as far as it was written after byte ``start``."""
    try:
        with reading(path, follow=False) as log:
            end = log.seek(0, os.SEEK_END)
            log.seek(max(start, end - TAIL))
            return log.read().decode("utf-8", errors="replace")
    except OSError:
        return ""


def worker_command(program: str | None = None) -> list[str]:
    """How to start the real worker with the Python ``program``; None: the one that runs this."""
    return children.python("bench.run.worker", program=program)
