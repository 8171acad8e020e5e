"""Which method makes a picture, with which net; and the options that do not go with it. Imports no engine."""

from __future__ import annotations

import argparse
from pathlib import Path

from nst_gluon import assets, methods
from nst_gluon.cli import options
from nst_gluon.cli.optimise import DEFAULT_STYLE
from nst_gluon.nets import netfile
from nst_gluon.system.errors import UserError, did_you_mean

OPTIMISERS_ONLY = (
    "preset", "iterations", "optimizer", "start", "coarse", "style_size", "segments", "weights", "random_weights",
)  # fmt: skip


def net_path(name_or_file: str, argument: str) -> Path:
    """The file of a bundled net, by name, or the file that is named; UserError when it is neither."""
    bundled = {net.path.stem: net.path for net in assets.nets()}
    path = Path(name_or_file)
    if name_or_file in bundled and not path.exists():
        return bundled[name_or_file]
    if not path.is_file():
        hint = did_you_mean(name_or_file, bundled) if bundled else "none is bundled"
        raise UserError(f"{argument}: {name_or_file!r} is neither a file nor a bundled net; {hint}")
    return path


def choose(args: argparse.Namespace) -> tuple[methods.Method, str, Path | None]:
    """The method, the style's name for people, and the net's file (None: the method needs none)."""
    if args.net:
        return _chosen_by_net(args)
    style = args.style or DEFAULT_STYLE
    name = Path(options.style_path(style)).stem
    if args.method is None:
        generators = [m for m in methods.METHODS.values() if m.kind == "generates"]
        found = [(m, assets.find_net(style, m.name, args.task)) for m in generators]
        method, net = next((pair for pair in found if pair[1]), (methods.get("gatys"), None))
        return method, name, net
    args.method.check_task(args.task)
    if args.method.from_net:
        return args.method, name, _net_to_begin_with(style, args.task)
    if args.method.kind == "optimises":
        return args.method, name, None
    net = assets.find_net(style, args.method.name, args.task)
    if net is None:
        raise UserError(
            f"--style: no net of {args.method.name} for {args.task} of {style!r} is bundled; give one with "
            f"--net FILE, train one (python -m nst_gluon train --help), or use --method gatys"
        )
    return args.method, name, net


def _chosen_by_net(args: argparse.Namespace) -> tuple[methods.Method, str, Path]:
    path = net_path(args.net, "--net")
    with options.naming("--net"):
        _, meta = netfile.load(path)
    method = methods.get(str(meta.get("method")))
    if meta.get("task") != args.task:
        raise UserError(f"--net: {args.net!r} is a net for {meta.get('task')}; use that command")
    if args.method not in (None, method):
        raise UserError(f"--method: {args.net!r} is a net of {method.name}; leave --method out")
    if args.style:
        raise UserError("--style: a net has its style inside; leave out --style or --net")
    return method, Path(str(meta.get("style", "net"))).stem, path


def _net_to_begin_with(style: str, task: str) -> Path:
    """The bundled net of the first method that has one for the style."""
    generators = [name for name, method in methods.METHODS.items() if method.kind == "generates"]
    nets = filter(None, (assets.find_net(style, name, task) for name in generators))
    net = next(nets, None)
    if net is None:
        raise UserError(f"--style: no net for {task} of {style!r} is bundled to begin with; use --method gatys")
    return net


def check_options(args: argparse.Namespace, method: methods.Method) -> None:
    """Refuse options that ``method`` has no use for."""
    if method.kind == "generates":
        given = [name for name in OPTIMISERS_ONLY if getattr(args, name, None)]
        if given:
            option = "--" + given[0].replace("_", "-")
            raise UserError(f"{option}: {method.name} works in one pass; {option} is for --method gatys")
    else:
        if args.tile != "auto":
            raise UserError(f"--tile: {method.name} optimises the picture as a whole; --tile is for nets")
        if args.strength is not None:
            raise UserError(f"--strength: {method.name} weighs style and content by --preset; --strength is for nets")
        if args.net_size is not None:
            raise UserError(f"--net-size: {method.name} works at the picture's own size; --net-size is for nets")
    if method.from_net and args.start:
        raise UserError(f"--start: {method.name} starts from a net's picture; leave --start out")
    if method.name != "texture_net" and args.strength is not None and args.strength > 1:
        raise UserError(f"--strength: {args.strength:g} is too large for {method.name}; give 0 (the photo) to 1")
