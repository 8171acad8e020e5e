"""What all pages that the suite writes are made of: one style sheet, one plot style, one wording, and one way in which
names that may be anybody's come out as text.

A page is one HTML file that loads nothing. Imports no engine; knows nothing of benchmarks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from nst_gluon.pages.wording import harmless

FOLDER = Path(__file__).resolve().parent


def environment(templates: Path) -> jinja2.Environment:
    """Templates of a folder, in which everything is escaped that is not marked as ours."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(template: jinja2.Template, **values: Any) -> str:
    """A page of one of those templates, with the style sheet as ``style``; no character in it moves others about."""
    return harmless(template.render(style=Markup(style_sheet()), **values))


def style_sheet() -> str:
    """The style sheet of every page: light and dark, telephone and paper."""
    return (FOLDER / "style.css").read_text(encoding="utf-8")
