"""The trained-net file: what goes in comes out, and nothing else is believed."""

from __future__ import annotations

import errno
import io
import json
import math
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest
from pictures import refusal

from nst_gluon import methods
from nst_gluon.nets import netfile
from nst_gluon.system.errors import NotFinite, UserError

META = {"method": "johnson", "task": "stylize", "style": "great_wave", "architecture": {"norm": "instance"}}


@pytest.fixture
def params():
    rng = np.random.default_rng(3)
    return {
        "conv0.weight": rng.standard_normal((8, 3, 3, 3)).astype(np.float32),
        "conv0.bias": rng.standard_normal(8).astype(np.float32),
        "norm0.running_var": np.array([1e-7, 3.0, 123456.0], np.float32),
    }


@pytest.fixture
def net(tmp_path, params):
    return netfile.save(tmp_path / "net.npz", params, META)


def npy(array, **options):
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asarray(array), **options)
    return stream.getvalue()


def described(meta=None):
    text = json.dumps({**META, "format": 1} if meta is None else meta).encode()
    return npy(np.frombuffer(text, np.uint8))


def archive(path, entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as stream:
        for name, data in entries:
            stream.writestr(name, data)
    return path


WEIGHT = npy(np.ones((2, 2), np.float32))


def test_half_precision_of_weights_and_full_precision_of_vectors(net, params):
    loaded, meta = netfile.load(net)
    assert meta == {**META, "format": 2} and list(loaded) == list(params)
    assert all(array.dtype == np.float32 and array.flags.writeable for array in loaded.values())
    weight = loaded["conv0.weight"]
    np.testing.assert_array_equal(weight, params["conv0.weight"].astype(np.float16))
    for name in ("conv0.bias", "norm0.running_var"):
        np.testing.assert_array_equal(loaded[name], params[name])


def test_weights_that_overflow_half_precision_stay_exact(tmp_path):
    weight = np.array([[70000.0, 1.0], [-2.0, 0.5]], np.float32)
    loaded, _ = netfile.load(netfile.save(tmp_path / "net.npz", {"weight": weight}, META))
    np.testing.assert_array_equal(loaded["weight"], weight)


def test_the_preset_of_an_earlier_format_has_its_present_name(tmp_path, params):
    for version, name in ((1, "texture_net_relative"), (2, "texture_net")):
        meta = {**META, "format": version, "preset": "texture_net", "training": {"preset": "texture_net"}}
        text = np.frombuffer(json.dumps(meta).encode(), np.uint8)
        np.savez(tmp_path / "net.npz", meta=text, **params)
        found = netfile.describe(tmp_path / "net.npz")
        assert found["preset"] == found["training"]["preset"] == name


def test_the_same_net_is_the_same_file(tmp_path, params, net):
    again = netfile.save(tmp_path / "again.npz", params, dict(reversed(META.items())))
    assert again.read_bytes() == net.read_bytes()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_parameters_that_are_not_finite_are_not_saved(tmp_path, value):
    with pytest.raises(NotFinite, match="bias"):
        netfile.save(tmp_path / "net.npz", {"bias": np.array([1, value])}, META)
    assert not list(tmp_path.iterdir())


def test_a_meta_that_json_cannot_hold(tmp_path, params):
    for meta in ({"final_objective": math.nan}, {"seed": {1, 2}}):
        with pytest.raises((ValueError, TypeError)):
            netfile.save(tmp_path / "net.npz", params, meta)
    assert not list(tmp_path.iterdir())


def test_a_failed_save_keeps_the_older_net(tmp_path, params, net, monkeypatch):
    before = net.read_bytes()

    def refused(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refused)
    line = refusal(netfile.save, net, {"other": np.ones((2, 2))}, META)
    assert repr(str(net)) in line and "No space left" in line
    assert list(tmp_path.iterdir()) == [net] and net.read_bytes() == before
    assert "does not exist" in refusal(netfile.save, tmp_path / "none" / "net.npz", params, META)


# --------------------------------------------------------------------------------------- what is refused


def test_missing_and_folder(tmp_path):
    assert "does not exist" in refusal(netfile.load, tmp_path / "none.npz")
    assert "is a folder" in refusal(netfile.load, tmp_path)
    assert "does not exist" in refusal(netfile.load, "x" * 5000)
    assert "does not exist" in refusal(netfile.load, "a\0b")


def test_one_that_may_not_be_read(net, monkeypatch):
    def denied(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr(netfile.foreign, "reading", denied)
    assert f"the net {str(net)!r} cannot be read: Permission denied; give a net" in refusal(netfile.load, net)


def test_a_net_for_textures_that_takes_a_content_is_damaged():
    meta = {**META, "task": "texture"}
    assert "it is for textures" in refusal(netfile.net_of, meta, "net")
    unknown = {"method": "mine", "task": "texture", "layers": methods.get("johnson").net().to_data()}
    assert "it is for textures" in refusal(netfile.net_of, unknown, "net")


def test_truncated_anywhere(tmp_path, net):
    data = net.read_bytes()
    path = tmp_path / "cut.npz"
    for length in [*range(0, len(data), 29), len(data) - 1]:
        path.write_bytes(data[:length])
        line = refusal(netfile.load, path)
        assert repr(str(path)) in line and "python -m nst_gluon train" in line


def test_flipped_bytes_are_refused_or_harmless(tmp_path, net, params):
    """The archive's checksums cover the arrays: whatever is read is what was written."""
    data, rng = net.read_bytes(), np.random.default_rng(5)
    whole, _ = netfile.load(net)
    path = tmp_path / "flipped.npz"
    refused = 0
    for _ in range(100):
        damaged = bytearray(data)
        damaged[rng.integers(len(data))] ^= 1 << rng.integers(8)
        path.write_bytes(bytes(damaged))
        try:
            loaded, _ = netfile.load(path)
        except netfile.UserError as error:
            assert "\n" not in str(error)
            refused += 1
        else:
            assert all(np.array_equal(loaded[name], whole[name]) for name in set(loaded) & set(whole))
    assert refused > 75


@pytest.mark.parametrize(
    "data", [b"", b"PK", b"\x93NUMPY", b"no net\n" * 100, pickle.dumps({"weight": [1, 2]})]
)
def test_other_files(tmp_path, data):
    (tmp_path / "net.npz").write_bytes(data)
    wrong = "torch.save" if data.startswith(b"\x80") else "damaged"
    assert wrong in refusal(netfile.load, tmp_path / "net.npz")


class Hostile:
    def __reduce__(self):
        return os.mkdir, (os.environ["NET_TEST_PROOF"],)


def test_nothing_is_executed(tmp_path, monkeypatch):
    proof = tmp_path / "executed"
    monkeypatch.setenv("NET_TEST_PROOF", str(proof))
    hostile = npy(np.array([Hostile()], dtype=object), allow_pickle=True)
    for entries in (
        [("weight.npy", hostile), ("meta.npy", described())],
        [("weight.npy", WEIGHT), ("meta.npy", hostile)],
        [("weight.npy", pickle.dumps(Hostile())), ("meta.npy", described())],
    ):
        assert "damaged" in refusal(netfile.load, archive(tmp_path / "net.npz", entries))
    assert not proof.exists()


def test_an_archive_that_unpacks_to_too_much(tmp_path, monkeypatch):
    zeros = npy(np.zeros((1024, 1024), np.float32))
    path = archive(tmp_path / "net.npz", [("weight.npy", zeros), ("meta.npy", described())])
    assert path.stat().st_size < 10_000
    monkeypatch.setattr(netfile, "MAX_BYTES", 2**20)
    line = refusal(netfile.load, path)
    assert "would unpack to 4,19" in line and "1,048,576" in line


def test_an_archive_that_lies_about_its_size(tmp_path):
    """The directory says 100 bytes, the data go on: no more than what was announced is unpacked."""
    path = archive(tmp_path / "net.npz", [("weight.npy", b"\0" * 12345), ("meta.npy", described())])
    data = path.read_bytes().replace(struct.pack("<I", 12345), struct.pack("<I", 100))
    path.write_bytes(data)
    assert "damaged" in refusal(netfile.load, path)


def test_an_array_of_another_length_than_it_claims(tmp_path):
    claim = b"(2, 2), }" + b" " * 20
    assert claim in WEIGHT
    more = WEIGHT.replace(claim, b"(9999999999999, 9), }".ljust(len(claim)))
    less = WEIGHT.replace(claim, b"(2, 1), }".ljust(len(claim)))
    negative = WEIGHT.replace(claim, b"(-2, -2), }".ljust(len(claim)))
    for data in (more, less, negative, WEIGHT[:-4], WEIGHT + b"1234"):
        path = archive(tmp_path / "net.npz", [("weight.npy", data), ("meta.npy", described())])
        assert "'weight' does not have the" in refusal(netfile.load, path)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(4),
        np.ones(3),
        np.ones(3, ">f4"),
        np.array([b"ab"]),
        np.zeros(2, "f4,f4"),
        np.ones(2, complex),
    ],
)
def test_types_that_no_parameter_has(tmp_path, array):
    path = archive(tmp_path / "net.npz", [("weight.npy", npy(array)), ("meta.npy", described())])
    line = refusal(netfile.load, path)
    assert "'weight' has the type" in line


@pytest.mark.parametrize("value", [math.nan, -math.inf])
def test_values_that_are_no_numbers(tmp_path, value):
    weight = npy(np.array([[1, value]], np.float16))
    line = refusal(
        netfile.load, archive(tmp_path / "net.npz", [("weight.npy", weight), ("meta.npy", described())])
    )
    assert "'weight'" in line and "not numbers" in line


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ([("weight.npy", WEIGHT)], "no description"),
        ([("meta.npy", described())], "no parameters"),
        ([("weight.npy", WEIGHT), ("meta.npy", described([1]))], "no description"),
        ([("weight.npy", WEIGHT), ("meta.npy", described({"format": 3}))], "format 3, not 2"),
        ([("weight.npy", WEIGHT), ("meta.npy", described({}))], "format None, not 2"),
        ([("weight.npy", WEIGHT), ("meta.npy", npy(np.frombuffer(b"{\xff", np.uint8)))], "damaged"),
        ([("weight.npy", WEIGHT), ("meta.npy", npy(np.frombuffer(b"[" * 99999, np.uint8)))], "damaged"),
        ([("weight.npy", WEIGHT), ("meta.npy", npy(np.ones(4, np.float32)))], "'meta' has the type"),
        ([("weight.txt", WEIGHT), ("meta.npy", described())], "unexpected entry"),
        ([(".npy", WEIGHT), ("meta.npy", described())], "unexpected entry"),
    ],
)
def test_archives_that_are_no_net(tmp_path, entries, why):
    assert why in refusal(netfile.load, archive(tmp_path / "net.npz", entries))


@pytest.mark.parametrize(("field", "value"), [
    ("training", []), ("training", {"more_sizes": [0]}), ("training", {"size": "256"}), ("size", True), ("style", 7),
    ("weights", "vgg19"), ("architecture", [1]), ("training", {"more_sizes": "64"}), ("held_out", "x"),
    ("final_objective", {"objective": "x"}), ("final_objective", {"objective": None}),
])  # fmt: skip
def test_fields_of_another_kind_are_one_line(tmp_path, params, field, value):
    path = netfile.save(tmp_path / "net.npz", params, {"method": "johnson", "task": "stylize", field: value})
    with pytest.raises(UserError, match="damaged: (meta.*(, not | has no )|more_sizes has a side below 1)") as told:
        netfile.load(path)
    assert "\n" not in str(told.value)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_comes_twice(tmp_path):
    path = archive(
        tmp_path / "net.npz", [("weight.npy", WEIGHT), ("weight.npy", WEIGHT), ("meta.npy", described())]
    )
    assert "unexpected entry 'weight.npy'" in refusal(netfile.load, path)
