"""How a program ends: signals, standard streams, exit status. Imports nothing heavy: it is the first thing that runs.

SIGTERM and SIGHUP end a command as Ctrl-C does: :class:`Ended` is raised where it is at work, so that every ``finally``
and every ``with`` ends its children and removes what is half written. The exit status is 130 after Ctrl-C and 143 after
the other two. What a kill -9 leaves behind is removed by the next start, see :mod:`nst_gluon.system.files`.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any, NoReturn

INTERRUPTED, TERMINATED = 130, 143
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
UNDISTURBED_S = 10.0  # for this long after the first signal further ones do not disturb the cleaning up


class Ended(KeyboardInterrupt):
    """SIGTERM or SIGHUP has come: whatever stops for Ctrl-C stops for these too."""


def exit_status(error: KeyboardInterrupt) -> int:
    """The exit status of a program that ``error`` ended."""
    return TERMINATED if isinstance(error, Ended) else INTERRUPTED


class _Handler:
    def __init__(self) -> None:
        self.until = float("-inf")
        self.came: KeyboardInterrupt | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if now > self.until:
            self.until = now + UNDISTURBED_S
            self.came = KeyboardInterrupt() if number == signal.SIGINT else Ended()
            raise self.came


def came() -> KeyboardInterrupt | None:
    """The signal that came in this :func:`orderly` block: libraries in C make other exceptions of what it raised."""
    return next((h.came for h in map(signal.getsignal, SIGNALS) if isinstance(h, _Handler) and h.came), None)


def check() -> None:
    """Raise the signal that came, for loops that take long: a library may have dropped what it raised."""
    signalled = came()
    if signalled is not None:
        raise signalled


@contextlib.contextmanager
def orderly() -> Iterator[None]:
    """Raise KeyboardInterrupt or :class:`Ended`, once, for the signals that come meanwhile.

    A signal that the process was started to ignore (nohup, a background job of a script) stays ignored. Does nothing
    inside another such block, and outside the main thread, which has no say about signals.
    """
    before = {}
    try:
        if not any(isinstance(signal.getsignal(number), _Handler) for number in SIGNALS):
            handler = _Handler()
            with contextlib.suppress(ValueError):
                for number in SIGNALS:
                    if signal.getsignal(number) not in (signal.SIG_IGN, None):
                        before[number] = signal.signal(number, handler)
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _dropped(unraisable: Any) -> None:
    """For sys.unraisablehook: a signal may have come where Python drops exceptions, as in ``__del__``."""
    if isinstance(unraisable.exc_value, KeyboardInterrupt):
        _again(unraisable.exc_value)
    elif not came():  # else it is of something that the signal stopped midway
        sys.__unraisablehook__(unraisable)


def _printed(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """For sys.excepthook: a signal may have come where a library in C prints exceptions and goes on."""
    if isinstance(error, KeyboardInterrupt):
        _again(error)
    elif not came():
        sys.__excepthook__(kind, error, trace)


def _in_thread(arguments: Any) -> None:
    """For threading.excepthook: a thread may miss what the main one has already put away."""
    if not came():
        threading.__excepthook__(arguments)


def _silent(*_: Any) -> None:
    """For all three hooks once a signal has ended the program: what is torn down midway complains."""


def _again(error: KeyboardInterrupt) -> None:
    """Send a signal once more, a moment later, whose exception got lost."""
    number = signal.SIGTERM if isinstance(error, Ended) else signal.SIGINT
    handler = signal.getsignal(number)
    if isinstance(handler, _Handler):
        handler.until = float("-inf")
        timer = threading.Timer(0.05, os.kill, (os.getpid(), number))
        timer.daemon = True
        timer.start()


def program(main: Callable[[], Any]) -> NoReturn:
    """Run ``main``, which imports what it needs, as all that this process does, and end with its status."""
    sys.unraisablehook, sys.excepthook, threading.excepthook = _dropped, _printed, _in_thread
    after = signal.SIG_DFL
    try:
        with orderly():
            settle_streams()
            try:
                status = main()
            finally:
                check()  # rather than what a library made of the signal
    except KeyboardInterrupt as error:
        status, after = exit_status(error), signal.SIG_IGN  # further ones would change the status
        signal.alarm(int(UNDISTURBED_S))  # should a library hang when it is shut down
        sys.unraisablehook = sys.excepthook = threading.excepthook = _silent
    for number in SIGNALS:  # a traceback of Python's own shutdown would be all that they bring about now
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, after)
    sys.exit(status)


# ---------------------------------------------------------------------------------------------------- streams


class _Forgiving(io.FileIO):
    """Drops what cannot be written: a message that nobody can read is no reason to stop the work it is about."""

    def write(self, data: Any) -> int:
        with contextlib.suppress(OSError):
            return super().write(data)
        return len(data)


def _as_bytes(error: UnicodeError) -> tuple[str, int]:
    """Names that are not UTF-8 are printed as they are on disk, other characters that the stream lacks as escapes."""
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.lookup_error("backslashreplace")(error)


def settle_streams() -> None:
    """Make standard streams that were closed, or cannot be written, harmless.

    A closed one becomes the null device: else the next file that is opened gets its number, and with it all that
    libraries print. Errors of standard error are dropped, those of standard output are raised where it is flushed.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            os.set_inheritable(number, True)
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115
    codecs.register_error("nst_gluon", _as_bytes)
    sys.stdout.reconfigure(errors="nst_gluon")
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(_Forgiving(2, "w", closefd=False)),
        encoding=sys.stderr.encoding, errors="backslashreplace", line_buffering=True, write_through=True,
    )  # fmt: skip


def let_go_of_stdout() -> OSError | None:
    """Flush standard output; where that fails, return why, and see that Python does not try again at exit."""
    try:
        sys.stdout.flush()
    except OSError as error:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, sys.stdout.fileno())
            os.close(null)
        return error
    return None
