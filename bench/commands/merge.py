"""``bench merge``: the runs of several machines as one."""

from __future__ import annotations

import argparse


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command's arguments."""
    commands.add_parser("merge", help="join the runs of several machines")


def main(options: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    raise NotImplementedError
