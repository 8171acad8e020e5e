"""``bench selftest``: how far this machine's numbers can be trusted, from comparisons of the code with itself."""

from __future__ import annotations

import argparse


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command's arguments."""
    commands.add_parser("selftest", help="how small a change this machine can tell")


def main(options: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    raise NotImplementedError
