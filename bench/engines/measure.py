"""How a cell is measured, by whatever engine: what is on the clock, and what is reported. Imports no engine.

On the clock: one forward pass of a generator on inputs that lie on the device already; on a clock of its own, the whole
call as a user has it (:func:`whole_call`); or one evaluation of the objective and its gradient with the optimiser's own
step; of a start from a net, that net's inputs and forward pass too. Not on it: reading and saving pictures, scoring.
Every reading of a clock comes after the backend's ``synchronise()``, and whether that was enough is checked on results
that are brought to the host.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.engines.context import Context
from bench.machine import environment, meters
from bench.plan.budgets import Budget
from bench.plan.cells import GENERATE, Cell, Settings
from bench.plan.inputs import loaded
from bench.plan.memory import segments_for
from nst_gluon import methods
from nst_gluon.descriptor import weights
from nst_gluon.objective import presets
from nst_gluon.objective.loss_terms import TERMS
from nst_gluon.optimise.config import config_of
from nst_gluon.optimise.problem import Host, Problem, Result, Step
from nst_gluon.pictures import images
from nst_gluon.system import runtime
from nst_gluon.system.energy import Meter
from nst_gluon.system.errors import NotFinite, UserError


class Backend(Host):
    """What an engine brings to a measurement, for one device and precision: here what is usual."""

    def synchronise(self) -> None:
        """Wait until all work is done: for nothing, where a call returns when it is done."""

    def meter(self, host: meters.HostMeter) -> Any:
        """What measures memory where it computes: ``host`` itself, of this process, on a CPU."""
        return host

    def generator(self, net_file: Path) -> Any:
        """A trained net: ``inputs(content, size, batch, seed)``, ``forward(*inputs)``, ``parameter_count`` and
        ``generate(content, size, seed)``, as :class:`nst_gluon.nets.trained_net.TrainedNet` has them.
        """
        raise NotImplementedError

    def fetch(self, array: Any) -> np.ndarray:
        """An array of the engine's on the host, for good; returns when it is there."""
        return np.array(array)

    def objective(self, preset: presets.Preset, descriptor: weights.VggWeights, task: str, style: np.ndarray,
                  content: np.ndarray | None, dtype: str = "float32", segments: int = 1) -> Any:  # fmt: skip
        """The common objective: ``terms``, ``value_and_gradient``, ``aimed_at`` and ``segments``, as
        :class:`nst_gluon.objective.loss.Objective` has them; None: the engine has none.
        """

    def device_seconds(self, forward: Callable[[], Any], calls: int) -> list[float]:
        """Seconds of single calls by the device's own clock; none where it has no other than the host's."""
        return []

    def facts(self) -> dict[str, Any]:
        """What the engine decided on its own, for the record."""
        return {}


def execute(
    backend: Any, host: meters.HostMeter, cell: Cell, settings: Settings, budget: Budget, context: Context
) -> dict[str, Any]:
    """Measure ``cell``; returns facts for its record.

    ``host`` was made right after the engine's import, before anything was done with it: its threads allocate a few
    megabytes whenever they get round to it.
    """
    meter = backend.meter(host)
    measure = _generate if cell.kind == GENERATE else _optimise
    info = measure(backend, cell, settings, budget, context, meter)
    info["process_peak_bytes"] = meters.high_water_bytes()
    if meter is not host:
        info["host_memory"] = host.read().details
    return {**info, **backend.facts()}


def _report_times(context: Context, metric: str, times: list[float], mhz: tuple) -> dict[str, Any]:
    """Send the samples, those that still belong to the warm-up under a name of their own; facts for the record.

    ``mhz`` is the processor's clock before and after, None where it is not told.
    """
    dropped = meters.settled(times)
    for index, seconds in enumerate(times):
        context.sample(metric if index >= dropped else f"warm_up_{metric}", seconds, meters.SECONDS)
    return {"timed_samples": len(times), "dropped_samples": dropped, "cpu_mhz": list(mhz)}


def _report_memory(context: Context, memory: meters.Memory) -> dict[str, Any]:
    if memory.peak is not None:
        context.sample("peak_memory_bytes", memory.peak, meters.BYTES)
        context.sample("working_memory_bytes", memory.working, meters.BYTES)
    for name, value in memory.samples.items():
        context.sample(name, value, meters.BYTES)
    return {"source": memory.source, **memory.details}


def _photos(cell: Cell, context: Context) -> dict[str, str | None]:
    """The files of the cell's photos by name; of a texture, None by "". Those after the first are read when their turn
    comes: what is measured needs one.
    """
    return {Path(photo).stem: photo for photo in context.photos} if cell.task == "stylize" else {"": None}


def _content(cell: Cell, photo: str | None) -> np.ndarray | None:
    """The content picture (1, 3, H, W); None of a texture."""
    return None if photo is None else loaded("content", photo, cell.size)


def _style(cell: Cell, settings: Settings) -> np.ndarray:
    return loaded("style", settings.style_of(cell), settings.style_size)


def _energy(cell: Cell) -> Meter:
    """What counts the joules of the cell's device from now on."""
    return Meter(None if cell.device == "cpu" else runtime.find_gpu(runtime.parse_device(cell.device)).nvml_index)


def _report_energy(context: Context, meter: Meter, pictures: int) -> dict[str, str]:
    """Send the joules of one of the ``pictures`` made since the meter was, and say their source; nothing without one.

    Counters go up in steps: one that has not moved says nothing. They count other processes too: one that takes turns
    with another says nothing. Where a method minimises a loss of its own, judging its pictures is counted, too.
    """
    joules = meter.read()
    if not joules or context.turns is not None:
        return {}
    context.sample("energy_j", joules / pictures, meters.JOULES)
    return {"energy_source": meter.source}


def _objective(
    backend: Any, cell: Cell, settings: Settings, context: Context, dtype: str, content: np.ndarray | None
) -> Any:
    available = (context.available or runtime.memory_available_bytes()) if cell.device == "cpu" else None
    return backend.objective(
        presets.get(settings.preset),
        weights.load(settings.weights, random=settings.random_weights, progress=False),
        cell.task,
        _style(cell, settings),
        content,
        dtype,
        segments_for(cell, available),
    )


def _save(picture: np.ndarray, context: Context) -> None:
    path = context.image()
    images.save(picture, path)
    context.saved(path)


def _report_terms(context: Context, terms, photo: str) -> None:
    for name in TERMS:
        context.sample(name, getattr(terms, name), meters.PURE, photo)


# ------------------------------------------------------------------------------------------------- generators


def _generate(
    backend: Any, cell: Cell, settings: Settings, budget: Budget, context: Context, meter: Any
) -> dict[str, Any]:
    net_file = settings.net(cell)
    if net_file is None:
        raise UserError(f"--style: no trained net of {cell.method} for {cell.task} of {settings.style_of(cell)}")
    photos, synchronise = _photos(cell, context), backend.synchronise
    first, *_ = photos
    content = _content(cell, photos[first])
    generator = backend.generator(net_file)
    inputs = generator.inputs(content, (cell.size, cell.size), cell.batch, cell.seed)
    synchronise()
    context.ready()

    def forward():
        return generator.forward(*inputs)

    meter.start()
    context.sample("first_call_s", meters.timed(forward, synchronise), meters.SECONDS)
    context.progress("warming up")
    warm_up = meters.warm_up(forward, budget.warm_up_seconds, synchronise)
    # Already now, lest unfinished calls queue up by the thousand while samples are taken. One number of the picture
    # is brought to the host, which costs no memory.
    meters.check_synchronised(forward, synchronise, lambda result: backend.fetch(result[0, 0, 0, :1]), warm_up)
    context.progress("timing")
    mhz, joules = environment.cpu_mhz(), _energy(cell)
    times = meters.sample(
        forward, budget.min_samples, budget.min_seconds, budget.max_seconds, synchronise, context.turn
    )
    energy = _report_energy(context, joules, len(times) * cell.batch)
    mhz_after = environment.cpu_mhz()
    memory = _report_memory(context, meter.read())
    meters.check_synchronised(forward, synchronise, backend.fetch, times)
    facts = _report_times(context, "latency_s", times, (mhz, mhz_after))
    if cell.batch == 1:
        context.progress("timing whole calls")
        for seconds in whole_call(backend, generator, content, cell, budget):
            context.sample("call_s", seconds, meters.SECONDS)
    for seconds in backend.device_seconds(forward, budget.min_samples):
        context.sample("device_latency_s", seconds, meters.SECONDS)
    context.sample("parameters", generator.parameter_count, meters.PURE)
    context.sample("net_file_bytes", os.path.getsize(net_file), meters.BYTES)
    info = {
        "memory": memory, "warm_up_calls": len(warm_up), "warm_up_stable": meters.is_stable(warm_up), **energy, **facts,
    }  # fmt: skip
    if cell.batch == 1 and budget.score and context.draws:
        context.progress("scoring")
        # Always in float32: the target is one number, whatever precision the optimisation works in.
        objective = _objective(backend, cell, settings, context, "float32", content)
        noisy = len(inputs) > (content is not None)
        drawn = [*photos] * (max(1, context.draws // len(photos)) if noisy else 1)
        for number, photo in enumerate(drawn):
            given = content if photo == first else _content(cell, photos[photo])
            picture = generator.generate(given, (cell.size, cell.size), seed=cell.seed + number)
            if number == 0:
                _save(picture, context)
            if objective is not None:
                at = objective if given is content else objective.aimed_at(_style(cell, settings), given)
                terms = at.terms(picture)
                _report_terms(context, terms, photo)
                if number == 0:
                    info["shown_objective"] = terms.objective
    return info


def whole_call(
    backend: Any, generator: Any, content: np.ndarray | None, cell: Cell, budget: Budget
) -> list[float]:
    """Seconds of single calls as a user has them: the photo, or fresh noise, in memory; 8-bit pixels on the host.

    Drawing the noise, bringing inputs to the device, the forward pass, cropping, clipping and rounding.
    """
    size, seeds = (cell.size, cell.size), itertools.count(cell.seed)

    def call() -> np.ndarray:
        inputs = generator.inputs(content, size, 1, next(seeds))
        return images.to_uint8(backend.fetch(generator.forward(*inputs))[:, :, : cell.size, : cell.size])

    for _ in range(2):
        call()
    return meters.sample(call, budget.min_samples, budget.min_seconds / 2, budget.max_seconds / 2, backend.synchronise)


# ----------------------------------------------------------------------------------------------- optimisation


def _optimise(
    backend: Any, cell: Cell, settings: Settings, budget: Budget, context: Context, meter: Any
) -> dict[str, Any]:
    size, synchronise, method = (cell.size, cell.size), backend.synchronise, methods.named(cell.method)
    photos, style = _photos(cell, context), _style(cell, settings)
    first, *_ = photos
    content = _content(cell, photos[first])
    objective = _objective(backend, cell, settings, context, cell.dtype, content)
    net, generator = None, None
    if method.from_net:
        net, net_file = _best_net(cell, settings, context)
        generator = backend.generator(net_file)
    steps: list[float] = []
    equal: dict[str, dict[str, Any]] = {}  # by net: the first photo's picture when it reached that net's objective
    results: list[tuple[str, Result]] = []
    short: set[str] = set()
    cold: set[tuple[str, int]] = set()  # evaluations that are the first of a turn
    info: dict[str, Any] = {}

    def problem_of(photo: str, content: np.ndarray | None, objective: Any) -> Problem:
        aims = {name: by_photo[photo] for name, by_photo in context.targets.items() if photo in by_photo}
        config = config_of(
            presets.get(settings.preset),
            start="noise" if content is None else None,
            iterations=budget.max_iterations,
            time_limit_s=budget.limit_s(cell.size, method.variant_of is not None),
            target=min(end for _, end in aims.values()) if aims and budget.stop_early else None,
            least_iterations=budget.least_iterations if method.variant_of is None else 0,
            seed=cell.seed,
        )
        if settings.bounds == "none":
            config = replace(config, bounds=None)

        def make() -> np.ndarray:
            return generator.generate(content, size, seed=cell.seed)

        def show(step: Step) -> None:
            joules.read()  # lest its counter overflows unseen
            if step.size != size:  # the objective of a smaller picture is another one
                return
            context.curve(step.seconds, step.iteration, step.terms, photo)
            if context.turn():
                cold.add((photo, step.iteration + 1))
            shown = budget.score and method.variant_of is None and photo == first
            for name, (target, _) in aims.items() if shown else ():
                if name not in equal and step.terms.objective <= target:
                    path = context.image(f"-at-{name}")
                    images.save(np.clip(problem.best_picture(), 0, 1), path)
                    equal[name] = {
                        "image": str(path.relative_to(context.run_dir)), "objective": step.terms.objective,
                        "evaluations": step.iteration, "seconds": step.seconds,
                    }  # fmt: skip

        problem = Problem(
            objective, size, config, content, lambda side: images.resize(style, (side, side)), settings.style_size,
            make if generator is not None else None, callback=show, host=backend,
        )  # fmt: skip
        problem.rehearse(method.descend, 0)
        return problem

    problem = problem_of(first, content, objective)
    synchronise()
    context.ready()
    meter.start()
    # Builds the graphs and is on no other clock.
    context.sample("first_call_s", meters.timed(lambda: problem.rehearse(method.descend, 1), synchronise),
                   meters.SECONDS)  # fmt: skip
    mhz, joules = environment.cpu_mhz(), _energy(cell)
    for photo in photos:
        if results:
            content = _content(cell, photos[photo])
            objective = objective.aimed_at(style, content)
            problem = problem_of(photo, content, objective)
            problem.rehearse(method.descend, 1)
        result = problem.run(method.descend)
        if result.stopped_because == "diverged":
            raise NotFinite(f"diverged after {len(result.steps)} evaluations")
        results.append((photo, result))
        fine = [step for step in result.steps if step.size == size]
        steps += step_times(
            [step.seconds for step in fine], [(photo, step.iteration) in cold for step in fine]
        )
        reached = min(step.terms.objective for step in fine)
        short |= {name for name, aims in context.targets.items() if photo in aims and reached > aims[photo][0]}
        if len(results) == 1:
            energy = _report_energy(context, joules, 1)
            memory = _report_memory(context, meter.read())
            if steps and not method.own_loss:
                # A step is an evaluation and the optimiser's own work: one evaluation alone must not take longer.
                evaluate = partial(objective.value_and_gradient, backend.place(result.picture))
                meters.check_synchronised(evaluate, synchronise, lambda found: backend.fetch(found[1]), steps)
            info = {
                "memory": memory,
                "stopped_because": result.stopped_because,
                "evaluations": len(fine),
                "coarse": coarse_facts(result, size),
                "seconds": result.seconds,
                "best_objective_seen": result.terms.objective,
                "start": result.began,
            }
        if budget.score:
            _score(backend, cell, settings, objective, content, photo, result, context, info)
    mhz_after = environment.cpu_mhz()
    return {
        **info,
        "not_reached": sorted(short),
        "start_net": net,
        "equal_loss": equal,
        "segments": objective.segments,
        "optimizer": problem.config.optimizer,
        "corrections": problem.config.corrections,
        **energy,
        **_report_times(context, "iteration_s", steps, (mhz, mhz_after)),
    }


def _score(
    backend: Any, cell: Cell, settings: Settings, objective: Any, content: np.ndarray | None, photo: str,
    result: Result, context: Context, info: dict[str, Any],
) -> None:  # fmt: skip
    """Report the terms of a finished picture, and its objective once it is rounded to 8 bits; save the first."""
    if cell.dtype != "float32":  # in float32, whatever precision the curve has
        objective = _objective(backend, cell, settings, context, "float32", content)
    terms = objective.terms(result.picture)
    _report_terms(context, terms, photo)
    saved = images.from_uint8(images.to_uint8(result.picture))
    context.sample("objective_of_file", objective.terms(saved).objective, meters.PURE, photo)
    if "shown_objective" not in info:
        info["shown_objective"] = terms.objective
        _save(result.picture, context)


def _best_net(cell: Cell, settings: Settings, context: Context) -> tuple[str, Path]:
    """The method, and its net's file, whose picture has the lowest objective of those that were measured."""
    able = {other: file for other in methods.names() if (file := settings.net(cell, other)) is not None}
    if not able:
        raise UserError(f"--style: no trained net for {cell.task} of {settings.style_of(cell)} to start from")
    aims = {name: min(target for target, _ in by_photo.values()) for name, by_photo in context.targets.items()}
    name = min(sorted(able), key=lambda method: aims.get(method, math.inf))
    return name, able[name]


def coarse_facts(result: Result, size: tuple[int, int]) -> list[dict[str, float]]:
    """Evaluations and seconds of each coarse level of a result, in order."""
    found, before = [], 0.0
    for level, steps in itertools.groupby(result.steps, key=lambda step: step.size):
        if level != size:
            every = list(steps)
            found.append({"side": max(level), "evaluations": len(every), "seconds": every[-1].seconds - before})
            before = every[-1].seconds
    return found


def step_times(seconds: list[float], cold: Sequence[bool] = ()) -> list[float]:
    """Times of single steps, the optimiser's own work included, from the clock at the end of each evaluation.

    The first is left out where there are enough: the optimiser is still setting up. So are those that are ``cold``, if
    there are others.
    """
    every = [after - before for before, after in zip(seconds, seconds[1:])]
    steps = [step for step, left_out in zip(every, cold[1:]) if not left_out] or every
    return steps[1:] if len(steps) > meters.LEAST_SAMPLES else steps
