"""Weights that are not usable are refused in one line, and nothing that a file says is executed."""

from __future__ import annotations

import builtins
import os
import pickle
import sys

import numpy as np
import pytest
from pictures import refusal
from vggnets import torchvision

from nst_gluon.descriptor import weights
from nst_gluon.descriptor.weights.entries import Entry
from nst_gluon.descriptor.weights.naming import assemble


def described(arrays):
    return {name: Entry(a.shape, a.dtype, lambda a=a: a) for name, a in arrays.items()}


@pytest.fixture
def arrays(vgg16):
    return torchvision(vgg16)


def test_a_missing_layer(arrays):
    del arrays["features.14.bias"]
    line = refusal(assemble, described(arrays), "weights 'w'", "w")
    assert "conv3_3.bias is missing" in line and "vgg16" in line and line.startswith("weights 'w': ")


@pytest.mark.parametrize("shape", [(), (256, 128, 3, 3), (1 << 40, 256, 3, 3)])
def test_a_wrong_shape_is_refused_before_it_is_read(arrays, shape):
    entries = described(arrays)

    def read():
        raise AssertionError("read before its shape was checked")

    entries["features.14.weight"] = Entry(shape, np.dtype("float32"), read)
    line = refusal(assemble, entries, "w", "w")
    assert "conv3_3.weight" in line and str(shape) in line and "(256, 256, 3, 3)" in line


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite(arrays, value):
    arrays["features.0.bias"] = arrays["features.0.bias"].copy()
    arrays["features.0.bias"][7] = value
    assert "conv1_1.bias has values that are not finite" in refusal(assemble, described(arrays), "w", "w")


def test_other_refusals(arrays, vgg16):
    integers = {**arrays, "features.0.bias": arrays["features.0.bias"].astype(np.int32)}
    assert "int32" in refusal(assemble, described(integers), "w", "w")
    norms = {**arrays, "features.1.running_mean": np.zeros(64, np.float32)}
    assert "batch norm" in refusal(assemble, described(norms), "w", "w")
    assert "mean and std" in refusal(assemble, described({**arrays, "mean": np.ones(3)}), "w", "w")
    assert "mean and std" in refusal(assemble, described({**arrays, "mean": np.ones(3), "std": np.ones(4)}), "w", "w")
    zero = {**arrays, "mean": np.ones(3), "std": np.array([1, 0, 1.0])}
    assert "std should be positive" in refusal(assemble, described(zero), "w", "w")
    unknown = {**arrays, "mean": np.array([np.nan, 0, 0]), "std": np.ones(3)}
    assert "mean should be three finite" in refusal(assemble, described(unknown), "w", "w")
    assert "input scaling is not known" in refusal(assemble, described(vgg16.params), "w", "w")
    assert "no layer of a VGG" in refusal(assemble, described({"layer1.0\n\x1b[31m": np.ones(3)}), "w", "w")
    assert "no layer of a VGG" in refusal(assemble, {}, "w", "w")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>404</html>", "no known format"),
        (b"version https://git-lfs.github.com/spec/v1\n", "no known format"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "cannot be read"),
        (b"PK\x03\x04" + bytes(100), "zip"),
        (pickle.dumps({"features.0.weight": [1, 2]}), "not a file that torch.save wrote"),
    ],
)
def test_a_file_of_something_else(tmp_path, content, words):
    path = tmp_path / "vgg19.pth"
    path.write_bytes(content)
    line = refusal(weights.load, path)
    assert words in line and str(path) in line


def test_a_path_that_is_no_file(tmp_path):
    assert "no such file" in refusal(weights.load, tmp_path / "none.pth")
    assert "it is a folder" in refusal(weights.load, tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        assert "it is a named pipe" in refusal(weights.load, tmp_path / "pipe")


def test_an_npz_of_objects_is_not_unpickled(tmp_path):
    class Touch:
        def __reduce__(self):
            return builtins.open, (str(tmp_path / "marker"), "w")

    np.savez(tmp_path / "w.npz", **{"features.0.weight": np.array([Touch()], dtype=object)})
    marker = tmp_path / "marker"
    marker.unlink(missing_ok=True)
    assert "objects" in refusal(weights.load, tmp_path / "w.npz")
    assert not marker.exists()


def test_a_truncated_npz_and_a_lying_header(tmp_path, vgg16):
    path = tmp_path / "w.npz"
    np.savez(path, **{"features.0.weight": vgg16.params["conv1_1.weight"]})
    data = path.read_bytes()
    for length in range(4, len(data), 211):
        path.write_bytes(data[:length])
        refusal(weights.load, path)
    path.write_bytes(data.replace(b"(64, 3, 3, 3)", b"(9999999999,)"))
    refusal(weights.load, path)


def test_a_truncated_h5(tmp_path, vgg16):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "w.h5"
    with h5py.File(path, "w") as file:
        file["block1_conv1/block1_conv1/kernel:0"] = vgg16.params["conv1_1.weight"].transpose(2, 3, 1, 0)
    data = path.read_bytes()
    for length in range(8, len(data), 397):
        path.write_bytes(data[:length])
        refusal(weights.load, path)


def test_an_h5_does_not_reach_into_other_files(tmp_path):
    h5py = pytest.importorskip("h5py")
    (tmp_path / "secret").write_bytes(bytes(range(256)) * 27)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["k"] = np.ones((3, 3, 3, 64), np.float32)
    with h5py.File(tmp_path / "linked.h5", "w") as file:
        file["block1_conv1/kernel:0"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "k")
    assert "no layer of a VGG" in refusal(weights.load, tmp_path / "linked.h5")
    with h5py.File(tmp_path / "external.h5", "w") as file:
        place = [(str(tmp_path / "secret"), 0, 6912)]
        file.create_dataset("block1_conv1/kernel:0", (3, 3, 3, 64), "f4", external=place)
    assert "another file" in refusal(weights.load, tmp_path / "external.h5")
    layout = h5py.VirtualLayout((3, 3, 3, 64), "f4")
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "k", (3, 3, 3, 64))
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        file.create_virtual_dataset("block1_conv1/kernel:0", layout)
    assert "another file" in refusal(weights.load, tmp_path / "virtual.h5")


def test_without_h5py(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    (tmp_path / "w.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    assert "pip install h5py" in refusal(weights.load, tmp_path / "w.h5")
