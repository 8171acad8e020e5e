"""The report as Markdown, for terminals and code hosts; pictures and plots are links to the run's files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from urllib.parse import quote

from bench.report import headline
from bench.report.document import GALLERY, GALLERY_ELSEWHERE, TITLE, Document, Section
from bench.report.pictures import Picture
from bench.report.plots import Plot
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
    """A pipe table."""
    head = "| " + " | ".join(text(entry.text) for entry in shown.columns) + " |"
    rule = "|" + "|".join("---:" if right else "---" for right in shown.numeric) + "|"
    rows = ["| " + " | ".join(map(_entry, row)) + " |" for row in shown.rows]
    return "\n".join([head, rule, *rows])


def _entry(entry: Entry) -> str:
    if entry.text in MARKS:
        return ": ".join(filter(None, [f"{MARKS[entry.text]} {entry.text}", text(entry.small)]))
    marks = "".join(note.superscript for note in entry.notes)
    follows = not entry.small or entry.small.startswith(("[", "a ", "at "))  # "835 ms a step"
    return f"{text(entry.text)}{marks}{' ' if follows else '; '}{text(entry.small)}".strip()


def _pictures(pictures: Sequence[Picture]) -> Iterator[str]:
    if not pictures:
        return
    yield "| " + " | ".join(text(picture.title) for picture in pictures) + " |"
    yield "|" + "---|" * len(pictures)
    yield "| " + " | ".join(f"![{text(picture.alt)}]({quote(picture.path)})" for picture in pictures) + " |"
    yield "| " + " | ".join(text(picture.note) for picture in pictures) + " |"
    yield ""


def _plot(plot: Plot) -> Iterator[str]:
    yield from (f"![{text(plot.title)}](plots/{quote(plot.name)}.png)", "")
    yield from (f"*{text(plot.title)}.* {text(plot.caption)}", "")


def write(document: Document) -> str:
    """The whole report."""
    return harmless("\n".join(_lines(document))).rstrip() + "\n"


def _lines(document: Document) -> Iterator[str]:
    yield from (f"# {TITLE}", "")
    for alarm in document.alarms:
        yield from (f"> **{text(alarm)}**", "")
    yield from (f"**{text(document.answer)}**", "", text(headline.MEANING), "")
    yield from (f"- {term}: {text(told)}" for term, told in document.facts)
    yield ""
    for row in document.side:
        yield from _pictures(row.pictures)
    if document.loss is not None:
        yield from _plot(document.loss)
    yield from (f"## {text(document.claims.title)}", "", text(document.verdicts), "", table(document.claims), "")
    for section in document.sections:
        yield from _section(section)


def _section(section: Section) -> Iterator[str]:
    yield from (f"## {text(section.title)}", "")
    if section.text:
        yield from (text(section.text.replace(GALLERY, GALLERY_ELSEWHERE)), "")
    if section.items:
        yield from (*(f"- {text(item)}" for item in section.items), "")
    for shown in section.tables:
        yield from (table(shown), "")
        if shown.note and shown.note not in section.text:
            yield from (text(shown.note), "")
    if section.notes:
        yield from (*(f"- {note.superscript} {text(note.text)}" for note in section.notes), "")
    for plot in section.plots:
        yield from _plot(plot)
    yield from _pictures(section.pictures)
    if section.definitions:
        yield from (f"- **{text(label)}**{f' ({text(name)})' if name else ''}: {text(told)}"
                    for name, label, told in section.definitions)  # fmt: skip
        yield ""
    if section.code:
        yield from (code(section.code), "")
    for shown in section.folded:
        yield from (f"### {text(shown.title)}", "", *((text(shown.note), "") if shown.note else ()), table(shown), "")
    if section.links:
        yield from (*(f"- [{text(words)}]({address})" if address else f"- {text(words)}"
                      for words, address in section.links), "")  # fmt: skip
