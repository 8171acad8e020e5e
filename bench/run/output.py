"""How much a command says and in which form: -q, -v and --json; and what the terminal can show.

Results go to standard output, progress and complaints to standard error. With --json standard output is one JSON
object, written at the end, and nothing else.
"""

from __future__ import annotations

import argparse
import os
from typing import TextIO

from nst_gluon.system.errors import UserError

QUIET, USUAL, VERBOSE = 0, 1, 2
COLOURS = {"better": "32", "open": "33", "worse": "31"}


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add -q, -v and --json."""
    add = command.add_argument_group("output").add_argument
    add("-q", "--quiet", action="store_true", help="print errors and the final path only")
    add("-v", "--verbose", action="store_true", help="print each cell's start, steps, duration and memory, too")
    add("--json", action="store_true", help="print one JSON object at the end, and nothing else on standard output")


def level(options: argparse.Namespace) -> int:
    """QUIET, USUAL or VERBOSE."""
    if options.quiet and options.verbose:
        raise UserError("-v/--verbose: contradicts -q/--quiet; give one of them")
    return QUIET if options.quiet else VERBOSE if options.verbose else USUAL


def is_terminal(stream: TextIO) -> bool:
    """Whether lines can be drawn again there: a terminal that knows more than plain lines."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def has_colours(stream: TextIO) -> bool:
    """Whether colours are wanted there: on a terminal, unless NO_COLOR is set (https://no-color.org)."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR")


def paint(text: str, tone: str, stream: TextIO) -> str:
    """``text`` in the colour of one of COLOURS, where ``stream`` has colours."""
    return f"\x1b[{COLOURS[tone]}m{text}\x1b[0m" if has_colours(stream) else text
