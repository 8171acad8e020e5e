"""The report as Markdown, for terminals and code hosts; pictures and plots are links to the run directory's
files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from urllib.parse import quote

from bench.analysis import claims
from bench.report import headline
from bench.report.definitions import METRICS, STATISTICS, STATUSES
from bench.report.document import TITLE, Document
from bench.report.pictures import Picture
from bench.report.tables import Entry, Table
from bench.report.wording import MARKS
from nst_gluon.pages.wording import harmless

_SPECIAL = re.compile(r"([\\`*_{}\[\]|#~])")


def text(value: str) -> str:
    """Anybody's text so that Markdown (and the HTML in it) prints it as it is, on one line."""
    value = " ".join(value.split())
    value = value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", value).replace("://", ":&#8203;//")


def code(value: str) -> str:
    """A fenced block; the fence is longer than any run of backticks inside."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", value)), default=0))
    return f"{fence}\n{value}\n{fence}"


def table(shown: Table) -> str:
    """A pipe table; an entry's small print follows its text."""
    head = "| " + " | ".join(text(entry.text) for entry in shown.columns) + " |"
    rule = "|" + "|".join("---:" if right else "---" for right in shown.numeric) + "|"
    rows = ["| " + " | ".join(map(_entry, row)) + " |" for row in shown.rows]
    return "\n".join([head, rule, *rows])


def _entry(entry: Entry) -> str:
    if entry.text in MARKS:
        return ": ".join(filter(None, [f"{MARKS[entry.text]} {entry.text}", text(entry.small)]))
    marks = "".join(note.superscript for note in entry.notes)
    return " ".join(filter(None, [f"{text(entry.text)}{marks}", text(entry.small)]))


def _pictures(pictures: Sequence[Picture]) -> Iterator[str]:
    if not pictures:
        return
    yield "| " + " | ".join(text(picture.title) for picture in pictures) + " |"
    yield "|" + "---|" * len(pictures)
    yield "| " + " | ".join(f"![{text(picture.alt)}]({quote(picture.path)})" for picture in pictures) + " |"
    yield "| " + " | ".join(text(picture.note) for picture in pictures) + " |"
    yield ""


def _section(shown: Table | None, level: int = 2) -> Iterator[str]:
    if shown is None or not shown.rows:
        return
    yield f"{'#' * level} {text(shown.title)}"
    yield ""
    if shown.note:
        yield text(shown.note)
        yield ""
    yield table(shown)
    yield ""


def write(document: Document) -> str:
    """The whole report."""
    return harmless("\n".join(_lines(document))).rstrip() + "\n"


def _lines(document: Document) -> Iterator[str]:
    yield f"# {TITLE}"
    yield ""
    for alarm in document.alarms:
        yield f"> **{text(alarm)}**"
        yield ""
    yield f"**{text(document.answer)}** {text(document.further)}".rstrip()
    yield ""
    yield f"- What: {text(headline.MEANING)}"
    if document.certainty:
        yield f"- How sure: {text(document.certainty)}"
    yield f"- Compared: {text(document.subject)}"
    yield f"- Machine: {text(document.machine)}"
    details = [document.software, document.when, document.revision and f"revision {document.revision}"]
    yield f"- Run {text(document.run_id)}: {text(', '.join(filter(None, details)))}"
    yield ""
    yield from _pictures(document.first_pictures)
    yield from _section(document.headline_claims)
    yield text(document.verdicts)
    yield ""
    yield from _section(document.glance)
    yield from _section(document.peers)
    if document.warnings:
        yield "## Warnings"
        yield ""
        yield from (f"- {text(warning)}" for warning in document.warnings)
        yield ""
    yield from (f"- {note.superscript} {text(note.text)}" for note in document.notes)
    yield ""
    yield from _section(document.troubled)
    for number, plot in enumerate(document.plots):
        if not number:
            yield "## Plots"
            yield ""
        yield f"![{text(plot.title)}](plots/{quote(plot.name)}.png)"
        yield ""
        yield f"*{text(plot.title)}.* {text(plot.caption)}"
        yield ""
    for shown in (shown for tables in document.of_plots.values() for shown in tables):
        yield from _section(shown)
    yield from _section(document.all_claims)
    yield from (f"- {text(rule)}" for rule in (*claims.RULES.values(), claims.EXCEPTIONS))
    yield ""
    yield from _pictures(document.more_pictures)
    yield "## Every number"
    yield ""
    for shown in document.metrics:
        yield from _section(shown, 3)
    yield "## Definitions"
    yield ""
    yield text(STATISTICS)
    yield ""
    for metric in METRICS.values():
        yield f"- **{text(metric.label)}** ({text(metric.name)}): {text(metric.text)}"
    yield ""
    yield from (f"- status **{name}**: {text(meaning)}" for name, meaning in STATUSES)
    yield ""
    yield "## To repeat it"
    yield ""
    yield code(document.command)
    yield ""
    for shown in document.records:
        yield from _section(shown)
