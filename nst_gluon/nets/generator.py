"""A trained net, ready to make pictures of any size.

The module of a feed-forward method (:mod:`nst_gluon.methods.johnson`, :mod:`nst_gluon.methods.texture_net`) provides
``architecture(task)``, ``build(architecture)``, ``initializer()``, ``working_size(architecture, height, width)`` and
``inputs(architecture, content, rng, shape, noise_scale)``; everything else about it is here and in
:mod:`nst_gluon.train.loop`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np

from nst_gluon import methods
from nst_gluon.nets import inputs as net_inputs
from nst_gluon.nets import netfile
from nst_gluon.nets.inference import Inference
from nst_gluon.nets.layers import SCRATCH
from nst_gluon.system.engine import mx
from nst_gluon.system.errors import UserError


def method_module(name: str) -> ModuleType:
    """The module of a feed-forward method, by the method's name."""
    method = methods.get(name)
    if method.kind != "generates":
        raise UserError(f"--method: {name} optimises a picture and has no net; use a method that generates")
    return sys.modules[method.load().__module__]


def parameters_of(net) -> dict:
    """The net's Gluon parameters by structural name, without the scratch arrays of its layers."""
    named = net._collect_params_with_prefix()
    return {name: p for name, p in named.items() if not name.endswith(SCRATCH)}


def set_parameters(net, params: dict[str, np.ndarray], ctx, where: str) -> None:
    """Gives an initialised ``net`` its parameters.

    Raises:
        UserError: names or shapes are not the net's.
    """
    own = parameters_of(net)
    if set(own) != set(params):
        odd = sorted(set(own) ^ set(params))[0]
        raise UserError(f"{where}: its parameters are not those of its architecture (see {odd!r})")
    for name, parameter in own.items():
        if tuple(parameter.shape) != params[name].shape:
            raise UserError(f"{where}: {name} is {params[name].shape}, the architecture needs {parameter.shape}")
        parameter.set_data(mx.nd.array(params[name], ctx=ctx, dtype="float32"))


def load_parameters(net, params: dict[str, np.ndarray], ctx, where: str) -> None:
    """Initialises a net that has just been built, and gives it its parameters (see :func:`set_parameters`)."""
    net.initialize(mx.init.Zero(), ctx=ctx)
    set_parameters(net, params, ctx, where)


class Generator:
    """One trained net.

    Attributes:
        method, task: what it was trained for.
        meta: the net file's description (:mod:`nst_gluon.nets.netfile`).
        module, architecture: the method's module, and what its nets are built from.
        context: MXNet's, where it computes.
        net: the net as it is trained, with the file's parameters.
        inference: what makes the pictures: its graph for inference on a CPU, ``net`` elsewhere.
        parameter_count: learnt parameters, running statistics not counted.
    """

    def __init__(
        self, params: dict[str, np.ndarray], meta: dict, ctx=None, where: str = "net", dtype: str = "float32"
    ):
        self.method, self.task, self.meta = meta["method"], meta["task"], meta
        self.module = method_module(self.method)
        self.architecture = meta["architecture"]
        self.context = ctx or mx.cpu()
        self.net = self.module.build(self.architecture)
        load_parameters(self.net, params, self.context, where)
        self.net.hybridize(static_alloc=True, static_shape=True)
        # The graph for inference is built for oneDNN; elsewhere the net itself does.
        self.inference = self.net
        if self.context.device_type == "cpu":
            self.inference = Inference(self.module, self.architecture, params, self.context, dtype=dtype)
        self.parameter_count = sum(v.size for k, v in params.items() if not k.endswith(("running_mean", "running_var")))

    def inputs(
        self,
        content: np.ndarray | None = None,
        size: tuple[int, int] | None = None,
        batch: int = 1,
        seed: int = 0,
        noise_scale: float = 1.0,
    ) -> tuple:
        """NDArrays for :meth:`forward`, see :func:`nst_gluon.nets.inputs.arrays`."""
        arrays = net_inputs.arrays(self.meta, content, size, batch, seed, noise_scale)
        return tuple(mx.nd.array(a, ctx=self.context, dtype="float32") for a in arrays)

    def forward(self, *inputs):
        """One pass of the net: an NDArray (N, 3, H', W') at the working size, not clipped. Asynchronous."""
        return self.inference(*inputs)

    def generate(
        self,
        content: np.ndarray | None = None,
        size: tuple[int, int] | None = None,
        seed: int = 0,
        noise_scale: float = 1.0,
        batch: int = 1,
    ) -> np.ndarray:
        """Pictures (N, 3, H, W), float32 in [0, 1]: of the content's size, or of ``size`` for textures."""
        height, width = size or content.shape[2:]
        if content is not None:
            batch = max(batch, content.shape[0])
        out = self.forward(*self.inputs(content, size, batch, seed, noise_scale)).asnumpy()
        return np.clip(out[:, :, :height, :width], 0.0, 1.0)


def load_net(path: str | Path, ctx=None, dtype: str = "float32") -> Generator:
    """Reads a trained net, which is to make its pictures in ``dtype``: float32 or, on a CPU that has it, bfloat16.

    Raises:
        UserError: not a net file, or not one whose architecture this version knows.
    """
    params, meta = netfile.load(path)
    missing = [key for key in ("method", "task", "architecture") if key not in meta]
    if missing:
        raise UserError(f"{path}: not a trained net: its description lacks {missing[0]!r}")
    return Generator(params, meta, ctx, str(path), dtype)
