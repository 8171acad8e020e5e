"""From lists of names and numbers to a plan: every combination that exists. Imports no engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.plan import engines as registry
from bench.plan.budgets import Budget
from bench.plan.cells import GENERATE, KINDS, OPTIMISE, Cell, Plan, Settings
from nst_gluon import methods as known
from nst_gluon.methods import GENERATES, Facts
from nst_gluon.system.errors import UserError, did_you_mean


def parse_names(argument: str, text: str, choices: Sequence[str]) -> list[str]:
    """A comma-separated list of known names, without repetitions; "all" is all of them."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UserError(f"{argument}: empty; {did_you_mean('', choices)}")
    chosen: list[str] = []
    for name in names:
        if name != "all" and name not in choices:
            raise UserError(f"{argument}: unknown name {name!r}; {did_you_mean(name, choices)}")
        chosen += [c for c in (choices if name == "all" else [name]) if c not in chosen]
    return chosen


def parse_integers(argument: str, text: str, least: int = 1, most: int | None = None) -> list[int]:
    """A comma-separated list of integers from ``least`` (to ``most``), ascending, without repetitions."""
    values = set()
    for part in text.split(","):
        try:
            value = int(part.strip())
        except ValueError:
            raise UserError(f"{argument}: {part.strip()!r} is not a whole number; give for example 256,512") from None
        if value < least:
            raise UserError(f"{argument}: {value} is too small; the least is {least}")
        if most is not None and value > most:
            raise UserError(f"{argument}: {value} is too large; the most is {most}")
        values.add(value)
    return sorted(values)


def build(
    *,
    engines: Sequence[str],
    methods: Sequence[Facts],
    tasks: Sequence[str],
    sizes: Sequence[int],
    batches: Sequence[int] | None,
    dtypes: Sequence[str],
    devices: Sequence[str],
    seed: int,
    repeats: int | None,
    budget: Budget,
    settings: Settings,
) -> Plan:
    """All combinations that exist, in the order in which they are to be measured.

    Generators are measured at batch 1 (latency, memory, objective) and at each of ``batches`` (throughput;
    None takes the budget's). Optimisers work on one picture at a time. ``repeats`` replaces the budget's numbers of
    processes of a net and of seeds of an optimisation; number r has seed + r. Within one setting (size, task, style)
    nets and optimisation take turns: A B B A A B. Of several styles only those tasks are measured that have a net,
    unless no nets are asked for. Where all methods are asked for, a budget may have no time for variants. Raises a
    UserError where nothing is left.
    """
    batches = sorted({1, *(budget.batches if batches is None else batches)})
    counts = {GENERATE: repeats or budget.processes, OPTIMISE: repeats or budget.seeds}
    styles = [Path(style).stem for style in settings.styles] if settings.other_styles else [""]
    for method in methods:
        for name in method.engines:
            if name not in registry.ENGINES:
                raise UserError(f"--method: {method.name} says that it runs on {name!r}; "
                                f"{did_you_mean(name, registry.ENGINES)}")  # fmt: skip
    spared = not budget.variants and {method.name for method in methods} >= set(known.usual())
    chosen = [method for method in methods if not (spared and method.variant_of)]
    cells = [
        Cell(
            engine, method.name, task, size, batch, dtype, device, seed + number, KINDS[method.kind], method.variant_of,
            style,
        )
        for style in styles
        for engine in engines
        for method in chosen
        if not method.engines or engine in method.engines
        for task in tasks
        if task in method.tasks
        for size in sizes
        for number in range(1 if method.from_net else counts[KINDS[method.kind]])
        for batch in (batches if method.kind == GENERATES and number == 0 else [1])
        for dtype in _dtypes(engine, method.kind, dtypes)
        for device in devices
    ]
    if settings.other_styles and any(method.kind == GENERATES for method in chosen):
        # Of several styles, what was not trained is left out, and with it the optimisation that nothing is compared to.
        trained = {cell for cell in cells if cell.kind == GENERATE and settings.net(cell)}
        pairs = {(cell.style_name, cell.task) for cell in trained}
        cells = [cell for cell in cells if cell in trained or
                 (cell.kind == OPTIMISE and (cell.style_name, cell.task) in pairs)]  # fmt: skip
    names = ", ".join(method.name for method in chosen)
    if not cells:
        able = sorted({task for method in chosen for task in method.tasks})
        if not set(able) & set(tasks):
            raise UserError(f"--task: {names} cannot do {', '.join(tasks)}; it can do {', '.join(able)}")
        better = next((name for method in chosen for name in method.engines), registry.REFERENCE)
        raise UserError(f"--engine: {', '.join(engines)} cannot do {names}; use {better}, or another --method")
    order = {name: index for index, name in enumerate((*tasks, *(method.name for method in methods)))}
    cells.sort(
        key=lambda c: (
            c.size, order[c.task], styles.index(c.style_name), in_turns(c.kind, c.seed - seed, counts), order[c.method],
            c.batch, c.dtype, c.device, c.engine,
        )
    )  # fmt: skip
    used = {cell.method for cell in cells}
    return Plan(tuple(cells), budget, settings, methods=tuple(method for method in chosen if method.name in used))


def in_turns(kind: str, number: int, counts: Mapping[str, int]) -> int:
    """The place of process ``number`` of a kind, where nets (A) and optimisations (B) alternate: A B B A A B B A ...

    What one kind has more of than the other comes at the end.
    """
    turns = [GENERATE, OPTIMISE, OPTIMISE, GENERATE] * max(counts.values())
    places = [place for place, turn in enumerate(turns) if turn == kind]
    return places[number]


def _dtypes(engine: str, kind: str, asked: Sequence[str]) -> list[str]:
    """The precisions to measure in: those asked for that the engine has for this kind of cell, else float32.

    An optimisation in bfloat16 still needs a generator's objective to aim at. None where the engine has no such cells.
    """
    dtypes = registry.get(engine).dtypes(kind)
    return [dtype for dtype in asked if dtype in dtypes] or [dtype for dtype in dtypes if dtype == "float32"]
