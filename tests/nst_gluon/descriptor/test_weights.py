"""Weights from every kind of file: the same net comes out, with the input scaling of its source."""

from __future__ import annotations

import hashlib
import os
import shutil
import struct

import numpy as np
import pytest
from pictures import refusal
from torchfile import legacy, tensors, zipped
from vggnets import hwio, layers, renamed, same_net, torchvision

from nst_gluon.descriptor import scaling, weights
from nst_gluon.descriptor.weights import model, ndarrays
from nst_gluon.descriptor.weights.formats import save


@pytest.fixture(autouse=True)
def tidy(tmp_path):
    """Whole nets are too large to be kept after a test, as pytest keeps its folders."""
    yield
    shutil.rmtree(tmp_path, ignore_errors=True)


# --- what weights are


def test_canonical_parameters(vgg16, vgg19):
    assert sum(a.size for a in vgg16.params.values()) == 14_714_688
    assert sum(a.size for a in vgg19.params.values()) == 20_024_384
    assert list(vgg19.params)[:3] == ["conv1_1.weight", "conv1_1.bias", "conv1_2.weight"]
    assert list(vgg19.params)[-1] == "conv5_4.bias" and list(vgg16.params)[-1] == "conv5_3.bias"
    assert vgg19.params["conv1_1.weight"].shape == (64, 3, 3, 3)
    assert vgg19.params["conv4_1.weight"].shape == (512, 256, 3, 3)
    assert all(a.dtype == np.float32 and not a.flags.writeable for a in vgg19.params.values())


def test_random_weights_are_he_normal_seeded_and_marked(vgg16):
    again, other = weights.random_weights("vgg16", 16), weights.random_weights("vgg16", 17)
    assert again.sha256 == vgg16.sha256 != other.sha256
    assert vgg16.random and vgg16.identity()["random"] is True and "random" in vgg16.source
    for name, array in vgg16.params.items():
        if array.ndim == 4:
            deviation = np.sqrt(2 / np.prod(array.shape[1:]))
            assert abs(array.std() / deviation - 1) < 0.05 and abs(array.mean()) < 0.1 * deviation, name
        else:
            assert not array.any()


def test_the_hash_is_of_names_shapes_values_and_scaling():
    """Written out once more, on a net of two arrays."""
    params = {"b.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "a.bias": np.ones(2, np.float32)}
    digest = hashlib.sha256(
        b"b.weight 2x3\n" + struct.pack("<6f", *range(6)) + b"a.bias 2\n" + struct.pack("<2f", 1, 1)
    )
    digest.update(b"mean 3\n" + struct.pack("<3f", 0.25, 0.5, 0.75) + b"std 3\n" + struct.pack("<3f", 1, 2, 4))
    assert model.content_sha256(params, (0.25, 0.5, 0.75), (1, 2, 4)) == digest.hexdigest()


# --- our own files


def test_our_own_files(tmp_path, vgg16):
    """They are the same each time, and carry scaling, source and mark; so do the same arrays in an ``.npz``."""
    caffe = model.build("vgg16", vgg16.params, scaling.CAFFE_MEAN, scaling.CAFFE_STD, "made for a test — ü")
    assert caffe.sha256 != vgg16.sha256 and vgg16.random and not caffe.random
    for net in (vgg16, caffe):
        path = save(net, tmp_path / "w.params")
        with open(path, "rb") as file:
            np.savez(tmp_path / "w.npz", **{name: entry.read() for name, entry in ndarrays.read(file).items()})
        for written in (path, tmp_path / "w.npz"):
            found = weights.load(written)
            assert found.identity() == net.identity() and (found.mean, found.std) == (net.mean, net.std)
        first = hashlib.sha256(path.read_bytes()).digest()
        save(found, path)
        assert hashlib.sha256(path.read_bytes()).digest() == first
    assert sorted(os.listdir(tmp_path)) == ["w.npz", "w.params"]


@pytest.mark.parametrize("name", ["no/such/w.params", "folder.params"])
def test_a_place_that_cannot_be_written(tmp_path, vgg16, name):
    (tmp_path / "folder.params").mkdir()
    line = refusal(save, vgg16, tmp_path / name)
    assert "folder" in line and name.split("/")[-1] in line
    assert os.listdir(tmp_path) == ["folder.params"]


# --- other people's files


@pytest.mark.parametrize("writer", [legacy, zipped])
def test_torchvision(tmp_path, vgg16, writer):
    path = tmp_path / "vgg16-397923af.pth"
    classifier = {
        "classifier.0.weight": np.ones((4, 8), np.float32),
        "classifier.0.bias": np.ones(4, np.float32),
    }
    path.write_bytes(writer(tensors({**torchvision(vgg16), **classifier})))
    found = weights.load(path)
    same_net(found, vgg16)
    assert found.source == path.name


def test_the_original_nets_in_torch(tmp_path, vgg16):
    """Conversions under torchvision's names, known by their own, and the one of the method's authors."""
    flipped = {**vgg16.params, "conv1_1.weight": vgg16.params["conv1_1.weight"][:, ::-1]}
    bgr = model.build("vgg16", flipped, model.IMAGENET_MEAN, model.IMAGENET_STD, "")
    for name, arrays in (("vgg16-00b39a1b.pth", torchvision(bgr)), ("vgg_conv.pth", bgr.params)):
        (tmp_path / name).write_bytes(legacy(tensors(arrays)))
        same_net(weights.load(tmp_path / name), vgg16, caffe=True)


@pytest.mark.parametrize("full", [False, True])
def test_keras(tmp_path, vgg16, full):
    """A whole model as Keras 2 saves it, and the files that Keras distributes, with the top and without."""
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "vgg16.h5"
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights") if full else file
        for name, array in hwio(vgg16).items():
            layer = f"block{name[4]}_conv{name[6]}"
            kind = "W" if name.endswith("weight") else "b"
            new = {"W": "kernel", "b": "bias"}[kind]
            root[f"{layer}/{layer}/{new}:0" if full else f"{layer}/{layer}_{kind}_1:0"] = array
        root.create_group("block1_pool")
        root["fc1/fc1/kernel:0"] = np.ones((8, 4), np.float32)
    same_net(weights.load(path), vgg16, caffe=True)


def test_keras_3(tmp_path, vgg16):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "vgg16.weights.h5"
    arrays = hwio(vgg16)
    with h5py.File(path, "w") as file:
        for k, (block, i) in enumerate(layers("vgg16")):
            layer = f"layers/conv2d{f'_{k}' if k else ''}/vars"
            file[f"{layer}/0"] = arrays[f"conv{block}_{i}.weight"]
            file[f"{layer}/1"] = arrays[f"conv{block}_{i}.bias"]
        file["layers/dense/vars/0"] = np.ones((8, 4), np.float32)
    same_net(weights.load(path), vgg16, caffe=True)


def test_npz_with_torchvisions_names(tmp_path, vgg19):
    np.savez(tmp_path / "w.npz", **torchvision(vgg19))
    same_net(weights.load(tmp_path / "w.npz"), vgg19)


def test_npz_of_the_original_net(tmp_path, vgg16):
    """conv1_1_W and conv1_1_b: kernels as TensorFlow has them, the means subtracted in the order RGB."""
    arrays = renamed(vgg16, lambda k, b, i: f"conv{b}_{i}_W", lambda k, b, i: f"conv{b}_{i}_b")
    np.savez(tmp_path / "w.npz", **{k: v.transpose(2, 3, 1, 0) if v.ndim == 4 else v for k, v in arrays.items()})
    same_net(weights.load(tmp_path / "w.npz"), vgg16, caffe=True)


@pytest.mark.parametrize(("arch", "kind"), [("vgg16", "saved"), ("vgg19", "exported")])
def test_gluon(tmp_path, vgg16, vgg19, arch, kind):
    """The names are those that Gluon's own net gives its parameters, in the order in which it computes."""
    from nst_gluon.system.engine import mx

    net = {"vgg16": vgg16, "vgg19": vgg19}[arch]
    zoo = getattr(mx.gluon.model_zoo.vision, arch)()
    arrays = iter(net.params.values())
    named = {}
    if kind == "saved":
        for name in zoo._collect_params_with_prefix():
            array = next(arrays, None)
            named[name] = mx.nd.zeros((4, 4) if "weight" in name else 4) if array is None else mx.nd.array(array)
    else:
        for name in zoo.collect_params():
            array = next(arrays, None)
            named[f"arg:{name}"] = mx.nd.zeros((4, 4) if array is None else array.shape)
            if array is not None:
                named[f"arg:{name}"][:] = array
    mx.nd.save(str(tmp_path / "w.params"), named)
    same_net(weights.load(tmp_path / "w.params"), net)


def test_quantised(tmp_path, vgg16):
    """The default's format: indices into a table of 256 values, kernels OIHW, the first layer's input BGR."""
    rng = np.random.default_rng(8)
    arrays, expected = {}, {}
    for name, array in vgg16.params.items():
        stem = f"block{name[4]}_conv{name[6]}"
        if array.ndim == 1:
            arrays[f"{stem}_b"] = expected[name] = rng.standard_normal(array.shape).astype(np.float32)
        else:
            indices = rng.integers(0, 256, array.shape, dtype=np.uint8)
            table = np.sort(rng.standard_normal(256)).astype(np.float32)
            arrays[f"{stem}_W_q"], arrays[f"{stem}_W_table"] = indices, table
            values = table[indices]
            expected[name] = values[:, [2, 1, 0]] if name == "conv1_1.weight" else values
    (tmp_path / "q.bin").write_bytes(legacy(tensors(arrays)))
    net = model.build("vgg16", expected, scaling.CAFFE_MEAN, scaling.CAFFE_STD, "")
    same_net(weights.load(tmp_path / "q.bin"), net, caffe=True)
