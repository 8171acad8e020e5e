"""Executes one cell with the suite's own methods on MXNet/Gluon. Imported in workers only.

What is on the clock: one forward pass of a generator on inputs that lie on the device already, or one
evaluation of the objective and its gradient with the optimiser's own step. What is not: reading and saving
pictures, drawing noise, scoring. Every reading of a clock comes after waitall().
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from bench import meters
from bench.plan import GENERATE, Budget, Cell, Settings
from bench.prepare import prepared
from bench.worker import Context
from nst_gluon import presets, runtime, weights
from nst_gluon.engine import context as device_context
from nst_gluon.engine import mx
from nst_gluon.errors import UserError
from nst_gluon.generator import load_net
from nst_gluon.loss import Objective


def execute(cell: Cell, settings: Settings, budget: Budget, context: Context) -> dict[str, Any]:
    """Measure ``cell``; returns facts for its record."""
    device = device_context(cell.device)
    mx.random.seed(cell.seed)
    np.random.seed(cell.seed)
    host = meters.HostMeter()
    meter = host if device.device_type == "cpu" else _gpu_meter(cell, device)
    measure = _generate if cell.kind == GENERATE else _optimise
    info = measure(cell, settings, budget, context, device, meter)
    info["process_peak_bytes"] = meters.high_water_bytes()
    if meter is not host:
        info["host_memory"] = host.read().details
    return info


def _gpu_meter(cell: Cell, device) -> meters.GpuMeter:
    mx.nd.zeros((1,), ctx=device).wait_to_read()  # makes the CUDA context, which is no one method's need
    gpu = runtime.gpu_devices()[runtime.parse_device(cell.device).index]
    return meters.GpuMeter(gpu.nvml_index)


def _report_memory(context: Context, memory: meters.Memory) -> dict[str, Any]:
    context.sample("peak_memory_bytes", memory.peak, meters.BYTES)
    context.sample("working_memory_bytes", memory.working, meters.BYTES)
    return {"source": memory.source, **memory.details}


def _content(cell: Cell, settings: Settings):
    return prepared("content", settings, [cell.size]) if cell.task == "stylize" else None


def _objective(cell: Cell, settings: Settings, device, dtype: str, content) -> Objective:
    return Objective(
        presets.get(settings.preset),
        weights.load(settings.weights, random=settings.random_weights, progress=False),
        cell.task,
        prepared("style", settings, [cell.size]),
        content,
        dtype=dtype,
        ctx=device,
    )


def _save(picture: np.ndarray, context: Context) -> None:
    from nst_gluon import images

    path = context.image()
    images.save(picture, path)
    context.saved(path)


def _report_terms(context: Context, terms) -> None:
    for name in ("objective", "content", "style", "tv"):
        context.sample(name, getattr(terms, name), meters.PURE)


# ------------------------------------------------------------------------------------------------- generators


def _generate(
    cell: Cell, settings: Settings, budget: Budget, context: Context, device, meter
) -> dict[str, Any]:
    net_file = settings.net(cell.method, cell.task)
    if net_file is None:
        raise UserError(f"--style: no trained net of {cell.method} for {cell.task} of {settings.style}")
    content = _content(cell, settings)
    generator = load_net(net_file, device)
    inputs = generator.inputs(content, (cell.size, cell.size), cell.batch, cell.seed)
    mx.nd.waitall()
    context.ready()

    def forward() -> None:
        generator.forward(*inputs)
        mx.nd.waitall()

    meter.start()
    context.sample("first_call_s", meters.timed(forward), meters.SECONDS)
    context.progress("warming up")
    warm_up = meters.warm_up(forward, budget.warm_up_seconds)
    context.progress("timing")
    for seconds in meters.sample(forward, budget.min_samples, budget.min_seconds, budget.max_seconds):
        context.sample("latency_s", seconds, meters.SECONDS)
    memory = _report_memory(context, meter.read())
    context.sample("parameters", generator.parameter_count, meters.PURE)
    context.sample("net_file_bytes", os.path.getsize(net_file), meters.BYTES)
    info = {"memory": memory, "warm_up_calls": len(warm_up), "warm_up_stable": meters.is_stable(warm_up)}
    if cell.batch == 1:
        context.progress("scoring")
        picture = generator.generate(content, (cell.size, cell.size), seed=cell.seed)
        _save(picture, context)
        # Always in float32: the target is one number, whatever precision the optimisation works in.
        _report_terms(context, _objective(cell, settings, device, "float32", content).terms(picture))
    return info
