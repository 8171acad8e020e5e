"""``stylize`` and ``texture``: one picture, by any method."""

from __future__ import annotations

import argparse
import io
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from tqdm import tqdm

from nst_gluon import assets, images, methods, netfile, runtime
from nst_gluon.commands import descent, options
from nst_gluon.commands.descent import DEFAULT_ITERATIONS, DEFAULT_STYLE
from nst_gluon.console import number, whole_number
from nst_gluon.errors import UserError
from nst_gluon.files import write_atomically

if TYPE_CHECKING:
    from nst_gluon.generator import Generator

DEFAULT_SIZE = {"stylize": 512, "texture": 256}
# Pictures of more pixels than this are made in tiles of at most TILE_SIDE, unless --tile says otherwise; bytes a pixel
# of a tile, with all its graphs, and of the picture as it is read and written, measured.
WHOLE_PIXELS, TILE_SIDE = 2048**2, 512
TILE_BYTES, PICTURE_BYTES = 2_600, 24
OPTIMISERS_ONLY = (
    "preset", "iterations", "optimizer", "start", "coarse", "style_size", "segments", "weights", "random_weights",
)  # fmt: skip


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
    nets.add_argument(
        "--tile",
        type=options.parse_tile,
        default="auto",
        metavar="N",
        help="make the picture in tiles of N pixels, in little memory; off: in one piece; auto (default):\n"
        "tiles where it would not fit into memory or has more than 2048 x 2048 pixels",
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
        type=descent.parse_coarse,
        default=(),
        metavar="LIST",
        help="sides of smaller pictures to begin with, such as 128,256; half as many steps for each "
        "(gatys_pyramid chooses sides and a few steps by itself)",
    )
    gatys.add_argument(
        "--segments",
        type=descent.parse_segments,
        metavar="N",
        help="compute the descriptor in N parts, one after another: less memory, a third more time; auto (default: "
        "if it would not fit otherwise) or off",
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


def _net_to_begin_with(style: str, task: str) -> Path:
    """The bundled net of the first method that has one for the style."""
    generators = [name for name, method in methods.METHODS.items() if method.kind == "generates"]
    nets = filter(None, (assets.find_net(style, name, task) for name in generators))
    net = next(nets, None)
    if net is None:
        raise UserError(f"--style: no net for {task} of {style!r} is bundled to begin with; use --method gatys")
    return net


def _check_options(args: argparse.Namespace, method: methods.Method) -> None:
    if method.kind == "generates":
        given = [name for name in OPTIMISERS_ONLY if getattr(args, name, None)]
        if given:
            option = "--" + given[0].replace("_", "-")
            raise UserError(f"{option}: {method.name} works in one pass; {option} is for --method gatys")
    elif args.tile != "auto":
        raise UserError(f"--tile: {method.name} optimises the picture as a whole; --tile is for nets")
    if method.from_net and args.start:
        raise UserError(f"--start: {method.name} starts from a net's picture; leave --start out")
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
    bytes_per_pixel = descent.bytes_per_pixel(args) if optimises else PICTURE_BYTES
    if args.tile == "off":
        bytes_per_pixel = options.NET_BYTES
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
    picture = None if net is None else _generate(args, net, content, size)
    if optimises:
        start = images.from_uint8(picture) if picture is not None and picture.dtype == np.uint8 else picture
        picture = descent.picture(args, method, start, content, size)
    save = _save_pixels if picture.dtype == np.uint8 else images.save
    print(save(picture, output, args.force))
    return 0


def _save_pixels(pixels: np.ndarray, path: Path, overwrite: bool) -> Path:
    """:func:`nst_gluon.images.save` of uint8 (H, W, 3), which never becomes floats again."""
    kind = images.SAVE_FORMATS[path.suffix.lower()]
    stream = io.BytesIO()
    try:
        Image.fromarray(pixels).save(stream, kind, **({"quality": 95, "subsampling": 0} if kind == "JPEG" else {}))
    except (OSError, ValueError) as error:
        height, width = pixels.shape[:2]
        raise UserError(f"--output: {kind} cannot hold {width} x {height} pixels; end the name in .png") from error
    return write_atomically(path, stream.getbuffer(), overwrite)


def _tile_side(tile: int | str, generator: Generator, size: tuple[int, int]) -> int | None:
    """The side of the tiles that the picture is made in; None makes it in one piece."""
    if tile == "off" or (tile == "auto" and generator.context.device_type != "cpu"):
        return None
    if tile != "auto":
        return tile
    if size[0] * size[1] <= WHOLE_PIXELS and options.fits_memory(*size, options.NET_BYTES):
        return None
    from nst_gluon.tiles import least_side

    room = (runtime.memory_available_bytes() - options.BASE_BYTES) // 2
    return max(min(TILE_SIDE, math.isqrt(max(room, 0) // TILE_BYTES)), least_side(generator))


def _generate(args: argparse.Namespace, net: Path, content: np.ndarray | None, size: tuple[int, int]) -> np.ndarray:
    """The net's picture: float32 (1, 3, H, W) in [0, 1], or uint8 (H, W, 3) if it was made in tiles."""
    engine = options.start_engine(args)
    from nst_gluon.generator import load_net

    generator = load_net(net, engine.context, engine.dtype)
    if generator.meta.get("weights", {}).get("random"):
        print("note: this net was trained with random weights", file=sys.stderr)
    scale = 1.0 if args.noise_scale is None else args.noise_scale
    side = _tile_side(args.tile, generator, size)
    if side is not None:
        from nst_gluon.tiles import Tiling

        tiling = Tiling(generator, content, size, side, args.seed, scale)
        with tqdm(unit="tile", total=tiling.work, disable=True if args.quiet else None) as bar:
            return tiling.pixels(bar.update)
    return generator.generate(content, size, seed=args.seed, noise_scale=scale)
