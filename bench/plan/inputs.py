"""The pictures that a plan names. Imports no engine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.plan.cells import Settings
from nst_gluon import assets
from nst_gluon.system.errors import UserError

if TYPE_CHECKING:
    import numpy as np


def picture(argument: str, name_or_file: str) -> Path:
    """The path of a bundled picture or of a file; raises UserError naming the argument."""
    try:
        return {"style": assets.style_path, "content": assets.content_path}[argument](name_or_file)
    except UserError as error:
        text = str(error)
        raise UserError(f"--{text}" if text.startswith(f"{argument}:") else f"--{argument}: {text}") from error


def prepared(name: str, settings: Settings, sizes: Sequence[int]) -> np.ndarray:
    """The style or content picture as the methods see it (at the largest size): (1, 3, S, S) in [0, 1]."""
    from nst_gluon.pictures import images

    size = settings.style_size if name == "style" else max(sizes)
    try:
        return images.load(picture(name, getattr(settings, name)), size)
    except UserError as error:
        text = str(error)
        raise UserError(text if text.startswith("--") else f"--{name}: {text}") from error
