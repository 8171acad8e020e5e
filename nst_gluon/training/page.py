"""The page about a net that has been trained: what it makes, how it learnt, how to use it. One HTML file.

Built from the parts of every page (:mod:`nst_gluon.pages`). Imports no engine.
"""

from __future__ import annotations

import base64
import io
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image

from nst_gluon import methods, pages
from nst_gluon.objective.loss_terms import TERMS
from nst_gluon.pages import style, training_curve
from nst_gluon.pages.wording import clean, listing, quantity, size_name
from nst_gluon.pictures import images

JPEG_QUALITY = 88
LONGEST_COMMAND = 2000
RANDOM = "The descriptor had random weights: this net is good for tests only, and its numbers compare with nothing."


@dataclass(frozen=True)
class Sample:
    """A picture (1, 3, H, W) in [0, 1] with what it is."""

    title: str
    note: str
    picture: np.ndarray

    @property
    def uri(self) -> str:
        """The picture as a data URI."""
        stream = io.BytesIO()
        Image.fromarray(images.to_uint8(self.picture)).save(stream, "JPEG", quality=JPEG_QUALITY, optimize=True)
        return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def write(
    meta: Mapping[str, Any], curve: Sequence[tuple[int, float]], samples: Sequence[Sample], net: Path
) -> str:
    """The page; everything in it is escaped.

    Args:
        meta: the net file's description, with ``seconds`` and ``final_objective``.
        curve: (iteration, objective), from the first.
        net: the net's file, beside which the page is to lie.
    """
    svg, begin, end = _curve(meta["method"], curve)
    steps = f"{meta['iterations']:,} iteration{'s' if meta['iterations'] != 1 else ''}"
    what = "texture" if meta["task"] == "texture" else "style"
    answer = (
        f"A {methods.named(meta['method']).title} was trained on the {what} of {clean(meta['style'], 60)} for {steps} "
        f"({quantity(meta['seconds'], 's')}): its objective went from {begin} to {end}"
    )
    return pages.render(
        pages.environment(pages.FOLDER).get_template("training.html.j2"),
        name=clean(net.stem, 120),
        alarm=RANDOM if meta["weights"].get("random") else "",
        answer=answer,
        facts=_facts(meta),
        samples=samples,
        plot=Markup(style.inline(svg, "curve", "Training of the net", f"Objective against iterations: {answer}")),
        caption=training_curve.CAPTION,
        use=clean(_use(meta, net), LONGEST_COMMAND),
        command=clean(meta.get("command") or "", LONGEST_COMMAND),
    )


def _curve(method: str, curve: Sequence[tuple[int, float]]) -> tuple[str, str, str]:
    """The curve as SVG, and where it begins and ends."""
    with style.context():
        drawn, (axes,) = style.figure()
        iterations, objective = zip(*curve)
        made_by = methods.named(method)
        begin, end = training_curve.draw(axes, iterations, objective, made_by.title, made_by.color)
        training_curve.finish(drawn, "Training of the net")
        return style.render(drawn)[0], begin, end


def _facts(meta: Mapping[str, Any]) -> list[tuple[str, str]]:
    training, final = meta["training"], meta["final_objective"]
    terms = ", ".join(f"{name} {quantity(final[name], '1')}" for name in TERMS[1:] if name in final)
    weight = "" if meta["style_weight"] == 1 else f", style weight × {meta['style_weight']:g}"
    sizes = listing([size_name(size) for size in (meta["size"], *training.get("more_sizes", ()))])
    start = f"; it went on from {clean(training['start'], 80)}" if training.get("start") else ""
    usual = "the bundled ones and drawn scenes" if training.get("recipe") == "tuned" else "the bundled ones"
    own = "a loss of the method's own; judged by " if meta.get("own_loss") else ""
    seen = "" if meta["task"] == "texture" else f", photos: {clean(training.get('photos') or usual, 80)}"
    judges = "draws of noise" if meta["task"] == "texture" else "pictures"
    return [
        ("Objective", f"{quantity(final['objective'], '1')} at the end ({terms}); mean of {meta['final_window']} "
                      f"iteration{'s' if meta['final_window'] != 1 else ''}"),
        *([("Held out", f"{quantity(meta['held_out'], '1')} on {judges} outside the training, the best of the run")]
          if meta.get("held_out") else []),
        ("Minimised", f"{own}preset {meta['preset']}{weight}; "
                      f"descriptor {clean(meta['weights'].get('source', '?'), 120)}"),
        ("Trained on", f"{training['batch']} picture{'s' if training['batch'] != 1 else ''} of "
                       f"{sizes} an iteration, seed {meta['seed']}{seen}{start}"),
    ]  # fmt: skip


def _use(meta: Mapping[str, Any], net: Path) -> str:
    photo = " photo.jpg" if meta["task"] == "stylize" else ""
    return f"python -m nst_gluon {meta['task']}{photo} --net {shlex.quote(str(net))} --output picture.png"
