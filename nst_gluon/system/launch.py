"""Starts a child process, for :mod:`nst_gluon.system.children`: ``python launch.py PARENT MODULE|-c ARGUMENTS``.

A script of its own, because ``python -m`` and ``python -c`` look for modules in the current folder first, whose csv.py
or pip.py is none of ours; Python's own option against that, -P, is younger than the Pythons that MXNet runs on.
"""

import ctypes
import os
import runpy
import signal
import sys

if sys.path and os.path.abspath(sys.path[0]) == os.path.dirname(os.path.abspath(__file__)):
    del sys.path[0]

from nst_gluon.system import ending

PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Let the kernel kill this process when its parent dies, however that dies (Linux only)."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def main() -> None:
    die_with_parent(int(sys.argv[1]))
    what, *arguments = sys.argv[2:]
    if what == "-c":
        code, *arguments = arguments
        sys.argv = ["-c", *arguments]
        exec(compile(code, "<child>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = [what, *arguments]
        runpy.run_module(what, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    ending.program(main)
