"""One training loop for the feed-forward nets: pictures in, the common objective down, a net file out.

Everything random follows ``(seed, iteration)`` alone, so a run that was interrupted resumes exactly: the same
pictures, crops and noise come again whatever was drawn before.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nst_gluon import assets, methods
from nst_gluon.descriptor import weights as vgg_weights
from nst_gluon.methods.description import Affine, Layer, describe
from nst_gluon.nets import inputs as net_inputs
from nst_gluon.nets import netfile
from nst_gluon.nets.geometry import working_size
from nst_gluon.nets.patterns import unfinished
from nst_gluon.nets.trained_net import TrainedNet
from nst_gluon.nets.training_net import initialised, parameters_of, set_parameters, values_of
from nst_gluon.objective import presets
from nst_gluon.objective.loss import Objective
from nst_gluon.objective.loss_terms import Terms
from nst_gluon.pictures import images
from nst_gluon.system import energy, runtime
from nst_gluon.system.documents import NUMBER, check
from nst_gluon.system.engine import mx
from nst_gluon.system.errors import NotFinite, UserError
from nst_gluon.system.files import one_line
from nst_gluon.training import checkpoint, recipe
from nst_gluon.training.adam import Adam
from nst_gluon.training.config import TrainConfig, defaults, learning_rate
from nst_gluon.training.contents import HELD_OUT, held_out

if TYPE_CHECKING:
    from nst_gluon.training.member import Together

# Which quantiles of each channel of the style are its range of colours.
QUANTILES = (0.02, 0.98)
# What a checkpoint says beside its arrays.
STATE = {"iteration!": int, "seconds!": NUMBER, "config!": dict, "inputs": {"*": str}, "best": NUMBER, "joules": NUMBER}
# Iterations between checks that processes which train together have the same net.
CHECK_EVERY = 10


@dataclass(frozen=True)
class Progress:
    """One finished iteration; ``terms`` and ``penalty`` are means over its batch."""

    iteration: int
    seconds: float
    learning_rate: float
    terms: Terms
    penalty: float


def excess(pictures, least, most):
    """The mean square (N,) of what pictures (N, 3, H, W) have outside [least, most], arrays (1, 3, 1, 1)."""
    inside = mx.nd.broadcast_minimum(mx.nd.broadcast_maximum(pictures, least), most)
    return mx.nd.square(pictures - mx.nd.BlockGrad(inside)).mean(axis=(1, 2, 3))


def finished(made, end: tuple[Layer, ...]):
    """What the layers at a net's ``end`` (:func:`nst_gluon.nets.patterns.unfinished`) make of pictures (N, 3, H, W)."""
    for layer in end:
        made = layer.scale * made + layer.shift if isinstance(layer, Affine) else mx.nd.tanh(made)
    return made


def before(pictures: np.ndarray, end: tuple[Layer, ...]) -> np.ndarray:
    """What :func:`finished` makes ``pictures`` of."""
    for layer in reversed(end):
        affine = isinstance(layer, Affine)
        pictures = (pictures - layer.shift) / layer.scale if affine else np.arctanh(np.clip(pictures, -0.999, 0.999))
    return pictures


class Trainer:
    """The state of one training: net, optimiser, objective, iteration. ``together``: the group that this process is in,
    which has a process for each part of a batch."""

    def __init__(
        self, config: TrainConfig, weights: vgg_weights.VggWeights, ctx=None, together: Together | None = None
    ):
        self.config, self.ctx, self.weights = defaults(config), ctx or mx.cpu(), weights
        self.together, part = together, config.batch // config.workers
        first = 0 if together is None else together.rank * part
        self.pictures = range(first, config.batch if together is None else first + part)
        self.recipe = config.how
        self.method, self.start = methods.get(config.method), None
        self.architecture = config.new_architecture
        begin = self._start_from(config.start) if config.start else None
        self.description = describe(self.method, self.architecture, f"--method {config.method}")
        for size in config.sizes:
            working = working_size(self.description, size, size)
            if working != (size, size):
                raise UserError(f"--size: {size} does not suit {config.method}; {working[0]} would do")
        self.preset = presets.get(config.preset)
        if config.style_weight != 1.0:
            scaled = tuple((name, w * config.style_weight) for name, w in self.preset.style_layers)
            self.preset = replace(self.preset, style_layers=scaled)
        self.style = style = images.load(assets.style_path(config.style), config.size)
        self.objective = Objective(self.preset, weights, config.task, style, dtype=config.dtype, ctx=self.ctx)
        mx.random.seed(config.seed)
        np.random.seed(config.seed)
        # A saturated tanh has no gradient, so that what it is given is penalised, and not what it gives.
        raw, self._end = unfinished(self.description) if self.recipe.penalty else (self.description, ())
        limits = before(np.quantile(style, QUANTILES, axis=(0, 2, 3))[:, None, :, None, None], self._end)
        self._range = [mx.nd.array(limit, ctx=self.ctx, dtype="float32") for limit in limits]
        watched = self.method.watched(self.description) if self.recipe.spikes else ()
        self.net = initialised(raw, self.method.initializer, self.ctx, watched)
        if begin is not None:
            set_parameters(self.net, begin, self.ctx, config.start)
        self.net.half = config.dtype == "bfloat16"
        self.net.hybridize(static_alloc=True, static_shape=True)
        # Instance normalisation takes one picture at a time, so gradients add up over the batch.
        self.per_pass = 1 if self.net.one_by_one else part
        self.optimizer = self.adam(parameters_of(self.net), self.recipe)
        self.own = self.method.training(self)
        self.best: tuple[float, dict[str, np.ndarray]] | None = None
        self._judges = self._settled = None
        self.iteration = 0
        self.seconds = 0.0
        # Joules, up to the session before and in this one; None where a machine did not tell.
        gpu = runtime.find_gpu(runtime.Device("gpu", self.ctx.device_id)) if self.ctx.device_type == "gpu" else None
        self._joules_before: float | None = 0.0
        self._energy = energy.Meter(gpu and gpu.nvml_index)

    @property
    def joules(self) -> float | None:
        """What the training has used, in all its sessions, by this machine's counters; None where one did not tell."""
        now = self._energy.read()
        return None if now is None or self._joules_before is None else self._joules_before + now

    def _start_from(self, path: str) -> dict[str, np.ndarray]:
        """The parameters of a net to begin with; its architecture becomes this training's."""
        parameters, meta = netfile.load(path)
        config, digest = self.config, hashlib.sha256(Path(path).read_bytes()).hexdigest()
        kept = {name: meta.get(name) for name in ("command", "iterations", "seconds", "start")}
        self.start = {"sha256": digest, **kept}
        for name in ("method", "task"):
            if meta.get(name) != getattr(config, name):
                raise UserError(f"--start: {path} is of the {name} {meta.get(name)}, not {getattr(config, name)}")
        self.architecture = meta.get("architecture", {})
        has = describe(self.method, self.architecture, path)
        for name, value in config.architecture.items():
            if describe(self.method, {**self.architecture, name: value}, f"--{name}") != has:
                raise UserError(f"--{name}: {path} has another; leave --{name} out")
        return parameters

    def adam(self, parameters: Mapping, how: recipe.Recipe = recipe.RECIPES["paper"]) -> Adam:
        """Adam as the method's schedule has it, for Gluon parameters by name."""
        own = self.method.schedule(self.config.iterations)
        return Adam(parameters, how, self.ctx, own.beta1, own.weight_decay)

    def noise(self, rng: np.random.Generator, side: int, content: np.ndarray | None = None) -> list:
        """What the net takes for a batch of pictures of that side, as NDArrays."""
        arrays = net_inputs.drawn(self.description, content, rng, (self.config.batch, side, side))
        return [mx.nd.array(array, ctx=self.ctx, dtype="float32") for array in arrays]

    def step(self, content: np.ndarray | None) -> Progress:
        """One iteration on content pictures (batch, 3, side, side), or on noise alone for textures.

        Raises:
            NotFinite: the objective diverged.
        """
        config, start = self.config, time.perf_counter()
        rng = np.random.default_rng([config.seed, 2, self.iteration])
        if self.own is not None:
            return self._own_step(rng, start)
        inputs = self.noise(rng, config.side(self.iteration), content)
        self.optimizer.zero_gradients()
        totals, finite = [], True
        for first in self.pictures[:: self.per_pass]:
            part = slice(first, first + self.per_pass)
            targets = None if content is None else self.objective.content_targets(content[part])
            with mx.autograd.record():
                made = self.net(*(x[part] for x in inputs))
                raw, *spikes = made if isinstance(made, (list, tuple)) else (made,)
                pictures = finished(raw, self._end)
                values = self.objective.loss(pictures, targets)
                total = values[0]
                if self.recipe.penalty:
                    penalty = self.recipe.penalty * excess(raw, *self._range)
                    for spike in spikes:
                        penalty = mx.nd.broadcast_add(penalty, self.recipe.spikes * spike)
                    total = total + penalty
            total.backward()
            # The descriptor's ReLUs take NaN for 0, so a diverged net shows in its pictures only.
            finite = finite and np.isfinite(pictures.sum().asscalar())
            extra = [penalty] if self.recipe.penalty else [mx.nd.zeros_like(total)]
            totals.append([v.asnumpy() for v in (*values, *extra)])
        rate = learning_rate(config, self.iteration)
        means = [float(np.mean([t[i] for t in totals])) for i in range(5)]
        if self.together is not None:
            sums = self.together.add_up(self.optimizer.gradients(), [*means, float(finite)])
            means, finite = [value / config.workers for value in sums[:5]], sums[5] == config.workers
        terms = Terms(*means[:4])
        if not (finite and np.isfinite(terms.objective)):
            raise NotFinite(f"training diverged at iteration {self.iteration + 1}: NaN or infinite values")
        self.optimizer.step(self.iteration, rate, config.batch)
        mx.nd.waitall()
        self.iteration += 1
        if self.together is not None and self.iteration % CHECK_EVERY == 0:
            self.together.check(self.optimizer.learnt(), self.optimizer.gradients(), self.iteration)
        self.seconds += time.perf_counter() - start
        return Progress(self.iteration, self.seconds, rate, terms, means[4])

    def _own_step(self, rng: np.random.Generator, start: float) -> Progress:
        """A step of the method's own training. Its loss stands where penalties do: it is not the objective, which is
        known when :meth:`judge` was asked, and otherwise not a number.
        """
        rate = learning_rate(self.config, self.iteration)
        loss = self.own.step(self.iteration, rate, rng)
        if not np.isfinite(loss):
            raise NotFinite(f"training diverged at iteration {self.iteration + 1}: NaN or infinite values")
        mx.nd.waitall()
        self.iteration += 1
        self.seconds += time.perf_counter() - start
        return Progress(self.iteration, self.seconds, rate, Terms(*[np.nan] * 4), loss)

    def judge(self) -> tuple[Terms, float]:
        """The mean terms of the net on held-out pictures, and the part of their pixels that is saturated.

        The net as it would be written (:meth:`parameters`); it is kept if it is the best so far and the recipe asks for
        that.
        """
        config, generator = self.config, self.generator()
        if self._judges is None:
            contents = held_out(config)[:, None] if config.task == "stylize" else [None] * HELD_OUT
            self._judges = [(c, None if c is None else self.objective.content_targets(c)) for c in contents]
        losses, shares = [], []
        for seed, (content, targets) in enumerate(self._judges):
            pictures = generator.generate(content, (config.size, config.size), seed=seed)
            values = self.objective.loss(mx.nd.array(pictures, ctx=self.ctx), targets)
            losses.append([float(value.mean().asscalar()) for value in values[:4]])
            shares.append(recipe.saturated(pictures))
        terms = Terms(*np.mean(losses, axis=0).tolist())
        loss = terms.objective
        if self.recipe.best and np.isfinite(loss) and (self.best is None or loss < self.best[0]):
            self.best = loss, generator.params
        return terms, float(np.mean(shares))

    def parameters(self) -> dict[str, np.ndarray]:
        """The net as it is now: its averaged parameters where the recipe has an average.

        After :meth:`settle`, the best that :meth:`judge` saw.
        """
        if self._settled is not None:
            return self._settled
        if self.optimizer.averages:
            return {name: average.asnumpy() for name, average in self.optimizer.averages.items()}
        return values_of(self.net)

    def settle(self) -> None:
        """The training is over: the best net is the net."""
        self._settled = self.best[1] if self.best is not None else None

    def meta(self, command: str) -> dict:
        """The net file's description, but for what is known at the end."""
        config = self.config.as_json()
        for name in ("photos", "start"):
            config[name] = Path(config[name]).name if config[name] else None
        return {
            "method": config["method"],
            "task": config["task"],
            "style": Path(self.config.style).stem,
            "architecture": self.architecture,
            **({} if config["method"] in methods.bundled() else {"layers": self.description.to_data()}),
            **({"own_loss": True} if self.own is not None else {}),
            "preset": config["preset"],
            "style_weight": config["style_weight"],
            "size": config["size"],
            "seed": config["seed"],
            "iterations": self.iteration,
            "final_objective": None,
            "held_out": None if self.best is None else self.best[0],
            "weights": self.weights.identity(),
            "training": config,
            "start": self.start,
            "command": command,
        }

    def generator(self) -> TrainedNet:
        """The net as it is now."""
        return TrainedNet(self.parameters(), self.meta(""), self.ctx)

    def save(self, path: Path) -> None:
        """A checkpoint: everything that the next iteration depends on, in float32."""
        arrays = {f"net.{name}": value for name, value in values_of(self.net).items()}
        arrays.update(self.optimizer.arrays())
        if self.own is not None:
            arrays.update((f"own.{name}", value) for name, value in self.own.arrays().items())
        state = {"iteration": self.iteration, "seconds": self.seconds, "joules": self.joules}
        state["config"], state["inputs"] = self.config.as_json(), self._inputs()
        if self.best is not None:
            state["best"] = self.best[0]
            arrays.update((f"best.{name}", value) for name, value in self.best[1].items())
        checkpoint.save(path, arrays, state)

    def _inputs(self) -> dict[str, str | None]:
        """Hashes of the files that the configuration names; of photos, of their names and sizes."""
        found = {
            "style": hashlib.sha256(self.style.tobytes()).hexdigest(),
            "weights": self.weights.sha256,
            "start": self.start and self.start["sha256"],
        }
        if self.config.photos:
            listed = [f"{path.name} {path.stat().st_size}" for path in images.list_folder(self.config.photos)]
            found["photos"] = hashlib.sha256("\n".join(listed).encode("utf-8", "surrogateescape")).hexdigest()
        return found

    def restore(self, path: Path) -> None:
        """Continues from a checkpoint.

        Raises:
            UserError: it belongs to another configuration or to other files, or cannot be read.
        """
        arrays, state = checkpoint.load(path)
        anew = f"delete {path.stem}*.npz to begin anew"
        try:
            check(state, STATE, "state")
        except ValueError as error:
            raise UserError(f"--output: {path.name} is not of a training ({error}); {anew}") from None
        ours, theirs = self.config.as_json(), state["config"]
        odd = next((name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)), None)
        if odd is not None:
            option = {"more_sizes": "size"}.get(odd, odd).replace("_", "-")
            raise UserError(
                f"--output: a checkpoint there was made with another --{option}; use another folder, or delete "
                f"{path.stem}*.npz in it to begin anew"
            )
        ours, theirs = self._inputs(), state.get("inputs") or {}  # none of earlier versions
        odd = next((name for name in theirs if ours.get(name) != theirs[name]), None)
        if odd is not None:
            raise UserError(
                f"--output: what --{odd} names has changed since a checkpoint there was made; use another folder, or "
                f"delete {path.stem}*.npz in it to begin anew"
            )
        part = {p: {n[len(p) :]: v for n, v in arrays.items() if n.startswith(p)} for p in ("net.", "best.", "own.")}
        try:
            if not 0 <= state["iteration"] <= self.config.iterations:
                raise ValueError(f"iteration {state['iteration']} of {self.config.iterations}")
            set_parameters(self.net, part["net."], self.ctx, str(path))
            self.optimizer.restore(arrays)
            if self.own is not None:
                self.own.restore(part["own."])
            best = state.get("best")
            if best is not None:
                self.description.check({name: value.shape for name, value in part["best."].items()}, "the best net")
        except (KeyError, ValueError, TypeError, mx.MXNetError, UserError) as error:
            raise UserError(f"--output: {path.name} is damaged ({one_line(error)}); {anew}") from None
        self.best = None if best is None else (best, part["best."])
        self.iteration, self.seconds = state["iteration"], state["seconds"]
        self._joules_before = state.get("joules")
