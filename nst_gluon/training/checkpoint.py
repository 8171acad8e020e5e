"""Checkpoints: named arrays and a JSON text, written whole, the last two kept; nothing in them is ever executed."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nst_gluon.system.errors import UserError
from nst_gluon.system.files import one_line, quoted, temporary_beside, write_all

STATE = "state"


def previous(path: Path) -> Path:
    """Where the checkpoint before the one at ``path`` is."""
    return path.with_suffix(".previous.npz")


def exists(path: Path) -> bool:
    """Whether there is a checkpoint, or the one before it."""
    return path.exists() or previous(path).exists()


def save(path: Path, arrays: Mapping[str, np.ndarray], state: Mapping[str, Any]) -> None:
    """Write a checkpoint; the one that is there becomes the previous one. At any time one of them is whole.

    Raises:
        UserError: it cannot be written; those that are there stay.
    """
    stream = io.BytesIO()  # an archive that cannot be written to its end complains once more when it is collected
    np.savez(stream, **{STATE: np.frombuffer(json.dumps(state).encode(), np.uint8)}, **arrays)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary_beside(path) as (temporary, descriptor):
            write_all(descriptor, stream.getbuffer())
            os.fsync(descriptor)
            if path.exists():
                os.replace(path, previous(path))
            os.replace(temporary, path)
    except OSError as error:
        raise UserError(
            f"--output: cannot write {quoted(path)}: {one_line(error)}; once it can be written, the same command goes "
            "on from the last checkpoint"
        ) from error


def load(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and the state of the newest checkpoint that can be read; one line on stderr if it is the previous one.

    Raises:
        UserError: none can be read.
    """
    wrong = []
    for file in (path, previous(path)):
        try:
            with np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            state = dict(json.loads(arrays.pop(STATE).tobytes()))
        except Exception as error:  # a damaged archive makes zipfile, numpy and json raise nearly anything
            wrong.append(f"{file.name} cannot be read ({one_line(error)})")
            continue
        if wrong:
            print(f"note: {wrong[0]}: going on from {file.name}, iteration {state.get('iteration')}", file=sys.stderr)
        return arrays, state
    raise UserError(f"--output: {wrong[0]}, nor the one before it; delete both to train from the beginning")


def delete(path: Path) -> None:
    """Delete both."""
    for file in (path, previous(path)):
        file.unlink(missing_ok=True)
