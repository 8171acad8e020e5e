"""The spatial GAN: its size, its training, which is its own and resumes exactly, and what is measured of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nst_gluon import methods
from nst_gluon.nets import netfile
from nst_gluon.system.errors import UserError

pytest.importorskip("mxnet", reason="needs an engine")

from nst_gluon.nets.trained_net import load_net
from nst_gluon.training.config import TrainConfig, defaults
from nst_gluon.training.run_folder import LOG_COLUMNS, train

CONFIG = TrainConfig("dcgan", "texture", "gravel", recipe="paper", size=64, batch=2, iterations=4, random_weights=True,
                     architecture={"filters": 8})  # fmt: skip


def parameters(dimensions: int, layers: int, filters: int) -> int:
    """3x3 convolutions with bias from the noise to the picture, and scale and shift of each but the last."""
    widths = [dimensions, *(filters << k for k in reversed(range(layers - 1))), 3]
    return sum(9 * a * b + b for a, b in zip(widths, widths[1:])) + 2 * sum(widths[1:-1])


@pytest.mark.parametrize(("name", "layers"), [("sgan", 5), ("dcgan", 4)])
def test_its_size_and_settings(name, layers):
    method = methods.get(name)
    net = method.net(**method.architecture("texture"))
    assert net.parameter_count == parameters(100, layers, 64) and net.multiple == 2**layers
    rates = {"sgan": (5e-4, 1e-5), "dcgan": (2e-4, 0.0)}
    schedule = method.schedule(100)
    assert (schedule.rate, schedule.weight_decay) == rates[name] and schedule.beta1 == 0.5
    for recipe in ("paper", "tuned"):
        config = replace(CONFIG, method=name, recipe=recipe)
        assert defaults(config).learning_rate == rates[name][0] and not (config.how.normalised or config.how.best)
    assert method.facts().own_loss and not methods.facts("texture_net").own_loss


def test_crops_that_the_style_does_not_hold_are_refused_before_anything_is_written(tmp_path):
    for name, side in (("sgan", 128), ("dcgan", 64)):
        with pytest.raises(UserError, match=f"--size: {name} is trained on crops of {side} pixels"):
            train(replace(CONFIG, method=name, size=side - 32), tmp_path / name)
        assert not (tmp_path / name).exists()


def test_a_training_that_stops_goes_on_to_the_same_net(tmp_path):
    whole = train(CONFIG, tmp_path / "whole")

    class Enough(Exception):
        pass

    def stop(progress):
        if progress.iteration == 3:
            raise Enough

    with pytest.raises(Enough):
        train(CONFIG, tmp_path / "parts", checkpoint_every=2, show=stop)
    parts = train(CONFIG, tmp_path / "parts", checkpoint_every=2)
    (expected, meta), (found, _) = netfile.load(whole), netfile.load(parts)
    assert expected.keys() == found.keys() and all((expected[name] == found[name]).all() for name in expected)
    assert np.isfinite(meta["final_objective"]["objective"])
    rows = np.genfromtxt(whole.with_suffix(".csv"), delimiter=",", names=True)
    assert np.isfinite(rows["penalty"]).all() and np.isfinite(rows["objective"]).tolist() == [False] * 3 + [True]
    assert len(rows.dtype.names) == len(LOG_COLUMNS)
    net = load_net(whole)
    again = [net.generate(size=(80, 48), seed=1) for _ in range(2)]
    assert again[0].shape == (1, 3, 80, 48) and (again[0] == again[1]).all()
