"""Torch's files without torch: tensors come out as they went in, and nothing in a file is ever executed."""

from __future__ import annotations

import builtins
import io
import os
import pickle
import subprocess
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pictures import refusal
from torchfile import MAGIC, SYSTEM, Parameter, Storage, Tensor, legacy, tensor, tensors, zipped

from nst_gluon.descriptor import weights
from nst_gluon.descriptor.weights import pickles
from nst_gluon.descriptor.weights.entries import Refused

WRITERS = {"legacy": legacy, "zip": zipped}
VALUES = np.arange(24, dtype=np.float32).reshape(2, 3, 4) / 7


@pytest.fixture(params=list(WRITERS))
def writer(request):
    return WRITERS[request.param]


def read(path, data):
    """All tensors in ``data``, by the reader that its format needs."""
    path.write_bytes(data)
    with open(path, "rb") as file:
        if data.startswith(b"PK"):
            with zipfile.ZipFile(file) as archive:
                return {name: entry.read() for name, entry in pickles.read_zip(archive).items()}
        return {name: entry.read() for name, entry in pickles.read_legacy(file).items()}


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "uint8", "int64"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_tensors_come_out_as_they_went_in(tmp_path, writer, dtype, protocol):
    arrays = {"a.weight": VALUES.astype(dtype), "a.bias": np.array([3, 1, 2], dtype)}
    found = read(tmp_path / "f", writer(tensors(arrays), protocol))
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_views_of_one_storage(tmp_path, writer):
    storage = Storage("7", VALUES)
    state = {
        "transposed": Tensor(storage, (4, 3, 2), (1, 4, 12)),
        "row": Tensor(storage, (4,), (1,), offset=8),
        "every other": Tensor(storage, (3,), (8,), offset=1),
        "scalar": Tensor(storage, (), (), offset=5),
        "empty": Tensor(storage, (0, 4), (4, 1)),
    }
    found = read(tmp_path / "f", writer(state))
    flat = VALUES.ravel()
    np.testing.assert_array_equal(found["transposed"], VALUES.transpose(2, 1, 0))
    np.testing.assert_array_equal(found["row"], flat[8:12])
    np.testing.assert_array_equal(found["every other"], flat[1::8][:3])
    assert found["scalar"] == flat[5] and found["empty"].shape == (0, 4)


def test_parameters_and_checkpoints(tmp_path, writer):
    state = OrderedDict(w=Parameter(tensor("0", VALUES)))
    checkpoint = {
        "epoch": 3,
        "best": 0.5,
        "done": True,
        "note": None,
        "state_dict": state,
        "optimizer": {"state": {0: {"momentum": tensor("1", VALUES[0])}}, "groups": [{"params": [0]}]},
    }
    for value in (state, checkpoint):
        found = read(tmp_path / "f", writer(value))
        assert list(found) == ["w"]
        np.testing.assert_array_equal(found["w"], VALUES)


class Calls:
    """An object that pickles as a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def attacks(marker):
    """Values whose unpickling makes the file ``marker``, were it Python's own."""
    code = f"open({os.fspath(marker)!r}, 'w').close()"
    touch = f"touch {marker}"
    return {
        "system": Calls(os.system, touch),
        "eval": Calls(builtins.eval, code.replace("open", "__import__('builtins').open")),
        "exec": Calls(builtins.exec, code),
        "popen": Calls(subprocess.check_call, ["touch", os.fspath(marker)]),
        "open": Calls(builtins.open, os.fspath(marker), "w"),
        "mkdir": Calls(os.mkdir, os.fspath(marker)),
        "nested": Calls(OrderedDict, [["a", Calls(os.system, touch)]]),
        "as a value": {"w": tensor("0", VALUES), "extra": Calls(os.system, touch)},
        "as an argument": {"w": Tensor(Storage("0", VALUES), (2, Calls(os.system, touch)), (1, 1))},
        "as a storage's type": {
            "w": Tensor(Storage("0", VALUES, persistent_id=("storage", Calls(os.system, touch), "0", "cpu", 24)))
        },
        "as a persistent id": {"w": Tensor(Storage("0", VALUES, persistent_id=Calls(os.system, touch)))},
    }


@pytest.mark.parametrize("attack", list(attacks("x")))
def test_a_hostile_pickle_executes_nothing(tmp_path, writer, attack):
    marker = tmp_path / "marker"
    path = tmp_path / "vgg.pth"
    path.write_bytes(writer(attacks(marker)[attack]))
    line = refusal(weights.load, path)
    assert str(path) in line and not marker.exists()
    if attack in ("system", "popen", "exec"):
        assert "no file of weights needs" in line


def test_the_attack_is_real(tmp_path):
    """Python's own unpickler does what the pickles above ask for: otherwise their refusal shows nothing."""
    marker = tmp_path / "marker"
    pickle.loads(pickle.dumps(attacks(marker)["system"], 2))
    assert marker.exists()


@pytest.mark.parametrize("part", ["magic", "version", "system", "keys"])
def test_every_pickle_of_the_legacy_format_is_guarded(tmp_path, part):
    marker = tmp_path / "marker"
    path = tmp_path / "vgg.pth"
    path.write_bytes(legacy(tensors({"w": VALUES}), **{part: Calls(os.system, f"touch {marker}")}))
    refusal(weights.load, path)
    assert not marker.exists()


@pytest.mark.parametrize(
    "program",
    [
        b"(S'touch MARKER'\nios\nsystem\n.",  # INST
        b"(cos\nsystem\nS'touch MARKER'\no.",  # OBJ
        b"\x80\x02cos\nsystem\nX\x0c\x00\x00\x00touch MARKER\x85\x81.",  # NEWOBJ
        b"\x80\x04\x8c\x02os\x8c\x06system\x93X\x0c\x00\x00\x00touch MARKER\x85R.",  # STACK_GLOBAL
        b"\x80\x02\x82\x01.",  # EXT1
        b"\x80\x02Pspam\n.",  # PERSID
        b"\x80\x02Nb.",  # BUILD without a dictionary
        b"\x80\x02ccollections\nOrderedDict\n}X\x01\x00\x00\x00aK\x01sb.",  # BUILD on a class
        b"\x80\x02X\xff\xff\xff\xff.",  # a string of four gigabytes
        b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x0f.",  # a string of an exabyte
        b"\x80\x05\x96\xff\xff\xff\xff\xff\x00\x00\x00.",  # a bytearray of a terabyte
        b"\x80\x04\x8b\xff\xff\xff\x7f1.",  # a number of two gigabytes
        b"\x80\x02" + b"(" * 1000 + b"t" * 2000 + b".",
        b"\x80\x02h\x05.",  # an empty memo
        b"\x80\x02.",  # an empty stack
        b"\x80\x02}}s.",
        b"\x80\x02}(]K\x01u.",  # an unhashable key
        b"\x80\x02)" + b"2\x86" * 60 + b"}q\x002K\x01s.",  # a tuple that takes for ever to hash
        b"",
    ],
)
def test_an_unwelcome_instruction(tmp_path, program, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Refused):
        pickles.read_pickle(io.BytesIO(program))
    prefix = pickle.dumps(MAGIC, 2) + pickle.dumps(1001, 2) + pickle.dumps(SYSTEM, 2)
    for name, data in (("a.pth", program or b"\x80"), ("b.pth", prefix + program)):
        (tmp_path / name).write_bytes(data)
        refusal(weights.load, tmp_path / name)
    assert sorted(os.listdir(tmp_path)) == ["a.pth", "b.pth"]


def test_a_high_memo_number_takes_no_memory():
    """Python's own unpickler allocates a place for every lower number: 32 GB here."""
    assert pickles.read_pickle(io.BytesIO(b"\x80\x02}r\xff\xff\xff\xff.")) == ({}, {})


@pytest.mark.parametrize(
    "tensor_",
    [
        Tensor(Storage("0", VALUES), (25,), (1,)),
        Tensor(Storage("0", VALUES), (24,), (1,), offset=1),
        Tensor(Storage("0", VALUES), (2,), (24,)),
        Tensor(Storage("0", VALUES), (2,), (-1,)),
        Tensor(Storage("0", VALUES), (2,), (1,), offset=-1),
        Tensor(Storage("0", VALUES), (1 << 40,), (0,)),
        Tensor(Storage("0", VALUES), (2, 2), (1,)),
        Tensor(Storage("0", VALUES), (1,) * 9, (1,) * 9),
        Tensor(Storage("0", VALUES), (2.0,), (1,)),
        Tensor(Storage("0", VALUES), [2], [1]),
        Tensor(Storage("0", VALUES), (2,), (1,), offset=None),
        Tensor(Storage("0", VALUES, count=1 << 60), (2,), (1,)),
        Tensor(Storage("0", VALUES, count=-1), (2,), (1,)),
        Tensor(Storage("0", VALUES, persistent_id="spam"), (2,), (1,)),
        Tensor(Storage("0", VALUES, persistent_id=("module", 1, "0", "cpu", 24)), (2,), (1,)),
        Tensor(Storage("0", VALUES, persistent_id=("storage", "float", "0", "cpu", 24)), (2,), (1,)),
        Tensor(Storage("0", VALUES, persistent_id=("storage", OrderedDict, "0", "cpu", 24)), (2,), (1,)),
    ],
)
def test_a_tensor_that_cannot_be(tmp_path, writer, tensor_):
    data = writer({"w": tensor_})
    with pytest.raises(Refused):
        read(tmp_path / "f", data)
    assert "f" in refusal(weights.load, tmp_path / "f")


@pytest.mark.parametrize(
    "options",
    [
        {"magic": 5},
        {"version": 1002},
        {"system": {**SYSTEM, "little_endian": False}},
        {"system": []},
        {"keys": []},
        {"keys": ["0", "0"]},
        {"keys": ["0", "spam"]},
        {"keys": {"0": 1}},
    ],
)
def test_a_damaged_legacy_head(tmp_path, options):
    with pytest.raises(Refused):
        read(tmp_path / "f", legacy(tensors({"w": VALUES}), **options))


def test_one_storage_described_twice(tmp_path, writer):
    a, b = Storage("0", VALUES), Storage("0", VALUES.astype(np.float64))
    with pytest.raises(Refused, match="two ways"):
        read(tmp_path / "f", writer({"a": Tensor(a), "b": Tensor(b)}))


@pytest.mark.parametrize("value", [[], {}, {"epoch": 1}, {"state_dict": {"state_dict": {}}}, "text", 5, None])
def test_no_state_dictionary(tmp_path, writer, value):
    with pytest.raises(Refused, match="named tensors"):
        read(tmp_path / "f", writer(value))


def test_a_zip_that_is_not_torchs(tmp_path):
    big_endian = zipped(tensors({"w": VALUES}), byteorder=b"big")
    with pytest.raises(Refused, match="little-endian"):
        read(tmp_path / "f", big_endian)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(Refused, match=r"data\.pkl"):
        read(tmp_path / "f", stream.getvalue())


def test_a_zip_member_of_another_size_than_declared(tmp_path):
    data = zipped(tensors({"w": VALUES}))
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(stream, "w") as target:
        for info in source.infolist():
            content = source.read(info)
            bomb = info.filename.endswith("/data/0")
            target.writestr(info.filename, bytes(1 << 22) if bomb else content, zipfile.ZIP_DEFLATED)
    with pytest.raises(Refused, match="size"):
        read(tmp_path / "f", stream.getvalue())


def test_truncated_anywhere(tmp_path):
    data = legacy(tensors({"w": VALUES[0, 0], "b": VALUES[0, 1]}))
    for length in range(len(data)):
        with pytest.raises(Refused):
            read(tmp_path / "f", data[:length])
    path = tmp_path / "vgg.pth"
    data = zipped(tensors({"w": VALUES[0, 0]}))
    for length in range(0, len(data), 7):
        path.write_bytes(data[:length])
        refusal(weights.load, path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_damaged_file_is_refused_in_one_line(tmp_path, writer, changes):
    data = bytearray(writer(tensors({"features.0.weight": VALUES})))
    for position, value in changes:
        data[position % len(data)] = value
    path = tmp_path / "vgg.pth"
    path.write_bytes(data)
    refusal(weights.load, path)
