"""``bench baseline``: runs kept under a name, for later comparisons on the same machine."""

from __future__ import annotations

import argparse


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command's arguments."""
    commands.add_parser("baseline", help="keep a run as a baseline")


def main(options: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    raise NotImplementedError
