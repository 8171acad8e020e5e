"""The articles' runs: their own variables and rounds, and the verdict on the ratio of the last to the first value."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from bench.analysis import claims
from bench.cli import article as command
from bench.cli.main import main
from bench.plan.articles import ARTICLES, Stage
from nst_gluon.descriptor.weights import random_weights
from nst_gluon.objective import presets
from nst_gluon.pictures.images import resize

COMMITTED = Path(__file__).resolve().parents[3] / "results" / "articles"
STYLE, CONTENT = np.random.default_rng(2).random((2, 1, 3, 40, 60)).astype("float32")


def test_d2l_goes_down_by_adam_in_its_own_variables():
    """Its first step moves each variable by the rate against the sign of the gradient (Kingma & Ba, algorithm 1), and
    the second size begins with the first one's picture.
    """
    from bench.engines.article import reproduce
    from nst_gluon.objective.loss import Objective

    stages = (Stage(48, 32, 2, rate=0.01, decay_every=200), Stage(60, 40, 1, rate=0.01))
    article = dataclasses.replace(ARTICLES["d2l"], stages=stages)
    weights = random_weights("vgg19", seed=1)
    picture, evaluations, rounds = reproduce(article, weights, STYLE, CONTENT)
    assert [(one.stage, one.step) for one in evaluations] == [(1, 1), (1, 2), (2, 1)]
    assert picture.shape == (1, 3, 40, 60)

    def objective(size):
        return Objective(presets.get("d2l"), weights, "stylize", resize(STYLE, size), resize(CONTENT, size))

    first, start = objective((32, 48)), resize(CONTENT, (32, 48))
    _, gradient = first.value_and_gradient(start)
    std = np.reshape(np.float32((0.229, 0.224, 0.225)), (1, 3, 1, 1))
    moved = start - 0.01 * std * np.sign(gradient)
    assert evaluations[0].terms.objective == pytest.approx(first.terms(start).objective, rel=1e-4)
    assert evaluations[1].terms.objective == pytest.approx(first.terms(moved).objective, rel=1e-3)
    best = min(evaluations[:2], key=lambda one: one.terms.objective)
    assert rounds[0] == best.terms.objective
    enlarged = resize(np.clip(start if best.step == 1 else moved, 0, 1), (40, 60))
    assert evaluations[2].terms.objective == pytest.approx(objective((40, 60)).terms(enlarged).objective, rel=1e-3)


def test_keras_goes_down_in_rounds_from_its_noise():
    from bench.engines.article import reproduce

    article = dataclasses.replace(ARTICLES["keras"], stages=(Stage(32, 32, 5, rounds=3),))
    _, evaluations, rounds = reproduce(article, random_weights("vgg16", seed=3), STYLE, CONTENT, seed=7)
    assert rounds == sorted(rounds, reverse=True) and len(rounds) == 3
    lowest = [min(one.terms.objective for one in evaluations if one.round == number) for number in (1, 2, 3)]
    np.testing.assert_allclose(lowest, rounds, rtol=1e-6)
    # SciPy ends a round with the line search in which the number is exceeded, and begins the next where it ended.
    assert all(5 <= sum(one.round == number for one in evaluations) <= 25 for number in (1, 2, 3))
    begins = [next(one.terms.objective for one in evaluations if one.round == number) for number in (2, 3)]
    np.testing.assert_allclose(begins, rounds[:2], rtol=1e-5)


@pytest.mark.parametrize(("ratio", "verdict"), [
    (0.443, claims.REPRODUCED), (0.36, claims.REPRODUCED), (0.6, claims.PARTLY), (0.9, claims.PARTLY),
    (0.14, claims.NOT_REPRODUCED), (1.4, claims.NOT_REPRODUCED),
])  # fmt: skip
def test_the_verdict_can_fail(ratio, verdict):
    article, random = ARTICLES["keras"], random_weights("vgg16")
    known = dataclasses.replace(random, mean=article.mean, std=article.std, random=False)
    assert article.published_ratio == pytest.approx(0.443, abs=5e-4)
    pictures = {"style": "a", "content": "b"}
    rounds = list(np.geomspace(3e9, ratio * 3e9, 10))
    found = command.result(article, known, pictures, [], rounds)
    assert found["verdict"] == verdict and found["ratio"]["measured"] == pytest.approx(ratio)
    assert found["falls_throughout"] == (ratio < 1)
    for other in (random, dataclasses.replace(known, random=True), dataclasses.replace(known, std=random.std)):
        assert command.result(article, other, pictures, [], rounds)["verdict"] == "no verdict"


@pytest.mark.parametrize("folder", sorted(COMMITTED.glob("*")), ids=lambda folder: folder.name)
def test_a_committed_run_is_what_its_page_says(folder):
    found = json.loads((folder / "article.json").read_text())
    article = ARTICLES[found["article"]]
    assert not found["weights"]["random"]
    with open(folder / "curve.csv", newline="") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    for one in found["marks"]:
        mark = one[article.mark]
        same = [row["objective"] for row in rows if row["stage"] == 1 and row[article.mark] == mark]
        assert one["measured"] == pytest.approx(min(same), rel=1e-6)
    assert (folder / "README.md").read_text() == command.page(article, found)
    assert (folder / "picture.jpg").is_file()


def test_weights_that_cannot_be_had_are_one_line(capsys, tmp_path, monkeypatch):
    from nst_gluon.descriptor import weights
    from nst_gluon.system.errors import UserError

    def load(spec):
        raise UserError(f"weights {spec}: no connection; give something else")

    monkeypatch.setattr(weights, "load", load)
    assert main(["article", "keras", "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error == ("error: --weights: the article's vgg16 cannot be had (weights vgg16: no connection); give a file "
                     "of it, or vgg19, which the result then names as a departure\n")  # fmt: skip
    assert main(["article", "kera"]) == 2
    assert "did you mean 'keras'" in capsys.readouterr().err and not (tmp_path / "out").exists()
