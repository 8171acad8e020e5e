"""``weights``: fetch, verify and identify the descriptor's weights."""

from __future__ import annotations

import argparse
import json

from nst_gluon.cli.options import WEIGHTS, example
from nst_gluon.system.errors import UserError


def add(commands: argparse._SubParsersAction) -> None:
    """Add the parser of ``weights``."""
    parser = commands.add_parser(
        "weights",
        help="fetch, verify and identify the descriptor's weights",
        description="Load the descriptor's weights, downloading them once if necessary, and print what they are.",
        epilog=example("weights"),
    )
    parser.add_argument("spec", nargs="?", metavar="SPEC", help=WEIGHTS)
    parser.add_argument("--list", action="store_true", help="only list what is available, and load nothing")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Load the weights and print their identity."""
    from nst_gluon.descriptor import weights

    if args.list:
        if args.spec or args.json:
            raise UserError("--list: does not go with SPEC or --json")
        print(weights.describe())
        return 0
    loaded = weights.load(args.spec)
    print(json.dumps(loaded.identity()) if args.json else weights.describe(loaded))
    return 0
