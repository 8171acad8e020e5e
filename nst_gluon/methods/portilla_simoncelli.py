"""Textures by the joint statistics of a complex steerable pyramid (Portilla & Simoncelli 2000), through plenoptic."""

from __future__ import annotations

import functools
import warnings
from typing import TYPE_CHECKING, Any

from nst_gluon.methods.base import Optimiser
from nst_gluon.system.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from nst_gluon.optimise.problem import Problem

# The deviation that each rotated channel has: about that of photographs in [0, 1], for which plenoptic's weights are.
DEVIATION = 0.2
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
    color = "#2b8cbe"
    engines = ("pytorch",)
    own_loss = True
    needs = ("plenoptic",)
    extra = "plenoptic"

    def descend(self, problem: Problem) -> None:
        # Not before: planning a run needs no numpy.
        import numpy as np

        from nst_gluon.pictures.color import PrincipalColors

        style = problem.style()
        colors = PrincipalColors(style, DEVIATION)
        working = tuple(-(-side // 16) * 16 for side in problem.size)
        height, width = problem.size
        start = 0.5 + DEVIATION * np.random.default_rng(problem.seed).standard_normal((1, colors.count, *working))

        def shown(channels: np.ndarray) -> np.ndarray:
            return colors.picture(channels[:, :, :height, :width])

        problem.minimise(start, loss=statistics_loss(colors.channels(style), working), shown=shown)


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
    theirs = torch.from_numpy(target[:, :, : sides[0], : sides[1]].copy()).transpose(0, 1)
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
