"""A whole report as data: what it says and in which order, before any output format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bench import claims
from bench.analysis import LOWER_BOUND, NOT_REACHED, OK, REFERENCE_ITERATIONS, is_variant, kinds_of
from bench.plan import GENERATE, OPTIMISE
from bench.report import facts, origin, pictures, plots, tables
from bench.report.pictures import Picture
from bench.report.plots import Plot
from bench.report.tables import SPEEDUP_500, SPEEDUP_EQUAL, Table
from bench.report.wording import clean, listing, measured, method_name, quantity, size_name, task_name, with_interval
from bench.rundata import SUMMARY_COLUMNS, RunData, parse_table, read_run

FEW = 10
TITLE = "Neural style transfer: optimisation against feed-forward nets"


@dataclass(frozen=True)
class Document:
    """What a report says.

    ``answer`` is the result in one sentence, ``further`` what puts it in proportion. ``alarms`` are what a
    reader must not miss; ``warnings`` what makes single numbers less trustworthy. ``first_pictures`` belong
    to the first screen.
    """

    run_id: str
    answer: str
    further: str
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
    plots: tuple[Plot, ...]
    troubled: Table | None
    metrics: tuple[Table, ...]
    records: tuple[Table, ...]


def make(run_dir: str | Path) -> Document:
    """Read a run directory, draw its plots, and compose the report. summary.csv must be there."""
    run = read_run(run_dir)
    summary = parse_table((run.directory / "summary.csv").read_text(encoding="utf-8"), SUMMARY_COLUMNS, "summary.csv")
    random_weights = claims.uses_random_weights(run.meta)
    findings = claims.find_all(summary, random_weights)
    made = pictures.outputs(run)
    smallest = min((picture.size for picture in made), default=0)
    answer, further = (answer_of_random(summary), "") if random_weights else answers(summary)
    return Document(
        run_id=facts.run_id(run.meta),
        answer=answer,
        further=further,
        subject=subject(run),
        machine=origin.machine(run.meta),
        software=origin.software(run.meta),
        when=facts.when(run.meta),
        revision=origin.revision(run.meta),
        command=facts.command(run.meta),
        alarms=tuple(alarms(run)),
        warnings=tuple(warnings(run, summary)),
        first_pictures=(*pictures.inputs(run), *(picture for picture in made if picture.size == smallest)),
        more_pictures=tuple(picture for picture in made if picture.size != smallest),
        verdicts=verdicts(findings),
        headline_claims=tables.claims_table(
            [finding for finding in findings if finding.claim.headline], "The claims, checked", "headline-claims"
        ),
        all_claims=tables.claims_table(findings, "Every published claim", "claims"),
        glance=tables.glance(summary),
        plots=tuple(plots.draw_all(run, summary)),
        troubled=tables.troubled_cells(run),
        metrics=tuple(tables.metric_tables(summary)),
        records=tuple(found for found in _records(run) if found),
    )


def _records(run: RunData) -> list[Table | None]:
    return [origin.merged(run), tables.inputs(run), tables.environment(run), tables.sessions(run)]


# ----------------------------------------------------------------------------------------------------- the sentences


def answers(summary: pd.DataFrame) -> tuple[str, str]:
    """The result in one sentence, and the range of all comparable results, so that the first is no cherry."""
    rows = summary[(summary["metric"] == SPEEDUP_EQUAL) & (summary["batch"] == 1)]
    known = rows[rows["value"].notna()]
    if known.empty:
        return _no_answer(summary, rows), ""
    row = min((row for _, row in known.iterrows()), key=_prominence)
    what = f"{size_name(row['size'])} {'texture' if row['task'] == 'texture' else 'stylisation'}"
    sentence = f"The {method_name(row['method'])} made a {what} {_faster(row)} than optimisation at equal loss"
    sentence += _memory(summary, row)
    devices = known["device"].nunique() > 1
    sentence += f", on {clean(row['device'], 40)}" if devices else ""
    sentence += ", on one seed." if row["n"] == 1 else "."
    if len(known) == 1:
        return sentence, ""
    low, high = known.loc[known["value"].idxmin()], known.loc[known["value"].idxmax()]
    further = (
        f"Over all {len(known)} combinations of net, {'task, size and device' if devices else 'task and size'} the "
        f"speed-up at equal loss goes from {_place(low, devices)} to {_place(high, devices)}."
    )
    fixed = summary[(summary["metric"] == SPEEDUP_500) & (summary["batch"] == 1) & summary["value"].notna()]
    if len(fixed):
        further += (
            f" Against 500 iterations, whatever the loss, it is {quantity(fixed['value'].min(), 'x')} to "
            f"{quantity(fixed['value'].max(), 'x')}."
        )
    return sentence, further


def answer_of_random(summary: pd.DataFrame) -> str:
    """What a run with random descriptor weights can say: nothing at equal loss."""
    rows = summary[(summary["metric"] == SPEEDUP_500) & (summary["batch"] == 1) & summary["value"].notna()]
    sentence = "With random descriptor weights there is no loss at which to compare"
    if rows.empty:
        return f"{sentence}."
    row = min((row for _, row in rows.iterrows()), key=_prominence)
    return (
        f"{sentence}; against {REFERENCE_ITERATIONS} iterations of optimisation, whatever the loss, the "
        f"{method_name(row['method'])} was {_faster(row)} at {size_name(row['size'])}."
    )


def _faster(row: Mapping) -> str:
    """ "612× [580, 650] faster", "at least 80× faster", "2.0× [1.8, 2.3] slower"."""
    value, low, high = (float(row[name]) for name in ("value", "low", "high"))
    if row["status"] == LOWER_BOUND:
        return f"at least {quantity(value, 'x')} faster"
    if value < 1:
        return with_interval(1 / value, 1 / high, 1 / low, "x") + " slower"
    return with_interval(value, low, high, "x") + " faster"


def _no_answer(summary: pd.DataFrame, rows: pd.DataFrame) -> str:
    if len(rows):
        states = sorted(set(rows["status"]))
        return f"No speed-up at equal loss was measured: {listing([measured(float('nan'), 'x', s) for s in states])}."
    if summary["value"].notna().any():
        return "No speed-up at equal loss was measured: it needs an optimisation and a net of the same task and size."
    return "Nothing was measured."


def _prominence(row: Mapping) -> tuple:
    """The papers' own setting first: the texture network, textures, the smallest size, the suite's engine,
    a GPU.
    """
    return (
        row["method"] != "texture_net",
        row["task"] != "texture",
        row["size"],
        row["engine"] != "gluon",
        row["dtype"] != "float32",
        not str(row["device"]).startswith("gpu"),
        str(row["method"]),
    )


def _memory(summary: pd.DataFrame, row: Mapping) -> str:
    same = summary[(summary["metric"] == "working_memory_ratio") & summary["value"].notna()]
    for name in ("engine", "method", "task", "size", "batch", "dtype", "device"):
        same = same[same[name] == row[name]]
    if same.empty:
        return ""
    ratio = float(same["value"].iloc[0])
    return f", with {quantity(ratio if ratio >= 1 else 1 / ratio, 'x')} {'less' if ratio >= 1 else 'more'} memory"


def _place(row: Mapping, with_device: bool) -> str:
    value = measured(row["value"], "x", row["status"])
    device = f", {clean(row['device'], 40)}" if with_device else ""
    return f"{value} ({method_name(row['method'])}, {task_name(row['task'])}, {size_name(row['size'])}{device})"


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
    style, content = (clean(Path(str(facts.setting(run.meta, name) or "?")).stem, 60) for name in ("style", "content"))
    return (
        f"{listing(nets)}{against}: {tasks} at {sizes} pixels, style {style}, content {content}, under one objective "
        f"(preset {clean(facts.setting(run.meta, 'preset') or '?', 40)})"
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
    planned = max(len(run.meta.get("cells") or ()) or len(run.records), origin.planned(run.meta))
    state = str(run.meta.get("status", "complete"))
    if state != "complete" or len(run.records) < len(run.meta.get("cells") or ()):
        words = {"running": "has not ended", "interrupted": "was interrupted", "disk full": "ended on a full disk"}
        words["partial"] = "was merged from parts that are not all here, or not all complete"
        state = words.get(state, "is not complete")
        found.append(f"This run {state}: {len(run.records)} of {planned} cells are here.")
    return found


def warnings(run: RunData, summary: pd.DataFrame) -> list[str]:
    """What a reader should keep in mind for single numbers."""
    found = [*filter(None, [origin.shard(run.meta)]), *map(clean, _together(run))]
    if origin.several(run.meta):
        found.append(
            "Several machines stand side by side. Every ratio is of one machine; a verdict rests on one machine too, "
            "which is named beside it."
        )
    found += filter(None, [facts.warm_up(run.records)])
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
    if origin.is_dirty(run.meta):
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
