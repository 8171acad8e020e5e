"""Textures by the joint statistics of a complex steerable pyramid (Portilla & Simoncelli 2000), through plenoptic."""

from __future__ import annotations

import functools
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from nst_gluon.methods.base import Optimiser
from nst_gluon.system.errors import UserError

if TYPE_CHECKING:
    from nst_gluon.optimise.problem import Problem

# The deviation that each rotated channel has: about that of photographs in [0, 1], for which plenoptic's weights are.
DEVIATION = 0.2
# The covariance of a picture is matched until it is so near the style's, or as often.
TOLERANCE, TIMES = 0.005, 20
# The least variance of an axis: of any, and as a part of the largest.
FLAT, LEAST_PART = 1e-6, 1e-4
MOST_SCALES, LEAST_SIDE = 4, 32


class PortillaSimoncelli(Optimiser):
    """From noise to a picture with the style's 710 statistics a channel (at four scales).

    The statistics are of grey pictures, so the style is rotated to the principal axes of its colours, as the paper
    does, and every axis is scaled to one deviation; each is one channel. The paper's statistics *across* channels are
    not in plenoptic: colours are right, and where they lie is not tied together. What is handed out is rotated back,
    with the style's mean colour and covariance, which are matched at the end, to half a per cent, within [0, 1]. The
    loss is the square of plenoptic's, minimised by the L-BFGS that all methods have.
    """

    name = "portilla_simoncelli"
    tasks = ("texture",)
    title = "Portilla & Simoncelli"
    description = "optimises the statistics of a steerable pyramid, not those of VGG"
    paper = "Portilla, Simoncelli: A Parametric Texture Model Based on Joint Statistics of Wavelet Coefficients, 2000"
    color = "#56b4e9"
    engines = ("pytorch",)
    own_loss = True
    needs = ("plenoptic",)
    extra = "portilla_simoncelli"

    def descend(self, problem: Problem) -> None:
        style = problem.style()
        colors = Colors(style)
        working = tuple(-(-side // 16) * 16 for side in problem.size)
        height, width = problem.size
        start = 0.5 + DEVIATION * np.random.default_rng(problem.seed).standard_normal((1, colors.count, *working))

        def shown(channels: np.ndarray) -> np.ndarray:
            return colors.picture(channels[:, :, :height, :width])

        problem.minimise(start, loss=statistics_loss(colors.channels(style), working), shown=shown)


class Colors:
    """The principal axes of a style's colours (1, 3, H, W)."""

    def __init__(self, style: np.ndarray):
        self.mean, self.covariance = moments(style)
        variances, axes = np.linalg.eigh(self.covariance)
        if not variances[-1] > FLAT:
            raise UserError("--style: portilla_simoncelli needs more than one colour; give another picture")
        # Along the others the style does not vary: a grey one has one axis.
        kept = variances > FLAT + LEAST_PART * variances[-1]
        self._axes, self._scales = axes[:, kept], DEVIATION / np.sqrt(variances[kept])

    @property
    def count(self) -> int:
        """How many axes there are."""
        return len(self._scales)

    def channels(self, picture: np.ndarray) -> np.ndarray:
        """A picture (1, 3, H, W) along the axes (1, count, H, W), each with mean 0.5 and DEVIATION for the style."""
        along = np.einsum("ca,ncij->naij", self._axes, picture - self.mean[:, None, None])
        return (0.5 + along * self._scales[:, None, None]).astype("float32")

    def picture(self, channels: np.ndarray) -> np.ndarray:
        """Back, float32 in [0, 1], with the style's mean colour and covariance, as near as clipping lets them be."""
        along = (channels - 0.5) / self._scales[:, None, None]
        made = np.einsum("ca,naij->ncij", self._axes, along) + self.mean[:, None, None]
        aim_mean, aim = self.mean, self.covariance
        for _ in range(TIMES):
            mean, covariance = moments(made)
            change = _root(aim) @ np.linalg.pinv(_root(covariance))
            made = np.einsum("ab,nbij->naij", change, made - mean[:, None, None]) + aim_mean[:, None, None]
            made = np.clip(made, 0, 1)
            # Clipping takes some of the variance away again: aim as much beyond it.
            mean, covariance = moments(made)
            off = np.linalg.norm(covariance - self.covariance), np.linalg.norm(mean - self.mean)
            if off[0] < TOLERANCE * np.linalg.norm(self.covariance) and off[1] < TOLERANCE * np.linalg.norm(self.mean):
                break
            aim, aim_mean = aim + self.covariance - covariance, aim_mean + self.mean - mean
        return made.astype("float32")


def moments(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean colour (3,) and covariance (3, 3) of a picture (1, 3, H, W)."""
    pixels = picture[0].reshape(3, -1).astype("float64")
    return pixels.mean(axis=1), np.cov(pixels, bias=True)


def _root(matrix: np.ndarray) -> np.ndarray:
    """The symmetric square root of a covariance."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def statistics_loss(target: np.ndarray, size: tuple[int, int]) -> Any:
    """How far the statistics of channels (1, C, *size) are from those of ``target`` (1, C, H, W), and the gradient.

    Raises:
        UserError: plenoptic is not there, or a side is too small.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import plenoptic
            import torch
    except ImportError as error:
        raise UserError(f"--method: portilla_simoncelli cannot import what it needs ({error})") from error
    sides = [side // 16 * 16 for side in target.shape[2:]]
    least = min(*sides, *size)
    if least < LEAST_SIDE:
        raise UserError(f"--size: {least} is too small for portilla_simoncelli's pyramid; give {LEAST_SIDE} or more")
    # Four scales of a picture of 128: the coarsest band has 8 x 8 coefficients.
    scales = min(MOST_SCALES, least.bit_length() - 4)
    theirs = torch.from_numpy(np.ascontiguousarray(target[:, :, : sides[0], : sides[1]]).astype("float32"))
    theirs = theirs.transpose(0, 1)
    with torch.no_grad():
        model = plenoptic.models.PortillaSimoncelli(tuple(sides), n_scales=scales).eval()
        aim = model(theirs)
    own = plenoptic.models.PortillaSimoncelli(size, n_scales=scales).eval()

    @functools.lru_cache(maxsize=1)
    def placed(device: Any) -> tuple[Any, Any, Any]:
        at = own.to(device)
        like = torch.zeros(1, 1, *size, device=device)
        return at, aim.to(device), plenoptic.loss.portilla_simoncelli_loss_factory(at, like)

    def loss(channels: Any) -> tuple[float, Any]:
        x = torch.as_tensor(channels).detach().requires_grad_()
        at, there, distance = placed(x.device)
        value = distance(there, at(x.transpose(0, 1))) ** 2
        (gradient,) = torch.autograd.grad(value, x)
        return value.item(), gradient if isinstance(channels, torch.Tensor) else gradient.numpy()

    return loss
