"""Finding one's way in run.json: machine, software, inputs. Every lookup tolerates a run that lacks the field."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from nst_gluon.pages.wording import clean, quantity

Meta = Mapping[str, Any]


def get(meta: Any, *path: str) -> Any:
    """The value at ``path`` in nested mappings, or None."""
    for name in path:
        if not isinstance(meta, Mapping):
            return None
        meta = meta.get(name)
    return meta


def with_end(text: str, records: Iterable[Mapping[str, Any]]) -> str:
    """``text``, with a sentence more where optimisations were ended at a net's loss."""
    if not any(get(record, "info", "stopped_because") == "target" for record in records):
        return text
    return (
        f"{text} Optimisation was ended once it had reached the loss of every net: its picture and objective are not "
        "the best that it can do."
    )


def run_id(meta: Meta) -> str:
    return clean(meta.get("id") or "run", 80)


def command(meta: Meta) -> str:
    """The command line that repeats the run, quoted for a shell."""
    words = meta.get("command")
    if isinstance(words, Sequence) and not isinstance(words, str):
        return clean(shlex.join(map(str, words)), 2000)
    return clean(words or "", 2000)


def setting(meta: Meta, name: str) -> Any:
    """A setting that all cells share: style, content, preset, style_size, target_loss."""
    return get(meta, "settings", name)


def named(meta: Meta, name: str) -> str:
    """A setting as a page names it: of a picture, its file without folder and ending."""
    return stem(setting(meta, name) or "?")


def stem(file: Any) -> str:
    """A file without folder and ending, as a page shows it."""
    return clean(Path(str(file)).stem, 60)


def machine(meta: Meta) -> str:
    """One line: processor, cores in use, memory, GPUs, engine."""
    environment = meta.get("environment") or {}
    parts = [clean(get(environment, "cpu", "model") or "unknown processor", 80)]
    cores = get(environment, "cpu", "cores_used")
    threads = environment.get("threads")
    parts += [_plural(cores, "core")] if cores else []
    parts += [_plural(threads, "thread")] if threads and threads != cores else []
    memory = environment.get("memory_total_bytes")
    if isinstance(memory, (int, float)):
        parts.append(quantity(float(memory), "B"))
    gpus = environment.get("gpus") or []
    names = [clean(gpu.get("name"), 60) for gpu in gpus if isinstance(gpu, Mapping)]
    parts.append(", ".join(names) if names else "no GPU")
    return ", ".join(parts)


def fingerprint(found: Meta) -> str:
    """A machine in one line, from its fingerprint: processor, cores, threads, GPU."""
    parts = [clean(found.get("cpu") or "unknown processor", 80)]
    parts += [_plural(found["cores"], "core")] if found.get("cores") else []
    parts += [_plural(found["threads"], "thread")] if found.get("threads") not in (None, found.get("cores")) else []
    return ", ".join([*parts, clean(found.get("gpu") or "no GPU", 60)])


def _plural(count: Any, noun: str) -> str:
    return f"{clean(count, 20)} {noun}{'' if count == 1 else 's'}"


def from_papers_size(size: int) -> tuple[int, int]:
    """How far a size is from the papers' 256 x 256; of two equally far the smaller is nearer."""
    return abs(size - 256), size


def software(meta: Meta) -> str:
    """The engines that the run has cells of, and their versions."""
    versions = dict(get(meta, "environment", "versions") or {})
    for elsewhere in (get(meta, "inputs", "engines") or {}).values():
        versions.update((name, version) for name, version in elsewhere.items() if name not in ("python", "numpy"))
    packages = {
        "gluon": {"mxnet": "MXNet", "mxnet-cu112": "MXNet (CUDA 11.2)"},
        "pytorch": {"torch": "PyTorch"},
        "onnxruntime": {"onnxruntime": "ONNX Runtime"},
        "openvino": {"openvino": "OpenVINO"},
    }
    planned = {cell.get("engine") for cell in meta.get("cells") or () if isinstance(cell, Mapping)} or set(packages)
    names = {name: label for engine, found in packages.items() if engine in planned for name, label in found.items()}
    parts = [f"{label} {clean(versions[name], 20)}" for name, label in names.items() if versions.get(name)]
    return ", ".join([*parts, f"Python {clean(versions.get('python', '?'), 20)}"])


def when(meta: Meta) -> str:
    """The day of the run and how long it took, all its sessions together."""
    created = _time(meta.get("created"))
    if created is None:
        return ""
    day = created.strftime("%Y-%m-%d %H:%M")
    sessions = [each for each in meta.get("sessions") or () if isinstance(each, Mapping)]
    spans = [(_time(each.get("started")), _time(each.get("finished"))) for each in sessions]
    spans = spans or [(created, _time(meta.get("finished")))]
    if any(None in span or span[1] < span[0] for span in spans):  # killed, or the clock was set back meanwhile
        return day
    minutes = sum((end - start).total_seconds() for start, end in spans) / 60
    return f"{day}, {minutes:.0f} min" if minutes >= 2 else f"{day}, {minutes * 60:.0f} s"


def revision(meta: Meta) -> str:
    git = get(meta, "environment", "git") or {}
    if not git.get("revision"):
        return ""
    return clean(git["revision"])[:12] + (" with uncommitted changes" if git.get("dirty") else "")


def warm_up(records: Iterable[Mapping[str, Any]]) -> str:
    """One sentence: how many samples were left out as still warming up, in how many cells; empty for none."""
    infos = [info for record in records if isinstance(info := record.get("info"), Mapping)]
    timed = [info for info in infos if _count(info, "timed_samples")]
    dropped = [count for info in timed if (count := _count(info, "dropped_samples"))]
    if not dropped:
        return ""
    where = "in the one cell" if len(timed) == 1 else f"in {len(dropped)} of {len(timed)} cells"
    each = "" if len(dropped) == 1 else f", at most {max(dropped)} in one"
    were = "was" if sum(dropped) == 1 else "were"
    return (
        f"{sum(dropped)} of {sum(_count(info, 'timed_samples') for info in timed)} timed samples {were} slower than "
        f"the rest and {were} left out as warm-up ({where}{each}); samples.csv has them as warm_up_latency_s and "
        "warm_up_iteration_s."
    )


def _count(info: Mapping[str, Any], name: str) -> int:
    value = info.get(name)
    return value if isinstance(value, int) and value > 0 else 0


def flat(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested mappings and lists as (dotted name, text) pairs; what is empty is left out."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from flat(inner, f"{prefix}.{clean(name, 80)}" if prefix else clean(name, 80))
    elif isinstance(value, (list, tuple)) and any(isinstance(item, (Mapping, list, tuple)) for item in value):
        for index, inner in enumerate(value):
            yield from flat(inner, f"{prefix}.{index}")
    elif value not in (None, "", [], ()):
        shown = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value
        yield prefix, clean(shown)


def _time(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        return None
