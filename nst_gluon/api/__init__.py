"""The Python interface: :func:`stylize`, :func:`texture`, :func:`train`, :func:`score` and :func:`load_net`.

Pictures go in as files, names of bundled pictures, or arrays (H, W, 3) of uint8 or of floats in [0, 1]; they come out
as arrays of uint8. The command line takes its defaults from these signatures. Invalid arguments raise
:class:`nst_gluon.system.errors.UserError`, whose text names the argument as the command line spells it (``--style``);
a result that is not finite raises :class:`nst_gluon.system.errors.NotFinite`. Importing this module imports no engine.
"""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nst_gluon import methods
from nst_gluon.api import inputs
from nst_gluon.api.choice import first_net, generators, net_path, runs_here
from nst_gluon.api.inputs import Listener, Picture
from nst_gluon.api.kinds import checked
from nst_gluon.api.maker import PictureMaker
from nst_gluon.api.request import request
from nst_gluon.methods.description import describe
from nst_gluon.nets import netfile
from nst_gluon.nets.patterns import normalises_alone
from nst_gluon.objective import presets
from nst_gluon.pictures import images
from nst_gluon.system import runtime
from nst_gluon.system.errors import NotFinite, UserError
from nst_gluon.system.files import PathLike
from nst_gluon.training import recipe as recipes
from nst_gluon.training import together
from nst_gluon.training.config import TrainConfig

if TYPE_CHECKING:
    from nst_gluon.nets.trained_net import TrainedNet

__all__ = ["Net", "Score", "defaults", "load_net", "score", "stylize", "texture", "train"]

ITERATIONS = 200  # evaluations of an optimisation
FEW_PIXELS = 2  # by which a picture may be off its photo's aspect


def defaults(function: Callable[..., Any]) -> dict[str, Any]:
    """The keyword-only parameters of a function of this module, with their defaults."""
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


@checked
def stylize(
    content: Picture,
    *,
    style: Picture | None = None,
    method: str | None = None,
    net: PathLike | Net | None = None,
    size: int | str = inputs.AUTO,
    strength: float = 1.0,
    keep_colors: bool = False,
    net_size: int | None = None,
    seed: int = 0,
    tile: int | str = "auto",
    tile_statistics: str = "exact",
    preset: str = presets.DEFAULT,
    iterations: int = ITERATIONS,
    optimizer: str = "lbfgs",
    start: str = "content",
    coarse: Sequence[int] = (),
    style_size: int | None = None,
    segments: int | str = "auto",
    weights: str | None = None,
    random_weights: bool = False,
    engine: str = "gluon",
    device: str = "cpu",
    dtype: str = "float32",
    threads: int | None = None,
) -> np.ndarray:
    """``content`` in the style of another picture: uint8 (H, W, 3), its aspect kept.

    Args:
        style: any picture, for methods that optimise; nets have theirs inside. None: ``great_wave``.
        method: a name of :func:`nst_gluon.methods.names` or a reference to one of your own, ``FILE.py:NAME``; None:
            one with a bundled net for the style, otherwise optimisation.
        net: a trained net, instead of style and method: a file, a bundled name, or what :func:`load_net` returned.
        size: the longer side in pixels; ``auto``: that of ``content``, at most 512; ``original``: that of ``content``.
        strength: for nets only: 0 (the photo) to 1 (the full style); for nets that take noise, the scale of the noise.
        keep_colors: keep the photo's own colours.
        net_size: for nets only: stylise a larger picture at this longer side, then restore its detail; None: at its own
            size.
        seed: of all noise.
        tile: for nets only: the picture in tiles of so many pixels; ``auto``: if it is large; ``off``: in one piece.
        tile_statistics: what instance norms divide by in tiles: ``exact``, as in one piece, or ``thumbnail``, which is
            faster and another picture (14 to 22 dB).
        preset: name of the objective. This and the following ones, to ``random_weights``: for optimisation only.
        iterations: evaluations of the objective.
        optimizer: ``lbfgs`` or ``adam``.
        start: ``content`` or ``noise``.
        coarse: longer sides of smaller pictures to begin with.
        style_size: side of the style picture, its centre square; None: the longer side of what is made.
        segments: parts of the descriptor, computed again for the gradient to save memory; ``auto``: 1, if it fits.
        weights: the descriptor's weights, a name or a file.
        random_weights: an untrained descriptor, for tests.
        engine: for nets only: ``gluon``, or ``fastest``: the installed engine that makes the same picture (60 dB; 40 in
            bfloat16) fastest, found in a trial of some seconds at each new size; pays off for many pictures. Not in
            tiles.
        device, dtype, threads: ``cpu``, ``gpu`` or ``gpu:1``; ``float32`` or ``bfloat16``; threads of this process,
            which are settled when the engine starts (None: OMP_NUM_THREADS, or all cores).
    """
    values = locals()
    picture, side = values.pop("content"), values.pop("size")
    maker = PictureMaker(request("stylize", defaults(stylize), values))
    pixels = picture if isinstance(picture, np.ndarray) else inputs.content_path(picture, "content")
    array = inputs.load_fitted("content", pixels, side, maker.bytes_needed)
    return maker.picture(array, array.shape[2:])


@checked
def texture(
    *,
    style: Picture | None = None,
    method: str | None = None,
    net: PathLike | Net | None = None,
    size: int = inputs.LARGEST,
    strength: float = 1.0,
    seed: int = 0,
    tile: int | str = "auto",
    tile_statistics: str = "exact",
    preset: str = presets.DEFAULT,
    iterations: int = ITERATIONS,
    optimizer: str = "lbfgs",
    coarse: Sequence[int] = (),
    style_size: int | None = None,
    segments: int | str = "auto",
    weights: str | None = None,
    random_weights: bool = False,
    engine: str = "gluon",
    device: str = "cpu",
    dtype: str = "float32",
    threads: int | None = None,
) -> np.ndarray:
    """A texture like ``style``, from noise: uint8 (size, size, 3). Parameters as those of :func:`stylize`.

    Args:
        strength: scale of a texture network's noise, 0 or more; 0 gives a plain surface.
    """
    values = locals()
    side = images.check_size(values.pop("size"), "--size")
    maker = PictureMaker(request("texture", defaults(texture), values))
    inputs.check_memory(side, side, maker.bytes_needed(side, side))
    return maker.picture(None, (side, side))


# ---------------------------------------------------------------------------------------------------------- nets


@dataclass(frozen=True)
class Net:
    """A trained net, loaded once: call it with a photo, or with nothing if it makes textures.

    Attributes:
        generator: the net itself, whose arrays are (N, 3, H, W).
    """

    generator: TrainedNet

    @property
    def meta(self) -> dict[str, Any]:
        """What the net's file says of it: method, task, style, architecture, training."""
        return self.generator.meta

    def __call__(self, content: Picture | None = None, **options: Any) -> np.ndarray:
        """A picture, uint8 (H, W, 3). The options are those of :func:`stylize` or :func:`texture` for nets."""
        if self.meta["task"] == "texture":
            if content is not None:
                raise UserError("content: this net makes textures from noise; leave it out")
            return texture(net=self, **options)
        if content is None:
            raise UserError("content: this net stylises photos; give one")
        return stylize(content, net=self, **options)


@checked
def load_net(net: PathLike, *, device: str = "cpu", dtype: str = "float32", threads: int | None = None) -> Net:
    """A trained net: a file that :func:`train` wrote, or the name of a bundled one (``nst-gluon list nets``)."""
    path = net_path(net, "net")
    engine = inputs.start_engine(device, dtype, threads)
    from nst_gluon.nets import trained_net

    return Net(trained_net.load_net(path, engine.context, engine.dtype))


@checked
def train(
    style: PathLike,
    *,
    output: PathLike = ".",
    method: str | None = None,
    task: str = "stylize",
    photos: PathLike | None = None,
    force: bool = False,
    preset: str = presets.DEFAULT,
    style_weight: float = 1.0,
    recipe: str = recipes.DEFAULT,
    iterations: int | None = None,
    size: int | Sequence[int] = 256,
    batch: int = 1,
    architecture: Mapping[str, float] | None = None,
    start: PathLike | None = None,
    seed: int = 0,
    learning_rate: float | None = None,
    checkpoint_every: int = 100,
    preview_every: float = 60.0,
    weights: str | None = None,
    random_weights: bool = False,
    device: str = "cpu",
    dtype: str = "float32",
    threads: int | None = None,
    quiet: bool = True,
    command: str = "",
    workers: int | PathLike = 1,
) -> Path:
    """Train a net for one style; the path of its file, beside which lie its log, preview and page.

    A training that was interrupted goes on from its last checkpoint when it is called again with the same arguments.

    Args:
        style: a file, or the name of a bundled style.
        output: the folder, made if missing.
        method: one that generates; None: the first that can do the task.
        task: ``stylize`` or ``texture``.
        photos: a folder of photos to train on; ``coco``: COCO's val2017, downloaded once (0.8 GB); None: the bundled
            ones. Textures need none.
        force: replace a net that is there.
        preset, style_weight: the objective, and what its style weights are multiplied by.
        recipe: how it is trained: ``tuned``, or ``paper``: plain Adam, the method's schedule.
        iterations, batch: steps of Adam (None: 600 from a net, 1500 from random weights), and pictures in each.
        size: side of the pictures, or several that are taken in turn; the style has the first.
        architecture: what the method's nets can vary (its ``choices()``), such as ``{"width": 0.5}``.
        start: a net of the same method and task to begin with, or ``random``; None: to stylise, the bundled one of
            another style, if there is one and neither ``architecture``, ``random_weights`` nor another recipe is given;
            otherwise ``random``. (A texture's net has nothing but its style to forget.)
        seed: of all that is random.
        learning_rate: Adam's first, which ``tuned`` lowers along a cosine; None: the method's own, or of ``tuned`` from
            random weights 0.01, where the method minimises the common objective.
        checkpoint_every, preview_every: iterations between checkpoints; seconds between previews.
        quiet: no progress on stderr.
        command: what the net's description gives as its command.
        workers: processes on this machine, or a file of hosts for ssh, "HOST" or "HOST slots=N" a line, which all see
            the same folders; each takes its part of every batch.
    """
    seed, random_weights, force, quiet = inputs.check_seed(seed), bool(random_weights), bool(force), bool(quiet)
    iterations, batch, checkpoint_every, threads = (
        value if value is None else images.check_size(value, f"--{name}") for name, value in (
            ("iterations", iterations), ("batch", batch), ("checkpoint-every", checkpoint_every), ("threads", threads))
    )  # fmt: skip
    style_weight, learning_rate, preview_every = (
        value if value is None else inputs.check_number(value, f"--{name}") for name, value in (
            ("style-weight", style_weight), ("learning-rate", learning_rate), ("preview-every", preview_every))
    )  # fmt: skip
    dtype, kind = runtime.parse_dtype(dtype), runtime.parse_device(device)
    where = together.places(workers)
    together.check_batch(batch, len(where))
    if not method and task not in methods.TASKS:
        raise UserError(f"--task: unknown {task!r}; give {' or '.join(methods.TASKS)}")
    chosen = methods.get(method) if method else generators(task)[0]
    if not isinstance(chosen, methods.Generator):
        raise UserError(f"--method: {chosen.name} optimises a picture and has no net to train")
    if not runs_here(chosen):
        raise UserError(f"--method: {chosen.name} runs in {', '.join(chosen.engines)} only and cannot be trained")
    chosen.check_task(task)
    if len(where) > 1 and chosen.own_loss:
        raise UserError(f"--workers: {chosen.name} has a training of its own, in one process; leave --workers out")
    for name in architecture or {}:
        if name not in chosen.choices():
            own = ", ".join(f"--{choice}" for choice in chosen.choices()) or "nothing"
            raise UserError(f"--{name}: a net of {chosen.name} does not have that; it takes {own}")
    sizes = [images.check_size(side, "--size") for side in ([size] if np.isscalar(size) else size)]
    if not sizes:
        raise UserError("--size: no side is given; give one of at least 1, e.g. 256")
    path = inputs.style_path(style)
    inputs.load_picture("--style", path, sizes[0])
    if photos is not None:
        if task == "texture":
            raise UserError("--photos: a texture is made from noise alone; leave --photos out")
        from nst_gluon.training import coco  # urllib takes a moment, which pictures need not wait for

        if photos == coco.NAME:
            photos = coco.fetch(progress=not quiet)
        with inputs.naming("--photos"):
            for photo in images.list_folder(photos):
                images.check(photo)
    recipes.get(recipe)
    if start == "random":
        start = None
    elif start is not None:
        start = net_path(start, "--start")
        with inputs.naming("--start"):
            netfile.load(start)
    elif task == "stylize" and recipe == recipes.DEFAULT and not (architecture or random_weights):
        start = first_net(chosen, task, str(style))
    enough = recipes.STEPS if start else recipes.STEPS_FROM_RANDOM
    iterations = enough if iterations is None else iterations
    if not quiet and iterations < enough // 2 and not random_weights:
        print(f"note: {iterations} steps are few for a good picture; --iterations {enough} is usual", file=sys.stderr)
    fields = {
        "method": chosen.name, "task": task, "style": str(style), "preset": presets.get(preset).name,
        "photos": None if photos is None else str(photos), "recipe": recipe, "iterations": iterations, "batch": batch,
        "size": sizes[0], "more_sizes": tuple(sizes[1:]), "start": None if start is None else str(start), "seed": seed,
        "learning_rate": learning_rate, "dtype": dtype, "style_weight": style_weight, "weights": weights,
        "random_weights": random_weights, "architecture": dict(architecture or {}), "workers": len(where),
    }  # fmt: skip
    config = TrainConfig(**fields)
    if not where[0].host:  # on other machines the workers know what they can do
        runtime.check_dtype(dtype, kind)
        net = describe(chosen, config.new_architecture, f"--method {chosen.name}")
        at_once = len(where) if normalises_alone(net) and not chosen.own_loss else batch
        side, each = max(sizes), at_once * inputs.OPTIMISE_BYTES + len(where) * batch * inputs.WAITING_BYTES
        inputs.check_memory(side, side, each * side**2, smaller="size" if batch == 1 else "--size or --batch")
    how = {"checkpoint_every": checkpoint_every, "preview_every_s": preview_every, "overwrite": force, "quiet": quiet}
    if len(where) > 1 or where[0].host:
        if kind.index:
            raise UserError(f"--device: {device} is one GPU, and each worker takes its own; give gpu")
        reference = methods.facts(chosen.name).reference or chosen.name
        job = {
            "method": reference, "config": fields, "output": str(output), "command": command, "options": how,
        }  # fmt: skip
        return together.launch(job, where, kind.kind, threads)
    engine = inputs.start_engine(kind, dtype, threads)
    from nst_gluon.training import run_folder

    return run_folder.train(config, Path(output), engine.context, command, **how)



# --------------------------------------------------------------------------------------------------------- score


@dataclass(frozen=True)
class Score:
    """The objective of a picture: its terms, each weighted, so that they add up to ``objective``; and of what."""

    objective: float
    content: float
    style: float
    tv: float
    preset: str
    task: str
    height: int
    width: int
    style_size: int
    dtype: str
    weights: dict[str, Any]


@checked
def score(
    picture: Picture,
    *,
    style: Picture,
    content: Picture | None = None,
    preset: str = presets.DEFAULT,
    size: int | str = inputs.ORIGINAL,
    style_size: int | None = presets.STYLE_SIZE,
    weights: str | None = None,
    random_weights: bool = False,
    device: str = "cpu",
    dtype: str = "float32",
    threads: int | None = None,
    listener: Listener | None = None,
) -> Score:
    """The terms of the objective at a picture, whoever made it.

    Args:
        style: its centre square is used, at ``style_size``, by default that of the nets' training and of benchmarks
            (None: the picture's longer side).
        content: None: a texture's objective. The centre square if the picture is square; resampled to its size.
        preset: the objective's name.
        size: the picture's longer side; ``original`` is what a comparison should use.
        listener: told that the weights are random, if they are.
    """
    what = picture if isinstance(picture, np.ndarray) else inputs.content_path(picture, "PICTURE")
    style_file = style if isinstance(style, np.ndarray) else inputs.style_path(style)
    photo = content if content is None or isinstance(content, np.ndarray) else inputs.content_path(content, "--content")
    array = inputs.load_fitted("PICTURE", what, size, lambda height, width: inputs.FORWARD_BYTES * height * width)
    height, width = array.shape[2:]
    side = max(height, width) if style_size is None else images.check_size(style_size, "--style-size")
    option = "--size" if style_size is None else "--style-size"
    style_array = inputs.load_picture("--style", style_file, side, side=option)
    target = None if photo is None else content_like(photo, (height, width))
    engine = inputs.start_engine(device, dtype, threads)
    loaded = inputs.load_weights(weights, random_weights, listener or Listener())
    from nst_gluon.objective.loss import Objective

    task = "texture" if target is None else "stylize"
    objective = Objective(presets.get(preset), loaded, task, style_array, target, engine.dtype, engine.context)
    terms = objective.terms(array).as_dict()
    if not all(math.isfinite(value) for value in terms.values()):
        name = "the array" if isinstance(picture, np.ndarray) else repr(str(picture))
        raise NotFinite(f"the objective of {name} is not finite: {terms}")
    return Score(
        **terms, preset=preset, task=task, height=height, width=width, style_size=side, dtype=engine.dtype,
        weights=loaded.identity(),
    )  # fmt: skip



def content_like(content: Path | np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A content picture at exactly ``shape``, prepared as the functions that make pictures prepare it.

    For a square, its centre square; otherwise the whole picture, a few pixels wider or narrower (those of videos are
    even). UserError if its aspect is another.
    """
    height, width = shape
    whole = inputs.load_picture("--content", content)
    if whole.shape[2:] == shape:
        return whole
    fitted = inputs.load_picture("--content", content, max(shape), "square" if height == width else "fit")
    if max(abs(side - asked) for side, asked in zip(fitted.shape[2:], shape)) > FEW_PIXELS:
        raise UserError(
            f"--content: {whole.shape[3]}x{whole.shape[2]} pixels have another aspect than the picture's "
            f"{width}x{height}; give the photo that it was made of"
        )
    return fitted if fitted.shape[2:] == shape else images.resize(whole, shape)
