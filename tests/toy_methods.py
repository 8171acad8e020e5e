"""A module with two methods of somebody's own, as text: what the tests write to places outside the packages."""

from __future__ import annotations

from pathlib import Path

SOURCE = '''
import numpy as np

from nst_gluon.methods import Builder, Generator, Optimiser


class SignDescent(Optimiser):
    """Small steps against the gradient's sign, first at half the size."""

    name = "sign_descent"
    tasks = ("stylize", "texture")
    title = "descent by sign"
    description = "moves each pixel by a fixed step"
    paper = "nobody, 2020"
    color = "#aa3377"

    def descend(self, problem):
        with problem.coarser(max(problem.size) // 2, 3) as level:
            picture = level.start()
            while True:
                picture = np.clip(picture - 0.02 * np.sign(level.evaluate(picture)[1]), 0, 1)
        picture = level.best_picture().repeat(2, axis=2).repeat(2, axis=3)[:, :, : problem.size[0], : problem.size[1]]
        while True:
            picture = np.clip(picture - 0.02 * np.sign(problem.evaluate(picture)[1]), 0, 1)


class ToyNet(Generator):
    name = "toy_net"
    tasks = ("stylize",)
    title = "toy network"
    description = "four convolutions"
    paper = "nobody, 2021"
    color = "#44aa99"

    def architecture(self, task):
        return {"width": 16}

    def net(self, width=8):
        net = Builder()
        x = net.convolution("first", net.content(), width, kernel=5, padding=2, mode="reflect")
        x = net.activation(net.norm("norm1", x, "instance"), "relu")
        y = net.convolution("down", x, 2 * width, kernel=3, stride=2, padding=1, mode="reflect")
        y = net.upsample(net.activation(net.norm("norm2", y, "instance"), "relu"))
        x = net.convolution("join", net.concatenate(x, y), width, kernel=3, padding=1, mode="reflect")
        net.convolution("last", net.activation(x, "relu"), 3, kernel=3, padding=1, mode="reflect")
        return net.build()
'''


def write(folder: Path, name: str = "toys.py") -> Path:
    """The module in a folder of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(SOURCE, encoding="utf-8")
    return path


def install(folder: Path) -> Path:
    """The module as an installed package offers it: with entry points, in a folder for PYTHONPATH."""
    write(folder, "toy_methods_of_somebody.py")
    info = folder / "toy_methods-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-methods\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[nst_gluon.methods]\n"
        "sign_descent = toy_methods_of_somebody:SignDescent\ntoy_net = toy_methods_of_somebody:ToyNet\n"
    )
    return folder
