"""Colours go to the principal axes and back; the descent lowers its own loss, and the objective only judges it."""

from __future__ import annotations

import numpy as np
import pytest

from nst_gluon import assets, methods
from nst_gluon.methods import Facts
from nst_gluon.objective.loss_terms import Terms
from nst_gluon.optimise.config import OptimizationConfig
from nst_gluon.optimise.problem import Problem
from nst_gluon.pictures import images
from nst_gluon.pictures.color import PrincipalColors
from nst_gluon.system.errors import UserError

STYLES = ("great_wave", "gravel")


class Judge:
    """An objective that is asked for its terms and never for a gradient."""

    def __init__(self):
        self.asked = []

    def terms(self, picture: np.ndarray) -> Terms:
        self.asked.append(picture)
        return Terms(7.0, 0.0, 7.0, 0.0)


def style(name: str, side: int) -> np.ndarray:
    return images.load(assets.style_path(name), side)[:, :, :side, :side]


def colours(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    pixels = picture[0].reshape(3, -1)
    return pixels.mean(axis=1), np.cov(pixels)


@pytest.mark.parametrize("name", STYLES)
def test_colours_go_along_their_axes_and_come_back(name):
    given = style(name, 64)
    colors = PrincipalColors(given, 0.2)
    channels = colors.channels(given)
    covariance = np.cov(channels[0].reshape(colors.count, -1), bias=True)
    np.testing.assert_allclose(covariance, 0.04 * np.eye(colors.count), atol=1e-4)
    np.testing.assert_allclose(colors.picture(channels), given, atol=0.02)
    assert colors.count == (1 if name == "gravel" else 3)


@pytest.mark.parametrize("name", STYLES)
def test_noise_gets_the_colours_of_the_style(name):
    given = style(name, 64)
    colors = PrincipalColors(given, 0.2)
    noise = 0.5 + 0.2 * np.random.default_rng(0).standard_normal((1, colors.count, 64, 64))
    made = colors.picture(noise)
    (mean, covariance), (right_mean, right) = colours(made), colours(given)
    assert made.min() >= 0 and made.max() <= 1
    np.testing.assert_allclose(mean, right_mean, rtol=0.02)
    assert np.linalg.norm(covariance - right) < 0.02 * np.linalg.norm(right)


def test_a_style_of_one_colour_is_refused():
    with pytest.raises(UserError, match="--style: it is of one colour"):
        PrincipalColors(np.full((1, 3, 32, 32), 0.3), 0.2)


def test_the_descent_lowers_its_own_loss_and_is_judged_off_the_clock():
    pytest.importorskip("plenoptic", reason="needs the extra plenoptic")
    given, judge = style("great_wave", 64), Judge()
    config = OptimizationConfig(iterations=12, target=1.0)
    problem = Problem(judge, (60, 64), config, style=lambda side: given, style_size=64)
    method, losses = methods.get("portilla_simoncelli"), []
    minimise = problem.minimise

    def watched(start, loss, shown):
        def noted(channels):
            losses.append(loss(channels))
            return losses[-1]

        return minimise(start, loss=noted, shown=shown)

    problem.minimise = watched
    result = problem.run(method.descend)
    assert result.stopped_because == "iterations" and len(result.steps) == len(judge.asked) == len(losses) == 12
    assert min(value for value, _ in losses) < 0.1 * losses[0][0]
    best = int(np.argmin([value for value, _ in losses]))
    np.testing.assert_array_equal(result.picture, judge.asked[best])
    assert result.picture.shape == (1, 3, 60, 64) and result.terms.objective == 7.0
    (mean, covariance), (right_mean, right) = colours(result.picture), colours(given)
    np.testing.assert_allclose(mean, right_mean, rtol=0.02)
    assert np.linalg.norm(covariance - right) < 0.02 * np.linalg.norm(right)
    with pytest.raises(UserError, match="--size: 16 is too small"):
        Problem(judge, (16, 16), config, style=lambda side: given, style_size=64).run(method.descend)


def test_what_is_missing_is_one_line(monkeypatch):
    facts = Facts("mine", methods.OPTIMISES, ("texture",), "mine", "", "", "#555555", needs=("no_such",), extra="mine")
    assert facts.missing() == "mine needs no_such; install it with python -m pip install -e '.[mine]'"
    monkeypatch.setattr(type(methods.get("portilla_simoncelli")), "needs", ("no_such",))
    assert "portilla_simoncelli" not in methods.usual() and "gatys" in methods.usual()
