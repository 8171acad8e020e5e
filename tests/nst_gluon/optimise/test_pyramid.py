"""Coarse to fine, and L-BFGS: levels, grain, and descents with known ends."""

from __future__ import annotations

import numpy as np
import pytest
from descents import noise, optimise

from nst_gluon import assets
from nst_gluon.descriptor import weights as vgg_weights
from nst_gluon.methods.gatys import Gatys
from nst_gluon.methods.gatys_pyramid import GatysPyramid
from nst_gluon.methods.net_gatys import NetGatys
from nst_gluon.objective import presets
from nst_gluon.objective.loss import Objective
from nst_gluon.optimise.config import OptimizationConfig
from nst_gluon.optimise.lbfgs import Memory, minimise
from nst_gluon.optimise.problem import Problem
from nst_gluon.optimise.pyramid import (
    COARSE,
    finest,
    half_level,
    random_phase,
    recoloured,
    resampled,
    stage_size,
    style_side,
)
from nst_gluon.pictures.images import load, resize


def test_half_the_side_comes_first_unless_it_is_too_small():
    assert half_level((256, 256)) == ((128, 2),)
    assert half_level((300, 512)) == ((256, 2),)
    assert half_level((64, 127)) == ()
    assert half_level((128, 20)) == (), "the objective takes no picture of 10 rows"


def test_sizes_of_a_level():
    assert stage_size((600, 900), 225) == (150, 225)
    assert style_side(256, 64, 512) == 32 and style_side(256, 16, 512) == 16


def test_only_enlarging_adds_grain_and_as_much_as_asked_for():
    flat = np.full((1, 3, 32, 32), 0.5, "float32")
    larger = resampled(flat, (64, 64), 0.05, np.random.default_rng(0))
    assert larger.shape == (1, 3, 64, 64) and larger.dtype == np.float32
    assert larger.std() == pytest.approx(0.05, rel=0.05) and larger.mean() == pytest.approx(0.5, abs=0.01)
    assert (resampled(flat, (16, 16), 0.05, np.random.default_rng(0)) == 0.5).all()
    assert (resampled(flat, (64, 64), 0.0, np.random.default_rng(0)) == 0.5).all()


def test_an_enlarged_picture_gets_the_finest_octave_of_the_style():
    rng = np.random.default_rng(0)
    checks = (np.indices((32, 32)).sum(axis=0) % 2)[None, None].repeat(3, 1).astype("float32")
    flat = np.full((1, 3, 24, 40), 0.5, "float32")
    found = resampled(flat, (48, 80), 0.05, rng, checks)
    assert found.dtype == np.float32 and found.std() == pytest.approx(0.5, abs=0.02)  # checks have no other octave
    assert np.abs(finest(flat[:, :, :, :24], (20, 30), rng)).max() < 1e-6
    assert (resampled(flat, (12, 20), 0.05, rng, checks) == 0.5).all()  # a smaller picture lacks nothing


def coloured(shape: tuple[int, int], seed: int) -> np.ndarray:
    """A smooth picture (1, 3, H, W) well within [0, 1], whose channels depend on each other."""
    pixels = np.cumsum(np.random.default_rng(seed).normal(size=(3, *shape)) * 0.015, axis=0)
    pixels = (pixels + np.roll(pixels, 1, axis=1) + np.roll(pixels, 1, axis=2)) / 3
    return (pixels + np.array([0.4, 0.5, 0.6])[:, None, None])[None].astype("float32")


def autocorrelation(picture: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Covariances (3, 3) of colours with those of the pixel so far away, around the edges."""
    centred = picture[0].astype("float64") - picture[0].mean(axis=(1, 2), keepdims=True)
    return np.einsum("aij,bij->ab", centred, np.roll(centred, (rows, columns), axis=(1, 2))) / picture[0, 0].size


@pytest.mark.parametrize("shift", [(0, 0), (0, 1), (1, 0), (2, 3)])
def test_random_phases_keep_the_colours_and_the_autocorrelation(shift):
    style = coloured((48, 48), 1)
    found = random_phase(style, (48, 48), np.random.default_rng(0))
    np.testing.assert_allclose(found.mean(axis=(2, 3)), style.mean(axis=(2, 3)), atol=1e-5)
    np.testing.assert_allclose(autocorrelation(found, *shift), autocorrelation(style, *shift), atol=1e-7)
    assert np.abs(np.corrcoef(found[0, 0].ravel(), style[0, 0].ravel())[0, 1]) < 0.1, "it is no copy"


@pytest.mark.parametrize("size", [(96, 80), (24, 40), (30, 90)])
def test_random_phases_of_another_size_have_the_style_s_contrast(size):
    style = coloured((48, 48), 2)
    found = random_phase(style, size, np.random.default_rng(0))
    assert found.shape == (1, 3, *size) and found.dtype == np.float32
    np.testing.assert_allclose(np.cov(found.reshape(3, -1)), np.cov(style.reshape(3, -1)), rtol=0.15)


def test_a_recoloured_picture_has_the_style_s_colours():
    content, style = 0.6 * coloured((20, 30), 3)[:, ::-1] + 0.1, coloured((64, 64), 4)
    found = recoloured(content, style)
    assert found.shape == content.shape and found.dtype == np.float32
    pixels, wanted = found.reshape(3, -1), style.reshape(3, -1)
    np.testing.assert_allclose(pixels.mean(axis=1), wanted.mean(axis=1), atol=1e-5)
    np.testing.assert_allclose(np.cov(pixels), np.cov(wanted), atol=1e-6)
    np.testing.assert_allclose(recoloured(style, style), style, atol=1e-4)  # nothing to change
    flat = recoloured(np.full((1, 3, 8, 8), 0.2, "float32"), style)
    np.testing.assert_allclose(flat.reshape(3, -1).mean(axis=1), wanted.mean(axis=1), atol=1e-5)


@pytest.mark.parametrize("task", ["texture", "stylize"])
def test_the_method_is_there_in_half_the_evaluations(task):
    """Against plain optimisation from noise, counted at the full size."""
    weights = vgg_weights.random_weights("vgg19", seed=1)
    style = load(assets.style_path("great_wave"), 128)
    content = None if task == "texture" else load(assets.content_path("astronaut"), 128)[:, :, :96]
    objective = Objective(presets.get("texture_net_relative"), weights, task, style, content)
    size, config = (128, 128) if content is None else (96, 128), OptimizationConfig(iterations=8)
    problem = Problem(objective, size, config, content, lambda side: resize(style, (side, side)), 128)
    plain = problem.run(Gatys().descend)
    fast = problem.run(GatysPyramid().descend)
    full = [step.terms.objective for step in fast.steps if step.size == size]
    assert len(fast.steps) == 8 + COARSE and min(full[:4]) < plain.terms.objective
    again = problem.run(GatysPyramid().descend)
    assert (again.picture == fast.picture).all(), "it follows the seed alone"


def test_coarse_levels_reach_a_target_with_fewer_full_evaluations():
    """A smooth style: what takes the full size many steps, the coarse ones have done."""
    weights = vgg_weights.random_weights("vgg19", seed=1)
    style = np.zeros((1, 3, 64, 64), "float32")
    style[:, :, :, 32:] = 0.8
    fine = Objective(presets.get("texture_net_relative"), weights, "texture", style)
    start = noise(64)
    plain = optimise(fine, start, OptimizationConfig(iterations=6))
    result = optimise(fine, start, OptimizationConfig(iterations=6), levels=((32, 12),), grain=0.0,
                      style=lambda side: style[:, :, ::2, ::2], style_size=64)  # fmt: skip
    full = [step for step in result.steps if step.size == (64, 64)]
    assert len(full) == 6 and [step.iteration for step in full] == [1, 2, 3, 4, 5, 6]
    assert min(step.terms.objective for step in full) < 0.9 * plain.terms.objective
    assert result.terms.objective == min(step.terms.objective for step in full)
    seconds = [step.seconds for step in result.steps]
    assert seconds == sorted(seconds) and full[0].seconds > seconds[11]


def test_the_picture_of_a_net_is_made_on_the_clock():
    import time

    class Bowl:
        def value_and_gradient(self, picture):
            from nst_gluon.objective.loss_terms import Terms

            value = float((picture**2).sum())
            return Terms(value, 0.0, value, 0.0), 2 * picture

    def slow() -> np.ndarray:
        time.sleep(0.2)
        return np.full((1, 3, 4, 4), 0.5, "float32")

    problem = Problem(Bowl(), (4, 4), OptimizationConfig(iterations=2), net=slow)
    result = problem.run(NetGatys().descend)
    assert result.steps[0].seconds >= 0.2 and result.began == "net"


def test_facts_of_coarse_levels_add_up_to_what_went_before_the_full_size():
    from bench.engines.measure import coarse_facts
    from nst_gluon.objective.loss_terms import Terms
    from nst_gluon.optimise.problem import Result, Step

    terms = Terms(1.0, 0.0, 1.0, 0.0)
    times = [(0.1, 8), (0.2, 8), (0.5, 16), (1.5, 32), (2.5, 32)]
    steps = tuple(Step(seconds, 1, terms, (side, side)) for seconds, side in times)
    result = Result(np.zeros((1, 3, 32, 32)), terms, steps, "iterations", 2.5)
    first, second = coarse_facts(result, (32, 32))
    assert first == {"side": 8, "evaluations": 2, "seconds": 0.2}
    assert second == {"side": 16, "evaluations": 1, "seconds": pytest.approx(0.3)}


# ------------------------------------------------------------------------------------------------------------- L-BFGS


def test_direction_is_that_of_the_bfgs_matrix():
    """The two loops against the update formula of the inverse Hessian, written out in float64."""
    rng = np.random.default_rng(3)
    n, root = 6, np.random.default_rng(4).standard_normal((6, 6))
    hessian = root @ root.T + np.eye(n)
    memory, inverse, pairs = Memory(3), None, []
    for _ in range(2):  # two more than it can remember
        step = rng.standard_normal(n).astype("float32")
        change = (hessian @ step).astype("float32")
        memory.add(step, change)
        pairs = [*pairs, (step.astype("float64"), change.astype("float64"))][-3:]
    inverse = np.eye(n) * (pairs[-1][0] @ pairs[-1][1]) / (pairs[-1][1] @ pairs[-1][1])
    for s, y in pairs:
        v = np.eye(n) - np.outer(y, s) / (s @ y)
        inverse = v.T @ inverse @ v + np.outer(s, s) / (s @ y)
    gradient = rng.standard_normal(n).astype("float32")
    np.testing.assert_allclose(memory.direction(gradient), -inverse @ gradient, rtol=2e-4, atol=1e-5)


def test_pairs_of_negative_curvature_are_not_remembered():
    memory = Memory(2)
    one = np.ones(3, "float32")
    memory.add(one, -one)
    assert len(memory) == 0
    assert (memory.direction(one) == -one).all()


class Ended(Exception):
    pass


def curve(function, start: np.ndarray, evaluations: int) -> list[float]:
    values: list[float] = []

    def counted(x):
        if len(values) == evaluations:
            raise Ended
        value, gradient = function(x)
        values.append(value)
        return value, gradient

    with pytest.raises(Ended):
        minimise(counted, start)
    return values


def rosenbrock(x):
    x = x.astype("float64")
    value = (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()
    gradient = np.zeros_like(x)
    gradient[:-1] = -400 * x[:-1] * (x[1:] - x[:-1] ** 2) - 2 * (1 - x[:-1])
    gradient[1:] += 200 * (x[1:] - x[:-1] ** 2)
    return float(value), gradient.astype("float32")


def test_it_is_no_worse_than_scipy_s_on_a_hard_function():
    from scipy.optimize import minimize

    start = np.zeros(10, "float32")
    theirs: list[float] = []

    def recorded(x):
        value, gradient = rosenbrock(x)
        theirs.append(value)
        return value, gradient.astype("float64")

    minimize(recorded, start, jac=True, method="L-BFGS-B", options={"maxfun": 60})
    assert min(curve(rosenbrock, start, 60)) < 2 * min(theirs[:60])


def test_it_ends_where_nothing_leads_down():
    goal = np.linspace(0, 1, 20).astype("float32")
    calls = []

    def bowl(x):
        calls.append(x)
        return float(((x - goal).astype("float64") ** 2).sum()), 2 * (x - goal)

    assert np.abs(minimise(bowl, np.zeros(20, "float32")) - goal).max() < 1e-5
    assert len(calls) < 100
    assert (minimise(lambda x: (1.0, np.zeros_like(x)), goal) == goal).all()


def test_the_first_step_has_the_length_asked_for():
    seen = []

    def steep(x):
        seen.append(x)
        if len(seen) == 2:
            raise Ended
        return float((1e4 * x**2).sum()), 2e4 * x

    with pytest.raises(Ended):
        minimise(steep, np.ones(100, "float32"), first_step=0.05)
    assert np.sqrt(((seen[1] - seen[0]) ** 2).mean()) == pytest.approx(0.05, rel=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_with_bounds_it_finds_what_scipys_bounded_method_finds(seed):
    """A quadratic whose minimum lies outside the bounds in half of its coordinates, and couples them."""
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(30, 30)).astype("float32")
    curvature, goal = factor @ factor.T / 30 + 0.1 * np.eye(30, dtype="float32"), rng.uniform(-1, 2, 30)
    seen = []

    def quadratic(x):
        seen.append(x)
        gradient = curvature.astype("float64") @ (x - goal)
        return float(0.5 * (x - goal) @ gradient), gradient.astype("float32")

    start = rng.uniform(-0.5, 1.5, 30).astype("float32")
    found = minimise(quadratic, start, bounds=(0.0, 1.0))
    assert all(x.min() >= 0 and x.max() <= 1 for x in seen)
    from scipy.optimize import minimize

    theirs = minimize(
        lambda x: (quadratic(x)[0], quadratic(x)[1].astype("float64")), np.clip(start, 0, 1), jac=True,
        method="L-BFGS-B", bounds=[(0, 1)] * 30, options={"ftol": 1e-12, "gtol": 1e-9},
    )  # fmt: skip
    assert 3 < ((theirs.x < 1e-6) | (theirs.x > 1 - 1e-6)).sum() < 30
    assert np.abs(found - theirs.x).max() < 2e-3
