"""One cell in one fresh process: ``python -m bench.run.worker --pipe FD``, started by :mod:`bench.run.process`.

Reads one JSON line (cell, settings, budget, photos, draws, targets, run_dir) from standard input, and an empty one for
each turn if it takes turns with another; writes JSON lines to the pipe. What libraries print goes to standard output
and error, which are the cell's log file.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.engines.context import Context
from bench.machine import environment
from bench.machine.meters import HostMeter, NotSynchronised
from bench.plan import engines
from bench.plan.budgets import Budget
from bench.plan.cells import Cell, Settings
from bench.run.outcome import NEAR_LIMIT, out_of_memory_phrase
from nst_gluon import methods
from nst_gluon.system import runtime
from nst_gluon.system.errors import EngineMissing, NotFinite, UserError

# A comparison of two revisions starts the worker of each: raised when the JSON line that a worker reads, or the
# events that it writes, change in a way that the other side would not understand.
PROTOCOL = 2
TAKES_TURNS = True  # says to a comparison that this worker can; those of before cannot


def failure(error: BaseException) -> tuple[str, str] | None:
    """(status, reason) for an exception that the harness understands; None for a crash."""
    text = " ".join(str(error).split())
    causes = list(_chain(error))
    if any(isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT) for cause in causes):
        return "disk_full", text
    if any(_is_out_of_memory(cause) for cause in causes):
        return "oom", f"out of memory ({text or type(error).__name__})"[:300]
    if isinstance(error, UserError):
        return "user_error", text
    if isinstance(error, (NotFinite, NotSynchronised)):
        return "error", text
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The exception and those that led to it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    if isinstance(error, UserError) and not isinstance(error, EngineMissing):
        return False  # it quotes names that users gave to their files
    return out_of_memory_phrase(str(error), _near_limit()) is not None


def _near_limit() -> bool:
    """Whether this process may map only so much memory (ulimit -v) and has come near that."""
    limit = environment.address_space_limit()
    return limit is not None and (environment.high_water_bytes("VmPeak") or 0) > NEAR_LIMIT * limit


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.run.worker")
    parser.add_argument("--pipe", type=int, required=True)
    pipe = parser.parse_args(argv).pipe
    os.set_inheritable(pipe, False)
    spec = json.loads(sys.stdin.readline())
    cell = Cell.from_dict(spec["cell"])
    budget, settings = Budget.from_dict(spec["budget"]), Settings.from_dict(spec["settings"])
    context = Context(pipe, Path(spec["run_dir"]), cell, spec["targets"], spec["spawned_monotonic"],
                      spec["photos"], spec["draws"], spec.get("available"),
                      sys.stdin if spec.get("turns") else None)  # fmt: skip
    try:
        runtime.prepare(settings.threads)
        for _, reference in settings.methods:
            methods.get(reference)
        engine = engines.get(cell.engine)
        module = engine.load()
        from bench.engines import measure

        host = HostMeter()  # memory counts from here on
        backend = getattr(module, engine.backend)(cell.device, cell.dtype, cell.seed, settings.options_of(cell.engine))
        info = measure.execute(backend, host, cell, settings, budget, context)
    except BaseException as error:
        known = failure(error)
        if known is None:
            raise
        # First the result: without memory even the traceback may fail, or the engine hang when it shuts down.
        context.emit("result", status=known[0], reason=known[1])
        traceback.print_exc()
        return 0
    context.emit("result", status="ok", info=info)
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # at once: it has nothing to see to, and may hang in a library
    sys.exit(main())
