"""Other ways downhill than the suite's own, with the arguments of :func:`nst_gluon.optimise.lbfgs.minimise`."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize

from bench.engines.pytorch.library import torch
from nst_gluon.optimise.lbfgs import minimise as suite

Function = Callable[..., tuple]


def by_scipy(
    function: Function, start: torch.Tensor, memory: int, first_step: float, bounds: tuple[float, float] | None = None
) -> None:
    """SciPy's L-BFGS-B: float64, on the CPU; its first step is its own."""

    def in_double(flat: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = function(torch.from_numpy(flat.astype("float32")).to(start.device))
        return value, gradient.cpu().numpy().astype("float64")

    options = {"maxcor": memory, "maxiter": sys.maxsize, "maxfun": sys.maxsize, "ftol": 0.0, "gtol": 0.0}
    at = start.ravel().cpu().numpy().astype("float64")
    minimize(in_double, at, jac=True, method="L-BFGS-B", bounds=bounds and [bounds] * len(at), options=options)


def by_torch(
    function: Function, start: torch.Tensor, memory: int, first_step: float, bounds: tuple[float, float] | None = None
) -> None:
    """PyTorch's own L-BFGS with its strong Wolfe line search, where ``start`` is; its first step is its own.

    It knows no bounds: it minimises the function of the clipped vector, whose gradient is 0 where it is clipped.
    """
    x = start.ravel().clone().requires_grad_()
    most = sys.maxsize
    descent = torch.optim.LBFGS(
        [x], history_size=memory, max_iter=most, max_eval=most, tolerance_grad=0.0, tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )  # fmt: skip

    def closure() -> torch.Tensor:
        point = x.detach().clone()
        inside = point if bounds is None else point.clip(*bounds)
        value, gradient = function(inside)
        x.grad = gradient * (inside == point)
        return torch.tensor(value)

    descent.step(closure)


MINIMISERS = {"suite": suite, "torch": by_torch, "scipy": by_scipy}
