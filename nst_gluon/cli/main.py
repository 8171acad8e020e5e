"""The command line of the library: make pictures, train nets, score pictures.

Each subcommand is in a module of :mod:`nst_gluon.cli`; those that compute import the engine once their
arguments are known to be right.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from nst_gluon import __version__, methods
from nst_gluon.cli import console, export, listing, pictures, score, train, weights

COMMANDS = (pictures, train, score, weights, listing, export)


def build_parser(arguments: Sequence[str] = ()) -> console.Parser:
    """The parser of ``python -m nst_gluon``; every subcommand sets ``run``, a function of the arguments.

    A method that ``arguments`` refer to (``--method FILE.py:NAME``) is imported first: its nets may have options.
    """
    words = [word for one in arguments for word in (one.split("=", 1) if one.startswith("--method=") else [one])]
    for option, value in zip(words, words[1:]):
        if option == "--method" and methods.is_reference(value):
            methods.get(value)
    parser = console.Parser(
        prog="python -m nst_gluon",
        description="Neural style transfer and texture synthesis with MXNet/Gluon.",
        epilog="example:\n  python -m nst_gluon stylize chelsea --style great_wave --output chelsea.png",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line (default: this process's); the exit status, see :mod:`nst_gluon.cli.console`."""
    arguments = list(sys.argv[1:] if argv is None else argv)

    def command() -> int:
        args = build_parser(arguments).parse_args(arguments)
        args.arguments = arguments
        return args.run(args)

    return console.run(command)
