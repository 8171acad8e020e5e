"""The report as one HTML file that needs nothing else: style, plots and pictures are inside, nothing is
fetched.
"""

from __future__ import annotations

from pathlib import Path

import jinja2
from markupsafe import Markup

from bench import claims
from bench.report import pictures
from bench.report.definitions import METRICS, STATISTICS, STATUSES, describe
from bench.report.document import TITLE, Document
from bench.report.wording import MARKS

TEMPLATES = Path(__file__).resolve().parent / "templates"
PLOT_SECTIONS = (
    (
        "loss",
        "Loss against seconds",
        "The optimisation's objective against its own clock, one line a seed; and each net's objective as a line, from "
        "the time that the net takes to where the optimisation gets down to it (the ring).",
    ),
    ("size", "Against the size of the picture", "What grows, and how fast."),
    ("batch", "Against the batch", "Whether several pictures at once are worth it."),
)


def write(document: Document) -> str:
    """The whole page. Everything from the run directory is escaped; only our own SVG and style sheet are
    not.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["definition"] = lambda metric: f"def-{describe(metric).name}"
    environment.filters["defined"] = lambda metric: describe(metric).name in METRICS
    sections = [
        (name, title, text, [plot for plot in document.plots if plot.section == name])
        for name, title, text in PLOT_SECTIONS
    ]
    return environment.get_template("report.html.j2").render(
        title=TITLE,
        document=document,
        style=Markup((TEMPLATES / "style.css").read_text(encoding="utf-8")),
        uris=pictures.embed([*document.first_pictures, *document.more_pictures]),
        plot_sections=[section for section in sections if section[3]],
        svg=lambda plot: Markup(plot.inline()),
        marks=MARKS,
        metrics=METRICS.values(),
        rules=[*claims.RULES.values(), claims.EXCEPTIONS],
        statistics=STATISTICS,
        statuses=STATUSES,
    )
