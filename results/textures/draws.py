"""What the bundled texture nets make: a contact sheet, the objective of 16 draws, and how alike these are.

    python results/textures/draws.py

Writes draws.csv (a row per draw), sheet-256.jpg and sheet-512.jpg beside it, and the table of README.md here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

import nst_gluon
from bench.report.generated import write_part
from nst_gluon import assets
from nst_gluon.descriptor import weights
from nst_gluon.objective import presets
from nst_gluon.objective.loss import Objective
from nst_gluon.pictures import images

HERE = Path(__file__).resolve().parent
SIZES, DRAWS = (256, 512), 16
TILE, GAP, SHOWN = 224, 6, 4  # pixels of a picture on a sheet and between two; draws shown beside the style


def correlation(pictures: np.ndarray) -> float:
    """Mean correlation of all pairs of pictures (N, 3, H, W), each without its mean colour: 0 for independent ones."""
    centred = pictures - pictures.mean(axis=(2, 3), keepdims=True)
    rows = centred.reshape(len(pictures), -1).astype(np.float64)
    found = np.corrcoef(rows)
    return float(found[np.triu_indices(len(rows), 1)].mean())


def measure(net: assets.NetInfo, size: int) -> tuple[list[dict], list[np.ndarray]]:
    """A row per draw, and the pictures of a row of the sheet: the style, then SHOWN draws."""
    style = images.load(assets.style_path(net.style), presets.STYLE_SIZE)
    objective = Objective(presets.get(presets.DEFAULT), weights.load(None), "texture", style)
    made = nst_gluon.load_net(net.path)
    draws = [made(size=size, seed=seed) for seed in range(DRAWS)]
    pictures = np.stack([draw.transpose(2, 0, 1) / np.float32(255) for draw in draws])
    alike = correlation(pictures)
    losses = [objective.terms(picture[None]).objective for picture in pictures]
    rows = [{"style": net.style, "size": size, "draw": number, "correlation": alike, "objective": loss}
            for number, loss in enumerate(losses)]  # fmt: skip
    return rows, [np.round(style[0].transpose(1, 2, 0) * 255).astype("uint8"), *draws[:SHOWN]]


def sheet(rows: list[list[np.ndarray]], size: int) -> Image.Image:
    """All pictures, reduced as one of ``size`` is, with gaps between them."""
    height, width = ((TILE + GAP) * count - GAP for count in (len(rows), 1 + SHOWN))
    made = Image.new("RGB", (width, height), "white")
    for number, pictures in enumerate(rows):
        for place, picture in enumerate(pictures):
            side = round(len(picture) * TILE / size)
            reduced = Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS)
            inset = (TILE - side) // 2
            made.paste(reduced, (place * (TILE + GAP) + inset, number * (TILE + GAP) + inset))
    return made


def table(rows: pd.DataFrame) -> str:
    """Mean and range of the objective, and the correlation, of each style and size."""
    lines = ["| style | size | objective, mean of 16 draws | range | correlation of draws |",
             "| --- | ---: | ---: | ---: | ---: |"]  # fmt: skip
    for (style, size), group in rows.groupby(["style", "size"], sort=False):
        found = group.objective
        lines.append(f"| {style} | {size} | {found.mean():.1f} | {found.min():.1f} to {found.max():.1f} "
                     f"| {group.correlation.iloc[0]:.3f} |")  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    """Make the draws, write the record, the sheets and the table."""
    rows = []
    nets = [net for net in assets.nets() if net.task == "texture"]
    nets.sort(key=lambda net: assets.STYLES.index(net.style))
    for size in SIZES:
        found = [measure(net, size) for net in nets]
        rows += [row for some, _ in found for row in some]
        sheet([pictures for _, pictures in found], size).save(HERE / f"sheet-{size}.jpg", quality=82, optimize=True)
    record = pd.DataFrame(rows)
    record.to_csv(HERE / "draws.csv", index=False, float_format="%.6g")
    write_part(HERE / "README.md", "draws", table(record))


if __name__ == "__main__":
    main()
