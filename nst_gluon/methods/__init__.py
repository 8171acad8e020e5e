"""The registry of methods: what each can do and where its code is. Imports no engine."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

from nst_gluon.system.errors import UserError, did_you_mean

TASKS = ("stylize", "texture")


@dataclass(frozen=True)
class Method:
    """A way to make a picture.

    ``kind`` is "optimises" (moves one picture downhill, step by step) or "generates" (one forward pass of a
    trained net). ``factory`` is "module:attribute", what :meth:`load` imports. ``variant_of`` is the method that this
    one is a faster way of; ``from_net``: it begins with the picture of a trained net (of another method).
    """

    name: str
    kind: str
    tasks: tuple[str, ...]
    factory: str
    description: str
    paper: str
    variant_of: str | None = None
    from_net: bool = False

    def load(self) -> Callable:
        """Import the method's code, engine and all, and return its factory."""
        module, attribute = self.factory.split(":")
        return getattr(importlib.import_module(module), attribute)

    def check_task(self, task: str) -> None:
        """Raise a UserError if this method cannot do ``task``."""
        if task not in self.tasks:
            able = ", ".join(method.name for method in METHODS.values() if task in method.tasks)
            better = f"use {able}" if able else did_you_mean(task, TASKS)
            raise UserError(f"--method: {self.name} cannot do {task!r}; {better}")


METHODS = {
    method.name: method
    for method in (
        Method(
            name="gatys",
            kind="optimises",
            tasks=("stylize", "texture"),
            factory="nst_gluon.optimise.descent:optimise",
            description="optimises the pixels of one picture, L-BFGS or Adam",
            paper="Gatys, Ecker, Bethge: Texture Synthesis; A Neural Algorithm of Artistic Style, 2015",
        ),
        Method(
            name="gatys_pyramid",
            kind="optimises",
            tasks=("stylize", "texture"),
            factory="nst_gluon.optimise.descent:optimise",
            description="the same, coarse to fine: begins small and ends at the full size",
            paper="Gatys, Ecker, Bethge, Hertzmann, Shechtman: Controlling Perceptual Factors, 2017",
            variant_of="gatys",
        ),
        Method(
            name="net_gatys",
            kind="optimises",
            tasks=("stylize", "texture"),
            factory="nst_gluon.optimise.descent:optimise",
            description="the same, from the picture of a trained net",
            paper="both ways combined: the net's picture first, then steps of the optimisation",
            variant_of="gatys",
            from_net=True,
        ),
        Method(
            name="johnson",
            kind="generates",
            tasks=("stylize",),
            factory="nst_gluon.methods.johnson:JohnsonNet",
            description="a residual net trained for one style, one forward pass a picture",
            paper="Johnson, Alahi, Fei-Fei: Perceptual Losses for Real-Time Style Transfer, 2016",
        ),
        Method(
            name="texture_net",
            kind="generates",
            tasks=("stylize", "texture"),
            factory="nst_gluon.methods.texture_net:TextureNet",
            description="a small multi-scale net trained for one style, one forward pass a picture",
            paper="Ulyanov, Lebedev, Vedaldi, Lempitsky: Texture Networks, 2016",
        ),
    )
}


def get(name: str) -> Method:
    """The method of that name; an unknown name is a UserError that lists the known ones."""
    try:
        return METHODS[name]
    except KeyError:
        raise UserError(f"--method: unknown method {name!r}; {did_you_mean(name, METHODS)}") from None
