"""MXNet's .params format without MXNet: byte for byte what MXNet writes, and nothing else is believed."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pictures import refusal

from nst_gluon.descriptor import weights
from nst_gluon.descriptor.weights import ndarrays
from nst_gluon.descriptor.weights.entries import Refused

DTYPES = ["float32", "float64", "float16", "uint8", "int32", "int8", "int64"]


def sample(dtype):
    rng = np.random.default_rng(5)
    shapes = {"conv.weight": (4, 3, 3, 3), "conv.bias": (4,), "arg:ö": (1, 2), "one": (1,)}
    return {name: (rng.standard_normal(shape) * 50).astype(dtype) for name, shape in shapes.items()}


def written(arrays):
    stream = io.BytesIO()
    ndarrays.write(stream, arrays)
    return stream.getvalue()


def read(path, data):
    path.write_bytes(data)
    with open(path, "rb") as file:
        return {name: entry.read() for name, entry in ndarrays.read(file).items()}


def same(found, arrays):
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("dtype", DTYPES)
def test_byte_for_byte_what_mxnet_writes(tmp_path, dtype):
    from nst_gluon.system.engine import mx

    arrays = sample(dtype)
    path = tmp_path / "theirs.params"
    mx.nd.save(str(path), {name: mx.nd.array(array, dtype=dtype) for name, array in arrays.items()})
    assert path.read_bytes() == written(arrays)
    same(read(path, path.read_bytes()), arrays)


def test_numpy_semantics(tmp_path):
    """With np_shape MXNet writes another version, in which a scalar and an empty array have a shape."""
    from nst_gluon.system.engine import mx

    path = tmp_path / "theirs.params"
    arrays = {
        "scalar": np.array(1.5, "float32"),
        "empty": np.zeros((0, 3), "float32"),
        "w": sample("float32")["conv.weight"],
    }
    with mx.util.np_shape(True), mx.util.np_array(True):
        mx.npx.save(str(path), {name: mx.np.array(array, dtype="float32") for name, array in arrays.items()})
    assert path.read_bytes()[24:28] == struct.pack("<I", ndarrays.V3)
    same(read(path, path.read_bytes()), arrays)


def old(arrays, version):
    """The formats before MXNet 1.0, which its model zoo still has: version 1, and one without a number."""
    data = struct.pack("<QQQ", ndarrays.LIST_MAGIC, 0, len(arrays))
    for array in arrays.values():
        if version == 1:
            data += struct.pack(f"<Ii{array.ndim}q", ndarrays.V1, array.ndim, *array.shape)
        else:
            data += struct.pack(f"<I{array.ndim}I", array.ndim, *array.shape)
        data += struct.pack("<iii", 1, 0, 0) + array.tobytes()
    data += struct.pack("<Q", len(arrays))
    return data + b"".join(struct.pack("<Q", len(n.encode())) + n.encode() for n in arrays)


@pytest.mark.parametrize("version", [0, 1])
def test_the_formats_of_old_mxnet(tmp_path, version):
    from nst_gluon.system.engine import mx

    path, data = tmp_path / "old.params", old(sample("float32"), version)
    same(read(path, data), sample("float32"))
    same({name: array.asnumpy() for name, array in mx.nd.load(str(path)).items()}, sample("float32"))


def test_an_array_saved_on_a_gpu(tmp_path):
    data = bytearray(written({"w": np.ones((2, 2), "float32")}))
    place = 24 + 12 + 16
    assert data[place : place + 8] == struct.pack("<ii", 1, 0)
    data[place : place + 8] = struct.pack("<ii", 2, 3)
    same(read(tmp_path / "f", bytes(data)), {"w": np.ones((2, 2), "float32")})


def test_sparse_arrays_and_lists_without_names_are_refused(tmp_path):
    from nst_gluon.system.engine import mx

    path = tmp_path / "theirs.params"
    mx.nd.save(str(path), {"w": mx.nd.ones((2, 2)).tostype("csr")})
    assert "not dense" in refusal(weights.load, path)
    mx.nd.save(str(path), [mx.nd.ones((2, 2))])
    assert "no names" in refusal(weights.load, path)


def test_truncated_anywhere(tmp_path):
    data = written({"w": np.ones((2, 3), "float32"), "b": np.ones(2, "float16")})
    for length in range(len(data)):
        with pytest.raises(Refused):
            read(tmp_path / "f", data[:length])


HEAD = struct.pack("<QQQ", ndarrays.LIST_MAGIC, 0, 1)


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("<QQQ", 5, 0, 1),
        struct.pack("<QQQ", ndarrays.LIST_MAGIC, 0, 1 << 63),
        HEAD + struct.pack("<Iii", ndarrays.V2, 0, 2**31 - 1),
        HEAD + struct.pack("<Iii", ndarrays.V2, 0, -5),
        HEAD + struct.pack("<Iii2qiii", ndarrays.V2, 0, 2, 1 << 40, 1 << 40, 1, 0, 0),
        HEAD + struct.pack("<Iii2qiii", ndarrays.V2, 0, 2, -4, -4, 1, 0, 0) + bytes(64),
        HEAD + struct.pack("<Iii1qiii", ndarrays.V2, 0, 1, 4, 1, 0, 99) + bytes(64),
        HEAD + struct.pack("<Iii1qiii", ndarrays.V2, 0, 1, 4, 1, 0, 0) + bytes(16) + struct.pack("<Q", 2),
        HEAD + struct.pack("<Iii1qiii4fQQ", ndarrays.V2, 0, 1, 4, 1, 0, 0, 1, 1, 1, 1, 1, 1 << 60),
    ],
)
def test_a_senseless_file(tmp_path, data):
    with pytest.raises(Refused):
        read(tmp_path / "f", data)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_damaged_file_is_refused_in_one_line(tmp_path, changes):
    data = bytearray(written({"features.0.weight": np.ones((2, 3), "float32"), "x": np.ones(2, "float16")}))
    for position, value in changes:
        data[position % len(data)] = value
    path = tmp_path / "vgg.params"
    path.write_bytes(data)
    refusal(weights.load, path)
