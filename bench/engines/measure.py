"""How a cell is measured, by whatever engine: what is on the clock, and what is reported. Imports no engine.

On the clock: one forward pass of a generator on inputs that lie on the device already, or one evaluation of the
objective and its gradient with the optimiser's own step; of a start from a net, that net's inputs and forward pass too.
Not on it: reading and saving pictures, drawing noise, scoring. Every reading of a clock comes after the backend's
``synchronise()``, and whether that was enough is checked on results that are brought to the host.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bench.engines.context import Context
from bench.machine import environment, meters
from bench.plan.budgets import Budget
from bench.plan.cells import GENERATE, Cell, Settings
from bench.plan.inputs import prepared
from bench.plan.memory import segments_for
from nst_gluon import methods
from nst_gluon.descriptor import weights
from nst_gluon.objective import presets
from nst_gluon.optimise.problem import Host, Problem, Result, Step, config_of
from nst_gluon.pictures import images
from nst_gluon.system import runtime
from nst_gluon.system.energy import Meter
from nst_gluon.system.errors import NotFinite, UserError


class Backend(Protocol):
    """What an engine brings to a measurement, for one device and precision. :class:`Defaults` has the usual answers."""

    def synchronise(self) -> None:
        """Wait until all work is done."""

    def meter(self, host: meters.HostMeter) -> Any:
        """What measures memory where it computes: ``host`` itself on a CPU."""

    def generator(self, net_file: Path) -> Any:
        """A trained net: ``inputs(content, size, batch, seed)``, ``forward(*inputs)``, ``parameter_count`` and
        ``generate(content, size, seed)``, as :class:`nst_gluon.nets.trained_net.TrainedNet` has them.
        """

    def fetch(self, array: Any) -> np.ndarray:
        """An array of the engine's on the host; returns when it is there."""

    def objective(self, preset: presets.Preset, descriptor: weights.VggWeights, task: str, style: np.ndarray,
                  content: np.ndarray | None, dtype: str, segments: int) -> Any:  # fmt: skip
        """The common objective: ``terms``, ``value_and_gradient``, ``aimed_at`` and ``segments``, as
        :class:`nst_gluon.objective.loss.Objective` has them; None if the engine has none.
        """


class Defaults(Host):
    """A backend's answers where an engine has nothing better."""

    def meter(self, host: meters.HostMeter) -> Any:
        """Memory of this process."""
        return host

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
    context.sample("peak_memory_bytes", memory.peak, meters.BYTES)
    context.sample("working_memory_bytes", memory.working, meters.BYTES)
    for name, value in memory.samples.items():
        context.sample(name, value, meters.BYTES)
    return {"source": memory.source, **memory.details}


def _energy(cell: Cell) -> Meter:
    """What counts the joules of the cell's device from now on."""
    return Meter(None if cell.device == "cpu" else runtime.find_gpu(runtime.parse_device(cell.device)).nvml_index)


def _report_energy(context: Context, meter: Meter, pictures: int) -> dict[str, str]:
    """Send the joules of one of the ``pictures`` made since the meter was, and say their source; nothing without one.

    Counters go up in steps: one that has not moved says nothing.
    """
    joules = meter.read()
    if not joules:
        return {}
    context.sample("energy_j", joules / pictures, meters.JOULES)
    return {"energy_source": meter.source}


def _content(cell: Cell, settings: Settings):
    return prepared("content", settings, [cell.size]) if cell.task == "stylize" else None


def _objective(backend: Any, cell: Cell, settings: Settings, dtype: str, content) -> Any:
    return backend.objective(
        presets.get(settings.preset),
        weights.load(settings.weights, random=settings.random_weights, progress=False),
        cell.task,
        prepared("style", settings, [cell.size]),
        content,
        dtype,
        segments_for(cell, _available(cell)),
    )


def _available(cell: Cell) -> int | None:
    """Bytes that the cell can have, None where nobody has to ask."""
    return runtime.memory_available_bytes() if cell.device == "cpu" else None


def _save(picture: np.ndarray, context: Context) -> None:
    path = context.image()
    images.save(picture, path)
    context.saved(path)


def _report_terms(context: Context, terms) -> None:
    for name in ("objective", "content", "style", "tv"):
        context.sample(name, getattr(terms, name), meters.PURE)


# ------------------------------------------------------------------------------------------------- generators


def _generate(
    backend: Any, cell: Cell, settings: Settings, budget: Budget, context: Context, meter: Any
) -> dict[str, Any]:
    net_file = settings.net(cell.method, cell.task)
    if net_file is None:
        raise UserError(f"--style: no trained net of {cell.method} for {cell.task} of {settings.style}")
    content, synchronise = _content(cell, settings), backend.synchronise
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
    times = meters.sample(forward, budget.min_samples, budget.min_seconds, budget.max_seconds, synchronise)
    energy = _report_energy(context, joules, len(times) * cell.batch)
    mhz_after = environment.cpu_mhz()
    memory = _report_memory(context, meter.read())
    meters.check_synchronised(forward, synchronise, backend.fetch, times)
    facts = _report_times(context, "latency_s", times, (mhz, mhz_after))
    for seconds in backend.device_seconds(forward, budget.min_samples):
        context.sample("device_latency_s", seconds, meters.SECONDS)
    context.sample("parameters", generator.parameter_count, meters.PURE)
    context.sample("net_file_bytes", os.path.getsize(net_file), meters.BYTES)
    info = {
        "memory": memory,
        "warm_up_calls": len(warm_up),
        "warm_up_stable": meters.is_stable(warm_up),
        **energy,
        **facts,
    }
    if cell.batch == 1 and budget.score:
        context.progress("scoring")
        picture = generator.generate(content, (cell.size, cell.size), seed=cell.seed)
        _save(picture, context)
        # Always in float32: the target is one number, whatever precision the optimisation works in.
        objective = _objective(backend, cell, settings, "float32", content)
        if objective is not None:
            _report_terms(context, objective.terms(picture))
    return info


# ----------------------------------------------------------------------------------------------- optimisation


def _optimise(
    backend: Any, cell: Cell, settings: Settings, budget: Budget, context: Context, meter: Any
) -> dict[str, Any]:
    content, size, synchronise = _content(cell, settings), (cell.size, cell.size), backend.synchronise
    objective = _objective(backend, cell, settings, cell.dtype, content)
    style = prepared("style", settings, [cell.size])
    method = methods.named(cell.method)
    config = config_of(
        presets.get(settings.preset),
        start="noise" if content is None else None,
        iterations=budget.max_iterations,
        time_limit_s=budget.limit_s(cell.size, method.variant_of is not None),
        target=min(context.targets.values()) if context.targets and budget.stop_early else None,
        least_iterations=budget.least_iterations if method.variant_of is None else 0,
        seed=cell.seed,
    )
    if settings.bounds == "none":
        config = replace(config, bounds=None)
    net, make = None, None
    if method.from_net:
        net, net_file = _best_net(cell, settings, context)
        generator = backend.generator(net_file)

        def make() -> np.ndarray:
            return generator.generate(content, size, seed=cell.seed)

    equal: dict[str, dict[str, Any]] = {}  # by net: the picture with which the descent reached that net's objective

    def show(step: Step) -> None:
        if step.size != size:  # the objective of a smaller picture is another one
            return
        context.curve(step.seconds, step.iteration, step.terms)
        for name, target in context.targets.items() if budget.score and method.variant_of is None else ():
            if name not in equal and step.terms.objective <= target:
                path = context.image(f"-at-{name}")
                images.save(np.clip(problem.best_picture(), 0, 1), path)
                equal[name] = {
                    "image": str(path.relative_to(context.run_dir)), "objective": step.terms.objective,
                    "evaluations": step.iteration, "seconds": step.seconds,
                }  # fmt: skip

    problem = Problem(
        objective, size, config, content, lambda side: images.resize(style, (side, side)), settings.style_size, make,
        callback=show, host=backend,
    )  # fmt: skip
    problem.rehearse(method.descend, 0)
    synchronise()
    context.ready()
    meter.start()
    # Builds the graphs and is on no other clock.
    context.sample("first_call_s", meters.timed(lambda: problem.rehearse(method.descend, 1), synchronise),
                   meters.SECONDS)  # fmt: skip
    mhz, joules = environment.cpu_mhz(), _energy(cell)
    result = problem.run(method.descend)
    energy = _report_energy(context, joules, 1)
    mhz_after = environment.cpu_mhz()
    memory = _report_memory(context, meter.read())
    fine = [step for step in result.steps if step.size == size]
    times = step_times([step.seconds for step in fine])
    if times and not method.own_loss:
        # A step is an evaluation and the optimiser's own work: one evaluation alone must not take longer.
        at = backend.place(result.picture)
        meters.check_synchronised(lambda: objective.value_and_gradient(at)[1], synchronise, backend.fetch, times)
    facts = _report_times(context, "iteration_s", times, (mhz, mhz_after))
    if result.stopped_because == "diverged":
        raise NotFinite(f"diverged after {len(result.steps)} evaluations")
    if budget.score:
        _save(result.picture, context)
        if cell.dtype != "float32":
            objective = _objective(backend, cell, settings, "float32", content)
        # In float32, whatever precision the curve has.
        _report_terms(context, objective.terms(result.picture))
    return {
        "memory": memory,
        "stopped_because": result.stopped_because,
        "evaluations": len(fine),
        "coarse": coarse_facts(result, size),
        "seconds": result.seconds,
        "best_objective_seen": result.terms.objective,
        "start": result.began,
        "start_net": net,
        "equal_loss": equal,
        "segments": objective.segments,
        "optimizer": config.optimizer,
        "corrections": config.corrections,
        **energy,
        **facts,
    }


def _best_net(cell: Cell, settings: Settings, context: Context) -> tuple[str, Path]:
    """The method, and its net's file, whose picture has the lowest objective of those that were measured."""
    able = {use.split("/")[0] for use, _ in settings.nets if use.endswith(f"/{cell.task}")}
    if not able:
        raise UserError(f"--style: no trained net for {cell.task} of {settings.style} to start from")
    name = min(sorted(able), key=lambda method: context.targets.get(method, math.inf))
    return name, settings.net(name, cell.task)


def coarse_facts(result: Result, size: tuple[int, int]) -> list[dict[str, float]]:
    """Evaluations and seconds of each coarse level of a result, in order."""
    found, before = [], 0.0
    for level, steps in itertools.groupby(result.steps, key=lambda step: step.size):
        if level != size:
            every = list(steps)
            found.append({"side": max(level), "evaluations": len(every), "seconds": every[-1].seconds - before})
            before = every[-1].seconds
    return found


def step_times(seconds: list[float]) -> list[float]:
    """Times of single steps from the clock at the end of each evaluation: the optimiser's own work is
    included.

    The first is left out where there are enough: the optimiser is still setting up.
    """
    steps = [after - before for before, after in zip(seconds, seconds[1:])]
    return steps[1:] if len(steps) > meters.LEAST_SAMPLES else steps
