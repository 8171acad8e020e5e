"""``bench compare``: two runs, a baseline and a run, or two revisions, with a verdict for each metric."""

from __future__ import annotations

import argparse


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command's arguments."""
    commands.add_parser("compare", help="compare two runs or two revisions")


def main(options: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    raise NotImplementedError
