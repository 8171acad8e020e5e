"""Whether the engines compute the same: terms, activations, gradients and pictures side by side. Imports no engine.

Each engine computes in a process of its own, ``python -m bench.engines.parity REQUEST ANSWER``, because two in one
process may clash; arrays pass through .npz files. An engine without an objective is asked for the nets' pictures only.

    terms         every term of every preset: relative error, at most 1e-4
    activations   each one that a preset names: largest difference over the largest value, at most 1e-3
    gradient      of every preset's objective to the picture: cosine, at least 0.9999
    pictures      of the trained nets that come with the suite, or of others: at least 60 dB
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.plan import engines
from nst_gluon import assets, methods
from nst_gluon.descriptor import weights
from nst_gluon.nets import netfile
from nst_gluon.objective import presets
from nst_gluon.objective.loss_terms import TERMS
from nst_gluon.pictures import images
from nst_gluon.system import children, runtime
from nst_gluon.system.errors import UserError

TASK, SEED = "stylize", 0
TIME_LIMIT_S = 3600
SEPARATOR = "|"  # of the parts of an item's name


@dataclass(frozen=True)
class Bound:
    """How near two engines have to be. ``at_least``: larger is better."""

    measure: str
    value: float
    at_least: bool = False

    def holds(self, value: float) -> bool:
        """Whether a value is good enough; NaN never is."""
        return value >= self.value if self.at_least else value <= self.value

    def __str__(self) -> str:
        return f"{'at least' if self.at_least else 'at most'} {self.value:g}"


BOUNDS = {
    "term": Bound("relative error", 1e-4),
    "activation": Bound("relative to the largest", 1e-3),
    "gradient": Bound("cosine", 0.9999, at_least=True),
    "picture": Bound("dB", 60.0, at_least=True),
}


@dataclass(frozen=True)
class Line:
    """One item of one engine against the reference.

    ``error`` is the relative error: of a term, or the largest difference over the largest value of an array; ``value``
    is what the bound is about.
    """

    engine: str
    item: str
    error: float
    measure: str
    value: float
    bound: str
    passed: bool


@dataclass(frozen=True)
class Request:
    """What every engine is asked for.

    ``pictures`` are numpy (1, 3, S, S): style, content and the one in question. ``nets`` are files of trained nets,
    ``methods`` the references of those methods of theirs that do not come with the suite, ``pythons`` the interpreters
    of engines that are installed in an environment of their own.
    """

    presets: tuple[str, ...]
    pictures: Mapping[str, np.ndarray]
    random_weights: bool = False
    threads: int | None = None
    nets: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    pythons: tuple[tuple[str, str], ...] = ()


def pictures(style: Path, content: Path, size: int) -> dict[str, np.ndarray]:
    """The style, the content, and halfway between them the picture whose objective is taken: no term of it is 0."""
    found = {name: images.load(path, size) for name, path in (("style", style), ("content", content))}
    return {**found, "picture": (found["style"] + found["content"]) / np.float32(2)}


def compare(engine_names: Sequence[str], request: Request) -> Iterator[Line]:
    """Every item of every engine but the first, which is the reference.

    Raises:
        UserError: an engine fails, or gives other items than the reference.
    """
    with tempfile.TemporaryDirectory() as folder:
        answers = {name: ask(name, request, Path(folder)) for name in engine_names}
        first, *others = engine_names
        for name in others:
            expected = [item for item in answers[first] if _does(name, item)]
            odd = set(expected) ^ {item for item in answers[name] if _does(first, item)}
            if odd:
                raise UserError(f"--engine: only one of {first} and {name} gives {sorted(odd)[0]}")
            for item in expected:
                yield line(name, item, answers[first][item], answers[name][item])


def _does(engine: str, item: str) -> bool:
    """Whether an engine gives an item: those of the objective only if it can optimise."""
    return item.startswith("picture") or bool(engines.get(engine).optimise_dtypes)


def line(engine: str, item: str, reference: np.ndarray, other: np.ndarray) -> Line:
    """The verdict on one item."""
    kind = item.split(SEPARATOR)[0]
    bound, a, b = BOUNDS[kind], reference.astype("float64"), other.astype("float64")
    scale = max(np.abs(a).max(), np.abs(b).max() if kind == "term" else 0.0)
    error = float(np.abs(a - b).max() / scale) if scale else float(np.abs(b).max())
    value = error
    if kind == "gradient":
        norms = np.linalg.norm(a) * np.linalg.norm(b)
        value = float((a * b).sum() / norms) if norms else math.nan
    elif kind == "picture":
        value = images.psnr(a, b)
    return Line(engine, item.replace(SEPARATOR, " "), error, bound.measure, value, str(bound), bound.holds(value))


def text(found: Line) -> str:
    """A line for people."""
    verdict = "pass" if found.passed else "FAIL"
    about = "" if found.measure.startswith("relative") else f", {found.measure} {found.value:.6g}"
    return f"{verdict}  {found.engine:12} {found.item:48} relative error {found.error:.1e}{about} ({found.bound})"


def as_json(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """Lines for programs: what JSON cannot hold (equal pictures have infinitely many dB) as text."""
    return [
        {name: value if not isinstance(value, float) or math.isfinite(value) else str(value)
         for name, value in asdict(found).items()}
        for found in lines
    ]  # fmt: skip


# ---------------------------------------------------------------------------------------------------- the workers


def ask(engine: str, request: Request, folder: Path) -> dict[str, np.ndarray]:
    """What an engine computes, by item, from a process of its own; a UserError is that process's one line."""
    given, answer = folder / f"{engine}-request.npz", folder / f"{engine}.npz"
    words = {"engine": engine, "presets": list(request.presets), "random_weights": request.random_weights,
             "threads": request.threads, "nets": list(request.nets), "methods": list(request.methods)}  # fmt: skip
    np.savez(given, words=json.dumps(words), **request.pictures)
    command = children.python(
        "bench.engines.parity", str(given), str(answer), program=dict(request.pythons).get(engine)
    )
    try:
        child = children.run(command, timeout_s=TIME_LIMIT_S, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    except subprocess.TimeoutExpired:
        said = f"{engine} took more than {TIME_LIMIT_S} s; it was ended"
        raise UserError(f"--engine: {said}; give a smaller --size, or fewer --preset") from None
    except OSError:
        raise engines.no_python(engine, command[0]) from None
    if child.returncode or not answer.is_file():
        last = (child.stderr.strip().splitlines() or [f"exit status {child.returncode}"])[-1]
        raise UserError(f"--engine: {engine} failed ({last})")
    with np.load(answer) as arrays:
        return dict(arrays)


def compute(
    backend: Any, names: Sequence[str], given: Mapping[str, np.ndarray], random: bool, nets: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    """Every item of an engine, by name: kind, and what it is of."""
    found: dict[str, np.ndarray] = {}
    content, style = given["content"], given["style"]
    for path in map(Path, nets or [net.path for net in assets.nets()]):
        meta = netfile.describe(path)
        source = content if meta["task"] == TASK else None
        made = backend.generator(path).generate(source, content.shape[2:], seed=SEED)
        found[SEPARATOR.join(("picture", meta["method"], meta["task"], Path(str(meta.get("style"))).stem))] = made
    descriptor = weights.load(None, random=random, progress=False)
    layers: dict[str, dict[str, None]] = {}
    for name in names:
        preset = presets.get(name)
        objective = backend.objective(preset, descriptor, TASK, style, content)
        if objective is None:
            return found
        terms, gradient = objective.value_and_gradient(given["picture"])
        for term in TERMS:
            found[SEPARATOR.join(("term", name, term))] = np.array([getattr(terms, term)])
        found[SEPARATOR.join(("gradient", name))] = gradient
        named = (*preset.style_layers, *preset.content_layers)
        layers.setdefault(preset.pooling, {}).update(dict.fromkeys(layer for layer, _ in named))
    for pooling, wanted in layers.items():
        values = backend.activations(descriptor, sorted(wanted), pooling, given["picture"])
        found.update({SEPARATOR.join(("activation", layer, f"{pooling} pooling")): value
                      for layer, value in zip(sorted(wanted), values)})  # fmt: skip
    return found


def main(request: str, answer: str) -> int:
    """The worker of one engine."""
    with np.load(request) as arrays:
        given = dict(arrays)
    words = json.loads(str(given.pop("words")))
    runtime.prepare(words["threads"])
    try:
        engine = engines.get(words["engine"])
        backend = getattr(engine.load(), engine.backend)("cpu", "float32")
        for reference in words["methods"]:
            methods.get(reference)
        found = compute(backend, words["presets"], given, words["random_weights"], words["nets"])
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    with contextlib.suppress(OSError):
        os.unlink(request)
    np.savez(answer, **found)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
