"""From the arguments of a command line to a plan; every complaint is one line. Imports no engine."""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.plan import build, cells, engines, inputs, memory, outside, shards
from bench.plan.budgets import BUDGETS, Budget
from nst_gluon import assets, methods
from nst_gluon.cli import console
from nst_gluon.objective import presets
from nst_gluon.system import runtime
from nst_gluon.system.errors import UserError, did_you_mean, nearest

ITEM = r'(?:^|(?<=,))\s*"(?P<quoted>[^"]+)"\s*(?=,|$)|(?P<plain>[^,]+)'
LARGEST_BATCH, MOST_REPEATS = 100_000, 1_000

# What decides a plan: given together with --resume, it must be the plan of that run.
PLAN_DEFAULTS = {
    "method": "all",
    "size": "256,512",
    "engine": engines.REFERENCE,
    "engine_option": None,
    "engine_python": None,
    "task": "texture,stylize",
    "style": "great_wave",
    "content": "astronaut",
    "device": "cpu",
    "dtype": "float32",
    "batch": None,
    "repeats": None,
    "seed": "0",
    "budget": "standard",
    "target_loss": None,
    "bounds": cells.BOUNDS[0],
    "preset": presets.DEFAULT,
    "weights": None,
    "random_weights": None,
    "net": None,
    "threads": None,
    "shard": None,
}


def _given(value: str | None, parse: Callable[[str], Any]) -> Any:
    return None if value is None else parse(value)


def make_plan(options: argparse.Namespace) -> cells.Plan:
    """The plan that the arguments of ``run`` describe; raises UserError, in one line, for the first wrong one."""
    given = {
        name: default if getattr(options, name) is None else getattr(options, name)
        for name, default in PLAN_DEFAULTS.items()
    }
    engine_names = build.parse_names("--engine", given["engine"], list(engines.ENGINES))
    here = getattr(options, "cluster", None) is None
    pythons = engines.parse_pythons(given["engine_python"] or [], engine_names)
    elsewhere = dict(pythons)
    for name in engine_names if here else ():
        if name not in elsewhere:
            engines.get(name).check()
    method_names = outside.parse("--method", given["method"])
    tasks = build.parse_names("--task", given["task"], methods.TASKS)
    sizes = build.parse_integers("--size", given["size"], least=16, most=runtime.LARGEST_SIDE)
    batches = _given(given["batch"], lambda text: build.parse_integers("--batch", text, most=LARGEST_BATCH))
    devices = [runtime.parse_device(text) for text in _items("--device", given["device"])]
    dtypes = [runtime.parse_dtype(text) for text in _items("--dtype", given["dtype"])]
    for name in engine_names if here else ():
        for device in devices:
            engines.get(name).check_device(device, dtypes, name in elsewhere)
    repeats = _given(given["repeats"], console.whole_number("--repeats", 1, 3, MOST_REPEATS))
    if given["budget"] not in BUDGETS:
        hint = did_you_mean(given["budget"], BUDGETS)
        raise UserError(f"--budget: unknown budget {given['budget']!r}; {hint}")
    presets.get(given["preset"])
    if given["bounds"] not in cells.BOUNDS:
        raise UserError(f"--bounds: unknown bounds {given['bounds']!r}; {did_you_mean(given['bounds'], cells.BOUNDS)}")
    chosen = outside.facts(method_names)
    styles, contents = (_pictures(name, given[name]) for name in ("style", "content"))
    for missing in filter(None, (method.missing() for method in chosen)):
        raise UserError(f"--method: {missing}")
    settings = cells.Settings(
        style=styles[0],
        content=contents[0],
        other_styles=styles[1:],
        other_contents=contents[1:] if "stylize" in tasks else (),
        preset=given["preset"],
        weights=_weights(given["weights"]),
        random_weights=bool(given["random_weights"]),
        threads=_given(given["threads"], console.whole_number("--threads", 1, 2)),
        target_loss=_target_loss(given["target_loss"]),
        bounds=given["bounds"],
        nets=_nets(styles, chosen, tasks, given["net"] or []),
        engine_options=engines.parse_options(given["engine_option"] or [], engine_names),
        methods=tuple((method.name, method.reference) for method in chosen if method.reference),
        engine_pythons=pythons,
    )
    built = build.build(
        engines=engine_names,
        methods=chosen,
        tasks=tasks,
        sizes=sizes,
        batches=batches,
        dtypes=dtypes,
        devices=[str(device) for device in devices],
        seed=console.seed(given["seed"]),
        repeats=repeats,
        budget=_budget(given["budget"], settings.target_loss),
        settings=settings,
    )
    unavailable = built.unavailable()
    if len(unavailable) == len(built.cells):
        raise UserError(f"--style: {next(iter(unavailable.values()))}")
    if given["shard"] is not None:  # before anything that depends on this machine, so that all split one and the same
        built = shards.take(built, *shards.parse(given["shard"]))
    available = _memory(devices) if here else {}
    if batches is None:  # nobody asked for these batches: leave out those that cannot fit
        built = memory.without_larger_batches(built, available)
    memory.check_memory(built.cells, available)
    return built


def joined(items: Iterable[str]) -> str:
    """Names or files as a list on the command line."""
    return ",".join(f'"{item}"' if "," in item else item for item in items)


def _items(argument: str, text: str) -> list[str]:
    """The items of a list, of which one that has a comma stands in double quotes (see :func:`joined`)."""
    items = (match["quoted"] or match["plain"].strip() for match in re.finditer(ITEM, text))
    found = list(dict.fromkeys(filter(None, items)))
    if not found:
        raise UserError(f"{argument}: empty; give at least one")
    return found


def _pictures(argument: str, text: str) -> tuple[str, ...]:
    """The pictures of a list: bundled names, files, folders of files, and "all" for every bundled one.

    A bundled name stays as it is, a file becomes an absolute path, so that a resumed run finds it from anywhere.
    """
    bundled = {"style": assets.styles(), "content": assets.contents()}[argument]
    items = [text] if text in bundled or os.path.isfile(text) else _items(f"--{argument}", text)  # a path with a comma
    found: list[str] = []
    for item in items:
        names = bundled if item == "all" else inputs.in_folder(argument, item)
        paths = {name: inputs.picture(argument, name) for name in names}
        known = (*assets.styles(), *assets.contents())
        found += [name if name in known else os.path.abspath(path) for name, path in paths.items()]
    found = list(dict.fromkeys(found))
    stems = [Path(name).stem for name in found]
    twice = next((name for name, stem in zip(found, stems) if stems.count(stem) > 1), None)
    if twice:
        raise UserError(f"--{argument}: two pictures are called {Path(twice).stem!r}; give them different names")
    return tuple(found)


def _weights(text: str | None) -> str | None:
    """A name as it is, a file as an absolute path; what is neither is refused before anything is begun."""
    if text is None:
        return None
    from nst_gluon.descriptor import weights  # and numpy with it

    if os.path.isfile(text):
        return str(Path(text).resolve())
    if text not in weights.NAMES and Path(text).name == text and not os.path.exists(text):
        hint = did_you_mean(text, weights.NAMES)
        raise UserError(f"--weights: {text!r} is neither a name nor a file; {hint}, or {weights.FORMATS}")
    return text


def _budget(name: str, target_loss: float | None) -> Budget:
    """The budget; optimisation ends at once where it reaches a loss that the user named, whatever the budget says."""
    budget = BUDGETS[name]
    return budget if target_loss is None else dataclasses.replace(budget, stop_early=True, least_iterations=0)


def _target_loss(text: str | None) -> float | None:
    if text is None:
        return None
    value = console.number("--target-loss", 0.0, 1e4)(text)
    if not math.isfinite(value) or value <= 0:
        raise UserError(f"--target-loss: {text} is not a positive number; give for example 1e4")
    return value


def _nets(
    styles: Sequence[str], chosen: Sequence[methods.Facts], tasks: Sequence[str], files: Sequence[str]
) -> tuple[tuple[str, str], ...]:
    """("method/task", net) for every generator that has one: the files given, else the bundled ones.

    With several styles each is named ("style/method/task"), and a file is for the style that it was trained on.
    """
    found = {}
    names = [Path(style).stem for style in styles]
    for style in styles:
        named = Path(style).stem if len(styles) > 1 else ""
        for method in chosen:
            for task in tasks:
                path = assets.find_net(style, method.name, task)
                if path is not None:
                    found[cells.use_of(named, method.name, task)] = f"{cells.BUNDLED}{path.name}"
    given: dict[str, str] = {}
    for text in files:
        from nst_gluon.nets import netfile

        file = net_file(text)
        try:
            meta = netfile.describe(file)
        except UserError as error:
            raise UserError(f"--net: {error}") from error
        method, task = str(meta.get("method")), str(meta.get("task"))
        if task not in tasks:
            raise UserError(f"--net: {text} is a net for {task!r}, which is not in --task; add it there")
        if not any(each.name == method or each.from_net for each in chosen):
            raise UserError(f"--net: {text} is a net of {method!r}, which is not in --method; add it there")
        use = f"{method}/{task}"
        if len(styles) > 1:
            trained_on = str(meta.get("style"))
            trained_on = trained_on if trained_on in names else Path(trained_on).stem
            if trained_on not in names:
                raise UserError(f"--net: {text} was trained on {trained_on!r}, which is not in --style; add it there")
            use = f"{trained_on}/{use}"
        if use in given:
            raise UserError(f"--net: {given[use]} and {text} are both for {use}; give one of them")
        given[use] = f"{cells.BUNDLED}{file.name}" if file.parent == cells.NETS else str(file.resolve())
    return tuple(sorted({**found, **given}.items()))


def net_file(text: str) -> Path:
    """A net by its file, or a bundled one by its name."""
    bundled = {net.path.stem: net.path for net in assets.nets()}
    if os.path.exists(text):
        return Path(text)
    if text in bundled:
        return bundled[text]
    near = nearest(text, [*bundled, *(str(path) for path in Path(text).parent.glob("*.npz"))])
    raise UserError(f"--net: {text!r} is neither a file nor a bundled net; {near}see nst_gluon list nets")


def _memory(devices: Sequence[runtime.Device]) -> dict[str, int]:
    """Bytes that can be had on each device."""
    return {
        str(device): runtime.memory_available_bytes() if device.kind == "cpu"
        else runtime.gpu_devices()[device.index].memory_bytes
        for device in devices
    }  # fmt: skip
