"""What every method makes of six contents in three paintings: the contact sheet beside this.

    python results/stylized/sheet.py

Two of the photos and both drawn scenes were in no training; chelsea and coffee were. Optimisation has 500 evaluations
from the content, in bfloat16 where the processor has it. Its pictures, which take an hour on two cores, are kept in the
folder ``optimised`` here, which is not committed: an interrupted run goes on where it was.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

import nst_gluon
from nst_gluon import assets
from nst_gluon.pictures import images
from nst_gluon.system.runtime import cpu_supports_bfloat16
from nst_gluon.training.config import TrainConfig
from nst_gluon.training.contents import held_out

HERE = Path(__file__).resolve().parent
STYLES, METHODS = ("great_wave", "auvers", "moulin_de_la_galette"), ("johnson", "johnson_slim", "texture_net")
SIZE, EVALUATIONS, DRAWN = 256, 500, (1, 3)
TILE, GAP = 144, 4  # pixels of a picture on the sheet and between two


def contents() -> dict[str, np.ndarray]:
    """Pictures (H, W, 3), uint8, by name: the bundled photos, and drawn scenes that no training sees."""
    found = {name: images.to_uint8(images.load(assets.content_path(name), SIZE)) for name in assets.CONTENTS}
    scenes = held_out(TrainConfig("johnson", "stylize", STYLES[0], size=SIZE))
    return {**found, **{f"drawn-{number}": images.to_uint8(scenes[number][None]) for number in DRAWN}}


def optimised(name: str, content: np.ndarray, style: str) -> np.ndarray:
    """The picture that optimisation makes; from the last run, if that got so far."""
    path = HERE / "optimised" / f"{style}-{name}.png"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        dtype = "bfloat16" if cpu_supports_bfloat16() else "float32"
        made = nst_gluon.stylize(
            content, style=style, method="gatys", size=SIZE, iterations=EVALUATIONS, dtype=dtype
        )
        partial = path.with_suffix(".part")
        Image.fromarray(made).save(partial, format="PNG")
        partial.replace(path)
    return np.asarray(Image.open(path))


def rows() -> list[list[np.ndarray]]:
    """The sheet's pictures: the contents, and a row a method for each style, the style in front."""
    given, blank = contents(), np.full((SIZE, SIZE, 3), 255, np.uint8)
    found = [[blank, *given.values()]]
    for style in STYLES:
        painting = images.to_uint8(images.load(assets.style_path(style), SIZE))
        made = [[optimised(name, content, style) for name, content in given.items()]]
        for method in METHODS:
            paint = nst_gluon.load_net(assets.find_net(style, method, "stylize"))
            made.append([paint(content, size=SIZE) for content in given.values()])
        found += [[painting if not number else blank, *pictures] for number, pictures in enumerate(made)]
    return found


def main() -> None:
    """Make all pictures and write the sheet."""
    pictures = rows()
    height, width = ((TILE + GAP) * count - GAP for count in (len(pictures), len(pictures[0])))
    sheet = Image.new("RGB", (width, height), "white")
    for row, line in enumerate(pictures):
        for column, picture in enumerate(line):
            tile = Image.fromarray(picture).resize((TILE, TILE), Image.Resampling.LANCZOS)
            sheet.paste(tile, (column * (TILE + GAP), row * (TILE + GAP)))
    sheet.save(HERE / "sheet.jpg", quality=84, optimize=True)


if __name__ == "__main__":
    main()
