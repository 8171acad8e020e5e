"""The optimisation method: it descends, it stops when it should, it repeats itself, it reports divergence."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from descents import noise, optimise

from nst_gluon.descriptor import weights as vgg_weights
from nst_gluon.descriptor.scaling import IMAGENET_STD
from nst_gluon.objective import presets
from nst_gluon.objective.loss import Objective
from nst_gluon.objective.loss_terms import Terms
from nst_gluon.optimise import problem as problems
from nst_gluon.optimise.config import PIXELS, OptimizationConfig, config_of
from nst_gluon.optimise.problem import Problem
from nst_gluon.system.errors import NotFinite, UserError


class Bowl:
    """An objective with a known minimum: weighted squared distance to a picture."""

    def __init__(self, goal: np.ndarray, fail_at: int | None = None):
        self.goal, self.calls, self.fail_at = goal, 0, fail_at
        self.scale = np.linspace(1, 30, goal.size).reshape(goal.shape)

    def value_and_gradient(self, picture):
        self.calls += 1
        if self.calls == self.fail_at:
            raise NotFinite("nan")
        difference = picture.astype("float64") - self.goal
        value = float((self.scale * difference**2).sum())
        return Terms(value, 0.0, value, 0.0), (2 * self.scale * difference).astype("float32")


GOAL = np.random.default_rng(5).random((1, 3, 16, 16)).astype("float32")
NOISE = noise(16, seed=1)


@pytest.mark.parametrize(("optimizer", "iterations", "close"), [("lbfgs", 60, 1e-4), ("adam", 400, 2e-2)])
def test_finds_a_known_minimum(optimizer, iterations, close):
    config = OptimizationConfig(iterations=iterations, optimizer=optimizer, learning_rate=0.02)
    result = optimise(Bowl(GOAL), NOISE, config)
    assert np.abs(result.picture - GOAL).max() < close
    assert result.picture.dtype == np.float32 and 0 <= result.picture.min() <= result.picture.max() <= 1


@pytest.fixture
def now(monkeypatch) -> list[float]:
    """The clock of a descent, in seconds: it stands until a test moves it."""
    made = [0.0]
    monkeypatch.setattr(problems, "time", SimpleNamespace(perf_counter=lambda: made[0]))
    return made


class Slow(Bowl):
    """Each evaluation takes a sixteenth of a second of that clock."""

    def __init__(self, now: list[float]):
        super().__init__(GOAL)
        self.now = now

    def value_and_gradient(self, picture):
        self.now[0] += 0.0625
        return super().value_and_gradient(picture)


def test_stops_at_the_target_the_iteration_limit_or_the_time_limit(now):
    first = Bowl(GOAL).value_and_gradient(NOISE)[0].objective
    target = optimise(Bowl(GOAL), NOISE, OptimizationConfig(target=first / 100))
    assert target.stopped_because == "target"
    assert target.terms.objective <= first / 100 < target.steps[-2].terms.objective
    late = optimise(Bowl(GOAL), NOISE, OptimizationConfig(target=first / 100, least_iterations=len(target.steps) + 5))
    assert late.stopped_because == "target" and len(late.steps) == len(target.steps) + 5
    count = optimise(Bowl(GOAL), NOISE, OptimizationConfig(iterations=7))
    assert count.stopped_because == "iterations" and len(count.steps) == 7
    slow = optimise(Slow(now), NOISE, OptimizationConfig(optimizer="adam", iterations=10**6, time_limit_s=0.25))
    assert slow.stopped_because == "time limit" and len(slow.steps) in (4, 5)


def test_a_callback_is_off_the_clock(now):
    def wait(step):
        now[0] += 100.0

    result = optimise(Slow(now), NOISE, OptimizationConfig(iterations=5), callback=wait)
    assert [step.seconds for step in result.steps] == pytest.approx([0.0625 * n for n in range(1, 6)])
    assert [step.iteration for step in result.steps] == [1, 2, 3, 4, 5]


def test_the_picture_that_a_method_s_own_loss_moves_is_made_and_judged_off_the_clock(now):
    def slow(picture):
        now[0] += 100.0
        return picture

    bowl = Slow(now)
    bowl.terms = lambda picture: Terms(float(slow(picture).mean()), 0.0, 0.0, 0.0)
    problem = Problem(bowl, NOISE.shape[2:], OptimizationConfig(iterations=5))

    def loss(picture):
        terms, gradient = bowl.value_and_gradient(picture)
        return terms.objective, gradient

    result = problem.run(lambda problem: problem.minimise(NOISE, loss=loss, shown=slow))
    assert [step.seconds for step in result.steps] == pytest.approx([0.0625 * n for n in range(1, 6)])


def test_a_picture_of_another_size_is_refused():
    """It would be compared with pictures of the size that was asked for."""
    bowl, loss = Bowl(GOAL), lambda picture: (0.0, picture)
    half = NOISE[:, :, ::2]
    for descend in (
        lambda problem: problem.minimise(half),
        lambda problem: problem.evaluate(half),
        lambda problem: problem.minimise(half, loss=loss),
        lambda problem: problem.minimise(NOISE, loss=loss, shown=lambda moved: moved[:, :, ::2]),
    ):
        with pytest.raises(ValueError, match="is not the shape"):
            Problem(bowl, NOISE.shape[2:], OptimizationConfig(iterations=5)).run(descend)


def test_the_best_picture_is_returned_and_divergence_reported():
    bowl = Bowl(GOAL, fail_at=6)
    result = optimise(bowl, NOISE, OptimizationConfig(iterations=50))
    assert result.stopped_because == "diverged" and len(result.steps) == 5
    assert result.terms.objective == min(step.terms.objective for step in result.steps)
    with pytest.raises(NotFinite):
        optimise(Bowl(GOAL, fail_at=1), NOISE, OptimizationConfig())
    wild = OptimizationConfig(optimizer="adam", learning_rate=100.0, iterations=20)
    far = optimise(Bowl(GOAL), NOISE, wild)
    assert far.terms.objective == min(step.terms.objective for step in far.steps)


def test_coarse_to_fine_counts_every_stage_on_one_clock():
    small = np.ones((1, 3, 8, 8), "float32") * 0.25
    bowl = Bowl(GOAL)
    bowl.aimed_at = lambda style, content: Bowl(small)
    config = OptimizationConfig(iterations=10)
    result = optimise(bowl, NOISE, config, levels=((8, 4),), style=lambda side: GOAL, style_size=16)
    assert [step.size for step in result.steps[:5]] == [(8, 8)] * 4 + [(16, 16)]
    seconds = [step.seconds for step in result.steps]
    assert seconds == sorted(seconds)
    assert result.picture.shape == (1, 3, 16, 16)


def test_the_article_s_rate_of_adam_is_that_of_pixels():
    """Dive into Deep Learning: 0.01 in ImageNet-normalised variables, a tenth of it every 200 steps."""
    config = config_of(presets.get("d2l"))
    step = 0.01 * np.array(IMAGENET_STD)
    assert config.learning_rate == pytest.approx(step.mean()) and step.mean() == pytest.approx(0.00226)
    assert (config.optimizer, config.iterations, config.decay_every, config.decay) == ("adam", 500, 200, 0.1)
    assert config_of(presets.get("gatys")).decay_every is None


def test_start_pictures():
    content = np.full((1, 3, 4, 6), 0.5, "float32")

    def start(content=None, **config):
        return Problem(None, (4, 6), OptimizationConfig(**config), content).start()

    assert (start(content, start="content") == content).all()
    a, b = (start(seed=1) for _ in range(2))
    assert (a == b).all() and a.min() >= 0 and a.max() < 1 and a.shape == (1, 3, 4, 6)
    assert (a != start(seed=2)).any()
    with pytest.raises(UserError, match="--start"):
        start(start="content")


def test_a_rehearsal_leaves_nothing_behind():
    bowl = Bowl(GOAL)
    plain = optimise(Bowl(GOAL), NOISE, OptimizationConfig(iterations=6))
    seen = []
    problem = Problem(bowl, (16, 16), OptimizationConfig(iterations=6), callback=seen.append)

    def descend(problem):
        problem.minimise(NOISE)

    assert [problem.rehearse(descend, evaluations) for evaluations in (0, 1)] == [6, 6]
    assert bowl.calls == 1 and not seen and problem.best is None
    result = problem.run(descend)
    assert [step.terms for step in result.steps] == [step.terms for step in plain.steps]
    assert (result.picture == plain.picture).all() and len(seen) == 6


def test_a_descent_of_ones_own_ends_by_itself():
    """A loop without an end, at a coarse level and at the full size."""

    def descend(problem):
        picture = problem.start()[:, :, ::2, ::2]
        with problem.coarser(8, 3) as level:
            while True:
                picture = picture - 0.001 * level.evaluate(picture)[1]
        picture = level.best_picture().repeat(2, axis=2).repeat(2, axis=3)
        while True:
            picture = picture - 0.001 * problem.evaluate(picture)[1]

    bowl = Bowl(GOAL)
    bowl.aimed_at = lambda style, content: Bowl(GOAL[:, :, ::2, ::2])
    problem = Problem(bowl, (16, 16), OptimizationConfig(iterations=5), style=lambda side: GOAL, style_size=16)
    assert problem.rehearse(descend, 0) == 8 and bowl.calls == 0
    result = problem.run(descend)
    assert [step.size[0] for step in result.steps] == [8] * 3 + [16] * 5
    assert result.stopped_because == "iterations" and result.began == "noise"
    for broken, words in ((lambda problem: None, "without an evaluation"),
                          (lambda problem: problem.net_picture(), "begins with a net")):  # fmt: skip
        with pytest.raises(UserError, match=words):
            problem.run(broken)
    with pytest.raises(ValueError, match="shape"):
        problem.run(lambda problem: problem.evaluate(GOAL[:, :, 1:]))


def test_on_the_real_objective_it_descends_and_repeats_bit_for_bit():
    weights = vgg_weights.random_weights("vgg19", seed=1)
    rng = np.random.default_rng(0)
    style, content = rng.random((2, 1, 3, 32, 32)).astype("float32")
    preset = presets.get("texture_net_relative")
    results = []
    for _ in range(2):
        objective = Objective(preset, weights, "stylize", style, content)
        config = config_of(preset, iterations=12, start="content")
        results.append(optimise(objective, content, config))
    first, second = results
    assert first.terms.objective < 0.95 * first.steps[0].terms.objective
    assert (first.picture == second.picture).all()
    assert [s.terms for s in first.steps] == [s.terms for s in second.steps]


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_the_picture_that_is_returned_has_the_lowest_objective_of_its_curve(optimizer):
    """Johnson et al. 2016, section 4.1: within [0, 1] curve and picture are one number; without bounds they are not."""
    goal = np.random.default_rng(3).uniform(-1, 2, (1, 3, 16, 16)).astype("float32")

    def scored(bounds):
        config = OptimizationConfig(iterations=40, optimizer=optimizer, bounds=bounds)
        result = optimise(Bowl(goal), NOISE, config)
        lowest = min(step.terms.objective for step in result.steps)
        return Bowl(goal).value_and_gradient(result.picture)[0].objective / lowest

    assert scored(PIXELS) == pytest.approx(1, rel=1e-6)
    assert scored(None) > 1.5
