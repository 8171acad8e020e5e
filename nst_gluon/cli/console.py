"""What the command lines share: one-line errors, exit statuses, arguments of a kind. Imports no engine.

Exit statuses: 0 done, 1 the computation failed (it diverged), 2 something the user can put right, 130 Ctrl-C, 143
SIGTERM or SIGHUP.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
import textwrap
from collections.abc import Callable
from typing import NoReturn, TextIO

from nst_gluon.system import ending
from nst_gluon.system.ending import INTERRUPTED
from nst_gluon.system.errors import NotFinite, UserError, did_you_mean, nearest
from nst_gluon.system.files import one_line, printable
from nst_gluon.system.runtime import LARGEST_SEED

MOST = 10**9  # of any number of things

FAILED, MISUSED = 1, 2


class Formatter(argparse.HelpFormatter):
    """Fills lines of prose to the terminal's width; the lines of an example stay as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines = [[line] if line.startswith(" ") else textwrap.wrap(line, width) for line in text.splitlines()]
        return "\n".join(indent + line for filled in lines for line in filled)


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are UserErrors of one line, with "did you mean" for commands and options."""

    def __init__(self, *args, **kwargs):
        kwargs.setdefault("formatter_class", Formatter)
        super().__init__(*args, allow_abbrev=False, **kwargs)

    def parse_known_args(self, args=None, namespace=None):
        """As argparse's, but nothing is unknown: told here, and not by the parser above, which knows other options."""
        found, unknown = super().parse_known_args(args, namespace)
        for word in unknown:
            option = word.partition("=")[0]
            if option.startswith("-"):
                near = nearest(option, self._option_string_actions)
                near = f"; {near}" if near else " "
                raise UserError(f"{option}: there is no such option{near}(see {self.prog} --help)")
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{' '.join(message.split())} (see {self.prog} --help)")

    def _print_message(self, message: str, file: TextIO | None = None) -> None:
        print(message, end="", file=file)  # argparse's own drops the error of a help that cannot be written

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            name = "/".join(action.option_strings) or action.metavar or action.dest
            hint = did_you_mean(str(value), map(str, action.choices))
            raise UserError(f"{name}: unknown {value!r}; {hint}")


def run(command: Callable[[], int]) -> int:
    """Run a command; its exit status, or, after an error of the user's, one line on stderr and status 2."""
    unread = None
    with ending.orderly():
        try:
            status = command()
        except SystemExit:  # argparse, after --help
            unread, status = ending.let_go_of_stdout(), 0
            if unread is None:
                raise
        except (Exception, KeyboardInterrupt) as error:
            status = _after(ending.came() or error)
        unread = unread or ending.let_go_of_stdout()
    if unread and not status:
        gone = isinstance(unread, BrokenPipeError)  # whoever read our output has gone
        status = FAILED if gone else _complain(f"standard output: {one_line(unread)}", MISUSED)
    return status


def _after(error: BaseException) -> int:
    """The exit status after ``error``, of which the user is told; what nobody foresaw is raised again."""
    if isinstance(error, KeyboardInterrupt):
        status = ending.exit_status(error)
        if status == INTERRUPTED:
            print("\ninterrupted", file=sys.stderr)
        return status
    if isinstance(error, BrokenPipeError):
        return FAILED
    if isinstance(error, NotFinite):
        return _complain(str(error), FAILED)
    if isinstance(error, UserError):
        return _complain(str(error), MISUSED)
    if isinstance(error, MemoryError):
        return _complain("out of memory; use a smaller --size or --batch", MISUSED)
    if isinstance(error, OSError):
        where = f"{os.fspath(error.filename)!r}: " if error.filename else ""
        return _complain(f"{where}{one_line(error)}", MISUSED)
    raise error


def _complain(line: str, status: int) -> int:
    with contextlib.suppress(OSError):
        print(wrapped(f"error: {printable(line)}", sys.stderr), file=sys.stderr)
    return status


def wrapped(text: str, stream: TextIO, indent: int = 2) -> str:
    """``text`` broken between words where ``stream`` is a terminal; elsewhere, in a file or a pipe, as one line."""
    if not stream.isatty():
        return text
    width = shutil.get_terminal_size((80, 24)).columns
    breaks = {"break_long_words": False, "break_on_hyphens": False}
    return textwrap.fill(text, width, subsequent_indent=" " * indent, **breaks)


def whole_number(argument: str, least: int = 0, example: int = 256, most: int = MOST) -> Callable[[str], int]:
    """A parser of whole numbers from ``least`` to ``most``; its UserErrors name ``argument``."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise UserError(f"{argument}: {text!r} is not a whole number; give e.g. {example}") from None
        if value < least:
            raise UserError(f"{argument}: {value} is too small; the least is {least}")
        if value > most:
            raise UserError(f"{argument}: {value} is too large; the most is {most:,}")
        return value

    return parse


seed = whole_number("--seed", 0, 0, LARGEST_SEED)


def whole_numbers(argument: str, least: int = 0) -> Callable[[str], list[int]]:
    """A parser of different whole numbers from ``least``, separated by commas."""
    one = whole_number(argument, least)

    def parse(text: str) -> list[int]:
        return list(dict.fromkeys(one(part.strip()) for part in text.split(",")))

    return parse


def number(argument: str, least: float = 0.0, example: float = 1.0) -> Callable[[str], float]:
    """A parser of finite numbers from ``least``; its UserErrors name ``argument``."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not abs(value) < float("inf"):
            raise UserError(f"{argument}: {text!r} is not a number; give e.g. {example:g}")
        if value < least:
            raise UserError(f"{argument}: {value:g} is too small; the least is {least:g}")
        return value

    return parse
