"""Options that several commands have."""

from __future__ import annotations

import argparse

from bench import RESULTS


def add_out(command: argparse._ActionsContainer, what: str = "the folder of runs", folder: str = str(RESULTS)) -> None:
    """Add ``--out DIR``: ``what`` lies there."""
    command.add_argument("--out", default=folder, metavar="DIR", help=f"{what} (default: %(default)s)")
