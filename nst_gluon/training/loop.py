"""One training loop for the feed-forward nets: pictures in, the common objective down, a net file out.

Everything random follows ``(seed, iteration)`` alone, so a run that was interrupted resumes exactly: the same
pictures, crops and noise come again whatever was drawn before.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nst_gluon import assets, methods
from nst_gluon.descriptor import weights as vgg_weights
from nst_gluon.methods.description import describe
from nst_gluon.nets import netfile
from nst_gluon.nets.geometry import working_size
from nst_gluon.nets.inputs import drawn
from nst_gluon.nets.trained_net import TrainedNet
from nst_gluon.nets.training_net import initialised, parameters_of, set_parameters, values_of
from nst_gluon.objective import presets
from nst_gluon.objective.loss import Objective
from nst_gluon.objective.loss_terms import Terms
from nst_gluon.pictures import images
from nst_gluon.system.engine import mx
from nst_gluon.system.errors import NotFinite, UserError
from nst_gluon.training import photos


@dataclass(frozen=True)
class TrainConfig:
    """What decides a trained net.

    Attributes:
        style: a bundled style's name or a picture file.
        photos: a folder of pictures to train on; None: bundled ones (:func:`nst_gluon.assets.training_pictures`).
            Textures need none.
        size, batch: pictures of size x size, so many a step. The style is seen at this size.
        more_sizes: sides that are taken in turn with ``size``, an iteration each.
        learning_rate, decay_start, decay_every, decay: Adam's rate, multiplied by ``decay`` every ``decay_every``
            iterations from ``decay_start`` on; None: the method's own schedule (:func:`defaults`).
        dtype: precision of the descriptor's convolutions; the net itself trains in float32.
        style_weight: multiplies the preset's style weights.
        scales: K of a texture network; None: the paper's for the task, or what ``start`` has.
        finest: channels of a texture network's finest scale; None: the paper's, or what ``start`` has.
        start: a net file of the same method and task, whose parameters the training begins with; None: at random.
    """

    method: str
    task: str
    style: str
    preset: str = "texture_net"
    photos: str | None = None
    iterations: int = 2000
    size: int = 256
    batch: int = 4
    seed: int = 0
    learning_rate: float | None = None
    decay_start: int | None = None
    decay_every: int | None = None
    decay: float | None = None
    dtype: str = "float32"
    style_weight: float = 1.0
    scales: int | None = None
    finest: int | None = None
    width: float | None = None
    more_sizes: tuple[int, ...] = ()
    start: str | None = None
    weights: str | None = None
    random_weights: bool = False

    @property
    def sizes(self) -> tuple[int, ...]:
        """All sides that pictures have."""
        return (self.size, *self.more_sizes)

    def side(self, iteration: int) -> int:
        """The side of the pictures of an iteration (the first is 0)."""
        return self.sizes[iteration % len(self.sizes)]

    def as_json(self) -> dict[str, Any]:
        """As it comes back from JSON."""
        return json.loads(json.dumps(asdict(self)))


@dataclass(frozen=True)
class Progress:
    """One finished iteration; ``terms`` are means over its batch."""

    iteration: int
    seconds: float
    learning_rate: float
    terms: Terms


def defaults(config: TrainConfig) -> TrainConfig:
    """``config`` with the method's own schedule where it has None."""
    own = methods.get(config.method).schedule(config.iterations)
    schedule = {
        "learning_rate": own.rate,
        "decay_start": own.decay_start,
        "decay_every": own.decay_every,
        "decay": own.decay,
    }
    return replace(config, **{k: v for k, v in schedule.items() if getattr(config, k) is None})


def learning_rate(config: TrainConfig, iteration: int) -> float:
    """The rate of an iteration (the first is 0) under a ``config`` from :func:`defaults`."""
    late = iteration - config.decay_start
    return config.learning_rate * (config.decay ** (late // config.decay_every + 1) if late >= 0 else 1.0)


class Crops(mx.gluon.data.Dataset):
    """Random crops of photos: item i is (3, side(i), side(i)), a function of (seed, i) alone."""

    def __init__(self, pictures: list[np.ndarray], side: Callable[[int], int], seed: int, first: int, last: int):
        self._pictures, self._side, self._seed, self._first, self._last = pictures, side, seed, first, last

    def __len__(self) -> int:
        return self._last - self._first

    def __getitem__(self, index: int) -> np.ndarray:
        item = self._first + index
        rng = np.random.default_rng([self._seed, 1, item])
        picture = self._pictures[rng.integers(len(self._pictures))]
        return photos.random_crop(picture, self._side(item), rng)


def contents(config: TrainConfig, first: int = 0) -> Iterator[np.ndarray | None]:
    """Content batches (N, 3, side, side) from iteration ``first`` on; None for textures."""
    if config.task == "texture":
        for _ in range(first, config.iterations):
            yield None
        return
    paths = images.list_folder(config.photos) if config.photos else assets.training_pictures(config.style)
    pictures = [images.load(path)[0] for path in paths]
    first, last = first * config.batch, config.iterations * config.batch
    crops = Crops(pictures, lambda item: config.side(item // config.batch), config.seed, first, last)
    loader = mx.gluon.data.DataLoader(
        crops,
        config.batch,
        batchify_fn=lambda items: np.stack(items),
        num_workers=1,
        thread_pool=True,
        prefetch=2,
    )
    yield from loader


class Trainer:
    """The state of one training: net, optimiser, objective, iteration."""

    def __init__(self, config: TrainConfig, weights: vgg_weights.VggWeights, ctx=None):
        self.config, self.ctx, self.weights = defaults(config), ctx or mx.cpu(), weights
        self.method = methods.get(config.method)
        self.architecture, self.start = self.method.architecture(config.task), None
        for name in ("scales", "finest", "width"):
            if getattr(config, name) is not None:
                self.architecture[name] = getattr(config, name)
        begin = self._start_from(config.start) if config.start else None
        self.description = describe(self.method, self.architecture, f"--method {config.method}")
        for size in config.sizes:
            working = working_size(self.description, size, size)
            if working != (size, size):
                raise UserError(f"--size: {config.method} trains at multiples of its grid; {working[0]} would do")
        self.preset = presets.get(config.preset)
        if config.style_weight != 1.0:
            scaled = tuple((name, w * config.style_weight) for name, w in self.preset.style_layers)
            self.preset = replace(self.preset, style_layers=scaled)
        style = images.load(assets.style_path(config.style), config.size)
        self.objective = Objective(self.preset, weights, config.task, style, dtype=config.dtype, ctx=self.ctx)
        mx.random.seed(config.seed)
        np.random.seed(config.seed)
        self.net = initialised(self.description, self.method.initializer, self.ctx)
        if begin is not None:
            set_parameters(self.net, begin, self.ctx, config.start)
        self.net.hybridize(static_alloc=True, static_shape=True)
        # Instance normalisation takes one picture at a time, so gradients add up over the batch.
        self.per_pass = 1 if self.net.one_by_one else config.batch
        learnt = {p.name: p for p in parameters_of(self.net).values() if p.grad_req != "null"}
        for parameter in learnt.values():
            parameter.grad_req = "add"
        self._learnt = learnt
        self.optimizer = mx.gluon.Trainer(learnt, "adam", {"learning_rate": self.config.learning_rate}, kvstore=None)
        self.iteration = 0
        self.seconds = 0.0

    def _start_from(self, path: str) -> dict[str, np.ndarray]:
        """The parameters of a net to begin with; its architecture becomes this training's."""
        parameters, meta = netfile.load(path)
        config, digest = self.config, hashlib.sha256(Path(path).read_bytes()).hexdigest()
        kept = {name: meta.get(name) for name in ("command", "iterations", "seconds", "start")}
        self.start = {"sha256": digest, **kept}
        for name in ("method", "task"):
            if meta.get(name) != getattr(config, name):
                raise UserError(f"--start: {path} is of the {name} {meta.get(name)}, not {getattr(config, name)}")
        architecture = meta.get("architecture", {})
        if config.scales not in (None, architecture.get("scales")):
            raise UserError(f"--scales: {path} has {architecture.get('scales')} scales; leave --scales out")
        if config.finest not in (None, architecture.get("finest")):
            raise UserError(f"--finest: {path} has its own number of channels; leave --finest out")
        self.architecture = architecture
        return parameters

    def step(self, content: np.ndarray | None) -> Progress:
        """One iteration on content pictures (batch, 3, side, side), or on noise alone for textures.

        Raises:
            NotFinite: the objective diverged.
        """
        config, start = self.config, time.perf_counter()
        rng = np.random.default_rng([config.seed, 2, self.iteration])
        side = config.side(self.iteration)
        shape = (config.batch, side, side)
        inputs = [
            mx.nd.array(a, ctx=self.ctx, dtype="float32")
            for a in drawn(self.description, content, rng, shape)
        ]
        for parameter in self._learnt.values():
            parameter.zero_grad()
        totals, finite = [], True
        for first in range(0, config.batch, self.per_pass):
            part = slice(first, first + self.per_pass)
            targets = None if content is None else self.objective.content_targets(content[part])
            with mx.autograd.record():
                pictures = self.net(*(x[part] for x in inputs))
                values = self.objective.loss(pictures, targets)
            values[0].backward()
            # The descriptor's ReLUs take NaN for 0, so a diverged net shows in its pictures only.
            finite = finite and np.isfinite(pictures.sum().asscalar())
            totals.append([v.asnumpy() for v in values])
        rate = learning_rate(config, self.iteration)
        self.optimizer.set_learning_rate(rate)
        self.optimizer.step(config.batch)
        mx.nd.waitall()
        terms = Terms(*(float(np.mean([t[i] for t in totals])) for i in range(4)))
        if not (finite and np.isfinite(terms.objective)):
            raise NotFinite(f"training diverged at iteration {self.iteration + 1}: NaN or infinite values")
        self.iteration += 1
        self.seconds += time.perf_counter() - start
        return Progress(self.iteration, self.seconds, rate, terms)

    def parameters(self) -> dict[str, np.ndarray]:
        return values_of(self.net)

    def meta(self, final: Terms | None, command: str) -> dict:
        """The net file's description."""
        config = self.config.as_json()
        for name in ("photos", "start"):
            config[name] = Path(config[name]).name if config[name] else None
        return {
            "method": config["method"],
            "task": config["task"],
            "style": style_name(self.config.style),
            "architecture": self.architecture,
            **({} if config["method"] in methods.bundled() else {"layers": self.description.to_data()}),
            "preset": config["preset"],
            "style_weight": config["style_weight"],
            "size": config["size"],
            "seed": config["seed"],
            "iterations": self.iteration,
            "final_objective": None if final is None else final.as_dict(),
            "weights": self.weights.identity(),
            "training": config,
            "start": self.start,
            "command": command,
        }

    def generator(self) -> TrainedNet:
        """The net as it is now."""
        return TrainedNet(self.parameters(), self.meta(None, ""), self.ctx)

    def save(self, path: Path) -> None:
        """A checkpoint: everything that the next iteration depends on, in float32, written atomically."""
        path.parent.mkdir(parents=True, exist_ok=True)
        states = path.with_suffix(".states.tmp")
        self.optimizer.save_states(str(states))
        with_states = {**self.parameters(), "optimizer_states": np.frombuffer(states.read_bytes(), np.uint8)}
        states.unlink()
        state = {"iteration": self.iteration, "seconds": self.seconds, "config": self.config.as_json()}
        temporary = path.with_suffix(".tmp.npz")
        np.savez(temporary, state=np.frombuffer(json.dumps(state).encode(), np.uint8), **with_states)
        os.replace(temporary, path)

    def restore(self, path: Path) -> None:
        """Continues from a checkpoint.

        Raises:
            UserError: it belongs to another configuration.
        """
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        state = json.loads(arrays.pop("state").tobytes())
        if state["config"] != self.config.as_json():
            odd = next(k for k, v in self.config.as_json().items() if state["config"].get(k) != v)
            raise UserError(f"--output: a checkpoint there was made with another {odd}; use another folder")
        states = path.with_suffix(".states.tmp")
        states.write_bytes(arrays.pop("optimizer_states").tobytes())
        set_parameters(self.net, arrays, self.ctx, str(path))
        self.optimizer.load_states(str(states))
        states.unlink()
        self.iteration, self.seconds = state["iteration"], state["seconds"]


def style_name(style: str) -> str:
    """The name of a style in file names: a bundled name, or a file's stem."""
    return Path(style).stem


def net_stem(config: TrainConfig) -> str:
    """The stem of the files that a training writes: ``great_wave-johnson-stylize``."""
    return f"{style_name(config.style)}-{config.method}-{config.task}"
