"""What every metric of a run means: what is timed, what memory contains. The report's glossary, as data."""

from __future__ import annotations

from dataclasses import dataclass

from bench.analysis.summary import REFERENCE_ITERATIONS, SPEEDUP_OF_VARIANT


@dataclass(frozen=True)
class Metric:
    """``label`` is for headings, ``text`` is the definition in whole sentences."""

    name: str
    label: str
    text: str


_SPEEDUP_500 = f"speedup_at_{REFERENCE_ITERATIONS}_iterations"

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "latency_s",
            "latency of one call",
            "Seconds of one forward pass of a trained net on a batch that is in memory already, from the call to the "
            "last finished operation (synchronised on both sides, and checked: results that are brought to the host "
            "must not take longer), after warm-up. Not in it: loading the net, the first call, first samples that "
            "were still slower than the later ones, reading and writing pictures.",
        ),
        Metric(
            "throughput_images_per_s",
            "throughput",
            "The batch over the latency of one call at that batch, sample by sample.",
        ),
        Metric(
            "device_latency_s",
            "latency by the GPU's clock",
            "Seconds of one forward pass between two events on the GPU itself, calls queued one after another (PyTorch "
            "only). What latency_s has more than this is what the host needs to launch the work: where the two are "
            "far apart, the GPU waits for the host.",
        ),
        Metric(
            "iteration_s",
            "time of one optimisation step",
            "Seconds from one evaluation of the objective to the next: objective and gradient through the descriptor, "
            "and the optimiser's own work. Saving pictures and writing files are off the clock; first steps that were "
            "still slower than the later ones are left out.",
        ),
        Metric(
            "warm_up_latency_s",
            "latency while still warming up",
            "First samples after the warm-up that were still slower than the later half of the samples, by more than "
            "5 % and more than their noise; at most half of a cell's samples. In no other number.",
        ),
        Metric(
            "warm_up_iteration_s",
            "optimisation step while still warming up",
            "The same of an optimisation's first steps. In no other number; the time to target contains them.",
        ),
        Metric(
            "time_to_target_s",
            "time to target",
            "Seconds on the optimisation's own clock, which excludes set-up, until its objective first comes down to "
            "the target: interpolated between evaluations, linear in log(objective). The target is the lowest of the "
            "generators' objectives on the same picture under the same objective (the median over their seeds), or "
            "the value of --target-loss. The metrics time_to_target_<method>_s have that method's objective as their "
            "target; time_to_target_gatys_s what the plain optimisation ended at. Only evaluations at the full size "
            "can reach a target; coarse levels before them count with their seconds. 'Not reached' carries the time "
            "that was spent, which is a lower bound.",
        ),
        Metric(
            "iterations_to_target",
            "iterations to target",
            "The same crossing, counted in evaluations of the objective at the full size instead of seconds. Coarse "
            "levels and a net's forward pass before them are not in it.",
        ),
        Metric(
            "target",
            "target objective",
            "The objective that the optimisation has to come down to: the generator's own, the median over its seeds; "
            "for variants of the optimisation also the plain one's own.",
        ),
        Metric(
            "speedup_at_equal_loss",
            "speed-up at equal loss",
            "Median time to target of the optimisation, for this generator's own objective, over this generator's "
            "median latency at batch 1; same engine, task, size, dtype and device. A lower bound where the "
            "optimisation did not reach the target in its time.",
        ),
        Metric(
            SPEEDUP_OF_VARIANT,
            "speed-up over the plain optimisation",
            "Of a variant of the optimisation (coarse to fine, or from a net's picture): the plain optimisation's "
            "time to the objective of the picture that it ended at, over the variant's time to the same. Both clocks "
            "count everything from the start: every coarse level, or the net's inputs and forward pass.",
        ),
        Metric(
            _SPEEDUP_500,
            f"speed-up at {REFERENCE_ITERATIONS} iterations",
            f"{REFERENCE_ITERATIONS} times the median step of the optimisation over this generator's median latency "
            "at batch 1, whatever either picture's loss is.",
        ),
        Metric(
            "peak_memory_bytes",
            "peak memory",
            "CPU: the most that was resident in the cell's own process (VmHWM) during the measured part, reset after "
            "set-up. In it: interpreter, engine, weights of the net or the descriptor, inputs, activations, and what "
            "the allocator keeps; not in it: what loading needed for a while, and scoring. GPU: what the driver counts "
            "for the process (process_bytes), or where it does not tell for the device (device_bytes).",
        ),
        Metric(
            "working_memory_bytes",
            "working memory",
            "Peak memory less what was resident right after importing the engine (import_baseline_bytes): what the "
            "method itself needs, weights included. On a GPU less what was in use once the context was made. This is "
            "the value to set beside the papers' figures.",
        ),
        Metric(
            "import_baseline_bytes",
            "resident after the import",
            "In cells.jsonl, info.memory. Bytes resident after importing the engine: interpreter, engine, libraries; "
            "no weights, no net, no picture.",
        ),
        Metric(
            "process_bytes",
            "GPU memory of the process",
            "In cells.jsonl, info.memory. What the driver (NVML) counts for the cell's process at the end: context, "
            "kernels, and the engine's pool, which gives nothing back and so is at its highest. None where the driver "
            "does not tell. process_baseline_bytes is the same once the context was made.",
        ),
        Metric(
            "device_bytes",
            "GPU memory of the device",
            "In cells.jsonl, info.memory. What is in use on the whole device (NVML), other programs included. "
            "device_baseline_bytes is the same once the context was made; mxnet_used_bytes the same as the engine "
            "sees it (total less free of gpu_memory_info).",
        ),
        Metric(
            "mxnet_pool_cached_bytes",
            "free blocks in the engine's pool",
            "In cells.jsonl, info.memory. The part of mxnet_used_bytes that was in no array at the end but kept by "
            "MXNet's pool for later: what emptying the pool gave back to the device.",
        ),
        Metric(
            "allocator_peak_bytes",
            "most that tensors held",
            "GPU memory as PyTorch's allocator counts it: the most that tensors held at one moment of the measured "
            "part. Not in it: CUDA's context, kernels, and blocks that the allocator keeps.",
        ),
        Metric(
            "allocator_reserved_bytes",
            "most that the allocator had",
            "GPU memory that PyTorch's allocator had from the driver at most, free blocks included. peak_memory_bytes "
            "of such a cell is what the driver (NVML) says of the whole process.",
        ),
        Metric(
            "memory_ratio",
            "peak memory ratio",
            "Peak memory of the optimisation over that of this generator at batch 1.",
        ),
        Metric(
            "working_memory_ratio",
            "working memory ratio",
            "Working memory of the optimisation over that of this generator at batch 1.",
        ),
        Metric(
            "objective",
            "objective",
            "content + style + tv of the finished picture under the run's preset, in float32: the number by which the "
            "methods are compared. Lower is better. Comparable within one task, size, preset and set of weights only.",
        ),
        Metric("content", "content term", "The content loss's part of the objective, weight included."),
        Metric("style", "style term", "The style (Gram) loss's part of the objective, weights included."),
        Metric("tv", "total variation term", "The total variation's part of the objective, weight included."),
        Metric(
            "setup_s",
            "set-up time",
            "Seconds until the cell is ready to compute: importing the engine, loading weights and pictures, building "
            "the nets. In no other number.",
        ),
        Metric(
            "first_call_s",
            "first call",
            "Seconds of the very first call, which builds graphs and tunes kernels. In no other number.",
        ),
        Metric("parameters", "parameters", "Trained numbers of the net."),
        Metric("net_file_bytes", "net file", "Bytes of the trained net's file on disk."),
    )
}

STATISTICS = (
    "Values are medians. The interval in brackets is a 95 % percentile bootstrap of that median; for a ratio both "
    "sides are resampled. n is the number of samples, for a ratio that of the smaller side. With n = 1 a value has no "
    "interval of its own: a ratio's then covers the spread of its other side only. With n = 2 or 3 the interval is "
    "the whole range of the samples."
)
STATUSES = (
    ("ok", "measured"),
    ("not reached", "the target was not reached; the value is the time that was spent, a lower bound"),
    ("lower bound", "a speed-up whose optimisation did not reach the target: the true value is higher"),
    ("oom", "the cell ran out of memory"),
    ("timeout", "the cell hung and was ended"),
    ("error", "the cell failed; the reason is in the list of cells"),
    ("skipped", "the cell was not run, because it could not have worked; the reason is in the list of cells"),
)


def describe(name: str) -> Metric:
    """The metric of that name; for one of a family (time_to_target_<method>_s) with the method in its
    label.
    """
    if name in METRICS:
        return METRICS[name]
    for family, prefix, suffix in (
        ("time_to_target_s", "time_to_target_", "_s"),
        ("iterations_to_target", "iterations_to_target_", ""),
        ("target", "target_", ""),
    ):
        if name.startswith(prefix) and name.endswith(suffix):
            method = name[len(prefix) : len(name) - len(suffix)]
            parent = METRICS[family]
            return Metric(family, f"{parent.label}: {method}", parent.text)
    return Metric(name, name, "")
