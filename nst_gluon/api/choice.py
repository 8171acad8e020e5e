"""Which method makes a picture, with which net; and the options that do not go with it. Imports no engine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nst_gluon import assets, methods
from nst_gluon.api import inputs
from nst_gluon.api.request import Request
from nst_gluon.descriptor import segments
from nst_gluon.methods.description import Noise
from nst_gluon.nets import netfile
from nst_gluon.nets.geometry import STATISTICS
from nst_gluon.pictures import images
from nst_gluon.system import runtime
from nst_gluon.system.errors import UserError, did_you_mean
from nst_gluon.system.files import PathLike

if TYPE_CHECKING:
    from nst_gluon.api import Net

OPTIMISERS_ONLY = (
    "preset", "iterations", "optimizer", "start", "coarse", "style_size", "segments", "weights", "random_weights",
)  # fmt: skip
# What a net is loaded with.
LOADING = ("device", "dtype", "threads")
ENGINES = ("gluon", "fastest")
# Whole numbers, and what may stand in their place.
WHOLE_NUMBERS = {
    "iterations": (), "net_size": (None,), "segments": (segments.AUTO,), "style_size": (None,), "tile": ("auto", "off"),
}  # fmt: skip
# The least longer side at which a net is to work.
LEAST_NET_SIZE = 16
# One evaluation of the objective, measured on one core at 256x256 and 512x512: seconds per pixel.
SECONDS_PER_PIXEL = 9e-6


@dataclass(frozen=True)
class Choice:
    """What makes the pictures.

    Attributes:
        style: the style's name, for people and file names.
        net: the net, or its file; None: the method needs none.
        fallback: whether nobody named the method and no net was found for the style.
    """

    method: methods.Method
    style: str
    net: Path | Net | None
    fallback: bool = False

    @property
    def takes_noise(self) -> bool:
        """Whether the method's net takes noise, whose scale is then the strength."""
        if self.net is None:
            return False
        meta = netfile.describe(self.net) if isinstance(self.net, Path) else self.net.meta
        return any(isinstance(layer, Noise) for layer in netfile.net_of(meta, str(self.net)).inputs)


def net_path(name_or_file: PathLike, argument: str) -> Path:
    """The file of a bundled net, by name, or the file that is named; UserError when it is neither."""
    bundled = {net.path.stem: net.path for net in assets.nets()}
    path = Path(name_or_file)
    if str(name_or_file) in bundled and not os.path.exists(path):
        return bundled[str(name_or_file)]
    if not os.path.isfile(path):
        hint = did_you_mean(str(name_or_file), bundled) if bundled else "none is bundled"
        raise UserError(f"{argument}: {str(name_or_file)!r} is neither a file nor a bundled net; {hint}")
    return path


def first_net(method: methods.Method, task: str, style: str) -> Path | None:
    """The bundled net of another style that a training of ``style`` begins with; None: there is none."""
    nets = [net for net in assets.nets() if (net.method, net.task) == (method.name, task)]
    return next((net.path for net in nets if net.style not in (style, Path(style).stem)), None)


def choose(request: Request) -> Choice:
    """The method and the net that make what is asked for; options that do not go with them are refused."""
    choice = _choice(request)
    check_options(request, choice)
    return choice


def generators(task: str) -> list[methods.Method]:
    """The methods that this engine can train a net of for ``task``, the usual one first."""
    return [m for m in methods.all() if m.kind == methods.GENERATES and task in m.tasks and runs_here(m)]


def runs_here(method: methods.Method) -> bool:
    """Whether MXNet can run the method."""
    return not method.engines or "gluon" in method.engines


def optimiser() -> methods.Method:
    """The method for any style."""
    return next(method for method in methods.bundled().values() if method.kind == methods.OPTIMISES)


def _choice(request: Request) -> Choice:
    method = methods.get(request.method) if isinstance(request.method, str) else request.method
    if request.net is not None:
        return _chosen_by_net(request, method)
    style = "picture" if isinstance(request.style, np.ndarray) else inputs.style_path(request.style).stem
    task = request.task
    if method is None:
        for found in generators(task):
            net = _bundled(request, found)
            if net is not None:
                return Choice(found, style, net)
        return Choice(optimiser(), style, None, fallback=True)
    method.check_task(task)
    if not runs_here(method):
        raise UserError(f"--method: {method.name} runs in {', '.join(method.engines)} only, see python -m bench run")
    if method.from_net:
        net = next(filter(None, (_bundled(request, found) for found in generators(task))), None)
        if net is None:
            other = optimiser().name
            raise UserError(f"--style: no bundled net for {task} of {style!r} to start from; use --method {other}")
        return Choice(method, style, net)
    if method.kind == methods.OPTIMISES:
        return Choice(method, style, None)
    net = _bundled(request, method)
    if net is None:
        raise UserError(
            f"--style: no net of {method.name} for {task} of {style!r} is bundled; give one with --net FILE, train one "
            f"(python -m nst_gluon train --help), or use --method {optimiser().name}"
        )
    return Choice(method, style, net)


def _bundled(request: Request, method: methods.Method) -> Path | None:
    if isinstance(request.style, np.ndarray):
        return None
    return assets.find_net(str(request.style), method.name, request.task)


def _chosen_by_net(request: Request, asked: methods.Method | None) -> Choice:
    if isinstance(request.net, (str, os.PathLike)):
        net = net_path(request.net, "--net")
        with inputs.naming("--net"):
            meta = netfile.describe(net)
            method = netfile.method_of(meta, repr(str(request.net)))
        name = str(request.net)
    else:
        net, meta, name = request.net, request.net.meta, "the net"
        for option in LOADING:
            if option in request.given:
                raise UserError(f"--{option}: this net is loaded already; give {option} to load_net")
        method = netfile.method_of(meta, name)
    if not runs_here(method):
        raise UserError(f"--net: {name!r} runs in {', '.join(method.engines)} only, see python -m bench run")
    if meta.get("task") != request.task:
        raise UserError(f"--net: {name!r} is a net for {meta.get('task')}; use that command")
    if asked not in (None, method):
        raise UserError(f"--method: {name!r} is a net of {method.name}; leave --method out")
    if "style" in request.given:
        raise UserError("--style: a net is trained for one style; leave out --style or --net")
    return Choice(method, Path(str(meta.get("style", "net"))).name or "net", net)


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def check_options(request: Request, choice: Choice) -> None:
    """Raise UserError for options that no method knows or that this one has no use for."""
    for name, known in (("tile_statistics", STATISTICS), ("engine", ENGINES)):
        value = getattr(request, name)
        if value not in known:
            raise UserError(f"{_option(name)}: unknown {value!r}; {did_you_mean(str(value), known)}")
    for name, words in WHOLE_NUMBERS.items():
        if getattr(request, name) not in words:
            images.check_size(getattr(request, name), _option(name))
    for side in request.coarse:
        images.check_size(side, "--coarse")
    if request.net_size is not None and request.net_size < LEAST_NET_SIZE:
        raise UserError(f"--net-size: {request.net_size} is too small; the least is {LEAST_NET_SIZE}")
    inputs.check_number(request.strength, "--strength")
    inputs.check_seed(request.seed)
    if list(request.coarse) != sorted(set(request.coarse)):
        raise UserError("--coarse: the sides do not ascend; give e.g. 128, 256")
    method = choice.method
    if method.kind == methods.GENERATES:
        given = [name for name in OPTIMISERS_ONLY if name in request.given]
        if given:
            option = _option(given[0])
            raise UserError(f"{option}: {method.name} makes a picture in one pass; {option} is for optimisation")
        if request.tile == "off" and "tile_statistics" in request.given:
            raise UserError("--tile-statistics: with --tile off there are no tiles; leave one of them out")
        if request.engine == "fastest" and request.tile not in ("auto", "off"):
            raise UserError("--engine: fastest makes pictures in one piece; leave --tile out")
    else:
        for name in ("tile", "tile_statistics", "engine"):
            if name in request.given:
                option = _option(name)
                raise UserError(f"{option}: {method.name} optimises the picture as a whole; {option} is for nets")
        if "net_size" in request.given:
            raise UserError(f"--net-size: {method.name} works at the picture's own size; --net-size is for nets")
        if "strength" in request.given:
            raise UserError(f"--strength: {method.name} weighs style and content by --preset; --strength is for nets")
        if method.begins_with and "start" in request.given:
            raise UserError(f"--start: {method.name} starts from {method.begins_with}; leave --start out")
    if request.strength > 1 and not choice.takes_noise:
        raise UserError(f"--strength: {request.strength:g} is too large for {method.name}; give 0 (the photo) to 1")


def fallback_note(request: Request, choice: Choice, size: tuple[int, int], count: int = 1, videos: int = 0) -> str:
    """What to tell before pictures of ``size`` are optimised only because no net was found: how long it will take,
    and what would be faster.

    Args:
        count: of pictures and videos; ``videos``: those that are videos, of whose frames each is optimised.
    """
    if videos:
        what, count, each = "each frame" if videos == count else "each picture and each frame", 1, " each"
    else:
        what, each = "the picture" if count == 1 else f"{count} pictures", ""
    cores = min(runtime.available_cores(), request.threads or runtime.available_cores(), 8)
    seconds = SECONDS_PER_PIXEL * size[0] * size[1] * request.iterations / cores * count
    about = f"{max(1, seconds):.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
    took = f", about {about}{each} here" if str(request.device) == "cpu" else ""
    styles = sorted({net.style for net in assets.nets() if net.task == request.task})
    faster = f"a style with a net ({', '.join(styles)})" if styles else "a net"
    return (
        f"note: no net is bundled for {choice.style!r}, so {choice.method.name} optimises "
        f"{what} in {request.iterations} evaluations{took}. "
        f"Faster: {faster}, a net of your own (python -m nst_gluon train), or a smaller --size or --iterations"
    )
