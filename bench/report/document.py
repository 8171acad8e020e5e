"""A whole report as data: what it says and in which order, before any output format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bench.analysis import claims
from bench.analysis.growth import laws
from bench.analysis.summary import NOT_REACHED, OK, is_variant, kinds_of
from bench.plan.cells import GENERATE, OPTIMISE
from bench.report import (
    engine_table as peers,
)
from bench.report import (
    growth,
    machine_limits,
    machines,
    numbers,
    pictures,
    plots,
    quality,
    run_facts,
    tables,
    training,
)
from bench.report import (
    headline as answer,
)
from bench.report.notes import FEW, Note
from bench.report.numbers import Number
from bench.report.pictures import Picture
from bench.report.plots import Plot
from bench.report.tables import Table
from bench.store.reader import SUMMARY_COLUMNS, RunData, parse_table, read_run
from nst_gluon.pages import style
from nst_gluon.pages.wording import clean, listing, method_name, task_name

TITLE = "Neural style transfer: optimisation against feed-forward nets"


@dataclass(frozen=True)
class Document:
    """What a report says.

    ``answer`` is the result in one sentence, ``further`` what puts it in proportion, ``certainty`` how far it can be
    trusted, for somebody who knows nothing of the suite. ``alarms`` are what a
    reader must not miss; ``warnings`` what makes single numbers less trustworthy, and ``notes`` the same where it
    touches single numbers. ``first_pictures`` belong to the first screen. ``of_plots`` are tables that stand with the
    plots of a section.
    """

    run_id: str
    answer: str
    further: str
    certainty: str
    subject: str
    machine: str
    software: str
    when: str
    revision: str
    command: str
    alarms: tuple[str, ...]
    warnings: tuple[str, ...]
    first_pictures: tuple[Picture, ...]
    more_pictures: tuple[Picture, ...]
    verdicts: str
    headline_claims: Table
    all_claims: Table
    glance: Table
    peers: Table | None
    notes: tuple[Note, ...]
    growth: str
    plots: tuple[Plot, ...]
    of_plots: dict[str, tuple[Table, ...]]
    troubled: Table | None
    metrics: tuple[Table, ...]
    records: tuple[Table, ...]
    numbers: tuple[Number, ...]


def make(run_dir: str | Path) -> Document:
    """Read a run directory, draw its plots, and compose the report. summary.csv must be there."""
    run = read_run(run_dir)
    summary = parse_table((run.directory / "summary.csv").read_text(encoding="utf-8"), SUMMARY_COLUMNS, "summary.csv")
    random_weights = claims.uses_random_weights(run.meta)
    findings = claims.find_all(summary, random_weights)
    made = pictures.outputs(run)
    first = pictures.first_size(made)
    sentence, further = answer.of_run(summary, random_weights)
    book, found_laws = numbers.collect(run, summary), laws(summary)
    return Document(
        run_id=run_facts.run_id(run.meta),
        answer=sentence,
        further=further,
        certainty=answer.certainty(summary, run.cells["seed"].nunique()),
        subject=subject(run),
        machine=machines.machine(run.meta),
        software=machines.software(run.meta),
        when=run_facts.when(run.meta),
        revision=machines.revision(run.meta),
        command=run_facts.command(run.meta),
        alarms=tuple(alarms(run)),
        warnings=tuple(warnings(run, summary)),
        first_pictures=(*pictures.inputs(run), *(picture for picture in made if picture.size == first)),
        more_pictures=tuple(picture for picture in made if picture.size != first),
        verdicts=verdicts(findings),
        headline_claims=tables.short_claims(findings, summary, book),
        all_claims=tables.claims_table(findings, summary, book),
        glance=tables.glance(summary, book),
        peers=peers.against(run, summary),
        notes=book.notes,
        growth=growth.sentence(found_laws),
        plots=tuple(_plots(run, summary, found_laws)),
        of_plots={
            "growth": _there(growth.exponents(found_laws)),
            "training": _there(training.net_table(run)),
            "roofline": _there(machine_limits.ceilings(run)),
        },
        troubled=tables.troubled_cells(run),
        metrics=tuple(tables.metric_tables(summary, book)),
        records=_there(tables.commands(run), machines.merged(run), tables.inputs(run), tables.environment(run),
                       tables.sessions(run)),
        numbers=tuple(book.numbers.values()),
    )  # fmt: skip


def _plots(run: RunData, summary: pd.DataFrame, found_laws: Sequence[growth.Law]) -> list[Plot]:
    with style.context():
        return [
            *plots.draw_all(run, summary), *growth.plots(found_laws), *quality.plots(summary), *training.plots(run),
            *machine_limits.plots(run),
        ]  # fmt: skip


def _there(*shown: Table | None) -> tuple[Table, ...]:
    return tuple(found for found in shown if found)


# ----------------------------------------------------------------------------------------------------- the sentences


def subject(run: RunData) -> str:
    """What was compared, on what, under which objective."""
    cells = run.cells
    if cells.empty:
        return "No cell of this run has finished."
    kinds = kinds_of(cells, run.samples)
    nets = [method_name(name) for name, kind in kinds.items() if kind == GENERATE]
    slow = [method_name(name) for name, kind in kinds.items() if kind == OPTIMISE]
    against = f" against {listing(slow)}" if nets and slow else listing(slow)
    sizes = listing([f"{size}" for size in sorted(cells["size"].unique())])
    tasks = listing([task_name(task) for task in sorted(cells["task"].unique())])
    chosen = (str(run_facts.setting(run.meta, name) or "?") for name in ("style", "content"))
    style, content = (clean(Path(name).stem, 60) for name in chosen)
    return (
        f"{listing(nets)}{against}: {tasks} at {sizes} pixels, style {style}, content {content}, under one objective "
        f"(preset {clean(run_facts.setting(run.meta, 'preset') or '?', 40)})"
    )


def verdicts(findings: Sequence[claims.Finding]) -> str:
    """How many claims got which verdict."""
    counts = {name: sum(finding.verdict == name for finding in findings) for name in claims.VERDICTS}
    parts = [f"{count} {name}" for name, count in counts.items() if count]
    return f"Of {len(findings)} published claims: {', '.join(parts)}."


def alarms(run: RunData) -> list[str]:
    """What changes the meaning of the whole report."""
    found = []
    if claims.uses_random_weights(run.meta):
        found.append(
            "RANDOM WEIGHTS: the descriptor was not trained. Losses, times to target and speed-ups at equal loss mean "
            "nothing here; times and memory per step or per call do."
        )
    planned = max(len(run.meta.get("cells") or ()) or len(run.records), machines.planned(run.meta))
    state = str(run.meta.get("status", "complete"))
    if state != "complete" or len(run.records) < len(run.meta.get("cells") or ()):
        words = {"running": "has not ended", "interrupted": "was interrupted", "disk full": "ended on a full disk"}
        words["partial"] = "was merged from parts that are not all here, or not all complete"
        state = words.get(state, "is not complete")
        found.append(f"This run {state}: {len(run.records)} of {planned} cells are here.")
    return found


def warnings(run: RunData, summary: pd.DataFrame) -> list[str]:
    """What a reader should keep in mind for single numbers."""
    found = [*filter(None, [machines.shard(run.meta)]), *map(clean, _together(run))]
    if machines.several(run.meta):
        found.append(
            "Several machines stand side by side. Every ratio is of one machine; a verdict rests on one machine too, "
            "which is named beside it."
        )
    found += filter(None, [run_facts.warm_up(run.records)])
    timed = summary[summary["metric"].str.startswith("time_to_target") & (summary["n"] == 1)]
    if len(timed):
        found.append(
            "Times to target rest on one seed: the interval of a speed-up at equal loss covers the spread of the net's "
            "latency only. Use --repeats 3 or --budget full."
        )
    few = summary[summary["metric"].isin(["latency_s", "iteration_s"]) & summary["n"].between(1, FEW - 1)]
    if len(few):
        found.append(f"Some times of a call or a step rest on fewer than {FEW} samples; n is in the tables.")
    counted = summary["metric"].str.startswith("iterations_to_target_") & (summary["value"] <= 1)
    worse = summary[counted & ~summary["method"].map(is_variant)]
    names = sorted({method_name(name[len("iterations_to_target_") :]) for name in worse["metric"]})
    if names:
        found.append(
            f"The picture that the optimisation starts from has at most the objective of the {listing(names)} already: "
            "what such a net makes is no better than the start, and its speed-up at equal loss means little."
        )
    if (summary["status"] == NOT_REACHED).any():
        found.append(
            "Some optimisations did not reach their target in the time allowed: those times and speed-ups are lower "
            "bounds, marked > and ≥."
        )
    reduced = sorted(set(summary.loc[summary["dtype"] != "float32", "dtype"]))
    if reduced:
        found.append(f"Some cells computed in {listing([clean(name, 20) for name in reduced])}, marked so.")
    failed = int((run.cells["status"] != OK).sum())
    if failed:
        found.append(f"{failed} of {len(run.cells)} cells have no result; the list of cells says why.")
    if machines.is_dirty(run.meta):
        found.append("The suite's own code had uncommitted changes.")
    return list(dict.fromkeys(found))


def _together(run: RunData) -> list[str]:
    """The run's own warnings; those about single cells on a busy machine as one, where they are many."""
    lines = [str(line) for line in run.meta.get("warnings") or []]
    busy = [line for line in lines if line.startswith("busy machine:")]
    foreign = [cores for record in run.records if isinstance(cores := record.get("foreign_cores"), (int, float))]
    if len(busy) <= 3 or not foreign:
        return lines
    together = (
        f"Busy machine: other processes used up to {max(foreign):.1f} cores on average while cells were measured, "
        f"{len(busy)} of {len(run.records)} cells are affected: times may be too long."
    )
    return [*(line for line in lines if line not in busy), together]
