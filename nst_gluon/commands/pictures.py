"""``stylize`` and ``texture``: one picture, by any method."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from nst_gluon import assets, images, methods, netfile, presets
from nst_gluon.commands import options
from nst_gluon.console import number, whole_number
from nst_gluon.errors import UserError

DEFAULT_STYLE = "great_wave"
DEFAULT_ITERATIONS = 200
DEFAULT_SIZE = {"stylize": 512, "texture": 256}
OPTIMISERS_ONLY = ("preset", "iterations", "optimizer", "start", "coarse", "style_size", "weights", "random_weights")


def add(commands: argparse._SubParsersAction) -> None:
    """Add the parsers of ``stylize`` and ``texture``."""
    parser = commands.add_parser(
        "stylize",
        help="one picture in the style of another",
        description="Paint PICTURE in a style: by optimisation (gatys), which takes any style, or in one\n"
        "pass of a net that was trained for the style. Prints the name of the file that it wrote.",
        epilog=options.example("stylize chelsea --style great_wave --size 256 --output chelsea.png"),
    )
    parser.add_argument("picture", metavar="PICTURE", help="a file, or the name of a bundled photo")
    _add_options(parser, "stylize", "PICTURE-STYLE-METHOD.png")
    parser = commands.add_parser(
        "texture",
        help="a texture from nothing but noise",
        description="Make a texture like STYLE: by optimisation (gatys) or in one pass of a net that was\n"
        "trained for it. Prints the name of the file that it wrote.",
        epilog=options.example("texture --style great_wave --size 256 --output waves.png"),
    )
    _add_options(parser, "texture", "STYLE-METHOD-texture.png")


def _add_options(parser: argparse.ArgumentParser, task: str, default_name: str) -> None:
    able = [name for name, method in methods.METHODS.items() if task in method.tasks]
    meaning = "longer side of the picture" if task == "stylize" else "side of the square picture"
    size = f"{DEFAULT_SIZE[task]}" if task == "texture" else f"its own, at most {DEFAULT_SIZE[task]}"
    add = parser.add_argument
    add("--style", metavar="STYLE", help=f"a file, or the name of a bundled style (default: {DEFAULT_STYLE})")
    add(
        "--method",
        type=_method,
        metavar="METHOD",
        help=f"{', '.join(able)} (default: one with a net for the style, else gatys)",
    )
    add("--net", metavar="FILE", help="a trained net, instead of a bundled one and of --style")
    add("--size", type=whole_number("--size", 16), metavar="N", help=f"{meaning} in pixels (default: {size})")
    options.add_output(parser, default_name)
    add("--seed", type=whole_number("--seed", 0, 0), default=0, metavar="N", help="of all noise (default: 0)")
    add("--quiet", "-q", action="store_true", help="no progress on stderr")
    nets = parser.add_argument_group("nets")
    nets.add_argument(
        "--noise-scale",
        type=number("--noise-scale"),
        metavar="X",
        help="texture_net: amount of noise, 0 to 1 or more (default: 1)",
    )
    gatys = parser.add_argument_group("optimisation")
    gatys.add_argument(
        "--preset",
        type=options.parse_preset,
        metavar="PRESET",
        help=f"the objective (default: {options.DEFAULT_PRESET}; see list presets)",
    )
    gatys.add_argument(
        "--iterations",
        type=whole_number("--iterations", 1, 200),
        metavar="N",
        help=f"evaluations of the objective (default: {DEFAULT_ITERATIONS})",
    )
    gatys.add_argument("--optimizer", choices=("lbfgs", "adam"), metavar="NAME", help="lbfgs (default) or adam")
    if task == "stylize":
        gatys.add_argument(
            "--start",
            choices=("noise", "content"),
            metavar="NAME",
            help="noise or content (default: content)",
        )
    gatys.add_argument(
        "--coarse",
        type=_coarse,
        default=(),
        metavar="LIST",
        help="sides of smaller pictures to begin with, such as 128,256; half as many steps for each",
    )
    gatys.add_argument(
        "--style-size",
        type=whole_number("--style-size", 16),
        metavar="M",
        help="side of the style picture (default: as --size)",
    )
    options.add_engine_options(parser)
    parser.set_defaults(run=run, task=task)


def _method(name: str) -> methods.Method:
    return methods.get(name)


def _choose(args: argparse.Namespace) -> tuple[methods.Method, str, Path | None]:
    """The method, the style's name for people, and the net's file (None: the method needs none)."""
    if args.net:
        with options.naming("--net"):
            _, meta = netfile.load(args.net)
        method = methods.get(str(meta.get("method")))
        if meta.get("task") != args.task:
            raise UserError(f"--net: {args.net!r} is a net for {meta.get('task')}; use that command")
        if args.method not in (None, method):
            raise UserError(f"--method: {args.net!r} is a net of {method.name}; leave --method out")
        if args.style:
            raise UserError("--style: a net has its style inside; leave out --style or --net")
        return method, Path(str(meta.get("style", "net"))).stem, Path(args.net)
    style = args.style or DEFAULT_STYLE
    name = Path(options.style_path(style)).stem
    if args.method is None:
        generators = [m for m in methods.METHODS.values() if m.kind == "generates"]
        found = [(m, assets.find_net(style, m.name, args.task)) for m in generators]
        method, net = next((pair for pair in found if pair[1]), (methods.get("gatys"), None))
        return method, name, net
    args.method.check_task(args.task)
    if args.method.kind == "optimises":
        return args.method, name, None
    net = assets.find_net(style, args.method.name, args.task)
    if net is None:
        raise UserError(
            f"--style: no net of {args.method.name} for {args.task} of {style!r} is bundled; give one with "
            f"--net FILE, train one (python -m nst_gluon train --help), or use --method gatys"
        )
    return args.method, name, net


def _check_options(args: argparse.Namespace, method: methods.Method) -> None:
    if method.kind == "generates":
        given = [name for name in OPTIMISERS_ONLY if getattr(args, name, None)]
        given += ["dtype"] if args.dtype != "float32" else []
        if given:
            option = "--" + given[0].replace("_", "-")
            raise UserError(f"{option}: {method.name} works in one pass; {option} is for --method gatys")
    if args.noise_scale is not None and method.name != "texture_net":
        raise UserError(f"--noise-scale: {method.name} takes no noise; it is for --method texture_net")


def _content(args: argparse.Namespace, bytes_per_pixel: int) -> np.ndarray:
    """The content picture at the asked size, aspect kept; by default no larger than it is."""
    path = options.content_path(args.picture, "PICTURE")
    size = args.size
    if size is None:
        longer = max(options.load_picture("PICTURE", path).shape[2:])
        size = min(longer, DEFAULT_SIZE["stylize"])
    return options.load_fitted("PICTURE", path, size, bytes_per_pixel)


def run(args: argparse.Namespace) -> int:
    """Make one picture and write it."""
    method, style, net = _choose(args)
    _check_options(args, method)
    optimises = method.kind == "optimises"
    bytes_per_pixel = options.OPTIMISE_BYTES if optimises else options.FORWARD_BYTES
    if args.task == "stylize":
        content = _content(args, bytes_per_pixel)
        size = content.shape[2:]
        parts = [Path(args.picture).stem, style, method.name]
    else:
        content, side = None, args.size or DEFAULT_SIZE["texture"]
        size = (side, side)
        options.check_memory(side, side, bytes_per_pixel)
        parts = [style, method.name, "texture"]
    mark = ["random-weights"] if args.random_weights else []
    output = options.check_output(args.output or Path("-".join(parts + mark) + ".png"), args.force)
    picture = _optimise(args, content, size) if optimises else _generate(args, net, content, size)
    print(images.save(picture, output, overwrite=args.force))
    return 0


def _generate(args: argparse.Namespace, net: Path, content: np.ndarray | None, size: tuple[int, int]) -> np.ndarray:
    engine = options.start_engine(args)
    from nst_gluon.generator import load_net

    generator = load_net(net, engine.context)
    if generator.meta.get("weights", {}).get("random"):
        print("note: this net was trained with random weights", file=sys.stderr)
    scale = 1.0 if args.noise_scale is None else args.noise_scale
    return generator.generate(content, size, seed=args.seed, noise_scale=scale)


def _coarse(text: str) -> tuple[int, ...]:
    sides = tuple(whole_number("--coarse", 16, 128)(part.strip()) for part in text.split(","))
    if list(sides) != sorted(set(sides)):
        raise UserError(f"--coarse: {text} does not ascend; give e.g. 128,256")
    return sides


def _optimise(args: argparse.Namespace, content: np.ndarray | None, size: tuple[int, int]) -> np.ndarray:
    full = max(size)
    if args.coarse and args.coarse[-1] >= full:
        raise UserError(f"--coarse: {args.coarse[-1]} is not smaller than the picture's {full} pixels")
    style_path = options.style_path(args.style or DEFAULT_STYLE)
    style_size = args.style_size or full
    style = options.load_picture("--style", style_path, style_size)

    engine = options.start_engine(args)
    weights = options.load_weights(args)
    from nst_gluon.loss import Objective
    from nst_gluon.optimization import config_of, initial_picture, optimise, stage_size

    preset = args.preset or presets.get(options.DEFAULT_PRESET)

    def objective(side: int) -> Objective:
        scaled = max(16, round(style_size * side / full))
        small = None if content is None else images.resize(content, stage_size(size, side))
        return Objective(
            preset,
            weights,
            args.task,
            style if side == full else options.load_picture("--style", style_path, scaled),
            content if side == full else small,
            engine.dtype,
            engine.context,
        )

    iterations = args.iterations or DEFAULT_ITERATIONS
    config = config_of(
        preset,
        iterations=iterations,
        optimizer=args.optimizer or "lbfgs",
        start="noise" if content is None else args.start or "content",
        pyramid=tuple((side, max(1, iterations // 2)) for side in args.coarse),
        seed=args.seed,
    )
    total = iterations + sum(evaluations for _, evaluations in config.pyramid)
    with tqdm(total=total, unit="step", disable=True if args.quiet else None) as bar:

        def show(step) -> None:
            bar.update()
            bar.set_postfix(objective=f"{step.terms.objective:.5g}", refresh=False)

        result = optimise(
            objective(full),
            initial_picture(config, content, size),
            config,
            show,
            [objective(side) for side in args.coarse],
        )
    if not args.quiet:
        terms = ", ".join(f"{name} {value:.5g}" for name, value in result.terms.as_dict().items())
        print(f"{terms}; {len(result.steps)} steps, stopped by: {result.stopped_because}", file=sys.stderr)
    return result.picture
