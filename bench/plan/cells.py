"""What a run measures: a list of cells, and the budget that says how long each may take. Imports no engine.

A cell is one process: a point of style x engine x method x task x size x batch x dtype x device x seed. Nets and
optimisation of one setting are measured in turns, a net first, because the objectives of its pictures are the targets
of the optimisation; sizes ascend, so that an out-of-memory at one size spares the larger ones.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.plan import engines as registry
from bench.plan import older
from bench.plan.budgets import Budget
from nst_gluon import assets
from nst_gluon.methods import GENERATES, OPTIMISES, Facts
from nst_gluon.objective import presets
from nst_gluon.system.files import mark

# What goes without saying in a cell's name.
USUAL = {"engine": registry.REFERENCE, "dtype": "float32", "device": "cpu"}
CELL_COLUMNS = ("style_name", "engine", "method", "task", "size", "batch", "dtype", "device", "seed")
STYLE_SIZE = presets.STYLE_SIZE
LONGEST_NAME = 80  # of a style, in names of files
BUNDLED = "bundled:"
NETS = assets.FOLDER / "nets"

GENERATE = "generate"
OPTIMISE = "optimise"
# Whether optimised pictures stay within [0, 1], as in Johnson et al. 2016, section 4.1, or are only clipped when saved.
BOUNDS = ("pixels", "none")
_PAIRS = ("nets", "engine_options", "methods", "engine_pythons")  # of Settings
_LISTS = ("other_styles", "other_contents")
KINDS = {GENERATES: GENERATE, OPTIMISES: OPTIMISE}


@dataclass(frozen=True)
class Cell:
    """One measurement in one process.

    ``kind`` is "generate" or "optimise", ``variant_of`` the method that its method is a faster way of; the other
    fields are CELL_COLUMNS. ``style_name`` is empty in a run of one style. ``seed`` is that of the noise which an
    optimisation starts from; of a net it numbers the processes, and the first is also the seed of its first draw.
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
    variant_of: str | None = dataclasses.field(default=None, compare=False)
    style_name: str = ""

    @property
    def key(self) -> str:
        """A stable name of the cell, fit for a file name: its identity columns.

        A style whose name is not fit, or long, has part of its hash there, as others would come out alike.
        """
        device = self.device.replace(":", "")
        fit = re.sub(r"[^0-9A-Za-z_]", "_", self.style_name)[:LONGEST_NAME]
        if fit != self.style_name:
            fit += f"_{mark(self.style_name)}"
        style = f"{fit}-" if fit else ""
        what = f"{style}{self.engine}-{self.method}-{self.task}-{self.size}-b{self.batch}"
        return f"{what}-{self.dtype}-{device}-s{self.seed}"

    def columns(self) -> dict[str, Any]:
        """The identity columns, in the order of CELL_COLUMNS."""
        return {name: getattr(self, name) for name in CELL_COLUMNS}

    @property
    def variant(self) -> bool:
        """Whether its method is another method's faster variant."""
        return self.variant_of is not None

    def label(self) -> str:
        """A short name for people: what differs most from cell to cell, and what is not usual."""
        unusual = [f"batch {self.batch}"] if self.batch > 1 else []
        unusual += [getattr(self, name) for name, usual in USUAL.items() if getattr(self, name) != usual]
        style = [self.style_name] if self.style_name else []
        return " ".join([self.method, self.task, *style, str(self.size), *unusual])

    def to_dict(self) -> dict[str, Any]:
        fields = dataclasses.asdict(self)
        return {name: value for name, value in fields.items() if name != "variant_of" or value is not None}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Cell:
        known = older.cell(fields)
        return cls(**{field.name: known[field.name] for field in dataclasses.fields(cls)})


def use_of(style_name: str | None, method: str, task: str) -> str:
    """What a net is called in a run's settings and inputs: "method/task", with several styles "style/method/task"."""
    return "/".join(filter(None, (style_name, method, task)))


def net_path(name: str) -> Path:
    """The file of a net that settings name."""
    return NETS / name[len(BUNDLED) :] if name.startswith(BUNDLED) else Path(name)


def parts_of(use: str) -> tuple[str, str, str]:
    """(style_name, method, task) of :func:`use_of`."""
    rest, _, task = use.rpartition("/")
    style_name, _, method = rest.rpartition("/")
    return style_name, method, task


@dataclass(frozen=True)
class Settings:
    """What all cells of a run share: pictures, objective, weights, nets and threads.

    ``style`` and ``content`` are the first style and photo, ``other_styles`` and ``other_contents`` those after them.
    ``nets`` maps "method/task" (with several styles "style/method/task") to the trained net: a file, or "bundled:" and
    the name of one that comes with the suite. ``target_loss`` replaces the generators' own objectives as the target of
    the optimisation. The style picture is always prepared at ``style_size``, so that its Grams are the same at every
    size. ``engine_options`` are those that are not at their default, as ("engine.option", value); ``methods`` are those
    that do not come with the suite, as (name, reference). ``bounds``: see BOUNDS. ``engine_pythons``: the interpreters
    of the engines that are installed in an environment of their own, as (engine, path).
    """

    style: str
    content: str
    preset: str = presets.DEFAULT
    style_size: int = STYLE_SIZE
    weights: str | None = None
    random_weights: bool = False
    threads: int | None = None
    target_loss: float | None = None
    nets: tuple[tuple[str, str], ...] = ()
    engine_options: tuple[tuple[str, str], ...] = ()
    methods: tuple[tuple[str, str], ...] = ()
    bounds: str = BOUNDS[0]
    engine_pythons: tuple[tuple[str, str], ...] = ()
    other_styles: tuple[str, ...] = ()
    other_contents: tuple[str, ...] = ()

    @property
    def contents(self) -> tuple[str, ...]:
        """Every photo, a bundled name or a file."""
        return (self.content, *self.other_contents)

    @property
    def styles(self) -> tuple[str, ...]:
        """Every style, a bundled name or a file."""
        return (self.style, *self.other_styles)

    def style_of(self, cell: Cell) -> str:
        """The style of a cell."""
        return next((style for style in self.styles if Path(style).stem == cell.style_name), self.style)

    def options_of(self, engine: str) -> dict[str, str]:
        """Every option of an engine with its value, chosen or default."""
        chosen = {name.split(".", 1)[1]: value for name, value in self.engine_options if name.startswith(f"{engine}.")}
        return registry.get(engine).settle(chosen)

    def net(self, cell: Cell, method: str | None = None) -> Path | None:
        """The file of the trained net for a cell, or for its task with another method; None where there is none."""
        return self.net_file(use_of(cell.style_name, method or cell.method, cell.task))

    def net_file(self, use: str) -> Path | None:
        """The file of the trained net by its name in ``nets``."""
        name = dict(self.nets).get(use)
        return None if name is None else net_path(name)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Settings:
        pairs = {name: tuple(tuple(pair) for pair in fields.get(name, ())) for name in _PAIRS}
        lists = {name: tuple(fields.get(name, ())) for name in _LISTS}
        return cls(**{**fields, **pairs, **lists})


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

    ``shard`` says which part of a larger plan this is; None for a plan that is whole. ``methods`` is what is known of
    each method of the cells; no part of what a plan is, so that a better description makes no other plan.
    """

    cells: tuple[Cell, ...]
    budget: Budget
    settings: Settings
    shard: Shard | None = None
    methods: tuple[Facts, ...] = dataclasses.field(default=(), compare=False)

    def facts(self, method: str) -> Facts:
        """What is known of a method of the plan."""
        kept = {facts.name: facts for facts in self.methods}
        return kept.get(method) or older.facts({}, [{"method": method}])[method]

    def values(self, column: str) -> list[Any]:
        """The values of one of CELL_COLUMNS among the cells, ascending."""
        return sorted({getattr(cell, column) for cell in self.cells})

    def unavailable(self) -> dict[str, str]:
        """The cells that cannot be measured because no net was trained for their style, by key, with the reason."""
        references = dict(self.settings.methods)
        return {
            cell.key: f"no trained net for the style {Path(self.settings.style_of(cell)).stem!r}: "
            "python -m nst_gluon train "
            f"--method {references.get(cell.method, cell.method)} --task {cell.task} --style ..., then --net FILE"
            for cell in self.cells
            if cell.kind == GENERATE and self.settings.net(cell) is None
        }

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it. What was not always there is left out where it says nothing: older suites read it too."""
        fields = dataclasses.asdict(self)
        fields["cells"] = [cell.to_dict() for cell in self.cells]
        for name in ("engine_options", "methods", "engine_pythons", *_LISTS):
            if not fields["settings"][name]:
                del fields["settings"][name]
        if self.settings.bounds == BOUNDS[0]:
            del fields["settings"]["bounds"]
        return {name: value for name, value in fields.items() if name != "shard" or value is not None}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Plan:
        return cls(
            cells=tuple(Cell.from_dict(cell) for cell in fields["cells"]),
            budget=Budget.from_dict(fields["budget"]),
            settings=Settings.from_dict(fields["settings"]),
            shard=Shard.from_dict(fields["shard"]) if fields.get("shard") else None,
            methods=tuple(older.facts(fields, fields["cells"]).values()),
        )

    def share(self, cell: Cell) -> tuple[tuple[str, ...], int]:
        """What a cell's process makes pictures of: its photos, and how many draws of noise it scores.

        The first process of a net makes all that are scored. The photos are dealt out to the seeds of an optimising
        method, so that each has as many as any other; fewer photos than seeds are taken in turns.
        """
        photos = self.settings.contents if cell.task == "stylize" else ()
        if cell.kind == GENERATE:
            first = cell.seed == min(other.seed for other in self.cells if other.kind == GENERATE)
            return (photos, self.budget.draws) if first else (photos[:1], 0)
        seeds = sorted({other.seed for other in self.cells if other.method == cell.method})
        if self.budget.crossed or not photos:
            return photos, 0
        place = seeds.index(cell.seed)
        return photos[place :: len(seeds)] or (photos[place % len(photos)],), 0

    def only(self, wanted: Callable[[Cell], bool]) -> Plan:
        """The plan with those of its cells alone that are ``wanted``; a shard keeps their places in the whole."""
        kept = [index for index, cell in enumerate(self.cells) if wanted(cell)]
        shard = self.shard and dataclasses.replace(
            self.shard, positions=tuple(self.shard.positions[index] for index in kept)
        )
        return dataclasses.replace(self, cells=tuple(self.cells[index] for index in kept), shard=shard)

    def fingerprint(self) -> str:
        """A hash of everything that decides what is measured; equal for equal plans only."""
        fields = self.to_dict()
        del fields["methods"]
        fields["cells"] = [{**cell.columns(), "kind": cell.kind} for cell in self.cells]
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
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
            for plan, lacks, where in ((self, other, "there"), (other, self, "here")):
                alone = [cell.key for cell in plan.cells if cell not in lacks.cells]
                if alone:
                    return f"{alone[0]} is only {where}" + (f" (and {len(alone) - 1} more)" if alone[1:] else "")
            return "the cells are in another order"
        return None
