"""Running somebody else's downloader (pip, gluoncv) in a process of its own, with a progress bar of ours."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from nst_gluon.system import children
from nst_gluon.system.files import printable

INTERVAL_S = 0.2


def largest_file(folder: Path) -> int:
    """The size in bytes of the largest file below ``folder``, where a download grows; 0 without any."""
    largest = 0
    for root, _folders, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # a temporary file may vanish between the two calls
                largest = max(largest, os.stat(os.path.join(root, name)).st_size)
    return largest


def watch(
    command: Sequence[str], folder: Path, title: str, total: int | None, progress: bool, env: dict[str, str]
) -> tuple[int, str]:
    """Run ``command`` quietly while a bar on stderr follows the largest file below ``folder``.

    ``total`` is that file's final size in bytes. The bar is silent without ``progress`` and where stderr is
    no terminal. Returns the exit status and everything the command printed. Whatever ends the wait (Ctrl-C
    too) ends the command.
    """
    from tqdm import tqdm

    with tempfile.TemporaryFile() as output:
        child = children.start(command, env, stdout=output, stderr=subprocess.STDOUT)
        try:
            # disable=None: tqdm itself asks whether the stream is a terminal.
            bar = tqdm(
                desc=title,
                total=total,
                unit="B",
                unit_scale=True,
                file=sys.stderr,
                leave=True,
                disable=None if progress else True,
            )
            with bar:
                while True:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        child.wait(INTERVAL_S)
                    if child.returncode is not None:
                        break
                    bar.update(max(0, min(largest_file(folder), total or sys.maxsize) - bar.n))
                if child.returncode == 0 and total:
                    bar.update(total - bar.n)
        finally:
            if child.poll() is None:
                children.end(child)
        output.seek(0)
        return child.returncode, output.read().decode("utf-8", "replace")


def last_error(output: str) -> str:
    """What went wrong, in a few words, from everything that a downloader printed."""
    lost = re.search(r"(connection broken by|Max retries exceeded|ProxyError|SSLError|ConnectionError)", output)
    if lost:
        # pip goes on to say that it finds no such package, which is not what is wrong.
        reason = re.search(r"\[Errno -?\d+\] ([\w ]+)", output) or re.search(r"\b(\w+(?:Error|Timeout))\(", output)
        return "no connection" + (f" ({reason[1].strip()})" if reason else "")
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line[len("ERROR:") :] for line in lines if line.startswith("ERROR:")]
    return printable((errors or lines[-1:] or ["no message"])[0], 160)


def pip_command() -> list[str] | None:
    """How to run pip with this Python; None where there is no way.

    uv makes environments without pip; the copy that ensurepip carries then runs straight from its wheel.
    """
    if importlib.util.find_spec("pip") is not None:
        return children.python("pip")
    try:
        import ensurepip
    except ImportError:
        return None
    bundled = sorted(Path(ensurepip.__file__).parent.glob("_bundled/pip-*.whl"))
    return [sys.executable, str(bundled[-1] / "pip")] if bundled else None
