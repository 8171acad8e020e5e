"""A worker that measures nothing and misbehaves on request: ``python fake_worker.py MODES --pipe FD``.

MODES is JSON: a mode by cell key, and "*" for all others. Every start is recorded in starts.txt of the run directory.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path


def main() -> None:
    modes, pipe = json.loads(sys.argv[1]), int(sys.argv[3])
    spec = json.loads(sys.stdin.readline())
    cell, run_dir = spec["cell"], Path(spec["run_dir"])
    device = cell["device"].replace(":", "")
    key = "-".join([cell["engine"], cell["method"], cell["task"], str(cell["size"]), f"b{cell['batch']}",
                    cell["dtype"], device, f"s{cell['seed']}"])  # fmt: skip
    with open(run_dir / "starts.txt", "a") as starts:
        starts.write(f"{key} {os.getpid()}\n")

    def emit(event: str, **fields: object) -> None:
        os.write(pipe, json.dumps({"event": event, **fields}).encode() + b"\n")

    def measure(pause: float = 0.0) -> None:
        if cell["kind"] == "generate":
            for value in (0.1, 0.2, 0.3):
                emit("sample", metric="latency_s", unit="s", value=value)
                time.sleep(pause)
            emit("sample", metric="objective", unit="1", value=100.0 + cell["seed"])
        else:
            for iteration in range(5):
                emit("curve", seconds=0.5 * iteration, iteration=iteration, objective=1000.0 / (iteration + 1),
                     content=1.0, style=2.0, tv=0.0)  # fmt: skip
                time.sleep(pause)

    def ok(pause: float = 0.0) -> None:
        measure(pause)
        emit("result", status="ok", info={"pid": os.getpid(), "targets": spec["targets"]})

    def drifting() -> None:
        for number in range(12):
            emit("sample", metric="latency_s", unit="s", value=0.1 + 0.005 * number)
        emit("sample", metric="objective", unit="1", value=100.0)
        emit("result", status="ok", info={"cpu_mhz": [3000.0, 2400.0], "timed_samples": 24, "dropped_samples": 12})

    def crash_once() -> None:
        if (run_dir / "starts.txt").read_text().count(f"{key} ") == 1:
            emit("sample", metric="latency_s", unit="s", value=99.0)
            os._exit(3)
        ok()

    def memory_error() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (400 << 20, 400 << 20))
        hoard = []
        while True:
            hoard.append(bytearray(16 << 20))

    def child(new_session: bool) -> None:
        sleeper = subprocess.Popen(["sleep", "300"], start_new_session=new_session)
        (run_dir / "child.txt").write_text(str(sleeper.pid))
        ok()

    def hang(ignore: bool) -> None:
        if ignore:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        measure()
        time.sleep(300)

    def garbage() -> None:
        os.write(pipe, b'not json\n\xff\xfe\x00\n[1,2]\n{"event":"sample"}\n')
        os.write(pipe, b'{"event":"sample","metric":"latency_s","unit":"s","value":NaN}\n')
        print('{"event":"result","status":"error"}', flush=True)
        ok()
        os.write(pipe, b'{"event":"sample","metric":"lat')

    def flood() -> None:
        for _ in range(64):
            os.write(pipe, b"x" * (1 << 16))
        os.write(pipe, b"\n")
        ok()

    def kill_parent(file: str, times: str) -> None:
        """End whoever started this, until ``times`` of it are in ``file``; and stay behind."""
        with open(file, "a+") as deaths:
            deaths.seek(0)
            if len(deaths.readlines()) >= int(times):
                return ok()
            deaths.write(f"{key} {os.getpid()}\n")
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(300)

    def after_result() -> None:
        ok()
        time.sleep(300)

    actions = {
        "ok": ok,
        "slow": lambda: ok(0.02),
        "drifting": drifting,
        "crash": lambda: (print("it broke", file=sys.stderr, flush=True), os._exit(3)),
        "crash_once": crash_once,
        "segfault": lambda: os.kill(os.getpid(), signal.SIGSEGV),
        "sigkill": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "silent": lambda: None,
        "half": lambda: os.write(pipe, b'{"event":"result","sta'),
        "hang": lambda: hang(False),
        "stubborn": lambda: hang(True),
        "memory_error": memory_error,
        "child": lambda: child(False),
        "stray": lambda: child(True),
        "garbage": garbage,
        "flood": flood,
        "after_result": after_result,
        "kill_parent": kill_parent,
        "oom": lambda: emit("result", status="oom", reason="out of memory"),
        "user_error": lambda: emit("result", status="user_error", reason="net: wrong"),
        "disk_full": lambda: emit("result", status="disk_full", reason="no space"),
    }
    mode, *arguments = modes.get(key, modes.get("*", "ok")).split()
    actions[mode](*arguments)


if __name__ == "__main__":
    main()
