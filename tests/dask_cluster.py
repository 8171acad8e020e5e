"""A Dask cluster of real processes without nannies, as a batch system makes it: ``python dask_cluster.py WORKERS``.

Prints one line of JSON, {"address", "scheduler": its process}, replaces every worker that dies, and ends, with all of
them, when its standard input is closed. The processes are forked from one that has imported everything: a worker is
there within a moment, and 64 of them take little memory. ``python dask_cluster.py WORKERS SCALE FOLDER`` simulates:
cells sleep as :func:`seconds_of` says, and those that :func:`dies` names take their worker with them, once. ``python
dask_cluster.py WORKERS kinds``: each worker is another kind of machine, by its number of threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.plan.budgets import BUDGETS
from bench.plan.cells import Cell
from bench.plan.durations import estimate_s

QUIET = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "10s",
    "distributed.scheduler.idle-timeout": None,
}
DEATHS = 0.05


# ------------------------------------------------------------------------------------------------ for the tests


@contextlib.contextmanager
def running(workers: int, *arguments: object) -> Iterator[dict]:
    """A cluster while the block runs: {"address", "scheduler"}."""
    root = Path(__file__).resolve().parent
    path = os.pathsep.join([str(root.parent), str(root)])
    command = [sys.executable, str(Path(__file__).resolve()), str(workers), *map(str, arguments)]
    host = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                            env={**os.environ, "PYTHONPATH": path}, start_new_session=True)  # fmt: skip
    try:
        yield json.loads(host.stdout.readline())
    finally:
        with contextlib.suppress(BrokenPipeError):
            host.stdin.close()
        try:
            host.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(host.pid, signal.SIGKILL)
            host.wait()


# ------------------------------------------------------------------------------------------------ the simulation


def _chance(text: str) -> float:
    """A number from 0 to 1 that belongs to a text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") / 2**32


def seconds_of(cell: Cell, scale: float) -> float:
    """How long a cell takes: about ``scale`` times the estimate, up to a fifth more or less."""
    return scale * estimate_s(cell, BUDGETS["quick"]) * (0.8 + 0.4 * _chance(cell.key))


def dies(key: str) -> bool:
    """Whether a cell takes its worker with it, half-way, the first time."""
    return _chance(f"death of {key}") < DEATHS


def _sleep_through(scale: float, folder: Path) -> None:
    """Put sleeping in the place of the processes that measure."""
    from bench.run import scheduler
    from bench.run.outcome import Outcome

    def sleeping(command, spec, *, on_event, on_tick, **_):
        cell = Cell.from_dict(spec["cell"])
        seconds = seconds_of(cell, scale)
        with open(folder / "starts.txt", "a") as starts:
            starts.write(f"{cell.key} {os.getpid()}\n")
        mine = folder / cell.key
        dying = dies(cell.key) and not mine.exists()
        end = time.monotonic() + (seconds / 2 if dying else seconds)
        while time.monotonic() < end:
            time.sleep(min(0.2, max(0.0, end - time.monotonic())))
            on_tick()
        if dying:
            mine.touch()
            os._exit(1)
        samples = [("latency_s", "s", seconds, ""), ("objective", "1", 100.0, "")]
        return Outcome("ok", samples=samples, ready=True, duration_s=seconds, exit_code=0)

    scheduler.run_worker = sleeping


# ---------------------------------------------------------------------------------------------------- processes


def _fork(run, threads: int = 1) -> int:
    pid = os.fork()
    if pid:
        return pid
    os.environ["OMP_NUM_THREADS"] = str(threads)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run())
    os._exit(0)


def main(workers: int, scale: float | None = None, folder: str | None = None, kinds: bool = False) -> None:
    import dask
    from distributed import Scheduler, Worker

    from bench.run import cluster_worker

    dask.config.set(QUIET)
    for name in list(logging.root.manager.loggerDict):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    space = tempfile.mkdtemp(prefix="dask-cluster-")
    if scale is not None:
        from bench.machine import environment

        _sleep_through(scale, Path(folder))
        machine = environment.capture(1)  # once for all: no process is started to look
        cluster_worker._look_at = lambda request: {
            "environment": machine,
            "fingerprint": environment.fingerprint(machine, request["devices"], request["dtypes"]),
        }
        cluster_worker.kill_marked = lambda *arguments: None
    read, write = os.pipe()

    async def schedule() -> None:
        async with Scheduler(host="127.0.0.1", port=0, dashboard=False) as scheduler:
            os.write(write, scheduler.address.encode() + b"\n")
            await scheduler.finished()

    scheduler = _fork(schedule)
    address = os.read(read, 200).decode().strip()

    async def work() -> None:
        options = {"nthreads": 1, "resources": {cluster_worker.RESOURCE: 1}, "memory_limit": 0, "dashboard": False}
        async with Worker(address, local_directory=space, death_timeout=10, **options) as worker:
            await worker.finished()

    pids = {(threads := 1 + index * kinds, _fork(work, threads)) for index in range(workers)}
    print(json.dumps({"address": address, "scheduler": scheduler}), flush=True)
    while not select.select([sys.stdin], [], [], 0.05)[0]:
        for threads, pid in list(pids):
            if os.waitpid(pid, os.WNOHANG)[0]:
                pids.remove((threads, pid))
                pids.add((threads, _fork(work, threads)))
    for pid in (scheduler, *(pid for _, pid in pids)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    subprocess.run(["rm", "-rf", space], check=False)


if __name__ == "__main__":
    count, *rest = sys.argv[1:]
    if rest in ([], ["kinds"]):
        main(int(count), kinds=bool(rest))
    else:
        main(int(count), float(rest[0]), rest[1])
