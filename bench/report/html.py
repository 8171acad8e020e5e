"""The report as one HTML file that needs nothing else: style, script, plots and pictures are inside, nothing is
fetched.
"""

from __future__ import annotations

from markupsafe import Markup

from bench.analysis import claims
from bench.report import headline, pictures
from bench.report.definitions import METRICS, STATISTICS, STATUSES
from bench.report.document import TITLE, Document
from bench.report.page import render


def plot_sections(document: Document) -> list[tuple[str, str, str, list, tuple]]:
    """(name, heading, text, plots, tables) of each section of plots that has anything to show."""
    sections = (
        (
            "loss",
            "Loss against seconds",
            "The optimisation's objective against its own clock, one line a seed; and each net's objective as a line, "
            "from the time that the net takes to where the optimisation gets down to it (the ring).",
        ),
        ("size", "Against the size of the picture", "Speed-ups, times, throughput and memory."),
        ("growth", "How cost grows", document.growth),
        ("batch", "Against the batch", "Whether several pictures at once are worth it."),
        (
            "quality",
            "What the pictures are worth",
            "The objective by which the methods are compared, and the terms that it is the sum of.",
        ),
        ("training", "How the nets were trained", "What it took before the first fast picture; in no other number."),
        ("roofline", "What the machine can do", "The limits of arithmetic and memory, measured apart."),
    )
    found = [
        (*section, [plot for plot in document.plots if plot.section == section[0]],
         document.of_plots.get(section[0], ()))
        for section in sections
    ]  # fmt: skip
    measured = bool(document.glance.rows)
    return [section for section in found if section[3] or section[4] or (section[0] == "growth" and measured)]


def write(document: Document) -> str:
    """The whole page. Everything from the run directory is escaped; only our own SVG, style and script are
    not.
    """
    sections = plot_sections(document)
    contents = [("claims-checked", "Claims"), *([("glance", "At a glance")] if document.glance.rows else [])]
    contents += [("peers", "Engines")] if document.peers else []
    contents += [(f"plots-{sections[0][0]}", "Plots")] if sections else []
    contents += [("numbers", "Every number"), ("definitions", "Definitions"), ("repeat", "Repeat it")]
    return render(
        "report.html.j2",
        title=TITLE,
        meaning=headline.MEANING,
        document=document,
        contents=contents,
        uris=pictures.embed([*document.first_pictures, *document.more_pictures]),
        plot_sections=sections,
        svg=lambda plot: Markup(plot.inline()),
        metrics=METRICS.values(),
        rules=[*claims.RULES.values(), claims.EXCEPTIONS],
        statistics=STATISTICS,
        statuses=STATUSES,
    )
