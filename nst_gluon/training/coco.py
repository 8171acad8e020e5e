"""COCO's val2017 (Lin et al. 2014): 5,000 photos to train stylising nets on, downloaded once when they are asked for.

Its photos have licences of their own (mostly Creative Commons), so the suite does not bring them along.
"""

from __future__ import annotations

import http.client
import os
import shutil
import sys
import urllib.error
import urllib.request
import zipfile
from pathlib import Path, PurePosixPath

from nst_gluon.descriptor.weights import cache_dir
from nst_gluon.system.errors import UserError
from nst_gluon.system.files import alone, digest, one_line, open_regular, quoted, scratch_folder

NAME = "coco"
# Address and hash are those of gluoncv's script mscoco.py.
URL = "http://images.cocodataset.org/zips/val2017.zip"
SHA1 = "4950dc9d00dbe1c933ee0170f5797584351d2a41"
TIMEOUT_S, BLOCK = 60, 1 << 18


def fetch(progress: bool = True) -> Path:
    """The folder of the photos, in the cache; if they are not there, 0.8 GB are downloaded, which needs 1.7 GB of disk.

    An interrupted download goes on where it ended. Raises UserError when it fails or has another hash than it should.
    """
    folder = cache_dir() / "coco-val2017"
    if os.path.isdir(folder):
        return folder
    part = folder.with_suffix(".zip.part")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with alone(folder):
            _download(part, progress)
            if digest(part, "sha1") != SHA1:
                part.unlink()
                raise UserError(f"--photos {NAME}: the file from {URL} has the wrong hash; try again later")
            with scratch_folder(folder.parent) as scratch:
                _extract(part, scratch)
                os.replace(scratch / "photos", folder)
            part.unlink()
    except (OSError, http.client.HTTPException, zipfile.BadZipFile) as error:
        raise UserError(
            f"--photos {NAME}: cannot download {URL} to {quoted(folder)}: {one_line(error)}; the same command goes on "
            "from there, or give a folder of photos"
        ) from None
    return folder


def _download(part: Path, progress: bool) -> None:
    from tqdm import tqdm

    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(URL, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # nothing is missing
        raise OSError(f"the server says {error.code} {error.reason}") from None
    with answer:
        if answer.status != http.HTTPStatus.PARTIAL_CONTENT:
            have = 0
        missing = int(answer.headers.get("Content-Length", 0))
        descriptor = open_regular(part, os.O_WRONLY | os.O_CREAT | (os.O_APPEND if have else os.O_TRUNC))
        # disable=None: tqdm itself asks whether the stream is a terminal.
        bar = tqdm(desc="COCO val2017", total=have + missing, initial=have, unit="B", unit_scale=True, file=sys.stderr,
                   disable=None if progress else True)  # fmt: skip
        with os.fdopen(descriptor, "ab") as file, bar:
            while block := answer.read(BLOCK):
                file.write(block)
                bar.update(len(block))
                missing -= len(block)
    if missing > 0:
        raise OSError(f"the connection ended {missing:,} bytes too early")


def _extract(archive: Path, into: Path) -> None:
    """The archive's JPEG files, flat in ``into``/photos, whatever folders they name."""
    (into / "photos").mkdir()
    with zipfile.ZipFile(archive) as entries:
        for entry in entries.infolist():
            name = PurePosixPath(entry.filename).name
            if name.endswith(".jpg") and not entry.is_dir():
                with entries.open(entry) as source, open(into / "photos" / name, "xb") as target:
                    shutil.copyfileobj(source, target)
