"""How every page of the harness is made: the templates, and the one script that some of them have."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from bench.analysis import metrics
from bench.report.wording import MARKS
from nst_gluon import pages

TEMPLATES = Path(__file__).resolve().parent / "templates"


def render(template: str, **values: Any) -> str:
    """A page (:func:`nst_gluon.pages.render`) of the template of that name; the one script comes with its hash."""
    script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return pages.render(
        _environment().get_template(template),
        script=Markup(script),
        script_hash=f"sha256-{digest}",
        marks=MARKS,
        **values,
    )


def _environment() -> jinja2.Environment:
    made = pages.environment(TEMPLATES)
    made.filters["capitalise"] = lambda text: text[:1].upper() + text[1:]
    made.filters["definition"] = lambda metric: f"def-{metrics.split(metric)[0]}"
    made.filters["defined"] = lambda metric: metrics.split(metric)[0] in metrics.METRICS
    return made
