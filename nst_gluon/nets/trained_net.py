"""A trained net, ready to make pictures of any size."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nst_gluon.methods.description import Net
from nst_gluon.nets import inputs as net_inputs
from nst_gluon.nets import netfile
from nst_gluon.nets.inference import Inference
from nst_gluon.nets.training_net import TrainingNet, with_parameters
from nst_gluon.system.engine import mx
from nst_gluon.system.errors import UserError

if TYPE_CHECKING:
    from nst_gluon.nets.fastest import Fastest


class TrainedNet:
    """One trained net.

    Args:
        params: float32 by name, as in a net file.
        meta: the net file's text (:mod:`nst_gluon.nets.netfile`).
        ctx: MXNet's context, where it computes; None: the CPU.
        where: what an error names.
        dtype: float32 or, on a CPU that has it, bfloat16.

    Attributes:
        method, task: what it was trained for.
        description: the net as data.
        inference: what makes the pictures: its graph for inference on a CPU, the net as it is trained elsewhere.

    Raises:
        UserError: the architecture is not one of the method's, or the parameters are not the architecture's.
    """

    def __init__(
        self, params: Mapping[str, np.ndarray], meta: dict[str, Any], ctx=None, where: str = "net",
        dtype: str = "float32",
    ):  # fmt: skip
        self.method, self.task, self.meta, self.params = meta["method"], meta["task"], meta, params
        self.architecture, self.dtype = meta["architecture"], dtype
        self.description: Net = netfile.net_of(meta, where)
        self.description.check({name: value.shape for name, value in params.items()}, where)
        self.context = ctx or mx.cpu()
        # The graph for inference is built for oneDNN; elsewhere the net itself does.
        on_cpu = self.context.device_type == "cpu"
        self.inference = Inference(self.description, params, self.context, dtype=dtype) if on_cpu else self.net
        self._fastest: Fastest | None = None

    def in_fastest_engine(self, tell: Callable[[str], object]) -> TrainedNet:
        """The same net, whose pictures are made in whichever installed engine is fastest on the CPU.

        This object stays in its own engine, and keeps what the trials find for the next call. ``tell`` is told of each.
        """
        from nst_gluon.nets.fastest import Fastest

        if self._fastest is None:
            self._fastest = Fastest(self.description, self.params, self.meta, self.dtype)
        self._fastest.tell = tell
        other = copy.copy(self)
        other.inference = self._fastest
        return other

    @cached_property
    def net(self) -> TrainingNet:
        """The net as it is trained."""
        net = with_parameters(self.description, self.params, self.context)
        net.hybridize(static_alloc=True, static_shape=True)
        return net

    @property
    def parameter_count(self) -> int:
        """Learnt parameters, running statistics not counted."""
        return self.description.parameter_count

    def inputs(
        self,
        content: np.ndarray | None = None,
        size: tuple[int, int] | None = None,
        batch: int = 1,
        seed: int = 0,
        noise_scale: float = 1.0,
    ) -> tuple:
        """NDArrays for :meth:`forward`, see :func:`nst_gluon.nets.inputs.arrays`."""
        arrays = net_inputs.arrays(self.description, content, size, batch, seed, noise_scale)
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


def load_net(path: str | Path, ctx=None, dtype: str = "float32") -> TrainedNet:
    """Reads a trained net, which is to make its pictures in ``dtype``: float32 or, on a CPU that has it, bfloat16.

    Raises:
        UserError: not a net file, or not one whose architecture this version knows.
    """
    params, meta = netfile.load(path)
    missing = [key for key in ("method", "task", "architecture") if key not in meta]
    if missing:
        raise UserError(f"{path}: not a trained net: its description lacks {missing[0]!r}")
    return TrainedNet(params, meta, ctx, str(path), dtype)
