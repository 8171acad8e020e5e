"""The command that measures a number again, from what the run says of itself."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.plan.arguments import PLAN_DEFAULTS, joined
from bench.plan.budgets import BUDGETS
from bench.plan.cells import BUNDLED, GENERATE, OPTIMISE, use_of
from bench.report import run_facts
from bench.store.machines import AT
from nst_gluon.pages.wording import clean

LONGEST = 2000
Cell = Mapping[str, Any]
Meta = Mapping[str, Any]


def needed(cell: Cell, cells: Sequence[Cell]) -> list[Cell]:
    """The cells to measure for ``cell``'s numbers: its seeds, and for an optimisation the nets it aims at."""
    setting = ("style_name", "engine", "task", "size", "device")
    alike = [other for other in cells if all(other.get(name) == cell.get(name) for name in setting)]
    own = [other for other in alike if all(other.get(name) == cell.get(name) for name in ("method", "batch", "dtype"))]
    if cell.get("kind") != OPTIMISE:
        return own
    return [other for other in alike if other.get("kind") == GENERATE and other.get("batch") == 1] + own


def command(meta: Meta, cells: Sequence[Cell]) -> str:
    """One line for a shell that measures ``cells`` (of one task and size) as the run did; empty for none."""
    if not cells:
        return ""
    words = ["python", "-m", "bench", "run"]
    for name, value in _arguments(meta, cells):
        words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return clean(shlex.join(words), LONGEST)


def _arguments(meta: Meta, cells: Sequence[Cell]) -> list[tuple[str, Any]]:
    """Pairs of option and value; those that a run takes by itself are left out."""
    settings = meta.get("settings") or {}
    budget = BUDGETS.get(str(run_facts.get(meta, "budget", "name")), BUDGETS["standard"])
    seeds = sorted({int(cell["seed"]) for cell in cells})
    repeats = seeds[-1] - seeds[0] + 1
    of = {name: list(dict.fromkeys(str(cell[name]) for cell in cells)) for name in ("method", "task", "size", "engine")}
    references = dict(settings.get("methods") or ())
    of["method"] = [references.get(name, name) for name in of["method"]]
    dtypes = list(dict.fromkeys(str(cell["dtype"]) for cell in cells if cell["dtype"] != "float32"))
    devices = list(dict.fromkeys(str(cell["device"]).split(AT)[0] for cell in cells))
    given: dict[str, Any] = {name: ",".join(values) for name, values in of.items()}
    given["batch"] = max(int(cell["batch"]) for cell in cells)
    given |= {"dtype": ",".join(dtypes) or "float32", "device": ",".join(devices)}
    given |= {"seed": seeds[0], "repeats": None if repeats == budget.seeds else repeats, "budget": budget.name}
    for name in ("style", "content", "preset", "weights", "random_weights", "threads", "target_loss", "bounds"):
        given[name] = settings.get(name) or None
    named = {str(cell.get("style_name") or "") for cell in cells} - {""}
    for name, others in (("style", "other_styles"), ("content", "other_contents")):
        files = [str(one) for one in (given[name], *(settings.get(others) or ())) if one]
        if name == "style" and named:
            files = [one for one in files if Path(one).stem in named]
        given[name] = joined(files) or None
    always = ("method", "task", "size", "batch")
    found = [
        (name, value)
        for name, value in given.items()
        if value is not None and (name in always or str(value) != str(PLAN_DEFAULTS[name]))
    ]
    for option in ("engine_option", "engine_python"):
        chosen = settings.get(f"{option}s") or ()
        found += [(option, f"{name}={value}") for name, value in chosen if name.split(".")[0] in of["engine"]]
    return found + [("net", path) for path in _nets(settings, cells)]


def _nets(settings: Mapping[str, Any], cells: Sequence[Cell]) -> list[str]:
    """The nets of those cells that were given as files."""
    uses = {use_of(cell.get("style_name"), cell["method"], cell["task"]) for cell in cells}
    return [str(net) for use, net in settings.get("nets") or () if use in uses and not str(net).startswith(BUNDLED)]
