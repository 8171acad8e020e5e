"""What more training would bring: how many evaluations of optimisation a net's pictures are worth, by training steps.

    python results/learning/curves.py

The objective of each bundled stylising net on the held-out pictures of its training stands in its log
(nst_gluon/assets/nets/*.csv). This runs plain L-BFGS from noise on the same pictures (optimisation.csv), finds after
how many evaluations its mean objective is as low (learning.csv), and writes learning.png and the table of README.md.
"""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from bench.report.generated import write_part
from nst_gluon import assets, methods
from nst_gluon.descriptor import weights
from nst_gluon.objective import presets
from nst_gluon.objective.loss import Objective
from nst_gluon.optimise.config import config_of
from nst_gluon.optimise.problem import Problem
from nst_gluon.pictures import images
from nst_gluon.training.config import TrainConfig
from nst_gluon.training.contents import held_out

HERE = Path(__file__).resolve().parent
EVALUATIONS, SIZE = 100, 256
ASKED = 40  # evaluations: near what Johnson et al. 2016, section 4.1, say their nets are worth, 50 to 100


def optimised(style: str) -> list[dict]:
    """The objective after each evaluation, a row each, of every held-out picture of that style's trainings."""
    preset = presets.get(presets.DEFAULT)
    picture = images.load(assets.style_path(style), SIZE)
    config = config_of(preset, start="noise", iterations=EVALUATIONS, seed=0)
    objective, rows = Objective(preset, weights.load(None), "stylize", picture), []
    for number, content in enumerate(held_out(TrainConfig("johnson", "stylize", style, size=SIZE))):
        aimed = objective.aimed_at(picture, content[None])
        found = Problem(aimed, (SIZE, SIZE), config, content[None]).run(methods.get("gatys").descend)
        rows += [{"style": style, "picture": number, "evaluation": step.iteration, "objective": step.terms.objective}
                 for step in found.steps]  # fmt: skip
    return rows


def lowest(optimisation: pd.DataFrame) -> pd.Series:
    """The mean over pictures of the lowest objective so far, by evaluation, of one style."""
    return optimisation.pivot(index="evaluation", columns="picture", values="objective").cummin().mean(axis=1)


def equivalent(objective: float, optimisation: pd.DataFrame) -> float:
    """Evaluations until :func:`lowest` is ``objective``; between two, by its logarithm."""
    reached = lowest(optimisation)
    return float(np.interp(-np.log(objective), -np.log(reached), reached.index, right=np.inf))


def steps_before(start: dict | None, style: str) -> int:
    """Steps of the trainings for the same style that a net began from."""
    if not start or style not in start["command"]:
        return 0
    return start["iterations"] + steps_before(start.get("start"), style)


def learning(optimisation: pd.DataFrame) -> pd.DataFrame:
    """A row for each time that a bundled stylising net was judged during its training."""
    found = []
    for net in assets.nets():
        if net.task != "stylize":
            continue
        log = pd.read_csv(net.log).dropna(subset=["held_out"])
        record = json.loads(net.record.read_text(encoding="utf-8"))
        before = steps_before(record["start"], net.style)
        log["held_out"] = log["held_out"].clip(lower=record["held_out"])  # lower states were not kept
        of_style = optimisation[optimisation["style"] == net.style]
        found.append(pd.DataFrame({
            "style": net.style, "method": net.method, "steps": log["iteration"] + before, "held_out": log["held_out"],
            "evaluations": [equivalent(value, of_style) for value in log["held_out"].cummin()],
        }))  # fmt: skip
    return pd.concat(found, ignore_index=True)


def table(found: pd.DataFrame, optimisation: pd.DataFrame) -> str:
    """A row for each net: what it is worth after half of its steps and at the end, and what the paper's figure asks."""
    lines = ["| style | net | steps | held-out objective | worth evaluations | at half of the steps "
             f"| L-BFGS after {ASKED} |", "| --- | --- | ---: | ---: | ---: | ---: | ---: |"]  # fmt: skip
    for (style, method), rows in found.groupby(["style", "method"], sort=False):
        steps, best = rows["steps"].max(), rows["evaluations"].max()
        half = rows.loc[rows["steps"] <= steps / 2, "evaluations"].max()
        aim = lowest(optimisation[optimisation["style"] == style])[ASKED]
        lines.append(f"| {style} | `{method}` | {steps:,} | {rows['held_out'].min():.0f} | {best:.1f} "
                     f"| {'' if np.isnan(half) else f'{half:.1f}'} | {aim:.0f} |")  # fmt: skip
    return "\n".join(lines)


def draw(found: pd.DataFrame, path: Path) -> None:
    """Equivalent evaluations against steps, on a logarithmic axis."""
    known = methods.bundled()
    figure, axes = plt.subplots(figsize=(9.5, 4.2), layout="constrained")
    styles = dict(zip(found["style"].unique(), ("-", "--", ":")))
    for (style, method), rows in found.groupby(["style", "method"], sort=False):
        label, color = f"{method}, {style}", known[method].color
        axes.plot(rows["steps"], rows["evaluations"], styles[style], color=color, label=label)
    axes.set_xscale("log")
    axes.set_ylim(0)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_xlabel("training steps for this style")
    axes.set_ylabel("evaluations of L-BFGS to the same objective")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main() -> None:
    path = HERE / "optimisation.csv"
    if path.exists():
        optimisation = pd.read_csv(path)
    else:
        styles = dict.fromkeys(net.style for net in assets.nets() if net.task == "stylize")
        optimisation = pd.DataFrame([row for style in styles for row in optimised(style)])
        optimisation.round({"objective": 3}).to_csv(path, index=False)
    found = learning(optimisation)
    found.round(3).to_csv(HERE / "learning.csv", index=False)
    draw(found, HERE / "learning.png")
    write_part(HERE / "README.md", "learning", table(found, optimisation))


if __name__ == "__main__":
    main()
