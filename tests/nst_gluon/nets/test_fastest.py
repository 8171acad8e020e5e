"""--engine fastest: the fastest of those that make the same picture, and the net's own where there is none."""

from __future__ import annotations

import time

import numpy as np
import pytest
from test_inference import photo, trained

from nst_gluon.nets import fastest


@pytest.fixture
def net(monkeypatch):
    pytest.importorskip("onnx", reason="needs the extra onnx")
    monkeypatch.setattr(fastest.importlib.util, "find_spec", lambda name: True)
    return trained("johnson", "stylize", norm="batch", residuals=1)


def chosen(net, monkeypatch, **peers) -> tuple[str, np.ndarray, np.ndarray]:
    own, told = net.inference, []
    monkeypatch.setattr(fastest, "PEERS", peers)
    inputs = net.inputs(photo(64, 64))
    run = fastest.Fastest(net.description, net.params, net.meta, "float32")
    run.tell = told.append
    made = [run(*inputs).asnumpy() for _ in range(2)]
    assert len(told) == 1
    np.testing.assert_array_equal(*made)
    return told[0].split()[2].rstrip(","), made[0], own(*inputs).asnumpy()


def peer(picture: np.ndarray, seconds: float):
    def run(*arrays):
        time.sleep(seconds)
        return picture

    return lambda model, shapes, dtype: run


def test_the_fastest_that_makes_the_same_picture(net, monkeypatch):
    expected = np.clip(net.generate(photo(64, 64)), 0, 1)
    off = expected + np.float32(0.01)  # 40 dB
    name, made, own = chosen(net, monkeypatch, wrong=peer(off, 0), slow=peer(expected, 2), quick=peer(expected, 0))
    assert name == "quick"
    np.testing.assert_allclose(made, np.clip(own, 0, 1), atol=1e-4)
    name, made, own = chosen(net, monkeypatch, wrong=peer(off, 0), slow=peer(expected, 2))
    assert name == "gluon"
    np.testing.assert_array_equal(made, own)


@pytest.mark.parametrize("fails", [RuntimeError("no such layer"), ImportError("a library is missing")])
def test_a_peer_that_fails_or_makes_no_numbers_is_left_out(net, monkeypatch, fails):
    def broken(model, shapes, dtype):
        raise fails

    told = []
    monkeypatch.setattr(fastest, "PEERS", {"broken": broken, "nan": peer(np.full((1, 3, 64, 64), np.nan), 0)})
    inputs = net.inputs(photo(64, 64))
    run = fastest.Fastest(net.description, net.params, net.meta, "float32")
    run.tell = told.append
    made = run(*inputs)
    np.testing.assert_array_equal(made.asnumpy(), net.inference(*inputs).asnumpy())
    assert told[0] == f"note: engine broken fails and is left out: {fails}" and told[1].startswith("note: engine gluon")


def test_few_sessions_are_kept_and_one_trial_a_size(net, monkeypatch):
    compiled, told = [], []

    def quick(model, shapes, dtype):
        compiled.append(shapes[0][2])
        return lambda *arrays: expected[arrays[0].shape[2]]

    sides = (64, 72, 80)
    expected = {side: np.clip(net.generate(photo(side, 64)), 0, 1) for side in sides}
    own = fastest.Inference.__call__
    monkeypatch.setattr(fastest.Inference, "__call__", lambda *inputs: time.sleep(0.05) or own(*inputs))
    monkeypatch.setattr(fastest, "PEERS", {"quick": quick})
    run = fastest.Fastest(net.description, net.params, net.meta, "float32")
    run.tell = told.append
    for side in (*sides, 64, 64):
        np.testing.assert_array_equal(run(*net.inputs(photo(side, 64))).asnumpy(), expected[side])
    assert len(run._runs) == fastest.KEPT_GRAPHS and compiled == [*sides, 64] and len(told) == 3


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_real_peers_make_the_same_picture(name):
    pytest.importorskip(name, reason=f"needs the extra {name}")
    pytest.importorskip("onnx", reason="needs the extra onnx")
    net = trained("johnson", "stylize", norm="instance", residuals=1)
    arrays = [value.asnumpy() for value in net.inputs(photo(64, 72))]
    model = fastest.onnx_export.build(net.description, net.params, net.meta).SerializeToString()
    run = fastest.PEERS[name](model, [array.shape for array in arrays], "float32")
    assert fastest.psnr(run(*arrays), net.generate(photo(64, 72))) > 60
