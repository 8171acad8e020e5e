"""Writing a file so that it is there complete, or not at all; messages about paths that fit on one line."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import Union

from nst_gluon.system.errors import UserError

PathLike = Union[str, "os.PathLike[str]"]


def quoted(path: PathLike) -> str:
    """``path`` in quotes, with line breaks and undecodable bytes escaped."""
    return repr(os.fspath(path))


def one_line(error: BaseException) -> str:
    """What an exception of somebody else's says, on one line; the system's own words for an OSError."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def write_atomically(path: PathLike, data: bytes, overwrite: bool = True) -> Path:
    """Write ``data`` to ``path`` through a temporary file beside it, which replaces ``path`` at the end.

    Whatever goes wrong, an older file at ``path`` stays as it was and no temporary file is left behind.

    Raises UserError when the folder is missing, when ``path`` is a folder, when it exists and ``overwrite``
    is false, and when the system refuses the write (permissions, full disk, read-only, too long a name).
    """
    path = Path(path)
    folder = path.parent
    try:
        if not folder.is_dir():
            wrong = "is not a folder" if folder.exists() else "does not exist"
            raise UserError(
                f"cannot write {quoted(path)}: the folder {quoted(folder)} {wrong}; make it, or name another"
            )
        if path.is_dir():
            raise UserError(f"cannot write {quoted(path)}: it is a folder; give the name of a file")
        if path.exists() and not overwrite:
            raise UserError(
                f"cannot write {quoted(path)}: it exists already; remove it, or give another name"
            )
        _write(folder / f".{secrets.token_hex(8)}.tmp", path, data)
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot write {quoted(path)}: {one_line(error)}; give a path in a writable folder with "
            f"{len(data):,} bytes free"
        ) from error
    return path


def _write(temporary: Path, path: Path, data: bytes) -> None:
    # Not tempfile: its files are readable by their owner only, and os.replace keeps that mode.
    try:
        with open(temporary, "xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
