"""Pretrained VGG weights: where they come from, verified, and what input scaling goes with them.

Needs no engine: everything here is numpy.
"""

from __future__ import annotations

import os
from pathlib import Path

from nst_gluon.errors import UserError
from nst_gluon.weights.model import VggWeights, random_weights

__all__ = ["VggWeights", "cache_dir", "load", "random_weights"]


def cache_dir() -> Path:
    """Where converted weights are kept: ``NST_GLUON_CACHE``, else the user's cache directory."""
    given = os.environ.get("NST_GLUON_CACHE")
    if given:
        return Path(given).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("nst_gluon"))


def load(spec: str | Path | None = None, random: bool = False, progress: bool = True) -> VggWeights:
    """The weights that ``spec`` names."""
    from nst_gluon.weights.download import default_weights

    if spec not in (None, "vgg19"):
        raise UserError(f"weights: unknown weights {str(spec)!r}")
    if random:
        return random_weights("vgg19")
    return default_weights(cache_dir())
