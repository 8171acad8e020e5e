"""Adam (Kingma & Ba 2014, algorithm 1), normalised gradients and the moving average of the weights, in plain arrays."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nst_gluon.system.engine import mx
from nst_gluon.training.recipe import Recipe, average_decay

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
MEAN, VARIANCE, AVERAGE = "adam_mean.", "adam_variance.", "average."


class Adam:
    """The optimiser of a net's Gluon ``parameters`` (by structural name), whose gradients add up over a step.

    Attributes:
        averages: moving averages of all parameters, running statistics too; the parameters' copies at first, and
            not kept up where the recipe has no average.
    """

    def __init__(self, parameters: Mapping, recipe: Recipe, ctx, beta1: float = BETA1, weight_decay: float = 0.0):
        self._recipe, self._ctx, self._beta1, self._weight_decay = recipe, ctx, beta1, weight_decay
        self._parameters = dict(parameters)
        self._learnt = {name: p for name, p in self._parameters.items() if p.grad_req != "null"}
        for parameter in self._learnt.values():
            parameter.grad_req = "add"
        self._moments = {
            prefix + name: mx.nd.zeros_like(parameter.data(ctx))
            for name, parameter in self._learnt.items()
            for prefix in (MEAN, VARIANCE)
        }
        self.averages = {name: p.data(ctx).copy() for name, p in self._parameters.items()} if recipe.average else {}

    def zero_gradients(self) -> None:
        """Forget the gradients of the last step."""
        for parameter in self._learnt.values():
            parameter.zero_grad()

    def learnt(self) -> dict:
        """The parameters that are learnt, by name, as they are now."""
        return {name: parameter.data(self._ctx) for name, parameter in self._learnt.items()}

    def gradients(self) -> list:
        """The gradients, each in its own array, always in the same order."""
        return [parameter.grad(self._ctx) for _, parameter in sorted(self._learnt.items())]

    def step(self, iteration: int, rate: float, batch: int) -> None:
        """Iteration ``iteration`` (the first is 0) with gradients that are sums over ``batch`` pictures."""
        gradients = {name: p.grad(self._ctx) for name, p in self._learnt.items()}
        rescale = 1.0 / batch
        if self._recipe.normalised:
            norm = rescale * float(np.sqrt(sum(float(mx.nd.square(g).sum().asscalar()) for g in gradients.values())))
            rescale *= 1.0 / norm if norm > 0 else 1.0
        time = iteration + 1
        rate *= np.sqrt(1 - BETA2**time) / (1 - self._beta1**time)
        for name, parameter in self._learnt.items():
            weight, moments = parameter.data(self._ctx), (self._moments[MEAN + name], self._moments[VARIANCE + name])
            mx.nd.adam_update(
                weight, gradients[name], *moments, lr=rate, beta1=self._beta1, beta2=BETA2, epsilon=EPSILON,
                wd=self._weight_decay, rescale_grad=rescale, out=weight,
            )  # fmt: skip
        if self.averages:
            part = 1 - average_decay(self._recipe.average, iteration)
            for name, average in self.averages.items():
                average += part * (self._parameters[name].data(self._ctx) - average)

    def arrays(self) -> dict[str, np.ndarray]:
        """What the next step depends on besides the parameters: moments and averages, by name."""
        found = {name: array.asnumpy() for name, array in self._moments.items()}
        found.update((AVERAGE + name, array.asnumpy()) for name, array in self.averages.items())
        return found

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Takes back what :meth:`arrays` gave; KeyError or ValueError if it is not of these parameters."""
        for name, array in self._moments.items():
            array[:] = arrays[name]
        for name, array in self.averages.items():
            array[:] = arrays[AVERAGE + name]
