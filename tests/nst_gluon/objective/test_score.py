"""``score`` on real weights and real pictures, against the plain numpy implementation in tests/oracle.py."""

from __future__ import annotations

import json

import numpy as np
import oracle
import pytest
from PIL import Image

from nst_gluon import assets
from nst_gluon.cli.main import main
from nst_gluon.descriptor import weights as vgg_weights
from nst_gluon.objective import presets

SIDE = 80


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Three pictures that have the size already, as files."""
    folder = tmp_path_factory.mktemp("score")
    paths = {}
    for role, path in (
        ("picture", assets.content_path("coffee")),
        ("content", assets.content_path("astronaut")),
        ("style", assets.style_path("great_wave")),
    ):
        paths[role] = folder / f"{role}.png"
        Image.open(path).convert("RGB").resize((SIDE, SIDE)).save(paths[role])
    return paths


@pytest.mark.network
@pytest.mark.parametrize("preset", sorted(presets.PRESETS))
def test_score_agrees_with_plain_numpy(preset, files, capsys):
    arguments = ["score", str(files["picture"]), "--style", str(files["style"]), "--content", str(files["content"])]
    assert main([*arguments, "--preset", preset, "--size", str(SIDE), "--style-size", str(SIDE), "--json"]) == 0
    scored = json.loads(capsys.readouterr().out)
    arrays = {role: np.asarray(Image.open(path), "float64").transpose(2, 0, 1) / 255 for role, path in files.items()}
    weights = vgg_weights.load(progress=False)
    expected = getattr(oracle, preset)(arrays["picture"], arrays["style"], arrays["content"], weights)
    for name, value in zip(("content", "style", "tv"), expected):
        assert scored[name] == pytest.approx(value, rel=1e-3)
    assert scored["objective"] == pytest.approx(sum(expected), rel=1e-3)
    assert scored["preset"] == preset and scored["size"] == SIDE and scored["weights"]["random"] is False
