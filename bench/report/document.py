"""A whole report as data: what it says and in which order, before any output format."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import metadata

from bench.analysis import claims, metrics
from bench.analysis.analysed import Analysed
from bench.analysis.summary import NOT_REACHED, OK, SETTING
from bench.report import (
    figure,
    headline,
    judges,
    machines,
    numbers,
    pictures,
    plots,
    records,
    referee,
    roofline,
    run_facts,
    tables,
    training,
)
from bench.report.notes import FEW, Note, one_start
from bench.report.numbers import Number
from bench.report.pictures import Picture, Row
from bench.report.plots import Plot
from bench.report.tables import Table
from bench.report.wording import cell_label
from nst_gluon.pages import style
from nst_gluon.pages.wording import clean, listing

TITLE = "Neural style transfer: optimisation against feed-forward nets"
FILES = ("summary.csv", "samples.csv", "curves.csv", "claims.csv", "run.json", "cells.jsonl")


GALLERY = "Select a picture to enlarge it or to lay it over another with a slider."
GALLERY_ELSEWHERE = f"In report.html, s{GALLERY[1:]}"  # in Markdown


@dataclass(frozen=True)
class Section:
    """A part of a report that a page folds away: a text, bullets, tables, plots, pictures, in that order.

    ``folded`` are tables that fold once more; ``definitions`` are (name, label, text); ``links`` (text, address).
    """

    name: str
    title: str
    text: str = ""
    items: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[Note, ...] = ()
    plots: tuple[Plot, ...] = ()
    pictures: tuple[Picture, ...] = ()
    definitions: tuple[tuple[str, str, str], ...] = ()
    code: str = ""
    folded: tuple[Table, ...] = ()
    links: tuple[tuple[str, str], ...] = ()

    def __bool__(self) -> bool:
        content = (self.items, self.tables, self.plots, self.pictures, self.definitions, self.code, self.folded)
        return any(content) or bool(self.links)


@dataclass(frozen=True)
class Document:
    """What a report says.

    The first screens are ``answer`` (the result in one sentence), ``facts`` (term, text), the ``loss`` plot, the
    pictures ``side`` by side, and the ``claims``; ``sections`` are all else. ``alarms`` are what nobody must miss.
    """

    run_id: str
    answer: str
    facts: tuple[tuple[str, str], ...]
    alarms: tuple[str, ...]
    side: tuple[Row, ...]
    loss: Plot | None
    claims: Table
    verdicts: str
    sections: tuple[Section, ...]
    numbers: tuple[Number, ...]
    files: tuple[str, ...] = ()
    plots: tuple[Plot, ...] = field(default=(), repr=False)

    @property
    def first_pictures(self) -> list[Picture]:
        return [picture for row in self.side for picture in row.pictures]


def make(analysed: Analysed) -> Document:
    """Draw the plots of an analysed run, and compose its report."""
    with style.context():
        drawn = [*plots.draw_all(analysed), *training.plots(analysed), *figure.plots(analysed),
                 *judges.noise_plots(analysed)]  # fmt: skip
        if len(analysed.roofline):
            drawn.append(roofline.plot(analysed.roofline, analysed.peaks, analysed.methods))
    book, run = numbers.collect(analysed), analysed.run
    side = pictures.side_by_side(analysed)
    return Document(
        run_id=run_facts.run_id(run.meta),
        answer=headline.of_run(analysed),
        facts=(*headline.facts(analysed), *_origin(analysed)),
        alarms=tuple(alarms(analysed)),
        side=tuple(side),
        loss=_first_loss(analysed, drawn),
        claims=tables.claims_table(analysed, book),
        verdicts=verdicts(analysed.findings),
        sections=tuple(section for section in _sections(analysed, drawn, book, side) if section),
        numbers=tuple(book.numbers.values()),
        files=tuple(name for name in FILES if (run.directory / name).is_file()),
        plots=tuple(drawn),
    )


def _origin(analysed: Analysed) -> list[tuple[str, str]]:
    meta = analysed.run.meta
    revision = machines.revision(meta)
    run = [run_facts.run_id(meta), run_facts.when(meta), f"revision {revision}" if revision else ""]
    return [("Machine", f"{machines.machine(meta)}; {machines.software(meta)}."), ("Run", ", ".join(filter(None, run)))]


def _first_loss(analysed: Analysed, drawn: Sequence[Plot]) -> Plot | None:
    """The loss plot of the first screens: textures before stylisation, the size nearest to the papers'."""
    curves = analysed.run.curves[[*SETTING]].drop_duplicates().to_dict("records")
    order = sorted(curves, key=lambda row: (row["engine"] != "gluon", row["task"] != "texture",
                                            run_facts.from_papers_size(row["size"])))  # fmt: skip
    by_name = {plot.name: plot for plot in drawn}
    return next((by_name[name] for row in order if (name := plots.loss_name(row)) in by_name), None)


def _sections(
    analysed: Analysed, drawn: Sequence[Plot], book: numbers.Book, side: Sequence[Row]
) -> list[Section]:
    run, first = analysed.run, _first_loss(analysed, drawn)
    by_section = {name: tuple(plot for plot in drawn if plot.section == name and plot is not first)
                  for name in ("loss", "size", "batch", "quality", "noise", "training", "roofline", "figure")
                  }  # fmt: skip
    shown = [picture for row in side for picture in row.pictures]
    rest = [picture for picture in (*pictures.inputs(run), *pictures.outputs(analysed)) if picture not in shown]
    files = {picture.file for picture in shown}
    glance = tables.glance(analysed, book)
    return [
        Section("warnings", "Keep in mind", items=tuple(dict.fromkeys(warnings(analysed)))),
        Section("glance", glance.title, f"{glance.note} {metrics.STATISTICS}",
                tables=_there(glance if glance.rows else None), notes=book.notes if glance.rows else ()),
        Section("referee", "For referees", items=tuple(referee.items(analysed)),
                tables=_there(referee.over_styles(analysed), referee.baselines(analysed, book),
                              referee.variance(analysed))),
        Section("peers", "Engines compared", tables=_there(tables.engines(analysed))),
        Section("troubled", "Failed, skipped and time-limited cells", tables=_there(tables.troubled_cells(analysed))),
        Section("figure", "Styles by methods", plots=by_section["figure"]),
        Section("gallery", "All pictures", GALLERY,
                pictures=tuple(picture for picture in rest if picture.file not in files)),
        Section("plots-loss", "Loss against seconds", plots=by_section["loss"]),
        Section("plots-size", "Against size", plots=by_section["size"]),
        Section("plots-growth", "Growth", tables=_there(tables.growth(analysed))),
        Section("plots-batch", "Against batch", plots=by_section["batch"]),
        Section("plots-quality", "Terms of the objective", plots=by_section["quality"]),
        Section("judges", "Judges that no method minimises", run_facts.with_end(judges.TEXT, run.records),
                items=tuple(judges.sentences(analysed)), tables=_there(judges.table(analysed))),
        Section("noise", "Noise strength", judges.NOISE_TEXT, plots=by_section["noise"],
                pictures=tuple(judges.noise_pictures(analysed))),
        Section("plots-training", "Training of the nets", "What it took before the first fast picture.",
                plots=by_section["training"], tables=_there(training.net_table(analysed))),
        Section("plots-roofline", "Limits of the machine", plots=by_section["roofline"],
                tables=_there(tables.ceilings(analysed))),
        Section("rules", "How claims are judged", items=(*claims.RULES.values(), *claims.EXCEPTIONS),
                links=tuple((f"{paper.name}: {paper.title}", paper.url) for paper in claims.PAPERS)),
        Section("numbers", "Every number", "The same as summary.csv; the samples are in samples.csv and curves.csv.",
                folded=tuple(tables.metric_tables(analysed, book))),
        Section("definitions", "Definitions", metrics.STATISTICS, definitions=_definitions()),
        Section("repeat", "How to repeat it", f"The whole run{_at(analysed)}; below, the command of each cell alone.",
                code=run_facts.command(run.meta), links=_repository(analysed),
                folded=_there(records.commands(analysed), machines.merged(run), *records.of_run(analysed))),
    ]  # fmt: skip


def _there(*shown: Table | None) -> tuple[Table, ...]:
    return tuple(found for found in shown if found)


def _at(analysed: Analysed) -> str:
    revision = machines.revision(analysed.run.meta)
    return f", at revision {revision} of the suite" if revision else ""


def _definitions() -> tuple[tuple[str, str, str], ...]:
    return (
        *((metric.name, metric.label, metric.whole_text) for metric in metrics.METRICS.values()),
        *(("", f"Status “{status}”", meaning) for status, meaning in metrics.STATUSES),
    )  # fmt: skip


def _repository(analysed: Analysed) -> tuple[tuple[str, str], ...]:
    """The run's revision in the suite's repository, where its package names one."""
    revision = str(run_facts.get(analysed.run.meta, "environment", "git", "revision") or "")
    try:
        found = metadata.metadata("nst-gluon")
    except metadata.PackageNotFoundError:
        return ()
    named = [value.split(", ", 1)[-1] for value in found.get_all("Project-URL") or [] if value.startswith("Source")]
    address = next(iter(named), found.get("Home-page") or "").rstrip("/")
    if not address.startswith("https://") or not re.fullmatch(r"[0-9a-f]{7,40}", revision):
        return ()
    return ((f"The suite at revision {revision[:12]}", f"{address}/commit/{revision}"),)


# ----------------------------------------------------------------------------------------------------- the sentences


def verdicts(findings: Sequence[claims.Finding]) -> str:
    """How many of the independent claims got which verdict, and how many are outside the count."""
    counts = {name: sum(finding.verdict == name for finding in findings) for name in claims.VERDICTS}
    counted = sum(counts[name] for name in claims.COUNTED)
    if not counted:
        return "None of the published claims could be judged."
    parts = [f"{counts[name]} {name}" for name in claims.COUNTED if counts[name]]
    text = f"Of {counted} claims: {', '.join(parts)}."
    hardware, missing = counts[claims.OTHER_HARDWARE], counts[claims.NOT_MEASURED]
    outside = [f"{hardware} tied to the papers' hardware"] if hardware else []
    outside += [f"{missing} not measured"] if missing else []
    return f"{text} Not counted: {listing(outside)}." if outside else text


def alarms(analysed: Analysed) -> Iterator[str]:
    """What changes the meaning of the whole report."""
    run = analysed.run
    if analysed.random_weights:
        yield (
            "RANDOM WEIGHTS: the descriptor was not trained. Losses, times to target and speed-ups at equal loss mean "
            "nothing here; times and memory per step or per call do."
        )
    planned = max(len(run.meta.get("cells") or ()) or len(run.records), machines.planned(run.meta))
    state = str(run.meta.get("status", "complete"))
    if state != "complete" or len(run.records) < len(run.meta.get("cells") or ()):
        words = {"running": "has not ended", "interrupted": "was interrupted", "disk full": "ended on a full disk"}
        words["partial"] = "was merged from parts that are not all here, or not all complete"
        yield f"This run {words.get(state, 'is not complete')}: {len(run.records)} of {planned} cells are here."


def warnings(analysed: Analysed) -> Iterator[str]:
    """What a reader should keep in mind for single numbers."""
    run, summary = analysed.run, analysed.summary
    yield from filter(None, [machines.shard(run.meta)])
    yield from map(clean, _of_run(analysed))
    if run.meta.get("machines"):
        yield (
            "Several machines stand side by side. Every ratio is of one machine; a verdict rests on one machine too, "
            "which is named beside it."
        )
    yield from filter(None, [run_facts.warm_up(run.records)])
    timed = summary[summary["metric"].str.startswith("time_to_target")].to_dict("records")
    if any(one_start(row, analysed) for row in timed if not analysed.methods[row["method"]].from_net):
        dealt = not run_facts.get(run.meta, "budget", "crossed") and run_facts.setting(run.meta, "other_contents")
        better = "--budget full, where each start optimises every photo" if dealt else "--repeats 3"
        yield (
            "Some times to target rest on one start of optimisation for each picture: what another start would change "
            f"is not in their intervals, or only as part of what differs between photos. Use {better}."
        )
    few = summary[summary["metric"].isin(["latency_s", "iteration_s"]) & summary["n"].between(1, FEW - 1)]
    if len(few):
        yield f"Some times of a call or a step rest on fewer than {FEW} samples; n is in the tables."
    compared = summary["method"].isin([analysed.methods.baseline, *analysed.methods.nets])
    if (compared & (summary["status"] == NOT_REACHED)).any():
        standard = run_facts.get(run.meta, "budget", "name") == "standard"
        longer = " --budget long gives them more time." if standard else ""
        yield (
            "Some optimisations ended before they reached a target: those times and speed-ups are lower bounds, marked "
            f"> and ≥.{longer}"
        )
    reduced = sorted(set(summary.loc[summary["dtype"] != "float32", "dtype"]))
    if reduced:
        yield f"Some cells computed in {listing([clean(name, 20) for name in reduced])}, and are marked so."
    failed = int((run.cells["status"] != OK).sum())
    if failed:
        yield f"{failed} of {len(run.cells)} cells have no result; the list of cells says why."
    if machines.is_dirty(run.meta):
        yield "The suite's own code had uncommitted changes."


def _of_run(analysed: Analysed) -> list[str]:
    """The run's own warnings, which name cells by their keys, with words for those; those about single cells on a busy
    machine as one, where they are many.
    """
    run = analysed.run
    lines = [str(line) for line in run.meta.get("warnings") or []]
    busy = [line for line in lines if line.startswith("busy machine:")]
    foreign = [cores for record in run.records if isinstance(cores := record.get("foreign_cores"), (int, float))]
    if len(busy) > 3 and foreign:
        lines = [line for line in lines if line not in busy]
        lines.append(
            f"Busy machine: other processes used up to {max(foreign):.1f} cores on average while cells were measured, "
            f"{len(busy)} of {len(run.records)} cells are affected: times may be too long."
        )
    for record in sorted(run.records, key=lambda one: -len(str(one.get("key", "")))):
        if record.get("key"):
            words = cell_label(record, analysed.methods)
            lines = [line.replace(str(record["key"]), f"the cell “{words}”") for line in lines]
    return [f"{line[:1].upper()}{line[1:]}" for line in lines]
