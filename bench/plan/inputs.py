"""The pictures that a plan names. Imports no engine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from nst_gluon import assets
from nst_gluon.system.errors import UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")

if TYPE_CHECKING:
    import numpy as np


def picture(argument: str, name_or_file: str) -> Path:
    """The path of a bundled picture or of a file; raises UserError naming the argument."""
    try:
        return {"style": assets.style_path, "content": assets.content_path}[argument](name_or_file)
    except UserError as error:
        text = str(error)
        raise UserError(f"--{text}" if text.startswith(f"{argument}:") else f"--{argument}: {text}") from error


def in_folder(argument: str, name: str) -> list[str]:
    """The pictures of a folder, sorted by name; anything else as it is."""
    if name in (*assets.styles(), *assets.contents()) or not os.path.isdir(name):  # False for what cannot be a path
        return [name]
    found = sorted(str(path) for path in Path(name).iterdir() if path.suffix.lower() in SUFFIXES)
    if not found:
        raise UserError(f"--{argument}: {name} has no pictures ({', '.join(SUFFIXES)}); give another folder")
    return found


def loaded(argument: str, name_or_file: str, size: int) -> np.ndarray:
    """A picture as the methods see it: (1, 3, size, size) in [0, 1]."""
    from nst_gluon.pictures import images

    try:
        return images.load(picture(argument, name_or_file), size)
    except UserError as error:
        text = str(error)
        raise UserError(text if text.startswith("--") else f"--{argument}: {text}") from error
