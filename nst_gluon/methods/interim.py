"""Facts of the two nets until their modules need no engine. To be deleted with that."""

from __future__ import annotations

from typing import Any

from nst_gluon.methods.base import Generator
from nst_gluon.nets.description import Net


class _Interim(Generator):
    def architecture(self, task: str) -> dict[str, Any]:
        raise NotImplementedError

    def net(self, **architecture: Any) -> Net:
        raise NotImplementedError


class Johnson(_Interim):
    name = "johnson"
    tasks = ("stylize",)
    title = "Johnson net"
    description = "a residual net trained for one style, one forward pass a picture"
    paper = "Johnson, Alahi, Fei-Fei: Perceptual Losses for Real-Time Style Transfer, 2016"
    color = "#009e73"


class TextureNet(_Interim):
    name = "texture_net"
    tasks = ("stylize", "texture")
    title = "texture network"
    description = "a small multi-scale net trained for one style, one forward pass a picture"
    paper = "Ulyanov, Lebedev, Vedaldi, Lempitsky: Texture Networks, 2016"
    color = "#0072b2"
