"""Child processes: how they are started, and that none is left behind.

Every child leads a session of its own, and is ended with all of its group when whatever waits for it is. A child that
is a Python of ours looks for modules where this one found them and never in the current folder, and is killed by the
kernel when this process dies without a chance to end it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LAUNCHER = Path(__file__).with_name("launch.py")
GRACE_S = 5.0


def python(*arguments: str, program: str | None = None) -> list[str]:
    """The command that runs ``MODULE ARGUMENTS...`` or ``-c CODE ARGUMENTS...`` as a child of this Python.

    ``program``: the interpreter, of an environment that has what the base package requires; None: this one.
    """
    return [program or sys.executable, str(LAUNCHER), str(os.getpid()), *map(str, arguments)]


def environment() -> dict[str, str]:
    """The environment in which a child finds this package, installed or not."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path}


def start(command: Sequence[str], env: Mapping[str, str] | None = None, **options: Any) -> subprocess.Popen:
    """A child with nothing on its standard input, unless ``options`` (of subprocess.Popen) say otherwise."""
    options.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.Popen(command, start_new_session=True, env={**environment(), **(env or {})}, **options)


def run(
    command: Sequence[str], given: str | None = None, timeout_s: float | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run a child to its end. Its standard output is text, as is its standard error if ``options`` say PIPE.

    Args:
        given: what it reads on its standard input; None: nothing.

    Raises:
        subprocess.TimeoutExpired: it took more than ``timeout_s``; it is ended then, as it is by Ctrl-C.
    """
    options = {"stdout": subprocess.PIPE, "encoding": "utf-8", "errors": "replace", **options}
    if given is not None:
        options["stdin"] = subprocess.PIPE
    with start(command, **options) as child:
        try:
            out, err = child.communicate(given, timeout=timeout_s)
        except BaseException:
            end(child)
            raise
    return subprocess.CompletedProcess(command, child.returncode, out, err)


def end(child: subprocess.Popen) -> None:
    """SIGTERM to the group of a child of :func:`start`, SIGKILL to what is left of it GRACE_S later."""
    _signal_group(child, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(GRACE_S)
    _signal_group(child, signal.SIGKILL)
    child.wait()


def _signal_group(child: subprocess.Popen, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)
