"""The errors that the suite raises on purpose."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something the user can put right.

    ``str(error)`` is one line: the argument, what was wrong with it, what would be right. The command lines print
    it and exit with status 2.
    """


class EngineMissing(UserError):
    """The engine (MXNet) that a command needs is not installed, or cannot be loaded."""


class NotFinite(RuntimeError):
    """An objective or a gradient became NaN or infinite; there is no picture worth returning."""


def nearest(name: str, choices: Iterable[str], likeness: float = 0.6) -> str:
    """ "did you mean 'great_wave'? ", or nothing if no choice has that ``likeness`` (of 0 to 1)."""
    near = difflib.get_close_matches(name, list(choices), n=1, cutoff=likeness)
    return f"did you mean {near[0]!r}? " if near else ""


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """A suffix for an unknown-name message: the nearest choice, if any is near, and the list of all of them."""
    choices = sorted(choices)
    near = nearest(name, choices)
    return f"{near}{'Choose' if near else 'choose'} from: {', '.join(choices)}"
