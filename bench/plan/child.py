"""Child processes that answer in JSON: what plans and measures stays small and without an engine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from nst_gluon.system import children, ending
from nst_gluon.system.errors import UserError


def ask(module: str, request: Mapping[str, Any], what: str, timeout_s: float | None = None) -> Any:
    """What ``python -m MODULE``, whose main is :func:`answer`, makes of a request.

    Raises:
        UserError: the child's own, or that ``what`` failed or took more than ``timeout_s``.
    """
    try:
        child = children.run(children.python(module), json.dumps(request), timeout_s)
    except subprocess.TimeoutExpired:
        raise UserError(f"{what} took more than {timeout_s:.0f} s; it was ended") from None
    try:
        found = json.loads(child.stdout)
    except ValueError:
        status = child.returncode
        raise UserError(f"{what} failed (exit status {status}); the lines above say why") from None
    if "error" in found:
        raise UserError(found["error"])
    return found["answer"]


def answer(function: Callable[[dict[str, Any]], Any]) -> NoReturn:
    """The main of such a module: one JSON object in, one out; what libraries print goes to standard error."""

    def main() -> int:
        request = json.loads(sys.stdin.read())
        with os.fdopen(os.dup(1), "w") as stream:
            os.dup2(2, 1)
            try:
                found = {"answer": function(request)}
            except UserError as error:
                found = {"error": str(error)}
            json.dump(found, stream)
        return 0

    ending.program(main)
