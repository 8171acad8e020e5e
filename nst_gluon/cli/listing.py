"""``list``: the names that the other commands accept."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from nst_gluon import assets, methods
from nst_gluon.cli.console import wrapped
from nst_gluon.cli.options import example
from nst_gluon.objective import presets


def _methods() -> list[dict[str, Any]]:
    return [
        {"name": m.name, "tasks": list(m.tasks), "description": m.description, "source": m.paper}
        for m in methods.all()
    ]


def _presets() -> list[dict[str, Any]]:
    return [
        {
            "name": p.name,
            "description": f"{p.arch}, {p.optimizer}, {p.iterations} iterations in the source",
            "source": p.source,
        }
        for p in presets.PRESETS.values()
    ]


def _nets() -> list[dict[str, Any]]:
    return [
        {
            "name": net.path.stem,
            "style": net.style,
            "method": net.method,
            "task": net.task,
            "file": str(net.path),
        }
        for net in assets.nets()
    ]


KINDS = {
    "methods": _methods,
    "presets": _presets,
    "styles": lambda: [{"name": name, "file": str(assets.style_path(name))} for name in assets.styles()],
    "contents": lambda: [{"name": name, "file": str(assets.content_path(name))} for name in assets.contents()],
    "nets": _nets,
}


def add(commands: argparse._SubParsersAction) -> None:
    """Add the parser of ``list``."""
    parser = commands.add_parser(
        "list",
        help="list methods, presets, pictures and nets",
        epilog=example("list nets"),
        description="Print the names that the other commands accept.",
    )
    parser.add_argument(
        "kind",
        nargs="?",
        choices=tuple(KINDS),
        metavar="KIND",
        help=f"one of {', '.join(KINDS)} (default: all of them)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the list."""
    found = {kind: KINDS[kind]() for kind in ([args.kind] if args.kind else KINDS)}
    if args.json:
        print(json.dumps(found, indent=2))
        return 0
    width = max((len(entry["name"]) for entries in found.values() for entry in entries), default=0)
    for kind, entries in found.items():
        if not args.kind:
            print(f"{kind}:")
        for entry in entries:
            about = "; ".join(entry[key] for key in ("description", "source") if key in entry)
            print(wrapped(f"  {entry['name']:{width}}  {about}".rstrip(), sys.stdout, indent=width + 4))
        if not entries:
            print("  none")
    return 0
