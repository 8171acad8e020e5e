"""Every metric of a run, once: name, label, unit, direction, definition, and where it appears.

Summary, claims, tables, plots, history and the gate take theirs from here. A metric without an entry is an error
(:func:`find`), so that no number can appear that nobody has defined.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nst_gluon.system.errors import UserError

REFERENCE_ITERATIONS = 500
LOWER, HIGHER, NEITHER = "lower", "higher", ""
# Where a metric appears, beyond the table of all numbers.
GLANCE, SIZE, BATCH, QUALITY, ENGINES, GROWTH = "glance", "plots by size", "by batch", "quality", "engines", "growth"
GATE, HISTORY = "gate", "history"
RELATION = "derived"  # computed from samples of one or more cells, never reported by a cell itself
RECORD = "cells.jsonl"  # in the record of a cell only
JUDGE = "judges"  # of finished pictures, in judges.csv only: what no method minimises


@dataclass(frozen=True)
class Metric:
    """One metric. ``label`` is for headings, ``text`` is the definition in whole sentences.

    Attributes:
        unit: of the values in samples.csv and summary.csv: s, B, J, x, images/s, or 1 for a pure number.
        better: LOWER or HIGHER; NEITHER for what is no merit.
        where: in which tables, plots and checks it appears.
    """

    name: str
    label: str
    unit: str
    better: str
    where: tuple[str, ...]
    text: str

    @property
    def whole_text(self) -> str:
        """The definition with the direction."""
        return f"{self.text} {self.better.capitalize()} is better." if self.better else self.text


_ENTRIES = (
    Metric(
        "speedup_at_equal_loss", "speed-up at equal loss", "x", HIGHER, (GLANCE, SIZE, HISTORY, RELATION),
        "Time to target of optimisation for this net's own objective, divided by this net's latency at batch 1, which "
        "is that of the forward pass alone; same style, engine, task, size, dtype and device. A lower bound where "
        "optimisation ended before it reached the target.",
    ),
    Metric(
        "speedup_at_equal_loss_whole_call", "speed-up at equal loss, whole call", "x", HIGHER, (GLANCE, RELATION),
        "The same, divided by the time of the whole call (call_s).",
    ),
    Metric(
        "speedup_over_variant", "speed-up at equal loss over the variant", "x", HIGHER, (RELATION,),
        "The speed-up at equal loss against a faster way of optimising: speedup_over_<method> has its time to this "
        "net's objective, coarse levels included.",
    ),
    Metric(
        "speedup_over_variant_whole_call", "speed-up over the variant, whole call", "x", HIGHER, (RELATION,),
        "The same, divided by the time of the whole call.",
    ),
    Metric(
        "speedup_at_500_iterations", "speed-up at 500 iterations", "x", HIGHER, (GLANCE, SIZE, HISTORY, RELATION),
        "500 times the median step of optimisation, divided by this net's median latency at batch 1, whatever the"
        " loss of either picture.",
    ),
    Metric(
        "speedup_at_500_iterations_whole_call", "speed-up at 500 iterations, whole call", "x", HIGHER, (RELATION,),
        "The same, divided by the time of the whole call (call_s).",
    ),
    Metric(
        "call_s", "time of a whole call", "s", LOWER, (HISTORY, ENGINES),
        "Seconds of one call as a user has it, from a photo in memory (for a texture, from nothing) to 8-bit pixels on "
        "the host: drawing the noise, bringing the inputs to the device, the forward pass, cropping, clipping, "
        "rounding. Not included: loading the net, reading and writing files.",
    ),
    Metric(
        "training_s", "training", "s", LOWER, (RELATION,),
        "Seconds that training the net took, all its stages together, on whatever machine it was trained.",
    ),
    Metric(
        "break_even", "pictures until training has paid", "1", LOWER, (RELATION,),
        "The seconds of training, divided by what one whole call saves against the time to the net's objective: "
        "break_even_<method> against that optimisation.",
    ),
    Metric(
        "speedup_over_optimisation", "speed-up over plain optimisation", "x", HIGHER, (RELATION,),
        "For a variant of optimisation (coarse to fine, or from a net's picture): the time that starts of plain "
        "optimisation take to the lowest objective of each, divided by the variant's time to the same objectives; "
        "medians over the starts (photo and seed) that both made. Both clocks run from the start: every coarse level, "
        "or the net's inputs and forward pass, included.",
    ),
    Metric(
        "latency_s", "latency of one call", "s", LOWER, (GLANCE, SIZE, GATE, HISTORY, ENGINES, GROWTH),
        "Seconds of one forward pass of a trained net on a batch that is already in memory, from the call until "
        "the last operation has finished (synchronised on both sides, and checked by bringing results to the "
        "host), after warm-up. Not included: loading the net, the first call, leading samples slower than the "
        "later ones, reading and writing pictures.",
    ),
    Metric(
        "time_to_target_s", "time to target", "s", LOWER, (GLANCE, HISTORY, ENGINES, RELATION),
        "The seconds until the end of the first evaluation at the full size, set-up excluded, and from there the "
        "evaluations until the objective first falls to the target, times the median step of that descent. The "
        "crossing is interpolated between evaluations, linear in log(objective). The target is the net's own objective:"
        " for a texture the median over its draws of noise, for a photo that of the same photo; without a name the "
        "lowest of the nets' targets, or --target-loss. Of several photos and starts, the median over photos of the "
        "median over starts. "
        "time_to_target_<method>_s has the objective of that method as its target: a net's own, or the lowest "
        "that plain optimisation came to. Only evaluations at the full size can reach a target; coarse levels before "
        "them count with their seconds. 'Not reached' carries the time spent, a lower bound.",
    ),
    Metric(
        "iterations_to_target", "iterations to target", "1", LOWER, (RELATION,),
        "The same crossing, counted in evaluations of the objective at the full size. Coarse levels and a net's "
        "forward pass before them are not counted.",
    ),
    Metric(
        "target", "target objective", "1", NEITHER, (RELATION,),
        "The objective that optimisation has to reach: the net's own, median over its draws of noise or its photos; for"
        " variants of optimisation also the lowest that plain optimisation came to.",
    ),
    Metric(
        "iteration_s", "time of one step of optimisation", "s", LOWER, (SIZE, GATE, HISTORY, ENGINES, GROWTH),
        "Seconds from one evaluation of the objective to the next: objective, its gradient through the "
        "descriptor, and the optimiser's own work. Saving pictures and writing files are off the clock; leading "
        "steps slower than the later ones are left out.",
    ),
    Metric(
        "throughput_images_per_s", "throughput", "images/s", HIGHER, (BATCH, RELATION),
        "The batch size divided by the latency of one call at that batch, sample by sample.",
    ),
    Metric(
        "peak_memory_bytes", "peak memory", "B", LOWER, (GLANCE, SIZE, GATE, HISTORY, ENGINES),
        "CPU: the most that was resident in the cell's own process (VmHWM) during the measured part, reset after "
        "set-up. It includes interpreter, engine, weights of the net or descriptor, inputs, activations and what "
        "the allocator keeps; it excludes what loading needed for a while, and scoring, but for the "
        "objective that judges the pictures of a method with a loss of its own. GPU: what the driver counts for the "
        "process (process_bytes), or else for the device (device_bytes).",
    ),
    Metric(
        "working_memory_bytes", "working memory", "B", LOWER, (GLANCE, SIZE, GATE, HISTORY, ENGINES, GROWTH),
        "Peak memory minus what was resident right after importing the engine (import_baseline_bytes): what the "
        "method itself needs, weights included. On a GPU, minus what was in use once the context existed.",
    ),
    Metric(
        "memory_ratio", "peak memory ratio", "x", HIGHER, (RELATION,),
        "Peak memory of optimisation divided by that of this net at batch 1.",
    ),
    Metric(
        "working_memory_ratio", "working memory ratio", "x", HIGHER, (RELATION,),
        "Working memory of optimisation divided by that of this net at batch 1.",
    ),
    Metric(
        "objective", "objective", "1", LOWER, (GLANCE, QUALITY, ENGINES),
        "content + style + total variation of the finished picture under the run's preset, in float32: the number"
        " by which methods are compared; of several photos the median over photos. Comparable only within one task, "
        "size, style, set of photos, preset and set of weights.",
    ),
    Metric(
        "objective_of_file", "objective once rounded to 8 bits", "1", LOWER, (QUALITY,),
        "The objective of an optimised picture after rounding to the 256 levels of a file. The difference to the "
        "objective is what saving adds.",
    ),
    Metric(
        "content", "content term", "1", LOWER, (QUALITY,),
        "The content loss, weight included, as it enters the objective.",
    ),
    Metric(
        "style", "style term", "1", LOWER, (QUALITY,),
        "The style (Gram) loss, weights included, as it enters the objective.",
    ),
    Metric(
        "tv", "total variation term", "1", LOWER, (QUALITY,),
        "Total variation, weight included, as it enters the objective.",
    ),
    Metric(
        "setup_s", "set-up time", "s", LOWER, (),
        "Seconds until the cell is ready to compute: importing the engine, loading weights and pictures, building"
        " the nets. Not part of any other number.",
    ),
    Metric(
        "first_call_s", "first call", "s", LOWER, (),
        "Seconds of the very first call, which builds graphs and tunes kernels. Not part of any other number.",
    ),
    Metric(
        "warm_up_latency_s", "latency while still warming up", "s", NEITHER, (),
        "Leading samples after the warm-up that were slower than the later half, by more than 5 % and more than "
        "their noise; at most half of a cell's samples. Not part of any other number.",
    ),
    Metric(
        "warm_up_iteration_s", "step while still warming up", "s", NEITHER, (),
        "The same for the first steps of an optimisation. Not part of any other number: a time to target counts these "
        "steps at the median step's time.",
    ),
    Metric(
        "device_latency_s", "latency by the GPU's clock", "s", LOWER, (),
        "Seconds of one forward pass between two events on the GPU, calls queued one after another (PyTorch "
        "only). latency_s minus this is the host's cost of launching the work; where the two differ widely, the "
        "GPU waits for the host.",
    ),
    Metric(
        "energy_j", "energy of one picture", "J", LOWER, (),
        "Joules by the machine's own counters, where it tells them: of the processor's packages and memory (RAPL), or "
        "of the GPU (NVML); idle parts and other programs included. Of a net: over its timed passes, divided by their "
        "pictures. Of an optimisation: from start to end, the judging of a method with a loss of its own included. "
        "info.energy_source in cells.jsonl says what counted.",
    ),
    Metric(
        "parameters", "parameters", "1", LOWER, (),
        "Trained numbers of the net.",
    ),
    Metric(
        "net_file_bytes", "net file", "B", LOWER, (),
        "Size of the trained net's file.",
    ),
    Metric(
        "import_baseline_bytes", "resident after the import", "B", LOWER, (RECORD,),
        "In cells.jsonl, info.memory. Resident right after importing the engine: interpreter, engine, libraries; "
        "no weights, no net, no picture.",
    ),
    Metric(
        "process_bytes", "GPU memory of the process", "B", LOWER, (RECORD,),
        "In cells.jsonl, info.memory. What the driver (NVML) counts for the cell's process at the end: context, "
        "kernels, and the engine's pool, which never shrinks. None where the driver does not say. "
        "process_baseline_bytes is the same once the context existed.",
    ),
    Metric(
        "device_bytes", "GPU memory of the device", "B", LOWER, (RECORD,),
        "In cells.jsonl, info.memory. Memory in use on the whole device (NVML), other programs included. "
        "device_baseline_bytes is the same once the context existed; mxnet_used_bytes is the engine's view (total"
        " minus free of gpu_memory_info).",
    ),
    Metric(
        "mxnet_pool_cached_bytes", "free blocks in the engine's pool", "B", NEITHER, (RECORD,),
        "In cells.jsonl, info.memory. The part of mxnet_used_bytes held by no array at the end but kept by "
        "MXNet's pool: what emptying the pool gave back.",
    ),
    Metric(
        "allocator_peak_bytes", "peak of all tensors", "B", LOWER, (),
        "GPU memory as PyTorch's allocator counts it: the most that tensors held at one moment of the measured "
        "part. It excludes CUDA's context, kernels and cached blocks.",
    ),
    Metric(
        "allocator_reserved_bytes", "peak of the allocator", "B", LOWER, (),
        "The most GPU memory that PyTorch's allocator held, free blocks included. peak_memory_bytes of such a "
        "cell is the driver's figure for the whole process.",
    ),
    Metric(
        "judge_gram", "Gram distance at unused layers", "1", LOWER, (JUDGE,),
        "The relative squared difference of the picture's and the style's Gram, mean over those of VGG's relu1_2, "
        "relu2_2, relu3_4 and relu4_4 that the run's preset does not use.",
    ),
    Metric(
        "judge_statistics", "distance of wavelet statistics", "1", LOWER, (JUDGE,),
        "The relative difference of the picture's and the style's statistics after Portilla and Simoncelli 2000 "
        "(steerable pyramid of 4 scales and 4 orientations), mean over groups of statistics.",
    ),
    Metric(
        "copied_share", "copied patches", "1", LOWER, (JUDGE,),
        "The share of the texture's 16 x 16 patches whose nearest patch of the style is nearer to them than 0.8 times "
        "what separates that patch from the nearest other one of the style.",
    ),
    Metric(
        "diversity", "diversity of draws", "1", HIGHER, (JUDGE,),
        "Root mean square difference of two draws (seeds) of a method over that of independent pictures with the same "
        "mean and deviation: 0 if all draws are the same picture, 1 if they are independent.",
    ),
    Metric(
        "edge_ssim", "content kept", "1", HIGHER, (JUDGE,),
        "Structural similarity (SSIM) of the edges of the stylised picture and of the photo: 1 for the same edges.",
    ),
)  # fmt: skip
METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _ENTRIES}
# Families: one metric for each method that can be aimed at.
_FAMILIES = (
    ("time_to_target_", "_s", "time_to_target_s"),
    ("iterations_to_target_", "", "iterations_to_target"),
    ("target_", "", "target"),
    ("break_even_", "", "break_even"),
    ("speedup_over_", "_whole_call", "speedup_over_variant_whole_call"),
    ("speedup_over_", "", "speedup_over_variant"),
)

STATISTICS = (
    "Values are medians over processes of the medians of their samples. Brackets are 95 % percentile-bootstrap "
    "intervals; every source of chance is resampled, level by level: processes and the calls in each; "
    "photos, a net's draws of noise, and the starts of optimisation; not a net's training, of which there is one. n "
    "is the number of samples, for a ratio that of the smaller side (starts and photos together for a time to target). "
    "With n = 1 a value has no interval, and that of a ratio reflects only the other side's spread. With n = 2 or 3 "
    "the interval is the whole range, which has the true median in it in no more than 50 or 75 % of cases."
)
STATUSES = (
    ("ok", "measured"),
    ("not reached", "the target was not reached; the value is the time spent, a lower bound"),
    ("lower bound", "the true value is higher: a target was not reached, or a training is on record in part"),
    ("oom", "the cell ran out of memory"),
    ("timeout", "the cell hung and was ended"),
    ("error", "the cell failed; the reason is in the list of cells"),
    ("skipped", "the cell was not run because it could not have worked; the reason is in the list of cells"),
)


def split(name: str) -> tuple[str, str]:
    """(family, method): ("time_to_target_s", "x") for time_to_target_x_s; the method is empty for any other metric."""
    if name not in METRICS:
        for prefix, suffix, family in _FAMILIES:
            method = name[len(prefix) : len(name) - len(suffix)]
            if name.startswith(prefix) and name.endswith(suffix) and method:
                return family, method
    return name, ""


def aimed_at(family: str, method: str) -> str:
    """The metric of a family for one method: :func:`split` the other way round."""
    prefix, suffix = next((prefix, suffix) for prefix, suffix, name in _FAMILIES if name == family)
    return f"{prefix}{method}{suffix}"


def find(name: str) -> Metric:
    """The entry of a metric, or of its family. Raises UserError for a metric that has none."""
    family, _ = split(name)
    if family not in METRICS:
        raise UserError(f"metric {name[:80]!r}: no entry in bench/analysis/metrics.py defines it")
    return METRICS[family]


def named(where: str) -> tuple[str, ...]:
    """The metrics that appear in a place, in the order of the entries."""
    return tuple(metric.name for metric in _ENTRIES if where in metric.where)
