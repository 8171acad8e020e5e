"""Stylised pictures side by side: optimisation and every bundled net, on all bundled photos.

    python results/stylized/sheet.py

Writes a sheet for each painting (STYLE.jpg), the project README's first picture (examples.jpg), objectives.csv (a row
per picture), and the table of README.md here. The optimised pictures are kept in optimised/, which is not committed:
all of them take two hours on two slow cores.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

import nst_gluon
from bench.report.generated import write_part
from nst_gluon import assets
from nst_gluon.pictures import images

HERE = Path(__file__).resolve().parent
SIZE, EVALUATIONS = 256, 500
CLOSE = {"astronaut": (96, 0, 352, 256), "rocket": (192, 171, 448, 427)}  # left, top, right, bottom
CONTENTS = (*assets.CONTENTS, *(f"{name}, close" for name in CLOSE))
OPTIMISED, NETS = "gatys", ("johnson", "johnson_slim", "coarse_net", "texture_net")
EXAMPLES = (("great_wave", "astronaut"), ("moulin_de_la_galette", "rocket"))  # not trained on; every method
TILE, GAP, MARGIN, WORDS = 150, 5, 92, 22  # pixels: a picture, between two, room for names at the left and on top


def content(name: str) -> np.ndarray:
    """The middle of that photo, or a close-up: uint8 (SIZE, SIZE, 3)."""
    photo, _, close = name.partition(", ")
    path = assets.content_path(photo)
    if not close:
        return images.to_uint8(images.load(path, SIZE))
    with Image.open(path) as whole:
        return np.asarray(whole.convert("RGB").resize((SIZE, SIZE), Image.Resampling.LANCZOS, CLOSE[photo]))


def optimised(style: str, name: str) -> np.ndarray:
    """What optimisation from noise makes after EVALUATIONS evaluations; from optimised/, or made and kept there."""
    path = HERE / "optimised" / f"{style}-{name.replace(', ', '-')}-{EVALUATIONS}.png"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        made = nst_gluon.stylize(content(name), style=assets.style_path(style), method=OPTIMISED, size=SIZE,
                                 start="noise", iterations=EVALUATIONS)  # fmt: skip
        Image.fromarray(made).save(path)
    with Image.open(path) as kept:
        return np.asarray(kept)


def white(picture: np.ndarray, photo: np.ndarray) -> float:
    """Part of the pixels (H, W, 3) that are white (250 or more in all channels) where the photo is not."""
    return float(((picture >= 250).all(axis=2) & ~(photo >= 250).all(axis=2)).mean())


def painters(style: str) -> list[str]:
    """The methods of that style's pictures: optimisation, and those with a bundled net."""
    return [OPTIMISED, *(method for method in NETS if assets.find_net(style, method, "stylize"))]


def painted(style: str) -> dict[tuple[str, str], np.ndarray]:
    """Every picture of that style, by method and content."""
    found = {(OPTIMISED, name): optimised(style, name) for name in CONTENTS}
    for method in painters(style)[1:]:
        paint = nst_gluon.load_net(assets.find_net(style, method, "stylize"))
        found |= {(method, name): paint(content(name), size=SIZE) for name in CONTENTS}
    return found


def measure(style: str, pictures: dict[tuple[str, str], np.ndarray]) -> list[dict]:
    """A row per picture: its objective, as 8 bits hold it, and :func:`white`."""
    rows = []
    for name in CONTENTS:
        photo = content(name)
        for method in painters(style):
            picture = pictures[method, name]
            loss = nst_gluon.score(picture, style=assets.style_path(style), content=photo).objective
            rows.append({"style": style, "method": method, "content": name, "objective": loss,
                         "white": white(picture, photo)})  # fmt: skip
    return rows


def sheet(style: str, pictures: dict[tuple[str, str], np.ndarray]) -> Image.Image:
    """The photos in the first row, and a row for each method."""
    rows = [("photo", [content(name) for name in CONTENTS])]
    rows += [(method, [pictures[method, name] for name in CONTENTS]) for method in painters(style)]
    width, height = MARGIN + len(CONTENTS) * (TILE + GAP), WORDS + len(rows) * (TILE + GAP)
    made = Image.new("RGB", (width, height), "white")
    write, font = ImageDraw.Draw(made), _font()
    with Image.open(assets.style_path(style)) as painting:
        made.paste(_reduced(np.asarray(painting.convert("RGB")), MARGIN - 2 * GAP), (GAP, WORDS))
    for place, name in enumerate(CONTENTS):
        write.text((MARGIN + place * (TILE + GAP) + TILE // 2, 4), name, "black", font, anchor="ma")
    for number, (what, row) in enumerate(rows):
        top = WORDS + number * (TILE + GAP)
        words = what.replace("_", "_\n")
        write.multiline_text((GAP, top + TILE - 8), words, "black", font, anchor="ld")
        for place, picture in enumerate(row):
            made.paste(_reduced(picture, TILE), (MARGIN + place * (TILE + GAP), top))
    return made


def examples(every: dict[str, dict[tuple[str, str], np.ndarray]]) -> Image.Image:
    """A row for each of EXAMPLES: photo, painting, optimisation and the nets, from the pictures of every style."""
    heads = ("photo", "painting", f"optimised, {EVALUATIONS} steps", *NETS)
    made = Image.new("RGB", (len(heads) * (TILE + GAP) - GAP, WORDS + len(EXAMPLES) * (TILE + GAP) - GAP), "white")
    write, font = ImageDraw.Draw(made), _font()
    for place, head in enumerate(heads):
        write.text((place * (TILE + GAP) + TILE // 2, 4), head, "black", font, anchor="ma")
    for number, (style, name) in enumerate(EXAMPLES):
        painting = images.to_uint8(images.load(assets.style_path(style), SIZE))
        row = [content(name), painting, *(every[style][method, name] for method in (OPTIMISED, *NETS))]
        for place, picture in enumerate(row):
            made.paste(_reduced(picture, TILE), (place * (TILE + GAP), WORDS + number * (TILE + GAP)))
    return made


def _font() -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), 12)


def _reduced(picture: np.ndarray, width: int) -> Image.Image:
    height = round(picture.shape[0] * width / picture.shape[1])
    return Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS)


def table(rows: pd.DataFrame) -> str:
    """The median objective of each style and method, and the largest part of white."""
    lines = ["| style | method | objective: median | range | white, at most |", "| --- | --- | ---: | ---: | ---: |"]
    for (style, method), group in rows.groupby(["style", "method"], sort=False):
        found = group["objective"]
        lines.append(f"| {style} | `{method}` | {found.median():.0f} | {found.min():.0f} to {found.max():.0f} "
                     f"| {100 * group['white'].max():.2f} % |")  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    """Make every picture, the sheets, the record and the table."""
    rows, every = [], {style: painted(style) for style in assets.PAINTINGS}
    for style, pictures in every.items():
        rows += measure(style, pictures)
        sheet(style, pictures).save(HERE / f"{style}.jpg", quality=85, optimize=True)
    examples(every).save(HERE / "examples.jpg", quality=90, optimize=True)
    record = pd.DataFrame(rows)
    record.to_csv(HERE / "objectives.csv", index=False, float_format="%.6g")
    write_part(HERE / "README.md", "objectives", table(record))


if __name__ == "__main__":
    main()
