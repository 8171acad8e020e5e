"""results/figure: every cell, the colours of the pictures, and what its page says of the judges."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PAGE, RUN = ROOT / "results" / "figure" / "README.md", ROOT / "results" / "figure" / "run"
METHODS = ("gatys", "texture_net", "sgan", "portilla_simoncelli")
STYLES = ("brick", "gravel", "grass", "great_wave", "auvers")
JUDGES = {"objective": "objective", "judge_gram": "Gram distance, unused layers",
          "judge_statistics": "wavelet statistics", "copied_share": "copied, at most",
          "diversity": "diversity"}  # fmt: skip


def judged():
    from bench.analysis import judging

    return judging.read(RUN)


def table() -> str:
    """The page's table: a row a method, medians over the styles, and of what is copied the most."""
    found = judged()
    lines = [f"| method | {' | '.join(JUDGES.values())} |", f"| --- |{' ---: |' * len(JUDGES)}"]
    for method in METHODS:
        own = found[found["method"] == method]
        values = [own[name].max() if name == "copied_share" else own[name].dropna().median() for name in JUDGES]
        lines.append(f"| `{method}` | {' | '.join('' if np.isnan(value) else f'{value:.3g}' for value in values)} |")
    return "\n".join(lines)


def test_every_style_has_every_method_and_all_is_ok():
    records = [json.loads(line) for line in (RUN / "cells.jsonl").read_text().splitlines()]
    assert {(record["style_name"], record["method"]) for record in records} == {(s, m) for s in STYLES for m in METHODS}
    assert all(record["status"] == "ok" and (RUN / record["image"]).is_file() for record in records)


@pytest.mark.parametrize("style", STYLES)
def test_the_colours_of_portilla_and_simoncellis_pictures_are_the_styles(style):
    (made,) = (RUN / "images").glob(f"{style}-pytorch-portilla_simoncelli-*.png")
    own = RUN / "images" / ("style.png" if style == STYLES[0] else f"style-{style}.png")
    made, own = (np.asarray(Image.open(path).convert("RGB"), float).reshape(-1, 3) / 255 for path in (made, own))
    np.testing.assert_allclose(made.mean(axis=0), own.mean(axis=0), rtol=0.02)
    right = np.cov(own.T, bias=True)
    assert np.linalg.norm(np.cov(made.T, bias=True) - right) < 0.02 * np.linalg.norm(right)


def test_the_pages_say_what_the_judges_say():
    from bench.analysis import judging
    from bench.report.generated import part

    assert part(PAGE, "judges") == table(), "python tests/test_figure_record.py writes the table"
    every = [judging.correlations([table]).set_index("metric")["correlation"]
             for table in (judged(), judging.read(ROOT / "results" / "styles"))]  # fmt: skip
    (gram, wavelets), (grams, others) = (
        [f"{found[name]:.2f}" for name in ("judge_gram", "judge_statistics")] for found in every
    )
    page, readme = (" ".join(path.read_text().split()) for path in (PAGE, ROOT / "README.md"))
    for said in (f"(rank correlation within a style {gram})", f"({wavelets})", f"are {grams} and {others}."):
        assert said in page
    for said in (f"(rank correlation {gram}; {grams} over all styles)", f"({wavelets}; {others})"):
        assert said in readme
    for text in (page, readme):
        assert f"at most {100 * judged()['copied_share'].max():.0f} % of patches" in text


def test_the_gan_is_last_by_both_judges_as_the_readme_says():
    middle = judged().groupby("method")[["judge_gram", "judge_statistics"]].median()
    assert list(middle.idxmax()) == ["sgan", "sgan"]


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    from bench.report.generated import write_part

    write_part(PAGE, "judges", table())
