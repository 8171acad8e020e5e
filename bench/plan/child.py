"""Child processes that answer in JSON: what plans and measures stays small and without an engine."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nst_gluon.system.errors import UserError

PACKAGE_ROOT = Path(__file__).resolve().parents[2]


def child_environment() -> dict[str, str]:
    """The environment in which a child process finds this package, installed or not."""
    path = os.pathsep.join(filter(None, [str(PACKAGE_ROOT), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path}


def ask(module: str, request: Mapping[str, Any], what: str) -> Any:
    """What ``python -m MODULE``, whose main is :func:`answer`, makes of a request.

    Raises:
        UserError: the child's own, or that ``what`` failed.
    """
    child = subprocess.run(
        [sys.executable, "-m", module],
        input=json.dumps(request), stdout=subprocess.PIPE, text=True, env=child_environment(), check=False,
    )  # fmt: skip
    try:
        found = json.loads(child.stdout)
    except ValueError:
        status = child.returncode
        raise UserError(f"{what} failed (exit status {status}); the lines above say why") from None
    if "error" in found:
        raise UserError(found["error"])
    return found["answer"]


def answer(function: Callable[[dict[str, Any]], Any]) -> int:
    """The main of such a module: one JSON object in, one out; what libraries print goes to standard error."""
    request = json.loads(sys.stdin.read())
    with os.fdopen(os.dup(1), "w") as stream:
        os.dup2(2, 1)
        try:
            found = {"answer": function(request)}
        except UserError as error:
            found = {"error": str(error)}
        except KeyboardInterrupt:
            return 130
        with contextlib.suppress(BrokenPipeError):
            json.dump(found, stream)
    return 0
