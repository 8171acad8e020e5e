"""The report as one HTML file that needs nothing else: style, script, plots and pictures are inside it."""

from __future__ import annotations

from markupsafe import Markup

from bench.report import headline, pictures
from bench.report.document import TITLE, Document
from bench.report.page import render


def write(document: Document) -> str:
    """The whole page. Everything from the run directory is escaped; only our own SVG, style and script are not."""
    rest = [picture for section in document.sections for picture in section.pictures]
    return render(
        "report.html.j2",
        title=TITLE,
        meaning=headline.MEANING,
        document=document,
        uris=pictures.embed(document.first_pictures, rest),
        svg=lambda plot: Markup(plot.inline()),
    )
