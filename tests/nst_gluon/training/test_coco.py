"""The download of COCO's photos, from a server on this machine with a small archive in its place."""

from __future__ import annotations

import hashlib
import http.server
import io
import threading
import zipfile

import numpy as np
import pytest
from PIL import Image

from nst_gluon.pictures import images
from nst_gluon.system.errors import UserError
from nst_gluon.training import coco


def archive() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as entries:
        for number in range(3):
            photo = io.BytesIO()
            noise = np.random.default_rng(number).integers(0, 256, (40, 50, 3), "uint8")
            Image.fromarray(noise).save(photo, "JPEG")
            entries.writestr(f"val2017/{number}.jpg", photo.getvalue())
        entries.writestr("../../outside.jpg", b"")
        entries.writestr("val2017/notes.txt", b"no photo")
    return stream.getvalue()


DATA = archive()


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serves DATA; ``asked`` has the ranges, and ``breaks`` after how many bytes the next connections end."""

    class Handler(http.server.BaseHTTPRequestHandler):
        asked: list[str | None] = []
        breaks: list[int] = []

        def do_GET(self):
            self.asked.append(self.headers["Range"])
            first = int((self.headers["Range"] or "bytes=0-")[len("bytes=") : -1])
            if first >= len(DATA):
                self.send_error(416)
                return
            self.send_response(206 if first else 200)
            self.send_header("Content-Length", str(len(DATA) - first))
            self.end_headers()
            self.wfile.write(DATA[first:][: self.breaks.pop(0) if self.breaks else None])

        def log_message(self, *_):
            pass

    found = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=found.serve_forever, daemon=True).start()
    monkeypatch.setenv("NST_GLUON_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(coco, "URL", f"http://127.0.0.1:{found.server_port}/val2017.zip")
    monkeypatch.setattr(coco, "SHA1", hashlib.sha1(DATA).hexdigest())
    yield Handler
    found.shutdown()
    found.server_close()


def test_it_is_downloaded_once_and_only_its_photos_are_kept(server, tmp_path):
    folder = coco.fetch(progress=False)
    assert [path.name for path in images.list_folder(folder)] == ["0.jpg", "1.jpg", "2.jpg", "outside.jpg"]
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["coco-val2017"]
    assert list(tmp_path.iterdir()) == [tmp_path / "cache"]
    assert coco.fetch(progress=False) == folder and server.asked == [None]


def test_an_interrupted_download_goes_on_where_it_ended(server):
    server.asked, server.breaks = [], [1000]
    with pytest.raises(UserError, match="too early; the same command goes on"):
        coco.fetch(progress=False)
    assert len(images.list_folder(coco.fetch(progress=False))) == 4
    assert server.asked == [None, "bytes=1000-"]


def test_a_whole_archive_is_not_downloaded_again(server, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "coco-val2017.zip.part").write_bytes(DATA)
    assert len(images.list_folder(coco.fetch(progress=False))) == 4


def test_another_archive_is_refused_and_not_kept(server, tmp_path, monkeypatch):
    monkeypatch.setattr(coco, "SHA1", "0" * 40)
    with pytest.raises(UserError, match="wrong hash"):
        coco.fetch(progress=False)
    assert not list((tmp_path / "cache").iterdir())


def test_without_a_connection_it_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("NST_GLUON_CACHE", str(tmp_path))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(coco, "URL", "http://127.0.0.1:9/val2017.zip")
    with pytest.raises(UserError, match="--photos coco: cannot download .*give a folder of photos") as caught:
        coco.fetch(progress=False)
    assert "\n" not in str(caught.value)
