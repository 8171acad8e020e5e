"""What a run measures: a list of cells, and the budget that says how long each may take. Imports no engine.

A cell is one point of engine x method x task x size x batch x dtype x device x seed. Generators come first,
because the objective of their pictures is the target that the optimisation is timed against; sizes ascend, so
that an out-of-memory at one size spares the larger ones.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.plan import engines as registry
from bench.plan import old_runs
from bench.plan.budgets import BUDGETS as BUDGETS
from bench.plan.budgets import GATE as GATE
from bench.plan.budgets import Budget
from nst_gluon import assets, methods
from nst_gluon.descriptor import segments
from nst_gluon.system.errors import UserError, did_you_mean

# What goes without saying in a cell's name.
USUAL = {"engine": registry.REFERENCE, "dtype": "float32", "device": "cpu"}
CELL_COLUMNS = ("engine", "method", "task", "size", "batch", "dtype", "device", "seed")
STYLE_SIZE = 256
BUNDLED = "bundled:"
NETS = assets.FOLDER / "nets"

GENERATE = "generate"
OPTIMISE = "optimise"
KINDS = {"generates": GENERATE, "optimises": OPTIMISE}

# Resident bytes per pixel of the picture, above BASE_BYTES, in float32 on a CPU, measured and rounded up. An
# optimisation holds the descriptor's activations for the way back and L-BFGS's vectors. A generator's cell holds the
# descriptor's activations too, when it scores its one picture; larger batches are not scored.
BYTES_PER_PIXEL = {OPTIMISE: 6_000, GENERATE: 5_000}
BYTES_PER_PIXEL_OF_BATCH = 700
BASE_BYTES = 700_000_000


@dataclass(frozen=True)
class Cell:
    """One measurement in one process. ``kind`` is "generate" or "optimise"; the other fields are
    CELL_COLUMNS.
    """

    engine: str
    method: str
    task: str
    size: int
    batch: int
    dtype: str
    device: str
    seed: int
    kind: str

    @property
    def key(self) -> str:
        """A stable name of the cell, fit for a file name: its identity columns."""
        device = self.device.replace(":", "")
        what = f"{self.engine}-{self.method}-{self.task}-{self.size}-b{self.batch}"
        return f"{what}-{self.dtype}-{device}-s{self.seed}"

    def columns(self) -> dict[str, Any]:
        """The identity columns, in the order of CELL_COLUMNS."""
        return {name: getattr(self, name) for name in CELL_COLUMNS}

    @property
    def variant(self) -> bool:
        """Whether its method is another method's faster variant."""
        known = methods.METHODS.get(self.method)
        return known is not None and known.variant_of is not None

    def label(self) -> str:
        """A short name for people: what differs most from cell to cell, and what is not usual."""
        unusual = [f"batch {self.batch}"] if self.batch > 1 else []
        unusual += [getattr(self, name) for name, usual in USUAL.items() if getattr(self, name) != usual]
        return " ".join([self.method, self.task, str(self.size), *unusual])

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Cell:
        known = old_runs.cell(fields)
        return cls(**{field.name: known[field.name] for field in dataclasses.fields(cls)})


@dataclass(frozen=True)
class Settings:
    """What all cells of a run share: pictures, objective, weights, nets and threads.

    ``nets`` maps "method/task" to the trained net: a file, or "bundled:" and the name of one that comes with
    the suite. ``target_loss`` replaces the generators' own objectives as the target of the optimisation. The
    style picture is always prepared at ``style_size``, so that its Grams are one and the same at every size.
    ``engine_options`` are those that are not at their default, as ("engine.option", value).
    """

    style: str
    content: str
    preset: str = "texture_net"
    style_size: int = STYLE_SIZE
    weights: str | None = None
    random_weights: bool = False
    threads: int | None = None
    target_loss: float | None = None
    nets: tuple[tuple[str, str], ...] = ()
    engine_options: tuple[tuple[str, str], ...] = ()

    def options_of(self, engine: str) -> dict[str, str]:
        """Every option of an engine with its value, chosen or default."""
        chosen = {name.split(".", 1)[1]: value for name, value in self.engine_options if name.startswith(f"{engine}.")}
        return registry.get(engine).settle(chosen)

    def net(self, method: str, task: str) -> Path | None:
        """The file of the trained net for a method and task, or None where there is none."""
        name = dict(self.nets).get(f"{method}/{task}")
        if name is None:
            return None
        return NETS / name[len(BUNDLED) :] if name.startswith(BUNDLED) else Path(name)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Settings:
        pairs = {name: tuple(tuple(pair) for pair in fields.get(name, ())) for name in ("nets", "engine_options")}
        return cls(**{**fields, **pairs})


@dataclass(frozen=True)
class Shard:
    """Which part of a larger plan a plan is: number ``index`` (from 1) of ``of``.

    ``plan_fingerprint`` is :meth:`Plan.fingerprint` of the whole plan with files by their names alone, so that it is
    the same on every machine; ``total`` is how many cells the whole has, and ``positions`` says where in it this
    part's cells stand, in their order.
    """

    index: int
    of: int
    plan_fingerprint: str
    total: int
    positions: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.index}/{self.of}"

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Shard:
        return cls(**{**fields, "positions": tuple(fields["positions"])})


@dataclass(frozen=True)
class Plan:
    """The cells of a run in the order in which they are measured, with their budget and shared settings.

    ``shard`` says which part of a larger plan this is; None for a plan that is whole.
    """

    cells: tuple[Cell, ...]
    budget: Budget
    settings: Settings
    shard: Shard | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it. What was not always there is left out where it says nothing: older suites read it too."""
        fields = dataclasses.asdict(self)
        if not self.settings.engine_options:
            del fields["settings"]["engine_options"]
        return {name: value for name, value in fields.items() if name != "shard" or value is not None}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Plan:
        return cls(
            cells=tuple(Cell.from_dict(cell) for cell in fields["cells"]),
            budget=Budget.from_dict(fields["budget"]),
            settings=Settings.from_dict(fields["settings"]),
            shard=Shard.from_dict(fields["shard"]) if fields.get("shard") else None,
        )

    def only(self, wanted: Callable[[Cell], bool]) -> Plan:
        """The plan with those of its cells alone that are ``wanted``; a shard keeps their places in the whole."""
        kept = [index for index, cell in enumerate(self.cells) if wanted(cell)]
        shard = self.shard and dataclasses.replace(
            self.shard, positions=tuple(self.shard.positions[index] for index in kept)
        )
        return dataclasses.replace(self, cells=tuple(self.cells[index] for index in kept), shard=shard)

    def fingerprint(self) -> str:
        """A hash of everything that decides what is measured; equal for equal plans only."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def difference(self, other: Plan) -> str | None:
        """What ``other`` has that differs from this plan, in a few words; None if nothing does."""
        if str(self.shard) != str(other.shard):
            here, there = (f"shard {plan.shard}" if plan.shard else "not a shard" for plan in (other, self))
            return f"it is {there} there and {here} here"
        for part in ("settings", "budget"):
            mine, theirs = getattr(self, part), getattr(other, part)
            for field in dataclasses.fields(mine):
                a, b = getattr(mine, field.name), getattr(theirs, field.name)
                if a != b:
                    return f"{field.name} is {a!r} there and {b!r} here"
        if self.cells != other.cells:
            missing = [cell.key for cell in self.cells if cell not in other.cells]
            added = [cell.key for cell in other.cells if cell not in self.cells]
            if missing:
                return f"{missing[0]} is only there" + (f" (and {len(missing) - 1} more)" if missing[1:] else "")
            if added:
                return f"{added[0]} is only here" + (f" (and {len(added) - 1} more)" if added[1:] else "")
            return "the cells are in another order"
        return None


# --------------------------------------------------------------------------------------------------- building


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


def estimate_bytes(cell: Cell) -> int:
    """About how many bytes a cell needs at its peak, its descriptor in segments: for refusing what cannot work."""
    return BASE_BYTES + _bytes_per_pixel(cell) * cell.size * cell.size


def _bytes_per_pixel(cell: Cell, count: int | str = segments.AUTO) -> int:
    descriptor = segments.least_bytes(BYTES_PER_PIXEL[cell.kind], count)
    return max(descriptor, BYTES_PER_PIXEL_OF_BATCH * cell.batch)


def segments_for(cell: Cell, available: int | None) -> int:
    """In how many segments the descriptor has to be computed for the cell to fit into ``available`` bytes.

    One is fastest, and right where it fits or nothing is known (None).
    """
    if available is None:
        return 1
    return segments.fitting(_bytes_per_pixel(cell, 1) * cell.size * cell.size, available - BASE_BYTES)


def check_memory(cells: Iterable[Cell], available: Mapping[str, int]) -> None:
    """Refuse a plan whose largest cell cannot fit.

    ``available``: bytes per device name; a device that is not in it is not checked. Raises a UserError that
    says how much the cell would take.
    """
    for cell in sorted(cells, key=lambda cell: (cell.batch > 1, -estimate_bytes(cell))):
        limit = available.get(cell.device)
        if limit is None or estimate_bytes(cell) <= limit:
            continue
        fits = math.isqrt(max(0, limit - BASE_BYTES) // _bytes_per_pixel(cell)) // 16 * 16
        what = f"--size: {cell.size}" + (f" with --batch {cell.batch}" if cell.batch > 1 else "")
        advice = f"use at most {fits}" if fits >= 16 else "use another machine"
        need, have = _gigabytes(estimate_bytes(cell)), _gigabytes(limit)
        raise UserError(
            f"{what} is too large for the memory: {cell.method} would take about {need} and {have} are "
            f"available on {cell.device}; {advice}"
        )


def without_larger_batches(plan: Plan, available: Mapping[str, int]) -> Plan:
    """``plan`` without the cells of batch 2 and more that would not fit; see :func:`check_memory`."""
    return plan.only(lambda cell: cell.batch == 1 or estimate_bytes(cell) <= available.get(cell.device, math.inf))


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count < 1e12 else f"{count / 1e12:,.1f} TB"


def build(
    *,
    engines: Sequence[str],
    method_names: Sequence[str],
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
    None takes the budget's). Optimisers work on one picture. Repeat r uses seed + r; the repeats of a kind
    come one after another, so that an early end leaves whole rounds. Where all methods are asked for, a budget may have
    no time for variants. Raises a UserError where nothing is left.
    """
    batches = sorted({1, *(budget.batches if batches is None else batches)})
    seeds = [seed + repeat for repeat in range(budget.repeats if repeats is None else repeats)]
    spared = not budget.variants and set(method_names) == set(methods.METHODS)
    chosen = [method for method in map(methods.get, method_names) if not (spared and method.variant_of)]
    cells = [
        Cell(engine, method.name, task, size, batch, dtype, device, cell_seed, KINDS[method.kind])
        for engine in engines
        for method in chosen
        for task in tasks
        if task in method.tasks
        for size in sizes
        for batch in (batches if method.kind == "generates" else [1])
        for dtype in _dtypes(engine, method.kind, dtypes)
        for device in devices
        for cell_seed in seeds
    ]
    if not cells:
        idle = [engine for engine in engines if not any(registry.get(engine).dtypes(m.kind) for m in chosen)]
        if idle:
            raise UserError(f"--engine: {', '.join(idle)} cannot do {', '.join(m.name for m in chosen)}; "
                            f"use {registry.REFERENCE}, or another --method")  # fmt: skip
        able = sorted({task for method in chosen for task in method.tasks})
        raise UserError(f"--task: {', '.join(method_names)} cannot do {', '.join(tasks)}; it can do {', '.join(able)}")
    order = {name: index for index, name in enumerate((*tasks, *method_names))}
    cells.sort(
        key=lambda c: (
            c.kind != GENERATE, c.seed, c.size, order[c.task], order[c.method], c.batch, c.dtype, c.device,
            c.engine
        )
    )  # fmt: skip
    return Plan(tuple(cells), budget, settings)


def _dtypes(engine: str, kind: str, asked: Sequence[str]) -> list[str]:
    """The precisions to measure in: those asked for that the engine has for this kind of cell, else float32.

    An optimisation in bfloat16 still needs a generator's objective to aim at. None where the engine has no such cells.
    """
    dtypes = registry.get(engine).dtypes(kind)
    return [dtype for dtype in asked if dtype in dtypes] or [dtype for dtype in dtypes if dtype == "float32"]


# -------------------------------------------------------------------------------------------------- durations

START_UP_S = 5.0  # import, weights, net; and scoring the picture afterwards
FORWARD_S_PER_PIXEL = 1e-6
STEP_S_PER_PIXEL = 5e-6
USUAL_EVALUATIONS = 100  # of an optimisation that may stop at its targets


def estimate_s(cell: Cell, budget: Budget) -> float:
    """About how long a cell takes on two cores; only the progress bar's first guess, replaced by what is
    measured.
    """
    pixels = cell.size * cell.size
    if cell.kind == GENERATE:
        call = FORWARD_S_PER_PIXEL * pixels * cell.batch
        sampling = max(budget.min_seconds, budget.min_samples * call)
        return START_UP_S + 5 * call + min(sampling, budget.max_seconds) + STEP_S_PER_PIXEL * pixels
    step = STEP_S_PER_PIXEL * pixels
    return START_UP_S + 2 * step + min(budget.limit_s(cell.size, cell.variant), usual_evaluations(budget) * step)


def usual_evaluations(budget: Budget) -> int:
    """How many evaluations an optimisation makes, as a guess, where no limit of time ends it."""
    return max(USUAL_EVALUATIONS, budget.least_iterations) if budget.stop_early else budget.max_iterations


def timeout_s(cell: Cell, budget: Budget, scale: float = 1.0) -> float:
    """Seconds after which a cell counts as hung. Generous: a worker itself ends when its budget is spent."""
    if cell.kind == GENERATE:
        longest = budget.warm_up_seconds + budget.max_seconds
    else:
        longest = budget.limit_s(cell.size, cell.variant)
    pixels = cell.size * cell.size * cell.batch
    return scale * (180.0 + 2.0 * longest + 100.0 * STEP_S_PER_PIXEL * pixels)
