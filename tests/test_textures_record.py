"""results/textures: the record has every bundled texture net, and the page says what the record says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bench.report.generated import part
from nst_gluon import assets

TEXTURES = Path(__file__).resolve().parent.parent / "results" / "textures"


@pytest.fixture
def draws(results_script):
    return results_script("textures", "draws")


def test_every_bundled_net_is_on_the_page(draws):
    record = pd.read_csv(TEXTURES / "draws.csv")
    styles = {net.style for net in assets.nets() if net.task == "texture"}
    assert set(record["style"]) == styles and len(record) == len(styles) * len(draws.SIZES) * draws.DRAWS
    assert part(TEXTURES / "README.md", "draws") == draws.table(record)
    for size in draws.SIZES:
        with Image.open(TEXTURES / f"sheet-{size}.jpg") as sheet:
            assert sheet.size == (5 * draws.TILE + 4 * draws.GAP, 6 * draws.TILE + 5 * draws.GAP)


def test_the_correlation_is_that_of_pairs_without_mean_colours(draws):
    rng = np.random.default_rng(0)
    apart = rng.random((4, 3, 32, 32)) + rng.random((4, 3, 1, 1))  # colours of their own say nothing
    assert abs(draws.correlation(apart)) < 0.02
    same = np.concatenate([apart[:1], apart[:1] + 0.2])
    assert draws.correlation(same) == pytest.approx(1)
    one, other, third = ((picture - picture.mean((1, 2), keepdims=True)).ravel() for picture in apart[:3])
    wanted = np.mean([np.corrcoef(a, b)[0, 1] for a, b in ((one, other), (one, third), (other, third))])
    assert draws.correlation(apart[:3]) == pytest.approx(wanted)


def test_a_net_is_measured_as_the_page_says(draws, monkeypatch):
    monkeypatch.setattr(draws, "DRAWS", 2)
    monkeypatch.setattr(draws, "SHOWN", 1)
    monkeypatch.setattr(draws.weights, "load", lambda path: draws.weights.random_weights("vgg19", seed=1))
    net = next(net for net in assets.nets() if net.task == "texture")
    rows, pictures = draws.measure(net, 64)
    assert [row["draw"] for row in rows] == [0, 1] and rows[0]["objective"] != rows[1]["objective"]
    assert rows[0]["correlation"] == rows[1]["correlation"]
    assert [picture.shape for picture in pictures] == [(256, 256, 3), (64, 64, 3)]
