"""results/stylized: every bundled stylising net is on the sheets, and the page says what the record says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bench.report.generated import part
from nst_gluon import assets

STYLIZED = Path(__file__).resolve().parent.parent / "results" / "stylized"


@pytest.fixture
def sheet(results_script):
    return results_script("stylized", "sheet")


def test_every_bundled_net_is_on_the_page(sheet):
    record = pd.read_csv(STYLIZED / "objectives.csv")
    nets = {(net.style, net.method) for net in assets.nets() if net.task == "stylize"}
    optimised = {(style, sheet.OPTIMISED) for style in assets.PAINTINGS}
    assert set(zip(record["style"], record["method"])) == nets | optimised
    assert (record.groupby(["style", "method"])["content"].agg(set) == set(sheet.CONTENTS)).all()
    assert part(STYLIZED / "README.md", "objectives") == sheet.table(record)
    for style in assets.PAINTINGS:
        with Image.open(STYLIZED / f"{style}.jpg") as page:
            tile, rows = sheet.TILE + sheet.GAP, 1 + len(sheet.painters(style))
            assert page.size == (sheet.MARGIN + len(sheet.CONTENTS) * tile, sheet.WORDS + rows * tile)


def test_the_examples_are_of_unseen_photos_by_every_method(sheet):
    heads = 3 + len(sheet.NETS)
    with Image.open(STYLIZED / "examples.jpg") as page:
        assert page.size == (heads * (sheet.TILE + sheet.GAP) - sheet.GAP,
                             sheet.WORDS + len(sheet.EXAMPLES) * (sheet.TILE + sheet.GAP) - sheet.GAP)  # fmt: skip
    for style, name in sheet.EXAMPLES:
        assert sheet.painters(style) == [sheet.OPTIMISED, *sheet.NETS] and name in sheet.CONTENTS


def test_the_record_is_of_the_bundled_nets(sheet):
    """What is on the page of one net, made again."""
    record = pd.read_csv(STYLIZED / "objectives.csv").set_index(["style", "method", "content"])["white"]
    for style in assets.PAINTINGS:
        paint = sheet.nst_gluon.load_net(assets.find_net(style, "johnson_slim", "stylize"))
        for name in sheet.CONTENTS:
            photo = sheet.content(name)
            found = sheet.white(paint(photo, size=sheet.SIZE), photo)
            assert found == pytest.approx(record[style, "johnson_slim", name], abs=1e-4)


def test_white_is_where_the_photo_is_not(sheet):
    picture, photo = np.full((2, 2, 3), 255, "uint8"), np.full((2, 2, 3), 40, "uint8")
    picture[0, 0, 1] = 249
    photo[1, 1] = 250
    assert sheet.white(picture, photo) == 0.5
