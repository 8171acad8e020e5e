"""Files: opened for reading only where they are regular, written complete or not at all; messages about them.

Temporary files lie beside what they become, under names that nobody can guess, made new and locked for as long as they
are in use. One that nobody holds was left by a process that was killed: :func:`sweep` removes it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Union

from nst_gluon.system.errors import UserError

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None

PathLike = Union[str, "os.PathLike[str]"]

PREFIX = ".nst-gluon-"
LONGEST_MESSAGE = 1000
# Absent on systems without named pipes and symbolic links to beware of.
_NONBLOCK, _NOFOLLOW = getattr(os, "O_NONBLOCK", 0), getattr(os, "O_NOFOLLOW", 0)
_KINDS = (
    (stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a named pipe"), (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"), (stat.S_ISLNK, "a symbolic link"),
)  # fmt: skip


# --------------------------------------------------------------------------------------------------- messages


def quoted(path: PathLike) -> str:
    """``path`` in quotes, with line breaks and undecodable bytes escaped."""
    return repr(os.fspath(path))


def escaped(text: str) -> str:
    """``text`` with escapes for whatever would move a terminal's cursor, and for bytes that are no characters."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def printable(text: object, limit: int = LONGEST_MESSAGE) -> str:
    """``text`` as one printable line of at most ``limit`` characters; what is too much is cut out of its middle."""
    line = escaped(" ".join(str(text).split()))
    end = limit // 3
    return line if len(line) <= limit else f"{line[: limit - end - 3]}...{line[-end:]}"


def one_line(error: BaseException) -> str:
    """What an exception of somebody else's says, on one line; the system's own words for an OSError."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__


# ---------------------------------------------------------------------------------------------------- reading


def what_is(mode: int) -> str | None:
    """What a file of this ``st_mode`` is, in words; None for a regular file."""
    if stat.S_ISREG(mode):
        return None
    return next((words for test, words in _KINDS if test(mode)), "no file")


def is_there(path: PathLike) -> bool:
    """Whether something of this name exists, of whatever kind: False for a name that cannot be one."""
    try:
        return os.path.lexists(path)
    except ValueError:
        return False


def inside(root: Path, name: str) -> Path | None:
    """The real path of ``name`` below ``root``; None for one that lies outside, by a link or by its name."""
    with contextlib.suppress(ValueError):  # a NUL
        top, path = (Path(os.path.realpath(name)) for name in (root, root / name))
        return path if top in path.parents else None
    return None


def open_regular(path: PathLike, flags: int = os.O_RDONLY, follow: bool = True) -> int:
    """Open a regular file; the descriptor. Never waits, as opening a named pipe would.

    Raises OSError, whose ``strerror`` says what it is instead, for a folder, a pipe, a socket, a device and, unless
    ``follow``, a symbolic link.
    """
    try:
        descriptor = os.open(path, flags | _NONBLOCK | (0 if follow else _NOFOLLOW), 0o666)
    except OSError as error:
        mode = stat.S_IFREG
        with contextlib.suppress(OSError):
            mode = (os.stat if follow else os.lstat)(path).st_mode
        _check_regular(mode, path)  # the system's own words would be about devices and levels of links
        raise error
    try:
        _check_regular(os.fstat(descriptor).st_mode, path)
        if _NONBLOCK:
            os.set_blocking(descriptor, True)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check_regular(mode: int, path: PathLike) -> None:
    kind = what_is(mode)
    if kind:
        raise IrregularFile(errno.EINVAL, f"it is {kind}, not a regular file", os.fspath(path))


class IrregularFile(OSError):
    """Something that has the name of a file and is none."""


def reading(path: PathLike, follow: bool = True) -> BinaryIO:
    """A regular file, open for reading. Raises OSError as :func:`open_regular` does."""
    return os.fdopen(open_regular(path, follow=follow), "rb")


def read_bounded(path: PathLike, most: int, follow: bool = True) -> bytes:
    """All of a regular file of at most ``most`` bytes. Raises OSError where it is larger, too."""
    with reading(path, follow) as stream:
        data = stream.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"it is larger than {most:,} bytes", os.fspath(path))
    return data


def mark(text: str) -> str:
    """Six digits that tell texts apart that would otherwise come out alike in the name of a file."""
    return hashlib.sha1(text.encode("utf-8", "surrogateescape")).hexdigest()[:6]


def digest(path: PathLike, kind: str) -> str:
    """The hash of a regular file in hexadecimal digits; ``kind`` as hashlib names it. Raises OSError."""
    found = hashlib.new(kind)
    with reading(path) as stream:
        while block := stream.read(1 << 20):
            found.update(block)
    return found.hexdigest()


# ---------------------------------------------------------------------------------------------------- writing


def lock(descriptor: int, wait: bool = False) -> bool | None:
    """Take the advisory lock of an open file, which ends with the process however that ends.

    True: it is held. False: another process holds it (without ``wait``). None: this file system has no locks.
    """
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        return False if error.errno in (errno.EWOULDBLOCK, errno.EACCES) else None
    return True


_swept: set[str] = set()


def sweep(folder: PathLike) -> None:
    """Remove the temporary files and folders in ``folder`` that processes left which were killed."""
    with contextlib.suppress(OSError):
        with os.scandir(folder) as entries:
            stale = [entry.path for entry in entries if entry.name.startswith(PREFIX)]
        for path in stale:
            with contextlib.suppress(OSError):
                descriptor = os.open(path, os.O_RDONLY | _NONBLOCK | _NOFOLLOW)
                try:
                    if lock(descriptor):
                        shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
                finally:
                    os.close(descriptor)


@contextlib.contextmanager
def temporary_beside(path: PathLike, suffix: str = "") -> Iterator[tuple[Path, int]]:
    """A new, empty, locked file in the folder of ``path``: its path and descriptor. It is gone after the block.

    The first in a folder also sweeps that. Raises OSError.
    """
    folder = os.path.dirname(os.fspath(path)) or "."
    if folder not in _swept:
        _swept.add(folder)
        sweep(folder)
    while True:
        # Not tempfile: its files are readable by their owner only, and os.replace keeps that mode.
        temporary, descriptor = Path(folder, f"{PREFIX}{secrets.token_hex(8)}{suffix}"), None
        try:  # a signal may come as soon as the file is there
            descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | _NOFOLLOW, 0o666)
            lock(descriptor, wait=True)
            if os.fstat(descriptor).st_nlink:  # else another process swept it before it was locked
                yield temporary, descriptor
                return
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()
            if descriptor is not None:
                os.close(descriptor)


@contextlib.contextmanager
def locked_folder(parent: PathLike, prefix: str) -> Iterator[Path]:
    """A new folder in ``parent`` whose name has this prefix, locked; gone after the block with all that is in it.

    Stale ones are swept first. Raises OSError.
    """
    sweep(parent)
    while True:
        folder, descriptor = Path(parent, f"{prefix}{secrets.token_hex(8)}"), None
        try:  # a signal may come as soon as the folder is there
            folder.mkdir(mode=0o700)
            with contextlib.suppress(FileNotFoundError):
                descriptor = os.open(folder, os.O_RDONLY)
                lock(descriptor, wait=True)
            if folder.exists():  # else another process swept it before it was locked
                yield folder
                return
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            if descriptor is not None:
                os.close(descriptor)


@contextlib.contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """A new folder in ``parent``, which is made if missing; gone after the block with all that was not moved out of it.

    So are the folders above it that were made and have stayed empty. Raises OSError.
    """
    new = [folder for folder in (parent, *parent.parents) if not folder.exists()]
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with locked_folder(parent, PREFIX) as scratch:
            yield scratch
    finally:
        for folder in new:
            with contextlib.suppress(OSError):
                folder.rmdir()


@contextlib.contextmanager
def alone(path: PathLike) -> Iterator[None]:
    """Be the only process that makes ``path`` during the block, where the file system has locks.

    Raises UserError if another one is at it.
    """
    folder, name = os.path.split(os.fspath(path))
    mark = os.path.join(folder, f"{PREFIX}{name}.lock")
    while True:
        descriptor = None
        try:
            descriptor = os.open(mark, os.O_RDWR | os.O_CREAT | _NOFOLLOW, 0o666)
            if lock(descriptor) is False:
                raise UserError(f"{quoted(path)}: another process is making it; wait until that has ended")
            if os.fstat(descriptor).st_nlink:  # else the other one has just ended
                try:
                    yield
                    return
                finally:
                    os.unlink(mark)
        finally:
            if descriptor is not None:
                os.close(descriptor)
            else:  # a signal may have come as soon as the mark was there
                sweep(folder or ".")


def replace(path: PathLike, data: bytes) -> None:
    """Write ``data`` to ``path``: a reader sees the old file or the new one, never a part.

    A symbolic link is replaced, not followed. Raises OSError; then the old file is as it was.
    """
    with temporary_beside(path) as (temporary, descriptor):
        write_all(descriptor, data)
        os.fsync(descriptor)
        os.replace(temporary, path)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of ``data``; os.write alone may write less, on a nearly full disk for one."""
    view = memoryview(data).cast("B")
    while view:
        view = view[os.write(descriptor, view) :]


def write_atomically(path: PathLike, data: bytes | str, overwrite: bool = True) -> Path:
    """:func:`replace` for a file that the user named. A text is written in UTF-8, with escapes for what is no
    character.

    Raises UserError when the folder is missing, when ``path`` is no regular file, when it exists and ``overwrite``
    is false, and when the system refuses the write (permissions, full disk, read-only, too long a name).
    """
    path = Path(path)
    folder = path.parent
    data = data.encode("utf-8", "backslashreplace") if isinstance(data, str) else data
    try:
        if not folder.is_dir():
            wrong = "is not a folder" if folder.exists() else "does not exist"
            raise UserError(
                f"cannot write {quoted(path)}: the folder {quoted(folder)} {wrong}; make it, or name another"
            )
        kind = what_is(path.stat().st_mode) if path.exists() else None
        if kind:
            raise UserError(f"cannot write {quoted(path)}: it is {kind}; give the name of a file")
        if path.exists() and not overwrite:
            raise UserError(
                f"cannot write {quoted(path)}: it exists already; remove it, or give another name"
            )
        replace(path, data)
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot write {quoted(path)}: {one_line(error)}; give a path in a writable folder with "
            f"{len(data):,} bytes free"
        ) from error
    return path
